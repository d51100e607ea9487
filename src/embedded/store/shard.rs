//! Shards: one ascending sequence of LogGroups each, and a share of the md5 space.

use std::sync::{Mutex, PoisonError};

/// How far a shard reaches. `oldest..next` are the places that hold LogGroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::embedded) struct Extent {
    /// Place of the oldest LogGroup that is kept, or `next` when there is none.
    pub oldest: u64,
    /// Place of the next LogGroup to come.
    pub next: u64,
    /// When the latest LogGroup was received, in unix seconds; 0 when there never was one.
    pub received: u64,
    /// What the LogGroups count against the size of the logstore.
    pub bytes: u64,
}

/// A shard of a logstore. Only the writer thread moves its extent.
#[derive(Debug)]
pub(in crate::embedded) struct Shard {
    /// Number of its logstore in this store.
    pub logstore: u32,
    /// Number in its logstore, from 0.
    pub number: u32,
    /// First hash of its range.
    pub begin: u128,
    /// Hash after its range. The last shard also holds this one, since SLS writes the end of the
    /// whole space as `ff..ff`.
    pub end: u128,
    extent: Mutex<Extent>,
}

impl Shard {
    /// Shard `number` of `count`, which divide the md5 space evenly.
    pub(super) fn new(logstore: u32, number: u32, count: u32, extent: Extent) -> Self {
        let width = u128::MAX / u128::from(count.max(1));
        let begin = width * u128::from(number);
        let end = if number + 1 >= count {
            u128::MAX
        } else {
            begin + width
        };
        Self {
            logstore,
            number,
            begin,
            end,
            extent: Mutex::new(extent),
        }
    }

    /// Whether the hash belongs to this shard.
    pub fn contains(&self, hash: u128) -> bool {
        hash >= self.begin && (hash < self.end || self.end == u128::MAX)
    }

    /// How far the shard reaches now.
    pub fn extent(&self) -> Extent {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn move_to(&self, extent: Extent) {
        *self.extent.lock().unwrap_or_else(PoisonError::into_inner) = extent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_belongs_to_exactly_one_shard() {
        for count in 1..=7 {
            let shards: Vec<_> = (0..count)
                .map(|number| Shard::new(1, number, count, Extent::default()))
                .collect();
            let edges = shards
                .iter()
                .flat_map(|shard| [shard.begin, shard.end, shard.end - 1]);
            for hash in edges.chain([0, u128::MAX, u128::MAX / 3]) {
                let holders = shards.iter().filter(|shard| shard.contains(hash)).count();
                assert_eq!(holders, 1, "{hash:032x} of {count}");
            }
        }
    }
}
