//! What becomes of the events that did not pass.

use std::cell::RefCell;

use super::aside::{Aside, Bad, Records};
use super::results::{EventEnd, EventResult};
use super::steps::do_steps;
use super::{Quality, SchemaJudge};
use crate::config::{LimitMode, OnInvalid};
use crate::event::{
    EventFault, EventGroup, FieldPlaces, Kind, LogPlace, Reason, Refusal, Violation,
};
use crate::foundation::wire::{Field, Reader};
use crate::front::arrival::Arrival;
use crate::front::route::Action;
use crate::front::service::Front;
use crate::front::toll::Receipts;
use crate::gate::guard::{self, Check as GuardCheck, Guards, Reservation};
use crate::gate::identity::Principal;
use crate::gate::transform::Routed;
use crate::pipeline::quarantine::RecordEvent;
use crate::telemetry::{Judge, LogstoreMetrics};

/// Where the text of a time is kept that was replaced: a field of ours, between the client's and those
/// that are added.
const CLIENT_TIME: &[u8] = b"__client_time__";
/// Bad events that a refusal tells of.
const TOLD_EVENTS: usize = 3;
/// Violations of each.
const TOLD_VIOLATIONS: usize = 3;

thread_local! {
    static GUARD_WORK: RefCell<(guard::Work, FieldPlaces)> = RefCell::default();
}

/// What was decided of the events of a request. What is to be stored is left in its group.
#[derive(Debug)]
pub(in crate::front) struct Judged {
    /// Events that do not simply stay, by their place in the request.
    results: Vec<EventResult>,
    aside: Aside,
    reservation: Reservation,
    /// Events that go elsewhere.
    pub(in crate::front) routed: Vec<Routed>,
    /// Whether anything that stays was changed.
    changed: bool,
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) results: Vec<EventResult>,
    pub(super) records: Records,
    /// Whether anything that stays was changed.
    pub(super) changed: bool,
    /// Events that the guards took out, by their numbers before that, ascending.
    guarded_out: Vec<u32>,
    /// Events that a step set aside, by their numbers after that, ascending.
    pub(super) aside_by_steps: Vec<u32>,
    /// The place in the request of each event of the group, once they differ.
    places: Option<Vec<u32>>,
}

impl Found {
    pub(super) fn place(&self, event: u32) -> u32 {
        let places = self.places.as_deref();
        let place = places.and_then(|places| places.get(event as usize));
        place.copied().unwrap_or(event)
    }

    /// The numbers that events which a step set aside had before the guards, which numbered so many.
    fn numbers_before_guards(&self, guarded: usize) -> Vec<u32> {
        if self.aside_by_steps.is_empty() {
            return Vec::new();
        }
        let stayed = (0u32..).take(guarded);
        let stayed = stayed.filter(|event| self.guarded_out.binary_search(event).is_err());
        let stayed: Vec<u32> = stayed.collect();
        let number = |event: &u32| stayed.get(*event as usize).copied();
        self.aside_by_steps.iter().filter_map(number).collect()
    }

    /// Takes events out of the group, by their index in it, ascending; and puts others in their place.
    fn change(&mut self, group: &mut EventGroup, out: &[u32], anew: &[(u32, Vec<u8>)]) {
        if out.is_empty() && anew.is_empty() {
            return;
        }
        let mut logs = Vec::with_capacity(group.logs.len());
        let (mut out, mut anew) = (out.iter().peekable(), anew.iter().peekable());
        let mut places = Vec::with_capacity(group.events as usize);
        let mut kept = 0;
        for (index, place) in (0u32..).zip(group.each_log()) {
            if out.next_if(|it| **it == index).is_some() {
                continue;
            }
            let new = anew.next_if(|(it, _)| *it == index);
            let old = group.logs.get(place.start..place.end).unwrap_or_default();
            logs.extend_from_slice(new.map_or(old, |(_, log)| log));
            places.push(self.place(index));
            kept += 1;
        }
        self.places = Some(places);
        (group.logs, group.events) = (logs, kept);
    }
}

impl Front {
    /// Decides what becomes of each event of a request whose caller is known, and takes out of the
    /// group what is not to be stored.
    ///
    /// # Errors
    /// The whole request is refused: by policy, or since there is no room for what is set aside.
    /// Nothing has been kept then; the group may have lost events.
    pub(in crate::front) fn judge(
        &self,
        arrival: &Arrival<'_>,
        principal: &Principal,
        quality: &Quality,
        stamp: &[u8],
        group: &mut EventGroup,
    ) -> Result<Judged, Refusal> {
        let guards = quality.guards.as_deref();
        let sender = guards.filter(|guards| guards.asks_for_senders());
        let sender = sender.map(|_| self.sender_of(arrival, principal));
        let mut found = Found {
            records: Records::of(sender, guards),
            ..Found::default()
        };
        let faults = std::mem::take(&mut group.faults);
        if let Some(schema) = &quality.schema {
            judge_schema(arrival, schema, faults, group, &mut found)?;
        }
        let mut reservation = Reservation::default();
        if let Some(guards) = &quality.guards {
            reservation = self.judge_guards((arrival, sender), guards, stamp, group, &mut found)?;
        }
        let mut routed = Vec::new();
        if let Some(steps) = quality.transforms.as_ref().filter(|_| group.events > 0) {
            let parameter = &self.identity.query_parameter;
            let guarded = group.events as usize + found.guarded_out.len();
            routed = do_steps(
                arrival,
                steps,
                parameter,
                contents_in(stamp),
                group,
                &mut found,
            );
            // What is set aside is not taken: it may come again, or be replayed.
            let aside = found.numbers_before_guards(guarded);
            reservation.keep(|event| aside.binary_search(&event).is_err());
        }
        let target = quality.aside_to.as_ref().map(|name| name.as_str());
        let aside = self.room_aside(arrival, target, found.records)?;
        Ok(Judged {
            results: found.results,
            aside,
            reservation,
            routed,
            changed: found.changed,
        })
    }

    /// A hash of who sends it: its credential, or its address where it has none.
    fn sender_of(&self, arrival: &Arrival<'_>, principal: &Principal) -> u64 {
        let name = principal.key().unwrap_or_default();
        if name.is_empty() {
            let address = arrival.sender.address.to_string();
            return self.guards.sender(&[b"address", address.as_bytes()]);
        }
        let kind = principal.kind().label();
        self.guards.sender(&[kind.as_bytes(), name.as_bytes()])
    }

    /// When it comes, on the clock of guards.
    fn millis_of(&self, arrival: &Arrival<'_>) -> u64 {
        let given = arrival.trial.map(|nanos| nanos / 1_000_000);
        given.unwrap_or_else(|| self.guards.millis())
    }

    fn judge_guards(
        &self,
        (arrival, sender): (&Arrival<'_>, Option<u64>),
        guards: &std::sync::Arc<Guards>,
        stamp: &[u8],
        group: &mut EventGroup,
        found: &mut Found,
    ) -> Result<Reservation, Refusal> {
        let trust = self.trust();
        let ask = guard::Ask {
            group,
            stamp,
            attached: trust.attached(),
            received: arrival.unix_seconds,
            millis: self.millis_of(arrival),
            sender: sender.unwrap_or_default(),
            turn: 0,
        };
        let mut judged = GUARD_WORK.with_borrow_mut(|(work, _)| guards.judge(&ask, work));
        GUARD_WORK.with_borrow_mut(|(work, places)| {
            let metrics = &arrival.logstore.metrics;
            if !judged.enforced {
                let observed = metrics.events_observed.at(Judge::Guard as usize);
                observed.add(judged.faults.len() as u64);
                return Ok(judged.reservation);
            }
            if !judged.request.is_empty() {
                return Err(Refusal::new(
                    Reason::GuardRefused,
                    told_violations(&judged.request, 0),
                ));
            }
            if !judged.held.is_empty() {
                return Err(Refusal::new(
                    Reason::EventInFlight,
                    format!("{} events", judged.held.len()),
                ));
            }
            let on_invalid = guards.on_invalid();
            if on_invalid == OnInvalid::Reject && !judged.faults.is_empty() {
                let detail = told_faults(arrival, &judged.faults, |event| found.place(event));
                return Err(Refusal::new(Reason::GuardRefused, detail));
            }
            let repairing = guard::Repairing {
                stamp,
                attached: trust.attached(),
                received: arrival.unix_seconds,
            };
            let repaired = guards.repair(&repairing, &judged, group, work);
            metrics.events_repaired.add(u64::from(repaired));
            found.changed |= repaired > 0 || judged.repairs_request;
            let mut out: Vec<u32> = judged.duplicates.clone();
            for event in &judged.duplicates {
                found.results.push(EventResult {
                    event: found.place(*event),
                    end: EventEnd::Duplicate,
                    judge: Judge::Guard,
                    check: String::new(),
                    violations: Vec::new(),
                    hidden: 0,
                });
            }
            let logs: Vec<LogPlace> = match judged.faults.is_empty() {
                true => Vec::new(),
                false => group.each_log().collect(),
            };
            for fault in std::mem::take(&mut judged.faults) {
                out.push(fault.event);
                let label = GuardCheck::of_number(fault.check).map_or("guard", GuardCheck::label);
                let log = logs
                    .get(fault.event as usize)
                    .map_or(0..0, |it| it.body..it.end);
                let bytes = group.logs.get(log.clone()).unwrap_or_default();
                let kinds = texts(bytes, contents_in(stamp), places);
                let fault = EventFault { kinds, ..fault };
                let bad = (&fault, label, "guard");
                end_badly(arrival, (group, log), bad, on_invalid, found);
            }
            out.sort_unstable();
            out.dedup();
            judged
                .reservation
                .keep(|event| out.binary_search(&event).is_err());
            found.change(group, &out, &[]);
            found.guarded_out = out;
            Ok(judged.reservation)
        })
    }
}

fn judge_schema(
    arrival: &Arrival<'_>,
    schema: &SchemaJudge,
    faults: Vec<EventFault>,
    group: &mut EventGroup,
    found: &mut Found,
) -> Result<(), Refusal> {
    if faults.is_empty() {
        return Ok(());
    }
    let rule = schema.rule();
    let observed = arrival
        .logstore
        .metrics
        .events_observed
        .at(Judge::Schema as usize);
    let places: Vec<LogPlace> = group.each_log().collect();
    let log_at = |event: u32| {
        places
            .get(event as usize)
            .map_or(0..0, |it| it.body..it.end)
    };
    let (enforced, observed_faults): (Vec<EventFault>, Vec<EventFault>) =
        faults.into_iter().partition(|fault| {
            let log = group.logs.get(log_at(fault.event)).unwrap_or_default();
            rule.mode == LimitMode::Enforce && percent_of(log) < u64::from(rule.percent)
        });
    observed.add(observed_faults.len() as u64);
    if rule.on_invalid == OnInvalid::Reject && !enforced.is_empty() {
        let detail = told_faults(arrival, &enforced, |event| event);
        return Err(Refusal::new(Reason::SchemaInvalid, detail));
    }
    let (mut out, mut anew) = (Vec::new(), Vec::new());
    let mut unrepaired = Vec::new();
    for fault in enforced {
        let log = group.logs.get(log_at(fault.event)).unwrap_or_default();
        let repaired = match rule.on_invalid {
            OnInvalid::Repair => super::repair::repair(schema, &fault, log),
            _ => None,
        };
        match repaired {
            Some(log) => {
                found.results.push(EventResult {
                    event: fault.event,
                    end: EventEnd::Repaired,
                    judge: Judge::Schema,
                    check: schema.label(fault.check).to_owned(),
                    violations: fault.violations,
                    hidden: fault.hidden,
                });
                anew.push((fault.event, log));
            }
            None => unrepaired.push(fault),
        }
    }
    let metrics = &arrival.logstore.metrics;
    metrics.events_repaired.add(anew.len() as u64);
    let end = match rule.on_invalid {
        OnInvalid::Repair => rule.unrepaired,
        other => other,
    };
    if end == OnInvalid::Reject && !unrepaired.is_empty() {
        let detail = told_faults(arrival, &unrepaired, |event| event);
        return Err(Refusal::new(Reason::SchemaInvalid, detail));
    }
    for fault in unrepaired {
        out.push(fault.event);
        let label = schema.label(fault.check);
        let log = log_at(fault.event);
        end_badly(arrival, (group, log), (&fault, label, "schema"), end, found);
    }
    found.change(group, &out, &anew);
    Ok(())
}

/// Notes an event that goes out: set aside, or left out.
fn end_badly(
    arrival: &Arrival<'_>,
    (group, log): (&EventGroup, std::ops::Range<usize>),
    (fault, check, cause): (&EventFault, &str, &'static str),
    end: OnInvalid,
    found: &mut Found,
) {
    let place = found.place(fault.event);
    let end = if end == OnInvalid::Drop {
        EventEnd::Dropped
    } else {
        let log = group.logs.get(log);
        let bad = Bad {
            event: place,
            cause,
            check,
            violations: &fault.violations,
            hidden: fault.hidden,
            record: RecordEvent {
                log: log.unwrap_or_default(),
                kinds: &fault.kinds,
            },
        };
        found.records.add(arrival, group, &bad);
        EventEnd::Quarantined
    };
    found.results.push(EventResult {
        event: place,
        end,
        judge: if cause == "schema" {
            Judge::Schema
        } else {
            Judge::Guard
        },
        check: check.to_owned(),
        violations: fault.violations.clone(),
        hidden: fault.hidden,
    });
}

impl Judged {
    /// What its events brought to be remembered counts as not seen.
    pub(in crate::front) fn forget_names(&mut self) {
        self.reservation = Reservation::default();
    }

    /// Whether every event stays as it came.
    pub(in crate::front) fn touches_nothing(&self) -> bool {
        self.results.is_empty() && self.routed.is_empty() && !self.changed
    }

    /// The request is kept: what was set aside is handed over, and every event is counted that is not
    /// stored. What became of those, in their order; and what is to be remembered once the others are safe.
    /// `receipts` say when those are that were set aside.
    pub(in crate::front) fn commit(
        self,
        arrival: &Arrival<'_>,
        receipts: &mut Receipts,
    ) -> (Vec<EventResult>, Reservation) {
        let Self {
            mut results,
            aside,
            reservation,
            routed: _,
            changed: _,
        } = self;
        let metrics: &LogstoreMetrics = &arrival.logstore.metrics;
        // An event that was repaired may have ended in another way after that: the last counts.
        results.reverse();
        results.sort_by_key(|result| result.event);
        results.dedup_by_key(|result| result.event);
        for result in &results {
            let (judge, reason) = match result.judge {
                Judge::Schema => (Judge::Schema, Reason::SchemaInvalid),
                Judge::Guard => (Judge::Guard, Reason::GuardRefused),
                Judge::Transform => (Judge::Transform, Reason::TransformFailed),
                // It judges what was kept, not what is.
                Judge::Store => (Judge::Store, Reason::Internal),
            };
            let outcome = match result.end {
                EventEnd::Quarantined => metrics.events_quarantined.at(judge as usize),
                EventEnd::Dropped => metrics.events_refused.at(reason.index()),
                EventEnd::Duplicate => &metrics.events_duplicate,
                EventEnd::Sampled => &metrics.events_sampled,
                EventEnd::Accepted | EventEnd::Repaired => continue,
            };
            arrival.entry.end(1, outcome);
        }
        aside.commit(arrival, receipts);
        (results, reservation)
    }
}

/// Where an event's Log stands in a group.
pub(super) fn log_of(group: &EventGroup, event: u32) -> std::ops::Range<usize> {
    let place = group.each_log().nth(event as usize);
    place.map_or(0..0, |place| place.body..place.end)
}

/// How many `Contents` fields a Log has, or a part of one.
pub(super) fn contents_in(log: &[u8]) -> usize {
    let mut fields = Reader::new(log);
    let mut count = 0;
    while let Ok(Some(field)) = fields.next_field() {
        count += usize::from(matches!(field, Field::Bytes(2, _)));
    }
    count
}

/// What the client's fields of a Log are taken for whose kinds are not known any more: texts. What we
/// added stands last.
pub(super) fn texts(log: &[u8], added: usize, places: &mut FieldPlaces) -> Vec<Kind> {
    places.read(log, 0..log.len());
    places.drop_last(added);
    places.retain(log, |name| name != CLIENT_TIME);
    vec![Kind::Text; places.of(log).count()]
}

/// A number below 100 that depends on an event's fields alone: its time may be that of its receipt.
pub(super) fn percent_of(log: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::with_seed(7).build_hasher();
    let mut fields = Reader::new(log);
    while let Ok(Some(field)) = fields.next_field() {
        if let Field::Bytes(2, content) = field {
            hasher.write(content);
        }
    }
    ((hasher.finish() >> 32) * 100) >> 32
}

/// Bad events, for the client of a request that is refused: the first few, and how many more.
fn told_faults(arrival: &Arrival<'_>, faults: &[EventFault], place: impl Fn(u32) -> u32) -> String {
    let list = match arrival.action {
        Action::Events => "",
        _ => "/__logs__",
    };
    let mut told = String::new();
    for fault in faults.iter().take(TOLD_EVENTS) {
        if !told.is_empty() {
            told.push_str("; ");
        }
        let event = place(fault.event);
        let prefix = format!("{list}/{event}");
        let more = fault.hidden;
        told.push_str(&told_at(&prefix, &fault.violations, more));
    }
    let more = faults.len().saturating_sub(TOLD_EVENTS);
    if more > 0 {
        told.push_str(&format!("; and {more} more events"));
    }
    told
}

fn told_violations(violations: &[Violation], hidden: u32) -> String {
    told_at("", violations, hidden)
}

fn told_at(prefix: &str, violations: &[Violation], hidden: u32) -> String {
    let mut told = String::new();
    for violation in violations.iter().take(TOLD_VIOLATIONS) {
        if !told.is_empty() {
            told.push_str(", ");
        }
        let Violation {
            pointer, message, ..
        } = violation;
        told.push_str(&format!("{prefix}{pointer}: {message}"));
    }
    let more = violations.len().saturating_sub(TOLD_VIOLATIONS) + hidden as usize;
    if more > 0 {
        told.push_str(&format!(" and {more} more"));
    }
    told
}
