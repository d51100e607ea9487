//! The token of a sender that was given none.
//!
//! Promise: no key is made here; a key that is not there means that there is no token.

use crate::cli::token::key_file;
use crate::cli::{Exit, Failure};
use crate::config::{Config, Identity};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::secret::Secret;
use crate::gate::identity;

/// The longest that a sender may take with one token.
const LIFETIME_SECONDS: u64 = 86_400;

/// A token for a logstore, signed with the first key of the configuration that is there.
///
/// # Errors
/// When the key is there and cannot be used.
pub(super) fn mint(
    config: &Config,
    project: &ProjectName,
    logstore: &LogstoreName,
) -> Result<Option<Secret>, Failure> {
    let there = config
        .identity
        .jwt
        .iter()
        .find(|rules| match &rules.secret {
            Some(reference) => reference.read().is_ok(),
            None => key_file(&config.data_dir, &rules.kid).exists(),
        });
    let Some(rules) = there else {
        return Ok(None);
    };
    let one = Identity {
        jwt: vec![rules.clone()],
        ..config.identity.clone()
    };
    let keys = identity::load_jwt_keys(&one, &config.data_dir)
        .map_err(|error| Failure::new(Exit::DataDir, error))?;
    let lifetime = rules.max_lifetime.as_secs().min(LIFETIME_SECONDS);
    let minted = keys
        .first()
        .map(|key| {
            identity::mint(
                key,
                project.as_str(),
                logstore.as_str(),
                lifetime,
                Some("tollgate-send"),
            )
        })
        .transpose();
    let token = minted.map_err(|error| Failure::new(Exit::Internal, error))?;
    Ok(token.map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_only_with_a_key_that_is_there_and_no_key_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::quickstart();
        config.data_dir = folder.path().to_owned();
        let project = ProjectName::new("sls-webtracking-mini").unwrap();
        let logstore = LogstoreName::new("web-tracking-logstore").unwrap();
        assert!(mint(&config, &project, &logstore).unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        identity::load_jwt_keys(&config.identity, folder.path()).unwrap();
        let token = mint(&config, &project, &logstore).unwrap().unwrap();
        assert_eq!(token.expose_text().unwrap().split('.').count(), 3);
    }
}
