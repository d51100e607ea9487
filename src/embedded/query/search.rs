//! Walking through a logstore for a query. There is no index: heads say which LogGroups may hold
//! events of the time asked for, and those are read.
//!
//! Promise: a search reads at most so many heads, groups and bytes, for so long, and answers with so
//! many bytes; what was found until then is the answer, marked as not complete.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::Query;
use crate::embedded::group::{Group, Log};
use crate::embedded::store::{Direction, Logstore, Shard, Store, StoreError};

/// Time that a search takes at most, but for the LogGroup at hand. Its terms decide how dear a byte
/// is, so bytes alone are no bound.
const MAX_TIME: Duration = Duration::from_secs(10);

/// Bytes of names and values that an answer holds at most, but for one event.
const MAX_ANSWER: usize = 8 << 20;

/// How much a search may read, in all shards together.
#[derive(Clone, Copy, Debug)]
pub(in crate::embedded) struct Bounds {
    /// Heads that it looks at.
    pub heads: usize,
    /// LogGroups that it reads.
    pub groups: usize,
    /// Bytes of their wire form.
    pub bytes: u64,
}

impl Bounds {
    /// Enough to look at every head of a full store of small groups; a search then ends in seconds.
    pub const DEFAULT: Self = Self {
        heads: 2_000_000,
        groups: 20_000,
        bytes: 512 << 20,
    };

    fn share(self, shards: usize) -> Self {
        Self {
            heads: self.heads / shards,
            groups: self.groups / shards,
            bytes: self.bytes / shards as u64,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(in crate::embedded) struct Search {
    /// Earliest event time, in unix seconds.
    pub from: u32,
    /// Event time after the last, in unix seconds.
    pub to: u32,
    /// Only events of this topic.
    pub topic: Option<String>,
    /// Only events that meet this.
    pub query: Query,
    /// How far to look.
    pub bounds: Bounds,
}

/// Which part of what was found is wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::embedded) struct Page {
    /// Events to pass over.
    pub offset: usize,
    /// Events wanted after those.
    pub lines: usize,
    /// Latest first.
    pub reverse: bool,
}

/// An answer, and whether the search saw everything.
#[derive(Clone, Debug)]
pub(in crate::embedded) struct Found<T> {
    /// What was found.
    pub items: T,
    /// False when a bound of the search ended it.
    pub complete: bool,
}

/// One event as `key: value` strings.
pub(in crate::embedded) type Row = Map<String, Value>;

/// Where an event stands. The order is that of results: time, then place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    time: u32,
    place: u64,
    shard: u32,
    index: u32,
}

impl Position {
    /// The same position in the opposite order. Done twice, it is the first again.
    fn flipped(self) -> Self {
        Self {
            time: !self.time,
            place: !self.place,
            shard: !self.shard,
            index: !self.index,
        }
    }
}

/// Events in the order of time.
pub(in crate::embedded) fn logs(
    store: &Store,
    logstore: &Logstore,
    search: &Search,
    page: Page,
) -> Result<Found<Vec<Row>>, StoreError> {
    let wanted = page.offset.saturating_add(page.lines);
    let mut first = BinaryHeap::new();
    let direction = if page.reverse {
        Direction::Backward
    } else {
        Direction::Forward
    };
    let complete = walk(store, logstore, search, direction, &mut |position| {
        first.push(if page.reverse {
            position.flipped()
        } else {
            position
        });
        if first.len() > wanted {
            first.pop();
        }
    })?;
    let mut items: Vec<Row> = Vec::with_capacity(page.lines);
    let mut plain = Vec::new();
    let mut bytes = 0;
    for position in first.into_sorted_vec().into_iter().skip(page.offset) {
        let position = if page.reverse {
            position.flipped()
        } else {
            position
        };
        let Some(row) = read_row(store, logstore, position, &mut plain)? else {
            continue;
        };
        bytes += row_bytes(&row);
        if bytes > MAX_ANSWER && !items.is_empty() {
            return Ok(Found {
                items,
                complete: false,
            });
        }
        items.push(row);
    }
    Ok(Found { items, complete })
}

/// How many events there are in each of `buckets` equal parts of the time asked for.
pub(in crate::embedded) fn histogram(
    store: &Store,
    logstore: &Logstore,
    search: &Search,
    buckets: &[(u32, u32)],
) -> Result<Found<Vec<u64>>, StoreError> {
    let mut items = vec![0; buckets.len()];
    let complete = walk(
        store,
        logstore,
        search,
        Direction::Forward,
        &mut |position| {
            let after = buckets.partition_point(|(from, _)| *from <= position.time);
            if let Some(count) = after.checked_sub(1).and_then(|at| items.get_mut(at)) {
                *count += 1;
            }
        },
    )?;
    Ok(Found { items, complete })
}

/// Calls `found` for every event that meets the search. Whether everything was seen.
fn walk(
    store: &Store,
    logstore: &Logstore,
    search: &Search,
    direction: Direction,
    found: &mut dyn FnMut(Position),
) -> Result<bool, StoreError> {
    let shards = logstore.shards.len().max(1);
    let deadline = Instant::now() + MAX_TIME;
    let mut complete = true;
    for shard in &logstore.shards {
        let mut walk = Walk {
            store,
            shard,
            search,
            left: search.bounds.share(shards),
            deadline,
        };
        complete &= walk.run(direction, found)?;
    }
    Ok(complete)
}

/// A walk through one shard, and what it may still read.
struct Walk<'a> {
    store: &'a Store,
    shard: &'a Arc<Shard>,
    search: &'a Search,
    left: Bounds,
    deadline: Instant,
}

impl Walk<'_> {
    fn run(
        &mut self,
        direction: Direction,
        found: &mut dyn FnMut(Position),
    ) -> Result<bool, StoreError> {
        let mut plain = Vec::new();
        for entry in self.store.heads(self.shard, direction) {
            let (place, head) = entry?;
            if self.left.heads == 0 {
                return Ok(false);
            }
            self.left.heads -= 1;
            if head.last_time < self.search.from || head.first_time >= self.search.to {
                continue;
            }
            let late = Instant::now() >= self.deadline;
            if late || self.left.groups == 0 || self.left.bytes == 0 {
                return Ok(false);
            }
            self.left.groups -= 1;
            self.left.bytes = self.left.bytes.saturating_sub(u64::from(head.raw_bytes));
            if self.store.group(self.shard, place, &mut plain)? {
                self.scan(&plain, place, found)?;
            }
        }
        Ok(true)
    }

    fn scan(
        &self,
        plain: &[u8],
        place: u64,
        found: &mut dyn FnMut(Position),
    ) -> Result<(), StoreError> {
        let search = self.search;
        let group = Group::read(plain).map_err(|_| StoreError::Damaged)?;
        let topic = search.topic.as_deref();
        if topic.is_some_and(|topic| topic.as_bytes() != group.topic) {
            return Ok(());
        }
        for (log, index) in group.logs().zip(0..) {
            let log = log.map_err(|_| StoreError::Damaged)?;
            let in_time = (search.from..search.to).contains(&log.time);
            if in_time && search.query.matches(&group, &log) {
                found(Position {
                    time: log.time,
                    place,
                    shard: self.shard.number,
                    index,
                });
            }
        }
        Ok(())
    }
}

/// Reads one event again; `None` when it was removed meanwhile.
fn row_bytes(row: &Row) -> usize {
    row.iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum()
}

fn read_row(
    store: &Store,
    logstore: &Logstore,
    position: Position,
    plain: &mut Vec<u8>,
) -> Result<Option<Row>, StoreError> {
    let Some(shard) = logstore.shards.get(position.shard as usize) else {
        return Ok(None);
    };
    if !store.group(shard, position.place, plain)? {
        return Ok(None);
    }
    let group = Group::read(plain).map_err(|_| StoreError::Damaged)?;
    let log = group.logs().nth(position.index as usize);
    log.map(|log| row(&group, &log.map_err(|_| StoreError::Damaged)?))
        .transpose()
}

/// An event as clients see it: all values are strings, tags carry their prefix.
fn row(group: &Group<'_>, log: &Log<'_>) -> Result<Row, StoreError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut row = Row::new();
    for content in log.contents() {
        let (key, value) = content.map_err(|_| StoreError::Damaged)?;
        row.insert(text(key), text(value).into());
    }
    for (key, value) in &group.tags {
        row.insert(format!("__tag__:{}", text(key)), text(value).into());
    }
    row.insert("__topic__".to_owned(), text(group.topic).into());
    row.insert("__source__".to_owned(), text(group.source).into());
    row.insert("__time__".to_owned(), log.time.to_string().into());
    if let Some(nanos) = log.nanos {
        row.insert("__time_ns_part__".to_owned(), nanos.to_string().into());
    }
    Ok(row)
}
