//! The storage of the embedded logstore: shards of LogGroups on local disk.
//!
//! Promise: what a write answered `Ok` for is found again after a kill, and with `SyncMode::Disk`
//! after power loss; places in a shard are consecutive, in the order of writing, and never used
//! twice. Where repeats are dropped (`drop_repeats`), a LogGroup that came again is answered `Ok` and
//! not stored again. When it cannot keep up: the queue of the one writer thread is full and a write is refused
//! at once. When the disk fails: every write is refused, since nobody can say what a failed `fsync` left
//! behind; reading goes on. Once the disk takes writes again the files are opened anew, as after a
//! crash, and the store goes on with what it finds there. Removed events free their disk
//! space when the tables they stand in are merged, which later writes bring about: a busy store takes
//! about 100 MiB more than its logstores may hold, and up to 200 MiB for its journals.
//!
//! Not here: HTTP, queries, and whether a LogGroup is well-formed.

mod catalog;
mod database;
mod keys;
mod read;
mod repeats;
mod retention;
mod shard;
mod slot;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use self::catalog::Catalog;
pub(in crate::embedded) use self::catalog::Logstore;
pub use self::database::OpenError;
use self::database::{Tables, files};
use self::keys::Print;
pub(in crate::embedded) use self::read::{Direction, Pulled};
use self::repeats::Repeats;
pub(in crate::embedded) use self::repeats::print_of;
use self::retention::Keep;
pub(in crate::embedded) use self::shard::Shard;
use self::slot::Slot;
use self::writer::{Files, Put, Rules, Writer};
use crate::config::Embedded;
use crate::foundation::budget::Lease;
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::telemetry::EmbeddedMetrics;

/// The files could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said so.
    #[error("the database failed: {0}")]
    Database(#[from] fjall::Error),
    /// A record is not what this version writes.
    #[error("a record on disk is damaged")]
    Damaged,
    /// For a moment.
    #[error("the database is being opened again after its disk failed")]
    Reopening,
}

/// Why a write was not taken. Nothing was promised; part of it may still be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::embedded) enum PutError {
    /// The queue of the writer is full.
    #[error("the writer's queue is full")]
    Busy,
    /// The disk or the writer thread failed.
    #[error("the event could not be written to disk")]
    Failed,
}

/// A LogGroup on its way to disk.
#[derive(Debug)]
pub(in crate::embedded) struct NewGroup {
    /// Its wire form, as it is or as one lz4 block.
    pub body: GroupBody,
    /// Events in it.
    pub events: u32,
    /// Earliest event, in unix seconds.
    pub first_time: u32,
    /// Latest event, in unix seconds.
    pub last_time: u32,
    /// Its content, where repeats of it are to be dropped ([`print_of`]).
    pub print: Option<Print>,
}

/// The bytes of a LogGroup and how they stand.
#[derive(Debug)]
pub(in crate::embedded) enum GroupBody {
    /// The wire form itself.
    Plain(Vec<u8>),
    /// One lz4 block of so many bytes of wire form.
    Lz4 {
        /// The block.
        block: Vec<u8>,
        /// Bytes of wire form.
        raw_bytes: u32,
    },
}

impl GroupBody {
    /// Bytes that it takes in memory.
    pub fn memory(&self) -> u64 {
        let bytes = match self {
            Self::Plain(bytes) => bytes,
            Self::Lz4 { block, .. } => block,
        };
        bytes.capacity() as u64
    }
}

/// All logstores of the process, and the thread that writes them.
pub(in crate::embedded) struct Store {
    tables: Slot,
    catalog: Arc<ArcSwap<Catalog>>,
    /// Shards of a new logstore.
    shards: u32,
    writer: Writer,
}

impl Store {
    /// Opens or makes the store in `path`. Blocks.
    pub fn open(
        path: &Path,
        config: &Embedded,
        projects: Vec<(ProjectName, Vec<LogstoreName>)>,
        metrics: &Arc<EmbeddedMetrics>,
    ) -> Result<Self, OpenError> {
        let tables = Tables::open(path)?;
        let catalog = catalog::load(&tables, projects, config.shards, &Catalog::new())
            .map_err(|source| files(path, source))?;
        let catalog = Arc::new(ArcSwap::from_pointee(catalog));
        let keep = Keep {
            age: config.retention.as_secs(),
            bytes: config.max_size.get(),
        };
        let window = config.drop_repeats.as_secs();
        let repeats = Repeats::load(&tables, window, clock::unix_seconds(), metrics)
            .map_err(|source| files(path, source))?;
        let tables = Slot::new(tables);
        let files = Files {
            path: path.to_owned(),
            tables: tables.clone(),
            metrics: Arc::clone(metrics),
        };
        let rules = Rules {
            keep,
            sync: config.sync,
            window,
        };
        let writer = Writer::start(files, Arc::clone(&catalog), rules, repeats)
            .map_err(OpenError::Thread)?;
        Ok(Self {
            tables,
            catalog,
            shards: config.shards,
            writer,
        })
    }

    /// Has these logstores too from now on. Those that it has stay as they are. Blocks.
    pub fn have(&self, projects: Vec<(ProjectName, Vec<LogstoreName>)>) -> Result<(), StoreError> {
        let before = self.catalog.load();
        let catalog = catalog::load(&self.tables.get()?, projects, self.shards, &before)?;
        self.catalog.store(Arc::new(catalog));
        Ok(())
    }

    /// The logstores of a project, sorted by name.
    pub fn project(&self, project: &str) -> Option<Vec<Arc<Logstore>>> {
        let catalog = self.catalog.load();
        let logstores = catalog.get(project)?;
        Some(logstores.values().map(Arc::clone).collect())
    }

    /// A logstore by name.
    pub fn logstore(&self, project: &str, logstore: &str) -> Option<Arc<Logstore>> {
        let catalog = self.catalog.load();
        catalog.get(project)?.get(logstore).map(Arc::clone)
    }

    /// Writes a LogGroup to the end of a shard and waits until it is as safe as the configuration
    /// says. `lease` is the memory of the group and is given back when it is written.
    ///
    /// # Cancel safety
    /// Dropped while waiting, the group is written all the same.
    pub async fn put(
        &self,
        shard: &Arc<Shard>,
        group: NewGroup,
        lease: Lease,
    ) -> Result<(), PutError> {
        let (answer, answered) = oneshot::channel();
        self.writer.submit(Put {
            shard: Arc::clone(shard),
            group,
            lease,
            answer,
        })?;
        // A writer thread that died drops the senders of everything it held.
        answered.await.unwrap_or(Err(PutError::Failed))
    }

    /// Writes what waits, syncs it, and ends the writer thread. Later writes are refused. Blocks.
    pub fn close(&self) {
        self.writer.close();
    }
}

/// How often the store looks for events that are too old or too many.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
