//! What is remembered of networks for a short time: how fast they open connections, and how often
//! their requests were refused.
//!
//! Bound: a table of [`NETWORKS`] places, taken once. A place is given to another network when what it
//! says has lapsed: as soon as the rate of connections has room for a whole burst, and a second for
//! each refusal after the last one. A network that finds no place is not remembered: it may open
//! connections as it likes, and is answered at once until it is refused on one of them.

use std::hash::BuildHasher;

use tokio::time::Instant;

use super::refusals;
use crate::config::Ingest;
use crate::gate::quota::{Factor, Now, Place, Rate, Table, Window};

/// Networks that are remembered at once; at three words each.
const NETWORKS: u32 = 1 << 16;
/// Nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// Which word of a network.
#[derive(Clone, Copy, Debug)]
enum Word {
    Connections,
    Refusals,
}

/// The record of all networks.
#[derive(Debug)]
pub(super) struct Record {
    table: Table,
    seed: foldhash::quality::RandomState,
    born: Instant,
    /// Connections, where they have a rate.
    connections: Option<Window>,
    /// Refusals, where they are held back. One is forgotten each second.
    refusals: Option<Window>,
}

/// A network opens connections faster than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFast;

impl Record {
    /// A record, or none where it would not be asked.
    pub(super) fn new(ingest: &Ingest) -> Option<Self> {
        Self::of(ingest, NETWORKS)
    }

    fn of(ingest: &Ingest, networks: u32) -> Option<Self> {
        let rate = u64::from(ingest.connection_rate_per_prefix);
        let burst = rate.max(ingest.max_connections_per_prefix.into());
        let connections = (rate > 0).then(|| Window::Rate(Rate::new(rate, SECOND, burst)));
        let most = refusals::counted_of_network(ingest.refusal_delay.get());
        let refusals = (most > 0).then(|| Window::Rate(Rate::new(1, SECOND, most.into())));
        if connections.is_none() && refusals.is_none() {
            return None;
        }
        Some(Self {
            table: Table::new(networks, 2),
            seed: foldhash::quality::RandomState::default(),
            born: Instant::now(),
            connections,
            refusals,
        })
    }

    /// A network opens a connection.
    ///
    /// # Errors
    /// When it has opened too many lately. This one does not count then.
    pub(super) fn connects(&self, network: u128) -> Result<(), TooFast> {
        let Some(rate) = &self.connections else {
            return Ok(());
        };
        let charged = self.charge(network, Word::Connections, rate);
        charged.then_some(()).ok_or(TooFast)
    }

    /// A request of a network was refused.
    pub(super) fn refused(&self, network: u128) {
        if let Some(count) = &self.refusals {
            // At the most that is counted it stays.
            self.charge(network, Word::Refusals, count);
        }
    }

    /// Refusals of a network that are not forgotten yet.
    pub(super) fn refusals(&self, network: u128) -> u32 {
        let Some(count) = &self.refusals else {
            return 0;
        };
        let used = self.with(network, |place, now| match place {
            Place::Known(words) => {
                let word = words.get(Word::Refusals as usize).copied();
                let room = count.room(word.unwrap_or(0), Factor::ONE, now);
                room.most.saturating_sub(room.remaining)
            }
            Place::Free(_) | Place::Full => 0,
        });
        u32::try_from(used).unwrap_or(u32::MAX)
    }

    /// Counts one, if there is room.
    fn charge(&self, network: u128, which: Word, window: &Window) -> bool {
        self.with(network, |place, now| match place {
            Place::Known(words) => words.get_mut(which as usize).is_none_or(|word| {
                let taken = window.take(*word, 1, Factor::ONE, now);
                taken.map(|after| *word = after).is_ok()
            }),
            Place::Free(place) => {
                let taken = window.take(0, 1, Factor::ONE, now);
                let mut words = [0; 2];
                if let (Ok(after), Some(word)) = (taken, words.get_mut(which as usize)) {
                    *word = after;
                    place.claim(&words);
                }
                taken.is_ok()
            }
            Place::Full => true,
        })
    }

    fn with<R>(&self, network: u128, found: impl FnOnce(Place<'_>, Now) -> R) -> R {
        let nanos = u64::try_from(self.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let now = Now {
            nanos,
            unix_seconds: 0,
        };
        let lapsed = |words: &[u64]| words.iter().all(|word| *word <= nanos).then_some(());
        let hash = self.seed.hash_one(network);
        self.table.with(hash, lapsed, |place| found(place, now))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::foundation::units::Span;

    fn record(rate: u32, at_once: u32, networks: u32) -> Record {
        let ingest = Ingest {
            connection_rate_per_prefix: rate,
            max_connections_per_prefix: at_once,
            ..Ingest::default()
        };
        Record::of(&ingest, networks).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_has_a_burst_and_then_its_rate() {
        let record = record(4, 10, 64);
        for _ in 0..10 {
            assert_eq!(record.connects(1), Ok(()));
        }
        assert_eq!(record.connects(1), Err(TooFast));
        assert_eq!(record.connects(2), Ok(()), "another has its own");
        tokio::time::advance(Duration::from_millis(500)).await;
        let taken = (0..5).filter(|_| record.connects(1).is_ok()).count();
        assert_eq!(taken, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_network_may_open_a_second_of_connections_at_once() {
        let record = record(4, 1, 64);
        let taken = (0..20).filter(|_| record.connects(1).is_ok()).count();
        assert_eq!(taken, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_are_counted_to_a_bound_and_forgotten_one_each_second() {
        let record = record(0, 1, 64);
        assert_eq!(record.refusals(7), 0);
        for _ in 0..1000 {
            record.refused(7);
        }
        let most = refusals::counted_of_network(Duration::from_secs(1));
        assert_eq!(record.refusals(7), most);
        assert_eq!(record.refusals(8), 0);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(record.refusals(7), most - 3);
        tokio::time::advance(Duration::from_secs(u64::from(most))).await;
        assert_eq!(record.refusals(7), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_record_forgets_nobody_and_takes_others_when_the_first_have_lapsed() {
        let record = record(0, 1, 64);
        let places = u128::from(record.table.capacity());
        for network in 0..places * 10 {
            record.refused(network);
        }
        let known = |record: &Record| {
            let all = 0..places * 10;
            all.filter(|network| record.refusals(*network) > 0).count()
        };
        assert_eq!(known(&record) as u64, record.table.capacity());
        assert_eq!(record.refusals(0), 1, "the first still is");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(known(&record), 0);
        let late = places * 20;
        record.refused(late);
        assert_eq!(record.refusals(late), 1);
        assert_eq!(record.table.taken(), record.table.capacity());
    }

    #[test]
    fn there_is_none_where_nothing_asks_for_it() {
        let ingest = Ingest {
            connection_rate_per_prefix: 0,
            refusal_delay: Span::default(),
            ..Ingest::default()
        };
        assert!(Record::new(&ingest).is_none());
    }
}
