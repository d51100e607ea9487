//! The store that nodes share limits through.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::secret::SecretRef;
use crate::foundation::units::Span;

/// The store that nodes share limits, revocations, bans and raises through: Redis or Valkey. One node needs none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Where it listens: `redis://HOST:PORT/DATABASE`, or `rediss://` for TLS. Of several the first that takes writes is used, so name the primary and the replicas that may be promoted. Empty: there is none, and each node is for itself.
    #[schemars(example = vec!["redis://10.0.0.5:6379"])]
    pub urls: Vec<String>,
    /// User, where the store has any but the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"tollgate")]
    pub user: Option<String>,
    /// Password: `env:NAME` or `file:PATH`. Read for each new connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"env:TOLLGATE_REDIS_PASSWORD")]
    pub password: Option<SecretRef>,
    /// For `rediss://`: certificates of the authorities to trust (PEM), in place of the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tollgate/redis-ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// What all keys in the store begin with: letters, digits, `-`, `_`, `.` and `:`. The same on all nodes.
    pub prefix: String,
    /// How many nodes share the limits, at most. Without the store each has this part of a limit.
    #[schemars(range(min = 1, max = 1024))]
    pub nodes: u32,
    /// How much of a burst, in percent, all nodes together may let pass beyond a limit, so that no request waits for the store.
    #[schemars(range(min = 1, max = 100))]
    pub lease: u8,
    /// How long a connection may take, its handshakes included.
    pub connect_timeout: Span,
    /// How long an answer may take before the store counts as down. No request waits for it.
    pub timeout: Span,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            user: None,
            password: None,
            ca_file: None,
            prefix: "tollgate".to_owned(),
            nodes: 2,
            lease: 20,
            connect_timeout: Span::secs(1),
            timeout: Span::millis(250),
        }
    }
}
