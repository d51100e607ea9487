//! How a batch stands in a segment: in frames, which are made one after the other.
//!
//! | form | a batch is |
//! |---|---|
//! | NDJSON | its lines |
//! | protobuf | one LogGroup behind its length, a varint |
//! | with lz4 | LZ4 frames of that (`lz4 -dc` reads many in a row) |
//! | with zstd | Zstandard frames of that (`zstd -dc` reads many in a row) |
//!
//! Promise: a frame ends behind a line or a LogGroup. Of lines no more is in memory at once than
//! [`SLICE`] and one event, however often a batch repeats its topic, source and tags; a LogGroup is
//! one frame.

use std::io;

use super::FileRules;
use crate::foundation::wire::put_varint;
use crate::logstore::codec::{Codec, compress};
use crate::pipeline::delivery::anatomy::Anatomy;
use crate::pipeline::destination::json::JsonEvents;

/// The least that zstd does, as for the store.
const ZSTD_LEVEL: i32 = 1;

/// `LZ4 frame, version 1, independent blocks of at most 4 MiB`, with the checksum of these two bytes.
pub(super) const LZ4_HEAD: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73];
pub(super) const LZ4_BLOCK: usize = 4 << 20;
/// Of the size of a block: it is not compressed.
pub(super) const LZ4_PLAIN: u32 = 1 << 31;
/// Lines go in a frame until they have so many bytes.
pub(super) const SLICE: usize = 2 << 20;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// One JSON object a line.
    Ndjson,
    /// LogGroups, each behind its length as a varint.
    Protobuf,
}

/// A LogGroup, as it is written.
pub(super) struct Batch<'r> {
    rules: &'r FileRules,
    anatomy: Anatomy,
    /// Its id.
    pub(super) pack: String,
}

impl<'r> Batch<'r> {
    /// `None` when it is no LogGroup.
    pub(super) fn of(raw: Vec<u8>, rules: &'r FileRules) -> Option<Self> {
        let anatomy = Anatomy::of(raw)?;
        Some(Self {
            rules,
            pack: String::from_utf8_lossy(anatomy.pack()).into_owned(),
            anatomy,
        })
    }

    /// Its frames, each made when it is asked for. None of a batch without events.
    pub(super) fn frames(&self) -> Frames<'_> {
        let as_lines = self.rules.format == FileFormat::Ndjson;
        Frames {
            batch: self,
            lines: as_lines.then(|| JsonEvents::of(&self.anatomy)),
            next: 0,
        }
    }
}

/// The frames of a batch.
pub(super) struct Frames<'b> {
    batch: &'b Batch<'b>,
    /// `None`: the batch is one LogGroup.
    lines: Option<JsonEvents>,
    /// The first event that is in no frame yet.
    next: usize,
}

impl Iterator for Frames<'_> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let anatomy = &self.batch.anatomy;
        let events = anatomy.events();
        if self.next >= events {
            return None;
        }
        let codec = self.batch.rules.codec;
        let Some(lines) = &self.lines else {
            self.next = events;
            return Some(wrap(codec, delimited(anatomy.raw())));
        };
        let mut slice = Vec::new();
        while self.next < events && slice.len() < SLICE {
            lines.write(anatomy.log(self.next), &mut slice);
            slice.push(b'\n');
            self.next += 1;
        }
        Some(wrap(codec, slice))
    }
}

/// Puts lines, or a LogGroup behind its length, in a frame.
pub(super) fn wrap(codec: Codec, plain: Vec<u8>) -> io::Result<Vec<u8>> {
    match codec {
        Codec::None => Ok(plain),
        Codec::Zstd => zstd_frame(&plain),
        Codec::Lz4 => lz4(&plain),
        Codec::Deflate | Codec::Gzip => Err(io::Error::other("no codec of segments")),
    }
}

/// With a checksum, which recovery looks at: also of what cannot be packed any further.
fn zstd_frame(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut packer = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    packer.include_checksum(true)?;
    packer.compress(plain)
}

fn lz4(all: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = LZ4_HEAD.to_vec();
    for plain in all.chunks(LZ4_BLOCK) {
        let packed = compress(Codec::Lz4, plain).map_err(io::Error::other)?;
        let (flag, block) = match packed.len() < plain.len() {
            true => (0, packed.as_slice()),
            false => (LZ4_PLAIN, plain),
        };
        let size = u32::try_from(block.len()).map_err(io::Error::other)?;
        frame.extend_from_slice(&(size | flag).to_le_bytes());
        frame.extend_from_slice(block);
    }
    frame.extend_from_slice(&[0; 4]);
    Ok(frame)
}

/// A LogGroup behind its length.
pub(super) fn delimited(log_group: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(log_group.len() + 5);
    put_varint(&mut out, log_group.len() as u64);
    out.extend_from_slice(log_group);
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;
    use super::super::whole::whole;
    use super::*;
    use crate::event::{put_content, put_tag};
    use crate::foundation::wire::put_bytes;

    #[test]
    fn large_frames_are_several_blocks() {
        let plain: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
        let frame = wrap(Codec::Lz4, plain.clone()).unwrap();
        let mut rest = frame.strip_prefix(&LZ4_HEAD).unwrap();
        let mut back = Vec::new();
        loop {
            let (size, after) = rest.split_first_chunk::<4>().unwrap();
            let size = u32::from_le_bytes(*size);
            if size == 0 {
                break;
            }
            let (block, after) = after.split_at((size & !LZ4_PLAIN) as usize);
            match size & LZ4_PLAIN {
                0 => back.extend(lz4_flex::block::decompress(block, LZ4_BLOCK).unwrap()),
                _ => back.extend_from_slice(block),
            }
            rest = after;
        }
        assert_eq!(back, plain);
    }

    /// A small batch whose events all repeat 64 KiB of tags, as text of 384 KiB.
    #[test]
    fn a_frame_of_lines_is_bounded_however_much_the_events_repeat() {
        let mut raw = Vec::new();
        for number in 0..100_u32 {
            let mut log = vec![0x08, 0x01];
            put_content(&mut log, b"n", number.to_string().as_bytes());
            put_bytes(&mut raw, 0x0a, &log);
        }
        for tag in 0..16 {
            put_tag(&mut raw, format!("t{tag}").as_bytes(), &[1; 4096]);
        }
        for codec in [Codec::None, Codec::Lz4, Codec::Zstd] {
            let rules = rules("/".as_ref(), FileFormat::Ndjson, codec);
            let batch = Batch::of(raw.clone(), &rules).unwrap();
            let (mut frames, mut lines) = (0, 0);
            for frame in batch.frames() {
                let frame = frame.unwrap();
                let plain = match codec {
                    Codec::Zstd => zstd::decode_all(&frame[..]).unwrap(),
                    _ => frame.clone(),
                };
                assert!(plain.len() < SLICE + (400 << 10), "{codec:?}");
                lines += plain.iter().filter(|byte| **byte == b'\n').count();
                frames += 1;
                let mut file = tempfile::tempfile().unwrap();
                io::Write::write_all(&mut file, &frame).unwrap();
                let length = frame.len() as u64;
                let kept = whole(&file, length, FileFormat::Ndjson, codec).unwrap();
                assert_eq!(kept, length, "what is written is taken for whole");
            }
            assert!(frames > 15, "{frames}");
            assert!(lines == 100 || codec == Codec::Lz4, "{lines}");
        }
    }
}
