//! A schema as a document: its dialect, its bounds, and where its references point.

use std::collections::HashSet;
use std::io;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, ValidationOptions, Validator};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::Options;
use super::pattern::{MAX_PROGRAM, MAX_TABLES};
use super::problem::SchemaProblem;

/// Bytes of a schema as compact JSON.
const MAX_BYTES: usize = 1 << 20;
/// How deep its values may be nested.
const MAX_NESTING: usize = 64;
/// Problems that are told.
const MAX_PROBLEMS: usize = 64;
/// Steps from one reference to the next.
const MAX_STEPS: usize = 64;

/// Keywords that change what a reference means. A schema with one of them below its root is left to
/// the crate.
const SCOPES: [&str; 6] = [
    "$id",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];

/// A schema document that keeps the bounds and fits its meta-schema.
pub(super) struct Document<'a> {
    pub root: &'a Value,
    pub draft: Draft,
    pub options: Options,
}

impl<'a> Document<'a> {
    /// Checks the document.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn new(root: &'a Value, options: Options) -> Result<Self, Vec<SchemaProblem>> {
        if size(root) > MAX_BYTES {
            return Err(vec![SchemaProblem::new(
                "",
                format!("it has more than {MAX_BYTES} bytes"),
                "split it by event type",
            )]);
        }
        if depth_exceeds(root, MAX_NESTING) {
            return Err(vec![SchemaProblem::new(
                "",
                format!("it is nested deeper than {MAX_NESTING}"),
                "move inner schemas to $defs",
            )]);
        }
        let draft = dialect(root).map_err(|problem| vec![problem])?;
        let document = Self {
            root,
            draft,
            options,
        };
        let problems = document.meta_problems();
        if problems.is_empty() {
            Ok(document)
        } else {
            Err(problems)
        }
    }

    fn meta_problems(&self) -> Vec<SchemaProblem> {
        let Ok(meta) = jsonschema::meta::validator_for(self.root) else {
            return vec![SchemaProblem::new("", "its dialect is not known", DIALECTS)];
        };
        let mut told = HashSet::new();
        meta.iter_errors(self.root)
            .map(|error| {
                SchemaProblem::new(
                    error.instance_path().as_str(),
                    super::wording::of_crate(error.kind(), error.instance()),
                    "see the reference of keywords in docs/schema.md",
                )
            })
            .filter(|problem| told.insert((problem.pointer.clone(), problem.message.clone())))
            .take(MAX_PROBLEMS)
            .collect()
    }

    /// How the crate is to read this document, or a part of it.
    pub(super) fn crate_options(&self) -> ValidationOptions<'static> {
        jsonschema::options()
            .with_draft(self.draft)
            .offline()
            .with_pattern_options(
                PatternOptions::regex()
                    .size_limit(MAX_PROGRAM)
                    .dfa_size_limit(MAX_TABLES),
            )
            .should_validate_formats(self.options.assert_formats)
    }

    /// The crate's validator of the whole document.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn validator(&self) -> Result<Validator, SchemaProblem> {
        self.crate_options()
            .build(self.root)
            .map_err(|error| build_problem(&error))
    }

    /// What a local reference points to, and where that stands.
    pub(super) fn resolve(&self, reference: &str) -> Option<(String, &'a Value)> {
        let fragment = reference.strip_prefix('#')?;
        let pointer = percent_decode_str(fragment).decode_utf8().ok()?;
        let target = self.root.pointer(&pointer)?;
        Some((pointer.into_owned(), target))
    }

    /// Follows references that stand alone, or that hide what stands beside them, from a schema to
    /// the first that says more.
    pub(super) fn follow(&self, schema: &'a Value, pointer: String) -> (&'a Value, String) {
        let (mut schema, mut pointer) = (schema, pointer);
        for _ in 0..MAX_STEPS {
            let Some(reference) = self.lone_reference(schema) else {
                break;
            };
            let Some((next_pointer, next)) = self.resolve(reference) else {
                break;
            };
            (schema, pointer) = (next, next_pointer);
        }
        (schema, pointer)
    }

    /// The reference of a schema that checks nothing else.
    pub(super) fn lone_reference(&self, schema: &'a Value) -> Option<&'a str> {
        let members = schema.as_object()?;
        let reference = members.get("$ref")?.as_str()?;
        (self.draft == Draft::Draft7 || members.keys().all(|key| key == "$ref" || is_note(key)))
            .then_some(reference)
    }

    /// Where keywords stand that change what references mean.
    pub(super) fn scopes(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_scopes(self.root, "", &mut found);
        found
    }
}

/// Which dialects there are.
const DIALECTS: &str = "use https://json-schema.org/draft/2020-12/schema or \
                        http://json-schema.org/draft-07/schema#";

/// Whether a keyword checks nothing.
pub(super) fn is_note(keyword: &str) -> bool {
    const NOTES: [&str; 12] = [
        "$comment",
        "$defs",
        "$schema",
        "$id",
        "default",
        "definitions",
        "deprecated",
        "description",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    ];
    NOTES.contains(&keyword) || keyword.starts_with("x-")
}

fn dialect(root: &Value) -> Result<Draft, SchemaProblem> {
    let Some(members) = root.as_object() else {
        return if root.is_boolean() {
            Ok(Draft::Draft202012)
        } else {
            Err(SchemaProblem::new(
                "",
                "a schema is an object, true or false",
                "",
            ))
        };
    };
    if members.contains_key("$vocabulary") {
        return Err(SchemaProblem::new(
            "/$vocabulary",
            "vocabularies of one's own are not supported",
            "remove it",
        ));
    }
    let named = match members.get("$schema") {
        None => return Ok(Draft::Draft202012),
        Some(named) => named.as_str().unwrap_or_default(),
    };
    let bare = named.trim_end_matches('#');
    match bare
        .strip_prefix("https://")
        .or_else(|| bare.strip_prefix("http://"))
    {
        Some("json-schema.org/draft/2020-12/schema") => Ok(Draft::Draft202012),
        Some("json-schema.org/draft-07/schema") => Ok(Draft::Draft7),
        _ => Err(SchemaProblem::new(
            "/$schema",
            "the dialect is not supported",
            DIALECTS,
        )),
    }
}

fn build_problem(error: &ValidationError<'_>) -> SchemaProblem {
    let pointer = error.schema_path().as_str().to_owned();
    match error.kind() {
        ValidationErrorKind::Referencing(reason) => SchemaProblem::new(
            pointer,
            format!("a reference cannot be followed: {reason}"),
            "references go to the schema's own $defs; files and addresses are not read",
        ),
        _ => SchemaProblem::new(
            pointer,
            error.to_string(),
            "patterns must be linear: no look-around, no back-references",
        ),
    }
}

fn collect_scopes(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, inner) in members {
                let at = super::tell::below(pointer, key.as_bytes());
                let names = matches!(inner, Value::String(_) | Value::Bool(true));
                let root = key == "$id" && pointer.is_empty();
                if SCOPES.contains(&key.as_str()) && names && !root {
                    found.push(at.clone());
                }
                collect_scopes(inner, &at, found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                collect_scopes(inner, &format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn depth_exceeds(value: &Value, left: usize) -> bool {
    let Some(left) = left.checked_sub(1) else {
        return true;
    };
    match value {
        Value::Object(members) => members.values().any(|inner| depth_exceeds(inner, left)),
        Value::Array(items) => items.iter().any(|inner| depth_exceeds(inner, left)),
        _ => false,
    }
}

/// Counts the bytes of the compact form; stops soon after the bound.
fn size(root: &Value) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            if self.0 > MAX_BYTES {
                return Err(io::Error::other("too long"));
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, root) {
        Ok(()) => counter.0,
        Err(_) => MAX_BYTES + 1,
    }
}
