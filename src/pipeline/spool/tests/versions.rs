//! Versions of the format: one that is older than the first, made up, and newer ones.
use super::super::bytes::Cursor;
use super::super::format::SegmentHeader;
use crate::foundation::names::{LogstoreName, ProjectName};

/// A made-up version 0: as version 1, without cuts and without a key.
pub(in super::super) fn decode_zeroth(body: &[u8]) -> Option<SegmentHeader> {
    let mut body = Cursor(body);
    let [number, identity, prefix] = [body.u64()?, body.u64()?, body.u64()?];
    let [base, created] = [body.u64()?, body.u64()?];
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
        key: 0,
        cuts: Vec::new(),
        project: ProjectName::new(name()?).ok()?,
        logstore: LogstoreName::new(name()?).ok()?,
    })
}

/// Where the fields behind the fixed ones begin.
const FIELDS: usize = 12;

fn with_copies(copy: &[u8], records: &[u8]) -> Vec<u8> {
    let mut copy = copy.to_vec();
    let length = copy.len() as u16 + 4;
    copy[10..12].copy_from_slice(&length.to_le_bytes());
    let crc = crc32c::crc32c(&copy);
    copy.extend_from_slice(&crc.to_le_bytes());
    let mut all = copy.clone();
    all.resize(512, 0);
    all.extend_from_slice(&copy);
    all.resize(1024, 0);
    all.extend_from_slice(records);
    all
}

fn copy_of(segment: &[u8]) -> Vec<u8> {
    let length = usize::from(u16::from_le_bytes([segment[10], segment[11]]));
    segment[..length - 4].to_vec()
}

/// The same segment with another version in its header.
pub(super) fn with_version(segment: &[u8], version: u16) -> Vec<u8> {
    let mut copy = copy_of(segment);
    copy[8..10].copy_from_slice(&version.to_le_bytes());
    with_copies(&copy, &segment[1024..])
}

/// A segment of version 1 without cuts and keys, as version 0 would have written it.
pub(super) fn as_zeroth(segment: &[u8]) -> Vec<u8> {
    let first = copy_of(segment);
    let mut copy = first[..8].to_vec();
    copy.extend_from_slice(&[0, 0, 0, 0]);
    copy.extend_from_slice(&first[FIELDS..FIELDS + 40]);
    // Behind the key and the count of cuts.
    assert_eq!(first[FIELDS + 40..FIELDS + 49], [0; 9]);
    copy.extend_from_slice(&first[FIELDS + 49..]);
    with_copies(&copy, &segment[1024..])
}
