//! Pacing: so many events a second and no more.

use std::time::Duration;

use tokio::time::Instant;

/// Requests a second that a paced sender aims at, so that events flow and do not come in bursts.
const REQUESTS_PER_SECOND: f64 = 10.0;

/// A schedule of tokens: each event takes one, and they come at an even rate. Time in which nothing
/// was sent is not made up for.
#[derive(Debug)]
pub(super) struct Pacer {
    events_per_second: Option<f64>,
    next: Instant,
}

impl Pacer {
    /// A pacer that starts at `now`; without a rate it never waits.
    pub(super) fn new(events_per_second: Option<f64>, now: Instant) -> Self {
        Self {
            events_per_second,
            next: now,
        }
    }

    /// When the next batch may go.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Notes that so many events went at `now`.
    pub(super) fn sent(&mut self, events: usize, now: Instant) {
        if let Some(rate) = self.events_per_second {
            let pause = Duration::try_from_secs_f64(events as f64 / rate).unwrap_or(Duration::MAX);
            let start = self.next.max(now);
            self.next = start.checked_add(pause).unwrap_or(start);
        }
    }

    /// Events of a batch, when at most `max` are wanted.
    pub(super) fn batch_size(&self, max: usize) -> usize {
        let Some(rate) = self.events_per_second else {
            return max;
        };
        let wanted = rate / REQUESTS_PER_SECOND;
        (1..=max)
            .take_while(|size| *size as f64 <= wanted)
            .last()
            .unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_go_at_the_rate_whatever_the_size_of_batches() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Some(50.0), start);
        for batch in [5, 10, 5, 30] {
            tokio::time::sleep_until(pacer.next()).await;
            pacer.sent(batch, Instant::now());
        }
        tokio::time::sleep_until(pacer.next()).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_input_is_not_made_up_for_by_a_burst() {
        let mut pacer = Pacer::new(Some(10.0), Instant::now());
        tokio::time::advance(Duration::from_secs(60)).await;
        pacer.sent(10, Instant::now());
        assert_eq!(pacer.next(), Instant::now() + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nothing_waits() {
        let start = Instant::now();
        let mut pacer = Pacer::new(None, start);
        pacer.sent(1_000_000, start);
        assert_eq!(pacer.next(), start);
    }

    #[test]
    fn a_low_rate_makes_small_batches_and_a_high_one_full_ones() {
        let size = |rate| Pacer::new(Some(rate), Instant::now()).batch_size(100);
        assert_eq!(
            (size(0.5), size(1.0), size(55.0), size(1e9)),
            (1, 1, 5, 100)
        );
    }
}
