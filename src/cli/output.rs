//! Writing to people: standard output and standard error, in one place.

use std::io::{self, Write};

use super::{Exit, Failure};

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
