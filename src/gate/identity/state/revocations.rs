//! The revocations in force.
//!
//! Promise: a lookup allocates nothing and, while nothing of its kind is revoked, reads one number.
//! A revocation is in force when [`Revocations::revoke`] returns, and on disk. At `max_count` a new
//! one is refused: an old one is never dropped for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;

use super::error::ChangeError;
use super::journal::{Entry, Journal};
use super::revocation::{Revocation, RevocationKind};
use crate::telemetry::Metrics;

type Table = HashMap<Box<str>, Arc<Revocation>, RandomState>;

/// The revocations of one kind.
#[derive(Debug, Default)]
struct Shelf {
    /// How many there are, to know without the lock that there is none.
    count: AtomicUsize,
    table: RwLock<Table>,
}

impl Shelf {
    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.write();
        let result = change(&mut table);
        self.count.store(table.len(), Ordering::Release);
        result
    }
}

/// The revocations, by kind, before the journal is open.
#[derive(Debug, Default)]
pub(super) struct Shelves([Shelf; RevocationKind::ALL.len()]);

impl Shelves {
    #[expect(clippy::indexing_slicing, reason = "there is a shelf for each kind")]
    fn of(&self, kind: RevocationKind) -> &Shelf {
        &self.0[kind as usize]
    }

    pub(super) fn put(&self, revocation: Revocation) {
        let revocation = Arc::new(revocation);
        self.of(revocation.kind).change(|table| {
            table.insert(revocation.value.clone(), Arc::clone(&revocation));
        });
    }

    pub(super) fn take(&self, kind: RevocationKind, value: &str) {
        self.of(kind).change(|table| table.remove(value));
    }

    fn prune(&self, now: u64) {
        for shelf in &self.0 {
            let ended = |table: &Table| table.values().any(|one| !one.is_active(now));
            let any = ended(&shelf.read());
            if any {
                shelf.change(|table| table.retain(|_, one| one.is_active(now)));
            }
        }
    }
}

/// The revocations in force. The one place that says what is revoked, tickets included.
#[derive(Debug)]
pub struct Revocations {
    shelves: Shelves,
    max_count: AtomicU32,
    /// How often something was revoked or lifted.
    changes: AtomicU64,
    journal: Arc<Journal>,
    metrics: Arc<Metrics>,
}

impl Revocations {
    pub(super) fn new(
        shelves: Shelves,
        max_count: u32,
        journal: Arc<Journal>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            shelves,
            max_count: AtomicU32::new(max_count),
            changes: AtomicU64::new(0),
            journal,
            metrics,
        }
    }

    /// Whether a credential is revoked. One that does not say when it was issued (`None`) is hit
    /// also by revocations of what was issued before some time. `now` is unix seconds.
    #[must_use]
    pub fn is_revoked(
        &self,
        kind: RevocationKind,
        value: &str,
        issued_at: Option<u64>,
        now: u64,
    ) -> bool {
        let shelf = self.shelves.of(kind);
        shelf.len() > 0
            && shelf
                .read()
                .get(value)
                .is_some_and(|one| one.hits(issued_at, now))
    }

    /// How many are kept, ended ones that are not yet removed included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shelves.0.iter().map(Shelf::len).sum()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Revokes. A second revocation of the same widens the first and never narrows it. Blocks
    /// until it is on disk; says what is now in force.
    ///
    /// # Errors
    /// When a member is not what it must be, there are too many, or it could not be written.
    pub fn revoke(&self, revocation: Revocation, now: u64) -> Result<Arc<Revocation>, ChangeError> {
        revocation.check()?;
        let change = self.journal.begin();
        let earlier = self.find(revocation.kind, &revocation.value);
        let revocation = match earlier.as_deref().filter(|one| one.is_active(now)) {
            Some(earlier) => revocation.widened_by(earlier),
            None => revocation,
        };
        let max = self.max_count.load(Ordering::Relaxed);
        if earlier.is_none() && self.len() >= max as usize {
            self.shelves.prune(now);
            if self.len() >= max as usize {
                return Err(ChangeError::Full {
                    what: "revocations",
                    max,
                    key: "identity.revocation.max_count",
                });
            }
        }
        change.commit(&Entry::Revoke(revocation.clone()))?;
        self.shelves.put(revocation.clone());
        self.changes.fetch_add(1, Ordering::Release);
        self.count();
        Ok(Arc::new(revocation))
    }

    /// Undoes a revocation. Blocks until that is on disk.
    ///
    /// # Errors
    /// When there is none, or it could not be written.
    pub fn lift(&self, kind: RevocationKind, value: &str) -> Result<Arc<Revocation>, ChangeError> {
        let change = self.journal.begin();
        let found = self
            .find(kind, value)
            .ok_or(ChangeError::NotFound("revocation"))?;
        change.commit(&Entry::Lift {
            kind,
            value: value.into(),
        })?;
        self.shelves.take(kind, value);
        self.changes.fetch_add(1, Ordering::Release);
        self.count();
        Ok(found)
    }

    /// At most `limit` revocations in force, of one kind or of all, in the order of kind and value,
    /// after that of `after`; and whether there are more.
    #[must_use]
    pub fn list(
        &self,
        kind: Option<RevocationKind>,
        after: Option<(RevocationKind, &str)>,
        limit: usize,
        now: u64,
    ) -> (Vec<Arc<Revocation>>, bool) {
        let mut page = Vec::new();
        for shelf_kind in RevocationKind::ALL {
            let before_page = after.is_some_and(|(kind, _)| shelf_kind < kind);
            if before_page || kind.is_some_and(|kind| kind != shelf_kind) {
                continue;
            }
            let from = after.filter(|(kind, _)| *kind == shelf_kind);
            let mut found: Vec<_> = {
                let table = self.shelves.of(shelf_kind).read();
                let active = table.values().filter(|one| one.is_active(now));
                let after =
                    |one: &&Arc<Revocation>| from.is_none_or(|(_, value)| *one.value > *value);
                active.filter(after).cloned().collect()
            };
            found.sort_unstable_by(|a, b| a.value.cmp(&b.value));
            page.extend(found);
            if page.len() > limit {
                page.truncate(limit);
                return (page, true);
            }
        }
        (page, false)
    }

    pub(super) fn find(&self, kind: RevocationKind, value: &str) -> Option<Arc<Revocation>> {
        self.shelves.of(kind).read().get(value).cloned()
    }

    pub(super) fn prune(&self, now: u64) {
        self.shelves.prune(now);
        self.count();
    }

    /// How often something was revoked or lifted since the start.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// How many there may be.
    #[must_use]
    pub fn max_count(&self) -> u32 {
        self.max_count.load(Ordering::Relaxed)
    }

    pub(super) fn set_max_count(&self, max_count: u32) {
        self.max_count.store(max_count, Ordering::Relaxed);
    }

    /// What the journal needs to hold of them.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.len());
        for shelf in &self.shelves.0 {
            let table = shelf.read();
            entries.extend(table.values().map(|one| Entry::Revoke((**one).clone())));
        }
        entries
    }

    pub(super) fn count(&self) {
        self.metrics.revocations.set(self.len() as u64);
    }
}
