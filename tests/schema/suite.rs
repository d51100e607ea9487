//! The public JSON Schema Test Suite, vendored under `tests/data/json-schema-test-suite`.
//!
//! Each case is checked as the value of a field `v`, where the schema does not speak of itself, and
//! as a whole event when it is an object. docs/schema.md has the table that this makes;
//! `TOLLGATE_WRITE=1 cargo test --test schema` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tollgate::event::Kind;
use tollgate::gate::schema::{Detail, Options, Schema, Speed, Verdict, Work};

use super::differential::Written;

/// Groups that are refused at load, and why.
const REFUSED: &[(&str, &str)] = &[
    // They refer to other documents.
    (
        DYNAMIC,
        "strict-tree schema, guards against misspelled properties",
    ),
    (
        DYNAMIC,
        "tests for implementation dynamic anchor and reference link",
    ),
    (
        DYNAMIC,
        "$ref and $dynamicAnchor are independent of order - $defs first",
    ),
    (
        DYNAMIC,
        "$ref and $dynamicAnchor are independent of order - $ref first",
    ),
    (DYNAMIC, "$ref to $dynamicRef finds detached $dynamicAnchor"),
];
const DYNAMIC: &str = "draft2020-12/dynamicRef.json";

/// Where the table of docs/schema.md begins and ends.
const MARKS: (&str, &str) = ("<!-- suite -->\n", "<!-- end of suite -->");

/// What a file of the suite came to.
#[derive(Default)]
struct Row {
    fields: usize,
    events: usize,
    refused: usize,
    speeds: [usize; 3],
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/json-schema-test-suite")
}

fn kind(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::Text,
        Value::Array(_) => Kind::Array,
        Value::Object(_) => Kind::Object,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Checks the members of an object as an event.
fn accepts(schema: &Schema, event: &Value) -> bool {
    let fields: Vec<(&str, Kind, String)> = event
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), kind(value), text(value)))
        .collect();
    let mut written = Written::default();
    written.write(
        fields
            .iter()
            .map(|(name, kind, text)| (*name, *kind, text.as_str())),
    );
    let (mut work, mut out) = (Work::default(), Vec::new());
    let quick = schema.check(written.fields(), &mut work, Detail::First, &mut out);
    let told = schema.check(written.fields(), &mut work, Detail::Told, &mut out);
    assert_eq!(quick == Verdict::Valid, told == Verdict::Valid);
    assert_eq!(quick == Verdict::Valid, out.is_empty());
    quick == Verdict::Valid
}

/// Whether a schema means the same below a property.
fn may_move(schema: &Value) -> bool {
    let text = schema.to_string();
    ![
        "\"$ref\"",
        "\"$id\"",
        "\"$anchor\"",
        "\"$dynamic",
        "\"$schema\":\"http://localhost",
    ]
    .iter()
    .any(|keyword| text.contains(keyword))
}

/// Runs the groups of one file; what is wrong goes to `wrong`.
fn run(path: &Path, dialect: &str, formats: bool, wrong: &mut Vec<String>) -> Row {
    let name = path.strip_prefix(folder()).unwrap().display().to_string();
    let groups: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let options = Options {
        coerce: false,
        assert_formats: formats,
    };
    let mut row = Row::default();
    for group in &groups {
        let about = group["description"].as_str().unwrap();
        let mut direct = group["schema"].clone();
        let wrapped = json!({ "$schema": dialect, "properties": { "v": direct } });
        if let Some(members) = direct.as_object_mut() {
            members.entry("$schema").or_insert_with(|| json!(dialect));
        }
        let direct = match Schema::compile(&direct, options) {
            Ok(schema) => schema,
            Err(problems) => {
                row.refused += 1;
                if !REFUSED.contains(&(name.as_str(), about)) {
                    wrong.push(format!("{name}: {about}: refused: {problems:?}"));
                }
                continue;
            }
        };
        let wrapped = may_move(&group["schema"]).then(|| {
            let schema = Schema::compile(&wrapped, options).unwrap();
            row.speeds[match schema.speed() {
                Speed::Fast => 0,
                Speed::FieldsByTree(_) => 1,
                Speed::Tree(_) => 2,
            }] += 1;
            schema
        });
        for case in group["tests"].as_array().unwrap() {
            let data = &case["data"];
            let valid = case["valid"].as_bool().unwrap();
            let what = format!("{about}: {}", case["description"].as_str().unwrap());
            let mut differs = |how: &str| {
                wrong.push(format!("{name}: {what}: as {how}, expected {valid}"));
            };
            if let Some(schema) = &wrapped {
                row.fields += 1;
                if accepts(schema, &json!({ "v": data })) != valid {
                    differs("a field");
                }
            }
            if data.is_object() {
                row.events += 1;
                if accepts(&direct, data) != valid {
                    differs("an event");
                }
            }
        }
    }
    row
}

#[test]
fn the_public_suite_passes_and_its_table_is_published() {
    let mut wrong = Vec::new();
    let mut rows: BTreeMap<String, [Row; 2]> = BTreeMap::new();
    let dialects = [
        (
            "draft2020-12",
            "https://json-schema.org/draft/2020-12/schema",
        ),
        ("draft7", "http://json-schema.org/draft-07/schema#"),
    ];
    for (index, (draft, dialect)) in dialects.into_iter().enumerate() {
        for (below, formats) in [("", false), ("format", true)] {
            let entries = fs::read_dir(folder().join(draft).join(below)).unwrap();
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.extension().is_none_or(|extension| extension != "json") {
                    continue;
                }
                let stem = path.file_stem().unwrap().to_str().unwrap();
                let name = if formats {
                    format!("format: {stem}")
                } else {
                    stem.to_owned()
                };
                let row = run(&path, dialect, formats, &mut wrong);
                rows.entry(name).or_default()[index] = row;
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let total: usize = rows
        .values()
        .flatten()
        .map(|row| row.fields + row.events)
        .sum();
    assert!(total > 2000, "only {total} cases ran");
    publish(&rows);
}

/// Holds the table against docs/schema.md, or writes it there.
fn publish(rows: &BTreeMap<String, [Row; 2]>) {
    let mut table = String::from(
        "| tests of | 2020-12: cases | draft-07: cases | groups in one pass | with trees for some \
         values | on trees | refused |\n|---|---|---|---|---|---|---|\n",
    );
    for (name, [new, old]) in rows {
        let cases = |row: &Row| row.fields + row.events;
        let speed = |at: usize| new.speeds[at] + old.speeds[at];
        writeln!(
            table,
            "| {name} | {} | {} | {} | {} | {} | {} |",
            cases(new),
            cases(old),
            speed(0),
            speed(1),
            speed(2),
            new.refused + old.refused,
        )
        .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(MARKS.0).unwrap();
    let (published, after) = rest.split_once(MARKS.1).unwrap();
    if published == table {
        return;
    }
    assert!(
        std::env::var_os("TOLLGATE_WRITE").is_some(),
        "docs/schema.md is stale; TOLLGATE_WRITE=1 cargo test --test schema"
    );
    let fresh = format!("{before}{}{table}{}{after}", MARKS.0, MARKS.1);
    fs::write(&path, fresh).unwrap();
}
