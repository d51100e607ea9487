//! The bytes of a segment: its header, and the header of a record. The module's page (`spool`)
//! tells the layout.

use super::bytes::{Cursor, checksum, put_u24};
use crate::foundation::names::{LogstoreName, ProjectName};

/// The version that is written.
pub(super) const VERSION: u16 = 1;
/// Where the first record begins.
pub(super) const DATA_START: u64 = 1024;
/// Where the two copies of the segment's header lie: in sectors of their own.
pub(super) const COPIES: [usize; 2] = [0, 512];
/// Length of a record's header.
pub(super) const RECORD_HEADER: usize = 28;
/// The largest payload, in bytes, as given and as stored.
pub(super) const MAX_PAYLOAD: usize = (1 << 24) - 1;
/// How many cuts of older segments a header can tell.
pub(super) const MAX_CUTS: usize = 6;

const MAGIC: [u8; 8] = *b"TGSPOOL\n";
/// The first two bytes of each record.
pub(super) const RECORD_MAGIC: [u8; 2] = [0xA7, 0x5E];

const LAST: u8 = 1;
const KEYED: u8 = 2;
const SEALED: u8 = 4;
const PACKING: u8 = 0x30;

/// Which bundle: the prefix of one lane in one life of the process, and a number that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    /// Of one lane of one process; chosen at random.
    pub prefix: u64,
    /// Grows with each bundle; gaps are allowed.
    pub number: u64,
}

impl std::fmt::Display for BundleId {
    /// The text of `__pack_id__`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}-{:X}", self.prefix, self.number)
    }
}

/// From `length` on nothing in that segment counts: a write or a sync failed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) segment: u64,
    pub(super) length: u64,
}

/// What stands before the records of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The number in the file's name.
    pub(super) number: u64,
    /// Random; begins every checksum and every nonce of the segment.
    pub(super) identity: u64,
    /// [`BundleId::prefix`] of all its bundles.
    pub(super) prefix: u64,
    /// Numbers of bundles are told as the distance from this one.
    pub(super) base: u64,
    /// Unix milliseconds; times of records are told as the distance from it.
    pub(super) created: u64,
    /// Id of the key that seals its records; 0 where they are not sealed.
    pub(super) key: u64,
    /// At most [`MAX_CUTS`].
    pub(super) cuts: Vec<Cut>,
    pub(super) project: ProjectName,
    pub(super) logstore: LogstoreName,
}

/// What became of the header of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderRead {
    /// It was read, from the first copy or the second.
    Good(Box<SegmentHeader>),
    /// Written by a later version of the program.
    Newer(u16),
    /// Neither copy is whole.
    Bad,
}

impl SegmentHeader {
    /// Both copies, up to the first record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut copy = Vec::with_capacity(512);
        copy.extend_from_slice(&MAGIC);
        copy.extend_from_slice(&VERSION.to_le_bytes());
        let length_at = copy.len();
        copy.extend_from_slice(&[0, 0]);
        for word in [
            self.number,
            self.identity,
            self.prefix,
            self.base,
            self.created,
            self.key,
        ] {
            copy.extend_from_slice(&word.to_le_bytes());
        }
        let cuts = self.cuts.get(..MAX_CUTS).unwrap_or(&self.cuts);
        copy.push(u8::try_from(cuts.len()).unwrap_or(0));
        for cut in cuts {
            copy.extend_from_slice(&cut.segment.to_le_bytes());
            copy.extend_from_slice(&cut.length.to_le_bytes());
        }
        for name in [self.project.as_str(), self.logstore.as_str()] {
            copy.push(u8::try_from(name.len()).unwrap_or(0));
            copy.extend_from_slice(name.as_bytes());
        }
        let length = u16::try_from(copy.len() + 4).unwrap_or(0);
        if let Some(place) = copy.get_mut(length_at..length_at + 2) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        let crc = crc32c::crc32c(&copy);
        copy.extend_from_slice(&crc.to_le_bytes());
        let mut all = Vec::with_capacity(1024);
        for at in COPIES {
            all.resize(at, 0);
            all.extend_from_slice(&copy);
        }
        all.resize(1024, 0);
        all
    }

    /// Reads the first bytes of a segment, [`DATA_START`] of them or fewer.
    pub(super) fn decode(bytes: &[u8]) -> HeaderRead {
        let mut newer = None;
        for at in COPIES {
            match bytes.get(at..).map(decode_copy) {
                Some(HeaderRead::Bad) | None => {}
                Some(HeaderRead::Newer(version)) => newer = Some(version),
                Some(good) => return good,
            }
        }
        newer.map_or(HeaderRead::Bad, HeaderRead::Newer)
    }

    /// The bundle that a record's header means.
    pub(super) fn bundle(&self, record: &RecordHeader) -> BundleId {
        BundleId {
            prefix: self.prefix,
            number: self.base.wrapping_add_signed(i64::from(record.number)),
        }
    }

    /// The distance of a bundle's number, where it can be told.
    pub(super) fn distance(&self, number: u64) -> Option<i32> {
        let distance = i64::try_from(i128::from(number) - i128::from(self.base)).ok()?;
        let fits = (-(1 << 23)..1 << 23).contains(&distance);
        fits.then(|| i32::try_from(distance).ok()).flatten()
    }

    /// When a record was appended, in Unix milliseconds.
    pub(super) fn time(&self, record: &RecordHeader) -> u64 {
        self.created.saturating_add(u64::from(record.time))
    }
}

/// One copy. What never changes with the version: the magic, the version, the length of the copy,
/// and that its last four bytes are the CRC32C of those before.
fn decode_copy(bytes: &[u8]) -> HeaderRead {
    let whole = || {
        let mut head = Cursor(bytes);
        let magic = head.take(8)?;
        let version = head.u16()?;
        let length = usize::from(head.u16()?);
        let (body, crc) = bytes.get(..length)?.split_last_chunk::<4>()?;
        let good = magic == MAGIC && crc32c::crc32c(body) == u32::from_le_bytes(*crc);
        good.then_some((version, body.get(12..)?))
    };
    let Some((version, body)) = whole() else {
        return HeaderRead::Bad;
    };
    let read = match version {
        1 => decode_first(body),
        #[cfg(test)]
        0 => super::tests::versions::decode_zeroth(body),
        newer => return HeaderRead::Newer(newer),
    };
    read.map_or(HeaderRead::Bad, |header| HeaderRead::Good(Box::new(header)))
}

/// Version 1.
fn decode_first(body: &[u8]) -> Option<SegmentHeader> {
    let mut body = Cursor(body);
    let [number, identity, prefix] = [body.u64()?, body.u64()?, body.u64()?];
    let [base, created, key] = [body.u64()?, body.u64()?, body.u64()?];
    let mut cuts = Vec::new();
    for _ in 0..body.u8()? {
        cuts.push(Cut {
            segment: body.u64()?,
            length: body.u64()?,
        });
    }
    let mut name = || {
        let length = body.u8()?;
        std::str::from_utf8(body.take(usize::from(length))?).ok()
    };
    Some(SegmentHeader {
        number,
        identity,
        prefix,
        base,
        created,
        key,
        cuts,
        project: ProjectName::new(name()?).ok()?,
        logstore: LogstoreName::of_lane(name()?).ok()?,
    })
}

/// How a payload is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// As it came.
    Plain,
    /// One LZ4 block.
    #[default]
    Lz4,
    /// One Zstandard frame.
    Zstd,
}

/// What stands before the payload of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    /// The last part of its bundle.
    pub(super) last: bool,
    /// The payload begins with the key.
    pub(super) keyed: bool,
    /// The payload is encrypted.
    pub(super) sealed: bool,
    pub(super) packing: Packing,
    /// Number of the part in its bundle, from 0.
    pub(super) part: u16,
    /// Milliseconds since the segment was made, below 2^24.
    pub(super) time: u32,
    /// Bytes of the payload in the file, below 2^24.
    pub(super) stored: u32,
    /// Bytes of the payload when it is unpacked, below 2^24.
    pub(super) raw: u32,
    /// Below 2^24.
    pub(super) events: u32,
    /// Number of the bundle, from the segment's base; 24 bits with a sign.
    pub(super) number: i32,
}

impl RecordHeader {
    /// The twenty bytes that the checksums cover, which also bind an encrypted payload to its place.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let packing = match self.packing {
            Packing::Plain => 0,
            Packing::Lz4 => 0x10,
            Packing::Zstd => 0x20,
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.extend_from_slice(&RECORD_MAGIC);
        out.push(
            packing | flag(self.last, LAST) | flag(self.keyed, KEYED) | flag(self.sealed, SEALED),
        );
        out.extend_from_slice(&self.part.to_le_bytes());
        for value in [self.time, self.stored, self.raw, self.events] {
            put_u24(out, value);
        }
        put_u24(out, self.number.cast_unsigned());
    }

    /// Writes the header in front of its payload: `record` is [`RECORD_HEADER`] free bytes and the
    /// payload.
    pub(super) fn finish(&self, identity: u64, record: &mut [u8]) {
        let mut head = Vec::with_capacity(RECORD_HEADER);
        self.encode(&mut head);
        let payload = record.get(RECORD_HEADER..).unwrap_or_default();
        let crc = crc32c::crc32c_append(checksum(identity, &head), payload);
        head.extend_from_slice(&crc.to_le_bytes());
        let crc = checksum(identity, &head);
        head.extend_from_slice(&crc.to_le_bytes());
        if let Some(place) = record.get_mut(..RECORD_HEADER) {
            place.copy_from_slice(&head);
        }
    }

    /// Reads a header; `None` when it is not whole. `bytes` begins with it.
    pub(super) fn decode(identity: u64, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<RECORD_HEADER>()?;
        if !bytes.starts_with(&RECORD_MAGIC) {
            return None;
        }
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if checksum(identity, body) != u32::from_le_bytes(*crc) {
            return None;
        }
        let mut body = Cursor(body.get(2..)?);
        let flags = body.u8()?;
        let header = Self {
            last: flags & LAST != 0,
            keyed: flags & KEYED != 0,
            sealed: flags & SEALED != 0,
            packing: match flags & PACKING {
                0 => Packing::Plain,
                0x10 => Packing::Lz4,
                0x20 => Packing::Zstd,
                _ => return None,
            },
            part: body.u16()?,
            time: body.u24()?,
            stored: body.u24()?,
            raw: body.u24()?,
            events: body.u24()?,
            number: (body.u24()? << 8).cast_signed() >> 8,
        };
        Some(header)
    }

    /// Whether a payload is the one that was written. `head` begins with the header.
    pub(super) fn fits(identity: u64, head: &[u8], payload: &[u8]) -> bool {
        let (Some(covered), Some(crc)) = (head.get(..20), head.get(20..24)) else {
            return false;
        };
        let found = crc32c::crc32c_append(checksum(identity, covered), payload);
        found.to_le_bytes() == crc
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(&self) -> u64 {
        RECORD_HEADER as u64 + u64::from(self.stored)
    }
}
