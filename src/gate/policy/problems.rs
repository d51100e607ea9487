//! What is wrong with a policy document, and where.
//!
//! Promise: every text is bounded and harmless in a terminal and a log, however hostile the
//! document.

use std::fmt;

/// The most problems that are kept; the others are counted.
const MOST: usize = 20;
/// The most characters of a document that a message repeats.
const EXCERPT: usize = 60;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyProblem {
    /// Where: a JSON pointer (RFC 6901), with control characters escaped and long names cut. Empty
    /// for the document as a whole.
    pub pointer: String,
    /// What is wrong, and how to mend it.
    pub message: String,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.pointer.is_empty() {
            write!(f, "{}: ", self.pointer)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a document; twenty problems are told, the others are counted. To
/// be read by people, as lines.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PolicyProblems {
    list: Vec<PolicyProblem>,
    more: usize,
}

impl PolicyProblems {
    /// The message is written out only when it is kept.
    pub(super) fn add(&mut self, at: &Place<'_>, message: impl fmt::Display) {
        if self.list.len() < MOST {
            self.list.push(PolicyProblem {
                pointer: at.to_string(),
                message: message.to_string(),
            });
        } else {
            self.more += 1;
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems that are told.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyProblem> {
        self.list.iter()
    }

    /// How many there are besides.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }
}

impl std::error::Error for PolicyProblems {}

impl fmt::Display for PolicyProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.list.iter().enumerate() {
            let line_break = if n > 0 { "\n" } else { "" };
            write!(f, "{line_break}{problem}")?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

/// A place in a document, written out as a JSON pointer only when something is wrong there.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl<'a> Place<'a> {
    pub(super) fn member(&'a self, name: &'a str) -> Self {
        Self::Member(self, name)
    }

    pub(super) fn item(&'a self, n: usize) -> Self {
        Self::Item(self, n)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(parent, name) => {
                let name = Excerpt(name)
                    .to_string()
                    .replace('~', "~0")
                    .replace('/', "~1");
                write!(f, "{parent}/{name}")
            }
            Self::Item(parent, n) => write!(f, "{parent}/{n}"),
        }
    }
}

/// The beginning of a text, with what a terminal would obey as escapes.
pub(super) struct Excerpt<'t>(pub(super) &'t str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(EXCERPT) {
            write!(f, "{}", c.escape_debug())?;
        }
        match chars.next() {
            Some(_) => f.write_str("…"),
            None => Ok(()),
        }
    }
}

/// The known word that is probably meant, as the end of a message.
pub(super) struct Suggestion<'t, I>(pub(super) &'t str, pub(super) I);

impl<'w, I: Iterator<Item = &'w str> + Clone> fmt::Display for Suggestion<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Excerpt(self.0).to_string().to_lowercase();
        let distance = |name: &str| strsim::damerau_levenshtein(&word, &name.to_lowercase());
        let nearest = self.1.clone().map(|name| (distance(name), name)).min();
        match nearest {
            Some((0..=3, name)) => write!(f, "; did you mean `{name}`?"),
            _ => Ok(()),
        }
    }
}
