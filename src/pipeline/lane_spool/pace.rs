//! How fast what waits on disk is sent: a bound on bytes a second that all lanes share.
//!
//! Promise: over any time, no more is sent than the bound allows, but for one LogGroup of each worker
//! ahead; and they leave one after the other, not as many at once as there are workers. New events do not
//! count, and do not wait. There are two bounds, of which the lower one counts: what the configuration
//! says, and what new requests leave (`give_way`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bound that all lanes share.
#[derive(Debug)]
pub(in crate::pipeline) struct Pace {
    /// Bytes a second by the configuration; 0: no bound.
    most: u64,
    /// Bytes a second that new requests leave; 0: no bound.
    left: AtomicU64,
    /// What was sent since it was last asked.
    sent: AtomicU64,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    /// When what was sent is paid for.
    paid: Option<Instant>,
    /// Workers that were let through and have not said what they send.
    out: u64,
    /// What they have paid in advance.
    advance: Duration,
    /// What the last one sent that sent something.
    last: u64,
}

impl Account {
    fn pay(&mut self, cost: Duration, now: Instant) {
        // What was not used is not saved up.
        let from = self.paid.map_or(now, |paid| paid.max(now));
        self.paid = from.checked_add(cost);
    }
}

impl Pace {
    /// So many bytes a second; 0: as fast as it goes.
    pub(in crate::pipeline) fn new(most: u64) -> Self {
        Self {
            most,
            left: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            account: Mutex::default(),
        }
    }

    /// New requests leave so many bytes a second from now on; 0: as many as there are.
    pub(in crate::pipeline) fn leave(&self, rate: u64) {
        self.left.store(rate, Ordering::Relaxed);
    }

    /// Bytes sent since this was last asked.
    pub(in crate::pipeline) fn take_sent(&self) -> u64 {
        self.sent.swap(0, Ordering::Relaxed)
    }

    /// Waits until what was sent before is paid for. Who is let through says what it sends
    /// ([`charge`](Self::charge)); until then as much as the last one sent is taken for it.
    ///
    /// # Cancel safety
    /// Safe.
    pub(in crate::pipeline) async fn ready(&self) {
        while let Some(paid) = self.debt() {
            tokio::time::sleep_until(paid).await;
        }
    }

    /// Until when others are to be paid for; `None`: it is let through.
    fn debt(&self) -> Option<Instant> {
        let rate = self.rate();
        let now = Instant::now();
        let mut account = self.account();
        if account.paid.is_some_and(|paid| paid > now) {
            return account.paid;
        }
        let cost = cost(account.last, rate);
        account.pay(cost, now);
        account.out += 1;
        account.advance = account.advance.saturating_add(cost);
        None
    }

    /// So many bytes are being sent by one that was let through.
    pub(in crate::pipeline) fn charge(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        let cost = cost(bytes, self.rate());
        let mut account = self.account();
        let out = u32::try_from(account.out).unwrap_or(u32::MAX);
        let advance = account.advance.checked_div(out).unwrap_or_default();
        account.out = account.out.saturating_sub(1);
        account.advance = account.advance.saturating_sub(advance);
        if bytes > 0 {
            account.last = bytes;
        }
        account.pay(cost.saturating_sub(advance), Instant::now());
        if let Some(more) = advance.checked_sub(cost) {
            account.paid = account.paid.and_then(|paid| paid.checked_sub(more));
        }
    }

    /// The bound that counts; 0: none.
    fn rate(&self) -> u64 {
        let left = self.left.load(Ordering::Relaxed);
        let both = [self.most, left].into_iter().filter(|rate| *rate > 0);
        both.min().unwrap_or(0)
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that so many bytes take.
fn cost(bytes: u64, rate: u64) -> Duration {
    let nanos = (u128::from(bytes) * 1_000_000_000)
        .checked_div(u128::from(rate))
        .unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
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
        assert!(pace.take_sent() > 0);
        assert_eq!(pace.take_sent(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn workers_leave_one_after_the_other_and_pay_what_they_send() {
        let pace = Pace::new(1000);
        pace.ready().await;
        pace.charge(500);
        let start = Instant::now();
        // None says what it sends before the last has left.
        for expected in [500, 1000, 1500] {
            pace.ready().await;
            assert_eq!(start.elapsed().as_millis() / 10 * 10, expected);
        }
        // One sent more than was taken for it, one nothing.
        for bytes in [1000, 500, 0] {
            pace.charge(bytes);
        }
        pace.ready().await;
        assert_eq!(start.elapsed().as_millis() / 10 * 10, 2000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_lower_of_two_bounds_counts() {
        let took = async |pace: &Pace| {
            let start = Instant::now();
            pace.charge(1000);
            pace.ready().await;
            // Nothing comes of it.
            pace.charge(0);
            start.elapsed().as_millis() / 10 * 10
        };
        let pace = Pace::new(1000);
        assert_eq!(took(&pace).await, 1000);
        pace.leave(500);
        assert_eq!(took(&pace).await, 2000);
        pace.leave(2000);
        assert_eq!(took(&pace).await, 1000);
        pace.leave(0);
        assert_eq!(took(&pace).await, 1000);
    }
}
