//! Where a command finds its configuration.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, Failure, output};
use crate::config::{Checked, Config, Examined, Overrides, Problems};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::Secret;

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
        let overrides = Overrides {
            data_dir: self.data_dir.clone(),
            ..Overrides::default()
        };
        load(self.config.as_deref(), &overrides)
    }
}

/// Reads and checks a configuration, or takes the built-in one.
///
/// # Errors
/// With every mistake.
pub(super) fn checked(path: Option<&Path>, overrides: &Overrides) -> Result<Checked, Problems> {
    examined(path, overrides).settle()
}

/// Reads a configuration as far as it can be read, or takes the built-in one.
pub(super) fn examined(path: Option<&Path>, overrides: &Overrides) -> Examined {
    match path {
        Some(path) => Examined::load(path, overrides),
        None => {
            let mut config = Config::quickstart();
            config.apply(overrides);
            Examined::new(config, "built-in configuration")
        }
    }
}

/// Reads a configuration again while the service runs.
///
/// # Errors
/// With every mistake.
pub(super) fn reload(path: Option<&Path>, overrides: &Overrides) -> Result<Checked, Problems> {
    checked(path, overrides)
}

/// Reads and checks a configuration, or takes the built-in one, and prints its warnings.
///
/// # Errors
/// With every mistake.
pub(super) fn load(path: Option<&Path>, overrides: &Overrides) -> Result<Config, Failure> {
    let checked = checked(path, overrides).map_err(|problems| problems_failure(&problems))?;
    if let Some(warnings) = &checked.warnings {
        output::note(output::problems(warnings));
    }
    Ok(checked.config)
}

/// The failure that tells every mistake of a configuration.
pub(super) fn problems_failure(problems: &Problems) -> Failure {
    Failure::rendered(Exit::Config, output::problems(problems))
}

/// A secret on the command line. Every text is taken: an error of the command line repeats its
/// argument. What is wrong with it is found where it is used.
pub(super) fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// The project and logstore that a command is about: the ones named, or else the first of the
/// configuration.
///
/// # Errors
/// When neither says which.
pub(super) fn choose_logstore(
    config: &Config,
    project: Option<&ProjectName>,
    logstore: Option<&LogstoreName>,
) -> Result<(ProjectName, LogstoreName), Failure> {
    let project = project.or(config.projects.first().map(|project| &project.name));
    let project = project.ok_or_else(|| {
        Failure::new(
            Exit::Config,
            "the configuration has no project; name one with --project",
        )
    })?;
    let configured = config.projects.iter().find(|known| known.name == *project);
    let first = configured.and_then(|known| known.logstores.first());
    let logstore = logstore.or(first.map(|first| &first.name)).ok_or_else(|| {
        let message = format!(
            "the configuration has no logstore of project {project}; name one with --logstore"
        );
        Failure::new(Exit::Config, message)
    })?;
    Ok((project.clone(), logstore.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_the_first_of_the_configuration() {
        let config = Config::quickstart();
        let project = ProjectName::new("sls-webtracking-mini").unwrap();
        let open = LogstoreName::new("anonymous-demo").unwrap();
        let first = LogstoreName::new("web-tracking-logstore").unwrap();
        let chosen = choose_logstore(&config, None, None).unwrap();
        assert_eq!(chosen, (project.clone(), first));
        assert_eq!(
            choose_logstore(&config, None, Some(&open)).unwrap(),
            (project, open.clone())
        );
        let other = ProjectName::new("other").unwrap();
        assert!(choose_logstore(&config, Some(&other), None).is_err());
        assert!(choose_logstore(&config, Some(&other), Some(&open)).is_ok());
    }
}
