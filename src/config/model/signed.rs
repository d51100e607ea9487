//! Access keys, roles and temporary credentials.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::Accept;
use crate::foundation::secret::SecretRef;
use crate::foundation::units::Span;

/// Rules for signed requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signed {
    /// How far the time of a signed request may be from the server's.
    pub window: Span,
    /// Takes v4 requests whose body is left unsigned on purpose (the digest of no bytes with a body), as the real service does. Whoever sees such a head can send another body for as long as the window lasts.
    pub unsigned_bodies: bool,
    /// Refuses a request whose signature was seen within the window. Off by default: official clients send equal requests in one second, with equal signatures.
    pub refuse_replays: bool,
}

/// A long-lived access key, for servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessKeyRule {
    /// Id of the key. It goes over the wire.
    #[schemars(example = "tollgate-server-1")]
    pub id: String,
    /// Its secret.
    #[schemars(example = "env:TOLLGATE_SERVER_1_SECRET")]
    pub secret: SecretRef,
    /// Names of policies. Without one the key may do nothing but assume roles that name it.
    #[serde(default)]
    #[schemars(example = vec!["write-web"])]
    pub policies: Vec<String>,
    /// A key that is not enabled is refused as such.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

/// A policy document (RAM), by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Name, for access keys, roles and projects.
    pub name: String,
    /// JSON file with the document. Either this or `document`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/tollgate/write-web.json")]
    pub file: Option<PathBuf>,
    /// The document itself, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// A role that holders of access keys may assume for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Its ARN: `acs:ram::{account}:role/{name}`.
    #[schemars(example = "acs:ram::1234567890123456:role/sls-web-tracking")]
    pub arn: String,
    /// Names of the policies that bound what the role may do.
    #[schemars(example = vec!["write-web"])]
    pub policies: Vec<String>,
    /// Ids of the access keys that may assume it.
    #[serde(default)]
    #[schemars(example = vec!["tollgate-server-1"])]
    pub assumed_by: Vec<String>,
    /// The ExternalId that AssumeRole must then give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "shop-42")]
    pub external_id: Option<String>,
    /// The longest that temporary credentials of the role may live: 15 minutes to 12 hours.
    #[serde(default = "default_session")]
    pub max_session_duration: Span,
}

/// The token service: `AssumeRole` and the keys that seal its security tokens. It answers when there is a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sts {
    /// Keys of security tokens, at least 32 bytes each. The first seals, all of them open: put a new one in front, reload, and take the old one away after 12 hours. Empty: one is made on first start, in `{data_dir}/keys/sts.key`.
    #[schemars(example = vec!["file:/etc/tollgate/sts-2026-11.key"])]
    pub keys: Vec<SecretRef>,
    /// Calls of AssumeRole in a second, of all callers together. Beyond it: 503 `Throttling`.
    pub calls_per_second: u32,
}

/// `GET /get_sts_token`: temporary credentials for pages and mini programs of sites without an app server. Off until a role is named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StsToken {
    /// ARN of the role that is given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "acs:ram::1234567890123456:role/sls-web-tracking")]
    pub role: Option<String>,
    /// Kinds of credential that it asks for: `jwt`, `ticket` (from where `token_from` says, cookies too) or `anonymous`.
    pub accept: Vec<Accept>,
    /// How long the credentials live.
    pub duration: Span,
    /// Origins of pages that may read the answer. Cookies count only from origins that are named here.
    pub allow_origins: Vec<String>,
    /// Answers in a second, of all callers together.
    pub calls_per_second: u32,
}

impl Default for Signed {
    fn default() -> Self {
        Self {
            window: Span::secs(900),
            unsigned_bodies: true,
            refuse_replays: false,
        }
    }
}

impl Default for Sts {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            calls_per_second: 100,
        }
    }
}

impl Default for StsToken {
    fn default() -> Self {
        Self {
            role: None,
            accept: vec![Accept::Jwt, Accept::Ticket],
            duration: Span::secs(3600),
            allow_origins: vec!["*".to_owned()],
            calls_per_second: 10,
        }
    }
}

fn enabled() -> bool {
    true
}

fn default_session() -> Span {
    Span::secs(3600)
}
