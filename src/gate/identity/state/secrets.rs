//! The keys of tickets and the token of the admin API: read as the configuration says, or made on
//! first start.

use std::io;
use std::path::Path;

use super::super::keys::{MIN_SECRET, load_or_make};
use super::error::StateKeyError;
use crate::config::{Admin, Tickets};
use crate::foundation::secret::{Secret, SecretError, SecretRef};

const ADMIN_TOKEN: &str = "admin.token";

pub(super) fn ticket_keys(
    tickets: &Tickets,
    data_dir: &Path,
) -> Result<Vec<Secret>, StateKeyError> {
    if tickets.keys.is_empty() {
        return Ok(vec![load_or_make(data_dir, "ticket")?]);
    }
    let keys = tickets.keys.iter();
    keys.map(|key| read(key, "identity.ticket.keys")).collect()
}

/// The bearer token of the admin API; made in `{data_dir}/keys/admin.key` when the configuration
/// names none.
///
/// # Errors
/// When it cannot be read or made, or is too short to be a secret.
pub fn admin_token(admin: &Admin, data_dir: &Path) -> Result<Secret, StateKeyError> {
    match &admin.token {
        Some(reference) => read(reference, ADMIN_TOKEN),
        None => Ok(load_or_make(data_dir, "admin")?),
    }
}

/// The bearer token of the admin API as a node has left it, for a command that talks to that node;
/// none when no node has ever made one.
///
/// # Errors
/// When there is one that cannot be read.
pub fn known_admin_token(admin: &Admin, data_dir: &Path) -> Result<Option<Secret>, StateKeyError> {
    if admin.token.is_some() {
        return admin_token(admin, data_dir).map(Some);
    }
    let made = SecretRef::File(data_dir.join("keys").join("admin.key"));
    match read(&made, ADMIN_TOKEN) {
        Ok(token) => Ok(Some(token)),
        Err(StateKeyError::Secret {
            source: SecretError::File { source, .. },
            ..
        }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(reference: &SecretRef, key: &'static str) -> Result<Secret, StateKeyError> {
    let secret = reference
        .read()
        .map_err(|source| StateKeyError::Secret { key, source })?;
    match secret.expose().len() {
        found if found < MIN_SECRET => Err(StateKeyError::TooShort { key, found }),
        _ => Ok(secret),
    }
}
