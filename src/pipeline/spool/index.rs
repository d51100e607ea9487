//! The bundles of a lane that are known one by one.
//!
//! Size: [`ENTRY_BYTES`] for a bundle of one part and [`PLACE_BYTES`] for each part. What is known
//! only as a sum, because there is more than that, is in `windows`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use smallvec::SmallVec;

use super::format::BundleId;
use super::log::Order;

/// What a bundle is charged for its entry, its place in three tables, and their slack, in bytes.
pub(super) const ENTRY_BYTES: usize = 288;
/// What each part is charged, in bytes.
pub(super) const PLACE_BYTES: usize = 64;

/// Where a bundle was first met: segment and offset. Sorts by age.
pub(super) type Key = (u64, u32);

/// Where a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u32,
    pub(super) stored: u32,
    pub(super) raw: u32,
    pub(super) events: u32,
    pub(super) part: u16,
    pub(super) last: bool,
    pub(super) keyed: bool,
}

/// One bundle.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: BundleId,
    pub(super) places: SmallVec<[Place; 1]>,
    /// When its first part was appended, in Unix milliseconds.
    pub(super) time: u64,
    /// Nobody has taken it.
    pub(super) waiting: bool,
    /// Its holder has all of its events in memory as well: what the disk loses of it is not lost.
    pub(super) held: bool,
    /// How often it could not be read.
    pub(super) tries: u8,
}

impl Entry {
    /// Its events.
    pub(super) fn events(&self) -> u64 {
        self.places.iter().map(|p| u64::from(p.events)).sum()
    }

    /// Bytes of its parts before they were packed.
    pub(super) fn raw(&self) -> u64 {
        self.places.iter().map(|p| u64::from(p.raw)).sum()
    }

    /// Every part is there, up to the last.
    pub(super) fn is_whole(&self) -> bool {
        let last = self.places.iter().find(|place| place.last);
        last.is_some_and(|last| self.places.len() == usize::from(last.part) + 1)
    }

    /// Some part says the topic, source and tags.
    pub(super) fn is_keyed(&self) -> bool {
        self.places.iter().any(|place| place.keyed)
    }

    /// The segments that hold parts of it, each once.
    pub(super) fn segments(&self) -> SmallVec<[u64; 4]> {
        let mut found: SmallVec<[u64; 4]> = SmallVec::new();
        for place in &self.places {
            if !found.contains(&place.segment) {
                found.push(place.segment);
            }
        }
        found
    }
}

/// What became of a part that was to be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The bundle has a part in that segment for the first time.
    FirstInSegment,
    /// It had one already.
    Further,
    /// That very part is known.
    Repeated,
}

/// The tables.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: BTreeMap<Key, Entry>,
    ids: HashMap<BundleId, Key, foldhash::fast::RandomState>,
    waiting: BTreeSet<Key>,
    places: usize,
}

impl Index {
    /// What the tables take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.entries.len() * ENTRY_BYTES + self.places * PLACE_BYTES
    }

    pub(super) fn get(&self, id: BundleId) -> Option<&Entry> {
        self.entries.get(self.ids.get(&id)?)
    }

    /// An entry, to be changed in all but its places and whether it waits.
    pub(super) fn get_mut(&mut self, id: BundleId) -> Option<&mut Entry> {
        self.entries.get_mut(self.ids.get(&id)?)
    }

    pub(super) fn contains(&self, id: BundleId) -> bool {
        self.ids.contains_key(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The entries that were first met in a segment.
    pub(super) fn at_home(&self, segment: u64) -> impl Iterator<Item = &Entry> {
        let range = (segment, 0)..=(segment, u32::MAX);
        self.entries.range(range).map(|(_, entry)| entry)
    }

    /// Adds a part to its bundle, or a bundle, which waits or is held in memory.
    pub(super) fn put(&mut self, id: BundleId, place: Place, time: u64, waiting: bool) -> Put {
        if let Some(entry) = self.get_mut(id) {
            if entry.places.iter().any(|known| known.part == place.part) {
                return Put::Repeated;
            }
            let further = entry.places.iter().any(|p| p.segment == place.segment);
            entry.places.push(place);
            self.places += 1;
            return if further {
                Put::Further
            } else {
                Put::FirstInSegment
            };
        }
        let key = (place.segment, place.offset);
        let entry = Entry {
            id,
            places: SmallVec::from_buf([place]),
            time,
            waiting,
            held: !waiting,
            tries: 0,
        };
        self.entries.insert(key, entry);
        self.ids.insert(id, key);
        if waiting {
            self.waiting.insert(key);
        }
        self.places += 1;
        Put::FirstInSegment
    }

    /// Puts a part in the place of one without a key that has its number; the latter, if there was
    /// one.
    pub(super) fn put_keyed(&mut self, id: BundleId, place: Place) -> Option<Place> {
        let entry = self.get_mut(id)?;
        let known = entry
            .places
            .iter_mut()
            .find(|known| known.part == place.part)?;
        (!known.keyed).then(|| std::mem::replace(known, place))
    }

    /// Takes a bundle out.
    pub(super) fn take(&mut self, id: BundleId) -> Option<Entry> {
        let key = self.ids.remove(&id)?;
        self.waiting.remove(&key);
        let entry = self.entries.remove(&key)?;
        self.places -= entry.places.len();
        Some(entry)
    }

    /// Takes places out of a bundle, and the bundle when none is left.
    pub(super) fn take_places(
        &mut self,
        id: BundleId,
        which: impl Fn(&Place) -> bool,
    ) -> SmallVec<[Place; 1]> {
        let Some(entry) = self.get_mut(id) else {
            return SmallVec::new();
        };
        let (gone, kept): (SmallVec<[Place; 1]>, SmallVec<[Place; 1]>) =
            entry.places.iter().copied().partition(&which);
        entry.places = kept;
        let empty = entry.places.is_empty();
        self.places -= gone.len();
        if empty {
            self.take(id);
        }
        gone
    }

    /// Says whether a bundle waits; false when it is not known. One that waits is not in memory.
    pub(super) fn set_waiting(&mut self, id: BundleId, waiting: bool) -> bool {
        let Some(key) = self.ids.get(&id) else {
            return false;
        };
        if let Some(entry) = self.entries.get_mut(key) {
            entry.waiting = waiting;
            entry.held &= !waiting;
        }
        if waiting {
            self.waiting.insert(*key);
        } else {
            self.waiting.remove(key);
        }
        true
    }

    /// The first that waits.
    pub(super) fn first_waiting(&self, order: Order) -> Option<(Key, BundleId)> {
        let key = match order {
            Order::OldestFirst => self.waiting.first(),
            Order::NewestFirst => self.waiting.last(),
        }?;
        Some((*key, self.entries.get(key)?.id))
    }

    /// The bundles that wait, oldest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.waiting.iter().filter_map(|key| self.entries.get(key))
    }
}
