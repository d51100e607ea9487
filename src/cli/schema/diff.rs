//! `tollgate schema diff`: what a changed schema would newly refuse.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::shown;
use super::test::{Judge, Judged};
use super::{ReadingArgs, counted, input, load};
use crate::app::EventReader;
use crate::cli::form::{self, FormArgs};
use crate::cli::{Exit, Failure, output};
use crate::config::Limits;
use crate::gate::schema::{Changes, Schema, Work, changes};

/// Events that are told of each kind.
const TOLD: u64 = 5;

const EXAMPLES: &str = "\
Examples:
  tollgate schema diff event.json new.json
      what the new schema refuses and the old one did not, by comparing the two
  tollgate schema diff event.json new.json events.ndjson
      and which of these events would newly fail, and which would newly pass
  tollgate tail --output json | tollgate schema diff event.json new.json -
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
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: &DiffArgs) -> Result<Exit, Failure> {
    let options = args.reading.options();
    let (old_document, old) = load(&args.old, options)?;
    let (new_document, new) = load(&args.new, options)?;
    let found = changes(&old_document, &new_document, options);
    if args.form.is_json() {
        return for_programs(args, &found, &old, &new);
    }
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
        let turned = over_events(args, &old, &new)?;
        turned.tell()?;
        fails |= turned.to_bad > 0;
    }
    Ok(if fails { Exit::Partial } else { Exit::Success })
}

/// The same as one JSON object.
fn for_programs(
    args: &DiffArgs,
    found: &Changes,
    old: &Schema,
    new: &Schema,
) -> Result<Exit, Failure> {
    let told = found.told.iter();
    let told = told.map(|it| json!({"pointer": it.pointer, "message": it.message}));
    let turned = match args.events {
        Some(_) => Some(over_events(args, old, new)?),
        None => None,
    };
    let events = turned.as_ref().map(|it| {
        json!({
            "events": it.events, "newlyFail": it.to_bad, "newlyPass": it.to_good,
            "failInBoth": it.bad_in_both, "linesRefused": it.lines_refused,
        })
    });
    form::print(&json!({
        "changes": told.collect::<Vec<_>>(), "hidden": found.hidden, "events": events,
    }))?;
    let fails = !found.told.is_empty() || turned.is_some_and(|it| it.to_bad > 0);
    Ok(if fails { Exit::Partial } else { Exit::Success })
}

/// Runs both over events; what became of them.
fn over_events(args: &DiffArgs, old: &Schema, new: &Schema) -> Result<Turned, Failure> {
    let mut turned = Turned {
        quiet: args.form.is_json(),
        ..Turned::default()
    };
    let Some(path) = &args.events else {
        return Ok(turned);
    };
    let mut judge = Judge {
        reader: EventReader::new(&Limits::default()),
        work: Work::default(),
    };
    input::each_line(path, |number, line| {
        let judged = line.and_then(|text| {
            let before = judge.line(old, text)?;
            Ok((text, before, judge.line(new, text)?))
        });
        match judged {
            Ok((text, before, after)) => turned.line(number, text, &before, &after)?,
            Err(refused) => {
                turned.lines_refused += 1;
                if turned.lines_refused <= TOLD && !turned.quiet {
                    output::note(shown::refused(number, &refused));
                }
            }
        }
        Ok(true)
    })?;
    Ok(turned)
}

/// What became of events.
#[derive(Default)]
struct Turned {
    events: u64,
    to_bad: u64,
    to_good: u64,
    bad_in_both: u64,
    lines_refused: u64,
    /// Only counted.
    quiet: bool,
}

impl Turned {
    fn tell(&self) -> Result<(), Failure> {
        let events = counted(self.events, "event");
        let (to_bad, to_good, both) = (self.to_bad, self.to_good, self.bad_in_both);
        output::line(format_args!(
            "{events}: {to_bad} would newly fail, {to_good} would newly pass, {both} fail in both"
        ))?;
        if self.lines_refused > 0 {
            let lines = counted(self.lines_refused, "line");
            output::note(format_args!("{lines} refused before any schema"));
        }
        Ok(())
    }

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
            if self.to_bad <= TOLD && !self.quiet {
                let place = shown::whereabouts(line, bad.event, after.events);
                output::line(format_args!("{place}: would newly fail"))?;
                output::line(shown::violations(text, bad).join("\n"))?;
            }
        }
        for bad in before.bad.iter().filter(|bad| !is_bad(after, bad.event)) {
            self.to_good += 1;
            if self.to_good <= TOLD && !self.quiet {
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
