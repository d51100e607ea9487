//! The state of many keys in a fixed amount of memory.
//!
//! Promise: memory is taken once, when the table is made, and never grows. What is kept of a key is
//! never thrown away while it matters: a place is given to another key only when every window of the
//! first has come back to "never used". So nobody gets a fresh burst because others came in between.
//! When there is no such place for a new key: the caller is told ([`Place::Full`]) and decides
//! without one (`bucket`).
//!
//! A set of eight places is found by one half of the key's hash and searched for the whole of it. A
//! few sets share a lock, which is held for some tens of nanoseconds. The hash is seeded by the
//! caller, so that nobody outside can aim at one set. Two keys with one hash would share a place:
//! with 64 bits and a million keys, once in forty million tables.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{TABLE_WAYS as WAYS, table_bytes, table_places};

/// Locks of a table, at most.
const SHARDS: usize = 256;
/// Locks of a small table, where it has as many sets.
const FEW_SHARDS: usize = 8;
/// Words under one lock, at least, where there are locks enough: 128 KiB, from where on the allocator asks
/// the kernel, which gives pages as they are used. Smaller pieces it clears, and has all of them from the start.
const WORDS_OF_A_SHARD: usize = 16 << 10;

/// A bounded table from hashes of keys to a few words each.
pub struct Table {
    shards: Box<[Mutex<Box<[u64]>>]>,
    /// Sets under one lock.
    sets: usize,
    /// Words of a key.
    width: usize,
    /// Places that hold a key.
    taken: AtomicU64,
}

/// Where a key stands.
#[derive(Debug)]
pub enum Place<'a> {
    /// It is known: its words.
    Known(&'a mut [u64]),
    /// It is not known, and may be kept.
    Free(FreePlace<'a>),
    /// It is not known, and there is no place for it.
    Full,
}

/// A place that may be taken.
#[derive(Debug)]
pub struct FreePlace<'a> {
    place: &'a mut [u64],
    hash: u64,
    taken: &'a AtomicU64,
}

impl FreePlace<'_> {
    /// Gives the place to the key, with these words.
    pub fn claim(self, words: &[u64]) {
        if let [tag, kept @ ..] = self.place {
            if *tag == 0 {
                self.taken.fetch_add(1, Ordering::Relaxed);
            }
            *tag = self.hash;
            for (kept, word) in kept.iter_mut().zip(words) {
                *kept = *word;
            }
        }
    }
}

impl Table {
    /// A table of at least `keys` places of `width` words each.
    #[must_use]
    pub fn new(keys: u32, width: usize) -> Self {
        let places = table_places(keys);
        let large = (places * (width + 1) / WORDS_OF_A_SHARD).max(1);
        // A power of two, as the number of sets is.
        let shards = (1 << large.ilog2()).clamp(FEW_SHARDS, SHARDS);
        let shards = shards.min(places / WAYS);
        let sets = places / WAYS / shards;
        let shard = || Mutex::new(vec![0; sets * WAYS * (width + 1)].into_boxed_slice());
        Self {
            shards: std::iter::repeat_with(shard).take(shards).collect(),
            sets,
            width,
            taken: AtomicU64::new(0),
        }
    }

    /// Bytes that a table of `keys` places of `width` words takes.
    #[must_use]
    pub fn bytes(keys: u32, width: usize) -> u64 {
        table_bytes(keys, width)
    }

    /// Places in all.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        (self.shards.len() * self.sets * WAYS) as u64
    }

    /// Places that hold a key, of which some may be idle by now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Looks a key up, under the lock of its set. `worth` says of the words of another key what is lost
    /// with them; `None`: they may not be forgotten. A place that nobody has is given away first, then
    /// the one that is worth least: two keys that use their places in turns do not push each other out.
    pub fn with<R, W: Ord>(
        &self,
        hash: u64,
        worth: impl Fn(&[u64]) -> Option<W>,
        found: impl FnOnce(Place<'_>) -> R,
    ) -> R {
        // 0 marks a place that was never given away.
        let hash = hash.max(1);
        let Some((shard, start)) = self.locate(hash) else {
            return found(Place::Full);
        };
        let stride = self.width + 1;
        let mut words = lock(shard);
        let set = words.get_mut(start..start + WAYS * stride);
        let Some(set) = set else {
            return found(Place::Full);
        };
        let mut places = set.chunks_exact(stride);
        let known = places.position(|place| place.first() == Some(&hash));
        let unused = || {
            let mut places = set.chunks_exact(stride);
            places.position(|place| place.first() == Some(&0))
        };
        let idle = || {
            let places = set.chunks_exact(stride).enumerate();
            let ranked = places.filter_map(|(index, place)| {
                let (_, kept) = place.split_first()?;
                Some((worth(kept)?, index))
            });
            ranked.min().map(|(_, index)| index)
        };
        let place = known.or_else(unused).or_else(idle).and_then(|index| {
            let start = index * stride;
            set.get_mut(start..start + stride)
        });
        match (place, known) {
            (Some([_, kept @ ..]), Some(_)) => found(Place::Known(kept)),
            (Some(place), None) => found(Place::Free(FreePlace {
                place,
                hash,
                taken: &self.taken,
            })),
            _ => found(Place::Full),
        }
    }

    /// Shows the words of a key that is known, and forgets it if `see` says so. Whether it was known.
    pub fn forget_if(&self, hash: u64, see: impl FnOnce(&mut [u64]) -> bool) -> bool {
        let hash = hash.max(1);
        let Some((shard, start)) = self.locate(hash) else {
            return false;
        };
        let stride = self.width + 1;
        let mut words = lock(shard);
        let Some(set) = words.get_mut(start..start + WAYS * stride) else {
            return false;
        };
        let mut places = set.chunks_exact_mut(stride);
        let known = places.find(|place| place.first() == Some(&hash));
        let Some([tag, kept @ ..]) = known else {
            return false;
        };
        if see(kept) {
            *tag = 0;
            kept.fill(0);
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    /// Shows every key that is kept: its hash and its words. Each lock is taken for as long as its
    /// part is copied.
    pub fn each(&self, mut see: impl FnMut(u64, &[u64])) {
        let stride = self.width + 1;
        for shard in &self.shards {
            let copy = lock(shard).clone();
            for place in copy.chunks_exact(stride) {
                if let [tag, kept @ ..] = place
                    && *tag != 0
                {
                    see(*tag, kept);
                }
            }
        }
    }

    fn locate(&self, hash: u64) -> Option<(&Mutex<Box<[u64]>>, usize)> {
        let shards = self.shards.len();
        let low = usize::try_from(hash & 0xffff_ffff).unwrap_or_default();
        let high = usize::try_from(hash >> 32).unwrap_or_default();
        // Both are powers of two.
        let shard = self.shards.get(low & (shards - 1))?;
        let set = high & (self.sets - 1);
        Some((shard, set * WAYS * (self.width + 1)))
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("capacity", &self.capacity())
            .field("taken", &self.taken())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(31)
    }

    fn put(table: &Table, hash: u64, word: u64) -> bool {
        table.with(
            hash,
            |_| None::<u64>,
            |place| match place {
                Place::Known(words) => {
                    words[0] = word;
                    true
                }
                Place::Free(free) => {
                    free.claim(&[word]);
                    true
                }
                Place::Full => false,
            },
        )
    }

    fn get(table: &Table, hash: u64) -> Option<u64> {
        table.with(
            hash,
            |_| None::<u64>,
            |place| match place {
                Place::Known(words) => Some(words[0]),
                _ => None,
            },
        )
    }

    #[test]
    fn what_is_kept_stays_and_what_finds_no_place_is_told() {
        let table = Table::new(1024, 1);
        assert_eq!(table.capacity(), 1024);
        let mut kept = Vec::new();
        for number in 1..5000u64 {
            if put(&table, spread(number), number) {
                kept.push(number);
            }
        }
        assert!(kept.len() <= 1024);
        assert!(kept.len() > 900, "{} places were used", kept.len());
        assert_eq!(table.taken(), kept.len() as u64);
        for number in kept {
            assert_eq!(get(&table, spread(number)), Some(number));
        }
    }

    #[test]
    fn only_what_is_idle_gives_way() {
        let table = Table::new(8, 1);
        for number in 1..=8 {
            assert!(put(&table, number << 40 | 1, number));
        }
        let newcomer = 9 << 40 | 1;
        assert!(!put(&table, newcomer, 9), "all eight are in use");
        let claimed = table.with(
            newcomer,
            |words| (words[0] >= 5).then_some(words[0]),
            |place| match place {
                Place::Free(free) => {
                    free.claim(&[9]);
                    true
                }
                _ => false,
            },
        );
        assert!(claimed);
        assert_eq!(get(&table, 5 << 40 | 1), None);
        assert_eq!(get(&table, newcomer), Some(9));
        for number in [1, 2, 3, 4, 6, 7, 8] {
            assert_eq!(get(&table, number << 40 | 1), Some(number));
        }
        let mut seen = Vec::new();
        table.each(|hash, words| seen.push((hash, words[0])));
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn what_is_forgotten_leaves_its_place() {
        let table = Table::new(8, 1);
        assert!(put(&table, 5, 7) && put(&table, 6, 8));
        assert!(table.forget_if(5, |words| words[0] == 7));
        assert!(table.forget_if(6, |words| words[0] == 7));
        assert!(!table.forget_if(5, |_| true));
        assert_eq!((get(&table, 5), get(&table, 6)), (None, Some(8)));
        assert_eq!(table.taken(), 1);
    }

    #[test]
    fn pieces_are_so_large_that_an_unused_one_takes_little() {
        for (keys, width, shards) in [(8, 1, 1), (64, 1, 8), (1024, 1, 8), (65_536, 2, 8)] {
            assert_eq!(Table::new(keys, width).shards.len(), shards, "{keys}");
        }
        assert_eq!(Table::new(1 << 22, 2).shards.len(), SHARDS);
    }

    #[test]
    fn a_hash_of_nothing_is_a_key_like_another() {
        let table = Table::new(8, 1);
        assert!(put(&table, 0, 7));
        assert_eq!(get(&table, 0), Some(7));
    }
}
