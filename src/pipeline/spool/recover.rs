//! Opening a log, and reading what earlier lives left.
//!
//! Promise: opening needs no person. It reads the header of each segment and the checkpoint, so it
//! is quick, and appending may begin at once; the records are read by [`Log::recover`], bit by bit.
//! Nothing is ever written to a segment of an earlier life.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::counts::Counts;
use super::damaged::Damaged;
use super::files::{Files, Handle, read_full_at};
use super::format::{Cut, DATA_START, HeaderRead, RECORD_HEADER, RecordHeader, SegmentHeader};
use super::index::{Entry, Index, Place, Put};
use super::keys::KeyRing;
use super::log::{End, Log, LogRules, Segment, State};
use super::payload::Packer;
use super::ranges::Ranges;
use super::scan::{Found, Scanner};
use super::space::Space;
use super::{number_of, segment_name};
use crate::foundation::names::{LogstoreName, ProjectName};

/// How often a segment may fail to be read before what cannot be read counts as damage.
const PATIENCE: u8 = 3;

/// What a log needs of its surroundings.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) files: Arc<dyn Files>,
    pub(super) folder: PathBuf,
    pub(super) names: (ProjectName, LogstoreName),
    pub(super) keys: Option<Arc<KeyRing>>,
    pub(super) space: Arc<Space>,
}

/// A record of a scan that counts.
pub(super) struct Met {
    pub(super) place: Place,
    pub(super) number: u64,
    pub(super) time: u64,
}

impl Log {
    /// Opens the log of one lane.
    ///
    /// # Errors
    /// When its directory cannot be made or listed. Nothing that is in it is an error.
    pub(super) fn open(ground: Ground, rules: LogRules) -> io::Result<Self> {
        let Ground {
            files,
            folder,
            names,
            keys,
            space,
        } = ground;
        files.create_folder(&folder)?;
        let (bytes, count) = rules.damaged;
        let mut log = Self {
            damaged: Damaged::new(Arc::clone(&files), &folder, bytes, count),
            files,
            folder,
            names,
            rules,
            keys,
            space,
            segments: std::collections::BTreeMap::new(),
            index: Index::default(),
            writer: None,
            closing: Vec::new(),
            packer: Packer::default(),
            next_number: 1,
            born: 1,
            charged: 0,
            doomed: Vec::new(),
            removed: Vec::new(),
            cuts: Vec::new(),
            adrift: true,
            syncing: false,
            doubts: Vec::new(),
            counts: Counts::default(),
        };
        log.look_around()?;
        Ok(log)
    }

    /// Reads the headers of all segments, and the checkpoint.
    fn look_around(&mut self) -> io::Result<()> {
        let mut found: Vec<(u64, u64)> = self
            .files
            .list(&self.folder)?
            .into_iter()
            .filter(|listed| !listed.folder)
            .filter_map(|listed| Some((number_of(&listed.name)?, listed.bytes)))
            .collect();
        found.sort_unstable();
        let checkpoint = match Checkpoint::read(&*self.files, &self.folder) {
            Ok(Some(checkpoint)) => checkpoint,
            Ok(None) | Err(_) => {
                self.counts.bad_checkpoints += 1;
                Checkpoint::default()
            }
        };
        let highest = found.last().map_or(0, |(number, _)| *number);
        // A file may have any name; the numbers must not end.
        let highest = highest.min(u64::MAX / 2);
        self.next_number = checkpoint.next_number.max(highest + 1);
        self.born = self.next_number;
        let mut cuts = Vec::new();
        let mut identities = HashSet::new();
        let mut heads: Vec<_> = found
            .into_iter()
            .filter_map(|(number, bytes)| Some((number, bytes, self.head_of(number, bytes)?)))
            .collect();
        // Of two copies, the one with the right name comes first.
        heads.sort_by_key(|(number, _, header)| header.number != *number);
        for (number, bytes, header) in heads {
            if identities.insert(header.identity) {
                cuts.extend_from_slice(&header.cuts);
                self.take_in(number, bytes, header, &checkpoint);
            } else {
                self.counts.twin_segments += 1;
                self.set_aside(number, bytes);
            }
        }
        let told = checkpoint.segments.iter().filter(|p| p.cut != u64::MAX);
        cuts.extend(told.map(|p| Cut {
            segment: p.segment,
            length: p.cut,
        }));
        for cut in cuts {
            if let Some(segment) = self.segments.get_mut(&cut.segment)
                && cut.length < segment.length
            {
                segment.length = cut.length.max(DATA_START);
                segment.cut = true;
            }
        }
        let cut = self.segments.iter().filter(|(_, segment)| segment.cut);
        self.cuts = cut
            .map(|(number, segment)| Cut {
                segment: *number,
                length: segment.length,
            })
            .collect();
        // The checkpoint that says so is on disk.
        self.sweep();
        Ok(())
    }

    /// The header of a segment that is to be read.
    fn head_of(&mut self, number: u64, bytes: u64) -> Option<SegmentHeader> {
        let path = self.path(number);
        let mut tries = 0;
        let read = loop {
            let read = self.files.open(&path).and_then(|file| {
                let mut head = vec![0; usize::try_from(bytes.min(DATA_START)).unwrap_or(0)];
                let read = read_full_at(&*file, &mut head, 0)?;
                head.truncate(read);
                Ok((file, SegmentHeader::decode(&head)))
            });
            tries += 1;
            if read.is_ok() || tries >= PATIENCE {
                break read;
            }
        };
        let names = |header: &SegmentHeader| {
            header.project == self.names.0 && header.logstore == self.names.1
        };
        match read {
            Ok((_, HeaderRead::Good(header))) if names(&header) => return Some(*header),
            Ok((_, HeaderRead::Good(_))) => self.counts.foreign_segments += 1,
            Ok((_, HeaderRead::Newer(_))) => self.counts.newer_segments += 1,
            Ok((file, HeaderRead::Bad)) => {
                self.set_headerless_aside(number, bytes, &*file);
                return None;
            }
            Err(_) => self.counts.locked_segments += 1,
        }
        // Charged, and left alone.
        self.charged += bytes;
        self.space.occupy(bytes);
        None
    }

    fn take_in(&mut self, number: u64, bytes: u64, header: SegmentHeader, known: &Checkpoint) {
        self.charged += bytes;
        self.space.occupy(bytes);
        let known = known.of(number, header.identity);
        let (done, as_of) = known.map_or((Ranges::default(), 0), |p| (p.done.clone(), p.as_of));
        let gone = done == Ranges::all();
        let open = header.key == 0 || self.keys.as_ref().is_some_and(|k| k.has(header.key));
        let state = if open {
            State::Unscanned { done, as_of }
        } else {
            self.counts.locked_segments += 1;
            State::Locked { done, as_of }
        };
        let segment = Segment {
            header: Arc::new(header),
            bytes,
            length: bytes,
            cut: false,
            numbers: None,
            live: 0,
            times: (u64::MAX, 0),
            state,
            anchored: true,
            tries: 0,
        };
        self.segments.insert(number, segment);
        if gone {
            self.remove_segment(number);
        }
    }

    /// A file without a header: nothing, where a crash came before the first sync.
    fn set_headerless_aside(&mut self, number: u64, bytes: u64, file: &dyn Handle) {
        if bytes <= DATA_START || is_zeros(file, bytes) {
            let removed = self.files.remove(&self.path(number));
            self.counts.failed_upkeep += u64::from(removed.is_err());
            return;
        }
        self.counts.headerless_segments += 1;
        self.counts.skipped_bytes += bytes;
        self.set_aside(number, bytes);
    }

    /// Moves a segment to `damaged/`, or deletes it where there is no room.
    fn set_aside(&mut self, number: u64, bytes: u64) {
        let path = self.path(number);
        if !self.damaged.keep_file(&path, number, bytes) {
            self.counts.not_copied += 1;
            self.counts.failed_upkeep += u64::from(self.files.remove(&path).is_err());
        }
    }

    /// Whether earlier lives have left segments that were not read yet.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        let unscanned = |s: &Segment| matches!(s.state, State::Unscanned { .. });
        self.segments.values().any(unscanned)
    }

    /// Reads segments of earlier lives, oldest first, until about `bytes` were read. True when all
    /// are through; until then [`Log::next`] gives nothing. Appending goes on meanwhile.
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

/// Whether a file is nothing but zeros.
fn is_zeros(file: &dyn Handle, bytes: u64) -> bool {
    let mut buffer = vec![0; 1 << 16];
    let mut at = 0;
    while at < bytes {
        match read_full_at(file, &mut buffer, at) {
            Ok(0) => return true,
            Ok(read) => {
                let found = buffer.get(..read).unwrap_or_default();
                if found.iter().any(|byte| *byte != 0) {
                    return false;
                }
                at += read as u64;
            }
            Err(_) => return false,
        }
    }
    true
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
