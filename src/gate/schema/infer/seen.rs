//! What is remembered of one field.

use std::cmp::Ordering;

use serde_json::Number;

use super::super::kinds::Types;
use super::super::number::{Num, is_json_number, number};
use super::formats::FormatSet;
use super::{Tools, personal};
use crate::event::{Field, Kind};

/// Distinct texts that are remembered; past them they are no choices.
pub(super) const MAX_DISTINCT: usize = 64;
/// Bytes of a text that may be a choice.
const LONGEST_CHOICE: usize = 64;
/// Examples of a field.
pub(super) const MAX_EXAMPLES: usize = 3;
/// Characters of an example.
const LONGEST_EXAMPLE: usize = 64;

/// The smallest and the largest of some numbers.
#[derive(Clone, Default)]
pub(super) struct Numbers {
    pub(super) range: Option<(Number, Number)>,
    /// Whether one of them has a fraction.
    pub(super) fractions: bool,
}

impl Numbers {
    pub(super) fn add(&mut self, text: &[u8]) {
        let new = number(text);
        let value = Num::of(&new);
        self.fractions |= !value.is_whole();
        match &mut self.range {
            None => self.range = Some((new.clone(), new)),
            Some((low, high)) => {
                if value.compare(Num::of(low)) == Ordering::Less {
                    *low = new;
                } else if value.compare(Num::of(high)) == Ordering::Greater {
                    *high = new;
                }
            }
        }
    }

    /// The range of both.
    pub(super) fn with(mut self, other: &Self) -> Self {
        if let Some((low, high)) = &other.range {
            self.add(low.to_string().as_bytes());
            self.add(high.to_string().as_bytes());
        }
        self.fractions |= other.fractions;
        self
    }
}

/// One field, in the events of one type.
pub(super) struct FieldSeen {
    pub(super) name: Box<str>,
    /// Events that have it.
    pub(super) events: u64,
    /// The number of the last of them.
    last: u64,
    /// What its values were; numbers as [`Types::NUMBER`].
    pub(super) kinds: Types,
    pub(super) numbers: Numbers,
    /// Values that were texts.
    pub(super) texts: u64,
    /// The numbers that texts read as, while all of them do.
    pub(super) text_numbers: Option<Numbers>,
    pub(super) texts_are_booleans: bool,
    /// Code points of the longest text.
    pub(super) longest: u64,
    pub(super) formats: FormatSet,
    /// The texts, while they are few and short.
    pub(super) distinct: Option<Vec<Box<str>>>,
    pub(super) examples: Vec<Box<str>>,
    pub(super) is_personal: bool,
}

impl FieldSeen {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            events: 0,
            last: 0,
            kinds: Types::NONE,
            numbers: Numbers::default(),
            texts: 0,
            text_numbers: Some(Numbers::default()),
            texts_are_booleans: true,
            longest: 0,
            formats: FormatSet::ALL,
            distinct: Some(Vec::new()),
            examples: Vec::new(),
            is_personal: personal::is_name(name),
        }
    }

    /// A value of the event number `event`, from 1. A name may come twice in one event.
    pub(super) fn add(&mut self, event: u64, field: Field<'_>, tools: &mut Tools) {
        if self.last != event {
            self.last = event;
            self.events += 1;
        }
        self.kinds = self.kinds.with(match field.kind {
            Kind::Text => Types::STRING,
            Kind::Number => Types::NUMBER,
            Kind::Boolean => Types::BOOLEAN,
            Kind::Null => Types::NULL,
            Kind::Object => Types::OBJECT,
            Kind::Array => Types::ARRAY,
        });
        match field.kind {
            Kind::Number => {
                let text = String::from_utf8_lossy(field.value);
                self.look_for_personal(&text, tools);
                self.numbers.add(field.value);
            }
            Kind::Text => self.text(&String::from_utf8_lossy(field.value), tools),
            _ => {}
        }
    }

    fn look_for_personal(&mut self, text: &str, tools: &mut Tools) {
        if !self.is_personal && tools.personal.is_value(text) {
            self.is_personal = true;
            self.distinct = None;
            self.examples = Vec::new();
        }
    }

    fn text(&mut self, text: &str, tools: &mut Tools) {
        self.texts += 1;
        match &mut self.text_numbers {
            Some(numbers) if is_json_number(text.as_bytes()) => numbers.add(text.as_bytes()),
            other => *other = None,
        }
        self.texts_are_booleans &= matches!(text, "true" | "false");
        self.longest = self.longest.max(text.chars().count() as u64);
        self.formats = tools.formats.of(text, self.formats);
        self.look_for_personal(text, tools);
        if self.is_personal {
            self.distinct = None;
            return;
        }
        if let Some(distinct) = &mut self.distinct
            && !distinct.iter().any(|known| **known == *text)
        {
            if distinct.len() < MAX_DISTINCT && text.len() <= LONGEST_CHOICE {
                distinct.push(text.into());
            } else {
                self.distinct = None;
            }
        }
        self.example(text);
    }

    fn example(&mut self, text: &str) {
        if self.examples.len() >= MAX_EXAMPLES || text.is_empty() {
            return;
        }
        let mut shown = text;
        if text.contains("://") {
            // What stands behind the path of an address may be anything.
            if text.contains('@') {
                return;
            }
            shown = text.split(['?', '#']).next().unwrap_or_default();
        }
        let example: String = match shown.char_indices().nth(LONGEST_EXAMPLE) {
            None => shown.to_owned(),
            Some(_) => {
                let cut = shown.chars().take(LONGEST_EXAMPLE - 1);
                cut.chain(['\u{2026}']).collect()
            }
        };
        if !self.examples.iter().any(|known| **known == *example) {
            self.examples.push(example.into());
        }
    }
}
