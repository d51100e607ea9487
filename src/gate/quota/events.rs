//! The events of one request, told apart by what limits ask: a field, or their class.

use super::charges::Sorted;
use super::classes::Classes;
use super::facts::{EventPart, Facts};
use super::limit::{Hashes, Limit};
use crate::config::LimitUnit;
use crate::event::EventGroup;
use crate::foundation::names::LogstoreName;

/// Keys of events that are told apart in one request. The events of further ones count as those of
/// the last.
const MAX_PARTS: usize = 64;

/// What is decided for events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are taken out.
    Refused,
    /// They go to another logstore.
    Diverted(LogstoreName),
}

struct Event {
    /// Where it stands in the group, its tag and length included.
    start: usize,
    end: usize,
    /// Where its `Log` begins.
    body: usize,
    class: Option<usize>,
    /// 0: it stays; else the place of its verdict, from 1.
    verdict: u16,
}

/// The events of a request, and what is decided for each.
pub(super) struct EventsView {
    events: Vec<Event>,
    verdicts: Vec<Verdict>,
}

/// What a limit is asked for a request, or for some of its events.
pub(super) struct Asked<'a> {
    pub(super) hashes: Hashes,
    pub(super) units: u64,
    pub(super) reserved: bool,
    /// One of the events, where they are told apart.
    pub(super) event: Option<EventPart<'a>>,
}

impl Asked<'_> {
    /// For a whole request.
    pub(super) fn whole(limit: &Limit, facts: &Facts<'_>, units: u64) -> Self {
        Self {
            hashes: limit.hashes(facts, None),
            units,
            reserved: false,
            event: None,
        }
    }
}

/// Which events of a view are meant: their places.
pub(super) type Part = Vec<usize>;

impl EventsView {
    /// The events of a group.
    pub(super) fn of(group: &EventGroup, classes: &Classes) -> Self {
        let events = group.each_log().map(|log| Event {
            start: log.start,
            end: log.end,
            body: log.body,
            class: classes.of(&group.topic, part_of(group, log.body, log.end)),
            verdict: 0,
        });
        Self {
            events: events.collect(),
            verdicts: Vec::new(),
        }
    }

    /// What a limit is asked: once for each key that its events have. Events that are out already are
    /// not asked for.
    pub(super) fn parts<'g>(
        &self,
        limit: &Limit,
        facts: &Facts<'_>,
        group: &'g EventGroup,
    ) -> Vec<(Part, Asked<'g>)> {
        let whole = limit.rule.unit == LimitUnit::Requests;
        let mut parts: Vec<(Part, Asked<'_>)> = Vec::new();
        for (index, event) in self.events.iter().enumerate() {
            if event.verdict > 0 || !limit.counts(event.class) {
                continue;
            }
            let bytes = part_of(group, event.body, event.end);
            let hashes = limit.hashes(facts, Some(bytes));
            let reserved = limit.reserves(event.class);
            let units = match limit.rule.unit {
                LimitUnit::Requests | LimitUnit::Events => 1,
                LimitUnit::Bytes => (event.end - event.start) as u64,
            };
            let full = parts.len() >= MAX_PARTS;
            let same = parts
                .iter()
                .position(|(_, asked)| asked.hashes == hashes && asked.reserved == reserved);
            let place = same.or(full.then_some(MAX_PARTS - 1));
            match place.and_then(|place| parts.get_mut(place)) {
                Some((part, asked)) => {
                    part.push(index);
                    // Among those that are counted together, nobody uses another's reserve.
                    asked.reserved &= reserved;
                    if !whole {
                        asked.units += units;
                    }
                }
                None => parts.push((
                    vec![index],
                    Asked {
                        hashes,
                        units,
                        reserved,
                        event: Some(bytes),
                    },
                )),
            }
        }
        parts
    }

    /// Notes what is decided for some events.
    pub(super) fn decide(&mut self, part: &Part, verdict: &Verdict) {
        let known = self.verdicts.iter().position(|one| one == verdict);
        let place = known.unwrap_or_else(|| {
            self.verdicts.push(verdict.clone());
            self.verdicts.len() - 1
        });
        let place = u16::try_from(place + 1).unwrap_or(u16::MAX);
        for index in part {
            if let Some(event) = self.events.get_mut(*index) {
                event.verdict = place;
            }
        }
    }

    /// Units of those events of a part that do not stay.
    pub(super) fn units_out(&self, part: &Part, unit: LimitUnit) -> u64 {
        let events = part.iter().filter_map(|index| self.events.get(*index));
        let out = events.clone().filter(|event| event.verdict > 0);
        match unit {
            LimitUnit::Events => out.count() as u64,
            LimitUnit::Bytes => out.map(|event| (event.end - event.start) as u64).sum(),
            LimitUnit::Requests => u64::from(out.count() == part.len()),
        }
    }

    /// Leaves in the group what stays.
    pub(super) fn sort(self, group: &mut EventGroup) -> Sorted {
        let mut sorted = Sorted::default();
        if self.verdicts.is_empty() {
            return sorted;
        }
        for (place, verdict) in self.verdicts.iter().enumerate() {
            let chosen = |event: &&Event| usize::from(event.verdict) == place + 1;
            let events = self.events.iter().filter(chosen);
            match verdict {
                Verdict::Refused => {
                    sorted.refused = u32::try_from(events.count()).unwrap_or(u32::MAX);
                }
                Verdict::Diverted(target) => {
                    let ranges = events.map(|event| event.start..event.end);
                    sorted
                        .diverted
                        .push((target.clone(), group.copy_of(ranges)));
                }
            }
        }
        let staying = self.events.iter().filter(|event| event.verdict == 0);
        let kept = group.copy_of(staying.map(|event| event.start..event.end));
        group.logs = kept.logs;
        group.events = kept.events;
        sorted
    }
}

fn part_of(group: &EventGroup, body: usize, end: usize) -> EventPart<'_> {
    EventPart(group.logs.get(body..end).unwrap_or_default())
}
