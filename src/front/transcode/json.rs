//! Web tracking by POST: an object of topic, source, tags and events.

use std::mem;

use super::document::{Document, named_before};
use super::fault::Fault;
use super::names::{EnvelopeName, FieldName, MAX_TOKEN, TagName};
use super::open_log::OpenLog;
use super::rules::Context;
use super::scan::{Scanned, Scanner};
use super::scratch::{self, Scratch};
use super::seen::Key;
use crate::event::{EventGroup, Kind, Reason, Refusal, put_content};

const ENVELOPE_DEPTH: usize = 1;
const LOG_DEPTH: usize = 3;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads the JSON body of a web-tracking request.
///
/// `__logs__` is required. Strings are stored decoded, other scalars as they are written, objects
/// and arrays as compact JSON text. Keys that the envelope does not know are checked and ignored.
/// A byte order mark is skipped. A body that begins with `%7B` is percent-decoded once, since some
/// mini-program platforms send it like that; offsets then refer to the decoded body.
///
/// # Errors
/// The reasons for bodies in [`Reason`]: not UTF-8, not JSON, of the wrong shape, or above a limit.
pub fn json(body: &[u8], context: &Context<'_>, out: &mut EventGroup) -> Result<(), Refusal> {
    scratch::with(|scratch| {
        if !is_percent_encoded(body) {
            return plain_json(body, context, scratch, out);
        }
        let mut plain = mem::take(&mut scratch.body);
        plain.clear();
        plain.extend(percent_encoding::percent_decode(body));
        let result = plain_json(&plain, context, scratch, out);
        scratch.body = plain;
        result
    })
}

/// Reads a body of events alone: an array of objects, or objects one after another (NDJSON). Each is
/// read as one of `__logs__` of [`json`].
///
/// # Errors
/// As [`json`].
pub fn events(body: &[u8], context: &Context<'_>, out: &mut EventGroup) -> Result<(), Refusal> {
    scratch::with(|scratch| {
        let document = document(body, context, scratch, out)?;
        document.read_events().map_err(Refusal::from)
    })
}

fn is_percent_encoded(body: &[u8]) -> bool {
    body.trim_ascii_start()
        .first_chunk()
        .is_some_and(|start: &[u8; 3]| start.eq_ignore_ascii_case(b"%7b"))
}

fn plain_json(
    body: &[u8],
    context: &Context<'_>,
    scratch: &mut Scratch,
    out: &mut EventGroup,
) -> Result<(), Refusal> {
    let document = document(body, context, scratch, out)?;
    document.read().map_err(Refusal::from)
}

fn document<'a>(
    body: &'a [u8],
    context: &'a Context<'a>,
    scratch: &'a mut Scratch,
    out: &'a mut EventGroup,
) -> Result<Document<'a>, Refusal> {
    if let Err(error) = std::str::from_utf8(body) {
        let fault = Fault::new(Reason::NotUtf8, error.valid_up_to(), "not UTF-8");
        return Err(fault.into());
    }
    let has_mark = body.starts_with(BYTE_ORDER_MARK);
    let start = if has_mark { BYTE_ORDER_MARK.len() } else { 0 };
    Ok(Document {
        scan: Scanner::new(body, start),
        context,
        scratch,
        out,
    })
}

/// The names of the envelope that have been read: each may come once.
#[derive(Debug, Default)]
struct Envelope {
    logs: bool,
    topic: bool,
    source: bool,
    tags: bool,
}

impl Envelope {
    /// Notes a name. `false`: it was there before.
    fn insert(&mut self, name: EnvelopeName) -> bool {
        let place = match name {
            EnvelopeName::Logs => &mut self.logs,
            EnvelopeName::Topic => &mut self.topic,
            EnvelopeName::Source => &mut self.source,
            EnvelopeName::Tags => &mut self.tags,
        };
        !mem::replace(place, true)
    }
}

impl Document<'_> {
    fn read(mut self) -> Scanned<()> {
        if self.scan.significant() != Some(b'{') {
            let wrong = self.wrong_shape(ENVELOPE_DEPTH, "expected an object")?;
            self.scan.end()?;
            return Err(wrong);
        }
        let mut envelope = Envelope::default();
        self.object(ENVELOPE_DEPTH, |document, key| {
            document.envelope_member(key, &mut envelope)
        })?;
        self.scan.end()?;
        if !envelope.logs {
            let (offset, what) = (self.scan.offset(), "`__logs__` is missing");
            return Err(Fault::new(Reason::WrongShape, offset, what));
        }
        Ok(())
    }

    fn read_events(mut self) -> Scanned<()> {
        if self.scan.significant() == Some(b'[') {
            self.logs()?;
            return self.scan.end();
        }
        for index in 0.. {
            if index > 0 && self.scan.significant().is_none() {
                break;
            }
            self.log(index)
                .map_err(|fault| fault.within_element(index))?;
        }
        Ok(())
    }

    fn envelope_member(&mut self, key: Key<'_>, envelope: &mut Envelope) -> Scanned<()> {
        let Some(name) = EnvelopeName::of(self.name(key)) else {
            let read = self.value(ENVELOPE_DEPTH + 1);
            let read = read.map_err(|fault| fault.within(self.name(key)));
            self.scratch.seen.begin();
            return read.map(|_| ());
        };
        let read = match name {
            _ if !envelope.insert(name) => Err(named_before(self.scan.offset())),
            EnvelopeName::Logs => self.logs(),
            EnvelopeName::Tags => self.tags(),
            EnvelopeName::Topic => self.label(|out| &mut out.topic),
            EnvelopeName::Source => self.label(|out| &mut out.source),
        };
        read.map_err(|fault| fault.within(name.as_bytes()))
    }

    /// Reads the topic or the source.
    fn label(&mut self, place: fn(&mut EventGroup) -> &mut Vec<u8>) -> Scanned<()> {
        self.scan.significant();
        let offset = self.scan.offset();
        let (kind, text) = self.value(ENVELOPE_DEPTH + 1)?;
        let text = text.resolve(&self.scratch.text);
        match kind {
            Kind::Null => Ok(()),
            Kind::Object | Kind::Array => {
                Err(Fault::new(Reason::WrongShape, offset, "expected text"))
            }
            Kind::Text | Kind::Number | Kind::Boolean => {
                within(text.len(), self.context.rules.topic, offset)?;
                place(self.out).extend_from_slice(text);
                Ok(())
            }
        }
    }

    fn tags(&mut self) -> Scanned<()> {
        match self.scan.significant() {
            Some(b'{') => {}
            Some(b'n') => return self.scan.literal(b"null"),
            _ => return Err(self.wrong_shape(ENVELOPE_DEPTH + 1, "expected an object")?),
        }
        self.scratch.seen.begin();
        let mut count = 0;
        self.object(ENVELOPE_DEPTH + 1, |document, key| {
            let read = document.tag(key, &mut count);
            read.map_err(|fault| fault.within(document.name(key)))
        })
    }

    fn tag(&mut self, key: Key<'_>, count: &mut usize) -> Scanned<()> {
        let (body, rules) = (self.scan.bytes(), self.context.rules);
        self.new_key(key)?;
        let name = TagName::of(self.scratch.seen.name(body, key), self.context.attached);
        if name != TagName::Token {
            *count += 1;
            if *count > rules.tags {
                let offset = self.scan.offset();
                return Err(Fault::above(
                    Reason::TooManyFields,
                    offset,
                    *count,
                    rules.tags,
                ));
            }
        }
        self.scan.significant();
        let offset = self.scan.offset();
        let (kind, text) = self.value(ENVELOPE_DEPTH + 2)?;
        let text = text.resolve(&self.scratch.text);
        match name {
            TagName::Reserved => self.out.reserved_fields += 1,
            TagName::Attached => self.out.leave_out_attached(),
            _ if kind == Kind::Null => {}
            TagName::Token => {
                within(text.len(), MAX_TOKEN, offset)?;
                self.out.token.extend_from_slice(text);
            }
            TagName::Plain => {
                within(text.len(), rules.tag_value, offset)?;
                self.out.put_tag(self.scratch.seen.name(body, key), text);
            }
        }
        Ok(())
    }

    fn logs(&mut self) -> Scanned<()> {
        if self.scan.significant() != Some(b'[') {
            return Err(self.wrong_shape(LOG_DEPTH - 1, "expected an array")?);
        }
        self.enter(LOG_DEPTH - 1)?;
        self.scan.advance();
        if self.scan.significant() == Some(b']') {
            self.scan.advance();
            return Ok(());
        }
        for index in 0.. {
            self.log(index)
                .map_err(|fault| fault.within_element(index))?;
            match self.scan.significant() {
                Some(b',') => self.scan.advance(),
                Some(b']') => break,
                _ => return Err(self.scan.unexpected("expected a comma or `]`")),
            }
        }
        self.scan.advance();
        Ok(())
    }

    fn log(&mut self, index: usize) -> Scanned<()> {
        let limit = self.context.rules.events;
        let next = self.scan.significant();
        let offset = self.scan.offset();
        if index >= limit {
            return Err(Fault::above(
                Reason::TooManyEvents,
                offset,
                index + 1,
                limit,
            ));
        }
        if next != Some(b'{') {
            return Err(self.wrong_shape(LOG_DEPTH, "expected an object")?);
        }
        let mut log = OpenLog::begin(self.out);
        let mut fields = 0;
        self.scratch.seen.begin();
        self.scratch.places.clear_for_distinct();
        self.object(LOG_DEPTH, |document, key| {
            fields += 1;
            let read = document.field(key, fields, &mut log);
            read.map_err(|fault| fault.within(document.name(key)))
        })?;
        if let Some(check) = self.context.check {
            let event = self.scratch.places.of(&self.out.logs);
            check.check(self.out.events, event, &mut self.out.faults);
        }
        log.finish(self.context, self.out);
        self.out.events += 1;
        Ok(())
    }

    #[inline]
    fn field(&mut self, key: Key<'_>, fields: usize, log: &mut OpenLog) -> Scanned<()> {
        let (body, rules) = (self.scan.bytes(), self.context.rules);
        if fields > rules.fields {
            let offset = self.scan.offset();
            return Err(Fault::above(
                Reason::TooManyFields,
                offset,
                fields,
                rules.fields,
            ));
        }
        self.new_key(key)?;
        self.scan.significant();
        let offset = self.scan.offset();
        let (kind, text) = self.value(LOG_DEPTH + 1)?;
        let text = text.resolve(&self.scratch.text);
        within(text.len(), rules.value, offset)?;
        let name = self.scratch.seen.name(body, key);
        match FieldName::of(name, self.context.attached) {
            FieldName::Plain => {
                put_content(&mut self.out.logs, name, text);
                if self.context.check.is_some() {
                    let (logs, places) = (&self.out.logs, &mut self.scratch.places);
                    places.push(logs, name.len(), text.len(), kind);
                }
            }
            FieldName::Time => log.set_time(text, offset, self.context, self.out)?,
            FieldName::Nanoseconds => log.set_nanosecond_text(text),
            FieldName::Reserved => self.out.reserved_fields += 1,
            FieldName::Attached => self.out.leave_out_attached(),
        }
        Ok(())
    }

    /// The next value is of the wrong shape, unless it is no JSON at all.
    #[cold]
    fn wrong_shape(&mut self, depth: usize, what: &'static str) -> Scanned<Box<Fault>> {
        let offset = self.scan.offset();
        self.value(depth)?;
        Ok(Fault::new(Reason::WrongShape, offset, what))
    }
}

/// A length in bytes is within its limit.
#[inline]
fn within(length: usize, limit: usize, offset: usize) -> Scanned<()> {
    if length > limit {
        return Err(Fault::above(Reason::ValueTooLarge, offset, length, limit));
    }
    Ok(())
}
