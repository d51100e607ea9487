//! Patterns: ECMA 262 regular expressions in linear time.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jsonschema_regex::PatternAnalysis;
use regex::{Regex, RegexBuilder};

/// Bytes that one compiled pattern may take.
pub(super) const MAX_PROGRAM: usize = 1 << 20;
/// Bytes of tables that one pattern may build while it is used, for each thread.
pub(super) const MAX_TABLES: usize = 1 << 20;

/// A pattern, not anchored unless it says so.
pub(super) enum Pattern {
    /// `^literal`.
    Prefix(String),
    /// `^literal$`.
    Exact(String),
    /// `^(a|b|c)$`.
    OneOf(Vec<String>),
    /// `^\S*$`.
    NoSpace,
    /// Any other.
    Regex(Regex),
}

impl Pattern {
    /// Compiles a pattern; its meaning is that which the `jsonschema` crate gives it.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        match jsonschema_regex::analyze_pattern(source) {
            Some(PatternAnalysis::Prefix(literal)) => {
                return Ok(Self::Prefix(literal.into_owned()));
            }
            Some(PatternAnalysis::Exact(literal)) => return Ok(Self::Exact(literal.into_owned())),
            Some(PatternAnalysis::Alternation(literals)) => return Ok(Self::OneOf(literals)),
            Some(PatternAnalysis::NoWhitespace) => return Ok(Self::NoSpace),
            None => {}
        }
        let translated = jsonschema_regex::to_rust_regex(source)
            .map_err(|()| "it is not a regular expression of ECMA 262".to_owned())?;
        RegexBuilder::new(&translated)
            .size_limit(MAX_PROGRAM)
            .dfa_size_limit(MAX_TABLES)
            .build()
            .map(Self::Regex)
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    format!("it needs more than {MAX_PROGRAM} bytes when compiled")
                }
                error => error
                    .to_string()
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned(),
            })
    }

    /// Whether a text has a match.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(text) else {
            return false;
        };
        match self {
            Self::Prefix(literal) => text.starts_with(literal.as_str()),
            Self::Exact(literal) => text == literal,
            Self::OneOf(literals) => literals.iter().any(|literal| literal == text),
            Self::NoSpace => !jsonschema_regex::contains_ecma_whitespace(text),
            // A few patterns make the engine panic on some texts (rust-lang/regex#1344). As in the
            // crate, that is no match.
            Self::Regex(regex) => {
                catch_unwind(AssertUnwindSafe(|| regex.is_match(text))).unwrap_or(false)
            }
        }
    }
}
