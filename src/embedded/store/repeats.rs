//! LogGroups that came again: a sender whose answer was lost sends the same one once more.
//!
//! Promise: of what is stored, each LogGroup with a pack id of the last `window` is known again by its
//! content, also after a crash: the prints stand in the heads of the LogGroups, and are read from there
//! when the store is opened. What is remembered is bounded: past [`MOST`] the oldest are forgotten before
//! their time, counted, and come in twice.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use fjall::PersistMode;
use sha2::{Digest as _, Sha256};

use super::StoreError;
use super::database::Tables;
use super::keys::{self, Head, Print};
use crate::telemetry::EmbeddedMetrics;

/// LogGroups of all logstores that are remembered: some 10 MiB.
pub(super) const MOST: usize = 1 << 17;

/// The print of a LogGroup in wire form. Who can make two with the same one has broken SHA-256.
pub(in crate::embedded) fn print_of(plain: &[u8]) -> Print {
    let digest = Sha256::digest(plain);
    digest.first_chunk().copied().unwrap_or_default()
}

/// A LogGroup of a logstore.
type Known = (u32, Print);

/// What is remembered of LogGroups. Without a window: nothing.
#[derive(Debug)]
pub(super) struct Repeats {
    /// Seconds since receipt.
    window: u64,
    known: HashSet<Known>,
    /// By the time of receipt, the earliest first.
    order: VecDeque<(u64, Known)>,
    metrics: Arc<EmbeddedMetrics>,
}

impl Repeats {
    /// Of what is stored. What it knows is on the disk, since a repeat is answered as if it were written.
    pub(super) fn load(
        tables: &Tables,
        window: u64,
        now: u64,
        metrics: &Arc<EmbeddedMetrics>,
    ) -> Result<Self, StoreError> {
        let mut repeats = Self {
            window,
            known: HashSet::new(),
            order: VecDeque::new(),
            metrics: Arc::clone(metrics),
        };
        if window == 0 {
            return Ok(repeats);
        }
        tables.database.persist(PersistMode::SyncAll)?;
        let mut found = Vec::new();
        for entry in tables.heads.iter() {
            let (key, value) = entry.into_inner()?;
            let head = Head::decode(&value).ok_or(StoreError::Damaged)?;
            let Some(print) = head.print.filter(|_| repeats.is_fresh(head.received, now)) else {
                continue;
            };
            let logstore = keys::logstore(&key).ok_or(StoreError::Damaged)?;
            found.push((head.received, (logstore, print)));
            if found.len() >= 2 * MOST {
                repeats.keep_newest(&mut found);
            }
        }
        repeats.keep_newest(&mut found);
        for (received, known) in found {
            repeats.remember(received, known);
        }
        Ok(repeats)
    }

    /// Whether this LogGroup came before. If not, it is known from now on.
    pub(super) fn is_repeat(&mut self, logstore: u32, head: &Head) -> bool {
        let Some(print) = head.print.filter(|_| self.window > 0) else {
            return false;
        };
        while let Some((received, known)) = self.order.front().copied() {
            if self.is_fresh(received, head.received) {
                break;
            }
            self.known.remove(&known);
            self.order.pop_front();
        }
        let known = (logstore, print);
        if self.known.contains(&known) {
            self.metrics.repeats_dropped.inc();
            return true;
        }
        self.remember(head.received, known);
        false
    }

    fn remember(&mut self, received: u64, known: Known) {
        if self.order.len() >= MOST
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
            self.metrics.repeats_forgotten.inc();
        }
        if self.known.insert(known) {
            self.order.push_back((received, known));
        }
    }

    /// Sorts by time, and leaves no more than may be remembered.
    fn keep_newest(&self, found: &mut Vec<(u64, Known)>) {
        found.sort_unstable_by_key(|(received, _)| *received);
        let too_many = found.len().saturating_sub(MOST);
        found.drain(..too_many);
        self.metrics.repeats_forgotten.add(too_many as u64);
    }

    fn is_fresh(&self, received: u64, now: u64) -> bool {
        now.saturating_sub(received) <= self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeats(window: u64) -> Repeats {
        Repeats {
            window,
            known: HashSet::new(),
            order: VecDeque::new(),
            metrics: Arc::default(),
        }
    }

    fn head(number: u64, received: u64) -> Head {
        Head {
            received,
            events: 1,
            raw_bytes: 1,
            stored_bytes: 1,
            first_time: 1,
            last_time: 1,
            print: Some(print_of(&number.to_be_bytes())),
        }
    }

    #[test]
    fn a_repeat_is_known_in_its_logstore_and_within_the_window() {
        let mut repeats = repeats(60);
        assert!(!repeats.is_repeat(1, &head(7, 1000)));
        assert!(!repeats.is_repeat(2, &head(7, 1000)), "another logstore");
        assert!(repeats.is_repeat(1, &head(7, 1060)));
        assert!(!repeats.is_repeat(1, &head(7, 1061)), "too late");
        assert!(repeats.is_repeat(1, &head(7, 1061)));
        let unmarked = Head {
            print: None,
            ..head(7, 1061)
        };
        assert!(!repeats.is_repeat(1, &unmarked), "no pack id");
        assert_eq!(repeats.metrics.repeats_dropped.get(), 2);
        assert_eq!(repeats.metrics.repeats_forgotten.get(), 0);
    }

    #[test]
    fn past_its_bound_the_oldest_are_forgotten_and_counted() {
        let mut repeats = repeats(60);
        for number in 0..=MOST as u64 {
            assert!(!repeats.is_repeat(1, &head(number, 1000)));
        }
        assert_eq!((repeats.order.len(), repeats.known.len()), (MOST, MOST));
        assert_eq!(repeats.metrics.repeats_forgotten.get(), 1);
        assert!(repeats.is_repeat(1, &head(1, 1000)));
        assert!(!repeats.is_repeat(1, &head(0, 1000)), "forgotten");
    }
    #[test]
    fn what_is_too_much_when_the_store_is_opened_is_counted_as_well() {
        let repeats = repeats(60);
        let group = |number: u64| (number, (1, print_of(&number.to_be_bytes())));
        let mut found: Vec<_> = (0..MOST as u64 + 3).rev().map(group).collect();
        repeats.keep_newest(&mut found);
        assert_eq!(found.len(), MOST);
        assert_eq!(found.first(), Some(&group(3)), "the oldest are forgotten");
        assert_eq!(repeats.metrics.repeats_forgotten.get(), 3);
        repeats.keep_newest(&mut found);
        assert_eq!(repeats.metrics.repeats_forgotten.get(), 3);
    }
}
