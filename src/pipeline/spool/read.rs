//! Reading a bundle back.
//!
//! A read may run without the log: [`Log::plan`], [`Fetch::read`], [`Log::settle`].

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::BundleId;
use super::append::Fault;
use super::files::{Files, Handle, read_full_at};
use super::format::{RECORD_HEADER, RecordHeader, SegmentHeader};
use super::index::{Entry, Place};
use super::keys::KeyRing;
use super::log::Log;
use super::payload::{Content, unpack};
use super::recover::record_bytes;
use crate::event::{LOG_TAGS_TAG, pair_of};
use crate::foundation::wire::{Field, Reader};

const LOG_TAGS: u32 = (LOG_TAGS_TAG >> 3) as u32;

/// How often a bundle may fail to be read before what cannot be read counts as lost.
const PATIENCE: u8 = 5;

/// A bundle that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Which.
    pub id: BundleId,
    /// A LogGroup without its pack id: the events of all parts in their order, then the key.
    pub log_group: Vec<u8>,
    /// How many bytes of `log_group` are events; the key is behind.
    pub logs_bytes: usize,
    /// How many events it holds.
    pub events: u64,
    /// When its first part was appended, in Unix milliseconds.
    pub time: u64,
}

impl Bundle {
    /// Whether the LogGroup has a pack id already: it is a part of one that was sent in parts, or of a
    /// bundle of which only some was on disk.
    #[must_use]
    pub fn has_pack_id(&self) -> bool {
        let mut key = Reader::new(self.log_group.get(self.logs_bytes..).unwrap_or_default());
        while let Ok(Some(field)) = key.next_field() {
            if let Field::Bytes(LOG_TAGS, tag) = field
                && pair_of(tag).0 == b"__pack_id__"
            {
                return true;
            }
        }
        false
    }
}

/// Why a bundle was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk refused. The bundle waits again.
    #[error("the spool could not be read ({fault:?}): {source}")]
    Disk {
        /// Its kind.
        fault: Fault,
        /// What the operating system said.
        source: io::Error,
    },
    /// It is damaged, or was deleted. It is gone, and its events are counted as lost.
    #[error("a bundle of the spool was lost")]
    Lost,
    /// It is not known.
    #[error("no such bundle is in the spool")]
    Unknown,
}

/// How to read one bundle.
#[derive(Debug)]
pub struct Fetch {
    id: BundleId,
    time: u64,
    files: Arc<dyn Files>,
    keys: Option<Arc<KeyRing>>,
    /// Sorted by the numbers of the parts.
    places: Vec<(Place, Arc<SegmentHeader>, PathBuf)>,
    /// What cannot be read is lost.
    salvage: bool,
}

/// How that went; for [`Log::settle`].
#[derive(Debug)]
#[must_use = "the log must know"]
pub struct Reading {
    bundle: Bundle,
    keyed: bool,
    /// Numbers of parts that are damaged or gone.
    lost: Vec<u16>,
    error: Option<io::Error>,
}

impl Fetch {
    /// Blocks until the disk has answered.
    pub fn read(&self) -> Reading {
        let room: usize = self
            .places
            .iter()
            .map(|(p, _, _)| p.raw as usize + 64)
            .sum();
        let mut reading = Reading {
            bundle: Bundle {
                id: self.id,
                log_group: Vec::with_capacity(room),
                logs_bytes: 0,
                events: 0,
                time: self.time,
            },
            keyed: false,
            lost: Vec::new(),
            error: None,
        };
        let mut key = Vec::new();
        let mut open: Option<(u64, Arc<dyn Handle>)> = None;
        let mut buffer = Vec::new();
        for (place, header, path) in &self.places {
            let file = match open.take().filter(|(segment, _)| *segment == place.segment) {
                Some((_, file)) => Ok(file),
                None => self.files.open(path),
            };
            let content = file.and_then(|file| {
                open = Some((place.segment, Arc::clone(&file)));
                self.part(&*file, place, header, &mut buffer)
            });
            match content {
                Ok(Some(content)) => {
                    let bundle = &mut reading.bundle;
                    bundle.log_group.extend_from_slice(content.logs());
                    bundle.events += u64::from(place.events);
                    if place.keyed && !reading.keyed {
                        key = content.key().to_vec();
                        reading.keyed = true;
                    }
                }
                Ok(None) => reading.lost.push(place.part),
                Err(_) if self.salvage => reading.lost.push(place.part),
                Err(error) => {
                    reading.error = Some(error);
                    break;
                }
            }
        }
        reading.bundle.logs_bytes = reading.bundle.log_group.len();
        reading.bundle.log_group.extend_from_slice(&key);
        reading
    }

    /// One part; `None` when it is not what was appended.
    fn part(
        &self,
        file: &dyn Handle,
        place: &Place,
        segment: &SegmentHeader,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<Content>> {
        buffer.resize(record_bytes(place), 0);
        if read_full_at(file, buffer, u64::from(place.offset))? < buffer.len() {
            return Ok(None);
        }
        let found = RecordHeader::decode(segment.identity, buffer);
        let Some(header) = found.filter(|header| {
            header.part == place.part
                && header.stored == place.stored
                && segment.bundle(header) == self.id
        }) else {
            return Ok(None);
        };
        let payload = buffer.get(RECORD_HEADER..).unwrap_or_default();
        if !RecordHeader::fits(segment.identity, buffer, payload) {
            return Ok(None);
        }
        let offset = u64::from(place.offset);
        let keys = self.keys.as_deref();
        Ok(unpack(segment, keys, &header, buffer, offset, payload))
    }
}

impl Log {
    /// How to read a bundle. `None` when it is not known.
    #[must_use]
    pub fn plan(&self, id: BundleId) -> Option<Fetch> {
        let entry = self.index.get(id)?;
        let mut places: Vec<_> = entry
            .places
            .iter()
            .filter_map(|place| {
                let segment = self.segments.get(&place.segment)?;
                let header = Arc::clone(&segment.header);
                Some((*place, header, self.path(place.segment)))
            })
            .collect();
        places.sort_unstable_by_key(|(place, _, _)| place.part);
        Some(Fetch {
            id,
            time: entry.time,
            files: Arc::clone(&self.files),
            keys: self.keys.now(),
            places,
            salvage: entry.tries >= PATIENCE,
        })
    }

    /// Notes how a read went. A bundle of which some parts are lost is given without them, as long
    /// as a part that says where it belongs is left; what is lost is counted.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn settle(&mut self, reading: Reading) -> Result<Bundle, ReadError> {
        let id = reading.bundle.id;
        if !self.index.contains(id) {
            return Err(ReadError::Unknown);
        }
        if let Some(source) = reading.error {
            let missing = source.kind() == io::ErrorKind::NotFound;
            let segments = self.index.get(id).map(Entry::segments).unwrap_or_default();
            let gone = segments
                .iter()
                .filter(|n| missing && self.is_missing(**n, &source));
            let gone: Vec<u64> = gone.copied().collect();
            for number in &gone {
                self.counts.missing_segments += 1;
                self.forget_segment(*number);
            }
            if !gone.is_empty() {
                return self.read(id).map_err(|error| match error {
                    ReadError::Unknown => ReadError::Lost,
                    other => other,
                });
            }
            if let Some(entry) = self.index.get_mut(id) {
                entry.tries = entry.tries.saturating_add(1);
            }
            self.index.set_waiting(id, true);
            return Err(ReadError::Disk {
                fault: Fault::of(&source),
                source,
            });
        }
        if !reading.lost.is_empty() {
            self.counts.damaged_records += reading.lost.len() as u64;
            self.copy_damage(id, &reading.lost);
            self.lose_places(id, |place| reading.lost.contains(&place.part));
        }
        let left = self.index.get(id).map_or(0, Entry::events);
        if left < reading.bundle.events {
            // It was found meanwhile that some of it is gone, and counted.
            return match left {
                0 => Err(ReadError::Lost),
                _ => self.read(id),
            };
        }
        if !reading.keyed {
            if let Some(entry) = self.end(id, super::log::End::Lost) {
                self.counts.headless_events += entry.events();
            }
            return Err(ReadError::Lost);
        }
        if let Some(entry) = self.index.get_mut(id) {
            entry.held = true;
        }
        Ok(reading.bundle)
    }

    /// Reads a bundle: [`Log::plan`], [`Fetch::read`] and [`Log::settle`] in one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self, id: BundleId) -> Result<Bundle, ReadError> {
        let fetch = self.plan(id).ok_or(ReadError::Unknown)?;
        self.settle(fetch.read())
    }

    fn copy_damage(&mut self, id: BundleId, parts: &[u16]) {
        let places = self.index.get(id).map(|entry| entry.places.clone());
        for place in places.iter().flatten().filter(|p| parts.contains(&p.part)) {
            let path = self.path(place.segment);
            let kept = self.files.open(&path).is_ok_and(|file| {
                let (offset, length) = (u64::from(place.offset), record_bytes(place) as u64);
                self.damaged.keep(place.segment, &*file, offset, length)
            });
            self.counts.not_copied += u64::from(!kept);
        }
    }
}
