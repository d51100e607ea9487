//! Web tracking by GET: one event in the query.

use super::fault::Fault;
use super::names::{EnvelopeName, FieldName};
use super::open_log::{OpenLog, check_written};
use super::rules::Context;
use super::scan::Scanned;
use super::scratch::{self, Scratch};
use super::seen::Key;
use crate::event::{EventGroup, Reason, Refusal, put_content};

const API_VERSION: &[u8] = b"APIVersion";

/// Reads the query of a web-tracking request, without its question mark, as exactly one event.
///
/// Queries are written by hand and by image tags, and are read leniently: empty pairs are skipped,
/// a percent sign that begins no escape stays, `+` is a space, what is not UTF-8 becomes U+FFFD.
/// Of pairs with the same key the first counts; the others are left out and counted as reserved.
/// `__topic__`, `__source__` and `__time__` mean what they mean in a body. `APIVersion` and the
/// parameter that carries the token, `token_parameter`, are not stored.
///
/// # Errors
/// [`Reason::TooManyFields`], [`Reason::InvalidKey`], [`Reason::ValueTooLarge`],
/// [`Reason::TimeOutOfRange`].
pub fn query(
    query: &[u8],
    token_parameter: &str,
    context: &Context<'_>,
    out: &mut EventGroup,
) -> Result<(), Refusal> {
    let start = out.logs.len();
    scratch::with(|scratch| {
        scratch.seen.begin();
        let log = OpenLog::begin(out);
        let mut event = QueryEvent {
            query,
            token_parameter: token_parameter.as_bytes(),
            context,
            scratch,
            log,
            fields: 0,
            out,
        };
        let mut offset = 0;
        for pair in query.split(|&byte| byte == b'&') {
            if !pair.is_empty() {
                event.pair(pair, offset)?;
            }
            offset += pair.len() + 1;
        }
        event.log.finish(context, event.out);
        Ok::<(), Refusal>(())
    })?;
    check_written(context, start, out);
    out.events += 1;
    Ok(())
}

struct QueryEvent<'a> {
    query: &'a [u8],
    token_parameter: &'a [u8],
    context: &'a Context<'a>,
    scratch: &'a mut Scratch,
    log: OpenLog,
    fields: usize,
    out: &'a mut EventGroup,
}

impl QueryEvent<'_> {
    fn pair(&mut self, pair: &[u8], offset: usize) -> Scanned<()> {
        let equals = pair.iter().position(|&byte| byte == b'=');
        let (raw_key, raw_value) = match equals.and_then(|at| pair.split_at_checked(at)) {
            Some((key, [_, value @ ..])) => (key, value),
            _ => (pair, &[][..]),
        };
        let Scratch { seen, text, .. } = &mut *self.scratch;
        let key = seen.decoded(self.query, |arena| decode(raw_key, text, arena));
        let name = seen.name(self.query, key);
        if name == API_VERSION || name == self.token_parameter {
            return Ok(());
        }
        self.parameter(key, raw_value, offset).map_err(|fault| {
            let name = self.scratch.seen.name(self.query, key);
            fault.within(name)
        })
    }

    fn parameter(&mut self, key: Key<'_>, raw_value: &[u8], offset: usize) -> Scanned<()> {
        let rules = self.context.rules;
        self.fields += 1;
        if self.fields > rules.fields {
            return Err(Fault::above(
                Reason::TooManyFields,
                offset,
                self.fields,
                rules.fields,
            ));
        }
        if key.length() == 0 || key.length() > rules.key {
            let what = format!(
                "a key of {} bytes; the limit is {}",
                key.length(),
                rules.key
            );
            return Err(Fault::new(Reason::InvalidKey, offset, what));
        }
        if !self.scratch.seen.insert(self.query, key) {
            self.out.reserved_fields += 1;
            return Ok(());
        }
        let Scratch {
            seen, text, body, ..
        } = &mut *self.scratch;
        text.clear();
        decode(raw_value, body, text);
        let name = seen.name(self.query, key);
        let envelope = EnvelopeName::of(name);
        let label = match envelope {
            Some(EnvelopeName::Topic) => Some(&mut self.out.topic),
            Some(EnvelopeName::Source) => Some(&mut self.out.source),
            _ => None,
        };
        let limit = if label.is_some() {
            rules.topic
        } else {
            rules.value
        };
        if text.len() > limit {
            return Err(Fault::above(
                Reason::ValueTooLarge,
                offset,
                text.len(),
                limit,
            ));
        }
        if let Some(label) = label {
            label.extend_from_slice(text);
            return Ok(());
        }
        match FieldName::of(name, self.context.attached) {
            FieldName::Plain => put_content(&mut self.out.logs, name, text),
            FieldName::Time => self.log.set_time(text, offset, self.context, self.out)?,
            FieldName::Nanoseconds => self.log.set_nanosecond_text(text),
            FieldName::Reserved => self.out.reserved_fields += 1,
            FieldName::Attached => self.out.leave_out_attached(),
        }
        Ok(())
    }
}

/// Appends the decoded form of a key or value, made UTF-8. `buffer` is overwritten.
fn decode(raw: &[u8], buffer: &mut Vec<u8>, out: &mut Vec<u8>) {
    buffer.clear();
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        buffer.push(match (byte, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (byte, _) => *byte,
        });
    }
    for chunk in buffer.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
