//! The end of a pipeline.
//!
//! Promise: it ends in a bounded time, whatever hangs: workers are given until the deadline, a disk as
//! long as it does something. Every event that was held is told: delivered, dropped, on disk, or lost,
//! those among them that somebody still has who does not answer.

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lane_spool::{Job, LaneSpool};
use super::{Lane, Pipeline, Served, Tasks, Upstream, tending};
use crate::telemetry::{DropReason, LogstoreMetrics};

/// How long a stop waits for the quarantine's disk.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// How long it waits for workers that were told to give up.
const LAST_WORK: Duration = Duration::from_secs(2);
/// How long it waits for disks that do nothing, and how often it looks.
const LAST_JOB: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(2);
/// A store counts as dead for a stop when its breaker was not closed for so long.
const DEAD_STORE: Duration = Duration::from_secs(1);

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

/// What became of the events of all lanes so far.
#[derive(Default)]
struct Totals {
    delivered: u64,
    dropped: u64,
    lost: u64,
    held: u64,
}

impl Totals {
    fn of(served: &[Served]) -> Self {
        let mut totals = Self::default();
        // A lane that leaves may share its cells with one that has its name now.
        let mut seen: Vec<&Arc<LogstoreMetrics>> = Vec::new();
        for Served { metrics, .. } in served {
            if seen.iter().any(|it| Arc::ptr_eq(it, metrics)) {
                continue;
            }
            seen.push(metrics);
            let dropped = |reason: DropReason| metrics.events_dropped.at(reason as usize).get();
            totals.delivered += metrics.events_delivered.get();
            totals.dropped += dropped(DropReason::UpstreamRefused);
            totals.lost += dropped(DropReason::Stopped) + dropped(DropReason::Lost);
            totals.held += metrics.events_held.get();
        }
        totals
    }
}

impl Pipeline {
    /// Stops: submits are refused, open batches are sealed, and workers deliver what they can until
    /// all is done or `deadline` has come. What is left then goes to disk, or is counted as dropped, with
    /// the reason `stopped`. Attempts on their way at the deadline may still reach the store.
    ///
    /// # Cancel safety
    /// Not safe: when this future is dropped the workers go on, without a deadline, as long as the
    /// runtime lives, and what they still hold at its end counts as lost.
    pub async fn stop(&self, deadline: Instant) -> StopReport {
        self.stopping.cancel();
        let served = self.served().clone();
        let before = Totals::of(&served);
        for Served {
            lane, upstreams, ..
        } in &served
        {
            for upstream in upstreams {
                upstream.breaker().hurry(self.hurry);
            }
            // Who copies first.
            if lane.has_copy() {
                lane.close();
            }
        }
        served.iter().for_each(|it| it.lane.close());
        self.tasks.all.close();
        let lanes = served.iter().map(|it| {
            Arc::new(Last {
                served: it.clone(),
                hung: OnceLock::new(),
            })
        });
        let lanes: Vec<Arc<Last>> = lanes.collect();
        let mut ends = JoinSet::new();
        for lane in lanes.iter().map(Arc::clone) {
            let (tasks, deadline) = (self.tasks.clone(), self.deadline.clone());
            ends.spawn(async move { lane.work_has_ended(&tasks, &deadline).await });
        }
        let waiting = async {
            while ends.join_next().await.is_some() {}
            self.tasks.all.wait().await;
        };
        if tokio::time::timeout_at(deadline, waiting).await.is_err() {
            self.deadline.cancel();
            ends.shutdown().await;
            let ended = tokio::time::timeout(LAST_WORK, self.tasks.all.wait());
            if ended.await.is_err() {
                tracing::error!(
                    "a part of the pipeline does not end; the others are ended without it"
                );
            }
        }
        records_are_on_disk(&served).await;
        // Side by side, since the time until a supervisor kills the process is short.
        let (on_disk, ()) = tokio::join!(all_to_disk(&lanes), tending::close(&self.tended));
        for Served { lane, metrics, .. } in &served {
            while let Some(batch) = lane.sealed().pop().await {
                metrics.batches_waiting.sub(1);
                batch.held.dropped(DropReason::Stopped);
            }
        }
        let after = Totals::of(&served);
        StopReport {
            delivered: after.delivered - before.delivered,
            dropped: after.dropped - before.dropped,
            // Whoever holds something now will not bring it to an end.
            lost: after.lost - before.lost + after.held,
            on_disk,
        }
    }
}

/// A lane at its end.
struct Last {
    served: Served,
    /// Its disk did nothing for [`LAST_JOB`], and had done so much then.
    hung: OnceLock<u64>,
}

impl Last {
    /// Waits until no worker of the lane has anything left to do: what its disk was given and does not take
    /// comes back, and goes to workers again, whatever other lanes are waiting for. Where its stores are down
    /// the disk gets all that it holds before the deadline of the pipeline, and the stores are tried further
    /// with what the disk does not take. How often workers were sent again.
    async fn work_has_ended(&self, tasks: &Tasks, deadline: &CancellationToken) -> u32 {
        let mut served = self.served.clone();
        let mut again = 0;
        served.workers.close();
        loop {
            tokio::select! {
                () = served.workers.wait() => {}
                () = stores_are_dead(&served) => {
                    served.deadline.cancel();
                    served.workers.wait().await;
                    // Workers give up only what they hold: what waits for them would take a second for
                    // every few batches.
                    if let Some(spool) = served.lane.spool() {
                        spill(&served.lane, spool).await;
                    }
                }
            }
            self.disk_has_done().await;
            let may = served.forwarder.is_some() && !deadline.is_cancelled();
            if !may || served.lane.sealed().is_empty() {
                return again;
            }
            again += 1;
            if served.deadline.is_cancelled() {
                served.deadline = deadline.child_token();
            }
            served.work(tasks);
        }
    }

    /// Waits until its disk has done what it was given, for as long as that does something.
    async fn disk_has_done(&self) {
        let disk = self.served.lane.spool();
        let Some(disk) = disk.filter(|it| !it.is_finished()) else {
            return;
        };
        let this = [disk];
        tokio::select! {
            () = disk.all_done() => {}
            () = nothing_is_done(&this) => {
                // Once is enough: the second time would tell the same.
                if self.hung.set(disk.progress()).is_err() {}
            }
        }
    }

    /// Whether its disk hung, and has done nothing since.
    fn hangs(&self) -> bool {
        let disk = self.served.lane.spool();
        let since = self.hung.get();
        disk.zip(since)
            .is_some_and(|(disk, since)| disk.progress() == *since)
    }
}

/// Waits until what was set aside of bundles is on disk: they are done then.
pub(super) async fn records_are_on_disk(served: &[Served]) {
    let waiting = async {
        for Served { records, .. } in served {
            records.close();
            records.wait().await;
        }
    };
    if tokio::time::timeout(LAST_RECORDS, waiting).await.is_err() {
        tracing::warn!(
            "events that were set aside are not on disk; they come again at the next start"
        );
    }
}

/// Waits until what a lane holds is better off on its disk, since its stores are down: nothing is gained by
/// waiting for the deadline.
async fn stores_are_dead(served: &Served) {
    let mut ticks = tokio::time::interval(DEAD_STORE / 10);
    let mut down = 0;
    while down < 10 {
        ticks.tick().await;
        let is_down = |it: &Arc<Upstream>| !it.breaker().is_closed();
        let has_disk = served.lane.spool().is_some_and(|spool| spool.is_well());
        down = match has_disk && served.upstreams.iter().all(is_down) {
            true => down + 1,
            false => 0,
        };
    }
}

/// Gives what the workers have left of all lanes to their disks. How many events wait there then.
async fn all_to_disk(lanes: &[Arc<Last>]) -> u64 {
    // Side by side: a disk that hangs does not hold up the others.
    let mut finishing = Vec::new();
    for last in lanes {
        let lane = &last.served.lane;
        if let Some(spool) = lane.spool().filter(|it| !it.is_finished()) {
            finishing.push((last, spool, to_disk(lane, spool).await));
        }
    }
    wait_for_disks(&finishing).await;
    let mut on_disk = 0;
    for (last, spool, finished) in finishing {
        let lane = &last.served.lane;
        if !spool.is_finished() {
            if finished.is_finished() {
                tracing::error!("the spool of a logstore was not finished");
            } else {
                tracing::error!("the disk does not answer; what waits for it is lost");
            }
            let mut left = Vec::new();
            while let Some(batch) = lane.sealed().pop().await {
                left.push(batch);
            }
            spool.give_up(left);
        }
        // What it did not take stays there as far as it is there.
        while let Some(batch) = lane.sealed().pop().await {
            spool.leave(batch);
        }
        on_disk += spool.waiting();
    }
    on_disk
}

/// Gives what the workers have left of a lane to its disk. Ends when the disk has it, or does not take it.
async fn to_disk(lane: &Lane, spool: &Arc<LaneSpool>) -> JoinHandle<()> {
    spill(lane, spool).await;
    let finishing = Arc::clone(spool);
    tokio::task::spawn_blocking(move || finishing.finish())
}

/// Gives what waits for workers of a lane that is closed to its disk.
async fn spill(lane: &Lane, spool: &Arc<LaneSpool>) {
    while let Some(batch) = lane.sealed().pop().await {
        spool.push(Job::Spill(batch));
    }
}

/// Waits until disks have done what is left to do, for as long as one of them does something. Not for those
/// that were waited for in vain before.
async fn wait_for_disks(finishing: &[(&Arc<Last>, &Arc<LaneSpool>, JoinHandle<()>)]) {
    let answers = || finishing.iter().filter(|it| !it.0.hangs());
    let disks: Vec<&Arc<LaneSpool>> = answers().map(|it| it.1).collect();
    let done = async {
        while !answers().all(|it| it.2.is_finished()) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = done => {}
        () = nothing_is_done(&disks) => {}
    }
}

/// Waits until no disk has done anything for a while.
async fn nothing_is_done(disks: &[&Arc<LaneSpool>]) {
    let progress = || disks.iter().map(|it| it.progress()).sum::<u64>();
    let (mut seen, mut since) = (progress(), Instant::now());
    while since.elapsed() < LAST_JOB {
        tokio::time::sleep(LOOK).await;
        let now = progress();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}
