//! Keys of public-key algorithms: read from PEM, their type and strength known.
//!
//! Promise: a key that stands here is sound for its type. RSA keys of 2048 bits and more, and those
//! of curves, belong to AWS-LC; shorter RSA keys, which it does not sign with, to
//! [`small_rsa`](super::small_rsa).

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    self, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _, ParsedPublicKey, RsaKeyPair,
    VerificationAlgorithm,
};

use super::algorithm::{Algorithm, KeyType};
use super::error::KeyFault;
use super::pem::{self, Form};
use super::small_rsa::{SmallPrivate, SmallPublic};

/// The curves, each with the one algorithm that it is for.
const CURVES: [Algorithm; 3] = [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512];

/// A private or a public key.
pub(super) enum Key {
    Private(PrivateKey),
    Public(PublicKey),
}

pub(super) enum PrivateKey {
    Rsa(RsaKeyPair),
    SmallRsa(Box<SmallPrivate>),
    Curve(KeyType, EcdsaKeyPair),
}

pub(super) enum PublicKey {
    /// A type, and SubjectPublicKeyInfo or the bare point of a curve.
    Known(KeyType, Vec<u8>),
    SmallRsa(SmallPublic),
}

impl Key {
    /// Reads PEM.
    pub(super) fn read(text: &[u8]) -> Result<Self, KeyFault> {
        let (form, der) = pem::read(text)?;
        match form {
            Form::Pkcs8 | Form::Pkcs1 | Form::Sec1 => {
                PrivateKey::read(form, &der).map(Self::Private)
            }
            Form::Spki => PublicKey::from_spki(&der).map(Self::Public),
            Form::Pkcs1Public => PublicKey::from_pkcs1(&der).map(Self::Public),
        }
    }

    /// What verifies: the key itself, or the public half of it.
    pub(super) fn into_public(self) -> Result<PublicKey, KeyFault> {
        match self {
            Self::Public(key) => Ok(key),
            Self::Private(PrivateKey::Rsa(pair)) => {
                PublicKey::from_pkcs1(pair.public_key().as_ref())
            }
            Self::Private(PrivateKey::SmallRsa(key)) => Ok(PublicKey::SmallRsa(key.public())),
            Self::Private(PrivateKey::Curve(kind, pair)) => {
                Ok(PublicKey::Known(kind, pair.public_key().as_ref().to_vec()))
            }
        }
    }
}

impl PrivateKey {
    fn read(form: Form, der: &[u8]) -> Result<Self, KeyFault> {
        if form != Form::Sec1 {
            let pair = match form {
                Form::Pkcs8 => RsaKeyPair::from_pkcs8(der),
                _ => RsaKeyPair::from_der(der),
            };
            if let Ok(pair) = pair {
                return Ok(Self::Rsa(pair));
            }
            if let Some(key) = SmallPrivate::read(form, der)? {
                return Ok(Self::SmallRsa(Box::new(key)));
            }
        }
        for curve in CURVES {
            let signing = signing(curve).ok_or(KeyFault::Unknown)?;
            let pair = match form {
                Form::Sec1 => EcdsaKeyPair::from_private_key_der(signing, der),
                _ => EcdsaKeyPair::from_pkcs8(signing, der),
            };
            if let Ok(pair) = pair {
                return Ok(Self::Curve(curve.key_type(), pair));
            }
        }
        Err(KeyFault::Unknown)
    }

    pub(super) fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa(_) | Self::SmallRsa(_) => KeyType::Rsa,
            Self::Curve(kind, _) => *kind,
        }
    }
}

impl PublicKey {
    /// A SubjectPublicKeyInfo.
    fn from_spki(der: &[u8]) -> Result<Self, KeyFault> {
        // A bare point also parses; it does not begin like DER.
        if der.first() != Some(&0x30) {
            return Err(KeyFault::Unknown);
        }
        for curve in CURVES {
            if parse(curve, der).is_some() {
                return Ok(Self::Known(curve.key_type(), der.to_vec()));
            }
        }
        if parse(Algorithm::RS256, der).is_some() && PublicEncryptingKey::from_der(der).is_ok() {
            return Ok(Self::Known(KeyType::Rsa, der.to_vec()));
        }
        SmallPublic::read(Form::Spki, der).map(Self::SmallRsa)
    }

    /// An RSAPublicKey.
    fn from_pkcs1(der: &[u8]) -> Result<Self, KeyFault> {
        if let Some(key) = parse(Algorithm::RS256, der) {
            let spki: PublicKeyX509Der<'_> = key.as_der().map_err(|_| KeyFault::Unknown)?;
            return Self::from_spki(spki.as_ref());
        }
        SmallPublic::read(Form::Pkcs1Public, der).map(Self::SmallRsa)
    }

    pub(super) fn key_type(&self) -> KeyType {
        match self {
            Self::Known(kind, _) => *kind,
            Self::SmallRsa(_) => KeyType::Rsa,
        }
    }

    /// Whether bytes that are meant as a secret are a public key.
    pub(super) fn is_one(der: &[u8]) -> bool {
        der.first() == Some(&0x30)
            && (Self::from_spki(der).is_ok() || Self::from_pkcs1(der).is_ok())
    }
}

/// What signs on a curve.
fn signing(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    Some(match algorithm {
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
        Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => return None,
    })
}

/// A key put to an algorithm, if it fits.
pub(super) fn parse(algorithm: Algorithm, bytes: &[u8]) -> Option<ParsedPublicKey> {
    let verification: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return None,
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
    };
    ParsedPublicKey::new(verification, bytes).ok()
}
