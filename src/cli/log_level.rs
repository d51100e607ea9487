//! `tollgate log-level`: the level of the log of a running node.

use clap::Args;

use super::form::{self, FormArgs};
use super::node::NodeArgs;
use super::{Exit, Failure, moment, output};
use crate::foundation::units::Span;
use crate::telemetry::log::{LogLevel, NewLogLevel};

const EXAMPLES: &str = "\
Examples:
  tollgate log-level                                         what it is
  tollgate log-level debug --for 5m                          change it, for five minutes
  tollgate log-level info,tollgate::pipeline=debug           change a part of it, for 15 minutes
  tollgate log-level --reset                                 as configured, now

A change ends by itself, after at most a day; log.level in the configuration is for good.

Exit codes: 0 told, 1 it was refused, 69 the node does not run or did not answer, 78 the configuration or
the token is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LogLevelArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The new level, or a filter. Without it: tell the level.
    #[arg(value_name = "LEVEL", conflicts_with = "reset")]
    level: Option<String>,
    /// How long it lasts. [default: 15m]
    #[arg(long = "for", value_name = "TIME", requires = "level")]
    lasts: Option<Span>,
    /// Make it what was configured.
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    form: FormArgs,
}

pub(super) fn run(args: &LogLevelArgs) -> Result<Exit, Failure> {
    let (_, api) = args.node.running()?;
    let api = api.ok_or_else(|| {
        let message = "the node does not run; its log begins at log.level of the configuration";
        Failure::new(Exit::Unavailable, message)
    })?;
    let now = match &args.level {
        Some(level) => api.change_log_level(&NewLogLevel {
            level: level.clone(),
            lasts: args.lasts,
        })?,
        None if args.reset => api.reset_log_level()?,
        None => api.log_level()?,
    };
    tell(&now, args.form)?;
    Ok(Exit::Success)
}

fn tell(now: &LogLevel, form: FormArgs) -> Result<(), Failure> {
    if form.is_json() {
        return form::print(now);
    }
    let level = output::escape(&now.level);
    match now.until {
        None => output::line(format_args!("{level} (as configured)")),
        Some(until) => output::line(format_args!(
            "{level} until {}, then {}",
            moment::format(until),
            output::escape(&now.configured)
        )),
    }
}
