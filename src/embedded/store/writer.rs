//! The one thread that writes, with group commit.
//!
//! Promise: every write that was taken is answered, also when the disk fails or the thread dies. A
//! commit takes what waits at that moment, so one sync serves all who came during the sync before
//! it. When the queue is full: the write is refused, nobody waits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fjall::PersistMode;
use tokio::sync::oneshot;

use super::catalog::{Catalog, read_extent};
use super::database::{OpenError, Tables};
use super::keys::{self, Head};
use super::repeats::Repeats;
use super::retention::{self, Keep};
use super::shard::{Extent, Shard};
use super::slot::{self, Slot};
use super::{GroupBody, NewGroup, PutError, SWEEP_EVERY, StoreError};
use crate::config::SyncMode;
use crate::foundation::budget::Lease;
use crate::foundation::clock;
use crate::telemetry::EmbeddedMetrics;

/// Writes that may wait. Their bytes are bounded by the memory budget; this bounds their number, so
/// that the wait of the last stays short even when a sync is slow.
pub(super) const QUEUE: usize = 1024;
/// Writes in one commit.
const COMMIT_WRITES: usize = 256;
/// Bytes in one commit; the last write may go over it.
const COMMIT_BYTES: u64 = 8 << 20;

/// A write on its way to the thread.
pub(super) struct Put {
    pub(super) shard: Arc<Shard>,
    pub(super) group: NewGroup,
    pub(super) lease: Lease,
    pub(super) answer: oneshot::Sender<Result<(), PutError>>,
}

enum Command {
    Put(Put),
    Stop,
}

/// The writer thread, seen from outside.
pub(super) struct Writer {
    queue: SyncSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        files: Files,
        catalog: Arc<ArcSwap<Catalog>>,
        rules: Rules,
        repeats: Repeats,
    ) -> Result<Self, std::io::Error> {
        let (queue, commands) = sync_channel(QUEUE);
        let work = Work {
            files,
            catalog,
            keep: rules.keep,
            window: rules.window,
            repeats,
            persist: match rules.sync {
                SyncMode::Disk => PersistMode::SyncData,
                SyncMode::Process => PersistMode::Buffer,
            },
            failed: None,
        };
        let thread = std::thread::Builder::new()
            .name("logstore-writer".to_owned())
            .spawn(move || work.run(&commands))?;
        Ok(Self {
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands a write to the thread.
    pub(super) fn submit(&self, put: Put) -> Result<(), PutError> {
        self.queue
            .try_send(Command::Put(put))
            .map_err(|error| match error {
                TrySendError::Full(_) => PutError::Busy,
                TrySendError::Disconnected(_) => PutError::Failed,
            })
    }

    /// Ends the thread after what waits. The second call does nothing.
    pub(super) fn close(&self) {
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else { return };
        if self.queue.send(Command::Stop).is_err() {
            tracing::debug!("the writer of the embedded logstore had ended already");
        }
        if thread.join().is_err() {
            tracing::error!(
                "the writer of the embedded logstore died; its last writes were refused"
            );
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the thread goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) keep: Keep,
    pub(super) sync: SyncMode,
    /// For how many seconds a LogGroup that comes again is dropped.
    pub(super) window: u64,
}

/// The files that the thread writes.
pub(super) struct Files {
    pub(super) path: PathBuf,
    pub(super) tables: Slot,
    pub(super) metrics: Arc<EmbeddedMetrics>,
}

/// How often a disk that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(3);
/// How long it is waited for those who still read the old files.
const READERS: Duration = Duration::from_secs(5);

/// What the thread owns.
struct Work {
    files: Files,
    catalog: Arc<ArcSwap<Catalog>>,
    keep: Keep,
    persist: PersistMode,
    window: u64,
    /// What is here, or will be with the commit at hand. When that fails it is read again, with the files.
    repeats: Repeats,
    /// When a write or opening anew failed last; `None` while all is well.
    failed: Option<Instant>,
}

impl Work {
    fn run(mut self, commands: &Receiver<Command>) {
        let mut sweep_at = Instant::now();
        let mut stop = false;
        while !stop {
            let wait = sweep_at.saturating_duration_since(Instant::now());
            self.heal();
            match commands.recv_timeout(wait) {
                Ok(Command::Put(first)) => {
                    let (puts, stopping) = gather(first, commands);
                    self.commit(puts);
                    stop = stopping;
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => stop = true,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if Instant::now() >= sweep_at {
                let more_to_remove = self.sweep();
                sweep_at = Instant::now();
                if !more_to_remove {
                    sweep_at += SWEEP_EVERY;
                }
            }
        }
        let synced = self.files.tables.get().and_then(|tables| {
            let persisted = tables.database.persist(PersistMode::SyncAll);
            persisted.map_err(StoreError::from)
        });
        if let Err(error) = synced {
            tracing::error!(%error, "the embedded logstore could not be synced on closing");
        }
    }

    /// Writes all in one batch, persists it once, then answers everyone.
    fn commit(&mut self, puts: Vec<Put>) {
        let mut answers = Vec::with_capacity(puts.len());
        let result = self.write(puts, &mut answers);
        if let Err(error) = &result
            && self.failed.is_none()
        {
            self.failed = Some(Instant::now());
            self.files.metrics.failing.set(1);
            tracing::error!(
                %error,
                "the embedded logstore cannot write and refuses all writes; look at its disk. It is \
                 tried again every few seconds"
            );
        }
        let answer = result.map_err(|_| PutError::Failed);
        for (sender, lease) in answers {
            drop(lease);
            if sender.send(answer).is_err() {
                tracing::trace!("a client left before its write was answered");
            }
        }
    }

    fn write(
        &mut self,
        puts: Vec<Put>,
        answers: &mut Vec<(oneshot::Sender<Result<(), PutError>>, Lease)>,
    ) -> Result<(), StoreError> {
        let now = clock::unix_seconds();
        if self.failed.is_some() {
            answers.extend(puts.into_iter().map(|put| (put.answer, put.lease)));
            return Err(StoreError::Reopening);
        }
        let tables = self.files.tables.get()?;
        let mut batch = tables.database.batch().durability(Some(self.persist));
        let mut moved: HashMap<(u32, u32), (Arc<Shard>, Extent)> = HashMap::new();
        for put in puts {
            let (_, extent) = moved
                .entry((put.shard.logstore, put.shard.number))
                .or_insert_with(|| (Arc::clone(&put.shard), put.shard.extent()));
            let (head, value) = record(put.group, now.max(extent.received));
            answers.push((put.answer, put.lease));
            if self.repeats.is_repeat(put.shard.logstore, &head) {
                continue;
            }
            let key = keys::key(put.shard.logstore, put.shard.number, extent.next);
            batch.insert(&tables.groups, key, value);
            batch.insert(&tables.heads, key, head.encode());
            extent.next += 1;
            extent.received = head.received;
            extent.bytes += head.cost();
        }
        batch.commit()?;
        for (shard, extent) in moved.into_values() {
            shard.move_to(extent);
        }
        Ok(())
    }

    /// After a failed write: opens the files anew, once the disk takes writes.
    fn heal(&mut self) {
        if self.failed.is_none_or(|at| at.elapsed() < TRY_AGAIN) {
            return;
        }
        let reopened = slot::takes_writes(&self.files.path)
            .map_err(|error| error.to_string())
            .and_then(|()| self.reopen());
        match reopened {
            Ok(()) => {
                self.failed = None;
                self.files.metrics.failing.set(0);
                self.files.metrics.reopened.inc();
                tracing::info!(
                    "the embedded logstore has opened its files anew and takes writes again"
                );
            }
            Err(error) => {
                self.failed = Some(Instant::now());
                tracing::warn!(error, "the embedded logstore still cannot write");
            }
        }
    }

    /// Closes the files and opens them as after a crash: what is found in them counts.
    fn reopen(&mut self) -> Result<(), String> {
        self.files.tables.close();
        let until = Instant::now() + READERS;
        let tables = loop {
            match Tables::open(&self.files.path) {
                Ok(tables) => break tables,
                // Somebody still reads the old ones.
                Err(OpenError::Locked { .. }) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(error.to_string()),
            }
        };
        let catalog = self.catalog.load_full();
        let logstores = catalog.values().flat_map(|logstores| logstores.values());
        for shard in logstores.flat_map(|it| &it.shards) {
            let extent = read_extent(&tables, shard.logstore, shard.number);
            shard.move_to(extent.map_err(|error| error.to_string())?);
        }
        let (now, metrics) = (clock::unix_seconds(), &self.files.metrics);
        self.repeats =
            Repeats::load(&tables, self.window, now, metrics).map_err(|error| error.to_string())?;
        self.files.tables.set(tables);
        Ok(())
    }

    /// One step of retention. Whether another is due at once.
    fn sweep(&self) -> bool {
        let now = clock::unix_seconds();
        let mut more = false;
        let Ok(tables) = self.files.tables.get() else {
            return false;
        };
        let catalog = self.catalog.load_full();
        for logstore in catalog.values().flat_map(|logstores| logstores.values()) {
            match retention::step(&tables, logstore, self.keep, now) {
                Ok(due) => more |= due,
                Err(error) if self.failed.is_some() => {
                    tracing::debug!(%error, "old events could not be removed");
                }
                Err(error) => {
                    tracing::warn!(%error, logstore = %logstore.name, "old events could not be removed");
                }
            }
        }
        more
    }
}

/// The first write and what waits behind it, within the bounds of a commit; and whether a stop was
/// among them.
fn gather(first: Put, commands: &Receiver<Command>) -> (Vec<Put>, bool) {
    let mut bytes = first.group.body.memory();
    let mut puts = vec![first];
    while puts.len() < COMMIT_WRITES && bytes < COMMIT_BYTES {
        match commands.try_recv() {
            Ok(Command::Put(put)) => {
                bytes += put.group.body.memory();
                puts.push(put);
            }
            Ok(Command::Stop) => return (puts, true),
            Err(_) => break,
        }
    }
    (puts, false)
}

/// A group as it stands on disk: its head, and one byte that says how the rest is to be read.
fn record(group: NewGroup, received: u64) -> (Head, Vec<u8>) {
    let (form, raw_bytes, bytes) = match group.body {
        GroupBody::Plain(bytes) => {
            let raw_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            (keys::PLAIN, raw_bytes, bytes)
        }
        GroupBody::Lz4 { block, raw_bytes } => (keys::LZ4, raw_bytes, block),
    };
    let mut value = Vec::with_capacity(keys::PREFIX + bytes.len());
    value.push(form);
    value.extend_from_slice(&raw_bytes.to_be_bytes());
    value.extend_from_slice(&bytes);
    let head = Head {
        received,
        events: group.events,
        raw_bytes,
        stored_bytes: u32::try_from(value.len()).unwrap_or(u32::MAX),
        first_time: group.first_time,
        last_time: group.last_time,
        print: group.print,
    };
    (head, value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::budget::Budget;

    fn put() -> (Put, oneshot::Receiver<Result<(), PutError>>) {
        let (answer, answered) = oneshot::channel();
        let put = Put {
            shard: Arc::new(Shard::new(1, 0, 1, Extent::default())),
            group: NewGroup {
                body: GroupBody::Plain(Vec::new()),
                events: 0,
                first_time: 0,
                last_time: 0,
                print: None,
            },
            lease: Budget::new(1).lease(0).unwrap(),
            answer,
        };
        (put, answered)
    }

    fn writer(thread: impl FnOnce(Receiver<Command>) + Send + 'static) -> Writer {
        let (queue, commands) = sync_channel(QUEUE);
        let thread = std::thread::spawn(move || thread(commands));
        Writer {
            queue,
            thread: Mutex::new(Some(thread)),
        }
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let writer = writer(move |commands| {
            wait.recv().unwrap();
            while !matches!(commands.recv(), Ok(Command::Stop)) {}
        });
        for _ in 0..QUEUE {
            writer.submit(put().0).unwrap();
        }
        assert_eq!(writer.submit(put().0), Err(PutError::Busy));
        go_on.send(()).unwrap();
    }

    #[tokio::test]
    async fn writes_fail_and_do_not_hang_when_the_thread_dies() {
        let writer = writer(|commands| {
            let _held = commands.recv().unwrap();
            std::panic::resume_unwind(Box::new("the thread dies"));
        });
        let (first, answered) = put();
        writer.submit(first).unwrap();
        assert!(answered.await.is_err(), "its answer will never come");
        while writer.submit(put().0) != Err(PutError::Failed) {
            std::thread::yield_now();
        }
    }
}
