//! Counts that every request adds to, of several threads at once.
//!
//! Promise: they are exact, and whoever reads after a thread has counted sees it. A thread has cells that
//! nobody else writes, on cache lines of their own, and adds to them by a plain load and store: an atomic
//! addition to a cell of all threads costs some twenty cycles, and several times as much where another one
//! has the line.
//!
//! Only for what all requests count: each is [`OWNERS`] + 1 rows, where a [`Counter`](super::Counter) is a
//! word. What is counted for each logstore stays so, and stands together (`LogstoreMetrics`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Threads that have cells of their own at once: the first that count. Further ones share cells, which
/// they add to atomically.
const OWNERS: usize = 16;

/// Which of [`OWNERS`] places threads have: a bit for each.
static TAKEN: Mutex<u16> = Mutex::new(0);

/// The place of a thread among the rows. The next one that gets it sees what this one has counted, since
/// both have held the lock.
struct Place(usize);

impl Place {
    fn take() -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let place = taken.trailing_ones();
        *taken |= 1_u16.checked_shl(place).unwrap_or_default();
        Self(place as usize)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let place = u32::try_from(self.0).unwrap_or(u32::MAX);
        *taken &= !1_u16.checked_shl(place).unwrap_or_default();
    }
}

thread_local! {
    static PLACE: Place = Place::take();
}

/// The cells of one thread. Two lines, since processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Row<const N: usize>([AtomicU64; N]);

/// Numbers that only grow, indexed by an enum.
#[derive(Debug)]
pub struct Tally<const N: usize = 1>(Box<[Row<N>]>);

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        let row = || Row(std::array::from_fn(|_| AtomicU64::new(0)));
        Self(std::iter::repeat_with(row).take(OWNERS + 1).collect())
    }
}

impl<const N: usize> Tally<N> {
    /// The number at `index`; past the end, the last.
    #[must_use]
    pub fn at(&self, index: usize) -> Tallied<'_, N> {
        Tallied(self, index.min(N - 1))
    }
}

impl Tally {
    /// Adds one.
    pub fn inc(&self) {
        self.at(0).inc();
    }

    /// The sum so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.at(0).get()
    }
}

/// One number of a [`Tally`].
#[derive(Clone, Copy, Debug)]
pub struct Tallied<'a, const N: usize>(&'a Tally<N>, usize);

impl<const N: usize> Tallied<'_, N> {
    /// Adds one.
    pub fn inc(self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(self, count: u64) {
        // Of a thread that is ending: it has given its place back.
        let place = PLACE.try_with(|place| place.0).unwrap_or(OWNERS);
        let Some(cell) = self.0.0.get(place).and_then(|row| row.0.get(self.1)) else {
            return;
        };
        if place < OWNERS {
            let before = cell.load(Ordering::Relaxed);
            cell.store(before.wrapping_add(count), Ordering::Relaxed);
        } else {
            cell.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The sum so far.
    #[must_use]
    pub fn get(self) -> u64 {
        let cells = self.0.0.iter().filter_map(|row| row.0.get(self.1));
        cells.map(|cell| cell.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn threads_at_once_and_after_each_other_lose_no_count() {
        const THREADS: usize = 2 * OWNERS + 3;
        let (tally, all_here) = (Tally::<3>::default(), Barrier::new(THREADS));
        for round in 1..=3 {
            std::thread::scope(|scope| {
                for thread in 0..THREADS {
                    let (tally, all_here) = (&tally, &all_here);
                    scope.spawn(move || {
                        tally.at(0).inc();
                        // More than have places of their own are here at once.
                        all_here.wait();
                        for _ in 0..5_000 {
                            tally.at(1).inc();
                            tally.at(2 + thread).add(2);
                        }
                    });
                }
            });
            let threads = round * THREADS as u64;
            let counts = [0, 1, 2].map(|index| tally.at(index).get());
            assert_eq!(counts, [threads, 5_000 * threads, 10_000 * threads]);
        }
    }

    #[test]
    fn what_was_counted_is_seen_by_whoever_is_told_of_it() {
        let tally = Tally::default();
        let (told, heard) = std::sync::mpsc::sync_channel(0);
        std::thread::scope(|scope| {
            let tally = &tally;
            scope.spawn(move || {
                for count in 1..=1_000_u64 {
                    tally.inc();
                    told.send(count).unwrap();
                }
            });
            for count in heard {
                assert!(tally.get() >= count);
            }
        });
        assert_eq!(tally.get(), 1_000);
    }
}
