//! Numbers that are personal: phones, identity cards, bank cards.
//!
//! A text is cut into groups of digits; groups that stand close together make a sequence. A number is
//! made of whole groups of a sequence, so that no part of a longer number is taken for one.

use super::Find;

/// The most digits of a number that is looked for, and so of a group that may be part of one.
const LONGEST: usize = 19;
/// Separators between two digits of one number at most.
const WIDEST_GAP: usize = 3;

/// One digit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digit {
    at: usize,
    end: usize,
    value: u8,
    /// Whether a group begins here.
    begins: bool,
}

/// The digits of the sequence at hand; the memory is reused.
#[derive(Debug, Default)]
pub(in crate::gate::transform) struct Digits(Vec<Digit>);

/// A number that begins with the first of some digits: how many digits it has, where it ends, and how
/// many of its digits say only the country.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    digits: usize,
    skipped: usize,
    end: usize,
}

/// Says whether a number begins with the first of these digits of a text.
type Shape = fn(&[Digit], &str) -> Option<Number>;

impl Digits {
    /// Gives back memory that only a huge value needed.
    pub(in crate::gate::transform) fn shrink(&mut self, most: usize) {
        self.0.clear();
        self.0.shrink_to(most / size_of::<Digit>());
    }

    pub(super) fn find_all(&mut self, text: &str, shape: Shape, finds: &mut Vec<Find>) {
        self.0.clear();
        let mut gap = WIDEST_GAP + 1;
        for (at, character) in text.char_indices() {
            if let Some(value) = digit(character) {
                if gap > WIDEST_GAP {
                    self.settle(text, shape, finds);
                }
                self.0.push(Digit {
                    at,
                    end: at + character.len_utf8(),
                    value,
                    begins: gap > 0,
                });
                gap = 0;
            } else if is_separator(character) {
                gap += 1;
            } else {
                gap = WIDEST_GAP + 1;
            }
        }
        self.settle(text, shape, finds);
    }

    /// Looks at the sequence at hand, and begins another one.
    fn settle(&mut self, text: &str, shape: Shape, finds: &mut Vec<Find>) {
        let mut place = 0;
        while let Some(rest) = self.0.get(place..).filter(|rest| !rest.is_empty()) {
            let number = shape(rest, text);
            if let Some(number) = number
                && let Some(first) = rest.get(number.skipped)
            {
                finds.push(Find {
                    start: first.at,
                    end: number.end,
                });
            }
            // On to the next group.
            let from = number.map_or(1, |number| number.digits.max(1));
            let more = rest.iter().skip(from).position(|digit| digit.begins);
            place = more.map_or(self.0.len(), |more| place + from + more);
        }
        self.0.clear();
    }
}

/// The value of a digit: of ASCII, full-width, or Arabic-Indic.
fn digit(character: char) -> Option<u8> {
    let zero = match character {
        '0'..='9' => '0',
        '\u{ff10}'..='\u{ff19}' => '\u{ff10}',
        '\u{660}'..='\u{669}' => '\u{660}',
        '\u{6f0}'..='\u{6f9}' => '\u{6f0}',
        _ => return None,
    };
    u8::try_from(u32::from(character) - u32::from(zero)).ok()
}

/// What people put between the digits of a number.
pub(super) fn is_separator(character: char) -> bool {
    matches!(
        character,
        ' ' | '-'
            | '.'
            | '_'
            | '('
            | ')'
            | '\t'
            | '\u{a0}'
            | '\u{ad}'
            | '\u{2000}'..='\u{200d}'
            | '\u{2010}'..='\u{2015}'
            | '\u{202f}'
            | '\u{2060}'
            | '\u{2212}'
            | '\u{3000}'
            | '\u{feff}'
            | '\u{ff08}'
            | '\u{ff09}'
            | '\u{ff0d}'
            | '\u{ff0e}'
            | '\u{b7}'
    )
}

/// Lengths at which the first groups end, none longer than a number may be.
fn lengths(digits: &[Digit]) -> impl DoubleEndedIterator<Item = usize> {
    (1..=digits.len().min(LONGEST))
        .filter(move |length| digits.get(*length).is_none_or(|next| next.begins))
}

/// Where the first `count` digits end.
fn end(digits: &[Digit], count: usize) -> Option<usize> {
    digits.get(count.checked_sub(1)?).map(|last| last.end)
}

fn values(
    digits: &[Digit],
    count: usize,
) -> impl DoubleEndedIterator<Item = u8> + ExactSizeIterator {
    digits
        .get(..count)
        .unwrap_or_default()
        .iter()
        .map(|d| d.value)
}

fn value(digits: &[Digit], place: usize) -> Option<u8> {
    digits.get(place).map(|digit| digit.value)
}

/// A card number: 13 to 19 digits, the first of an issuer that exists, and the right Luhn checksum.
/// Of two readings the longer one counts.
pub(super) fn bank_card(digits: &[Digit], _: &str) -> Option<Number> {
    // 0, 1 and 7 are no cards of banks; a time in milliseconds begins with 1.
    if !matches!(value(digits, 0)?, 2..=6 | 8 | 9) {
        return None;
    }
    let count = lengths(digits)
        .rev()
        .find(|count| *count >= 13 && luhn(values(digits, *count)))?;
    Some(Number {
        digits: count,
        skipped: 0,
        end: end(digits, count)?,
    })
}

/// ISO/IEC 7812: every second digit from the right doubled.
fn luhn(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit);
            match place % 2 {
                0 => digit,
                _ if digit > 4 => 2 * digit - 9,
                _ => 2 * digit,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// An identity number (GB 11643): region, date of birth, sequence, and a checksum of mod 11-2 that may
/// be `X`.
pub(super) fn id_card(digits: &[Digit], text: &str) -> Option<Number> {
    if value(digits, 0)? == 0 {
        return None;
    }
    for count in lengths(digits) {
        if count != 17 && count != 18 {
            continue;
        }
        if !has_birthday(digits) {
            return None;
        }
        let check = check_of(values(digits, 17));
        if count == 18 && value(digits, 17).map(u32::from) == Some(check) {
            return Some(Number {
                digits: 18,
                skipped: 0,
                end: end(digits, 18)?,
            });
        }
        if count == 17
            && check == 10
            && let Some(end) = after_x(text, end(digits, 17)?)
        {
            return Some(Number {
                digits: 17,
                skipped: 0,
                end,
            });
        }
    }
    None
}

/// The check digit of the first 17 digits; 10 stands for `X`.
fn check_of(digits: impl Iterator<Item = u8>) -> u32 {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(digit) * weight)
        .sum();
    (12 - sum % 11) % 11
}

fn has_birthday(digits: &[Digit]) -> bool {
    let number = |from: usize, count: usize| {
        let range = digits.get(from..from + count).unwrap_or_default();
        range
            .iter()
            .fold(0u32, |number, digit| number * 10 + u32::from(digit.value))
    };
    (1850..=2099).contains(&number(6, 4))
        && (1..=12).contains(&number(10, 2))
        && (1..=31).contains(&number(12, 2))
}

/// Where an `X` ends that follows `from`, maybe after a separator, and that begins no word.
fn after_x(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let mut characters = rest.char_indices();
    let (at, x) = characters.find(|(at, c)| !is_separator(*c) || *at > 8)?;
    if !matches!(x, 'x' | 'X' | '\u{ff58}' | '\u{ff38}') {
        return None;
    }
    let next = characters.next().map(|(_, c)| c);
    let ends = next.is_none_or(|c| !c.is_ascii_alphanumeric() && digit(c).is_none());
    ends.then(|| from + at + x.len_utf8())
}

/// A mobile number of China, with or without its country, or one that begins with `+` and a country.
pub(super) fn phone(digits: &[Digit], text: &str) -> Option<Number> {
    let first = digits.first()?;
    let before = text.get(..first.at)?.chars().next_back();
    let plus = matches!(before, Some('+' | '\u{ff0b}' | '\u{fe62}'));
    for count in lengths(digits).rev() {
        let skipped = match count {
            11 => 0,
            13 if values(digits, 2).eq([8, 6]) => 2,
            15 if values(digits, 4).eq([0, 0, 8, 6]) => 4,
            _ => continue,
        };
        if value(digits, skipped) == Some(1) && matches!(value(digits, skipped + 1), Some(3..=9)) {
            return Some(Number {
                digits: count,
                skipped,
                end: end(digits, count)?,
            });
        }
    }
    // E.164: what follows `+` is a country, which has no 0 in front.
    if !plus || value(digits, 0) == Some(0) {
        return None;
    }
    let count = lengths(digits)
        .rev()
        .find(|count| (8..=15).contains(count))?;
    Some(Number {
        digits: count,
        skipped: 0,
        end: end(digits, count)?,
    })
}
