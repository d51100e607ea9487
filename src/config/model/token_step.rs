//! Steps that make and read tokens (JWT) inside fields; see docs/jwt-functions.md.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::transform::{OnError, When, keep};
use crate::foundation::secret::SecretRef;
use crate::foundation::units::Span;

/// Makes a token (JWT) of the JSON object in a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncodeToken {
    /// The field that holds the JSON object. An event without it stays as it is.
    pub payload: String,
    /// The field that gets the token.
    pub target: String,
    /// The secret (HS), or a private key in PEM. Secrets may be short here, and RSA keys have 1024 bits: these tokens identify nobody.
    #[schemars(example = "env:APP_KEY")]
    pub key: SecretRef,
    /// The algorithm of the signature.
    #[serde(default)]
    pub algorithm: TokenAlgorithm,
    /// Members of the header after `typ` and `alg`, in the order of their names. `typ` takes the place of `JWT`.
    #[serde(default)]
    #[schemars(example = BTreeMap::from([("kid", "2026-11")]))]
    pub headers: BTreeMap<String, String>,
    /// When the field cannot be signed.
    #[serde(default = "keep")]
    pub on_error: OnError,
    /// Runs the step only for such events: `{ field = "event", equals = "purchase" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "When")]
    pub when: Option<When>,
}

/// Checks the token (JWT) in a field, and takes its payload out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodeToken {
    /// The field that holds the token. An event without it stays as it is.
    pub field: String,
    /// The field that gets the payload, as JSON without white space. What a client wrote there is replaced, or taken away when the token is not taken.
    pub target: String,
    /// The secret (HS), or a public or private key in PEM. Needed, unless `verify_signature` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "env:APP_KEY")]
    pub key: Option<SecretRef>,
    /// The algorithms that a token may have, all of the type of the key. Needed, unless `verify_signature` is false.
    #[serde(default)]
    #[schemars(example = vec!["HS256"])]
    pub algorithms: Vec<TokenAlgorithm>,
    /// What is checked.
    #[serde(default)]
    pub options: TokenOptions,
    /// Whom a token may be for; one name that matches is enough. Empty: a token that names anybody is refused.
    #[serde(default)]
    #[schemars(example = vec!["my-app"])]
    pub audience: Vec<String>,
    /// Who must have made a token. Left out: anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"https://login.example.com")]
    pub issuer: Option<String>,
    /// By how much clocks may differ.
    #[serde(default = "no_leeway")]
    pub leeway: Span,
    /// When the token is not taken.
    #[serde(default = "keep")]
    pub on_error: OnError,
    /// Runs the step only for such events: `{ field = "event", equals = "purchase" }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "When")]
    pub when: Option<When>,
}

/// What is checked of a token. Checks of claims that are left out follow `verify_signature`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenOptions {
    /// The signature must be one of `key`, by one of `algorithms`. Without it anybody can have written the token.
    pub verify_signature: bool,
    /// Claims that must be there, and not null.
    #[schemars(example = vec!["exp"])]
    pub require: Vec<String>,
    /// A token with `aud` needs an `audience` that matches, and with an `audience` the token needs `aud`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub verify_aud: Option<bool>,
    /// If `issuer` is given, `iss` must be the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub verify_iss: Option<bool>,
    /// `exp`, if it is there, must be in the future.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub verify_exp: Option<bool>,
    /// `nbf`, if it is there, must not be in the future.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub verify_nbf: Option<bool>,
    /// `iat`, if it is there, must not be in the future.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub verify_iat: Option<bool>,
}

/// An algorithm of a token's signature (RFC 7518).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256.
    #[default]
    HS256,
    /// HMAC with SHA-384.
    HS384,
    /// HMAC with SHA-512.
    HS512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
}

impl TokenAlgorithm {
    /// Whether its key is a secret, and no key in PEM.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            verify_signature: true,
            require: Vec::new(),
            verify_aud: None,
            verify_iss: None,
            verify_exp: None,
            verify_nbf: None,
            verify_iat: None,
        }
    }
}

fn no_leeway() -> Span {
    Span::secs(0)
}
