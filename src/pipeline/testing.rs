//! What the tests of this module share.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::batch::SealedBatch;
use super::lane::Lane;
use crate::config::Batch;
use crate::event::{EventGroup, LOGS_TAG};
use crate::foundation::budget::Budget;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::units::{ByteSize, Span};
use crate::foundation::wire;
use crate::logstore::proto::{Log, LogGroup, log::Content};
use crate::telemetry::LogstoreMetrics;

/// Events that hold `names` as their only field, from one source.
pub(super) fn events<T: AsRef<[u8]>>(
    source: &str,
    names: impl IntoIterator<Item = T>,
) -> EventGroup {
    let mut group = EventGroup {
        source: source.into(),
        ..EventGroup::default()
    };
    for name in names {
        let log = Log {
            time: 1_781_510_400,
            contents: vec![Content {
                key: Bytes::from_static(b"event"),
                value: Bytes::copy_from_slice(name.as_ref()),
            }],
            time_ns: None,
        };
        wire::put_bytes(&mut group.logs, LOGS_TAG, &log.encode_to_vec());
        group.events += 1;
    }
    group
}

/// So many events of about 100 bytes.
pub(super) fn some_events(source: &str, count: usize) -> EventGroup {
    events(source, std::iter::repeat_n([b'x'; 80], count))
}

/// The names in a LogGroup that was made of [`events`].
pub(super) fn names_in(log_group: &LogGroup) -> Vec<String> {
    let name = |log: &Log| String::from_utf8(log.contents[0].value.to_vec()).unwrap();
    log_group.logs.iter().map(name).collect()
}

/// Limits that no test meets by accident.
pub(super) fn wide() -> Batch {
    Batch {
        max_bytes: ByteSize::mib(1),
        max_events: 4096,
        max_age: Span::secs(3600),
        max_open: 1000,
    }
}

/// A lane without workers.
pub(super) struct IdleLane {
    pub(super) lane: Lane,
    pub(super) metrics: Arc<LogstoreMetrics>,
}

impl IdleLane {
    pub(super) fn new(limits: &Batch, memory: u64) -> Self {
        let metrics = Arc::new(LogstoreMetrics::default());
        let names = (
            ProjectName::new("web").unwrap(),
            LogstoreName::new("clicks").unwrap(),
        );
        let lane = Lane::new(names, Budget::new(memory), limits, Arc::clone(&metrics));
        Self { lane, metrics }
    }

    /// Submits as the front does: with a lease of what came in.
    pub(super) fn submit(&self, group: &EventGroup) {
        let lease = self.lane.budget().lease(group.wire_bytes() as u64).unwrap();
        self.lane.submit(group, lease).unwrap();
    }

    /// Takes the next sealed batch, as delivered.
    pub(super) async fn next(&self) -> Option<LogGroup> {
        let SealedBatch { raw, held, lease } = self.lane.sealed().pop().await?;
        assert!(lease.bytes() >= raw.len() as u64, "a batch is paid for");
        held.delivered();
        Some(LogGroup::decode(raw.as_slice()).unwrap())
    }

    /// Closes the lane and takes all.
    pub(super) async fn rest(&self) -> Vec<LogGroup> {
        self.lane.close();
        let mut all = Vec::new();
        while let Some(log_group) = self.next().await {
            all.push(log_group);
        }
        all
    }
}
