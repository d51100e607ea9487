//! From a document to what is checked of an event.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jsonschema::{Draft, Validator, ValidatorMap};
use serde_json::{Map, Value};

use super::compile::Compiler;
use super::document::{Document, is_note};
use super::kinds::Types;
use super::names::Names;
use super::node::{Node, Tools};
use super::object::{Additional, Known, ObjectRules};
use super::problem::SchemaProblem;
use super::quick::Quick;
use super::shape::{FieldNotes, Shape, UnknownFields};
use super::tell::below;
use crate::event::Kind;

/// Names in `properties` and `required` of one schema.
const MAX_NAMES: usize = 4096;

/// How many schemas have been compiled.
static COMPILED: AtomicUsize = AtomicUsize::new(0);

/// Keywords of an event that are checked in the one pass.
const FAST: [&str; 8] = [
    "additionalProperties",
    "maxProperties",
    "minProperties",
    "patternProperties",
    "properties",
    "propertyNames",
    "required",
    "type",
];

/// Keywords that mean something to an event, and are left to the crate.
const TREE: [&str; 15] = [
    "$ref",
    "allOf",
    "anyOf",
    "const",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "discriminator",
    "enum",
    "if",
    "not",
    "oneOf",
];

/// How an event is checked.
pub(super) enum Program {
    /// All or none is accepted, whatever the fields: none with these types, or none at all.
    Always,
    /// None is.
    Never(Types),
    /// In one pass.
    Fast(Box<ObjectRules>),
    /// By the crate on a tree.
    Tree(Box<Validator>),
}

/// A compiled document.
pub(super) struct Compiled {
    pub program: Program,
    pub shape: Shape,
    /// The crate's validators, by pointer, when a field needs one.
    pub trees: Option<ValidatorMap>,
    /// Why the crate checks the whole event.
    pub reasons: Vec<String>,
    /// The fields that the crate checks.
    pub by_tree: Vec<String>,
}

/// Compiles a document.
pub(super) fn compile(document: &Document<'_>) -> Result<Compiled, Vec<SchemaProblem>> {
    let mut compiler = Compiler::new(document);
    let (root, pointer) = document.follow(document.root, String::new());
    let Some(members) = root.as_object() else {
        document.validator().map_err(|problem| vec![problem])?;
        return Ok(Compiled {
            program: if root.as_bool() == Some(true) {
                Program::Always
            } else {
                Program::Never(Types::NONE)
            },
            shape: empty_shape(),
            trees: None,
            reasons: Vec::new(),
            by_tree: Vec::new(),
        });
    };
    let mut event = Event::new(members, &pointer, &mut compiler)?;
    let reasons = event.reasons(document, &pointer);
    let rules = event.rules(&mut compiler, reasons.is_empty());
    let by_tree = event.by_tree(&rules);
    let shape = event.into_shape();
    if !compiler.problems.is_empty() {
        return Err(compiler.problems);
    }
    // Whoever decides, the crate must be able to read the document.
    let whole = document.validator().map_err(|problem| vec![problem])?;
    let mut trees = None;
    if !by_tree.is_empty() && reasons.is_empty() {
        let map = document.crate_options().build_map(document.root);
        trees = Some(map.map_err(|error| {
            vec![SchemaProblem::new(
                error.schema_path().as_str(),
                error.to_string(),
                "",
            )]
        })?);
    }
    let types = members.get("type").map(Types::of_keyword);
    let program = match types {
        _ if !reasons.is_empty() => Program::Tree(Box::new(whole)),
        Some(types) if !types.has(Types::OBJECT) => Program::Never(types),
        _ => Program::Fast(Box::new(settled(rules, &shape, trees.as_ref()))),
    };
    Ok(Compiled {
        program,
        shape,
        trees,
        reasons,
        by_tree,
    })
}

/// Asks once and for all whether known names may be names.
fn settled(mut rules: ObjectRules, shape: &Shape, trees: Option<&ValidatorMap>) -> ObjectRules {
    if let Some(names) = &rules.property_names {
        let mut text = Value::Null;
        let mut tools = Tools {
            trees,
            text: &mut text,
        };
        for (known, name) in rules.known.iter_mut().zip(shape.names.iter()) {
            known.bad_name = !names.accepts(Kind::Text, name, &mut tools);
        }
    }
    for (known, notes) in rules.known.iter_mut().zip(&shape.notes) {
        known.quick = Quick::new(known, notes.coerce);
    }
    rules
}

fn empty_shape() -> Shape {
    Shape {
        names: Names::new(Vec::new()),
        notes: Vec::new(),
        patterns: Vec::new(),
        other: Types::NONE,
        unknown: UnknownFields::Allowed,
        coerces: false,
    }
}

/// The members of the schema of an event, sorted out.
struct Event<'a> {
    members: &'a Map<String, Value>,
    pointer: String,
    names: Vec<&'a str>,
    schemas: Vec<Option<&'a Value>>,
    required: HashSet<&'a str>,
    shape: Shape,
}

impl<'a> Event<'a> {
    fn new(
        members: &'a Map<String, Value>,
        pointer: &str,
        compiler: &mut Compiler<'a>,
    ) -> Result<Self, Vec<SchemaProblem>> {
        let object = |key: &str| members.get(key).and_then(Value::as_object);
        let (mut names, mut schemas) = (Vec::new(), Vec::new());
        for (name, schema) in object("properties").into_iter().flatten() {
            names.push(name.as_str());
            schemas.push(Some(schema));
        }
        let mut known: HashSet<&str> = names.iter().copied().collect();
        let required: HashSet<&str> = members
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut bare: Vec<&str> = required
            .iter()
            .copied()
            .filter(|name| known.insert(name))
            .collect();
        bare.sort_unstable();
        schemas.extend(bare.iter().map(|_| None));
        names.extend(bare);
        if names.len() > MAX_NAMES {
            return Err(vec![SchemaProblem::new(
                below(pointer, b"properties"),
                format!("a schema may name {MAX_NAMES} fields"),
                "split it by event type",
            )]);
        }
        let mut patterns = Vec::new();
        for (source, schema) in object("patternProperties").into_iter().flatten() {
            let at = below(&below(pointer, b"patternProperties"), source.as_bytes());
            if let Some(pattern) = compiler.pattern(source, &at) {
                patterns.push((pattern, compiler.coercion(schema)));
            }
        }
        let extra = members.get("additionalProperties");
        let shape = Shape {
            names: Names::new(names.iter().map(|name| name.as_bytes().into()).collect()),
            notes: Vec::new(),
            patterns,
            other: extra.map_or(Types::NONE, |schema| compiler.coercion(schema)),
            unknown: match extra {
                Some(Value::Bool(false)) => UnknownFields::Refused,
                _ => UnknownFields::Allowed,
            },
            coerces: true,
        };
        let mut event = Self {
            members,
            pointer: pointer.to_owned(),
            names,
            schemas,
            required,
            shape,
        };
        event.take_notes(compiler);
        Ok(event)
    }

    fn take_notes(&mut self, compiler: &mut Compiler<'a>) {
        let mut all = Vec::with_capacity(self.names.len());
        for (name, schema) in self.names.iter().zip(&self.schemas) {
            let mut notes = FieldNotes {
                required: self.required.contains(name),
                ..FieldNotes::default()
            };
            if let Some(schema) = *schema {
                for (key, value) in compiler.notes(schema) {
                    match key {
                        "default" => notes.default = Some(value.clone()),
                        "maxLength" => notes.max_length = value.as_u64(),
                        key if key.starts_with("x-") => {
                            notes.extensions.insert(key.to_owned(), value.clone());
                        }
                        _ => {}
                    }
                }
                notes.coerce = compiler.coercion(schema);
                if notes
                    .extensions
                    .get(super::COERCE)
                    .is_some_and(|v| !v.is_boolean())
                {
                    compiler.problems.push(SchemaProblem::new(
                        below(&below(&self.pointer, b"properties"), name.as_bytes()),
                        format!("{} is true or false", super::COERCE),
                        "",
                    ));
                }
            }
            if notes.coerce.is_empty() {
                notes.coerce = match (schema, self.shape.coercion_of_unknown(name.as_bytes())) {
                    (None, types) => types,
                    // Its own schema goes first, then those of patterns, but not the one for others.
                    (Some(_), types) if self.matched(name) => types,
                    (Some(_), _) => Types::NONE,
                };
            }
            all.push(notes);
        }
        self.shape.coerces = !self.shape.other.is_empty()
            || self
                .shape
                .patterns
                .iter()
                .any(|(_, types)| !types.is_empty())
            || all.iter().any(|notes| !notes.coerce.is_empty());
        self.shape.notes = all;
    }

    fn matched(&self, name: &str) -> bool {
        self.shape
            .patterns
            .iter()
            .any(|(pattern, _)| pattern.matches(name.as_bytes()))
    }

    /// Which keywords make the crate check the whole event, by pointer.
    fn reasons(&self, document: &Document<'_>, pointer: &str) -> Vec<String> {
        let mut reasons = document.scopes();
        for (key, value) in self.members {
            let sized = matches!(key.as_str(), "minProperties" | "maxProperties");
            let left = TREE.contains(&key.as_str())
                || key == "unevaluatedProperties"
                || sized && value.as_u64().is_none();
            if left && !FAST.contains(&key.as_str()) && !is_note(key)
                || sized && value.as_u64().is_none()
            {
                reasons.push(below(pointer, key.as_bytes()));
            }
        }
        if document.draft == Draft::Draft7 && self.members.contains_key("$ref") {
            reasons.push(below(pointer, b"$ref"));
        }
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// The rules of the one pass. When it is not `wanted`, only what is wrong with the schema.
    fn rules(&mut self, compiler: &mut Compiler<'a>, wanted: bool) -> ObjectRules {
        let at = |key: &str| below(&self.pointer, key.as_bytes());
        let limit = |key: &str| self.members.get(key).and_then(Value::as_u64);
        let mut rules = ObjectRules {
            number: COMPILED.fetch_add(1, Ordering::Relaxed),
            known: Vec::new(),
            required: vec![0; self.names.len().div_ceil(64)],
            required_count: self.required.len(),
            patterns: Vec::new(),
            additional: Additional::Any,
            property_names: None,
            min: limit("minProperties").unwrap_or(0),
            max: limit("maxProperties").unwrap_or(u64::MAX),
        };
        if !wanted {
            return rules;
        }
        let sources = self
            .members
            .get("patternProperties")
            .and_then(Value::as_object);
        for (source, schema) in sources.into_iter().flatten() {
            let at = below(&at("patternProperties"), source.as_bytes());
            rules.patterns.push(compiler.node(schema, &at));
        }
        match self.members.get("additionalProperties") {
            None | Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => rules.additional = Additional::None,
            Some(schema) => {
                let node = compiler.node(schema, &at("additionalProperties"));
                rules.additional = Additional::Node(node);
            }
        }
        rules.property_names = self
            .members
            .get("propertyNames")
            .map(|schema| compiler.node(schema, &at("propertyNames")));
        for (index, (name, schema)) in self.names.iter().zip(&self.schemas).enumerate() {
            if self.required.contains(name)
                && let Some(word) = rules.required.get_mut(index / 64)
            {
                *word |= 1 << (index % 64);
            }
            let own = schema
                .map(|schema| compiler.node(schema, &below(&at("properties"), name.as_bytes())));
            let mut nodes: Vec<Arc<Node>> = own.into_iter().collect();
            for ((pattern, _), node) in self.shape.patterns.iter().zip(&rules.patterns) {
                if pattern.matches(name.as_bytes()) {
                    nodes.push(node.clone());
                }
            }
            let bare = nodes.is_empty();
            if let Additional::Node(node) = &rules.additional
                && bare
            {
                nodes.push(node.clone());
            }
            let mut nodes = nodes.into_iter();
            rules.known.push(Known {
                first: nodes.next(),
                more: nodes.collect(),
                required: self.required.contains(name),
                unwelcome: bare && matches!(rules.additional, Additional::None),
                bad_name: false,
                quick: Quick::default(),
                pointer: below("", name.as_bytes()),
            });
        }
        rules
    }

    /// The fields for which the crate may be asked.
    fn by_tree(&self, rules: &ObjectRules) -> Vec<String> {
        let mut fields = Vec::new();
        for (known, name) in rules.known.iter().zip(&self.names) {
            let mut nodes = known.first.iter().chain(&known.more);
            if nodes.any(|node| node.reaches_tree()) {
                fields.push((*name).to_owned());
            }
        }
        let sources = self
            .members
            .get("patternProperties")
            .and_then(Value::as_object);
        for (node, source) in rules.patterns.iter().zip(sources.into_iter().flatten()) {
            if node.reaches_tree() {
                fields.push(format!("pattern {}", source.0));
            }
        }
        if let Additional::Node(node) = &rules.additional
            && node.reaches_tree()
        {
            fields.push("additionalProperties".to_owned());
        }
        if rules
            .property_names
            .as_ref()
            .is_some_and(|node| node.reaches_tree())
        {
            fields.push("propertyNames".to_owned());
        }
        fields
    }

    fn into_shape(self) -> Shape {
        self.shape
    }
}
