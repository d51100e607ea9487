//! LogGroups in wire form, read in place: checked once when they come in, and walked log by log for
//! queries. Nothing is copied, and nothing is allocated per log.
//!
//! The store is lenient where the front is not: keys and values may be any bytes, and times may be
//! any time, so that it takes whatever an official SDK sends.

use crate::event::{LOG_TAGS_TAG, LOGS_TAG, SOURCE_TAG, TOPIC_TAG};
use crate::foundation::wire::{Field, Malformed, Reader};

const LOGS: u32 = (LOGS_TAG >> 3) as u32;
const TOPIC: u32 = (TOPIC_TAG >> 3) as u32;
const SOURCE: u32 = (SOURCE_TAG >> 3) as u32;
const LOG_TAGS: u32 = (LOG_TAGS_TAG >> 3) as u32;
const LOG_TIME: u32 = 1;
const LOG_CONTENTS: u32 = 2;
const LOG_TIME_NS: u32 = 4;

/// Why bytes are not a LogGroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GroupError {
    /// Not protobuf.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A known field has another wire type.
    #[error("field {0} of a LogGroup or of a part of it has the wrong type")]
    WrongType(u32),
    /// A required field is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// `Log.Time` does not fit.
    #[error("a Time is larger than 4294967295")]
    Time,
}

/// What is known of a LogGroup after checking it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Logs in it.
    pub events: u32,
    /// Earliest log, in unix seconds; 0 without logs.
    pub first_time: u32,
    /// Latest log, in unix seconds; 0 without logs.
    pub last_time: u32,
}

/// A key and its value.
pub(super) type Pair<'a> = (&'a [u8], &'a [u8]);

/// Checks all of a LogGroup.
pub(super) fn check(bytes: &[u8]) -> Result<Summary, GroupError> {
    let group = Group::read(bytes)?;
    let mut summary = Summary::default();
    for log in group.logs() {
        let log = log?;
        for pair in log.contents() {
            pair?;
        }
        if summary.events == 0 {
            (summary.first_time, summary.last_time) = (log.time, log.time);
        }
        summary.events = summary.events.saturating_add(1);
        summary.first_time = summary.first_time.min(log.time);
        summary.last_time = summary.last_time.max(log.time);
    }
    Ok(summary)
}

/// Whether a LogGroup says which of its sender's it is.
pub(super) fn has_pack_id(bytes: &[u8]) -> bool {
    let named = |tags: &[Pair<'_>]| {
        let mut named = tags.iter().filter(|(key, _)| *key == b"__pack_id__");
        named.any(|(_, value)| !value.is_empty())
    };
    Group::read(bytes).is_ok_and(|group| named(&group.tags))
}

/// A LogGroup without its logs, which are read one by one.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    bytes: &'a [u8],
    /// Topic; empty when there is none.
    pub topic: &'a [u8],
    /// Source; empty when there is none.
    pub source: &'a [u8],
    /// Tags, in their order.
    pub tags: Vec<Pair<'a>>,
}

impl<'a> Group<'a> {
    /// Reads topic, source and tags.
    pub fn read(bytes: &'a [u8]) -> Result<Self, GroupError> {
        let mut group = Self {
            bytes,
            topic: b"",
            source: b"",
            tags: Vec::new(),
        };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.next_field()? {
            match field {
                Field::Bytes(TOPIC, topic) => group.topic = topic,
                Field::Bytes(SOURCE, source) => group.source = source,
                Field::Bytes(LOG_TAGS, tag) => group.tags.push(pair(tag)?),
                Field::Bytes(..) => {}
                other => expect_unknown(number(other), &[LOGS, TOPIC, SOURCE, LOG_TAGS])?,
            }
        }
        Ok(group)
    }

    /// The logs, in their order. Stops after an error.
    pub fn logs(&self) -> impl Iterator<Item = Result<Log<'a>, GroupError>> + use<'a> {
        messages(self.bytes, LOGS).map(|log| Log::read(log?))
    }
}

/// One log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Log<'a> {
    bytes: &'a [u8],
    /// Unix seconds.
    pub time: u32,
    /// Nanoseconds within the second.
    pub nanos: Option<u32>,
}

impl<'a> Log<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, GroupError> {
        let mut reader = Reader::new(bytes);
        let (mut time, mut nanos) = (None, None);
        while let Some(field) = reader.next_field()? {
            match field {
                Field::Varint(LOG_TIME, value) => {
                    time = Some(u32::try_from(value).map_err(|_| GroupError::Time)?);
                }
                Field::Fixed32(LOG_TIME_NS, value) => nanos = Some(value),
                Field::Bytes(LOG_CONTENTS, _) => {}
                other => {
                    expect_unknown(number(other), &[LOG_TIME, LOG_CONTENTS, LOG_TIME_NS])?;
                }
            }
        }
        Ok(Self {
            bytes,
            time: time.ok_or(GroupError::Missing("Log.Time"))?,
            nanos,
        })
    }

    /// Keys and values, in their order. Stops after an error.
    pub fn contents(&self) -> impl Iterator<Item = Result<Pair<'a>, GroupError>> + use<'a> {
        messages(self.bytes, LOG_CONTENTS).map(|content| pair(content?))
    }
}

/// The messages that stand in field `wanted`.
fn messages(bytes: &[u8], wanted: u32) -> impl Iterator<Item = Result<&[u8], GroupError>> {
    let mut reader = Some(Reader::new(bytes));
    std::iter::from_fn(move || {
        loop {
            match reader.as_mut()?.next_field() {
                Ok(Some(Field::Bytes(found, message))) if found == wanted => {
                    return Some(Ok(message));
                }
                Ok(Some(_)) => {}
                Ok(None) => reader = None,
                Err(error) => {
                    reader = None;
                    return Some(Err(error.into()));
                }
            }
        }
    })
}

/// A `Log.Content` or a `LogTag`: both are a key and a value.
fn pair(bytes: &[u8]) -> Result<Pair<'_>, GroupError> {
    let mut reader = Reader::new(bytes);
    let (mut key, mut value) = (None, None);
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, bytes) => key = Some(bytes),
            Field::Bytes(2, bytes) => value = Some(bytes),
            other => expect_unknown(number(other), &[1, 2])?,
        }
    }
    Ok((
        key.ok_or(GroupError::Missing("a Key"))?,
        value.ok_or(GroupError::Missing("a Value"))?,
    ))
}

fn number(field: Field<'_>) -> u32 {
    match field {
        Field::Varint(number, _)
        | Field::Fixed32(number, _)
        | Field::Fixed64(number, _)
        | Field::Bytes(number, _) => number,
    }
}

/// Fields that we do not know are passed over; a known one in this place has the wrong type.
fn expect_unknown(number: u32, known: &[u32]) -> Result<(), GroupError> {
    if known.contains(&number) {
        return Err(GroupError::WrongType(number));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::wire::{put_bytes, put_varint};

    /// V-PB1, as the Python SDK encodes it.
    const RECORDED: &[u8] = b"\x0a\x25\x08\x80\xe2\xbe\xd1\x06\x12\x0e\x0a\x05event\x12\x05click\x12\x0d\x0a\x04path\x12\x05/home\x1a\x03web\x22\x0b203.0.113.7\x32\x1c\x0a\x0d__client_ip__\x12\x0b203.0.113.7";

    #[test]
    fn a_recorded_group_reads_back() {
        let group = Group::read(RECORDED).unwrap();
        assert_eq!(
            (group.topic, group.source),
            (&b"web"[..], &b"203.0.113.7"[..])
        );
        assert_eq!(group.tags, [(&b"__client_ip__"[..], &b"203.0.113.7"[..])]);
        let logs: Vec<_> = group.logs().collect::<Result<_, _>>().unwrap();
        assert_eq!(
            (logs.len(), logs[0].time, logs[0].nanos),
            (1, 1_781_510_400, None)
        );
        let contents: Vec<_> = logs[0].contents().collect::<Result<_, _>>().unwrap();
        let expected: [Pair<'_>; 2] = [(b"event", b"click"), (b"path", b"/home")];
        assert_eq!(contents, expected);
    }

    #[test]
    fn a_group_is_summed_up_by_number_and_times() {
        let mut bytes = Vec::new();
        for time in [20, 10, 30] {
            let mut log = vec![0x08];
            put_varint(&mut log, time);
            put_bytes(&mut bytes, LOGS_TAG, &log);
        }
        let expected = Summary {
            events: 3,
            first_time: 10,
            last_time: 30,
        };
        assert_eq!(check(&bytes), Ok(expected));
        assert_eq!(check(b""), Ok(Summary::default()));
    }

    #[test]
    fn a_group_that_was_cut_is_an_error_unless_it_was_cut_between_fields() {
        let whole = (0..RECORDED.len()).filter(|end| check(&RECORDED[..*end]).is_ok());
        // Nothing, and the first field, the second, the third.
        assert_eq!(whole.collect::<Vec<_>>(), [0, 39, 44, 57]);
    }

    #[test]
    fn what_is_required_must_be_there_and_have_its_type() {
        assert_eq!(check(b"\x0a\x00"), Err(GroupError::Missing("Log.Time")));
        let no_value = b"\x0a\x07\x08\x01\x12\x03\x0a\x01k";
        assert_eq!(check(no_value), Err(GroupError::Missing("a Value")));
        assert_eq!(check(b"\x08\x01"), Err(GroupError::WrongType(LOGS)));
        let late = b"\x0a\x06\x08\x80\x80\x80\x80\x10";
        assert_eq!(check(late), Err(GroupError::Time));
        assert_eq!(check(b"\x38\x01"), Ok(Summary::default()), "unknown fields");
    }
}
