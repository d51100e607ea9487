//! Where the whole frames of a segment end, after a crash.
//!
//! Promise: what was synced stays, however large its frames are. No more than [`UNSYNCED`] bytes, or
//! one frame, are ever written without a sync, so only frames that begin in the last so many bytes can
//! be torn; those are looked at down to their content, and what is behind one that is not sound goes.
//! Not seen are holes in what has no checksum and no form: blocks that lz4 leaves as they are, and the
//! values of a LogGroup that is not packed. Such a batch was not acknowledged, and comes once more.
//! The content is not held: of a frame no more is in memory than a block or a window.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use super::frame::{FileFormat, LZ4_BLOCK, LZ4_HEAD, LZ4_PLAIN};
use crate::foundation::wire::Reader;
use crate::logstore::codec::Codec;

/// Bytes that are written at most before they are synced; a frame that is larger stands alone.
pub(super) const UNSYNCED: u64 = 16 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// LogGroups are not larger (`parcel`).
const LARGEST: u64 = 64 << 20;
/// Bytes of lines that are read at once.
const STEP: u64 = 64 << 10;

/// Where the last whole frame of a segment of `length` bytes ends.
pub(super) fn whole(file: &File, length: u64, format: FileFormat, codec: Codec) -> io::Result<u64> {
    let source = Source { file, length };
    if codec == Codec::None && format == FileFormat::Ndjson {
        return source.lines_end();
    }
    let doubtful = length.saturating_sub(UNSYNCED);
    let (mut end, mut last, mut doubted) = (0, 0, None);
    while let Some(next) = source.frame_end(end, codec)? {
        if end >= doubtful {
            doubted.get_or_insert(end);
        }
        (last, end) = (end, next);
    }
    let mut at = doubted.unwrap_or(last);
    while at < end
        && let Some(next) = source.frame_end(at, codec)?
    {
        if !source.is_sound(at, next, codec)? {
            return Ok(at);
        }
        at = next;
    }
    Ok(end)
}

struct Source<'f> {
    file: &'f File,
    length: u64,
}

impl Source<'_> {
    fn bytes(&self, at: u64, count: u64) -> io::Result<Vec<u8>> {
        let count = count.min(LARGEST).min(self.length.saturating_sub(at));
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// So many bytes; `None` where the file ends before.
    fn exactly<const N: usize>(&self, at: u64) -> io::Result<Option<[u8; N]>> {
        let bytes = self.bytes(at, N as u64)?;
        Ok(bytes.try_into().ok())
    }

    /// Where the frame that begins here ends; `None`: there is none, or not all of it.
    fn frame_end(&self, at: u64, codec: Codec) -> io::Result<Option<u64>> {
        let end = match codec {
            Codec::Lz4 => self.lz4_end(at)?,
            Codec::Zstd => self.zstd_end(at)?,
            _ => self.delimited_end(at)?,
        };
        Ok(end.filter(|end| *end <= self.length))
    }

    /// Whether the content of a frame can be had.
    fn is_sound(&self, start: u64, end: u64, codec: Codec) -> io::Result<bool> {
        match codec {
            Codec::Zstd => self.is_sound_zstd(start, end),
            Codec::Lz4 => self.is_sound_lz4(start),
            _ => self.is_sound_log_group(start, end),
        }
    }

    fn is_sound_zstd(&self, start: u64, end: u64) -> io::Result<bool> {
        let mut part = Part {
            file: self.file,
            at: start,
            end,
            failed: None,
        };
        let decoder = zstd::stream::read::Decoder::new(&mut part)?;
        let read = io::copy(&mut decoder.single_frame(), &mut io::sink());
        match part.failed {
            // The disk has failed, and says nothing of the frame.
            Some(error) => Err(error),
            None => Ok(read.is_ok()),
        }
    }

    fn is_sound_lz4(&self, start: u64) -> io::Result<bool> {
        let mut at = start + LZ4_HEAD.len() as u64;
        while let Some(size) = self.exactly::<4>(at)?.map(u32::from_le_bytes) {
            if size == 0 {
                return Ok(true);
            }
            let block = self.bytes(at + 4, u64::from(size & !LZ4_PLAIN))?;
            let packed = size & LZ4_PLAIN == 0;
            if packed && lz4_flex::block::decompress(&block, LZ4_BLOCK).is_err() {
                return Ok(false);
            }
            at += 4 + block.len() as u64;
        }
        Ok(false)
    }

    /// Looks at the fields of the LogGroup, not into them.
    fn is_sound_log_group(&self, start: u64, end: u64) -> io::Result<bool> {
        let message = self.bytes(start, end - start)?;
        let varint = message.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let mut fields = Reader::new(message.get(varint..).unwrap_or_default());
        // One that was not read to its end is larger than any of ours.
        if end - start > LARGEST {
            return Ok(true);
        }
        loop {
            match fields.next_field() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            }
        }
    }

    /// Behind the last line break that ends an object, before the first zero of what may be torn: no
    /// line has one.
    fn lines_end(&self) -> io::Result<u64> {
        let mut end = self.length.saturating_sub(UNSYNCED);
        while end < self.length {
            let bytes = self.bytes(end, STEP)?;
            let zero = memchr::memchr(0, &bytes);
            end += zero.unwrap_or(bytes.len()) as u64;
            if zero.is_some() {
                break;
            }
        }
        let length = end;
        while end > 0 {
            let start = end.saturating_sub(STEP);
            // One byte more, in case the two stand on both sides.
            let bytes = self.bytes(start, (end + 1).min(length) - start)?;
            if let Some(at) = memchr::memmem::rfind(&bytes, b"}\n") {
                return Ok(start + at as u64 + 2);
            }
            end = start;
        }
        Ok(0)
    }

    fn delimited_end(&self, at: u64) -> io::Result<Option<u64>> {
        let head = self.bytes(at, 10)?;
        let mut length = 0_u64;
        for (byte, shift) in head.iter().zip((0_u32..).step_by(7)) {
            length |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                let end = at.checked_add(u64::from(shift / 7) + 1);
                // A batch is never empty: zeros are what a crash may leave.
                let end = end.filter(|_| length > 0);
                return Ok(end.and_then(|end| end.checked_add(length)));
            }
        }
        Ok(None)
    }

    fn lz4_end(&self, at: u64) -> io::Result<Option<u64>> {
        if self.exactly::<7>(at)? != Some(LZ4_HEAD) {
            return Ok(None);
        }
        let mut at = at + LZ4_HEAD.len() as u64;
        while let Some(size) = self.exactly::<4>(at)?.map(u32::from_le_bytes) {
            at += 4;
            if size == 0 {
                return Ok(Some(at));
            }
            let block = u64::from(size & !LZ4_PLAIN);
            if block > LZ4_BLOCK as u64 {
                return Ok(None);
            }
            at += block;
        }
        Ok(None)
    }

    /// By RFC 8878, section 3.1.1.
    fn zstd_end(&self, at: u64) -> io::Result<Option<u64>> {
        let Some([magic @ .., descriptor]) = self.exactly::<5>(at)? else {
            return Ok(None);
        };
        if magic != ZSTD_MAGIC {
            return Ok(None);
        }
        let single = descriptor & 0x20 != 0;
        let dictionary = (1_u64 << (descriptor & 3)) >> 1;
        let size = match descriptor >> 6 {
            0 => u64::from(single),
            long => 1 << long,
        };
        let checksum = if descriptor & 4 == 0 { 0 } else { 4 };
        let mut at = at + 5 + u64::from(!single) + dictionary + size;
        while let Some([a, b, c]) = self.exactly::<3>(at)? {
            let head = u32::from_le_bytes([a, b, c, 0]);
            let repeated = (head >> 1) & 3 == 1;
            at += 3 + if repeated { 1 } else { u64::from(head >> 3) };
            if head & 1 == 1 {
                return Ok(Some(at + checksum));
            }
        }
        Ok(None)
    }
}

/// Some bytes of a file.
struct Part<'f> {
    file: &'f File,
    at: u64,
    end: u64,
    failed: Option<io::Error>,
}

impl Read for Part<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let most = left.min(out.len());
        let read = self
            .file
            .read_at(out.get_mut(..most).unwrap_or_default(), self.at);
        match read {
            Ok(count) => {
                self.at += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::frame::{delimited, wrap};
    use super::*;
    use crate::foundation::wire::put_bytes;

    const FORMS: [(FileFormat, Codec); 6] = [
        (FileFormat::Ndjson, Codec::None),
        (FileFormat::Ndjson, Codec::Lz4),
        (FileFormat::Ndjson, Codec::Zstd),
        (FileFormat::Protobuf, Codec::None),
        (FileFormat::Protobuf, Codec::Lz4),
        (FileFormat::Protobuf, Codec::Zstd),
    ];

    fn batch(format: FileFormat, codec: Codec, number: usize) -> Vec<u8> {
        let plain = match format {
            FileFormat::Ndjson => format!("{{\"n\":{number}}}\n")
                .repeat(40 * number + 1)
                .into_bytes(),
            FileFormat::Protobuf => {
                let mut log_group = Vec::new();
                for log in 0..=40 * number {
                    put_bytes(&mut log_group, 0x0a, format!("log {log}").as_bytes());
                }
                delimited(&log_group)
            }
        };
        wrap(codec, plain).unwrap()
    }

    fn kept_of(all: &[u8], (format, codec): (FileFormat, Codec)) -> usize {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(all).unwrap();
        let kept = whole(&file, all.len() as u64, format, codec).unwrap();
        usize::try_from(kept).unwrap()
    }

    #[test]
    fn a_segment_that_is_cut_anywhere_keeps_its_whole_batches() {
        for (format, codec) in FORMS {
            let batches: Vec<_> = (1..4).map(|number| batch(format, codec, number)).collect();
            let all = batches.concat();
            let ends = [batches[0].len(), batches[0].len() + batches[1].len()];
            for cut in (0..=all.len())
                .step_by(7)
                .chain([ends[0], ends[1], all.len()])
            {
                let kept = kept_of(&all[..cut], (format, codec));
                let least = [0, ends[0], ends[1], all.len()];
                let least = least.into_iter().rfind(|end| *end <= cut).unwrap();
                match (format, codec) {
                    // Whole lines of a batch that is not whole stay; it will come again.
                    (FileFormat::Ndjson, Codec::None) => {
                        assert!((least..=cut).contains(&kept));
                        assert!(kept == 0 || all[..kept].ends_with(b"}\n"));
                    }
                    _ => assert_eq!(kept, least, "{format:?} {codec:?} {cut}"),
                }
            }
        }
    }

    /// Stored as they are, such bytes decode whatever they are.
    #[test]
    fn a_hole_in_what_cannot_be_packed_is_seen_by_the_checksum() {
        let mut random = 1u64;
        let noise = std::iter::repeat_with(|| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            random.to_be_bytes()[0]
        });
        let mut frame = wrap(Codec::Zstd, noise.take(64 << 10).collect()).unwrap();
        let form = (FileFormat::Ndjson, Codec::Zstd);
        assert_eq!(kept_of(&frame, form), frame.len());
        frame[8192..12_288].fill(0);
        assert_eq!(kept_of(&frame, form), 0);
    }

    #[test]
    fn zeros_and_garbage_behind_whole_batches_are_cut() {
        for (format, codec) in FORMS {
            let good = batch(format, codec, 2);
            for tail in [&[0_u8; 5000][..], &[0xff; 700], b"{\"torn\":"] {
                let kept = kept_of(&[&good, tail].concat(), (format, codec));
                assert_eq!(kept, good.len(), "{format:?} {codec:?} {:?}", &tail[..2]);
            }
        }
    }

    /// Several frames are on their way to the disk at once, and any page of them may be missing.
    #[test]
    fn what_is_behind_a_hole_in_the_last_frames_is_cut() {
        for (format, codec) in FORMS {
            let first = batch(format, codec, 1);
            let second = match (format, codec) {
                (FileFormat::Protobuf, _) | (_, Codec::None) => batch(format, codec, 300),
                _ => {
                    let lines = (0..2000_u32).map(|n| format!("{{\"n\":{}}}\n", n * 7919));
                    wrap(codec, lines.collect::<String>().into_bytes()).unwrap()
                }
            };
            let mut all = [&first[..], &second, &first].concat();
            // Pages that were never written, while what is behind them was.
            let hole = first.len() + second.len() / 2;
            all[hole..hole + second.len() / 4].fill(0);
            let kept = kept_of(&all, (format, codec));
            match (format, codec) {
                (FileFormat::Ndjson, Codec::None) => {
                    assert!((first.len()..hole).contains(&kept) && all[..kept].ends_with(b"}\n"));
                }
                _ => assert_eq!(kept, first.len(), "{format:?} {codec:?}"),
            }
        }
    }

    /// Frames of this size are not written any more.
    #[test]
    fn whole_frames_are_kept_however_large_they_are() {
        // More than 256 MiB before compression.
        let mut file = tempfile::tempfile().unwrap();
        let mut packing = zstd::stream::write::Encoder::new(&mut file, 1).unwrap();
        let lines = b"{\"n\":1}\n".repeat(1 << 17);
        for _ in 0..280 {
            packing.write_all(&lines).unwrap();
        }
        packing.finish().unwrap();
        let length = file.metadata().unwrap().len();
        let kept = whole(&file, length, FileFormat::Ndjson, Codec::Zstd).unwrap();
        assert_eq!(kept, length);
        // More than 64 MiB after it.
        let mut frame = LZ4_HEAD.to_vec();
        for _ in 0..20 {
            frame.extend_from_slice(&(LZ4_PLAIN | (4 << 20)).to_le_bytes());
            frame.resize(frame.len() + LZ4_BLOCK, b'x');
        }
        frame.extend_from_slice(&[0; 4]);
        let form = (FileFormat::Ndjson, Codec::Lz4);
        assert_eq!(kept_of(&frame, form), frame.len());
        // And one before the last so many bytes is not looked at again.
        let small = wrap(Codec::Lz4, b"{}\n".to_vec()).unwrap();
        let all = [&frame[..], &small].concat();
        assert_eq!(kept_of(&all, form), all.len());
    }
}
