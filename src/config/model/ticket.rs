//! Tickets, cookies and sessions, revocations, and the stream of security events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::Accept;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// Tickets: links that open without a login. Made by `tollgate ticket create` and the admin API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tickets {
    /// Keys of tickets, at least 32 bytes each. The first signs, all of them verify. Empty: one is made on first start, in `{data_dir}/keys/ticket.key`.
    #[schemars(example = vec!["file:/etc/tollgate/ticket.key"])]
    pub keys: Vec<SecretRef>,
    /// The longest that a ticket may be extended to, from when it is made.
    pub max_lifetime: Span,
    /// Tickets that are kept. At the bound no new one is made until one has expired.
    pub max_count: u32,
}

/// Revoked credentials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revocations {
    /// Revocations that are kept. At the bound a new one is refused until one has expired.
    pub max_count: u32,
}

/// Cookies that clients send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cookies {
    /// Names of trusted cookies, beside those that carry a token. All others are dropped unread.
    #[schemars(example = vec!["visitor"])]
    pub allow: Vec<String>,
    /// Cookies in a request. More are refused with 400.
    pub max_count: u32,
    /// Bytes of all cookies of a request. More are refused with 400.
    pub max_size: ByteSize,
}

/// `POST /session`: a session cookie for the bearer of a JWT or ticket. Off by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// Answers `POST /session`.
    pub enabled: bool,
    /// Name of the cookie. With the prefix `__Host-` browsers keep it to this host and to https.
    pub cookie: String,
    /// `kid` of the key that signs the session's token. Left out: the first with a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"quickstart")]
    pub kid: Option<String>,
    /// How long a session lasts.
    pub ttl: Span,
    /// Kinds of credential that open a session: `jwt` or `ticket`.
    pub accept: Vec<Accept>,
    /// Origins of pages that may open a session.
    #[schemars(example = vec!["https://shop.example.com"])]
    pub allow_origins: Vec<String>,
}

/// Security events: failed logons, revoked keys in use, replays and policy denials, as events in a logstore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityEvents {
    /// Project of the logstore that gets them. Left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "my-project")]
    pub project: Option<ProjectName>,
    /// The logstore. It needs to accept nothing from clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"security")]
    pub logstore: Option<LogstoreName>,
    /// Events in a second. What is more is only counted.
    pub per_second: u32,
}

impl Default for Tickets {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            max_lifetime: Span::secs(365 * 86_400),
            max_count: 10_000,
        }
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self { max_count: 100_000 }
    }
}

impl Default for Cookies {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            max_count: 20,
            max_size: ByteSize::kib(4),
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            enabled: false,
            cookie: "__Host-tollgate".to_owned(),
            kid: None,
            ttl: Span::secs(3600),
            accept: vec![Accept::Jwt, Accept::Ticket],
            allow_origins: Vec::new(),
        }
    }
}

impl Default for SecurityEvents {
    fn default() -> Self {
        Self {
            project: None,
            logstore: None,
            per_second: 50,
        }
    }
}
