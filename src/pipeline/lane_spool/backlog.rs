//! What waits on disk, brought back for the workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::LaneSpool;
use crate::event::put_tag;
use crate::foundation::budget::Lease;
use crate::pipeline::batch::{BATCH_OVERHEAD, Held, SealedBatch};
use crate::pipeline::delivery::span::Links;
use crate::pipeline::spool::{ReadError, Taken};

/// Pause when memory or the disk has no room for a bundle that is to come back.
const PAUSE: Duration = Duration::from_millis(100);

impl LaneSpool {
    /// Waits until something waits on disk, and may be sent.
    ///
    /// # Cancel safety
    /// Safe.
    pub(in crate::pipeline) async fn has_backlog(&self) {
        loop {
            let ready = self.ready.notified();
            if self.backlog.load(Ordering::Acquire) > 0 {
                self.used.pace.ready().await;
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
        let taking = tokio::task::spawn_blocking(move || {
            let taken = spool.take()?;
            let room = taken.raw_bytes + BATCH_OVERHEAD as u64;
            match spool.budget.lease(room) {
                Ok(lease) => spool.read(&taken, lease),
                Err(_) => {
                    spool.put_back(&taken);
                    None
                }
            }
        });
        let batch = taking.await.ok().flatten();
        if batch.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        batch
    }

    /// The next bundle in the lane's order.
    fn take(&self) -> Option<Taken> {
        let mut log = self.log();
        match log.take_next() {
            Ok(Some(taken)) => {
                let less = |known: u64| Some(known.saturating_sub(1));
                // It always gives a number.
                let changed = self
                    .backlog
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
                debug_assert!(changed.is_ok());
                Some(taken)
            }
            Ok(None) => {
                if !log.is_recovering() {
                    self.backlog.store(0, Ordering::Release);
                }
                None
            }
            Err(error) => {
                drop(log);
                tracing::warn!(%error, "events that wait on disk cannot be read now");
                None
            }
        }
    }

    fn put_back(&self, taken: &Taken) {
        let mut log = self.log();
        if log.release(taken.id) {
            self.backlog.fetch_add(1, Ordering::AcqRel);
            drop(log);
            self.ready.notify_one();
        }
    }

    fn read(&self, taken: &Taken, mut lease: Lease) -> Option<SealedBatch> {
        let plan = self.log().plan(taken.id)?;
        let reading = plan.read();
        let bundle = {
            let mut log = self.log();
            match log.settle(reading) {
                Ok(bundle) => bundle,
                Err(ReadError::Disk { source, .. }) => {
                    self.backlog.fetch_add(1, Ordering::AcqRel);
                    drop(log);
                    tracing::warn!(error = %source, "events that wait on disk cannot be read now");
                    return None;
                }
                Err(error @ (ReadError::Lost | ReadError::Unknown)) => {
                    drop(log);
                    tracing::error!(%error, events = taken.events, "events on disk were lost");
                    self.mirror();
                    return None;
                }
            }
        };
        self.metrics.spool.waiting.sub(bundle.events);
        let logs_bytes = bundle.logs_bytes;
        let has_pack_id = bundle.has_pack_id();
        let mut raw = bundle.log_group;
        let key = logs_bytes..raw.len();
        if !has_pack_id {
            put_tag(&mut raw, b"__pack_id__", bundle.id.to_string().as_bytes());
        }
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
            events: u32::try_from(bundle.events).unwrap_or(u32::MAX),
            logged: true,
            from_disk: true,
            instead_of: None,
            since: taken.time,
            waiters: Vec::new(),
            links: Links::default(),
        })
    }
}
