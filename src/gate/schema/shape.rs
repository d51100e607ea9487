//! What a schema says of the fields of an event by their names: read by checks, by repair and by
//! transforms.

use std::collections::BTreeMap;

use serde_json::Value;

use super::kinds::{Types, coerced};
use super::names::Names;
use super::pattern::Pattern;
use crate::event::{Field, Kind};

/// What a schema says of a field besides what it checks.
#[derive(Clone, Debug, Default)]
pub struct FieldNotes {
    /// The keyword `default`.
    pub default: Option<Value>,
    /// The keyword `maxLength`, in code points.
    pub max_length: Option<u64>,
    /// The types that a string of this field is read as, when it reads as one.
    pub coerce: Types,
    /// Whether it must be there.
    pub required: bool,
    /// Keywords that begin with `x-`, by name.
    pub extensions: BTreeMap<String, Value>,
}

/// Fields that no property describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// They may have any name.
    Allowed,
    /// Only names that a pattern of `patternProperties` matches.
    Refused,
}

/// The names that a schema knows.
pub(super) struct Shape {
    pub names: Names,
    /// By number of the name.
    pub notes: Vec<FieldNotes>,
    /// Whether `properties` or `required` has the name: all that [`Shape::names`] has.
    pub patterns: Vec<(Pattern, Types)>,
    /// Of fields that neither a property nor a pattern describes.
    pub other: Types,
    pub unknown: UnknownFields,
    /// Whether anything is coerced.
    pub coerces: bool,
}

impl Shape {
    /// What a field counts as.
    pub(super) fn kind_of(&self, field: Field<'_>) -> Kind {
        if !self.coerces || field.kind != Kind::Text {
            return field.kind;
        }
        let wanted = match self.names.find(field.name) {
            Some(index) => self.notes.get(index).map_or(Types::NONE, |n| n.coerce),
            None => self.coercion_of_unknown(field.name),
        };
        coerced(wanted, field.kind, field.value)
    }

    /// How a field is coerced whose name is not among those known.
    pub(super) fn coercion_of_unknown(&self, name: &[u8]) -> Types {
        if !self.coerces {
            return Types::NONE;
        }
        let mut matched = false;
        for (pattern, types) in &self.patterns {
            if pattern.matches(name) {
                matched = true;
                if !types.is_empty() {
                    return *types;
                }
            }
        }
        if matched { Types::NONE } else { self.other }
    }
}

/// What a schema says of fields besides what it checks.
#[derive(Clone, Copy)]
pub struct Annotations<'a>(pub(super) &'a Shape);

impl<'a> Annotations<'a> {
    /// Of one field, when `properties` or `required` names it.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&'a FieldNotes> {
        self.0.notes.get(self.0.names.find(name)?)
    }

    /// Of each field that `properties` or `required` names, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a FieldNotes)> + use<'a> {
        let names = self
            .0
            .names
            .iter()
            .map(|name| std::str::from_utf8(name).unwrap_or_default());
        names.zip(&self.0.notes)
    }

    /// Whether a field of this name may be there at all: false for one that only
    /// `additionalProperties: false` speaks of.
    #[must_use]
    pub fn knows(&self, name: &[u8]) -> bool {
        self.0.unknown == UnknownFields::Allowed
            || self.0.names.find(name).is_some()
            || self
                .0
                .patterns
                .iter()
                .any(|(pattern, _)| pattern.matches(name))
    }

    /// What becomes of fields that no property describes.
    #[must_use]
    pub fn unknown(&self) -> UnknownFields {
        self.0.unknown
    }

    /// What a field counts as: a string that coercion reads as another kind is that.
    #[must_use]
    pub fn kind_of(&self, field: Field<'_>) -> Kind {
        self.0.kind_of(field)
    }
}

impl std::fmt::Debug for Annotations<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Annotations")
            .field("fields", &self.0.notes.len())
            .finish_non_exhaustive()
    }
}
