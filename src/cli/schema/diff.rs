//! `tollgate schema diff`: what a changed schema would newly refuse.

use std::path::PathBuf;

use clap::Args;

use super::shown;
use super::test::{Judge, Judged};
use super::{ReadingArgs, counted, input, load};
use crate::app::EventReader;
use crate::cli::{Exit, Failure, output};
use crate::config::Limits;
use crate::gate::schema::{Schema, Work, changes};

/// Events that are told of each kind.
const TOLD: u64 = 5;

const EXAMPLES: &str = "\
Examples:
  tollgate schema diff event.json new.json
      what the new schema refuses and the old one did not, by comparing the two
  tollgate schema diff event.json new.json events.ndjson
      and which of these events would newly fail, and which would newly pass
  tollgate tail --format json | tollgate schema diff event.json new.json -
      the same with what a logstore holds

Compared are: required and unknown fields, types and coercion, enum, const, limits of numbers, lengths
and counts. A pattern, a format and combined schemas (anyOf, not, if ...) are told when they change at
all: whether they refuse more only events can show.

Exit codes: 0 nothing would newly fail, 1 something would or may, or the file cannot be read, 2 the
command line is wrong, 78 a schema is wrong.
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct DiffArgs {
    /// The schema as it is.
    old: PathBuf,
    /// The schema as it shall be.
    new: PathBuf,
    /// Events to run both over: a file of one JSON object a line, or `-` for standard input.
    events: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingArgs,
}

pub(super) fn run(args: &DiffArgs) -> Result<Exit, Failure> {
    let options = args.reading.options();
    let (old_document, old) = load(&args.old, options)?;
    let (new_document, new) = load(&args.new, options)?;
    let found = changes(&old_document, &new_document, options);
    for change in &found.told {
        let pointer = match change.pointer.as_str() {
            "" => "the schema",
            pointer => pointer,
        };
        output::line(output::escape(&format!("{pointer}: {}", change.message)))?;
    }
    if found.hidden > 0 {
        output::line(format_args!("and {} more", found.hidden))?;
    }
    if found.told.is_empty() {
        output::line("by comparison the new schema refuses nothing that the old one takes")?;
    }
    let mut fails = !found.told.is_empty();
    if args.events.is_some() {
        fails |= over_events(args, &old, &new)?;
    }
    Ok(if fails { Exit::Partial } else { Exit::Success })
}

/// Runs both over events; whether one would newly fail.
fn over_events(args: &DiffArgs, old: &Schema, new: &Schema) -> Result<bool, Failure> {
    let Some(path) = &args.events else {
        return Ok(false);
    };
    let mut judge = Judge {
        reader: EventReader::new(&Limits::default()),
        work: Work::default(),
    };
    let mut turned = Turned::default();
    input::each_line(path, |number, line| {
        let judged = line.and_then(|text| {
            let before = judge.line(old, text)?;
            Ok((text, before, judge.line(new, text)?))
        });
        match judged {
            Ok((text, before, after)) => turned.line(number, text, &before, &after)?,
            Err(refused) => {
                turned.lines_refused += 1;
                if turned.lines_refused <= TOLD {
                    output::note(shown::refused(number, &refused));
                }
            }
        }
        Ok(true)
    })?;
    let Turned {
        events,
        to_bad,
        to_good,
        bad_in_both,
        lines_refused,
    } = turned;
    let events = counted(events, "event");
    output::line(format_args!(
        "{events}: {to_bad} would newly fail, {to_good} would newly pass, {bad_in_both} fail in both"
    ))?;
    if lines_refused > 0 {
        let lines = counted(lines_refused, "line");
        output::note(format_args!("{lines} refused before any schema"));
    }
    Ok(to_bad > 0)
}

/// What became of events.
#[derive(Default)]
struct Turned {
    events: u64,
    to_bad: u64,
    to_good: u64,
    bad_in_both: u64,
    lines_refused: u64,
}

impl Turned {
    fn line(
        &mut self,
        line: u64,
        text: &[u8],
        before: &Judged,
        after: &Judged,
    ) -> Result<(), Failure> {
        self.events += u64::from(after.events);
        for bad in &after.bad {
            if is_bad(before, bad.event) {
                self.bad_in_both += 1;
                continue;
            }
            self.to_bad += 1;
            if self.to_bad <= TOLD {
                let place = shown::whereabouts(line, bad.event, after.events);
                output::line(format_args!("{place}: would newly fail"))?;
                output::line(shown::violations(text, bad).join("\n"))?;
            }
        }
        for bad in before.bad.iter().filter(|bad| !is_bad(after, bad.event)) {
            self.to_good += 1;
            if self.to_good <= TOLD {
                let place = shown::whereabouts(line, bad.event, before.events);
                output::line(format_args!(
                    "{place}: would newly pass; the old schema says:"
                ))?;
                output::line(shown::violations(text, bad).join("\n"))?;
            }
        }
        Ok(())
    }
}

/// Whether an event is among the bad ones.
fn is_bad(judged: &Judged, event: u32) -> bool {
    let found = judged.bad.binary_search_by_key(&event, |bad| bad.event);
    found.is_ok()
}
