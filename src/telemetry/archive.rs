//! What is counted of the files of an archive.

use std::sync::Arc;

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::families::base;
use super::metrics::{Counter, Gauge, LogstoreMetrics};

/// The files of one logstore.
#[derive(Debug, Default)]
pub struct ArchiveMetrics {
    /// Bytes of batches that were written and synced.
    pub bytes_written: Counter,
    /// Files that were completed.
    pub files_completed: Counter,
    /// Files that were taken away by others while they were written.
    pub files_lost: Counter,
    /// Files that retention has deleted.
    pub files_deleted: Counter,
    /// Their bytes.
    pub bytes_deleted: Counter,
    /// Writes, syncs and other uses of the disk that failed.
    pub failures: Counter,
    /// Complete files, when they were last counted.
    pub files: Gauge,
    /// Their bytes.
    pub bytes: Gauge,
}

type Of = fn(&ArchiveMetrics) -> u64;

const FAMILIES: &[(&Declaration, Of)] = &[
    (&declared::ARCHIVE_WRITTEN_BYTES, |it| {
        it.bytes_written.get()
    }),
    (&declared::ARCHIVE_FILES_COMPLETED, |it| {
        it.files_completed.get()
    }),
    (&declared::ARCHIVE_FILES_LOST, |it| it.files_lost.get()),
    (&declared::ARCHIVE_FILES_DELETED, |it| {
        it.files_deleted.get()
    }),
    (&declared::ARCHIVE_DELETED_BYTES, |it| {
        it.bytes_deleted.get()
    }),
    (&declared::ARCHIVE_FAILURES, |it| it.failures.get()),
    (&declared::ARCHIVE_FILES, |it| it.files.get()),
    (&declared::ARCHIVE_BYTES, |it| it.bytes.get()),
];

/// The families of all logstores.
pub(super) fn families(logstores: &[((String, String), Arc<LogstoreMetrics>)]) -> Vec<Family> {
    let family = |(declared, of): &(&'static Declaration, Of)| {
        let mut family = Family::of(declared);
        for ((project, logstore), cells) in logstores {
            family.push(base(project, logstore), of(&cells.archive));
        }
        family
    };
    FAMILIES.iter().map(family).collect()
}
