//! The logstores that the store serves, and what they remember over a restart.
//!
//! A logstore keeps at least the shards that it was made with: raising `embedded.shards` adds
//! shards, lowering it changes nothing for a logstore that exists. A logstore that is no longer
//! configured keeps its events on disk, untouched, until it is configured again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fjall::PersistMode;

use super::StoreError;
use super::database::Tables;
use super::keys::{self, Head};
use super::shard::{Extent, Shard};
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};

/// More shards are of no use to one disk, and each costs a little memory.
const MAX_SHARDS: u32 = 64;

/// A logstore.
#[derive(Debug)]
pub(in crate::embedded) struct Logstore {
    /// Its name.
    pub name: LogstoreName,
    /// When it was first seen, in unix seconds.
    pub created: u64,
    /// Its shards, by number.
    pub shards: Vec<Arc<Shard>>,
    turn: AtomicUsize,
}

impl Logstore {
    /// The shard whose turn it is to take a LogGroup.
    pub fn next_shard(&self) -> Option<&Arc<Shard>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.shards.get(turn % self.shards.len().max(1))
    }

    /// The shard that a hash belongs to.
    pub fn shard_of(&self, hash: u128) -> Option<&Arc<Shard>> {
        self.shards.iter().find(|shard| shard.contains(hash))
    }
}

/// Projects and their logstores, by name.
pub(super) type Catalog = HashMap<ProjectName, BTreeMap<LogstoreName, Arc<Logstore>>>;

/// What the database remembers of a logstore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    id: u32,
    shards: u32,
    created: u64,
}

impl Record {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16);
        bytes.extend_from_slice(&self.id.to_be_bytes());
        bytes.extend_from_slice(&self.shards.to_be_bytes());
        bytes.extend_from_slice(&self.created.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (shards, created) = rest.split_first_chunk()?;
        Some(Self {
            id: u32::from_be_bytes(*id),
            shards: u32::from_be_bytes(*shards),
            created: u64::from_be_bytes(created.try_into().ok()?),
        })
    }
}

const LOGSTORES: &[u8] = b"logstore/";

fn record_key(project: &ProjectName, logstore: &LogstoreName) -> Vec<u8> {
    [LOGSTORES, format!("{project}/{logstore}").as_bytes()].concat()
}

/// The key under which the oldest kept place of a shard is remembered.
pub(super) fn oldest_key(logstore: u32, shard: u32) -> Vec<u8> {
    [
        b"oldest/".as_slice(),
        &logstore.to_be_bytes(),
        &shard.to_be_bytes(),
    ]
    .concat()
}

/// Finds or makes every configured logstore, beside those that `before` has.
pub(super) fn load(
    tables: &Tables,
    projects: Vec<(ProjectName, Vec<LogstoreName>)>,
    shards: u32,
    before: &Catalog,
) -> Result<Catalog, StoreError> {
    let wanted = shards.clamp(1, MAX_SHARDS);
    let mut next_id = highest_id(tables)?.saturating_add(1);
    let mut catalog = before.clone();
    let mut changed = false;
    for (project, names) in projects {
        let mut logstores = catalog.remove(&project).unwrap_or_default();
        for name in names {
            if logstores.contains_key(&name) {
                continue;
            }
            changed = true;
            let key = record_key(&project, &name);
            let record = match tables.meta.get(&key)? {
                Some(bytes) => Record::decode(&bytes).ok_or(StoreError::Damaged)?,
                None => Record {
                    id: next_id,
                    shards: 0,
                    created: clock::unix_seconds(),
                },
            };
            if record.id == next_id {
                next_id = next_id.saturating_add(1);
            }
            let logstore = load_logstore(tables, &key, name.clone(), record, wanted)?;
            logstores.insert(name, Arc::new(logstore));
        }
        catalog.insert(project, logstores);
    }
    if changed {
        tables.database.persist(PersistMode::SyncAll)?;
    }
    Ok(catalog)
}

fn highest_id(tables: &Tables) -> Result<u32, StoreError> {
    let mut highest = 0;
    for entry in tables.meta.prefix(LOGSTORES) {
        let record = Record::decode(&entry.value()?).ok_or(StoreError::Damaged)?;
        highest = highest.max(record.id);
    }
    Ok(highest)
}

/// Makes the shards that are missing, and reads how far each reaches.
fn load_logstore(
    tables: &Tables,
    key: &[u8],
    name: LogstoreName,
    record: Record,
    wanted: u32,
) -> Result<Logstore, StoreError> {
    let count = record.shards.max(wanted);
    if count > record.shards {
        let mut batch = tables.database.batch();
        for number in record.shards..count {
            let oldest = oldest_key(record.id, number);
            batch.insert(&tables.meta, oldest, first_place().to_be_bytes());
        }
        let grown = Record {
            shards: count,
            ..record
        };
        batch.insert(&tables.meta, key, grown.encode());
        batch.commit()?;
    }
    let shards = (0..count)
        .map(|number| {
            let extent = read_extent(tables, record.id, number)?;
            Ok(Arc::new(Shard::new(record.id, number, count, extent)))
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Logstore {
        name,
        created: record.created,
        shards,
        turn: AtomicUsize::new(0),
    })
}

/// The first place of a new shard: nanoseconds, as cursors of SLS look. A store that was wiped thus
/// goes on above every cursor that a consumer may remember.
fn first_place() -> u64 {
    clock::unix_millis().saturating_mul(1_000_000)
}

/// How far a shard reaches, as its records say.
pub(super) fn read_extent(
    tables: &Tables,
    logstore: u32,
    shard: u32,
) -> Result<Extent, StoreError> {
    let trimmed = tables
        .meta
        .get(oldest_key(logstore, shard))?
        .and_then(|bytes| keys::sequence(&bytes))
        .ok_or(StoreError::Damaged)?;
    let mut extent = Extent {
        oldest: trimmed,
        next: trimmed,
        ..Extent::default()
    };
    let range = keys::key(logstore, shard, trimmed)..=keys::key(logstore, shard, u64::MAX);
    for entry in tables.heads.range(range) {
        let (key, value) = entry.into_inner()?;
        let head = Head::decode(&value).ok_or(StoreError::Damaged)?;
        let place = keys::sequence(&key).ok_or(StoreError::Damaged)?;
        extent.next = place.saturating_add(1);
        extent.received = head.received;
        extent.bytes = extent.bytes.saturating_add(head.cost());
    }
    Ok(extent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let record = Record {
            id: 3,
            shards: 2,
            created: 1_781_510_000,
        };
        assert_eq!(Record::decode(&record.encode()), Some(record));
        assert_eq!(Record::decode(&[0; 15]), None);
    }
}
