//! The text of a configuration: where an offset is, and which part of a line may be shown.
//!
//! Promise: a value of a key that refers to a secret, or of a key that is not known, is not shown.
//! A line that cannot be understood is not shown at all.

use std::ops::Range;

use super::problems::Place;
use super::schema::{KeyNature, Shape, nature};

/// A text with its place names.
pub(super) struct Source<'t> {
    text: &'t str,
    /// The top table of the document: it says which keys may hold secrets.
    root: Shape,
}

impl<'t> Source<'t> {
    pub(super) fn new(text: &'t str, root: Shape) -> Self {
        Self { text, root }
    }

    /// The top table of the document.
    pub(super) fn root(&self) -> Shape {
        self.root
    }

    /// The place of a span in a text that TOML could read.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.locate(span, |line| showable(self.root, line))
    }

    /// The place of a span in a text that TOML could not read.
    pub(super) fn place_of_syntax(&self, span: &Range<usize>) -> Place {
        self.locate(span, |line| {
            let understood = match first_key(line) {
                Some(key) => nature(self.root, key) != KeyNature::Unknown,
                None => line.trim_start().starts_with('['),
            };
            understood.then(|| showable(self.root, line)).flatten()
        })
    }

    fn locate(&self, span: &Range<usize>, show: impl Fn(&str) -> Option<String>) -> Place {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end).max(start);
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line = rest.lines().next().unwrap_or_default();
        let marked = self.text.get(start..end).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default();
        Place {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            width: marked.chars().count().max(1),
            excerpt: show(line).map(|line| line.replace(char::is_control, " ")),
        }
    }

    fn boundary(&self, offset: usize) -> usize {
        self.text.floor_char_boundary(offset.min(self.text.len()))
    }
}

/// The part of a line that holds no secret.
fn showable(root: Shape, line: &str) -> Option<String> {
    // A URL with a user may have a password, under whatever key.
    if line
        .split_once("://")
        .is_some_and(|(_, rest)| rest.contains('@'))
    {
        let (before, _) = line.split_once('=')?;
        return Some(format!("{before}= …"));
    }
    for (at, _) in line.match_indices('=') {
        let (before, after) = line.split_at(at);
        match nature(root, key_before(before)) {
            KeyNature::Plain => {}
            KeyNature::Mixed if !may_be_secret(after) => {}
            KeyNature::Secret | KeyNature::Mixed | KeyNature::Unknown => {
                return Some(format!("{before}= …"));
            }
        }
    }
    Some(line.trim_end().to_owned())
}

/// Whether what stands after a key may be a secret: not a list, and not a short number.
fn may_be_secret(after: &str) -> bool {
    let value = after.trim_start_matches('=').trim();
    let number = value.len() <= 8 && value.bytes().all(|byte| byte.is_ascii_digit());
    !(value.starts_with('[') || number)
}

/// The key in front of the first `=`.
fn first_key(line: &str) -> Option<&str> {
    line.split_once('=').map(|(before, _)| key_before(before))
}

/// The last part of a key that ends here.
fn key_before(text: &str) -> &str {
    let trimmed = text.trim_end().trim_end_matches(['"', '\'']);
    trimmed
        .rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::root;

    fn shown(text: &str) -> Option<String> {
        Source::new(text, root()).place(&(0..1)).excerpt
    }

    fn shown_broken(text: &str) -> Option<String> {
        Source::new(text, root()).place_of_syntax(&(0..1)).excerpt
    }

    #[test]
    fn a_plain_line_is_shown_whole() {
        let line = "listen = \"127.0.0.1:80\" # here";
        assert_eq!(shown(line).as_deref(), Some(line));
    }

    #[test]
    fn the_value_of_a_secret_or_unknown_key_is_never_shown() {
        for line in [
            "secret = \"hunter2\"",
            "secert = \"hunter2\"",
            "\"secret\"='hunter2'",
            "identity.jwt = [{ kid = \"a\", secret = \"hunter2\" }]",
        ] {
            let text = shown(line).unwrap();
            assert!(text.ends_with("= …") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_line_that_toml_could_not_read_is_shown_only_when_its_key_is_known() {
        assert_eq!(
            shown_broken("max_age = 2s").as_deref(),
            Some("max_age = 2s")
        );
        assert_eq!(shown_broken("[batch").as_deref(), Some("[batch"));
        assert_eq!(
            shown_broken("secret = hunter2").as_deref(),
            Some("secret = …")
        );
        assert_eq!(shown_broken("secret hunter2"), None);
        assert_eq!(shown_broken("aHVudGVyMg=="), None);
    }

    #[test]
    fn columns_count_characters() {
        let text = "level = \"ok\"\nlevel = \"äöü\" x";
        let at = text.find('x').unwrap();
        let place = Source::new(text, root()).place(&(at..at + 1));
        assert_eq!((place.line, place.column, place.width), (2, 15, 1));
    }

    #[test]
    fn an_offset_past_the_end_or_inside_a_character_is_a_place_too() {
        assert_eq!(Source::new("", root()).place(&(9..12)).line, 1);
        assert_eq!(Source::new("ä", root()).place(&(1..1)).column, 1);
    }
}
