//! Random schemas over the supported keywords, and random events, from a seed.

use serde_json::{Map, Value, json};

/// A small generator of numbers: the same seed gives the same case.
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `of`.
    pub fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of a list.
    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }
}

const NAMES: [&str; 14] = [
    "a",
    "b",
    "price",
    "x_1",
    "x_22",
    "",
    "a/b",
    "m~n",
    "名",
    "\u{1F600}",
    "event",
    "long_name_of_a_field",
    "$ref",
    "ä",
];

const TEXTS: [&str; 44] = [
    "",
    "a",
    "abc",
    "abcd",
    "x1",
    "ä",
    "äöü",
    "\u{1F600}",
    "\u{1F600}\u{1F600}\u{1F600}",
    "a\nb",
    "\"q\"",
    "\\",
    "\u{0}",
    "0",
    "-0",
    "1",
    "1.0",
    "1e400",
    "-1e400",
    "9007199254740993",
    "18446744073709551616",
    "01",
    "1.",
    " 1",
    "true",
    "false",
    "null",
    "{}",
    "[]",
    "[1,2",
    "{\"a\":1}",
    "[\"\\ud800\"]",
    "2026-01-31",
    "2026-02-30",
    "2026-01-31T08:30:00Z",
    "23:59:60Z",
    "08:30:00+01:00",
    "127.0.0.1",
    "::1",
    "a@b.example",
    "not an address",
    "https://example.com/a?b#c",
    "123e4567-e89b-12d3-a456-426614174000",
    "www.example.com",
];

const NUMBERS: [&str; 34] = [
    "0",
    "-0",
    "0.0",
    "-0.0",
    "1",
    "1.0",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-5",
    "1.5",
    "0.1",
    "0.3",
    "0.30000000000000004",
    "1e2",
    "1E+2",
    "1e-2",
    "100",
    "9007199254740992",
    "9007199254740993",
    "9007199254740993.0",
    "-9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "123456789012345678901234567890",
    "1e400",
    "-1e400",
    "1e-400",
    "1.7976931348623157e308",
];

const NESTED: [&str; 12] = [
    "{}",
    "[]",
    "{\"a\":1}",
    "{\"a\":\"x\",\"b\":[1,2.0]}",
    "[1,2,3]",
    "[1,1.0]",
    "[\"a\",null,true]",
    "{\"a\":{\"b\":{}}}",
    "[1e400]",
    "{\"a/b\":{\"m~n\":1e400,\"s\":\"1e400\"}}",
    "[[],[]]",
    "{\"price\":5}",
];

/// Numbers that a schema may hold.
const LIMITS: [&str; 18] = [
    "0",
    "1",
    "2",
    "3",
    "5",
    "10",
    "-1",
    "-5",
    "1.5",
    "0.1",
    "1e2",
    "1.0",
    "9007199254740992",
    "9007199254740993",
    "18446744073709551615",
    "-9223372036854775808",
    "123456789012345678901234567890",
    "0.30000000000000004",
];

const PATTERNS: [&str; 18] = [
    "^a",
    "a$",
    "^abc$",
    "^(a|b|abc)$",
    r"^\S*$",
    r"\d",
    r"^\w+$",
    r"\s",
    "^.{2}$",
    "^[^\\d]*$",
    "b|c",
    "^x_",
    "[a-c]{2,}",
    "^$",
    "\\.",
    "^[\\u4e00-\\u9fff]",
    "(?i)A",
    "^\\$ref$",
];

const FORMATS: [&str; 22] = [
    "date",
    "date-time",
    "time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "uuid",
    "iri",
    "json-pointer",
    "relative-json-pointer",
    "regex",
    "uri-template",
    "idn-email",
    "unknown-format",
    "color",
    "date",
    "date-time",
    "uuid",
];

const TYPES: [&str; 7] = [
    "string", "number", "integer", "boolean", "null", "object", "array",
];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A value that a schema may hold in `enum` or `const`.
fn choice(random: &mut Random) -> Value {
    match random.below(8) {
        0..=2 => json!(random.pick(&TEXTS)),
        3..=4 => parsed(random.pick(&LIMITS)),
        5 => json!(random.one_in(2)),
        6 => Value::Null,
        _ => loop {
            if let Ok(value) = serde_json::from_str(random.pick(&NESTED)) {
                break value;
            }
        },
    }
}

/// A schema of a value.
pub fn value_schema(random: &mut Random, depth: usize) -> Value {
    if random.one_in(16) {
        return json!(!random.one_in(3));
    }
    if random.one_in(12) {
        let name = random.pick(&["one", "two", "three"]);
        let mut schema = json!({ "$ref": format!("#/$defs/{name}") });
        if random.one_in(3) {
            schema["maxLength"] = json!(2);
        }
        return schema;
    }
    let mut schema = Map::new();
    for _ in 0..=random.below(3) {
        let (key, value) = keyword(random, depth);
        schema.insert(key.to_owned(), value);
    }
    if random.one_in(10) {
        schema.insert("x-tollgate-coerce".to_owned(), json!(random.one_in(2)));
    }
    Value::Object(schema)
}

fn keyword(random: &mut Random, depth: usize) -> (&'static str, Value) {
    let limit = |random: &mut Random| parsed(random.pick(&LIMITS));
    let several = |random: &mut Random| {
        let schemas: Vec<Value> = (0..=random.below(3))
            .map(|_| value_schema(random, depth - 1))
            .collect();
        Value::Array(schemas)
    };
    match random.below(if depth > 0 { 30 } else { 20 }) {
        0..=4 => ("type", json!(random.pick(&TYPES))),
        5 => {
            let mut types = vec![random.pick(&TYPES)];
            let other = random.pick(&TYPES);
            if other != types[0] {
                types.push(other);
            }
            ("type", json!(types))
        }
        6 => {
            let count = if random.one_in(4) { 12 } else { 3 };
            let mut values: Vec<Value> = Vec::new();
            for _ in 0..=random.below(count) {
                values.push(choice(random));
            }
            ("enum", Value::Array(values))
        }
        7 => ("const", choice(random)),
        8 => ("minLength", json!(random.below(5))),
        9 => ("maxLength", json!(random.below(5))),
        10 => ("maxLength", json!(2.0)),
        11 => ("pattern", json!(random.pick(&PATTERNS))),
        12..=13 => ("format", json!(random.pick(&FORMATS))),
        14 => ("minimum", limit(random)),
        15 => ("maximum", limit(random)),
        16 => ("exclusiveMinimum", limit(random)),
        17 => ("exclusiveMaximum", limit(random)),
        18 => loop {
            let of = limit(random);
            if of.as_f64().is_some_and(|of| of > 0.0) {
                break ("multipleOf", of);
            }
        },
        19 => ("title", json!("a note")),
        20 => ("allOf", several(random)),
        21 => ("anyOf", several(random)),
        22 => ("oneOf", several(random)),
        23 => ("not", value_schema(random, depth - 1)),
        24 => ("if", value_schema(random, depth - 1)),
        25 => ("then", value_schema(random, depth - 1)),
        26 => ("else", value_schema(random, depth - 1)),
        27 => ("items", value_schema(random, depth - 1)),
        28 => (
            "properties",
            json!({ "a": value_schema(random, depth - 1) }),
        ),
        _ => ("required", json!(["a"])),
    }
}

/// A schema of an event; seldom one that is left to the crate as a whole.
pub fn event_schema(random: &mut Random) -> Value {
    let mut schema = Map::new();
    if random.one_in(3) {
        schema.insert(
            "$schema".to_owned(),
            json!("http://json-schema.org/draft-07/schema#"),
        );
    }
    if random.one_in(2) {
        schema.insert("type".to_owned(), json!("object"));
    }
    let mut properties = Map::new();
    for _ in 0..random.below(6) {
        properties.insert(random.pick(&NAMES).to_owned(), value_schema(random, 2));
    }
    schema.insert("properties".to_owned(), Value::Object(properties));
    if random.one_in(2) {
        let mut names: Vec<&str> = (0..random.below(4)).map(|_| random.pick(&NAMES)).collect();
        names.sort_unstable();
        names.dedup();
        schema.insert("required".to_owned(), json!(names));
    }
    match random.below(5) {
        0 => drop(schema.insert("additionalProperties".to_owned(), json!(false))),
        1 => drop(schema.insert("additionalProperties".to_owned(), value_schema(random, 1))),
        _ => {}
    }
    if random.one_in(4) {
        let mut patterns = Map::new();
        for _ in 0..=random.below(2) {
            patterns.insert(random.pick(&PATTERNS).to_owned(), value_schema(random, 1));
        }
        schema.insert("patternProperties".to_owned(), Value::Object(patterns));
    }
    if random.one_in(6) {
        schema.insert("propertyNames".to_owned(), value_schema(random, 1));
    }
    if random.one_in(5) {
        schema.insert("minProperties".to_owned(), json!(random.below(4)));
    }
    if random.one_in(5) {
        schema.insert("maxProperties".to_owned(), json!(random.below(6)));
    }
    if random.one_in(8) {
        schema.insert("x-tollgate-coerce".to_owned(), json!(random.one_in(2)));
    }
    schema.insert(
        "$defs".to_owned(),
        json!({
            "one": value_schema(random, 0),
            "two": { "type": "object", "properties": { "a": { "$ref": "#/$defs/two" } } },
            "three": { "anyOf": [{ "$ref": "#/$defs/one" }, { "type": "integer" }] },
        }),
    );
    Value::Object(schema)
}

/// What a field was in JSON, and its value as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Text,
    Number,
    Word,
    Nested,
}

/// The fields of an event; seldom a name twice.
pub fn event(random: &mut Random) -> Vec<(&'static str, Sort, &'static str)> {
    let mut fields: Vec<(&str, Sort, &str)> = Vec::new();
    for _ in 0..random.below(7) {
        let name = random.pick(&NAMES[..]);
        if fields.iter().any(|field| field.0 == name) && !random.one_in(4) {
            continue;
        }
        let (sort, value) = match random.below(8) {
            0..=3 => (Sort::Text, random.pick(&TEXTS[..])),
            4..=5 => (Sort::Number, random.pick(&NUMBERS[..])),
            6 => (Sort::Word, random.pick(&["true", "false", "null"][..])),
            _ => (Sort::Nested, random.pick(&NESTED[..])),
        };
        fields.push((name, sort, value));
    }
    fields
}
