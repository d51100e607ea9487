//! What is counted of the disk of each logstore.

use std::sync::Arc;

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::families::base;
use super::latency::{Fine, Histogram};
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
    /// Bytes on disk that no other logstore can take from it.
    pub part: Gauge,
    /// Files on disk.
    pub segments: Gauge,
    /// Parts that were written.
    pub parts: Gauge,
    /// Records that were damaged, and runs of bytes that are none.
    pub damaged: Gauge,
    /// Writes and syncs that the disk refused.
    pub failures: Gauge,
    /// How long syncs take.
    pub sync: Histogram<Fine>,
    /// 0: well; 1: full; 2: failing.
    pub state: Gauge,
    /// 1 while what an earlier life has left is being looked through.
    pub recovering: Gauge,
}

type Of = fn(&LogstoreSpool) -> u64;

const FAMILIES: &[(&Declaration, Of)] = &[
    (&declared::SPOOL_EVENTS, |m| m.waiting.get()),
    (&declared::SPOOL_RECOVERED_EVENTS, |m| m.recovered.get()),
    (&declared::SPOOL_EXPIRED_EVENTS, |m| m.expired.get()),
    (&declared::SPOOL_SHED_EVENTS, |m| m.shed.get()),
    (&declared::SPOOL_BYTES, |m| m.bytes.get()),
    (&declared::SPOOL_PART_BYTES, |m| m.part.get()),
    (&declared::SPOOL_SEGMENTS, |m| m.segments.get()),
    (&declared::SPOOL_PARTS, |m| m.parts.get()),
    (&declared::SPOOL_DAMAGE, |m| m.damaged.get()),
    (&declared::SPOOL_FAILURES, |m| m.failures.get()),
    (&declared::SPOOL_STATE, |m| m.state.get()),
    (&declared::SPOOL_RECOVERING, |m| m.recovering.get()),
];

/// The families of all logstores.
pub(super) fn families(logstores: &[((String, String), Arc<LogstoreMetrics>)]) -> Vec<Family> {
    let family = |(declared, of): &(&'static Declaration, Of)| {
        let mut family = Family::of(declared);
        for ((project, logstore), cells) in logstores {
            family.push(base(project, logstore), of(&cells.spool));
        }
        family
    };
    FAMILIES.iter().map(family).collect()
}
