//! Memory shared fairly by dynamic thresholds (Choudhury and Hahne, 1998), with a reserve for each.
//!
//! A part of the whole is reserved, and divided by weight; the rest is a pool. What a share holds
//! above its reserve comes from the pool, and is at most `factor` times what is free in the pool
//! then. So one that floods leaves room, the more of them flood the less each gets, and one that
//! stays within its reserve is never refused, whatever the others do.
//!
//! Promise, at every moment and from any number of threads: the shares together hold at most the
//! whole, and a lease that leaves its share within the reserve succeeds. When a lease was given to a
//! share that now holds `q` bytes above its reserve, `q` was at most `factor` times what was free in
//! the pool after it.
//! Not here: who holds the leases.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Budget, part_of, percent_of};

/// What shares take from beyond their reserves.
#[derive(Debug)]
struct FairPool {
    size: u64,
    /// At least what the shares hold above their reserves; more only while a lease is being taken
    /// or given back.
    used: AtomicU64,
}

/// What one share may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairTerms {
    /// How its reserve compares to those of the others.
    pub weight: u32,
    /// The most that it may ever hold, in bytes.
    pub limit: u64,
}

/// How a whole is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairRules {
    /// The part of the whole that is reserved and divided by weight, in percent.
    pub reserved: u8,
    /// A share of weight 1 may hold so many times what is free in the pool.
    pub alpha: u32,
}

/// One share of a pool.
#[derive(Debug)]
pub(super) struct FairShare {
    pool: Arc<FairPool>,
    reserve: u64,
    /// `alpha` times the weight.
    factor: u64,
    limit: u64,
}

/// Budgets that share `whole`, one for each of `terms`. One alone has nobody to leave room for: it
/// gets its limit.
#[must_use]
pub fn divide(whole: &Arc<Budget>, terms: &[FairTerms], rules: FairRules) -> Vec<Arc<Budget>> {
    if let [alone] = terms {
        return vec![Budget::share(whole, alone.limit)];
    }
    let reserves = reserves(whole.limit(), terms, rules);
    let reserved: u64 = reserves.iter().sum();
    let pool = Arc::new(FairPool {
        size: whole.limit().saturating_sub(reserved),
        used: AtomicU64::new(0),
    });
    let budget = |(terms, reserve): (&FairTerms, u64)| {
        let share = FairShare {
            pool: Arc::clone(&pool),
            reserve,
            factor: u64::from(rules.alpha) * u64::from(terms.weight),
            limit: terms.limit,
        };
        Budget::fair(whole, share)
    };
    terms.iter().zip(reserves).map(budget).collect()
}

/// The reserve of each share, in bytes; together at most the whole.
fn reserves(whole: u64, terms: &[FairTerms], rules: FairRules) -> Vec<u64> {
    let reserved = percent_of(whole, rules.reserved.min(100));
    let weights: u128 = terms.iter().map(|terms| u128::from(terms.weight)).sum();
    let reserve = |terms: &FairTerms| {
        let part = u128::from(reserved) * u128::from(terms.weight) / weights.max(1);
        u64::try_from(part).unwrap_or(u64::MAX).min(terms.limit)
    };
    terms.iter().map(reserve).collect()
}

impl FairShare {
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What of `used` is above the reserve.
    pub(super) fn above(&self, used: u64) -> u64 {
        used.saturating_sub(self.reserve)
    }

    /// What it may hold while it holds `used` and the others stay as they are.
    pub(super) fn allowed(&self, used: u64) -> u64 {
        self.allowed_with(self.above(used), self.pool.used.load(Ordering::Acquire))
    }

    /// The same, from what it holds above its reserve and what is used of the pool.
    ///
    /// `q <= factor * free` must hold after a lease, when `free` is less by what was taken: so `q` is
    /// at most `factor / (1 + factor)` of what this share and nobody hold now.
    fn allowed_with(&self, above: u64, pool_used: u64) -> u64 {
        let open = self.pool.size.saturating_sub(pool_used) + above.min(pool_used);
        let part = part_of(open, self.factor, self.factor + 1);
        self.reserve.saturating_add(part).min(self.limit)
    }

    /// Takes from the pool what growing from `used` to `sum` needs, if it may grow so. How much that
    /// was.
    pub(super) fn take(&self, used: u64, sum: u64, percent: u8) -> Option<u64> {
        let above = self.above(used);
        let more = self.above(sum) - above;
        if more == 0 && percent >= 100 && sum <= self.limit {
            return Some(0);
        }
        let mut pool_used = self.pool.used.load(Ordering::Acquire);
        loop {
            let allowed = self.allowed_with(above, pool_used);
            if sum > percent_of(allowed, percent) {
                return None;
            }
            if more == 0 {
                return Some(0);
            }
            let (now, then) = (pool_used, pool_used + more);
            match self.pool.used.compare_exchange_weak(
                now,
                then,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(more),
                Err(other) => pool_used = other,
            }
        }
    }

    pub(super) fn give(&self, shared: u64) {
        if shared > 0 {
            self.pool.used.fetch_sub(shared, Ordering::AcqRel);
        }
    }
}
