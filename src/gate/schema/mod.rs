//! Schemas of events: JSON Schema (2020-12 and draft-07), compiled at load to a program that checks
//! one flat event in one pass over its fields.
//!
//! What the program does not know is left to the `jsonschema` crate on a tree of values: a field
//! alone where that is enough, else the whole event. The verdicts are the same.

mod compile;
mod diff;
mod document;
mod format;
mod infer;
mod kinds;
mod marks;
mod names;
mod node;
mod number;
mod object;
mod pattern;
mod problem;
mod quick;
mod root;
mod set;
mod shape;
mod tell;
mod wording;

use jsonschema::Validator;
use serde_json::{Map, Value};

pub use self::diff::{Change, Changes, MAX_CHANGES, changes};
use self::document::Document;
pub use self::infer::{InferOptions, Inference, Proposal};
pub use self::kinds::Types;
pub use self::marks::{CLIENT_ADDRESS, MASK, Mark};
use self::node::{Tools, value_tree};
use self::object::{ObjectRules, Pass, Passed};
pub use self::problem::SchemaProblem;
use self::root::{Compiled, Program};
pub use self::set::{SchemaSet, SetEntry, SetVerdict, UnknownEvent};
pub use self::shape::{Annotations, FieldNotes, UnknownFields};
use self::tell::Teller;
use crate::event::{EventFields, Field, Violation};

/// The keyword that says whether strings of a field are read as the type that is expected.
pub const COERCE: &str = "x-tollgate-coerce";

/// How a schema is read where it says nothing itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether strings are read as the type that is expected, where [`COERCE`] does not say.
    pub coerce: bool,
    /// Whether `format` is checked. Else it is a note for people.
    pub assert_formats: bool,
}

/// How much is to be told of an event that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only that it is not. The check ends at the first reason.
    First,
    /// The reasons, up to [`crate::event::MAX_VIOLATIONS`].
    Told,
}

/// Whether an event is as its schema wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Valid,
    /// It is not.
    Invalid {
        /// Violations that are not told. With [`Detail::First`] 0.
        hidden: u32,
    },
}

/// How a schema is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speed {
    /// In the one pass.
    Fast,
    /// In the one pass, but of these fields some values are checked by the crate on trees.
    FieldsByTree(Vec<String>),
    /// By the crate on a tree of each event, because of the keywords at these pointers.
    Tree(Vec<String>),
}

/// Schemas of whose events the order of the fields is remembered.
const ORDERS: usize = 16;

/// Memory of checks, used again from event to event. What it remembers of events is only tried first,
/// so one may serve any number of schemas.
#[derive(Default)]
pub struct Work {
    seen: Vec<u64>,
    unknown: Vec<u64>,
    text: Value,
    /// By the number of the schema.
    orders: [Vec<u16>; ORDERS],
    /// Where the type of the last event stood, and which it was.
    event: usize,
    of_event: usize,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// One schema of events, compiled.
pub struct Schema {
    compiled: Compiled,
    marks: Vec<Mark>,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schema").finish_non_exhaustive()
    }
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// All that is wrong with it, as far as it could be read.
    pub fn compile(document: &Value, options: Options) -> Result<Self, Vec<SchemaProblem>> {
        if document
            .get(COERCE)
            .is_some_and(|value| !value.is_boolean())
        {
            return Err(vec![SchemaProblem::new(
                format!("/{COERCE}"),
                "it is true or false",
                "",
            )]);
        }
        let document = Document::new(document, options)?;
        let compiled = root::compile(&document)?;
        let marks = marks::marks(&document)?;
        Ok(Self { compiled, marks })
    }

    /// The fields that it marks as personal, each with what the mark says. A field may be there more
    /// than once.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Checks one event. Of fields with one name the last counts, as the store shows it.
    pub fn check(
        &self,
        event: EventFields<'_>,
        work: &mut Work,
        detail: Detail,
        out: &mut Vec<Violation>,
    ) -> Verdict {
        let mut told = Vec::new();
        let mut teller = (detail == Detail::Told).then(|| Teller::new(&mut told));
        let valid = match &self.compiled.program {
            Program::Always => true,
            Program::Never(types) => {
                if let Some(teller) = &mut teller {
                    never(*types, teller);
                }
                false
            }
            Program::Fast(rules) => {
                let valid = self.pass(rules, event, work, teller.as_mut());
                if let Some(teller) = &mut teller
                    && !valid
                    && !teller.found_any()
                {
                    teller.say("", "schema", || "the schema refuses it".to_owned());
                }
                valid
            }
            Program::Tree(validator) => self.by_tree(validator, event, teller.as_mut()),
        };
        let hidden = teller.map_or(0, |teller| teller.hidden);
        if valid {
            return Verdict::Valid;
        }
        out.append(&mut told);
        Verdict::Invalid { hidden }
    }

    /// How it is checked.
    #[must_use]
    pub fn speed(&self) -> Speed {
        let compiled = &self.compiled;
        if !compiled.reasons.is_empty() {
            Speed::Tree(compiled.reasons.clone())
        } else if compiled.by_tree.is_empty() {
            Speed::Fast
        } else {
            Speed::FieldsByTree(compiled.by_tree.clone())
        }
    }

    /// What it says of fields besides what it checks.
    #[must_use]
    pub fn annotations(&self) -> Annotations<'_> {
        Annotations(&self.compiled.shape)
    }

    fn pass(
        &self,
        rules: &ObjectRules,
        event: EventFields<'_>,
        work: &mut Work,
        mut teller: Option<&mut Teller<'_>>,
    ) -> bool {
        let [first, others @ ..] = &mut work.orders;
        let place = (rules.number % ORDERS).checked_sub(1);
        let mut pass = Pass {
            seen: &mut work.seen,
            order: place.and_then(|at| others.get_mut(at)).unwrap_or(first),
            unknown: &mut work.unknown,
            distinct: event.is_distinct(),
        };
        let mut tools = Tools {
            trees: self.compiled.trees.as_ref(),
            text: &mut work.text,
        };
        let shape = &self.compiled.shape;
        let first = rules.check(
            shape,
            event.iter(),
            &mut pass,
            &mut tools,
            teller.as_deref_mut(),
        );
        if let Passed::Done(valid) = first {
            return valid;
        }
        if let Some(teller) = &mut teller {
            teller.forget();
        }
        pass.distinct = true;
        let last = last_of_each(event);
        let second = rules.check(shape, last.iter().copied(), &mut pass, &mut tools, teller);
        matches!(second, Passed::Done(true))
    }

    fn by_tree(
        &self,
        validator: &Validator,
        event: EventFields<'_>,
        teller: Option<&mut Teller<'_>>,
    ) -> bool {
        let mut members = Map::new();
        for field in event.iter() {
            let kind = self.compiled.shape.kind_of(field);
            let name = String::from_utf8_lossy(field.name).into_owned();
            let Some(tree) = value_tree(kind, field.value) else {
                if let Some(teller) = teller {
                    teller.unreadable(&tell::below("", field.name), kind, field.value);
                }
                return false;
            };
            members.insert(name, tree);
        }
        let tree = Value::Object(members);
        let valid = validator.is_valid(&tree);
        if !valid && let Some(teller) = teller {
            teller.by_crate(validator, "", &tree);
        }
        valid
    }
}

/// Of each name the last field, in the order of the event.
fn last_of_each(event: EventFields<'_>) -> Vec<Field<'_>> {
    let fields: Vec<Field<'_>> = event.iter().collect();
    let mut order: Vec<usize> = (0..fields.len()).collect();
    let name = |at: &usize| fields.get(*at).map(|field| field.name);
    order.sort_by(|one, other| name(one).cmp(&name(other)).then(other.cmp(one)));
    order.dedup_by(|one, other| name(one) == name(other));
    order.sort_unstable();
    order
        .into_iter()
        .filter_map(|at| fields.get(at).copied())
        .collect()
}

/// What is told of an event that no fields could make valid.
fn never(types: Types, teller: &mut Teller<'_>) {
    if types.is_empty() {
        teller.say("", "falseSchema", || wording::nothing("object"));
    } else {
        teller.say("", "type", || wording::types(types, "object"));
    }
}
