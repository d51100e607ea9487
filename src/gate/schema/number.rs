//! JSON numbers as the `jsonschema` crate reads them: `u64`, `i64`, or `f64`, compared exactly.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// A JSON number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Num {
    /// What is written without point and exponent, and fits 64 bits.
    Whole(i128),
    /// All else. What is beyond a double is the largest one.
    Double(f64),
}

impl Num {
    /// Reads the text of a JSON number.
    #[inline]
    pub(super) fn read(text: &[u8]) -> Self {
        if let Some(small) = small_whole(text) {
            return Self::Whole(i128::from(small));
        }
        if let Some(short) = short_decimal(text) {
            return Self::Double(short);
        }
        Self::of(&number(text))
    }

    /// What a number of a tree is.
    pub(super) fn of(number: &Number) -> Self {
        if let Some(whole) = number.as_u64() {
            return Self::Whole(i128::from(whole));
        }
        if let Some(whole) = number.as_i64() {
            return Self::Whole(i128::from(whole));
        }
        Self::Double(number.as_f64().unwrap_or(0.0))
    }

    /// Whether it is an integer by its value: `1.0` is one.
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Double(double) => double.fract() == 0.0,
        }
    }

    /// Compares by value, with no rounding.
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.cmp(&other),
            (Self::Double(one), Self::Double(other)) => {
                one.partial_cmp(&other).unwrap_or(Ordering::Equal)
            }
            (Self::Whole(one), Self::Double(other)) => whole_to_double(one, other),
            (Self::Double(one), Self::Whole(other)) => whole_to_double(other, one).reverse(),
        }
    }
}

/// Up to 18 digits, with a sign. Not `-0`, which is a double.
#[inline]
fn small_whole(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    match (negative, value) {
        (true, 0) => None,
        (true, value) => Some(-value),
        (false, value) => Some(value),
    }
}

/// A number with a point, no exponent, and up to 15 digits: both parts of the quotient are exact, so
/// it is the double that is nearest to the text.
fn short_decimal(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 15] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14,
    ];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 16 {
        return None;
    }
    let (mut value, mut point) = (0_i64, None);
    for (at, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let decimals = digits.len().checked_sub(point? + 1)?;
    let quotient = value as f64 / POWERS.get(decimals)?;
    Some(if negative { -quotient } else { quotient })
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "whole, and within i128 by the comparisons before"
)]
fn whole_to_double(whole: i128, double: f64) -> Ordering {
    // 2^100: beyond all whole numbers that there are here.
    const FAR: f64 = 1_267_650_600_228_229_401_496_703_205_376.0;
    if double >= FAR {
        return Ordering::Less;
    }
    if double <= -FAR {
        return Ordering::Greater;
    }
    let down = double.floor();
    match whole.cmp(&(down as i128)) {
        Ordering::Equal if double > down => Ordering::Less,
        order => order,
    }
}

/// The number of a JSON text as a tree holds it. What is beyond a double is the largest one.
pub(super) fn number(text: &[u8]) -> Number {
    if let Ok(number) = serde_json::from_slice::<Number>(text) {
        return number;
    }
    let largest = if text.first() == Some(&b'-') {
        f64::MIN
    } else {
        f64::MAX
    };
    Number::from_f64(largest).unwrap_or_else(|| Number::from(0))
}

/// Whether a text is a number by the grammar of JSON.
pub(super) fn is_json_number(text: &[u8]) -> bool {
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    rest = match rest {
        [b'0', after @ ..] => after,
        [b'1'..=b'9', ..] => skip_digits(rest),
        _ => return false,
    };
    if let [b'.', after @ ..] = rest {
        rest = skip_digits(after);
        if rest.len() == after.len() {
            return false;
        }
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let after = match after {
            [b'+' | b'-', after @ ..] => after,
            after => after,
        };
        rest = skip_digits(after);
        if rest.len() == after.len() {
            return false;
        }
    }
    rest.is_empty()
}

fn skip_digits(text: &[u8]) -> &[u8] {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(digits..).unwrap_or_default()
}

/// The tree of a JSON text. A number beyond a double is read as the largest one, as in
/// [`Num::read`]. `None` for what is no JSON, or deeper than a tree may be.
pub(super) fn tree(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text)
        .ok()
        .or_else(|| serde_json::from_slice(&with_bounded_numbers(text)).ok())
}

/// The text with every number that no double can hold replaced.
fn with_bounded_numbers(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 32);
    let mut rest = text;
    while let [first, after @ ..] = rest {
        match first {
            b'"' => {
                let length = string_length(rest);
                let (string, after) = rest.split_at(length);
                out.extend_from_slice(string);
                rest = after;
            }
            b'-' | b'0'..=b'9' => {
                let length = rest
                    .iter()
                    .take_while(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                    .count();
                let (digits, after) = rest.split_at(length);
                if serde_json::from_slice::<Number>(digits).is_ok() || !is_json_number(digits) {
                    out.extend_from_slice(digits);
                } else {
                    out.extend_from_slice(number(digits).to_string().as_bytes());
                }
                rest = after;
            }
            other => {
                out.push(*other);
                rest = after;
            }
        }
    }
    out
}

/// How long the string is that begins a text, with its quotes.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}
