//! Long-lived access keys of the configuration.
//!
//! Promise: every key here has an id that can stand in a signed request, once, and a secret. A
//! configuration with other keys is refused whole, with every problem at once. Not here: what a key
//! may do (its policies are names), and temporary keys (`sts`).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::config::Identity;
use crate::foundation::secret::{Secret, SecretError};
use crate::logstore::signature::{SigningSecret, VerifyError};

/// Ids of temporary keys begin so; a long-lived one must not.
pub const TEMPORARY: &str = "STS.";
/// Longest id, in bytes.
const MAX_ID: usize = 128;
/// The least length of a secret, in bytes. Those of Alibaba Cloud have 30.
const MIN_SECRET: usize = 16;

/// A long-lived access key.
#[derive(Debug)]
pub struct LongLivedKey {
    /// Its id.
    pub id: String,
    /// Names of its policies.
    pub policies: Vec<String>,
    secret: Secret,
    enabled: bool,
}

impl LongLivedKey {
    /// A key. One that is not `enabled` is known, and refused as such.
    ///
    /// # Errors
    /// When the id cannot stand in a signed request, or the secret is too short.
    pub fn new(
        id: &str,
        secret: Secret,
        policies: Vec<String>,
        enabled: bool,
    ) -> Result<Self, AccessKeyError> {
        let found = secret.expose().len();
        let id = id.to_owned();
        if !is_id(&id) {
            return Err(AccessKeyError::Id { id });
        }
        if found < MIN_SECRET {
            return Err(AccessKeyError::TooShort { id, found });
        }
        Ok(Self {
            id,
            policies,
            secret,
            enabled,
        })
    }

    /// A key of a published test vector, with a secret that no real key may have.
    #[cfg(test)]
    pub(super) fn of_vector(id: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            policies: Vec::new(),
            secret: Secret::new(secret),
            enabled: true,
        }
    }
}

impl SigningSecret for LongLivedKey {
    fn secret(&self) -> &[u8] {
        self.secret.expose()
    }
}

/// Why an access key of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessKeyError {
    /// The id cannot stand in a signed request.
    #[error(
        "identity.access_key `{id}`: an id has 1 to 128 letters, digits, `-`, `_` and `.`, and does not begin with `STS.`"
    )]
    Id {
        /// The id.
        id: String,
    },
    /// Two keys have one id.
    #[error("identity.access_key `{id}` is there twice")]
    Twice {
        /// The id.
        id: String,
    },
    /// The secret did not resolve.
    #[error("identity.access_key `{id}`: {source}")]
    Secret {
        /// The id.
        id: String,
        /// Why.
        source: SecretError,
    },
    /// The secret is too short to be one.
    #[error(
        "identity.access_key `{id}`: the secret has {found} bytes; at least {MIN_SECRET} are needed"
    )]
    TooShort {
        /// The id.
        id: String,
        /// Its length in bytes.
        found: usize,
    },
}

/// The long-lived access keys, by id.
#[derive(Default)]
pub struct AccessKeys {
    keys: HashMap<String, Arc<LongLivedKey>>,
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

impl AccessKeys {
    /// Reads the keys of a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(identity: &Identity) -> Result<Self, Vec<AccessKeyError>> {
        Self::collect(identity.access_keys.iter().map(|rule| {
            let secret = rule.secret.read().map_err(|source| {
                let id = rule.id.clone();
                AccessKeyError::Secret { id, source }
            })?;
            LongLivedKey::new(&rule.id, secret, rule.policies.clone(), rule.enabled)
        }))
    }

    /// A set of keys.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn collect(
        keys: impl IntoIterator<Item = Result<LongLivedKey, AccessKeyError>>,
    ) -> Result<Self, Vec<AccessKeyError>> {
        let (mut known, mut problems) = (HashMap::new(), Vec::new());
        for key in keys {
            match key {
                Ok(key) if known.contains_key(&key.id) => {
                    problems.push(AccessKeyError::Twice { id: key.id });
                }
                Ok(key) => {
                    known.insert(key.id.clone(), Arc::new(key));
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self { keys: known })
        } else {
            Err(problems)
        }
    }

    /// The key with an id.
    ///
    /// # Errors
    /// [`VerifyError::UnknownKey`] and [`VerifyError::DisabledKey`].
    pub fn find(&self, id: &str) -> Result<&Arc<LongLivedKey>, VerifyError> {
        let key_id = || id.to_owned();
        match self.keys.get(id) {
            Some(key) if key.enabled => Ok(key),
            Some(_) => Err(VerifyError::DisabledKey { key_id: key_id() }),
            None => Err(VerifyError::UnknownKey { key_id: key_id() }),
        }
    }

    /// Whether there is a key with an id, enabled or not.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.keys.contains_key(id)
    }
}

/// Whether an id can stand in every signature scheme, where `:`, `/`, `,` and `=` have a meaning.
fn is_id(id: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(legal) && !id.starts_with(TEMPORARY)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::{AccessKeyRule, Config};
    use crate::foundation::secret::SecretRef;

    fn load(rules: &[(&str, &str, bool)]) -> Result<AccessKeys, Vec<AccessKeyError>> {
        let mut identity = Config::quickstart().identity;
        let files: Vec<_> = rules
            .iter()
            .map(|(_, secret, _)| {
                let mut file = tempfile::NamedTempFile::new().unwrap();
                file.write_all(secret.as_bytes()).unwrap();
                file
            })
            .collect();
        let rule = |((id, _, enabled), file): (&(&str, &str, bool), &tempfile::NamedTempFile)| {
            AccessKeyRule {
                id: (*id).to_owned(),
                secret: SecretRef::File(file.path().to_owned()),
                policies: vec!["write-web".to_owned()],
                enabled: *enabled,
            }
        };
        identity.access_keys = rules.iter().zip(&files).map(rule).collect();
        AccessKeys::load(&identity)
    }

    #[test]
    fn a_key_is_found_by_its_id_unless_it_is_disabled() {
        let keys = load(&[
            ("server-1", "a secret of some length", true),
            ("server-2", "a secret of some length", false),
        ])
        .unwrap();
        let key = keys.find("server-1").unwrap();
        assert_eq!(key.secret(), b"a secret of some length");
        assert_eq!(key.policies, ["write-web"]);
        let disabled = keys.find("server-2").unwrap_err();
        assert!(matches!(disabled, VerifyError::DisabledKey { .. }));
        let unknown = keys.find("").unwrap_err();
        assert!(matches!(unknown, VerifyError::UnknownKey { .. }));
        assert!(!format!("{keys:?} {key:?}").contains("a secret"));
    }

    #[test]
    fn every_problem_is_told_and_no_secret() {
        let long = "k".repeat(129);
        let problems = load(&[
            ("", "a secret of some length", true),
            ("a:b", "a secret of some length", true),
            (&long, "a secret of some length", true),
            ("STS.x", "a secret of some length", true),
            ("short", "hunter2", true),
            ("empty", "", true),
            ("twice", "a secret of some length", true),
            ("twice", "a secret of some length", true),
        ])
        .unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 7, "{told:?}");
        assert!(!told.concat().contains("hunter2"));
    }
}
