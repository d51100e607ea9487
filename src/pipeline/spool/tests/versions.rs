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
