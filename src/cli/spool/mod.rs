//! `tollgate spool`: events that wait on disk for the store.
//!
//! Promise: what only looks takes no lock and changes nothing, so it may be used while a node runs.
//! What changes something holds the spool's lock, and says who has it where it cannot be had.

mod carry;
mod change;
mod drain;
mod import;
mod look;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::admin_args::LiveArgs;
use super::form::{FormArgs, OutArgs};
use super::node::NodeArgs;
use super::run::start_failure;
use super::source::ConfigSource;
use super::{Exit, Failure, output};
use crate::app;
use crate::config::Config;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::units::Span;
use crate::pipeline::spool::{FoundLane, LaneView, RealFiles, SpoolDirectory, SpoolView};
use crate::telemetry::KeptBooks;

const LS_EXAMPLES: &str = "\
Every record is read, and checked. Safe while a node runs: it may be a second behind then. With
--admin-url the node there is asked for what it has counted, and nothing is read.

Examples:
  tollgate spool ls
  tollgate spool ls --spool-dir /mnt/dead-node/spool --output json
  tollgate spool ls --admin http://10.0.0.5:8081

Exit codes: 0 done, 69 the node did not answer, 73 the files cannot be read, 78 the configuration or the
token is wrong.";

const SHOW_EXAMPLES: &str = "\
Examples:
  tollgate spool show shop/web                 the bundles: each becomes one LogGroup
  tollgate spool show shop/web --events        their events, one JSON object a line, as `tail` shows them

Exit codes: 0 done, 1 some cannot be read, 73 the files cannot be read, 78 the configuration is wrong.";

const VERIFY_EXAMPLES: &str = "\
Prints a line for each file with something wrong in it. A torn end is none: a crash leaves it, and
nothing in it was ever confirmed. What is damaged costs the records that it hits, no others.

Example:
  tollgate spool verify --config tollgate.toml

Exit codes: 0 all is well, 1 something is damaged or cannot be read, 73 the files cannot be read, 78 the
configuration is wrong.";

const EXPORT_EXAMPLES: &str = "\
Bundles are whole: `import` puts them into another spool with their ids. With --events: for people and
other programs. An encrypted spool is exported in plain. Of a node that runs it is what waits at that
moment, and what is delivered from there as well would come twice.

Examples:
  tollgate spool export -o spool.ndjson
  tollgate spool export shop/web --events | jq -c .event
  tollgate spool export --spool-dir /mnt/dead-node/spool -o spool.ndjson

Exit codes: 0 done, 1 some cannot be read, or a logstore that is named is not there, 73 a file cannot be
read or written, 78 the configuration is wrong.";

const IMPORT_EXAMPLES: &str = "\
The node must not run. A bundle whose id is in the spool, delivered or not, is left out, so a file may be
imported again after an import that was broken off.

Examples:
  tollgate spool import spool.ndjson
  tollgate spool import spool.ndjson --to shop/web     to another logstore

Exit codes: 0 done, 1 some were left out or are damaged, 73 the files cannot be read or written or another
process has the spool, 78 the configuration is wrong.";

const DRAIN_EXAMPLES: &str = "\
On a node that does not run: delivers what waits, by the upstreams of the configuration, without listening
to clients. On a node that runs, which does so by itself: says how much waits until it is nothing.

Examples:
  tollgate spool drain
  tollgate spool drain shop/web --timeout 10m

Exit codes: 0 nothing waits any more, 1 something is left or was refused by the store, or a logstore
that is named is not there, 69 the node did not answer, 73 another process has the spool, 75 events
were lost, 78 the configuration is wrong.";

const PURGE_EXAMPLES: &str = "\
The node must not run. What is deleted is gone; `tollgate spool export` keeps a copy.

Example:
  tollgate spool purge shop/web --yes

Exit codes: 0 done, 1 nothing is there or --yes is missing, 73 the files cannot be deleted or another
process has the spool, 78 the configuration is wrong.";

#[derive(Debug, Subcommand)]
pub(super) enum SpoolCommand {
    /// List the logstores with how much waits for each.
    Ls(LsArgs),
    /// Show what waits for a logstore: bundles or events.
    Show(ShowArgs),
    /// Read every record and say what is damaged, and where.
    Verify(VerifyArgs),
    /// Write what waits to a file, for `import` or for other programs.
    Export(ExportArgs),
    /// Put bundles that were exported into the spool of a node that does not run.
    Import(ImportArgs),
    /// Deliver what waits on a node that does not run; follow one that does.
    Drain(DrainArgs),
    /// Delete what waits for a logstore, on a node that does not run.
    Purge(PurgeArgs),
}

/// A logstore: `PROJECT/LOGSTORE`; or what takes its events for a second destination:
/// `PROJECT/LOGSTORE@UPSTREAM`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    project: ProjectName,
    logstore: LogstoreName,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write PROJECT/LOGSTORE".to_owned();
        let (project, logstore) = text.split_once('/').ok_or_else(form)?;
        Ok(Self {
            project: ProjectName::new(project).map_err(|error| error.to_string())?,
            logstore: LogstoreName::of_lane(logstore).map_err(|error| error.to_string())?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.project, self.logstore)
    }
}

/// Which spool.
#[derive(Debug, Args)]
struct SpoolArgs {
    #[command(flatten)]
    source: ConfigSource,
    /// The spool's folder, or a copy of one. Without it: that of the configuration.
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = LS_EXAMPLES)]
pub(super) struct LsArgs {
    #[command(flatten)]
    spool: SpoolArgs,
    #[command(flatten)]
    live: Box<LiveArgs>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    spool: SpoolArgs,
    /// The logstore.
    #[arg(value_name = "PROJECT/LOGSTORE")]
    place: Place,
    /// The events, one JSON object a line, in the place of the bundles.
    #[arg(long, conflicts_with = "output")]
    events: bool,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    spool: SpoolArgs,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = EXPORT_EXAMPLES)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    spool: SpoolArgs,
    /// Only these logstores. Without one: all.
    #[arg(value_name = "PROJECT/LOGSTORE")]
    places: Vec<Place>,
    #[command(flatten)]
    to: OutArgs,
    /// Events and not bundles, one JSON object a line: flat, with topic, source, tags and their
    /// logstore. `import` does not take these.
    #[arg(long)]
    events: bool,
}

#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    spool: SpoolArgs,
    /// What `export` has written; `-` is standard input.
    file: PathBuf,
    /// The logstore that takes them. Without it: the ones that they are from.
    #[arg(long, value_name = "PROJECT/LOGSTORE")]
    to: Option<Place>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = DRAIN_EXAMPLES)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The spool's folder, of a node that does not run. Without it: that of the configuration.
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
    /// Only these logstores, of a node that does not run. Without one: all.
    #[arg(value_name = "PROJECT/LOGSTORE")]
    places: Vec<Place>,
    /// Give up after this time, such as `10m`; what is not delivered stays on disk.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Debug, Args)]
#[command(after_help = PURGE_EXAMPLES)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    spool: SpoolArgs,
    /// The logstore.
    #[arg(value_name = "PROJECT/LOGSTORE")]
    place: Place,
    /// Delete. Without it: say what would be deleted.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(command: &SpoolCommand) -> Result<Exit, Failure> {
    match command {
        SpoolCommand::Ls(args) => look::list(args),
        SpoolCommand::Show(args) => look::show(args),
        SpoolCommand::Verify(args) => look::verify(args),
        SpoolCommand::Export(args) => carry::export(args),
        SpoolCommand::Import(args) => import::import(args),
        SpoolCommand::Drain(args) => drain::drain(args),
        SpoolCommand::Purge(args) => change::purge(args),
    }
}

/// A spool that was found by its configuration.
struct Spool {
    config: Config,
    dir: PathBuf,
    view: SpoolView,
}

impl SpoolArgs {
    fn find(&self) -> Result<Spool, Failure> {
        Spool::of(self.source.load()?, self.spool_dir.clone())
    }
}

impl Spool {
    /// Nothing is read yet.
    fn of(config: Config, dir: Option<PathBuf>) -> Result<Self, Failure> {
        let dir = dir.unwrap_or_else(|| app::spool_dir(&config));
        let keys = app::spool_keys(&config).map_err(|error| start_failure(&error))?;
        let view = SpoolView::new(Arc::new(RealFiles), &dir, keys);
        Ok(Self { config, dir, view })
    }

    /// The logstores that have a folder in it. None where there is no spool.
    fn lanes(&self) -> Result<Vec<FoundLane>, Failure> {
        match self.view.lanes() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            lanes => lanes.map_err(|error| unreadable(&error)),
        }
    }

    /// Whether each of these is configured, or has a folder in it.
    ///
    /// # Errors
    /// With the first that is neither.
    fn has_all(&self, places: &[Place]) -> Result<(), Failure> {
        let found = self.lanes()?;
        let known = |place: &&Place| {
            let config = &self.config;
            let configured = config.logstore_of_lane(&place.project, &place.logstore);
            configured.is_some() || found.iter().any(|lane| place.is(lane))
        };
        match places.iter().find(|place| !known(place)) {
            None => Ok(()),
            Some(place) => Err(Failure::new(
                Exit::Partial,
                format!(
                    "there is no {place}: it is not configured, and nothing of it is in the spool"
                ),
            )),
        }
    }

    /// Whether it is the spool of the data directory, whose books its events are in, however it was named.
    fn has_books(&self) -> bool {
        let own = app::spool_dir(&self.config);
        match (self.dir.canonicalize(), own.canonicalize()) {
            (Ok(dir), Ok(own)) => dir == own,
            _ => self.dir == own,
        }
    }

    /// Writes into the books what a command has changed, where it is the spool of the data directory: what
    /// was deleted of a logstore, and what was put there. Its lock is held.
    fn note(&self, place: &Place, deleted: u64, put: u64) {
        if !self.has_books() {
            return;
        }
        let data_dir = &self.config.data_dir;
        let (project, logstore) = (place.project.as_str(), place.logstore.as_str());
        let noted = match KeptBooks::read(data_dir) {
            Ok(mut books) => {
                books.change(project, logstore, deleted, put);
                books.write(data_dir)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = noted {
            output::note(format_args!(
                "warning: this is not in the books, which will differ: {error}"
            ));
        }
    }

    fn lane(&self, lane: &FoundLane) -> LaneView {
        self.view.lane(&lane.project, &lane.logstore)
    }

    /// The folder of a logstore, where it has one.
    fn find_lane(&self, place: &Place) -> Result<Option<LaneView>, Failure> {
        let found = self.lanes()?.into_iter().find(|lane| place.is(lane));
        Ok(found.map(|lane| self.lane(&lane)))
    }

    /// Takes the lock.
    fn lock(&self) -> Result<SpoolDirectory, Failure> {
        app::lock_spool(&self.config, &self.dir).map_err(|error| {
            let failure = start_failure(&error);
            let hint = "a node that runs keeps its spool to itself; stop it first";
            Failure::new(failure.exit(), format!("{error} ({hint})"))
        })
    }
}

impl Place {
    fn is(&self, lane: &FoundLane) -> bool {
        (&self.project, &self.logstore) == (&lane.project, &lane.logstore)
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(Exit::DataDir, format!("the files of the spool: {error}"))
}
