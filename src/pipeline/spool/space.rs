//! Room on disk, shared by all lanes of a spool.
//!
//! A part of the whole is guaranteed, and divided by weight; the rest is free room, and so is what a
//! lane has no need of beyond its own bound. Whoever is above its part takes from the free room, and
//! never what another one's part still wants. A lane that takes copies has half the weight of the one
//! whose events they are, and leaves half of the free room to first destinations.
//!
//! Promise, whatever the number of threads that ask: the bytes of all segments together stay within
//! `max_bytes`, the disk keeps `reserve` bytes free as far as the file system tells, and a lane within
//! its part is not refused because of what others hold. What was held before a part came or grew may be
//! more than leaves room for it: then it is short until that has drained.
//! Where the disk has less room than `max_bytes`, what it has is divided in the same way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::Files;
use crate::foundation::budget::percent_of;

/// How long an answer about free bytes is believed, in milliseconds.
const FREE_FOR: u64 = 500;
/// What is guaranteed unless something else is said, in percent.
const GUARANTEED: u8 = 50;

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Full {
    /// The lane has its share.
    Lane,
    /// All lanes together have what the spool may take, but for what is kept for others.
    Spool,
    /// The disk has no more than the reserve, and what is kept for others.
    Disk,
}

/// What one lane may count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// How its part compares to those of the others; 0 for none.
    pub weight: u32,
    /// Whether what it takes are copies of another lane's events.
    pub copies: bool,
}

impl Default for Claim {
    fn default() -> Self {
        Self {
            weight: 1,
            copies: false,
        }
    }
}

impl Claim {
    /// Its weight, so that half of one is whole.
    fn weight(self) -> u64 {
        u64::from(self.weight) * if self.copies { 1 } else { 2 }
    }
}

/// The bytes that all lanes take together.
#[derive(Debug)]
pub struct Space {
    max_bytes: u64,
    reserve: u64,
    guaranteed: u8,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    /// What all hold.
    used: u64,
    /// By the number of their [`Room`].
    lanes: BTreeMap<u64, LaneRoom>,
    next: u64,
    /// The sum of their weights.
    weights: u64,
    /// What the disk had free, less what was taken since, and when that was asked, in milliseconds.
    free: Option<(u64, u64)>,
    /// How much all may hold, as far as is known: less than what is configured where the disk has less.
    size: u64,
}

#[derive(Debug)]
struct LaneRoom {
    used: u64,
    claim: Claim,
    /// The most that it may hold.
    limit: u64,
}

impl Space {
    /// At most `max_bytes` for all lanes; `reserve` bytes of the disk stay free.
    #[must_use]
    pub fn new(max_bytes: u64, reserve: u64) -> Self {
        Self {
            max_bytes,
            reserve,
            guaranteed: GUARANTEED,
            rooms: Mutex::new(Rooms {
                size: max_bytes,
                ..Rooms::default()
            }),
        }
    }

    /// The same, with so much of it guaranteed, in percent.
    #[must_use]
    pub fn guaranteeing(self, percent: u8) -> Self {
        Self {
            guaranteed: percent.min(100),
            ..self
        }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.rooms().used
    }

    /// The most that may be in use.
    #[must_use]
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// The room of one more lane, which holds at most `limit` bytes.
    pub(super) fn enter(self: &Arc<Self>, claim: Claim, limit: u64) -> Arc<Room> {
        let mut rooms = self.rooms();
        let number = rooms.next;
        rooms.next += 1;
        let used = 0;
        let lane = LaneRoom { used, claim, limit };
        rooms.lanes.insert(number, lane);
        rooms.weigh();
        Arc::new(Room {
            space: Arc::clone(self),
            number,
        })
    }

    /// What the disk has free beyond the reserve. Asked without the lock: it may take its time.
    fn free(&self, files: &dyn Files, folder: &Path, now: u64) -> u64 {
        let known = self.rooms().free;
        if let Some((free, _)) = known.filter(|(_, asked)| now.abs_diff(*asked) <= FREE_FOR) {
            return free;
        }
        // A file system that does not tell is believed to have room: writing will tell.
        let free = files.free_bytes(folder).unwrap_or(u64::MAX);
        let free = free.saturating_sub(self.reserve);
        self.rooms().free = Some((free, now));
        free
    }
}

impl Rooms {
    /// To be called when a lane comes, goes, or has another weight.
    fn weigh(&mut self) {
        let weights = self.lanes.values().map(|lane| lane.claim.weight());
        self.weights = weights.fold(0, u64::saturating_add);
    }

    /// Whether the lane may hold `mine` bytes, of so many in all of which so many are guaranteed.
    fn has_room(&self, number: u64, mine: u64, (size, guaranteed): (u64, u64)) -> bool {
        let part = |lane: &LaneRoom| lane.part(guaranteed, self.weights);
        let Some(lane) = self.lanes.get(&number) else {
            return false;
        };
        if mine <= part(lane) {
            return true;
        }
        let (mut kept, mut parts) = (0_u64, 0_u64);
        for (other, lane) in &self.lanes {
            let part = part(lane);
            let used = if *other == number { mine } else { lane.used };
            kept = kept.saturating_add(used.max(part));
            parts = parts.saturating_add(part);
        }
        let open = size.saturating_sub(parts);
        let most = if lane.claim.copies { open / 2 } else { open };
        kept.saturating_sub(parts) <= most
    }
}

impl LaneRoom {
    fn part(&self, guaranteed: u64, weights: u64) -> u64 {
        let part = u128::from(guaranteed) * u128::from(self.claim.weight());
        let part = part / u128::from(weights.max(1));
        u64::try_from(part).unwrap_or(u64::MAX).min(self.limit)
    }
}

/// The room of one lane. It holds nothing any more once it is gone.
#[derive(Debug)]
pub struct Room {
    space: Arc<Space>,
    number: u64,
}

impl Room {
    /// What no other lane can take from it, in bytes.
    #[must_use]
    pub fn part(&self) -> u64 {
        let rooms = self.space.rooms();
        let guaranteed = percent_of(rooms.size, self.space.guaranteed);
        let lane = rooms.lanes.get(&self.number);
        lane.map_or(0, |lane| lane.part(guaranteed, rooms.weights))
    }

    /// Weighs so much from now on; 0: it has no part any more, and what it holds drains.
    pub fn weigh(&self, weight: u32) {
        let mut rooms = self.space.rooms();
        if let Some(lane) = rooms.lanes.get_mut(&self.number) {
            lane.claim.weight = weight;
        }
        rooms.weigh();
    }

    /// Holds at most so many bytes from now on.
    pub(super) fn set_limit(&self, limit: u64) {
        if let Some(lane) = self.space.rooms().lanes.get_mut(&self.number) {
            lane.limit = limit;
        }
    }

    /// Takes bytes that are on disk already.
    pub(super) fn occupy(&self, bytes: u64) {
        let mut rooms = self.space.rooms();
        if let Some(lane) = rooms.lanes.get_mut(&self.number) {
            lane.used = lane.used.saturating_add(bytes);
            rooms.used = rooms.used.saturating_add(bytes);
        }
    }

    /// Gives bytes back: something was deleted. What the disk had free is forgotten. Whether it holds no
    /// more than its bound then.
    pub(super) fn release(&self, bytes: u64) -> bool {
        let mut rooms = self.space.rooms();
        rooms.free = None;
        let Some(lane) = rooms.lanes.get_mut(&self.number) else {
            return true;
        };
        let bytes = bytes.min(lane.used);
        lane.used -= bytes;
        let mine = lane.used;
        rooms.used = rooms.used.saturating_sub(bytes);
        let guaranteed = percent_of(rooms.size, self.space.guaranteed);
        rooms.has_room(self.number, mine, (rooms.size, guaranteed))
    }

    /// Takes bytes that are about to be written in `folder`.
    pub(super) fn take(
        &self,
        bytes: u64,
        files: &dyn Files,
        folder: &Path,
        now: u64,
    ) -> Result<(), Full> {
        let asked = self.space.free(files, folder, now);
        self.take_of(bytes, asked, false)
    }

    /// The same, in place of bytes of its own that were given up for it: it does not grow, so that it may
    /// hold more than its bound.
    pub(super) fn take_back(
        &self,
        bytes: u64,
        files: &dyn Files,
        folder: &Path,
        now: u64,
    ) -> Result<(), Full> {
        let asked = self.space.free(files, folder, now);
        self.take_of(bytes, asked, true)
    }

    /// Takes bytes of a disk that has `asked` free, unless something else is known since.
    pub(super) fn take_of(&self, bytes: u64, asked: u64, above: bool) -> Result<(), Full> {
        let space = &self.space;
        let mut rooms = space.rooms();
        // Forgotten in between: something was deleted, and it is no less.
        let free = rooms.free.map_or(asked, |(free, _)| free);
        let size = rooms.used.saturating_add(free).min(space.max_bytes);
        rooms.size = size;
        if bytes > free {
            return Err(Full::Disk);
        }
        if rooms.used.saturating_add(bytes) > space.max_bytes {
            return Err(Full::Spool);
        }
        let used = rooms.lanes.get(&self.number).map_or(0, |lane| lane.used);
        let mine = used.saturating_add(bytes);
        let guaranteed = percent_of(size, space.guaranteed);
        if !above && !rooms.has_room(self.number, mine, (size, guaranteed)) {
            return Err(match size < space.max_bytes {
                true => Full::Disk,
                false => Full::Spool,
            });
        }
        rooms.used += bytes;
        if let Some((free, _)) = &mut rooms.free {
            *free = free.saturating_sub(bytes);
        }
        if let Some(lane) = rooms.lanes.get_mut(&self.number) {
            lane.used = mine;
        }
        Ok(())
    }

    /// Leaves: what it holds counts for whoever opens it next.
    pub(super) fn leave(&self) {
        let mut rooms = self.space.rooms();
        rooms.free = None;
        if let Some(lane) = rooms.lanes.remove(&self.number) {
            rooms.used = rooms.used.saturating_sub(lane.used);
        }
        rooms.weigh();
    }
}
