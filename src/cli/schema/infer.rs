//! `tollgate schema infer`: a schema proposed from events.

use std::path::PathBuf;

use clap::Args;

use super::input::{self, Refused};
use super::{counted, shown};
use crate::app::EventReader;
use crate::cli::source::ConfigSource;
use crate::cli::tail::{self, Start, StoreArgs};
use crate::cli::{Exit, Failure, output};
use crate::event::EventFields;
use crate::gate::schema::{InferOptions, Inference, Options, Schema};

/// Lines that are told one by one when they hold no events.
const TOLD: u64 = 20;

const EXAMPLES: &str = "\
Examples:
  tollgate schema infer events.ndjson > event.json
      a schema of what the events have in common
  tollgate schema infer --logstore web --project shop --strings-as-types > event.json
      from what a logstore holds, where every value is a text: \"500\" is proposed as a number
  tollgate tail --from 15m --output json | tollgate schema infer - --closed
      from standard input; fields that none of the events has are not allowed
  tollgate schema infer events.ndjson --event-field event-type | jq '.[\"page-view\"]' > view.json
      a schema for each type of event, as one object by type; events without the field are under \"\"

A line is one event ({\"event\":\"click\"}), or a body of web tracking ({\"__logs__\":[...]}). Each is
read as the service reads it. A line that it would refuse is told and skipped.

The schema accepts every event that it was made from. It is a proposal: `enum`, `maxLength` and
`format` are there because all the events had them, and `required` names the fields that all of them
had. No example and no choice is shown of a field that looks personal or like a token.
Next: tollgate schema test event.json more-events.ndjson

Exit codes: 0 a schema was printed, 1 no line held an event, or the file cannot be read, 2 the command
line is wrong; with --logstore also 69, 73 and 78 as for `tollgate tail`.
";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct InferArgs {
    /// File of one JSON object a line, or `-` for standard input.
    #[arg(required_unless_present = "logstore", conflicts_with = "logstore")]
    events: Option<PathBuf>,
    #[command(flatten)]
    source: ConfigSource,
    #[command(flatten)]
    store: StoreArgs,
    /// With --logstore, where to begin: as for `tollgate tail`.
    #[arg(long, value_name = "TIME", requires = "logstore")]
    from: Option<Start>,
    /// Stop after so many events.
    #[arg(short = 'n', long, value_name = "EVENTS")]
    count: Option<u64>,
    /// The field whose value is the type of an event: one schema for each type.
    #[arg(long, value_name = "FIELD")]
    event_field: Option<String>,
    /// Propose texts that always read as a number or a boolean as such, with `x-tollgate-coerce`.
    #[arg(long)]
    strings_as_types: bool,
    /// Propose the smallest and largest number of a field as limits. Without it they are a comment.
    #[arg(long)]
    bounds: bool,
    /// Allow no fields besides those seen (`additionalProperties: false`).
    #[arg(long)]
    closed: bool,
}

pub(super) fn run(args: &InferArgs) -> Result<Exit, Failure> {
    let config = args.source.load()?;
    let mut job = Job {
        reader: EventReader::new(&config.limits),
        inference: Inference::new(InferOptions {
            event_field: args.event_field.clone(),
            strings_as_types: args.strings_as_types,
            bounds: args.bounds,
            closed: args.closed,
        }),
        left: args.count.unwrap_or(u64::MAX),
        bad: 0,
    };
    if let Some(path) = &args.events {
        input::each_line(path, |number, line| Ok(job.line(number, line)))?;
    } else {
        let start = args.from.unwrap_or(Start::Begin);
        let mut number = 0;
        tail::each_line(&args.store, &config, start, |line| {
            number += 1;
            job.line(number, Ok(line.trim_end().as_bytes()))
        })?;
    }
    job.end(args)
}

struct Job {
    reader: EventReader,
    inference: Inference,
    /// Events that may still be looked at.
    left: u64,
    /// Lines without events.
    bad: u64,
}

impl Job {
    /// Takes the events of a line; whether more are wanted.
    fn line(&mut self, number: u64, line: Result<&[u8], Refused>) -> bool {
        // A line that is refused counts for nothing, so it is read once before it is looked at.
        let read = line.and_then(|text| {
            input::read(&mut self.reader, text, &mut |_, _| {})?;
            let Self {
                reader,
                inference,
                left,
                ..
            } = self;
            let mut look = |_: u32, event: EventFields<'_>| {
                if *left > 0 {
                    *left -= 1;
                    inference.add(event.iter());
                }
            };
            input::read(reader, text, &mut look)
        });
        if let Err(refused) = read {
            self.bad += 1;
            if self.bad <= TOLD {
                output::note(shown::refused(number, &refused));
            }
        }
        self.left > 0
    }

    fn end(self, args: &InferArgs) -> Result<Exit, Failure> {
        let (events, bad) = (self.inference.events(), self.bad);
        let skipped = counted(bad, "line");
        if events == 0 {
            let message = match bad {
                0 => "there are no events".to_owned(),
                _ => format!("there are no events: {skipped} skipped"),
            };
            return Err(Failure::new(Exit::Partial, message));
        }
        let proposal = self.inference.propose();
        let text = serde_json::to_string_pretty(&proposal.document);
        let text = text.map_err(|error| Failure::new(Exit::Internal, error))?;
        output::line(shown::safe(&text))?;
        for note in &proposal.notes {
            output::note(output::escape(note));
        }
        if args.event_field.is_none()
            && Schema::compile(&proposal.document, Options::default()).is_err()
        {
            return Err(Failure::new(
                Exit::Internal,
                "the proposed schema cannot be compiled",
            ));
        }
        let seen = counted(events, "event");
        output::note(format_args!("{seen} seen, {skipped} skipped"));
        Ok(Exit::Success)
    }
}
