//! Collects what is wrong with one event, within the bounds that are told.

use std::borrow::Cow;

use jsonschema::Validator;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::node::{
    Multiple, Node, NumberRules, Part, TextRules, Tools, code_points, is_longer, is_shorter,
    value_tree,
};
use super::number::Num;
use super::wording;
use crate::event::{Kind, MAX_TEXT, MAX_VIOLATIONS, Violation};

/// The keyword of a value that could not be read as the JSON that it should be.
pub(super) const UNREADABLE: &str = "json";

/// Violations of one event.
pub(super) struct Teller<'a> {
    out: &'a mut Vec<Violation>,
    told: usize,
    /// How many are not told.
    pub hidden: u32,
}

impl<'a> Teller<'a> {
    /// Appends to `out`, at most [`MAX_VIOLATIONS`].
    pub(super) fn new(out: &'a mut Vec<Violation>) -> Self {
        Self {
            out,
            told: 0,
            hidden: 0,
        }
    }

    /// Whether something was found.
    pub(super) fn found_any(&self) -> bool {
        self.told > 0
    }

    /// Counts something wrong that would not be told any more; false while there is room to tell it. Spares
    /// its caller the words.
    pub(super) fn passes_over(&mut self) -> bool {
        let full = self.told >= MAX_VIOLATIONS;
        self.hidden = self.hidden.saturating_add(u32::from(full));
        full
    }

    /// Takes back what was said.
    pub(super) fn forget(&mut self) {
        self.out.truncate(self.out.len() - self.told);
        self.told = 0;
        self.hidden = 0;
    }

    /// A value is not the JSON that it should be.
    pub(super) fn unreadable(&mut self, pointer: &str, kind: Kind, value: &[u8]) {
        self.say(pointer, UNREADABLE, || {
            format!("expected JSON, found {}", wording::found(kind, value))
        });
    }

    /// Something is wrong.
    pub(super) fn say(
        &mut self,
        pointer: &str,
        keyword: impl Into<Cow<'static, str>>,
        message: impl FnOnce() -> String,
    ) {
        if self.told >= MAX_VIOLATIONS {
            self.hidden = self.hidden.saturating_add(1);
            return;
        }
        self.told += 1;
        self.out.push(Violation {
            pointer: bounded(pointer.to_owned()),
            keyword: keyword.into(),
            message: bounded(message()),
        });
    }

    /// What a schema finds wrong with a value that stands at `pointer`, which it does not accept.
    pub(super) fn value(
        &mut self,
        node: &Node,
        pointer: &str,
        kind: Kind,
        value: &[u8],
        tools: &mut Tools<'_>,
    ) {
        if self.passes_over() {
            return;
        }
        if let Some(validator) = node.validator(tools) {
            match value_tree(kind, value) {
                Some(tree) => self.by_crate(validator, pointer, &tree),
                None => self.unreadable(pointer, kind, value),
            }
            return;
        }
        let found = wording::found(kind, value);
        if node.nothing {
            self.say(pointer, "falseSchema", || wording::nothing(&found));
            return;
        }
        let fraction =
            || kind == Kind::Number && node.types.only_whole() && !Num::read(value).is_whole();
        if !node.types.is_empty() && (!node.types.may_hold(kind) || fraction()) {
            self.say(pointer, "type", || wording::types(node.types, &found));
        }
        for choices in &node.choices {
            if !choices.accepts(kind, value) {
                self.say(pointer, choices.keyword, || {
                    wording::choices(&choices.listed, &found)
                });
            }
        }
        match (kind, &node.text, &node.number) {
            (Kind::Text, Some(rules), _) => self.text(rules, pointer, value, &found, tools),
            (Kind::Number, _, Some(rules)) => self.number(rules, pointer, value, &found),
            _ => {}
        }
        for part in &node.parts {
            self.part(part, pointer, kind, value, tools);
        }
    }

    fn text(
        &mut self,
        rules: &TextRules,
        pointer: &str,
        value: &[u8],
        found: &str,
        tools: &mut Tools<'_>,
    ) {
        if let Some(min) = rules.min.filter(|min| is_shorter(value, *min)) {
            self.say(pointer, "minLength", || {
                wording::length("at least", min, code_points(value), found)
            });
        }
        if let Some(max) = rules.max.filter(|max| is_longer(value, *max)) {
            self.say(pointer, "maxLength", || {
                wording::length("at most", max, code_points(value), found)
            });
        }
        if let Some((pattern, source)) = &rules.pattern
            && !pattern.matches(value)
        {
            self.say(pointer, "pattern", || wording::pattern(source, found));
        }
        if let Some((format, name)) = &rules.format
            && !format.accepts(value, tools)
        {
            self.say(pointer, "format", || wording::format(name, found));
        }
    }

    fn number(&mut self, rules: &NumberRules, pointer: &str, value: &[u8], found: &str) {
        let number = Num::read(value);
        for bound in &rules.bounds {
            if !bound.accepts(number) {
                self.say(pointer, bound.keyword, || {
                    wording::bound(bound.keyword, &bound.shown, found)
                });
            }
        }
        let fails = |of: &&Multiple| !of.accepts(number, value);
        if let Some(of) = rules.multiple.as_ref().filter(fails) {
            self.say(pointer, "multipleOf", || {
                wording::multiple(&of.shown, found)
            });
        }
    }

    fn part(
        &mut self,
        part: &Part,
        pointer: &str,
        kind: Kind,
        value: &[u8],
        tools: &mut Tools<'_>,
    ) {
        let found = || wording::found(kind, value);
        match part {
            Part::All(nodes) => {
                for node in nodes {
                    if !node.accepts(kind, value, tools) {
                        self.value(node, pointer, kind, value, tools);
                    }
                }
            }
            Part::Any(nodes) => {
                if !nodes.iter().any(|node| node.accepts(kind, value, tools)) {
                    self.say(pointer, "anyOf", || {
                        wording::combined("anyOf", false, &found())
                    });
                }
            }
            Part::One(nodes) => {
                let accepting = part.accepting(nodes, kind, value, tools);
                if accepting != 1 {
                    self.say(pointer, "oneOf", || {
                        wording::combined("oneOf", accepting > 1, &found())
                    });
                }
            }
            Part::Not(node) => {
                if node.accepts(kind, value, tools) {
                    self.say(pointer, "not", || wording::combined("not", false, &found()));
                }
            }
            Part::If(when, then, otherwise) => {
                let branch = if when.accepts(kind, value, tools) {
                    then
                } else {
                    otherwise
                };
                if let Some(node) = branch
                    && !node.accepts(kind, value, tools)
                {
                    self.value(node, pointer, kind, value, tools);
                }
            }
        }
    }

    /// What the crate finds wrong with a tree that stands at `pointer`.
    pub(super) fn by_crate(&mut self, validator: &Validator, pointer: &str, tree: &Value) {
        for error in validator.iter_errors(tree) {
            let at = format!("{pointer}{}", error.instance_path().as_str());
            match error.kind() {
                ValidationErrorKind::Required { property } => {
                    let name = property.as_str().unwrap_or_default();
                    // Beside `additionalProperties: false` the crate calls a field missing that is
                    // there, when no property describes it.
                    if error.instance().get(name).is_some() {
                        continue;
                    }
                    self.say(&below(&at, name.as_bytes()), "required", || {
                        wording::MISSING.to_owned()
                    });
                }
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    self.unexpected(&at, "additionalProperties", unexpected);
                }
                ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                    self.unexpected(&at, "unevaluatedProperties", unexpected);
                }
                ValidationErrorKind::PropertyNames { error: inner } => {
                    let name = inner
                        .instance()
                        .as_str()
                        .unwrap_or_default()
                        .as_bytes()
                        .to_vec();
                    self.say(&below(&at, &name), "propertyNames", || {
                        wording::of_crate(error.kind(), error.instance())
                    });
                }
                ValidationErrorKind::FalseSchema if of_names(error.schema_path().as_str()) => {
                    for name in error.instance().as_object().into_iter().flatten() {
                        self.say(&below(&at, name.0.as_bytes()), "propertyNames", || {
                            wording::bad_name(&wording::nothing(&wording::found(
                                Kind::Text,
                                name.0.as_bytes(),
                            )))
                        });
                    }
                }
                kind => {
                    self.say(&at, kind.keyword().to_owned(), || {
                        wording::of_crate(kind, error.instance())
                    });
                }
            }
        }
    }

    fn unexpected(&mut self, at: &str, keyword: &'static str, names: &[String]) {
        for name in names {
            self.say(&below(at, name.as_bytes()), keyword, || {
                wording::UNKNOWN.to_owned()
            });
        }
    }
}

/// Whether a schema is that of `propertyNames`.
fn of_names(schema_path: &str) -> bool {
    schema_path
        .strip_suffix("/propertyNames")
        .is_some_and(|outer| !outer.ends_with("/properties"))
}

/// The pointer of a member.
pub(super) fn below(pointer: &str, name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    if !name.contains(['~', '/']) {
        return [pointer, "/", &name].concat();
    }
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Cut to what may be told.
fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let mut end = MAX_TEXT - '\u{2026}'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}
