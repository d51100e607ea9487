//! Writing to people: standard output and standard error, in one place.

use std::io::{self, Write};

use super::{Exit, Failure};
use crate::config::Problems;

/// Writes a line to standard output.
///
/// # Errors
/// As [`written`].
pub(super) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// What writing results to standard output came to. Who reads no further, as `| head`, has enough:
/// the command goes on to its own end, and its exit code.
///
/// # Errors
/// When they could not be written, as to a full disk.
pub(super) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Partial,
            format!("standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes a line to standard error. There is nobody to tell when that fails.
pub(super) fn note(text: impl std::fmt::Display) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Writes an error to standard error.
pub(super) fn error(text: impl std::fmt::Display) {
    note(format_args!("error: {text}"));
}

/// Writes a failure to standard error, for people.
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

/// Whether to write colours: to a terminal that knows them. `NO_COLOR` (no-color.org) forbids them;
/// `CLICOLOR_FORCE` asks for them elsewhere too, and `CLICOLOR=0` for none (bixense.com/clicolors).
pub(super) fn colour(stream: &impl io::IsTerminal) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment decides about colours"
    )]
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if value("NO_COLOR").is_some() {
        return false;
    }
    if value("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    let refused = value("CLICOLOR").as_deref() == Some("0");
    !refused && value("TERM").as_deref() != Some("dumb") && stream.is_terminal()
}

/// A word in a colour, where somebody looks at standard output: 31 is red, 32 green, 33 yellow.
pub(super) fn coloured(word: &str, colour: u8, on: bool) -> String {
    match on {
        true => format!("\u{1b}[{colour}m{word}\u{1b}[0m"),
        false => word.to_owned(),
    }
}

/// Text of ours without its colours.
pub(super) fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    out
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
        let red = coloured("a", 31, true);
        assert_eq!(without_colours(&format!("{red} b")), "a b");
        assert_eq!(coloured("a", 31, false), "a");
        assert_eq!(
            escape_json("{\"a\": \"\u{9b}\u{202e}é\"}\n"),
            "{\"a\": \"\\u009b\\u202eé\"}\n"
        );
    }
}
