//! The part of the query language that the embedded logstore understands.
//!
//! `*` or nothing: everything. `key: value` and `key: "a value"`: the value of that key, exactly,
//! or its beginning when the unquoted value ends in `*`. A word or a quoted phrase alone: any value
//! that holds it, upper and lower case (of ASCII) alike. `and`, `or`, `not` and parentheses; terms
//! side by side mean `and`. `__topic__`, `__source__` and `__tag__:name` are keys too.
//!
//! Not here: SQL after `|`, and comparisons of numbers.

mod matching;
mod parse;
mod search;

pub use self::parse::{ParseError, parse};
pub(super) use self::search::{Bounds, Page, Row, Search, histogram, logs};

/// A condition on a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// True for every log.
    All,
    /// Some value holds this text, which is in lower case.
    Text(String),
    /// A key has a value.
    Field {
        /// The key, as it appears in results.
        key: String,
        /// What its value must be.
        value: Pattern,
    },
    /// Not so.
    Not(Box<Query>),
    /// All of them.
    And(Vec<Query>),
    /// At least one of them.
    Or(Vec<Query>),
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this.
    Exact(String),
    /// Anything that begins like this.
    Prefix(String),
}
