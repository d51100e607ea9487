//! What reads give, and how it is read from an answer.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::exchange::{Answer, TOO_LARGE};
use crate::logstore::codec::{self, Codec, CodecError};
use crate::logstore::error::StoreError;
use crate::logstore::header;
use crate::logstore::proto::LogGroup;

/// Bytes of one pull, before and after decompression: more than the store gives at once.
pub const MAX_PULL: usize = 64 * 1024 * 1024;

/// Number of the field `LogGroups` in a LogGroupList.
const GROUPS_FIELD: u32 = 1;

/// A shard of a logstore.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ShardInfo {
    /// Number of the shard.
    #[serde(rename = "shardID")]
    pub id: u32,
    /// `readwrite` or `readonly`.
    pub status: String,
}

/// Where in a shard to start reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CursorFrom {
    /// At the oldest LogGroup.
    Begin,
    /// After the newest.
    End,
    /// At the first LogGroup received at this time or later, in Unix seconds.
    Time(u64),
}

impl fmt::Display for CursorFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin => f.write_str("begin"),
            Self::End => f.write_str("end"),
            Self::Time(seconds) => write!(f, "{seconds}"),
        }
    }
}

/// What one pull gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// The LogGroups, oldest first.
    pub groups: Vec<LogGroup>,
    /// Where to go on; the cursor that was given, when nothing has come since.
    pub next_cursor: String,
}

/// Reads the body of an answer as JSON.
pub(super) fn json<T: DeserializeOwned>(answer: &Answer) -> Result<T, StoreError> {
    serde_json::from_slice(&answer.body)
        .map_err(|_| unexpected("the body is not what this call gives"))
}

/// What to pull from a shard.
#[derive(Clone, Copy, Debug)]
pub struct PullOrder<'a> {
    /// Number of the shard.
    pub shard: u32,
    /// Where to begin.
    pub cursor: &'a str,
    /// Where to end: what stands there is not given any more.
    pub end: Option<&'a str>,
    /// LogGroups at most; the store takes 1 to 1000.
    pub count: u32,
    /// Bytes of the answer at most, before and after decompression.
    pub cap: usize,
}

/// Why a pull gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// It is more than may be read at once.
    #[error("the LogGroups are larger than their limit")]
    TooLarge,
    /// The store did not give them.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PullError> for StoreError {
    fn from(error: PullError) -> Self {
        match error {
            PullError::TooLarge => unexpected(TOO_LARGE),
            PullError::Store(error) => error,
        }
    }
}

/// The answer to a pull as it came. To unpack and to decode it takes time, and is for whoever asked.
#[derive(Debug)]
pub struct Packed {
    body: Vec<u8>,
    codec: Codec,
    raw_size: Option<usize>,
    cap: usize,
    /// Where to go on; the cursor that was given, when nothing has come since.
    pub next_cursor: String,
}

impl Packed {
    /// What was answered to a call that may give `cap` bytes.
    pub(super) fn of(answer: Answer, cap: usize) -> Result<Self, StoreError> {
        let text = |name| answer.headers.get(name)?.to_str().ok();
        let next_cursor = text(header::CURSOR)
            .ok_or_else(|| unexpected("the answer has no x-log-cursor"))?
            .to_owned();
        let codec = match answer.headers.get(header::COMPRESS_TYPE) {
            None => Codec::None,
            Some(value) if value.is_empty() => Codec::None,
            Some(value) => Codec::from_header(value.as_bytes())
                .ok_or_else(|| unexpected("the answer is compressed in an unknown way"))?,
        };
        let raw_size = text(header::BODY_RAW_SIZE).and_then(|value| value.parse().ok());
        Ok(Self {
            body: answer.body,
            codec,
            raw_size,
            cap,
            next_cursor,
        })
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Unpacks it and shows the LogGroups, the oldest first. One is decoded at a time, so that what is
    /// held beside the plain bytes is no more than the largest of them.
    ///
    /// # Errors
    /// When it cannot be read; what was shown before that stands.
    pub fn each_group(self, mut see: impl FnMut(LogGroup)) -> Result<(), PullError> {
        if self.body.is_empty() {
            return Ok(());
        }
        let mut plain = Vec::new();
        codec::decompress(self.codec, &self.body, self.raw_size, self.cap, &mut plain).map_err(
            |error| match error {
                CodecError::TooLarge { .. } => PullError::TooLarge,
                _ => unexpected("the answer cannot be decompressed").into(),
            },
        )?;
        drop(self.body);
        let mut list = Bytes::from(plain);
        let bad = || unexpected("the answer is not a list of LogGroups");
        while list.has_remaining() {
            let (field, kind) = decode_key(&mut list).map_err(|_| bad())?;
            if (field, kind) != (GROUPS_FIELD, WireType::LengthDelimited) {
                let unknown = skip_field(kind, field, &mut list, DecodeContext::default());
                unknown.map_err(|_| bad())?;
                continue;
            }
            let length = decode_varint(&mut list).ok();
            let length = length.and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| *length <= list.len());
            let group = LogGroup::decode(list.split_to(length.ok_or_else(bad)?));
            see(group.map_err(|_| bad())?);
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn unpack(self) -> Result<Pulled, PullError> {
        let next_cursor = self.next_cursor.clone();
        let mut groups = Vec::new();
        self.each_group(|group| groups.push(group))?;
        Ok(Pulled {
            groups,
            next_cursor,
        })
    }
}

/// Whether a cursor is at another or past it. A cursor is the base64 of a number that grows, as the
/// official SDKs know too; one that is not can only be compared for being the same.
#[must_use]
pub fn is_at(cursor: &str, end: &str) -> bool {
    let number = |cursor: &str| -> Option<i64> {
        let text = String::from_utf8(STANDARD.decode(cursor).ok()?).ok()?;
        text.parse().ok()
    };
    match (number(cursor), number(end)) {
        (Some(cursor), Some(end)) => cursor >= end,
        _ => cursor == end,
    }
}

/// A success in form only.
pub(super) fn unexpected(what: &'static str) -> StoreError {
    StoreError::NotTheStore {
        status: 200,
        what,
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logstore::proto::{Log, LogGroupList};

    fn packed(body: Vec<u8>, cap: usize) -> Packed {
        Packed {
            raw_size: Some(body.len()),
            body,
            codec: Codec::None,
            cap,
            next_cursor: String::new(),
        }
    }

    #[test]
    fn a_cursor_past_the_end_is_at_the_end_and_an_opaque_one_only_when_it_is_the_same() {
        let cursor = |number: i64| STANDARD.encode(number.to_string());
        assert!(is_at(&cursor(10), &cursor(10)));
        assert!(is_at(&cursor(11), &cursor(10)));
        assert!(!is_at(&cursor(9), &cursor(10)));
        assert!(is_at("opaque", "opaque"));
        assert!(!is_at("opaque", &cursor(10)));
    }

    #[test]
    fn groups_are_read_one_by_one_as_prost_reads_the_list() {
        let group = |count: u32| LogGroup {
            logs: (0..count)
                .map(|time| Log {
                    time,
                    ..Log::default()
                })
                .collect(),
            ..LogGroup::default()
        };
        let list = LogGroupList {
            log_groups: vec![group(3), group(0), group(1)],
        };
        let mut body = list.encode_to_vec();
        // A field that is not known yet.
        body.extend_from_slice(&[0x10, 0x07]);
        let read = packed(body.clone(), 1 << 20).unpack().unwrap();
        assert_eq!(read.groups, list.log_groups);
        assert_eq!(
            packed(body.clone(), body.len() - 1).unpack(),
            Err(PullError::TooLarge)
        );
        for end in [1, 2, 5] {
            let cut = packed(body[..body.len() - 2 - end].to_vec(), 1 << 20);
            assert!(matches!(cut.unpack(), Err(PullError::Store(_))), "{end}");
        }
    }
}
