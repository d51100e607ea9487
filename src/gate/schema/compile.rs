//! From the schema of a value to a [`Node`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jsonschema::Draft;
use serde_json::{Map, Value, json};

use super::document::{Document, is_note};
use super::format::Format;
use super::kinds::Types;
use super::node::{Bound, Choices, FormatCheck, Multiple, Node, NumberRules, Part, TextRules};
use super::number::Num;
use super::pattern::Pattern;
use super::problem::SchemaProblem;
use super::tell::below;

/// Patterns of one schema.
const MAX_PATTERNS: usize = 256;
/// Bytes of the patterns of one schema.
const MAX_PATTERN_BYTES: usize = 64 << 10;
/// Schemas within schemas that one value may have to pass.
const MAX_COST: u32 = 4096;
/// The largest whole number up to which a double holds all.
const EXACT: i128 = 1 << 53;

/// Keywords that say nothing of scalars: of objects and arrays the crate decides.
pub(super) const NESTED: [&str; 20] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "items",
    "maxContains",
    "maxItems",
    "maxProperties",
    "minContains",
    "minItems",
    "minProperties",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// `uniqueItems` and what else says nothing of scalars, but is not in [`NESTED`] for its length.
fn is_nested(keyword: &str) -> bool {
    keyword == "uniqueItems" || NESTED.contains(&keyword)
}

/// Keywords of strings and numbers that the crate checks.
const BY_CRATE: [&str; 4] = [
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "discriminator",
];

/// Compiles the schemas of one document.
pub(super) struct Compiler<'a> {
    pub document: &'a Document<'a>,
    /// Whatever is wrong.
    pub problems: Vec<SchemaProblem>,
    known: HashMap<String, (Arc<Node>, u32)>,
    active: HashSet<String>,
    patterns: usize,
    pattern_bytes: usize,
}

/// What a schema comes to besides its node.
#[derive(Default)]
struct Draught {
    node: Node,
    /// The crate decides of everything.
    whole: bool,
    /// The crate decides of objects and arrays.
    nested: bool,
    cost: u32,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(document: &'a Document<'a>) -> Self {
        Self {
            document,
            problems: Vec::new(),
            known: HashMap::new(),
            active: HashSet::new(),
            patterns: 0,
            pattern_bytes: 0,
        }
    }

    /// The node of a schema that stands at `pointer`.
    pub(super) fn node(&mut self, schema: &'a Value, pointer: &str) -> Arc<Node> {
        self.node_and_cost(schema, pointer).0
    }

    fn node_and_cost(&mut self, schema: &'a Value, pointer: &str) -> (Arc<Node>, u32) {
        let (schema, pointer) = self.document.follow(schema, pointer.to_owned());
        if let Some(known) = self.known.get(&pointer) {
            return known.clone();
        }
        let entered = self.active.insert(pointer.clone());
        let mut draught = Draught {
            cost: 1,
            ..Draught::default()
        };
        match schema {
            Value::Bool(true) => {}
            Value::Bool(false) => draught.node.nothing = true,
            Value::Object(_) if !entered => draught.whole = true,
            Value::Object(members) => self.members(members, &pointer, &mut draught),
            _ => draught.whole = true,
        }
        if draught.cost > MAX_COST {
            self.problems.push(SchemaProblem::new(
                &pointer,
                format!("a value would have to pass more than {MAX_COST} schemas"),
                "combine fewer schemas",
            ));
            draught.cost = 1;
        }
        let Draught {
            mut node,
            whole,
            nested,
            cost,
        } = draught;
        node.settle(whole, nested);
        if node.needs_tree() {
            node.tree = Some(format!("#{pointer}").into());
        }
        let made = (Arc::new(node), cost);
        if entered {
            self.active.remove(&pointer);
            self.known.insert(pointer, made.clone());
        }
        made
    }

    fn members(&mut self, members: &'a Map<String, Value>, pointer: &str, to: &mut Draught) {
        if self.document.draft == Draft::Draft7 && members.contains_key("$ref") {
            // What stands beside it is not looked at, and where it leads was not found.
            to.whole = true;
            return;
        }
        let mut text = TextRules::default();
        let mut number = NumberRules::default();
        for (key, value) in members {
            let at = || below(pointer, key.as_bytes());
            match key.as_str() {
                "type" => to.node.types = Types::of_keyword(value),
                "enum" => match value.as_array() {
                    Some(values) => to.node.choices.push(Choices::new("enum", values)),
                    None => to.whole = true,
                },
                "const" => {
                    let one = std::slice::from_ref(value);
                    to.node.choices.push(Choices::new("const", one));
                }
                "minLength" => match value.as_u64() {
                    Some(min) => text.min = Some(min),
                    None => to.whole = true,
                },
                "maxLength" => match value.as_u64() {
                    Some(max) => text.max = Some(max),
                    None => to.whole = true,
                },
                "pattern" => {
                    let source = value.as_str().unwrap_or_default();
                    text.pattern = self
                        .pattern(source, &at())
                        .map(|pattern| (pattern, source.to_owned()));
                }
                "format" => self.format(value.as_str().unwrap_or_default(), &mut text, to),
                "minimum" => Self::bound("minimum", value, &mut number, to),
                "maximum" => Self::bound("maximum", value, &mut number, to),
                "exclusiveMinimum" => Self::bound("exclusiveMinimum", value, &mut number, to),
                "exclusiveMaximum" => Self::bound("exclusiveMaximum", value, &mut number, to),
                "multipleOf" => self.multiple(value, &mut number, to),
                "$ref" | "allOf" | "anyOf" | "oneOf" | "not" | "if" => {
                    self.part(key, value, members, pointer, to);
                }
                key if is_nested(key) => to.nested = true,
                key if BY_CRATE.contains(&key) => to.whole = true,
                // Annotations, `then` and `else` (read with `if`), and what no dialect knows.
                _ => {}
            }
        }
        if text.min.is_some()
            || text.max.is_some()
            || text.pattern.is_some()
            || text.format.is_some()
        {
            to.node.text = Some(Box::new(text));
        }
        if !number.bounds.is_empty() || number.multiple.is_some() {
            to.node.number = Some(Box::new(number));
        }
    }

    /// A pattern that stands at `pointer`; none when it is at fault, which is then told.
    pub(super) fn pattern(&mut self, source: &str, pointer: &str) -> Option<Pattern> {
        self.patterns += 1;
        self.pattern_bytes += source.len();
        if self.patterns > MAX_PATTERNS || self.pattern_bytes > MAX_PATTERN_BYTES {
            if self.patterns == MAX_PATTERNS + 1 {
                self.problems.push(SchemaProblem::new(
                    pointer,
                    format!(
                        "a schema may have {MAX_PATTERNS} patterns of together \
                         {MAX_PATTERN_BYTES} bytes"
                    ),
                    "use enum, format or maxLength where they do",
                ));
            }
            return None;
        }
        match Pattern::new(source) {
            Ok(pattern) => Some(pattern),
            Err(reason) => {
                self.problems.push(SchemaProblem::new(
                    pointer,
                    format!("the pattern cannot be used: {reason}"),
                    "patterns must be linear: no look-around, no back-references",
                ));
                None
            }
        }
    }

    fn format(&self, name: &str, text: &mut TextRules, to: &mut Draught) {
        let options = self.document.crate_options();
        if !self.document.options.assert_formats
            || !options.is_known_format(self.document.draft, name)
        {
            return;
        }
        let check = match Format::named(name) {
            Some(own) => Some(FormatCheck::Own(own)),
            None => options
                .build(&json!({ "format": name }))
                .ok()
                .map(FormatCheck::Crate),
        };
        match check {
            Some(check) => text.format = Some((check, name.to_owned())),
            None => to.whole = true,
        }
    }

    fn bound(keyword: &'static str, value: &Value, rules: &mut NumberRules, to: &mut Draught) {
        match value {
            Value::Number(limit) => rules.bounds.push(Bound {
                keyword,
                limit: Num::of(limit),
                shown: limit.to_string(),
            }),
            _ => to.whole = true,
        }
    }

    fn multiple(&self, value: &Value, rules: &mut NumberRules, to: &mut Draught) {
        let built = self
            .document
            .crate_options()
            .build(&json!({ "multipleOf": value }));
        let (Ok(validator), Value::Number(of)) = (built, value) else {
            to.whole = true;
            return;
        };
        rules.multiple = Some(Multiple {
            whole: match Num::of(of) {
                Num::Whole(whole) if whole > 0 && whole <= EXACT => Some(whole),
                _ => None,
            },
            validator,
            shown: of.to_string(),
        });
    }

    fn part(
        &mut self,
        keyword: &str,
        value: &'a Value,
        members: &'a Map<String, Value>,
        pointer: &str,
        to: &mut Draught,
    ) {
        let at = below(pointer, keyword.as_bytes());
        match (keyword, value) {
            ("$ref", _) => {
                let target = value
                    .as_str()
                    .and_then(|reference| self.document.resolve(reference));
                let Some((pointer, schema)) = target else {
                    to.whole = true;
                    return;
                };
                let node = self.counted(schema, &pointer, to);
                to.node.parts.push(Part::All(vec![node]));
            }
            ("not", schema) => {
                let node = self.counted(schema, &at, to);
                to.node.parts.push(Part::Not(node));
            }
            ("if", schema) => {
                let when = self.counted(schema, &at, to);
                let mut branch = |name: &str| {
                    let schema = members.get(name)?;
                    Some(self.counted(schema, &below(pointer, name.as_bytes()), to))
                };
                let (then, otherwise) = (branch("then"), branch("else"));
                to.node.parts.push(Part::If(when, then, otherwise));
            }
            (_, Value::Array(schemas)) => {
                let nodes = schemas
                    .iter()
                    .enumerate()
                    .map(|(index, schema)| self.counted(schema, &format!("{at}/{index}"), to))
                    .collect();
                to.node.parts.push(match keyword {
                    "allOf" => Part::All(nodes),
                    "anyOf" => Part::Any(nodes),
                    _ => Part::One(nodes),
                });
            }
            _ => to.whole = true,
        }
    }

    fn counted(&mut self, schema: &'a Value, pointer: &str, to: &mut Draught) -> Arc<Node> {
        let (node, cost) = self.node_and_cost(schema, pointer);
        to.cost = to.cost.saturating_add(cost);
        node
    }

    /// Which types a text may be read as for this schema, and whether it asks for that. Nothing
    /// when strings are welcome as they are.
    pub(super) fn coercion(&self, schema: &'a Value) -> Types {
        let target = self.document.follow(schema, String::new()).0;
        let asked = [schema, target, self.document.root]
            .into_iter()
            .find_map(|schema| schema.get(super::COERCE)?.as_bool());
        if !asked.unwrap_or(self.document.options.coerce) {
            return Types::NONE;
        }
        let types = self.types_of(target);
        if types.has(Types::STRING) {
            Types::NONE
        } else {
            types
        }
    }

    /// The keyword `type` of a schema, or of the one that it refers to.
    fn types_of(&self, schema: &'a Value) -> Types {
        let mut schema = schema;
        for _ in 0..64 {
            if let Some(types) = schema.get("type") {
                return Types::of_keyword(types);
            }
            let next = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| self.document.resolve(reference));
            match next {
                Some((_, next)) => schema = next,
                None => break,
            }
        }
        Types::NONE
    }

    /// A schema's own notes, completed by those of what it refers to.
    pub(super) fn notes(&self, schema: &'a Value) -> BTreeMap<&'a str, &'a Value> {
        let target = self.document.follow(schema, String::new()).0;
        let mut notes = BTreeMap::new();
        for source in [target, schema] {
            for (key, value) in source.as_object().into_iter().flatten() {
                if is_note(key) || key == "maxLength" {
                    notes.insert(key.as_str(), value);
                }
            }
        }
        notes
    }
}
