//! Keys of tokens (JWT), and what a token must say.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::secret::SecretRef;
use crate::foundation::units::Span;

/// A key, or a set of keys, that verifies tokens (JWT).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtKey {
    /// Name of the key. A token with a `kid` header must name one of these. Of a set (`jwks`, `jwks_url`) it is only the name: there the `kid` of each key counts.
    pub kid: String,
    /// Algorithms that the key may be used with. The key decides, never the token.
    #[serde(default = "default_algorithms")]
    pub algorithms: Vec<JwtAlgorithm>,
    /// The HMAC secret, at least as long as the hash: 32 bytes for HS256. Left out, with no other key: made on first start, in `{data_dir}/keys/{kid}.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "file:/etc/tollgate/jwt.key")]
    pub secret: Option<SecretRef>,
    /// PEM file with the public key, or the certificate, of whoever makes the tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/tollgate/issuer.pem")]
    pub public_key: Option<PathBuf>,
    /// JSON file with one JWK or with a JWK set (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/tollgate/jwks.json")]
    pub jwks: Option<PathBuf>,
    /// URL of a JWK set, `https://` (`http://` only to loopback addresses). It is fetched at start and ahead of its age; redirects are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "https://login.example.com/.well-known/jwks.json")]
    pub jwks_url: Option<String>,
    /// Age at which a fetched set is fetched again. An unknown `kid` may fetch it sooner, at most once a minute.
    #[serde(default = "default_jwks_refresh")]
    pub jwks_refresh: Span,
    /// How long a fetched set is used when it cannot be fetched again.
    #[serde(default = "default_jwks_keep")]
    pub jwks_keep: Span,
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have, alone or in its list.
    pub audience: String,
    /// The `typ` that the header must have. Left out: `JWT` or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "at+jwt")]
    pub typ: Option<String>,
    /// Clock difference that is forgiven on `exp`, `nbf` and `iat`, at most a day. A longer one is a grace period for mini programs that send late.
    #[serde(default = "default_leeway")]
    pub leeway: Span,
    /// The longest life of a token: from `iat`, or from now when it has none.
    #[serde(default = "default_max_lifetime")]
    pub max_lifetime: Span,
    /// The greatest age since `iat`, which the token must then have. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "1d")]
    pub max_age: Option<Span>,
    /// Claims that must be there, beyond `exp`, `iss` and `aud`.
    #[serde(default)]
    #[schemars(example = vec!["sub"])]
    pub required_claims: Vec<String>,
    /// Names of the claims that say what a token is for.
    #[serde(default)]
    pub claims: ClaimNames,
    /// Project that a token without that claim may write to. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "my-project")]
    pub project: Option<String>,
    /// Logstores that a token without that claim may write to.
    #[serde(default)]
    #[schemars(example = vec!["web"])]
    pub logstores: Vec<String>,
    /// Claims that every event of the token's bearer gets as a field: claim = "field". Text, numbers and booleans of at most 1 KiB.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Claims that the LogGroup gets as a tag: claim = "tag". Each value then has batches of its own.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Names of the claims that say what a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// The one project that the token is for.
    pub project: String,
    /// The logstore, or a list of logstores, that the token is for.
    pub logstore: String,
    /// The action, or a list of actions, that the token is for, such as `log:PutWebTracking`. A token without it may do every action that writes.
    pub action: String,
    /// The mini-program platform: `wechat`, `alipay`, `douyin`, `qq`, `baidu` or `quickapp`. When the Referer of the request names another, the request is refused.
    pub platform: String,
    /// The mini program. When the Referer of the request names another, the request is refused.
    pub appid: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            project: "project".to_owned(),
            logstore: "logstore".to_owned(),
            action: "action".to_owned(),
            platform: "platform".to_owned(),
            appid: "appid".to_owned(),
        }
    }
}

/// Algorithms of tokens (RFC 7518 section 3.1, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
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
    /// Ed25519.
    EdDSA,
}

impl JwtAlgorithm {
    /// The name as it stands in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl JwtKey {
    /// Whether the key is one secret, given or made on first start: then it can sign as well.
    #[must_use]
    pub fn holds_secret(&self) -> bool {
        self.public_key.is_none() && self.jwks.is_none() && self.jwks_url.is_none()
    }

    /// A key with its defaults, for HS256 and a secret that is made on first start.
    #[must_use]
    pub fn named(kid: &str, issuer: &str, audience: &str) -> Self {
        Self {
            kid: kid.to_owned(),
            algorithms: default_algorithms(),
            secret: None,
            public_key: None,
            jwks: None,
            jwks_url: None,
            jwks_refresh: default_jwks_refresh(),
            jwks_keep: default_jwks_keep(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            typ: None,
            leeway: default_leeway(),
            max_lifetime: default_max_lifetime(),
            max_age: None,
            required_claims: Vec::new(),
            claims: ClaimNames::default(),
            project: None,
            logstores: Vec::new(),
            fields: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }
}

fn default_algorithms() -> Vec<JwtAlgorithm> {
    vec![JwtAlgorithm::HS256]
}

fn default_jwks_refresh() -> Span {
    Span::secs(600)
}

fn default_jwks_keep() -> Span {
    Span::secs(86_400)
}

fn default_leeway() -> Span {
    Span::secs(30)
}

fn default_max_lifetime() -> Span {
    Span::secs(7 * 86_400)
}
