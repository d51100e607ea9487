//! The events of a request in the books, from when they are read until it is known what becomes of them.
//!
//! Promise: an event that was read enters the books of its logstore once, and leaves this by one outcome:
//! accepted, refused, set aside, left out, or gone to another logstore. One that vanishes is counted as
//! lost, so that a bug of ours shows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::event::Reason;
use crate::telemetry::{Counter, DropReason, LogstoreMetrics};

/// What a request brought, as far as it has no outcome. Only the task of the request uses it, so its own
/// numbers are read and written plainly; they are atomics since a task goes from thread to thread.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    metrics: &'a LogstoreMetrics,
    read: AtomicU64,
    open: AtomicU64,
    /// They are with the store, on behalf of their client.
    away: AtomicBool,
}

impl<'a> Entry<'a> {
    pub(super) fn new(metrics: &'a LogstoreMetrics) -> Self {
        Self {
            metrics,
            read: AtomicU64::new(0),
            open: AtomicU64::new(0),
            away: AtomicBool::new(false),
        }
    }

    /// So many events were read of the request. A body that is read twice brings nothing new.
    pub(super) fn read(&self, events: u32) {
        let before = self.read.load(Ordering::Relaxed);
        let new = u64::from(events).saturating_sub(before);
        if new > 0 {
            self.metrics.events_entered.add(new);
            self.metrics.events_deciding.add(new);
            let open = self.open.load(Ordering::Relaxed);
            self.read.store(before + new, Ordering::Relaxed);
            self.open.store(open + new, Ordering::Relaxed);
        }
    }

    /// From now on they are sent to the store as they are: who gives up the request does not know what
    /// becomes of them.
    pub(super) fn goes_away(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    /// The lane holds them.
    pub(super) fn accepted(&self, events: u64) {
        self.end(events, &self.metrics.events_accepted);
    }

    /// They are refused.
    pub(super) fn refused(&self, events: u64, reason: Reason) {
        self.end(events, self.metrics.events_refused.at(reason.index()));
    }

    /// All that have no outcome yet are refused.
    pub(super) fn refused_all(&self, reason: Reason) {
        self.refused(self.open.load(Ordering::Relaxed), reason);
    }

    /// They are in the books of another logstore.
    pub(super) fn went_elsewhere(&self, events: u64) {
        self.end(events, &self.metrics.events_routed);
    }

    /// They end as `outcome` says.
    pub(super) fn end(&self, events: u64, outcome: &Counter) {
        if events == 0 {
            return;
        }
        let open = self.open.load(Ordering::Relaxed);
        debug_assert!(events <= open, "{events} events end, and {open} are there");
        self.open
            .store(open.saturating_sub(events), Ordering::Relaxed);
        outcome.add(events);
        // Last, so that an event that is no longer here is somewhere.
        self.metrics.events_deciding.sub(events.min(open));
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let open = *self.open.get_mut();
        if open == 0 {
            return;
        }
        if *self.away.get_mut() {
            // Nobody waits for the store's answer any more.
            self.refused(open, Reason::RelayUnavailable);
            return;
        }
        let lost = self.metrics.events_dropped.at(DropReason::Lost as usize);
        self.end(open, lost);
        debug_assert!(
            std::thread::panicking(),
            "events of a request have no outcome"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_enters_once_and_has_one_outcome() {
        let metrics = LogstoreMetrics::default();
        let entry = Entry::new(&metrics);
        entry.read(5);
        entry.read(5);
        entry.read(3);
        entry.accepted(2);
        entry.went_elsewhere(1);
        assert_eq!(metrics.events_deciding.get(), 2);
        entry.refused_all(Reason::QuotaExceeded);
        drop(entry);
        let refused = metrics.events_refused.at(Reason::QuotaExceeded.index());
        let ended = [
            metrics.events_accepted.get(),
            metrics.events_routed.get(),
            refused.get(),
        ];
        assert_eq!((metrics.events_entered.get(), ended), (5, [2, 1, 2]));
        assert_eq!(metrics.events_deciding.get(), 0);
    }

    #[test]
    fn events_that_vanish_are_counted_as_lost_and_those_with_the_store_as_refused() {
        let metrics = LogstoreMetrics::default();
        let vanish = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Entry::new(&metrics).read(3);
        }));
        assert_eq!(vanish.is_err(), cfg!(debug_assertions));
        let lost = metrics.events_dropped.at(DropReason::Lost as usize).get();
        assert_eq!((lost, metrics.events_deciding.get()), (3, 0));
        let away = Entry::new(&metrics);
        away.read(2);
        away.goes_away();
        drop(away);
        let refused = metrics.events_refused.at(Reason::RelayUnavailable.index());
        assert_eq!((refused.get(), metrics.events_deciding.get()), (2, 0));
    }
}
