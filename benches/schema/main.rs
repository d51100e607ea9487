//! What checking an event by its schema costs, and a long run of random cases.
//!
//! `cargo bench --bench schema` prints instructions of the check alone, beside the `jsonschema` crate
//! on a tree that is already there, and beside parsing to a tree and the crate. They are counted by
//! valgrind, which this binary runs on itself (`schema run VARIANT REPEATS`) with two numbers of
//! repeats: the difference leaves out what starting costs.
//!
//! `cargo bench --bench schema -- differential --cases 10000000 [--from SEED]` checks random events
//! by random schemas in the one pass, as trees, and by the plain crate, and ends with 1 when two of
//! them differ. A case is one event; a seed makes one schema and its events.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench prints, and one that cannot go on stops"
)]

mod differential;
mod random;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use serde_json::{Value, json};
use tollgate::event::Kind;
use tollgate::gate::schema::{
    Detail, Options, Schema, SchemaSet, SetEntry, UnknownEvent, Verdict, Work,
};

use differential::{Tally, Written};

/// Events of one seed.
const EVENTS: usize = 100;

const EVENT: &str = r#"{"event":"page_view","page":"/products/list","title":"Running shoes","user_id":"u-1029384756","session":"5f0c7a9e2b1d4e83a6c9","referrer":"https://www.example.com/search?q=shoes","ua":"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148","screen":"390x844","price":"129.00","duration_ms":"1834"}"#;

/// The schema of [`EVENT`]: each field is checked.
fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["event", "page", "user_id", "session"],
        "additionalProperties": false,
        "properties": {
            "event": { "enum": ["page_view", "click", "purchase"] },
            "page": { "type": "string", "minLength": 1, "maxLength": 256 },
            "title": { "type": "string", "maxLength": 128 },
            "user_id": { "type": "string", "minLength": 3, "maxLength": 64 },
            "session": { "type": "string", "minLength": 16, "maxLength": 64 },
            "referrer": { "type": "string", "maxLength": 1024 },
            "ua": { "type": "string", "maxLength": 512 },
            "screen": { "type": "string", "maxLength": 16 },
            "price": { "type": "number", "minimum": 0 },
            "duration_ms": { "type": "integer", "minimum": 0, "maximum": 86_400_000 },
        },
    })
}

/// The same for the crate, which coerces nothing: numbers are strings there.
fn schema_of_strings() -> Value {
    let mut schema = schema();
    for name in ["price", "duration_ms"] {
        schema["properties"][name] = json!({ "type": "string", "maxLength": 16 });
    }
    schema
}

#[derive(Clone, Copy, PartialEq)]
enum Variant {
    /// The one pass.
    Ours,
    /// The one pass, of one schema among a thousand.
    Thousand,
    /// The crate on a tree that is there.
    Crate,
    /// Parsing to a tree, then the crate.
    Tree,
}

const VARIANTS: [(&str, Variant, &str); 4] = [
    ("ours", Variant::Ours, "one pass, with coercion"),
    (
        "thousand",
        Variant::Thousand,
        "the same, one schema of 1,000",
    ),
    (
        "crate",
        Variant::Crate,
        "jsonschema on a tree that is there",
    ),
    (
        "tree",
        Variant::Tree,
        "serde_json to a tree, then jsonschema",
    ),
];

impl Variant {
    fn run(self, repeats: u64) -> u64 {
        match self {
            Self::Ours => {
                let schema = compiled();
                let written = written();
                let (mut work, mut out) = (Work::default(), Vec::new());
                (0..repeats)
                    .filter(|_| {
                        let event = black_box(&written).fields();
                        schema.check(event, &mut work, Detail::First, &mut out) == Verdict::Valid
                    })
                    .count() as u64
            }
            Self::Thousand => {
                let schema = Arc::new(compiled());
                let entries = (0..1000)
                    .map(|index| SetEntry {
                        name: "bench".to_owned(),
                        version: "1".to_owned(),
                        event: Some(match index {
                            500 => "page_view".to_owned(),
                            index => format!("event_{index}"),
                        }),
                        schema: schema.clone(),
                    })
                    .collect();
                let field = Some("event".to_owned());
                let set = SchemaSet::new(entries, field, None, UnknownEvent::Refuse);
                let written = written();
                let (mut work, mut out) = (Work::default(), Vec::new());
                (0..repeats)
                    .filter(|_| {
                        let event = black_box(&written).fields();
                        let found = set.check(event, &mut work, Detail::First, &mut out);
                        found.verdict == Verdict::Valid
                    })
                    .count() as u64
            }
            Self::Crate | Self::Tree => {
                let validator = jsonschema::options()
                    .with_pattern_options(jsonschema::PatternOptions::regex())
                    .build(&schema_of_strings())
                    .expect("a schema");
                let tree: Value = serde_json::from_str(EVENT).expect("JSON");
                (0..repeats)
                    .filter(|_| {
                        if self == Self::Crate {
                            return validator.is_valid(black_box(&tree));
                        }
                        let tree: Value = serde_json::from_str(black_box(EVENT)).expect("JSON");
                        validator.is_valid(&tree)
                    })
                    .count() as u64
            }
        }
    }
}

fn compiled() -> Schema {
    let options = Options {
        coerce: true,
        assert_formats: true,
    };
    Schema::compile(&schema(), options).expect("a schema")
}

fn written() -> Written {
    let event: Value = serde_json::from_str(EVENT).expect("JSON");
    let mut written = Written::default();
    let members = event.as_object().expect("an object");
    written.write(
        members
            .iter()
            .map(|(name, value)| (name.as_str(), Kind::Text, value.as_str().expect("a text"))),
    );
    written
}

/// Instructions per event, or `None` without valgrind.
fn instructions(name: &str) -> Option<f64> {
    const REPEATS: u64 = 2000;
    let (few, many) = (count(name, REPEATS)?, count(name, REPEATS * 2)?);
    Some((many - few) as f64 / REPEATS as f64)
}

/// Instructions of a run of this binary under valgrind.
fn count(name: &str, repeats: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["run", name, &repeats.to_string()])
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = report.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn report() {
    println!("an event of ten fields, each checked\n");
    for (name, _, text) in VARIANTS {
        match instructions(name) {
            Some(number) => println!("{number:>8.0} instructions  {text}"),
            None => println!("{:>8} instructions  {text} (valgrind is not here)", "?"),
        }
    }
}

/// Runs so many cases.
fn long_run(cases: u64, from: u64) -> ExitCode {
    let (mut work, mut tally) = (Work::default(), Tally::default());
    let mut seed = from;
    let mut wrong = 0;
    while tally.verdicts.iter().sum::<u64>() < cases && wrong < 10 {
        if let Err(difference) = differential::case(seed, EVENTS, &mut work, &mut tally) {
            println!("{difference}\n");
            wrong += 1;
        }
        seed += 1;
        if (seed - from).is_multiple_of(10_000) {
            println!("seed {seed}: {tally:?}");
        }
    }
    println!(
        "{} cases, {} schemas: {} in one pass, {} with fields as trees, {} as trees, {} refused at \
         load; {} valid events, {} not; {wrong} differences",
        tally.verdicts.iter().sum::<u64>(),
        seed - from,
        tally.speeds[0],
        tally.speeds[1],
        tally.speeds[2],
        tally.refused,
        tally.verdicts[0],
        tally.verdicts[1],
    );
    ExitCode::from(u8::from(wrong > 0))
}

/// The number behind an option.
fn option(arguments: &[&str], name: &str) -> Option<u64> {
    let at = arguments.iter().position(|argument| *argument == name)?;
    arguments.get(at + 1)?.parse().ok()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["run", name, repeats] => {
            let variant = VARIANTS.iter().find(|(known, ..)| known == name);
            let (Some((_, variant, _)), Ok(repeats)) = (variant, repeats.parse()) else {
                return ExitCode::FAILURE;
            };
            println!("{}", variant.run(repeats));
            ExitCode::SUCCESS
        }
        ["differential", rest @ ..] => long_run(
            option(rest, "--cases").unwrap_or(1_000_000),
            option(rest, "--from").unwrap_or(0),
        ),
        _ => {
            report();
            ExitCode::SUCCESS
        }
    }
}
