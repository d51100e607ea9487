//! What people are told: what was expected, and what was found.

use std::borrow::Cow;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::format;
use super::kinds::Types;
use crate::event::Kind;

/// Characters of a value that are shown.
const BEGINNING: usize = 32;
/// Choices of an `enum` that are listed.
const LISTED: usize = 8;

/// A value as it is shown: its kind, and how it begins.
pub(super) fn found(kind: Kind, value: &[u8]) -> String {
    let text = String::from_utf8_lossy(
        value
            .get(..value.len().min(4 * BEGINNING + 4))
            .unwrap_or_default(),
    );
    match kind {
        Kind::Text => ["string ", &quoted(&text)].concat(),
        Kind::Number => ["number ", &beginning(&text)].concat(),
        Kind::Boolean | Kind::Null => text.into_owned(),
        Kind::Object => ["object ", &beginning(&text)].concat(),
        Kind::Array => ["array ", &beginning(&text)].concat(),
    }
}

/// A value of a tree as it is shown.
pub(super) fn found_value(value: &Value) -> String {
    match value {
        Value::String(text) => found(Kind::Text, text.as_bytes()),
        Value::Number(number) => found(Kind::Number, number.to_string().as_bytes()),
        Value::Bool(_) | Value::Null => value.to_string(),
        Value::Object(_) => found(Kind::Object, value.to_string().as_bytes()),
        Value::Array(_) => found(Kind::Array, value.to_string().as_bytes()),
    }
}

/// The first characters of a text, and a mark when there are more.
fn beginning(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(BEGINNING) {
        None => text.into(),
        Some((end, _)) => [text.get(..end).unwrap_or_default(), "\u{2026}"]
            .concat()
            .into(),
    }
}

/// The same as a JSON string, so that no control character is told as it is.
fn quoted(text: &str) -> String {
    let text = beginning(text);
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        return ["\"", &text, "\""].concat();
    }
    Value::String(text.into_owned()).to_string()
}

/// What nearly all of them say. Words are the most of what a bad event costs, so the few that nearly all
/// bad events get are put together without a formatter.
fn expected(wanted: &str, found: &str) -> String {
    ["expected ", wanted, ", found ", found].concat()
}

/// `type`.
pub(super) fn types(wanted: Types, found: &str) -> String {
    let mut names = wanted.names();
    match (names.next(), names.next()) {
        (Some(only), None) => expected(only, found),
        _ => expected(&wanted.names().collect::<Vec<_>>().join(" or "), found),
    }
}

/// What `enum` and `const` let pass, as it is told.
pub(super) fn listed(values: &[Value]) -> String {
    let mut list: Vec<String> = values
        .iter()
        .take(LISTED)
        .map(|value| beginning(&value.to_string()).into_owned())
        .collect();
    if values.len() > LISTED {
        list.push(format!("{} more", values.len() - LISTED));
    }
    match values.len() {
        1 => list.concat(),
        _ => format!("one of {}", list.join(", ")),
    }
}

/// `enum` and `const`, of what [`listed`] says.
pub(super) fn choices(listed: &str, found: &str) -> String {
    expected(listed, found)
}

/// `minLength` and `maxLength`.
pub(super) fn length(bound: &str, limit: u64, length: u64, found: &str) -> String {
    let plural = if limit == 1 { "" } else { "s" };
    format!("expected {bound} {limit} character{plural}, found {length}: {found}")
}

/// `pattern`.
pub(super) fn pattern(pattern: &str, found: &str) -> String {
    let shown: String = pattern.chars().take(96).collect();
    let mark = if shown.len() < pattern.len() {
        "\u{2026}"
    } else {
        ""
    };
    format!("expected a match of the pattern {shown}{mark}, found {found}")
}

/// `format`.
pub(super) fn format(name: &str, found: &str) -> String {
    match format::example(name) {
        Some(example) => format!("expected the format {name}, such as {example}, found {found}"),
        None => format!("expected the format {name}, found {found}"),
    }
}

/// `minimum` and its like.
pub(super) fn bound(keyword: &str, limit: &str, found: &str) -> String {
    let relation = match keyword {
        "minimum" => "at least",
        "maximum" => "at most",
        "exclusiveMinimum" => "more than",
        _ => "less than",
    };
    format!("expected {relation} {limit}, found {found}")
}

/// `multipleOf`.
pub(super) fn multiple(of: &str, found: &str) -> String {
    format!("expected a multiple of {of}, found {found}")
}

/// `anyOf` and `oneOf`, and `not`.
pub(super) fn combined(keyword: &str, several: bool, found: &str) -> String {
    match keyword {
        "anyOf" => format!("expected what one of the schemas of anyOf accepts, found {found}"),
        "not" => format!("expected what the schema of not refuses, found {found}"),
        _ if several => {
            format!("expected what only one schema of oneOf accepts; several accept {found}")
        }
        _ => format!("expected what one of the schemas of oneOf accepts, found {found}"),
    }
}

/// A schema that is `false`.
pub(super) fn nothing(found: &str) -> String {
    format!("the schema allows no value here, found {found}")
}

/// `required`.
pub(super) const MISSING: &str = "it is required and missing";
/// `additionalProperties`.
pub(super) const UNKNOWN: &str = "the schema knows no such field";

/// `propertyNames`.
pub(super) fn bad_name(why: &str) -> String {
    format!("the name is not allowed: {why}")
}

/// `minProperties` and `maxProperties`.
pub(super) fn count(bound: &str, limit: u64, count: usize) -> String {
    let plural = if limit == 1 { "" } else { "s" };
    format!("expected {bound} {limit} field{plural}, found {count}")
}

/// What the crate found, in our words.
pub(super) fn of_crate(kind: &ValidationErrorKind, instance: &Value) -> String {
    let found = found_value(instance);
    let count_of = |value: &Value| value.as_object().map_or(0, serde_json::Map::len);
    let length_of = |value: &Value| value.as_str().map_or(0, |text| text.chars().count() as u64);
    match kind {
        ValidationErrorKind::Type { kind } => types(types_of(kind), &found),
        ValidationErrorKind::Enum { options } => match &**options {
            Value::Array(values) => choices(&listed(values), &found),
            value => choices(&listed(std::slice::from_ref(value)), &found),
        },
        ValidationErrorKind::Constant { expected_value } => {
            choices(&listed(std::slice::from_ref(&**expected_value)), &found)
        }
        ValidationErrorKind::MinLength { limit } => {
            length("at least", *limit, length_of(instance), &found)
        }
        ValidationErrorKind::MaxLength { limit } => {
            length("at most", *limit, length_of(instance), &found)
        }
        ValidationErrorKind::Pattern { pattern: source } => pattern(source, &found),
        ValidationErrorKind::Format { format: name } => format(name, &found),
        ValidationErrorKind::Minimum { limit }
        | ValidationErrorKind::Maximum { limit }
        | ValidationErrorKind::ExclusiveMinimum { limit }
        | ValidationErrorKind::ExclusiveMaximum { limit } => {
            bound(kind.keyword(), &limit.to_string(), &found)
        }
        ValidationErrorKind::MultipleOf { multiple_of } => {
            multiple(&multiple_of.to_string(), &found)
        }
        ValidationErrorKind::AnyOf { .. } => combined("anyOf", false, &found),
        ValidationErrorKind::OneOfNotValid { .. } => combined("oneOf", false, &found),
        ValidationErrorKind::OneOfMultipleValid { .. } => combined("oneOf", true, &found),
        ValidationErrorKind::Not { .. } => combined("not", false, &found),
        ValidationErrorKind::FalseSchema => nothing(&found),
        ValidationErrorKind::MinProperties { limit } => {
            count("at least", *limit, count_of(instance))
        }
        ValidationErrorKind::MaxProperties { limit } => {
            count("at most", *limit, count_of(instance))
        }
        ValidationErrorKind::MinItems { limit } => {
            format!("expected at least {limit} items, found {found}")
        }
        ValidationErrorKind::MaxItems { limit } => {
            format!("expected at most {limit} items, found {found}")
        }
        ValidationErrorKind::AdditionalItems { limit } => {
            format!("expected at most {limit} items, found {found}")
        }
        ValidationErrorKind::UniqueItems => format!("expected no item twice, found {found}"),
        ValidationErrorKind::Contains => {
            format!("expected an item that the schema of contains accepts, found {found}")
        }
        ValidationErrorKind::PropertyNames { error } => {
            bad_name(&of_crate(error.kind(), error.instance()))
        }
        other => format!("the schema's {} refuses {found}", other.keyword()),
    }
}

fn types_of(kind: &TypeKind) -> Types {
    let one = |name: &str| Types::of_keyword(&Value::String(name.to_owned()));
    match kind {
        TypeKind::Single(single) => one(&single.to_string()),
        TypeKind::Multiple(several) => several
            .iter()
            .map(|single| one(&single.to_string()))
            .fold(Types::NONE, Types::with),
    }
}
