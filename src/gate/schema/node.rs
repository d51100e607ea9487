//! A schema of one value, compiled: what is checked of a scalar, and when the crate is asked.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use jsonschema::{Validator, ValidatorMap};
use serde_json::Value;

use super::format::Format;
use super::kinds::Types;
use super::number::{self, Num};
use super::pattern::Pattern;
use crate::event::Kind;

/// Strings of an `enum` that are compared one by one; more are hashed.
const FEW_STRINGS: usize = 8;

/// What is to do with a value of some kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    /// It passes.
    #[default]
    Pass,
    /// It does not.
    Refuse,
    /// The length of a string tells, and nothing else.
    Length,
    /// Its value tells, by [`Node::check`].
    Check,
    /// The crate decides.
    Tree,
}

/// A compiled schema of one value.
#[derive(Default)]
pub(super) struct Node {
    /// By [`Kind`].
    pub actions: [Action; 6],
    /// How many bytes a string may have whose length fits however many code points those are.
    pub plain: (usize, usize),
    /// Nothing passes: the schema is `false`.
    pub nothing: bool,
    /// The keyword `type`; none when it is absent.
    pub types: Types,
    /// The keywords `enum` and `const`.
    pub choices: Vec<Choices>,
    /// What is asked of strings.
    pub text: Option<Box<TextRules>>,
    /// What is asked of numbers.
    pub number: Option<Box<NumberRules>>,
    /// What other schemas ask.
    pub parts: Vec<Part>,
    /// The key of its validator, when it has one.
    pub tree: Option<Box<str>>,
}

/// `enum` or `const`.
pub(super) struct Choices {
    pub keyword: &'static str,
    pub few: Vec<Box<[u8]>>,
    pub many: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
    pub numbers: Vec<Num>,
    pub booleans: [bool; 2],
    pub null: bool,
    /// Whether an object or an array is among them.
    pub composite: bool,
    /// What is let pass, as people are told.
    pub listed: Box<str>,
}

/// What is asked of strings.
#[derive(Default)]
pub(super) struct TextRules {
    pub min: Option<u64>,
    pub max: Option<u64>,
    pub pattern: Option<(Pattern, String)>,
    pub format: Option<(FormatCheck, String)>,
}

/// Who knows a format.
pub(super) enum FormatCheck {
    /// We do.
    Own(Format),
    /// The crate does.
    Crate(Validator),
}

/// What is asked of numbers.
#[derive(Default)]
pub(super) struct NumberRules {
    pub bounds: Vec<Bound>,
    pub multiple: Option<Multiple>,
}

/// `minimum` and its like.
pub(super) struct Bound {
    pub keyword: &'static str,
    pub limit: Num,
    pub shown: String,
}

/// `multipleOf`.
pub(super) struct Multiple {
    /// When it is a whole number that a double holds exactly.
    pub whole: Option<i128>,
    /// For all else.
    pub validator: Validator,
    pub shown: String,
}

/// What other schemas ask.
pub(super) enum Part {
    /// `allOf` and `$ref`: all must accept, and each tells why not.
    All(Vec<Arc<Node>>),
    /// `anyOf`.
    Any(Vec<Arc<Node>>),
    /// `oneOf`.
    One(Vec<Arc<Node>>),
    /// `not`.
    Not(Arc<Node>),
    /// `if`, `then`, `else`.
    If(Arc<Node>, Option<Arc<Node>>, Option<Arc<Node>>),
}

/// What a check needs besides the schema.
pub(super) struct Tools<'a> {
    /// The validators of the schemas that are checked by the crate.
    pub trees: Option<&'a ValidatorMap>,
    /// A string that is shown to the crate, kept for its memory.
    pub text: &'a mut Value,
}

impl Node {
    /// Whether a value is accepted.
    #[inline]
    pub(super) fn accepts(&self, kind: Kind, value: &[u8], tools: &mut Tools<'_>) -> bool {
        match self.actions.get(kind as usize) {
            Some(Action::Pass) => true,
            Some(Action::Length) if value.len() >= self.plain.0 && value.len() <= self.plain.1 => {
                true
            }
            Some(Action::Length | Action::Check) => self.check(kind, value, tools),
            Some(Action::Tree) => self.ask_crate(kind, value, tools),
            Some(Action::Refuse) | None => false,
        }
    }

    fn check(&self, kind: Kind, value: &[u8], tools: &mut Tools<'_>) -> bool {
        let own = match (kind, &self.text, &self.number) {
            (Kind::Text, Some(rules), _) => rules.accepts(value, tools),
            (Kind::Number, _, rules) if rules.is_some() || self.types.only_whole() => {
                let number = Num::read(value);
                (!self.types.only_whole() || number.is_whole())
                    && rules
                        .as_ref()
                        .is_none_or(|rules| rules.accepts(number, value))
            }
            _ => true,
        };
        own && self.choices.iter().all(|c| c.accepts(kind, value))
            && self.parts.iter().all(|p| p.accepts(kind, value, tools))
    }

    /// What the crate says of a value, with all of the schema.
    fn ask_crate(&self, kind: Kind, value: &[u8], tools: &Tools<'_>) -> bool {
        let tree = value_tree(kind, value);
        match (self.validator(tools), tree) {
            (Some(validator), Some(tree)) => validator.is_valid(&tree),
            _ => false,
        }
    }

    /// The crate's validator of this schema.
    pub(super) fn validator<'a>(&self, tools: &Tools<'a>) -> Option<&'a Validator> {
        tools.trees?.get(self.tree.as_deref()?)
    }

    /// Works out the actions, when all else is set. With `whole` the crate decides of every value;
    /// with `nested` of objects and arrays.
    pub(super) fn settle(&mut self, whole: bool, nested: bool) {
        const KINDS: [Kind; 6] = [
            Kind::Text,
            Kind::Number,
            Kind::Boolean,
            Kind::Null,
            Kind::Object,
            Kind::Array,
        ];
        if let Some(rules) = &self.text {
            self.plain = rules.plain();
        }
        let deeper = !self.choices.is_empty() || !self.parts.is_empty();
        for kind in KINDS {
            let asks = nested
                || self.choices.iter().any(|choices| choices.composite)
                || self.parts.iter().any(|part| part.asks_crate(kind));
            let composite = matches!(kind, Kind::Object | Kind::Array);
            let action = if self.nothing {
                Action::Refuse
            } else if whole || composite && asks {
                Action::Tree
            } else if !self.types.is_empty() && !self.types.may_hold(kind) {
                Action::Refuse
            } else {
                let ruled = match kind {
                    Kind::Text => self.text.is_some(),
                    Kind::Number => self.number.is_some() || self.types.only_whole(),
                    _ => false,
                };
                let lengths = self.text.as_ref().is_some_and(|rules| rules.only_lengths());
                if kind == Kind::Text && lengths && !deeper {
                    Action::Length
                } else if ruled || deeper {
                    Action::Check
                } else {
                    Action::Pass
                }
            };
            if let Some(place) = self.actions.get_mut(kind as usize) {
                *place = action;
            }
        }
    }

    /// Whether the crate decides of some kind of value.
    pub(super) fn needs_tree(&self) -> bool {
        self.actions.contains(&Action::Tree)
    }

    /// Whether the crate may be asked, for this schema or for one within it.
    pub(super) fn reaches_tree(&self) -> bool {
        self.needs_tree()
            || self
                .parts
                .iter()
                .any(|part| part.nodes().any(|node| node.reaches_tree()))
    }
}

/// The tree of a field's value, or `None` when it is not the JSON that it should be.
pub(super) fn value_tree(kind: Kind, value: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::Text => Value::String(std::str::from_utf8(value).ok()?.to_owned()),
        Kind::Number => Value::Number(number::number(value)),
        Kind::Boolean => Value::Bool(value == b"true"),
        Kind::Null => Value::Null,
        Kind::Object | Kind::Array => number::tree(value)?,
    })
}

impl TextRules {
    fn only_lengths(&self) -> bool {
        self.pattern.is_none() && self.format.is_none()
    }

    /// The bounds in bytes within which a string need not be counted. One code point is at most
    /// four bytes.
    fn plain(&self) -> (usize, usize) {
        let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let least = match self.min.unwrap_or(0) {
            0 => 0,
            min => bytes(min - 1).saturating_mul(4).saturating_add(1),
        };
        (least, self.max.map_or(usize::MAX, bytes))
    }

    fn accepts(&self, value: &[u8], tools: &mut Tools<'_>) -> bool {
        self.min.is_none_or(|min| !is_shorter(value, min))
            && self.max.is_none_or(|max| !is_longer(value, max))
            && self
                .pattern
                .as_ref()
                .is_none_or(|(pattern, _)| pattern.matches(value))
            && self
                .format
                .as_ref()
                .is_none_or(|(format, _)| format.accepts(value, tools))
    }
}

/// Whether a text has fewer than so many code points.
pub(super) fn is_shorter(text: &[u8], min: u64) -> bool {
    let bytes = text.len() as u64;
    bytes < min || (bytes < min.saturating_mul(4) && code_points(text) < min)
}

/// Whether a text has more than so many code points.
pub(super) fn is_longer(text: &[u8], max: u64) -> bool {
    text.len() as u64 > max && code_points(text) > max
}

/// How many code points a UTF-8 text has.
pub(super) fn code_points(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u64
}

impl FormatCheck {
    pub(super) fn accepts(&self, value: &[u8], tools: &mut Tools<'_>) -> bool {
        match self {
            Self::Own(format) => format.fits(value),
            Self::Crate(validator) => {
                let Ok(text) = std::str::from_utf8(value) else {
                    return false;
                };
                if let Value::String(kept) = &mut *tools.text {
                    kept.clear();
                    kept.push_str(text);
                } else {
                    *tools.text = Value::String(text.to_owned());
                }
                validator.is_valid(tools.text)
            }
        }
    }
}

impl NumberRules {
    fn accepts(&self, number: Num, value: &[u8]) -> bool {
        self.bounds.iter().all(|bound| bound.accepts(number))
            && self
                .multiple
                .as_ref()
                .is_none_or(|of| of.accepts(number, value))
    }
}

impl Bound {
    pub(super) fn accepts(&self, number: Num) -> bool {
        let order = number.compare(self.limit);
        match self.keyword {
            "minimum" => order != Ordering::Less,
            "maximum" => order != Ordering::Greater,
            "exclusiveMinimum" => order == Ordering::Greater,
            _ => order == Ordering::Less,
        }
    }
}

impl Multiple {
    pub(super) fn accepts(&self, number: Num, value: &[u8]) -> bool {
        match (number, self.whole) {
            (Num::Whole(number), Some(of)) => number % of == 0,
            _ => self
                .validator
                .is_valid(&Value::Number(number::number(value))),
        }
    }
}

impl Choices {
    /// The choices of an `enum`, or the one of a `const`.
    pub(super) fn new(keyword: &'static str, values: &[Value]) -> Self {
        let mut choices = Self {
            keyword,
            few: Vec::new(),
            many: HashSet::default(),
            numbers: Vec::new(),
            booleans: [false; 2],
            null: false,
            composite: values
                .iter()
                .any(|value| value.is_object() || value.is_array()),
            listed: super::wording::listed(values).into_boxed_str(),
        };
        let mut texts: Vec<Box<[u8]>> = Vec::new();
        for value in values {
            match value {
                Value::String(text) => texts.push(text.as_bytes().into()),
                Value::Number(number) => choices.numbers.push(Num::of(number)),
                Value::Bool(false) => choices.booleans = [true, choices.booleans[1]],
                Value::Bool(true) => choices.booleans = [choices.booleans[0], true],
                Value::Null => choices.null = true,
                // No scalar is one of these; objects and arrays are asked of the crate.
                Value::Object(_) | Value::Array(_) => {}
            }
        }
        if texts.len() <= FEW_STRINGS {
            choices.few = texts;
        } else {
            choices.many = texts.into_iter().collect();
        }
        choices
    }

    pub(super) fn accepts(&self, kind: Kind, value: &[u8]) -> bool {
        match kind {
            Kind::Text if !self.many.is_empty() => self.many.contains(value),
            Kind::Text => self.few.iter().any(|known| **known == *value),
            Kind::Number => {
                let number = Num::read(value);
                self.numbers
                    .iter()
                    .any(|known| number.compare(*known) == Ordering::Equal)
            }
            Kind::Boolean if value == b"true" => self.booleans[1],
            Kind::Boolean => self.booleans[0],
            Kind::Null => self.null,
            Kind::Object | Kind::Array => false,
        }
    }
}

impl Part {
    /// The schemas of it.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        let (list, three) = match self {
            Self::All(nodes) | Self::Any(nodes) | Self::One(nodes) => (nodes.as_slice(), [None; 3]),
            Self::Not(node) => ([].as_slice(), [Some(node), None, None]),
            Self::If(when, then, otherwise) => (
                [].as_slice(),
                [Some(when), then.as_ref(), otherwise.as_ref()],
            ),
        };
        list.iter().chain(three.into_iter().flatten())
    }

    /// Whether one of its schemas leaves values of a kind to the crate.
    fn asks_crate(&self, kind: Kind) -> bool {
        self.nodes()
            .any(|node| node.actions.get(kind as usize) == Some(&Action::Tree))
    }

    fn accepts(&self, kind: Kind, value: &[u8], tools: &mut Tools<'_>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.accepts(kind, value, tools)),
            Self::Any(nodes) => nodes.iter().any(|node| node.accepts(kind, value, tools)),
            Self::One(nodes) => self.accepting(nodes, kind, value, tools) == 1,
            Self::Not(node) => !node.accepts(kind, value, tools),
            Self::If(when, then, otherwise) => {
                let branch = if when.accepts(kind, value, tools) {
                    then
                } else {
                    otherwise
                };
                branch
                    .as_ref()
                    .is_none_or(|node| node.accepts(kind, value, tools))
            }
        }
    }

    /// How many accept; no more than two are counted.
    pub(super) fn accepting(
        &self,
        nodes: &[Arc<Node>],
        kind: Kind,
        value: &[u8],
        tools: &mut Tools<'_>,
    ) -> usize {
        nodes
            .iter()
            .filter(|node| node.accepts(kind, value, tools))
            .take(2)
            .count()
    }
}
