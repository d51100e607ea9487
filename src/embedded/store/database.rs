//! The files of the store: one fjall database with three keyspaces, opened small.
//!
//! `groups` holds LogGroups, `heads` what is known of each without reading it, `meta` the logstores
//! and how far each shard has been trimmed. A LogGroup and its head are written in one batch.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::StoreError;

/// Blocks kept in memory. The store is read by a few consumers and by people looking at recent
/// events; the operating system's cache serves the rest.
const BLOCK_CACHE: u64 = 8 << 20;
/// A table of LogGroups in memory before it is written out. fjall holds back writers at four such
/// tables, so this bounds memory at about five times itself.
const GROUP_TABLE: u64 = 8 << 20;
/// The same for heads and names, which are small.
const SMALL_TABLE: u64 = 2 << 20;
/// Journals on disk before fjall must write tables out: its smallest.
const JOURNALS: u64 = 64 << 20;
/// One thread writes tables out while the other merges.
const BACKGROUND_THREADS: usize = 2;
/// Files held open. A store of 1 GiB has some dozens.
const OPEN_FILES: usize = 128;
/// LogGroups of at least so many bytes are kept apart from their keys, so that merging the keys
/// does not copy them again and again.
const APART_FROM: u32 = 512;
/// Kept-apart LogGroups are removed file by file; small files give space back early.
const GROUP_FILE: u64 = 16 << 20;

const FORMAT_KEY: &[u8] = b"format";
const FORMAT: &[u8] = b"1";

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made.
    #[error("cannot make the folder {path} of the embedded logstore: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "the embedded logstore in {path} is open in another process; stop that, or set another data_dir",
        path = path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// It was written by another version.
    #[error(
        "the embedded logstore in {path} has a format that this version does not know; \
         use the version that wrote it, or move the folder away to start empty",
        path = path.display()
    )]
    Format {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error(
        "the embedded logstore in {path} cannot be opened: {source}; \
         move the folder away to start empty",
        path = path.display()
    )]
    Files {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The thread that writes cannot be started.
    #[error("the embedded logstore's writer thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

/// The database and its keyspaces.
#[derive(Clone)]
pub(super) struct Tables {
    pub(super) database: Database,
    pub(super) groups: Keyspace,
    pub(super) heads: Keyspace,
    pub(super) meta: Keyspace,
}

impl Tables {
    /// Opens the database in `path`, making it when it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| OpenError::Folder {
                path: path.to_owned(),
                source,
            })?;
        let tables = Self::open_keyspaces(path).map_err(|error| match error {
            fjall::Error::Locked => OpenError::Locked {
                path: path.to_owned(),
            },
            fjall::Error::InvalidVersion(_) => OpenError::Format {
                path: path.to_owned(),
            },
            other => files(path, other.into()),
        })?;
        tables.check_format(path)?;
        Ok(tables)
    }

    fn open_keyspaces(path: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(path)
            .cache_size(BLOCK_CACHE)
            .max_journaling_size(JOURNALS)
            .worker_threads(BACKGROUND_THREADS)
            .max_cached_files(Some(OPEN_FILES))
            .open()?;
        let small = || KeyspaceCreateOptions::default().max_memtable_size(SMALL_TABLE);
        let groups = database.keyspace("groups", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(GROUP_TABLE)
                .with_kv_separation(Some(
                    KvSeparationOptions::default()
                        .separation_threshold(APART_FROM)
                        .file_target_size(GROUP_FILE),
                ))
        })?;
        let heads = database.keyspace("heads", small)?;
        let meta = database.keyspace("meta", small)?;
        Ok(Self {
            database,
            groups,
            heads,
            meta,
        })
    }

    fn check_format(&self, path: &Path) -> Result<(), OpenError> {
        let found = self
            .meta
            .get(FORMAT_KEY)
            .map_err(|e| files(path, e.into()))?;
        match found {
            Some(format) if &*format == FORMAT => Ok(()),
            Some(_) => Err(OpenError::Format {
                path: path.to_owned(),
            }),
            None => self
                .meta
                .insert(FORMAT_KEY, FORMAT)
                .and_then(|()| self.database.persist(PersistMode::SyncAll))
                .map_err(|e| files(path, e.into())),
        }
    }
}

pub(super) fn files(path: &Path, source: StoreError) -> OpenError {
    OpenError::Files {
        path: path.to_owned(),
        source,
    }
}
