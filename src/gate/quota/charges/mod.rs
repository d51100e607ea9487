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
#[cfg(test)]
mod tests;

use std::sync::Arc;

use smallvec::SmallVec;

use super::Clock;
use super::bucket::Charged;
use super::classes::Classes;
use super::events::{Asked, EventsView, Verdict};
use super::facts::Facts;
use super::key::Stage;
use super::limit::{Consequence, Hashes, Limit, TooMuch};
use super::set::{LogstoreLimits, QuotaSet};
use super::watched::{Watched, units_text};
use super::window::{Factor, Now};
use crate::config::LimitUnit;
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::names::LogstoreName;
pub use refusals::Mixed;
use refusals::{count_refusal, refusal, waits_longer};

/// What a limit gave a request.
struct Taken {
    limit: Arc<Limit>,
    hashes: Hashes,
    units: u64,
    reserved: bool,
    charged: (Charged, Factor, Now),
}

impl Taken {
    fn give_back(&self, units: u64, now: Now) {
        let limit = &self.limit;
        limit.give_back(&self.hashes, units, self.reserved, self.charged, now);
        limit.cells.given_back.inc();
    }
}

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
    set: Arc<QuotaSet>,
    clock: Clock,
    /// When the request began.
    unix_seconds: u64,
    /// The time, as far as it was read since the request last waited: reading the clock takes as long
    /// as half a check.
    now: Option<Now>,
    /// Whether the limits on callers were asked.
    caller_asked: bool,
    /// Events that were taken out of a request whose others go on.
    refused_events: u32,
    limits: Option<Arc<LogstoreLimits>>,
    /// Most requests meet few limits: no allocation for those.
    taken: SmallVec<[Taken; 2]>,
    marks: Vec<Arc<str>>,
    divert: Option<LogstoreName>,
    /// Which of several refusals is told.
    mixed: Mixed,
    /// What has no room and is to go elsewhere for that: of several the one with the longest wait.
    diverted: Option<(Arc<Limit>, TooMuch, Now)>,
    told: Vec<Told>,
    /// The limit that refused, or that took events out.
    bit: Option<Arc<str>>,
    /// What was asked, where that is written down.
    watched: Option<Vec<Watched>>,
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
            .field("taken", &self.taken.len())
            .field("bit", &self.bit)
            .finish_non_exhaustive()
    }
}

impl Charges {
    pub(super) fn new(set: Arc<QuotaSet>, clock: Clock, unix_seconds: u64) -> Self {
        Self {
            set,
            clock,
            unix_seconds,
            now: None,
            caller_asked: false,
            refused_events: 0,
            limits: None,
            taken: SmallVec::new(),
            marks: Vec::new(),
            divert: None,
            mixed: Mixed::Parts,
            diverted: None,
            told: Vec::new(),
            bit: None,
            watched: None,
        }
    }

    /// Writes down what is asked from now on.
    pub(super) fn watch(&mut self) {
        self.watched = Some(Vec::new());
    }

    /// What was asked since the last time, where that is written down.
    pub fn watched(&mut self) -> Vec<Watched> {
        self.watched
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Notes what a limit said.
    fn note(
        &mut self,
        limit: &Limit,
        (units, text): (u64, &dyn Fn() -> String),
        outcome: &'static str,
    ) {
        if let Some(watched) = &mut self.watched {
            watched.push(Watched {
                limit: Arc::clone(&limit.name),
                key: text(),
                units: units_text(units, limit.rule.unit),
                outcome,
            });
        }
    }

    /// Asks the limits on addresses that are for every request.
    ///
    /// # Errors
    /// The refusal of the first limit that has no room.
    pub fn at_door(&mut self, facts: &Facts<'_>) -> Result<(), Refusal> {
        if self.set.door.is_empty() {
            return Ok(());
        }
        let set = Arc::clone(&self.set);
        self.ask_all(&set.door, facts)
    }

    /// Asks the limits that need no more than address, project and logstore.
    ///
    /// # Errors
    /// As [`Charges::at_door`].
    pub fn at_head(&mut self, facts: &Facts<'_>) -> Result<(), Refusal> {
        self.limits = self.set.of(facts.project, facts.logstore);
        let Some(limits) = self.limits.clone() else {
            return Ok(());
        };
        self.ask_all(&limits.head, facts)?;
        self.peek(&limits, Stage::Head, facts)
    }

    /// Asks the limits that need to know the caller; and whether those on its events have any room,
    /// so that a body that has none is not read. Again does nothing.
    ///
    /// # Errors
    /// As [`Charges::at_door`].
    pub fn of_caller(&mut self, facts: &Facts<'_>) -> Result<(), Refusal> {
        let Some(limits) = self.limits.clone().filter(|_| !self.caller_asked) else {
            return Ok(());
        };
        self.caller_asked = true;
        self.now = None;
        self.ask_all(&limits.caller, facts)?;
        self.peek(&limits, Stage::Caller, facts)
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
        self.now = None;
        let earlier = self.taken.len();
        let limits = self.limits.clone();
        let events = limits.as_ref().map_or(&[][..], |limits| &limits.events);
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
        let apart = events.iter().filter(|limit| limit.tells_events_apart());
        let mut sorted = match apart.clone().next() {
            Some(_) => {
                let classes = limits.as_ref().map(|limits| &*limits.classes);
                self.sort_events(apart, classes, facts, group)?
            }
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
        let mut divert = self.divert.clone();
        for limit in events.iter().filter(|limit| !limit.tells_events_apart()) {
            let units = match limit.rule.unit {
                LimitUnit::Requests => 1,
                LimitUnit::Events => u64::from(group.events),
                LimitUnit::Bytes => bytes,
            };
            let asked = Asked::whole(limit, facts, units);
            if self.is_paid(earlier, limit, &asked) {
                continue;
            }
            match self.ask(limit, &asked, facts) {
                Ok(target) => divert = divert.or(target),
                Err(refusal) => {
                    // For the books: all of them are refused with the request.
                    group.events = all;
                    self.give_back_since(earlier, refusal.reason());
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

    /// Asks the limits that tell events apart, takes out of the group what has no room, and gives
    /// back what was charged for an event that a later limit took out.
    fn sort_events<'l>(
        &mut self,
        limits: impl Iterator<Item = &'l Arc<Limit>>,
        classes: Option<&Classes>,
        facts: &Facts<'_>,
        group: &mut EventGroup,
    ) -> Result<Sorted, Refusal> {
        let mut view = EventsView::of(group, classes);
        let earlier = self.taken.len();
        let mut last = None;
        // What was taken, by its place, and for which events.
        let mut taken = Vec::new();
        for limit in limits {
            for (part, asked) in view.parts(limit, facts, group) {
                if self.is_paid(earlier, limit, &asked) {
                    continue;
                }
                let before = self.taken.len();
                let bit = self.bit.clone();
                let verdict = match self.ask(limit, &asked, facts) {
                    Ok(divert) => divert.map(Verdict::Diverted),
                    Err(refusal) => {
                        last = Some(match last.take() {
                            Some(one) if self.mixed.prefers(&one, &refusal) => {
                                // The limit that is named is the one whose wait is told.
                                self.bit = bit;
                                one
                            }
                            _ => refusal,
                        });
                        Some(Verdict::Refused)
                    }
                };
                match verdict {
                    Some(verdict) => view.decide(&part, &verdict),
                    None if self.taken.len() > before => taken.push((before, part)),
                    None => {}
                }
            }
        }
        let now = self.now();
        for (place, part) in taken {
            let Some(taken) = self.taken.get_mut(place) else {
                continue;
            };
            let lost = view
                .units_out(&part, taken.limit.rule.unit)
                .min(taken.units);
            if lost > 0 {
                taken.units -= lost;
                taken.give_back(lost, now);
            }
        }
        let all = group.events;
        let sorted = view.sort(group);
        match last {
            Some(refusal) if group.events == 0 && sorted.diverted.is_empty() => {
                // For the books: they are refused with the request.
                group.events = all;
                Err(refusal)
            }
            last => Ok(Sorted { last, ..sorted }),
        }
    }

    /// The request passes whole or not at all.
    pub fn set_whole(&mut self) {
        self.mixed = Mixed::Whole;
    }

    /// Why what is to go elsewhere has no room, for a request that cannot go elsewhere.
    #[must_use]
    pub fn why_diverted(&self) -> Option<Refusal> {
        let (limit, too_much, then) = self.diverted.as_ref()?;
        Some(refusal(limit, too_much, *then))
    }

    /// Whether a limit on requests was charged with this key for an earlier group of the request.
    fn is_paid(&self, earlier: usize, limit: &Arc<Limit>, asked: &Asked<'_>) -> bool {
        let paid = |taken: &Taken| {
            Arc::ptr_eq(&taken.limit, limit) && taken.hashes == asked.hashes && taken.units > 0
        };
        limit.rule.unit == LimitUnit::Requests && self.taken.iter().take(earlier).any(paid)
    }

    /// Classes of events.
    #[must_use]
    pub fn classes(&self) -> &Classes {
        &self.set.classes
    }

    /// Whatever becomes of the request, what was taken stays taken.
    pub fn keep(&mut self) {
        self.taken.clear();
    }

    /// The request was refused: gives back what is fair.
    pub fn refused(&mut self, reason: Reason) {
        self.give_back_since(0, reason);
    }

    fn give_back_since(&mut self, place: usize, reason: Reason) {
        if self.taken.len() <= place {
            return;
        }
        let now = self.clock.at(self.unix_seconds);
        let ours = reason.status().is_server_error() || reason == Reason::UpstreamQuota;
        for taken in self.taken.drain(place..) {
            let limit = &taken.limit;
            let by_request = limit.rule.unit == LimitUnit::Requests;
            let given = match limit.stage {
                // They protect the machine, which has done its work.
                Stage::Door | Stage::Head => false,
                Stage::Caller | Stage::Events => ours || reason.is_quota() || !by_request,
            };
            if given && taken.units > 0 {
                taken.give_back(taken.units, now);
            }
        }
    }

    /// The limits that mark the events of this request.
    #[must_use]
    pub fn marks(&self) -> &[Arc<str>] {
        &self.marks
    }

    /// Names another limit as the one that refused.
    pub fn set_bit(&mut self, limit: Option<Arc<str>>) {
        self.bit = limit;
    }

    /// What the caller may be told.
    #[must_use]
    pub fn told(&self) -> &[Told] {
        &self.told
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
        self.bit.as_ref()
    }

    /// The time since the request last waited.
    fn now(&mut self) -> Now {
        let read = || self.clock.at(self.unix_seconds);
        *self.now.get_or_insert_with(read)
    }

    fn ask_all(&mut self, limits: &[Arc<Limit>], facts: &Facts<'_>) -> Result<(), Refusal> {
        for limit in limits {
            let asked = Asked::whole(limit, facts, 1);
            if let Some(target) = self.ask(limit, &asked, facts)? {
                self.divert.get_or_insert(target);
            }
        }
        Ok(())
    }

    /// Asks one limit. `Some`: the logstore that gets what was asked for.
    fn ask(
        &mut self,
        limit: &Arc<Limit>,
        asked: &Asked<'_>,
        facts: &Facts<'_>,
    ) -> Result<Option<LogstoreName>, Refusal> {
        let Asked {
            hashes,
            units,
            reserved,
            event,
        } = *asked;
        let text = || limit.key_text(facts, event);
        let now = self.now();
        let result = limit.take(&hashes, units, reserved, now, &text);
        let [own, _] = hashes;
        let too_much = match result {
            Ok((charged, factor)) => {
                let charged = (charged, factor, now);
                limit.cells.passed.inc();
                self.note(limit, (units, &text), "has room");
                self.tell(limit, own, reserved, now);
                self.taken.push(Taken {
                    limit: Arc::clone(limit),
                    hashes,
                    units,
                    reserved,
                    charged,
                });
                return Ok(None);
            }
            Err(too_much) => too_much,
        };
        let consequence = match &too_much {
            // A ban is an operator's word: it holds whatever the limit's action.
            TooMuch::Banned(_) => Consequence::Refused,
            TooMuch::Full(_) | TooMuch::StoreDown => limit.consequence(own, facts),
        };
        let cells = &limit.cells;
        self.note(limit, (units, &text), consequence.told());
        match consequence {
            Consequence::Observed => cells.observed.inc(),
            Consequence::Kept => cells.kept.inc(),
            Consequence::Marked => {
                cells.marked.inc();
                if !self.marks.contains(&limit.name) {
                    self.marks.push(Arc::clone(&limit.name));
                }
            }
            Consequence::Diverted => {
                cells.diverted.inc();
                self.bit = Some(Arc::clone(&limit.name));
                let target = limit.rule.divert_to.clone();
                let before = self.diverted.as_ref();
                if before.is_none_or(|(_, before, _)| waits_longer(&too_much, before)) {
                    self.diverted = Some((Arc::clone(limit), too_much, now));
                }
                return Ok(target);
            }
            Consequence::Refused => {
                cells.refused.inc();
                self.tell(limit, own, reserved, now);
                self.bit = Some(Arc::clone(&limit.name));
                count_refusal(limit, &too_much);
                return Err(refusal(limit, &too_much, now));
            }
        }
        Ok(None)
    }

    /// Notes what the caller may know of a limit: of its tightest window.
    fn tell(&mut self, limit: &Arc<Limit>, own: u64, reserved: bool, now: Now) {
        let rule = &limit.rule;
        if !rule.announce && rule.warn_at.is_none() {
            return;
        }
        let factor = limit
            .override_of(own, now)
            .map_or(Factor::ONE, |it| it.factor());
        let rooms = limit.rooms(own, reserved, factor, now);
        let windows = limit.windows();
        let share = |room: &super::window::Room| room.remaining as f64 / (room.most.max(1)) as f64;
        let tightest = rooms
            .iter()
            .enumerate()
            .min_by(|(_, a), (_, b)| share(a).total_cmp(&share(b)));
        let Some((index, room)) = tightest else {
            return;
        };
        let window = windows.get(index % windows.len().max(1));
        let (_, seconds) = window.map_or((0, 0), super::window::Window::described);
        let used = room.most.saturating_sub(room.remaining);
        let used = used.saturating_mul(100) / room.most.max(1);
        let warned = rule.warn_at.filter(|at| used >= u64::from(*at));
        self.told.retain(|told| told.limit != limit.name);
        self.told.push(Told {
            limit: Arc::clone(&limit.name),
            policy: (room.most, seconds),
            left: (room.remaining, room.reset.div_ceil(1_000_000_000)),
            announced: rule.announce,
            warned: warned.map(|_| used),
        });
    }
}
