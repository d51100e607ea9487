//! Writing to people: standard output and standard error, in one place.

use std::io::{self, Write};

use super::{Exit, Failure};
use crate::config::Problems;

/// Writes a line to standard output.
///
/// # Errors
/// When standard output is closed, as by `| head`.
pub(super) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(Exit::Partial, format!("standard output: {error}")))
}

/// Writes a line to standard error. There is nobody to tell when that fails.
pub(super) fn note(text: impl std::fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Writes an error to standard error.
pub(super) fn error(text: impl std::fmt::Display) {
    note(format_args!("error: {text}"));
}

/// Writes a failure to standard error.
pub(super) fn failure(failure: &Failure) {
    if failure.is_rendered() {
        note(failure);
    } else {
        error(failure);
    }
}

/// Problems of a configuration, in colour where somebody looks at them.
pub(super) fn problems(problems: &Problems) -> String {
    problems.render(colour(&io::stderr()))
}

/// Whether to write colours: to a terminal, unless `NO_COLOR` is set (no-color.org).
#[expect(
    clippy::disallowed_methods,
    reason = "the environment decides about colours"
)]
pub(super) fn colour(stream: &impl io::IsTerminal) -> bool {
    stream.is_terminal() && !std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty())
}

/// Text from elsewhere, made safe for a terminal: control characters, and those that turn the
/// direction of writing, are shown as escapes instead of obeyed.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmless(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out
}

/// JSON from elsewhere, made safe for a terminal: the same JSON.
pub(super) fn escape_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmless(c) || c == '\n' {
            out.push(c);
        } else {
            // All of these are below U+10000, and stand in strings.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    out
}

/// Whether a terminal shows this character rather than obey it.
pub(super) fn is_harmless(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}

/// Prints columns as wide as they need to be.
///
/// # Errors
/// As [`line()`].
pub(super) fn table(head: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let head = head.iter().map(|&word| word.to_owned()).collect();
    let mut all: Vec<Vec<String>> = vec![head];
    let escaped = |row: Vec<String>| row.iter().map(|cell| escape(cell)).collect();
    all.extend(rows.into_iter().map(escaped));
    let mut widths: Vec<usize> = Vec::new();
    for row in &all {
        for (index, cell) in row.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(index) {
                Some(known) => *known = width.max(*known),
                None => widths.push(width),
            }
        }
    }
    for row in &all {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_an_escape() {
        assert_eq!(
            escape("a\u{1b}[31m\n\u{9b}\u{202e}é✓"),
            "a\\u{1b}[31m\\n\\u{9b}\\u{202e}é✓"
        );
        assert_eq!(
            escape_json("{\"a\": \"\u{9b}\u{202e}é\"}\n"),
            "{\"a\": \"\\u009b\\u202eé\"}\n"
        );
    }
}
