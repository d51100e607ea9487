//! The log of one lane.
//!
//! Promise: what [`Log::sync`] has confirmed is read back, in order and once for each bundle, until
//! the bundle is done, too old, or dropped for room by the lane's own policy; each of these is
//! counted. All calls block on the disk; none waits for anything else.
//! The parts of this type: `append`, `sync`, `recover`, `windows` (what is known one by one), `read`,
//! `upkeep` (deletion, checkpoints, age).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::append::Writer;
use super::counts::Counts;
use super::damaged::Damaged;
use super::files::{Files, Handle};
use super::format::{BundleId, Cut, Packing, SegmentHeader};
use super::index::{Entry, Index};
use super::keys::StandingKeys;
use super::payload::Packer;
use super::ranges::Ranges;
use super::space::{Claim, Room};
use super::sync::PartId;
use crate::foundation::names::{LogstoreName, ProjectName};

/// Segments do not become smaller because the lane's part of the space is small.
const LEAST_SEGMENT: u64 = 64 << 10;

/// Which bundle is read first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order in which they came.
    #[default]
    OldestFirst,
    /// The last first.
    NewestFirst,
}

/// What happens when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The new part is refused.
    #[default]
    Refuse,
    /// The oldest segments that nobody is reading make room. Without one the new part is refused.
    DropOldest,
}

/// The rules of one lane.
#[derive(Clone, Debug)]
pub struct LogRules {
    /// A segment is closed when it would become larger than this, in bytes. No more than a quarter
    /// of `max_bytes` is used, nor of the lane's part of the space where that is more than 64 KiB, nor
    /// more than 1 GiB.
    pub segment_bytes: u64,
    /// The most that this lane may take on disk, in bytes.
    pub max_bytes: u64,
    /// How old a bundle may become, in milliseconds; `None` for any age.
    pub max_age: Option<u64>,
    /// What happens when there is no room.
    pub when_full: WhenFull,
    /// Which bundle is read first.
    pub order: Order,
    /// How payloads are packed.
    pub packing: Packing,
    /// What the tables of bundles may take in memory, in bytes, beyond bundles that are taken.
    pub index_bytes: usize,
    /// The most that `damaged/` may hold: bytes and files.
    pub damaged: (u64, usize),
    /// What it may count on of the space of all lanes.
    pub claim: Claim,
}

impl Default for LogRules {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_bytes: 10 << 30,
            max_age: None,
            when_full: WhenFull::Refuse,
            order: Order::OldestFirst,
            packing: Packing::Lz4,
            index_bytes: 4 << 20,
            damaged: (64 << 20, 256),
            claim: Claim::default(),
        }
    }
}

impl LogRules {
    /// `part`: what no other lane takes from this one. What is done in a segment takes room until all
    /// of it is, so the part holds several.
    fn segment_limit(&self, part: u64) -> u64 {
        let of_part = match part {
            0 => u64::MAX,
            part => (part / 4).max(LEAST_SEGMENT),
        };
        let most = self.segment_bytes.min(self.max_bytes / 4);
        most.min(of_part).min(1 << 30)
    }
}

/// What is known of the bundles of a segment.
#[derive(Debug)]
pub(super) enum State {
    /// All of them are in the index.
    Awake,
    /// Sums only; of the numbers in `done` nothing is left.
    Asleep {
        done: Ranges,
        bundles: u64,
        events: u64,
        raw: u64,
    },
    /// Recovery has not come to it. Bundles in `done` are done as far as they begin below `as_of`.
    Unscanned { done: Ranges, as_of: u64 },
    /// Left alone: its key is not at hand.
    Locked { done: Ranges, as_of: u64 },
}

/// One file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: Arc<SegmentHeader>,
    /// What it is charged for.
    pub(super) bytes: u64,
    /// Where its records end.
    pub(super) length: u64,
    /// Whether something was cut off, at `length`.
    pub(super) cut: bool,
    /// The lowest and the highest number of a bundle, once there is one.
    pub(super) numbers: Option<(u64, u64)>,
    /// Bundles in the index that have a part here.
    pub(super) live: u64,
    /// When its oldest and its newest record were appended.
    pub(super) times: (u64, u64),
    pub(super) state: State,
    /// Its name in the directory is durable.
    pub(super) anchored: bool,
    /// How often it could not be read.
    pub(super) tries: u8,
}

impl Segment {
    pub(super) fn meet(&mut self, number: u64, time: u64) {
        let (low, high) = self.numbers.unwrap_or((number, number));
        self.numbers = Some((low.min(number), high.max(number)));
        self.times = (self.times.0.min(time), self.times.1.max(time));
    }
}

/// A segment that takes no more records and is not durable to its end.
#[derive(Debug)]
pub(super) struct Closing {
    pub(super) number: u64,
    pub(super) handle: Arc<dyn Handle>,
    pub(super) length: u64,
    pub(super) synced: u64,
}

/// Why events left the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Expired,
    Dropped,
    Lost,
    Withdrawn,
}

/// A bundle whose turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Which.
    pub id: BundleId,
    /// How many events it holds.
    pub events: u64,
    /// Its size before it was packed, in bytes, at most.
    pub raw_bytes: u64,
    /// When its first part was appended, in Unix milliseconds.
    pub time: u64,
}

/// The log of one lane. Made by [`SpoolDirectory::log`](super::SpoolDirectory::log).
#[derive(Debug)]
pub struct Log {
    pub(super) files: Arc<dyn Files>,
    pub(super) folder: PathBuf,
    pub(super) names: (ProjectName, LogstoreName),
    pub(super) rules: LogRules,
    pub(super) keys: StandingKeys,
    pub(super) room: Arc<Room>,
    pub(super) segments: BTreeMap<u64, Segment>,
    pub(super) index: Index,
    pub(super) writer: Option<Writer>,
    pub(super) closing: Vec<Closing>,
    pub(super) packer: Packer,
    pub(super) next_number: u64,
    /// Segments from this number on are of this life.
    pub(super) born: u64,
    /// What all segments are charged, in bytes.
    pub(super) charged: u64,
    /// What was given up for newer records and not taken for them yet, while it holds more than its bound.
    pub(super) given_up: u64,
    /// Segments that are to be deleted: number, identity, and what they are charged.
    pub(super) doomed: Vec<(u64, u64, u64)>,
    /// Segments that were deleted since the last checkpoint: number and identity.
    pub(super) removed: Vec<(u64, u64)>,
    /// Cuts to be told by the next segment's header, the oldest first.
    pub(super) cuts: Vec<Cut>,
    /// The lane's directory and those above it may not be durable.
    pub(super) adrift: bool,
    pub(super) syncing: bool,
    pub(super) checkpointing: bool,
    /// Parts in doubt that the next sync tells.
    pub(super) doubts: Vec<PartId>,
    pub(super) damaged: Damaged,
    pub(super) counts: Counts,
}

impl Log {
    /// The project and the logstore.
    #[must_use]
    pub fn names(&self) -> &(ProjectName, LogstoreName) {
        &self.names
    }

    /// What was counted, and what there is now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let unscanned = |s: &&Segment| matches!(s.state, State::Unscanned { .. });
        Counts {
            disk_bytes: self.charged,
            segments: self.segments.len() as u64,
            unscanned_bytes: self
                .segments
                .values()
                .filter(unscanned)
                .map(|s| s.bytes)
                .sum(),
            index_bytes: self.index.bytes() as u64,
            ..self.counts
        }
    }

    /// Which bundle is read first.
    #[must_use]
    pub fn order(&self) -> Order {
        self.rules.order
    }

    /// Its room in the space of all lanes.
    #[must_use]
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    pub(super) fn segment_limit(&self) -> u64 {
        self.rules.segment_limit(self.room.part())
    }

    /// Takes other rules from now on.
    pub fn set_rules(&mut self, rules: LogRules) {
        self.room.set_limit(rules.max_bytes);
        self.room.weigh(rules.claim.weight);
        self.rules = rules;
    }

    /// The next bundle that waits, in the lane's order; it is taken until [`Log::release`] or
    /// [`Log::done`]. `None` when none waits, and while [`Log::recover`] is not through.
    ///
    /// # Errors
    /// When a segment that must be read for it cannot be read now.
    pub fn take_next(&mut self) -> std::io::Result<Option<Taken>> {
        if self.is_recovering() {
            return Ok(None);
        }
        self.wake_for_next()?;
        let Some((_, id)) = self.index.first_waiting(self.rules.order) else {
            return Ok(None);
        };
        self.index.set_waiting(id, false);
        Ok(self.index.get(id).map(|entry| Taken {
            id,
            events: entry.events(),
            raw_bytes: entry.raw(),
            time: entry.time,
        }))
    }

    /// Nobody holds the bundle any more, in memory or on its way: from now on [`Log::take_next`] may
    /// give it. To be called only after its parts were synced. False when it is not known.
    pub fn release(&mut self, id: BundleId) -> bool {
        let known = self.index.set_waiting(id, true);
        self.sleep_if_large();
        known
    }

    /// How many events of a bundle are here.
    #[must_use]
    pub fn events_of(&self, id: BundleId) -> u64 {
        self.index.get(id).map_or(0, Entry::events)
    }

    /// How many of them are durable.
    #[must_use]
    pub fn durable_events_of(&self, id: BundleId) -> u64 {
        let places = self.index.get(id).map(|entry| &entry.places);
        let durable = places.into_iter().flatten();
        let durable = durable.filter(|place| {
            !self.is_open(place.segment) || u64::from(place.offset) < self.synced_of(place.segment)
        });
        durable.map(|place| u64::from(place.events)).sum()
    }

    /// The bundle has ended elsewhere: delivered, or dropped by its holder. No part of it may be
    /// appended any more. False when it is not known, which is no error: it may have been lost.
    pub fn done(&mut self, id: BundleId) -> bool {
        self.end(id, End::Done).is_some()
    }

    /// Takes a bundle out and counts its end.
    pub(super) fn end(&mut self, id: BundleId, end: End) -> Option<Entry> {
        let entry = self.index.take(id)?;
        self.counts.held_bundles -= 1;
        self.count_end(end, entry.events(), entry.raw());
        for number in entry.segments() {
            self.part_from(number, id.number);
        }
        Some(entry)
    }

    /// A bundle has no part in the segment any more.
    pub(super) fn part_from(&mut self, segment: u64, bundle: u64) {
        if let Some(found) = self.segments.get_mut(&segment) {
            found.live = found.live.saturating_sub(1);
            if let State::Asleep { done, .. } = &mut found.state {
                done.insert(bundle);
            }
        }
        self.remove_if_spent(segment);
    }

    /// Counts events that are held no longer.
    pub(super) fn count_end(&mut self, end: End, events: u64, raw: u64) {
        let counts = &mut self.counts;
        counts.held_events -= events;
        counts.held_raw_bytes -= raw;
        let cell = match end {
            End::Done => &mut counts.done_events,
            End::Expired => &mut counts.expired_events,
            End::Dropped => &mut counts.dropped_events,
            End::Lost => &mut counts.lost_events,
            End::Withdrawn => &mut counts.withdrawn_events,
        };
        *cell += events;
    }

    /// Lets go of the files, which stay as they are: the space that they take counts for whoever opens
    /// them next. Nothing may be asked of the log after that.
    pub fn leave(&mut self) {
        self.writer = None;
        self.closing.clear();
        self.charged = 0;
        self.room.leave();
    }

    /// Gives back what a file was charged.
    pub(super) fn uncharge(&mut self, bytes: u64) {
        self.charged = self.charged.saturating_sub(bytes);
        if self.room.release(bytes) {
            // From here on it has what its bound gives it, and no more.
            self.given_up = 0;
        }
    }

    pub(super) fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(super::segment_name(segment))
    }
}
