//! Counts the requests of one lane, and holds them up when the machine is short of time.
//!
//! Promise: a request costs one load here while the machine is on time, one or two additions while it is
//! not, and nothing is waited for.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::machine::{Brought, allotment};
use crate::foundation::budget::percent_of;

/// No limit, and nothing is counted.
const OPEN: u64 = u64::MAX;
/// No limit.
const COUNTED: u64 = u64::MAX - 1;

/// The requests of the current moment.
#[derive(Debug)]
pub(super) struct Turnstile {
    weight: AtomicU32,
    arrived: AtomicU64,
    /// Counted only while there is a limit.
    admitted: AtomicU64,
    limit: AtomicU64,
    /// Seconds since there is a limit.
    since: AtomicU32,
}

impl Turnstile {
    pub(super) fn new(weight: u32) -> Self {
        Self {
            weight: AtomicU32::new(weight.max(1)),
            arrived: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            limit: AtomicU64::new(OPEN),
            since: AtomicU32::new(0),
        }
    }

    /// Compares to the others by another weight from now on.
    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Lets a request pass that may use `percent` of what the lane may bring.
    ///
    /// # Errors
    /// How long requests have been held up, when this one is too many.
    pub(super) fn pass(&self, percent: u8) -> Result<(), Duration> {
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == OPEN {
            return Ok(());
        }
        self.arrived.fetch_add(1, Ordering::Relaxed);
        if limit == COUNTED {
            return Ok(());
        }
        // One that may pass at all may do so at every priority: a part of little is not nothing.
        let most = percent_of(limit, percent).max(1);
        let one_more = |count| (count < most).then_some(count + 1);
        match self
            .admitted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(Duration::from_secs(
                self.since.load(Ordering::Relaxed).into(),
            )),
        }
    }

    /// Whether requests are not limited, nor counted.
    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.limit.load(Ordering::Relaxed) == OPEN
    }

    /// Ends a moment in which requests were counted: what was brought in it.
    pub(super) fn brought(&self) -> Brought {
        let limited = self.limit.load(Ordering::Relaxed) < COUNTED;
        let arrived = self.arrived.swap(0, Ordering::Relaxed);
        let admitted = self.admitted.swap(0, Ordering::Relaxed);
        Brought {
            weight: self.weight.load(Ordering::Relaxed),
            arrived,
            admitted: if limited { admitted } else { arrived },
        }
    }

    /// Lets everything pass, and counts nothing.
    pub(super) fn open(&self) {
        self.limit.store(OPEN, Ordering::Relaxed);
        self.arrived.store(0, Ordering::Relaxed);
        self.admitted.store(0, Ordering::Relaxed);
    }

    /// Sets what may pass in the next moment, in which requests are counted; see
    /// [`super::machine::Machine::next`].
    pub(super) fn set(&self, level: Option<f64>, limited_for: Duration) {
        let seconds = u32::try_from(limited_for.as_secs()).unwrap_or(u32::MAX);
        self.since.store(seconds, Ordering::Relaxed);
        let limit = level.map_or(COUNTED, |level| {
            allotment(level, self.weight.load(Ordering::Relaxed))
        });
        self.limit.store(limit, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_is_held_up_before_normal_and_normal_before_high() {
        let turnstile = Turnstile::new(2);
        turnstile.set(None, Duration::ZERO);
        for _ in 0..100 {
            turnstile.pass(70).unwrap();
        }
        assert_eq!(turnstile.brought().admitted, 100);
        turnstile.set(Some(5.0), Duration::from_secs(7));
        let passed = |percent| (0..20).filter(|_| turnstile.pass(percent).is_ok()).count();
        assert_eq!((passed(70), passed(90), passed(100)), (7, 2, 1));
        assert_eq!(turnstile.pass(100), Err(Duration::from_secs(7)));
        let brought = turnstile.brought();
        assert_eq!((brought.arrived, brought.admitted), (61, 10));
        turnstile.set(None, Duration::ZERO);
        assert_eq!(turnstile.pass(1), Ok(()));
    }

    #[test]
    fn nothing_is_counted_while_it_is_open() {
        let turnstile = Turnstile::new(1);
        let counted = || {
            turnstile.pass(100).unwrap();
            turnstile.brought().arrived
        };
        assert_eq!(counted(), 0);
        turnstile.set(None, Duration::ZERO);
        assert_eq!(counted(), 1);
        turnstile.pass(100).unwrap();
        turnstile.open();
        assert_eq!(counted(), 0);
    }

    #[test]
    fn the_smallest_allotment_lets_one_of_any_priority_pass() {
        let turnstile = Turnstile::new(1);
        turnstile.set(Some(0.0), Duration::ZERO);
        assert_eq!(turnstile.pass(1), Ok(()));
        assert!(turnstile.pass(100).is_err());
    }
}
