//! `tollgate reload`: has a running node take over its configuration.

use clap::Args;

use super::form::{self, FormArgs};
use super::node::NodeArgs;
use super::{Exit, Failure, output};
use crate::app::{ReloadOrder, ReloadReport};

const EXAMPLES: &str = "\
Examples:
  tollgate reload
      take over what the configuration file of the running node says now
  tollgate reload --dry-run
      only say what would change, and what needs a restart

All of it is taken over or nothing. The node reads its own file: --config and --data-dir only say where
its admin API and its token are.

Exit codes: 0 done (or nothing in the way), 1 refused, and nothing has changed (or would be refused),
69 the node does not run or did not answer, 78 the configuration or the token is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// Only say what would change, and what needs a restart.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: &ReloadArgs) -> Result<Exit, Failure> {
    let (_, api) = args.node.running()?;
    let api = api.ok_or_else(|| {
        let message = "the node does not run: it reads its configuration when it starts";
        Failure::new(Exit::Unavailable, message)
    })?;
    let order = ReloadOrder {
        dry_run: args.dry_run,
    };
    let report = api.reload(order)?;
    if args.form.is_json() {
        form::print(&report)?;
    } else {
        tell(&report)?;
    }
    Ok(match report.needs_restart.is_empty() {
        true => Exit::Success,
        false => Exit::Partial,
    })
}

/// Says what changes.
///
/// # Errors
/// As [`output::line`].
pub(super) fn tell(report: &ReloadReport) -> Result<(), Failure> {
    let done = if report.dry_run {
        "would change"
    } else {
        "changed"
    };
    for key in &report.changed {
        output::line(format_args!("{done:<14} {}", output::escape(key)))?;
    }
    for key in &report.needs_restart {
        output::line(format_args!(
            "{:<14} {}",
            "needs restart",
            output::escape(key)
        ))?;
    }
    for warning in &report.warnings {
        output::note(format_args!("warning: {}", output::escape(warning)));
    }
    output::line(output::escape(&report.message))
}
