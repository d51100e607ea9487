//! Workers that bring the sealed batches of one lane to its store.
//!
//! Promise: a batch is tried until the store has acknowledged it, refuses it for good, or the
//! deadline for stopping has come, and each of these is counted. A batch that is refused for good is
//! sent in parts, so that only what the store really refuses is set aside or dropped. A worker keeps its batch while it
//! waits, so a lane is in order but for the few batches that are on their way at once.
//! When the store is down: workers wait with growing pauses, batches stay in the queue, leases stay
//! taken. Events that the store refuses for good are set aside, so they do not hold up the others.
//! Not here: who may make an attempt (`attempt`), and what its failure means (`destination`).

mod attempt;
mod refused;
mod traced;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::refused::Parting;
pub(super) use self::refused::RefusedRules;
use self::traced::begin_span;

use super::batch::{Held, SealedBatch, Waiting};
use super::delivery::aimd::Concurrency;
use super::delivery::span::{DeliverySpan, Links};
use super::destination::{Failure, Packing, Parcel, Taken};
use super::lane::Lane;
use super::lane_spool::{Ending, Job};
use super::retry::{Backoff, Health};
use super::spool::BundleId;
use super::{LaneSpec, Route};
use crate::config::Delivery;
use crate::event::Reason;
use crate::foundation::clock;
use crate::logstore::error::{NextStep, RetryReason};
use crate::telemetry::spans::SpanQueue;
use crate::telemetry::{DropReason, LogstoreMetrics};

/// What the workers of a lane are told.
#[derive(Clone, Debug)]
pub(super) struct Signals {
    /// Stopping has begun: pauses are cut short.
    pub(super) stopping: CancellationToken,
    /// Records of refused events that are not on disk yet, for which a bundle waits.
    pub(super) records: TaskTracker,
    /// Others work for the lane from now on: these give way between two attempts.
    pub(super) relieved: CancellationToken,
}

/// What the workers of one lane share.
pub(super) struct Forwarder {
    lane: Arc<Lane>,
    store: Route,
    fallback: Option<Route>,
    concurrency: Concurrency,
    packing: Packing,
    backoff: Backoff,
    metrics: Arc<LogstoreMetrics>,
    health: Mutex<Health>,
    aside: RefusedRules,
    /// The quarantine had no room when one of the workers asked last.
    quarantine_full: AtomicBool,
    spans: Option<SpanQueue>,
    signals: Signals,
    workers: u32,
}

impl fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

/// How an attempt to send all of a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The destination has it, or the time was up.
    All,
    /// The destination has refused some of it.
    Refused,
    /// Nothing of it was sent yet, and others work for the lane.
    Relieved,
}

/// Why a LogGroup was not taken.
enum NotTaken {
    Refused(Failure),
    Relieved,
}

impl Forwarder {
    pub(super) fn new(
        spec: LaneSpec,
        lane: Arc<Lane>,
        delivery: &Delivery,
        (aside, spans): (RefusedRules, Option<SpanQueue>),
        signals: Signals,
    ) -> Self {
        Self {
            lane,
            store: spec.store,
            fallback: spec.fallback,
            concurrency: Concurrency::new(delivery.concurrency, Arc::clone(&spec.metrics)),
            packing: Packing {
                codec: spec.codec,
                shard_by: spec.shard_by,
            },
            backoff: Backoff::new(delivery),
            metrics: spec.metrics,
            health: Mutex::default(),
            aside,
            quarantine_full: AtomicBool::new(false),
            spans,
            signals,
            workers: delivery.concurrency.max(1),
        }
    }

    /// How many workers there are to be.
    pub(super) fn workers(&self) -> u32 {
        self.workers
    }

    /// One worker: takes batches until the lane is closed and empty, the deadline has come, at which
    /// attempts are given up, or others work for the lane.
    pub(super) async fn run(&self, deadline: &CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                () = deadline.cancelled() => None,
                () = self.signals.relieved.cancelled() => None,
                batch = self.lane.sealed().pop() => batch,
                () = self.has_backlog() => {
                    if let Some(batch) = self.bring_back().await {
                        self.deliver(batch, deadline).await;
                    }
                    continue;
                }
            };
            let Some(batch) = next else { return };
            let admission = self.lane.admission();
            admission.on_taken(self.lane.sealed().len());
            self.metrics.delivery.wait.observe(since(batch.since));
            self.deliver(batch, deadline).await;
        }
    }

    async fn has_backlog(&self) {
        match self.lane.spool() {
            Some(spool) if !self.signals.stopping.is_cancelled() => {
                tokio::select! {
                    () = spool.has_backlog() => {}
                    // What is on disk can stay there.
                    () = self.signals.stopping.cancelled() => std::future::pending().await,
                }
            }
            _ => std::future::pending().await,
        }
    }

    async fn bring_back(&self) -> Option<SealedBatch> {
        self.lane.spool()?.bring_back().await
    }

    /// Boxed, since it needs some 20 KB: a worker that waits, which most do most of the time, has some
    /// hundred bytes.
    async fn deliver(&self, batch: SealedBatch, deadline: &CancellationToken) {
        Box::pin(self.deliver_to_the_end(batch, deadline)).await;
    }

    async fn deliver_to_the_end(&self, batch: SealedBatch, deadline: &CancellationToken) {
        let mut next = self.deliver_or_give_back(batch, true, deadline).await;
        while let Some(batch) = next.take() {
            // The lane is closed: nobody else may be there to take it.
            next = self.deliver_or_give_back(*batch, false, deadline).await;
        }
    }

    /// Brings a batch to its end, or gives it to other workers. What these may not take any more comes
    /// back.
    async fn deliver_or_give_back(
        &self,
        batch: SealedBatch,
        gives_way: bool,
        deadline: &CancellationToken,
    ) -> Option<Box<SealedBatch>> {
        let SealedBatch {
            raw,
            mut held,
            lease,
            id,
            events,
            key,
            logged,
            from_disk,
            since: begun,
            waiters,
            links,
            instead_of,
        } = batch;
        let mut parcel = match Parcel::pack(self.packing, raw, lease).await {
            Ok(parcel) => parcel,
            Err(error) => {
                let events = held.events();
                tracing::error!(%error, events, "a LogGroup was lost while it was compressed");
                self.metrics.batches_waiting.sub(1);
                held.dropped(DropReason::Lost);
                return None;
            }
        };
        if let Some(spool) = self.lane.spool().filter(|_| from_disk) {
            spool.sending(parcel.body.len());
        }
        let span = begin_span(links, &mut parcel);
        let (mut parting, mut taken) = (None, Taken::default());
        // What is done on disk once all of it has ended.
        let spool = self.lane.spool().filter(|_| logged);
        let ending = instead_of.or_else(|| spool.map(|spool| Ending::of(spool, id)));
        let parts = (&mut taken, &mut parting);
        let sent = tokio::select! {
            biased;
            () = deadline.cancelled() => Sent::All,
            sent = self.send(&parcel, (ending.as_ref(), gives_way), &mut held, parts) => sent,
        };
        if let Some(parting) = &mut parting {
            // The deadline may have come before that was done.
            self.deliver_taken(parting, &mut held);
        }
        self.note_doubt(&taken, parting.as_ref(), held.events());
        let mut rest = Kept {
            id,
            events,
            key,
            logged,
            instead_of: ending.clone().filter(|_| !logged),
            since: begun,
            span,
        };
        if sent == Sent::Relieved {
            return self.give_back(parcel, held, rest, waiters).await;
        }
        tell(waiters, sent, held.events(), parting.as_ref());
        self.end_span(&mut rest, &parcel, sent, held.events());
        self.metrics.batches_waiting.sub(1);
        if held.events() == 0 {
            if let Some(ending) = ending {
                ending.one_less();
            }
            if sent == Sent::All {
                self.metrics.delivery.lag.observe(since(begun));
            }
            return None;
        }
        // What has not ended by then goes to disk, and so does what nobody had room for.
        match parting {
            Some(parting) => self.keep_parts(parcel, parting, held, (ending, begun)),
            None => self.keep(parcel, held, rest).await,
        }
        None
    }

    /// Counts a LogGroup of which `left` events are sent again although the destination may have them.
    fn note_doubt(&self, taken: &Taken, parting: Option<&Parting>, left: u64) {
        // The others are sent again, and these with them.
        let partly = parting.is_none() && taken.count() > 0;
        // The deadline has ended an attempt, and nobody hears what became of it.
        let asked = taken.is_asked() || parting.is_some_and(Parting::is_asked);
        let asked = asked && self.lane.spool().is_some();
        if left == 0 || !(partly || asked) {
            return;
        }
        self.metrics.delivery.resends_in_doubt.inc();
        if asked {
            let (project, logstore) = (self.lane.project(), self.lane.logstore());
            tracing::info!(
                %project, %logstore, events = left,
                "a LogGroup was on its way when the stop ended: it is kept, and may come twice"
            );
        }
    }

    /// The deadline has come in the middle of a LogGroup that is sent in parts, or the quarantine had no
    /// room for what was refused: the disk gets the parts that have not ended.
    fn keep_parts(
        &self,
        parcel: Parcel,
        parting: Parting,
        held: Held,
        (ending, since): (Option<Arc<Ending>>, u64),
    ) {
        let (Some(spool), Some(lease)) = (self.lane.spool(), parcel.lease) else {
            held.dropped(DropReason::Stopped);
            return;
        };
        for batch in parting.rest((held, lease), spool, ending.as_ref(), since) {
            self.metrics.batches_waiting.add(1);
            spool.push(Job::Spill(batch));
        }
        if let Some(ending) = ending {
            ending.one_less();
        }
    }

    /// Gives a batch to the workers that work for the lane now.
    async fn give_back(
        &self,
        parcel: Parcel,
        held: Held,
        of: Kept,
        waiters: Vec<Waiting>,
    ) -> Option<Box<SealedBatch>> {
        let Some((raw, lease)) = parcel.into_plain().await else {
            self.metrics.batches_waiting.sub(1);
            held.dropped(DropReason::Lost);
            return None;
        };
        let batch = SealedBatch {
            raw,
            held,
            lease,
            id: of.id,
            events: of.events,
            key: of.key,
            logged: of.logged,
            since: of.since,
            // It was counted as sent from disk, and goes on as one from memory.
            from_disk: false,
            instead_of: of.instead_of,
            waiters,
            links: of.span.map(|span| span.give_back()).unwrap_or_default(),
        };
        self.lane.sealed().give_back(batch).err()
    }

    /// The deadline has come: the disk gets what it can, the rest is lost.
    async fn keep(&self, parcel: Parcel, held: Held, of: Kept) {
        let Some(spool) = self.lane.spool() else {
            held.dropped(DropReason::Stopped);
            return;
        };
        let Some((raw, lease)) = parcel.into_plain().await else {
            held.dropped(DropReason::Stopped);
            return;
        };
        self.metrics.batches_waiting.add(1);
        spool.push(Job::Spill(SealedBatch {
            raw,
            held,
            lease,
            id: of.id,
            events: of.events,
            key: of.key,
            logged: of.logged,
            since: of.since,
            from_disk: false,
            instead_of: of.instead_of,
            waiters: Vec::new(),
            links: Links::default(),
        }));
    }

    /// Attempts until all events have ended, or others are to do it.
    ///
    /// # Cancel safety
    /// What has not ended stays in `held`, and in `parting` once it is sent in parts; `taken` says which
    /// events the destination has without the others. An attempt on its way may still reach it.
    async fn send(
        &self,
        parcel: &Parcel,
        (ending, gives_way): (Option<&Arc<Ending>>, bool),
        held: &mut Held,
        (taken, parting): (&mut Taken, &mut Option<Parting>),
    ) -> Sent {
        match self.settle(parcel, taken, gives_way).await {
            Ok(()) => {
                self.delivered(take_all(held));
                Sent::All
            }
            // Events that the destination took without the others are sent again.
            Err(NotTaken::Relieved) => Sent::Relieved,
            Err(NotTaken::Refused(refusal)) => {
                let refused = (refusal, &*taken);
                self.send_in_parts(parcel, refused, ending, held, parting)
                    .await;
                Sent::Refused
            }
        }
    }

    /// Attempts until the destination takes a LogGroup, or refuses it for good.
    async fn settle(
        &self,
        parcel: &Parcel,
        taken: &mut Taken,
        gives_way: bool,
    ) -> Result<(), NotTaken> {
        let mut failures = 0;
        loop {
            let turn = tokio::select! {
                biased;
                () = self.signals.relieved.cancelled(), if gives_way => {
                    return Err(NotTaken::Relieved);
                }
                turn = self.turn(failures > 0) => turn,
            };
            let Err(error) = self.attempt(turn, parcel, taken).await else {
                self.on_delivered(parcel);
                return Ok(());
            };
            let reason = match error.next {
                NextStep::Retry { reason } => reason,
                NextStep::Drop => return Err(NotTaken::Refused(error)),
            };
            self.on_failure(&error, reason);
            failures += 1;
            tokio::select! {
                () = self.pause(reason, failures, error.retry_after) => {}
                () = self.signals.relieved.cancelled(), if gives_way => {}
            }
        }
    }

    fn delivered(&self, held: Held) {
        self.lane.admission().on_delivered(held.bytes());
        held.delivered();
    }

    fn on_delivered(&self, parcel: &Parcel) {
        self.metrics.groups_delivered.inc();
        self.metrics.raw_bytes_delivered.add(parcel.raw_size as u64);
        self.metrics
            .sent_bytes_delivered
            .add(parcel.body.len() as u64);
        if self.health(Health::on_success) {
            let (project, logstore) = (self.lane.project(), self.lane.logstore());
            tracing::info!(%project, %logstore, "the store takes LogGroups again");
        }
    }

    fn on_failure(&self, error: &Failure, reason: RetryReason) {
        self.metrics.delivery_retries.inc();
        if error.in_doubt {
            self.metrics.delivery.resends_in_doubt.inc();
        }
        self.lane
            .admission()
            .on_failure(reason == RetryReason::Quota);
        if self.health(|health| health.on_failure(Instant::now())) {
            let (project, logstore) = (self.lane.project(), self.lane.logstore());
            tracing::warn!(
                %project, %logstore, %error,
                "the store does not take LogGroups; they are kept, and tried again"
            );
        }
    }

    fn on_refused(&self, error: &Failure, events: u64) {
        if self.health(|health| health.on_drop(Instant::now())) {
            let (project, logstore) = (self.lane.project(), self.lane.logstore());
            tracing::warn!(
                %project, %logstore, %error, events,
                "the store refuses events for good; they are set aside or dropped"
            );
        }
    }

    fn health<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What of a batch is kept when it could not be delivered.
struct Kept {
    id: BundleId,
    events: u32,
    key: Range<usize>,
    logged: bool,
    instead_of: Option<Arc<Ending>>,
    since: u64,
    span: Option<Box<DeliverySpan>>,
}

/// Tells those who wait for their events how these have ended; `left` events of the batch have not.
fn tell(waiters: Vec<Waiting>, sent: Sent, left: u64, parting: Option<&Parting>) {
    for Waiting { waiter, events } in waiters {
        let end = match parting {
            Some(parting) => parting.end_of(&events),
            None if sent == Sent::Refused => Err(Reason::StoreRefused),
            None if left > 0 => Err(Reason::Stopping),
            None => Ok(()),
        };
        match end {
            Ok(()) => waiter.safe(),
            Err(reason) => waiter.failed(reason),
        }
    }
}

/// Time since then, in Unix milliseconds.
fn since(begun: u64) -> Duration {
    Duration::from_millis(clock::unix_millis().saturating_sub(begun))
}

fn take_all(held: &mut Held) -> Held {
    held.take(u64::MAX, u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_waits_is_small() {
        fn size<'a, F: Future>(_: impl Fn(&'a Forwarder, &'a CancellationToken) -> F) -> usize {
            size_of::<F>()
        }
        // Each logstore has some of them.
        let bytes = size(Forwarder::run);
        assert!(bytes <= 2048, "{bytes} bytes");
    }
}
