//! What is wrong with a configuration, and where: a list for people.
//!
//! Promise: a secret written in the text by mistake is not shown; see [`super::excerpt`].

use std::fmt;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Tollgate does not start.
    Error,
    /// Tollgate starts; someone should look at it.
    Warning,
}

impl Severity {
    fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Error => "\u{1b}[1;31m",
            Self::Warning => "\u{1b}[1;33m",
        }
    }
}

const BOLD: &str = "\u{1b}[1m";
const RESET: &str = "\u{1b}[0m";

/// A place in the text of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Characters to underline, at least 1.
    pub width: usize,
    /// The line, with secrets cut off. None where it cannot be told whether it holds one.
    pub excerpt: Option<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The dotted key, such as `project[0].upstream`. Empty for the text as a whole.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Where it is, if it stands in a text.
    pub place: Option<Place>,
}

impl Problem {
    /// An error at a key.
    #[must_use]
    pub fn error(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            key: key.into(),
            message: message.into(),
            help: None,
            place: None,
        }
    }

    /// The same, with a way to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// `key: message`, or only the message.
    /// On one line, and without control characters: a quoted key of TOML may hold any.
    fn headline(&self) -> String {
        let headline = if self.key.is_empty() {
            self.message.clone()
        } else {
            format!("{}: {}", self.key, self.message)
        };
        let mut shown = String::with_capacity(headline.len());
        for character in headline.chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown
    }
}

/// What is said where others could not be looked for.
const MORE: &str = "note: keys that have to fit together, and files that are named, are looked at once these are mended";

/// The problems of one configuration: never empty, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    origin: String,
    list: Vec<Problem>,
    /// There may be more, which could not be looked for.
    unfinished: bool,
}

impl Problems {
    /// The problems as a list, if there is any. `origin` is the file's name, or empty.
    #[must_use]
    pub fn of(origin: &str, mut list: Vec<Problem>) -> Option<Self> {
        list.sort_by_key(|problem| match &problem.place {
            Some(place) => (place.line, place.column),
            None => (usize::MAX, 0),
        });
        (!list.is_empty()).then(|| Self {
            origin: origin.to_owned(),
            list,
            unfinished: false,
        })
    }

    /// The same, where they kept others from being looked for.
    pub(super) fn unfinished(self) -> Self {
        Self {
            unfinished: true,
            ..self
        }
    }

    /// Whether these are all that could be looked for.
    #[must_use]
    pub fn are_all(&self) -> bool {
        !self.unfinished
    }

    /// A single problem.
    pub(super) fn one(origin: &str, problem: Problem) -> Self {
        Self {
            origin: origin.to_owned(),
            list: vec![problem],
            unfinished: false,
        }
    }

    /// The name of the text that they are of; empty where there is none.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Every problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Whether one of them keeps Tollgate from starting.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// The problems as rustc shows its own: the place, the line, a caret, how to mend it.
    /// `colour` adds terminal codes.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut blocks: Vec<String> = self
            .iter()
            .map(|problem| fmt::from_fn(|f| self.block(problem, colour, f)).to_string())
            .collect();
        if self.unfinished && blocks.len() > 1 {
            blocks.push(format!("{MORE}\n"));
        }
        blocks.join("\n")
    }

    fn block(&self, problem: &Problem, colour: bool, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (red, bold, reset) = if colour {
            (problem.severity.colour(), BOLD, RESET)
        } else {
            ("", "", "")
        };
        let label = problem.severity.label();
        let headline = problem.headline();
        write!(out, "{}", self.position(problem))?;
        writeln!(out, "{red}{label}{reset}{bold}: {headline}{reset}")?;
        if let Some(Place {
            line,
            column,
            width,
            excerpt: Some(excerpt),
        }) = &problem.place
        {
            let shown = excerpt.chars().count();
            let indent = (column - 1).min(shown);
            let carets = "^".repeat((*width).min(shown - indent).max(1));
            let gutter = " ".repeat(line.to_string().len());
            writeln!(out, "{gutter} |")?;
            writeln!(out, "{line} | {excerpt}")?;
            writeln!(out, "{gutter} | {}{red}{carets}{reset}", " ".repeat(indent))?;
        }
        if let Some(help) = &problem.help {
            writeln!(out, "{bold}help{reset}: {help}")?;
        }
        Ok(())
    }

    /// One line for each problem, without the text: for logs and editors.
    #[must_use]
    pub fn render_compact(&self) -> String {
        let mut out = String::new();
        for problem in self.iter() {
            out.push_str(&self.position(problem));
            out.push_str(problem.severity.label());
            out.push_str(": ");
            out.push_str(&problem.headline());
            if let Some(help) = &problem.help {
                out.push_str(" (");
                out.push_str(help);
                out.push(')');
            }
            out.push('\n');
        }
        out
    }

    /// `file:line:column: `, as far as it is known.
    fn position(&self, problem: &Problem) -> String {
        match &problem.place {
            Some(place) => format!("{}:{}:{}: ", self.origin, place.line, place.column),
            None if self.origin.is_empty() => String::new(),
            None => format!("{}: ", self.origin),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems() -> Problems {
        let place = Place {
            line: 12,
            column: 1,
            width: 8,
            excerpt: Some("max_byte = 1".to_owned()),
        };
        let known = Problem::error("batch.max_byte", "unknown key")
            .help("did you mean `max_bytes`?")
            .at(place);
        let whole = Problem::error("", "no project");
        Problems::of("x.toml", vec![whole, known]).unwrap()
    }

    #[test]
    fn a_problem_shows_its_line_with_a_caret_and_how_to_mend_it() {
        assert_eq!(
            problems().to_string(),
            "x.toml:12:1: error: batch.max_byte: unknown key\n   \
             |\n12 | max_byte = 1\n   | ^^^^^^^^\nhelp: did you mean `max_bytes`?\n\
             \nx.toml: error: no project\n"
        );
    }

    #[test]
    fn a_control_character_in_a_key_does_not_reach_the_terminal() {
        let problem = Problem::error("\u{1b}[31m\n", "unknown key");
        assert_eq!(
            Problems::one("", problem).to_string(),
            "error: \\u{1b}[31m\\n: unknown key\n"
        );
    }

    #[test]
    fn the_compact_form_has_one_line_a_problem() {
        assert_eq!(
            problems().render_compact(),
            "x.toml:12:1: error: batch.max_byte: unknown key (did you mean `max_bytes`?)\n\
             x.toml: error: no project\n"
        );
    }

    #[test]
    fn colour_is_only_there_when_asked_for() {
        assert!(problems().render(true).contains("\u{1b}[1;31merror"));
        assert!(!problems().render(false).contains('\u{1b}'));
    }
}
