//! The spool: events on local disk on their way to the store.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// Events on local disk on their way to the store: those that shall be durable before their client is answered (`ack = "disk"` of a logstore), those that memory has no room for while the store is down, and what is left when Tollgate stops; see docs/durability.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Whether there is one. Without it events that cannot be delivered wait in memory alone, and are lost when Tollgate stops.
    pub enabled: bool,
    /// Its folder, which belongs to one process. Left out: `spool` in `data_dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/var/spool/tollgate")]
    pub dir: Option<PathBuf>,
    /// Bytes on disk of all logstores.
    pub max_size: ByteSize,
    /// The part of `max_size`, in percent, that is divided among the logstores by their weight and kept for each, so that a store that is down takes no room from the others. The rest is for whoever needs it. Copies (`also`) have half the weight, and leave half of the rest free. Where the disk has less room than `max_size`, what it has is divided in the same way.
    #[schemars(range(min = 0, max = 100))]
    pub guaranteed: u8,
    /// Free space of the disk that is left for others.
    pub reserve: ByteSize,
    /// A file of the spool is closed when it is so large.
    pub segment_size: ByteSize,
    /// Events that wait on disk for longer are given up, and counted as expired. `0s`: never.
    pub max_age: Span,
    /// The least time between two syncs of a logstore: what comes meanwhile shares the second. A request of `ack = "disk"` waits for it at most once.
    pub commit_interval: Span,
    /// Batches go to disk when a logstore holds more than this part of the memory that it may hold now, in percent.
    #[schemars(range(min = 1, max = 60))]
    pub spill_at: u8,
    /// Bytes a second, as they are sent, in which what waits on disk is delivered, of all logstores together. New events do not count; but with `order = "oldest"` those of a logstore with a backlog wait behind it. `0`: as fast as the store takes it.
    pub drain_rate: ByteSize,
    /// How events are packed on disk.
    pub compression: super::Compression,
    /// Secrets of at least 32 bytes. With one, the spool is encrypted (AES-256-GCM): the first one seals, all open. Put a new one first, and take the old one out once nothing waits any more.
    pub keys: Vec<SecretRef>,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: None,
            max_size: ByteSize::mib(10 << 10),
            guaranteed: 50,
            reserve: ByteSize::mib(256),
            segment_size: ByteSize::mib(64),
            max_age: Span::default(),
            commit_interval: Span::millis(5),
            spill_at: 50,
            drain_rate: ByteSize::default(),
            compression: super::Compression::Lz4,
            keys: Vec::new(),
        }
    }
}

/// How safe the events of a request are when its client is told that they were taken; `x-tollgate-ack` of the answer says it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// They are held in memory. They outlive a store that is down and a stop, but not the death of the process.
    #[default]
    Memory,
    /// They are on disk, synced: they outlive the death of the process and of the machine.
    Disk,
    /// The store has taken them. The client waits for that, up to `delivery.ack_timeout`.
    Logstore,
}

/// Which shard takes a LogGroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShardBy {
    /// Whichever the store likes. A LogGroup that is sent again may go to another shard.
    #[default]
    Any,
    /// By its `__pack_id__`: spread evenly, and a LogGroup that is sent again goes to the same shard, so who reads that shard can drop it.
    PackId,
    /// By its source: all LogGroups of one source go to one shard, from whichever node. Those without source go by their `__pack_id__`.
    Source,
}

/// What one logstore may use of the spool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpoolUse {
    /// Bytes on disk of this logstore. Left out: `spool.max_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "1GiB")]
    pub max_size: Option<ByteSize>,
    /// What happens when there is no room.
    pub when_full: WhenFull,
    /// Which of the events that wait on disk are delivered first.
    pub order: SpoolOrder,
}

/// What happens when the spool has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// New events are refused: 503 `ServerBusy`, `spool_full`. Of `ack = "memory"` only once memory is full as well.
    #[default]
    Refuse,
    /// The oldest events that wait are given up, and counted as dropped.
    DropOldest,
}

/// Which of the events that wait on disk are delivered first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpoolOrder {
    /// In the order in which they came; new ones wait behind.
    #[default]
    Oldest,
    /// New ones before those that wait, and of those the last ones first.
    Newest,
}
