//! What is known to be done, in one small file that is replaced as a whole.
//!
//! Promise: an old, missing, torn or damaged checkpoint makes bundles be sent again, and never
//! makes one be forgotten: it speaks only of bytes that were in a segment when it was written, and
//! names each segment by its random identity.

use std::io;
use std::path::Path;

use super::bytes::Cursor;
use super::files::{Files, read_full_at, write_all_at};
use super::ranges::Ranges;

/// Name of the file.
pub(super) const FILE: &str = "checkpoint";
/// Name of the file until it is whole.
pub(super) const NEW_FILE: &str = "checkpoint.new";
const MAGIC: [u8; 8] = *b"TGSPDONE";
const VERSION: u16 = 1;
/// The most ranges that a checkpoint holds; those of the newest segments are left out.
const MAX_RANGES: usize = 16_384;
/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What is done of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) segment: u64,
    pub(super) identity: u64,
    /// Only records that begin below this offset are meant.
    pub(super) as_of: u64,
    /// Nothing from this offset on counts; `u64::MAX` where nothing is cut.
    pub(super) cut: u64,
    /// Numbers of the bundles that are done.
    pub(super) done: Ranges,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// No segment had this number or a higher one.
    pub(super) next_number: u64,
    pub(super) segments: Vec<Progress>,
}

impl Checkpoint {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.next_number.to_le_bytes());
        let mut left = MAX_RANGES;
        let fits = |progress: &&Progress| {
            let price = progress.done.pairs().len() + 1;
            let fits = price <= left;
            left = left.saturating_sub(price);
            fits
        };
        let kept: Vec<&Progress> = self.segments.iter().filter(fits).collect();
        out.extend_from_slice(&u32::try_from(kept.len()).unwrap_or(0).to_le_bytes());
        for progress in kept {
            let words = [
                progress.segment,
                progress.identity,
                progress.as_of,
                progress.cut,
            ];
            for word in words {
                out.extend_from_slice(&word.to_le_bytes());
            }
            let pairs = progress.done.pairs();
            out.extend_from_slice(&u32::try_from(pairs.len()).unwrap_or(0).to_le_bytes());
            for (first, last) in pairs {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&last.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut body = Cursor(body);
        if body.take(8)? != MAGIC || body.u16()? != VERSION {
            return None;
        }
        let next_number = body.u64()?;
        let mut segments = Vec::new();
        for _ in 0..body.u32()? {
            let [segment, identity] = [body.u64()?, body.u64()?];
            let [as_of, cut] = [body.u64()?, body.u64()?];
            let mut pairs = Vec::new();
            for _ in 0..body.u32()? {
                pairs.push((body.u64()?, body.u64()?));
            }
            segments.push(Progress {
                segment,
                identity,
                as_of,
                cut,
                done: Ranges::from_pairs(pairs)?,
            });
        }
        Some(Self {
            next_number,
            segments,
        })
    }

    /// Replaces the checkpoint of a lane. When this fails, the old one is still there, or none.
    pub(super) fn write(&self, files: &dyn Files, folder: &Path) -> io::Result<()> {
        let (path, new) = (folder.join(FILE), folder.join(NEW_FILE));
        match files.remove(&new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = files.create(&new)?;
        write_all_at(&*file, &self.encode(), 0)?;
        file.sync_data()?;
        files.rename(&new, &path)?;
        files.sync_folder(folder)
    }

    /// Reads the checkpoint of a lane; `None` when it is there and of no use.
    pub(super) fn read(files: &dyn Files, folder: &Path) -> io::Result<Option<Self>> {
        let file = match files.open(&folder.join(FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Self::default()));
            }
            Err(error) => return Err(error),
        };
        let length = file.bytes()?;
        if length > MAX_BYTES {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = read_full_at(&*file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Self::decode(&bytes))
    }

    /// What it says of a segment.
    pub(super) fn of(&self, segment: u64, identity: u64) -> Option<&Progress> {
        let same = |found: &&Progress| found.segment == segment && found.identity == identity;
        self.segments.iter().find(same)
    }
}
