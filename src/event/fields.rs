//! The fields of one event, by where they stand in its wire form.
//!
//! Whoever writes an event notes each field as it is written ([`FieldPlaces::push`]), so that who
//! checks it afterwards finds name, value and kind without reading the wire form again.

use std::ops::Range;

use crate::foundation::wire::{self, Field as WireField, Reader};

/// What a value was in the body. Stored are texts only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string; all that comes by query or in protobuf.
    Text,
    /// A JSON number, as it was written.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An object, as compact JSON text.
    Object,
    /// An array, as compact JSON text.
    Array,
}

impl Kind {
    /// The kind of the JSON value that begins with this byte.
    #[must_use]
    pub fn of_first_byte(byte: u8) -> Self {
        match byte {
            b'"' => Self::Text,
            b'{' => Self::Object,
            b'[' => Self::Array,
            b't' | b'f' => Self::Boolean,
            b'n' => Self::Null,
            _ => Self::Number,
        }
    }
}

/// One field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name: not empty, UTF-8.
    pub name: &'a [u8],
    /// Its value as it is stored: UTF-8.
    pub value: &'a [u8],
    /// What it was.
    pub kind: Kind,
}

/// What clients sent is not printed.
impl std::fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Field")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Where a field stands: offsets of `EventGroup::logs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldPlace {
    name: usize,
    name_end: usize,
    value: usize,
    value_end: usize,
    kind: Kind,
}

/// Where the fields of one event stand. The memory is kept from event to event.
#[derive(Debug, Default)]
pub struct FieldPlaces {
    places: Vec<FieldPlace>,
    distinct: bool,
}

impl FieldPlaces {
    /// Another event begins.
    pub fn clear(&mut self) {
        self.places.clear();
        self.distinct = false;
    }

    /// Another event begins, of which the writer takes no name twice.
    #[inline]
    pub fn clear_for_distinct(&mut self) {
        self.places.clear();
        self.distinct = true;
    }

    /// Notes a field whose `Contents` was the last to be written to `logs`.
    #[inline]
    pub fn push(&mut self, logs: &[u8], name_length: usize, value_length: usize, kind: Kind) {
        let value_end = logs.len();
        let value = value_end - value_length;
        let head = match value_length {
            ..0x80 => 2,
            _ => 1 + wire::varint_length(value_length as u64),
        };
        let name_end = value - head;
        self.places.push(FieldPlace {
            name: name_end - name_length,
            name_end,
            value,
            value_end,
            kind,
        });
    }

    /// Notes the fields of the Log that stands at `log` of `logs`: all are texts.
    pub fn read(&mut self, logs: &[u8], log: Range<usize>) {
        self.clear();
        let start = log.start;
        let mut fields = Reader::nested(logs.get(log).unwrap_or_default(), start);
        while let Ok(Some(field)) = fields.next_field() {
            let WireField::Bytes(2, content) = field else {
                continue;
            };
            let base = fields.offset() - content.len();
            let mut parts = Reader::nested(content, base);
            let (mut name, mut value) = (base..base, base..base);
            let range = |end: usize, text: &[u8]| end - text.len()..end;
            while let Ok(Some(part)) = parts.next_field() {
                match part {
                    WireField::Bytes(1, text) => name = range(parts.offset(), text),
                    WireField::Bytes(2, text) => value = range(parts.offset(), text),
                    _ => {}
                }
            }
            self.places.push(FieldPlace {
                name: name.start,
                name_end: name.end,
                value: value.start,
                value_end: value.end,
                kind: Kind::Text,
            });
        }
    }

    /// Keeps the fields that `keep` wants.
    pub fn retain(&mut self, logs: &[u8], keep: impl Fn(&[u8]) -> bool) {
        self.places
            .retain(|place| keep(slice(logs, place.name, place.name_end)));
    }

    /// Forgets the last `count` fields.
    pub fn drop_last(&mut self, count: usize) {
        self.places
            .truncate(self.places.len().saturating_sub(count));
    }

    /// The event, whose bytes are in `logs`.
    #[inline]
    #[must_use]
    pub fn of<'a>(&'a self, logs: &'a [u8]) -> EventFields<'a> {
        EventFields {
            logs,
            places: &self.places,
            distinct: self.distinct,
        }
    }
}

/// The fields of one event, in the order in which they came.
#[derive(Clone, Copy)]
pub struct EventFields<'a> {
    logs: &'a [u8],
    places: &'a [FieldPlace],
    distinct: bool,
}

impl<'a> EventFields<'a> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Each field.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'a>> + Clone + use<'a> {
        let logs = self.logs;
        self.places.iter().map(move |place| place.field(logs))
    }

    /// Whether it is known that no two have one name.
    #[must_use]
    pub fn is_distinct(&self) -> bool {
        self.distinct
    }

    /// The field of a name; of several with one name the last, as the store shows it.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<Field<'a>> {
        let mut same = self.iter().filter(|field| field.name == name);
        match self.distinct {
            true => same.next(),
            false => same.last(),
        }
    }

    /// The same as [`EventFields::get`], which tries first where the field stood in another event,
    /// and notes where it stands in this one.
    #[must_use]
    pub fn get_near(&self, name: &[u8], place: &mut usize) -> Option<Field<'a>> {
        if !self.distinct {
            return self.get(name);
        }
        let near = self.places.get(*place).map(|near| near.field(self.logs));
        if let Some(near) = near.filter(|near| near.name == name) {
            return Some(near);
        }
        let (at, found) = (0..).zip(self.iter()).find(|(_, it)| it.name == name)?;
        *place = at;
        Some(found)
    }
}

impl FieldPlace {
    #[inline]
    fn field<'a>(&self, logs: &'a [u8]) -> Field<'a> {
        Field {
            name: slice(logs, self.name, self.name_end),
            value: slice(logs, self.value, self.value_end),
            kind: self.kind,
        }
    }
}

#[inline]
fn slice(logs: &[u8], start: usize, end: usize) -> &[u8] {
    logs.get(start..end).unwrap_or_default()
}

/// What clients sent is not printed.
impl std::fmt::Debug for EventFields<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventFields")
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::put_content;

    fn event(places: &mut FieldPlaces, fields: &[(&str, &str)]) -> Vec<u8> {
        let mut logs = b"before".to_vec();
        for (name, value) in fields {
            put_content(&mut logs, name.as_bytes(), value.as_bytes());
            places.push(&logs, name.len(), value.len(), Kind::Text);
        }
        logs
    }

    #[test]
    fn fields_are_found_where_they_were_written() {
        let long = "v".repeat(300);
        let fields = [("a", ""), ("b", "short"), ("c", &long), ("d", "end")];
        let mut places = FieldPlaces::default();
        let logs = event(&mut places, &fields);
        let found: Vec<(&[u8], &[u8])> = places
            .of(&logs)
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        let wanted: Vec<(&[u8], &[u8])> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_field_is_found_near_wherever_it_stands() {
        let mut near = 7;
        let mut places = FieldPlaces::default();
        let mut value = |fields: &[(&str, &str)], distinct: bool| {
            match distinct {
                true => places.clear_for_distinct(),
                false => places.clear(),
            }
            let logs = event(&mut places, fields);
            let found = places.of(&logs).get_near(b"type", &mut near);
            found.map(|field| String::from_utf8_lossy(field.value).into_owned())
        };
        let first = [("type", "one"), ("a", "x")];
        let second = [("a", "x"), ("type", "two")];
        for _ in 0..2 {
            assert_eq!(value(&first, true).as_deref(), Some("one"));
            assert_eq!(value(&second, true).as_deref(), Some("two"));
            assert_eq!(value(&second, false).as_deref(), Some("two"));
            assert_eq!(value(&[("a", "x")], true), None);
        }
        // Of several with one name the last counts.
        let twice = [("type", "one"), ("type", "two"), ("a", "x")];
        assert_eq!(value(&twice, false).as_deref(), Some("two"));
    }
}
