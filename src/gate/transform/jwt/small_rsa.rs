//! RSA keys of 1024 to 2047 bits, for tokens of systems that still have them.
//!
//! Such keys can be broken with enough money and say little about who signed; they are here for
//! compatibility. AWS-LC does not sign with them, so this is the one place for the crate `rsa`. Its
//! arithmetic does not run in constant time (RUSTSEC-2023-0071): an attacker who can measure many
//! signatures closely may learn the key. Signing is blinded, which is the known remedy. Never for
//! identity, and never for keys of 2048 bits and more.

use rsa::pkcs1::{DecodeRsaPrivateKey as _, DecodeRsaPublicKey as _};
use rsa::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use rsa::rand_core::OsRng;
use rsa::sha2::{Digest as _, Sha256, Sha384, Sha512};
use rsa::traits::PublicKeyParts as _;
use rsa::{Pkcs1v15Sign, Pss, RsaPrivateKey, RsaPublicKey};

use super::algorithm::Algorithm;
use super::error::{KeyFault, LoadError};
use super::pem::Form;

const BITS: std::ops::Range<usize> = 1024..2048;

pub(super) struct SmallPrivate(RsaPrivateKey);

pub(super) struct SmallPublic(RsaPublicKey);

impl SmallPrivate {
    /// Reads a private key; `None` when it is not one of RSA.
    pub(super) fn read(form: Form, der: &[u8]) -> Result<Option<Self>, KeyFault> {
        let key = match form {
            Form::Pkcs8 => RsaPrivateKey::from_pkcs8_der(der).ok(),
            Form::Pkcs1 => RsaPrivateKey::from_pkcs1_der(der).ok(),
            _ => None,
        };
        match key {
            None => Ok(None),
            Some(key) if BITS.contains(&key.n().bits()) => Ok(Some(Self(key))),
            // One of 2048 bits and more that AWS-LC does not take is not sound.
            Some(key) if key.n().bits() >= BITS.end && key.n().bits() <= 8192 => {
                Err(KeyFault::Unknown)
            }
            Some(_) => Err(KeyFault::Strength),
        }
    }

    pub(super) fn public(&self) -> SmallPublic {
        SmallPublic(self.0.to_public_key())
    }

    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let hash = hash(algorithm, message)?;
        let mut random = OsRng;
        let signature = match padding(algorithm)? {
            Padding::Pkcs1(padding) => self.0.sign_with_rng(&mut random, padding, &hash),
            Padding::Pss(padding) => self.0.sign_with_rng(&mut random, padding, &hash),
        };
        signature.ok()
    }
}

impl SmallPublic {
    pub(super) fn read(form: Form, der: &[u8]) -> Result<Self, KeyFault> {
        let key = match form {
            Form::Spki => RsaPublicKey::from_public_key_der(der).ok(),
            Form::Pkcs1Public => RsaPublicKey::from_pkcs1_der(der).ok(),
            _ => None,
        };
        let key = key.ok_or(KeyFault::Unknown)?;
        if !BITS.contains(&key.n().bits()) {
            return Err(KeyFault::Strength);
        }
        Ok(Self(key))
    }

    /// Whether a signature of the algorithm has room in the modulus.
    pub(super) fn fits(&self, algorithm: Algorithm) -> Result<(), LoadError> {
        let (hash, others) = match algorithm {
            // The least room that padding and the name of the hash take (RFC 8017 section 9.2).
            Algorithm::RS256 => (32, 19 + 11),
            Algorithm::RS384 => (48, 19 + 11),
            Algorithm::RS512 => (64, 19 + 11),
            // Hash and a salt as long, and two bytes (section 9.1.1).
            Algorithm::PS256 => (32, 32 + 2),
            Algorithm::PS384 => (48, 48 + 2),
            Algorithm::PS512 => (64, 64 + 2),
            _ => return Ok(()), // another type of key: refused as a mismatch
        };
        // The message of PSS has one bit less than the modulus.
        let room = (self.0.n().bits() - 1).div_ceil(8);
        if hash + others > room {
            return Err(LoadError::TooShortFor(algorithm));
        }
        Ok(())
    }

    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let (Some(hash), Some(padding)) = (hash(algorithm, message), padding(algorithm)) else {
            return false;
        };
        match padding {
            Padding::Pkcs1(padding) => self.0.verify(padding, &hash, signature).is_ok(),
            Padding::Pss(padding) => self.0.verify(padding, &hash, signature).is_ok(),
        }
    }
}

enum Padding {
    Pkcs1(Pkcs1v15Sign),
    Pss(Pss),
}

fn padding(algorithm: Algorithm) -> Option<Padding> {
    // "Blinded" concerns how the signature is computed; what comes out is a plain one.
    Some(match algorithm {
        Algorithm::RS256 => Padding::Pkcs1(Pkcs1v15Sign::new::<Sha256>()),
        Algorithm::RS384 => Padding::Pkcs1(Pkcs1v15Sign::new::<Sha384>()),
        Algorithm::RS512 => Padding::Pkcs1(Pkcs1v15Sign::new::<Sha512>()),
        Algorithm::PS256 => Padding::Pss(Pss::new_blinded::<Sha256>()),
        Algorithm::PS384 => Padding::Pss(Pss::new_blinded::<Sha384>()),
        Algorithm::PS512 => Padding::Pss(Pss::new_blinded::<Sha512>()),
        _ => return None,
    })
}

fn hash(algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
    Some(match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => Sha256::digest(message).to_vec(),
        Algorithm::RS384 | Algorithm::PS384 => Sha384::digest(message).to_vec(),
        Algorithm::RS512 | Algorithm::PS512 => Sha512::digest(message).to_vec(),
        _ => return None,
    })
}
