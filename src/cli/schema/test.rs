//! `tollgate schema test`: which events a schema accepts.

use std::path::PathBuf;

use clap::Args;

use super::input::{self, Refused};
use super::shown::{self, Bad};
use super::{ReadingArgs, counted, load};
use crate::app::EventReader;
use crate::cli::form::{Form, FormArgs};
use crate::cli::{Exit, Failure, output};
use crate::config::Limits;
use crate::event::EventFields;
use crate::gate::schema::{Detail, Schema, Verdict, Work};

const EXAMPLES: &str = "\
Examples:
  tollgate schema test event.json events.ndjson
      each event, and what is wrong with it, with carets under the value
  tollgate schema test event.json events.ndjson --quiet
      only what is wrong
  tollgate tail --output json | tollgate schema test event.json - --output json | jq 'select(.valid | not)'
      what a logstore holds, as one JSON object for each event

A line is one event ({\"event\":\"click\"}), or a body of web tracking ({\"__logs__\":[...]}). Each is
read and judged as by a service with the default limits. A line that it would refuse before any schema
counts as one that fails.

Exit codes: 0 all events are valid, 1 not all of them, or the file cannot be read, 2 the command line
is wrong, 78 the schema is wrong; then all that is wrong with it is told.
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct TestArgs {
    /// JSON Schema 2020-12 or draft-07.
    schema: PathBuf,
    /// File of one JSON object a line, or `-` for standard input.
    events: PathBuf,
    #[command(flatten)]
    reading: ReadingArgs,
    #[command(flatten)]
    form: FormArgs,
    /// Do not write events that are valid.
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(args: &TestArgs) -> Result<Exit, Failure> {
    let (_, schema) = load(&args.schema, args.reading.options())?;
    let mut judge = Judge {
        reader: EventReader::new(&Limits::default()),
        work: Work::default(),
    };
    let mut tally = Tally::default();
    input::each_line(&args.events, |number, line| {
        let judged = line.and_then(|text| Ok((text, judge.line(&schema, text)?)));
        match judged {
            Ok((text, judged)) => tally.line(args, number, text, &judged)?,
            Err(refused) => tally.refused(args, number, &refused)?,
        }
        Ok(true)
    })?;
    output::note(tally.summary());
    Ok(if tally.bad + tally.lines_refused == 0 {
        Exit::Success
    } else {
        Exit::Partial
    })
}

/// What a schema says of the events of a line.
pub(super) struct Judged {
    pub(super) events: u32,
    /// Those that are not valid, in their order.
    pub(super) bad: Vec<Bad>,
}

/// Reads and judges lines.
pub(super) struct Judge {
    pub(super) reader: EventReader,
    pub(super) work: Work,
}

impl Judge {
    /// What `schema` says of the events of a line.
    ///
    /// # Errors
    /// When the line would be refused before any schema.
    pub(super) fn line(&mut self, schema: &Schema, text: &[u8]) -> Result<Judged, Refused> {
        let Self { reader, work } = self;
        let mut bad = Vec::new();
        let mut look = |index: u32, event: EventFields<'_>| {
            let mut violations = Vec::new();
            let verdict = schema.check(event, work, Detail::Told, &mut violations);
            if let Verdict::Invalid { hidden } = verdict {
                bad.push(Bad {
                    event: index,
                    violations,
                    hidden,
                });
            }
        };
        let events = input::read(reader, text, &mut look)?;
        Ok(Judged { events, bad })
    }
}

#[derive(Default)]
struct Tally {
    good: u64,
    bad: u64,
    lines_refused: u64,
}

impl Tally {
    fn line(
        &mut self,
        args: &TestArgs,
        line: u64,
        text: &[u8],
        judged: &Judged,
    ) -> Result<(), Failure> {
        let mut bad = judged.bad.iter().peekable();
        for event in 0..judged.events {
            let fault = bad.next_if(|bad| bad.event == event);
            match fault {
                Some(_) => self.bad += 1,
                None => self.good += 1,
            }
            if fault.is_none() && args.quiet {
                continue;
            }
            if args.form.output == Form::Json {
                let verdict = shown::verdict(line, event, text, fault);
                output::line(shown::safe(&verdict.to_string()))?;
                continue;
            }
            let place = shown::whereabouts(line, event, judged.events);
            match fault {
                None => output::line(format_args!("{place}: valid"))?,
                Some(bad) => {
                    output::line(format_args!("{place}: not valid"))?;
                    output::line(shown::violations(text, bad).join("\n"))?;
                }
            }
        }
        Ok(())
    }

    fn refused(&mut self, args: &TestArgs, line: u64, refused: &Refused) -> Result<(), Failure> {
        self.lines_refused += 1;
        match args.form.output {
            Form::Json => {
                let verdict = shown::refused_verdict(line, refused);
                output::line(shown::safe(&verdict.to_string()))
            }
            Form::Text => output::line(shown::refused(line, refused)),
        }
    }

    fn summary(&self) -> String {
        let events = counted(self.good + self.bad, "event");
        let (good, bad) = (self.good, self.bad);
        let mut told = format!("{events}: {good} valid, {bad} not valid");
        if self.lines_refused > 0 {
            let lines = counted(self.lines_refused, "line");
            told.push_str(&format!("; {lines} refused before any schema"));
        }
        told
    }
}
