//! What can go wrong with tickets and revocations.

use std::io;
use std::path::PathBuf;

use crate::foundation::secret::SecretError;

use super::super::keys::{KeyError, MIN_SECRET};

/// Why the state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "tickets and revocations in {path} are in use by another process, most likely a running \
         node; stop it, set another data_dir, or reach its admin API with --admin-url",
        path = path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// It was written by a newer version.
    #[error(
        "{path} has entries that this version does not know; use the version that wrote it, or \
         move the file away to start without tickets and revocations",
        path = path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or made.
    #[error("cannot keep tickets and revocations in {path}: {source}", path = path.display())]
    Files {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key cannot be had.
    #[error(transparent)]
    Secret(#[from] StateKeyError),
}

/// Why a key of tickets, or the token of the admin API, could not be had. Never holds it.
#[derive(Debug, thiserror::Error)]
pub enum StateKeyError {
    /// A secret reference did not resolve.
    #[error("{key}: {source}")]
    Secret {
        /// The key of the configuration.
        key: &'static str,
        /// Why.
        source: SecretError,
    },
    /// It is too short to be a secret.
    #[error("{key}: the secret has {found} bytes; at least {MIN_SECRET} are needed")]
    TooShort {
        /// The key of the configuration.
        key: &'static str,
        /// Its length in bytes.
        found: usize,
    },
    /// A generated one cannot be kept.
    #[error(transparent)]
    Keep(#[from] KeyError),
}

/// Why a change was refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It could not be written.
    #[error("the change could not be kept in {path}: {source}; nothing has changed", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are as many as there may be.
    #[error(
        "there are {max} {what} already, as many as {key} allows; raise it, or wait until one has expired"
    )]
    Full {
        /// What there are many of.
        what: &'static str,
        /// How many there may be.
        max: u32,
        /// The key of the configuration.
        key: &'static str,
    },
    /// A member of the request is not what it must be.
    #[error("{member}: {why}")]
    Invalid {
        /// The member.
        member: &'static str,
        /// What it must be.
        why: String,
    },
    /// There is no such thing.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It cannot be changed any more.
    #[error("{0}")]
    Conflict(String),
}

impl ChangeError {
    pub(super) fn invalid(member: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid {
            member,
            why: why.into(),
        }
    }
}
