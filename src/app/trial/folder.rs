//! The folder of a trial: a copy of what a service remembers, for as long as the trial lasts.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::config::{Config, Identity};
use crate::foundation::secret::SecretRef;

/// Folders of a data directory that hold keys and what is remembered of callers; all else is events.
const REMEMBERED: [&str; 3] = ["keys", "identity", "quota"];
/// The largest file that is copied, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// Name of the file that stands in for secrets.
const STAND_IN: &str = "stand-in";
/// A URL of keys that leads nowhere (RFC 2606).
const NO_KEYS: &str = "https://keys.invalid/";

/// A folder that only its owner can read, deleted when it is dropped.
#[derive(Debug)]
pub(super) struct TrialFolder(PathBuf);

impl TrialFolder {
    pub(super) fn make() -> io::Result<Self> {
        let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let path = std::env::temp_dir().join(format!("tollgate-trial-{number:016x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Copies what is remembered in a data directory, which may belong to a service that runs.
    pub(super) fn copy_from(&self, data_dir: &Path) -> Result<(), (PathBuf, io::Error)> {
        for name in REMEMBERED {
            let from = data_dir.join(name);
            let copied = copy_folder(&from, &self.0.join(name));
            copied.map_err(|error| (from, error))?;
        }
        Ok(())
    }

    /// Puts a made-up secret in the place of each that cannot be read. The keys of the configuration
    /// where one stands. Private keys in PEM have none.
    pub(super) fn stand_in(&self, config: &mut Config) -> Vec<String> {
        let path = self.0.join(STAND_IN);
        let mut replaced = Vec::new();
        let written = write_new(
            &path,
            "stand-in-for-a-secret-that-cannot-be-read-here-0123456789-as-long-as-any-hash",
        );
        if written.is_err() {
            return replaced; // what needs a secret then says which one it misses
        }
        let mut look = |key: String, reference: &mut SecretRef| {
            if reference.read().is_err() {
                *reference = SecretRef::File(path.clone());
                replaced.push(key);
            }
        };
        let identity = &mut config.identity;
        for (index, jwt) in identity.jwt.iter_mut().enumerate() {
            let secret = jwt.secret.iter_mut();
            secret.for_each(|it| look(format!("identity.jwt[{index}].secret"), it));
        }
        for (index, key) in identity.access_keys.iter_mut().enumerate() {
            look(
                format!("identity.access_key[{index}].secret"),
                &mut key.secret,
            );
        }
        for (index, key) in identity.sts.keys.iter_mut().enumerate() {
            look(format!("identity.sts.keys[{index}]"), key);
        }
        for (index, key) in identity.ticket.keys.iter_mut().enumerate() {
            look(format!("identity.ticket.keys[{index}]"), key);
        }
        for (index, project) in config.projects.iter_mut().enumerate() {
            for (inner, logstore) in project.logstores.iter_mut().enumerate() {
                for (place, step) in logstore.transforms.iter_mut().enumerate() {
                    let key = step.text_key_mut().into_iter();
                    let name = format!("project[{index}].logstore[{inner}].transform[{place}].key");
                    key.for_each(|it| look(name.clone(), it));
                }
            }
        }
        replaced.extend(stand_in_for_keys(&mut config.identity));
        replaced
    }
}

impl Drop for TrialFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the folder of a trial cannot be deleted");
        }
    }
}

/// Takes the public keys that cannot be read for such as are fetched, and have not been: what is signed
/// with them can be presumed, and not be verified.
fn stand_in_for_keys(identity: &mut Identity) -> Vec<String> {
    let mut replaced = Vec::new();
    for (index, jwt) in identity.jwt.iter_mut().enumerate() {
        for (name, path) in [("public_key", &mut jwt.public_key), ("jwks", &mut jwt.jwks)] {
            let missing = |path: &PathBuf| File::open(path).is_err();
            if path.as_ref().is_some_and(missing) {
                *path = None;
                jwt.jwks_url = Some(NO_KEYS.to_owned());
                replaced.push(format!("identity.jwt[{index}].{name}"));
            }
        }
    }
    replaced
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in entries {
        let entry = entry?;
        // Folders in them are none of ours, links lead elsewhere.
        if !entry.file_type()?.is_file() || entry.file_name().to_string_lossy().ends_with(".lock") {
            continue;
        }
        let mut bytes = Vec::new();
        File::open(entry.path())?
            .take(MAX_FILE)
            .read_to_end(&mut bytes)?;
        write_new(&to.join(entry.file_name()), bytes)?;
    }
    Ok(())
}

fn write_new(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(bytes.as_ref())
}
