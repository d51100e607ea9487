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
//! A whole may be divided anew while it is in use ([`Division`]): shares come, go and change, and every
//! lease stays where it is. What was held before may be more than the new terms allow; nothing is taken
//! then until it has drained, and until then a reserve may be short of it.
//! Not here: who holds the leases.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use super::{Bound, Budget, part_of, percent_of};

/// What shares take from beyond their reserves.
#[derive(Debug)]
struct FairPool {
    size: AtomicU64,
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
    /// Read while the share takes or gives back, so that they do not change half-way.
    terms: RwLock<Bounds>,
}

/// The terms of a share, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    reserve: u64,
    /// `alpha` times the weight.
    factor: u64,
    limit: u64,
}

/// A whole that is divided, and may be divided anew.
#[derive(Debug)]
pub struct Division {
    whole: Arc<Budget>,
    pool: Arc<FairPool>,
    /// Every share that somebody may hold something of. Held while it is divided.
    shares: Mutex<Vec<Weak<Budget>>>,
}

impl Division {
    /// A whole that nobody has a share of yet.
    #[must_use]
    pub fn new(whole: &Arc<Budget>) -> Self {
        let pool = FairPool {
            size: AtomicU64::new(whole.limit()),
            used: AtomicU64::new(0),
        };
        Self {
            whole: Arc::clone(whole),
            pool: Arc::new(pool),
            shares: Mutex::default(),
        }
    }

    /// The whole.
    #[must_use]
    pub fn whole(&self) -> &Arc<Budget> {
        &self.whole
    }

    /// Divides it among `wanted`: shares that are kept get new terms, the others are made. A share
    /// that is not wanted any more has no reserve from now on; what is held of it drains. One alone has
    /// nobody to leave room for: it gets its limit. All must be shares of this division.
    #[must_use]
    pub fn divide(
        &self,
        wanted: &[(Option<Arc<Budget>>, FairTerms)],
        rules: FairRules,
    ) -> Vec<Arc<Budget>> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let terms: Vec<FairTerms> = wanted.iter().map(|(_, terms)| *terms).collect();
        let reserves = match terms.as_slice() {
            [alone] => vec![alone.limit.min(self.whole.limit())],
            _ => reserves(self.whole.limit(), &terms, rules),
        };
        let reserved: u64 = reserves.iter().sum();
        let bounds = terms.iter().zip(&reserves).map(|(terms, reserve)| Bounds {
            reserve: *reserve,
            factor: u64::from(rules.alpha) * u64::from(terms.weight),
            limit: terms.limit,
        });
        let bounds: Vec<Bounds> = bounds.collect();
        let known: Vec<Arc<Budget>> = shares.iter().filter_map(Weak::upgrade).collect();
        // Nobody takes or gives back until all have their terms.
        let mut above = 0;
        let mut held: Vec<RwLockWriteGuard<'_, Bounds>> = Vec::with_capacity(known.len());
        for share in &known {
            let Bound::Fair(fair) = &share.bound else {
                continue;
            };
            let mut terms = fair.terms.write().unwrap_or_else(PoisonError::into_inner);
            let of_this = |(kept, _): &(Option<Arc<Budget>>, FairTerms)| {
                kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, share))
            };
            let place = wanted.iter().position(of_this);
            match place.and_then(|place| bounds.get(place)) {
                Some(new) => *terms = *new,
                None => terms.reserve = 0,
            }
            above += terms.above(share.used());
            held.push(terms);
        }
        self.pool.used.store(above, Ordering::Release);
        let size = self.whole.limit().saturating_sub(reserved);
        self.pool.size.store(size, Ordering::Release);
        drop(held);
        let all = wanted.iter().zip(bounds).map(|((kept, _), bounds)| {
            let new = || {
                let share = FairShare {
                    pool: Arc::clone(&self.pool),
                    terms: RwLock::new(bounds),
                };
                Budget::fair(&self.whole, share)
            };
            kept.clone().unwrap_or_else(new)
        });
        let all: Vec<Arc<Budget>> = all.collect();
        let gone = known
            .iter()
            .filter(|it| !all.iter().any(|new| Arc::ptr_eq(new, it)));
        *shares = all.iter().chain(gone).map(Arc::downgrade).collect();
        all
    }
}

/// Budgets that share `whole`, one for each of `terms`, for good.
#[must_use]
pub fn divide(whole: &Arc<Budget>, terms: &[FairTerms], rules: FairRules) -> Vec<Arc<Budget>> {
    let wanted: Vec<_> = terms.iter().map(|terms| (None, *terms)).collect();
    Division::new(whole).divide(&wanted, rules)
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

impl Bounds {
    /// What of `used` is above the reserve.
    pub(super) fn above(&self, used: u64) -> u64 {
        used.saturating_sub(self.reserve)
    }
}

impl FairShare {
    /// The terms, which stay as they are while this is held. Never asked for twice by one thread.
    pub(super) fn terms(&self) -> RwLockReadGuard<'_, Bounds> {
        self.terms.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self) -> u64 {
        self.terms().limit
    }

    /// What it may hold while it holds `used` and the others stay as they are.
    pub(super) fn allowed(&self, used: u64) -> u64 {
        let terms = self.terms();
        self.allowed_with(
            &terms,
            terms.above(used),
            self.pool.used.load(Ordering::Acquire),
        )
    }

    /// The same, from what it holds above its reserve and what is used of the pool.
    ///
    /// `q <= factor * free` must hold after a lease, when `free` is less by what was taken: so `q` is
    /// at most `factor / (1 + factor)` of what this share and nobody hold now.
    fn allowed_with(&self, terms: &Bounds, above: u64, pool_used: u64) -> u64 {
        let size = self.pool.size.load(Ordering::Acquire);
        let open = size.saturating_sub(pool_used) + above.min(pool_used);
        let part = part_of(open, terms.factor, terms.factor + 1);
        terms.reserve.saturating_add(part).min(terms.limit)
    }

    /// Takes from the pool what growing from `used` to `sum` needs, if it may grow so. How much that
    /// was.
    pub(super) fn take(&self, terms: &Bounds, used: u64, sum: u64, percent: u8) -> Option<u64> {
        let above = terms.above(used);
        let more = terms.above(sum) - above;
        if more == 0 && percent >= 100 && sum <= terms.limit {
            return Some(0);
        }
        let mut pool_used = self.pool.used.load(Ordering::Acquire);
        loop {
            let allowed = self.allowed_with(terms, above, pool_used);
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
