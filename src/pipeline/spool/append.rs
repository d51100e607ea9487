//! Appending parts to the segment at hand.
//!
//! Promise: a part is in the log whole or not at all. A segment on which a write failed takes no
//! more records: it is cut where it was good, and the next append begins a new one, so the log heals
//! by itself and nothing is ever written twice at one place.

use std::io;
use std::sync::Arc;

use super::files::{Handle, write_all_at};
use super::format::{
    BundleId, Cut, DATA_START, MAX_CUTS, RECORD_HEADER, RecordHeader, SegmentHeader,
};
use super::index::{Place, Put};
use super::keys::TAG_BYTES;
use super::log::{Closing, Log, Segment, State, WhenFull};
use super::space::Full;

/// The most bundles that begin in one segment; it bounds what the index holds of it.
const MAX_BUNDLES: u64 = 65_536;
/// Segments that are closed and not yet synced, at most: their files are open.
const MAX_CLOSING: usize = 8;

/// One part of a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The bundle. All bundles of a life have one prefix.
    pub bundle: BundleId,
    /// From 0, in the order in which the parts are to be joined.
    pub number: u16,
    /// No part with a higher number will come.
    pub last: bool,
    /// How many events are in `logs`, below 2^24.
    pub events: u32,
    /// Topic, source and tags in wire form. The first part that is appended has it; others may, so
    /// that the bundle outlives damage of the first.
    pub key: Option<&'a [u8]>,
    /// The events in wire form.
    pub logs: &'a [u8],
}

/// What kind of trouble the disk is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// No space, no inodes, or a quota.
    NoSpace,
    /// The file system is read-only.
    ReadOnly,
    /// The directory, or the file at hand, is no longer there.
    Gone,
    /// Permissions.
    Denied,
    /// Anything else, such as an I/O error.
    Other,
}

impl Fault {
    /// Sorts an error of the operating system.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::WriteZero => Self::NoSpace,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Gone,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Other,
        }
    }
}

/// Why a part was not appended. Nothing of it is in the log then.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A bound was met.
    #[error("the spool has no room ({0:?})")]
    Full(Full),
    /// The disk refused.
    #[error("the spool could not be written ({fault:?}): {source}")]
    Disk {
        /// Its kind.
        fault: Fault,
        /// What the operating system said.
        source: io::Error,
    },
    /// A part of more than 16 MiB, or of 2^24 events.
    #[error("a part is too large for the spool")]
    TooLarge,
    /// The log has no part of the bundle that says topic, source and tags, and this one does not
    /// either.
    #[error("the first part of a bundle needs its key")]
    Keyless,
    /// The bundle has that part.
    #[error("part {0} of the bundle is in the spool already")]
    Repeated(u16),
}

fn disk(source: io::Error) -> AppendError {
    AppendError::Disk {
        fault: Fault::of(&source),
        source,
    }
}

/// The segment at hand.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) number: u64,
    pub(super) handle: Arc<dyn Handle>,
    pub(super) header: Arc<SegmentHeader>,
    pub(super) length: u64,
    pub(super) synced: u64,
    bundles: u64,
}

impl Writer {
    /// Whether a record of `bytes` may go here; its time and its bundle's distance.
    fn place_for(&self, id: BundleId, now: u64, bytes: u64, limit: u64) -> Option<(u32, i32)> {
        let empty = self.length == DATA_START;
        if self.header.prefix != id.prefix
            || self.bundles >= MAX_BUNDLES
            || !(empty || self.length + bytes <= limit)
        {
            return None;
        }
        let time = u32::try_from(now.saturating_sub(self.header.created)).ok()?;
        let distance = self.header.distance(id.number)?;
        (time < 1 << 24).then_some((time, distance))
    }
}

impl Log {
    /// Appends one part; it is durable after the next good [`Log::sync`]. Its bundle is taken until
    /// [`Log::release`] or [`Log::done`].
    ///
    /// `now` is Unix milliseconds; a clock that goes back does no harm.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing of the part is kept, and a later append may go well.
    pub fn append(&mut self, part: &Part<'_>, now: u64) -> Result<(), AppendError> {
        if part.events >= 1 << 24 {
            return Err(AppendError::TooLarge);
        }
        let known = self.index.get(part.bundle);
        if part.key.is_none() && known.is_none_or(|entry| !entry.is_keyed()) {
            return Err(AppendError::Keyless);
        }
        if known.is_some_and(|entry| entry.places.iter().any(|p| p.part == part.number)) {
            return Err(AppendError::Repeated(part.number));
        }
        let (packing, raw) = self
            .packer
            .pack(part.key, part.logs, self.rules.packing)
            .ok_or(AppendError::TooLarge)?;
        let keys = self.keys.now();
        let sealing = keys.as_ref().map_or(0, |keys| keys.sealing());
        let tag = if sealing == 0 { 0 } else { TAG_BYTES };
        let length = self.packer.record.len() + tag;
        let stored = u32::try_from(length - RECORD_HEADER).map_err(|_| AppendError::TooLarge)?;
        // Asked once: it changes when other lanes come.
        let limit = self.segment_limit();
        self.open_for(part.bundle, (sealing, limit), now, length as u64)?;
        let Some(writer) = &mut self.writer else {
            return Err(AppendError::TooLarge);
        };
        let (time, number) = writer
            .place_for(part.bundle, now, length as u64, limit)
            .ok_or(AppendError::TooLarge)?;
        let header = RecordHeader {
            last: part.last,
            keyed: part.key.is_some(),
            sealed: sealing != 0,
            packing,
            part: part.number,
            time,
            stored,
            raw,
            events: part.events,
            number,
        };
        let record = &mut self.packer.record;
        if let Some(keys) = keys.filter(|_| header.sealed) {
            let mut aad = Vec::with_capacity(RECORD_HEADER);
            header.encode(&mut aad);
            let place = (writer.header.identity, writer.length);
            keys.seal(writer.header.key, place, &aad, record, RECORD_HEADER)
                .ok_or(AppendError::TooLarge)?;
        }
        header.finish(writer.header.identity, record);
        let written = write_all_at(&*writer.handle, record, writer.length);
        if let Err(error) = written {
            self.counts.failed_appends += 1;
            self.cut_writer();
            return Err(disk(error));
        }
        let offset = writer.length;
        writer.length += length as u64;
        let segment = writer.number;
        let place = Place {
            segment,
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            stored,
            raw,
            events: part.events,
            part: part.number,
            last: part.last,
            keyed: header.keyed,
        };
        self.note_append(part, place, now);
        Ok(())
    }

    fn note_append(&mut self, part: &Part<'_>, place: Place, now: u64) {
        let fresh = !self.index.contains(part.bundle);
        let put = self.index.put(part.bundle, place, now, false);
        if let Some(writer) = self.writer.as_mut().filter(|_| fresh) {
            writer.bundles += 1;
        }
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.length =
                u64::from(place.offset) + RECORD_HEADER as u64 + u64::from(place.stored);
            segment.meet(part.bundle.number, now);
            segment.live += u64::from(put == Put::FirstInSegment);
        }
        let counts = &mut self.counts;
        counts.held_bundles += u64::from(fresh);
        counts.held_events += u64::from(part.events);
        counts.held_raw_bytes += u64::from(place.raw);
        counts.appended_events += u64::from(part.events);
        counts.appended_parts += 1;
        counts.appended_bytes += RECORD_HEADER as u64 + u64::from(place.stored);
    }

    /// Makes sure that there is a segment and room for a record of `bytes`, which is charged.
    fn open_for(
        &mut self,
        id: BundleId,
        (sealing, limit): (u64, u64),
        now: u64,
        bytes: u64,
    ) -> Result<(), AppendError> {
        let fits = self.writer.as_ref().is_some_and(|writer| {
            writer.header.key == sealing && writer.place_for(id, now, bytes, limit).is_some()
        });
        let needed = if fits { bytes } else { bytes + DATA_START };
        self.charge(needed, now)?;
        if !fits {
            self.close_writer();
            if let Err(error) = self.begin_segment(id, sealing, now) {
                self.uncharge(needed);
                self.counts.failed_appends += 1;
                return Err(disk(error));
            }
        }
        if let Some(writer) = &self.writer
            && let Some(segment) = self.segments.get_mut(&writer.number)
        {
            segment.bytes += needed;
        }
        Ok(())
    }

    fn charge(&mut self, bytes: u64, now: u64) -> Result<(), AppendError> {
        loop {
            let taken = if self.charged + bytes > self.rules.max_bytes {
                Err(Full::Lane)
            } else {
                self.take_room(bytes, now)
            };
            match taken {
                Ok(()) => break,
                Err(_) if self.delete_now() => {}
                Err(_) if self.rules.when_full == WhenFull::DropOldest => {
                    let before = self.charged;
                    if !self.drop_oldest_segment() {
                        return taken.map_err(AppendError::Full);
                    }
                    self.given_up += before.saturating_sub(self.charged);
                }
                Err(full) => return Err(AppendError::Full(full)),
            }
        }
        self.charged += bytes;
        Ok(())
    }

    /// Room within its bound, or where it is above that in place of what was given up: all that is too much
    /// at once would be lost for one record, when lanes have come or the weight is another one.
    fn take_room(&mut self, bytes: u64, now: u64) -> Result<(), Full> {
        let taken = self.room.take(bytes, &*self.files, &self.folder, now);
        if taken.is_ok() {
            self.given_up = 0;
            return taken;
        }
        if bytes > self.given_up {
            return taken;
        }
        self.room
            .take_back(bytes, &*self.files, &self.folder, now)?;
        self.given_up -= bytes;
        Ok(())
    }

    fn begin_segment(&mut self, id: BundleId, sealing: u64, now: u64) -> io::Result<()> {
        let number = self.next_number;
        let first_cut = self.cuts.len().saturating_sub(MAX_CUTS);
        let header = Arc::new(SegmentHeader {
            number,
            identity: self.files.random(),
            prefix: id.prefix,
            // Bundles that were opened before this one may still come.
            base: id.number,
            created: now,
            key: sealing,
            cuts: self.cuts.get(first_cut..).unwrap_or_default().to_vec(),
            project: self.names.0.clone(),
            logstore: self.names.1.clone(),
        });
        let path = self.path(number);
        let created = match self.files.create(&path) {
            Err(error) if Fault::of(&error) == Fault::Gone => {
                self.adrift = true;
                self.files.create_folder(&self.folder)?;
                self.files.create(&path)?
            }
            Err(error) => {
                // A number that is in use heals by the next one.
                let taken = error.kind() == io::ErrorKind::AlreadyExists;
                self.next_number += u64::from(taken);
                return Err(error);
            }
            Ok(created) => created,
        };
        self.next_number += 1;
        if let Err(error) = write_all_at(&*created, &header.encode(), 0) {
            // Without a header it is nothing, and opening deletes it when this cannot.
            if self.files.remove(&path).is_err() {
                self.counts.failed_upkeep += 1;
            }
            return Err(error);
        }
        let segment = Segment {
            header: Arc::clone(&header),
            bytes: 0,
            length: DATA_START,
            cut: false,
            numbers: None,
            live: 0,
            times: (now, now),
            state: State::Awake,
            anchored: false,
            tries: 0,
        };
        self.segments.insert(number, segment);
        self.writer = Some(Writer {
            number,
            handle: created,
            header,
            length: DATA_START,
            synced: 0,
            bundles: 0,
        });
        Ok(())
    }

    /// The segment at hand takes no more records.
    pub(super) fn retire_writer(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        let number = writer.number;
        if writer.synced < writer.length {
            self.closing.push(Closing {
                number,
                handle: writer.handle,
                length: writer.length,
                synced: writer.synced,
            });
        }
        self.remove_if_spent(number);
        self.sleep_if_large();
    }

    /// The same, and sees to it that not too many files are open.
    fn close_writer(&mut self) {
        self.retire_writer();
        if self.closing.len() > MAX_CLOSING && !self.syncing {
            // What is in doubt is told by the next sync of the caller.
            if let Err(doubt) = self.sync() {
                self.doubts.extend(doubt.parts);
            }
        }
    }

    /// A write failed: what was written before is good, and nothing after it counts.
    fn cut_writer(&mut self) {
        if let Some(writer) = &self.writer {
            let (segment, length) = (writer.number, writer.length);
            self.cuts.push(Cut { segment, length });
            if let Some(found) = self.segments.get_mut(&segment) {
                found.cut = true;
            }
        }
        self.close_writer();
    }
}
