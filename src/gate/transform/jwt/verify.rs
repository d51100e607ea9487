//! A key put to the algorithms that it is allowed for: what verifies.
//!
//! Promise: a token is verified with an algorithm of the list and of the type of the key, or not at
//! all. What its header says chooses among these and does nothing else.

use std::sync::Arc;

use aws_lc_rs::signature::ParsedPublicKey;

use super::algorithm::{Algorithm, KeyType};
use super::error::LoadError;
use super::hmac_key::HmacKey;
use super::key::{self, Key, PublicKey};
use super::small_rsa::SmallPublic;

pub(super) struct Verifier(Vec<(Algorithm, Method)>);

enum Method {
    Hmac(HmacKey),
    Public(ParsedPublicKey),
    SmallRsa(Arc<SmallPublic>),
}

impl Verifier {
    pub(super) fn new(algorithms: &[Algorithm], key: &[u8]) -> Result<Self, LoadError> {
        let secrets = |it: &&Algorithm| it.key_type() == KeyType::Secret;
        let symmetric = algorithms.iter().filter(secrets).count();
        if algorithms.is_empty() {
            return Err(LoadError::AlgorithmsMissing);
        }
        if symmetric > 0 && symmetric < algorithms.len() {
            return Err(LoadError::AlgorithmsMixed);
        }
        if key.is_empty() {
            return Err(LoadError::KeyMissing);
        }
        let mut methods = Vec::new();
        if symmetric > 0 {
            for algorithm in algorithms {
                methods.push((*algorithm, Method::Hmac(HmacKey::new(*algorithm, key)?)));
            }
            return Ok(Self(methods));
        }
        let key = Key::read(key)?.into_public()?;
        let found = key.key_type();
        let mismatch = |algorithm: &Algorithm| LoadError::Mismatch {
            algorithm: *algorithm,
            found,
        };
        if let Some(other) = algorithms.iter().find(|it| it.key_type() != found) {
            return Err(mismatch(other));
        }
        match key {
            PublicKey::Known(_, bytes) => {
                for algorithm in algorithms {
                    let parsed = key::parse(*algorithm, &bytes);
                    let parsed = parsed.ok_or_else(|| mismatch(algorithm))?;
                    methods.push((*algorithm, Method::Public(parsed)));
                }
            }
            PublicKey::SmallRsa(small) => {
                let small = Arc::new(small);
                for algorithm in algorithms {
                    small.fits(*algorithm)?;
                    methods.push((*algorithm, Method::SmallRsa(Arc::clone(&small))));
                }
            }
        }
        Ok(Self(methods))
    }

    /// Whether `signature` is one of `message`; `None` when the algorithm is not allowed.
    pub(super) fn verify(&self, name: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
        let mut methods = self.0.iter();
        let (algorithm, method) = methods.find(|(it, _)| it.as_str() == name)?;
        Some(match method {
            Method::Hmac(key) => key.verify(message, signature),
            Method::Public(key) => key.verify_sig(message, signature).is_ok(),
            Method::SmallRsa(key) => key.verify(*algorithm, message, signature),
        })
    }
}
