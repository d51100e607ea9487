//! `tollgate replay`: the requests of a sample, tried out on a configuration.
//!
//! What depends on more than the request and the configuration is taken as it was: what a limit said,
//! whether there was room, what was revoked. It stays so unless the request is refused before it comes
//! there.

mod compare;
mod report;

use std::path::PathBuf;

use clap::Args;

use self::compare::compare;
use self::report::Report;
use super::admin_args::AdminArgs;
use super::form::{Form, FormArgs};
use super::node::NodeArgs;
use super::progress::Progress;
use super::signals::run_until_stopped;
use super::{Exit, Failure, input, output, sample, source};
use crate::app::{StartError, Trial, TrialRequest, TrialSetup};
use crate::config::{Config, Overrides};
use crate::event::SampledRequest;

const EXAMPLES: &str = "\
Examples:
  tollgate sample > sample.ndjson
  tollgate replay --config new.toml sample.ndjson
      who would be refused by new.toml that was not, and the other way round
  tollgate replay --config new.toml --live
      the same, with the sample of the running node

No secret is needed: proofs of credentials are taken as they were found. Nothing is stored or sent.
Exit codes: 0 every verdict stays, 1 some would change, 2 the command line is wrong, 69 the node cannot
be reached, 78 the configuration is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReplayArgs {
    /// The configuration to try. Without it: the built-in defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The sample: a file of `tollgate sample`, `-` for standard input.
    #[arg(
        value_name = "SAMPLE",
        required_unless_present = "live",
        conflicts_with = "live"
    )]
    sample: Option<PathBuf>,
    /// The sample of the running node, found by the configuration that it runs with.
    #[arg(long)]
    live: bool,
    /// With --live: the configuration of the running node, where it is not the built-in one.
    #[arg(long, value_name = "FILE", requires = "live")]
    running_config: Option<PathBuf>,
    /// With --live: the data directory of the running node.
    #[arg(long, value_name = "DIR", requires = "live")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    form: FormArgs,
}

/// The longest sample that is read, in bytes.
const MAX_SAMPLE: u64 = 256 << 20;

pub(super) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    if args.admin.admin_url.is_some() && !args.live {
        let why = "--admin-url goes with --live";
        return Err(Failure::new(Exit::CommandLine, why));
    }
    let config = source::load(args.config.as_deref(), &Overrides::default())?;
    let requests = requests(args)?;
    let report = run_until_stopped(try_out(&config, requests))?;
    match args.form.output {
        Form::Text => report.text()?,
        Form::Json => report.json()?,
    }
    Ok(match report.changes() {
        0 => Exit::Success,
        _ => Exit::Partial,
    })
}

async fn try_out(config: &Config, requests: Vec<SampledRequest>) -> Result<Report, Failure> {
    let setup = TrialSetup {
        stand_ins: true,
        ..TrialSetup::default()
    };
    let started = Trial::start(config, setup).await;
    let mut trial = started.map_err(|error: StartError| Failure::new(Exit::Config, error))?;
    for key in trial.stand_ins() {
        output::note(format_args!(
            "note: the secret at {key} cannot be read here; it is not needed"
        ));
    }
    let mut report = Report::default();
    let bar = Progress::of(requests.len() as u64, "requests");
    for request in requests {
        bar.add(1);
        let trying = TrialRequest::recorded(&request);
        let (trying, bodyless) = trying.map_err(|error| {
            let message = format!("request {}: {error}", request.id);
            Failure::new(Exit::CommandLine, message)
        })?;
        let answer = trial.ask(trying).await;
        let verdict = compare(&request, bodyless.is_some(), &answer);
        report.add(request, verdict);
    }
    Ok(report)
}

/// The requests of the sample, in the order of their times.
fn requests(args: &ReplayArgs) -> Result<Vec<SampledRequest>, Failure> {
    let bytes = match &args.sample {
        Some(path) => input::whole(path, MAX_SAMPLE)?,
        None => {
            let node = NodeArgs::of(
                args.running_config.clone(),
                args.data_dir.clone(),
                args.admin.clone(),
            );
            node.find()?.1.sample()?
        }
    };
    let mut requests = Vec::new();
    let lines = bytes.split(|byte| *byte == b'\n');
    for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
        requests.push(sample::read(line)?);
    }
    requests.sort_by_key(|request| request.time);
    Ok(requests)
}
