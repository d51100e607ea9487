//! Workers that bring the sealed batches of one lane to its store.
//!
//! Promise: a batch is tried until the store has acknowledged it, refuses it for good, or the
//! deadline for stopping has come, and each of these is counted. A worker keeps its batch while it
//! waits, so a lane is in order but for the few batches that are on their way at once.
//! When the store is down: workers wait with growing pauses, batches stay in the queue, leases stay
//! taken. A batch that the store refuses for good is dropped, so it does not hold up the others.
//! Not here: which error means what (`logstore::error`), one attempt (`logstore::client`).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::LaneSpec;
use super::batch::{BATCH_OVERHEAD, SealedBatch};
use super::lane::Lane;
use super::retry::{Backoff, Health, random_share};
use crate::config::Delivery;
use crate::foundation::budget::Lease;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::StoreClient;
use crate::logstore::codec::{Codec, compress};
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
    client: Arc<StoreClient>,
    codec: Codec,
    backoff: Backoff,
    metrics: Arc<LogstoreMetrics>,
    health: Mutex<Health>,
    signals: Signals,
}

/// How a batch ended.
enum Outcome {
    Delivered,
    Dropped(DropReason),
}

/// A LogGroup as it is sent, and the memory it takes.
struct Parcel {
    codec: Codec,
    body: Bytes,
    raw_size: usize,
    _lease: Lease,
}

impl Forwarder {
    pub(super) fn new(
        spec: LaneSpec,
        lane: Arc<Lane>,
        delivery: &Delivery,
        signals: Signals,
    ) -> Self {
        Self {
            lane,
            project: spec.upstream_project,
            logstore: spec.upstream_logstore,
            client: spec.client,
            codec: spec.codec,
            backoff: Backoff::new(delivery),
            metrics: spec.metrics,
            health: Mutex::default(),
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
            };
            let Some(batch) = next else { return };
            let admission = self.lane.admission();
            admission.on_taken(self.lane.sealed().len());
            self.deliver(batch).await;
        }
    }

    async fn deliver(&self, batch: SealedBatch) {
        let SealedBatch { raw, held, lease } = batch;
        let outcome = tokio::select! {
            biased;
            () = self.signals.deadline.cancelled() => Outcome::Dropped(DropReason::Stopped),
            outcome = self.send(raw, lease, held.events()) => outcome,
        };
        self.metrics.batches_waiting.sub(1);
        match outcome {
            Outcome::Delivered => {
                self.lane.admission().on_delivered(held.bytes());
                held.delivered();
            }
            Outcome::Dropped(reason) => held.dropped(reason),
        }
    }

    /// Attempts until there is an outcome.
    ///
    /// # Cancel safety
    /// The LogGroup is gone when this is dropped; an attempt on its way may still reach the store.
    async fn send(&self, raw: Vec<u8>, lease: Lease, events: u64) -> Outcome {
        let parcel = match pack(self.codec, raw, lease).await {
            Ok(parcel) => parcel,
            Err(error) => {
                tracing::error!(%error, events, "a LogGroup was lost while it was compressed");
                return Outcome::Dropped(DropReason::Lost);
            }
        };
        let mut failures = 0;
        loop {
            let Err(error) = self.attempt(&parcel).await else {
                self.on_delivered(&parcel);
                return Outcome::Delivered;
            };
            let reason = match next_step(&error) {
                NextStep::Retry { reason } => reason,
                NextStep::Drop => {
                    self.on_refused(&error, events);
                    return Outcome::Dropped(DropReason::UpstreamRefused);
                }
            };
            self.on_failure(&error, reason);
            failures += 1;
            self.pause(reason, failures).await;
        }
    }

    async fn attempt(&self, parcel: &Parcel) -> Result<(), StoreError> {
        let body = parcel.body.clone();
        self.client
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

    /// Waits before the next attempt; stopping cuts it short.
    async fn pause(&self, reason: RetryReason, failures: u32) {
        let share = random_share();
        let stopping = &self.signals.stopping;
        if !stopping.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(self.backoff.pause(reason, failures, share)) => {}
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
                "the store refused a LogGroup for good; its events are dropped"
            );
        }
    }

    fn health<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Compresses a LogGroup on a thread that may block.
///
/// Until it is done the lease pays for the plain form only: what is compressed at the same time is
/// bounded by the number of workers, and a lease that waited here for memory would wait for ever.
async fn pack(codec: Codec, raw: Vec<u8>, mut lease: Lease) -> Result<Parcel, JoinError> {
    tokio::task::spawn_blocking(move || {
        let raw_size = raw.len();
        // What cannot be compressed is sent as it is.
        let (codec, mut body) = match codec {
            Codec::None => (codec, raw),
            _ => compress(codec, &raw).map_or((Codec::None, raw), |body| (codec, body)),
        };
        body.shrink_to_fit();
        lease.shrink_to((body.len() + BATCH_OVERHEAD) as u64);
        Parcel {
            codec,
            body: body.into(),
            raw_size,
            _lease: lease,
        }
    })
    .await
}
