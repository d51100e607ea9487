//! The embedded logstore.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listeners::loopback;
use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// The embedded logstore: the API of SLS on local disk, for development, tests and small sites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Embedded {
    /// Address and port of its API.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Region name, part of v4 signatures and of resource names.
    pub region: String,
    /// Id of the access key that may write and read.
    pub access_key_id: String,
    /// Secret of that access key. Left out: made on first start, in `{data_dir}/keys/logstore.key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "env:TOLLGATE_LOGSTORE_SECRET")]
    pub access_key_secret: Option<SecretRef>,
    /// Shards of each logstore.
    #[schemars(range(min = 1, max = 256))]
    pub shards: u32,
    /// Events older than this are removed.
    pub retention: Span,
    /// Bytes that one logstore may take on disk; the oldest events are removed past it.
    pub max_size: ByteSize,
    /// For so long a LogGroup that comes again as it was, with its `__pack_id__`, is answered and not
    /// stored again. 0: it is stored again.
    pub drop_repeats: Span,
    /// What a 200 promises.
    pub sync: SyncMode,
    /// Connections held at once.
    #[schemars(range(min = 1))]
    pub max_connections: u32,
    /// Faults to inject, for tests of what stands in front of the store.
    pub faults: Faults,
}

/// What a 200 of the embedded logstore promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// The events are on the disk and survive power loss.
    Disk,
    /// The events are with the operating system and survive the death of the process.
    Process,
}

/// Faults that the embedded logstore injects into writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Added to each answer to a write.
    pub delay: Span,
    /// The share of writes, from 0 to 1, that is refused with `error_status` and `error_code`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub error_rate: f64,
    /// HTTP status of injected errors. 0 closes the connection without an answer.
    pub error_status: u16,
    /// Error code of injected errors.
    pub error_code: String,
    /// The share of writes, from 0 to 1, that is stored, and whose connection is then closed without an
    /// answer.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub lost_answer_rate: f64,
    /// Writes a second that one shard takes; past it 403 `ShardWriteQuotaExceed`. 0 is no limit.
    pub shard_writes_per_second: u32,
}

impl Default for Embedded {
    fn default() -> Self {
        Self {
            listen: loopback(8082),
            region: "local".to_owned(),
            access_key_id: "tollgate".to_owned(),
            access_key_secret: None,
            shards: 2,
            retention: Span::secs(30 * 86_400),
            max_size: ByteSize::mib(1024),
            drop_repeats: Span::default(),
            sync: SyncMode::Disk,
            max_connections: 1024,
            faults: Faults::default(),
        }
    }
}
