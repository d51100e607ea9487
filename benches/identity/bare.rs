//! The primitives by themselves, on the same bytes and by the same implementations.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::fixture::{PATH, Signed, keys};

/// The headers that both versions sign, a line each.
fn signed_lines(request: &Signed, more: &[&str]) -> (String, Vec<String>) {
    let mut names: Vec<String> = request
        .headers
        .keys()
        .map(ToString::to_string)
        .filter(|name| {
            let of_store = name.starts_with("x-log-") || name.starts_with("x-acs-");
            of_store || more.contains(&name.as_str())
        })
        .collect();
    names.sort();
    let lines = names
        .iter()
        .map(|name| format!("{name}:{}\n", request.header(name)))
        .collect();
    (lines, names)
}

/// HMAC-SHA1 of what version 1 signs, and MD5 of the body.
pub struct V1 {
    secret: Vec<u8>,
    text: Vec<u8>,
    signature: Vec<u8>,
    md5: String,
}

impl V1 {
    pub fn of(request: &Signed) -> Self {
        let (lines, _) = signed_lines(request, &[]);
        let md5 = request.header("content-md5");
        let text = format!(
            "POST\n{md5}\n{}\n{}\n{lines}{PATH}",
            request.header("content-type"),
            request.header("date")
        );
        let (_, signature) = request.header("authorization").split_once(':').expect("it");
        Self {
            secret: request.secret.clone().into_bytes(),
            text: text.into_bytes(),
            signature: STANDARD.decode(signature).expect("base64"),
            md5: md5.to_owned(),
        }
    }

    /// Panics unless the signature is right: the primitives work on the very bytes.
    pub fn check(&self, body: &[u8]) -> usize {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).expect("a key");
        mac.update(&self.text);
        assert_eq!(mac.finalize().into_bytes()[..], self.signature);
        let digest = Md5::digest(body);
        assert_eq!(digest.len(), self.md5.len() / 2);
        digest.len()
    }
}

/// The derivation of the key of version 4, its MAC, and SHA-256 of request and body.
pub struct V4 {
    secret: Vec<u8>,
    day: String,
    canonical: Vec<u8>,
    before_hash: String,
    signature: String,
}

impl V4 {
    pub fn of(request: &Signed) -> Self {
        let (lines, names) = signed_lines(request, &["content-type", "host"]);
        let canonical = format!(
            "POST\n{PATH}\n\n{lines}\n{}\n{}",
            names.join(";"),
            request.header("x-log-content-sha256")
        );
        let date = request.header("x-log-date");
        let (day, _) = date.split_once('T').expect("a date");
        let authorization = request.header("authorization");
        let (_, signature) = authorization.split_once("Signature=").expect("it");
        Self {
            secret: format!("aliyun_v4{}", request.secret).into_bytes(),
            day: day.to_owned(),
            canonical: canonical.into_bytes(),
            before_hash: format!(
                "SLS4-HMAC-SHA256\n{date}\n{day}/cn-hangzhou/sls/aliyun_v4_request\n"
            ),
            signature: signature.to_owned(),
        }
    }

    pub fn check(&self, body: &[u8]) -> usize {
        let mac = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key");
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes()
        };
        let mut key = mac(&self.secret, &[self.day.as_bytes()]);
        for part in ["cn-hangzhou", "sls", "aliyun_v4_request"] {
            key = mac(&key, &[part.as_bytes()]);
        }
        let mut hex = [0; 64];
        write_hex(&Sha256::digest(&self.canonical), &mut hex);
        let made = mac(&key, &[self.before_hash.as_bytes(), &hex]);
        write_hex(&made, &mut hex);
        assert_eq!(hex, self.signature.as_bytes());
        Sha256::digest(body).len()
    }
}

fn write_hex(bytes: &[u8], out: &mut [u8; 64]) {
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Base64 and AES-256-GCM of a token as long as a given one.
pub struct Sealed {
    key: LessSafeKey,
    text: String,
}

const HEADER: usize = 20;
const TAG: usize = 16;

impl Sealed {
    pub fn like(token: &str) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("a key");
        let key = LessSafeKey::new(key);
        let length = STANDARD.decode(token).expect("base64").len();
        let mut bytes = vec![b'x'; length - HEADER - TAG];
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        key.seal_in_place_append_tag(nonce, Aad::from([0; HEADER]), &mut bytes)
            .expect("sealed");
        bytes.splice(0..0, [0; HEADER]);
        Self {
            key,
            text: STANDARD.encode(&bytes),
        }
    }

    pub fn open(&self) -> usize {
        let mut buffer = [0; 4096];
        let length = STANDARD
            .decode_slice(&self.text, &mut buffer)
            .expect("base64");
        let (header, sealed) = buffer[..length].split_at_mut(HEADER);
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let plain = self.key.open_in_place(nonce, Aad::from(header), sealed);
        plain.expect("opened").len()
    }
}

/// The parts of a token of JSON Web Signatures: three times base64, and what is signed.
struct Compact {
    header: String,
    payload: String,
    message: String,
    signature: String,
}

impl Compact {
    fn of(token: &str) -> Self {
        let (message, signature) = token.rsplit_once('.').expect("a token");
        let (header, payload) = message.split_once('.').expect("a token");
        Self {
            header: header.to_owned(),
            payload: payload.to_owned(),
            message: message.to_owned(),
            signature: signature.to_owned(),
        }
    }

    fn decode(&self, out: &mut [u8; 1024]) -> usize {
        let mut length = 0;
        for part in [&self.header, &self.payload, &self.signature] {
            length = URL_SAFE_NO_PAD.decode_slice(part, out).expect("base64");
        }
        length
    }
}

/// Base64 and HMAC-SHA256 of a token, with a key that was scheduled before.
pub struct Hs256 {
    token: Compact,
    mac: Hmac<Sha256>,
}

impl Hs256 {
    pub fn of(token: &str, secret: &[u8]) -> Self {
        Self {
            token: Compact::of(token),
            mac: Hmac::new_from_slice(secret).expect("a key"),
        }
    }

    pub fn check(&self) -> usize {
        let mut decoded = [0; 1024];
        let length = self.token.decode(&mut decoded);
        let mut mac = self.mac.clone();
        mac.update(self.token.message.as_bytes());
        mac.verify_slice(&decoded[..length]).expect("it is right");
        length
    }
}

/// Base64 of a token and its signature by a public key that was parsed before.
pub struct Public {
    token: Compact,
    key: ParsedPublicKey,
}

impl Public {
    pub fn of(token: &str, kid: &str) -> Self {
        let path = keys().join(format!("{kid}.pub.pem"));
        let der = SubjectPublicKeyInfoDer::from_pem_file(path).expect("a key");
        let algorithm: &'static dyn VerificationAlgorithm = match kid {
            "rsa" => &RSA_PKCS1_2048_8192_SHA256,
            _ => &ECDSA_P256_SHA256_FIXED,
        };
        Self {
            token: Compact::of(token),
            key: ParsedPublicKey::new(algorithm, der.as_ref()).expect("a key"),
        }
    }

    pub fn check(&self) -> usize {
        let mut decoded = [0; 1024];
        let length = self.token.decode(&mut decoded);
        let message = self.token.message.as_bytes();
        let verified = self.key.verify_sig(message, &decoded[..length]);
        verified.expect("it is right");
        length
    }
}

/// SHA-256 of a token, which is the name of its kept verdict.
pub fn digest_of(token: &str) -> usize {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    usize::from(digest.as_ref()[0])
}
