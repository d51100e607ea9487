//! Stopping, from the top down.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{KeptSockets, Running, aside};
use crate::pipeline::StopReport;
use crate::telemetry::DrainStage;
use crate::telemetry::spans::FLUSH;

/// What is left of a service.
#[derive(Debug)]
pub struct Stopped {
    /// What became of the events.
    pub report: StopReport,
    /// Bytes of events that were set aside and could not be written.
    pub unwritten: u64,
    /// The listening sockets, where they were to be handed over.
    pub sockets: KeptSockets,
}

/// Time that a connection gets to ask something, before a handover closes it.
const TIME_TO_ASK: Duration = Duration::from_secs(1);

/// Time that the private listeners get to answer their last requests.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Time beyond that of its spans that their exporter gets to end.
const TIME_TO_TELL: Duration = Duration::from_millis(500);

/// A part that serves until it is told to stop.
pub(super) struct Serving {
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
}

impl Serving {
    /// Tells it to stop and waits until the last request is answered or the deadline has come.
    pub(super) async fn finish(self, deadline: Instant) {
        self.stop.cancel();
        let mut task = self.task;
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
        }
    }
}

impl Running {
    /// Readiness off, and all else as it was for `delay`, so that load balancers send nothing more when
    /// the listeners close. `deadline` is what [`Running::stop`] is given then.
    pub async fn announce_stop(&self, delay: Duration, deadline: Duration) {
        self.readiness.set(false);
        if delay.is_zero() || self.ingest.is_none() {
            return;
        }
        let left = delay.saturating_add(deadline);
        self.metrics.drain.enter(DrainStage::NotReady, left);
        tokio::time::sleep(delay).await;
    }

    /// Stops from the top down: readiness off, no new connections, requests in flight answered, what
    /// is held delivered until the deadline, the store closed, what was set aside written. Says what became of the events.
    ///
    /// A stop that is `to_hand_over` keeps the listening sockets and gives them, so that connections
    /// wait in the kernel's queue until somebody accepts them again; and a connection that was taken
    /// just before has time to ask what it was made for.
    pub async fn stop(mut self, deadline: Duration, to_hand_over: bool) -> Stopped {
        self.readiness.set(false);
        if let Some(control) = &self.control {
            control.stop();
        }
        self.metrics.drain.enter(DrainStage::Closing, deadline);
        if let Some(aside) = &self.aside {
            aside.fronts.now().stop_replays();
        }
        let deadline = Instant::now() + deadline;
        let mut sockets = std::mem::take(&mut self.kept);
        if let Some((_, edge, _)) = &self.ingest {
            sockets.extend(edge.take_sockets());
        }
        if !to_hand_over {
            sockets = KeptSockets::default();
        }
        if let Some((stop, _, mut serving)) = self.ingest.take() {
            // Half of the time is left for what is held already.
            let answered_by = Instant::now() + (deadline - Instant::now()) / 2;
            if to_hand_over {
                stop.take_no_more();
                let asked_by = answered_by.min(Instant::now() + TIME_TO_ASK);
                drop(tokio::time::timeout_at(asked_by, &mut serving).await);
            }
            stop.now();
            if !serving.is_finished()
                && tokio::time::timeout_at(answered_by, &mut serving)
                    .await
                    .is_err()
            {
                serving.abort();
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.metrics.drain.enter(DrainStage::Delivering, left);
        let report = match self.pipeline.take() {
            Some(pipeline) => pipeline.stop(deadline).await,
            None => StopReport::default(),
        };
        // It sends what is left while the others end, and says what it could not send.
        let sent_by = Instant::now() + FLUSH + TIME_TO_TELL;
        if let Some(tracing) = &self.tracing {
            tracing.stop.cancel();
        }
        let soon = Instant::now() + LAST_GRACE;
        if let Some((serving, store)) = self.logstore.take() {
            serving.finish(soon).await;
            if let Some(store) = Arc::into_inner(store) {
                store.close();
            }
        }
        if let Some(admin) = self.admin.take() {
            admin.finish(soon).await;
        }
        if let Some(watching) = self.watching.take() {
            watching.finish(soon).await;
        }
        if let Some(sharing) = self.sharing.take() {
            sharing.finish(soon).await;
        }
        if let Some(identity) = self.identity.take() {
            identity.finish(soon).await;
        }
        if let Some(tracing) = self.tracing.take() {
            tracing.finish(sent_by).await;
        }
        // After the admin API, whose last call may have notes to take back.
        let unwritten = match self.aside.take() {
            Some(aside) => aside::finish(aside.quarantine, deadline).await,
            None => 0,
        };
        // Last: nothing is counted any more.
        if let Some(books) = self.books.take() {
            books.finish().await;
        }
        Stopped {
            report,
            unwritten,
            sockets,
        }
    }
}
