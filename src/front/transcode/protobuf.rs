//! The producers' body: one LogGroup in protobuf.

use std::str;

use super::fault::Fault;
use super::names::{FieldName, MAX_TOKEN, TagName};
use super::open_log::{OpenLog, check_written};
use super::rules::Context;
use super::scan::Scanned;
use super::time::{EventTime, within_a_second};
use crate::event::{EventGroup, LOGS_TAG, Reason, Refusal, content_length, put_content};
use crate::foundation::wire::{self, Field, Reader};

/// `Log.Time_ns`: its tag and four bytes.
const TIME_NS_FIELD: usize = 5;

/// Reads one LogGroup.
///
/// Topic, source, tags and events are taken; `Category`, `MachineUUID`, `Log.values` and unknown
/// fields are not. A field that may stand once counts as it came last, as protobuf has it. The same
/// key twice in a Log is legal here, since producers may send it. A Log that needs no change is
/// copied as it is; any other is written anew. Names and limits mean what they mean in JSON.
///
/// # Errors
/// [`Reason::NotProtobuf`] for what is malformed or lacks a required field, [`Reason::NotUtf8`],
/// and the reasons for limits.
pub fn protobuf(body: &[u8], context: &Context<'_>, out: &mut EventGroup) -> Result<(), Refusal> {
    Ok(log_group(body, context, out)?)
}

fn log_group(body: &[u8], context: &Context<'_>, out: &mut EventGroup) -> Scanned<()> {
    let rules = context.rules;
    let mut reader = Reader::new(body);
    let (mut events, mut tags) = (0, 0);
    let (mut topic, mut source) = (None, None);
    loop {
        let offset = reader.offset();
        let Some(field) = reader.next_field()? else {
            break;
        };
        match field {
            Field::Bytes(1, log) => {
                events += 1;
                bounded(events, rules.events, offset, Reason::TooManyEvents)?;
                let base = reader.offset() - log.len();
                let start = out.logs.len();
                log_field(log, base, context, out).map_err(|fault| {
                    let fault = fault.within_element(events - 1);
                    fault.within(b"Logs")
                })?;
                check_written(context, start, out);
                out.events += 1;
            }
            Field::Bytes(3, text) => topic = Some((text, offset)),
            Field::Bytes(4, text) => source = Some((text, offset)),
            Field::Bytes(6, tag) => {
                let tag = pair(tag, reader.offset() - tag.len())?;
                put_tag(&tag, &mut tags, context, out)?;
            }
            Field::Bytes(..) => {}
            other => not_ours(other, &[1, 2, 3, 4, 5, 6], offset)?,
        }
    }
    for (label, place) in [(topic, &mut out.topic), (source, &mut out.source)] {
        if let Some((text, offset)) = label {
            utf8(text, offset)?;
            bounded(text.len(), rules.topic, offset, Reason::ValueTooLarge)?;
            place.extend_from_slice(text);
        }
    }
    Ok(())
}

fn put_tag(
    tag: &Pair<'_>,
    tags: &mut usize,
    context: &Context<'_>,
    out: &mut EventGroup,
) -> Scanned<()> {
    let rules = context.rules;
    tag.check_text(rules.key)?;
    let name = TagName::of(tag.key, context.attached);
    if name == TagName::Token {
        bounded(
            tag.value.len(),
            MAX_TOKEN,
            tag.offset,
            Reason::ValueTooLarge,
        )?;
        out.token.clear();
        out.token.extend_from_slice(tag.value);
        return Ok(());
    }
    *tags += 1;
    bounded(*tags, rules.tags, tag.offset, Reason::TooManyFields)?;
    if name == TagName::Attached {
        out.leave_out_attached();
        return Ok(());
    }
    if name == TagName::Reserved {
        out.reserved_fields += 1;
        return Ok(());
    }
    let length = tag.value.len();
    bounded(length, rules.tag_value, tag.offset, Reason::ValueTooLarge)?;
    out.put_tag(tag.key, tag.value);
    Ok(())
}

/// What a Log was found to hold besides its contents.
#[derive(Debug, Default)]
struct Survey {
    seconds: Option<u64>,
    nanoseconds: Option<u32>,
    contents: usize,
    /// Bytes that the canonical encoding of the same Log takes.
    canonical: usize,
    /// A name is ours, or the fields are not in the canonical order.
    changed: bool,
}

/// Checks a Log that stands at `base` of the body, and brings it to `out`.
fn log_field(log: &[u8], base: usize, context: &Context<'_>, out: &mut EventGroup) -> Scanned<()> {
    let survey = survey(log, base, context)?;
    let Some(seconds) = survey.seconds else {
        return Err(Fault::new(Reason::NotProtobuf, base, "a Log without Time"));
    };
    // A canonical encoding is the shortest: equal length and order mean equal bytes.
    let unchanged = !survey.changed && survey.canonical == log.len();
    if !unchanged || EventTime::of_seconds(seconds, context).is_none() {
        return rewrite(log, base, &survey, context, out);
    }
    let tail = if survey.nanoseconds.is_some() {
        TIME_NS_FIELD
    } else {
        0
    };
    let Some((head, tail)) = log.split_at_checked(log.len() - tail) else {
        return rewrite(log, base, &survey, context, out);
    };
    out.logs.push(LOGS_TAG);
    wire::put_varint(&mut out.logs, (log.len() + context.stamp.len()) as u64);
    for part in [head, context.stamp, tail] {
        out.logs.extend_from_slice(part);
    }
    Ok(())
}

fn survey(log: &[u8], base: usize, context: &Context<'_>) -> Scanned<Survey> {
    let rules = context.rules;
    let mut found = Survey::default();
    let mut reader = Reader::nested(log, base);
    loop {
        let offset = reader.offset();
        let Some(field) = reader.next_field()? else {
            return Ok(found);
        };
        // The canonical order is Time, Contents, Time_ns; Time and Time_ns once.
        found.changed |= found.nanoseconds.is_some();
        match field {
            Field::Varint(1, seconds) => {
                found.changed |= offset != base;
                found.seconds = Some(seconds);
                found.canonical += 1 + wire::varint_length(seconds);
            }
            Field::Bytes(2, content) => {
                found.contents += 1;
                bounded(found.contents, rules.fields, offset, Reason::TooManyFields)?;
                let content = pair(content, reader.offset() - content.len())?;
                content.check_text(rules.key)?;
                let length = content.value.len();
                bounded(length, rules.value, content.offset, Reason::ValueTooLarge)?;
                found.changed |= content.changed;
                found.changed |= FieldName::of(content.key, context.attached) != FieldName::Plain;
                found.canonical += content.canonical_field();
            }
            Field::Fixed32(4, nanoseconds) => {
                found.changed |= within_a_second(nanoseconds).is_none();
                found.nanoseconds = Some(nanoseconds);
                found.canonical += TIME_NS_FIELD;
            }
            Field::Bytes(3, _) => found.changed = true,
            other => {
                not_ours(other, &[1, 2, 3, 4], offset)?;
                found.changed = true;
            }
        }
    }
}

/// Writes a Log anew that has been surveyed.
#[cold]
fn rewrite(
    log: &[u8],
    base: usize,
    survey: &Survey,
    context: &Context<'_>,
    out: &mut EventGroup,
) -> Scanned<()> {
    let mut open = OpenLog::begin(out);
    if let Some(seconds) = survey.seconds {
        open.set_seconds(seconds, base, context, out)?;
    }
    open.set_nanoseconds(survey.nanoseconds.and_then(within_a_second));
    let mut reader = Reader::nested(log, base);
    while let Some(field) = reader.next_field()? {
        let Field::Bytes(2, content) = field else {
            continue;
        };
        let content = pair(content, reader.offset() - content.len())?;
        match FieldName::of(content.key, context.attached) {
            FieldName::Plain => put_content(&mut out.logs, content.key, content.value),
            FieldName::Time | FieldName::Nanoseconds | FieldName::Reserved => {
                out.reserved_fields += 1;
            }
            FieldName::Attached => out.leave_out_attached(),
        }
    }
    open.finish(context, out);
    Ok(())
}

/// A Content or a LogTag: key 1 and value 2, both required.
#[derive(Debug)]
struct Pair<'a> {
    key: &'a [u8],
    value: &'a [u8],
    offset: usize,
    /// The fields are not in the canonical order, or there are more than two.
    changed: bool,
}

impl Pair<'_> {
    fn check_text(&self, key_limit: usize) -> Scanned<()> {
        utf8(self.key, self.offset)?;
        utf8(self.value, self.offset)?;
        if self.key.is_empty() || self.key.len() > key_limit {
            let what = format!(
                "a key of {} bytes; the limit is {key_limit}",
                self.key.len()
            );
            return Err(Fault::new(Reason::InvalidKey, self.offset, what));
        }
        Ok(())
    }

    /// Bytes of the canonical encoding, with tag and length.
    fn canonical_field(&self) -> usize {
        let length = content_length(self.key.len(), self.value.len());
        1 + wire::varint_length(length as u64) + length
    }
}

/// Reads a Content or a LogTag that stands at `base` of the body.
fn pair(bytes: &[u8], base: usize) -> Scanned<Pair<'_>> {
    let mut reader = Reader::nested(bytes, base);
    let (mut key, mut value, mut changed) = (None, None, false);
    loop {
        let offset = reader.offset();
        let Some(field) = reader.next_field()? else {
            break;
        };
        match field {
            Field::Bytes(1, text) => {
                changed |= key.is_some() || value.is_some();
                key = Some(text);
            }
            Field::Bytes(2, text) => {
                changed |= value.is_some();
                value = Some(text);
            }
            other => {
                not_ours(other, &[1, 2], offset)?;
                changed = true;
            }
        }
    }
    let (Some(key), Some(value)) = (key, value) else {
        return Err(Fault::new(
            Reason::NotProtobuf,
            base,
            "a key or a value is missing",
        ));
    };
    Ok(Pair {
        key,
        value,
        offset: base,
        changed,
    })
}

/// A field that is skipped must not have a number of ours: that would be the wrong wire type.
fn not_ours(field: Field<'_>, ours: &[u32], offset: usize) -> Scanned<()> {
    let (Field::Varint(number, _)
    | Field::Fixed32(number, _)
    | Field::Fixed64(number, _)
    | Field::Bytes(number, _)) = field;
    if ours.contains(&number) {
        let what = "a field of the wrong wire type";
        return Err(Fault::new(Reason::NotProtobuf, offset, what));
    }
    Ok(())
}

fn utf8(text: &[u8], offset: usize) -> Scanned<()> {
    match str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new(Reason::NotUtf8, offset, "not UTF-8")),
    }
}

fn bounded(found: usize, limit: usize, offset: usize, reason: Reason) -> Scanned<()> {
    if found > limit {
        return Err(Fault::above(reason, offset, found, limit));
    }
    Ok(())
}
