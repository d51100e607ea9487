//! Web-tracking JSON with a signature, as the browser's STS plugin posts it, to a LogGroup.
//!
//! `__time__` of a log is its time, and without it the time of receipt. Values that are not strings
//! are kept as the JSON text that was sent.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{EventGroup, LOGS_TAG, SOURCE_TAG, TOPIC_TAG, put_content};
use crate::foundation::wire;

const TIME_TAG: u8 = 0x08;
const TIME_NS_TAG: u8 = 0x25;

/// The LogGroup of a JSON body.
pub(super) fn log_group(body: &[u8], now: u32) -> Result<Vec<u8>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let group = Envelope { now }.deserialize(&mut reader)?;
    reader.end()?;
    let mut bytes = group.logs;
    for (tag, text) in [(TOPIC_TAG, &group.topic), (SOURCE_TAG, &group.source)] {
        if !text.is_empty() {
            wire::put_bytes(&mut bytes, tag, text);
        }
    }
    bytes.extend_from_slice(&group.tags);
    Ok(bytes)
}

/// Text, or the JSON text of anything else.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw.starts_with('"') {
            serde_json::from_str(raw)
                .map(Self)
                .map_err(serde::de::Error::custom)
        } else {
            Ok(Self(raw.to_owned()))
        }
    }
}

struct Envelope {
    now: u32,
}

impl<'de> DeserializeSeed<'de> for Envelope {
    type Value = EventGroup;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<EventGroup, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope {
    type Value = EventGroup;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `__logs__`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EventGroup, A::Error> {
        let mut group = EventGroup::default();
        let mut has_logs = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "__topic__" => group.topic = map.next_value::<Text>()?.0.into_bytes(),
                "__source__" => group.source = map.next_value::<Text>()?.0.into_bytes(),
                "__tags__" => map.next_value_seed(Tags(&mut group))?,
                "__logs__" => {
                    has_logs = true;
                    map.next_value_seed(Logs {
                        out: &mut group.logs,
                        now: self.now,
                    })?;
                }
                _ => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        if !has_logs {
            return Err(serde::de::Error::missing_field("__logs__"));
        }
        Ok(group)
    }
}

struct Tags<'a>(&'a mut EventGroup);

impl<'de> DeserializeSeed<'de> for Tags<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tags<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<String, Text>()? {
            self.0.put_tag(key.as_bytes(), value.0.as_bytes());
        }
        Ok(())
    }
}

struct Logs<'a> {
    out: &'a mut Vec<u8>,
    now: u32,
}

impl<'de> DeserializeSeed<'de> for Logs<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Logs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of logs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut log = Vec::new();
        while let Some(()) = seq.next_element_seed(Log {
            out: &mut log,
            now: self.now,
        })? {
            wire::put_bytes(self.out, LOGS_TAG, &log);
            log.clear();
        }
        Ok(())
    }
}

/// One log, written as a `Log` message.
struct Log<'a> {
    out: &'a mut Vec<u8>,
    now: u32,
}

impl<'de> DeserializeSeed<'de> for Log<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Log<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a log: an object of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut time, mut nanos) = (self.now, None);
        while let Some((key, value)) = map.next_entry::<String, Text>()? {
            match key.as_str() {
                "__time__" => time = number(&key, &value.0)?,
                "__time_ns_part__" => nanos = Some(number(&key, &value.0)?),
                _ => put_content(self.out, key.as_bytes(), value.0.as_bytes()),
            }
        }
        self.out.push(TIME_TAG);
        wire::put_varint(self.out, u64::from(time));
        if let Some(nanos) = nanos {
            self.out.push(TIME_NS_TAG);
            self.out.extend_from_slice(&nanos.to_le_bytes());
        }
        Ok(())
    }
}

fn number<E: serde::de::Error>(key: &str, text: &str) -> Result<u32, E> {
    text.parse().map_err(|_| {
        E::custom(format_args!(
            "{key} is not a number of seconds or nanoseconds"
        ))
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::logstore::proto::LogGroup;

    fn decode(body: &str) -> LogGroup {
        LogGroup::decode(&*log_group(body.as_bytes(), 7).unwrap()).unwrap()
    }

    #[test]
    fn the_body_of_the_sts_plugin_becomes_a_group() {
        let group = decode(
            r#"{"__logs__":[{"event":"view","n":1.5,"o":{"a":[1]},"__time__":1781510400},{"__time__":"9","__time_ns_part__":5}],
                "__tags__":{"app":"shop"},"__topic__":"web","__source__":"h5"}"#,
        );
        assert_eq!((group.topic(), group.source()), (&b"web"[..], &b"h5"[..]));
        assert_eq!(group.log_tags[0].key, "app");
        let contents: Vec<_> = group.logs[0]
            .contents
            .iter()
            .map(|c| (&c.key[..], &c.value[..]))
            .collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"event", b"view"), (b"n", b"1.5"), (b"o", b"{\"a\":[1]}")];
        assert_eq!(contents, expected);
        assert_eq!(group.logs[0].time, 1_781_510_400);
        assert_eq!((group.logs[1].time, group.logs[1].time_ns), (9, Some(5)));
    }

    #[test]
    fn a_log_without_a_time_gets_the_time_of_receipt() {
        assert_eq!(decode(r#"{"__logs__":[{"a":"b"}]}"#).logs[0].time, 7);
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"__logs__":{}}"#,
            r#"{"__logs__":[1]}"#,
            r#"{"__logs__":[{"__time__":"soon"}]}"#,
            r#"{"__logs__":[]} x"#,
        ] {
            assert!(log_group(bad.as_bytes(), 7).is_err(), "{bad}");
        }
    }
}
