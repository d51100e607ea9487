//! How fast what waits on disk is sent: a bound on bytes a second that all lanes share.
//!
//! Promise: over any time, no more is sent than the bound allows, but for one LogGroup of each worker
//! ahead. New events do not count, and do not wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bound that all lanes share.
#[derive(Debug)]
pub(in crate::pipeline) struct Pace {
    /// Bytes a second; 0: no bound.
    rate: u64,
    /// When what was sent is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many bytes a second; 0: as fast as it goes.
    pub(in crate::pipeline) fn new(rate: u64) -> Self {
        Self {
            rate,
            paid: Mutex::new(None),
        }
    }

    /// Waits until what was sent before is paid for.
    ///
    /// # Cancel safety
    /// Safe.
    pub(in crate::pipeline) async fn ready(&self) {
        while let Some(paid) = self.debt() {
            tokio::time::sleep_until(paid).await;
        }
    }

    fn debt(&self) -> Option<Instant> {
        let paid = *self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        paid.filter(|paid| *paid > Instant::now())
    }

    /// So many bytes are being sent.
    pub(in crate::pipeline) fn charge(&self, bytes: usize) {
        if self.rate == 0 {
            return;
        }
        let nanos = (bytes as u128 * 1_000_000_000).div_ceil(u128::from(self.rate));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = Instant::now();
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        // What was not used is not saved up.
        let from = paid.map_or(now, |paid| paid.max(now));
        *paid = from.checked_add(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_sent_is_paid_for_before_more_is() {
        let pace = Pace::new(1000);
        let start = Instant::now();
        for expected in [0, 500, 1000, 1500] {
            pace.ready().await;
            assert_eq!(start.elapsed().as_millis() / 10 * 10, expected);
            pace.charge(500);
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        pace.charge(1000);
        pace.charge(1000);
        pace.ready().await;
        assert_eq!(
            start.elapsed().as_secs(),
            2,
            "a minute of rest is not saved up"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nothing_waits() {
        let pace = Pace::new(0);
        let start = Instant::now();
        for _ in 0..100 {
            pace.charge(usize::MAX);
            pace.ready().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
