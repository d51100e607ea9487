//! The queue before the disk, and the thread that empties it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::read::Kept;
use super::segments::{Deleted, NOT_REPLAYED, Segments};
use crate::config;
use crate::event::{Purged, Reason, Refusal};
use crate::foundation::clock;
use crate::telemetry::QuarantineMetrics;

/// How often old records are looked for.
const EXPIRY: Duration = Duration::from_secs(60);
/// Pause after a failed write.
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes that are written and synced together.
const GROUP: usize = 1 << 20;

/// Why the quarantine cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the quarantine in {path}: {source}", path = path.display())]
pub struct QuarantineError {
    path: PathBuf,
    source: io::Error,
}

/// A project and a logstore.
type Name = (Arc<str>, Arc<str>);

/// What is done once records are on disk. Not done when the process ends before.
type Then = Box<dyn FnOnce() + Send>;

enum Job {
    Append(Name, Vec<u8>, Option<Then>),
    Purge(Name, Sender<io::Result<Deleted>>),
    Replayed(Name, Vec<u8>, Sender<io::Result<()>>),
    Stop,
}

/// Keeps events that were set aside.
pub struct Quarantine {
    data_dir: PathBuf,
    queue: Mutex<Sender<Job>>,
    /// Bytes that wait for the disk.
    waiting: Arc<AtomicU64>,
    max_waiting: u64,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Quarantine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quarantine").finish_non_exhaustive()
    }
}

impl Quarantine {
    /// Looks for what was kept before, and starts the writer.
    ///
    /// # Errors
    /// When a folder cannot be read, or the thread cannot be started.
    pub fn open(
        data_dir: &Path,
        rules: &config::Quarantine,
        metrics: &Arc<QuarantineMetrics>,
    ) -> Result<Arc<Self>, QuarantineError> {
        let failed = |source| QuarantineError {
            path: data_dir.join("quarantine"),
            source,
        };
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            data_dir: data_dir.to_owned(),
            max_bytes: rules.max_size.get(),
            max_age: rules.max_age.get(),
            segments: BTreeMap::new(),
            waiting: Arc::clone(&waiting),
            metrics: Arc::clone(metrics),
            stopping: false,
            later: VecDeque::new(),
        };
        writer.find().map_err(failed)?;
        let thread = Builder::new()
            .name("quarantine".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(failed)?;
        Ok(Arc::new(Self {
            data_dir: data_dir.to_owned(),
            queue: Mutex::new(sender),
            waiting,
            max_waiting: rules.queue.get(),
            writer: Mutex::new(Some(thread)),
        }))
    }

    /// Where the records of a logstore are kept.
    #[must_use]
    pub fn place(&self, project: &str, logstore: &str) -> Kept {
        Kept::of(&self.data_dir, project, logstore)
    }

    /// Every logstore that has records, by name.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn places(&self) -> io::Result<Vec<Kept>> {
        super::read::places(&self.data_dir)
    }

    /// Takes room for records of so many bytes, so that [`Room::put`] cannot fail: a request is kept
    /// with all its events, or not at all.
    ///
    /// # Errors
    /// [`Reason::QuarantineFull`] while too much waits for the disk.
    pub fn room(self: &Arc<Self>, bytes: usize) -> Result<Room, Refusal> {
        let bytes = bytes as u64;
        let before = self.waiting.fetch_add(bytes, Ordering::AcqRel);
        let room = Room {
            quarantine: Arc::clone(self),
            bytes,
        };
        // One record of any size has room in an empty queue.
        if before == 0 || before.saturating_add(bytes) <= self.max_waiting {
            Ok(room)
        } else {
            Err(Reason::QuarantineFull.into())
        }
    }

    /// Deletes all records of a logstore. Blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be deleted.
    pub fn purge(&self, project: &str, logstore: &str) -> io::Result<Purged> {
        let (answer, answered) = channel();
        let name = (project.into(), logstore.into());
        let Deleted { records, bytes } = self.ask(Job::Purge(name, answer), &answered)?;
        Ok(Purged { records, bytes })
    }

    /// Notes that these records are being replayed; when it returns, that is on disk. Blocks on it.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn note_replayed(&self, project: &str, logstore: &str, ids: &[&str]) -> io::Result<()> {
        self.note(project, logstore, ids, "")
    }

    /// Notes that these records have not been replayed after all.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub fn note_not_replayed(&self, project: &str, logstore: &str, ids: &[&str]) -> io::Result<()> {
        self.note(project, logstore, ids, NOT_REPLAYED)
    }

    fn note(&self, project: &str, logstore: &str, ids: &[&str], mark: &str) -> io::Result<()> {
        let mut lines = Vec::new();
        for id in ids {
            for part in [mark, id, "\n"] {
                lines.extend_from_slice(part.as_bytes());
            }
        }
        let (answer, answered) = channel();
        let name = (project.into(), logstore.into());
        self.ask(Job::Replayed(name, lines, answer), &answered)
    }

    fn ask<T>(&self, job: Job, answered: &Receiver<io::Result<T>>) -> io::Result<T> {
        let gone = || io::Error::other("the quarantine has stopped");
        if !self.send(job) {
            return Err(gone());
        }
        answered.recv().map_err(|_| gone())?
    }

    fn send(&self, job: Job) -> bool {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.send(job).is_ok()
    }

    /// Bytes that are not on disk yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Acquire)
    }

    /// Writes what waits, as far as that goes within `deadline`, and stops. How many bytes were not
    /// written. Blocks.
    pub fn stop(&self, deadline: Duration) -> u64 {
        self.send(Job::Stop);
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let end = Instant::now() + deadline;
        if let Some(writer) = writer {
            while !writer.is_finished() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        self.waiting()
    }
}

/// Room in the queue before the disk.
#[derive(Debug)]
pub struct Room {
    quarantine: Arc<Quarantine>,
    bytes: u64,
}

impl Room {
    /// Keeps records: whole lines of JSON, of as many bytes as there is room for.
    pub fn put(self, project: &str, logstore: &str, lines: Vec<u8>) {
        self.hand_over(project, logstore, lines, None);
    }

    /// The same; `then` is done once they are synced, by the writer, so it must not block. It is not
    /// done when the process ends before that.
    pub fn put_then(
        self,
        project: &str,
        logstore: &str,
        lines: Vec<u8>,
        then: impl FnOnce() + Send + 'static,
    ) {
        self.hand_over(project, logstore, lines, Some(Box::new(then)));
    }

    fn hand_over(mut self, project: &str, logstore: &str, lines: Vec<u8>, then: Option<Then>) {
        let name = (project.into(), logstore.into());
        if self.quarantine.send(Job::Append(name, lines, then)) {
            // From here on they are the writer's.
            self.bytes = 0;
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let waiting = &self.quarantine.waiting;
        waiting.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

struct Writer {
    data_dir: PathBuf,
    max_bytes: u64,
    max_age: Duration,
    segments: BTreeMap<Name, Segments>,
    waiting: Arc<AtomicU64>,
    metrics: Arc<QuarantineMetrics>,
    stopping: bool,
    /// Jobs that came while a write failed: their bytes are bounded by the queue's.
    later: VecDeque<Job>,
}

impl Writer {
    fn find(&mut self) -> io::Result<()> {
        for kept in super::read::places(&self.data_dir)? {
            let segments = Segments::find(kept.folder().to_owned(), self.max_bytes)?;
            let name = (kept.project.as_str().into(), kept.logstore.as_str().into());
            self.segments.insert(name, segments);
        }
        self.count();
        Ok(())
    }

    fn run(mut self, queue: &Receiver<Job>) {
        let mut next_expiry = Instant::now();
        while !self.stopping {
            if Instant::now() >= next_expiry {
                self.expire();
                next_expiry = Instant::now() + EXPIRY;
            }
            if let Some(job) = self.later.pop_front() {
                self.work(job, queue);
                continue;
            }
            let wait = next_expiry.saturating_duration_since(Instant::now());
            match queue.recv_timeout(wait) {
                Ok(job) => self.work(job, queue),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Does a job; appends to the same logstore that wait behind it are done with it.
    fn work(&mut self, job: Job, queue: &Receiver<Job>) {
        let mut next = Some(job);
        while let Some(job) = next.take() {
            match job {
                Job::Append(name, mut lines, then) => {
                    let mut after: Vec<Then> = then.into_iter().collect();
                    while lines.len() < GROUP && next.is_none() {
                        match queue.try_recv() {
                            Ok(Job::Append(other, more, then)) if other == name => {
                                lines.extend(more);
                                after.extend(then);
                            }
                            Ok(other) => next = Some(other),
                            Err(_) => break,
                        }
                    }
                    self.append(&name, &lines, queue);
                    after.into_iter().for_each(|then| then());
                }
                Job::Purge(name, answer) => {
                    let purged = self.of(&name).and_then(Segments::purge);
                    drop(answer.send(purged));
                }
                Job::Replayed(name, ids, answer) => {
                    let noted = self.of(&name).and_then(|it| it.note_replayed(&ids));
                    drop(answer.send(noted));
                }
                Job::Stop => self.stopping = true,
            }
            self.count();
        }
    }

    fn of(&mut self, name: &Name) -> io::Result<&mut Segments> {
        match self.segments.entry(name.clone()) {
            std::collections::btree_map::Entry::Occupied(found) => Ok(found.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                let kept = Kept::of(&self.data_dir, &name.0, &name.1);
                let segments = Segments::find(kept.folder().to_owned(), self.max_bytes)?;
                Ok(place.insert(segments))
            }
        }
    }

    /// Tries until it is written. Meanwhile the queue fills and requests are refused; a process that
    /// stops gives up at its deadline.
    fn append(&mut self, name: &Name, lines: &[u8], queue: &Receiver<Job>) {
        let length = lines.len() as u64;
        let mut told = false;
        loop {
            let now = clock::now();
            let result = self.of(name).and_then(|segments| {
                let deleted = segments.make_room(length)?;
                segments.append(lines, now)?;
                Ok(deleted)
            });
            match result {
                Ok(deleted) => {
                    self.metrics.expired.add(deleted.records);
                    self.waiting.fetch_sub(length, Ordering::AcqRel);
                    return;
                }
                Err(error) => {
                    self.metrics.write_errors.inc();
                    if !told {
                        tracing::error!(%error, project = %name.0, logstore = %name.1,
                            "events that are set aside cannot be written; requests with such events are refused until they can");
                        told = true;
                    }
                    self.meanwhile(queue);
                }
            }
        }
    }

    /// Pauses after a failed write. Who frees space, or waits for an answer, is served meanwhile; what
    /// is to be written waits in its order.
    fn meanwhile(&mut self, queue: &Receiver<Job>) {
        let end = Instant::now() + PAUSE;
        loop {
            match queue.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Job::Purge(name, answer)) => {
                    drop(answer.send(self.of(&name).and_then(Segments::purge)));
                }
                Ok(Job::Replayed(name, ids, answer)) => {
                    let noted = self.of(&name).and_then(|it| it.note_replayed(&ids));
                    drop(answer.send(noted));
                }
                Ok(job) => self.later.push_back(job),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(PAUSE);
                    break;
                }
            }
        }
        self.expire();
    }

    fn expire(&mut self) {
        let (age, now) = (self.max_age, clock::now());
        for segments in self.segments.values_mut() {
            match segments.expire(age, now) {
                Ok(deleted) => self.metrics.expired.add(deleted.records),
                Err(error) => tracing::error!(%error, "old records of the quarantine stay"),
            }
            if let Err(error) = segments.prune_replayed() {
                tracing::error!(%error, "what was replayed long ago stays noted");
            }
        }
        self.count();
    }

    fn count(&self) {
        let bytes = self.segments.values().map(Segments::bytes).sum();
        self.metrics.bytes.set(bytes);
    }
}
