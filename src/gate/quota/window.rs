//! What one window of a limit allows, as arithmetic on one word of state.
//!
//! A rate is the generic cell rate algorithm (GCRA; ITU-T I.371, annex A): the word is the
//! theoretical arrival time (TAT), nanoseconds on the monotonic clock of the process. It admits at
//! most `burst + count * time / per` units in any stretch of time; costs are rounded up, so rounding
//! never admits more. A budget counts the units of a calendar day or month; its word holds the
//! period and the count, so it can be written down and taken up by the next start.
//!
//! Both read 0 as "never used", and neither can overflow: numbers stop at their largest value.
//!
//! Own code, where the crate `governor` does the same for cells of whole nanoseconds: bytes need
//! finer ones (300 MB/s is 3.33 ns each, which it would serve as 3 ns, 11 % too fast), what was taken
//! has to be given back, and a key may be raised. A property test holds the two together.

use super::calendar::{Calendar, Period};

/// Nanoseconds in a second.
const SECOND: u128 = 1_000_000_000;

/// Bits of a budget's word that count units; the rest name the period.
const COUNT_BITS: u32 = 48;
const MOST: u64 = (1 << COUNT_BITS) - 1;

/// When a request came, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Nanoseconds of the monotonic clock since some moment before the process began to serve.
    pub nanos: u64,
    /// The wall clock, unix seconds. Only budgets look at it.
    pub unix_seconds: u64,
}

/// How much of a rate a key gets: thousandths, 1000 for a key that nobody changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor(u32);

impl Factor {
    /// As configured.
    pub const ONE: Self = Self(1000);

    /// So many thousandths; 0 becomes 1.
    #[must_use]
    pub fn thousandths(count: u32) -> Self {
        Self(count.max(1))
    }

    /// So many units for a key with this factor, at least one.
    pub(super) fn of(self, units: u64) -> u64 {
        let scaled = u128::from(units) * u128::from(self.0) / u128::from(Self::ONE.0);
        u64::try_from(scaled).unwrap_or(u64::MAX).max(1)
    }

    /// Whether a key gets more with this one than with the other.
    pub(super) fn is_above(self, other: Self) -> bool {
        self.0 > other.0
    }

    /// By how much longer a unit stays taken than as configured, at least once as long.
    pub(super) fn stretch(self) -> f64 {
        (f64::from(Self::ONE.0) / f64::from(self.0)).max(1.0)
    }
}

/// One window of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Window {
    /// So many units in a stretch of time, with a burst.
    Rate(Rate),
    /// So many units in a calendar day or month.
    Budget(Budget),
}

/// A rate and a burst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    count: u64,
    per: u64,
    burst: u64,
    /// How far the TAT may be ahead of the clock.
    tolerance: u64,
}

/// A budget of a calendar period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    most: u64,
    calendar: Calendar,
}

/// What a window does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Nanoseconds until the same request would pass. `None`: it never would, since it asks for
    /// more than the window ever allows at once.
    pub wait: Option<u64>,
}

/// What a window would allow now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Units that would pass at once.
    pub remaining: u64,
    /// Units that would pass at once after a rest.
    pub most: u64,
    /// Nanoseconds until then.
    pub reset: u64,
}

impl Rate {
    /// `count` units in each `per` nanoseconds (at least 1), `burst` of them at once. A rate of more
    /// than one unit in a nanosecond is cut to that: finer than its clock it could not be kept.
    #[must_use]
    pub fn new(count: u64, per: u64, burst: u64) -> Self {
        let per = per.max(1);
        let mut rate = Self {
            count: count.min(per),
            per,
            burst,
            tolerance: 0,
        };
        // It does not depend on the factor: a raised key has a larger burst as well, since each unit
        // costs it less.
        rate.tolerance = rate.cost(burst, Factor::ONE);
        rate
    }

    /// Units at once.
    #[must_use]
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// Nanoseconds in which its burst comes back.
    pub(super) fn rest(&self) -> u64 {
        self.tolerance
    }

    /// Units that it brings in a stretch of time, beyond any burst.
    pub(super) fn in_nanos(&self, nanos: u64) -> u64 {
        let units = u128::from(nanos) * u128::from(self.count) / u128::from(self.per);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Microseconds that one unit and that the burst cost, for the store of shared limits.
    #[expect(
        clippy::cast_precision_loss,
        reason = "2^53 microseconds are 285 years"
    )]
    pub(super) fn micros(&self, factor: Factor) -> (f64, f64) {
        let unit = self.per as f64 / self.count.max(1) as f64 / 1000.0;
        let scaled = unit * f64::from(Factor::ONE.0) / f64::from(factor.0);
        (scaled, unit * self.burst as f64)
    }

    /// Nanoseconds that `units` cost, rounded up.
    fn cost(&self, units: u64, factor: Factor) -> u64 {
        // Nearly always: a division of 128 bits takes as long as all the rest of a check.
        if factor == Factor::ONE
            && self.count > 0
            && let Some(product) = units.checked_mul(self.per)
        {
            return product.div_ceil(self.count);
        }
        let thousand = u128::from(Factor::ONE.0);
        let divisor = u128::from(self.count) * u128::from(factor.0);
        if divisor == 0 {
            return u64::MAX;
        }
        let product = u128::from(units)
            .saturating_mul(u128::from(self.per))
            .saturating_mul(thousand);
        u64::try_from(product.div_ceil(divisor)).unwrap_or(u64::MAX)
    }

    fn take(&self, word: u64, units: u64, factor: Factor, nanos: u64) -> Result<u64, Over> {
        if self.count == 0 || self.burst == 0 {
            return Err(Over { wait: None });
        }
        let cost = self.cost(units, factor);
        let tolerance = self.tolerance;
        if cost > tolerance {
            return Err(Over { wait: None });
        }
        // Near the end of the clock nothing may wrap, nor stop at the end and so come for free.
        let after = u128::from(word.max(nanos)) + u128::from(cost);
        let bound = u128::from(nanos) + u128::from(tolerance);
        let Some(wait) = after.checked_sub(bound).filter(|wait| *wait > 0) else {
            return u64::try_from(after).map_err(|_| Over { wait: None });
        };
        Err(Over {
            wait: u64::try_from(wait).ok(),
        })
    }

    /// The word of a key whose factor has changed: as many units as before are used.
    fn rescale(&self, word: u64, from: Factor, to: Factor, nanos: u64) -> u64 {
        let ahead = u128::from(word.saturating_sub(nanos));
        let scaled = ahead.saturating_mul(from.0.into()) / u128::from(to.0);
        // More than that cannot be used, so nobody waits longer.
        let ahead = u64::try_from(scaled)
            .unwrap_or(u64::MAX)
            .min(self.tolerance);
        word.min(nanos).saturating_add(ahead)
    }

    fn room(&self, word: u64, factor: Factor, nanos: u64) -> Room {
        let tolerance = self.tolerance;
        let ahead = word.saturating_sub(nanos);
        let scale = |time: u64| {
            let units = u128::from(time) * u128::from(self.count) * u128::from(factor.0)
                / u128::from(self.per)
                / u128::from(Factor::ONE.0);
            u64::try_from(units).unwrap_or(u64::MAX)
        };
        if self.count == 0 || self.burst == 0 {
            return Room {
                remaining: 0,
                most: 0,
                reset: 0,
            };
        }
        Room {
            remaining: scale(tolerance.saturating_sub(ahead)),
            most: scale(tolerance),
            reset: ahead,
        }
    }
}

impl Budget {
    /// `most` units in each period of the calendar. More than 2^48 - 1 units cannot be counted and
    /// are no bound.
    #[must_use]
    pub fn new(most: u64, calendar: Calendar) -> Self {
        Self { most, calendar }
    }

    /// Units of a period.
    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// Its periods.
    pub(super) fn calendar(&self) -> Calendar {
        self.calendar
    }

    /// What was used of the period that counts now. A word of the next period is kept, so that a
    /// clock that is set back opens nothing; one of any other period is old, or was written while
    /// the clock was wrong.
    fn used(&self, word: u64, unix_seconds: u64) -> (Period, u64) {
        let now = self.calendar.period(unix_seconds);
        let (period, used) = unpack(word);
        if used > 0 && (period == now || period == now.next()) {
            (period, used)
        } else {
            (now, 0)
        }
    }

    fn take(&self, word: u64, units: u64, factor: Factor, now: Now) -> Result<u64, Over> {
        let most = self.most_for(factor);
        let (period, used) = self.used(word, now.unix_seconds);
        let after = used.saturating_add(units);
        if units > most {
            return Err(Over { wait: None });
        }
        if after > most {
            return Err(Over {
                wait: Some(self.until_next(now)),
            });
        }
        Ok(pack(period, after))
    }

    fn room(&self, word: u64, factor: Factor, now: Now) -> Room {
        let most = self.most_for(factor);
        let (_, used) = self.used(word, now.unix_seconds);
        Room {
            remaining: most.saturating_sub(used),
            most,
            reset: self.until_next(now),
        }
    }

    /// Units of a period for a key with this factor.
    pub(super) fn most_for(&self, factor: Factor) -> u64 {
        let scaled = u128::from(self.most) * u128::from(factor.0) / u128::from(Factor::ONE.0);
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }

    fn until_next(&self, now: Now) -> u64 {
        let seconds = self.calendar.seconds_left(now.unix_seconds);
        u64::try_from(u128::from(seconds) * SECOND).unwrap_or(u64::MAX)
    }
}

impl Window {
    /// The word after `units` were taken.
    ///
    /// # Errors
    /// [`Over`], and the word stays as it was.
    pub fn take(&self, word: u64, units: u64, factor: Factor, now: Now) -> Result<u64, Over> {
        match self {
            Self::Rate(rate) => rate.take(word, units, factor, now.nanos),
            Self::Budget(budget) => budget.take(word, units, factor, now),
        }
    }

    /// The word after `units` are given back that were taken at `then`. Of a rate, what has come back
    /// by itself since then is not given again; of a budget nothing is, once its period has ended.
    #[must_use]
    pub fn give_back(&self, word: u64, units: u64, factor: Factor, then: Now, now: Now) -> u64 {
        match self {
            Self::Rate(rate) => {
                let elapsed = now.nanos.saturating_sub(then.nanos);
                word.saturating_sub(rate.cost(units, factor).saturating_sub(elapsed))
            }
            Self::Budget(budget) => {
                let (period, used) = unpack(word);
                let same = period == budget.calendar.period(then.unix_seconds);
                let units = if same { units } else { 0 };
                pack(period, used.saturating_sub(units))
            }
        }
    }

    /// The word of a key whose factor has changed.
    #[must_use]
    pub fn rescale(&self, word: u64, from: Factor, to: Factor, now: Now) -> u64 {
        match self {
            Self::Rate(rate) => rate.rescale(word, from, to, now.nanos),
            Self::Budget(_) => word,
        }
    }

    /// What would pass now.
    #[must_use]
    pub fn room(&self, word: u64, factor: Factor, now: Now) -> Room {
        match self {
            Self::Rate(rate) => rate.room(word, factor, now.nanos),
            Self::Budget(budget) => budget.room(word, factor, now),
        }
    }

    /// Whether the word says no more than "never used": it may be forgotten without anybody being
    /// allowed more for it.
    #[must_use]
    pub fn is_idle(&self, word: u64, now: Now) -> bool {
        match self {
            Self::Rate(_) => word <= now.nanos,
            Self::Budget(budget) => budget.used(word, now.unix_seconds).1 == 0,
        }
    }

    /// Nanoseconds after which all of it is there again, whatever was taken by now.
    pub(super) fn rest(&self, now: Now) -> u64 {
        match self {
            Self::Rate(rate) => rate.rest(),
            Self::Budget(budget) => budget.until_next(now),
        }
    }

    /// Whether it counts a calendar period, which is kept over restarts.
    #[must_use]
    pub fn is_budget(&self) -> bool {
        matches!(self, Self::Budget(_))
    }

    /// The same window for `times` as many units.
    #[must_use]
    pub fn times(&self, times: u64) -> Self {
        match self {
            Self::Rate(rate) => Self::Rate(Rate::new(
                rate.count.saturating_mul(times),
                rate.per,
                rate.burst.saturating_mul(times),
            )),
            Self::Budget(budget) => Self::Budget(Budget::new(
                budget.most.saturating_mul(times),
                budget.calendar,
            )),
        }
    }

    /// The word after `units` passed that somebody else had decided on: no more than full for a rate,
    /// and all of them for a budget.
    #[must_use]
    pub(super) fn note(&self, word: u64, units: u64, factor: Factor, now: Now) -> u64 {
        match self {
            Self::Rate(rate) => {
                let after = word.max(now.nanos).saturating_add(rate.cost(units, factor));
                after.min(now.nanos.saturating_add(rate.tolerance))
            }
            Self::Budget(budget) => {
                let (period, used) = budget.used(word, now.unix_seconds);
                pack(period, used.saturating_add(units))
            }
        }
    }

    /// What was used of a budget in the period that counts now; 0 of a rate.
    #[must_use]
    pub(super) fn spent(&self, word: u64, now: Now) -> u64 {
        match self {
            Self::Rate(_) => 0,
            Self::Budget(budget) => budget.used(word, now.unix_seconds).1,
        }
    }

    /// The part of the same window that one of so many nodes has for itself, at least one unit.
    #[must_use]
    pub(super) fn share(&self, nodes: u32) -> Self {
        let nodes = u64::from(nodes.max(1));
        let part = |units: u64| match units {
            0 => 0,
            units => (units / nodes).max(1),
        };
        match self {
            // The rate itself is divided by its time, so that a small one is not rounded away.
            Self::Rate(rate) => Self::Rate(Rate::new(
                rate.count,
                rate.per.saturating_mul(nodes),
                part(rate.burst),
            )),
            Self::Budget(budget) => Self::Budget(Budget::new(part(budget.most), budget.calendar)),
        }
    }

    /// The same window for a part of the units, in percent, rounded down.
    #[must_use]
    pub fn percent(&self, percent: u8) -> Self {
        let part = |count: u64| {
            u64::try_from(u128::from(count) * u128::from(percent) / 100).unwrap_or(u64::MAX)
        };
        match self {
            // The rate itself is scaled by its time, so that a small one is not rounded away.
            Self::Rate(rate) => Self::Rate(Rate::new(
                rate.count.saturating_mul(u64::from(percent)),
                rate.per.saturating_mul(100),
                part(rate.burst),
            )),
            Self::Budget(budget) => Self::Budget(Budget::new(part(budget.most), budget.calendar)),
        }
    }

    /// Units that pass at once after a rest, and the seconds in which so many come back.
    #[must_use]
    pub fn described(&self) -> (u64, u64) {
        match self {
            Self::Rate(rate) => (
                rate.burst,
                u64::try_from(u128::from(rate.tolerance).div_ceil(SECOND)).unwrap_or(u64::MAX),
            ),
            Self::Budget(budget) => (budget.most, budget.calendar.seconds()),
        }
    }
}

fn pack(period: Period, used: u64) -> u64 {
    u64::from(period.number()) << COUNT_BITS | used.min(MOST)
}

fn unpack(word: u64) -> (Period, u64) {
    let period = u16::try_from(word >> COUNT_BITS).unwrap_or_default();
    (Period::numbered(period), word & MOST)
}
