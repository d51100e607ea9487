//! Keeps events and delivers them.
//!
//! Promise: every event that a lane took ends exactly once, delivered or dropped with a reason, and
//! at any quiet moment what is held is what was taken less what ended. Delivery is at least once: a
//! LogGroup whose acknowledgement was lost on the way is sent again.
//! When it cannot keep up: the lane's share of the one memory budget fills, and requests for that
//! logstore are refused. Nothing that was taken is thrown away to make room.
//! Not here: reading requests (`front`), the store's protocol (`logstore`).

mod batch;
mod forward;
mod lane;
mod open;
mod parts;
mod queue;
mod retry;
#[cfg(test)]
mod scripted_store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::forward::{Forwarder, Signals};
pub use self::lane::Lane;
use crate::config::{Batch, Delivery, Limits};
use crate::foundation::budget::Budget;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::StoreClient;
use crate::logstore::codec::Codec;
use crate::telemetry::{DropReason, LogstoreMetrics};

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
    /// The store.
    pub client: Arc<StoreClient>,
    /// Compression of LogGroups.
    pub codec: Codec,
    /// Where its events are counted.
    pub metrics: Arc<LogstoreMetrics>,
}

/// All lanes, and the tasks that work for them.
#[derive(Debug)]
pub struct Pipeline {
    lanes: Vec<Arc<Lane>>,
    metrics: Vec<Arc<LogstoreMetrics>>,
    memory: Arc<Budget>,
    tasks: TaskTracker,
    signals: Signals,
    failed: CancellationToken,
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
}

impl Pipeline {
    /// Starts the lanes, each with its workers. To be called in a runtime.
    #[must_use]
    pub fn start(
        specs: Vec<LaneSpec>,
        batch: &Batch,
        delivery: &Delivery,
        limits: &Limits,
    ) -> Self {
        let share = limits
            .memory
            .get()
            .saturating_mul(limits.memory_share.into())
            / 100;
        let mut pipeline = Self {
            lanes: Vec::with_capacity(specs.len()),
            metrics: specs.iter().map(|spec| Arc::clone(&spec.metrics)).collect(),
            memory: Budget::new(limits.memory.get()),
            tasks: TaskTracker::new(),
            signals: Signals::default(),
            failed: CancellationToken::new(),
        };
        for spec in specs {
            let names = (spec.project.clone(), spec.logstore.clone());
            let budget = Budget::share(&pipeline.memory, share);
            let lane = Arc::new(Lane::new(names, budget, batch, Arc::clone(&spec.metrics)));
            pipeline.lanes.push(Arc::clone(&lane));
            let forwarder = Forwarder::new(spec, lane, delivery, pipeline.signals.clone());
            let forwarder = Arc::new(forwarder);
            for _ in 0..delivery.concurrency.max(1) {
                let forwarder = Arc::clone(&forwarder);
                pipeline.spawn(async move { forwarder.run().await });
            }
        }
        let lanes = pipeline.lanes.clone();
        let stopping = pipeline.signals.stopping.clone();
        pipeline.spawn(seal_aged(lanes, batch.max_age.get(), stopping));
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
        for lane in &self.lanes {
            lane.close();
        }
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait())
            .await
            .is_err()
        {
            self.signals.deadline.cancel();
            self.tasks.wait().await;
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
