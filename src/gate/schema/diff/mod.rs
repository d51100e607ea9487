//! What a changed schema may refuse that the old one took, by comparing the two.
//!
//! Promise: when nothing is told and both take the dialects and keywords of docs/schema.md, an event
//! that the old schema accepts is accepted by the new one. The other way it is careful: what cannot be
//! compared (patterns, combined schemas) is told when it changes at all.

mod compare;
mod keywords;
mod side;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::Value;

use self::side::Side;
use super::Options;

/// Changes that are told.
pub const MAX_CHANGES: usize = 200;

/// One thing that the new schema refuses, or may refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where: a JSON Pointer into the new schema, or to where it would stand there.
    pub pointer: String,
    /// What is refused.
    pub message: String,
}

/// What the new schema refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The first [`MAX_CHANGES`].
    pub told: Vec<Change>,
    /// How many more there are.
    pub hidden: usize,
}

/// Compares two schemas that compile with these options.
#[must_use]
pub fn changes(old: &Value, new: &Value, options: Options) -> Changes {
    let mut comparison = Comparison {
        old: Side::new(old, options),
        new: Side::new(new, options),
        options,
        seen: HashSet::new(),
        found: Changes::default(),
    };
    comparison.schemas(old, new, "", Level::Event);
    comparison.found
}

/// Where in an event a schema stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Level {
    /// It is that of the event.
    Event,
    /// It is that of a field: texts may be coerced.
    Field,
    /// It is within that of a field.
    Inner,
}

impl Level {
    fn below(self) -> Self {
        match self {
            Self::Event => Self::Field,
            Self::Field | Self::Inner => Self::Inner,
        }
    }
}

/// Two schemas being compared.
struct Comparison<'a> {
    old: Side<'a>,
    new: Side<'a>,
    options: Options,
    /// Pairs that were compared, by where they stand in memory.
    seen: HashSet<(*const Value, *const Value, Level)>,
    found: Changes,
}

impl Comparison<'_> {
    fn say(&mut self, pointer: String, message: String) {
        if self.found.told.len() < MAX_CHANGES {
            self.found.told.push(Change { pointer, message });
        } else {
            self.found.hidden += 1;
        }
    }

    /// What changed cannot be compared.
    fn may(&mut self, pointer: String, what: &str) {
        let message = format!("{what}, and may refuse more; run both over events to know");
        self.say(pointer, message);
    }
}
