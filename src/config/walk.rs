//! Holds a TOML tree against the schema: unknown keys, missing keys, wrong types, words, ranges and
//! forms.
//!
//! Promise: one pass finds every such problem; what is wrong is taken out of the tree, so that the
//! rest can still be read. Not here: rules over several keys (`check`).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeString, DeTable, DeValue};

use super::excerpt::Source;
use super::problems::Problem;
use super::schema::{Kind, Shape, TAG, join, keys_named};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::network::Network;
use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// Where keys stand in a text.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<String, Range<usize>>);

impl Places {
    /// The span of the first of these keys that stands in the text, or of the table around the
    /// first one.
    pub(super) fn find(&self, keys: &[String]) -> Option<Range<usize>> {
        let direct = keys.iter().find_map(|key| self.0.get(key));
        let around = || {
            let mut path = keys.first()?.as_str();
            while let Some((table, _)) = path.rsplit_once('.') {
                if let Some(span) = self.0.get(table) {
                    return Some(span);
                }
                path = table;
            }
            None
        };
        direct.or_else(around).cloned()
    }

    /// Forgets a key whose value no longer comes from the text.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }
}

/// A walk through one text.
pub(super) struct Walk<'s, 't> {
    source: &'s Source<'t>,
    /// What was found.
    pub(super) problems: Vec<Problem>,
    /// Every key of the text that the schema knows.
    pub(super) places: Places,
}

impl<'s, 't> Walk<'s, 't> {
    pub(super) fn new(source: &'s Source<'t>) -> Self {
        Self {
            source,
            problems: Vec::new(),
            places: Places::default(),
        }
    }

    /// Checks a table and takes out of it what is wrong.
    pub(super) fn table(
        &mut self,
        shape: Shape,
        path: &str,
        table: &mut DeTable<'_>,
        span: &Range<usize>,
    ) {
        for name in shape.required().filter(|name| !table.contains_key(*name)) {
            let mut problem =
                Problem::error(join(path, name), "this key is missing").at(self.source.place(span));
            if let Some(what) = shape.property(name).map(Shape::description) {
                problem = problem.help(format!("add `{name} = ...`: {what}"));
            }
            self.problems.push(problem);
        }
        prune(table, |key, value| {
            let name = key.get_ref().as_ref();
            let Some(inner) = shape.property(name) else {
                self.unknown(shape, path, name, &key.span());
                return false;
            };
            self.value(inner, &join(path, name), value)
        });
    }

    /// Checks a table whose keys depend on its `type`; false if it has no type that exists.
    fn tagged(
        &mut self,
        shape: Shape,
        path: &str,
        table: &mut DeTable<'_>,
        span: &Range<usize>,
    ) -> bool {
        let key = join(path, TAG);
        let tag = table.get(TAG).map(|tag| (tag.get_ref(), tag.span()));
        let (fault, at) = match &tag {
            Some((DeValue::String(word), at)) => match shape.variant(word) {
                Some(variant) => {
                    self.table(variant, path, table, span);
                    return true;
                }
                None => (one_of(shape.variants().map(|(word, _)| word), word), at),
            },
            Some((value, at)) => (wrong_type(shape, value), at),
            None => {
                let known: Vec<&str> = shape.variants().map(|(word, _)| word).collect();
                let fault = Fault {
                    message: "this key is missing".to_owned(),
                    help: Some(format!("it is one of {}", words(&known, "or"))),
                };
                (fault, span)
            }
        };
        let mut problem = Problem::error(key, fault.message).at(self.source.place(at));
        problem.help = fault.help;
        self.problems.push(problem);
        false
    }

    fn unknown(&mut self, shape: Shape, path: &str, name: &str, span: &Range<usize>) {
        let known: Vec<&str> = shape.properties().map(|(key, _)| key).collect();
        let elsewhere = keys_named(self.source.root(), name);
        let help = if let Some(near) = nearest(name, &known) {
            format!("did you mean `{near}`?")
        } else if let Some((section, _)) = elsewhere.first() {
            match section.as_str() {
                "" => format!("`{name}` belongs at the top of the file, before any [section]"),
                section => format!("`{name}` belongs in [{section}]"),
            }
        } else {
            format!("the keys here are {}", words(&known, "and"))
        };
        let problem = Problem::error(join(path, name), "unknown key").help(help);
        self.problems.push(problem.at(self.source.place(span)));
    }

    /// Checks a value; false if it cannot be used.
    fn value(&mut self, shape: Shape, path: &str, value: &mut Spanned<DeValue<'_>>) -> bool {
        let span = value.span();
        self.places.0.insert(path.to_owned(), span.clone());
        if shape.may_stand_alone() && matches!(value.get_ref(), DeValue::Table(_)) {
            let alone = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
            let list = vec![Spanned::new(span.clone(), alone)];
            *value.get_mut() = DeValue::Array(list.into_iter().collect());
        }
        let outcome = match (shape.kind(), value.get_mut()) {
            (Kind::Table, DeValue::Table(table)) => {
                self.table(shape, path, table, &span);
                Ok(())
            }
            (Kind::Tagged, DeValue::Table(table)) => {
                return self.tagged(shape, path, table, &span);
            }
            (Kind::Map(values), DeValue::Table(table)) => {
                prune(table, |key, value| {
                    self.value(values, &join(path, key.get_ref()), value)
                });
                Ok(())
            }
            (Kind::Array(items), DeValue::Array(array)) => {
                let mut sound = true;
                for (index, item) in array.iter_mut().enumerate() {
                    sound &= self.value(items, &format!("{path}[{index}]"), item);
                }
                return sound;
            }
            (Kind::Any, _) => return self.anything(path, value),
            (_, value) => scalar(shape, value),
        };
        self.told(path, &span, outcome)
    }

    /// Writes down what is wrong with a value; false if it cannot be used.
    fn told(&mut self, path: &str, span: &Range<usize>, outcome: Result<(), Fault>) -> bool {
        let Err(fault) = outcome else { return true };
        let mut problem = Problem::error(path, fault.message).at(self.source.place(span));
        problem.help = fault.help;
        self.problems.push(problem);
        false
    }

    /// Checks a value that may be all that JSON can say.
    fn anything(&mut self, path: &str, value: &Spanned<DeValue<'_>>) -> bool {
        let outcome = match value.get_ref() {
            DeValue::Table(table) => {
                let mut sound = true;
                for (key, value) in table.iter() {
                    sound &= self.anything(&join(path, key.get_ref()), value);
                }
                return sound;
            }
            DeValue::Array(array) => {
                let mut sound = true;
                for (index, item) in array.iter().enumerate() {
                    sound &= self.anything(&format!("{path}[{index}]"), item);
                }
                return sound;
            }
            DeValue::Integer(number) => in_i64(number),
            DeValue::Float(number) => finite(number),
            DeValue::String(_) | DeValue::Boolean(_) => Ok(()),
            DeValue::Datetime(_) => Err(Fault {
                message: "JSON has no dates".to_owned(),
                help: Some("put it into quotes".to_owned()),
            }),
        };
        self.told(path, &value.span(), outcome)
    }
}

/// Takes out of a table what `sound` says no to.
fn prune<'i>(
    table: &mut DeTable<'i>,
    mut sound: impl FnMut(&Spanned<DeString<'i>>, &mut Spanned<DeValue<'i>>) -> bool,
) {
    let mut unsound = Vec::new();
    for (key, value) in table.iter_mut() {
        if !sound(key, value) {
            unsound.push(key.get_ref().clone());
        }
    }
    for key in unsound {
        table.remove(key.as_ref());
    }
}

/// What is wrong with one value, and how to mend it.
struct Fault {
    message: String,
    help: Option<String>,
}

impl Fault {
    fn new(message: impl Display) -> Self {
        Self {
            message: message.to_string(),
            help: None,
        }
    }
}

fn scalar(shape: Shape, value: &DeValue<'_>) -> Result<(), Fault> {
    match (shape.kind(), value) {
        (Kind::Text, DeValue::String(text)) => form(shape, text),
        (Kind::Size, DeValue::String(text)) => parsed::<ByteSize>(text),
        (Kind::Choice, DeValue::String(word)) => choice(shape, word),
        (Kind::Boolean, DeValue::Boolean(_)) => Ok(()),
        (Kind::Scalar, DeValue::Integer(number)) => in_i64(number),
        (Kind::Scalar, DeValue::Float(number)) => finite(number),
        (Kind::Scalar, DeValue::String(_) | DeValue::Boolean(_)) => Ok(()),
        (Kind::Size, DeValue::Integer(number)) => {
            match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(_) => Ok(()),
                Err(_) => Err(Fault::new(format!("{number} is not a size"))),
            }
        }
        (Kind::Integer(least, most), DeValue::Integer(number)) => {
            match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(Fault::new(format!(
                    "must be {}, not {number}",
                    range(least, most)
                ))),
            }
        }
        (Kind::Float(least, most), DeValue::Float(_) | DeValue::Integer(_)) => {
            let text = match value {
                DeValue::Float(number) => number.as_str(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
                _ => "",
            };
            match text.parse::<f64>() {
                Ok(number) if number >= least && number <= most => Ok(()),
                _ => Err(Fault::new(format!(
                    "must be a number from {least} to {most}"
                ))),
            }
        }
        _ => Err(wrong_type(shape, value)),
    }
}

fn in_i64(number: &DeInteger<'_>) -> Result<(), Fault> {
    match i64::from_str_radix(number.as_str(), number.radix()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::new(format!("{number} is too large"))),
    }
}

fn finite(number: &DeFloat<'_>) -> Result<(), Fault> {
    match number.as_str().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(()),
        _ => Err(Fault::new(format!("{number} is no number of JSON"))),
    }
}

fn wrong_type(shape: Shape, value: &DeValue<'_>) -> Fault {
    let kind = shape.kind();
    let wanted = match kind {
        Kind::Table | Kind::Tagged | Kind::Map(_) => "a table",
        Kind::Array(_) => "an array",
        Kind::Choice | Kind::Text => "a string",
        Kind::Size => "a size",
        Kind::Integer(..) => "a whole number",
        Kind::Float(..) => "a number",
        Kind::Boolean => "true or false",
        Kind::Scalar => "a text, a number, true or false",
        Kind::Any => "what JSON can say",
    };
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    let help = match (&kind, value, shape.format()) {
        (_, DeValue::Integer(number), Some("time-span")) => {
            Some(format!("say the unit: `\"{number}s\"` or `\"{number}ms\"`"))
        }
        (Kind::Scalar | Kind::Any, DeValue::Datetime(_), _) => {
            Some("put it into quotes".to_owned())
        }
        (Kind::Size, ..) => Some("write bytes (`4096`) or `\"512KiB\"`, `\"10MiB\"`".to_owned()),
        (Kind::Array(items), DeValue::Table(_), _)
            if matches!(items.kind(), Kind::Table | Kind::Tagged) =>
        {
            Some("write the header with two brackets: `[[...]]`".to_owned())
        }
        (Kind::Array(_), DeValue::String(_), _) => {
            Some("put it into brackets: `[\"...\"]`".to_owned())
        }
        (Kind::Table, DeValue::Array(_), _) => {
            Some("there is only one: write the header with single brackets".to_owned())
        }
        _ => None,
    };
    Fault {
        message: format!("must be {wanted}, not {found}"),
        help,
    }
}

/// A text in the form that the schema names. A form that is not listed here is still checked when
/// the tree is read; only then at most one such problem is told at a time.
fn form(shape: Shape, text: &str) -> Result<(), Fault> {
    match shape.format() {
        Some("time-span") => parsed::<Span>(text),
        Some("network") => parsed::<Network>(text),
        Some("project-name") => parsed::<ProjectName>(text),
        Some("logstore-name") => parsed::<LogstoreName>(text),
        Some("secret-reference") => SecretRef::try_from(text.to_owned())
            .map(|_| ())
            .map_err(Fault::new),
        Some("socket-address") => text.parse::<SocketAddr>().map(|_| ()).map_err(|_| Fault {
            message: format!("`{text}` is not an address and port"),
            help: Some("write `127.0.0.1:8080` or `[::1]:8080`; names are not looked up".into()),
        }),
        _ => Ok(()),
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<(), Fault> {
    text.parse::<T>().map(|_| ()).map_err(Fault::new)
}

fn choice(shape: Shape, word: &str) -> Result<(), Fault> {
    let mut allowed = shape.choices().map(|(word, _)| word);
    if allowed.any(|known| known == word) {
        return Ok(());
    }
    Err(one_of(shape.choices().map(|(word, _)| word), word))
}

/// A word that is none of those that are allowed.
fn one_of<'w>(allowed: impl Iterator<Item = &'w str>, word: &str) -> Fault {
    let allowed: Vec<&str> = allowed.collect();
    Fault {
        message: format!("`{word}` is not one of {}", words(&allowed, "or")),
        help: nearest(word, &allowed).map(|near| format!("did you mean `{near}`?")),
    }
}

fn range(least: i64, most: i64) -> String {
    if most >= i64::from(u32::MAX) {
        format!("a whole number from {least}")
    } else {
        format!("a whole number from {least} to {most}")
    }
}

/// `a`, `b` and `c`, in backticks.
fn words(list: &[&str], joint: &str) -> String {
    let quoted: Vec<String> = list.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {joint} {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The word that was most likely meant: at most a third of its letters differ.
#[must_use]
pub fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}
