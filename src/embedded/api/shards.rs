//! Reading by shard: ListShards, cursors, and PullLogs.
//!
//! A cursor is base64 of a decimal place in its shard. SDKs decode it and add or take one, so the
//! places are consecutive; a place below the oldest kept one stands for that.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::Full;
use serde_json::json;

use super::Api;
use super::answer::{self, Answer};
use super::error::{ApiError, echo};
use super::route::Parameters;
use crate::embedded::store::{Logstore, Pulled, Shard};
use crate::foundation::budget::Lease;
use crate::foundation::clock;
use crate::logstore::codec::{self, Codec};
use crate::logstore::header;

/// LogGroups in one answer (SLS limits).
const MAX_COUNT: usize = 1000;
const DEFAULT_COUNT: usize = 100;
/// Bytes of LogGroups in one answer, before compression; the last group may go over it.
const PULL_BYTES: usize = 4 << 20;

/// ListShards.
pub(super) fn list(logstore: &Logstore) -> Result<Answer, ApiError> {
    let shards: Vec<_> = logstore
        .shards
        .iter()
        .map(|shard| {
            json!({
                "shardID": shard.number,
                "status": "readwrite",
                "inclusiveBeginKey": format!("{:032x}", shard.begin),
                "exclusiveEndKey": format!("{:032x}", shard.end),
                "createTime": logstore.created,
            })
        })
        .collect();
    answer::json(&shards)
}

/// GetCursor.
pub(super) async fn cursor(
    api: &Arc<Api>,
    shard: &Arc<Shard>,
    parameters: &Parameters<'_>,
) -> Result<Answer, ApiError> {
    let place = match parameters.required("from")? {
        "begin" => shard.extent().oldest,
        "end" => shard.extent().next,
        text => {
            let time: i64 = text
                .parse()
                .map_err(|_| ApiError::parameter(format!("Invalid from {}.", echo(text))))?;
            let time = u64::try_from(time).unwrap_or(0);
            let shard = Arc::clone(shard);
            api.blocking(move |store| store.place_at(&shard, time))
                .await?
        }
    };
    answer::json(&json!({ "cursor": encode(place) }))
}

/// GetCursorTime. What the end of a shard will receive is received now at the earliest.
pub(super) async fn cursor_time(
    api: &Arc<Api>,
    shard: &Arc<Shard>,
    parameters: &Parameters<'_>,
) -> Result<Answer, ApiError> {
    let place = decode(parameters.required("cursor")?, shard)?.max(shard.extent().oldest);
    let shard = Arc::clone(shard);
    let received = api
        .blocking(move |store| store.received_at(&shard, place))
        .await?;
    answer::json(&json!({ "cursor_time": received.unwrap_or_else(clock::unix_seconds) }))
}

/// PullLogs; for HEAD the headers alone.
pub(super) async fn pull(
    api: &Arc<Api>,
    shard: &Arc<Shard>,
    method: &Method,
    headers: &HeaderMap,
    parameters: &Parameters<'_>,
) -> Result<Answer, ApiError> {
    if parameters.get("query").is_some() {
        return Err(ApiError::parameter(
            "this store does not filter while pulling: leave query out",
        ));
    }
    let cursor = decode(parameters.required("cursor")?, shard)?;
    let count = parameters.number("count")?.unwrap_or(DEFAULT_COUNT);
    if count > MAX_COUNT {
        return Err(ApiError::parameter("ParameterCount should be in [0-1000]"));
    }
    let end = parameters.get("end_cursor").or(parameters.get("endCursor"));
    let end = end.map(place_of).transpose()?;
    let codec = wanted_codec(headers);
    let shard = Arc::clone(shard);
    let budget = Arc::clone(&api.budget);
    let (pulled, body, lease) = api
        .blocking(move |store| -> Result<_, ApiError> {
            let pulled = store.pull(&shard, cursor, end, count, PULL_BYTES)?;
            let body = match pulled.list.is_empty() {
                true => Vec::new(),
                false => codec::compress(codec, &pulled.list)?,
            };
            let lease = budget.lease(body.len() as u64)?;
            Ok((pulled, body, lease))
        })
        .await?;
    let body = if method == Method::HEAD {
        Vec::new()
    } else {
        body
    };
    Ok(pull_answer(&pulled, codec, body, lease))
}

fn pull_answer(pulled: &Pulled, codec: Codec, body: Vec<u8>, lease: Lease) -> Answer {
    let body = bytes::Bytes::from_owner(LeasedBytes {
        body,
        _lease: lease,
    });
    let mut answer = Answer::new(Full::new(body));
    let headers = answer.headers_mut();
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    headers.insert(CONTENT_TYPE, protobuf);
    headers.insert(header::COUNT, HeaderValue::from(pulled.groups));
    if let Ok(cursor) = HeaderValue::from_str(&encode(pulled.next)) {
        headers.insert(header::CURSOR, cursor);
    }
    headers.insert(header::BODY_RAW_SIZE, HeaderValue::from(pulled.list.len()));
    if let Some(name) = codec.as_header() {
        headers.insert(header::COMPRESS_TYPE, HeaderValue::from_static(name));
    }
    answer
}

/// The body of an answer. Its memory counts until the client has taken it.
struct LeasedBytes {
    body: Vec<u8>,
    _lease: Lease,
}

impl AsRef<[u8]> for LeasedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// The first codec of ours that `Accept-Encoding` names; without one the body is not compressed.
fn wanted_codec(headers: &HeaderMap) -> Codec {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|item| item.split(';').next())
        .filter_map(|name| Codec::from_header(name.trim().as_bytes()))
        .find(|codec| matches!(codec, Codec::Lz4 | Codec::Zstd | Codec::Deflate))
        .unwrap_or(Codec::None)
}

fn encode(place: u64) -> String {
    STANDARD.encode(place.to_string())
}

/// The place that a cursor names. One below zero, which clients make by subtracting, is zero.
fn place_of(cursor: &str) -> Result<u64, ApiError> {
    let bad = || ApiError::parameter(format!("Invalid cursor {}.", echo(cursor)));
    let bytes = STANDARD.decode(cursor).map_err(|_| bad())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| bad())?;
    let number: i64 = text.parse().map_err(|_| bad())?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// The place that a cursor into this shard names: one that holds a LogGroup, held one, or is next.
fn decode(cursor: &str, shard: &Shard) -> Result<u64, ApiError> {
    let place = place_of(cursor)?;
    if place > shard.extent().next {
        return Err(ApiError::parameter(format!(
            "Invalid cursor {}.",
            echo(cursor)
        )));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_base64_of_a_decimal() {
        assert_eq!(encode(0), "MA==");
        let recorded = "MTY3MzMzMTQwNjc4OTEyMzQ1Ng==";
        assert_eq!(place_of(recorded), Ok(1_673_331_406_789_123_456));
        assert_eq!(place_of(&STANDARD.encode("-1")), Ok(0));
        for bad in ["", "MA", "!", "eA=="] {
            assert!(place_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_codec_of_ours_is_taken() {
        for (value, codec) in [
            ("lz4", Codec::Lz4),
            ("zstd", Codec::Zstd),
            ("gzip, deflate", Codec::Deflate),
            ("br;q=1, ZSTD;q=0.5", Codec::Zstd),
            ("", Codec::None),
            ("gzip", Codec::None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(wanted_codec(&headers), codec, "{value}");
        }
        assert_eq!(wanted_codec(&HeaderMap::new()), Codec::None);
    }
}
