//! The tables of a store that may be opened anew while it runs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::StoreError;
use super::database::Tables;

/// Bytes that must fit on a disk before the store is opened there again: more than what it writes to
/// open, and enough for some commits.
const PROBE: usize = 16 << 20;

/// The tables, but for the moment in which they are opened anew.
#[derive(Clone)]
pub(super) struct Slot(Arc<RwLock<Option<Tables>>>);

impl Slot {
    pub(super) fn new(tables: Tables) -> Self {
        Self(Arc::new(RwLock::new(Some(tables))))
    }

    /// The tables. Whoever has them keeps the old files open, so nobody should for long.
    pub(super) fn get(&self) -> Result<Tables, StoreError> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tables.clone().ok_or(StoreError::Reopening)
    }

    /// Lets the files go, once nobody reads any more.
    pub(super) fn close(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn set(&self, tables: Tables) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(tables);
    }
}

/// Whether the disk of a folder takes some bytes and confirms them.
pub(super) fn takes_writes(folder: &Path) -> io::Result<()> {
    let path = folder.join(".probe");
    let probe = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&path)?;
        let piece = [0x5A; 64 << 10];
        for _ in 0..PROBE / piece.len() {
            file.write_all(&piece)?;
        }
        file.sync_all()
    };
    let result = probe();
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => result.and(Err(error)),
        _ => result,
    }
}
