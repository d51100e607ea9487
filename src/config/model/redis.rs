//! The store that nodes share limits through.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::secret::SecretRef;
use crate::foundation::units::Span;

/// The store that nodes share limits, revocations, bans and raises through: Redis or Valkey. One node needs none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Where it listens: `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS. Of several the first that takes writes is used, so name the primary and the replicas that may be promoted.
    #[schemars(example = vec!["redis://10.0.0.5:6379"])]
    pub urls: Vec<String>,
    /// User, where the store has any but the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"tollgate")]
    pub user: Option<String>,
    /// Password: `env:NAME` or `file:PATH`. Read for each new connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"env:TOLLGATE_REDIS_PASSWORD")]
    pub password: Option<SecretRef>,
    /// For `rediss://`: certificates of the authorities to trust (PEM), in place of the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tollgate/redis-ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// What all keys in the store begin with: letters, digits, `-`, `_`, `.` and `:`. The same on all nodes.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// How many nodes share the limits, at most. Without the store each has this part of a limit.
    #[serde(default = "default_nodes")]
    #[schemars(range(min = 1, max = 1024))]
    pub nodes: u32,
    /// How much of a burst, in percent, all nodes together may let pass beyond a limit, so that no request waits for the store.
    #[serde(default = "default_lease")]
    #[schemars(range(min = 1, max = 100))]
    pub lease: u8,
    /// How long a connection may take, its handshakes included.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long an answer may take before the store counts as down. No request waits for it.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
}

fn default_prefix() -> String {
    "tollgate".to_owned()
}

fn default_nodes() -> u32 {
    2
}

fn default_lease() -> u8 {
    20
}

fn default_connect_timeout() -> Span {
    Span::secs(1)
}

fn default_timeout() -> Span {
    Span::millis(250)
}

impl Redis {
    /// A store at these URLs, and everything else at its default.
    #[must_use]
    pub fn at(urls: Vec<String>) -> Self {
        Self {
            urls,
            user: None,
            password: None,
            ca_file: None,
            prefix: default_prefix(),
            nodes: default_nodes(),
            lease: default_lease(),
            connect_timeout: default_connect_timeout(),
            timeout: default_timeout(),
        }
    }
}
