//! Whether an upstream is up, and who may find out.
//!
//! ```text
//!            failures in a row                     pause is over: one attempt
//!   Closed --------------------------> Open <------------------------------> HalfOpen
//!      ^                                        failed: twice the pause          |
//!      +------------------------ the store answered ------------------------------+
//! ```
//!
//! Promise: while it is open nothing is sent, and while it is half-open a single attempt is. Whoever
//! waits goes on as soon as it closes. An attempt that was on its way before counts when it ends: a
//! store that answers is not down.
//! Not here: which failures are the upstream's (`forward`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config;
use crate::foundation::clock;
use crate::pipeline::retry::random_share;
use crate::telemetry::{BreakerState, UpstreamMetrics};

/// A pause is at least so much of its ceiling, in percent; the rest is jitter.
const LEAST_SHARE: f64 = 0.8;

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        /// Failures in a row.
        failures: u32,
    },
    Open {
        until: Instant,
    },
    HalfOpen,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The ceiling of the next pause.
    pause: Duration,
    /// No pause is longer.
    longest: Duration,
}

/// The breaker of one upstream.
#[derive(Debug)]
pub(in crate::pipeline) struct Breaker {
    rules: config::Breaker,
    name: String,
    inner: Mutex<Inner>,
    /// Something changed for those who wait.
    changed: Notify,
    /// It closed.
    recovered: Notify,
    metrics: Arc<UpstreamMetrics>,
}

/// The right to make an attempt.
#[derive(Debug)]
#[must_use = "an attempt ends in a verdict"]
pub(in crate::pipeline) struct Pass<'a> {
    breaker: &'a Breaker,
    probe: bool,
    /// How long the upstream wants to be left alone.
    asked: Option<Duration>,
}

/// What an attempt says of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Verdict {
    /// The store answered, whatever it said.
    Up,
    /// It did not, or answered that it is broken.
    Down,
    /// Nothing.
    Unknown,
}

impl Breaker {
    pub(in crate::pipeline) fn new(
        name: &str,
        rules: &config::Breaker,
        metrics: Arc<UpstreamMetrics>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            inner: Mutex::new(Inner {
                state: State::Closed { failures: 0 },
                pause: rules.pause_min.get(),
                longest: rules.pause_max.get(),
            }),
            rules: rules.clone(),
            changed: Notify::new(),
            recovered: Notify::new(),
            metrics,
        }
    }

    /// Waits until an attempt may be made.
    ///
    /// # Cancel safety
    /// Safe.
    pub(in crate::pipeline) async fn pass(&self) -> Pass<'_> {
        loop {
            // Before the look, so that a change after it is not missed.
            let changed = self.changed.notified();
            let until = match self.look() {
                Ok(probe) => {
                    return Pass {
                        breaker: self,
                        probe,
                        asked: None,
                    };
                }
                Err(until) => until,
            };
            match until {
                Some(until) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(until) => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    /// Waits until it closes after it was open.
    ///
    /// # Cancel safety
    /// Safe.
    pub(in crate::pipeline) async fn recovered(&self) {
        self.recovered.notified().await;
    }

    /// From now on no pause is longer than `longest`, the one at hand included: there is no later for
    /// which to spare the upstream.
    pub(in crate::pipeline) fn hurry(&self, longest: Duration) {
        let mut inner = self.lock();
        inner.longest = inner.longest.min(longest);
        if let State::Open { until } = &mut inner.state {
            *until = (*until).min(Instant::now() + longest);
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Whether attempts are made freely.
    pub(in crate::pipeline) fn is_closed(&self) -> bool {
        matches!(self.lock().state, State::Closed { .. })
    }

    /// Whether an attempt may be made, and if so whether it is a probe; else until when to wait, or
    /// for how the probe ends.
    fn look(&self) -> Result<bool, Option<Instant>> {
        let mut inner = self.lock();
        match inner.state {
            State::Closed { .. } => Ok(false),
            State::HalfOpen => Err(None),
            State::Open { until } => {
                if Instant::now() < until {
                    return Err(Some(until));
                }
                self.go(&mut inner, State::HalfOpen);
                self.metrics.probes.inc();
                Ok(true)
            }
        }
    }

    fn up(&self) {
        let mut inner = self.lock();
        let was_closed = matches!(inner.state, State::Closed { .. });
        self.go(&mut inner, State::Closed { failures: 0 });
        self.metrics.failures.set(0);
        inner.pause = self.rules.pause_min.get();
        drop(inner);
        if !was_closed {
            tracing::info!(upstream = self.name, "the upstream is back");
            self.changed.notify_waiters();
            self.recovered.notify_waiters();
        }
    }

    fn down(&self, probe: bool, asked: Option<Duration>) {
        let mut inner = self.lock();
        self.metrics.failures.add(1);
        match inner.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                if self.rules.failures == 0 || failures < self.rules.failures {
                    inner.state = State::Closed { failures };
                    return;
                }
                self.metrics.opened.inc();
                self.open(&mut inner, asked);
                let upstream = &self.name;
                tracing::warn!(
                    upstream,
                    failures,
                    "the upstream is down; it is probed from now on"
                );
            }
            State::HalfOpen if probe => self.open(&mut inner, asked),
            // It was sent before.
            State::HalfOpen | State::Open { .. } => return,
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// `asked`: how long the upstream wants to be left alone, which counts as far as pauses may be.
    fn open(&self, inner: &mut Inner, asked: Option<Duration>) {
        let share = LEAST_SHARE + (1.0 - LEAST_SHARE) * random_share();
        let pause = inner.pause.min(inner.longest).mul_f64(share);
        let asked = asked.unwrap_or_default();
        let until = Instant::now() + pause.max(asked.min(inner.longest));
        inner.pause = inner
            .pause
            .saturating_mul(2)
            .min(self.rules.pause_max.get());
        self.go(inner, State::Open { until });
    }

    fn go(&self, inner: &mut Inner, state: State) {
        let before = std::mem::discriminant(&inner.state);
        inner.state = state;
        let now = clock::unix_millis();
        if before != std::mem::discriminant(&state) {
            self.metrics.since.set(now);
        }
        let next_probe = match state {
            State::Open { until } => {
                let ahead = until.saturating_duration_since(Instant::now()).as_millis();
                now.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
            }
            State::Closed { .. } | State::HalfOpen => 0,
        };
        self.metrics.next_probe.set(next_probe);
        let shown = match state {
            State::Closed { .. } => BreakerState::Closed,
            State::HalfOpen => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        };
        self.metrics.state.set(shown as u64);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Whether it is the one attempt of a half-open breaker.
    pub(in crate::pipeline) fn is_probe(&self) -> bool {
        self.probe
    }

    /// The upstream said for how long it wants to be left alone (`Retry-After`).
    pub(in crate::pipeline) fn asked_to_wait(&mut self, time: Option<Duration>) {
        self.asked = time;
    }

    /// The attempt has ended.
    pub(in crate::pipeline) fn ended(mut self, verdict: Verdict) {
        match verdict {
            Verdict::Up => self.breaker.up(),
            Verdict::Down => self.breaker.down(self.probe, self.asked),
            Verdict::Unknown => return,
        }
        self.probe = false;
    }
}

/// A probe that did not end leaves the next one to somebody else, at once.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.probe {
            return;
        }
        let mut inner = self.breaker.lock();
        if matches!(inner.state, State::HalfOpen) {
            let until = Instant::now();
            self.breaker.go(&mut inner, State::Open { until });
            drop(inner);
            self.breaker.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::foundation::units::Span;

    const FOREVER: Duration = Duration::from_secs(3600);

    fn breaker(failures: u32) -> Breaker {
        let rules = config::Breaker {
            failures,
            pause_min: Span::secs(1),
            pause_max: Span::secs(4),
        };
        Breaker::new("store", &rules, Arc::default())
    }

    async fn fails(breaker: &Breaker) {
        breaker.pass().await.ended(Verdict::Down);
    }

    fn state(breaker: &Breaker) -> BreakerState {
        breaker.metrics.breaker()
    }

    /// How long it takes until the next attempt, in tenths of seconds.
    async fn next(breaker: &Breaker) -> (u128, Pass<'_>) {
        let from = Instant::now();
        let pass = breaker.pass().await;
        (from.elapsed().as_millis() / 100, pass)
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_and_closes_with_a_probe() {
        let breaker = breaker(3);
        for verdict in [Verdict::Down, Verdict::Down, Verdict::Up] {
            breaker.pass().await.ended(verdict);
        }
        fails(&breaker).await;
        fails(&breaker).await;
        breaker.pass().await.ended(Verdict::Unknown);
        assert_eq!(state(&breaker), BreakerState::Closed, "not in a row");
        fails(&breaker).await;
        assert_eq!(state(&breaker), BreakerState::Open);
        for pauses in [8..=10, 16..=20, 32..=40, 32..=40] {
            let (waited, probe) = next(&breaker).await;
            assert!(probe.is_probe() && pauses.contains(&waited), "{waited}");
            assert_eq!(state(&breaker), BreakerState::HalfOpen);
            probe.ended(Verdict::Down);
        }
        let (_, probe) = next(&breaker).await;
        probe.ended(Verdict::Up);
        assert_eq!(state(&breaker), BreakerState::Closed);
        assert_eq!(breaker.metrics.opened.get(), 1);
        assert_eq!(breaker.metrics.probes.get(), 5);
        for _ in 0..3 {
            fails(&breaker).await;
        }
        let (waited, probe) = next(&breaker).await;
        assert!((8..=10).contains(&waited), "pauses begin anew: {waited}");
        probe.ended(Verdict::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_attempt_is_made_while_it_is_half_open_and_the_others_go_on_after_it() {
        let breaker = Arc::new(breaker(1));
        fails(&breaker).await;
        let probe = breaker.pass().await;
        let tasks = TaskTracker::new();
        let others: Vec<_> = (0..5)
            .map(|_| {
                let breaker = Arc::clone(&breaker);
                tasks.spawn(async move { breaker.pass().await.is_probe() })
            })
            .collect();
        tokio::time::sleep(FOREVER).await;
        assert!(others.iter().all(|other| !other.is_finished()));
        probe.ended(Verdict::Up);
        for other in others {
            assert!(!other.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_is_made_by_another_at_once() {
        let breaker = breaker(1);
        fails(&breaker).await;
        drop(breaker.pass().await);
        assert_eq!(state(&breaker), BreakerState::Open);
        let (waited, probe) = next(&breaker).await;
        assert!(probe.is_probe());
        assert_eq!(waited, 0);
        probe.ended(Verdict::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_asks_for_a_pause_gets_it_within_the_longest_one() {
        for (asked, tenths) in [(0, 8..=10), (3, 30..=31), (3600, 40..=41)] {
            let breaker = breaker(1);
            let mut pass = breaker.pass().await;
            pass.asked_to_wait(Some(Duration::from_secs(asked)));
            pass.ended(Verdict::Down);
            let (waited, probe) = next(&breaker).await;
            assert!(tenths.contains(&waited), "{asked} s: {waited}");
            probe.ended(Verdict::Up);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_is_at_can_be_read() {
        let breaker = breaker(2);
        fails(&breaker).await;
        let cells = &breaker.metrics;
        assert_eq!((cells.failures.get(), cells.since.get()), (1, 0));
        fails(&breaker).await;
        assert_eq!(cells.failures.get(), 2);
        let since = cells.since.get();
        let ahead = cells.next_probe.get() - since;
        assert!((700..=1100).contains(&ahead), "{ahead}");
        let (_, probe) = next(&breaker).await;
        assert_eq!(cells.next_probe.get(), 0);
        probe.ended(Verdict::Up);
        assert_eq!((cells.failures.get(), cells.next_probe.get()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_an_earlier_attempt_closes_it_and_an_earlier_failure_does_not_count() {
        let breaker = breaker(1);
        let (early, late) = (breaker.pass().await, breaker.pass().await);
        fails(&breaker).await;
        early.ended(Verdict::Down);
        let (waited, probe) = next(&breaker).await;
        assert!((8..=10).contains(&waited), "{waited}");
        late.ended(Verdict::Up);
        assert!(breaker.is_closed());
        probe.ended(Verdict::Up);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waits_no_longer_than_it_may_and_zero_failures_never_open_it() {
        let stopping = Arc::new(breaker(1));
        fails(&stopping).await;
        let waiting = Arc::clone(&stopping);
        let waited = TaskTracker::new().spawn(async move {
            let (waited, probe) = next(&waiting).await;
            probe.ended(Verdict::Down);
            waited
        });
        tokio::task::yield_now().await;
        stopping.hurry(Duration::from_millis(200));
        assert_eq!(waited.await.unwrap(), 2);
        let (waited, probe) = next(&stopping).await;
        assert!(waited <= 2, "{waited}");
        probe.ended(Verdict::Up);
        let never = breaker(0);
        for _ in 0..100 {
            fails(&never).await;
        }
        assert!(never.is_closed());
    }
}
