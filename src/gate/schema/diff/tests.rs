//! What is told of two schemas, and that nothing is missed.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{Detail, Schema, Verdict, Work};
use super::*;
use crate::event::{FieldPlaces, Kind};

const READING: Options = Options {
    coerce: true,
    assert_formats: true,
};

fn told(old: Value, new: Value) -> Vec<String> {
    let found = changes(&old, &new, READING).told;
    found.into_iter().map(|it| it.pointer).collect()
}

/// Schemas of the field `a`.
fn field(old: Value, new: Value) -> Vec<String> {
    let of = |schema: Value| json!({"properties": {"a": schema}});
    let found = told(of(old), of(new));
    let strip = |pointer: String| pointer.strip_prefix("/properties/a").unwrap().to_owned();
    found.into_iter().map(strip).collect()
}

#[test]
fn what_is_narrower_is_told_and_what_is_wider_is_not() {
    let rows = [
        (
            json!({"type": "number"}),
            json!({"type": "integer"}),
            "/type",
        ),
        (
            json!({"type": ["string", "null"]}),
            json!({"type": "string"}),
            "/type",
        ),
        (json!({"enum": ["a", "b"]}), json!({"enum": ["b"]}), "/enum"),
        (json!({}), json!({"const": 1}), "/const"),
        (json!({"minimum": 1}), json!({"minimum": 2}), "/minimum"),
        (
            json!({"minimum": 1}),
            json!({"exclusiveMinimum": 1}),
            "/exclusiveMinimum",
        ),
        (json!({}), json!({"maximum": 2}), "/maximum"),
        (
            json!({"maxLength": 9}),
            json!({"maxLength": 8}),
            "/maxLength",
        ),
        (
            json!({"minLength": 1}),
            json!({"minLength": 2}),
            "/minLength",
        ),
        (json!({}), json!({"pattern": "^a"}), "/pattern"),
        (
            json!({"pattern": "^a"}),
            json!({"pattern": "^b"}),
            "/pattern",
        ),
        (json!({}), json!({"format": "date"}), "/format"),
        (
            json!({"multipleOf": 4}),
            json!({"multipleOf": 3}),
            "/multipleOf",
        ),
        (json!({}), json!({"anyOf": [{"type": "string"}]}), "/anyOf"),
        (json!({"maxItems": 2}), json!({"maxItems": 1}), "/maxItems"),
        (
            json!({"items": {"type": "number"}}),
            json!({"items": {"type": "integer"}}),
            "/items/type",
        ),
        (json!({}), json!(false), ""),
    ];
    for (old, new, pointer) in rows {
        assert_eq!(field(old.clone(), new.clone()), [pointer], "{old} {new}");
        if !(old.get("pattern").is_some() || new.get("multipleOf").is_some()) {
            let found = field(new.clone(), old.clone());
            assert_eq!(found, [""; 0], "{new} {old}");
        }
        assert_eq!(field(old.clone(), old), [""; 0]);
    }
    assert_eq!(
        field(json!({"multipleOf": 4}), json!({"multipleOf": 2})),
        [""; 0]
    );
    // Lengths say nothing of numbers.
    assert_eq!(
        field(
            json!({"type": "number"}),
            json!({"type": "number", "maxLength": 1})
        ),
        [""; 0]
    );
    let read = |on: bool| json!({"type": "number", "x-tollgate-coerce": on});
    assert_eq!(field(read(true), read(false)), [""]);
    assert_eq!(field(read(false), read(true)), [""; 0]);
}

#[test]
fn fields_that_are_required_or_gone_are_told() {
    let closed =
        |properties: Value| json!({"properties": properties, "additionalProperties": false});
    assert_eq!(
        told(json!({}), json!({"required": ["价/格"]})),
        ["/properties/价~1格"]
    );
    assert_eq!(
        told(
            closed(json!({"a": true, "b": true})),
            closed(json!({"a": true}))
        ),
        ["/properties/b"]
    );
    assert_eq!(
        told(
            closed(json!({"a": true})),
            closed(json!({"a": true, "b": false}))
        ),
        [""; 0]
    );
    assert_eq!(
        told(
            json!({"properties": {"a": true}}),
            closed(json!({"a": true}))
        ),
        ["/additionalProperties"]
    );
    assert_eq!(
        told(
            json!({"properties": {"a": true}}),
            json!({"additionalProperties": {"type": "null"}})
        ),
        ["/properties/a/type", "/additionalProperties/type"]
    );
}

#[test]
fn references_are_followed_and_endless_ones_end() {
    let of = |kind: &str| {
        json!({
            "properties": {"a": {"$ref": "#/$defs/v"}, "b": {"anyOf": [{"$ref": "#/$defs/v"}]}},
            "$defs": {"v": {"type": kind}},
        })
    };
    assert_eq!(
        told(of("string"), of("null")),
        ["/properties/a/type", "/properties/b/anyOf"]
    );
    assert_eq!(told(of("string"), of("string")), [""; 0]);
    let endless = |kind: &str| {
        json!({
            "$ref": "#/$defs/n",
            "$defs": {"n": {"properties": {"l": {"$ref": "#/$defs/n"}, "r": {"$ref": "#/$defs/n"},
                "v": {"type": kind}}}},
        })
    };
    let found = told(endless("number"), endless("integer"));
    assert!(
        found.contains(&"/properties/v/type".to_owned()) && found.len() < 9,
        "{found:?}"
    );
}

/// The property says for the pattern too that a text is read as a number, which has no length.
#[test]
fn coercion_that_a_pattern_relied_on_is_told() {
    let of = |properties: Value| json!({"properties": properties, "patternProperties": {"^b": {"minLength": 4}}});
    let found = told(of(json!({"b": {"type": "number"}})), of(json!({})));
    assert_eq!(found, ["/patternProperties"]);
}

#[test]
fn no_more_changes_are_told_than_there_is_room_for() {
    let names: Vec<String> = (0..MAX_CHANGES + 7).map(|n| format!("f{n}")).collect();
    let found = changes(&json!({}), &json!({"required": names}), READING);
    assert_eq!((found.told.len(), found.hidden), (MAX_CHANGES, 7));
}

fn scalar() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!("5"),
        json!("true"),
        json!("null"),
        json!("x"),
        json!("abc"),
        json!(""),
        json!(5),
        json!(4),
        json!(1.5),
        json!(true),
        json!(false),
        json!(null),
        json!("2026-01-31"),
        json!({"k": 1}),
        json!([1, 2]),
        json!([]),
        json!("1.5"),
    ])
}

fn of_field() -> impl Strategy<Value = Value> {
    let types = prop::sample::subsequence(
        vec![
            "string", "number", "integer", "boolean", "null", "object", "array",
        ],
        1..4,
    );
    let number = || prop::sample::select(vec![1, 4, 5, 6]);
    let keyword = prop_oneof![
        4 => types.prop_map(|it| ("type", json!(it))),
        2 => prop::collection::hash_set(scalar().prop_map(|it| it.to_string()), 1..5).prop_map(|it| {
            let values: Vec<Value> = it.iter().map(|it| serde_json::from_str(it).unwrap()).collect();
            ("enum", Value::Array(values))
        }),
        1 => scalar().prop_map(|it| ("const", it)),
        1 => number().prop_map(|it| ("minimum", json!(it))),
        1 => number().prop_map(|it| ("maximum", json!(it))),
        1 => number().prop_map(|it| ("exclusiveMinimum", json!(it))),
        1 => number().prop_map(|it| ("exclusiveMaximum", json!(it))),
        1 => number().prop_map(|it| ("multipleOf", json!(it))),
        1 => number().prop_map(|it| ("maxLength", json!(it))),
        1 => number().prop_map(|it| ("minLength", json!(it))),
        1 => number().prop_map(|it| ("minItems", json!(it))),
        1 => Just(("pattern", json!("^[0-9]"))),
        1 => Just(("format", json!("date"))),
        1 => Just(("required", json!(["k"]))),
        1 => Just(("items", json!({"type": "integer", "maximum": 1}))),
        1 => Just(("not", json!({"const": 5}))),
        1 => Just(("anyOf", json!([{"type": "number"}, {"maxLength": 2}]))),
        1 => Just(("$ref", json!("#/$defs/v"))),
        3 => any::<bool>().prop_map(|it| ("x-tollgate-coerce", json!(it))),
    ];
    prop_oneof![
        1 => any::<bool>().prop_map(Value::from),
        9 => prop::collection::vec(keyword, 0..4).prop_map(|keywords| {
            let members = keywords.into_iter().map(|(key, value)| (key.to_owned(), value));
            Value::Object(members.collect())
        }),
    ]
}

fn of_event() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(vec!["a", "b"]);
    let fields = prop::collection::btree_map(name(), of_field(), 0..3);
    let rest = (
        prop::collection::btree_set(name(), 0..2),
        prop::option::of(of_field()),
        prop::option::of(1..3_u8),
        prop::option::of(prop_oneof![
            Just(json!({"pattern": "^a"})),
            Just(json!({"maxLength": 1}))
        ]),
        prop::option::of(of_field()),
        prop::option::of(any::<bool>()),
    );
    (fields, rest, of_field()).prop_map(|(fields, rest, v)| {
        let mut schema = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                schema.insert(key.to_owned(), value);
            }
        };
        let (required, other, least, names, pattern, coerce) = rest;
        let v = match v {
            Value::Object(mut members) => {
                members.remove("$ref");
                Value::Object(members)
            }
            other => other,
        };
        put("properties", Some(json!(fields)));
        put("required", Some(json!(required)));
        put("additionalProperties", other);
        put("minProperties", least.map(Value::from));
        put("propertyNames", names);
        put("patternProperties", pattern.map(|it| json!({"^b": it})));
        put("x-tollgate-coerce", coerce.map(Value::from));
        put("$defs", Some(json!({"v": v})));
        Value::Object(schema)
    })
}

/// A schema, and the same with one part taken from another: mostly alike.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    (of_event(), of_event(), 0..7_usize).prop_map(|(old, other, part)| {
        let mut new = old.clone();
        let keys = [
            "properties",
            "required",
            "additionalProperties",
            "propertyNames",
            "patternProperties",
            "x-tollgate-coerce",
            "$defs",
        ];
        match other.get(keys[part]) {
            Some(value) => new[keys[part]] = value.clone(),
            None => drop(new.as_object_mut().unwrap().remove(keys[part])),
        }
        (old, new)
    })
}

fn is_valid(schema: &Schema, event: &[(&str, Value)]) -> bool {
    let (mut logs, mut places) = (Vec::new(), FieldPlaces::default());
    for (name, value) in event {
        let (text, kind) = match value {
            Value::String(text) => (text.clone(), Kind::Text),
            other => {
                let text = other.to_string();
                let kind = Kind::of_first_byte(text.as_bytes()[0]);
                (text, kind)
            }
        };
        crate::front::transcode::put_content(&mut logs, name.as_bytes(), text.as_bytes());
        places.push(&logs, name.len(), text.len(), kind);
    }
    let mut work = Work::default();
    let verdict = schema.check(places.of(&logs), &mut work, Detail::First, &mut Vec::new());
    verdict == Verdict::Valid
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn where_nothing_is_told_nothing_newly_fails(
        (old, new) in pair(),
        events in prop::collection::vec((
            prop::option::of(scalar()), prop::option::of(scalar()), prop::option::of(scalar())), 24),
    ) {
        let compiled = (Schema::compile(&old, READING), Schema::compile(&new, READING));
        let (Ok(before), Ok(after)) = compiled else {
            return Ok(());
        };
        if !changes(&old, &new, READING).told.is_empty() {
            return Ok(());
        }
        for (a, b, c) in events {
            let fields = [("a", a), ("b", b), ("c", c)];
            let event: Vec<(&str, Value)> =
                fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            prop_assert!(
                !is_valid(&before, &event) || is_valid(&after, &event),
                "{event:?}\n{old:#}\n{new:#}"
            );
        }
    }
}
