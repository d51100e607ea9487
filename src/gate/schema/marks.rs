//! Fields that a schema marks as personal: where `x-tollgate-mask` stands, and which field of the event
//! each means.
//!
//! Promise: a mark names a field of the event, or stands inside one that is hidden whole, or the schema is
//! refused. None is passed over.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Map, Value};

use super::document::Document;
use super::problem::SchemaProblem;
use super::tell::below;
use crate::foundation::names::is_label;

/// The keyword that marks a field as personal.
pub const MASK: &str = "x-tollgate-mask";

/// Places that are looked at on the way to the marks of one schema.
const MAX_VISITS: usize = 1 << 20;
/// Problems that are told.
const MAX_PROBLEMS: usize = 64;

/// Keywords with schemas that speak of the same value.
const SAME_VALUE: [&str; 6] = ["allOf", "anyOf", "else", "if", "oneOf", "then"];
/// The same, with one schema for each name.
const SAME_VALUE_BY_NAME: [&str; 2] = ["dependencies", "dependentSchemas"];
/// Keywords with members that are named by the author.
const BY_NAME: [&str; 7] = [
    "$defs",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "properties",
];
/// Keywords whose values are no schemas.
const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
/// Words that hide all of a field, and so what is inside it.
const WHOLE: [&str; 3] = ["hash", "mask", "remove"];
/// The client's address, which a logstore may write as a field of the event.
pub const CLIENT_ADDRESS: &str = "__tag__:__client_ip__";
/// Keywords with schemas that are only reached by a reference.
const STORE: [&str; 2] = ["$defs", "definitions"];

/// A field that a schema marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its name.
    pub field: String,
    /// What the mark says.
    pub word: Value,
    /// Where the mark stands: a JSON Pointer into the schema.
    pub pointer: String,
}

/// What a schema speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Of<'a> {
    /// The event.
    Event,
    /// A field of it.
    Field(&'a str),
    /// A label: topic, source or a tag, which belong to all events of a request.
    Label,
    /// A part of the value of a field.
    Inside(&'a str),
    /// Fields that it does not name.
    Unnamed,
    /// None of these.
    Other,
}

impl Of<'_> {
    /// Why a mark there hides nothing, and what to do.
    fn problem(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Field(_) => None,
            Self::Label => Some((
                "x-tollgate-mask marks a topic, source or tag, which is no field of the event",
                "add a transform `mask`, `hash` or `remove` that names it",
            )),
            Self::Inside(_) => Some((
                "x-tollgate-mask marks a part of a field, and masks are for fields of the event",
                "mark the field that holds it, or take that apart with `parse_json` and add a step `mask`",
            )),
            Self::Unnamed => Some((
                "x-tollgate-mask marks fields that have no name here",
                "name the fields under `properties`, or add a step `mask` with a pattern of names",
            )),
            Self::Event | Self::Other => Some((
                "x-tollgate-mask marks no field of the event",
                "move it to the field's schema under `properties`",
            )),
        }
    }
}

/// The marks of a document.
///
/// # Errors
/// Marks that name no field of the event, and references that could lead to some.
pub(super) fn marks(document: &Document<'_>) -> Result<Vec<Mark>, Vec<SchemaProblem>> {
    let mut standing = BTreeSet::new();
    let mut scopes = Vec::new();
    let mut found = |key: &str, value: &Value, at: String| match key {
        MASK => {
            standing.insert(at);
        }
        // What changes the meaning of references could lead past this walk.
        "$id" if at == "/$id" => {}
        "$id" | "$dynamicRef" | "$recursiveRef" if value.is_string() => scopes.push(at),
        _ => {}
    };
    collect(document.root, String::new(), false, &mut found);
    if standing.is_empty() {
        return Ok(Vec::new());
    }
    let mut walk = Walk {
        document,
        seen: HashSet::new(),
        reached: HashSet::new(),
        marks: Vec::new(),
        inside: Vec::new(),
        problems: Vec::new(),
    };
    for pointer in scopes {
        walk.unfollowed(pointer);
    }
    walk.run();
    for (field, pointer) in std::mem::take(&mut walk.inside) {
        let is_whole = |mark: &Mark| mark.word.as_str().is_some_and(|it| WHOLE.contains(&it));
        if !walk
            .marks
            .iter()
            .any(|it| it.field == field && is_whole(it))
        {
            walk.problems.extend(refused(pointer, Of::Inside(field)));
        }
    }
    let lost: Vec<&String> = standing
        .iter()
        .filter(|it| !walk.reached.contains(*it))
        .collect();
    for pointer in lost {
        walk.problems.extend(refused(pointer.clone(), Of::Other));
    }
    if walk.problems.is_empty() {
        return Ok(walk.marks);
    }
    let mut problems = walk.problems;
    problems.sort_by(|one, other| one.pointer.cmp(&other.pointer));
    problems.dedup_by(|one, other| one.pointer == other.pointer);
    problems.truncate(MAX_PROBLEMS);
    Err(problems)
}

fn refused(pointer: String, of: Of<'_>) -> Option<SchemaProblem> {
    let (message, hint) = of.problem()?;
    Some(SchemaProblem::new(pointer, message, hint))
}

/// Shows the keywords of all schemas, and not what is data. `by_name`: the members are named by the
/// author.
fn collect(
    value: &Value,
    pointer: String,
    by_name: bool,
    found: &mut dyn FnMut(&str, &Value, String),
) {
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                let at = below(&pointer, key.as_bytes());
                let key = key.as_str();
                if by_name {
                    collect(inner, at, false, found);
                    continue;
                }
                found(key, inner, at.clone());
                if key != MASK && !DATA.contains(&key) {
                    collect(inner, at, BY_NAME.contains(&key), found);
                }
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                collect(inner, format!("{pointer}/{index}"), false, found);
            }
        }
        _ => {}
    }
}

/// From the schema of an event to all that it speaks of.
struct Walk<'a> {
    document: &'a Document<'a>,
    seen: HashSet<(Of<'a>, String)>,
    /// Where the marks stand that were met.
    reached: HashSet<String>,
    marks: Vec<Mark>,
    /// Marks of parts of a field: which, and where they stand.
    inside: Vec<(&'a str, String)>,
    problems: Vec<SchemaProblem>,
}

impl<'a> Walk<'a> {
    fn run(&mut self) {
        let mut open: Vec<(Of<'a>, &'a Value, String)> =
            vec![(Of::Event, self.document.root, String::new())];
        while let Some((of, schema, pointer)) = open.pop() {
            let Some(members) = schema.as_object() else {
                continue;
            };
            if !self.seen.insert((of, pointer.clone())) {
                continue;
            }
            if self.seen.len() > MAX_VISITS {
                self.problems.push(SchemaProblem::new(
                    "",
                    format!(
                        "there are more than {MAX_VISITS} ways to the fields that may be marked"
                    ),
                    "split it by event type",
                ));
                return;
            }
            self.mark(of, members, &pointer);
            self.refer(of, members, &pointer, &mut open);
            for (key, value) in members {
                step(of, key, value, below(&pointer, key.as_bytes()), &mut open);
            }
        }
    }

    fn mark(&mut self, of: Of<'a>, members: &Map<String, Value>, pointer: &str) {
        let Some(word) = members.get(MASK) else {
            return;
        };
        let pointer = below(pointer, MASK.as_bytes());
        self.reached.insert(pointer.clone());
        match of {
            Of::Field(field) => self.marks.push(Mark {
                field: field.to_owned(),
                word: word.clone(),
                pointer,
            }),
            Of::Inside(field) => self.inside.push((field, pointer)),
            _ => self.problems.extend(refused(pointer, of)),
        }
    }

    fn refer(
        &mut self,
        of: Of<'a>,
        members: &'a Map<String, Value>,
        pointer: &str,
        open: &mut Vec<(Of<'a>, &'a Value, String)>,
    ) {
        let Some(reference) = members.get("$ref").and_then(Value::as_str) else {
            return;
        };
        match self.document.resolve(reference) {
            Some((at, target)) => open.push((of, target, at)),
            None => self.unfollowed(below(pointer, b"$ref")),
        }
    }

    fn unfollowed(&mut self, pointer: String) {
        self.problems.push(SchemaProblem::new(
            pointer,
            "it may lead to an x-tollgate-mask, and only references like #/$defs/name are followed to one",
            "refer by a JSON Pointer from the root of the schema",
        ));
    }
}

/// What one keyword of a schema leads to.
fn step<'a>(
    of: Of<'a>,
    key: &str,
    value: &'a Value,
    at: String,
    open: &mut Vec<(Of<'a>, &'a Value, String)>,
) {
    if DATA.contains(&key) || STORE.contains(&key) || key == MASK {
        return;
    }
    let within = match of {
        Of::Event => Of::Other,
        Of::Field(field) | Of::Inside(field) => Of::Inside(field),
        Of::Unnamed => Of::Unnamed,
        Of::Label | Of::Other => Of::Other,
    };
    let inner = match (of, key) {
        _ if SAME_VALUE.contains(&key) || SAME_VALUE_BY_NAME.contains(&key) => of,
        (Of::Event, "additionalProperties" | "patternProperties" | "unevaluatedProperties") => {
            Of::Unnamed
        }
        _ => within,
    };
    match value {
        Value::Object(members) if BY_NAME.contains(&key) => {
            for (name, schema) in members {
                let inner = match (of, key) {
                    (Of::Event, "properties")
                        if is_label(name.as_bytes()) && name != CLIENT_ADDRESS =>
                    {
                        Of::Label
                    }
                    (Of::Event, "properties") => Of::Field(name),
                    _ => inner,
                };
                open.push((inner, schema, below(&at, name.as_bytes())));
            }
        }
        Value::Object(_) => open.push((inner, value, at)),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            open.extend(items.map(|(index, item)| (inner, item, format!("{at}/{index}"))));
        }
        _ => {}
    }
}
