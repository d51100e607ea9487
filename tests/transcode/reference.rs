//! What transcoding means, written slowly: trees of values, copies, one rule after another.
//!
//! The transcoder and this must agree on every input. Nothing here shares code with it, except for
//! the reasons of refusals and the generated protobuf messages.

use std::collections::HashSet;

use bytes::Bytes;
use prost::Message;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::value::RawValue;
use tollgate::config::{Limits, OutsideWindow, TimeWindow};
use tollgate::event::{EventGroup, Reason};
use tollgate::logstore::proto::log::Content;
use tollgate::logstore::proto::{Log, LogGroup, LogTag};

/// The result of transcoding, or why there is none.
pub type Outcome = Result<EventGroup, Reason>;

/// What a request brings besides its body.
pub struct Setting {
    pub limits: Limits,
    pub time: TimeWindow,
    pub received: u64,
    pub stamp: Vec<u8>,
}

const CONTENT_NAMES_OF_OURS: [&str; 7] = [
    "__source__",
    "__topic__",
    "__partition_time__",
    "_extract_others_",
    "__extract_others__",
    "__client_time__",
    "__pack_id__",
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

/// The reference for JSON bodies.
pub fn json(body: &[u8], setting: &Setting) -> Outcome {
    let body = percent_decoded_form(body);
    let text = std::str::from_utf8(&body).map_err(|_| Reason::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document: &RawValue = serde_json::from_str(text).map_err(|_| Reason::NotJson)?;
    if depth(document.get()) > setting.limits.depth as usize {
        return Err(Reason::TooDeep);
    }
    let members = members(document.get()).ok_or(Reason::WrongShape)?;
    let named = |name: &str| -> Result<Option<&str>, Reason> {
        let mut found = members.iter().filter(|(key, _)| key == name);
        let first = found.next().map(|(_, value)| value.as_str());
        match found.next() {
            Some(_) => Err(Reason::DuplicateKey),
            None => Ok(first),
        }
    };
    let mut out = EventGroup::default();
    if let Some(topic) = named("__topic__")? {
        out.topic = label(topic, setting)?;
    }
    if let Some(source) = named("__source__")? {
        out.source = label(source, setting)?;
    }
    if let Some(tags) = named("__tags__")?.filter(|tags| *tags != "null") {
        json_tags(tags, setting, &mut out)?;
    }
    let logs = named("__logs__")?.ok_or(Reason::WrongShape)?;
    let logs: Vec<&RawValue> = serde_json::from_str(logs).map_err(|_| Reason::WrongShape)?;
    if logs.len() > setting.limits.events as usize {
        return Err(Reason::TooManyEvents);
    }
    for log in logs {
        let members = self::members(log.get()).ok_or(Reason::WrongShape)?;
        let event = json_event(&members, setting, &mut out)?;
        finish(event, setting, &mut out);
    }
    Ok(out)
}

fn json_event(
    members: &[(String, String)],
    setting: &Setting,
    out: &mut EventGroup,
) -> Result<Event, Reason> {
    if members.len() > setting.limits.fields as usize {
        return Err(Reason::TooManyFields);
    }
    check_keys(members, setting)?;
    let mut event = Event::default();
    for (key, value) in members {
        let value = text(value);
        if value.len() > setting.limits.value.as_usize() {
            return Err(Reason::ValueTooLarge);
        }
        field(key, value, &mut event, setting, out)?;
    }
    Ok(event)
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

fn json_tags(tags: &str, setting: &Setting, out: &mut EventGroup) -> Result<(), Reason> {
    let tags = members(tags).ok_or(Reason::WrongShape)?;
    check_keys(&tags, setting)?;
    let counted = tags.iter().filter(|(key, _)| key != "__token__").count();
    if counted > setting.limits.tags as usize {
        return Err(Reason::TooManyFields);
    }
    for (key, value) in &tags {
        if TAG_NAMES_OF_OURS.contains(&key.as_str()) {
            out.reserved_fields += 1;
        } else if value == "null" {
        } else if key == "__token__" {
            out.token = text(value).into_bytes();
        } else {
            put_tag(key, &text(value), setting, out)?;
        }
    }
    Ok(())
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

fn check_keys(members: &[(String, String)], setting: &Setting) -> Result<(), Reason> {
    let mut seen = HashSet::new();
    for (key, _) in members {
        if key.is_empty() || key.len() > setting.limits.key.as_usize() {
            return Err(Reason::InvalidKey);
        }
        if !seen.insert(key) {
            return Err(Reason::DuplicateKey);
        }
    }
    Ok(())
}

fn label(raw: &str, setting: &Setting) -> Result<Vec<u8>, Reason> {
    if raw.starts_with(['{', '[']) {
        return Err(Reason::WrongShape);
    }
    if raw == "null" {
        return Ok(Vec::new());
    }
    let text = text(raw);
    if text.len() > setting.limits.topic.as_usize() {
        return Err(Reason::ValueTooLarge);
    }
    Ok(text.into_bytes())
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

/// The text of a JSON value, as it is stored.
fn text(raw: &str) -> String {
    match raw.as_bytes()[0] {
        b'"' => string(raw),
        b'{' | b'[' => compact(raw),
        _ => raw.to_owned(),
    }
}

/// Decodes a JSON string. serde_json leaves half of a surrogate pair as three bytes that are not
/// UTF-8 (ED A0..BF ..), when it is asked for bytes.
fn string(raw: &str) -> String {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a string")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(replace_surrogates(bytes))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_bytes(Text).unwrap()
}

fn replace_surrogates(bytes: &[u8]) -> String {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some((&byte, after)) = rest.split_first() {
        if let [0xed, 0xa0..=0xbf, _, after @ ..] = rest {
            out.extend_from_slice("\u{fffd}".as_bytes());
            rest = after;
        } else {
            out.push(byte);
            rest = after;
        }
    }
    String::from_utf8(out).unwrap()
}

/// Removes whitespace outside of strings.
fn compact(raw: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
    for character in raw.chars() {
        if in_string || !matches!(character, ' ' | '\t' | '\n' | '\r') {
            out.push(character);
        }
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    out
}

/// How deeply containers are nested.
fn depth(raw: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

/// The members of an object in order, keys decoded, values as they are written. `None`: no object.
fn members(raw: &str) -> Option<Vec<(String, String)>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(key) = map.next_key_seed(Key)? {
                let value: &RawValue = map.next_value()?;
                members.push((key, value.get().to_owned()));
            }
            Ok(members)
        }
    }
    struct Key;
    impl<'de> DeserializeSeed<'de> for Key {
        type Value = String;

        fn deserialize<D: serde::Deserializer<'de>>(self, key: D) -> Result<String, D::Error> {
            key.deserialize_bytes(self)
        }
    }
    impl Visitor<'_> for Key {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a key")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(replace_surrogates(bytes))
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw);
    deserializer.deserialize_map(Members).ok()
}

fn percent_decoded_form(body: &[u8]) -> Vec<u8> {
    let start = body.trim_ascii_start();
    if start.starts_with(b"%7B") || start.starts_with(b"%7b") {
        return percent_encoding::percent_decode(body).collect();
    }
    body.to_vec()
}

/// The reference for queries.
pub fn query(query: &[u8], token_parameter: &str, setting: &Setting) -> Outcome {
    let mut out = EventGroup::default();
    let mut event = Event::default();
    let mut seen = HashSet::new();
    let mut fields = 0;
    for (key, value) in form_urlencoded::parse(query) {
        // form_urlencoded skips empty pairs, and decodes as leniently as we do.
        if key == "APIVersion" || key == token_parameter {
            continue;
        }
        fields += 1;
        if fields > setting.limits.fields {
            return Err(Reason::TooManyFields);
        }
        if key.is_empty() || key.len() > setting.limits.key.as_usize() {
            return Err(Reason::InvalidKey);
        }
        if !seen.insert(key.clone()) {
            out.reserved_fields += 1;
            continue;
        }
        let is_label = key == "__topic__" || key == "__source__";
        let limit = match is_label {
            true => setting.limits.topic,
            false => setting.limits.value,
        };
        if value.len() > limit.as_usize() {
            return Err(Reason::ValueTooLarge);
        }
        match &*key {
            "__topic__" => out.topic = value.into_owned().into_bytes(),
            "__source__" => out.source = value.into_owned().into_bytes(),
            _ => field(&key, value.into_owned(), &mut event, setting, &mut out)?,
        }
    }
    finish(event, setting, &mut out);
    Ok(out)
}

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
