//! A line of the log: what `tracing` writes, with the generation of the configuration, and without
//! anything that would end it early or move the cursor of a terminal.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes lines as `F` does, and more.
#[derive(Debug)]
pub(super) struct Line<F> {
    inner: F,
    json: bool,
    colours: bool,
}

impl<F> Line<F> {
    /// `F` writes a JSON object.
    pub(super) fn json(inner: F) -> Self {
        Self {
            inner,
            json: true,
            colours: false,
        }
    }

    /// `F` writes text, with escapes where there are `colours`.
    pub(super) fn text(inner: F, colours: bool) -> Self {
        Self {
            inner,
            json: false,
            colours,
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Line<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        let inner = Writer::new(&mut line);
        self.inner.format_event(context, inner, event)?;
        let line = line.trim_end_matches('\n');
        let generation = super::generation();
        if self.json {
            let open = line.strip_suffix('}').unwrap_or(line);
            return writeln!(writer, "{open},\"generation\":{generation}}}");
        }
        write_text(&mut writer, line, self.colours)?;
        writeln!(writer, " generation={generation}")
    }
}

/// Writes a text as one line.
fn write_text(writer: &mut Writer<'_>, text: &str, colours: bool) -> fmt::Result {
    let may_stand = |letter: char| !letter.is_control() || (colours && letter == '\x1b');
    if text.chars().all(may_stand) {
        return writer.write_str(text);
    }
    for letter in text.chars() {
        match may_stand(letter) {
            true => writer.write_char(letter)?,
            false => write!(writer, "{}", letter.escape_default())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_one_line() {
        let written = |text: &str, colours| {
            let mut out = String::new();
            write_text(&mut Writer::new(&mut out), text, colours).unwrap();
            out
        };
        assert_eq!(written("plain, ünd", false), "plain, ünd");
        assert_eq!(
            written("a\nb\r\x1b[31mc\u{9b}", false),
            "a\\nb\\r\\u{1b}[31mc\\u{9b}"
        );
        assert_eq!(written("\x1b[31ma\nb", true), "\x1b[31ma\\nb");
    }
}
