//! What limits gave a request, and how each is asked.
//!
//! Promise: limits are noted by their places in the set that the request holds, so that to note one counts
//! no reference up and down.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::Clock;
use super::super::bucket::Charged;
use super::super::classes::Classes;
use super::super::events::{Asked, EventsView, Verdict};
use super::super::facts::Facts;
use super::super::key::Stage;
use super::super::limit::{Consequence, Hashes, Limit, TooMuch};
use super::super::set::QuotaSet;
use super::super::watched::{Watched, units_text};
use super::super::window::{Factor, Now, Room, Window};
use super::{Mixed, Sorted, Told, count_refusal, refusal, waits_longer};
use crate::config::LimitUnit;
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::names::LogstoreName;

/// A limit, and its place among all.
pub(super) type Placed<'l> = (usize, &'l Limit);

/// What was taken so far, and what became of that.
pub(super) struct Tab {
    clock: Clock,
    /// When the request began.
    unix_seconds: u64,
    /// The time, as far as it was read since the request last waited: reading the clock takes as long
    /// as half a check.
    pub(super) now: Option<Now>,
    /// Most requests meet few limits: no allocation for those.
    pub(super) taken: SmallVec<[Taken; 4]>,
    pub(super) marks: Vec<Arc<str>>,
    pub(super) divert: Option<LogstoreName>,
    /// Which of several refusals is told.
    pub(super) mixed: Mixed,
    /// What has no room and is to go elsewhere for that: of several the one with the longest wait.
    pub(super) diverted: Option<(usize, TooMuch, Now)>,
    pub(super) told: Vec<Told>,
    /// The limit that refused, or that took events out.
    pub(super) bit: Option<Arc<str>>,
    /// What was asked, where that is written down.
    pub(super) watched: Option<Vec<Watched>>,
}

/// What a limit gave a request.
pub(super) struct Taken {
    /// Its place.
    limit: usize,
    hashes: Hashes,
    units: u64,
    reserved: bool,
    charged: (Charged, Factor, Now),
}

impl Taken {
    fn give_back(&self, limit: &Limit, units: u64, now: Now) {
        limit.give_back(&self.hashes, units, self.reserved, self.charged, now);
        limit.cells.given_back.inc();
    }
}

impl Tab {
    pub(super) fn new(clock: Clock, unix_seconds: u64) -> Self {
        Self {
            clock,
            unix_seconds,
            now: None,
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

    /// Notes what a limit said.
    pub(super) fn note(
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

    /// Asks the limits that tell events apart, takes out of the group what has no room, and gives
    /// back what was charged for an event that a later limit took out.
    pub(super) fn sort_events<'l>(
        &mut self,
        limits: impl Iterator<Item = Placed<'l>>,
        classes: &Classes,
        facts: &Facts<'_>,
        group: &mut EventGroup,
    ) -> Result<Sorted, Refusal> {
        let mut view = EventsView::of(group, classes);
        let earlier = self.taken.len();
        let mut last = None;
        // What was taken, by its place, and for which events.
        let mut taken = Vec::new();
        for placed in limits {
            let (_, limit) = placed;
            for (part, asked) in view.parts(limit, facts, group) {
                if self.is_paid(earlier, placed, &asked) {
                    continue;
                }
                let before = self.taken.len();
                let bit = self.bit.clone();
                let verdict = match self.ask(placed, &asked, facts) {
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
                    None if self.taken.len() > before => taken.push((before, limit, part)),
                    None => {}
                }
            }
        }
        let now = self.now();
        for (place, limit, part) in taken {
            let Some(taken) = self.taken.get_mut(place) else {
                continue;
            };
            let lost = view.units_out(&part, limit.rule.unit).min(taken.units);
            if lost > 0 {
                taken.units -= lost;
                taken.give_back(limit, lost, now);
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

    /// Whether a limit on requests was charged with this key for an earlier group of the request.
    pub(super) fn is_paid(
        &self,
        earlier: usize,
        (place, limit): Placed<'_>,
        asked: &Asked<'_>,
    ) -> bool {
        let paid =
            |taken: &Taken| taken.limit == place && taken.hashes == asked.hashes && taken.units > 0;
        limit.rule.unit == LimitUnit::Requests && self.taken.iter().take(earlier).any(paid)
    }

    pub(super) fn give_back_since(&mut self, place: usize, set: &QuotaSet, reason: Reason) {
        if self.taken.len() <= place {
            return;
        }
        let now = self.clock.at(self.unix_seconds);
        let ours = reason.status().is_server_error() || reason == Reason::UpstreamQuota;
        for taken in self.taken.drain(place..) {
            let Some(limit) = set.all.get(taken.limit) else {
                continue;
            };
            let by_request = limit.rule.unit == LimitUnit::Requests;
            let given = match limit.stage {
                // They protect the machine, which has done its work.
                Stage::Door | Stage::Head => false,
                Stage::Caller | Stage::Events => ours || reason.is_quota() || !by_request,
            };
            if given && taken.units > 0 {
                taken.give_back(limit, taken.units, now);
            }
        }
    }

    /// The time since the request last waited.
    pub(super) fn now(&mut self) -> Now {
        let read = || self.clock.at(self.unix_seconds);
        *self.now.get_or_insert_with(read)
    }
    pub(super) fn ask_all<'l>(
        &mut self,
        limits: impl Iterator<Item = Placed<'l>>,
        facts: &Facts<'_>,
    ) -> Result<(), Refusal> {
        for (place, limit) in limits {
            let asked = Asked::whole(limit, facts, 1);
            if let Some(target) = self.ask((place, limit), &asked, facts)? {
                self.divert.get_or_insert(target);
            }
        }
        Ok(())
    }

    /// Asks one limit. `Some`: the logstore that gets what was asked for.
    pub(super) fn ask(
        &mut self,
        (place, limit): Placed<'_>,
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
                    limit: place,
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
                    self.diverted = Some((place, too_much, now));
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
    pub(super) fn tell(&mut self, limit: &Limit, own: u64, reserved: bool, now: Now) {
        let rule = &limit.rule;
        if !rule.announce && rule.warn_at.is_none() {
            return;
        }
        let factor = limit
            .override_of(own, now)
            .map_or(Factor::ONE, |it| it.factor());
        let rooms = limit.rooms(own, reserved, factor, now);
        let windows = limit.windows();
        let share = |room: &Room| room.remaining as f64 / (room.most.max(1)) as f64;
        let tightest = rooms
            .iter()
            .enumerate()
            .min_by(|(_, a), (_, b)| share(a).total_cmp(&share(b)));
        let Some((index, room)) = tightest else {
            return;
        };
        let window = windows.get(index % windows.len().max(1));
        let (_, seconds) = window.map_or((0, 0), Window::described);
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
