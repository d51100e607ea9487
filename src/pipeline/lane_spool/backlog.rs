//! What waits on disk, brought back for the workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::LaneSpool;
use crate::event::put_tag;
use crate::foundation::budget::Lease;
use crate::pipeline::batch::{BATCH_OVERHEAD, Held, SealedBatch};
use crate::pipeline::spool::{ReadError, Taken};
use crate::telemetry::DropReason;

/// Pause when memory or the disk has no room for a bundle that is to come back.
const PAUSE: Duration = Duration::from_millis(100);

impl LaneSpool {
    /// Waits until something waits on disk.
    ///
    /// # Cancel safety
    /// Safe.
    pub(in crate::pipeline) async fn has_backlog(&self) {
        loop {
            let ready = self.ready.notified();
            if self.backlog.load(Ordering::Acquire) > 0 {
                return;
            }
            ready.await;
        }
    }

    /// Brings the next bundle back, if one is there and memory has room for it.
    ///
    /// # Cancel safety
    /// Not safe: a bundle that was taken would not be given to anybody else.
    pub(in crate::pipeline) async fn bring_back(self: &Arc<Self>) -> Option<SealedBatch> {
        let spool = Arc::clone(self);
        let taking = tokio::task::spawn_blocking(move || spool.take());
        let taken = taking.await.ok().flatten();
        let Some(taken) = taken else {
            tokio::time::sleep(PAUSE).await;
            return None;
        };
        let Ok(lease) = self.budget.lease(taken.raw_bytes + BATCH_OVERHEAD as u64) else {
            self.put_back(&taken);
            tokio::time::sleep(PAUSE).await;
            return None;
        };
        let spool = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || spool.read(&taken, lease));
        let read = reading.await.ok().flatten();
        if read.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        read
    }

    /// The next bundle in the lane's order.
    fn take(&self) -> Option<Taken> {
        let mut log = self.log();
        let next = log.take_next();
        let recovering = log.is_recovering();
        drop(log);
        match next {
            Ok(Some(taken)) => {
                let known = |known: u64| Some(known.saturating_sub(1));
                // `known` always gives a number.
                if self
                    .backlog
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, known)
                    .is_err()
                {}
                Some(taken)
            }
            Ok(None) => {
                if !recovering {
                    self.backlog.store(0, Ordering::Release);
                }
                None
            }
            Err(error) => {
                tracing::warn!(%error, "events that wait on disk cannot be read now");
                None
            }
        }
    }

    fn put_back(&self, taken: &Taken) {
        if self.log().release(taken.id) {
            self.backlog.fetch_add(1, Ordering::AcqRel);
            self.ready.notify_one();
        }
    }

    fn read(&self, taken: &Taken, mut lease: Lease) -> Option<SealedBatch> {
        let plan = self.log().plan(taken.id)?;
        let reading = plan.read();
        let result = self.log().settle(reading);
        let waiting = &self.metrics.spool.waiting;
        let lost = |events: u64| {
            waiting.sub(events);
            let dropped = &self.metrics.events_dropped;
            dropped.at(DropReason::Lost as usize).add(events);
        };
        let bundle = match result {
            Ok(bundle) => bundle,
            Err(ReadError::Disk { source, .. }) => {
                tracing::warn!(error = %source, "events that wait on disk cannot be read now");
                self.backlog.fetch_add(1, Ordering::AcqRel);
                return None;
            }
            Err(error @ (ReadError::Lost | ReadError::Unknown)) => {
                tracing::error!(%error, events = taken.events, "events on disk were lost");
                lost(taken.events);
                return None;
            }
        };
        lost(taken.events.saturating_sub(bundle.events));
        waiting.sub(bundle.events);
        let logs_bytes = bundle.logs_bytes;
        let mut raw = bundle.log_group;
        let key = logs_bytes..raw.len();
        put_tag(&mut raw, b"__pack_id__", bundle.id.to_string().as_bytes());
        // It was leased for about as much.
        lease.shrink_to((raw.capacity() + BATCH_OVERHEAD) as u64);
        let held = Held::resumed(Arc::clone(&self.metrics), bundle.events, logs_bytes as u64);
        self.metrics.batches_waiting.add(1);
        Some(SealedBatch {
            key,
            raw,
            held,
            lease,
            id: bundle.id,
            logged: true,
            waiters: Vec::new(),
        })
    }
}
