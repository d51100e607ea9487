//! The token of a ticket: an HS256 JWT with the header and the members that SLS publishes for its
//! share links. It only names the record; what it may do is kept here (`tickets`).
//!
//! The header is compared byte for byte: a ticket is made here or nowhere, so there is no other
//! algorithm to be talked into.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::ticket_id::TicketId;
use crate::event::{Reason, Refusal};
use crate::foundation::secret::Secret;

/// Tokens longer than this are refused unread. Ours have about 260 bytes.
pub(super) const MAX_TOKEN: usize = 512;
/// `{"typ":"JWT","alg":"HS256"}`.
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9";

/// The members of the token, in the order in which they are published.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TicketClaims<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: &'a str,
    /// Unix seconds.
    pub(super) exp: u64,
    /// The time at which it was made, in milliseconds.
    pub(super) nonce: u64,
    /// Unix seconds.
    pub(super) iat: u64,
    #[serde(rename = "ticketId")]
    pub(super) ticket_id: TicketId,
}

/// Whether a token has the form of a ticket's, true or forged. It looks at no more than
/// 512 bytes, and verifies nothing.
#[must_use]
pub fn looks_like_ticket(token: &[u8]) -> bool {
    if token.len() > MAX_TOKEN {
        return false;
    }
    let Some(payload) = token
        .strip_prefix(HEADER.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"."))
    else {
        return false;
    };
    let payload = payload.split(|b| *b == b'.').next().unwrap_or_default();
    let mut decoded = [0u8; MAX_TOKEN];
    let Ok(length) = URL_SAFE_NO_PAD.decode_slice(payload, &mut decoded) else {
        return false;
    };
    let decoded = decoded.get(..length).unwrap_or_default();
    decoded.starts_with(b"{\"type\":\"")
        && memchr::memmem::find(decoded, b"\"ticketId\":\"").is_some()
}

/// The keys of tickets: the first signs, all of them verify.
pub(super) struct TicketKeys(Vec<Hmac<Sha256>>);

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKeys({} hidden)", self.0.len())
    }
}

impl TicketKeys {
    pub(super) fn new(secrets: &[Secret]) -> Self {
        // HMAC takes keys of every length.
        let mac = |secret: &Secret| Hmac::new_from_slice(secret.expose()).ok();
        Self(secrets.iter().filter_map(mac).collect())
    }

    /// The token with these members; none when there is no key.
    pub(super) fn sign(&self, claims: &TicketClaims<'_>) -> Option<String> {
        let payload = serde_json::to_vec(claims).ok()?;
        let message = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(payload));
        let mut mac = self.0.first()?.clone();
        mac.update(message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        Some(format!("{message}.{signature}"))
    }

    /// The payload of a token that one of the keys has signed.
    pub(super) fn verify(&self, token: &[u8]) -> Result<Vec<u8>, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TokenMalformed.into());
        }
        let token = std::str::from_utf8(token).map_err(|_| Reason::TokenMalformed)?;
        let (message, signature) = token.rsplit_once('.').ok_or(Reason::TokenMalformed)?;
        let (header, payload) = message.split_once('.').ok_or(Reason::TokenMalformed)?;
        if header != HEADER {
            return Err(Reason::TokenMalformed.into());
        }
        let mut decoded = [0u8; 64];
        let length = URL_SAFE_NO_PAD
            .decode_slice(signature, &mut decoded)
            .map_err(|_| Reason::TokenSignature)?;
        let signature = decoded.get(..length).unwrap_or_default();
        let signed_by = |mac: &Hmac<Sha256>| {
            let mut mac = mac.clone();
            mac.update(message.as_bytes());
            // In constant time, and of no length but the full one.
            mac.verify_slice(signature).is_ok()
        };
        if !self.0.iter().any(signed_by) {
            return Err(Reason::TokenSignature.into());
        }
        URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| Reason::TokenMalformed.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published for a share link, signed here with `secret-of-32-bytes-or-more-12345`.
    const PAYLOAD: &str = r#"{"type":"share-dashboard","exp":4102415999,"nonce":1709189344373,"iat":1709189344,"ticketId":"e0f7faec-e9b1-48ac-94d0-884fe3b1d43d"}"#;

    fn keys(secret: &str) -> TicketKeys {
        TicketKeys::new(&[Secret::new(secret)])
    }

    #[test]
    fn header_and_payload_are_byte_for_byte_as_published() {
        let claims: TicketClaims<'_> = serde_json::from_str(PAYLOAD).unwrap();
        let token = keys("secret-of-32-bytes-or-more-12345")
            .sign(&claims)
            .unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let decode = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decode(parts[0]), r#"{"typ":"JWT","alg":"HS256"}"#);
        assert_eq!(decode(parts[1]), PAYLOAD);
        // The same by an independent implementation.
        let key = jsonwebtoken::EncodingKey::from_secret(b"secret-of-32-bytes-or-more-12345");
        let message = format!("{}.{}", parts[0], parts[1]);
        let _first = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
            .install_default()
            .is_ok();
        let other =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
        assert_eq!(other.unwrap(), parts[2]);
        assert!(looks_like_ticket(token.as_bytes()));
    }

    #[test]
    fn every_key_verifies_and_only_the_first_signs() {
        let claims: TicketClaims<'_> = serde_json::from_str(PAYLOAD).unwrap();
        let old = keys("old").sign(&claims).unwrap();
        let both = TicketKeys::new(&[Secret::new("new"), Secret::new("old")]);
        assert_eq!(both.verify(old.as_bytes()).unwrap(), PAYLOAD.as_bytes());
        let fresh = both.sign(&claims).unwrap();
        assert!(keys("new").verify(fresh.as_bytes()).is_ok());
        assert_eq!(
            keys("old").verify(fresh.as_bytes()).unwrap_err().reason(),
            Reason::TokenSignature
        );
        assert!(TicketKeys::new(&[]).verify(old.as_bytes()).is_err());
    }

    #[test]
    fn a_changed_token_is_refused_wherever_it_is_changed() {
        let claims: TicketClaims<'_> = serde_json::from_str(PAYLOAD).unwrap();
        let keys = keys("secret");
        let good = keys.sign(&claims).unwrap().into_bytes();
        for at in 0..good.len() {
            for change in [1u8, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= change;
                assert!(keys.verify(&bad).is_err(), "byte {at} ^ {change}");
                // It may look like one, but it must not panic.
                let _seen = looks_like_ticket(&bad);
            }
            assert!(keys.verify(&good[..at]).is_err(), "cut at {at}");
        }
        let longer = [good.as_slice(), b"A"].concat();
        assert!(keys.verify(&longer).is_err());
        assert!(keys.verify(&[b'a'; MAX_TOKEN + 1]).is_err());
    }

    #[test]
    fn other_tokens_do_not_look_like_tickets() {
        let token = |header: &str, payload: &str| {
            let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
            format!("{}.{}.AAAA", encode(header), encode(payload))
        };
        let published = r#"{"typ":"JWT","alg":"HS256"}"#;
        assert!(looks_like_ticket(token(published, PAYLOAD).as_bytes()));
        for other in [
            token(published, r#"{"iss":"a","ticketId":"x"}"#),
            token(published, r#"{"type":"a"}"#),
            token(r#"{"alg":"none"}"#, PAYLOAD),
            token(r#"{"alg":"HS256","typ":"JWT"}"#, PAYLOAD),
            format!("{HEADER}.!!!.AAAA"),
            HEADER.to_owned(),
            String::new(),
            "a".repeat(1 << 20),
        ] {
            assert!(!looks_like_ticket(other.as_bytes()), "{other:.80}");
        }
    }
}
