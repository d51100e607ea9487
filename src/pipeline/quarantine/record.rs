//! One event that was set aside, as a line of JSON.

use std::net::IpAddr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::event::{EventGroup, Kind, Violation, pair_of};
use crate::foundation::wire::{Field, Reader};

/// An event that is set aside, and why.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// The request's id and the place of the event in it: unique, and found in the client's answer.
    pub id: &'a str,
    /// When it was received, in unix seconds.
    pub received: u64,
    /// What found it wanting: `schema`, `guard`, `transform`, `store`.
    pub cause: &'a str,
    /// The check: a schema with its version, a guard, a step.
    pub check: &'a str,
    /// What is wrong with it, as far as it was told.
    pub violations: Vec<RecordViolation<'a>>,
    /// Violations beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden: u32,
    /// The client's address, where the logstore keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Who sent it, where guards ask: a hash under a key of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender>,
    /// How many events of its request came before it that guards would tell from it by their turn alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub turn: u32,
    /// The client asked not to be tracked (`DNT: 1`).
    #[serde(skip_serializing_if = "is_false")]
    pub do_not_track: bool,
    /// The client asked that its data be not sold or shared (`Sec-GPC: 1`).
    #[serde(skip_serializing_if = "is_false")]
    pub global_privacy_control: bool,
    /// `LogGroup.Topic`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub topic: &'a str,
    /// `LogGroup.Source`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub source: &'a str,
    /// Tags.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags<'a>,
    /// The event as the client sent it, in the form of web tracking.
    pub event: RecordEvent<'a>,
    /// Fields that the edge gave it.
    #[serde(skip_serializing_if = "Attached::is_empty")]
    pub attached: Attached<'a>,
}

/// The hash of a sender, written in hexadecimal: readers of JSON may take long numbers for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender(pub u64);

impl Serialize for Sender {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Sender {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let hash = u64::from_str_radix(&text, 16);
        hash.map(Self).map_err(serde::de::Error::custom)
    }
}

/// A violation, in a record.
#[derive(Debug, Serialize)]
pub struct RecordViolation<'a> {
    pointer: &'a str,
    keyword: &'a str,
    message: &'a str,
}

impl<'a> From<&'a Violation> for RecordViolation<'a> {
    fn from(violation: &'a Violation) -> Self {
        Self {
            pointer: &violation.pointer,
            keyword: &violation.keyword,
            message: &violation.message,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(said: &bool) -> bool {
    !said
}

/// The tags of the request of an event.
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a>(pub &'a EventGroup);

impl Tags<'_> {
    fn is_empty(&self) -> bool {
        self.0.tags.is_empty()
    }
}

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.each_tag() {
            map.serialize_entry(text(name), text(value))?;
        }
        map.end()
    }
}

/// A Log in wire form, of whose fields the first are the client's, and what those were in its body.
#[derive(Clone, Copy, Debug)]
pub struct RecordEvent<'a> {
    /// The Log.
    pub log: &'a [u8],
    /// Kinds of the client's fields, in their order.
    pub kinds: &'a [Kind],
}

impl<'a> RecordEvent<'a> {
    /// Each field, with what it was in the body if it came from there.
    fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8], Option<Kind>)> {
        let mut kinds = self.kinds.iter();
        contents(self.log).map(move |(name, value)| {
            // The one field that we write between those of the client.
            let ours = name == b"__client_time__";
            let kind = if ours { None } else { kinds.next().copied() };
            (name, value, kind)
        })
    }

    fn sent(self) -> impl Iterator<Item = (&'a [u8], &'a [u8], Kind)> {
        let fields = self.fields();
        fields.filter_map(|(name, value, kind)| Some((name, value, kind?)))
    }

    fn given(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let fields = self.fields();
        fields.filter_map(|(name, value, kind)| kind.is_none().then_some((name, value)))
    }
}

/// The other fields of a Log.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a>(pub RecordEvent<'a>);

impl Attached<'_> {
    fn is_empty(&self) -> bool {
        self.0.given().next().is_none()
    }
}

impl Serialize for RecordEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut fields = Reader::new(self.log);
        while let Ok(Some(field)) = fields.next_field() {
            match field {
                Field::Varint(1, seconds) => map.serialize_entry("__time__", &seconds)?,
                Field::Fixed32(4, nanos) => map.serialize_entry("__time_ns_part__", &nanos)?,
                _ => {}
            }
        }
        for (name, value, kind) in self.sent() {
            // What was no text in the body is JSON as it stands.
            let raw = match kind {
                Kind::Text => None,
                _ => serde_json::from_str::<&RawValue>(text(value)).ok(),
            };
            match raw {
                Some(raw) => map.serialize_entry(text(name), raw)?,
                None => map.serialize_entry(text(name), text(value))?,
            }
        }
        map.end()
    }
}

impl Serialize for Attached<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.given() {
            map.serialize_entry(text(name), text(value))?;
        }
        map.end()
    }
}

/// Key and value of each `Contents` of a Log.
fn contents(log: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut fields = Reader::new(log);
    std::iter::from_fn(move || {
        loop {
            match fields.next_field() {
                Ok(Some(Field::Bytes(2, content))) => {
                    return Some(pair_of(content));
                }
                Ok(Some(_)) => {}
                _ => return None,
            }
        }
    })
}

/// Checked to be UTF-8 when it was read.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
