//! A schema proposed from events: what they have in common.
//!
//! Promise: the proposed schema accepts every event that it was made from, with coercion and formats
//! on or off, and is checked in one pass. Memory is bounded however many events there are: what does
//! not fit is left out of the schema, which then says less, never more. What looks personal or like a
//! token stands neither in examples nor in choices nor in ranges.

mod formats;
mod personal;
mod propose;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde_json::Value;

use self::formats::Formats;
use self::personal::Personal;
use self::seen::FieldSeen;
use crate::event::Field;

/// Fields that one schema describes.
pub const MAX_FIELDS: usize = 1000;
/// Fields that are kept of all types of events together.
pub const MAX_FIELDS_TOGETHER: usize = 4096;
/// Types of events that get a schema of their own.
pub const MAX_TYPES: usize = 256;

/// What is proposed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InferOptions {
    /// The field whose value is the type of an event: one schema for each type.
    pub event_field: Option<String>,
    /// Texts that always read as a number or a boolean are proposed as such.
    pub strings_as_types: bool,
    /// The smallest and largest number are proposed as limits; else they are only told.
    pub bounds: bool,
    /// Fields that no event had are not allowed.
    pub closed: bool,
}

/// What was inferred.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The schema; with [`InferOptions::event_field`] an object of schemas by type.
    pub document: Value,
    /// What did not fit, and what else should be known.
    pub notes: Vec<String>,
}

/// What the events seen so far have in common.
pub struct Inference {
    options: InferOptions,
    types: Vec<TypeSeen>,
    by_name: HashMap<Box<str>, usize>,
    fields: usize,
    events: u64,
    /// Events of types past [`MAX_TYPES`].
    untyped: u64,
    tools: Tools,
}

impl std::fmt::Debug for Inference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inference")
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// What looks at values.
struct Tools {
    formats: Formats,
    personal: Personal,
}

/// The events of one type.
#[derive(Default)]
struct TypeSeen {
    name: Box<str>,
    events: u64,
    fields: Vec<FieldSeen>,
    by_name: HashMap<Box<str>, usize>,
    /// Values of fields that were not kept.
    left_out: u64,
}

impl Inference {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(options: InferOptions) -> Self {
        Self {
            options,
            types: Vec::new(),
            by_name: HashMap::new(),
            fields: 0,
            events: 0,
            untyped: 0,
            tools: Tools {
                formats: Formats::new(),
                personal: Personal::default(),
            },
        }
    }

    /// Looks at one event.
    pub fn add<'e>(&mut self, event: impl Iterator<Item = Field<'e>> + Clone) {
        self.events += 1;
        let field = self.options.event_field.as_deref();
        let name = field.and_then(|field| {
            let named = event.clone().filter(|it| it.name == field.as_bytes());
            named.last().map(|it| String::from_utf8_lossy(it.value))
        });
        let name = name.unwrap_or_default();
        let place = match self.by_name.get(&*name) {
            Some(place) => *place,
            None if self.types.len() < MAX_TYPES => {
                let place = self.types.len();
                self.types.push(TypeSeen {
                    name: (&*name).into(),
                    ..TypeSeen::default()
                });
                self.by_name.insert((&*name).into(), place);
                place
            }
            None => {
                self.untyped += 1;
                return;
            }
        };
        let Some(seen) = self.types.get_mut(place) else {
            return;
        };
        seen.events += 1;
        for field in event {
            seen.field(field, &mut self.fields, &mut self.tools);
        }
    }

    /// How many events were looked at.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What all of this proposes.
    #[must_use]
    pub fn propose(&self) -> Proposal {
        let mut notes = Vec::new();
        let mut named = serde_json::Map::new();
        let mut last = Value::Bool(true);
        for seen in &self.types {
            let (schema, left_out) = propose::schema(seen, &self.options);
            if left_out > 0 {
                let of = match &self.options.event_field {
                    Some(_) => format!("type {:?}: ", seen.name),
                    None => String::new(),
                };
                notes.push(format!(
                    "{of}{left_out} fields or values of fields are beyond the bounds \
                     ({MAX_FIELDS} fields) and are not described"
                ));
            }
            if self.options.event_field.is_some() {
                named.insert(seen.name.clone().into(), schema);
            } else {
                last = schema;
            }
        }
        if self.untyped > 0 {
            let untyped = self.untyped;
            notes.push(format!(
                "{untyped} events of types beyond the first {MAX_TYPES} were left out"
            ));
        }
        let document = match self.options.event_field {
            Some(_) => Value::Object(named),
            None => last,
        };
        Proposal { document, notes }
    }
}

impl TypeSeen {
    fn field(&mut self, field: Field<'_>, together: &mut usize, tools: &mut Tools) {
        let name = String::from_utf8_lossy(field.name);
        let place = match self.by_name.get(&*name) {
            Some(place) => *place,
            None if self.fields.len() < MAX_FIELDS && *together < MAX_FIELDS_TOGETHER => {
                *together += 1;
                let place = self.fields.len();
                self.fields.push(FieldSeen::new(&name));
                self.by_name.insert((&*name).into(), place);
                place
            }
            None => {
                self.left_out += 1;
                return;
            }
        };
        if let Some(seen) = self.fields.get_mut(place) {
            seen.add(self.events, field, tools);
        }
    }
}
