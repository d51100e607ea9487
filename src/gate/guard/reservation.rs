//! What a request holds until it is known whether its events were taken.

use std::sync::Arc;

use super::Guards;

/// Which table a held key is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Names of events.
    Ids,
    /// Values of the field with this place in the configuration.
    Values(u8),
}

/// A key that is held for an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) hash: u64,
    pub(super) event: u32,
    pub(super) table: Table,
}

/// New names and values that the events of a request brought.
///
/// They count as seen from [`Reservation::confirm`] on. A reservation that is dropped gives them
/// back, so a request that is refused, or dies on its way, leaves nothing behind.
#[must_use = "what is not confirmed is given back"]
#[derive(Default)]
pub struct Reservation {
    guards: Option<Arc<Guards>>,
    held: Vec<Held>,
    millis: u64,
}

impl Reservation {
    pub(super) fn new(guards: &Arc<Guards>, held: Vec<Held>, millis: u64) -> Self {
        Self {
            guards: Some(Arc::clone(guards)),
            held,
            millis,
        }
    }

    /// Gives back what is held for events that were not taken. `is_taken` is asked by the index that
    /// an event had when it was judged.
    pub fn keep(&mut self, is_taken: impl Fn(u32) -> bool) {
        let guards = self.guards.as_deref();
        self.held.retain(|held| {
            let taken = is_taken(held.event);
            if !taken && let Some(guards) = guards {
                guards.release(held);
            }
            taken
        });
    }

    /// The events were taken: what is held counts as seen.
    pub fn confirm(mut self) {
        let held = std::mem::take(&mut self.held);
        if let Some(guards) = &self.guards {
            for held in &held {
                guards.confirm(held, self.millis);
            }
        }
    }

    /// The names of events that are held, as hashes.
    pub fn names(&self) -> impl Iterator<Item = u64> {
        let names = self.held.iter().filter(|it| it.table == Table::Ids);
        names.map(|it| it.hash)
    }

    /// How many names and values are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(guards) = &self.guards {
            for held in &self.held {
                guards.release(held);
            }
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
