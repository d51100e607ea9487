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
//! the pool after it, but for what others gave back to that share and took again in the same moment: the
//! word of a share does not tell the same bytes from those of before.
//! A whole may be divided anew while it is in use ([`Division`]): shares come, go and change, and every
//! lease stays where it is. What was held before may be more than the new terms allow; nothing is taken
//! then until it has drained, and until then a reserve may be short of it. All shares change at one
//! moment: who takes or gives back meanwhile waits for it.
//! Takes no lock but while it is divided, since every request takes and gives back: the bytes of a share
//! and the version of its terms are one word, so that what was worked out from terms that have changed
//! since does not count.
//! Not here: who holds the leases.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Bound, Budget, BudgetFull, WHOLE, part_of, percent_of};

/// How far the version of the terms is up in the word of a share.
const VERSION_SHIFT: u32 = 48;
/// One version.
const VERSION: u64 = 1 << VERSION_SHIFT;
/// The most bytes that a share may hold.
const MOST: u64 = VERSION - 1;

/// What shares take from beyond their reserves.
#[derive(Debug)]
struct FairPool {
    size: AtomicU64,
    /// At least what the shares hold above their reserves; more only while a lease is being taken
    /// or given back.
    used: AtomicU64,
    /// Every share that somebody may hold something of. Held while it is divided.
    shares: Mutex<Vec<Weak<Budget>>>,
}

impl FairPool {
    fn shares(&self) -> MutexGuard<'_, Vec<Weak<Budget>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one share may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FairTerms {
    /// How its reserve compares to those of the others.
    pub weight: u32,
    /// The most that it may ever hold, in bytes. More than 256 TiB counts as one byte less than that.
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
    /// Bytes leased, and above them the version of the terms, which is odd while they change.
    word: AtomicU64,
    reserve: AtomicU64,
    factor: AtomicU64,
    limit: AtomicU64,
}

/// The terms of a share, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    reserve: u64,
    /// `alpha` times the weight.
    factor: u64,
    limit: u64,
}

/// The word of a share as it was at one moment.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    fn used(self) -> u64 {
        self.0 & MOST
    }

    /// The same version with so many bytes, which are no more than [`MOST`].
    fn with(self, used: u64) -> Self {
        Self(self.0 & !MOST | used)
    }

    /// Whether the terms change.
    fn is_changing(self) -> bool {
        self.0 & VERSION != 0
    }

    fn is_of_version(self, other: Self) -> bool {
        self.0 >> VERSION_SHIFT == other.0 >> VERSION_SHIFT
    }
}

/// A whole that is divided, and may be divided anew.
#[derive(Debug)]
pub struct Division {
    whole: Arc<Budget>,
    pool: Arc<FairPool>,
}

impl Division {
    /// A whole that nobody has a share of yet.
    #[must_use]
    pub fn new(whole: &Arc<Budget>) -> Self {
        let pool = FairPool {
            size: AtomicU64::new(whole.limit()),
            used: AtomicU64::new(0),
            shares: Mutex::default(),
        };
        Self {
            whole: Arc::clone(whole),
            pool: Arc::new(pool),
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
        let mut shares = self.pool.shares();
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
        let stopped: Vec<_> = known
            .iter()
            .filter_map(|it| Some((it, stop(it)?)))
            .collect();
        let (mut before, mut after) = (0, 0);
        for (share, (fair, used)) in &stopped {
            let of_this = |(kept, _): &(Option<Arc<Budget>>, FairTerms)| {
                kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, share))
            };
            let place = wanted.iter().position(of_this);
            let old = fair.terms();
            let gone = Bounds { reserve: 0, ..old };
            let new = place.and_then(|place| bounds.get(place)).unwrap_or(&gone);
            before += old.above(*used);
            after += new.above(*used);
            fair.set_terms(new);
        }
        // By the difference: what is being taken and will be given back stays counted.
        self.pool.used.fetch_add(after, Ordering::AcqRel);
        self.pool.used.fetch_sub(before, Ordering::AcqRel);
        let size = self.whole.limit().saturating_sub(reserved);
        self.pool.size.store(size, Ordering::Release);
        for (_, (fair, _)) in stopped {
            fair.go_on();
        }
        let all = wanted.iter().zip(bounds).map(|((kept, _), bounds)| {
            let new = || {
                let share = FairShare::new(&self.pool, &bounds);
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

/// Stops a share, and says what it holds.
fn stop(share: &Budget) -> Option<(&FairShare, u64)> {
    match &share.bound {
        Bound::Fair(fair) => Some((fair, fair.stop())),
        _ => None,
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
    fn above(&self, used: u64) -> u64 {
        used.saturating_sub(self.reserve)
    }
}

impl FairShare {
    fn new(pool: &Arc<FairPool>, terms: &Bounds) -> Self {
        let share = Self {
            pool: Arc::clone(pool),
            word: AtomicU64::new(0),
            reserve: AtomicU64::new(0),
            factor: AtomicU64::new(0),
            limit: AtomicU64::new(0),
        };
        share.set_terms(terms);
        share
    }

    /// The terms as they stand. They are of one piece when the version is the same before and after; and
    /// whoever has read a new one finds another version after.
    fn terms(&self) -> Bounds {
        Bounds {
            reserve: self.reserve.load(Ordering::Acquire),
            factor: self.factor.load(Ordering::Acquire),
            limit: self.limit.load(Ordering::Acquire),
        }
    }

    /// To be called while the share is stopped, or nobody else has it.
    fn set_terms(&self, terms: &Bounds) {
        self.reserve.store(terms.reserve, Ordering::Release);
        self.factor.store(terms.factor, Ordering::Release);
        self.limit.store(terms.limit.min(MOST), Ordering::Release);
    }

    /// Lets nobody take or give back until it goes on. What it holds until then.
    fn stop(&self) -> u64 {
        Word(self.word.fetch_add(VERSION, Ordering::AcqRel)).used()
    }

    fn go_on(&self) {
        self.word.fetch_add(VERSION, Ordering::AcqRel);
    }

    fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// The word, once the terms do not change.
    fn word_between(&self) -> Word {
        loop {
            let word = self.word();
            if !word.is_changing() {
                return word;
            }
            // Who divides holds it until all have their terms.
            drop(self.pool.shares());
        }
    }

    /// Goes from one word to another, unless it has changed.
    fn step(&self, from: Word, to: Word) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        self.word
            .compare_exchange_weak(from.0, to.0, success, failure)
            .is_ok()
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    /// Bytes leased now.
    pub(super) fn used(&self) -> u64 {
        self.word().used()
    }

    /// What it may hold while the others stay as they are.
    pub(super) fn allowed(&self) -> u64 {
        loop {
            let word = self.word_between();
            let terms = self.terms();
            let pool_used = self.pool.used.load(Ordering::Acquire);
            let allowed = self.allowed_with(&terms, terms.above(word.used()), pool_used);
            if self.word().is_of_version(word) {
                return allowed;
            }
        }
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

    /// Takes so many bytes, if the share then holds no more than `percent` of what it may.
    pub(super) fn take(&self, bytes: u64, percent: u8) -> Result<(), BudgetFull> {
        loop {
            let word = self.word_between();
            let terms = self.terms();
            let used = word.used();
            let sum = used.checked_add(bytes).ok_or(BudgetFull)?;
            match self.take_shared(&terms, used, sum, percent) {
                Some(_) if self.step(word, word.with(sum)) => return Ok(()),
                Some(shared) => self.give(shared),
                None if self.word().is_of_version(word) => return Err(BudgetFull),
                // Refused by what was half of the old terms and half of the new ones.
                None => {}
            }
        }
    }

    /// Gives so many bytes back.
    pub(super) fn lower(&self, bytes: u64) {
        loop {
            let word = self.word_between();
            let terms = self.terms();
            let used = word.used();
            let left = used.saturating_sub(bytes);
            if self.step(word, word.with(left)) {
                self.give(terms.above(used) - terms.above(left));
                return;
            }
        }
    }

    /// Takes from the pool what growing from `used` to `sum` needs, if it may grow so. How much that
    /// was.
    fn take_shared(&self, terms: &Bounds, used: u64, sum: u64, percent: u8) -> Option<u64> {
        let above = terms.above(used);
        let more = terms.above(sum) - above;
        if more == 0 && percent >= WHOLE && sum <= terms.limit {
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

    fn give(&self, shared: u64) {
        if shared > 0 {
            self.pool.used.fetch_sub(shared, Ordering::AcqRel);
        }
    }
}
