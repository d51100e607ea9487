//! The answer to a refused request is held back, when its client is refused again and again.
//!
//! Who is refused and asks again at once has its next turn as soon as everybody else had theirs, and
//! ten thousand of them make a good request wait behind all of theirs. Here each gets one refusal
//! for each wait instead.
//!
//! Promise: only refusals that are the client's doing wait (`front::Verdict`), and only after
//! [`FREE`] of them in a row on one connection; what was taken is answered at once, and ends the row.
//! On one connection they leave one after the other, each after a wait that doubles from [`FIRST`] to
//! `ingest.refusal_delay`. When answers wait on more than [`CROWD`] connections of the node, each waits longer in proportion,
//! up to [`LONGEST`] times, from its first refusal on: however many clients are refused, so many answers leave in a second and no
//! more, and those of good clients have room between them. A connection whose network was refused more than [`NETWORK_FREE`] times,
//! less one for each second, begins where that has led to. The request is over by then: its turn, its
//! place and its memory are given back, only its answer is kept. A stop ends all waits, and a
//! connection with nothing but such waits is the first to give way to others (`crowd`).
//!
//! Bound: one answer for each request that the connection may have under way: one of HTTP/1,
//! `max_concurrent_streams` of HTTP/2. A client that gives up [`GIVEN_UP`] of them is closed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::lifetime::Lifetime;
use super::prefixes::Slot;
use crate::front::{Reply, Verdict};
use crate::telemetry::EdgeMetrics;

/// Refusals in a row that are answered at once: an expired token, and events that were under way
/// with it.
const FREE: u32 = 4;
/// The first wait.
const FIRST: Duration = Duration::from_millis(10);
/// Refusals of a network beyond one each second that do not count for its next connections: many
/// clients may share an address, and some of them have old tokens.
const NETWORK_FREE: u32 = 32;
/// Connections with answers that wait, before each waits longer: one client may have many of them on one.
const CROWD: u64 = 1000;
/// The most that a wait grows by how many others wait.
const LONGEST: u64 = 8;
/// Answers that a client of HTTP/2 may give up while they wait, before it has something taken.
const GIVEN_UP: u32 = 32;

/// What one connection, and its network before it, were refused.
#[derive(Debug)]
pub(super) struct Refusals {
    /// The place of the connection in its network, held until it ends.
    slot: Slot,
    /// The longest wait. Zero: none.
    most: Duration,
    /// Refusals in a row.
    row: AtomicU32,
}

impl Refusals {
    /// Of a new connection.
    pub(super) fn new(slot: Slot, most: Duration) -> Self {
        let before = slot.refusals().saturating_sub(NETWORK_FREE);
        Self {
            slot,
            most,
            row: AtomicU32::new(before),
        }
    }

    /// Notes what a request is answered: how long the answer is to wait, while so many connections
    /// have some that do.
    pub(super) fn note(&self, reply: &Reply, life: &Lifetime, others: u64) -> Duration {
        let row = self.row.load(Ordering::Relaxed);
        // Nearly always.
        if self.most.is_zero() || (row == 0 && reply.status().is_success()) {
            return Duration::ZERO;
        }
        match Verdict::of(reply) {
            Verdict::Neither => Duration::ZERO,
            Verdict::Taken => {
                self.row.store(0, Ordering::Relaxed);
                life.forgives();
                Duration::ZERO
            }
            Verdict::Refused => {
                self.slot.refused();
                self.row.store(row.saturating_add(1), Ordering::Relaxed);
                // None are free in a crowd.
                let row = if others > CROWD { row.max(FREE) } else { row };
                among(wait_after(row, self.most), others)
            }
        }
    }
}

/// Holds an answer back. Ends early when the connection is to end.
pub(super) async fn hold_back(wait: Duration, life: &Lifetime, metrics: &EdgeMetrics) {
    let Some((until, first)) = life.holds_back(spread(wait)) else {
        return;
    };
    metrics.refusals_delayed.inc();
    metrics.refusals_waiting.add(1);
    metrics.connections_refused.add(u64::from(first));
    let mut held = Held {
        life,
        metrics,
        given_up: true,
    };
    tokio::select! {
        () = sleep_until(until) => {}
        () = life.hurried() => {}
    }
    held.given_up = false;
}

/// An answer that is held back.
struct Held<'a> {
    life: &'a Lifetime,
    metrics: &'a EdgeMetrics,
    given_up: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.metrics.refusals_waiting.sub(1);
        let last = self.life.lets_go(self.given_up);
        self.metrics.connections_refused.sub(u64::from(last));
    }
}

/// How long a refusal waits that comes after so many in a row.
fn wait_after(row: u32, most: Duration) -> Duration {
    match row.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(doublings) => FIRST.saturating_mul(1 << doublings.min(16)).min(most),
    }
}

/// How long an answer waits while others do on so many connections.
fn among(wait: Duration, others: u64) -> Duration {
    let crowd = u128::from(others.clamp(CROWD, LONGEST * CROWD));
    let micros = wait.as_micros().saturating_mul(crowd) / u128::from(CROWD);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Between half of a wait and all of it: who was refused together does not come back together.
fn spread(wait: Duration) -> Duration {
    // Steps of the golden ratio lie evenly, however many there are.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    static LAST: AtomicU64 = AtomicU64::new(0);
    let step = LAST.fetch_add(STEP, Ordering::Relaxed) >> 32;
    let part = f64::from(u32::try_from(step).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    let half = wait / 2;
    half + half.mul_f64(part)
}

/// Refusals that are counted of a network: from there on its new connections wait the longest from
/// their first refusal. 0 when none wait.
pub(super) fn counted_of_network(most: Duration) -> u32 {
    if most.is_zero() {
        return 0;
    }
    let row = (FREE..).find(|row| wait_after(*row, most) == most);
    NETWORK_FREE + row.unwrap_or(FREE)
}

/// The answers of one connection that are held back.
#[derive(Debug)]
pub(super) struct Waiting {
    count: u32,
    /// Since the first of this row.
    since: Option<Instant>,
    /// When the last of them leaves.
    last: Instant,
    given_up: u32,
    /// Whether nothing waits any more.
    over: bool,
}

impl Waiting {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            count: 0,
            since: None,
            last: now,
            given_up: 0,
            over: false,
        }
    }

    /// One more: until when it waits, behind the others, and whether there are none.
    pub(super) fn add(&mut self, wait: Duration) -> Option<(Instant, bool)> {
        if self.over {
            return None;
        }
        let now = Instant::now();
        self.count += 1;
        self.since.get_or_insert(now);
        self.last = self.last.max(now) + wait;
        Some((self.last, self.count == 1))
    }

    /// One less: whether it was the last.
    pub(super) fn leave(&mut self, given_up: bool) -> bool {
        self.count = self.count.saturating_sub(1);
        self.given_up = self.given_up.saturating_add(u32::from(given_up));
        self.count == 0
    }

    /// Something of the connection was taken.
    pub(super) fn forgive(&mut self) {
        self.since = None;
        self.given_up = 0;
    }

    /// Nothing waits any more.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// Whether nothing waits any more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Since when nothing else is done, of so many requests under way, than to wait.
    pub(super) fn only_since(&self, in_flight: u32) -> Option<Instant> {
        let only = self.count > 0 && self.count == in_flight && !self.over;
        self.since.filter(|_| only)
    }

    /// Whether its client gives up too many.
    pub(super) fn is_futile(&self) -> bool {
        self.given_up >= GIVEN_UP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_from_the_first_to_the_most() {
        let waits: Vec<u128> = (0..14)
            .map(|row| wait_after(row, MOST).as_millis())
            .collect();
        let expected = [0, 0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000];
        assert_eq!(waits, expected);
        assert_eq!(wait_after(u32::MAX, MOST), MOST);
        let short = Duration::from_millis(3);
        assert_eq!(wait_after(FREE, short), short);
    }

    #[test]
    fn each_waits_longer_when_many_do_and_no_longer_than_eight_times() {
        for (others, wait) in [(0, 1000), (1000, 1000), (1001, 1001), (2500, 2500)] {
            assert_eq!(among(MOST, others), Duration::from_millis(wait));
        }
        for others in [8000, 10_000, u64::MAX] {
            assert_eq!(among(MOST, others), MOST * 8);
        }
        assert_eq!(among(Duration::MAX, 5000), Duration::from_micros(u64::MAX));
    }

    #[test]
    fn a_network_is_counted_to_the_longest_wait_and_no_further() {
        let most = counted_of_network(MOST);
        assert_eq!(wait_after(most - NETWORK_FREE, MOST), MOST);
        assert!(wait_after(most - NETWORK_FREE - 1, MOST) < MOST);
        assert_eq!(counted_of_network(Duration::ZERO), 0);
    }

    #[test]
    fn what_is_spread_lies_between_half_and_all_and_evenly() {
        let mut waits: Vec<Duration> = (0..1000).map(|_| spread(MOST)).collect();
        waits.sort_unstable();
        assert!(waits.iter().all(|wait| *wait >= MOST / 2 && *wait <= MOST));
        // Other tests take steps as well.
        let gaps = waits.iter().zip(waits.iter().skip(1));
        let widest = gaps.map(|(one, next)| *next - *one).max().unwrap();
        assert!(widest < MOST / 50, "{widest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_of_one_connection_leave_one_after_the_other() {
        let now = Instant::now();
        let mut waiting = Waiting::new(now);
        for count in 1..=5 {
            assert_eq!(waiting.add(MOST), Some((now + MOST * count, count == 1)));
        }
        assert_eq!(waiting.only_since(5), Some(now));
        assert_eq!(waiting.only_since(6), None, "one is being answered");
        tokio::time::advance(MOST * 10).await;
        assert_eq!(waiting.add(MOST), Some((now + MOST * 11, false)));
        for left in (0..6).rev() {
            assert!(!waiting.is_futile());
            assert_eq!(waiting.leave(true), left == 0);
        }
        for _ in 6..GIVEN_UP {
            waiting.add(MOST);
            waiting.leave(true);
        }
        assert!(waiting.is_futile());
        waiting.forgive();
        assert!(!waiting.is_futile());
        waiting.end();
        assert_eq!(waiting.add(MOST), None);
    }
}
