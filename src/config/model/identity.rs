//! Who may send.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::jwt::JwtKey;
use super::signed::{AccessKeyRule, PolicyRule, Role, Signed, Sts, StsToken};
use super::ticket::{Cookies, Revocations, Session, Tickets};

/// Who may send: keys, roles and policies, and where a token is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name of the query parameter that may carry a token. It is never stored.
    pub query_parameter: String,
    /// Name of the cookie that may carry a token. Counts only without an Origin header, or from an origin that `allow_origins` names (never through `*`).
    pub cookie: String,
    /// Rules for signed requests.
    pub signed: Signed,
    /// The token service: `AssumeRole` and the keys that seal its security tokens. It answers when there is a role.
    pub sts: Sts,
    /// `GET /get_sts_token`: temporary credentials for pages and mini programs of sites without an app server. Off until a role is named.
    pub sts_token: StsToken,
    /// Tickets: links that open without a login. Made by `tollgate ticket create` and the admin API.
    pub ticket: Tickets,
    /// Cookies that clients send.
    pub cookies: Cookies,
    /// `POST /session`: a session cookie for the bearer of a JWT or ticket. Off by default.
    pub session: Session,
    /// Revoked credentials.
    pub revocation: Revocations,
    /// Keys of tokens.
    pub jwt: Vec<JwtKey>,
    /// Long-lived access keys, for servers.
    #[serde(rename = "access_key")]
    pub access_keys: Vec<AccessKeyRule>,
    /// Policy documents (RAM), by name.
    #[serde(rename = "policy")]
    pub policies: Vec<PolicyRule>,
    /// Roles that holders of access keys may assume for a while.
    #[serde(rename = "role")]
    pub roles: Vec<Role>,
}

/// Kinds of credential that a logstore may accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accept {
    /// A request signed with a long-lived access key of `[[identity.access_key]]`.
    AccessKey,
    /// A request signed with temporary credentials that Tollgate gave out.
    Sts,
    /// A token (JWT) of `[[identity.jwt]]`.
    Jwt,
    /// A ticket.
    Ticket,
    /// A request signed with a key that Tollgate does not know: checked, then relayed unchanged to the upstream, whose answer is returned.
    Passthrough,
    /// None. Anyone on the network can then write here.
    Anonymous,
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
    /// A cookie, named in `identity.cookie` or `identity.session.cookie`.
    Cookie,
    /// The tag `__token__` of a JSON body: the one place where the mini-program SDK can renew it.
    Body,
}

impl Accept {
    /// The word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessKey => "access_key",
            Self::Sts => "sts",
            Self::Jwt => "jwt",
            Self::Ticket => "ticket",
            Self::Passthrough => "passthrough",
            Self::Anonymous => "anonymous",
        }
    }

    /// What a logstore accepts that does not say.
    #[must_use]
    pub fn by_default() -> Vec<Self> {
        vec![Self::AccessKey, Self::Sts, Self::Jwt, Self::Ticket]
    }
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
            signed: Signed::default(),
            sts: Sts::default(),
            sts_token: StsToken::default(),
            ticket: Tickets::default(),
            cookies: Cookies::default(),
            session: Session::default(),
            revocation: Revocations::default(),
            jwt: Vec::new(),
            access_keys: Vec::new(),
            policies: Vec::new(),
            roles: Vec::new(),
        }
    }
}
