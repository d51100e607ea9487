//! Faults on purpose, in writes only: for tests of what stands in front of the store.
//!
//! They come after a write was checked and before it is stored, in this order: the shard's quota,
//! the delay, the error. A write that got an injected error was thus not stored. One whose answer is
//! lost was.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::store::Shard;
use crate::config::Faults;
use crate::foundation::clock;

/// What is to happen to a write instead of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The shard has had its writes of this second.
    Quota,
    /// An error with this status and code.
    Error {
        /// HTTP status.
        status: u16,
        /// Error code.
        code: String,
    },
    /// The connection is closed without an answer.
    HangUp,
}

/// The configured faults and what they need to remember.
#[derive(Debug)]
pub(super) struct FaultInjector {
    config: Faults,
    random: AtomicU64,
    /// By logstore and shard: the second, and the writes in it.
    writes: Mutex<HashMap<(u32, u32), (u64, u32)>>,
}

impl FaultInjector {
    pub(super) fn new(config: Faults) -> Self {
        let seed = getrandom::u64().unwrap_or_else(|_| clock::unix_millis());
        Self {
            config,
            random: AtomicU64::new(seed | 1),
            writes: Mutex::default(),
        }
    }

    /// What happens to a write to this shard.
    pub(super) async fn inject(&self, shard: &Shard) -> Option<Fault> {
        if self.over_quota(shard.logstore, shard.number, clock::unix_seconds()) {
            return Some(Fault::Quota);
        }
        let delay = self.config.delay.get();
        if delay > Duration::ZERO {
            tokio::time::sleep(delay).await;
        }
        if !self.happens(self.config.error_rate) {
            return None;
        }
        Some(match self.config.error_status {
            0 => Fault::HangUp,
            status => Fault::Error {
                status,
                code: self.config.error_code.clone(),
            },
        })
    }

    /// Whether the answer to a write that was stored is lost.
    pub(super) fn loses_answer(&self) -> bool {
        self.happens(self.config.lost_answer_rate)
    }

    fn happens(&self, rate: f64) -> bool {
        rate > 0.0 && self.dice() < rate
    }

    fn over_quota(&self, logstore: u32, shard: u32, second: u64) -> bool {
        let quota = self.config.shard_writes_per_second;
        if quota == 0 {
            return false;
        }
        let mut writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        let (current, count) = writes.entry((logstore, shard)).or_insert((second, 0));
        if *current != second {
            (*current, *count) = (second, 0);
        }
        if *count >= quota {
            return true;
        }
        *count += 1;
        false
    }

    /// A number in `0.0..1.0`, by xorshift: even enough for faults, and for nothing else.
    fn dice(&self) -> f64 {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        let update = self
            .random
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x)));
        let drawn = step(update.unwrap_or(1)) >> 32;
        f64::from(u32::try_from(drawn).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_counts_each_shard_and_each_second_alone() {
        let faults = FaultInjector::new(Faults {
            shard_writes_per_second: 2,
            ..Faults::default()
        });
        let over = |logstore, shard, second| faults.over_quota(logstore, shard, second);
        assert!(!over(0, 0, 1) && !over(0, 0, 1));
        assert!(over(0, 0, 1));
        assert!(
            !over(0, 1, 1) && !over(1, 0, 1),
            "another shard or logstore"
        );
        assert!(!over(0, 0, 2), "another second");
    }

    #[test]
    fn dice_fall_on_both_halves_and_stay_below_one() {
        let faults = FaultInjector::new(Faults::default());
        let drawn: Vec<_> = (0..1000).map(|_| faults.dice()).collect();
        assert!(drawn.iter().all(|x| (0.0..1.0).contains(x)));
        let low = drawn.iter().filter(|x| **x < 0.5).count();
        assert!((300..700).contains(&low), "{low} of 1000 below a half");
    }
}
