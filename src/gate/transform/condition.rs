//! For which events a step runs.

use regex::Regex;

use super::draft::Draft;
use super::problem::Defect;
use crate::config::{When, compile_regex};
use crate::gate::policy::pattern::Pattern;

/// A compiled [`When`].
#[derive(Debug)]
pub(super) struct Condition {
    field: Box<[u8]>,
    asks: Ask,
    not: bool,
}

#[derive(Debug)]
enum Ask {
    Equals(Box<[u8]>),
    Glob(Pattern),
    Matches(Regex),
    Exists(bool),
}

impl Condition {
    pub(super) fn new(when: &When) -> Result<Self, Defect> {
        let asks = if let Some(text) = &when.equals {
            Ask::Equals(text.as_bytes().into())
        } else if let Some(text) = &when.glob {
            let pattern =
                Pattern::new(text).map_err(|_| Defect::new("when.glob", "is too long"))?;
            Ask::Glob(pattern)
        } else if let Some(text) = &when.matches {
            Ask::Matches(compile_regex(text).map_err(|why| Defect::new("when.matches", why))?)
        } else {
            Ask::Exists(when.exists.unwrap_or(true))
        };
        Ok(Self {
            field: when.field.as_bytes().into(),
            asks,
            not: when.not,
        })
    }

    /// Whether an event is such a one.
    pub(super) fn holds(&self, draft: &Draft<'_>) -> bool {
        let value = draft.value(&self.field);
        let text = || std::str::from_utf8(value?).ok();
        let holds = match &self.asks {
            Ask::Equals(wanted) => value == Some(&**wanted),
            Ask::Glob(pattern) => text().is_some_and(|text| pattern.matches(text)),
            Ask::Matches(regex) => text().is_some_and(|text| regex.is_match(text)),
            Ask::Exists(wanted) => value.is_some() == *wanted,
        };
        holds != self.not
    }
}
