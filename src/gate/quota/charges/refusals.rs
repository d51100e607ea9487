//! What a client is told whom limits refuse, and which of several refusals.

use super::super::limit::{Limit, TooMuch};
use super::super::window::Now;
use crate::event::{Reason, Refusal};

/// Which of several refusals of one request is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mixed {
    /// What can pass later, though other events never do: clients throw away what never passes, so that
    /// is told only when all of it is so. Of several waits the longest.
    Parts,
    /// Nothing passes until all of it does: what never passes, then the longest wait.
    Whole,
}

impl Mixed {
    /// Whether a refusal is told in place of another. Of those that do not pass soon a ban is told first.
    pub(super) fn prefers(self, one: &Refusal, other: &Refusal) -> bool {
        let rank = |refusal: &Refusal| {
            let (reason, wait) = (
                refusal.reason(),
                refusal.retry_seconds().unwrap_or_default(),
            );
            let banned = reason == Reason::Banned;
            let never = reason == Reason::QuotaTooLarge;
            let passes_later = self == Self::Parts && !banned && !never;
            (passes_later, banned, never, wait)
        };
        rank(one) > rank(other)
    }
}

/// Counts a refusal that a client is told.
pub(super) fn count_refusal(limit: &Limit, too_much: &TooMuch) {
    match too_much {
        TooMuch::Banned(_) => limit.cells.banned.inc(),
        TooMuch::Full(full) if !full.own => limit.cells.newcomers.inc(),
        TooMuch::Full(_) | TooMuch::StoreDown => {}
    }
}

/// Whether one of two waits is longer.
pub(super) fn waits_longer(one: &TooMuch, other: &TooMuch) -> bool {
    let wait = |too_much: &TooMuch| match too_much {
        TooMuch::Full(full) => full.wait.unwrap_or(u64::MAX),
        TooMuch::Banned(_) | TooMuch::StoreDown => 0,
    };
    wait(one) > wait(other)
}

/// What a client is told whom a limit refuses.
pub(super) fn refusal(limit: &Limit, too_much: &TooMuch, now: Now) -> Refusal {
    let retry = limit.retry_seconds(too_much, now);
    let name = &limit.name;
    let refusal = match too_much {
        TooMuch::Banned(_) => Refusal::new(Reason::Banned, format!("limit `{name}`")),
        TooMuch::StoreDown => Refusal::new(Reason::QuotaStoreDown, format!("limit `{name}`")),
        TooMuch::Full(full) if !full.own => {
            let detail = format!("limit `{name}`: too many new keys at once");
            let reason = match full.wait {
                Some(_) => Reason::QuotaExceeded,
                None => Reason::QuotaTooLarge,
            };
            Refusal::new(reason, detail)
        }
        TooMuch::Full(full) => {
            let reason = if full.wait.is_none() && retry.is_none() {
                Reason::QuotaTooLarge
            } else {
                Reason::QuotaExceeded
            };
            Refusal::new(reason, format!("limit `{name}` allows {}", limit.told()))
        }
    };
    match retry {
        Some(seconds) => refusal.retry_after(seconds),
        None => refusal,
    }
}
