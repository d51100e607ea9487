//! Standing guards on events, without a schema: characters, names, time, distinct values, and events
//! that have come before.
//!
//! Promise: judging costs time linear in the events and no memory beyond what
//! [`config::Guards::state_bytes`](crate::config::Guards::state_bytes) says and the lists of the
//! request in hand. Nothing is refused for lack of room: a name of an event that cannot be remembered
//! passes, and is counted. What a request brings counts as seen only when it was confirmed.
//! Not here: what becomes of bad events, and how a client is told (`front`).

mod cells;
mod judge;
mod letters;
mod names;
mod recent;
mod repair;
mod reservation;
mod set;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::cells::{Check, CheckCells, DedupCells, GuardCells, ValueCells};
pub use self::judge::{Ask, EventRepair, Judged, Work};
use self::letters::Wanted;
use self::recent::{Purpose, Recent};
pub use self::repair::Repairing;
pub use self::reservation::Reservation;
use self::reservation::{Held, Table};
pub use self::set::{GuardSet, StandingGuards};
use crate::config::{
    Cardinality, Dedup, Guards as Rule, KeyPattern, Letters, OnInvalid, PatternError,
};
use crate::foundation::units::Span;
use crate::gate::quota::Seed;

/// The guards of one logstore.
#[derive(Debug)]
pub struct Guards {
    rule: Rule,
    pattern: Option<KeyPattern>,
    letters: Actions,
    values: Vec<Arc<Values>>,
    ids: Option<Arc<Ids>>,
    cells: Arc<GuardCells>,
    seed: Seed,
}

/// Which characters of names and values are refused, and which replaced.
#[derive(Debug)]
struct Actions {
    refused: Wanted,
    replaced: Wanted,
}

/// The distinct values of a field.
#[derive(Debug)]
struct Values {
    rule: Cardinality,
    seen: Recent,
    cells: ValueCells,
}

/// The names of events that have come.
#[derive(Debug)]
struct Ids {
    rule: Dedup,
    seen: Recent,
}

impl Guards {
    /// The guards of a rule. What `before`, under the same seed, has seen by a rule that is the same
    /// is carried over, and so are counts.
    ///
    /// # Errors
    /// The pattern of names is none; `tollgate check` tells of it first.
    pub fn new(rule: &Rule, seed: &Seed, before: Option<&Self>) -> Result<Arc<Self>, PatternError> {
        let pattern = rule.key_pattern.as_deref().map(KeyPattern::new);
        let values = rule.cardinality.iter().map(|rule| {
            let same = before.and_then(|before| {
                let mut olds = before.values.iter();
                olds.find(|old| old.rule == *rule)
            });
            same.cloned().unwrap_or_else(|| {
                Arc::new(Values {
                    rule: rule.clone(),
                    seen: Recent::new(rule.max, millis(rule.window), Purpose::Values),
                    cells: ValueCells::default(),
                })
            })
        });
        let ids = rule.dedup.as_ref().map(|rule| {
            let same = before.and_then(|before| before.ids.as_ref());
            let same = same.filter(|ids| ids.rule == *rule);
            same.cloned().unwrap_or_else(|| {
                Arc::new(Ids {
                    rule: rule.clone(),
                    seen: Recent::new(rule.max_ids, millis(rule.window), Purpose::Ids),
                })
            })
        });
        let wanted = |action| Wanted {
            controls: rule.control_characters == action,
            line_breaks: rule.line_breaks,
            directions: rule.direction_characters == action,
        };
        Ok(Arc::new(Self {
            pattern: pattern.transpose()?,
            letters: Actions {
                refused: wanted(Letters::Refuse),
                replaced: wanted(Letters::Replace),
            },
            values: values.collect(),
            ids,
            cells: before.map_or_else(Arc::default, |before| Arc::clone(&before.cells)),
            seed: seed.clone(),
            rule: rule.clone(),
        }))
    }

    /// What becomes of a bad event.
    #[must_use]
    pub fn on_invalid(&self) -> OnInvalid {
        self.rule.on_invalid
    }

    /// Whether it matters who sends an event.
    #[must_use]
    pub fn asks_for_senders(&self) -> bool {
        let ids = self.ids.as_ref();
        self.rule.percent < 100
            || ids.is_some_and(|ids| ids.rule.per_sender)
            || self.names_whole_events()
    }

    /// Whether events that come twice are told by all of their content but the time.
    #[must_use]
    pub fn ignores_time(&self) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.rule.ignore_time)
    }

    /// Whether events that come twice are told by all of their content.
    #[must_use]
    pub fn names_whole_events(&self) -> bool {
        let ids = self.ids.as_ref();
        ids.is_some_and(|ids| ids.rule.fields.is_empty())
    }

    /// What was counted.
    #[must_use]
    pub fn cells(&self) -> &GuardCells {
        &self.cells
    }

    fn seen(&self, table: Table) -> Option<&Recent> {
        match table {
            Table::Ids => self.ids.as_ref().map(|ids| &ids.seen),
            Table::Values(index) => Some(&self.values.get(usize::from(index))?.seen),
        }
    }

    fn release(&self, held: &Held) {
        if let Some(seen) = self.seen(held.table) {
            seen.release(held.hash);
        }
    }

    fn confirm(&self, held: &Held, millis: u64) {
        if let Some(seen) = self.seen(held.table) {
            seen.confirm(held.hash, millis);
        }
    }
}

fn millis(span: Span) -> u64 {
    u64::try_from(span.get().as_millis()).unwrap_or(u64::MAX)
}
