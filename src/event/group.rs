//! The events of one request, already in the wire form of a LogGroup.

use std::ops::Range;

use super::content::{content_length, pair_of};
use super::fault::EventFault;
use crate::foundation::trace_context::TraceContext;
use crate::foundation::wire::{self, Field, Reader};

/// Protobuf tag byte of `LogGroup.Logs`.
pub const LOGS_TAG: u8 = 0x0a;
/// Protobuf tag byte of `LogGroup.Topic`.
pub const TOPIC_TAG: u8 = 0x1a;
/// Protobuf tag byte of `LogGroup.Source`.
pub const SOURCE_TAG: u8 = 0x22;
/// Protobuf tag byte of `LogGroup.LogTags`.
pub const LOG_TAGS_TAG: u8 = 0x32;

/// The events of one request in wire form, with what decides their batch: topic, source and tags.
///
/// The buffers are reused from request to request ([`EventGroup::clear`]), so in the steady state a
/// request allocates nothing here.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EventGroup {
    /// `LogGroup.Logs` fields, one after another: tag byte, length, Log.
    pub logs: Vec<u8>,
    /// How many events `logs` holds.
    pub events: u32,
    /// `LogGroup.Topic`, UTF-8, possibly empty.
    pub topic: Vec<u8>,
    /// `LogGroup.Source`, UTF-8, possibly empty.
    pub source: Vec<u8>,
    /// `LogGroup.LogTags` fields, one after another: tag byte, length, LogTag.
    pub tags: Vec<u8>,
    /// A token that came as the tag `__token__`. It is never part of `tags`.
    pub token: Vec<u8>,
    /// Fields left out because their name is reserved for the store or for us.
    pub reserved_fields: u32,
    /// Of these, fields and tags whose names only we give.
    pub attached_names: u32,
    /// Events whose `__time__` was outside the accepted window and was replaced.
    pub times_replaced: u32,
    /// Events that did not pass a check while they were read, in their order. They still stand in
    /// `logs`: what becomes of them is decided once the caller is known.
    pub faults: Vec<EventFault>,
    /// The span of the request that brought them, where it has one. It goes with the events to their
    /// batch, whatever lane they take.
    pub span: Option<TraceContext>,
}

/// Where an event stands in [`EventGroup::logs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Where its field begins: tag byte, length, Log.
    pub start: usize,
    /// Where its Log begins.
    pub body: usize,
    /// Where it ends.
    pub end: usize,
}

/// Neither the token nor what clients sent is printed.
impl std::fmt::Debug for EventGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventGroup")
            .field("events", &self.events)
            .field("wire_bytes", &self.wire_bytes())
            .finish_non_exhaustive()
    }
}

impl EventGroup {
    /// Empties the group and keeps its buffers.
    pub fn clear(&mut self) {
        let Self {
            logs,
            events,
            topic,
            source,
            tags,
            token,
            reserved_fields,
            attached_names,
            times_replaced,
            faults,
            span,
        } = self;
        faults.clear();
        *span = None;
        for buffer in [logs, topic, source, tags, token] {
            buffer.clear();
        }
        (*events, *reserved_fields, *attached_names, *times_replaced) = (0, 0, 0, 0);
    }

    /// Counts a field or tag that was left out because its name is one that only we give.
    pub fn leave_out_attached(&mut self) {
        self.reserved_fields += 1;
        self.attached_names += 1;
    }

    /// Adds a tag, as one `LogTag` field.
    pub fn put_tag(&mut self, key: &[u8], value: &[u8]) {
        put_tag(&mut self.tags, key, value);
    }

    /// Key and value of each tag, in their order.
    pub fn each_tag(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut fields = Reader::new(&self.tags);
        std::iter::from_fn(move || match fields.next_field() {
            Ok(Some(Field::Bytes(_, tag))) => Some(pair_of(tag)),
            _ => None,
        })
    }

    /// Where each event stands.
    pub fn each_log(&self) -> impl Iterator<Item = LogPlace> {
        let mut fields = Reader::new(&self.logs);
        let mut start = 0;
        std::iter::from_fn(move || match fields.next_field() {
            Ok(Some(Field::Bytes(_, log))) => {
                let end = fields.offset();
                let place = LogPlace {
                    start,
                    body: end - log.len(),
                    end,
                };
                start = end;
                Some(place)
            }
            _ => None,
        })
    }

    /// A group of these events alone: ranges of `logs`, each one event. What is counted for the
    /// whole request stays with this group.
    #[must_use]
    pub fn copy_of(&self, ranges: impl Iterator<Item = Range<usize>>) -> Self {
        let mut copy = Self {
            topic: self.topic.clone(),
            source: self.source.clone(),
            tags: self.tags.clone(),
            span: self.span,
            ..Self::default()
        };
        for range in ranges {
            if let Some(log) = self.logs.get(range) {
                copy.logs.extend_from_slice(log);
                copy.events += 1;
            }
        }
        copy
    }

    /// Moves all events to a group of their own.
    #[must_use]
    pub fn take_all(&mut self) -> Self {
        Self {
            logs: std::mem::take(&mut self.logs),
            events: std::mem::take(&mut self.events),
            topic: self.topic.clone(),
            source: self.source.clone(),
            tags: self.tags.clone(),
            span: self.span,
            ..Self::default()
        }
    }

    /// Whether two tags have one name. A JSON body cannot do that; a LogGroup can.
    #[must_use]
    pub fn repeats_a_tag(&self) -> bool {
        let mut names: Vec<&[u8]> = self.each_tag().map(|(name, _)| name).collect();
        names.sort_unstable();
        names
            .windows(2)
            .any(|pair| matches!(pair, [a, b] if a == b))
    }

    /// Bytes that the group holds in wire form.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.logs.len() + self.topic.len() + self.source.len() + self.tags.len()
    }
}

/// Appends one `LogGroup.LogTags` field to a LogGroup in wire form.
pub fn put_tag(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let length = content_length(key.len(), value.len());
    out.push(LOG_TAGS_TAG);
    wire::put_varint(out, length as u64);
    wire::put_bytes(out, 0x0a, key);
    wire::put_bytes(out, 0x12, value);
}
