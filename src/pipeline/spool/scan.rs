//! Reading a segment from front to end, whatever became of it.
//!
//! Promise: every record whose bytes are whole is found, also behind damage: a payload that is
//! damaged does not hide its successor, since the length has a checksum of its own, and behind a
//! damaged header the next good one is looked for. Memory: one buffer of [`CHUNK`] bytes, or one
//! record where that is larger.

use std::io;
use std::sync::Arc;

use super::files::{Handle, read_full_at};
use super::format::{DATA_START, RECORD_HEADER, RECORD_MAGIC, RecordHeader};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// Bytes that are given up when they cannot be read.
const SECTOR: usize = 4096;

/// One find of a scan.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A whole record. `bytes` are its header and its payload.
    Record {
        offset: u64,
        header: RecordHeader,
        bytes: &'a [u8],
    },
    /// The header is whole, the payload is not.
    Damaged { offset: u64, header: RecordHeader },
    /// No record, in front of a good header.
    Garbage { offset: u64, length: u64 },
    /// No whole record to the end of the file. Comes last.
    Tail {
        offset: u64,
        length: u64,
        /// Nothing but zeros.
        zeros: bool,
    },
}

/// A scan on its way.
#[derive(Debug)]
pub(super) struct Scanner {
    file: Arc<dyn Handle>,
    identity: u64,
    /// Where it ends.
    limit: u64,
    /// Where it goes on.
    at: u64,
    buffer: Vec<u8>,
    /// Offset of the first byte in `buffer`.
    start: u64,
    /// What cannot be read is taken for zeros.
    salvage: bool,
    /// How many bytes could not be read.
    pub(super) unreadable: u64,
}

impl Scanner {
    /// A scan of the records below `limit`. With `salvage`, sectors that cannot be read count as
    /// damage; without it they end the scan with an error.
    pub(super) fn new(file: Arc<dyn Handle>, identity: u64, limit: u64, salvage: bool) -> Self {
        Self {
            file,
            identity,
            limit,
            at: DATA_START,
            buffer: Vec::new(),
            start: 0,
            salvage,
            unreadable: 0,
        }
    }

    /// The next find; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read. The scan does not go on then.
    pub(super) fn next(&mut self) -> io::Result<Option<Found<'_>>> {
        let offset = self.at;
        if offset >= self.limit {
            return Ok(None);
        }
        let identity = self.identity;
        let head = self.window(offset, RECORD_HEADER)?;
        let Some(header) = RecordHeader::decode(identity, head) else {
            return self.skip_garbage().map(Some);
        };
        let length = header.record_bytes();
        if length > self.limit - offset {
            return self.end_with_tail(offset).map(Some);
        }
        self.at = offset + length;
        let bytes = self.window(offset, usize::try_from(length).unwrap_or(usize::MAX))?;
        let payload = bytes.get(RECORD_HEADER..).unwrap_or_default();
        Ok(Some(if RecordHeader::fits(identity, bytes, payload) {
            Found::Record {
                offset,
                header,
                bytes,
            }
        } else {
            Found::Damaged { offset, header }
        }))
    }

    /// Looks for the next good header.
    fn skip_garbage(&mut self) -> io::Result<Found<'static>> {
        let (from, identity, limit) = (self.at, self.identity, self.limit);
        let mut at = from + 1;
        while at < self.limit {
            let window = self.window(at, CHUNK)?;
            let length = window.len();
            for step in memchr::memchr_iter(RECORD_MAGIC[0], window) {
                let candidate = window.get(step..).unwrap_or_default();
                if candidate.len() < RECORD_HEADER && at + (length as u64) < limit {
                    break;
                }
                if RecordHeader::decode(identity, candidate).is_some() {
                    self.at = at + step as u64;
                    return Ok(Found::Garbage {
                        offset: from,
                        length: self.at - from,
                    });
                }
            }
            // A header may lie across the end of this window.
            let overlap = RECORD_HEADER.min(length.saturating_sub(1));
            let more = at + (length as u64) < self.limit;
            at += (length - if more { overlap } else { 0 }).max(1) as u64;
        }
        self.end_with_tail(from)
    }

    fn end_with_tail(&mut self, offset: u64) -> io::Result<Found<'static>> {
        let (mut zeros, mut at) = (true, offset);
        while zeros && at < self.limit {
            let window = self.window(at, CHUNK)?;
            zeros = window.iter().all(|byte| *byte == 0);
            at += window.len().max(1) as u64;
        }
        self.at = self.limit;
        Ok(Found::Tail {
            offset,
            length: self.limit - offset,
            zeros,
        })
    }

    /// The bytes from `at` on: `want` of them, fewer where the scan ends.
    fn window(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let want = want.min(left);
        let held = self.start..self.start + self.buffer.len() as u64;
        if !(held.contains(&at) && at + want as u64 <= held.end) {
            self.fill(at, want.max(CHUNK.min(left)))?;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let end = (from + want).min(self.buffer.len());
        Ok(self.buffer.get(from..end).unwrap_or_default())
    }

    /// Reads so that the buffer holds `count` bytes from `at` on.
    fn fill(&mut self, at: u64, count: usize) -> io::Result<()> {
        let kept = match usize::try_from(at.wrapping_sub(self.start)) {
            Ok(from) if at >= self.start && from < self.buffer.len() => {
                self.buffer.copy_within(from.., 0);
                self.buffer.len() - from
            }
            _ => 0,
        };
        self.start = at;
        self.buffer.resize(count, 0);
        let place = self.buffer.get_mut(kept..).unwrap_or_default();
        let mut done = 0;
        while done < place.len() {
            let rest = place.get_mut(done..).unwrap_or_default();
            match read_full_at(&*self.file, rest, at + (kept + done) as u64) {
                Ok(0) => {
                    // Shorter than it was: what is missing reads as zeros.
                    rest.fill(0);
                    break;
                }
                Ok(read) => done += read,
                Err(error) if !self.salvage => {
                    self.buffer.clear();
                    return Err(error);
                }
                Err(_) => {
                    let step = rest.len().min(SECTOR);
                    let sector = rest.get_mut(..step).unwrap_or_default();
                    match read_full_at(&*self.file, sector, at + (kept + done) as u64) {
                        Ok(0) | Err(_) => {
                            sector.fill(0);
                            self.unreadable += step as u64;
                            done += step;
                        }
                        Ok(read) => done += read,
                    }
                }
            }
        }
        Ok(())
    }
}
