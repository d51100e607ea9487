//! Takes the members of a JSON object out of a field.
//!
//! Promise: the text is read by serde_json, in one pass for each level of nesting that is opened, and
//! at most [`MAX_DEPTH`] levels are; no tree of values is made.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::draft::Draft;
use super::outcome::Fault;
use super::steps::Adder;

/// Levels of objects that are opened. What lies deeper is a value.
const MAX_DEPTH: usize = 8;

/// A step that takes the members of an object out.
#[derive(Debug)]
pub(super) struct ParseStep {
    pub(super) field: Box<[u8]>,
    pub(super) prefix: Box<[u8]>,
    pub(super) flatten: bool,
    pub(super) max_fields: usize,
    pub(super) keep_source: bool,
}

/// Texts of the object at hand; the memory is reused.
#[derive(Debug, Default)]
pub(super) struct JsonSheets {
    source: Vec<u8>,
    path: String,
    value: String,
}

impl JsonSheets {
    /// Gives back memory that only a huge value needed.
    pub(super) fn shrink(&mut self, most: usize) {
        self.source.clear();
        self.source.shrink_to(most);
        for text in [&mut self.path, &mut self.value] {
            text.clear();
            text.shrink_to(most);
        }
    }
}

impl ParseStep {
    pub(super) fn run(
        &self,
        draft: &mut Draft<'_>,
        adder: &Adder<'_>,
        sheets: &mut JsonSheets,
    ) -> Result<(), Fault> {
        let Some(value) = draft.value(&self.field) else {
            return Ok(());
        };
        let mut source = std::mem::take(&mut sheets.source);
        source.clear();
        source.extend_from_slice(value);
        let result = self.take_out(&source, draft, adder, sheets);
        sheets.source = source;
        result
    }

    fn take_out(
        &self,
        source: &[u8],
        draft: &mut Draft<'_>,
        adder: &Adder<'_>,
        sheets: &mut JsonSheets,
    ) -> Result<(), Fault> {
        let text = std::str::from_utf8(source).map_err(|_| Fault::NotText)?;
        // All of it is read before anything is written: of what is no object nothing is taken.
        let mut count = 0;
        let mut counting = |_: &str, _: &str| {
            count += 1;
            match count > self.max_fields {
                true => Err(Fault::TooManyMembers),
                false => Ok(()),
            }
        };
        self.read(text, sheets, &mut counting)?;
        if !self.keep_source {
            draft.remove(&self.field);
        }
        let mut adding =
            |name: &str, value: &str| adder.add(draft, name.as_bytes(), value.as_bytes());
        self.read(text, sheets, &mut adding)
    }

    fn read(&self, text: &str, sheets: &mut JsonSheets, to: &mut Taker<'_>) -> Result<(), Fault> {
        sheets.path.clear();
        for chunk in self.prefix.utf8_chunks() {
            sheets.path.push_str(chunk.valid());
        }
        let mut object = Object {
            depth: if self.flatten { MAX_DEPTH } else { 1 },
            path: &mut sheets.path,
            value: &mut sheets.value,
            to,
            fault: None,
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_map(&mut object).and_then(|()| json.end());
        match (object.fault, read) {
            (Some(fault), _) => Err(fault),
            (None, Err(_)) => Err(Fault::NotJson),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Takes a name and a value.
type Taker<'t> = dyn FnMut(&str, &str) -> Result<(), Fault> + 't;

/// An object being read.
struct Object<'o, 't> {
    /// Levels that may be opened, this one included.
    depth: usize,
    /// The names that lead here.
    path: &'o mut String,
    value: &'o mut String,
    to: &'o mut Taker<'t>,
    fault: Option<Fault>,
}

impl<'de> Visitor<'de> for &mut Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let begin = self.path.len();
        while members.next_key_seed(Append(self.path))?.is_some() {
            let raw: &RawValue = members.next_value()?;
            if let Err(fault) = self.member(raw.get()) {
                self.fault = Some(fault);
                return Err(serde::de::Error::custom(fault.label()));
            }
            self.path.truncate(begin);
        }
        Ok(())
    }
}

impl Object<'_, '_> {
    fn member(&mut self, raw: &str) -> Result<(), Fault> {
        match raw.as_bytes().first() {
            Some(b'"') => {
                self.value.clear();
                let mut json = serde_json::Deserializer::from_str(raw);
                let text = Append(self.value).deserialize(&mut json);
                text.map_err(|_| Fault::NotJson)?;
                (self.to)(self.path, self.value)
            }
            Some(b'{') if self.depth > 1 => {
                self.path.push('.');
                let mut inner = Object {
                    depth: self.depth - 1,
                    path: self.path,
                    value: self.value,
                    to: self.to,
                    fault: None,
                };
                let mut json = serde_json::Deserializer::from_str(raw);
                let read = json.deserialize_map(&mut inner);
                match (inner.fault, read) {
                    (Some(fault), _) => Err(fault),
                    (None, Err(_)) => Err(Fault::NotJson),
                    (None, Ok(())) => Ok(()),
                }
            }
            _ => (self.to)(self.path, raw),
        }
    }
}

/// Appends a JSON string to a text.
struct Append<'s>(&'s mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}
