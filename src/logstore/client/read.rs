//! What reads give, and how it is read from an answer.

use std::fmt;

use bytes::Bytes;
use prost::Message;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::exchange::Answer;
use crate::logstore::codec::{self, Codec};
use crate::logstore::error::StoreError;
use crate::logstore::header;
use crate::logstore::proto::{LogGroup, LogGroupList};

/// Bytes of one pull, before and after decompression: more than the store gives at once.
pub const MAX_PULL: usize = 64 * 1024 * 1024;

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

/// Reads the answer to a pull.
pub(super) fn read_pull(answer: &Answer) -> Result<Pulled, StoreError> {
    let text = |name| answer.headers.get(name)?.to_str().ok();
    let next_cursor = text(header::CURSOR)
        .ok_or_else(|| unexpected("the answer has no x-log-cursor"))?
        .to_owned();
    if answer.body.is_empty() {
        return Ok(Pulled {
            groups: Vec::new(),
            next_cursor,
        });
    }
    let codec = match answer.headers.get(header::COMPRESS_TYPE) {
        None => Codec::None,
        Some(value) if value.is_empty() => Codec::None,
        Some(value) => Codec::from_header(value.as_bytes())
            .ok_or_else(|| unexpected("the answer is compressed in an unknown way"))?,
    };
    let raw_size = text(header::BODY_RAW_SIZE).and_then(|value| value.parse().ok());
    let mut plain = Vec::new();
    codec::decompress(codec, &answer.body, raw_size, MAX_PULL, &mut plain)
        .map_err(|_| unexpected("the answer cannot be decompressed"))?;
    let list = LogGroupList::decode(Bytes::from(plain))
        .map_err(|_| unexpected("the answer is not a list of LogGroups"))?;
    Ok(Pulled {
        groups: list.log_groups,
        next_cursor,
    })
}

/// A success in form only.
pub(super) fn unexpected(what: &'static str) -> StoreError {
    StoreError::NotTheStore { status: 200, what }
}
