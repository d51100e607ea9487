//! Finds personal data inside text, however it is written: with spaces, dashes, full-width digits.
//!
//! Promise: linear in the text. Numbers that have a checksum are found only when it is right. Not
//! here: what becomes of what was found (`mask`).

mod digits;
mod email;
#[cfg(test)]
mod tests;

pub(super) use self::digits::Digits;
use super::escaped::{self, Apart, is_apart};
use crate::config::PersonalPattern;

/// A piece of text that is personal, and the characters of it that carry the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Find {
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

/// Finds all data of one kind. `finds` is emptied first; what it gets is in order, and does not overlap.
pub(super) fn find_all(
    pattern: PersonalPattern,
    text: &str,
    digits: &mut Digits,
    finds: &mut Vec<Find>,
) {
    finds.clear();
    match pattern {
        PersonalPattern::Email => email::find_all(text, finds),
        PersonalPattern::Phone => digits.find_all(text, digits::phone, finds),
        PersonalPattern::IdCard => digits.find_all(text, digits::id_card, finds),
        PersonalPattern::BankCard => digits.find_all(text, digits::bank_card, finds),
    }
}

/// Says whether there is personal data of any kind in a text.
#[derive(Default)]
pub struct PersonalFinder {
    digits: Digits,
    finds: Vec<Find>,
}

/// Nothing of what was looked at is printed.
impl std::fmt::Debug for PersonalFinder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PersonalFinder").finish_non_exhaustive()
    }
}

impl PersonalFinder {
    /// Whether there is personal data in a text.
    pub fn finds_any(&mut self, text: &str) -> bool {
        let kinds = [
            PersonalPattern::Email,
            PersonalPattern::Phone,
            PersonalPattern::IdCard,
            PersonalPattern::BankCard,
        ];
        kinds.into_iter().any(|kind| {
            find_all(kind, text, &mut self.digits, &mut self.finds);
            !self.finds.is_empty()
        })
    }
}

impl PersonalFinder {
    /// The same as [`PersonalFinder::hide`], in texts inside JSON as well that are escaped.
    pub fn hide_in_json(&mut self, text: &mut String) -> bool {
        let read = escaped::rewrite(text, &mut |inner, apart| {
            let mut inner = inner.to_owned();
            self.hide_beside(&mut inner, apart).then_some(inner)
        });
        let hidden = read.is_some();
        if let Some(read) = read {
            *text = read;
        }
        hidden
    }

    /// Puts another character of its kind and length in the place of each that carries personal data:
    /// the text keeps its length, its letters and its digits. Whether that changed it.
    pub fn hide(&mut self, text: &mut String) -> bool {
        self.hide_beside(text, &[])
    }

    fn hide_beside(&mut self, text: &mut String, apart: &Apart) -> bool {
        let mut hidden = false;
        for kind in [
            PersonalPattern::Email,
            PersonalPattern::Phone,
            PersonalPattern::IdCard,
            PersonalPattern::BankCard,
        ] {
            find_all(kind, text, &mut self.digits, &mut self.finds);
            for find in &self.finds {
                let Some(found) = text.get(find.start..find.end) else {
                    continue;
                };
                if is_apart(apart, find.start, find.end) {
                    continue;
                }
                // The first digits of a number stay: it begins with no zero, and has the prefix of its kind.
                let mut kept = match kind {
                    PersonalPattern::Email => 0,
                    _ => PREFIX,
                };
                let filled = found.chars().map(|c| match is_separator(kind, c) {
                    true => c,
                    false if kept > 0 => {
                        kept -= 1;
                        c
                    }
                    false => filler(c),
                });
                let filled: String = filled.collect();
                hidden |= filled != found;
                text.replace_range(find.start..find.end, &filled);
            }
        }
        hidden
    }
}

/// Digits of a number that stay when it is hidden.
const PREFIX: u8 = 3;

/// A character of the same kind, with as many bytes.
fn filler(character: char) -> char {
    match (character.len_utf8(), character) {
        (1, '0'..='9') => '0',
        (1, 'a'..='z' | 'A'..='Z') => 'x',
        (1, other) => other,
        (2, _) => '\u{660}',
        (3, _) => '\u{ff10}',
        _ => '\u{1d7ce}',
    }
}

/// Whether a character of a find stands between those that carry the data, and so is left as it is.
pub(super) fn is_separator(pattern: PersonalPattern, character: char) -> bool {
    pattern != PersonalPattern::Email && digits::is_separator(character)
}
