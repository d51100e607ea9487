//! When to try again, and when to say so: pure functions and states, with the time as an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Delivery;
use crate::logstore::error::RetryReason;

/// Pauses between attempts. A pause is a random share of its ceiling ("full jitter"), so that many
/// workers do not come back at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Pauses as configured.
    pub(super) fn new(delivery: &Delivery) -> Self {
        Self {
            min: delivery.backoff_min.get(),
            max: delivery.backoff_max.get(),
        }
    }

    /// The pause after `failures` failed attempts in a row, the last for `reason`; `share` is random,
    /// from 0 to 1.
    pub(super) fn pause(self, reason: RetryReason, failures: u32, share: f64) -> Duration {
        let ceiling = match reason {
            // The client signs with the store's clock from now on, so the first try again is at once.
            RetryReason::ClockSkew if failures <= 1 => Duration::ZERO,
            RetryReason::ClockSkew
            | RetryReason::Network
            | RetryReason::Busy
            | RetryReason::Quota => self.doubled(failures),
            // Someone has to mend it, which takes longer than any short pause.
            RetryReason::Credential | RetryReason::NotFound | RetryReason::Intermediary => self.max,
        };
        ceiling.mul_f64(share.clamp(0.0, 1.0))
    }

    /// The same, but no shorter than the store asks for, as far as pauses may be; with a share of the
    /// shortest ceiling, so that those who were asked together do not come back together.
    pub(super) fn pause_asked(
        self,
        reason: RetryReason,
        failures: u32,
        share: f64,
        asked: Option<Duration>,
    ) -> Duration {
        let pause = self.pause(reason, failures, share);
        match asked {
            Some(asked) => {
                let spread = self.min.mul_f64(share.clamp(0.0, 1.0));
                pause.max(asked.saturating_add(spread)).min(self.max)
            }
            None => pause,
        }
    }

    /// The same while stopping, but never longer than the shortest ceiling: there is no later for
    /// which to spare the store.
    pub(super) fn pause_while_stopping(
        self,
        reason: RetryReason,
        failures: u32,
        share: f64,
    ) -> Duration {
        self.pause(reason, failures, share).min(self.min)
    }

    /// The shortest ceiling, doubled with each failure after the first, up to the longest.
    fn doubled(self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures.saturating_sub(1));
        let ceiling = self.min.saturating_mul(factor.unwrap_or(u32::MAX));
        ceiling.min(self.max)
    }
}

/// A random share from 0 to 1.
pub(super) fn random_share() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(random) / f64::from(u32::MAX)
}

/// The least time between two warnings of one kind.
const QUIET: Duration = Duration::from_secs(60);

/// Lets a warning through at most once in [`QUIET`].
#[derive(Debug, Default)]
pub(super) struct Cap {
    last: Option<Instant>,
}

impl Cap {
    /// Whether one is due.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        let pass = self
            .last
            .is_none_or(|last| now.duration_since(last) >= QUIET);
        if pass {
            self.last = Some(now);
        }
        pass
    }
}

/// What is known of the store of one lane, and what was said of it.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The last that was said is that it fails.
    warned: bool,
    failures: Cap,
    drops: Cap,
}

impl Health {
    /// An attempt failed and will be repeated. True when a warning is due: the last that was said is
    /// that the store is well, and no warning is of this minute.
    pub(super) fn on_failure(&mut self, now: Instant) -> bool {
        let warn = !self.warned && self.failures.pass(now);
        self.warned |= warn;
        warn
    }

    /// The store took a LogGroup. True when a recovery is to be told: there was a warning.
    pub(super) fn on_success(&mut self) -> bool {
        std::mem::take(&mut self.warned)
    }

    /// The store refused a LogGroup for good. True when a warning is due.
    pub(super) fn on_drop(&mut self, now: Instant) -> bool {
        self.drops.pass(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::units::Span;

    fn backoff() -> Backoff {
        Backoff::new(&Delivery {
            backoff_min: Span::millis(200),
            backoff_max: Span::secs(30),
            ..Delivery::default()
        })
    }

    #[test]
    fn ceilings_double_from_the_first_to_the_longest() {
        for reason in [RetryReason::Network, RetryReason::Busy, RetryReason::Quota] {
            let ceiling = |failures| backoff().pause(reason, failures, 1.0);
            let found: Vec<_> = (1..=10).map(|n| ceiling(n).as_millis()).collect();
            let expected = [
                200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
            ];
            assert_eq!(found, expected, "{reason:?}");
            for failures in [0, 32, 33, 1000, u32::MAX] {
                assert!(ceiling(failures) <= Duration::from_secs(30), "{failures}");
            }
        }
    }

    #[test]
    fn what_an_operator_has_to_mend_is_tried_slowly_from_the_start() {
        use RetryReason::{Credential, Intermediary, NotFound};
        for reason in [Credential, NotFound, Intermediary] {
            let pause = backoff().pause(reason, 1, 1.0);
            assert_eq!(pause, Duration::from_secs(30), "{reason:?}");
        }
    }

    #[test]
    fn a_clock_that_differs_is_tried_again_at_once_but_only_once() {
        let ceiling = |failures| backoff().pause(RetryReason::ClockSkew, failures, 1.0);
        assert_eq!(ceiling(1), Duration::ZERO);
        assert_eq!(ceiling(2), Duration::from_millis(400));
    }

    #[test]
    fn a_pause_is_the_random_share_of_its_ceiling() {
        let pause = |share| backoff().pause(RetryReason::Busy, 5, share);
        assert_eq!(pause(0.0), Duration::ZERO);
        assert_eq!(pause(0.25), Duration::from_millis(800));
        assert_eq!(pause(7.0), pause(1.0));
        assert!((0.0..=1.0).contains(&random_share()));
    }

    #[test]
    fn a_pause_that_the_store_asks_for_is_kept_as_far_as_pauses_may_be() {
        let pause = |asked| {
            let asked = Some(Duration::from_secs(asked));
            let pause = backoff().pause_asked(RetryReason::Busy, 1, 0.5, asked);
            pause.as_millis()
        };
        assert_eq!([pause(0), pause(7), pause(3600)], [100, 7100, 30_000]);
        let unasked = backoff().pause_asked(RetryReason::Busy, 1, 0.5, None);
        assert_eq!(unasked, Duration::from_millis(100));
    }

    #[test]
    fn while_stopping_no_pause_is_longer_than_the_first() {
        for reason in [RetryReason::Busy, RetryReason::NotFound] {
            let pause = |share| backoff().pause_while_stopping(reason, 9, share);
            assert_eq!(pause(1.0), Duration::from_millis(200));
            assert_eq!(pause(0.001), Duration::from_millis(30));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_told_once_and_its_recovery_too() {
        let mut health = Health::default();
        assert!(!health.on_success(), "nothing was wrong");
        let said = [(); 3].map(|()| health.on_failure(Instant::now()));
        assert_eq!(said, [true, false, false]);
        assert!(health.on_success());
        assert!(!health.on_success());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_comes_and_goes_is_told_once_a_minute() {
        let mut health = Health::default();
        let mut said = 0;
        for _ in 0..180 {
            said += u32::from(health.on_failure(Instant::now()));
            health.on_success();
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(said, 3);
        assert!(health.on_drop(Instant::now()));
        assert!(!health.on_drop(Instant::now()));
    }
}
