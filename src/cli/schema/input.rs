//! Where events come from, and each of their lines read as the service would read a request.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use super::lines::{Line, Lines, MAX_LINE};
use super::place;
use crate::app::{EventReader, LookAtEvent, TextForm};
use crate::cli::{Exit, Failure};
use crate::event::Refusal;

/// Opens a file of events, or standard input for `-`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn open(path: &Path) -> Result<Lines, Failure> {
    if path == Path::new("-") {
        return Ok(Lines::new(Box::new(BufReader::new(io::stdin()))));
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    Ok(Lines::new(Box::new(BufReader::with_capacity(
        64 << 10,
        file,
    ))))
}

/// The failure of a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Partial,
        format!("cannot read {}: {error}", path.display()),
    )
}

/// Why a line holds no events.
pub(super) struct Refused {
    /// A word for it.
    pub(super) reason: &'static str,
    /// What is wrong.
    pub(super) message: String,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason().label(),
            message: refusal.message(),
        }
    }
}

/// A line that is too long.
pub(super) fn too_long() -> Refused {
    Refused {
        reason: "line_too_long",
        message: format!("the line is longer than {MAX_LINE} bytes"),
    }
}

/// Reads the events of one line.
///
/// # Errors
/// Why a request with this line would be refused before any schema. Some of its events may have been
/// shown.
pub(super) fn read(
    reader: &mut EventReader,
    text: &[u8],
    look: &mut LookAtEvent<'_>,
) -> Result<u32, Refused> {
    let form = if place::is_body(text) {
        TextForm::Body
    } else {
        TextForm::Events
    };
    Ok(reader.read(text, form, look)?)
}

/// Shows each line to `each`, until it says `false`.
///
/// # Errors
/// When the input cannot be read on, and what `each` fails with.
pub(super) fn each_line(
    path: &Path,
    mut each: impl FnMut(u64, Result<&[u8], Refused>) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut lines = open(path)?;
    loop {
        let goes_on = match lines.next() {
            Err(error) => return Err(unreadable(path, &error)),
            Ok(None) => return Ok(()),
            Ok(Some(Line::Text(number, text))) => each(number, Ok(text))?,
            Ok(Some(Line::TooLong(number))) => each(number, Err(too_long()))?,
        };
        if !goes_on {
            return Ok(());
        }
    }
}
