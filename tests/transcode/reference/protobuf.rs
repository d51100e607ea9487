//! Protobuf bodies.

use prost::Message;
use tollgate::event::{EventGroup, Reason};

use super::{
    Event, Outcome, Setting, TAG_NAMES_OF_OURS, field, finish, in_window, outside, put_tag,
};

/// The messages as lenient as they can be, so that what is required is checked here.
#[derive(Clone, PartialEq, Message)]
struct AnyGroup {
    #[prost(message, repeated, tag = "1")]
    logs: Vec<AnyLog>,
    #[prost(bytes = "vec", optional, tag = "2")]
    category: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    topic: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    source: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    machine: Option<Vec<u8>>,
    #[prost(message, repeated, tag = "6")]
    tags: Vec<AnyPair>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyLog {
    #[prost(uint64, optional, tag = "1")]
    time: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    contents: Vec<AnyPair>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    values: Vec<Vec<u8>>,
    #[prost(fixed32, optional, tag = "4")]
    nanoseconds: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyPair {
    #[prost(bytes = "vec", optional, tag = "1")]
    key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    value: Option<Vec<u8>>,
}

impl AnyPair {
    fn texts(&self, setting: &Setting) -> Result<(String, String), Reason> {
        let utf8 = |bytes: &Option<Vec<u8>>| {
            let bytes = bytes.clone().ok_or(Reason::NotProtobuf)?;
            String::from_utf8(bytes).map_err(|_| Reason::NotUtf8)
        };
        let (key, value) = (utf8(&self.key)?, utf8(&self.value)?);
        if key.is_empty() || key.len() > setting.limits.key.as_usize() {
            return Err(Reason::InvalidKey);
        }
        Ok((key, value))
    }
}

/// The reference for protobuf bodies. (prost skips groups, which we refuse: the caller knows.)
pub fn protobuf(body: &[u8], setting: &Setting) -> Outcome {
    let group = AnyGroup::decode(body).map_err(|_| Reason::NotProtobuf)?;
    let mut out = EventGroup::default();
    for (from, to) in [
        (&group.topic, &mut out.topic),
        (&group.source, &mut out.source),
    ] {
        let text = from.clone().unwrap_or_default();
        *to = String::from_utf8(text)
            .map_err(|_| Reason::NotUtf8)?
            .into_bytes();
        if to.len() > setting.limits.topic.as_usize() {
            return Err(Reason::ValueTooLarge);
        }
    }
    let mut tags = 0;
    for tag in &group.tags {
        let (key, value) = tag.texts(setting)?;
        if key == "__token__" {
            out.token = value.into_bytes();
            if out.token.len() > 8192 {
                return Err(Reason::ValueTooLarge);
            }
            continue;
        }
        tags += 1;
        if tags > setting.limits.tags {
            return Err(Reason::TooManyFields);
        }
        if TAG_NAMES_OF_OURS.contains(&key.as_str()) {
            out.reserved_fields += 1;
        } else {
            put_tag(&key, &value, setting, &mut out)?;
        }
    }
    if group.logs.len() > setting.limits.events as usize {
        return Err(Reason::TooManyEvents);
    }
    for log in &group.logs {
        let event = protobuf_event(log, setting, &mut out)?;
        finish(event, setting, &mut out);
    }
    Ok(out)
}

fn protobuf_event(log: &AnyLog, setting: &Setting, out: &mut EventGroup) -> Result<Event, Reason> {
    if log.contents.len() > setting.limits.fields as usize {
        return Err(Reason::TooManyFields);
    }
    let mut event = Event::default();
    let time = log.time.ok_or(Reason::NotProtobuf)?;
    if in_window(time, setting) {
        event.time = Some(time);
    } else {
        outside(&time.to_string(), &mut event, setting, out)?;
    }
    event.nanoseconds = log.nanoseconds.filter(|part| *part < 1_000_000_000);
    for content in &log.contents {
        let (key, value) = content.texts(setting)?;
        if value.len() > setting.limits.value.as_usize() {
            return Err(Reason::ValueTooLarge);
        }
        if key == "__time__" || key == "__time_ns_part__" {
            out.reserved_fields += 1;
        } else {
            field(&key, value, &mut event, setting, out)?;
        }
    }
    Ok(event)
}
