//! The keys of tokens: read as the configuration says, or made on first start.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::jwt::needed_secret;
use crate::config::{Identity, JwtKey};
use crate::foundation::secret::{Secret, SecretError, SecretRef};

/// The least length of a secret that seals or signs, in bytes.
pub(super) const MIN_SECRET: usize = 32;

/// A key that makes and verifies tokens.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// What a token signed by it must say.
    pub rules: JwtKey,
    /// The HMAC secret.
    pub secret: Secret,
}

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// One of `[[identity.jwt]]` is wrong.
    #[error("identity.jwt[{index}] (`{kid}`): {fault}")]
    Jwt {
        /// Which, from 0.
        index: usize,
        /// The key's name.
        kid: String,
        /// Why.
        fault: KeyFault,
    },
    /// A generated key could not be read or written.
    #[error("cannot keep the key in {path}: {source}", path = path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is wrong with one of `[[identity.jwt]]`, and how to mend it. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// A secret reference did not resolve.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The secret is too short to be one.
    #[error("the secret has {found} bytes; its `algorithms` need at least {needed}")]
    TooShort {
        /// Its length in bytes.
        found: usize,
        /// The length of the longest hash.
        needed: usize,
    },
    /// More than one key is given.
    #[error("give one of `secret`, `public_key`, `jwks` and `jwks_url`")]
    Sources,
    /// Algorithms for a public key, and none.
    #[error("its `algorithms` need a key: give `public_key`, `jwks` or `jwks_url`")]
    NoSource,
    /// The algorithms do not go together, or not with the kind of key.
    #[error(
        "`algorithms` must be all of HMAC, with a `secret` or a `jwks` file, or all of public keys"
    )]
    Algorithms,
    /// The URL cannot be fetched from.
    #[error("`jwks_url` {0}")]
    Url(&'static str),
    /// TLS could not be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path}: {what}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

impl KeyError {
    pub(super) fn at(index: usize, kid: &str, fault: KeyFault) -> Self {
        Self::Jwt {
            index,
            kid: kid.to_owned(),
            fault,
        }
    }
}

/// The keys of the configuration that can make tokens: those with a secret. A key without any is
/// made on first use.
///
/// # Errors
/// When a secret cannot be read or is too short, or a generated key cannot be kept.
pub fn load_jwt_keys(identity: &Identity, data_dir: &Path) -> Result<Vec<SigningKey>, KeyError> {
    let keys = identity.jwt.iter().enumerate();
    keys.filter(|(_, rules)| signs(rules))
        .map(|(index, rules)| {
            Ok(SigningKey {
                rules: rules.clone(),
                secret: load_secret(index, rules, data_dir)?,
            })
        })
        .collect()
}

fn signs(rules: &JwtKey) -> bool {
    let elsewhere = rules.public_key.is_some() || rules.jwks.is_some() || rules.jwks_url.is_some();
    rules.secret.is_some() || !elsewhere
}

/// The secret of an `[[identity.jwt]]`, made on first use when none is given.
pub(super) fn load_secret(
    index: usize,
    rules: &JwtKey,
    data_dir: &Path,
) -> Result<Secret, KeyError> {
    let fail = |fault| KeyError::at(index, &rules.kid, fault);
    let secret = match &rules.secret {
        Some(reference) => reference.read().map_err(|source| fail(source.into()))?,
        None => load_or_make(data_dir, &rules.kid)?,
    };
    let (found, needed) = (secret.expose().len(), needed_secret(&rules.algorithms));
    if found < needed {
        return Err(fail(KeyFault::TooShort { found, needed }));
    }
    Ok(secret)
}

/// The secret kept in `{data_dir}/keys/{name}.key`; on first use 32 random bytes, as 64 hex
/// characters, in a file that only its owner may read.
///
/// # Errors
/// When the file can neither be read nor made.
pub fn load_or_make(data_dir: &Path, name: &str) -> Result<Secret, KeyError> {
    let folder = data_dir.join("keys");
    let path = folder.join(format!("{name}.key"));
    let keep = |source| KeyError::Keep {
        path: path.clone(),
        source,
    };
    match SecretRef::File(path.clone()).read() {
        Ok(secret) => return Ok(secret),
        Err(SecretError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(keep(io::Error::other(error))),
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(keep)?;
    let text = random_hex().map_err(keep)?;
    write_once(&folder, &path, text.as_bytes()).map_err(keep)?;
    SecretRef::File(path.clone())
        .read()
        .map_err(|error| keep(io::Error::other(error)))
}

/// Writes a new file whole or not at all. When another process was first, its file stays.
fn write_once(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = folder.join(format!(".{}.{}", std::process::id(), random_hex()?));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn random_hex() -> io::Result<String> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_key_is_made_once_for_its_owner_only_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_make(folder.path(), "quickstart").unwrap();
        let again = load_or_make(folder.path(), "quickstart").unwrap();
        assert!(first.matches(again.expose()));
        assert_eq!(first.expose().len(), 64);
        let keys = folder.path().join("keys");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&keys), 0o700);
        assert_eq!(mode(&keys.join("quickstart.key")), 0o600);
        assert_eq!(
            std::fs::read_dir(&keys).unwrap().count(),
            1,
            "no draft stays behind"
        );
    }

    #[test]
    fn a_short_secret_is_refused_without_being_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2").unwrap();
        let mut identity = Config::quickstart().identity;
        identity.jwt[0].secret = Some(SecretRef::File(file.path().to_owned()));
        let error = load_jwt_keys(&identity, Path::new("/nowhere"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("7 bytes") && !error.contains("hunter2"),
            "{error}"
        );
    }
}
