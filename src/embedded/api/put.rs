//! PutLogs: one LogGroup to the end of a shard.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, StatusCode};

use super::answer::{self, Answer};
use super::body::{Leased, MAX_BODY};
use super::caller::Caller;
use super::error::{ApiError, Failure, HangUp, echo};
use super::route::{Parameters, Target};
use super::{Api, json};
use crate::embedded::faults::Fault;
use crate::embedded::group;
use crate::embedded::store::{GroupBody, Logstore, NewGroup, Shard, print_of};
use crate::foundation::budget::Lease;
use crate::foundation::clock;
use crate::logstore::codec::{self, Codec};
use crate::logstore::header;

/// Logs in one request (SLS limits).
const MAX_EVENTS: u32 = 4096;
/// Smaller groups are stored as they are: compressing them gains nothing.
const COMPRESS_FROM: usize = 256;

/// A write.
pub(super) struct Write<'a> {
    pub(super) logstore: &'a Logstore,
    pub(super) target: Target,
    /// Whether the body is web tracking, which is JSON whatever its type says.
    pub(super) track: bool,
    pub(super) headers: &'a HeaderMap,
    pub(super) parameters: &'a Parameters<'a>,
    pub(super) caller: &'a Caller,
}

/// Takes a write: decompresses and checks it, picks its shard, and waits until it is stored.
pub(super) async fn put_logs(
    api: &Api,
    write: &Write<'_>,
    body: Leased,
) -> Result<Answer, Failure> {
    let Write {
        logstore,
        target,
        parameters,
        ..
    } = *write;
    let (group, lease) = new_group(write, body, api.drops_repeats)?;
    let shard = pick(logstore, target, parameters)?;
    if let Some(fault) = api.faults.inject(shard).await {
        return Err(refuse(fault, shard));
    }
    if group.events > 0 {
        api.store
            .put(shard, group, lease)
            .await
            .map_err(ApiError::from)?;
    }
    if api.faults.loses_answer() {
        return Err(HangUp.into());
    }
    Ok(answer::empty())
}

fn pick<'a>(
    logstore: &'a Logstore,
    target: Target,
    parameters: &Parameters<'_>,
) -> Result<&'a Arc<Shard>, ApiError> {
    let shard = match target {
        Target::Any => logstore.next_shard(),
        Target::Hash => {
            let key = parameters.required("key")?;
            let hash = Some(key)
                .filter(|key| key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|key| u128::from_str_radix(key, 16).ok())
                .ok_or_else(|| {
                    ApiError::parameter(format!("key {} is not 32 hex digits", echo(key)))
                })?;
            logstore.shard_of(hash)
        }
    };
    shard.ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "LogStoreWithoutShard",
            "the logstore has no shard",
        )
    })
}

fn refuse(fault: Fault, shard: &Shard) -> Failure {
    match fault {
        Fault::HangUp => HangUp.into(),
        Fault::Quota => {
            let message = format!("Write quota of shard {} is exceeded.", shard.number);
            ApiError::new(StatusCode::FORBIDDEN, "ShardWriteQuotaExceed", message).into()
        }
        Fault::Error { status, code } => ApiError {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            code: code.into(),
            message: "a fault that embedded.faults asks for".to_owned(),
        }
        .into(),
    }
}

/// The checked LogGroup in the form in which it is stored, and the memory that it takes.
fn new_group(
    write: &Write<'_>,
    body: Leased,
    drops_repeats: bool,
) -> Result<(NewGroup, Lease), ApiError> {
    let headers = write.headers;
    let Leased { bytes, mut lease } = body;
    let codec = codec_of(headers)?;
    let (plain, sent_block) = match codec {
        Codec::None => (bytes, None),
        _ => {
            let plain = decompress(codec, &bytes, headers, &mut lease)?;
            (plain, Some(bytes).filter(|_| codec == Codec::Lz4))
        }
    };
    // What follows makes at most one more copy: the group of a JSON body, or a compressed block.
    lease.grow(plain.len() as u64)?;
    let (plain, sent_block) = if write.track || is_json(headers) {
        (from_json(&plain)?, None)
    } else {
        (plain, sent_block)
    };
    let summary = group::check(&plain).map_err(|error| {
        ApiError::body(format!("Protobuffer content cannot be parsed: {error}."))
    })?;
    if summary.events > MAX_EVENTS {
        return Err(ApiError::body_too_large(format!(
            "Logs must be less than or equal to 10 MB and {MAX_EVENTS} entries."
        )));
    }
    write.caller.check_events(&plain)?;
    // Who sends the same events on purpose does so without a pack id, or with another.
    let is_known_again = drops_repeats && group::has_pack_id(&plain);
    let print = is_known_again.then(|| print_of(&plain));
    let block = match sent_block {
        None if plain.len() >= COMPRESS_FROM => Some(codec::compress(Codec::Lz4, &plain)?),
        sent_or_none => sent_or_none,
    };
    let raw_bytes = u32::try_from(plain.len()).unwrap_or(u32::MAX);
    let body = match block.filter(|block| block.len() < plain.len()) {
        Some(block) => GroupBody::Lz4 { block, raw_bytes },
        None => GroupBody::Plain(plain),
    };
    lease.shrink_to(body.memory());
    let group = NewGroup {
        body,
        events: summary.events,
        first_time: summary.first_time,
        last_time: summary.last_time,
        print,
    };
    Ok((group, lease))
}

fn codec_of(headers: &HeaderMap) -> Result<Codec, ApiError> {
    match headers.get(header::COMPRESS_TYPE) {
        None => Ok(Codec::None),
        Some(value) => {
            Codec::from_header(value.as_bytes()).ok_or_else(|| invalid(&header::COMPRESS_TYPE))
        }
    }
}

fn decompress(
    codec: Codec,
    bytes: &[u8],
    headers: &HeaderMap,
    lease: &mut Lease,
) -> Result<Vec<u8>, ApiError> {
    let declared = headers
        .get(header::BODY_RAW_SIZE)
        .map(|value| {
            let text = value.to_str().ok();
            text.and_then(|text| text.trim().parse::<usize>().ok())
                .ok_or_else(|| invalid(&header::BODY_RAW_SIZE))
        })
        .transpose()?;
    // Only lz4 is held to what was declared; the others may come to anything below the cap.
    let room = match codec {
        Codec::Lz4 => declared.unwrap_or(0).min(MAX_BODY),
        _ => MAX_BODY,
    };
    let held = lease.bytes();
    lease.grow(room as u64)?;
    let mut plain = Vec::new();
    codec::decompress(codec, bytes, declared, MAX_BODY, &mut plain)?;
    lease.shrink_to(held + plain.capacity() as u64);
    Ok(plain)
}

fn from_json(body: &[u8]) -> Result<Vec<u8>, ApiError> {
    let now = u32::try_from(clock::unix_seconds()).unwrap_or(u32::MAX);
    json::log_group(body, now).map_err(|error| {
        ApiError::body(format!(
            "The request body is not valid JSON object: {error}."
        ))
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    const JSON: &[u8] = b"application/json";
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..JSON.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(JSON))
}

fn invalid(name: &HeaderName) -> ApiError {
    ApiError::parameter(format!("Http extend {name} pair is invalid"))
}
