//! Making tokens, with a secret of the configuration.
//!
//! Promise: a token that is made here says all that its own key asks for, and has a random `jti`,
//! so that it can be revoked alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::Error as JwtError;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value};

use crate::config::{JwtAlgorithm, JwtKey};
use crate::foundation::clock;
use crate::gate::identity::SigningKey;

/// What a new token says.
#[derive(Clone, Debug, Default)]
pub struct NewToken<'a> {
    /// The project that it is for.
    pub project: &'a str,
    /// The logstores that it is for.
    pub logstores: &'a [&'a str],
    /// Seconds until it expires.
    pub ttl_seconds: u64,
    /// Whose it is (`sub`).
    pub subject: Option<&'a str>,
    /// Its name (`jti`). Left out: 128 random bits.
    pub id: Option<&'a str>,
    /// Further claims. None may be one that the other members set.
    pub extra: Map<String, Value>,
}

/// A token that was made.
#[derive(Clone)]
pub struct Minted {
    /// The token. It is a credential.
    pub token: String,
    /// Its `jti`.
    pub id: String,
    /// Its `exp`, unix seconds.
    pub expires: u64,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says it in its message")]
pub enum MintError {
    #[error("the claim `{0}` is set by Tollgate itself")]
    Claim(String),
    #[error("the key `{0}` has no HMAC algorithm to sign with")]
    Algorithm(String),
    #[error("the system has no random numbers: {0}")]
    Random(String),
    #[error("the token cannot be encoded: {0}")]
    Encode(#[from] JwtError),
}

/// Makes a token for one project and logstore that is valid for `ttl_seconds` from now.
///
/// # Errors
/// When the token cannot be encoded.
pub fn mint(
    key: &SigningKey,
    project: &str,
    logstore: &str,
    ttl_seconds: u64,
    subject: Option<&str>,
) -> Result<String, MintError> {
    let new = NewToken {
        project,
        logstores: &[logstore],
        ttl_seconds,
        subject,
        ..NewToken::default()
    };
    mint_token(key, new).map(|minted| minted.token)
}

/// Makes a token.
///
/// # Errors
/// When an extra claim is one of Tollgate's own, or the token cannot be encoded.
pub fn mint_token(key: &SigningKey, new: NewToken<'_>) -> Result<Minted, MintError> {
    use_crypto_provider();
    let rules = &key.rules;
    let algorithm = algorithm(rules).ok_or_else(|| MintError::Algorithm(rules.kid.clone()))?;
    let now = clock::unix_seconds();
    let expires = now.saturating_add(new.ttl_seconds);
    let id = match new.id {
        Some(id) => id.to_owned(),
        None => random_id()?,
    };
    let logstores = match new.logstores {
        [one] => Value::from(*one),
        several => Value::from(several),
    };
    let mut claims = Map::new();
    for (name, value) in [
        ("iss", Some(rules.issuer.as_str().into())),
        ("aud", Some(rules.audience.as_str().into())),
        ("exp", Some(expires.into())),
        ("iat", Some(now.into())),
        ("jti", Some(id.as_str().into())),
        ("sub", new.subject.map(Value::from)),
        (&rules.claims.project, Some(new.project.into())),
        (&rules.claims.logstore, Some(logstores)),
    ] {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    }
    for (name, value) in new.extra {
        if claims.contains_key(&name) || name == "nbf" || name == "sub" {
            return Err(MintError::Claim(name));
        }
        claims.insert(name, value);
    }
    let mut header = Header::new(algorithm);
    header.kid = Some(rules.kid.clone());
    if let Some(typ) = &rules.typ {
        header.typ = Some(typ.clone());
    }
    let secret = EncodingKey::from_secret(key.secret.expose());
    let token = jsonwebtoken::encode(&header, &claims, &secret)?;
    Ok(Minted { token, id, expires })
}

fn algorithm(rules: &JwtKey) -> Option<Algorithm> {
    rules
        .algorithms
        .iter()
        .find_map(|algorithm| match algorithm {
            JwtAlgorithm::HS256 => Some(Algorithm::HS256),
            JwtAlgorithm::HS384 => Some(Algorithm::HS384),
            JwtAlgorithm::HS512 => Some(Algorithm::HS512),
            _ => None,
        })
}

fn random_id() -> Result<String, MintError> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| MintError::Random(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Without an installed provider the crate panics at the first token when it cannot choose one.
pub(super) fn use_crypto_provider() {
    if jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
        .install_default()
        .is_err()
    {
        tracing::trace!("the crypto provider of tokens is installed already");
    }
}
