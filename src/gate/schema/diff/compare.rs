//! Compares the schemas of values, keyword by keyword.

use serde_json::{Map, Value, json};

use super::super::kinds::Types;
use super::super::tell::below;
use super::side::{choices, types};
use super::{Comparison, Level};

const TRUE: &Value = &Value::Bool(true);
const FALSE: &Value = &Value::Bool(false);

/// Keywords that are not compared: whether they have changed is told.
const OPAQUE: [&str; 22] = [
    "$dynamicRef",
    "$recursiveRef",
    "$ref",
    "additionalItems",
    "allOf",
    "anyOf",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "discriminator",
    "else",
    "if",
    "maxContains",
    "minContains",
    "not",
    "oneOf",
    "prefixItems",
    "then",
];

/// Keywords that look at what texts hold.
const OF_TEXTS: [&str; 12] = [
    "$ref",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "format",
    "if",
    "maxLength",
    "minLength",
    "not",
    "oneOf",
    "pattern",
];

type Members = Map<String, Value>;

impl Comparison<'_> {
    /// Tells what `new` refuses that `old` takes.
    pub(super) fn schemas(&mut self, old: &Value, new: &Value, pointer: &str, level: Level) {
        let pair = (std::ptr::from_ref(old), std::ptr::from_ref(new), level);
        if !self.seen.insert(pair) {
            return;
        }
        let (outer_old, outer_new) = (old, new);
        let (old, new) = (self.old.follow(old), self.new.follow(new));
        let unlimited = Members::new();
        let old = match old {
            Value::Bool(false) => return,
            Value::Object(members) => members,
            _ => &unlimited,
        };
        let new = match new {
            Value::Bool(false) => {
                let message = "nothing is taken any more".to_owned();
                return self.say(pointer.to_owned(), message);
            }
            Value::Object(members) => members,
            _ => return,
        };
        let taken = types(old);
        self.types(old, new, pointer, level);
        let (was_read, is_read) = (
            level == Level::Field && self.old.coerces(outer_old, old),
            level == Level::Field && self.new.coerces(outer_new, new),
        );
        if was_read && !is_read {
            self.texts_stay_texts(new, pointer);
        }
        self.choices(old, new, pointer);
        if taken.has(Types::NUMBER.with(Types::INTEGER)) {
            self.numbers(old, new, pointer);
        }
        if taken.has(Types::STRING) {
            self.texts(old, new, pointer);
        }
        if taken.has(Types::ARRAY) {
            self.arrays(old, new, pointer);
        }
        if taken.has(Types::OBJECT) {
            self.objects(old, new, pointer, level);
        }
        self.opaque(old, new, pointer);
    }

    fn types(&mut self, old: &Members, new: &Members, pointer: &str, level: Level) {
        let Some(wanted) = new.get("type").map(Types::of_keyword) else {
            return;
        };
        let taken = types(old);
        let lost: Vec<&str> = taken
            .names()
            .filter(|name| {
                let one = Types::of_keyword(&Value::from(*name));
                let by_number = one == Types::INTEGER && wanted.has(Types::NUMBER);
                // Whoever took any number is told of that alone.
                let told = one == Types::INTEGER && taken.has(Types::NUMBER);
                !wanted.has(one) && !by_number && !told
            })
            .filter(|name| level != Level::Event || *name == "object")
            .collect();
        if lost.is_empty() {
            return;
        }
        let names: Vec<&str> = wanted.names().collect();
        let message = format!(
            "no {} any more: the type is {}",
            lost.join(", no "),
            names.join(" or ")
        );
        self.say(format!("{pointer}/type"), message);
    }

    /// Texts were read as what they say, and are not any more.
    fn texts_stay_texts(&mut self, new: &Members, pointer: &str) {
        let wanted = self.new.type_keyword(new).map(Types::of_keyword);
        if wanted.is_some_and(|types| !types.has(Types::STRING)) {
            let message = "texts are not read as numbers, booleans and the like any more";
            self.say(pointer.to_owned(), message.to_owned());
        } else if OF_TEXTS.iter().any(|key| new.contains_key(*key)) {
            self.may(
                pointer.to_owned(),
                "texts are not read as numbers, booleans and the like any more",
            );
        }
    }

    fn arrays(&mut self, old: &Members, new: &Members, pointer: &str) {
        self.limit(old, new, "minItems", pointer);
        self.limit(old, new, "maxItems", pointer);
        let unique = |of: &Members| of.get("uniqueItems") == Some(TRUE);
        if unique(new) && !unique(old) {
            let message = "items may not come twice any more".to_owned();
            self.say(format!("{pointer}/uniqueItems"), message);
        }
        let at = format!("{pointer}/items");
        let (before, after) = (old.get("items"), new.get("items"));
        match after {
            None => {}
            Some(Value::Array(_)) => {
                let same = before.zip(after);
                if !same.is_some_and(|(one, two)| self.old.is_same(one, &self.new, two)) {
                    self.may(at, "the list `items` has changed");
                }
            }
            Some(after) => {
                let listed = before.is_some_and(Value::is_array);
                let before = before.filter(|_| !listed).unwrap_or(TRUE);
                self.schemas(before, after, &at, Level::Inner);
                if old.contains_key("prefixItems") && !new.contains_key("prefixItems") {
                    self.may(at, "it is for all items now");
                }
            }
        }
    }

    fn objects(&mut self, old: &Members, new: &Members, pointer: &str, level: Level) {
        self.limit(old, new, "minProperties", pointer);
        self.limit(old, new, "maxProperties", pointer);
        self.required(old, new, pointer);
        let (of_old, of_new) = (member(old, "properties"), member(new, "properties"));
        let (old_patterns, new_patterns) = (
            member(old, "patternProperties"),
            member(new, "patternProperties"),
        );
        let old_other = old.get("additionalProperties").unwrap_or(TRUE);
        let new_other = new.get("additionalProperties").unwrap_or(TRUE);
        // A field that had no description may have been one of a pattern.
        let was_free = old_patterns.is_some_and(|patterns| !patterns.is_empty());
        let undescribed = if was_free { TRUE } else { old_other };
        for (name, after) in of_new.into_iter().flatten() {
            let before = of_old.and_then(|of| of.get(name)).unwrap_or(undescribed);
            let at = below(&format!("{pointer}/properties"), name.as_bytes());
            self.schemas(before, after, &at, level.below());
        }
        for (name, before) in of_old.into_iter().flatten() {
            if of_new.is_some_and(|of| of.contains_key(name)) || before == FALSE {
                continue;
            }
            let at = below(&format!("{pointer}/properties"), name.as_bytes());
            if self.new.follow(new_other) == FALSE {
                let message =
                    "it is not described any more, and `additionalProperties` is false".to_owned();
                self.say(at, message);
            } else {
                self.schemas(before, new_other, &at, level.below());
            }
        }
        self.patterns(old_patterns, new_patterns, new_other, (pointer, level));
        let patterns = [old_patterns, new_patterns].into_iter().flatten();
        if level == Level::Event
            && patterns.clone().any(|patterns| !patterns.is_empty())
            && self.old.read(old) != self.new.read(new)
        {
            // A field may have a schema of its own and several of patterns, and one of them says
            // how texts are read for all.
            self.may(
                format!("{pointer}/patternProperties"),
                "which texts are read as numbers, booleans and the like has changed",
            );
        }
        if self.new.follow(new_other) == FALSE && self.old.follow(undescribed) != FALSE {
            let message = "fields without a description are not allowed any more".to_owned();
            self.say(format!("{pointer}/additionalProperties"), message);
        } else {
            let at = format!("{pointer}/additionalProperties");
            self.schemas(undescribed, new_other, &at, level.below());
        }
        if let Some(after) = new.get("propertyNames") {
            let before = old.get("propertyNames").unwrap_or(TRUE);
            let at = format!("{pointer}/propertyNames");
            self.schemas(before, after, &at, Level::Inner);
        }
    }

    fn patterns(
        &mut self,
        old: Option<&Members>,
        new: Option<&Members>,
        new_other: &Value,
        (pointer, level): (&str, Level),
    ) {
        let at = format!("{pointer}/patternProperties");
        for (pattern, after) in new.into_iter().flatten() {
            let before = old.and_then(|old| old.get(pattern)).unwrap_or(TRUE);
            let at = below(&at, pattern.as_bytes());
            self.schemas(before, after, &at, level.below());
        }
        for pattern in old.into_iter().flatten().map(|(pattern, _)| pattern) {
            let gone = new.is_none_or(|new| !new.contains_key(pattern));
            if gone && new_other != TRUE {
                self.may(
                    below(&at, pattern.as_bytes()),
                    "the pattern is gone, so `additionalProperties` is for its fields",
                );
            }
        }
    }

    fn required(&mut self, old: &Members, new: &Members, pointer: &str) {
        let before = old.get("required").and_then(Value::as_array);
        let after = new.get("required").and_then(Value::as_array);
        for name in after.into_iter().flatten() {
            if before.is_some_and(|names| names.contains(name)) {
                continue;
            }
            let name = name.as_str().unwrap_or_default();
            let at = below(&format!("{pointer}/properties"), name.as_bytes());
            self.say(at, "it is required now".to_owned());
        }
    }

    fn choices(&mut self, old: &Members, new: &Members, pointer: &str) {
        let Some(after) = choices(new) else {
            return;
        };
        let keyword = if new.contains_key("const") {
            "const"
        } else {
            "enum"
        };
        let at = format!("{pointer}/{keyword}");
        let Some(before) = choices(old) else {
            let count = after.len();
            return self.say(at, format!("only {count} values are taken now"));
        };
        let equal = |one: &Value, other: &Value| super::keywords::is_equal(one, other);
        let gone: Vec<&Value> = before
            .iter()
            .filter(|one| !after.iter().any(|other| equal(one, other)))
            .collect();
        if gone.is_empty() {
            return;
        }
        let shown = gone.iter().take(5).map(|value| {
            let text = value.to_string();
            text.chars().take(64).collect::<String>()
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = match gone.len().saturating_sub(5) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        self.say(at, format!("not taken any more: {shown}{more}"));
    }

    fn opaque(&mut self, old: &Members, new: &Members, pointer: &str) {
        for key in OPAQUE {
            let (before, after) = (old.get(key), new.get(key));
            let at = || format!("{pointer}/{key}");
            match (before, after) {
                (_, None) => {
                    // Less is asked for without it, but of these two.
                    if before.is_some() && matches!(key, "minContains" | "maxContains") {
                        self.may(at(), &format!("`{key}` is gone"));
                    }
                }
                (None, Some(_)) => self.may(at(), &format!("`{key}` is new")),
                (Some(before), Some(after)) => {
                    let whole = |value: &Value| json!({ key: value });
                    let (before, after) = (whole(before), whole(after));
                    if !self.old.is_same(&before, &self.new, &after) {
                        self.may(at(), &format!("`{key}` has changed"));
                    }
                }
            }
        }
        for key in ["unevaluatedProperties", "unevaluatedItems"] {
            if new.contains_key(key) && old != new {
                let what = format!("what `{key}` is for has changed");
                self.may(format!("{pointer}/{key}"), &what);
            }
        }
    }
}

fn member<'a>(of: &'a Members, key: &str) -> Option<&'a Members> {
    of.get(key)?.as_object()
}
