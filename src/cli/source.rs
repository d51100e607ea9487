//! Where a command finds its configuration.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, output};
use crate::config::Config;

/// The configuration of a command that talks to a running service.
#[derive(Debug, Args)]
pub(super) struct ConfigSource {
    /// Configuration file. Without it: the built-in defaults.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Folder of keys and of the embedded logstore.
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
}

impl ConfigSource {
    /// Reads the configuration, and prints its warnings.
    ///
    /// # Errors
    /// With every mistake of the file.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let mut config = match &self.config {
            Some(path) => {
                let (config, warnings) =
                    Config::load(path).map_err(|problems| Failure::new(Exit::Config, problems))?;
                for warning in warnings {
                    output::note(warning);
                }
                config
            }
            None => Config::quickstart(),
        };
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        Ok(config)
    }
}
