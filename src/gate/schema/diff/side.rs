//! One of the two schemas: its references and what it coerces.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::document::is_note;
use super::super::kinds::Types;
use super::super::{COERCE, Options};

/// Steps from one reference to the next.
const MAX_STEPS: usize = 64;

/// All types.
const ALL: [Types; 7] = [
    Types::STRING,
    Types::NUMBER,
    Types::INTEGER,
    Types::BOOLEAN,
    Types::NULL,
    Types::OBJECT,
    Types::ARRAY,
];

/// A schema document.
pub(super) struct Side<'a> {
    root: &'a Value,
    /// Where references hide what stands beside them.
    is_draft_7: bool,
    /// Whether texts are coerced where a field does not say.
    pub(super) coerce: bool,
}

impl<'a> Side<'a> {
    pub(super) fn new(root: &'a Value, options: Options) -> Self {
        let dialect = root.get("$schema").and_then(Value::as_str);
        let asked = root.get(COERCE).and_then(Value::as_bool);
        Self {
            root,
            is_draft_7: dialect.is_some_and(|it| it.contains("draft-07")),
            coerce: asked.unwrap_or(options.coerce),
        }
    }

    /// Follows references that stand alone.
    pub(super) fn follow<'s>(&self, schema: &'s Value) -> &'s Value
    where
        'a: 's,
    {
        let mut schema = schema;
        for _ in 0..MAX_STEPS {
            let Some(members) = schema.as_object() else {
                break;
            };
            let alone = self.is_draft_7 || members.keys().all(|it| it == "$ref" || is_note(it));
            let target = members.get("$ref").and_then(Value::as_str);
            match target.filter(|_| alone).and_then(|it| self.resolve(it)) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    fn resolve(&self, reference: &str) -> Option<&'a Value> {
        let fragment = reference.strip_prefix('#')?;
        let pointer = percent_encoding::percent_decode_str(fragment);
        self.root.pointer(&pointer.decode_utf8().ok()?)
    }

    /// The `type` of a schema, or of what it refers to beside other keywords.
    pub(super) fn type_keyword<'s>(&self, schema: &'s Map<String, Value>) -> Option<&'s Value>
    where
        'a: 's,
    {
        let referred = || {
            let reference = schema.get("$ref")?.as_str()?;
            self.follow(self.resolve(reference)?).get("type")
        };
        schema.get("type").or_else(referred)
    }

    /// Whether a schema of a field, or the reference to it, reads texts as something else.
    pub(super) fn coerces(&self, outer: &Value, schema: &Map<String, Value>) -> bool {
        let asked = [outer.get(COERCE), schema.get(COERCE)];
        let asked = asked.into_iter().flatten().find_map(Value::as_bool);
        asked.unwrap_or(self.coerce)
            && self.type_keyword(schema).is_some_and(|types| {
                let types = Types::of_keyword(types);
                !types.is_empty() && !types.has(Types::STRING)
            })
    }

    /// The schemas of fields that read texts as something else, and as what.
    pub(super) fn read(&self, event: &'a Map<String, Value>) -> BTreeMap<String, &'a Value> {
        let mut found = BTreeMap::new();
        let mut look = |name: String, outer: &'a Value| {
            if let Some(schema) = self.follow(outer).as_object()
                && self.coerces(outer, schema)
                && let Some(types) = self.type_keyword(schema)
            {
                found.insert(name, types);
            }
        };
        for keyword in ["properties", "patternProperties"] {
            let schemas = event.get(keyword).and_then(Value::as_object);
            for (name, schema) in schemas.into_iter().flatten() {
                look(format!("{keyword} {name}"), schema);
            }
        }
        if let Some(schema) = event.get("additionalProperties") {
            look("additionalProperties".to_owned(), schema);
        }
        found
    }

    /// Whether two values mean the same: equal, and so is what they refer to.
    pub(super) fn is_same(&self, own: &Value, other: &Side<'_>, theirs: &Value) -> bool {
        own == theirs && self.refers_to_same(own, other, MAX_STEPS)
    }

    fn refers_to_same(&self, value: &Value, other: &Side<'_>, steps: usize) -> bool {
        let inner = |inner: &Value| self.refers_to_same(inner, other, steps);
        match value {
            Value::Array(items) => items.iter().all(inner),
            Value::Object(members) => members.iter().all(|(key, value)| {
                let reference = value.as_str().filter(|_| key == "$ref");
                let Some(reference) = reference else {
                    return inner(value);
                };
                let (own, theirs) = (self.resolve(reference), other.resolve(reference));
                match (own, theirs, steps.checked_sub(1)) {
                    (Some(own), Some(theirs), Some(left)) => {
                        own == theirs && self.refers_to_same(own, other, left)
                    }
                    _ => false,
                }
            }),
            _ => true,
        }
    }
}

/// The types that a schema takes, of those that its choices have.
pub(super) fn types(schema: &Map<String, Value>) -> Types {
    let all = ALL.into_iter().fold(Types::NONE, Types::with);
    let mut types = match schema.get("type") {
        Some(types) => Types::of_keyword(types),
        None => all,
    };
    if types.has(Types::NUMBER) {
        types = types.with(Types::INTEGER);
    }
    if let Some(choices) = choices(schema) {
        let held = choices.iter().map(type_of);
        let held = held.fold(Types::NONE, Types::with);
        let kept = ALL.into_iter().filter(|it| types.has(*it) && held.has(*it));
        return kept.fold(Types::NONE, Types::with);
    }
    types
}

fn type_of(value: &Value) -> Types {
    match value {
        Value::Null => Types::NULL,
        Value::Bool(_) => Types::BOOLEAN,
        Value::Number(number) => {
            let whole = super::super::number::Num::of(number).is_whole();
            if whole {
                Types::INTEGER
            } else {
                Types::NUMBER.with(Types::INTEGER)
            }
        }
        Value::String(_) => Types::STRING,
        Value::Array(_) => Types::ARRAY,
        Value::Object(_) => Types::OBJECT,
    }
}

/// The values that `enum` and `const` list.
pub(super) fn choices(schema: &Map<String, Value>) -> Option<&[Value]> {
    let one = schema.get("const").map(std::slice::from_ref);
    one.or_else(|| schema.get("enum")?.as_array().map(Vec::as_slice))
}
