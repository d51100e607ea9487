//! Who may send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::secret::SecretRef;
use crate::foundation::units::Span;

/// Who may send: keys of tokens, and where a token is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name of the query parameter that may carry a token. It is never stored.
    pub query_parameter: String,
    /// Name of the cookie that may carry a token. Counts only without an Origin header, or from an origin that `allow_origins` names (never through `*`).
    pub cookie: String,
    /// Keys of tokens.
    pub jwt: Vec<JwtKey>,
}

/// A key that verifies tokens (JWT, HS256).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtKey {
    /// Name of the key. A token with a `kid` header must name one of these.
    pub kid: String,
    /// The HMAC secret, at least 32 bytes. Left out: made on first start, in `{data_dir}/keys/{kid}.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "file:/etc/tollgate/jwt.key")]
    pub secret: Option<SecretRef>,
    /// The `iss` that a token must have.
    pub issuer: String,
    /// The `aud` that a token must have.
    pub audience: String,
    /// Clock difference that is forgiven on `exp` and `nbf`, at most a day. A longer one is a grace period for mini programs that send late.
    #[serde(default = "default_leeway")]
    pub leeway: Span,
    /// The longest life that a token may still have.
    #[serde(default = "default_max_lifetime")]
    pub max_lifetime: Span,
}

/// Places where a token may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenPlace {
    /// `Authorization: Bearer {token}`.
    Authorization,
    /// The path prefix `/t/{token}/logstores/...`.
    Path,
    /// A query parameter, named in `identity.query_parameter`.
    Query,
    /// A cookie, named in `identity.cookie`.
    Cookie,
    /// The tag `__token__` of a JSON body: the one place where the mini-program SDK can renew it.
    Body,
}

pub(super) fn default_leeway() -> Span {
    Span::secs(30)
}

pub(super) fn default_max_lifetime() -> Span {
    Span::secs(7 * 86_400)
}

pub(super) fn default_token_places() -> Vec<TokenPlace> {
    vec![
        TokenPlace::Authorization,
        TokenPlace::Path,
        TokenPlace::Query,
        TokenPlace::Cookie,
        TokenPlace::Body,
    ]
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            query_parameter: "token".to_owned(),
            cookie: "tollgate_token".to_owned(),
            jwt: Vec::new(),
        }
    }
}
