//! Names that are known at load, found by one hash however many there are.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;

/// No name.
const EMPTY: u32 = u32::MAX;

/// A place of the table: a part of the hash, and which name.
#[derive(Clone, Copy)]
struct Slot {
    tag: u32,
    index: u32,
}

/// A set of names, numbered from 0 in the order in which they were given.
///
/// Open addressing at most half full, under a seed of its own: whoever sends names cannot choose
/// them so that they collide.
pub(super) struct Names {
    seed: RandomState,
    slots: Box<[Slot]>,
    names: Vec<Box<[u8]>>,
}

impl Names {
    /// The table of these names, each given once.
    pub(super) fn new(names: Vec<Box<[u8]>>) -> Self {
        let size = (names.len() * 2).next_power_of_two().max(8);
        let seed = RandomState::default();
        let mut slots = vec![
            Slot {
                tag: 0,
                index: EMPTY
            };
            size
        ]
        .into_boxed_slice();
        for (index, name) in (0_u32..).zip(&names) {
            let hash = hash(&seed, name);
            let mut at = place(hash, size);
            while let Some(slot) = slots.get_mut(at) {
                if slot.index == EMPTY {
                    *slot = Slot {
                        tag: tag(hash),
                        index,
                    };
                    break;
                }
                at = (at + 1) & (size - 1);
            }
        }
        Self { seed, slots, names }
    }

    /// The number of a name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<usize> {
        let hash = hash(&self.seed, name);
        let tag = tag(hash);
        let mut at = place(hash, self.slots.len());
        loop {
            let slot = self.slots.get(at)?;
            if slot.index == EMPTY {
                return None;
            }
            if slot.tag == tag {
                let index = slot.index as usize;
                if self.names.get(index).is_some_and(|known| **known == *name) {
                    return Some(index);
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Whether this is the name of a number.
    #[inline]
    pub(super) fn is(&self, index: usize, name: &[u8]) -> bool {
        self.names.get(index).is_some_and(|known| same(known, name))
    }

    /// How many names there are.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// The hash of a name, under the table's seed.
    pub(super) fn hash(&self, name: &[u8]) -> u64 {
        hash(&self.seed, name)
    }

    /// The names, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(|name| &**name)
    }

    /// The name of a number.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        self.names.get(index).map_or(&[], |name| &**name)
    }
}

/// Whether two texts are the same. Up to 16 bytes, as names have, are compared in two words.
#[inline]
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    if one.len() <= 16 {
        let words = (one.first_chunk(), one.last_chunk());
        if let (Some(first), Some(last)) = words {
            let (first, last): (&[u8; 8], &[u8; 8]) = (first, last);
            return other.first_chunk() == Some(first) && other.last_chunk() == Some(last);
        }
        let words = (one.first_chunk(), one.last_chunk());
        if let (Some(first), Some(last)) = words {
            let (first, last): (&[u8; 4], &[u8; 4]) = (first, last);
            return other.first_chunk() == Some(first) && other.last_chunk() == Some(last);
        }
    }
    one == other
}

#[inline]
fn hash(seed: &RandomState, name: &[u8]) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(name);
    hasher.finish()
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Where a hash begins to look in a table of `size`, a power of two.
#[expect(clippy::cast_possible_truncation, reason = "a part of the hash")]
fn place(hash: u64, size: usize) -> usize {
    (hash as usize) & (size - 1)
}
