//! `tollgate quarantine`: events that were set aside on local disk.

mod change;
mod list;
mod pretty;
mod shelf;

use clap::{Args, Subcommand};

use super::admin_args::LiveArgs;
use super::form::{FormArgs, OutArgs};
use super::node::NodeArgs;
use super::source::ConfigSource;
use super::{Exit, Failure, moment};
use crate::event::{Cause, RecordFilter};
use crate::foundation::names::{LogstoreName, ProjectName};

const LIST_EXAMPLES: &str = "\
Reads the files in the data directory: of a running node as well as of one that does not run. With
--admin-url it asks the node there, on whatever machine it runs.

Examples:
  tollgate quarantine ls                          where how many events are, and why
  tollgate quarantine ls --logstore web -n 50     the last 50 of a logstore
  tollgate quarantine ls --logstore web --check page-view --since 2026-11-22
  tollgate quarantine ls --admin https://edge-2:8081 --admin-ca ca.pem --admin-cert me.pem --admin-key me.key

Exit codes: 0 done, 1 there is no such logstore, 69 the node did not answer, 73 the files cannot be read, 78
the configuration or the token is wrong.";

const SHOW_EXAMPLES: &str = "\
The id is that of the request (x-log-requestid of its answer), `-`, and the place of the event in it.

Example:
  tollgate quarantine show 6A2F0C1D9E4B5A7788112233-0

Exit codes: 0 done, 1 there is no such record, 69 the node did not answer, 73 the files cannot be read, 78
the configuration or the token is wrong.";

const EXPORT_EXAMPLES: &str = "\
One JSON object a line: the record with its project and logstore. Personal data is not masked in it.

Examples:
  tollgate quarantine export --logstore web -o bad.ndjson
  tollgate quarantine export --check page-view | jq -c .event

Exit codes: 0 done, 1 there is no such logstore, 69 the node did not answer, 73 a file cannot be read or
written, 78 the configuration or the token is wrong.";

const REPLAY_EXAMPLES: &str = "\
Only a running node replays: by its admin API, after the schema was mended and reloaded (SIGHUP).

Examples:
  tollgate quarantine replay --logstore web --dry-run     what would be taken now
  tollgate quarantine replay --logstore web               takes it
  tollgate quarantine replay --logstore web --check page-view
  tollgate quarantine replay --logstore web --again ID    one that was replayed before, once more

Exit codes: 0 done, 1 some were refused or are left, or a named record is not there, 69 the node does
not run or did not answer, 78 the configuration or the token is wrong.";

const PURGE_EXAMPLES: &str = "\
On a node that does not run, the files in its data directory are deleted.

Example:
  tollgate quarantine purge --logstore web --yes

Exit codes: 0 done, 1 there are none or --yes is missing, 69 the node did not answer, 73 its files cannot be deleted, or
another process holds them, 78 the configuration or the token is wrong.";

#[derive(Debug, Subcommand)]
pub(super) enum QuarantineCommand {
    /// List where events were set aside and why, or the records of a logstore.
    Ls(ListArgs),
    /// Show one record.
    Show(ShowArgs),
    /// Take events once more that pass now.
    Replay(ReplayArgs),
    /// Write records as one JSON object a line.
    Export(ExportArgs),
    /// Delete all records of a logstore.
    Purge(PurgeArgs),
}

/// Which places.
#[derive(Debug, Args)]
struct PlaceArgs {
    #[command(flatten)]
    source: ConfigSource,
    #[command(flatten)]
    live: Box<LiveArgs>,
    /// Only this project.
    #[arg(long)]
    project: Option<ProjectName>,
    /// Only this logstore, or what takes its copies: `web@archive`.
    #[arg(long, value_parser = LogstoreName::of_lane)]
    logstore: Option<LogstoreName>,
}

/// Which records.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only what was set aside for this.
    #[arg(long, value_parser = cause, value_name = "schema|guard|transform|store")]
    cause: Option<Cause>,
    /// Only what this check found bad: a schema, with or without `@` and its version, a guard or a step.
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
    /// Only what was received from then on: `2026-11-22T08:00:00Z`, `2026-11-22` or unix seconds.
    #[arg(long, value_parser = moment::parse, value_name = "TIME")]
    since: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct ListArgs {
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// List records, the newest last: so many of each logstore. Without this and --logstore: counts.
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<usize>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    places: PlaceArgs,
    /// The record.
    id: String,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Those too that were replayed.
    #[arg(long)]
    replayed: bool,
    #[command(flatten)]
    to: OutArgs,
}

#[derive(Debug, Args)]
struct OneArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The project. Without it: the first of the configuration.
    #[arg(long)]
    project: Option<ProjectName>,
    /// The logstore, or what takes its copies: `web@archive`.
    #[arg(long, value_parser = LogstoreName::of_lane)]
    logstore: LogstoreName,
}

#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    one: OneArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Only these records.
    ids: Vec<String>,
    /// Store nothing; say what would be taken.
    #[arg(long)]
    dry_run: bool,
    /// The named records too that were replayed before: each is stored once more.
    #[arg(long, requires = "ids")]
    again: bool,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = PURGE_EXAMPLES)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    one: OneArgs,
    /// Delete. Without it: say what would be deleted.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(command: &QuarantineCommand) -> Result<Exit, Failure> {
    match command {
        QuarantineCommand::Ls(args) => list::list(args),
        QuarantineCommand::Show(args) => list::show(args),
        QuarantineCommand::Export(args) => list::export(args),
        QuarantineCommand::Replay(args) => change::replay(args),
        QuarantineCommand::Purge(args) => change::purge(args),
    }
}

fn cause(text: &str) -> Result<Cause, String> {
    let found = Cause::ALL.into_iter().find(|cause| cause.label() == text);
    found.ok_or_else(|| "write schema, guard, transform or store".to_owned())
}

impl FilterArgs {
    fn filter(&self, ids: &[String]) -> RecordFilter {
        RecordFilter {
            ids: ids.to_vec(),
            cause: self.cause,
            check: self.check.clone(),
            since: self.since,
        }
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    let message = format!("the files of the quarantine: {error}");
    Failure::new(Exit::DataDir, message)
}
