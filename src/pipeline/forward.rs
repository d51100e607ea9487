//! Workers that bring the sealed batches of one lane to its store.
//!
//! Promise: a batch is tried until the store has acknowledged it, refuses it for good, or the
//! deadline for stopping has come, and each of these is counted. A batch that is refused for good is
//! sent in parts, so that only what the store really refuses is set aside or dropped. A worker keeps its batch while it
//! waits, so a lane is in order but for the few batches that are on their way at once.
//! When the store is down: workers wait with growing pauses, batches stay in the queue, leases stay
//! taken. Events that the store refuses for good are set aside, so they do not hold up the others.
//! Not here: which error means what (`logstore::error`), one attempt (`logstore::client`).

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::batch::{BATCH_OVERHEAD, Held, SealedBatch};
use super::delivery::aimd::{Concurrency, Sign};
use super::delivery::anatomy::Anatomy;
use super::delivery::breaker::{Pass, Verdict};
use super::delivery::records;
use super::delivery::splitter::{Refused, Splitter};
use super::lane::Lane;
use super::lane_spool::Job;
use super::quarantine::{Quarantine, Room};
use super::retry::{Backoff, Health, random_share};
use super::spool::BundleId;
use super::{LaneSpec, Route};
use crate::config::Delivery;
use crate::event::Reason;
use crate::foundation::budget::Lease;
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::codec::{Codec, compress, decompress};
use crate::logstore::error::{NextStep, RetryReason, StoreError, next_step};
use crate::telemetry::{DropReason, LogstoreMetrics};

/// What stopping tells the workers.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    /// Stopping has begun: pauses are cut short.
    pub(super) stopping: CancellationToken,
    /// The deadline has come: attempts are given up.
    pub(super) deadline: CancellationToken,
}

/// What the workers of one lane share.
pub(super) struct Forwarder {
    lane: Arc<Lane>,
    project: ProjectName,
    logstore: LogstoreName,
    store: Route,
    fallback: Option<Route>,
    concurrency: Concurrency,
    codec: Codec,
    backoff: Backoff,
    metrics: Arc<LogstoreMetrics>,
    health: Mutex<Health>,
    aside: RefusedRules,
    signals: Signals,
}

/// What becomes of events that the store refuses.
#[derive(Clone, Debug)]
pub(super) struct RefusedRules {
    /// Where they are set aside; `None`: they are dropped.
    pub(super) quarantine: Option<Arc<Quarantine>>,
    /// Times that one LogGroup is split.
    pub(super) max_splits: u32,
}

/// How long a worker waits for the quarantine to take refused events, and how often it asks.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
const ROOM_PAUSE: Duration = Duration::from_millis(100);
/// More than any LogGroup of ours has, before compression.
const LARGEST: usize = 64 << 20;

/// A LogGroup as it is sent, and the memory it takes.
struct Parcel {
    codec: Codec,
    body: Bytes,
    raw_size: usize,
    /// `None` for a part of a LogGroup, whose whole is paid for.
    lease: Option<Lease>,
}

impl Forwarder {
    pub(super) fn new(
        spec: LaneSpec,
        lane: Arc<Lane>,
        delivery: &Delivery,
        aside: RefusedRules,
        signals: Signals,
    ) -> Self {
        Self {
            lane,
            project: spec.upstream_project,
            logstore: spec.upstream_logstore,
            store: spec.store,
            fallback: spec.fallback,
            concurrency: Concurrency::new(delivery.concurrency, Arc::clone(&spec.metrics)),
            codec: spec.codec,
            backoff: Backoff::new(delivery),
            metrics: spec.metrics,
            health: Mutex::default(),
            aside,
            signals,
        }
    }

    /// One worker: takes batches until the lane is closed and empty, or the deadline has come.
    pub(super) async fn run(&self) {
        loop {
            let next = tokio::select! {
                biased;
                () = self.signals.deadline.cancelled() => None,
                batch = self.lane.sealed().pop() => batch,
                () = self.has_backlog() => {
                    if let Some(batch) = self.bring_back().await {
                        self.deliver(batch).await;
                    }
                    continue;
                }
            };
            let Some(batch) = next else { return };
            let admission = self.lane.admission();
            admission.on_taken(self.lane.sealed().len());
            self.deliver(batch).await;
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

    async fn deliver(&self, batch: SealedBatch) {
        let SealedBatch {
            raw,
            mut held,
            lease,
            id,
            events,
            key,
            logged,
            waiters,
        } = batch;
        let parcel = match pack(self.codec, raw, lease).await {
            Ok(parcel) => parcel,
            Err(error) => {
                let events = held.events();
                tracing::error!(%error, events, "a LogGroup was lost while it was compressed");
                self.metrics.batches_waiting.sub(1);
                held.dropped(DropReason::Lost);
                return;
            }
        };
        let refused = tokio::select! {
            biased;
            () = self.signals.deadline.cancelled() => false,
            refused = self.send(&parcel, &mut held) => refused,
        };
        for waiter in waiters {
            match (refused, held.events()) {
                (true, _) => waiter.failed(Reason::StoreRefused),
                (false, 0) => waiter.safe(),
                (false, _) => waiter.failed(Reason::Stopping),
            }
        }
        self.metrics.batches_waiting.sub(1);
        if held.events() == 0 {
            if let Some(spool) = self.lane.spool().filter(|_| logged) {
                spool.push(Job::Done(id));
            }
            return;
        }
        // What has not ended by then goes to disk.
        self.keep(parcel, held, (id, events, key, logged)).await;
    }

    /// The deadline has come: the disk gets what it can, the rest is lost.
    async fn keep(
        &self,
        parcel: Parcel,
        held: Held,
        (id, events, key, logged): (BundleId, u32, Range<usize>, bool),
    ) {
        let Some(spool) = self.lane.spool() else {
            held.dropped(DropReason::Stopped);
            return;
        };
        let plain = tokio::task::spawn_blocking(move || {
            let mut raw = Vec::new();
            let Parcel {
                codec,
                body,
                raw_size,
                lease,
            } = parcel;
            decompress(codec, &body, Some(raw_size), LARGEST, &mut raw).ok()?;
            Some((raw, lease?))
        });
        let Some((raw, lease)) = plain.await.ok().flatten() else {
            held.dropped(DropReason::Stopped);
            return;
        };
        self.metrics.batches_waiting.add(1);
        spool.push(Job::Spill(SealedBatch {
            raw,
            held,
            lease,
            id,
            events,
            key,
            logged,
            waiters: Vec::new(),
        }));
    }

    /// Attempts until all events have ended. Whether the store refused some of them.
    ///
    /// # Cancel safety
    /// What has not ended stays in `held`; an attempt on its way may still reach the store.
    async fn send(&self, parcel: &Parcel, held: &mut Held) -> bool {
        match self.settle(parcel).await {
            Ok(()) => {
                self.delivered(take_all(held));
                false
            }
            Err(refusal) => {
                self.send_in_parts(parcel, refusal, held).await;
                true
            }
        }
    }

    /// Attempts until the store takes a LogGroup, or refuses it for good.
    async fn settle(&self, parcel: &Parcel) -> Result<(), StoreError> {
        let mut failures = 0;
        loop {
            let Err(error) = self.attempt(parcel, failures > 0).await else {
                self.on_delivered(parcel);
                return Ok(());
            };
            let reason = match next_step(&error) {
                NextStep::Retry { reason } => reason,
                NextStep::Drop => return Err(error),
            };
            self.on_failure(&error, reason);
            failures += 1;
            self.pause(reason, failures).await;
        }
    }

    /// Sends the halves of a refused LogGroup, and theirs, until the events that are refused stand
    /// alone or the splits of one LogGroup are used up.
    async fn send_in_parts(&self, parcel: &Parcel, mut refusal: StoreError, held: &mut Held) {
        let unpacked = unpack(parcel).await;
        let Some(anatomy) = unpacked.filter(|it| it.events() as u64 == held.events()) else {
            self.on_refused(&refusal, held.events());
            take_all(held).dropped(DropReason::UpstreamRefused);
            return;
        };
        let mut splitter = Splitter::new(anatomy.events(), self.aside.max_splits);
        let mut part = 0..anatomy.events();
        loop {
            match splitter.refused(&part) {
                Refused::Halved => self.metrics.delivery.splits.inc(),
                Refused::Single => self.set_aside(&anatomy, part, &refusal, held).await,
                Refused::Bound => {
                    self.metrics.delivery.splits_exhausted.inc();
                    self.set_aside(&anatomy, part, &refusal, held).await;
                }
            }
            (part, refusal) = loop {
                let Some(next) = splitter.next() else {
                    return;
                };
                match self.send_part(&anatomy, &next).await {
                    Ok(()) => {
                        splitter.taken();
                        self.delivered(held.take(next.len() as u64, anatomy.bytes(&next)));
                    }
                    Err(refusal) => break (next, refusal),
                }
            };
        }
    }

    async fn send_part(&self, anatomy: &Anatomy, part: &Range<usize>) -> Result<(), StoreError> {
        let raw = anatomy.part(part);
        let parcel = pack(self.codec, raw, None)
            .await
            .map_err(|error| StoreError::Unsendable {
                reason: error.to_string(),
            })?;
        self.settle(&parcel).await
    }

    /// Ends refused events: in the quarantine, as far as that takes them, else dropped.
    async fn set_aside(
        &self,
        anatomy: &Anatomy,
        mut part: Range<usize>,
        refusal: &StoreError,
        held: &mut Held,
    ) {
        self.on_refused(refusal, part.len() as u64);
        while let Some(quarantine) = &self.aside.quarantine
            && !part.is_empty()
        {
            let (lines, count) = records::lines(anatomy, &part, refusal, clock::unix_seconds());
            let Some(room) = self.room_aside(quarantine, lines.len()).await else {
                break;
            };
            let (project, logstore) = (self.lane.project(), self.lane.logstore());
            room.put(project.as_str(), logstore.as_str(), lines);
            let now = part.start..part.start + count;
            held.take(count as u64, anatomy.bytes(&now)).quarantined();
            part.start = now.end;
        }
        if !part.is_empty() {
            let bytes = anatomy.bytes(&part);
            let refused = held.take(part.len() as u64, bytes);
            refused.dropped(DropReason::UpstreamRefused);
        }
    }

    /// Room in the quarantine. Its queue is full only while the disk takes nothing: then a while is
    /// waited, and no longer, since other events wait behind these.
    async fn room_aside(&self, quarantine: &Arc<Quarantine>, bytes: usize) -> Option<Room> {
        let until = Instant::now() + ROOM_PATIENCE;
        loop {
            match quarantine.room(bytes) {
                Ok(room) => return Some(room),
                Err(_) if Instant::now() >= until => return None,
                Err(_) => tokio::time::sleep(ROOM_PAUSE).await,
            }
        }
    }

    fn delivered(&self, held: Held) {
        self.lane.admission().on_delivered(held.bytes());
        held.delivered();
    }

    /// One attempt, once the lane has a slot for it and an upstream is taken for up. `again`: it
    /// repeats a failed one, and waits for its turn.
    async fn attempt(&self, parcel: &Parcel, again: bool) -> Result<(), StoreError> {
        let slot = self.concurrency.slot().await;
        let (route, pass) = loop {
            let (route, pass) = self.route().await;
            if pass.is_probe() || !again {
                break (route, pass);
            }
            route.upstream.turn().await;
            if route.upstream.breaker().is_closed() {
                break (route, pass);
            }
        };
        let began = Instant::now();
        let result = self.put(route, parcel).await;
        let (sign, verdict) = meaning(&result);
        slot.ended(sign, parcel.body.len(), began);
        pass.ended(verdict);
        match &result {
            Ok(()) if !std::ptr::eq(route, &self.store) => {
                self.metrics.delivery.fallback_groups.inc();
            }
            Err(error) if is_of_credential(error) => route.upstream.credential_refused(),
            _ => {}
        }
        result
    }

    /// The store, or while its upstream is down the second one. Either may be up first when both are
    /// down.
    async fn route(&self) -> (&Route, Pass<'_>) {
        let store = &self.store;
        let Some(fallback) = &self.fallback else {
            return (store, store.upstream.breaker().pass().await);
        };
        tokio::select! {
            biased;
            pass = store.upstream.breaker().pass() => (store, pass),
            pass = fallback.upstream.breaker().pass() => (fallback, pass),
        }
    }

    async fn put(&self, route: &Route, parcel: &Parcel) -> Result<(), StoreError> {
        let body = parcel.body.clone();
        route
            .client
            .put_log_group(
                &self.project,
                &self.logstore,
                parcel.codec,
                body,
                parcel.raw_size,
            )
            .await
            .map(|_receipt| ())
    }

    /// Waits before the next attempt; stopping cuts it short, and so does an upstream that is back.
    async fn pause(&self, reason: RetryReason, failures: u32) {
        let share = random_share();
        let stopping = &self.signals.stopping;
        let of_upstream = matches!(reason, RetryReason::Network | RetryReason::Busy);
        let is_up = |route: &Route| route.upstream.breaker().is_closed();
        if of_upstream && !is_up(&self.store) && self.fallback.as_ref().is_some_and(is_up) {
            return;
        }
        if !stopping.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(self.backoff.pause(reason, failures, share)) => {}
                () = self.store.upstream.breaker().recovered(), if of_upstream => {}
                () = stopping.cancelled() => {}
            }
            return;
        }
        tokio::time::sleep(self.backoff.pause_while_stopping(reason, failures, share)).await;
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

    fn on_failure(&self, error: &StoreError, reason: RetryReason) {
        self.metrics.delivery_retries.inc();
        if error.leaves_doubt() {
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

    fn on_refused(&self, error: &StoreError, events: u64) {
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

/// What an attempt says of the lane's share of the store, and of the upstream.
fn meaning(result: &Result<(), StoreError>) -> (Sign, Verdict) {
    let Err(error) = result else {
        return (Sign::Well, Verdict::Up);
    };
    let reason = match next_step(error) {
        NextStep::Retry { reason } => Some(reason),
        NextStep::Drop => None,
    };
    match (error, reason) {
        (StoreError::Unsendable { .. }, _) => (Sign::None, Verdict::Unknown),
        (StoreError::Transport { .. }, _) => (Sign::Congested, Verdict::Down),
        (StoreError::NotTheStore { status: 429, .. }, _) => (Sign::Congested, Verdict::Unknown),
        (StoreError::NotTheStore { status: 413, .. }, _) => (Sign::None, Verdict::Unknown),
        (StoreError::NotTheStore { status, .. }, _) if *status >= 500 => {
            (Sign::Congested, Verdict::Down)
        }
        (StoreError::NotTheStore { .. }, _) => (Sign::None, Verdict::Down),
        (StoreError::Refused(answer), _) if answer.status >= 500 => {
            (Sign::Congested, Verdict::Down)
        }
        (StoreError::Refused(_), Some(RetryReason::Quota | RetryReason::Busy)) => {
            (Sign::Congested, Verdict::Up)
        }
        (StoreError::Refused(_), Some(_)) => (Sign::None, Verdict::Up),
        (StoreError::Refused(_), None) => (Sign::Well, Verdict::Up),
    }
}

fn is_of_credential(error: &StoreError) -> bool {
    let reason = RetryReason::Credential;
    next_step(error) == NextStep::Retry { reason }
}

/// Compresses a LogGroup on a thread that may block.
///
/// Until it is done the lease pays for the plain form only: what is compressed at the same time is
/// bounded by the number of workers, and a lease that waited here for memory would wait for ever.
async fn pack(
    codec: Codec,
    raw: Vec<u8>,
    lease: impl Into<Option<Lease>>,
) -> Result<Parcel, JoinError> {
    let mut lease = lease.into();
    tokio::task::spawn_blocking(move || {
        let raw_size = raw.len();
        // What cannot be compressed is sent as it is.
        let (codec, mut body) = match codec {
            Codec::None => (codec, raw),
            _ => compress(codec, &raw).map_or((Codec::None, raw), |body| (codec, body)),
        };
        body.shrink_to_fit();
        if let Some(lease) = &mut lease {
            lease.shrink_to((body.len() + BATCH_OVERHEAD) as u64);
        }
        Parcel {
            codec,
            body: body.into(),
            raw_size,
            lease,
        }
    })
    .await
}

/// Takes a LogGroup apart that was packed before; `None` when that cannot be done.
///
/// The plain form is not leased: what is taken apart at the same time is bounded by the number of
/// workers, as what is compressed is.
async fn unpack(parcel: &Parcel) -> Option<Anatomy> {
    let (codec, body, raw_size) = (parcel.codec, parcel.body.clone(), parcel.raw_size);
    let taken = tokio::task::spawn_blocking(move || {
        let mut raw = Vec::new();
        decompress(codec, &body, Some(raw_size), LARGEST, &mut raw).ok()?;
        Anatomy::of(raw)
    });
    taken.await.ok()?
}

fn take_all(held: &mut Held) -> Held {
    held.take(u64::MAX, u64::MAX)
}
