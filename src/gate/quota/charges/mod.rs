//! One request before the limits: what was taken for it, and what became of that.
//!
//! The order is that of [`Stage`]: by the address alone, by the head, by the caller, by the events.
//! Within a stage the limits are asked in the order of the configuration, and the first that refuses
//! ends it.
//!
//! What is given back when the request is refused later ([`Charges::refused`]):
//! - by us (a 5xx: no memory, the store is slow, stopping), or by a later limit: everything but what
//!   stages [`Stage::Door`] and [`Stage::Head`] took, since those protect the machine, which has done
//!   its work;
//! - for what the client did wrong: events and bytes, which were not stored. Its request was one.
//!
//! Limits that tell events apart are asked before those on the whole of them, so that an event that is
//! taken out is charged to no other.

mod peek;
mod refusals;
mod tab;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Clock;
use super::classes::Classes;
use super::events::Asked;
use super::facts::Facts;
use super::key::Stage;
use super::set::QuotaSet;
use super::watched::Watched;
use crate::config::LimitUnit;
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::names::LogstoreName;
pub use refusals::Mixed;
use refusals::{count_refusal, refusal, waits_longer};
use tab::Tab;

/// What a caller is told of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The limit.
    pub limit: Arc<str>,
    /// Units of its tightest window after a rest, and the seconds of that window.
    pub policy: (u64, u64),
    /// Units that are left, and the seconds until all of them are back.
    pub left: (u64, u64),
    /// Whether `RateLimit` headers may say so.
    pub announced: bool,
    /// The share that is used, in percent, where the caller is to be warned.
    pub warned: Option<u64>,
}

/// What a request was charged so far.
pub struct Charges {
    /// Those that it is asked by, to its end. Which they are is noted by their places in it.
    set: Arc<QuotaSet>,
    /// Those of its logstore.
    logstore: Option<usize>,
    /// Whether the limits on callers were asked.
    caller_asked: bool,
    /// Events that were taken out of a request whose others go on.
    refused_events: u32,
    tab: Tab,
}

/// What became of the events of a request.
#[derive(Debug, Default)]
pub struct Sorted {
    /// Events that were taken out, and are to be counted as refused.
    pub refused: u32,
    /// Events that go to other logstores of the project.
    pub diverted: Vec<(LogstoreName, EventGroup)>,
    /// Why events were taken out: of several refusals the one that [`Mixed`] prefers.
    pub last: Option<Refusal>,
}

impl Sorted {
    /// Notes why further events were taken out. Whether that is what is told from now on.
    pub fn note_refused(&mut self, refusal: Option<Refusal>, mixed: Mixed) -> bool {
        let Some(other) = refusal else {
            return false;
        };
        let keeps = self
            .last
            .as_ref()
            .is_some_and(|one| mixed.prefers(one, &other));
        if !keeps {
            self.last = Some(other);
        }
        !keeps
    }
}

impl std::fmt::Debug for Charges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Charges")
            .field("taken", &self.tab.taken.len())
            .field("bit", &self.tab.bit)
            .finish_non_exhaustive()
    }
}

impl Charges {
    pub(super) fn new(set: Arc<QuotaSet>, clock: Clock, unix_seconds: u64) -> Self {
        Self {
            set,
            logstore: None,
            caller_asked: false,
            refused_events: 0,
            tab: Tab::new(clock, unix_seconds),
        }
    }

    /// Writes down what is asked from now on.
    pub(super) fn watch(&mut self) {
        self.tab.watched = Some(Vec::new());
    }

    /// What was asked since the last time, where that is written down.
    pub fn watched(&mut self) -> Vec<Watched> {
        self.tab
            .watched
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Asks the limits on addresses that are for every request.
    ///
    /// # Errors
    /// The refusal of the first limit that has no room.
    pub fn at_door(&mut self, facts: &Facts<'_>) -> Result<(), Refusal> {
        self.tab.ask_all(self.set.at(&self.set.door), facts)
    }

    /// Asks the limits that need no more than address, project and logstore.
    ///
    /// # Errors
    /// As [`Charges::at_door`].
    pub fn at_head(&mut self, facts: &Facts<'_>) -> Result<(), Refusal> {
        let Self { set, tab, .. } = self;
        self.logstore = set.place_of(facts.project, facts.logstore);
        let Some(limits) = set.logstore(self.logstore) else {
            return Ok(());
        };
        tab.ask_all(set.at(&limits.head), facts)?;
        tab.peek(set.at(&limits.events), Stage::Head, facts)
    }

    /// Asks the limits that need to know the caller; and whether those on its events have any room,
    /// so that a body that has none is not read. Again does nothing.
    ///
    /// # Errors
    /// As [`Charges::at_door`].
    pub fn of_caller(&mut self, facts: &Facts<'_>) -> Result<(), Refusal> {
        let Self { set, tab, .. } = self;
        let limits = set.logstore(self.logstore);
        let Some(limits) = limits.filter(|_| !self.caller_asked) else {
            return Ok(());
        };
        self.caller_asked = true;
        tab.now = None;
        tab.ask_all(set.at(&limits.caller), facts)?;
        tab.peek(set.at(&limits.events), Stage::Caller, facts)
    }

    /// Asks the limits on events and bytes, and takes out of the group what has no room. `bytes`: of
    /// the body or query, before compression. Once for each group of a request: limits on requests are
    /// charged once for each key.
    ///
    /// # Errors
    /// The refusal, when nothing of the group is left. What was taken for this group is given back.
    pub fn of_events(
        &mut self,
        facts: &Facts<'_>,
        group: &mut EventGroup,
        bytes: u64,
    ) -> Result<Sorted, Refusal> {
        let Self { set, tab, .. } = self;
        tab.now = None;
        let earlier = tab.taken.len();
        let limits = set.logstore(self.logstore);
        let events = limits.map_or(&[][..], |limits| &limits.events);
        let topic = if events.is_empty() {
            Vec::new()
        } else {
            group.topic.clone()
        };
        let facts = &Facts {
            topic: &topic,
            ..*facts
        };
        let all = group.events;
        let whole_bytes = group.logs.len() as u64;
        let apart = || {
            set.at(events)
                .filter(|(_, limit)| limit.tells_events_apart())
        };
        let mut sorted = match apart().next() {
            Some(_) => tab.sort_events(apart(), &set.classes, facts, group)?,
            None => Sorted::default(),
        };
        if group.events == 0 {
            return Ok(sorted);
        }
        // What is out already is not charged to limits on the whole.
        let bytes = match all == group.events {
            true => bytes,
            false => bytes.saturating_mul(group.logs.len() as u64) / whole_bytes.max(1),
        };
        // What limits on requests divert goes there whole, all parts of it.
        let mut divert = tab.divert.clone();
        let whole = set.at(events);
        for (place, limit) in whole.filter(|(_, limit)| !limit.tells_events_apart()) {
            let units = match limit.rule.unit {
                LimitUnit::Requests => 1,
                LimitUnit::Events => u64::from(group.events),
                LimitUnit::Bytes => bytes,
            };
            let asked = Asked::whole(limit, facts, units);
            if tab.is_paid(earlier, (place, limit), &asked) {
                continue;
            }
            match tab.ask((place, limit), &asked, facts) {
                Ok(target) => divert = divert.or(target),
                Err(refusal) => {
                    // For the books: all of them are refused with the request.
                    group.events = all;
                    tab.give_back_since(earlier, set, refusal.reason());
                    return Err(refusal);
                }
            }
        }
        if let Some(target) = divert {
            let all = group.take_all();
            sorted.diverted.push((target, all));
        }
        Ok(sorted)
    }

    /// The request passes whole or not at all.
    pub fn set_whole(&mut self) {
        self.tab.mixed = Mixed::Whole;
    }

    /// Why what is to go elsewhere has no room, for a request that cannot go elsewhere.
    #[must_use]
    pub fn why_diverted(&self) -> Option<Refusal> {
        let (place, too_much, then) = self.tab.diverted.as_ref()?;
        Some(refusal(self.set.all.get(*place)?, too_much, *then))
    }

    /// Classes of events.
    #[must_use]
    pub fn classes(&self) -> &Classes {
        &self.set.classes
    }

    /// Whatever becomes of the request, what was taken stays taken.
    pub fn keep(&mut self) {
        self.tab.taken.clear();
    }

    /// The request was refused: gives back what is fair.
    pub fn refused(&mut self, reason: Reason) {
        self.tab.give_back_since(0, &self.set, reason);
    }

    /// The limits that mark the events of this request.
    #[must_use]
    pub fn marks(&self) -> &[Arc<str>] {
        &self.tab.marks
    }

    /// Names another limit as the one that refused.
    pub fn set_bit(&mut self, limit: Option<Arc<str>>) {
        self.tab.bit = limit;
    }

    /// What the caller may be told.
    #[must_use]
    pub fn told(&self) -> &[Told] {
        &self.tab.told
    }

    /// Notes events that were taken out of a request whose others go on.
    pub fn set_refused_events(&mut self, count: u32) {
        self.refused_events = count;
    }

    /// Events that were taken out of a request whose others go on.
    #[must_use]
    pub fn refused_events(&self) -> u32 {
        self.refused_events
    }

    /// The limit that refused the request, or events of it.
    #[must_use]
    pub fn bit(&self) -> Option<&Arc<str>> {
        self.tab.bit.as_ref()
    }
}
