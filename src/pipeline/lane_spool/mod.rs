//! The disk of one lane: what is to be durable before its client is answered, what memory has no room
//! for, and what an earlier life of the process has left.
//!
//! Promise: a part whose waiter was told that it is safe is on disk, and stays there until its bundle has
//! ended. A batch that was given to the disk leaves memory only once the disk has it; where the disk does
//! not take it, it stays in memory.
//! When the disk is full or fails: waiters are told, batches stay in memory, and the lane goes on. It
//! heals by itself: every job tries the disk anew.
//!
//! Work on the disk is a queue of jobs, done in order by one blocking task at a time (`commit`). Jobs of a
//! bundle come in their order, so a bundle is never done before its parts were appended.

mod backlog;
mod commit;
mod ending;
#[cfg(test)]
pub(super) mod gate;
mod pace;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

pub(super) use self::ending::Ending;
pub(super) use self::pace::Pace;
use super::batch::{BundleIds, SealedBatch};
use super::queue::SealedQueue;
use super::receipt::Waiter;
use super::spool::{BundleId, Counts, Log, Order, Room};
use crate::config;
use crate::event::Reason;
use crate::foundation::budget::{Budget, Lease, percent_of};
use crate::telemetry::{DropReason, LogstoreMetrics};

/// Bytes of parts that wait for the disk, at most; what comes then is refused. They are copies, paid for
/// by leases of the lane's memory.
const MAX_PENDING: u64 = 8 << 20;
/// How often the disk is looked after, and one that failed is tried again.
const UPKEEP: Duration = Duration::from_secs(1);
/// How a lane uses its disk.
#[derive(Clone, Debug)]
pub(super) struct SpoolUse {
    /// The least time between the beginnings of two syncs: what comes meanwhile shares the second.
    pub(super) commit_interval: Duration,
    /// Batches go to disk when the lane holds more than this part of what it may hold, in percent.
    pub(super) spill_at: u8,
    /// Which of what waits on disk goes first.
    pub(super) order: Order,
    /// How fast what waits is sent, over all lanes.
    pub(super) pace: Arc<Pace>,
}

impl SpoolUse {
    /// What the configuration says.
    pub(super) fn new(rules: &config::Spool, order: Order, pace: &Arc<Pace>) -> Self {
        Self {
            commit_interval: rules.commit_interval.get(),
            spill_at: rules.spill_at,
            order,
            pace: Arc::clone(pace),
        }
    }
}

/// What the disk is to do.
pub(super) enum Job {
    /// Some events of an open batch, before their client is answered.
    Part(PartJob),
    /// A batch that memory shall not hold any longer.
    Spill(SealedBatch),
    /// A bundle has ended.
    Done(BundleId),
    /// Somebody wants to know when all before it is done.
    Tell(oneshot::Sender<()>),
    /// What earlier lives have left is to be looked through.
    Recover,
    /// What is done is to be written down, and what is too old given up.
    Tend,
}

/// Some events of an open batch.
pub(super) struct PartJob {
    pub(super) id: BundleId,
    pub(super) number: u16,
    pub(super) events: u32,
    /// Topic, source and tags: written with the first part that the disk takes.
    pub(super) key: Arc<[u8]>,
    pub(super) logs: Vec<u8>,
    /// Pays for `logs`, until it is known whether the disk has them.
    pub(super) lease: Lease,
    pub(super) waiter: Waiter,
}

/// How the disk is, for whoever comes next.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well = 0,
    Full = 1,
    Failing = 2,
}

/// The disk of one lane.
pub(super) struct LaneSpool {
    log: Mutex<Log>,
    /// Its room in the space of all lanes.
    room: Arc<Room>,
    jobs: Mutex<Jobs>,
    used: SpoolUse,
    /// This lane's memory.
    budget: Arc<Budget>,
    /// Where batches go that the disk does not take.
    sealed: Arc<SealedQueue>,
    metrics: Arc<LogstoreMetrics>,
    /// Bundles that wait on disk, as far as is known.
    backlog: AtomicU64,
    ready: Notify,
    state: AtomicU8,
    /// Batches stay in memory from now on, for the workers.
    closing: AtomicBool,
    /// What the log has counted, as far as it is shown.
    seen: Mutex<Counts>,
    runtime: Handle,
    tasks: TaskTracker,
    /// Bytes of events that memory may hold, by how fast the store takes them.
    most_held: AtomicU64,
    /// What earlier lives have left is still being looked through.
    recovering: AtomicBool,
    /// Whether anything was done since the disk was last looked after.
    changed: AtomicBool,
    /// When the disk was last looked after.
    checked: Mutex<Instant>,
    /// Grows as long as the disk does something.
    progress: AtomicU64,
    /// The ids of this lane's bundles.
    ids: Arc<BundleIds>,
    finished: AtomicBool,
}

impl std::fmt::Debug for LaneSpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneSpool").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Jobs {
    queue: VecDeque<Job>,
    /// Bytes of parts in it.
    bytes: u64,
    /// A task works on it.
    running: bool,
    /// No task is started any more.
    closed: bool,
    /// When the last sync began.
    synced: Option<Instant>,
}

impl LaneSpool {
    /// The disk of a lane; looks through what is there at once. In a runtime.
    pub(super) fn start(
        log: Log,
        used: SpoolUse,
        (budget, sealed): (Arc<Budget>, Arc<SealedQueue>),
        metrics: Arc<LogstoreMetrics>,
    ) -> Arc<Self> {
        let spool = Arc::new(Self {
            room: Arc::clone(log.room()),
            log: Mutex::new(log),
            jobs: Mutex::default(),
            used,
            budget,
            sealed,
            metrics,
            backlog: AtomicU64::new(0),
            ready: Notify::new(),
            state: AtomicU8::new(State::Well as u8),
            closing: AtomicBool::new(false),
            seen: Mutex::default(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            most_held: AtomicU64::new(u64::MAX),
            recovering: AtomicBool::new(true),
            changed: AtomicBool::new(false),
            checked: Mutex::new(Instant::now()),
            progress: AtomicU64::new(0),
            ids: Arc::new(BundleIds::new()),
            finished: AtomicBool::new(false),
        });
        spool.metrics.spool.recovering.set(1);
        spool.show_part();
        spool.push(Job::Recover);
        spool
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of this lane's bundles.
    pub(super) fn ids(&self) -> &Arc<BundleIds> {
        &self.ids
    }

    /// The id of a further bundle.
    pub(super) fn next_id(&self) -> BundleId {
        self.ids.next()
    }

    /// Whether a client of a lane that answers from disk may come in at all.
    ///
    /// # Errors
    /// What is wrong with the disk.
    pub(super) fn enter(&self) -> Result<(), Reason> {
        match self.state.load(Ordering::Acquire) {
            state if state == State::Full as u8 => Err(Reason::SpoolFull),
            state if state == State::Failing as u8 => Err(Reason::SpoolFailed),
            _ if self.jobs().bytes > MAX_PENDING => Err(Reason::SpoolBusy),
            _ => Ok(()),
        }
    }

    /// Whether the disk takes events.
    pub(super) fn is_well(&self) -> bool {
        self.state.load(Ordering::Acquire) == State::Well as u8
    }

    /// Memory holds no more than so many bytes of events from now on; the rest goes to disk.
    pub(super) fn hold_at_most(&self, bytes: u64) {
        self.most_held.store(bytes, Ordering::Relaxed);
    }

    /// Adds a job, and sees to it that somebody does it.
    pub(super) fn push(self: &Arc<Self>, job: Job) {
        let mut jobs = self.jobs();
        let job = match job {
            Job::Spill(batch) if self.is_finished() => {
                // A worker that the stop did not wait for.
                drop(jobs);
                self.leave(batch);
                return;
            }
            job => job,
        };
        if let Job::Part(part) = &job {
            jobs.bytes += part.logs.len() as u64;
        }
        jobs.queue.push_back(job);
        if !jobs.running && !jobs.closed {
            jobs.running = true;
            let spool = Arc::clone(self);
            self.tasks
                .spawn_blocking_on(move || spool.work(), &self.runtime);
        }
    }

    /// Whether a batch that was sealed goes to disk and not to the workers: because memory is short, or
    /// since older ones wait there.
    pub(super) fn wants(&self) -> bool {
        if !self.is_well() || self.closing.load(Ordering::Acquire) {
            return false;
        }
        if self.metrics.load.bytes_held.get() > self.most_held.load(Ordering::Relaxed) {
            return true;
        }
        let behind = self.backlog.load(Ordering::Acquire) > 0;
        // Of what it may hold now, which is less the more is held by others.
        let limit = percent_of(self.budget.allowed(), self.used.spill_at);
        (behind && self.used.order == Order::OldestFirst) || self.budget.used() > limit
    }

    /// Whether what earlier lives have left is still being looked through. Asks nothing of the disk.
    pub(super) fn is_recovering(&self) -> bool {
        self.recovering.load(Ordering::Acquire)
    }

    /// Looks after the disk, where that is due: to be called now and then. A disk that is full or fails
    /// counts as well again once a second: the next job finds out.
    pub(super) fn tend(self: &Arc<Self>) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.elapsed() < UPKEEP || self.jobs().running {
            return;
        }
        self.state.store(State::Well as u8, Ordering::Release);
        self.show_part();
        if self.changed.load(Ordering::Acquire) || self.waiting() > 0 {
            drop(checked);
            self.push(Job::Tend);
        } else {
            *checked = Instant::now();
        }
    }

    /// Weighs so much from now on when the space of all lanes is divided; 0: it has no part of it.
    pub(super) fn weigh(&self, weight: u32) {
        self.room.weigh(weight);
    }

    /// Shows what no other lane can take from it. That changes when others come or go, and
    /// with what the disk has.
    pub(super) fn show_part(&self) {
        self.metrics.spool.part.set(self.room.part());
    }

    /// What is sealed from now on stays in memory, for the workers.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// So many bytes that were on disk are being sent.
    pub(super) fn sending(&self, bytes: usize) {
        self.used.pace.charge(bytes);
    }

    /// Events that wait on disk.
    pub(super) fn waiting(&self) -> u64 {
        self.metrics.spool.waiting.get()
    }

    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// How much the disk has done: as long as that changes, it answers.
    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Acquire)
    }

    /// Waits until all is done that it was given before.
    ///
    /// # Cancel safety
    /// Safe: what it was given is done whoever waits.
    pub(super) async fn all_done(self: &Arc<Self>) {
        let (sender, told) = oneshot::channel();
        self.push(Job::Tell(sender));
        // An error: whoever worked on it has died, which is told elsewhere.
        if told.await.is_err() {}
    }

    /// Ends: does what is left to do, and writes down what is done. Blocks on the disk, however long
    /// that takes to answer.
    pub(super) fn finish(self: &Arc<Self>) {
        while !self.take_over() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.work();
        if self.is_finished() {
            return;
        }
        if let Err(error) = self.log().checkpoint() {
            tracing::warn!(%error, "what was delivered could not be noted: it may be sent again");
        }
        self.mirror();
        self.finished.store(true, Ordering::Release);
    }

    /// Takes the place of the task that works on the jobs, once it is through, and lets no other come.
    fn take_over(&self) -> bool {
        let mut jobs = self.jobs();
        jobs.closed = true;
        !std::mem::replace(&mut jobs.running, true)
    }

    /// The disk does not answer at a stop: ends what waits for it, `left` among that, without asking the
    /// disk. Events that it has count as waiting there, the others as dropped.
    pub(super) fn give_up(&self, left: Vec<SealedBatch>) {
        let waiting = std::mem::take(&mut self.jobs().queue);
        let log = match self.log.try_lock() {
            Ok(log) => Some(log),
            Err(TryLockError::Poisoned(log)) => Some(log.into_inner()),
            // Somebody waits with it for the disk: what is there is not known.
            Err(TryLockError::WouldBlock) => None,
        };
        let batches = waiting.into_iter().filter_map(|job| match job {
            Job::Spill(batch) => Some(batch),
            _ => None,
        });
        for batch in batches.chain(left) {
            self.metrics.batches_waiting.sub(1);
            let there = log.as_ref().zip(batch.bundle());
            let there = there.map_or(0, |(log, id)| log.durable_events_of(id));
            let mut held = batch.held;
            let bytes = held.bytes();
            held.take(there, bytes).moved_to_disk();
            held.dropped(DropReason::Stopped);
        }
    }

    /// Lets go of the log after the end, for another that opens it. What it counts is told no more.
    pub(super) fn detach(&self) {
        self.log().leave();
    }

    /// Shows what the log has counted since the last time of events that are held no longer.
    fn mirror(&self) {
        let log = self.log();
        let now = log.counts();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *seen, now);
        drop(seen);
        drop(log);
        let shown = &self.metrics.spool;
        let expired = now.expired_events.saturating_sub(before.expired_events);
        let shed = now.dropped_events.saturating_sub(before.dropped_events);
        let lost = now.lost_events.saturating_sub(before.lost_events);
        shown.expired.add(expired);
        shown.shed.add(shed);
        let dropped = &self.metrics.events_dropped;
        dropped.at(DropReason::Lost as usize).add(lost);
        shown.waiting.sub_at_most(expired + shed + lost);
        shown.bytes.set(now.disk_bytes);
        shown.segments.set(now.segments);
        shown.parts.set(now.appended_parts);
        shown
            .damaged
            .set(now.damaged_records + now.garbage + now.torn_tails);
        shown.failures.set(now.failed_appends + now.failed_syncs);
    }
}
