//! Memory as a budget: bytes are leased before they are used and come back when the lease is
//! dropped.
//!
//! Promise: the sum of all leases of a budget never exceeds its limit, and a child's leases count
//! against its parent too. When it is full: `lease` says so at once; nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on bytes in use, possibly a share of a larger one.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
    parent: Option<Arc<Budget>>,
}

/// The budget was full; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget is full")]
pub struct BudgetFull;

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
            parent: None,
        })
    }

    /// A share of `parent` of at most `limit` bytes.
    #[must_use]
    pub fn share(parent: &Arc<Self>, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
            parent: Some(Arc::clone(parent)),
        })
    }

    /// The limit in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes leased now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, or nothing.
    ///
    /// # Errors
    /// [`BudgetFull`] when this budget or a parent has too little left.
    pub fn lease(self: &Arc<Self>, bytes: u64) -> Result<Lease, BudgetFull> {
        self.take(bytes)?;
        Ok(Lease {
            budget: Arc::clone(self),
            bytes,
        })
    }

    fn take(&self, bytes: u64) -> Result<(), BudgetFull> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= self.limit)
            })
            .map_err(|_| BudgetFull)?;
        if let Some(parent) = &self.parent
            && parent.take(bytes).is_err()
        {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(BudgetFull);
        }
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.give_back(bytes);
        }
    }
}

/// Bytes taken from a budget; dropping it gives them back.
#[must_use = "dropping a lease gives its memory back"]
#[derive(Debug)]
pub struct Lease {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Lease {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// [`BudgetFull`], and the lease stays as it was.
    pub fn grow(&mut self, more: u64) -> Result<(), BudgetFull> {
        self.budget.take(more)?;
        self.bytes += more;
        Ok(())
    }

    /// Grows or shrinks to exactly `bytes`.
    ///
    /// # Errors
    /// [`BudgetFull`] when growing fails; the lease stays as it was.
    pub fn resize(&mut self, bytes: u64) -> Result<(), BudgetFull> {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.shrink_to(bytes);
        Ok(())
    }

    /// Gives back all but `bytes`; a lease that is smaller already stays as it is.
    pub fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }

    /// Cuts off a lease of `bytes`, or of all that this one holds if that is less.
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            budget: Arc::clone(&self.budget),
            bytes,
        }
    }

    /// Puts another lease of the same budget into this one.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert!(
            Arc::ptr_eq(&self.budget, &other.budget),
            "leases of two budgets"
        );
        self.bytes += other.bytes;
        other.bytes = 0;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_refuses_and_a_dropped_lease_makes_room() {
        let budget = Budget::new(100);
        let first = budget.lease(60).unwrap();
        assert_eq!(budget.lease(41).unwrap_err(), BudgetFull);
        drop(first);
        assert_eq!(budget.lease(100).unwrap().bytes(), 100);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_share_counts_against_its_parent_and_takes_nothing_when_the_parent_is_full() {
        let whole = Budget::new(100);
        let share = Budget::share(&whole, 80);
        let other = whole.lease(50).unwrap();
        assert!(share.lease(60).is_err());
        assert_eq!((share.used(), whole.used()), (0, 50));
        let mut lease = share.lease(50).unwrap();
        assert!(lease.grow(1).is_err());
        lease.shrink_to(10);
        assert_eq!((share.used(), whole.used()), (10, 60));
        lease.merge(share.lease(5).unwrap());
        assert_eq!(lease.bytes(), 15);
        drop((lease, other));
        assert_eq!((share.used(), whole.used()), (0, 0));
    }

    #[test]
    fn a_lease_splits_without_taking_or_giving_back() {
        let budget = Budget::new(100);
        let mut lease = budget.lease(60).unwrap();
        let part = lease.split(20);
        assert_eq!((lease.bytes(), part.bytes(), budget.used()), (40, 20, 60));
        assert_eq!(lease.split(41).bytes(), 40, "never more than it holds");
        drop((lease, part));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn sums_that_overflow_are_refused() {
        let budget = Budget::new(u64::MAX);
        let _all = budget.lease(u64::MAX).unwrap();
        assert!(budget.lease(1).is_err());
    }
}
