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
