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

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::batch::SealedBatch;
use super::queue::SealedQueue;
use super::receipt::Waiter;
use super::spool::{BundleId, Log, Order};
use crate::config;
use crate::event::Reason;
use crate::foundation::budget::{Budget, percent_of};
use crate::foundation::clock;
use crate::telemetry::LogstoreMetrics;

/// Bytes of parts that wait for the disk, at most; what comes then is refused.
const MAX_PENDING: u64 = 32 << 20;
/// How often the disk is looked after, in milliseconds.
const UPKEEP: u64 = 1000;
/// How often a disk that failed is asked for again before clients are answered.
const PROBE: Duration = Duration::from_secs(1);

/// How a lane uses its disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct SpoolUse {
    /// The least time between the beginnings of two syncs: what comes meanwhile shares the second.
    pub(super) commit_interval: Duration,
    /// Batches go to disk when the lane holds more than this part of what it may hold, in percent.
    pub(super) spill_at: u8,
    /// Which of what waits on disk goes first.
    pub(super) order: Order,
}

impl SpoolUse {
    /// What the configuration says.
    pub(super) fn new(rules: &config::Spool, order: Order) -> Self {
        Self {
            commit_interval: rules.commit_interval.get(),
            spill_at: rules.spill_at,
            order,
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
    /// Topic, source and tags, in the first part.
    pub(super) key: Option<Arc<[u8]>>,
    pub(super) logs: Vec<u8>,
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
    /// When a failing disk was last tried for a client.
    probed: Mutex<Instant>,
    runtime: Handle,
    tasks: TaskTracker,
    /// Bytes of events that memory may hold, by how fast the store takes them.
    most_held: AtomicU64,
    /// Whether anything was done since the disk was last looked after.
    changed: AtomicBool,
    /// When the disk was last looked after, unix milliseconds.
    checked: AtomicU64,
    /// Events that made room for newer ones, as far as they were counted.
    shed: AtomicU64,
    /// Bundles of which a part is not on disk.
    partial: Mutex<HashSet<BundleId>>,
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
            log: Mutex::new(log),
            jobs: Mutex::default(),
            used,
            budget,
            sealed,
            metrics,
            backlog: AtomicU64::new(0),
            ready: Notify::new(),
            state: AtomicU8::new(State::Well as u8),
            probed: Mutex::new(Instant::now()),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            most_held: AtomicU64::new(u64::MAX),
            changed: AtomicBool::new(false),
            checked: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            partial: Mutex::default(),
        });
        spool.push(Job::Recover);
        spool
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partial(&self) -> MutexGuard<'_, HashSet<BundleId>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a client of a lane that answers from disk may come in at all.
    ///
    /// # Errors
    /// What is wrong with the disk. Once a second one is let in, to see whether it is still so.
    pub(super) fn enter(&self) -> Result<(), Reason> {
        let reason = match self.state.load(Ordering::Acquire) {
            state if state == State::Full as u8 => Reason::SpoolFull,
            state if state == State::Failing as u8 => Reason::SpoolFailed,
            _ if self.jobs().bytes > MAX_PENDING => return Err(Reason::SpoolBusy),
            _ => return Ok(()),
        };
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if probed.elapsed() < PROBE {
            return Err(reason);
        }
        *probed = Instant::now();
        Ok(())
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
        if !self.is_well() {
            return false;
        }
        if self.metrics.load.bytes_held.get() > self.most_held.load(Ordering::Relaxed) {
            return true;
        }
        let behind = self.backlog.load(Ordering::Acquire) > 0;
        let limit = percent_of(self.budget.limit(), self.used.spill_at);
        (behind && self.used.order == Order::OldestFirst) || self.budget.used() > limit
    }

    /// Whether what earlier lives have left is still being looked through.
    pub(super) fn is_recovering(&self) -> bool {
        self.log().is_recovering()
    }

    /// Looks after the disk, where that is due: to be called now and then.
    pub(super) fn tend(self: &Arc<Self>) {
        let since = clock::unix_millis().saturating_sub(self.checked.load(Ordering::Acquire));
        let due = self.changed.load(Ordering::Acquire) || self.waiting() > 0;
        if due && since >= UPKEEP && !self.jobs().running {
            self.push(Job::Tend);
        }
    }

    /// Events that wait on disk.
    pub(super) fn waiting(&self) -> u64 {
        self.metrics.spool.waiting.get()
    }

    /// Ends: does what is left to do, and writes down what is done. Blocks on the disk.
    pub(super) fn finish(self: &Arc<Self>) {
        {
            let mut jobs = self.jobs();
            jobs.closed = true;
            if jobs.running {
                drop(jobs);
                while self.jobs().running {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        self.work();
        if let Err(error) = self.log().checkpoint() {
            tracing::warn!(%error, "what was delivered could not be noted: it may be sent again");
        }
    }
}
