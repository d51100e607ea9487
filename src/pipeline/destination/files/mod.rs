//! Files on local disk: an archive of what a logstore got.
//!
//! Promise: a batch that was taken is synced, and stays until retention deletes its file. What a crash
//! leaves of the file at hand is cut to its whole frames at the next start, and that file ends there.
//! A file has its last name only once it is complete: whoever collects `*.ndjson*` or `*.pb*` reads
//! none that still grows.
//! When the disk is full or fails: what was written of the batch is taken back, and the batch is tried
//! again; nothing that was taken before is touched. When the disk does not answer: an attempt ends by
//! its time, and its write goes on alone; no other is begun before it has ended, and a batch that it has
//! written is not written again.
//!
//! Files lie in a folder for each logstore, and are named `{time}-{batch}.{form}`: when the file was
//! begun (UTC, to the millisecond) and the id of its first batch, so that names sort by time.

mod frame;
mod keep;
mod segment;
#[cfg(test)]
mod tests;
mod whole;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use self::frame::Batch;
pub use self::frame::FileFormat;
use self::segment::{Ending, Segment};
use super::parcel::Packed;
use super::{Failure, Parcel};
use crate::foundation::clock;
use crate::logstore::codec::Codec;
use crate::logstore::error::RetryReason;
use crate::pipeline::delivery::aimd::Sign;
use crate::pipeline::delivery::breaker::Verdict;
use crate::telemetry::LogstoreMetrics;

/// How the files of a logstore are written.
#[derive(Clone, Debug)]
pub struct FileRules {
    /// The folder of this logstore; made when there is none.
    pub folder: PathBuf,
    /// What a file holds.
    pub format: FileFormat,
    /// How batches are compressed: not at all, lz4 or zstd.
    pub codec: Codec,
    /// A file of so many bytes is complete.
    pub max_bytes: u64,
    /// A file that was begun so long ago is complete.
    pub max_age: Duration,
    /// A file that was completed so long ago is deleted.
    pub keep_age: Option<Duration>,
    /// The oldest files are deleted when all take more than so many bytes.
    pub keep_bytes: Option<u64>,
    /// Bytes of the disk that are left free.
    pub reserve: u64,
    /// Time of one attempt to write a batch.
    pub timeout: Duration,
}

/// The files of one logstore.
#[derive(Debug)]
pub struct Files(Arc<Archive>);

#[derive(Debug)]
struct Archive {
    rules: FileRules,
    metrics: Arc<LogstoreMetrics>,
    inner: Mutex<Inner>,
    /// One batch is written at a time: who writes has the permit, not who waits for it.
    turn: Arc<Semaphore>,
    /// Frames that were written, which tells a disk that is slow from one that does not answer.
    frames: AtomicU64,
    /// Batches that were written, and whose attempts had no time left to hear of it.
    unclaimed: Mutex<VecDeque<Written>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What earlier lives have left was looked through.
    recovered: bool,
    /// The file that is written.
    open: Option<Segment>,
    /// When complete files were last looked through; `None` since another one was completed.
    swept: Option<Instant>,
}

/// How far a batch was added to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Added {
    All,
    /// The file would be too large; it has other batches.
    NoRoom,
}

/// A batch that was written, by its id and its bytes as a LogGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    pack: String,
    bytes: usize,
}

/// Batches that are remembered until they are tried again; of a lane no more are on their way.
const UNCLAIMED: usize = 1024;

/// How often complete files are looked through while none is added.
const SWEEPING: Duration = Duration::from_secs(30);

impl Files {
    /// Files by these rules. Nothing is touched yet.
    #[must_use]
    pub fn new(rules: FileRules, metrics: Arc<LogstoreMetrics>) -> Self {
        Self(Arc::new(Archive {
            rules,
            metrics,
            inner: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            frames: AtomicU64::new(0),
            unclaimed: Mutex::default(),
        }))
    }

    /// # Cancel safety
    /// A batch whose write has begun is written all the same, and not again when it comes again.
    pub(super) async fn put(&self, parcel: &Parcel) -> Result<(), Failure> {
        let archive = &self.0;
        let frames = || archive.frames.load(Ordering::Relaxed);
        let (before, mut begun) = (frames(), false);
        let time = archive.rules.timeout;
        match tokio::time::timeout(time, archive.attempt(parcel, &mut begun)).await {
            Ok(result) => result,
            Err(_) => Err(archive.late(begun, frames() > before)),
        }
    }

    /// Completes the file at hand when it is old, and deletes what is not to be kept. Blocks.
    pub(super) fn tend(&self) {
        let mut inner = self.0.lock();
        let done = self.0.recover(&mut inner).and_then(|()| {
            let age = self.0.rules.max_age;
            if inner.open.as_ref().is_some_and(|it| it.is_over(age)) {
                self.0.complete(&mut inner)?;
            }
            let rested = |last: Instant| last.elapsed() < SWEEPING;
            if inner.swept.is_some_and(rested) {
                return Ok(());
            }
            inner.swept = Some(Instant::now());
            drop(inner);
            keep::sweep(&self.0.rules, &self.0.metrics.archive, clock::unix_millis())
        });
        if let Err(error) = done {
            self.0.tell(&error);
        }
    }

    /// Completes the file at hand. Whether that has gone well. Blocks.
    pub(super) fn close(&self) -> bool {
        let completed = self.0.complete(&mut self.0.lock());
        completed.inspect_err(|error| self.0.tell(error)).is_ok()
    }
}

impl Archive {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch on a thread that may block, once no other is written. `begun`: that it was.
    async fn attempt(self: &Arc<Self>, parcel: &Parcel, begun: &mut bool) -> Result<(), Failure> {
        let lost = |words: String| Failure::down(RetryReason::Busy, words);
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        let turn = turn.map_err(|error| lost(error.to_string()))?;
        *begun = true;
        let (archive, packed) = (Arc::clone(self), parcel.packed());
        let stored = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            archive.store(&packed)
        });
        let written = stored.await;
        let written = written.map_err(|error| lost(error.to_string()).in_doubt())??;
        self.unclaimed().retain(|it| *it != written);
        Ok(())
    }

    /// An attempt has had its time. `slow`: the disk writes.
    fn late(&self, begun: bool, slow: bool) -> Failure {
        self.metrics.archive.failures.inc();
        let (folder, time) = (self.rules.folder.display(), self.rules.timeout.as_millis());
        let words = format!("{folder}: not written in {time} ms");
        let failure = match slow {
            true => Failure {
                sign: Sign::Congested,
                verdict: Verdict::Up,
                ..Failure::retry(RetryReason::Busy, words)
            },
            false => Failure::down(RetryReason::Busy, words),
        };
        Failure {
            in_doubt: begun,
            ..failure
        }
    }

    fn unclaimed(&self) -> MutexGuard<'_, VecDeque<Written>> {
        self.unclaimed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, packed: &Packed) -> Result<Written, Failure> {
        let unreadable = || Failure::refused("Unreadable", "the LogGroup cannot be read");
        let raw = packed.plain().ok_or_else(unreadable)?;
        let bytes = raw.len();
        let batch = Batch::of(raw, &self.rules).ok_or_else(unreadable)?;
        let pack = batch.pack.clone();
        let this = Written { pack, bytes };
        if self.unclaimed().contains(&this) {
            return Ok(this);
        }
        let written = self.append(&mut self.lock(), &batch);
        written.map_err(|error| self.failed(&error))?;
        // What has no id cannot be told from others.
        if !this.pack.is_empty() {
            let mut unclaimed = self.unclaimed();
            if unclaimed.len() >= UNCLAIMED {
                unclaimed.pop_front();
            }
            unclaimed.push_back(this.clone());
        }
        Ok(this)
    }

    /// Adds a batch to the file at hand, or to a new one. All of it is in one file.
    fn append(&self, inner: &mut Inner, batch: &Batch<'_>) -> io::Result<()> {
        self.recover(inner)?;
        loop {
            let added = self.add(inner, batch);
            if !matches!(added, Ok(Added::All))
                && let Some(open) = &mut inner.open
            {
                open.take_back();
                // What was taken before is safe in it. Nothing more is written there.
                let over = open.is_broken() || added.is_ok();
                let completed = if over { self.complete(inner) } else { Ok(()) };
                // The first failure is the one that says why.
                added.as_ref().map_or(Ok(()), |_| completed)?;
            }
            if added? == Added::All {
                return Ok(());
            }
        }
    }

    fn add(&self, inner: &mut Inner, batch: &Batch<'_>) -> io::Result<Added> {
        let rules = &self.rules;
        if inner
            .open
            .as_ref()
            .is_some_and(|it| it.is_over(rules.max_age))
        {
            self.complete(inner)?;
        }
        for frame in batch.frames() {
            let frame = frame?;
            let length = frame.len() as u64;
            keep::has_room(rules, length)?;
            let open = match &mut inner.open {
                Some(open) => open,
                none => none.insert(Segment::begin(rules, &batch.pack, clock::unix_millis())?),
            };
            if open.length() > 0 && open.end() + length > rules.max_bytes {
                return Ok(Added::NoRoom);
            }
            open.write(&frame)?;
            self.frames.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(open) = &mut inner.open {
            self.metrics.archive.bytes_written.add(open.commit()?);
        }
        Ok(Added::All)
    }

    fn recover(&self, inner: &mut Inner) -> io::Result<()> {
        if !inner.recovered {
            let completed = segment::recover(&self.rules)?;
            self.metrics.archive.files_completed.add(completed);
            inner.recovered = true;
        }
        Ok(())
    }

    /// The file at hand gets its last name.
    fn complete(&self, inner: &mut Inner) -> io::Result<()> {
        let Some(open) = &mut inner.open else {
            return Ok(());
        };
        let ending = open.complete()?;
        let archive = &self.metrics.archive;
        match ending {
            Ending::Empty => {}
            Ending::Complete => archive.files_completed.inc(),
            Ending::Lost => {
                archive.files_lost.inc();
                let (file, bytes) = (open.path().display(), open.length());
                tracing::error!(
                    %file, bytes,
                    "a file of an archive was deleted or moved by others while it was written; the events in it count as delivered"
                );
            }
        }
        inner.open = None;
        inner.swept = None;
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let folder = self.rules.folder.display();
        self.metrics.archive.failures.inc();
        Failure::down(RetryReason::Busy, format!("{folder}: {error}"))
    }

    fn tell(&self, error: &io::Error) {
        self.metrics.archive.failures.inc();
        let folder = self.rules.folder.display();
        tracing::warn!(%folder, %error, "an archive cannot be looked after now; it is tried again");
    }
}
