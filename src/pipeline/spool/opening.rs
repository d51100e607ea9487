//! Opening a log: the headers of what earlier lives left, and the checkpoint.
//!
//! Promise: opening needs no person, whatever is in the directory, and reads no records, so it is
//! quick.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::counts::Counts;
use super::damaged::Damaged;
use super::files::{Files, Handle, read_full_at};
use super::format::{Cut, DATA_START, HeaderRead, SegmentHeader};
use super::index::Index;
use super::keys::StandingKeys;
use super::log::{Log, LogRules, Segment, State};
use super::number_of;
use super::payload::Packer;
use super::ranges::Ranges;
use super::space::Space;
use crate::foundation::names::{LogstoreName, ProjectName};

/// How often a header may fail to be read before its segment is left alone.
const PATIENCE: u8 = 3;

/// What a log needs of its surroundings.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) files: Arc<dyn Files>,
    pub(super) folder: PathBuf,
    pub(super) names: (ProjectName, LogstoreName),
    pub(super) keys: StandingKeys,
    pub(super) space: Arc<Space>,
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
            room: space.enter(rules.claim, rules.max_bytes),
            rules,
            keys,
            segments: BTreeMap::new(),
            index: Index::default(),
            writer: None,
            closing: Vec::new(),
            packer: Packer::default(),
            next_number: 1,
            born: 1,
            charged: 0,
            given_up: 0,
            doomed: Vec::new(),
            removed: Vec::new(),
            cuts: Vec::new(),
            adrift: true,
            syncing: false,
            checkpointing: false,
            doubts: Vec::new(),
            counts: Counts::default(),
        };
        if let Err(error) = log.look_around() {
            // It is opened again, in a room of its own.
            log.room.leave();
            return Err(error);
        }
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
        self.sweep(usize::MAX);
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
        self.room.occupy(bytes);
        None
    }

    fn take_in(&mut self, number: u64, bytes: u64, header: SegmentHeader, known: &Checkpoint) {
        self.charged += bytes;
        self.room.occupy(bytes);
        let known = known.of(number, header.identity);
        let (done, as_of) = known.map_or((Ranges::default(), 0), |p| (p.done.clone(), p.as_of));
        let gone = done == Ranges::all();
        let open = header.key == 0 || self.keys.now().is_some_and(|k| k.has(header.key));
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
