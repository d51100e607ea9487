//! What can go wrong, at load and with one event.
//!
//! Promise: no error holds a key, a token, a payload, or a part of one. Names of claims in errors
//! come from the configuration.

use std::sync::Arc;

use super::algorithm::{Algorithm, KeyType};
use super::json::JsonFault;

/// Why an encoding or a decoding cannot be made of what the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is no key, or it is empty.
    #[error("a key is needed: it signs, or verifies the signature")]
    KeyMissing,
    /// A signature is to be verified, and no algorithm is allowed.
    #[error("`algorithms` must name at least one algorithm, unless `verify_signature` is false")]
    AlgorithmsMissing,
    /// Secrets and public keys under one key: who knows the public one could sign with it.
    #[error("`algorithms` must not mix HS algorithms with others: one key cannot be both")]
    AlgorithmsMixed,
    /// A key of another kind, published as a rule, as a secret.
    #[error("`{0}` needs a secret, and the key is a PEM, DER, SSH or JWK key")]
    NotASecret(Algorithm),
    /// The key is of another type.
    #[error("`{algorithm}` needs {}, and the key is {found}", algorithm.key_type())]
    Mismatch {
        /// The algorithm that does not fit.
        algorithm: Algorithm,
        /// What the key is.
        found: KeyType,
    },
    /// The modulus has no room for hash and salt.
    #[error("the RSA key is too short for `{0}`")]
    TooShortFor(Algorithm),
    /// Only a private key signs.
    #[error("the key is a public one; a private key is needed to sign")]
    PublicCannotSign,
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// A header that the encoding writes itself, or that readers must not skip.
    #[error("`headers` must not set `{0}`")]
    Header(&'static str),
    /// `typ` is compared as text by whoever reads it.
    #[error("`typ` of `headers` must be text")]
    HeaderType,
    /// The headers are not as a header may be.
    #[error("`headers` cannot be written: {0}")]
    Headers(JsonFault),
    /// The header is too long.
    #[error("`headers` are longer than 16 KiB")]
    HeadersTooLong,
    /// Too many claims are required.
    #[error("`require` names more than 64 claims")]
    TooManyRequired,
}

/// Why a text is no key to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No block of PEM.
    #[error("the key is not PEM: no `-----BEGIN ...-----` and its end stand in it")]
    NotPem,
    /// Longer than a key can be.
    #[error("the key is longer than 64 KiB")]
    TooLong,
    /// A passphrase would be needed.
    #[error("the private key is encrypted; give it without a passphrase (`openssl pkey`)")]
    Encrypted,
    /// More than one key.
    #[error("the PEM text holds more than one key")]
    Several,
    /// PEM of something else.
    #[error(
        "the PEM text holds no key of a known form: PRIVATE KEY, RSA PRIVATE KEY, EC PRIVATE KEY, \
         PUBLIC KEY or RSA PUBLIC KEY"
    )]
    Form,
    /// Not an RSA key, nor one of a curve that is used here, or broken.
    #[error("the key is not a sound one of RSA, P-256, P-384 or P-521")]
    Unknown,
    /// An RSA key that is too short or too long.
    #[error("RSA keys must have 1024 to 8192 bits")]
    Strength,
}

/// Why a payload was not made a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The payload, or the token, would be longer than [`MAX_TOKEN`](super::MAX_TOKEN).
    #[error("the token would be longer than 64 KiB")]
    TooLong,
    /// The payload is not an object that can be signed.
    #[error("the payload {0}")]
    Payload(#[from] JsonFault),
    /// The key did not sign.
    #[error("the key did not sign")]
    Signing,
}

impl EncodeError {
    /// All labels.
    pub const LABELS: [&'static str; 3] = ["too_long", "payload", "signing"];

    /// A short name that stays, for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Payload(_) => "payload",
            Self::Signing => "signing",
        }
    }
}

/// Why a token was not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_TOKEN`](super::MAX_TOKEN).
    #[error("the token is longer than 64 KiB")]
    TooLong,
    /// Not three parts of base64url without padding.
    #[error("it is not a signed token: three parts of base64url without padding")]
    Malformed,
    /// The header is not an object, or its `alg` is not text.
    #[error("the header of the token cannot be read")]
    Header,
    /// The header changes how the token is to be read (`crit`, `b64`).
    #[error("the header of the token asks for an extension (`crit`, `b64`)")]
    Critical,
    /// The algorithm is not among the allowed ones.
    #[error("the algorithm of the token is not among `algorithms`")]
    Algorithm,
    /// The signature is not one of the key.
    #[error("the signature is wrong")]
    Signature,
    /// The payload is not an object of JSON.
    #[error("the payload {0}")]
    Payload(JsonFault),
    /// A claim is missing, or null.
    #[error("the claim `{0}` is missing")]
    Missing(Arc<str>),
    /// A claim that is checked has a type that cannot be.
    #[error("the claim `{0}` has a wrong type")]
    ClaimType(&'static str),
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("the token does not count yet (`{0}`)")]
    Immature(&'static str),
    /// `iss` is another.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` names nobody that is asked for, or nobody is asked for.
    #[error("the token is for another audience")]
    Audience,
}

impl DecodeError {
    /// All labels.
    pub const LABELS: [&'static str; 13] = [
        "too_long",
        "malformed",
        "header",
        "critical",
        "algorithm",
        "signature",
        "payload",
        "missing_claim",
        "claim_type",
        "expired",
        "immature",
        "issuer",
        "audience",
    ];

    /// A short name that stays, for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Critical => "critical",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Payload(_) => "payload",
            Self::Missing(_) => "missing_claim",
            Self::ClaimType(_) => "claim_type",
            Self::Expired => "expired",
            Self::Immature(_) => "immature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
        }
    }
}
