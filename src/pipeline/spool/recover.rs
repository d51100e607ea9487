//! Reading what earlier lives left.
//!
//! Promise: the records are read bit by bit, by [`Log::recover`], while appending goes on. Nothing
//! is ever written to a segment of an earlier life.

use std::io;
use std::sync::Arc;

use super::counts::Counts;
use super::files::Handle;
use super::format::{RECORD_HEADER, RecordHeader};
use super::index::{Entry, Place, Put};
use super::log::{End, Log, Segment, State};
use super::scan::{Found, Scanner};
use super::segment_name;

/// How often a segment may fail to be read before what cannot be read counts as damage.
const PATIENCE: u8 = 3;

/// A record of a scan that counts.
pub(super) struct Met {
    pub(super) place: Place,
    pub(super) number: u64,
    pub(super) time: u64,
}

impl Log {
    /// Whether earlier lives have left segments that were not read yet.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        let unscanned = |s: &Segment| matches!(s.state, State::Unscanned { .. });
        self.segments.values().any(unscanned)
    }

    /// Reads segments of earlier lives, oldest first, until about `bytes` were read. True when all
    /// are through; until then [`Log::take_next`] gives nothing. Appending goes on meanwhile.
    ///
    /// # Errors
    /// When a segment cannot be read. The next call tries it again; at the third time, what cannot
    /// be read counts as damage.
    pub fn recover(&mut self, bytes: u64) -> io::Result<bool> {
        let mut read = 0;
        while read < bytes {
            let unscanned = |(_, s): &(&u64, &Segment)| matches!(s.state, State::Unscanned { .. });
            let Some((&number, segment)) = self.segments.iter().find(unscanned) else {
                return Ok(true);
            };
            read += segment.bytes;
            self.scan_unscanned(number)?;
            if !self.is_recovering() {
                self.drop_headless();
                self.sleep_if_large();
                return Ok(true);
            }
        }
        Ok(!self.is_recovering())
    }

    fn scan_unscanned(&mut self, number: u64) -> io::Result<()> {
        let Some(segment) = self.segments.get_mut(&number) else {
            return Ok(());
        };
        let State::Unscanned { done, as_of } = &segment.state else {
            return Ok(());
        };
        let (done, as_of) = (done.clone(), *as_of);
        let prefix = segment.header.prefix;
        let met = match self.scan(number, true, |met| {
            (u64::from(met.place.offset) >= as_of || !done.contains(met.number)).then_some(met)
        }) {
            Ok(met) => met,
            Err(error) if self.is_missing(number, &error) => {
                self.counts.missing_segments += 1;
                self.forget_segment(number);
                return Ok(());
            }
            Err(error) => {
                if let Some(segment) = self.segments.get_mut(&number)
                    && segment.tries > PATIENCE
                {
                    self.counts.locked_segments += 1;
                    segment.state = State::Locked { done, as_of };
                    return Ok(());
                }
                return Err(error);
            }
        };
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.state = State::Awake;
        }
        for Met {
            place,
            number: bundle,
            time,
        } in met
        {
            let id = super::BundleId {
                prefix,
                number: bundle,
            };
            let fresh = !self.index.contains(id);
            let put = self.index.put(id, place, time, true);
            if put == Put::Repeated {
                self.note_repeated(id, place);
                continue;
            }
            let counts = &mut self.counts;
            counts.recovered_bundles += u64::from(fresh);
            counts.held_bundles += u64::from(fresh);
            counts.recovered_events += u64::from(place.events);
            counts.held_events += u64::from(place.events);
            counts.held_raw_bytes += u64::from(place.raw);
            if put == Put::FirstInSegment
                && let Some(segment) = self.segments.get_mut(&number)
            {
                segment.live += 1;
            }
        }
        self.remove_if_spent(number);
        if self.is_recovering() {
            self.sleep_if_large();
        }
        Ok(())
    }

    /// A part was found twice: its first copy was in doubt. Where only the second says where the
    /// bundle belongs, that one counts.
    fn note_repeated(&mut self, id: super::BundleId, place: Place) {
        self.counts.repeated_parts += 1;
        let before = self.index.get(id).map(Entry::segments).unwrap_or_default();
        if !place.keyed {
            return;
        }
        let Some(old) = self.index.put_keyed(id, place) else {
            return;
        };
        let after = self.index.get(id).map(Entry::segments).unwrap_or_default();
        self.counts.held_raw_bytes += u64::from(place.raw);
        self.counts.held_raw_bytes -= u64::from(old.raw);
        if !before.contains(&place.segment)
            && let Some(segment) = self.segments.get_mut(&place.segment)
        {
            segment.live += 1;
        }
        if !after.contains(&old.segment) {
            self.part_from(old.segment, id.number);
        }
    }

    /// Reads a segment, and gives the records that `keep` wants. With `first`, damage is counted and
    /// copied.
    pub(super) fn scan(
        &mut self,
        number: u64,
        first: bool,
        keep: impl Fn(Met) -> Option<Met>,
    ) -> io::Result<Vec<Met>> {
        let path = self.path(number);
        let Some(segment) = self.segments.get_mut(&number) else {
            return Ok(Vec::new());
        };
        let header = Arc::clone(&segment.header);
        segment.tries = segment.tries.saturating_add(1);
        let salvage = segment.tries >= PATIENCE;
        let file = self.files.open(&path)?;
        let limit = segment.length.min(file.bytes()?);
        let mut scanner = Scanner::new(Arc::clone(&file), header.identity, limit, salvage);
        let mut met = Vec::new();
        let mut counts = Counts::default();
        let mut bad = Vec::new();
        let mut range: Option<(u64, u64)> = None;
        let mut times = (u64::MAX, 0);
        while let Some(found) = scanner.next()? {
            match found {
                Found::Record {
                    offset,
                    header: record,
                    ..
                } => {
                    let (id, time) = (header.bundle(&record), header.time(&record));
                    let (low, high) = range.unwrap_or((id.number, id.number));
                    range = Some((low.min(id.number), high.max(id.number)));
                    let place = place_of(number, offset, &record);
                    let found = Met {
                        place,
                        number: id.number,
                        time,
                    };
                    if let Some(kept) = keep(found) {
                        times = (times.0.min(time), times.1.max(time));
                        met.push(kept);
                    }
                }
                Found::Damaged {
                    offset,
                    header: record,
                } => {
                    counts.damaged_records += 1;
                    counts.damaged_events += u64::from(record.events);
                    bad.push((offset, record.record_bytes()));
                }
                Found::Garbage { offset, length } => {
                    counts.garbage += 1;
                    counts.skipped_bytes += length;
                    bad.push((offset, length));
                }
                Found::Tail {
                    offset,
                    length,
                    zeros,
                } => {
                    counts.torn_tails += 1;
                    counts.skipped_bytes += length;
                    if !zeros {
                        bad.push((offset, length));
                    }
                }
            }
        }
        counts.unreadable_bytes = scanner.unreadable;
        segment.tries = 0;
        segment.numbers = range;
        segment.times = times;
        if first {
            self.note_damage(number, &*file, &counts, &bad);
        }
        Ok(met)
    }

    fn note_damage(&mut self, number: u64, file: &dyn Handle, found: &Counts, bad: &[(u64, u64)]) {
        let counts = &mut self.counts;
        counts.damaged_records += found.damaged_records;
        counts.damaged_events += found.damaged_events;
        counts.garbage += found.garbage;
        counts.skipped_bytes += found.skipped_bytes;
        counts.torn_tails += found.torn_tails;
        counts.unreadable_bytes += found.unreadable_bytes;
        for &(offset, length) in bad {
            if !self.damaged.keep(number, file, offset, length) {
                self.counts.not_copied += 1;
            }
        }
    }

    /// Bundles of which no part says where they belong are lost, unless that part may yet come to
    /// light: then they stay, and are not given.
    fn drop_headless(&mut self) {
        let hidden = self.counts.locked_segments + self.counts.newer_segments > 0;
        let headless = self.index.waiting().filter(|entry| !entry.is_keyed());
        let headless: Vec<_> = headless.map(|entry| entry.id).collect();
        for id in headless {
            if hidden {
                self.index.set_waiting(id, false);
            } else if let Some(entry) = self.end(id, End::Lost) {
                self.counts.headless_events += entry.events();
            }
        }
    }

    /// Whether an error means that this file alone is gone, and not the whole directory.
    pub(super) fn is_missing(&self, number: u64, error: &io::Error) -> bool {
        let name = segment_name(number);
        error.kind() == io::ErrorKind::NotFound
            && self
                .files
                .list(&self.folder)
                .is_ok_and(|found| found.iter().all(|listed| listed.name != name))
    }
}

fn place_of(segment: u64, offset: u64, record: &RecordHeader) -> Place {
    Place {
        segment,
        offset: u32::try_from(offset).unwrap_or(u32::MAX),
        stored: record.stored,
        raw: record.raw,
        events: record.events,
        part: record.part,
        last: record.last,
        keyed: record.keyed,
    }
}

/// Bytes of a record at a place.
pub(super) fn record_bytes(place: &Place) -> usize {
    RECORD_HEADER + place.stored as usize
}
