//! What transcoding means, written slowly: trees of values, copies, one rule after another.
//!
//! The transcoder and this must agree on every input. Nothing here shares code with it, except for
//! the reasons of refusals and the generated protobuf messages.

mod json;
mod json_text;
mod protobuf;
mod query;

use bytes::Bytes;
use prost::Message;
use tollgate::config::{Limits, OutsideWindow, TimeWindow};
use tollgate::event::{EventGroup, Reason};
use tollgate::logstore::proto::log::Content;
use tollgate::logstore::proto::{Log, LogGroup, LogTag};

pub use self::json::json;
pub use self::protobuf::protobuf;
pub use self::query::query;

/// The result of transcoding, or why there is none.
pub type Outcome = Result<EventGroup, Reason>;

/// What a request brings besides its body.
pub struct Setting {
    pub limits: Limits,
    pub time: TimeWindow,
    pub received: u64,
    pub stamp: Vec<u8>,
}

const CONTENT_NAMES_OF_OURS: [&str; 8] = [
    "__source__",
    "__topic__",
    "__partition_time__",
    "_extract_others_",
    "__extract_others__",
    "__client_time__",
    "__pack_id__",
    "__token__",
];
const TAG_NAMES_OF_OURS: [&str; 3] = ["__client_ip__", "__receive_time__", "__pack_id__"];

/// An event being made.
#[derive(Default)]
struct Event {
    contents: Vec<(String, String)>,
    time: Option<u64>,
    nanoseconds: Option<u32>,
    replaced: bool,
}

/// One field of an event, wherever it came from as text.
fn field(
    key: &str,
    value: String,
    event: &mut Event,
    setting: &Setting,
    out: &mut EventGroup,
) -> Result<(), Reason> {
    if key == "__time__" {
        set_time(&value, event, setting, out)?;
    } else if key == "__time_ns_part__" {
        event.nanoseconds = nanoseconds(&value).or(event.nanoseconds);
    } else if CONTENT_NAMES_OF_OURS.contains(&key) || key.starts_with("__tag__:") {
        out.reserved_fields += 1;
    } else {
        event.contents.push((key.to_owned(), value));
    }
    Ok(())
}

fn set_time(
    text: &str,
    event: &mut Event,
    setting: &Setting,
    out: &mut EventGroup,
) -> Result<(), Reason> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = match digits(whole) && digits(fraction) {
        true => whole.parse().ok(),
        false => None,
    };
    let in_milliseconds = number.is_some_and(|number| number >= 100_000_000_000);
    let seconds = number.map(|number| {
        if in_milliseconds {
            number / 1000
        } else {
            number
        }
    });
    match seconds.filter(|seconds| in_window(*seconds, setting)) {
        Some(seconds) => {
            event.time = Some(seconds);
            if let Some(number) = number.filter(|_| in_milliseconds) {
                let part = u32::try_from(number % 1000).unwrap() * 1_000_000;
                event.nanoseconds = event.nanoseconds.or(Some(part));
            }
            Ok(())
        }
        None => outside(text, event, setting, out),
    }
}

fn outside(
    text: &str,
    event: &mut Event,
    setting: &Setting,
    out: &mut EventGroup,
) -> Result<(), Reason> {
    if setting.time.outside == OutsideWindow::Refuse {
        return Err(Reason::TimeOutOfRange);
    }
    let kept = ("__client_time__".to_owned(), text.to_owned());
    event.contents.push(kept);
    event.replaced = true;
    out.times_replaced += 1;
    Ok(())
}

fn in_window(seconds: u64, setting: &Setting) -> bool {
    let seconds = i128::from(seconds);
    let received = i128::from(setting.received);
    seconds >= received - i128::from(setting.time.past.as_secs())
        && seconds <= received + i128::from(setting.time.future.as_secs())
        && seconds <= i128::from(u32::MAX)
}

fn nanoseconds(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let value: u32 = text.parse().ok().filter(|_| digits)?;
    (value < 1_000_000_000).then_some(value)
}

fn put_tag(key: &str, value: &str, setting: &Setting, out: &mut EventGroup) -> Result<(), Reason> {
    if value.len() > setting.limits.tag_value.as_usize() {
        return Err(Reason::ValueTooLarge);
    }
    let group = LogGroup {
        log_tags: vec![LogTag {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
        }],
        ..LogGroup::default()
    };
    group.encode(&mut out.tags).unwrap();
    Ok(())
}

/// Writes an event by way of prost.
fn finish(event: Event, setting: &Setting, out: &mut EventGroup) {
    let bytes = |text: String| Bytes::from(text.into_bytes());
    let received = u32::try_from(setting.received).unwrap_or(u32::MAX);
    let mut contents: Vec<Content> = event
        .contents
        .into_iter()
        .map(|(key, value)| Content {
            key: bytes(key),
            value: bytes(value),
        })
        .collect();
    // A stamp is a Log of nothing but contents.
    contents.extend(Log::decode(&*setting.stamp).unwrap().contents);
    let log = Log {
        time: event
            .time
            .map_or(received, |time| u32::try_from(time).unwrap()),
        contents,
        time_ns: event.nanoseconds.filter(|_| !event.replaced),
    };
    let group = LogGroup {
        logs: vec![log],
        ..LogGroup::default()
    };
    group.encode(&mut out.logs).unwrap();
    out.events += 1;
}
