//! Events of a LogGroup as JSON: one object for each, flat, every value a text, as `tollgate tail`
//! prints them. Bytes that are no UTF-8 are replaced. A name that is there twice is there twice.
//!
//! Bound: a byte becomes at most six (`\u0001`), and every event repeats topic, source and tags. A batch
//! as JSON has no bound of its own, so whoever writes it does so in slices.

use std::borrow::Cow;

use crate::event::pair_of;
use crate::foundation::wire::{Field, Reader};
use crate::pipeline::delivery::anatomy::Anatomy;

const TIME: u32 = 1;
const CONTENTS: u32 = 2;
const TIME_NS: u32 = 4;

/// What all events of one LogGroup have in common, already written.
pub(super) struct JsonEvents {
    common: Vec<u8>,
}

impl JsonEvents {
    /// The events of a LogGroup.
    pub(super) fn of(anatomy: &Anatomy) -> Self {
        let shell = anatomy.shell();
        let mut common = Vec::new();
        member(&mut common, "__topic__", &shell.topic);
        member(&mut common, "__source__", &shell.source);
        for (name, value) in shell.each_tag() {
            let name = format!("__tag__:{}", String::from_utf8_lossy(name));
            member(&mut common, &name, value);
        }
        if !anatomy.pack().is_empty() {
            member(&mut common, "__tag__:__pack_id__", anatomy.pack());
        }
        Self { common }
    }

    /// Bytes that an event of theirs has at least.
    pub(super) fn least(&self) -> usize {
        self.common.len()
    }

    /// Bytes that one of them has at most.
    pub(super) fn most(&self, log: &[u8]) -> usize {
        // Each field takes some bytes in its wire form, too, so what stands around it is paid for.
        self.common.len() + 6 * log.len() + 64
    }

    /// Appends one of the events, without a line break: the JSON has none.
    pub(super) fn write(&self, log: &[u8], out: &mut Vec<u8>) {
        let (time, nanoseconds) = time_of(log);
        out.extend_from_slice(format!("{{\"__time__\":{time}").as_bytes());
        if let Some(nanoseconds) = nanoseconds {
            out.extend_from_slice(format!(",\"__time_ns_part__\":{nanoseconds}").as_bytes());
        }
        out.extend_from_slice(&self.common);
        for (name, value) in contents(log) {
            member(out, &String::from_utf8_lossy(name), value);
        }
        out.push(b'}');
    }
}

/// The time of a Log in Unix seconds, and its nanoseconds where it has them.
pub(super) fn time_of(log: &[u8]) -> (u64, Option<u32>) {
    let (mut seconds, mut nanoseconds) = (0, None);
    let mut fields = Reader::new(log);
    while let Ok(Some(field)) = fields.next_field() {
        match field {
            Field::Varint(TIME, value) => seconds = value,
            Field::Fixed32(TIME_NS, value) => nanoseconds = Some(value),
            _ => {}
        }
    }
    (seconds, nanoseconds)
}

/// Name and value of each field of a Log.
pub(super) fn contents(log: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut fields = Reader::new(log);
    std::iter::from_fn(move || {
        loop {
            match fields.next_field() {
                Ok(Some(Field::Bytes(CONTENTS, content))) => return Some(pair_of(content)),
                Ok(Some(_)) => {}
                _ => return None,
            }
        }
    })
}

fn member(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(b',');
    text(out, name);
    out.push(b':');
    let value: Cow<'_, str> = String::from_utf8_lossy(value);
    text(out, &value);
}

/// A `Vec` takes everything, and a text is always JSON.
fn text(out: &mut Vec<u8>, text: &str) {
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.extend_from_slice(b"\"\"");
    }
}
