//! Which of at most so many keys were seen lately, in a fixed amount of memory.
//!
//! Promise: memory is taken once, and never grows. A key that was confirmed is known for at least a
//! window after (ids: after it was confirmed; values: after it was last seen), and at most an eighth
//! longer. What is held is never forgotten before its holder says so. Nothing in use gives way: at
//! the bound a new key is told [`Sight::Full`].
//!
//! Keys are 64-bit hashes under a seed that nobody outside knows, in open addressing with linear
//! probing; what expires is taken out when a shard is first touched in another eighth of the window.
//! Two keys with one hash are one key here: with a million keys kept, a new one is taken for a known
//! one once in 2^44 times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::RecentShape;

/// Parts of a window by which keys age.
const TICKS: u64 = 8;

/// A mark: holders in the low bits, whether it was confirmed, and the tick of its age.
const HOLDERS: u32 = (1 << 23) - 1;
const CONFIRMED: u32 = 1 << 23;
const TICK_SHIFT: u32 = 24;

/// What a key was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// It was confirmed within the window.
    Known,
    /// Others hold it, and nobody has confirmed it. Values: the caller holds it as well now.
    Held,
    /// It was not there. The caller holds it now, until it confirms or releases it.
    Fresh,
    /// It is not there, and there is no room.
    Full,
}

/// What keys stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Names of events: one holder, age counts from the confirmation.
    Ids,
    /// Values: many holders, age counts from the last sight.
    Values,
}

/// A bounded set of keys that were seen lately.
pub(super) struct Recent {
    shards: Box<[Mutex<Shard>]>,
    purpose: Purpose,
    count: AtomicU64,
    max: u64,
    tick_millis: u64,
    /// The tick, from 1, at which all shards were looked through for room.
    searched: AtomicU64,
}

struct Shard {
    keys: Box<[u64]>,
    marks: Box<[u32]>,
    used: usize,
    tick: u64,
}

impl Recent {
    /// Room for `max` keys, each for `window_millis`.
    pub(super) fn new(max: u32, window_millis: u64, purpose: Purpose) -> Self {
        let shape = RecentShape::of(max);
        let shard = || {
            Mutex::new(Shard {
                keys: vec![0; shape.slots].into_boxed_slice(),
                marks: vec![0; shape.slots].into_boxed_slice(),
                used: 0,
                tick: 0,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(shape.shards).collect(),
            purpose,
            count: AtomicU64::new(0),
            max: u64::from(max),
            tick_millis: window_millis.div_ceil(TICKS).max(1),
            searched: AtomicU64::new(0),
        }
    }

    /// Looks a key up, and holds it where it is not known. `millis` is a clock that does not go back.
    pub(super) fn see(&self, hash: u64, millis: u64) -> Sight {
        let tick = millis / self.tick_millis;
        let hash = hash.max(1);
        let sight = self.try_see(hash, tick);
        if sight != Sight::Full || self.searched.swap(tick + 1, Ordering::Relaxed) == tick + 1 {
            return sight;
        }
        // Shards that nobody has touched for long may be full of what has expired.
        for shard in &self.shards {
            self.advance(&mut lock(shard), tick);
        }
        self.try_see(hash, tick)
    }

    fn try_see(&self, hash: u64, tick: u64) -> Sight {
        let Some(shard) = self.shard(hash) else {
            return Sight::Full;
        };
        let mut shard = lock(shard);
        self.advance(&mut shard, tick);
        match shard.find(hash) {
            Ok(slot) => {
                let values = self.purpose == Purpose::Values;
                let tick = shard.tick;
                let Some(mark) = shard.marks.get_mut(slot) else {
                    return Sight::Full;
                };
                if *mark & CONFIRMED != 0 {
                    if values {
                        *mark = aged(*mark, tick);
                    }
                    return Sight::Known;
                }
                if values {
                    if *mark & HOLDERS == HOLDERS {
                        return Sight::Full;
                    }
                    *mark += 1;
                }
                Sight::Held
            }
            Err(slot) => {
                // The last slots keep probes short where one shard got more than its part.
                let full = shard.used >= shard.keys.len() * 9 / 10;
                if full || !self.take_room() {
                    return Sight::Full;
                }
                let mark = aged(1, shard.tick);
                shard.put(slot, hash, mark);
                shard.used += 1;
                Sight::Fresh
            }
        }
    }

    /// The caller no longer holds a key, which counts as seen now.
    pub(super) fn confirm(&self, hash: u64, millis: u64) {
        let tick = millis / self.tick_millis;
        self.with_held(hash, |shard, slot| {
            // What is held is not taken out here, but may come to stand in another slot.
            self.advance(shard, tick);
            let slot = shard.find(hash.max(1)).unwrap_or(slot);
            let tick = shard.tick;
            if let Some(mark) = shard.marks.get_mut(slot) {
                *mark = aged(
                    (*mark & !HOLDERS) | (*mark & HOLDERS).saturating_sub(1),
                    tick,
                );
                *mark |= CONFIRMED;
            }
        });
    }

    /// The caller no longer holds a key. If nobody else does and nobody has confirmed it, it was
    /// never there.
    pub(super) fn release(&self, hash: u64) {
        self.with_held(hash, |shard, slot| {
            let Some(mark) = shard.marks.get_mut(slot) else {
                return;
            };
            *mark = (*mark & !HOLDERS) | (*mark & HOLDERS).saturating_sub(1);
            let mark = *mark;
            let gone = mark & CONFIRMED == 0 || shard.age(mark) > TICKS;
            if mark & HOLDERS == 0 && gone {
                shard.remove(slot);
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
        });
    }

    fn with_held(&self, hash: u64, act: impl FnOnce(&mut Shard, usize)) {
        let hash = hash.max(1);
        let Some(shard) = self.shard(hash) else {
            return;
        };
        let mut shard = lock(shard);
        if let Ok(slot) = shard.find(hash) {
            act(&mut shard, slot);
        }
    }

    /// Keys that are kept now, of which some may have expired.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Slots in all.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).keys.len()).sum()
    }

    /// Keys that may be kept.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    fn take_room(&self) -> bool {
        let more = |count: u64| (count < self.max).then_some(count + 1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.count.fetch_update(set, get, more).is_ok()
    }

    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        // A power of two; the slot is found by the low bits.
        let place = usize::try_from(hash >> 40).unwrap_or_default();
        self.shards.get(place & (self.shards.len() - 1))
    }

    /// Takes out what has expired, when another tick has begun.
    fn advance(&self, shard: &mut Shard, tick: u64) {
        if tick <= shard.tick {
            return;
        }
        let passed = tick - shard.tick;
        shard.tick = tick;
        if shard.used == 0 {
            return;
        }
        let removed = shard.expire(passed);
        self.count.fetch_sub(removed, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Recent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recent")
            .field("count", &self.count())
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// A mark whose age is counted from this tick.
fn aged(mark: u32, tick: u64) -> u32 {
    let low = u32::try_from(tick & 0xff).unwrap_or_default();
    (mark & (HOLDERS | CONFIRMED)) | low << TICK_SHIFT
}

impl Shard {
    /// The slot of a key, or the free one where it would stand.
    fn find(&self, hash: u64) -> Result<usize, usize> {
        let mut slot = self.home(hash);
        loop {
            match self.key(slot) {
                0 => return Err(slot),
                key if key == hash => return Ok(slot),
                _ => slot = self.next(slot),
            }
        }
    }

    /// Ticks since a mark was made. It is looked at before it comes near 256.
    fn age(&self, mark: u32) -> u64 {
        self.tick.wrapping_sub(u64::from(mark >> TICK_SHIFT)) & 0xff
    }

    /// Removes what is neither held nor young enough.
    fn expire(&mut self, passed: u64) -> u64 {
        let mut removed = 0;
        let mut slot = 0;
        while slot < self.keys.len() {
            let mark = self.marks.get(slot).copied().unwrap_or_default();
            let old = passed > TICKS || self.age(mark) > TICKS;
            if self.key(slot) != 0 && mark & HOLDERS == 0 && old {
                // Another key may have come to this slot: it is looked at again.
                self.remove(slot);
                removed += 1;
            } else {
                slot += 1;
            }
        }
        removed
    }

    /// Empties a slot, and closes the gap in the run of keys that it stands in.
    fn remove(&mut self, slot: usize) {
        let mask = self.keys.len() - 1;
        let (mut hole, mut at) = (slot, slot);
        loop {
            at = self.next(at);
            let key = self.key(at);
            if key == 0 {
                break;
            }
            let from_home = at.wrapping_sub(self.home(key)) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                let mark = self.marks.get(at).copied().unwrap_or_default();
                self.put(hole, key, mark);
                hole = at;
            }
        }
        self.put(hole, 0, 0);
        self.used = self.used.saturating_sub(1);
    }

    fn put(&mut self, slot: usize, key: u64, mark: u32) {
        if let (Some(to), Some(its)) = (self.keys.get_mut(slot), self.marks.get_mut(slot)) {
            (*to, *its) = (key, mark);
        }
    }

    fn key(&self, slot: usize) -> u64 {
        self.keys.get(slot).copied().unwrap_or_default()
    }

    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash & 0xffff_ffff).unwrap_or_default() & (self.keys.len() - 1)
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.keys.len() - 1)
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
