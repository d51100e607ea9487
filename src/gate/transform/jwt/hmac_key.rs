//! Secrets of the HS algorithms.
//!
//! Promise: signatures are compared in constant time and at full length; a secret that is really a
//! key of another kind is refused, since the public half of such a key is known to others, who could
//! sign with it.

use hmac::{Hmac, KeyInit as _, Mac};
use serde::Deserialize as _;
use sha2::{Sha256, Sha384, Sha512};

use super::MAX_KEY;
use super::algorithm::Algorithm;
use super::error::{KeyFault, LoadError};
use super::key::PublicKey;

/// A secret put to one algorithm.
pub(super) enum HmacKey {
    Hs256(Box<Hmac<Sha256>>),
    Hs384(Box<Hmac<Sha384>>),
    Hs512(Box<Hmac<Sha512>>),
}

impl HmacKey {
    /// Checks a secret and schedules it. Of any length, as the log-processing functions take them.
    pub(super) fn new(algorithm: Algorithm, secret: &[u8]) -> Result<Self, LoadError> {
        if secret.is_empty() {
            return Err(LoadError::KeyMissing);
        }
        if secret.len() > MAX_KEY {
            return Err(KeyFault::TooLong.into());
        }
        if is_of_another_kind(secret) {
            return Err(LoadError::NotASecret(algorithm));
        }
        let unfit = |_| LoadError::KeyMissing; // not reached: every length is a key
        Ok(match algorithm {
            Algorithm::HS256 => Self::Hs256(Box::new(Hmac::new_from_slice(secret).map_err(unfit)?)),
            Algorithm::HS384 => Self::Hs384(Box::new(Hmac::new_from_slice(secret).map_err(unfit)?)),
            Algorithm::HS512 => Self::Hs512(Box::new(Hmac::new_from_slice(secret).map_err(unfit)?)),
            _ => return Err(LoadError::AlgorithmsMixed),
        })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Hs256(key) => mac((**key).clone(), message),
            Self::Hs384(key) => mac((**key).clone(), message),
            Self::Hs512(key) => mac((**key).clone(), message),
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hs256(key) => matches((**key).clone(), message, signature),
            Self::Hs384(key) => matches((**key).clone(), message, signature),
            Self::Hs512(key) => matches((**key).clone(), message, signature),
        }
    }
}

fn mac<M: Mac>(mut mac: M, message: &[u8]) -> Vec<u8> {
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn matches<M: Mac>(mut mac: M, message: &[u8], signature: &[u8]) -> bool {
    mac.update(message);
    // Compares in constant time, and refuses every length but the full one.
    mac.verify_slice(signature).is_ok()
}

/// Whether a secret is a key of another kind: PEM, the public keys of SSH, DER, or a JWK.
fn is_of_another_kind(secret: &[u8]) -> bool {
    const SSH: [&[u8]; 5] = [
        b"ssh-rsa ",
        b"ssh-dss ",
        b"ssh-ed25519 ",
        b"ecdsa-sha2-",
        b"sk-",
    ];
    let text = secret.trim_ascii();
    let ssh = |start: &&[u8]| text.starts_with(start) && text.contains(&b' ');
    memchr::memmem::find(text, b"-----BEGIN ").is_some()
        || SSH.iter().any(ssh)
        || is_jwk(text)
        || PublicKey::is_one(secret)
}

fn is_jwk(text: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Jwk {
        #[serde(rename = "kty")]
        _kty: serde::de::IgnoredAny,
    }
    text.first() == Some(&b'{')
        && Jwk::deserialize(&mut serde_json::Deserializer::from_slice(text)).is_ok()
}
