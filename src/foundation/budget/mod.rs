//! Memory as a budget: bytes are leased before they are used and come back when the lease is
//! dropped.
//!
//! Promise: the sum of all leases of a budget never exceeds its limit, and a child's leases count
//! against its parent too. When it is full: `lease` says so at once; nobody waits.
//!
//! Several budgets may share one fairly ([`fair`]): what each may hold then moves with what the
//! others hold ([`Budget::allowed`]).

pub mod fair;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::fair::FairShare;

/// A bound on bytes in use, possibly a share of a larger one.
#[derive(Debug)]
pub struct Budget {
    bound: Bound,
    parent: Option<Arc<Budget>>,
}

/// What a budget holds, and what it may hold.
#[derive(Debug)]
enum Bound {
    /// So many bytes.
    Fixed { used: AtomicU64, limit: AtomicU64 },
    /// A fair share of a pool.
    Fair(FairShare),
    /// The parent's bound divided, but never less than so many bytes.
    Part {
        used: AtomicU64,
        divisor: u64,
        at_least: u64,
    },
}

/// The budget was full; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget is full")]
pub struct BudgetFull;

/// All of what a budget may hold, in percent.
const WHOLE: u8 = 100;

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Self::made(Bound::fixed(limit), None)
    }

    /// A share of `parent` of at most `limit` bytes.
    #[must_use]
    pub fn share(parent: &Arc<Self>, limit: u64) -> Arc<Self> {
        Self::made(Bound::fixed(limit), Some(parent))
    }

    /// A part of `parent`: what the parent may hold at the moment, divided by `divisor`, but room for
    /// `at_least` bytes at any time, as far as the parent has it.
    #[must_use]
    pub fn part(parent: &Arc<Self>, divisor: u64, at_least: u64) -> Arc<Self> {
        let bound = Bound::Part {
            used: AtomicU64::new(0),
            divisor: divisor.max(1),
            at_least,
        };
        Self::made(bound, Some(parent))
    }

    /// A fair share of `parent`; see [`fair::divide`].
    fn fair(parent: &Arc<Self>, share: FairShare) -> Arc<Self> {
        Self::made(Bound::Fair(share), Some(parent))
    }

    fn made(bound: Bound, parent: Option<&Arc<Self>>) -> Arc<Self> {
        let parent = parent.map(Arc::clone);
        Arc::new(Self { bound, parent })
    }

    /// The most that it may ever hold, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        match &self.bound {
            Bound::Fixed { limit, .. } => limit.load(Ordering::Acquire),
            Bound::Fair(share) => share.limit(),
            Bound::Part {
                divisor, at_least, ..
            } => {
                let parent = self.parent.as_ref().map_or(0, |parent| parent.limit());
                (parent / divisor).max(*at_least)
            }
        }
    }

    /// Sets the limit of a budget that has a fixed one. While more is held, nothing is given.
    pub fn set_limit(&self, bytes: u64) {
        if let Bound::Fixed { limit, .. } = &self.bound {
            limit.store(bytes, Ordering::Release);
        }
    }

    /// What it may hold now, in bytes. For a fair share this moves with what the others hold.
    #[must_use]
    pub fn allowed(&self) -> u64 {
        match &self.bound {
            Bound::Fixed { limit, .. } => limit.load(Ordering::Acquire),
            Bound::Fair(share) => share.allowed(),
            Bound::Part {
                divisor, at_least, ..
            } => {
                let parent = self.parent.as_ref().map_or(0, |parent| parent.allowed());
                (parent / divisor).max(*at_least)
            }
        }
    }

    /// Bytes leased now.
    #[must_use]
    pub fn used(&self) -> u64 {
        match &self.bound {
            Bound::Fair(share) => share.used(),
            Bound::Fixed { used, .. } | Bound::Part { used, .. } => used.load(Ordering::Acquire),
        }
    }

    /// Takes `bytes`, or nothing. No bytes are there always.
    ///
    /// # Errors
    /// [`BudgetFull`] when this budget or a parent has too little left.
    pub fn lease(self: &Arc<Self>, bytes: u64) -> Result<Lease, BudgetFull> {
        self.lease_within(bytes, WHOLE)
    }

    /// As [`Budget::lease`], but up to `percent` of what the budget may hold: the rest is for those
    /// who may use more. The bound stays with the lease when it grows.
    ///
    /// # Errors
    /// [`BudgetFull`] when there is too little left.
    pub fn lease_within(self: &Arc<Self>, bytes: u64, percent: u8) -> Result<Lease, BudgetFull> {
        self.lend(bytes, percent).map(Lease::into_owned)
    }

    /// As [`Budget::lease_within`], for somebody who has the budget at hand for as long as the bytes are
    /// held.
    ///
    /// # Errors
    /// [`BudgetFull`] when there is too little left.
    pub fn lend(self: &Arc<Self>, bytes: u64, percent: u8) -> Result<Loan<'_>, BudgetFull> {
        self.take(bytes, percent)?;
        Ok(Loan {
            budget: self,
            bytes,
            percent,
        })
    }

    /// The same lease, which is of this budget, for somebody who has the budget at hand. One of another
    /// budget goes back, and nothing is held.
    pub fn adopt(self: &Arc<Self>, mut lease: Lease<impl Borrow<Arc<Self>>>) -> Loan<'_> {
        let bytes = match Arc::ptr_eq(self, lease.budget()) {
            true => mem::take(&mut lease.bytes),
            false => 0,
        };
        Loan {
            budget: self,
            bytes,
            percent: lease.percent,
        }
    }

    // The order keeps two promises at every moment: the shared part of the pool covers what the
    // shares hold of it, and a parent counts at most what its children do. So it is: the pool, the
    // child, the parent; and back the other way round.
    fn take(&self, bytes: u64, percent: u8) -> Result<(), BudgetFull> {
        if bytes == 0 {
            return Ok(());
        }
        match &self.bound {
            Bound::Fair(share) => share.take(bytes, percent)?,
            Bound::Fixed { used, .. } | Bound::Part { used, .. } => {
                let raised = |now: u64| {
                    let sum = now.checked_add(bytes)?;
                    (sum <= percent_of(self.allowed(), percent)).then_some(sum)
                };
                used.fetch_update(Ordering::AcqRel, Ordering::Acquire, raised)
                    .map_err(|_| BudgetFull)?;
            }
        }
        if let Some(parent) = &self.parent
            && parent.take(bytes, WHOLE).is_err()
        {
            self.lower(bytes);
            return Err(BudgetFull);
        }
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        if let Some(parent) = &self.parent {
            parent.give_back(bytes);
        }
        self.lower(bytes);
    }

    fn lower(&self, bytes: u64) {
        match &self.bound {
            Bound::Fair(share) => share.lower(bytes),
            Bound::Fixed { used, .. } | Bound::Part { used, .. } => {
                used.fetch_sub(bytes, Ordering::AcqRel);
            }
        }
    }
}

impl Bound {
    fn fixed(limit: u64) -> Self {
        Self::Fixed {
            used: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
        }
    }
}

/// So many percent of `bytes`, rounded down. The whole is the whole.
#[must_use]
pub fn percent_of(bytes: u64, percent: u8) -> u64 {
    if percent >= WHOLE {
        return bytes;
    }
    part_of(bytes, percent.into(), WHOLE.into())
}

/// `bytes * numerator / denominator`, rounded down, without overflow on the way. The fraction is at
/// most 1.
fn part_of(bytes: u64, numerator: u64, denominator: u64) -> u64 {
    // A division of 128 bits costs ten times one of 64.
    if let Some(product) = bytes.checked_mul(numerator) {
        return product / denominator.max(1);
    }
    let part = u128::from(bytes) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(part).unwrap_or(bytes)
}

/// Bytes taken from a budget; dropping it gives them back.
#[must_use = "dropping a lease gives its memory back"]
#[derive(Debug)]
pub struct Lease<B: Borrow<Arc<Budget>> = Arc<Budget>> {
    budget: B,
    bytes: u64,
    /// The part of the budget that it may grow into.
    percent: u8,
}

/// A lease that does not outlive the one whose budget it is: nobody counts who has the budget.
pub type Loan<'a> = Lease<&'a Arc<Budget>>;

impl<B: Borrow<Arc<Budget>>> Lease<B> {
    fn budget(&self) -> &Arc<Budget> {
        self.budget.borrow()
    }

    /// The same lease, to be kept.
    pub fn into_owned(mut self) -> Lease {
        Lease {
            budget: Arc::clone(self.budget()),
            bytes: mem::take(&mut self.bytes),
            percent: self.percent,
        }
    }

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
        self.budget().take(more, self.percent)?;
        self.bytes += more;
        Ok(())
    }

    /// Binds it to `percent` of what its budget may hold from now on, as if it had been taken so.
    ///
    /// # Errors
    /// [`BudgetFull`] when the budget holds more than that already, and the lease stays as it was.
    pub fn bind(&mut self, percent: u8) -> Result<(), BudgetFull> {
        let budget = self.budget();
        if percent < self.percent && budget.used() > percent_of(budget.allowed(), percent) {
            return Err(BudgetFull);
        }
        self.percent = percent;
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
            self.budget().give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }

    /// Cuts off a lease of `bytes`, or of all that this one holds if that is less.
    pub fn split(&mut self, bytes: u64) -> Lease {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Lease {
            budget: Arc::clone(self.budget()),
            bytes,
            percent: self.percent,
        }
    }

    /// Puts another lease of the same budget into this one.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert!(
            Arc::ptr_eq(self.budget(), other.budget()),
            "leases of two budgets"
        );
        self.bytes += mem::take(&mut other.bytes);
    }
}

impl<B: Borrow<Arc<Budget>>> Drop for Lease<B> {
    fn drop(&mut self) {
        self.budget().give_back(self.bytes);
    }
}
