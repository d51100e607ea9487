//! What can be said of most values at a glance: that they pass. Of all others nothing is said here,
//! and the compiled schema decides.

use super::kinds::Types;
use super::names::same;
use super::node::{Action, Node, NumberRules};
use super::number::Num;
use super::object::Known;
use crate::event::Kind;

/// Bytes of a number that is read here: its value fits 64 bits, and a decimal is exact enough to be
/// compared with whole numbers.
const DIGITS: usize = 16;
/// Beyond all numbers that are read here.
const FAR: i64 = 1 << 60;

/// Which values of a field pass at a glance.
#[derive(Debug, Default)]
pub(super) struct Quick {
    text: Texts,
    numbers: Option<Numbers>,
    /// Kinds of which every value passes: a bit for each [`Kind`].
    kinds: u8,
}

/// Which texts pass.
#[derive(Debug, Default)]
enum Texts {
    /// None can be told.
    #[default]
    Unknown,
    /// Those whose bytes are between the last two, however many code points those are; and from the
    /// first on, when each is a code point.
    Length(usize, usize, usize),
    /// Those that read as one of [`Quick::numbers`].
    Numbers,
    /// These.
    Words(Box<[Box<[u8]>]>),
}

/// Numbers between two whole ones, both included.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    least: i64,
    most: i64,
    /// Only those without a point.
    whole: bool,
}

impl Quick {
    /// What is sure of the values of a field whose texts are read as one of the types of `coerce`.
    pub(super) fn new(known: &Known, coerce: Types) -> Self {
        const KINDS: [Kind; 5] = [
            Kind::Number,
            Kind::Boolean,
            Kind::Null,
            Kind::Object,
            Kind::Array,
        ];
        if known.unwelcome || known.bad_name || !known.more.is_empty() {
            return Self::default();
        }
        let Some(node) = &known.first else {
            return Self {
                text: Texts::Length(0, 0, usize::MAX),
                numbers: None,
                kinds: u8::MAX,
            };
        };
        let action = |kind: Kind| node.actions.get(kind as usize).copied();
        let mut kinds = 0;
        for kind in KINDS {
            if action(kind) == Some(Action::Pass) {
                kinds |= 1 << kind as u8;
            }
        }
        let numbers = match action(Kind::Number) {
            Some(Action::Pass | Action::Check) => Numbers::of(node),
            _ => None,
        };
        let text = if coerce.is_empty() {
            match action(Kind::Text) {
                Some(Action::Pass) => Texts::Length(0, 0, usize::MAX),
                Some(Action::Length) => {
                    let min = node.text.as_ref().and_then(|rules| rules.min).unwrap_or(0);
                    let min = usize::try_from(min).unwrap_or(usize::MAX);
                    Texts::Length(min, node.plain.0, node.plain.1)
                }
                Some(Action::Check) => Texts::words_of(node),
                _ => Texts::Unknown,
            }
        } else if coerce.has(Types::NUMBER.with(Types::INTEGER)) && numbers.is_some() {
            Texts::Numbers
        } else {
            Texts::Unknown
        };
        Self {
            text,
            numbers,
            kinds,
        }
    }

    /// Whether a value is sure to pass.
    #[inline]
    pub(super) fn passes(&self, kind: Kind, value: &[u8]) -> bool {
        match self.text {
            Texts::Length(_, least, most) if kind == Kind::Text => {
                value.len() <= most && (value.len() >= least || self.passes_by_value(kind, value))
            }
            _ => self.passes_by_value(kind, value),
        }
    }

    #[inline(never)]
    fn passes_by_value(&self, kind: Kind, value: &[u8]) -> bool {
        match kind {
            Kind::Text => match &self.text {
                Texts::Unknown => false,
                Texts::Length(min, _, most) => {
                    (*min..=*most).contains(&value.len()) && value.is_ascii()
                }
                Texts::Numbers => self.holds(value),
                Texts::Words(words) => words.iter().any(|word| same(word, value)),
            },
            _ if self.kinds & 1 << kind as u8 != 0 => true,
            Kind::Number => self.holds(value),
            _ => false,
        }
    }

    fn holds(&self, text: &[u8]) -> bool {
        self.numbers.is_some_and(|numbers| numbers.hold(text))
    }
}

impl Texts {
    /// The few strings of an `enum`, when nothing else is asked.
    fn words_of(node: &Node) -> Self {
        match node.choices.as_slice() {
            [only] if node.text.is_none() && node.parts.is_empty() && only.many.is_empty() => {
                Self::Words(only.few.clone().into_boxed_slice())
            }
            _ => Self::Unknown,
        }
    }
}

impl Numbers {
    /// The numbers that are sure to pass a schema which does not refuse all.
    fn of(node: &Node) -> Option<Self> {
        if !node.choices.is_empty() || !node.parts.is_empty() {
            return None;
        }
        let mut numbers = Self {
            least: -FAR,
            most: FAR,
            whole: node.types.only_whole(),
        };
        let Some(rules) = &node.number else {
            return Some(numbers);
        };
        let NumberRules { bounds, multiple } = &**rules;
        if multiple.is_some() {
            return None;
        }
        for bound in bounds {
            let (down, up) = around(bound.limit);
            match bound.keyword {
                "minimum" => numbers.least = numbers.least.max(up),
                "exclusiveMinimum" => numbers.least = numbers.least.max(down + 1),
                "maximum" => numbers.most = numbers.most.min(down),
                _ => numbers.most = numbers.most.min(up - 1),
            }
        }
        Some(numbers)
    }

    /// Whether a text is one of the numbers. Of numbers with a sign, an exponent or many digits that
    /// is not known.
    fn hold(self, text: &[u8]) -> bool {
        if text.len() > DIGITS || matches!(text, [] | [b'0', b'0'..=b'9', ..]) {
            return false;
        }
        let mut value = 0_i64;
        let mut rest = text.iter();
        for byte in rest.by_ref() {
            match byte {
                b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
                b'.' => {
                    // It lies between this whole number and the next, and may be rounded to either.
                    let decimals = rest.as_slice();
                    return !self.whole
                        && decimals.len() + 1 < text.len()
                        && !decimals.is_empty()
                        && decimals.iter().all(u8::is_ascii_digit)
                        && self.least <= value
                        && value < self.most;
                }
                _ => return false,
            }
        }
        self.least <= value && value <= self.most
    }
}

/// The whole numbers just below and above a limit, or the limit itself; no farther than [`FAR`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "whole, and within 64 bits by the comparisons before"
)]
fn around(limit: Num) -> (i64, i64) {
    match limit {
        Num::Whole(whole) => {
            let near = whole.clamp(i128::from(-FAR), i128::from(FAR)) as i64;
            (near, near)
        }
        Num::Double(double) => {
            let near = double.clamp(-FAR as f64, FAR as f64);
            (near.floor() as i64, near.ceil() as i64)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::kinds::coerced;
    use super::super::node::Tools;
    use super::super::root::Program;
    use super::super::{Options, Schema};
    use super::*;

    const KINDS: [Kind; 6] = [
        Kind::Text,
        Kind::Number,
        Kind::Boolean,
        Kind::Null,
        Kind::Object,
        Kind::Array,
    ];

    /// Shows what passes at a glance to `see`, and holds it against the compiled schema.
    fn glance(schema: &Value, values: &[&str], mut see: impl FnMut(Kind, &str)) {
        let document = json!({ "properties": { "a": schema } });
        let options = Options {
            coerce: true,
            assert_formats: true,
        };
        let compiled = Schema::compile(&document, options).unwrap().compiled;
        let Program::Fast(rules) = &compiled.program else {
            panic!("{schema} is not fast")
        };
        let (known, notes) = (&rules.known[0], &compiled.shape.notes[0]);
        let mut text = Value::Null;
        for value in values {
            for kind in KINDS {
                if !known.quick.passes(kind, value.as_bytes()) {
                    continue;
                }
                let mut tools = Tools {
                    trees: compiled.trees.as_ref(),
                    text: &mut text,
                };
                let read = coerced(notes.coerce, kind, value.as_bytes());
                let node = known.first.as_ref().unwrap();
                let accepted = node.accepts(read, value.as_bytes(), &mut tools);
                assert!(accepted, "{schema} {kind:?} {value}");
                see(kind, value);
            }
        }
    }

    #[test]
    fn what_passes_at_a_glance_passes() {
        let schemas = [
            json!({ "type": "number", "minimum": 0, "maximum": 10 }),
            json!({ "type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 9.5 }),
            json!({ "type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 3 }),
            json!({ "type": "number", "minimum": 1e300 }),
            json!({ "type": "number", "maximum": -1e300 }),
            json!({ "type": "number", "maximum": 18_446_744_073_709_551_615_u64 }),
            json!({ "type": "integer" }),
            json!({ "type": "integer", "minimum": 0, "maximum": 86_400_000 }),
            json!({ "type": "integer", "multipleOf": 3 }),
            json!({ "type": ["integer", "boolean"] }),
            json!({ "type": ["string", "integer"], "maxLength": 4 }),
            json!({ "minLength": 2, "maxLength": 3 }),
            json!({ "type": "string", "minLength": 3 }),
            json!({ "type": "string", "minLength": u64::MAX }),
            json!({ "enum": ["a", "ab", "abcdefgh", "0123456789", "0123456789abcdefg"] }),
            json!({ "enum": ["a", 1, null] }),
            json!({ "enum": [] }),
            json!({ "const": "a", "maxLength": 0 }),
            json!({ "type": "string", "format": "date" }),
            json!({ "not": { "type": "string" } }),
            json!(true),
            json!(false),
            json!({}),
        ];
        let values = [
            "",
            "a",
            "ab",
            "abc",
            "abcd",
            "\u{4e2d}",
            "\u{4e2d}\u{4e2d}",
            "\u{1f600}",
            "abcdefgh",
            "0123456789",
            "0123456789abcdefg",
            "0",
            "00",
            "01",
            "0.5",
            "0.50",
            "00.5",
            ".5",
            "5.",
            "1",
            "1.0",
            "2",
            "2.999999999999999",
            "3",
            "9",
            "9.4",
            "9.5",
            "9.999999999999999",
            "10",
            "10.0",
            "11",
            "-1",
            "-0",
            "1e0",
            "1e1",
            "86400000",
            "86400001",
            "999999999999999",
            "9999999999999999",
            "99999999999999999",
            "1.2.3",
            "1a",
            " 1",
            "true",
            "null",
            "{}",
            "[]",
            "2026-01-31",
        ];
        for schema in &schemas {
            glance(schema, &values, |_, _| {});
        }
    }

    #[test]
    fn what_clients_send_passes_at_a_glance() {
        let cases = [
            (json!({ "type": "number", "minimum": 0 }), "129.00"),
            (
                json!({ "type": "integer", "minimum": 0, "maximum": 2000 }),
                "1834",
            ),
            (
                json!({ "type": "string", "minLength": 16, "maxLength": 64 }),
                "5f0c7a9e2b1d4e83a6c9",
            ),
            (json!({ "enum": ["page_view", "click"] }), "click"),
            (json!({ "type": "string" }), "any"),
        ];
        for (schema, value) in cases {
            let mut seen = false;
            glance(&schema, &[value], |kind, _| seen |= kind == Kind::Text);
            assert!(seen, "{schema} {value}");
        }
    }

    #[test]
    fn texts_of_any_length_are_compared_whole() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..=40 {
            let one = &text[..length];
            assert!(same(one, one));
            assert!(!same(one, &text[..length.saturating_sub(1)]) || length == 0);
            for at in 0..length {
                let mut other = one.to_vec();
                other[at] ^= 1;
                assert!(!same(one, &other), "{length} {at}");
            }
        }
    }
}
