//! One random case, checked in three ways: in the one pass, by the crate on a tree inside of us, and
//! by the plain crate on the JSON that the event stands for.

use serde_json::{Map, Value, json};
use tollgate::event::{FieldPlaces, Kind, Violation};
use tollgate::foundation::wire;
use tollgate::gate::schema::{Detail, Options, Schema, Speed, Verdict, Work};

use crate::random::{self, Random, Sort};

/// How many cases of which sort there were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Schemas that are checked in the one pass, by fields, and as trees.
    pub speeds: [u64; 3],
    /// Schemas that were refused at load.
    pub refused: u64,
    /// Events that are valid, and that are not.
    pub verdicts: [u64; 2],
}

/// An event in its wire form.
#[derive(Default)]
pub struct Written {
    logs: Vec<u8>,
    places: FieldPlaces,
}

impl Written {
    /// Writes the fields of an event.
    pub fn write<'a>(&mut self, fields: impl Iterator<Item = (&'a str, Kind, &'a str)>) {
        self.logs.clear();
        let fields: Vec<(&str, Kind, &str)> = fields.collect();
        let mut names: Vec<&str> = fields.iter().map(|field| field.0).collect();
        names.sort_unstable();
        // As the reader of JSON does, which takes no name twice, and that of protobuf, which does.
        if names.array_windows().any(|[one, other]| one == other) {
            self.places.clear();
        } else {
            self.places.clear_for_distinct();
        }
        for (name, kind, value) in fields {
            let mut content = Vec::new();
            wire::put_bytes(&mut content, 0x0a, name.as_bytes());
            wire::put_bytes(&mut content, 0x12, value.as_bytes());
            wire::put_bytes(&mut self.logs, 0x12, &content);
            self.places.push(&self.logs, name.len(), value.len(), kind);
        }
    }

    /// The fields.
    pub fn fields(&self) -> tollgate::event::EventFields<'_> {
        self.places.of(&self.logs)
    }
}

fn kind(sort: Sort, value: &str) -> Kind {
    match sort {
        Sort::Text => Kind::Text,
        _ => Kind::of_first_byte(value.as_bytes()[0]),
    }
}

/// The JSON that a field stands for, with numbers as large as a double can be.
fn plain(sort: Sort, value: &str) -> Value {
    match sort {
        Sort::Text => json!(value),
        _ => serde_json::from_str(value).unwrap_or_else(|_| {
            let bounded = value
                .replace("-1e400", "-1.7976931348623157e308")
                .replace(":1e400", ":1.7976931348623157e308")
                .replace("[1e400", "[1.7976931348623157e308");
            let bounded = if bounded == "1e400" {
                "1.7976931348623157e308".to_owned()
            } else {
                bounded
            };
            serde_json::from_str(&bounded).expect("JSON")
        }),
    }
}

/// Pointer and keyword of what was told, sorted.
fn reasons(told: &[Violation]) -> Vec<(String, String)> {
    let mut reasons: Vec<(String, String)> = told
        .iter()
        .map(|why| (why.pointer.clone(), why.keyword.clone().into_owned()))
        .collect();
    reasons.sort();
    reasons.dedup();
    reasons
}

/// The crate's own validator of a document.
fn crate_validator(
    document: &Value,
    options: Options,
) -> Result<jsonschema::Validator, jsonschema::ValidationError<'static>> {
    jsonschema::options()
        .with_draft(if document.get("$schema").is_some() {
            jsonschema::Draft::Draft7
        } else {
            jsonschema::Draft::Draft202012
        })
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .should_validate_formats(options.assert_formats)
        .build(document)
}

/// Checks the case of a seed: one schema and some events.
///
/// # Errors
/// What differs.
pub fn case(seed: u64, events: usize, work: &mut Work, tally: &mut Tally) -> Result<(), String> {
    let mut random = Random::new(seed);
    let document = random::event_schema(&mut random);
    let options = Options {
        coerce: random.one_in(2),
        assert_formats: !random.one_in(4),
    };
    let mut forced = document.clone();
    forced["allOf"] = json!([true]);
    let (fast, tree) = (
        Schema::compile(&document, options),
        Schema::compile(&forced, options),
    );
    let (fast, tree) = match (fast, tree) {
        (Ok(fast), Ok(tree)) => (fast, tree),
        (Err(_), Err(_)) => {
            tally.refused += 1;
            return Ok(());
        }
        (fast, tree) => {
            return Err(format!(
                "seed {seed}: only one compiles: {fast:?} {tree:?}\n{document}"
            ));
        }
    };
    tally.speeds[match fast.speed() {
        Speed::Fast => 0,
        Speed::FieldsByTree(_) => 1,
        Speed::Tree(_) => 2,
    }] += 1;
    let coerces = options.coerce || document.to_string().contains("x-tollgate-coerce\":true");
    let crate_itself = if coerces {
        None
    } else {
        let built = crate_validator(&document, options);
        Some(built.map_err(|error| format!("seed {seed}: {error}"))?)
    };
    let mut written = Written::default();
    for _ in 0..events {
        let fields = random::event(&mut random);
        written.write(
            fields
                .iter()
                .map(|(name, sort, value)| (*name, kind(*sort, value), *value)),
        );
        let event = written.fields();
        let (mut one, mut other) = (Vec::new(), Vec::new());
        let quick = fast.check(event, work, Detail::First, &mut one) == Verdict::Valid;
        let told = fast.check(event, work, Detail::Told, &mut one);
        let by_tree = tree.check(event, work, Detail::Told, &mut other);
        tally.verdicts[usize::from(!quick)] += 1;
        let differs = |what: &str| {
            Err(format!(
                "seed {seed}: {what}\nschema {document}\noptions {options:?}\nevent {fields:?}\n\
                 one pass {quick} {told:?} {one:#?}\ntree {by_tree:?} {other:#?}"
            ))
        };
        if quick != (told == Verdict::Valid) {
            return differs("quick and told differ");
        }
        if quick != (by_tree == Verdict::Valid) {
            return differs("one pass and tree differ");
        }
        let hides = |verdict| !matches!(verdict, Verdict::Valid | Verdict::Invalid { hidden: 0 });
        if !hides(told) && !hides(by_tree) && reasons(&one) != reasons(&other) {
            return differs("reasons differ");
        }
        if quick != one.is_empty() {
            return differs("verdict without reason");
        }
        if let Some(validator) = &crate_itself {
            let members: Map<String, Value> = fields
                .iter()
                .map(|(name, sort, value)| ((*name).to_owned(), plain(*sort, value)))
                .collect();
            if validator.is_valid(&Value::Object(members)) != quick {
                return differs("the crate itself differs");
            }
        }
    }
    Ok(())
}
