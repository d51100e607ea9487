//! How fast the store takes what one lane holds, and what its quotas say: pure, with the time as an
//! argument.
//!
//! The rate is that of a backlog: it is measured only while sealed batches wait for a worker. A lane
//! that is idle delivers no more than it gets, which says nothing about what the store could take.

use std::time::Duration;

use tokio::time::Instant;

/// Over so much time the rate is averaged: samples fade with it.
const FADING: Duration = Duration::from_secs(10);
/// Backlog that must have been measured before the rate counts as known.
const LEAST: Duration = Duration::from_secs(1);

/// When what is measured means that new events are refused.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline) struct DelayRules {
    /// The longest expected delay.
    pub(in crate::pipeline) max_delay: Duration,
    /// How long a quota answer counts.
    pub(in crate::pipeline) quota_memory: Duration,
    /// The longest expected delay while one counts.
    pub(in crate::pipeline) quota_delay: Duration,
    /// A store that has taken nothing for so long is down, not slow.
    pub(in crate::pipeline) stale: Duration,
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Drain {
    /// Bytes delivered from a backlog, and the seconds that it took; both fade.
    bytes: f64,
    seconds: f64,
    /// While there is a backlog: since then, or since its last delivery.
    mark: Option<Instant>,
    /// The last delivery from a backlog.
    sampled: Option<Instant>,
    /// The last quota answer.
    quota: Option<Instant>,
    /// The first failure since a delivery.
    failing: Option<Instant>,
}

/// What may be held by the measure of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Bytes before compression, if there is a bound.
    pub(super) bytes: Option<u64>,
    /// Bytes a second, where that is known.
    pub(super) rate: Option<u64>,
    /// The bound is that of a used-up quota.
    pub(super) by_quota: bool,
}

impl Drain {
    /// A worker took a batch, and `waiting` are left.
    pub(super) fn taken(&mut self, waiting: usize, now: Instant) {
        if waiting == 0 {
            self.mark = None;
        } else if self.mark.is_none() {
            self.mark = Some(now);
            let old = |sampled| now.duration_since(sampled) > FADING;
            if self.sampled.is_none_or(old) {
                self.forget();
            }
        }
    }

    /// The store took a batch of so many bytes.
    pub(super) fn delivered(&mut self, bytes: u64, now: Instant, rules: &DelayRules) {
        self.failing = None;
        let Some(mark) = self.mark else { return };
        let took = now.duration_since(mark);
        if took > rules.stale {
            // It was down. How long says nothing about how fast it is now.
            self.forget();
        } else {
            self.add(bytes, took);
        }
        self.mark = Some(now);
        self.sampled = Some(now);
    }

    /// An attempt failed, because of a quota or otherwise.
    pub(super) fn failed(&mut self, of_quota: bool, now: Instant) {
        self.failing.get_or_insert(now);
        if of_quota {
            self.quota = Some(now);
        }
    }

    /// What may be held now.
    pub(super) fn bound(&self, now: Instant, rules: &DelayRules) -> Bound {
        let within = |then: Option<Instant>, span| {
            then.is_some_and(|then: Instant| now.duration_since(then) <= span)
        };
        let by_quota = within(self.quota, rules.quota_memory);
        let known = self.mark.is_some()
            && self.seconds >= LEAST.as_secs_f64()
            && within(self.sampled, rules.stale);
        let rate = known.then(|| whole(self.bytes / self.seconds).max(1));
        let allowed = if by_quota {
            rules.quota_delay
        } else {
            rules.max_delay
        };
        Bound {
            bytes: rate.map(|rate| in_time(rate, allowed)),
            rate,
            by_quota,
        }
    }

    /// How long the store has failed.
    pub(super) fn failing_for(&self, now: Instant) -> Option<Duration> {
        self.failing.map(|since| now.duration_since(since))
    }

    /// The bytes came evenly over the time that they took, so both fade alike.
    fn add(&mut self, bytes: u64, took: Duration) {
        let (took, fading) = (took.as_secs_f64(), FADING.as_secs_f64());
        let fade = (-took / fading).exp();
        let seconds = fading * (1.0 - fade);
        let part = if took > 0.0 { seconds / took } else { 1.0 };
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        let bytes = bytes as f64;
        self.bytes = self.bytes * fade + bytes * part;
        self.seconds = self.seconds * fade + seconds;
    }

    fn forget(&mut self) {
        (self.bytes, self.seconds) = (0.0, 0.0);
    }
}

/// The time in which so many bytes are drained.
pub(super) fn time_for(bytes: u64, rate: u64) -> Duration {
    let millis = u128::from(bytes) * 1000 / u128::from(rate.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The bytes that are drained in so much time.
fn in_time(rate: u64, time: Duration) -> u64 {
    let bytes = u128::from(rate).saturating_mul(time.as_millis()) / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A float that is not negative, as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and a cast from a float saturates"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: DelayRules = DelayRules {
        max_delay: Duration::from_secs(60),
        quota_memory: Duration::from_secs(10),
        quota_delay: Duration::from_secs(5),
        stale: Duration::from_secs(30),
    };

    async fn pass(millis: u64) -> Instant {
        tokio::time::advance(Duration::from_millis(millis)).await;
        Instant::now()
    }

    /// A store that takes `bytes` in batches of 1000 once in `every` milliseconds, `workers` at once.
    async fn drains(drain: &mut Drain, workers: u64, every: u64, rounds: u64) {
        drain.taken(9, Instant::now());
        for _ in 0..rounds {
            let now = pass(every).await;
            for _ in 0..workers {
                drain.delivered(1000, now, &RULES);
                drain.taken(9, now);
            }
        }
    }

    fn bound(drain: &Drain) -> Bound {
        drain.bound(Instant::now(), &RULES)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_known_before_a_second_of_backlog() {
        let mut drain = Drain::default();
        assert_eq!(bound(&drain).rate, None);
        for _ in 0..100 {
            drain.taken(0, Instant::now());
            drain.delivered(1, pass(900).await, &RULES);
        }
        assert_eq!(bound(&drain).rate, None, "an idle lane measures nothing");
        drains(&mut drain, 1, 100, 5).await;
        assert_eq!(bound(&drain).rate, None);
        drains(&mut drain, 1, 100, 6).await;
        let rate = bound(&drain).rate.unwrap();
        assert!((9_000..=11_000).contains(&rate), "{rate}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_all_workers_and_follows_the_store() {
        let mut drain = Drain::default();
        drains(&mut drain, 4, 1000, 20).await;
        let found = bound(&drain);
        let rate = found.rate.unwrap();
        assert!((3_900..=4_600).contains(&rate), "{rate}");
        assert_eq!(found.bytes, Some(rate * 60));
        drains(&mut drain, 4, 100, 300).await;
        let rate = bound(&drain).rate.unwrap();
        assert!((37_000..=41_000).contains(&rate), "{rate}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_bound_ends_with_the_backlog() {
        let mut drain = Drain::default();
        drains(&mut drain, 1, 500, 10).await;
        assert!(bound(&drain).bytes.is_some());
        drain.taken(0, Instant::now());
        assert_eq!(bound(&drain).bytes, None);
        drain.taken(1, pass(9_000).await);
        assert!(bound(&drain).bytes.is_some(), "it came back at once");
        drain.taken(0, Instant::now());
        drain.taken(1, pass(11_000).await);
        assert_eq!(bound(&drain).bytes, None, "it came back late");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_takes_nothing_is_bounded_by_memory_and_measured_anew() {
        let mut drain = Drain::default();
        drains(&mut drain, 1, 500, 10).await;
        for _ in 0..31 {
            drain.failed(false, pass(1000).await);
        }
        assert_eq!(bound(&drain).bytes, None);
        let failing = drain.failing_for(Instant::now()).unwrap();
        assert_eq!(failing, Duration::from_secs(30));
        drain.delivered(1000, Instant::now(), &RULES);
        assert_eq!(bound(&drain).bytes, None, "its silence is not its speed");
        drains(&mut drain, 1, 100, 11).await;
        assert!(bound(&drain).rate.unwrap() > 9_000);
        assert_eq!(drain.failing_for(Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quota_answer_shrinks_the_delay_for_a_while() {
        let mut drain = Drain::default();
        drains(&mut drain, 1, 500, 10).await;
        drain.failed(true, Instant::now());
        let found = bound(&drain);
        assert!(found.by_quota);
        assert_eq!(found.bytes, found.rate.map(|rate| rate * 5));
        drain.failed(false, pass(9_000).await);
        assert!(bound(&drain).by_quota);
        drain.delivered(1000, pass(1_001).await, &RULES);
        let found = bound(&drain);
        assert!(!found.by_quota);
        assert_eq!(found.bytes, found.rate.map(|rate| rate * 60));
    }

    #[test]
    fn times_and_bytes_do_not_overflow() {
        assert_eq!(time_for(5000, 1000), Duration::from_secs(5));
        assert_eq!(time_for(u64::MAX, 0), Duration::from_millis(u64::MAX));
        assert_eq!(in_time(1000, Duration::from_millis(1500)), 1500);
        assert_eq!(in_time(u64::MAX, Duration::MAX), u64::MAX);
    }
}
