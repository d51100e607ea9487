//! The reader of protobuf fields, against prost.

use bytes::Bytes;
use prost::Message;
use tollgate::foundation::wire::{Field, Malformed, Reader};
use tollgate::logstore::proto::log::Content;
use tollgate::logstore::proto::{Log, LogGroup, LogTag};

/// Panics unless the reader finds in a LogGroup what prost finds, and writes what the reader reads.
pub fn wire(data: &[u8]) -> bool {
    let ours = group(data);
    let expected = LogGroup::decode(data);
    match (&ours, &expected) {
        (Ok(ours), Ok(expected)) => assert_eq!(ours, expected),
        (Err(_), Err(_)) => {}
        // prost skips groups of unknown fields; LogGroups have none, so the reader refuses them.
        (Err(Wrong::Malformed(at)), Ok(_)) => assert_eq!(data[at.offset] & 7, 3, "{at}"),
        (ours, expected) => panic!("{ours:?}\nbut {expected:?}\nfor {}", data.escape_ascii()),
    }
    if let Ok(ours) = &ours {
        let written = ours.encode_to_vec();
        assert_eq!(group(&written).as_ref(), Ok(ours));
    }
    ours.is_ok()
}

/// Why bytes are no LogGroup.
#[derive(Debug, PartialEq)]
enum Wrong {
    Malformed(Malformed),
    /// A field of ours has another wire type.
    Type,
}

/// Calls `take` with every field of a message, and with the place where the next one starts.
fn each<'a>(
    bytes: &'a [u8],
    base: usize,
    mut take: impl FnMut(Field<'a>, usize) -> Result<(), Wrong>,
) -> Result<(), Wrong> {
    let mut reader = Reader::nested(bytes, base);
    let end = base + bytes.len();
    let mut last = base;
    loop {
        let next = reader.next_field();
        let offset = reader.offset();
        match next {
            Err(malformed) => {
                assert!((base..=end).contains(&malformed.offset), "{malformed}");
                return Err(Wrong::Malformed(malformed));
            }
            Ok(None) => {
                assert_eq!(offset, end, "a message ends where its bytes end");
                return Ok(());
            }
            Ok(Some(field)) => {
                assert!((last + 1..=end).contains(&offset), "every field has bytes");
                last = offset;
                take(field, offset)?;
            }
        }
    }
}

fn group(bytes: &[u8]) -> Result<LogGroup, Wrong> {
    let mut out = LogGroup::default();
    each(bytes, 0, |field, end| {
        match field {
            Field::Bytes(1, bytes) => out.logs.push(log(bytes, end - bytes.len())?),
            Field::Bytes(2, bytes) => out.category = Some(copy(bytes)),
            Field::Bytes(3, bytes) => out.topic = Some(copy(bytes)),
            Field::Bytes(4, bytes) => out.source = Some(copy(bytes)),
            Field::Bytes(5, bytes) => out.machine_uuid = Some(copy(bytes)),
            Field::Bytes(6, bytes) => {
                let (key, value) = pair(bytes, end - bytes.len())?;
                out.log_tags.push(LogTag { key, value });
            }
            other => unknown(&other, &[1, 2, 3, 4, 5, 6])?,
        }
        Ok(())
    })?;
    Ok(out)
}

fn log(bytes: &[u8], base: usize) -> Result<Log, Wrong> {
    let mut out = Log::default();
    each(bytes, base, |field, end| {
        match field {
            Field::Varint(1, time) => out.time = u32::try_from(time & 0xffff_ffff).unwrap(),
            Field::Bytes(2, bytes) => {
                let (key, value) = pair(bytes, end - bytes.len())?;
                out.contents.push(Content { key, value });
            }
            Field::Fixed32(4, nanoseconds) => out.time_ns = Some(nanoseconds),
            other => unknown(&other, &[1, 2, 4])?,
        }
        Ok(())
    })?;
    Ok(out)
}

fn pair(bytes: &[u8], base: usize) -> Result<(Bytes, Bytes), Wrong> {
    let (mut key, mut value) = (Bytes::new(), Bytes::new());
    each(bytes, base, |field, _| {
        match field {
            Field::Bytes(1, bytes) => key = copy(bytes),
            Field::Bytes(2, bytes) => value = copy(bytes),
            other => unknown(&other, &[1, 2])?,
        }
        Ok(())
    })?;
    Ok((key, value))
}

/// A field that is not ours is skipped.
fn unknown(field: &Field<'_>, ours: &[u32]) -> Result<(), Wrong> {
    let (Field::Varint(number, _)
    | Field::Fixed32(number, _)
    | Field::Fixed64(number, _)
    | Field::Bytes(number, _)) = field;
    if ours.contains(number) {
        return Err(Wrong::Type);
    }
    Ok(())
}

fn copy(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
