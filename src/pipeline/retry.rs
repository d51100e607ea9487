//! When to try again, and when to say so: pure functions and states, with the time as an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Delivery;

/// Pauses between attempts: each ceiling is twice the one before, and the pause is a random share
/// of it ("full jitter"), so that many workers do not come back at once.
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

    /// The pause after `failures` failed attempts in a row, for a random `share` from 0 to 1.
    pub(super) fn pause(self, failures: u32, share: f64) -> Duration {
        let doublings = 1u32.checked_shl(failures.saturating_sub(1));
        let ceiling = self.min.saturating_mul(doublings.unwrap_or(u32::MAX));
        ceiling.min(self.max).mul_f64(share.clamp(0.0, 1.0))
    }

    /// The same while stopping, but never longer than the first pause can be: there is no later for
    /// which to spare the store.
    pub(super) fn pause_while_stopping(self, failures: u32, share: f64) -> Duration {
        self.pause(failures, share).min(self.min)
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
struct Cap {
    last: Option<Instant>,
}

impl Cap {
    fn pass(&mut self, now: Instant) -> bool {
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
    fn pauses_double_from_the_first_to_the_longest() {
        let ceilings: Vec<_> = (1..=10)
            .map(|n| backoff().pause(n, 1.0).as_millis())
            .collect();
        let expected = [
            200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
        ];
        assert_eq!(ceilings, expected);
        for failures in [0, 32, 33, 1000, u32::MAX] {
            assert!(backoff().pause(failures, 1.0) <= Duration::from_secs(30));
        }
    }

    #[test]
    fn a_pause_is_the_random_share_of_its_ceiling() {
        assert_eq!(backoff().pause(5, 0.0), Duration::ZERO);
        assert_eq!(backoff().pause(5, 0.25), Duration::from_millis(800));
        assert_eq!(backoff().pause(1, 7.0), Duration::from_millis(200));
        assert!((0.0..=1.0).contains(&random_share()));
    }

    #[test]
    fn while_stopping_no_pause_is_longer_than_the_first() {
        assert_eq!(
            backoff().pause_while_stopping(9, 1.0),
            Duration::from_millis(200)
        );
        assert_eq!(
            backoff().pause_while_stopping(9, 0.001),
            Duration::from_millis(30)
        );
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
