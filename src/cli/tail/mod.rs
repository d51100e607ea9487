//! `tollgate tail`: events of a logstore, by the read API of SLS.
//!
//! Promise: each event that the store holds from the start on is written once, whatever the number
//! of shards, and reading goes on where it stopped after the store was away. When standard output
//! is slow, reading waits. Not here: queries; what is read is everything.

mod follow;
mod reader;
mod record;
mod start;
mod store;

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::follow::{Pauses, follow};
use self::reader::Reader;
use self::record::in_order;
pub(super) use self::record::lines;
pub(super) use self::start::Start;
use self::store::Readable;
pub(super) use self::store::{StoreArgs, endpoint_of, names_at_store};
use super::form::{Form, FormArgs};
use super::source::ConfigSource;
use super::{Exit, Failure, output};
use crate::config::Config;
use crate::foundation::clock;
use crate::logstore::client::CursorFrom;
use crate::logstore::proto::LogGroup;

const EXAMPLES: &str = "\
Examples:
  tollgate tail
      everything that the embedded logstore holds of the first logstore of the configuration
  tollgate tail --follow
      events as they arrive; Ctrl-C ends it
  tollgate tail --from 15m --output json | jq .event
      the events of the last 15 minutes, as JSON
  tollgate tail --logstore anonymous-demo -n 10
      the 10 oldest events of another logstore
  tollgate tail --config tollgate.toml --project shop
      from the store to which the configuration delivers the project
  tollgate tail --logstore-url https://cn-hangzhou.log.aliyuncs.com --project shop --logstore web \\
      --access-key-id LTAI... --access-key-secret env:SLS_SECRET
      from Simple Log Service itself

The order is that of event times within what is read at once; JSON has the fields __time__,
__topic__, __source__, __tag__:{key} and then those of the event.

Exit codes: 0 all was read, 69 the store cannot be reached, 73 there is no key, 78 the store or the
configuration says no.
";

/// Read events from a logstore, by the read API of SLS.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TailArgs {
    #[command(flatten)]
    source: ConfigSource,
    #[command(flatten)]
    store: StoreArgs,
    /// Where to begin: `begin`, `end`, Unix seconds, `2026-06-15T08:00:00Z`, or a span back such as
    /// `15m`. A time is that at which the store received an event. Without it: `begin`, and `end`
    /// with --follow.
    #[arg(long, value_name = "TIME")]
    from: Option<Start>,
    /// Stop after so many events: the first ones from --from on.
    #[arg(short = 'n', long, value_name = "EVENTS")]
    count: Option<u64>,
    /// Wait for more events at the end. A store that goes away is waited for.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    form: FormArgs,
}

impl TailArgs {
    fn cursor_from(&self) -> CursorFrom {
        let default = if self.follow {
            Start::End
        } else {
            Start::Begin
        };
        cursor_from(self.from.unwrap_or(default))
    }
}

fn cursor_from(start: Start) -> CursorFrom {
    match start {
        Start::Begin => CursorFrom::Begin,
        Start::End => CursorFrom::End,
        Start::At(seconds) => CursorFrom::Time(u64::from(seconds)),
        Start::Back(span) => CursorFrom::Time(clock::unix_seconds().saturating_sub(span.as_secs())),
    }
}

/// Shows each event that a logstore holds from `start` on, as a line of JSON, until `take` has enough
/// and says `false`.
///
/// # Errors
/// As `tollgate tail`.
pub(super) fn each_line(
    args: &StoreArgs,
    config: &Config,
    start: Start,
    mut take: impl FnMut(&str) -> bool,
) -> Result<(), Failure> {
    let store = store::resolve(args, config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error))?;
    let read = async {
        let mut reader = Reader::open(store, cursor_from(start), true).await?;
        let mut line = String::new();
        while !reader.is_done() {
            let round = reader.round().await;
            for record in in_order(&round.groups) {
                line.clear();
                record.json(&mut line);
                if !take(&line) {
                    return Ok(());
                }
            }
            if let Some(error) = round.failure {
                return Err(reader.failure(&error));
            }
        }
        Ok(())
    };
    runtime.block_on(read)
}

pub(super) fn run(args: &TailArgs) -> Result<Exit, Failure> {
    let config = args.source.load()?;
    let store = store::resolve(&args.store, &config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, error))?;
    let out = io::stdout();
    let mut printer = Printer::new(args, BufWriter::new(out.lock()));
    let ended = runtime.block_on(async {
        if !args.follow {
            return tail(args, store, &mut printer).await;
        }
        tokio::select! {
            ended = tail(args, store, &mut printer) => ended,
            () = abandoned(&out) => Err(Ended::Enough),
            stopped = tokio::signal::ctrl_c() => {
                stopped.map_err(|error| Ended::Failed(Failure::new(Exit::Internal, error)))
            }
        }
    });
    match ended {
        Ok(()) | Err(Ended::Enough) => Ok(Exit::Success),
        Err(Ended::Failed(failure)) => Err(failure),
    }
}

async fn tail<W: Write>(
    args: &TailArgs,
    store: Readable,
    printer: &mut Printer<W>,
) -> Result<(), Ended> {
    let reader = Reader::open(store, args.cursor_from(), !args.follow).await;
    let reader = reader.map_err(Ended::Failed)?;
    if args.follow {
        follow(reader, printer, Pauses::default()).await
    } else {
        read_to_end(reader, printer).await
    }
}

/// Why reading ends before the end of the shards.
#[derive(Debug)]
enum Ended {
    /// So many events were asked for, or nobody reads on.
    Enough,
    Failed(Failure),
}

async fn read_to_end<W: Write>(mut reader: Reader, printer: &mut Printer<W>) -> Result<(), Ended> {
    while !reader.is_done() {
        let round = reader.round().await;
        printer.print(&round.groups)?;
        if let Some(error) = round.failure {
            return Err(Ended::Failed(reader.failure(&error)));
        }
    }
    Ok(())
}

/// How often is looked whether somebody reads on.
const LOOK: Duration = Duration::from_millis(500);

/// Waits until nobody reads standard output any more, as when `| head` has enough. A write says so
/// as well, but where no event comes there is none.
async fn abandoned(out: &impl AsFd) {
    while !reader_has_gone(out) {
        tokio::time::sleep(LOOK).await;
    }
}

fn reader_has_gone(out: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(out, PollFlags::empty())];
    let looked = poll(&mut asked, Some(&Timespec::default()));
    let gone = |it: &PollFd<'_>| it.revents().intersects(PollFlags::ERR | PollFlags::HUP);
    looked.is_ok() && asked.iter().any(gone)
}

/// Writes events.
#[derive(Debug)]
struct Printer<W> {
    out: W,
    form: Form,
    colour: bool,
    /// Events that may still be written.
    left: Option<u64>,
    line: String,
}

impl<W: Write> Printer<W> {
    fn new(args: &TailArgs, out: W) -> Self {
        Self {
            out,
            form: args.form.output,
            colour: output::colour(&io::stdout()),
            left: args.count,
            line: String::new(),
        }
    }

    /// Writes the events of one round, in order of their time.
    fn print(&mut self, groups: &[LogGroup]) -> Result<(), Ended> {
        for record in in_order(groups) {
            if self.left == Some(0) {
                break;
            }
            self.left = self.left.map(|left| left - 1);
            self.line.clear();
            match self.form {
                Form::Text => record.pretty(&mut self.line, self.colour),
                Form::Json => record.json(&mut self.line),
            }
            self.out
                .write_all(self.line.as_bytes())
                .map_err(|error| unwritable(&error))?;
        }
        self.out.flush().map_err(|error| unwritable(&error))?;
        if self.left == Some(0) {
            Err(Ended::Enough)
        } else {
            Ok(())
        }
    }
}

/// A closed pipe is how `| head` says that it has enough.
fn unwritable(error: &io::Error) -> Ended {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Ended::Enough;
    }
    Ended::Failed(Failure::new(
        Exit::Partial,
        format!("standard output: {error}"),
    ))
}

#[cfg(test)]
mod tests;
