//! Removing the oldest events, by age and by size, in bounded steps.
//!
//! The store stays within its limits a moment late: a step removes at most [`STEP`] LogGroups, then
//! writes get their turn. Age is the time since receipt, so an event dated in the past is kept as
//! long as one dated now.

use std::iter::Peekable;
use std::sync::Arc;

use super::StoreError;
use super::catalog::{Logstore, oldest_key};
use super::database::Tables;
use super::keys::{self, Head};
use super::shard::{Extent, Shard};

/// LogGroups removed in one step: more than a commit can add, so removing keeps up with writing.
const STEP: usize = 512;

/// How much of a logstore is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Seconds since receipt.
    pub(super) age: u64,
    /// Bytes of one logstore.
    pub(super) bytes: u64,
}

/// The old end of one shard.
struct Front<'a> {
    shard: &'a Shard,
    extent: Extent,
    heads: Peekable<HeadsIter>,
}

type HeadsIter = Box<dyn Iterator<Item = Result<(u64, Head), StoreError>>>;

/// Removes the oldest LogGroups of a logstore that it may not keep. Whether more are due.
pub(super) fn step(
    tables: &Tables,
    logstore: &Logstore,
    keep: Keep,
    now: u64,
) -> Result<bool, StoreError> {
    let mut fronts: Vec<_> = logstore
        .shards
        .iter()
        .map(|shard| Front::new(tables, shard))
        .collect();
    let mut total: u64 = fronts.iter().map(|front| front.extent.bytes).sum();
    let mut batch = tables.database.batch();
    let mut removed = 0;
    while removed < STEP {
        let Some((front, received)) = oldest(&mut fronts)? else {
            break;
        };
        if now.saturating_sub(received) <= keep.age && total <= keep.bytes {
            break;
        }
        let Some((place, head)) = front.heads.next().transpose()? else {
            break;
        };
        let key = keys::key(front.shard.logstore, front.shard.number, place);
        batch.remove(&tables.groups, key);
        batch.remove(&tables.heads, key);
        front.extent.oldest = place.saturating_add(1);
        front.extent.bytes = front.extent.bytes.saturating_sub(head.cost());
        total = total.saturating_sub(head.cost());
        removed += 1;
    }
    if removed == 0 {
        return Ok(false);
    }
    let moved = fronts
        .iter()
        .filter(|front| front.extent.oldest != front.shard.extent().oldest);
    for front in moved.clone() {
        let key = oldest_key(front.shard.logstore, front.shard.number);
        batch.insert(&tables.meta, key, front.extent.oldest.to_be_bytes());
    }
    batch.commit()?;
    for front in moved {
        front.shard.move_to(front.extent);
    }
    Ok(removed == STEP)
}

impl<'a> Front<'a> {
    fn new(tables: &Tables, shard: &'a Arc<Shard>) -> Self {
        let extent = shard.extent();
        Self {
            shard,
            extent,
            heads: tables.heads_from(shard, extent.oldest).peekable(),
        }
    }
}

/// The front whose oldest LogGroup was received first, and when that was.
fn oldest<'f, 'a>(
    fronts: &'f mut [Front<'a>],
) -> Result<Option<(&'f mut Front<'a>, u64)>, StoreError> {
    let mut found: Option<(&mut Front<'a>, u64)> = None;
    for front in fronts {
        let received = match front.heads.peek() {
            Some(Ok((_, head))) => head.received,
            Some(Err(_)) => {
                front.heads.next().transpose()?;
                continue;
            }
            None => continue,
        };
        if found.as_ref().is_none_or(|(_, best)| received < *best) {
            found = Some((front, received));
        }
    }
    Ok(found)
}
