//! What a request waits for before it is answered: that its events are on disk, or with the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::event::Reason;

/// How safe the events of a request are, once it is known.
#[derive(Debug)]
#[must_use = "the answer says how safe the events are"]
pub enum Receipt {
    /// They are held in memory.
    Held,
    /// It is said later.
    Awaited(Awaited),
}

/// Says later how safe events are.
#[derive(Debug)]
pub struct Awaited {
    answer: oneshot::Receiver<Result<(), Reason>>,
    patience: Duration,
    /// What is said when it was not told in that time.
    overdue: Reason,
    /// Of the copy for a second destination.
    copy: Option<Box<Awaited>>,
}

impl Receipt {
    /// The same, told not before the copy is as safe as it gets. Whatever becomes of the copy, the
    /// answer stays.
    pub(super) fn with_copy(mut self, copy: Option<Self>) -> Self {
        if let (Self::Awaited(awaited), Some(Self::Awaited(copy))) = (&mut self, copy) {
            awaited.copy = Some(Box::new(copy));
        }
        self
    }

    /// Waits until the events are as safe as their logstore asks.
    ///
    /// # Errors
    /// Why they are not, or not yet. They may be delivered all the same.
    ///
    /// # Cancel safety
    /// Safe: nothing depends on who listens.
    pub async fn settled(self) -> Result<(), Reason> {
        let Self::Awaited(awaited) = self else {
            return Ok(());
        };
        match tokio::time::timeout(awaited.patience, awaited.answer).await {
            Ok(Ok(answer)) => answer?,
            // Whoever was to say it is gone, or too late.
            Ok(Err(_)) | Err(_) => return Err(awaited.overdue),
        }
        if let Some(copy) = awaited.copy
            && tokio::time::timeout(copy.patience, copy.answer)
                .await
                .is_err()
        {}
        Ok(())
    }
}

/// Is told how safe the events of a request are, by everyone who has a part of them.
#[derive(Clone, Debug)]
pub(super) struct Waiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    parts: AtomicUsize,
    failed: AtomicBool,
    answer: Mutex<Option<oneshot::Sender<Result<(), Reason>>>>,
}

impl Waiter {
    /// One that waits for so many parts to be safe, for `patience`; then it hears `overdue`.
    pub(super) fn new(parts: usize, patience: Duration, overdue: Reason) -> (Self, Receipt) {
        let (sender, answer) = oneshot::channel();
        let waiter = Self(Arc::new(Shared {
            parts: AtomicUsize::new(parts),
            failed: AtomicBool::new(false),
            answer: Mutex::new(Some(sender)),
        }));
        let awaited = Awaited {
            answer,
            patience,
            overdue,
            copy: None,
        };
        (waiter, Receipt::Awaited(awaited))
    }

    /// A part is safe.
    pub(super) fn safe(self) {
        if self.0.parts.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.answer(Ok(()));
        }
    }

    /// A part is not safe, and will not be.
    pub(super) fn failed(self, reason: Reason) {
        if !self.0.failed.swap(true, Ordering::AcqRel) {
            self.answer(Err(reason));
        }
    }

    fn answer(&self, answer: Result<(), Reason>) {
        let sender = self.0.answer.lock();
        let sender = sender.unwrap_or_else(PoisonError::into_inner).take();
        // Who does not listen any more has hung up.
        if let Some(sender) = sender
            && sender.send(answer).is_err()
        {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_receipt_is_settled_when_every_part_is_safe_or_one_is_not() {
        let (waiter, receipt) = Waiter::new(2, LONG, Reason::SpoolFailed);
        waiter.clone().safe();
        waiter.safe();
        assert_eq!(receipt.settled().await, Ok(()));
        let (waiter, receipt) = Waiter::new(2, LONG, Reason::SpoolFailed);
        waiter.clone().failed(Reason::SpoolFull);
        waiter.clone().failed(Reason::SpoolFailed);
        waiter.safe();
        assert_eq!(receipt.settled().await, Err(Reason::SpoolFull));
        assert_eq!(Receipt::Held.settled().await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_is_waited_for_and_decides_nothing() {
        let began = tokio::time::Instant::now();
        let (waiter, receipt) = Waiter::new(1, LONG, Reason::SpoolFailed);
        let (copy, copied) = Waiter::new(1, LONG, Reason::SpoolFailed);
        waiter.safe();
        copy.failed(Reason::SpoolFull);
        assert_eq!(receipt.with_copy(Some(copied)).settled().await, Ok(()));
        assert_eq!(began.elapsed(), Duration::ZERO);
        let (waiter, receipt) = Waiter::new(1, LONG, Reason::SpoolFailed);
        let (copy, copied) = Waiter::new(1, LONG, Reason::SpoolFailed);
        waiter.safe();
        assert_eq!(receipt.with_copy(Some(copied)).settled().await, Ok(()));
        assert_eq!(began.elapsed(), LONG);
        drop(copy);
        let (waiter, receipt) = Waiter::new(1, LONG, Reason::SpoolFailed);
        waiter.failed(Reason::SpoolFull);
        let answer = receipt.with_copy(Some(Receipt::Held)).settled().await;
        assert_eq!(answer, Err(Reason::SpoolFull));
    }

    #[tokio::test(start_paused = true)]
    async fn a_receipt_that_nobody_settles_ends_in_time() {
        let (waiter, receipt) = Waiter::new(1, LONG, Reason::AckTimeout);
        assert_eq!(receipt.settled().await, Err(Reason::AckTimeout));
        drop(waiter);
        let (waiter, receipt) = Waiter::new(1, LONG, Reason::SpoolFailed);
        drop(waiter);
        assert_eq!(receipt.settled().await, Err(Reason::SpoolFailed));
    }
}
