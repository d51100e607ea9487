//! A key put to one algorithm: what checks a signature.
//!
//! Promise: a [`Method`] exists only for an algorithm that fits the type of the key, RSA keys have
//! 2048 to 8192 bits, and no signature is accepted in two encodings of base64. HMACs are compared
//! in constant time. ECDSA signatures are `r || s` of fixed length (RFC 7518 section 3.4), never
//! DER; the salt of RSA-PSS is as long as the hash (section 3.5).

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _};
use sha2::{Sha256, Sha384, Sha512};

use crate::config::JwtAlgorithm;

/// The longest signature: RSA with 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// Types of key (RFC 7518 section 6, RFC 8037), as far as they verify here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyType {
    Secret,
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeyType {
    /// The one type that an algorithm is for.
    pub(super) fn of(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512 => Self::Secret,
            JwtAlgorithm::RS256
            | JwtAlgorithm::RS384
            | JwtAlgorithm::RS512
            | JwtAlgorithm::PS256
            | JwtAlgorithm::PS384
            | JwtAlgorithm::PS512 => Self::Rsa,
            JwtAlgorithm::ES256 => Self::P256,
            JwtAlgorithm::ES384 => Self::P384,
            JwtAlgorithm::EdDSA => Self::Ed25519,
        }
    }

    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Secret => "a secret",
            Self::Rsa => "an RSA key",
            Self::P256 => "a P-256 key",
            Self::P384 => "a P-384 key",
            Self::Ed25519 => "an Ed25519 key",
        }
    }
}

/// The algorithm of this name. `none` is not one.
pub(super) fn algorithm_named(name: &str) -> Option<JwtAlgorithm> {
    Some(match name {
        "HS256" => JwtAlgorithm::HS256,
        "HS384" => JwtAlgorithm::HS384,
        "HS512" => JwtAlgorithm::HS512,
        "RS256" => JwtAlgorithm::RS256,
        "RS384" => JwtAlgorithm::RS384,
        "RS512" => JwtAlgorithm::RS512,
        "PS256" => JwtAlgorithm::PS256,
        "PS384" => JwtAlgorithm::PS384,
        "PS512" => JwtAlgorithm::PS512,
        "ES256" => JwtAlgorithm::ES256,
        "ES384" => JwtAlgorithm::ES384,
        "EdDSA" => JwtAlgorithm::EdDSA,
        _ => return None,
    })
}

/// The least length of a secret in bytes: that of the hash (RFC 7518 section 3.2).
pub(super) fn shortest_secret(algorithm: JwtAlgorithm) -> usize {
    match algorithm {
        JwtAlgorithm::HS384 => 48,
        JwtAlgorithm::HS512 => 64,
        _ => 32,
    }
}

/// A public key whose form and strength have been checked.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    pub(super) kind: KeyType,
    /// SubjectPublicKeyInfo, or the bare point of an EC or Ed25519 key.
    bytes: Vec<u8>,
}

/// Why something is no public key to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PublicKeyFault {
    #[error("it is not a public key of RSA, P-256, P-384 or Ed25519")]
    Unknown,
    #[error("RSA keys must have 2048 to 8192 bits")]
    Strength,
    #[error("the point is not on its curve")]
    Point,
}

impl PublicKey {
    /// A SubjectPublicKeyInfo (RFC 5280 section 4.1).
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, PublicKeyFault> {
        for algorithm in [
            JwtAlgorithm::EdDSA,
            JwtAlgorithm::ES256,
            JwtAlgorithm::ES384,
        ] {
            // A bare point also parses; it is shorter than any SubjectPublicKeyInfo of its type.
            if der.first() == Some(&0x30) && parse(algorithm, der).is_some() {
                return Ok(Self {
                    kind: KeyType::of(algorithm),
                    bytes: der.to_vec(),
                });
            }
        }
        parse(JwtAlgorithm::RS256, der).ok_or(PublicKeyFault::Unknown)?;
        PublicEncryptingKey::from_der(der).map_err(|_| PublicKeyFault::Strength)?;
        Ok(Self {
            kind: KeyType::Rsa,
            bytes: der.to_vec(),
        })
    }

    /// An RSAPublicKey (RFC 8017 appendix A.1.1).
    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, PublicKeyFault> {
        let key = parse(JwtAlgorithm::RS256, der).ok_or(PublicKeyFault::Unknown)?;
        let spki: PublicKeyX509Der<'_> = key.as_der().map_err(|_| PublicKeyFault::Unknown)?;
        Self::from_spki(spki.as_ref())
    }

    /// Modulus and exponent, big-endian (RFC 7518 section 6.3.1).
    pub(super) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, PublicKeyFault> {
        let components = RsaPublicKeyComponents {
            n: modulus,
            e: exponent,
        };
        let spki = components.as_der().map_err(|_| PublicKeyFault::Unknown)?;
        Self::from_spki(spki.as_ref())
    }

    /// The coordinates of a point, each of the curve's full length (RFC 7518 section 6.2.1).
    pub(super) fn from_point(kind: KeyType, x: &[u8], y: &[u8]) -> Result<Self, PublicKeyFault> {
        let (length, algorithm) = match kind {
            KeyType::P256 => (32, JwtAlgorithm::ES256),
            KeyType::P384 => (48, JwtAlgorithm::ES384),
            _ => return Err(PublicKeyFault::Unknown),
        };
        if x.len() != length || y.len() != length {
            return Err(PublicKeyFault::Point);
        }
        let bytes = [&[4], x, y].concat();
        parse(algorithm, &bytes).ok_or(PublicKeyFault::Point)?;
        Ok(Self { kind, bytes })
    }

    /// The 32 bytes of an Ed25519 key (RFC 8037 section 2).
    pub(super) fn from_ed25519(x: &[u8]) -> Result<Self, PublicKeyFault> {
        if x.len() != 32 {
            return Err(PublicKeyFault::Point);
        }
        parse(JwtAlgorithm::EdDSA, x).ok_or(PublicKeyFault::Point)?;
        Ok(Self {
            kind: KeyType::Ed25519,
            bytes: x.to_vec(),
        })
    }
}

fn parse(algorithm: JwtAlgorithm, bytes: &[u8]) -> Option<ParsedPublicKey> {
    ParsedPublicKey::new(verification(algorithm)?, bytes).ok()
}

fn verification(algorithm: JwtAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        JwtAlgorithm::HS256 | JwtAlgorithm::HS384 | JwtAlgorithm::HS512 => return None,
        JwtAlgorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        JwtAlgorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        JwtAlgorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        JwtAlgorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        JwtAlgorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        JwtAlgorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        JwtAlgorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        JwtAlgorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        JwtAlgorithm::EdDSA => &signature::ED25519,
    })
}

/// Checks signatures of one algorithm with one key. Secrets are scheduled and public keys parsed
/// once, here.
pub(super) enum Method {
    Hs256(Hmac<Sha256>),
    Hs384(Box<Hmac<Sha384>>),
    Hs512(Box<Hmac<Sha512>>),
    Public(ParsedPublicKey),
}

impl Method {
    /// HMAC with a secret.
    pub(super) fn of_secret(algorithm: JwtAlgorithm, secret: &[u8]) -> Option<Self> {
        // HMAC takes keys of every length, so only the algorithm can be wrong.
        match algorithm {
            JwtAlgorithm::HS256 => Hmac::new_from_slice(secret).ok().map(Self::Hs256),
            JwtAlgorithm::HS384 => {
                let mac = Hmac::new_from_slice(secret).ok()?;
                Some(Self::Hs384(Box::new(mac)))
            }
            JwtAlgorithm::HS512 => {
                let mac = Hmac::new_from_slice(secret).ok()?;
                Some(Self::Hs512(Box::new(mac)))
            }
            _ => None,
        }
    }

    /// A signature algorithm with a public key of its type.
    pub(super) fn of_public(algorithm: JwtAlgorithm, key: &PublicKey) -> Option<Self> {
        if KeyType::of(algorithm) != key.kind {
            return None;
        }
        parse(algorithm, &key.bytes).map(Self::Public)
    }

    /// Whether `signature`, in base64url, is one of `message`.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Option<Proof> {
        match self {
            Self::Hs256(mac) => hmac_matches(mac.clone(), message, signature),
            Self::Hs384(mac) => hmac_matches((**mac).clone(), message, signature),
            Self::Hs512(mac) => hmac_matches((**mac).clone(), message, signature),
            Self::Public(key) => {
                let mut decoded = [0u8; MAX_SIGNATURE];
                let signature = decode(signature, &mut decoded)?;
                key.verify_sig(message, signature).ok()?;
                Some(Proof::Public)
            }
        }
    }
}

/// That a signature is one of its message.
#[derive(Clone, Copy)]
pub(super) enum Proof {
    /// The start of the MAC. Nobody without the secret finds two messages with the same.
    Mac([u8; 16]),
    Public,
}

fn hmac_matches<M: hmac::Mac>(mut mac: M, message: &[u8], signature: &[u8]) -> Option<Proof> {
    let mut decoded = [0u8; 64];
    let signature = decode(signature, &mut decoded)?;
    mac.update(message);
    // Compares in constant time, and refuses every length but the full one.
    mac.verify_slice(signature).ok()?;
    signature.first_chunk().copied().map(Proof::Mac)
}

/// Bytes of base64url without padding and without bits left over: one text for one value.
fn decode<'b>(text: &[u8], into: &'b mut [u8]) -> Option<&'b [u8]> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, into).ok()?;
    into.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_is_found_by_its_own_name_and_by_no_other() {
        for algorithm in crate::gate::identity::jwt::tests::ALL {
            assert_eq!(algorithm_named(algorithm.as_str()), Some(algorithm));
        }
        for name in [
            "", "none", "None", "nOnE", "NONE", "hs256", "HS256 ", "ES256K", "ES512",
        ] {
            assert_eq!(algorithm_named(name), None, "{name}");
        }
    }

    #[test]
    fn points_off_the_curve_and_of_other_lengths_are_no_keys() {
        for kind in [KeyType::P256, KeyType::P384] {
            for length in [0, 31, 32, 33, 48, 66] {
                let point = vec![1u8; length];
                assert!(PublicKey::from_point(kind, &point, &point).is_err());
            }
        }
        assert!(PublicKey::from_ed25519(&[1; 31]).is_err());
        assert!(PublicKey::from_rsa(&[], &[]).is_err());
        assert!(PublicKey::from_rsa(&[0xff; 256], &[0]).is_err());
        assert!(PublicKey::from_rsa(&[0xff; 256], &[2]).is_err());
        assert!(PublicKey::from_rsa(&[0xff; 128], &[1, 0, 1]).is_err());
    }
}
