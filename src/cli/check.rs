//! `tollgate check`: finds every mistake of a configuration.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, output};
use crate::config::{Config, render_host_advice};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let (config, warnings) =
        Config::load(&args.config).map_err(|problems| Failure::new(Exit::Config, problems))?;
    for warning in &warnings {
        output::note(warning);
    }
    config.check_secrets().map_err(|problems| Failure::new(Exit::Config, problems))?;
    let logstores: usize = config.projects.iter().map(|project| project.logstores.len()).sum();
    output::line(format_args!(
        "{}: good. {} projects, {logstores} logstores, {} upstreams, {} warnings.",
        args.config.display(),
        config.projects.len(),
        config.upstreams.len(),
        warnings.len(),
    ))?;
    output::line(render_host_advice(&config))?;
    Ok(Exit::Success)
}
