//! Temporary credentials, made.
//!
//! Promise: ids and secrets are of random letters and digits, about 154 and 238 bits. Without
//! randomness nothing is made.

use std::fmt;

use serde::Serialize;

use super::ring::{KeyRing, NONCE};
use super::seal::Grant;
use crate::foundation::secret::Secret;
use crate::gate::identity::Origin;
use crate::gate::identity::access_keys::TEMPORARY;
use crate::logstore::signature::iso_date;

/// Characters of an id after its beginning, and of a secret.
const ID: usize = 26;
const SECRET: usize = 40;

/// Temporary credentials in the form that clients know: `AccessKeyId`, `AccessKeySecret`,
/// `SecurityToken` and `Expiration` (ISO 8601, UTC).
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of the answer")]
pub struct Credentials {
    pub access_key_id: String,
    pub access_key_secret: String,
    pub security_token: String,
    pub expiration: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .field("expiration", &self.expiration)
            .finish_non_exhaustive()
    }
}

/// What credentials are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) role_arn: &'a str,
    pub(super) session_name: &'a str,
    pub(super) origin: &'a Origin,
    pub(super) policy: Option<&'a str>,
    /// Seconds.
    pub(super) duration: u64,
}

impl Credentials {
    /// Makes credentials; `None` without randomness.
    pub(super) fn make(wanted: &Wanted<'_>, ring: &KeyRing, unix_seconds: u64) -> Option<Self> {
        let secret = random_text::<SECRET>()?;
        let expires_at = unix_seconds.saturating_add(wanted.duration);
        let grant = Grant {
            role_arn: wanted.role_arn.to_owned(),
            session_name: wanted.session_name.to_owned(),
            access_key_id: format!("{TEMPORARY}{}", random_text::<ID>()?),
            secret: Secret::new(secret.as_bytes()),
            issued_at: unix_seconds,
            expires_at,
            origin: wanted.origin.clone(),
            policy: wanted.policy.map(str::to_owned),
        };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let security_token = grant.seal(ring, nonce).ok()?;
        Some(Self {
            access_key_id: grant.access_key_id,
            access_key_secret: secret,
            security_token,
            expiration: iso_date(expires_at),
        })
    }
}

/// Random letters and digits, each equally likely.
fn random_text<const N: usize>() -> Option<String> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    /// The largest multiple of 62 in a byte. Bytes from here on would favour the first letters.
    const FAIR: u8 = 248;
    let mut text = String::with_capacity(N);
    while text.len() < N {
        let mut bytes = [0u8; N];
        getrandom::fill(&mut bytes).ok()?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let letters = fair.filter_map(|byte| LETTERS.get(usize::from(byte % 62)));
        text.extend(letters.take(N - text.len()).map(|byte| char::from(*byte)));
    }
    Some(text)
}

/// 16 random bytes in the form of a UUID, upper case: ids of requests to the token service.
pub(super) fn request_id() -> String {
    let random = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
    let (high, low) = random.unwrap_or_default();
    let text = format!("{high:016X}{low:016X}");
    let mut id = String::with_capacity(36);
    for (at, digit) in text.chars().enumerate() {
        if matches!(at, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_have_their_length_use_every_letter_and_differ() {
        let texts: Vec<String> = (0..100).map(|_| random_text::<40>().unwrap()).collect();
        let mut letters: Vec<char> = texts.iter().flat_map(|text| text.chars()).collect();
        assert_eq!(letters.len(), 4000);
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), 62);
        assert_ne!(texts[0], texts[1]);
    }

    #[test]
    fn an_id_of_a_request_is_a_uuid_in_upper_case() {
        let id = request_id();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(id, id.to_uppercase());
        assert_ne!(id, request_id());
    }
}
