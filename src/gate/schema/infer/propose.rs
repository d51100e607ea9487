//! From what was seen to a schema.

use serde_json::{Map, Value, json};

use super::super::COERCE;
use super::super::kinds::Types;
use super::seen::{FieldSeen, Numbers};
use super::{InferOptions, TypeSeen};

/// Bytes of a schema as it is printed. A schema may have 1 MiB.
const MAX_BYTES: usize = 512 << 10;
/// Bytes that a schema has besides its fields.
const FRAME: usize = 1 << 10;
/// Texts from which choices are proposed, and how often each of them must have come on average.
const ENOUGH: u64 = 20;
const OFTEN: u64 = 10;
/// `maxLength` is a power of two from here on.
const SHORTEST: u64 = 16;

/// Formats of which no example is shown.
const HIDDEN: [&str; 4] = ["uuid", "ipv4", "ipv6", "email"];

/// The schema of one type of events, and how much of them it does not describe.
pub(super) fn schema(seen: &TypeSeen, options: &InferOptions) -> (Value, u64) {
    let full = assemble(seen, options, true);
    if full.1 == 0 {
        return (full.0, seen.left_out);
    }
    let (bare, left_out) = assemble(seen, options, false);
    (bare, left_out + seen.left_out)
}

/// With the fields that fit, and how many do not. `details`: with choices and examples.
fn assemble(seen: &TypeSeen, options: &InferOptions, details: bool) -> (Value, u64) {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    let mut room = MAX_BYTES - FRAME;
    let mut left_out = 0;
    for field in &seen.fields {
        let schema = describe(field, options, details);
        let size = printed(&schema) + 2 * printed(&Value::from(&*field.name)) + 32;
        let Some(left) = room.checked_sub(size) else {
            left_out += 1;
            continue;
        };
        room = left;
        properties.insert(field.name.to_string(), schema);
        if field.events == seen.events {
            required.push(Value::from(&*field.name));
        }
    }
    let events = seen.events;
    let mut schema = Map::new();
    let mut put = |key: &str, value: Value| schema.insert(key.to_owned(), value);
    put(
        "$schema",
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    put(
        "$comment",
        json!("proposed from events by `tollgate schema infer`; read it before you use it"),
    );
    put("x-tollgate-count", json!(events));
    put("type", json!("object"));
    put("required", Value::Array(required));
    if options.closed && left_out + seen.left_out == 0 {
        put("additionalProperties", json!(false));
    }
    put("properties", Value::Object(properties));
    (Value::Object(schema), left_out)
}

/// How long a value is where it stands in a printed schema; at least.
fn printed(value: &Value) -> usize {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    // Each line is indented by four, and a character may be written as an escape.
    text.len() + 4 * text.lines().count() + 3 * text.chars().filter(|c| !c.is_ascii()).count()
}

fn describe(seen: &FieldSeen, options: &InferOptions, details: bool) -> Value {
    let read = options.strings_as_types && seen.texts > 0;
    let as_numbers = seen.text_numbers.as_ref().filter(|_| read);
    let as_booleans = read && seen.texts_are_booleans;
    let coerced = as_numbers.is_some() || as_booleans;
    let numbers = match as_numbers {
        Some(texts) => seen.numbers.clone().with(texts),
        None => seen.numbers.clone(),
    };
    let mut schema = Map::new();
    let mut put = |key: &str, value: Value| schema.insert(key.to_owned(), value);
    let has_numbers = seen.kinds.has(Types::NUMBER) || as_numbers.is_some();
    let names = types(seen.kinds, &numbers, has_numbers, as_booleans, coerced);
    put("type", names);
    if seen.texts > 0 && !coerced {
        texts(seen, details, &mut put);
    }
    if coerced {
        put(COERCE, Value::Bool(true));
    }
    put("x-tollgate-count", json!(seen.events));
    if let Some((low, high)) = numbers.range.filter(|_| !seen.is_personal) {
        if options.bounds {
            put("minimum", Value::Number(low));
            put("maximum", Value::Number(high));
        } else {
            put("$comment", json!(format!("from {low} to {high}")));
        }
    }
    Value::Object(schema)
}

fn types(
    kinds: Types,
    numbers: &Numbers,
    has_numbers: bool,
    booleans: bool,
    coerced: bool,
) -> Value {
    let mut names: Vec<&str> = Vec::new();
    let mut add = |when: bool, name| names.extend(when.then_some(name));
    add(kinds.has(Types::STRING) && !coerced, "string");
    add(has_numbers && numbers.fractions, "number");
    add(has_numbers && !numbers.fractions, "integer");
    add(kinds.has(Types::BOOLEAN) || booleans, "boolean");
    add(kinds.has(Types::NULL), "null");
    add(kinds.has(Types::OBJECT), "object");
    add(kinds.has(Types::ARRAY), "array");
    match names.as_slice() {
        [one] => json!(one),
        several => json!(several),
    }
}

/// What is said of a field with texts.
fn texts(seen: &FieldSeen, details: bool, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let format = seen.formats.name();
    if let Some(format) = format {
        put("format", json!(format));
    }
    let distinct = seen.distinct.as_deref().filter(|distinct| {
        let often = seen.texts >= ENOUGH.max(OFTEN * distinct.len() as u64);
        details && often && format.is_none() && seen.kinds == Types::STRING
    });
    if let Some(distinct) = distinct {
        let mut choices: Vec<&str> = distinct.iter().map(|text| &**text).collect();
        choices.sort_unstable();
        put("enum", json!(choices));
        return;
    }
    if matches!(format, None | Some("uri" | "email")) {
        let length = seen.longest.max(SHORTEST).next_power_of_two();
        put("maxLength", json!(length));
    }
    let hidden = format.is_some_and(|format| HIDDEN.contains(&format));
    if details && !hidden && !seen.is_personal && !seen.examples.is_empty() {
        put("examples", json!(seen.examples));
    }
}
