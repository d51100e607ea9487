//! Keeps events and delivers them.
//!
//! Promise: every event that a lane took ends exactly once, delivered or dropped with a reason, and
//! at any quiet moment what is held is what was taken less what ended. Delivery is at least once: a
//! LogGroup whose acknowledgement was lost on the way is sent again.
//! When it cannot keep up: requests for that logstore are refused, by its share of the one memory
//! budget and by how long its store would need (`admission`). Nothing that was taken is thrown away
//! to make room.
//! Not here: reading requests (`front`), the store's protocol (`logstore`).

mod admission;
mod batch;
mod change;
mod delivery;
pub mod destination;
mod due;
mod forward;
mod idle;
mod lane;
mod lane_spool;
mod leaving;
mod open;
mod parts;
pub mod quarantine;
mod queue;
mod receipt;
mod retry;
#[cfg(test)]
mod scripted_store;
pub mod spool;
mod stop;
mod tending;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::watch_machine;
pub use self::change::Changed;
pub use self::delivery::project::ProjectPart;
pub use self::delivery::upstream::Upstream;
use self::destination::Destination;
use self::forward::Forwarder;
pub use self::idle::{IdleLane, idle_lanes};
pub use self::lane::Lane;
use self::lane_spool::Pace;
use self::quarantine::Quarantine;
pub use self::receipt::Receipt;
pub use self::stop::StopReport;
use self::tending::{Tended, tend};
use crate::config::{Ack, Batch, Delivery, Limits, Overload, ShardBy, Spool};
use crate::foundation::budget::fair::{Division, FairRules, FairTerms};
use crate::foundation::budget::{Budget, percent_of};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::codec::Codec;
use crate::telemetry::spans::SpanQueue;
use crate::telemetry::{LogstoreMetrics, Metrics};

/// One logstore: how clients name it, and where its events go.
#[derive(Debug)]
pub struct LaneSpec {
    /// The project, as clients name it.
    pub project: ProjectName,
    /// The logstore, as clients name it.
    pub logstore: LogstoreName,
    /// Where it is delivered.
    pub store: Route,
    /// Where it is delivered while the breaker of that upstream is not closed.
    pub fallback: Option<Route>,
    /// Compression of LogGroups.
    pub codec: Codec,
    /// What decides the shard of a LogGroup.
    pub shard_by: ShardBy,
    /// How its share compares to those of the others.
    pub weight: u32,
    /// Where its events are counted.
    pub metrics: Arc<LogstoreMetrics>,
    /// How safe its events are when their client is told that they were taken.
    pub ack: Ack,
    /// Its log on disk, where there is one. A lane that runs already keeps the one that it has.
    pub log: Option<spool::Log>,
    /// The lane of the same project that takes the same events for a second destination.
    pub also: Option<LogstoreName>,
    /// Says all that its way to the destination is made of: as long as that is the same, a change leaves
    /// the lane's workers alone.
    pub way: String,
}

/// The way to a destination.
#[derive(Clone, Debug)]
pub struct Route {
    /// The destination.
    pub destination: Arc<Destination>,
    /// What all lanes to it share.
    pub upstream: Arc<Upstream>,
    /// What this lane has of its project there, where the destination has projects.
    pub project: Option<ProjectPart>,
}

/// What all lanes go by.
#[derive(Clone, Copy, Debug)]
pub struct PipelineRules<'a> {
    /// How events are packed.
    pub batch: &'a Batch,
    /// How LogGroups are delivered.
    pub delivery: &'a Delivery,
    /// The memory of all lanes together.
    pub limits: &'a Limits,
    /// Who is refused when something is short.
    pub overload: &'a Overload,
    /// Where the lanes and the lag of the machine are shown.
    pub metrics: &'a Metrics,
    /// Where events go that the store refuses; `None`: they are dropped.
    pub quarantine: Option<&'a Arc<Quarantine>>,
    /// How lanes use their disk.
    pub spool: &'a Spool,
    /// Where spans of deliveries go.
    pub spans: Option<&'a SpanQueue>,
}

/// All lanes, and the tasks that work for them.
#[derive(Debug)]
pub struct Pipeline {
    /// Every lane that may hold something, in the order of the configuration.
    served: Arc<Mutex<Vec<Served>>>,
    current: Arc<ArcSwap<Current>>,
    memory: Division,
    /// How fast all lanes together take events back from disk.
    pace: Arc<Pace>,
    /// The longest pause while it stops.
    hurry: Duration,
    tasks: Tasks,
    /// Stopping has begun.
    stopping: CancellationToken,
    /// The deadline for it has come: attempts are given up.
    deadline: CancellationToken,
    /// Destinations that are looked after.
    tended: Arc<Tended>,
}

/// The tasks of a pipeline.
#[derive(Clone, Debug, Default)]
struct Tasks {
    all: TaskTracker,
    failed: CancellationToken,
}

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alarm = self.failed.clone().drop_guard();
        self.all.spawn(async move {
            task.await;
            // A panic does not come here, and drops the guard armed.
            alarm.disarm();
        });
    }
}

/// What the tasks go by that look after all lanes.
#[derive(Debug)]
struct Current {
    lanes: Vec<Arc<Lane>>,
    /// When a batch is sealed by its age.
    max_age: Duration,
    /// How late tasks may be before requests are refused.
    max_lag: Duration,
}

/// A lane, and who works for it.
#[derive(Clone, Debug)]
struct Served {
    lane: Arc<Lane>,
    metrics: Arc<LogstoreMetrics>,
    /// What its way to the store is made of.
    way: String,
    upstreams: Vec<Arc<Upstream>>,
    /// Its workers give up.
    deadline: CancellationToken,
    /// Its workers give way to others.
    relieved: CancellationToken,
    /// All its workers.
    workers: TaskTracker,
    /// What those of now work by.
    forwarder: Option<Arc<Forwarder>>,
    /// Records of events that were set aside and are not on disk yet, for which a bundle waits.
    records: TaskTracker,
    /// It is not of the configuration any more, and is to be ended.
    leaving: bool,
}

/// What a pipeline has still to deliver, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// In memory.
    pub held: u64,
    /// On disk, as far as it was looked through.
    pub waiting: u64,
    /// What earlier lives have left on disk is still being looked through.
    pub recovering: bool,
}

impl Pipeline {
    /// Starts the lanes, each with its workers. To be called in a runtime.
    #[must_use]
    pub fn start(specs: Vec<LaneSpec>, rules: PipelineRules<'_>) -> Self {
        let memory = Budget::new(rules.limits.memory.get());
        let pipeline = Self {
            served: Arc::default(),
            current: Arc::new(ArcSwap::from_pointee(Current::new(Vec::new(), rules))),
            memory: Division::new(&memory),
            pace: Arc::new(Pace::new(rules.spool.drain_rate.get())),
            hurry: rules.delivery.backoff_min.get(),
            tended: Arc::default(),
            tasks: Tasks::default(),
            stopping: CancellationToken::new(),
            deadline: CancellationToken::new(),
        };
        pipeline.change(specs, rules);
        let (current, stopping) = (&pipeline.current, &pipeline.stopping);
        pipeline.spawn(seal_aged(Arc::clone(current), stopping.clone()));
        let machine = Arc::clone(&rules.metrics.machine);
        pipeline.spawn(watch_machine(
            Arc::clone(current),
            machine,
            stopping.clone(),
        ));
        let tended = Arc::clone(&pipeline.tended);
        pipeline.spawn(tend(tended, stopping.clone()));
        pipeline
    }

    /// The lanes of the configuration, in the order of their specs, those that take copies among them.
    #[must_use]
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        let served = self.served();
        let staying = served.iter().filter(|it| !it.leaving);
        staying.map(|it| Arc::clone(&it.lane)).collect()
    }

    fn served(&self) -> MutexGuard<'_, Vec<Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The memory of all lanes together.
    #[must_use]
    pub fn memory(&self) -> &Arc<Budget> {
        self.memory.whole()
    }

    /// What is still to be delivered.
    #[must_use]
    pub fn remaining(&self) -> Remaining {
        let mut remaining = Remaining::default();
        let served = self.served().clone();
        for Served { lane, metrics, .. } in &served {
            // In this order: what comes back from disk in between counts twice, and not at all.
            if let Some(spool) = lane.spool() {
                remaining.recovering |= spool.is_recovering();
                remaining.waiting = remaining.waiting.saturating_add(spool.waiting());
            }
            remaining.held += metrics.events_held.get();
        }
        remaining
    }

    /// Waits until a task of the pipeline dies, which is a bug: some events would then stay here for
    /// ever, so the process should stop, with an error.
    pub async fn failed(&self) {
        self.tasks.failed.cancelled().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

impl Served {
    /// Sends its workers to work.
    fn work(&self, tasks: &Tasks) {
        let Some(forwarder) = &self.forwarder else {
            return;
        };
        for _ in 0..forwarder.workers() {
            let (forwarder, deadline) = (Arc::clone(forwarder), self.deadline.clone());
            let working = async move { forwarder.run(&deadline).await };
            tasks.spawn(self.workers.track_future(working));
        }
    }
}

impl Current {
    fn new(lanes: Vec<Arc<Lane>>, rules: PipelineRules<'_>) -> Self {
        Self {
            lanes,
            max_age: rules.batch.max_age.get(),
            max_lag: rules.overload.max_lag.get(),
        }
    }
}

/// The memory of each lane: what it has of it, and its weight.
fn shares(
    memory: &Division,
    lanes: Vec<(Option<Arc<Budget>>, u32)>,
    rules: PipelineRules<'_>,
) -> Vec<Arc<Budget>> {
    let limit = percent_of(memory.whole().limit(), rules.limits.memory_share);
    let terms = |(has, weight)| (has, FairTerms { weight, limit });
    let wanted: Vec<_> = lanes.into_iter().map(terms).collect();
    let fair = FairRules {
        reserved: rules.overload.reserved,
        alpha: rules.overload.alpha,
    };
    memory.divide(&wanted, fair)
}

/// Seals batches by age, and looks after the lanes. A batch may be older than `max_age` by an eighth of it,
/// or half a second, whichever is less.
async fn seal_aged(current: Arc<ArcSwap<Current>>, stopping: CancellationToken) {
    let mut tended = Instant::now();
    loop {
        let period = (current.load().max_age / 8).clamp(SHORTEST_TICK, LONGEST_TICK);
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = stopping.cancelled() => return,
        }
        let (current, now) = (current.load_full(), Instant::now());
        current.lanes.iter().for_each(|lane| lane.seal_aged(now));
        if now.duration_since(tended) >= UPKEEP {
            tended = now;
            current.lanes.iter().for_each(|lane| lane.tend());
        }
    }
}

/// Between two looks after a lane.
const UPKEEP: Duration = Duration::from_millis(500);
const SHORTEST_TICK: Duration = Duration::from_millis(5);
const LONGEST_TICK: Duration = Duration::from_millis(500);
