//! Where a command finds its configuration.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, Failure, output};
use crate::config::{Checked, Config, Overrides, Problems};

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
    /// Reads and checks the configuration, and prints its warnings.
    ///
    /// # Errors
    /// With every mistake of the file.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let overrides = Overrides { data_dir: self.data_dir.clone(), ..Overrides::default() };
        load(self.config.as_deref(), &overrides)
    }
}

/// Reads and checks a configuration, or takes the built-in one, and prints its warnings.
///
/// # Errors
/// With every mistake.
pub(super) fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Config, Failure> {
    let checked = match path {
        Some(path) => Checked::load(path, overrides),
        None => {
            let mut config = Config::quickstart();
            config.apply(overrides);
            Checked::new(config, "built-in configuration")
        }
    };
    let checked = checked.map_err(|problems| problems_failure(&problems))?;
    if let Some(warnings) = &checked.warnings {
        output::note(output::problems(warnings));
    }
    Ok(checked.config)
}

/// The failure that tells every mistake of a configuration.
pub(super) fn problems_failure(problems: &Problems) -> Failure {
    Failure::rendered(Exit::Config, output::problems(problems))
}
