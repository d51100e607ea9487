//! Room for new connections when there are as many as may be.
//!
//! Promise: as long as a new connection waits for a place, others give way, one every
//! [`PACE`] for each that waits: the one that has been refused again and again the longest
//! (`refusals`), then the one that has stood idle or silent the longest, then the one whose head has
//! been on its way the longest, the last two not before [`GRACE`]. When there is none such, the oldest
//! is told to end with its next answer. Requests under way are never cut.
//!
//! Bound: an entry for each open connection, and [`AHEAD`] candidates. All entries are looked at once
//! for as many ends as there are candidates, not for each new connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use dashmap::DashMap;
use tokio::time::Instant;

use super::lifetime::{Lifetime, Standing};

/// How long a connection may stand still before it gives way.
const GRACE: Duration = Duration::from_secs(1);
/// Time between two that give way for one that waits: the first may have begun a request meanwhile.
pub(super) const PACE: Duration = Duration::from_millis(100);
/// Candidates that one look over all connections brings.
const AHEAD: usize = 256;

/// All open connections.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    next: AtomicU64,
    lives: DashMap<u64, Arc<Lifetime>, foldhash::quality::RandomState>,
    /// Who gives way next, the next one last.
    candidates: Mutex<Vec<Weak<Lifetime>>>,
}

/// An open connection's entry, until it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    crowd: Arc<Crowd>,
    key: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.crowd.lives.remove(&self.key);
    }
}

impl Crowd {
    /// Enters a connection among those that may be asked to give way.
    pub(super) fn enter(self: &Arc<Self>, life: &Arc<Lifetime>) -> Entry {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.lives.insert(key, Arc::clone(life));
        Entry {
            crowd: Arc::clone(self),
            key,
        }
    }

    /// Asks one connection to give way, if one can.
    pub(super) fn make_room(&self) {
        let before = Instant::now().checked_sub(GRACE);
        let Some(before) = before else { return };
        let mut candidates = self
            .candidates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            while let Some(candidate) = candidates.pop() {
                if candidate
                    .upgrade()
                    .is_some_and(|life| life.give_way(before))
                {
                    return;
                }
            }
            *candidates = self.stalled(before);
        }
        drop(candidates);
        self.retire_oldest(before);
    }

    /// Those that have stood still since before then, the longest last: heads, then silent ones; and
    /// behind them all whose answers are held back.
    fn stalled(&self, before: Instant) -> Vec<Weak<Lifetime>> {
        let mut all: Vec<_> = self
            .lives
            .iter()
            .filter_map(|entry| {
                let (rank, since) = match entry.value().standing() {
                    Standing::Refused(since) => (0, since),
                    Standing::Still(since) => (1, since),
                    Standing::Head(since) => (2, since),
                    Standing::Busy => return None,
                };
                let may = rank == 0 || since <= before;
                may.then(|| (rank, since, Arc::downgrade(entry.value())))
            })
            .collect();
        all.sort_unstable_by_key(|(rank, since, _)| (*rank, *since));
        all.truncate(AHEAD);
        all.into_iter().rev().map(|(_, _, life)| life).collect()
    }

    /// The oldest connection that has not been told so ends with its next answer.
    fn retire_oldest(&self, before: Instant) {
        let oldest = self
            .lives
            .iter()
            .filter(|entry| entry.value().may_go_on() && entry.value().born() <= before)
            .map(|entry| Arc::clone(entry.value()))
            .min_by_key(|life| life.born());
        if let Some(life) = oldest {
            life.retire_for_others();
        }
    }
}
