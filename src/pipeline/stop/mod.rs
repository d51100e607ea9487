//! The end of a pipeline.
//!
//! Promise: it ends in a bounded time, whatever hangs: workers are given until the deadline, a disk as
//! long as it does something. Every event that was held is told: delivered, dropped, on disk, or lost,
//! those among them that somebody still has who does not answer.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::lane_spool::{Job, LaneSpool};
use super::{Lane, Pipeline, Served, Upstream, tending};
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
        let waiting = async {
            tokio::select! {
                () = self.work_has_ended(&served) => {}
                () = end_lanes_of_dead_stores(&served) => {}
            }
        };
        if tokio::time::timeout_at(deadline, waiting).await.is_err() {
            self.deadline.cancel();
            let ended = tokio::time::timeout(LAST_WORK, self.tasks.all.wait());
            if ended.await.is_err() {
                tracing::error!(
                    "a part of the pipeline does not end; the others are ended without it"
                );
            }
        }
        records_are_on_disk(&served).await;
        // Side by side, since the time until a supervisor kills the process is short.
        let (on_disk, ()) = tokio::join!(all_to_disk(&served), tending::close(&self.tended));
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

    /// Waits until no worker has anything left to do: what a disk was given and does not take comes back,
    /// and goes to workers again.
    async fn work_has_ended(&self, served: &[Served]) {
        loop {
            self.tasks.all.wait().await;
            disks_have_done(served).await;
            let left = served.iter().filter(|it| it.is_to_work_again());
            if left.inspect(|it| it.work(&self.tasks)).count() == 0 {
                return;
            }
        }
    }
}

impl Served {
    fn is_to_work_again(&self) -> bool {
        let may = self.forwarder.is_some() && !self.deadline.is_cancelled();
        may && !self.lane.sealed().is_empty()
    }
}

/// Waits until disks have done what they were given, for as long as one of them does something.
async fn disks_have_done(served: &[Served]) {
    let disks = served.iter().filter_map(|it| it.lane.spool());
    let disks: Vec<&Arc<LaneSpool>> = disks.filter(|it| !it.is_finished()).collect();
    let done = async {
        for disk in &disks {
            disk.all_done().await;
        }
    };
    tokio::select! {
        () = done => {}
        () = nothing_is_done(&disks) => {}
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

/// What a lane holds whose stores are down goes to its disk, where it has one: nothing is gained by
/// waiting for the deadline. Never ends.
async fn end_lanes_of_dead_stores(served: &[Served]) {
    let mut ticks = tokio::time::interval(DEAD_STORE / 10);
    let mut down = vec![0u8; served.len()];
    loop {
        ticks.tick().await;
        for (served, down) in served.iter().zip(&mut down) {
            let is_down = |it: &Arc<Upstream>| !it.breaker().is_closed();
            let has_disk = served.lane.spool().is_some_and(|spool| spool.is_well());
            *down = match has_disk && served.upstreams.iter().all(is_down) {
                true => down.saturating_add(1),
                false => 0,
            };
            if *down == 10 {
                served.deadline.cancel();
            }
        }
    }
}

/// Gives what the workers have left of all lanes to their disks. How many events wait there then.
async fn all_to_disk(served: &[Served]) -> u64 {
    // Side by side: a disk that hangs does not hold up the others.
    let mut finishing = Vec::new();
    for Served { lane, .. } in served {
        if let Some(spool) = lane.spool().filter(|it| !it.is_finished()) {
            finishing.push((lane, spool, to_disk(lane, spool).await));
        }
    }
    wait_for_disks(&finishing).await;
    let mut on_disk = 0;
    for (lane, spool, finished) in finishing {
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
    while let Some(batch) = lane.sealed().pop().await {
        spool.push(Job::Spill(batch));
    }
    let finishing = Arc::clone(spool);
    tokio::task::spawn_blocking(move || finishing.finish())
}

/// Waits until disks have done what is left to do, for as long as one of them does something.
async fn wait_for_disks(finishing: &[(&Arc<Lane>, &Arc<LaneSpool>, JoinHandle<()>)]) {
    let disks: Vec<&Arc<LaneSpool>> = finishing.iter().map(|it| it.1).collect();
    let done = async {
        while !finishing.iter().all(|it| it.2.is_finished()) {
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
