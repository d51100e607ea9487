//! Sealed batches of one lane on their way from the lock of the lane to its workers, first in,
//! first out.
//!
//! Promise: what is pushed is popped once. Its bound is memory: each batch carries the lease that
//! pays for it, so a store that is down makes leases fail in front, not pushes here.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::batch::SealedBatch;

/// The queue of one lane.
pub(super) struct SealedQueue {
    batches: Mutex<Batches>,
    /// One permit for each batch; closed when no more will come.
    ready: Semaphore,
}

#[derive(Default)]
struct Batches {
    waiting: VecDeque<SealedBatch>,
    /// No more will come; who finds it empty goes.
    closed: bool,
}

impl SealedQueue {
    /// An empty queue.
    pub(super) fn new() -> Self {
        Self {
            batches: Mutex::default(),
            ready: Semaphore::new(0),
        }
    }

    /// Puts a batch at the end.
    pub(super) fn push(&self, batch: SealedBatch) {
        self.lock().waiting.push_back(batch);
        self.ready.add_permits(1);
    }

    /// Puts a batch at the front that was taken before, for another worker. Once the queue is closed the
    /// others may have gone: then it is given back.
    pub(super) fn give_back(&self, batch: SealedBatch) -> Result<(), Box<SealedBatch>> {
        let mut batches = self.lock();
        if batches.closed {
            return Err(Box::new(batch));
        }
        batches.waiting.push_front(batch);
        drop(batches);
        self.ready.add_permits(1);
        Ok(())
    }

    /// Says that no more will be pushed.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.close();
    }

    /// Takes the first batch, as soon as there is one; `None` once the queue is closed and empty.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken before the last `await`.
    pub(super) async fn pop(&self) -> Option<SealedBatch> {
        // An error means closed: then what is left is taken without permits.
        if let Ok(permit) = self.ready.acquire().await {
            permit.forget();
        }
        self.lock().waiting.pop_front()
    }

    /// Whether none is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Takes the first batch, if there is one.
    pub(super) fn take_now(&self) -> Option<SealedBatch> {
        let permit = self.ready.try_acquire().ok()?;
        permit.forget();
        self.lock().waiting.pop_front()
    }

    /// How many batches are in it.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
