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
mod delivery;
mod forward;
mod idle;
mod lane;
mod lane_spool;
mod open;
mod parts;
pub mod quarantine;
mod queue;
mod receipt;
mod retry;
#[cfg(test)]
mod scripted_store;
pub mod spool;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::admission::{Admission, AdmissionRules, watch_machine};
pub use self::delivery::upstream::Upstream;
use self::forward::{Forwarder, RefusedRules, Signals};
pub use self::idle::{IdleLane, idle_lanes};
pub use self::lane::Lane;
use self::lane_spool::{Job, LaneSpool, SpoolUse};
use self::open::Safety;
use self::quarantine::Quarantine;
use self::queue::SealedQueue;
pub use self::receipt::Receipt;
use crate::config::{Ack, Batch, Delivery, Limits, Overload, RefusedEvents, Spool};
use crate::foundation::budget::fair::{FairRules, FairTerms, divide};
use crate::foundation::budget::{Budget, percent_of};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::StoreClient;
use crate::logstore::codec::Codec;
use crate::telemetry::{DropReason, LogstoreMetrics, MachineLoad};

/// One logstore: how clients name it, and where its events go.
#[derive(Debug)]
pub struct LaneSpec {
    /// The project, as clients name it.
    pub project: ProjectName,
    /// The logstore, as clients name it.
    pub logstore: LogstoreName,
    /// The project at the store.
    pub upstream_project: ProjectName,
    /// The logstore at the store.
    pub upstream_logstore: LogstoreName,
    /// Where it is delivered.
    pub store: Route,
    /// Where it is delivered while the breaker of that upstream is not closed.
    pub fallback: Option<Route>,
    /// Compression of LogGroups.
    pub codec: Codec,
    /// How its share compares to those of the others.
    pub weight: u32,
    /// Where its events are counted.
    pub metrics: Arc<LogstoreMetrics>,
    /// How safe its events are when their client is told that they were taken.
    pub ack: Ack,
    /// Its log on disk, where there is one.
    pub log: Option<spool::Log>,
}

/// The way to a store.
#[derive(Clone, Debug)]
pub struct Route {
    /// The store.
    pub client: Arc<StoreClient>,
    /// What all lanes to it share.
    pub upstream: Arc<Upstream>,
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
    /// Where the lag of the machine is shown.
    pub machine: &'a Arc<MachineLoad>,
    /// Where events go that the store refuses; `None`: they are dropped.
    pub quarantine: Option<&'a Arc<Quarantine>>,
    /// How lanes use their disk.
    pub spool: &'a Spool,
}

/// All lanes, and the tasks that work for them.
#[derive(Debug)]
pub struct Pipeline {
    lanes: Vec<Arc<Lane>>,
    metrics: Vec<Arc<LogstoreMetrics>>,
    memory: Arc<Budget>,
    upstreams: Vec<Arc<Upstream>>,
    /// The longest pause while it stops.
    hurry: Duration,
    tasks: TaskTracker,
    signals: Signals,
    /// How each lane is ended, in their order.
    endings: Vec<Ending>,
    failed: CancellationToken,
}

/// How a lane is ended before its time.
#[derive(Debug)]
struct Ending {
    deadline: CancellationToken,
    upstreams: Vec<Arc<Upstream>>,
}

/// How stopping went. Counts are of events, from the call of [`Pipeline::stop`] on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Delivered.
    pub delivered: u64,
    /// Refused by the store for good.
    pub dropped: u64,
    /// Still held at the deadline, and lost.
    pub lost: u64,
    /// On disk, to be delivered by the next life. Of all times.
    pub on_disk: u64,
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
        let PipelineRules {
            batch, delivery, ..
        } = rules;
        let memory = Budget::new(rules.limits.memory.get());
        let weights: Vec<u32> = specs.iter().map(|spec| spec.weight).collect();
        let shares = shares(&weights, &memory, rules);
        let mut pipeline = Self {
            lanes: Vec::with_capacity(specs.len()),
            metrics: specs.iter().map(|spec| Arc::clone(&spec.metrics)).collect(),
            memory,
            upstreams: specs
                .iter()
                .flat_map(|spec| std::iter::once(&spec.store).chain(&spec.fallback))
                .map(|route| Arc::clone(&route.upstream))
                .collect(),
            hurry: delivery.backoff_min.get(),
            tasks: TaskTracker::new(),
            signals: Signals::default(),
            endings: Vec::with_capacity(specs.len()),
            failed: CancellationToken::new(),
        };
        let admission = AdmissionRules::new(rules.overload, delivery.timeout.get());
        let keeps = delivery.refused == RefusedEvents::Quarantine;
        let aside = RefusedRules {
            quarantine: rules.quarantine.filter(|_| keeps).map(Arc::clone),
            max_splits: delivery.max_splits,
        };
        for (mut spec, budget) in specs.into_iter().zip(shares) {
            let names = (spec.project.clone(), spec.logstore.clone());
            let metrics = Arc::clone(&spec.metrics);
            let (ack, log, shared) = (spec.ack, spec.log.take(), Arc::clone(&budget));
            let admission = Admission::new(budget, spec.weight, admission, Arc::clone(&metrics));
            let safety = |sealed: &Arc<SealedQueue>| {
                let cells = Arc::clone(&metrics);
                let start = |log: spool::Log| {
                    let used = SpoolUse::new(rules.spool, log.order());
                    LaneSpool::start(log, used, (shared, Arc::clone(sealed)), cells)
                };
                Safety {
                    ack,
                    patience: delivery.ack_timeout.get(),
                    spool: log.map(start),
                }
            };
            let lane = Lane::new(names, admission, batch, Arc::clone(&metrics), safety);
            let lane = Arc::new(lane);
            pipeline.lanes.push(Arc::clone(&lane));
            let signals = Signals {
                deadline: pipeline.signals.deadline.child_token(),
                ..pipeline.signals.clone()
            };
            let routes = std::iter::once(&spec.store).chain(&spec.fallback);
            pipeline.endings.push(Ending {
                deadline: signals.deadline.clone(),
                upstreams: routes.map(|route| Arc::clone(&route.upstream)).collect(),
            });
            let forwarder = Forwarder::new(spec, lane, delivery, aside.clone(), signals);
            let forwarder = Arc::new(forwarder);
            for _ in 0..delivery.concurrency.max(1) {
                let forwarder = Arc::clone(&forwarder);
                pipeline.spawn(async move { forwarder.run().await });
            }
        }
        let lanes = pipeline.lanes.clone();
        let stopping = pipeline.signals.stopping.clone();
        pipeline.spawn(seal_aged(lanes, batch.max_age.get(), stopping.clone()));
        let (lanes, max_lag) = (pipeline.lanes.clone(), rules.overload.max_lag.get());
        let machine = Arc::clone(rules.machine);
        pipeline.spawn(watch_machine(lanes, max_lag, machine, stopping));
        pipeline
    }

    /// The lanes, in the order of their specs.
    #[must_use]
    pub fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// The memory of all lanes together.
    #[must_use]
    pub fn memory(&self) -> &Arc<Budget> {
        &self.memory
    }

    /// What is still to be delivered.
    #[must_use]
    pub fn remaining(&self) -> Remaining {
        let mut remaining = Remaining::default();
        for (lane, metrics) in self.lanes.iter().zip(&self.metrics) {
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
        self.failed.cancelled().await;
    }

    /// Stops: submits are refused, open batches are sealed, and workers deliver what they can until
    /// all is done or `deadline` has come. What is left then is counted as dropped, with the reason
    /// `stopped`. Attempts on their way at the deadline may still reach the store.
    ///
    /// # Cancel safety
    /// Not safe: when this future is dropped the workers go on, without a deadline, as long as the
    /// runtime lives, and what they still hold at its end counts as lost.
    pub async fn stop(self, deadline: Instant) -> StopReport {
        let before = self.totals();
        self.signals.stopping.cancel();
        for upstream in &self.upstreams {
            upstream.breaker().hurry(self.hurry);
        }
        for lane in &self.lanes {
            lane.close();
        }
        self.tasks.close();
        let waiting = async {
            tokio::select! {
                () = self.tasks.wait() => {}
                () = self.end_lanes_of_dead_stores() => {}
            }
        };
        if tokio::time::timeout_at(deadline, waiting).await.is_err() {
            self.signals.deadline.cancel();
            self.tasks.wait().await;
        }
        // Side by side: a disk that hangs does not hold up the others.
        let mut finishing = Vec::new();
        for lane in &self.lanes {
            if let Some(spool) = lane.spool() {
                finishing.push((Arc::clone(spool), to_disk(lane, spool).await));
            }
        }
        let mut on_disk = 0;
        for (spool, finished) in finishing {
            if let Err(error) = finished.await {
                tracing::error!(%error, "the spool of a logstore was not finished");
            }
            on_disk += spool.waiting();
        }
        for (lane, metrics) in self.lanes.iter().zip(&self.metrics) {
            while let Some(batch) = lane.sealed().pop().await {
                metrics.batches_waiting.sub(1);
                batch.held.dropped(DropReason::Stopped);
            }
        }
        let after = self.totals();
        StopReport {
            delivered: after.delivered - before.delivered,
            dropped: after.dropped - before.dropped,
            lost: after.lost - before.lost,
            on_disk,
        }
    }

    /// What a lane holds whose stores are down goes to its disk, where it has one: nothing is gained by
    /// waiting for the deadline. Never ends.
    async fn end_lanes_of_dead_stores(&self) {
        let mut ticks = tokio::time::interval(DEAD_STORE / 10);
        let mut down = vec![0u8; self.endings.len()];
        loop {
            ticks.tick().await;
            let lanes = self.lanes.iter().zip(&self.endings).zip(&mut down);
            for ((lane, ending), down) in lanes {
                let is_down = |it: &Arc<Upstream>| !it.breaker().is_closed();
                let has_disk = lane.spool().is_some_and(|spool| spool.is_well());
                *down = match has_disk && ending.upstreams.iter().all(is_down) {
                    true => down.saturating_add(1),
                    false => 0,
                };
                if *down == 10 {
                    ending.deadline.cancel();
                }
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alarm = self.failed.clone().drop_guard();
        self.tasks.spawn(async move {
            task.await;
            // A panic does not come here, and drops the guard armed.
            alarm.disarm();
        });
    }

    fn totals(&self) -> StopReport {
        let mut totals = StopReport::default();
        for metrics in &self.metrics {
            let dropped = |reason: DropReason| metrics.events_dropped.at(reason as usize).get();
            totals.delivered += metrics.events_delivered.get();
            totals.dropped += dropped(DropReason::UpstreamRefused);
            totals.lost += dropped(DropReason::Stopped) + dropped(DropReason::Lost);
        }
        totals
    }
}

/// A store counts as dead for a stop when its breaker was not closed for so long.
const DEAD_STORE: Duration = Duration::from_secs(1);

/// Gives what the workers have left of a lane to its disk. Ends when the disk has it, or does not take it.
async fn to_disk(lane: &Arc<Lane>, spool: &Arc<LaneSpool>) -> JoinHandle<()> {
    while let Some(batch) = lane.sealed().pop().await {
        spool.push(Job::Spill(batch));
    }
    let finishing = Arc::clone(spool);
    tokio::task::spawn_blocking(move || finishing.finish())
}

/// The memory of each lane, in the order of their weights.
fn shares(weights: &[u32], memory: &Arc<Budget>, rules: PipelineRules<'_>) -> Vec<Arc<Budget>> {
    let limit = percent_of(memory.limit(), rules.limits.memory_share);
    let terms = weights.iter().map(|&weight| FairTerms { weight, limit });
    let terms: Vec<FairTerms> = terms.collect();
    let fair = FairRules {
        reserved: rules.overload.reserved,
        alpha: rules.overload.alpha,
    };
    divide(memory, &terms, fair)
}

/// Seals batches by age. A batch may be older than `max_age` by an eighth of it, or half a second,
/// whichever is less.
async fn seal_aged(lanes: Vec<Arc<Lane>>, max_age: Duration, stopping: CancellationToken) {
    let period = (max_age / 8).clamp(SHORTEST_TICK, LONGEST_TICK);
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => lanes.iter().for_each(|lane| lane.seal_aged()),
            () = stopping.cancelled() => return,
        }
    }
}

const SHORTEST_TICK: Duration = Duration::from_millis(5);
const LONGEST_TICK: Duration = Duration::from_millis(500);
