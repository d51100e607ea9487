//! The payload of a record: the key and events of a part, packed, and encrypted where there is a key.

use super::format::{MAX_PAYLOAD, Packing, RECORD_HEADER, RecordHeader, SegmentHeader};
use super::keys::KeyRing;

/// What a part carries, when it is unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    bytes: Vec<u8>,
    key_length: usize,
    logs_start: usize,
}

impl Content {
    /// Topic, source and tags, in wire form; empty where the part carries none.
    pub(super) fn key(&self) -> &[u8] {
        let start = self.logs_start - self.key_length;
        self.bytes.get(start..self.logs_start).unwrap_or_default()
    }

    /// Whether it says topic, source and tags, which may all be empty.
    pub(super) fn is_keyed(&self) -> bool {
        self.logs_start > 0
    }

    /// The events, in wire form.
    pub(super) fn logs(&self) -> &[u8] {
        self.bytes.get(self.logs_start..).unwrap_or_default()
    }
}

/// A payload that is ready to be sealed and written: `record` has room for the record's header in
/// front.
#[derive(Debug, Default)]
pub(super) struct Packer {
    raw: Vec<u8>,
    /// Header, payload.
    pub(super) record: Vec<u8>,
}

impl Packer {
    /// Packs; gives the way in which it is packed, and the length before. `None` when it is too long.
    pub(super) fn pack(
        &mut self,
        key: Option<&[u8]>,
        logs: &[u8],
        packing: Packing,
    ) -> Option<(Packing, u32)> {
        let key_room = key.map_or(0, |key| key.len() + 4);
        let length = logs.len().checked_add(key_room)?;
        if length > MAX_PAYLOAD - 64 {
            return None;
        }
        let raw: &[u8] = if let Some(key) = key {
            self.raw.clear();
            let key_length = u32::try_from(key.len()).ok()?;
            self.raw.extend_from_slice(&key_length.to_le_bytes());
            self.raw.extend_from_slice(key);
            self.raw.extend_from_slice(logs);
            &self.raw
        } else {
            logs
        };
        self.record.clear();
        self.record.resize(RECORD_HEADER, 0);
        let used = if compress(packing, raw, &mut self.record) {
            packing
        } else {
            self.record.truncate(RECORD_HEADER);
            self.record.extend_from_slice(raw);
            Packing::Plain
        };
        if self.raw.capacity() > 1 << 20 {
            self.raw = Vec::new();
        }
        Some((used, u32::try_from(length).ok()?))
    }
}

/// Whether it became smaller; else what was appended to `out` is of no use.
fn compress(packing: Packing, raw: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    match packing {
        Packing::Plain => return false,
        Packing::Lz4 => {
            let room = lz4_flex::block::get_maximum_output_size(raw.len());
            out.resize(start + room, 0);
            let place = out.get_mut(start..).unwrap_or_default();
            let Ok(length) = lz4_flex::block::compress_into(raw, place) else {
                return false;
            };
            out.truncate(start + length);
        }
        Packing::Zstd => {
            let Ok(packed) = zstd::bulk::compress(raw, 1) else {
                return false;
            };
            out.extend_from_slice(&packed);
        }
    }
    out.len() - start < raw.len()
}

/// Unpacks a payload whose checksum was found right; `None` when it is not what its header says, or
/// its key is not at hand.
pub(super) fn unpack(
    segment: &SegmentHeader,
    keys: Option<&KeyRing>,
    header: &RecordHeader,
    head: &[u8],
    offset: u64,
    payload: &[u8],
) -> Option<Content> {
    let opened;
    let packed = if header.sealed {
        let aad = head.get(..20)?;
        opened = keys?.open(segment.key, segment.identity, offset, aad, payload)?;
        opened.as_slice()
    } else {
        payload
    };
    let length = header.raw as usize;
    let bytes = match header.packing {
        Packing::Plain => packed.to_vec(),
        Packing::Lz4 => lz4_flex::block::decompress(packed, length).ok()?,
        Packing::Zstd => zstd::bulk::decompress(packed, length).ok()?,
    };
    if bytes.len() != length {
        return None;
    }
    let (key_length, logs_start) = if header.keyed {
        let length = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
        bytes.get(4..4 + length)?;
        (length, 4 + length)
    } else {
        (0, 0)
    };
    Some(Content {
        bytes,
        key_length,
        logs_start,
    })
}
