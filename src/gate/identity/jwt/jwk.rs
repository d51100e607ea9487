//! JSON Web Keys and sets of them (RFC 7517, 7518 section 6, RFC 8037).
//!
//! Promise: what a JWK says of itself (`use`, `key_ops`, `alg`, `crv`) narrows what the
//! configuration allows, and never widens it. A set that was fetched can hold no secret. Members
//! that point elsewhere (`x5u`) are not looked at.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::method::{KeyType, Method, PublicKey, algorithm_named, shortest_secret};
use crate::config::JwtAlgorithm;

/// The longest document, in bytes.
pub(super) const MAX_DOCUMENT: usize = 256 * 1024;
/// Keys of a set.
pub(super) const MAX_KEYS: usize = 100;

/// Where a document comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file of the operator.
    File,
    /// The network.
    Fetched,
}

/// A key of a set, put to each algorithm that it may be used with.
pub(super) struct Jwk {
    pub(super) kid: Option<String>,
    pub(super) methods: Vec<(JwtAlgorithm, Method)>,
}

/// Why a document is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SetFault {
    #[error("it is longer than 256 KiB")]
    TooLong,
    #[error("it is neither a JWK nor a JWK set")]
    NotJwks,
    #[error("it holds more than {MAX_KEYS} keys")]
    TooMany,
}

/// Why a key of a set is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwkFault {
    /// It is for something else, as keys in a set may be.
    #[error("{0}")]
    NotForThis(&'static str),
    /// It should not be there.
    #[error("{0}")]
    Bad(&'static str),
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    alg: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "use")]
    usage: Option<Cow<'a, str>>,
    key_ops: Option<Vec<String>>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    n: Option<Cow<'a, str>>,
    #[serde(borrow)]
    e: Option<Cow<'a, str>>,
    #[serde(borrow)]
    x: Option<Cow<'a, str>>,
    #[serde(borrow)]
    y: Option<Cow<'a, str>>,
    #[serde(borrow)]
    k: Option<Cow<'a, str>>,
    /// The private part of a pair.
    d: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// Reads a JWK or a set of them. A key that cannot be used does not spoil the others.
pub(super) fn read_keys(
    document: &[u8],
    origin: Origin,
    algorithms: &[JwtAlgorithm],
) -> Result<Vec<Result<Jwk, JwkFault>>, SetFault> {
    if document.len() > MAX_DOCUMENT {
        return Err(SetFault::TooLong);
    }
    let document = std::str::from_utf8(document).map_err(|_| SetFault::NotJwks)?;
    match serde_json::from_str::<Set<'_>>(document) {
        Ok(set) if set.keys.len() > MAX_KEYS => Err(SetFault::TooMany),
        Ok(set) => {
            let keys = set.keys.iter();
            Ok(keys
                .map(|key| read(key.get(), origin, algorithms))
                .collect())
        }
        Err(_) => match serde_json::from_str::<Members<'_>>(document) {
            Ok(_) => Ok(vec![read(document, origin, algorithms)]),
            Err(_) => Err(SetFault::NotJwks),
        },
    }
}

fn read(json: &str, origin: Origin, algorithms: &[JwtAlgorithm]) -> Result<Jwk, JwkFault> {
    let bad = JwkFault::Bad;
    let members: Members<'_> = serde_json::from_str(json).map_err(|_| bad("a key is not a JWK"))?;
    if members.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err(JwkFault::NotForThis("its `use` is not `sig`"));
    }
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    if members.key_ops.as_ref().is_some_and(|ops| !verifies(ops)) {
        return Err(JwkFault::NotForThis("its `key_ops` have no `verify`"));
    }
    if members.d.is_some() {
        return Err(bad("it holds a private key; give the public part alone"));
    }
    let named = members.alg.as_deref().map(algorithm_named);
    let allowed = |algorithm: &JwtAlgorithm| match named {
        None => algorithms.contains(algorithm),
        Some(own) => own == Some(*algorithm) && algorithms.contains(algorithm),
    };
    let methods: Vec<_> = match &*members.kty {
        "oct" => {
            if origin == Origin::Fetched {
                return Err(bad("a secret (`oct`) stands in a fetched set"));
            }
            let secret = Zeroizing::new(decode(members.k.as_deref())?);
            let fits = |algorithm: &JwtAlgorithm| {
                KeyType::of(*algorithm) == KeyType::Secret
                    && secret.len() >= shortest_secret(*algorithm)
            };
            if secret.len() < shortest_secret(JwtAlgorithm::HS256) {
                return Err(bad("its secret is shorter than 32 bytes"));
            }
            let fitting = algorithms.iter().filter(|it| allowed(it) && fits(it));
            fitting
                .filter_map(|it| Some((*it, Method::of_secret(*it, &secret)?)))
                .collect()
        }
        _ => {
            let key = public_key(&members)?;
            let fitting = algorithms.iter().filter(|it| allowed(it));
            fitting
                .filter_map(|it| Some((*it, Method::of_public(*it, &key)?)))
                .collect()
        }
    };
    if methods.is_empty() {
        return Err(JwkFault::NotForThis(
            "its type, or its `alg`, fits none of `algorithms`",
        ));
    }
    Ok(Jwk {
        kid: members.kid.map(Cow::into_owned),
        methods,
    })
}

fn public_key(members: &Members<'_>) -> Result<PublicKey, JwkFault> {
    let kind = match (&*members.kty, members.crv.as_deref()) {
        ("RSA", _) => KeyType::Rsa,
        ("EC", Some("P-256")) => KeyType::P256,
        ("EC", Some("P-384")) => KeyType::P384,
        ("OKP", Some("Ed25519")) => KeyType::Ed25519,
        _ => {
            return Err(JwkFault::NotForThis(
                "its `kty` or `crv` is not one that is known",
            ));
        }
    };
    let key = match kind {
        KeyType::Rsa => {
            let (n, e) = (decode(members.n.as_deref())?, decode(members.e.as_deref())?);
            PublicKey::from_rsa(significant(&n), significant(&e))
        }
        KeyType::Ed25519 => PublicKey::from_ed25519(&decode(members.x.as_deref())?),
        _ => {
            let (x, y) = (decode(members.x.as_deref())?, decode(members.y.as_deref())?);
            PublicKey::from_point(kind, &x, &y)
        }
    };
    key.map_err(|fault| {
        JwkFault::Bad(match fault {
            super::method::PublicKeyFault::Strength => "RSA keys must have 2048 to 8192 bits",
            _ => "its numbers are no key of its type",
        })
    })
}

fn decode(member: Option<&str>) -> Result<Vec<u8>, JwkFault> {
    let member = member.ok_or(JwkFault::Bad("a member that its `kty` needs is missing"))?;
    URL_SAFE_NO_PAD
        .decode(member)
        .map_err(|_| JwkFault::Bad("a member is not base64url without padding"))
}

/// A number without the zeros that some makers put in front.
fn significant(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
