//! Reading: LogGroups by cursor, cursors by time, and heads for queries. All of it blocks on disk.

use fjall::Guard;

use super::database::Tables;
use super::keys::{self, Head};
use super::shard::Shard;
use super::{Store, StoreError};
use crate::foundation::wire;
use crate::logstore::codec::{self, Codec};

/// Protobuf tag byte of `LogGroupList.LogGroups`.
const LOG_GROUPS_TAG: u8 = 0x0a;

/// Some LogGroups of a shard.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::embedded) struct Pulled {
    /// A LogGroupList in wire form.
    pub list: Vec<u8>,
    /// LogGroups in it.
    pub groups: u32,
    /// Events in it.
    pub events: u32,
    /// Where to go on.
    pub next: u64,
}

/// Which end of a shard comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::embedded) enum Direction {
    /// The oldest.
    Forward,
    /// The newest.
    Backward,
}

impl Tables {
    /// Places and heads of a shard from `place` on.
    pub(super) fn heads_from(
        &self,
        shard: &Shard,
        place: u64,
    ) -> Box<dyn Iterator<Item = Result<(u64, Head), StoreError>>> {
        Box::new(self.heads.range(places(shard, place)).map(read_head))
    }

    fn head(&self, shard: &Shard, place: u64) -> Result<Option<Head>, StoreError> {
        let key = keys::key(shard.logstore, shard.number, place);
        self.heads
            .get(key)?
            .map(|bytes| Head::decode(&bytes).ok_or(StoreError::Damaged))
            .transpose()
    }
}

impl Store {
    /// LogGroups from `cursor` on: at most `count`, and about `max_bytes` of wire form, but at least
    /// one if there is one. `next` never passes `end`.
    pub fn pull(
        &self,
        shard: &Shard,
        cursor: u64,
        end: Option<u64>,
        count: usize,
        max_bytes: usize,
    ) -> Result<Pulled, StoreError> {
        let extent = shard.extent();
        let end = end.map_or(extent.next, |end| end.min(extent.next));
        let mut pulled = Pulled {
            next: cursor.max(extent.oldest).min(end.max(cursor)),
            ..Pulled::default()
        };
        let range = keys::key(shard.logstore, shard.number, pulled.next)
            ..keys::key(shard.logstore, shard.number, end.max(pulled.next));
        let mut plain = Vec::new();
        for entry in self.tables.get()?.groups.range(range).take(count) {
            let (key, value) = entry.into_inner()?;
            unpack(&value, &mut plain)?;
            if pulled.groups > 0 && pulled.list.len() + plain.len() > max_bytes {
                break;
            }
            wire::put_bytes(&mut pulled.list, LOG_GROUPS_TAG, &plain);
            pulled.groups += 1;
            pulled.next = keys::sequence(&key)
                .ok_or(StoreError::Damaged)?
                .saturating_add(1);
        }
        Ok(pulled)
    }

    /// The place of the first LogGroup received at `time` (unix seconds) or later; the end of the
    /// shard when there is none.
    pub fn place_at(&self, shard: &Shard, time: u64) -> Result<u64, StoreError> {
        let extent = shard.extent();
        let (mut low, mut high) = (extent.oldest, extent.next);
        let tables = self.tables.get()?;
        while low < high {
            let middle = low + (high - low) / 2;
            match tables.head(shard, middle)? {
                Some(head) if head.received >= time => high = middle,
                // One that retention has just removed lies before every kept one.
                Some(_) | None => low = middle + 1,
            }
        }
        Ok(low)
    }

    /// When the LogGroup at `place` was received, in unix seconds.
    pub fn received_at(&self, shard: &Shard, place: u64) -> Result<Option<u64>, StoreError> {
        Ok(self
            .tables
            .get()?
            .head(shard, place)?
            .map(|head| head.received))
    }

    /// Heads of a shard, with their places.
    pub fn heads(
        &self,
        shard: &Shard,
        direction: Direction,
    ) -> Box<dyn Iterator<Item = Result<(u64, Head), StoreError>>> {
        let tables = match self.tables.get() {
            Ok(tables) => tables,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let heads = tables.heads.range(places(shard, shard.extent().oldest));
        match direction {
            Direction::Forward => Box::new(heads.map(read_head)),
            Direction::Backward => Box::new(heads.rev().map(read_head)),
        }
    }

    /// Reads the wire form of the LogGroup at `place` into `plain`. False when it was removed.
    pub fn group(
        &self,
        shard: &Shard,
        place: u64,
        plain: &mut Vec<u8>,
    ) -> Result<bool, StoreError> {
        let key = keys::key(shard.logstore, shard.number, place);
        match self.tables.get()?.groups.get(key)? {
            Some(value) => unpack(&value, plain).map(|()| true),
            None => Ok(false),
        }
    }
}

fn places(shard: &Shard, from: u64) -> std::ops::RangeInclusive<keys::Key> {
    keys::key(shard.logstore, shard.number, from)
        ..=keys::key(shard.logstore, shard.number, u64::MAX)
}

fn read_head(entry: Guard) -> Result<(u64, Head), StoreError> {
    let (key, value) = entry.into_inner()?;
    let place = keys::sequence(&key).ok_or(StoreError::Damaged)?;
    Ok((place, Head::decode(&value).ok_or(StoreError::Damaged)?))
}

/// Turns what stands on disk into the wire form of a LogGroup.
fn unpack(value: &[u8], plain: &mut Vec<u8>) -> Result<(), StoreError> {
    let (form, rest) = value.split_first().ok_or(StoreError::Damaged)?;
    let (raw_bytes, bytes) = rest.split_first_chunk().ok_or(StoreError::Damaged)?;
    let raw_bytes = u32::from_be_bytes(*raw_bytes) as usize;
    let codec = match *form {
        keys::PLAIN => Codec::None,
        keys::LZ4 => Codec::Lz4,
        _ => return Err(StoreError::Damaged),
    };
    codec::decompress(codec, bytes, Some(raw_bytes), raw_bytes, plain)
        .map_err(|_| StoreError::Damaged)
}
