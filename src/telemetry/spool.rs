//! What is counted of the disk of each logstore.

use std::sync::Arc;

use prometheus::proto::MetricType::{self, COUNTER, GAUGE};

use super::families::{Family, base};
use super::metrics::{Counter, Gauge, LogstoreMetrics};

/// The disk of one logstore.
#[derive(Debug, Default)]
pub struct LogstoreSpool {
    /// Events that wait on disk, and that memory does not hold.
    pub waiting: Gauge,
    /// Events of earlier lives of the process that were found on disk.
    pub recovered: Counter,
    /// Events that waited for too long.
    pub expired: Counter,
    /// Events that made room for newer ones.
    pub shed: Counter,
    /// Bytes on disk.
    pub bytes: Gauge,
    /// Files on disk.
    pub segments: Gauge,
    /// Parts that were written.
    pub parts: Gauge,
    /// Records that were damaged, and runs of bytes that are none.
    pub damaged: Gauge,
    /// Writes and syncs that the disk refused.
    pub failures: Gauge,
    /// 0: well; 1: full; 2: failing.
    pub state: Gauge,
}

type Of = fn(&LogstoreSpool) -> u64;

const FAMILIES: &[(&str, &str, MetricType, Of)] = &[
    (
        "tollgate_spool_events",
        "Events that wait on disk and are not in memory.",
        GAUGE,
        |m| m.waiting.get(),
    ),
    (
        "tollgate_spool_recovered_events_total",
        "Events that an earlier life of the process had left on disk.",
        COUNTER,
        |m| m.recovered.get(),
    ),
    (
        "tollgate_spool_expired_events_total",
        "Events that waited on disk for longer than spool.max_age.",
        COUNTER,
        |m| m.expired.get(),
    ),
    (
        "tollgate_spool_shed_events_total",
        "Events on disk that made room for newer ones (when_full = drop_oldest).",
        COUNTER,
        |m| m.shed.get(),
    ),
    ("tollgate_spool_bytes", "Bytes on disk.", GAUGE, |m| {
        m.bytes.get()
    }),
    ("tollgate_spool_segments", "Files on disk.", GAUGE, |m| {
        m.segments.get()
    }),
    (
        "tollgate_spool_parts_total",
        "Parts of batches that were written to disk.",
        COUNTER,
        |m| m.parts.get(),
    ),
    (
        "tollgate_spool_damage_total",
        "Records on disk that were damaged, and runs of bytes that are no records. Copies are in damaged/.",
        COUNTER,
        |m| m.damaged.get(),
    ),
    (
        "tollgate_spool_failures_total",
        "Writes and syncs that the disk refused.",
        COUNTER,
        |m| m.failures.get(),
    ),
    (
        "tollgate_spool_state",
        "0: the disk takes events. 1: it is full. 2: it fails.",
        GAUGE,
        |m| m.state.get(),
    ),
];

/// The families of all logstores.
pub(super) fn families(logstores: &[((String, String), Arc<LogstoreMetrics>)]) -> Vec<Family> {
    let family = |(name, help, kind, of): &(&'static str, &'static str, MetricType, Of)| {
        let mut family = Family::new(name, help, *kind);
        for ((project, logstore), cells) in logstores {
            family.push(base(project, logstore), of(&cells.spool));
        }
        family
    };
    FAMILIES.iter().map(family).collect()
}
