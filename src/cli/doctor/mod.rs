//! `tollgate doctor`: what keeps a node from working, on this machine and around it.
//!
//! Promise: nothing is changed. No key is made, no folder, and no event sent; what is written is a
//! file without a name, to see that the disk can be written and synced. Stores are asked for the
//! shards of a logstore, which only reads; the collector of traces gets a request without a span.

mod certificates;
mod disk;
mod finding;
mod neighbours;
mod node;
mod ports;
mod stores;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use self::finding::Findings;
use super::admin_args::AdminArgs;
use super::check::Report;
use super::form::FormArgs;
use super::{Exit, Failure};
use crate::config::{Config, Overrides};

const EXAMPLES: &str = "\
Looks at the configuration, the ports, the limit of file descriptors, disks and the rights of key files,
certificates, the stores (a signed call that only reads), the clock against theirs, Redis, the sets of keys
that are fetched, the collector of traces, and the running node. Each finding says what to do. Run it as the user of the service.

Examples:
  tollgate doctor --config /etc/tollgate/tollgate.toml
      before the first start, and whenever something is odd
  tollgate doctor --config tollgate.toml --admin http://127.0.0.1:8081
      with a running node that is named
  tollgate doctor --config tollgate.toml --output json | jq '.findings[] | select(.verdict == \"fail\")'

Exit codes: 0 nothing fails (there may be warnings), 1 something does, 2 the command line is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorArgs {
    /// Configuration file. Without it: the built-in defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of keys and of the embedded logstore.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Time for each thing that is asked over the network.
    #[arg(long, value_name = "TIME", default_value = "5s")]
    timeout: crate::foundation::units::Span,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let mut findings = Findings::default();
    if let Some(config) = configuration(args, &mut findings) {
        all(args, &config, &mut findings)?;
    }
    match args.form.is_json() {
        true => findings.json()?,
        false => findings.text()?,
    }
    Ok(match findings.failed() {
        true => Exit::Partial,
        false => Exit::Success,
    })
}

fn all(args: &DoctorArgs, config: &Config, findings: &mut Findings) -> Result<(), Failure> {
    let timeout: Duration = args.timeout.get();
    let runs = node::look(config, &args.admin, timeout, findings);
    ports::look(config, runs, findings);
    disk::descriptors(config, findings);
    disk::look(config, findings);
    disk::keys(config, findings);
    certificates::look(config, findings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, error))?;
    runtime.block_on(async {
        stores::look(config, runs, timeout, findings).await;
        neighbours::redis(config, timeout, findings).await;
        neighbours::key_sets(config, timeout, findings).await;
        neighbours::collector(config, timeout, findings).await;
    });
    Ok(())
}

/// The configuration, where it can be read; and what is wrong with it.
fn configuration(args: &DoctorArgs, findings: &mut Findings) -> Option<Config> {
    let overrides = Overrides {
        data_dir: args.data_dir.clone(),
        ..Overrides::default()
    };
    let report = Report::of(args.config.as_deref(), &overrides);
    let name = match &args.config {
        Some(path) => path.display().to_string(),
        None => "built-in".to_owned(),
    };
    let mut good = 0;
    for problem in report.problems() {
        good += 1;
        let text = |name: &str| problem.get(name).and_then(|it| it.as_str());
        let line = problem.get("line").and_then(serde_json::Value::as_u64);
        let place = line.map_or_else(|| name.clone(), |line| format!("{name}:{line}"));
        let key = match text("key").unwrap_or_default() {
            "" => String::new(),
            key => format!("{key}: "),
        };
        let message = format!("{key}{}", text("message").unwrap_or_default());
        let help = text("help").unwrap_or_default();
        match text("severity") {
            Some("error") => findings.fail("config", &place, message, help),
            _ => findings.warn("config", &place, message, help),
        }
    }
    if good == 0 {
        findings.ok("config", &name, "good");
    }
    report.config
}
