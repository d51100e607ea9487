//! Keyed hashes and digests on the stack, and their text forms.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed<M: Mac + KeyInit>(key: &[u8], message: &[&[u8]]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in message {
        mac.update(part);
    }
    mac
}

/// HMAC-SHA1 of a message in parts.
pub(crate) fn hmac_sha1(key: &[u8], message: &[&[u8]]) -> [u8; 20] {
    let mac: Hmac<Sha1> = keyed(key, message);
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256 of a message in parts.
pub(crate) fn hmac_sha256(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let mac: Hmac<Sha256> = keyed(key, message);
    mac.finalize().into_bytes().into()
}

/// SHA-256.
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    Sha256::digest(message).into()
}

/// MD5, of bodies in v1 signatures only.
pub(super) fn md5(message: &[u8]) -> [u8; 16] {
    Md5::digest(message).into()
}

/// Upper case, as every official client writes Content-MD5.
pub(super) fn md5_hex(message: &[u8]) -> String {
    hex(&md5(message)).to_ascii_uppercase()
}

/// Lower-case hex of a SHA-256 or an HMAC of it.
pub(crate) fn hex32(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            (*high, *low) = (digit(byte >> 4), digit(byte & 15));
        }
    }
    out
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The bytes that hex of either case stands for; `None` for another length or what is no hex.
pub(crate) fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Whether `signature` is the base64 of `mac`, found out in a time that does not depend on where
/// the two differ. There is one text for every MAC: a signature is not taken in two spellings.
pub(crate) fn is_base64_of(signature: &[u8], mac: &[u8]) -> bool {
    let mut text = [0; 44];
    let length = STANDARD.encode_slice(mac, &mut text).unwrap_or_default();
    let text = text.get(..length).unwrap_or_default();
    !text.is_empty() && bool::from(subtle::ConstantTimeEq::ct_eq(text, signature))
}

/// The same for lower-case hex.
pub(crate) fn is_hex_of(signature: &[u8], mac: &[u8; 32]) -> bool {
    subtle::ConstantTimeEq::ct_eq(&hex32(mac)[..], signature).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hmac_with_an_empty_key_is_that_of_rfc_2104() {
        // RFC 2104 pads a key with zeros, so the empty key equals one of 64 zeros.
        assert_eq!(hmac_sha1(b"", &[b"x"]), hmac_sha1(&[0; 64], &[b"x"]));
        assert_eq!(
            hex(&hmac_sha1(b"", &[])),
            "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d"
        );
    }

    #[test]
    fn hex_reads_back_and_nothing_else_does() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 8 + at % 8).unwrap());
        assert_eq!(hex(&bytes).as_bytes(), hex32(&bytes));
        assert_eq!(unhex(&hex32(&bytes)), Some(bytes));
        assert_eq!(unhex(b"0aF0"), Some([0x0a, 0xf0]));
        for bad in ["", "0", "0g", "000", "+1", "é"] {
            assert_eq!(unhex::<1>(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_mac_has_one_spelling() {
        let mac = hmac_sha1(b"key", &[b"mes", b"sage"]);
        let text = base64(&mac);
        assert!(is_base64_of(text.as_bytes(), &mac));
        for other in [
            "",
            text.trim_end_matches('='),
            &format!("{text}="),
            &text.to_lowercase(),
        ] {
            assert!(!is_base64_of(other.as_bytes(), &mac), "{other}");
        }
        let mac = hmac_sha256(b"key", &[b"message"]);
        assert!(is_hex_of(hex(&mac).as_bytes(), &mac));
        assert!(!is_hex_of(hex(&mac).to_uppercase().as_bytes(), &mac));
        assert!(!is_hex_of(b"", &mac));
    }
}
