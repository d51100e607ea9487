//! A private key or a secret put to one algorithm: what signs.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, RsaEncoding, RsaKeyPair};

use super::algorithm::{Algorithm, KeyType};
use super::error::LoadError;
use super::hmac_key::HmacKey;
use super::key::{Key, PrivateKey};
use super::small_rsa::SmallPrivate;

/// Signs with one key, by one algorithm that fits it.
pub(super) enum Signer {
    Hmac(HmacKey),
    Rsa(Box<RsaKeyPair>, &'static dyn RsaEncoding),
    SmallRsa(Box<SmallPrivate>, Algorithm),
    Curve(Box<EcdsaKeyPair>),
}

impl Signer {
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, LoadError> {
        if key.is_empty() {
            return Err(LoadError::KeyMissing);
        }
        if algorithm.key_type() == KeyType::Secret {
            return HmacKey::new(algorithm, key).map(Self::Hmac);
        }
        let key = match Key::read(key)? {
            Key::Private(key) => key,
            Key::Public(_) => return Err(LoadError::PublicCannotSign),
        };
        let found = key.key_type();
        let mismatch = LoadError::Mismatch { algorithm, found };
        if algorithm.key_type() != found {
            return Err(mismatch);
        }
        Ok(match key {
            PrivateKey::Curve(_, pair) => Self::Curve(Box::new(pair)),
            PrivateKey::Rsa(pair) => {
                Self::Rsa(Box::new(pair), encoding(algorithm).ok_or(mismatch)?)
            }
            PrivateKey::SmallRsa(key) => {
                key.public().fits(algorithm)?;
                Self::SmallRsa(key, algorithm)
            }
        })
    }

    /// The signature of a message. Those of PS and ES algorithms differ each time.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => Some(key.sign(message)),
            Self::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
            Self::SmallRsa(key, algorithm) => key.sign(*algorithm, message),
            Self::Curve(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
        }
    }
}

fn encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_SHA512,
        _ => return None,
    })
}
