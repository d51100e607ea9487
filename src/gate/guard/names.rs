//! What an event is called: by its fields, or by all of it.

use std::hash::{BuildHasher, Hasher};

use super::judge::{Ask, OfEvent};
use super::recent::Sight;
use super::reservation::{Held, Table};
use super::{Guards, Ids};
use crate::foundation::wire::{Field, Reader};

/// What became of the names of a request's events.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Events that have come before, or twice in this request.
    pub(super) duplicates: Vec<u32>,
    /// Events that another request holds.
    pub(super) held: Vec<u32>,
    /// Events that are not remembered.
    pub(super) untracked: u64,
}

impl Guards {
    /// The hash of an event's name. `None`: it has none.
    pub(super) fn name_of(&self, ids: &Ids, ask: &Ask<'_>, event: &OfEvent<'_>) -> Option<u64> {
        let mut hasher = self.seed.build_hasher();
        let mut put = |bytes: &[u8]| {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        };
        let whole = ids.rule.fields.is_empty();
        for name in &ids.rule.fields {
            let field = event.fields.get(name.as_bytes())?;
            if field.value.is_empty() {
                return None;
            }
            put(field.value);
        }
        if whole {
            for part in [&ask.group.topic, &ask.group.source, &ask.group.tags] {
                put(part);
            }
            // The sender stands for what we have added.
            for field in event.fields.iter().take(event.own) {
                put(field.name);
                put(field.value);
            }
            if !ids.rule.ignore_time {
                put(&time_of(event.log).to_le_bytes());
            }
        }
        if whole || ids.rule.per_sender {
            put(&ask.sender.to_le_bytes());
        }
        Some(hasher.finish())
    }

    /// Looks the names of a request up, and holds those that are new. `names` are hashes and events.
    pub(super) fn sort_names(
        &self,
        ids: &Ids,
        names: &mut [(u64, u32)],
        ask: &Ask<'_>,
        holds: &mut Vec<Held>,
    ) -> Sorted {
        let mut sorted = Sorted::default();
        // Equal names stand together then, the first to come first.
        names.sort_unstable();
        let whole = ids.rule.fields.is_empty();
        let mut last: Option<(u64, Sight)> = None;
        let first = u64::from(ask.turn);
        let mut turn = first;
        for &(name, event) in &*names {
            let again = last.filter(|(hash, _)| *hash == name);
            turn = if again.is_some() { turn + 1 } else { first };
            // Whole events that are alike in one request are different events, told apart by their
            // turn; the copy of the request has as many.
            let hash = match (whole, turn) {
                (true, 1..) => self.seed.hash_one((name, turn)),
                _ => name,
            };
            let sight = match again {
                Some((_, Sight::Held)) if !whole => Sight::Held,
                Some(_) if !whole => Sight::Known,
                _ => ids.seen.see(hash, ask.millis),
            };
            match sight {
                Sight::Known => sorted.duplicates.push(event),
                Sight::Held => sorted.held.push(event),
                Sight::Full => sorted.untracked += 1,
                Sight::Fresh => holds.push(Held {
                    hash,
                    event,
                    table: Table::Ids,
                }),
            }
            last = Some((name, sight));
        }
        sorted.duplicates.sort_unstable();
        sorted.held.sort_unstable();
        sorted
    }
}

/// Seconds and nanoseconds of a Log.
fn time_of(log: &[u8]) -> u128 {
    let mut reader = Reader::new(log);
    let (mut seconds, mut nanoseconds) = (0, 0);
    while let Ok(Some(field)) = reader.next_field() {
        match field {
            Field::Varint(1, value) => seconds = value,
            Field::Fixed32(4, value) => nanoseconds = value,
            _ => {}
        }
    }
    u128::from(seconds) << 32 | u128::from(nanoseconds)
}
