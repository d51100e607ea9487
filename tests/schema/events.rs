//! Schemas of events from outside: verdicts, what is told, coercion, bounds, and sets of schemas.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate::event::{Kind, MAX_TEXT, MAX_VIOLATIONS, Violation};
use tollgate::gate::schema::{
    Detail, Options, Schema, SchemaProblem, SchemaSet, SetEntry, SetVerdict, Speed, Types,
    UnknownEvent, UnknownFields, Verdict, Work,
};

use super::differential::Written;

const COERCING: Options = Options {
    coerce: true,
    assert_formats: true,
};

fn compile(document: &Value) -> Schema {
    Schema::compile(document, COERCING).unwrap()
}

fn problems(document: &Value) -> Vec<SchemaProblem> {
    Schema::compile(document, COERCING).unwrap_err()
}

/// Checks fields that are written as name and JSON; a bare word is a text.
fn check(schema: &Schema, fields: &[(&str, Kind, &str)]) -> (Verdict, Vec<Violation>) {
    let mut written = Written::default();
    written.write(fields.iter().copied());
    let (mut work, mut out) = (Work::default(), Vec::new());
    let quick = schema.check(written.fields(), &mut work, Detail::First, &mut out);
    assert!(out.is_empty());
    let told = schema.check(written.fields(), &mut work, Detail::Told, &mut out);
    assert_eq!(quick == Verdict::Valid, told == Verdict::Valid);
    (told, out)
}

fn told(schema: &Schema, fields: &[(&str, Kind, &str)]) -> Vec<String> {
    let (_, out) = check(schema, fields);
    out.iter()
        .map(|why| format!("{} {}: {}", why.pointer, why.keyword, why.message))
        .collect()
}

#[test]
fn a_schema_goes_to_every_thread_and_prints_nothing_of_itself() {
    fn shared<T: Send + Sync>(_: &T) {}
    let schema = compile(&json!({ "properties": { "secret_field": true } }));
    shared(&schema);
    assert!(!format!("{schema:?} {:?}", schema.annotations()).contains("secret"));
}

#[test]
fn what_is_wrong_is_told_in_words_for_the_developer() {
    let schema = compile(&json!({
        "required": ["event", "a/b"],
        "additionalProperties": false,
        "properties": {
            "event": { "enum": ["view", "click"] },
            "a/b": { "type": "string", "minLength": 3, "pattern": "^x" },
            "price": { "type": "number", "minimum": 0, "multipleOf": 0.01 },
            "when": { "format": "date-time" },
            "cart": { "type": "array", "items": { "properties": { "sku": { "type": "string" } } } },
        },
    }));
    let fields = [
        ("event", Kind::Text, "buy\nnow"),
        ("a/b", Kind::Text, "yé"),
        ("price", Kind::Text, "-1.005"),
        ("when", Kind::Text, "2026-02-30T00:00:00Z"),
        ("cart", Kind::Array, r#"[{"sku":5}]"#),
        ("extra", Kind::Boolean, "true"),
    ];
    assert_eq!(
        told(&schema, &fields),
        [
            r#"/event enum: expected one of "view", "click", found string "buy\nnow""#,
            r#"/a~1b minLength: expected at least 3 characters, found 2: string "yé""#,
            r#"/a~1b pattern: expected a match of the pattern ^x, found string "yé""#,
            "/price minimum: expected at least 0, found number -1.005",
            "/price multipleOf: expected a multiple of 0.01, found number -1.005",
            "/when format: expected the format date-time, such as 2026-01-31T08:30:00Z, found string \
             \"2026-02-30T00:00:00Z\"",
            "/cart/0/sku type: expected string, found number 5",
            "/extra additionalProperties: the schema knows no such field",
        ]
    );
    assert_eq!(
        told(&schema, &[("event", Kind::Text, "view")]),
        ["/a~1b required: it is required and missing"]
    );
    assert_eq!(schema.speed(), Speed::FieldsByTree(vec!["cart".to_owned()]));
}

#[test]
fn what_is_told_is_bounded() {
    let long = "\u{1F600}".repeat(1000);
    let schema = compile(&json!({ "additionalProperties": { "type": "integer", "const": long } }));
    let names: Vec<String> = (0..20).map(|index| format!("{index}{long}")).collect();
    let fields: Vec<(&str, Kind, &str)> = names
        .iter()
        .map(|name| (name.as_str(), Kind::Text, long.as_str()))
        .collect();
    let (verdict, out) = check(&schema, &fields);
    assert_eq!(out.len(), MAX_VIOLATIONS);
    assert_eq!(verdict, Verdict::Invalid { hidden: 20 - 8 });
    for why in &out {
        assert!(why.pointer.len() <= MAX_TEXT && why.message.len() <= MAX_TEXT);
        assert!(why.message.contains("found string \"\u{1F600}"));
        assert!(why.message.matches('\u{1F600}').count() <= 64);
    }
}

#[test]
fn strings_are_read_as_what_is_expected() {
    let schema = compile(&json!({
        "properties": {
            "number": { "type": "number", "minimum": 5 },
            "whole": { "$ref": "#/$defs/whole" },
            "flag": { "type": ["boolean", "null"] },
            "list": { "type": "array", "maxItems": 1 },
            "both": { "type": ["string", "number"], "maxLength": 1 },
            "strict": { "type": "number", "x-tollgate-coerce": false },
        },
        "patternProperties": { "^n_": { "type": "number" } },
        "$defs": { "whole": { "type": "integer" } },
    }));
    let valid =
        |name: &str, value: &str| check(&schema, &[(name, Kind::Text, value)]).0 == Verdict::Valid;
    for (name, value) in [
        ("number", "5"),
        ("number", "1e400"),
        ("whole", "-0"),
        ("whole", "1.0"),
        ("flag", "true"),
        ("flag", "null"),
        ("list", "[\"\\u00e9\"]"),
        ("both", "5"),
        ("n_a", "1.5"),
    ] {
        assert!(valid(name, value), "{name} {value}");
    }
    for (name, value) in [
        ("number", "4.9"),
        ("number", " 5"),
        ("number", "05"),
        ("number", "5."),
        ("number", "+5"),
        ("number", ""),
        ("number", "NaN"),
        ("whole", "1.5"),
        ("flag", "True"),
        ("list", "[1,2]"),
        ("list", "[1"),
        ("list", "[] "),
        ("list", "[\"\\ud800\"]"),
        ("both", "55"),
        ("strict", "5"),
        ("n_a", "x"),
    ] {
        assert!(!valid(name, value), "{name} {value}");
    }
}

#[test]
fn of_one_name_the_last_field_counts() {
    let schema = compile(&json!({
        "maxProperties": 2,
        "properties": { "a": { "const": 1 } },
        "patternProperties": { "^u": { "const": 1 } },
        "additionalProperties": true,
    }));
    let (one, two) = (Kind::Number, Kind::Number);
    let valid = |fields: &[(&str, Kind, &str)]| check(&schema, fields).0 == Verdict::Valid;
    assert!(valid(&[("a", two, "2"), ("u", one, "1"), ("a", one, "1")]));
    assert!(!valid(&[("a", one, "1"), ("a", two, "2")]));
    assert!(valid(&[("u", two, "2"), ("u", one, "1")]));
    assert!(!valid(&[("u", one, "1"), ("x", one, "1"), ("y", one, "1")]));
    // More unknown names than are compared one by one.
    let names: Vec<String> = (0..40).map(|index| format!("n{}", index % 2)).collect();
    let many: Vec<(&str, Kind, &str)> =
        names.iter().map(|name| (name.as_str(), one, "1")).collect();
    assert!(valid(&many));
}

#[test]
fn what_is_wrong_with_a_schema_is_told_at_once() {
    let found = problems(&json!({
        "properties": {
            "a": { "pattern": "(?=x)y" },
            "b": { "pattern": "(a)\\1" },
            "c": { "pattern": "((a{100}){100}){100}" },
            "d": { "x-tollgate-coerce": "yes" },
        },
        "patternProperties": { "(?!x)": true },
    }));
    let mut places: Vec<&str> = found
        .iter()
        .map(|problem| problem.pointer.as_str())
        .collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "/patternProperties/(?!x)",
            "/properties/a/pattern",
            "/properties/b/pattern",
            "/properties/c/pattern",
            "/properties/d",
        ]
    );
    let place = |document: Value| problems(&document)[0].pointer.clone();
    assert_eq!(place(json!({ "type": "strnig" })), "/type");
    assert_eq!(
        place(json!({ "$schema": "http://json-schema.org/draft-04/schema#" })),
        "/$schema"
    );
    assert_eq!(place(json!({ "$vocabulary": {} })), "/$vocabulary");
    for remote in [
        "https://example.com/a.json",
        "file:///etc/passwd",
        "other.json",
        "#/$defs/no",
    ] {
        let found = problems(&json!({ "properties": { "a": { "$ref": remote } } }));
        assert!(found[0].message.contains("reference"), "{found:?}");
    }
}

#[test]
fn schemas_are_bounded() {
    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({ "not": deep });
    }
    assert!(Schema::compile(&json!({ "properties": { "a": deep } }), COERCING).is_ok());
    for _ in 0..40 {
        deep = json!({ "not": deep });
    }
    assert!(problems(&deep)[0].message.contains("nested deeper"));
    let long = json!({ "title": "x".repeat(1 << 20) });
    assert!(problems(&long)[0].message.contains("bytes"));
    let names: Vec<String> = (0..4097).map(|index| format!("f{index}")).collect();
    assert!(
        problems(&json!({ "required": names }))[0]
            .message
            .contains("4096 fields")
    );
    let names: Vec<String> = (0..4096).map(|index| format!("f{index}")).collect();
    let schema = compile(&json!({ "required": names }));
    assert_eq!(check(&schema, &[]).0, Verdict::Invalid { hidden: 4096 - 8 });
    let patterns: serde_json::Map<String, Value> = (0..300)
        .map(|index| {
            (
                format!("f{index}"),
                json!({ "pattern": format!("[a-z]{index}") }),
            )
        })
        .collect();
    assert!(
        problems(&json!({ "properties": patterns }))[0]
            .message
            .contains("256 patterns")
    );
    // Each schema passes the value twice to the next one.
    let mut defs = serde_json::Map::new();
    for index in 0..20 {
        let next = json!({ "$ref": format!("#/$defs/d{}", index + 1) });
        defs.insert(format!("d{index}"), json!({ "allOf": [next, next] }));
    }
    defs.insert("d20".to_owned(), json!({ "type": "string" }));
    let found =
        problems(&json!({ "properties": { "a": { "$ref": "#/$defs/d0" } }, "$defs": defs }));
    assert!(found[0].message.contains("4096 schemas"), "{found:?}");
}

#[test]
fn notes_are_there_for_repair() {
    let schema = compile(&json!({
        "$ref": "#/$defs/event",
        "$defs": {
            "event": {
                "required": ["a"],
                "properties": {
                    "a": { "$ref": "#/$defs/short", "default": "x", "x-tollgate-mask": "email" },
                    "b": { "type": "integer" },
                },
                "patternProperties": { "^p_": true },
                "additionalProperties": false,
            },
            "short": { "type": "string", "maxLength": 3 },
        },
    }));
    let notes = schema.annotations();
    let a = notes.get(b"a").unwrap();
    assert_eq!(
        (a.default.as_ref(), a.max_length),
        (Some(&json!("x")), Some(3))
    );
    assert_eq!(a.extensions["x-tollgate-mask"], json!("email"));
    assert!(a.required && a.coerce == Types::NONE);
    assert_eq!(notes.get(b"b").unwrap().coerce, Types::INTEGER);
    assert_eq!(notes.unknown(), UnknownFields::Refused);
    assert!(notes.knows(b"p_1") && notes.knows(b"b") && !notes.knows(b"c"));
    assert_eq!(
        notes.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        ["a", "b"]
    );
}

#[test]
fn the_crate_decides_where_the_one_pass_cannot() {
    let schema = compile(&json!({
        "properties": { "price": { "type": "number" } },
        "if": { "required": ["price"] },
        "then": { "required": ["currency"] },
    }));
    assert_eq!(schema.speed(), Speed::Tree(vec!["/if".to_owned()]));
    let price = ("price", Kind::Text, "5");
    assert_eq!(
        told(&schema, &[price]),
        ["/currency required: it is required and missing"]
    );
    assert_eq!(
        check(&schema, &[price, ("currency", Kind::Text, "CNY")]).0,
        Verdict::Valid
    );
    let recursive = compile(&json!({
        "properties": { "tree": { "$ref": "#/$defs/node" } },
        "$defs": { "node": { "type": "object", "additionalProperties": { "$ref": "#/$defs/node" } } },
    }));
    assert_eq!(
        check(&recursive, &[("tree", Kind::Object, r#"{"a":{"b":{}}}"#)]).0,
        Verdict::Valid
    );
    assert_eq!(
        told(&recursive, &[("tree", Kind::Object, r#"{"a":{"b":1}}"#)]),
        ["/tree/a/b type: expected object, found number 1"]
    );
}

fn entry(event: Option<&str>, version: &str, document: &Value) -> SetEntry {
    SetEntry {
        name: format!("{event:?}"),
        version: version.to_owned(),
        event: event.map(str::to_owned),
        schema: Arc::new(compile(document)),
    }
}

#[test]
fn a_set_chooses_by_event_then_by_version_then_the_newest() {
    let (old, new) = (
        json!({ "required": ["a"] }),
        json!({ "required": ["b", "c"] }),
    );
    let entries = || {
        let mut entries = vec![
            entry(Some("view"), "2", &new),
            entry(Some("view"), "1", &old),
        ];
        entries.extend((0..1000).map(|index| entry(Some(&format!("e{index}")), "1", &json!(true))));
        entries
    };
    let set = |unknown, version: Option<&str>| {
        let field = Some("event".to_owned());
        SchemaSet::new(entries(), field, version.map(str::to_owned), unknown)
    };
    let judge = |set: &SchemaSet, fields: &[(&str, &str)]| -> (SetVerdict, Vec<String>) {
        let mut written = Written::default();
        written.write(
            fields
                .iter()
                .map(|(name, value)| (*name, Kind::Text, *value)),
        );
        let (mut work, mut out) = (Work::default(), Vec::new());
        let quick = set.check(written.fields(), &mut work, Detail::First, &mut out);
        let told = set.check(written.fields(), &mut work, Detail::Told, &mut out);
        assert_eq!(
            quick.verdict == Verdict::Valid,
            told.verdict == Verdict::Valid
        );
        let places = out
            .iter()
            .map(|why| format!("{} {}", why.pointer, why.keyword));
        (told, places.collect())
    };
    let valid = |check| SetVerdict {
        check,
        verdict: Verdict::Valid,
    };
    let any = set(UnknownEvent::Refuse, None);
    assert_eq!(
        judge(&any, &[("event", "view"), ("b", "1"), ("c", "1")]).0,
        valid(0)
    );
    assert_eq!(judge(&any, &[("event", "view"), ("a", "1")]).0, valid(1));
    assert_eq!(judge(&any, &[("event", "e999")]).0, valid(1001));
    let (verdict, places) = judge(&any, &[("event", "view"), ("b", "1")]);
    assert_eq!((verdict.check, places), (0, vec!["/c required".to_owned()]));
    let (verdict, places) = judge(&any, &[("event", "other")]);
    assert_eq!(
        (verdict.check, places),
        (SchemaSet::NO_CHECK, vec!["/event event".to_owned()])
    );
    assert_eq!(judge(&any, &[("a", "1")]).1, ["/event event"]);
    let open = set(UnknownEvent::Accept, None);
    assert_eq!(
        judge(&open, &[("event", "other")]).0,
        valid(SchemaSet::NO_CHECK)
    );

    let named = set(UnknownEvent::Refuse, Some("v"));
    assert_eq!(
        judge(&named, &[("event", "view"), ("v", "1"), ("a", "1")]).0,
        valid(1)
    );
    let (verdict, places) = judge(&named, &[("event", "view"), ("v", "2"), ("a", "1")]);
    assert_eq!(verdict.check, 0);
    assert_eq!(places, ["/b required", "/c required"]);
    assert_eq!(
        judge(&named, &[("event", "view"), ("v", "3"), ("a", "1")]).1,
        ["/v version"]
    );
    assert_eq!(judge(&named, &[("event", "view"), ("a", "1")]).0, valid(1));
}

#[test]
fn a_schema_without_an_event_judges_all_that_have_none() {
    let entries = vec![
        entry(Some("view"), "1", &json!(true)),
        entry(None, "1", &json!({ "required": ["a"] })),
    ];
    let set = SchemaSet::new(
        entries,
        Some("event".to_owned()),
        None,
        UnknownEvent::Refuse,
    );
    let mut written = Written::default();
    let (mut work, mut out) = (Work::default(), Vec::new());
    written.write([("event", Kind::Text, "other")].into_iter());
    let verdict = set.check(written.fields(), &mut work, Detail::Told, &mut out);
    assert_eq!((verdict.check, out[0].pointer.as_str()), (1, "/a"));
    written.write([("event", Kind::Text, "view")].into_iter());
    assert_eq!(
        set.check(written.fields(), &mut work, Detail::Told, &mut out)
            .check,
        0
    );
}

#[test]
fn a_mark_names_a_field_wherever_it_stands() {
    let schema = compile(&json!({
        "$ref": "#/$defs/event",
        "type": "object",
        "properties": { "x-tollgate-mask": { "const": { "x-tollgate-mask": "no mark" } } },
        "allOf": [{ "properties": { "card": { "allOf": [{ "x-tollgate-mask": "bank_card" }] } } }],
        "if": { "required": ["a/b"] },
        "then": { "properties": { "a/b": { "x-tollgate-mask": "remove" } } },
        "$defs": {
            "event": { "properties": {
                "name": { "x-tollgate-mask": "mask" },
                "phone": { "$ref": "#/$defs/phone" },
                "again": { "$ref": "#/$defs/phone", "x-tollgate-mask": "email" },
            } },
            "phone": { "type": "string", "x-tollgate-mask": "phone" },
        },
    }));
    let marks = schema.marks().iter();
    let mut marks: Vec<_> = marks
        .map(|mark| format!("{}: {} {}", mark.field, mark.word, mark.pointer))
        .collect();
    marks.sort_unstable();
    assert_eq!(
        marks,
        [
            "a/b: \"remove\" /then/properties/a~1b/x-tollgate-mask",
            "again: \"email\" /$defs/event/properties/again/x-tollgate-mask",
            "again: \"phone\" /$defs/phone/x-tollgate-mask",
            "card: \"bank_card\" /allOf/0/properties/card/allOf/0/x-tollgate-mask",
            "name: \"mask\" /$defs/event/properties/name/x-tollgate-mask",
            "phone: \"phone\" /$defs/phone/x-tollgate-mask",
        ]
    );
}

/// What is data or a name changes no reference; and what is hidden whole is hidden inside.
#[test]
fn marks_stand_beside_data_and_inside_what_is_hidden_whole() {
    let schema = compile(&json!({
        "$id": "https://a.example/schema",
        "examples": [{ "$id": "7" }],
        "properties": {
            "$id": { "const": { "$dynamicRef": "#no" }, "default": { "$id": "x" } },
            "user": {
                "x-tollgate-mask": "remove",
                "properties": { "phone": { "x-tollgate-mask": "phone" } },
            },
            "__tag__:__client_ip__": { "x-tollgate-mask": "hash" },
        },
    }));
    let marks = schema.marks().iter().map(|mark| mark.field.as_str());
    let mut marks: Vec<&str> = marks.collect();
    marks.sort_unstable();
    assert_eq!(marks, ["__tag__:__client_ip__", "user"]);
}

/// A mark that does nothing would store personal data in the clear.
#[test]
fn a_mark_that_names_no_field_is_refused() {
    let mark = json!({ "x-tollgate-mask": "mask" });
    for (document, pointer, hint) in [
        (mark.clone(), "", "under `properties`"),
        (
            json!({ "patternProperties": { "^p": mark } }),
            "/patternProperties/^p",
            "pattern of names",
        ),
        (
            json!({ "additionalProperties": mark }),
            "/additionalProperties",
            "pattern of names",
        ),
        (
            json!({ "properties": { "user": { "properties": { "phone": mark } } } }),
            "/properties/user/properties/phone",
            "parse_json",
        ),
        (
            json!({ "properties": { "list": { "prefixItems": [true], "contains": mark } } }),
            "/properties/list/contains",
            "parse_json",
        ),
        (
            json!({ "not": { "properties": { "a": mark } } }),
            "/not/properties/a",
            "under `properties`",
        ),
        (
            json!({ "properties": { "__tag__:phone": mark } }),
            "/properties/__tag__:phone",
            "transform",
        ),
        (
            json!({ "allOf": [{ "properties": { "__topic__": mark } }] }),
            "/allOf/0/properties/__topic__",
            "transform",
        ),
        (
            json!({ "properties": { "user": {
                "x-tollgate-mask": "email",
                "properties": { "phone": mark },
            } } }),
            "/properties/user/properties/phone",
            "parse_json",
        ),
        (
            json!({ "$defs": { "unused": mark } }),
            "/$defs/unused",
            "under `properties`",
        ),
    ] {
        let found = problems(&document);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].pointer, format!("{pointer}/x-tollgate-mask"));
        assert!(found[0].hint.contains(hint), "{found:?}");
    }
    // Good for one field, and passed over inside another.
    let found = problems(&json!({
        "properties": {
            "phone": { "$ref": "#/$defs/phone" },
            "user": { "properties": { "phone": { "$ref": "#/$defs/phone" } } },
        },
        "$defs": { "phone": { "x-tollgate-mask": "phone" } },
    }));
    assert_eq!(found[0].pointer, "/$defs/phone/x-tollgate-mask");
    // References that are not followed may lead to one.
    let found = problems(&json!({
        "properties": { "a": { "x-tollgate-mask": "mask" }, "b": { "$ref": "#anchored" } },
        "$defs": { "c": { "$anchor": "anchored" } },
    }));
    assert_eq!(found[0].pointer, "/properties/b/$ref");
    // A schema that refers to itself ends.
    let found = problems(&json!({
        "properties": { "a": { "x-tollgate-mask": "mask" }, "b": { "$ref": "#" } },
    }));
    assert_eq!(found[0].pointer, "/properties/a/x-tollgate-mask");
}
