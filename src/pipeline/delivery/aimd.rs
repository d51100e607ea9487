//! How many LogGroups of a lane are on their way at once: as many as the store answers well.
//!
//! Promise: at least one and at most the configured number. The limit grows by one with each round of
//! good answers while all of it is in use, and faster until it has first fallen. It is halved when the
//! store says that it has too much to do, breaks or does not answer, and cut by a quarter when answers
//! take much longer than the fastest of the last minutes to LogGroups of like size; each at most once for the attempts that
//! were on their way together.
//! Not here: pauses (`retry`), and when nothing is sent at all (`breaker`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::telemetry::LogstoreMetrics;

/// Where the limit begins.
const START: f64 = 2.0;
/// What is left of it when the store has too much to do.
const HALF: f64 = 0.5;
/// What is left of it when answers are slow.
const SLOWER: f64 = 0.75;
/// Answers are slow when they take so many times the fastest, and so much longer than it.
const SLOW_TIMES: u32 = 4;
const SLOW_BY: Duration = Duration::from_millis(500);
/// The fastest answer is forgotten after two of these.
const FLOOR_AGE: Duration = Duration::from_secs(60);

/// Classes of sizes that are compared with each other, each eight times the one before.
const SIZES: usize = 8;

/// What an attempt says of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Sign {
    /// It answered, whatever it said.
    Well,
    /// It has too much to do, broke, or did not answer.
    Congested,
    /// All logstores of the project together are over its quota.
    ProjectQuota,
    /// Nothing.
    None,
}

/// The arithmetic, with the time as an argument.
#[derive(Debug)]
struct Aimd {
    limit: f64,
    most: f64,
    /// It has fallen before.
    fell: Option<Instant>,
    /// By the size of what was sent: large LogGroups take their time.
    floors: [Floor; SIZES],
}

/// The fastest answer of the last one or two spans of [`FLOOR_AGE`].
#[derive(Debug, Default)]
struct Floor {
    since: Option<Instant>,
    now: Option<Duration>,
    before: Option<Duration>,
}

impl Floor {
    fn add(&mut self, took: Duration, at: Instant) {
        match self.since {
            Some(since) if at.duration_since(since) < FLOOR_AGE => {}
            _ => {
                self.before = self.now.take();
                self.since = Some(at);
            }
        }
        self.now = Some(self.now.map_or(took, |fastest| fastest.min(took)));
    }

    fn get(&self) -> Option<Duration> {
        let both = [self.now, self.before];
        both.into_iter().flatten().min()
    }
}

impl Aimd {
    fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        Self {
            limit: START.min(most),
            most,
            fell: None,
            floors: Default::default(),
        }
    }

    /// Attempts that may be on their way.
    fn allowed(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 to 1024, and whole is what is wanted"
        )]
        let allowed = self.limit as usize;
        allowed.max(1)
    }

    /// An attempt with so many bytes ended; `full`: the limit was in use when it began.
    fn ended(&mut self, sign: Sign, bytes: usize, (began, now): (Instant, Instant), full: bool) {
        let took = now.duration_since(began);
        match sign {
            Sign::None => {}
            Sign::Congested | Sign::ProjectQuota => self.fall(HALF, began, now),
            Sign::Well => {
                let class = (usize::BITS - bytes.leading_zeros()) as usize / 3;
                let slow = self
                    .floors
                    .get_mut(class.min(SIZES - 1))
                    .is_some_and(|floor| {
                        let fastest = floor.get();
                        floor.add(took, now);
                        fastest.is_some_and(|fastest| {
                            took > fastest.saturating_mul(SLOW_TIMES) && took > fastest + SLOW_BY
                        })
                    });
                if slow {
                    self.fall(SLOWER, began, now);
                } else if full {
                    let step = match self.fell {
                        None => 1.0,
                        Some(_) => 1.0 / self.limit,
                    };
                    self.limit = (self.limit + step).min(self.most);
                }
            }
        }
    }

    /// Falls, unless it has fallen since the attempt began: that one was sent by the old limit.
    fn fall(&mut self, to: f64, began: Instant, now: Instant) {
        if self.fell.is_none_or(|fell| began >= fell) {
            self.limit = (self.limit * to).max(1.0);
            self.fell = Some(now);
        }
    }
}

/// The limit of one lane, and who waits for it.
#[derive(Debug)]
pub(in crate::pipeline) struct Concurrency {
    state: Mutex<State>,
    slots: Arc<Semaphore>,
    metrics: Arc<LogstoreMetrics>,
}

#[derive(Debug)]
struct State {
    aimd: Aimd,
    /// Slots that exist, taken or not. Above what is allowed for a while after a fall.
    slots: usize,
}

/// The right to make an attempt.
#[derive(Debug)]
pub(in crate::pipeline) struct Slot<'a> {
    lane: &'a Concurrency,
    permit: Option<OwnedSemaphorePermit>,
    full: bool,
}

impl Concurrency {
    /// For at most `most` attempts at once.
    pub(in crate::pipeline) fn new(most: u32, metrics: Arc<LogstoreMetrics>) -> Self {
        let aimd = Aimd::new(most);
        let slots = aimd.allowed();
        metrics.delivery.concurrency.set(slots as u64);
        Self {
            state: Mutex::new(State { aimd, slots }),
            slots: Arc::new(Semaphore::new(slots)),
            metrics,
        }
    }

    /// Waits for a slot; first come, first served.
    ///
    /// # Cancel safety
    /// Safe, but the place in the row is lost.
    pub(in crate::pipeline) async fn slot(&self) -> Slot<'_> {
        // It is never closed.
        let permit = Arc::clone(&self.slots).acquire_owned().await.ok();
        Slot {
            full: self.slots.available_permits() == 0,
            lane: self,
            permit,
        }
    }

    /// Makes as many slots as are allowed. Those that are taken go when they are given back.
    fn settle(&self, state: &mut State) {
        let allowed = state.aimd.allowed();
        if state.slots < allowed {
            self.slots.add_permits(allowed - state.slots);
            state.slots = allowed;
        } else {
            state.slots -= self.slots.forget_permits(state.slots - allowed);
        }
        self.metrics.delivery.concurrency.set(allowed as u64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// The attempt with so many bytes that began then has ended.
    pub(in crate::pipeline) fn ended(&self, sign: Sign, bytes: usize, began: Instant) {
        let mut state = self.lane.lock();
        let times = (began, Instant::now());
        state.aimd.ended(sign, bytes, times, self.full);
        self.lane.settle(&mut state);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut state = self.lane.lock();
        let over = state.slots > state.aimd.allowed();
        if let (true, Some(permit)) = (over, self.permit.take()) {
            // Given back, it would go to the next who waits.
            permit.forget();
            state.slots -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(50);

    /// A round of attempts that use the limit and all end with `sign` after `took`.
    fn round(aimd: &mut Aimd, at: &mut Instant, sign: Sign, took: Duration) -> usize {
        let began = *at;
        *at += took;
        for _ in 0..aimd.allowed() {
            aimd.ended(sign, 1000, (began, *at), true);
        }
        aimd.allowed()
    }

    fn started(most: u32) -> (Aimd, Instant) {
        (Aimd::new(most), Instant::now())
    }

    #[test]
    fn it_grows_to_the_bound_while_it_is_full_and_answers_are_good() {
        let (mut aimd, mut at) = started(10);
        assert_eq!(aimd.allowed(), 2);
        let grown: Vec<_> = (0..4)
            .map(|_| round(&mut aimd, &mut at, Sign::Well, TICK))
            .collect();
        assert_eq!(grown, [4, 8, 10, 10]);
        let (mut aimd, at) = started(10);
        for _ in 0..100 {
            aimd.ended(Sign::Well, 1000, (at, at + TICK), false);
        }
        assert_eq!(aimd.allowed(), 2, "what is not used does not grow");
        assert_eq!(Aimd::new(1).allowed(), 1);
    }

    #[test]
    fn a_round_of_failures_halves_it_once_and_one_is_always_left() {
        let (mut aimd, mut at) = started(16);
        for _ in 0..4 {
            round(&mut aimd, &mut at, Sign::Well, TICK);
        }
        let fallen: Vec<_> = (0..6)
            .map(|_| round(&mut aimd, &mut at, Sign::Congested, TICK))
            .collect();
        assert_eq!(fallen, [8, 4, 2, 1, 1, 1]);
        let grown: Vec<_> = (0..4)
            .map(|_| round(&mut aimd, &mut at, Sign::Well, TICK))
            .collect();
        assert_eq!(grown, [2, 2, 3, 4], "by one a round from then on");
    }

    #[test]
    fn answers_much_slower_than_the_fastest_cut_it() {
        let (mut aimd, mut at) = started(16);
        for _ in 0..4 {
            round(&mut aimd, &mut at, Sign::Well, TICK);
        }
        assert_eq!(
            round(&mut aimd, &mut at, Sign::Well, 9 * TICK),
            16,
            "not by half a second"
        );
        assert_eq!(round(&mut aimd, &mut at, Sign::Well, 20 * TICK), 12);
        assert_eq!(round(&mut aimd, &mut at, Sign::Well, 20 * TICK), 9);
    }

    #[test]
    fn a_store_that_has_become_slower_for_good_is_believed_after_a_while() {
        let (mut aimd, mut at) = started(4);
        round(&mut aimd, &mut at, Sign::Well, TICK);
        for _ in 0..200 {
            round(&mut aimd, &mut at, Sign::Well, Duration::from_secs(1));
        }
        assert_eq!(aimd.allowed(), 4);
    }

    #[test]
    fn large_groups_are_compared_with_large_ones() {
        let (mut aimd, at) = started(4);
        let times = |took| (at, at + took);
        aimd.ended(Sign::Well, 500, times(TICK), true);
        aimd.ended(Sign::Well, 500_000, times(40 * TICK), true);
        assert_eq!(aimd.allowed(), 4);
        aimd.ended(Sign::Well, usize::MAX, times(TICK), true);
        aimd.ended(Sign::Well, usize::MAX, times(40 * TICK), true);
        assert_eq!(aimd.allowed(), 3);
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        let (mut aimd, mut at) = started(4);
        round(&mut aimd, &mut at, Sign::None, TICK);
        assert_eq!(aimd.allowed(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn slots_follow_the_limit_and_none_is_lost() {
        let metrics = Arc::<LogstoreMetrics>::default();
        let lane = Concurrency::new(8, Arc::clone(&metrics));
        let gauge = || metrics.delivery.concurrency.get();
        let began = Instant::now();
        let (a, b) = (lane.slot().await, lane.slot().await);
        assert!(!a.full && b.full);
        let soon = tokio::time::timeout(TICK, lane.slot()).await;
        assert!(soon.is_err(), "two at first");
        b.ended(Sign::Well, 1000, began);
        drop(b);
        assert_eq!(gauge(), 3);
        let taken = [lane.slot().await, lane.slot().await];
        assert_eq!(lane.slots.available_permits(), 0);
        tokio::time::advance(TICK).await;
        a.ended(Sign::Congested, 1000, began);
        assert_eq!(gauge(), 1);
        drop(a);
        assert!(
            tokio::time::timeout(TICK, lane.slot()).await.is_err(),
            "two are still taken"
        );
        drop(taken);
        assert_eq!(lane.slots.available_permits(), 1);
        drop(lane.slot().await);
        assert_eq!(lane.slots.available_permits(), 1);
    }
}
