//! What transcoding costs, beside the obvious way: a tree of values and a protobuf library.
//!
//! `cargo bench --bench transcode` prints the cost of an event of ten fields in bodies of 1, 10 and
//! 100 events. Instructions are counted by valgrind, which this binary runs on itself
//! (`transcode run VARIANT EVENTS REPEATS`) with two numbers of repeats: the difference leaves out
//! what starting costs. Instructions do not depend on what else the machine does; times do.
//! `-- schema` prints only what a schema adds, `-- hostile` what bodies cost that are made to cost much.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench prints, and one that cannot go on stops"
)]

mod hostile;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};
use tollgate::config::{Limits, TimeWindow};
use tollgate::event::EventGroup;
use tollgate::front::SchemaJudge;
use tollgate::front::transcode::{self, Context, EventCheck, Rules};
use tollgate::gate::schema::{Options, Schema, SchemaSet, SetEntry, UnknownEvent};
use tollgate::logstore::proto::log::Content;
use tollgate::logstore::proto::{Log, LogGroup, LogTag};

const RECEIVED: u64 = 1_781_510_400;
const EVENT: &str = r#"{"event":"page_view","page":"/products/list","title":"Running shoes","user_id":"u-1029384756","session":"5f0c7a9e2b1d4e83a6c9","referrer":"https://www.example.com/search?q=shoes","ua":"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148","screen":"390x844","price":"129.00","duration_ms":"1834"}"#;

#[derive(Clone, Copy)]
enum Variant {
    /// This project.
    Transcode,
    /// `serde_json::Value`, then prost.
    Tree,
    /// This project, with a schema of all ten fields.
    Checked,
    /// The same with a schema for the type of the event, the only one.
    CheckedByType,
    /// The same with one schema of a thousand.
    CheckedOfMany,
    /// `serde_json::Value`, the `jsonschema` crate, then prost.
    CheckedTree,
}

const VARIANTS: [Variant; 6] = [
    Variant::Transcode,
    Variant::Tree,
    Variant::Checked,
    Variant::CheckedByType,
    Variant::CheckedOfMany,
    Variant::CheckedTree,
];

impl Variant {
    fn name(self) -> &'static str {
        match self {
            Self::Transcode => "transcode",
            Self::Tree => "tree",
            Self::Checked => "checked",
            Self::CheckedByType => "checked-by-type",
            Self::CheckedOfMany => "checked-of-many",
            Self::CheckedTree => "checked-tree",
        }
    }

    fn run(self, body: &[u8], repeats: u64) -> usize {
        match self {
            Self::Transcode | Self::Checked | Self::CheckedByType | Self::CheckedOfMany => {
                let judge = match self {
                    Self::Checked => Some(judge(1, false)),
                    Self::CheckedByType => Some(judge(1, true)),
                    Self::CheckedOfMany => Some(judge(1000, true)),
                    _ => None,
                };
                let rules = Rules::new(&Limits::default(), &TimeWindow::default());
                let mut out = EventGroup::default();
                (0..repeats).fold(0, |total, _| {
                    let context = Context {
                        rules: &rules,
                        received: RECEIVED,
                        stamp: b"",
                        attached: tollgate::event::AttachedNames::NONE,
                        check: judge.as_ref().map(|judge| judge as &dyn EventCheck),
                    };
                    out.clear();
                    transcode::json(black_box(body), &context, &mut out).expect("a valid body");
                    assert!(out.faults.is_empty(), "a good event was found bad");
                    total + black_box(&out).logs.len()
                })
            }
            Self::CheckedTree => {
                let validator = jsonschema::options()
                    .with_pattern_options(jsonschema::PatternOptions::regex())
                    .build(&schema(false))
                    .expect("a schema");
                (0..repeats).fold(0, |total, _| {
                    let body = black_box(body);
                    let value: Value = serde_json::from_slice(body).expect("a valid body");
                    let events = value.get("__logs__").and_then(Value::as_array);
                    let good = events.is_some_and(|it| it.iter().all(|it| validator.is_valid(it)));
                    assert!(good, "a good event was found bad");
                    total + black_box(of_tree(value).expect("a valid body")).len()
                })
            }
            Self::Tree => (0..repeats).fold(0, |total, _| {
                total + black_box(tree(black_box(body)).expect("a valid body")).len()
            }),
        }
    }
}

/// A schema that checks each field of [`EVENT`]. Without coercion numbers are texts, as the crate has
/// them.
fn schema(coerces: bool) -> Value {
    let text = |longest: u32| json!({ "type": "string", "maxLength": longest });
    let number = |more: Value| if coerces { more } else { text(16) };
    json!({
        "type": "object",
        "required": ["event", "page", "user_id", "session"],
        "additionalProperties": false,
        "properties": {
            "event": { "enum": ["page_view", "click", "purchase"] },
            "page": { "type": "string", "minLength": 1, "maxLength": 256 },
            "title": text(128),
            "user_id": { "type": "string", "minLength": 3, "maxLength": 64 },
            "session": { "type": "string", "minLength": 16, "maxLength": 64 },
            "referrer": text(1024),
            "ua": text(512),
            "screen": text(16),
            "price": number(json!({ "type": "number", "minimum": 0 })),
            "duration_ms": number(json!({ "type": "integer", "minimum": 0, "maximum": 86_400_000 })),
        },
    })
}

/// The schemas of a logstore, of which one is for [`EVENT`]: for its type, or for events of all types.
fn judge(schemas: usize, by_type: bool) -> SchemaJudge {
    let options = Options {
        coerce: true,
        assert_formats: true,
    };
    let schema = Arc::new(Schema::compile(&schema(true), options).expect("a schema"));
    let entries = (0..schemas).map(|index| SetEntry {
        name: "events".to_owned(),
        version: index.to_string(),
        event: by_type.then(|| match index {
            0 => "page_view".to_owned(),
            index => format!("type-{index}"),
        }),
        schema: Arc::clone(&schema),
    });
    let field = by_type.then(|| "event".to_owned());
    let set = SchemaSet::new(entries.collect(), field, None, UnknownEvent::Accept);
    let rule = toml::from_str("use = [\"events\"]").expect("a rule");
    SchemaJudge::new(set, rule)
}

/// The obvious way: parse to values, move them to messages, encode those.
fn tree(body: &[u8]) -> Option<Vec<u8>> {
    of_tree(serde_json::from_slice(body).ok()?)
}

fn of_tree(value: Value) -> Option<Vec<u8>> {
    let Value::Object(mut envelope) = value else {
        return None;
    };
    let text = |value: Value| match value {
        Value::String(text) => Bytes::from(text),
        other => Bytes::from(other.to_string()),
    };
    let Value::Array(logs) = envelope.remove("__logs__")? else {
        return None;
    };
    let mut group = LogGroup {
        topic: envelope.remove("__topic__").map(text),
        source: envelope.remove("__source__").map(text),
        logs: Vec::with_capacity(logs.len()),
        ..LogGroup::default()
    };
    if let Some(Value::Object(tags)) = envelope.remove("__tags__") {
        group.log_tags = tags
            .into_iter()
            .map(|(key, value)| LogTag {
                key: key.into(),
                value: text(value),
            })
            .collect();
    }
    for log in logs {
        let Value::Object(members) = log else {
            return None;
        };
        group.logs.push(Log {
            time: u32::try_from(RECEIVED).ok()?,
            contents: members
                .into_iter()
                .map(|(key, value)| Content {
                    key: key.into(),
                    value: text(value),
                })
                .collect(),
            time_ns: None,
        });
    }
    Some(group.encode_to_vec())
}

fn body(events: usize) -> Vec<u8> {
    let logs = vec![EVENT; events].join(",");
    format!(
        r#"{{"__logs__":[{logs}],"__tags__":{{"app":"shop"}},"__topic__":"web","__source__":"h5"}}"#
    )
    .into_bytes()
}

/// Instructions per event, or `None` without valgrind.
fn instructions(variant: Variant, events: usize) -> Option<f64> {
    let repeats = (2000 / events as u64).max(20);
    let (few, many) = (
        count_events(variant, events, repeats)?,
        count_events(variant, events, repeats * 2)?,
    );
    Some((many - few) as f64 / (repeats * events as u64) as f64)
}

fn count_events(variant: Variant, events: usize, repeats: u64) -> Option<u64> {
    let (events, repeats) = (events.to_string(), repeats.to_string());
    count(&["run", variant.name(), &events, &repeats])
}

/// Instructions of a run of this binary under valgrind.
fn count(arguments: &[&str]) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(arguments)
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = report.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Nanoseconds per event: the best of several rounds.
fn nanoseconds(variant: Variant, events: usize) -> f64 {
    let body = body(events);
    let repeats = (20_000 / events as u64).max(1);
    let round = || {
        let start = Instant::now();
        black_box(variant.run(&body, repeats));
        start.elapsed().as_nanos() as f64 / (repeats * events as u64) as f64
    };
    (0..7).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn report() {
    println!("an event of ten fields, {} bytes of JSON\n", EVENT.len());
    println!("events  unit            tree  transcode  ratio");
    for events in [1, 10, 100] {
        let row = |unit: &str, tree: f64, ours: f64| {
            println!(
                "{events:>6}  {unit:<12} {tree:>7.0} {ours:>10.0} {:>5.1}x",
                tree / ours
            );
        };
        match (
            instructions(Variant::Tree, events),
            instructions(Variant::Transcode, events),
        ) {
            (Some(tree), Some(ours)) => row("instructions", tree, ours),
            _ => println!("{events:>6}  instructions: valgrind is not here"),
        }
        let (tree, ours) = (
            nanoseconds(Variant::Tree, events),
            nanoseconds(Variant::Transcode, events),
        );
        row("ns", tree, ours);
    }
}

/// What a schema adds, in instructions.
fn report_schemas() {
    println!("\nwith a schema of all ten fields, instructions an event");
    println!("events  transcode  checked  adds    by type   of 1,000  tree+crate+prost  fewer by");
    for events in [1, 10, 100] {
        let counts: Option<Vec<f64>> = [
            Variant::Transcode,
            Variant::Checked,
            Variant::CheckedByType,
            Variant::CheckedOfMany,
            Variant::CheckedTree,
        ]
        .into_iter()
        .map(|variant| instructions(variant, events))
        .collect();
        let Some([plain, checked, typed, many, tree]) = counts.as_deref() else {
            println!("{events:>6}  valgrind is not here");
            continue;
        };
        let adds = (checked / plain - 1.0) * 100.0;
        let fewer = tree / checked;
        println!(
            "{events:>6}  {plain:>9.0} {checked:>8.0} {adds:>4.0} % {typed:>10.0} {many:>10.0} {tree:>17.0} {fewer:>8.1}x"
        );
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments.contains(&"schema") {
        report_schemas();
        return ExitCode::SUCCESS;
    }
    if let ["hostile", name, repeats] = *arguments {
        let case = hostile::CASES.into_iter().find(|(known, _)| *known == name);
        let (Some((_, make)), Ok(repeats)) = (case, repeats.parse()) else {
            return ExitCode::FAILURE;
        };
        black_box(hostile::run(&make(), repeats));
        return ExitCode::SUCCESS;
    }
    if arguments.contains(&"hostile") {
        hostile::report();
        return ExitCode::SUCCESS;
    }
    let [first, variant, events, repeats] = *arguments else {
        report();
        report_schemas();
        hostile::report();
        return ExitCode::SUCCESS;
    };
    let variant = VARIANTS.into_iter().find(|known| known.name() == variant);
    match (first, variant, events.parse(), repeats.parse()) {
        ("run", Some(variant), Ok(events), Ok(repeats)) => {
            println!("{}", variant.run(&body(events), repeats));
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}
