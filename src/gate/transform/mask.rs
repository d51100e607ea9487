//! Puts a character in the place of others.

use regex::Regex;

use super::draft::Draft;
use super::escaped::{self, Apart, is_apart};
use super::names::NameSet;
use super::outcome::Fault;
use super::personal::{Digits, Find, find_all, is_separator};
use super::trouble::Trouble;
use crate::config::PersonalPattern;

/// What is masked in a value.
#[derive(Debug)]
pub(super) enum What {
    /// All of it.
    Whole,
    /// Personal data.
    Personal(PersonalPattern),
    /// What an expression finds.
    Regex(Box<Regex>),
}

/// How a piece is masked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    /// Characters at the beginning that stay.
    pub(super) first: usize,
    /// Characters at the end that stay.
    pub(super) last: usize,
    /// What is put in place of each other one.
    pub(super) character: char,
}

/// A step that masks.
#[derive(Debug)]
pub(super) struct Mask {
    pub(super) fields: NameSet,
    pub(super) what: What,
    pub(super) pen: Pen,
}

/// What masking needs beside the event; the memory is reused.
#[derive(Debug, Default)]
pub(super) struct MaskSheets {
    digits: Digits,
    finds: Vec<Find>,
}

impl MaskSheets {
    /// Gives back memory that only a huge value needed.
    pub(super) fn shrink(&mut self, most: usize) {
        self.finds.clear();
        self.finds.shrink_to(most / size_of::<Find>());
        self.digits.shrink(most);
    }
}

impl Mask {
    pub(super) fn run(
        &self,
        draft: &mut Draft<'_>,
        sheets: &mut MaskSheets,
        scratch: &mut Vec<u8>,
        trouble: &mut Trouble<'_>,
    ) -> Result<(), Fault> {
        let mut place = 0;
        while let Some((name, value)) = draft.at(place) {
            if !self.fields.has(name) {
                place += 1;
                continue;
            }
            scratch.clear();
            let result = match std::str::from_utf8(value) {
                Ok(text) if self.masked(text, sheets, scratch) => draft.set_value(place, scratch),
                Ok(_) => Ok(()),
                Err(_) => Err(Fault::NotText),
            };
            if !trouble.field(result, draft, place)? {
                place += 1;
            }
        }
        Ok(())
    }

    /// Appends the masked text. False: there is nothing to mask.
    pub(super) fn masked(&self, text: &str, sheets: &mut MaskSheets, out: &mut Vec<u8>) -> bool {
        if matches!(self.what, What::Whole) || !escaped::has_escapes(text) {
            return self.put(text, &[], sheets, out);
        }
        // What is escaped is not seen in the text as a whole.
        let read = escaped::rewrite(text, &mut |inner, apart| {
            let mut hidden = Vec::new();
            let found = self.put(inner, apart, sheets, &mut hidden);
            found.then(|| String::from_utf8_lossy(&hidden).into_owned())
        });
        out.extend_from_slice(read.as_deref().unwrap_or_default().as_bytes());
        read.is_some()
    }

    /// The same; what is `apart` is left as it is.
    fn put(&self, text: &str, apart: &Apart, sheets: &mut MaskSheets, out: &mut Vec<u8>) -> bool {
        let mut written = 0;
        let mut put = |find: Find, separates: &dyn Fn(char) -> bool| {
            if is_apart(apart, find.start, find.end) {
                return;
            }
            let between = text.get(written..find.start).unwrap_or_default();
            out.extend_from_slice(between.as_bytes());
            let piece = text.get(find.start..find.end).unwrap_or_default();
            self.pen.draw(piece, separates, out);
            written = find.end;
        };
        match &self.what {
            What::Whole => {
                let whole = Find {
                    start: 0,
                    end: text.len(),
                };
                put(whole, &|_| false);
            }
            What::Personal(pattern) => {
                find_all(*pattern, text, &mut sheets.digits, &mut sheets.finds);
                for find in &sheets.finds {
                    put(*find, &|character| is_separator(*pattern, character));
                }
            }
            What::Regex(regex) => {
                for found in regex.find_iter(text).filter(|found| !found.is_empty()) {
                    let find = Find {
                        start: found.start(),
                        end: found.end(),
                    };
                    put(find, &|_| false);
                }
            }
        }
        if written == 0 {
            return false;
        }
        let rest = text.get(written..).unwrap_or_default();
        out.extend_from_slice(rest.as_bytes());
        true
    }
}

impl Pen {
    /// Appends a piece, masked. Separators stay, and are not counted.
    fn draw(&self, piece: &str, separates: &dyn Fn(char) -> bool, out: &mut Vec<u8>) {
        let count = piece.chars().filter(|c| !separates(*c)).count();
        let stays = self.first + self.last < count;
        let mut place = 0;
        let mut room = [0; 4];
        for character in piece.chars() {
            if separates(character) {
                out.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
                continue;
            }
            let shown = stays && (place < self.first || place >= count - self.last);
            let put = if shown { character } else { self.character };
            out.extend_from_slice(put.encode_utf8(&mut room).as_bytes());
            place += 1;
        }
    }
}
