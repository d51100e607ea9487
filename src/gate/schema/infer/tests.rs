//! Proposed schemas accept what they were made from, and say what can be said.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{Detail, Options, Schema, Speed, Verdict, Work};
use super::*;
use crate::event::{EventFields, FieldPlaces, Kind};

/// An event as fields: texts decoded, all else as JSON.
fn with_fields<T>(event: &[(String, Value)], look: impl FnOnce(EventFields<'_>) -> T) -> T {
    let (mut logs, mut places) = (Vec::new(), FieldPlaces::default());
    for (name, value) in event {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let kind = match value {
            Value::String(_) => Kind::Text,
            Value::Number(_) => Kind::Number,
            Value::Bool(_) => Kind::Boolean,
            Value::Null => Kind::Null,
            Value::Object(_) => Kind::Object,
            Value::Array(_) => Kind::Array,
        };
        crate::front::transcode::put_content(&mut logs, name.as_bytes(), text.as_bytes());
        places.push(&logs, name.len(), text.len(), kind);
    }
    look(places.of(&logs))
}

fn infer(events: &[Vec<(String, Value)>], options: &InferOptions) -> Proposal {
    let mut inference = Inference::new(options.clone());
    for event in events {
        with_fields(event, |fields| inference.add(fields.iter()));
    }
    inference.propose()
}

fn events(values: &[Value]) -> Vec<Vec<(String, Value)>> {
    let pairs = |value: &Value| {
        let members = value.as_object().unwrap();
        members
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    };
    values.iter().map(pairs).collect()
}

fn schema_of(values: &[Value], options: &InferOptions) -> Value {
    infer(&events(values), options).document
}

/// Compiles a proposal in each way of reading, and checks that it accepts the events in one pass.
fn accepts_all(document: &Value, events: &[Vec<(String, Value)>]) -> Result<(), String> {
    for (coerce, assert_formats) in [(true, true), (true, false), (false, true), (false, false)] {
        let options = Options {
            coerce,
            assert_formats,
        };
        let schema = Schema::compile(document, options).map_err(|it| format!("{it:?}"))?;
        if schema.speed() != Speed::Fast {
            return Err(format!("{:?}: {document:#}", schema.speed()));
        }
        let mut work = Work::default();
        for event in events {
            let mut told = Vec::new();
            let verdict = with_fields(event, |fields| {
                schema.check(fields, &mut work, Detail::Told, &mut told)
            });
            if verdict != Verdict::Valid {
                return Err(format!("{options:?} {event:?}\n{told:?}\n{document:#}"));
            }
        }
    }
    Ok(())
}

fn value() -> impl Strategy<Value = Value> {
    let texts = prop::sample::select(vec![
        "",
        "true",
        "false",
        "null",
        "0",
        "-1.5",
        "1e400",
        "05",
        "13812345678",
        "2026-01-31",
        "2026-01-31T08:30:00Z",
        "2026-02-30",
        "a@example.com",
        "192.0.2.1",
        "::1",
        "https://example.com/é?q=1",
        "http://example.com/a",
        "view",
        "购买",
        "{\"a\":1}",
        "[1]",
        "123e4567-e89b-12d3-a456-426614174000",
        "1781510400123",
        "\u{202e}",
        "-0",
        "1.0",
    ]);
    let numbers = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3..3_i32).prop_map(Value::from),
    ];
    prop_oneof![
        4 => texts.prop_map(Value::from),
        1 => "\\PC{0,40}".prop_map(Value::from),
        2 => numbers,
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!({"a": [1]})),
        1 => Just(json!([{}])),
    ]
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "名", "a/~b", "price", "phone", "t", "$ref"])
        .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    /// Also when a name comes twice, as it may in protobuf.
    #[test]
    fn a_proposal_accepts_in_one_pass_what_it_was_made_from(
        kinds in prop::collection::vec(prop::collection::vec(value(), 1..4), 8),
        picks in prop::collection::vec(
            prop::collection::vec((names(), any::<prop::sample::Index>()), 0..8), 1..60),
        strings_as_types: bool, bounds: bool, closed: bool, typed: bool,
    ) {
        // Few values for each name, so that they agree on a type often enough.
        let events: Vec<Vec<(String, Value)>> = picks.into_iter().map(|event| {
            event.into_iter().map(|(name, pick)| {
                let of = &kinds[name.len() % kinds.len()];
                (name, pick.get(of).clone())
            }).collect()
        }).collect();
        let event_field = typed.then(|| "t".to_owned());
        let options = InferOptions { event_field, strings_as_types, bounds, closed };
        let proposal = infer(&events, &options);
        prop_assert_eq!(proposal.notes.len(), 0);
        if !typed {
            let accepted = accepts_all(&proposal.document, &events);
            prop_assert!(accepted.is_ok(), "{}", accepted.unwrap_err());
        }
        let by_type = |event: &Vec<(String, Value)>| -> String {
            match event.iter().rfind(|(name, _)| name == "t") {
                Some((_, Value::String(text))) => text.clone(),
                Some((_, other)) => other.to_string(),
                None => String::new(),
            }
        };
        for (name, schema) in proposal.document.as_object().into_iter().flatten().filter(|_| typed) {
            let own: Vec<_> = events.iter().filter(|it| by_type(it) == *name).cloned().collect();
            prop_assert!(!own.is_empty());
            let accepted = accepts_all(schema, &own);
            prop_assert!(accepted.is_ok(), "{}", accepted.unwrap_err());
        }
    }
}

#[test]
fn types_formats_choices_and_lengths_are_proposed() {
    let values: Vec<Value> = (0..40)
        .map(|n| {
            json!({
                "event": if n % 2 == 0 { "view" } else { "购买" },
                "price": n,
                "mixed": if n == 0 { json!(1.5) } else { json!(format!("text {n}")) },
                "at": "2026-01-31T08:30:00Z",
                "url": format!("https://example.com/p/{n}?token=abc"),
                "ok": n > 3,
                "nested": {"a": n},
            })
        })
        .chain([json!({"event": "view", "price": 3, "rare": null})])
        .collect();
    let schema = schema_of(&values, &InferOptions::default());
    let of = |name: &str| &schema["properties"][name];
    assert_eq!(of("event")["enum"], json!(["view", "购买"]));
    assert_eq!(of("price")["type"], "integer");
    assert_eq!(of("price")["$comment"], "from 0 to 39");
    assert_eq!(of("mixed")["type"], json!(["string", "number"]));
    assert_eq!(of("mixed")["maxLength"], 16);
    assert_eq!(of("at")["format"], "date-time");
    assert_eq!(of("url")["format"], "uri");
    assert_eq!(
        of("url")["examples"],
        json!([
            "https://example.com/p/0",
            "https://example.com/p/1",
            "https://example.com/p/2"
        ])
    );
    assert_eq!(of("ok")["type"], "boolean");
    assert_eq!(of("nested")["type"], "object");
    assert_eq!(of("rare")["x-tollgate-count"], 1);
    assert_eq!(schema["required"], json!(["event", "price"]));
    assert_eq!(schema["x-tollgate-count"], 41);
}

#[test]
fn texts_become_types_and_numbers_limits_only_when_asked() {
    let values = [
        json!({"n": "5", "b": "true"}),
        json!({"n": "-2.5", "b": "false"}),
    ];
    let plain = schema_of(&values, &InferOptions::default());
    assert_eq!(plain["properties"]["n"]["type"], "string");
    let options = InferOptions {
        strings_as_types: true,
        bounds: true,
        closed: true,
        ..InferOptions::default()
    };
    let typed = schema_of(&values, &options);
    let n = &typed["properties"]["n"];
    assert_eq!(n["type"], "number");
    assert_eq!(n["x-tollgate-coerce"], true);
    assert_eq!((&n["minimum"], &n["maximum"]), (&json!(-2.5), &json!(5)));
    assert_eq!(typed["properties"]["b"]["type"], "boolean");
    assert_eq!(typed["additionalProperties"], false);
}

#[test]
fn nothing_personal_is_shown() {
    let secrets = [
        ("phone", "12"),
        ("备注", "call 138 1234 5678"),
        ("contact", "someone@example.com"),
        ("auth_header", "x"),
        ("note", "eyJhbGciOiJIUzI1NiJ9.e30.abc"),
        ("link", "https://user:pass@example.com/"),
        ("card", "4111 1111 1111 1111"),
        ("Client-IP", "x"),
        ("where", "203.0.113.7"),
    ];
    let event: serde_json::Map<String, Value> = secrets
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)))
        .collect();
    let options = InferOptions {
        strings_as_types: true,
        ..InferOptions::default()
    };
    let text = schema_of(&vec![Value::Object(event); 50], &options).to_string();
    assert!(
        !text.contains("examples") && !text.contains("enum"),
        "{text}"
    );
    for (_, value) in secrets.iter().filter(|(_, value)| value.len() > 2) {
        assert!(!text.contains(value), "{text}");
    }
    let numbers = schema_of(&[json!({"n": 13_812_345_678_u64, "phone": 5})], &options).to_string();
    assert!(!numbers.contains("\"from "), "{numbers}");
}

#[test]
fn fields_and_types_past_the_bounds_are_told_and_the_schema_still_holds() {
    let names = |from: usize, to: usize| -> Vec<(String, Value)> {
        (from..to)
            .map(|n| (format!("field-{n}"), json!("x")))
            .collect()
    };
    let events = vec![names(0, MAX_FIELDS), names(MAX_FIELDS - 1, MAX_FIELDS + 5)];
    let options = InferOptions {
        closed: true,
        ..InferOptions::default()
    };
    let proposal = infer(&events, &options);
    let properties = proposal.document["properties"].as_object().unwrap();
    assert_eq!(properties.len(), MAX_FIELDS);
    assert!(
        proposal.notes[0].contains("5 fields"),
        "{:?}",
        proposal.notes
    );
    accepts_all(&proposal.document, &events).unwrap();

    let typed: Vec<Vec<(String, Value)>> = (0..MAX_TYPES + 3)
        .map(|n| {
            let mut event = names(20 * n, 20 * n + 20);
            event.push(("t".to_owned(), json!(format!("type-{n}"))));
            event
        })
        .collect();
    let options = InferOptions {
        event_field: Some("t".to_owned()),
        ..InferOptions::default()
    };
    let proposal = infer(&typed, &options);
    let schemas = proposal.document.as_object().unwrap();
    assert_eq!(schemas.len(), MAX_TYPES);
    let kept: usize = schemas
        .values()
        .map(|it| it["properties"].as_object().unwrap().len())
        .sum();
    assert_eq!(kept, MAX_FIELDS_TOGETHER);
    assert!(
        proposal.notes.last().unwrap().starts_with("3 events"),
        "{:?}",
        proposal.notes
    );
}

#[test]
fn a_schema_of_many_long_names_and_choices_fits_a_file() {
    let values: Vec<Vec<(String, Value)>> = (0..640)
        .map(|n| {
            let field = |f: usize| {
                let text = format!("{}{}", "\u{1}".repeat(40), n % 64);
                (format!("{}{f}", "\u{1}".repeat(100)), Value::from(text))
            };
            (0..200).map(field).collect()
        })
        .collect();
    let proposal = infer(&values, &InferOptions::default());
    let printed = serde_json::to_string_pretty(&proposal.document).unwrap();
    assert!(printed.len() < 1 << 20, "{}", printed.len());
    accepts_all(&proposal.document, &values[..3]).unwrap();
}

#[test]
fn distinct_values_are_forgotten_past_their_bound() {
    let values: Vec<Value> = (0..2000)
        .map(|n| json!({"a": format!("v{}", n % 65)}))
        .collect();
    let schema = schema_of(&values, &InferOptions::default());
    assert_eq!(schema["properties"]["a"].get("enum"), None);
    let schema = schema_of(
        &vec![values[..64].to_vec(); 20].concat(),
        &InferOptions::default(),
    );
    assert_eq!(
        schema["properties"]["a"]["enum"].as_array().unwrap().len(),
        seen::MAX_DISTINCT
    );
}
