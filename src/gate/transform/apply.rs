//! All steps on all events of a request.

use std::mem;

use super::draft::{Draft, Sheets};
use super::facts::TransformFacts;
use super::labels::Labels;
use super::outcome::{DropReason, Fault, Outcome, Quarantined, Routed};
use super::steps::{Adder, Tools, Way};
use super::trouble::Trouble;
use super::work::Work;
use super::{Step, Transforms};
use crate::event::{EventGroup, LogPlace};

/// Where an event goes after all steps.
enum End {
    /// It stays in its group.
    Stay,
    /// It is dropped.
    Drop(DropReason),
    /// To a target.
    To(usize),
    /// It is set aside.
    Aside(usize, Fault),
}

/// The buffers that one request is worked on with.
struct Bench<'w> {
    work: &'w mut Work,
    sheets: Sheets,
    /// Bytes by which events may still grow.
    room: usize,
    /// The events as they leave.
    out: Vec<u8>,
}

impl Transforms {
    /// Runs the steps on the events of a request. Its `faults` must have been acted upon: the places
    /// of events are others afterwards. Of the group its events change, and topic, source and tags where
    /// steps name them.
    pub fn apply(
        &self,
        group: &mut EventGroup,
        facts: &TransformFacts<'_>,
        work: &mut Work,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if self.is_empty() || group.events == 0 {
            return outcome;
        }
        work.begin();
        let labels = self.relabel(group, facts, work, &mut outcome.errors);
        outcome.relabeled = labels.is_some();
        let facts = &TransformFacts {
            topic: labels.as_ref().map_or(facts.topic, |it| &it.topic),
            source: labels.as_ref().map_or(facts.source, |it| &it.source),
            ..*facts
        };
        let mut bench = Bench {
            sheets: mem::take(&mut work.sheets),
            room: self.bounds.growth,
            out: mem::take(&mut work.out),
            work,
        };
        let mut kept = 0;
        for (event, place) in (0u32..).zip(group.each_log()) {
            let begin = bench.out.len();
            let end = self.event(&group.logs, place, facts, &mut bench, &mut outcome);
            let out = &mut bench.out;
            match end {
                End::Stay => kept += 1,
                End::Drop(reason) => {
                    out.truncate(begin);
                    outcome.dropped += 1;
                    outcome.left_out.push(event);
                    self.counts.count_drop(reason);
                }
                End::To(target) => {
                    let log = out.get(begin..).unwrap_or_default();
                    self.route(target, log, (group, labels.as_ref()), &mut outcome);
                    out.truncate(begin);
                }
                End::Aside(step, fault) => {
                    out.truncate(begin);
                    let log = group.logs.get(place.start..place.end).unwrap_or_default();
                    put_log(&mut outcome.set_aside, log, group);
                    outcome.quarantined.push(Quarantined { event, step, fault });
                    if let Some(counts) = self.counts.steps.get(step) {
                        counts.quarantined.inc();
                    }
                }
            }
        }
        let Bench {
            work,
            sheets,
            mut out,
            ..
        } = bench;
        mem::swap(&mut group.logs, &mut out);
        group.events = kept;
        if let Some(labels) = labels {
            labels.put_to(group);
        }
        (work.out, work.sheets) = (out, sheets);
        work.end();
        outcome
    }

    /// Runs the steps on one event, and appends it to `out` in case it goes anywhere.
    fn event(
        &self,
        logs: &[u8],
        place: LogPlace,
        facts: &TransformFacts<'_>,
        bench: &mut Bench<'_>,
        outcome: &mut Outcome,
    ) -> End {
        let Bench {
            work,
            sheets,
            room,
            out,
        } = bench;
        let whole = logs.get(place.start..place.end).unwrap_or_default();
        let range = (place.body, place.end);
        let Some(mut draft) = Draft::read(logs, range, sheets, &self.bounds, room) else {
            // What the transcoder wrote is well-formed.
            out.extend_from_slice(whole);
            return End::Stay;
        };
        let mut tools = Tools {
            facts,
            adder: Adder {
                attached: &self.attached,
            },
            work,
        };
        let mut target = None;
        for (place, step) in self.steps.iter().enumerate() {
            match self.step((place, step), &mut draft, &mut tools, outcome) {
                Ok(Way::On) => {}
                Ok(Way::Drop(reason)) => return End::Drop(reason),
                Ok(Way::To(place)) => target = target.or(Some(place)),
                Err(fault) => return End::Aside(place, fault),
            }
        }
        if draft.is_changed() {
            if draft.count() == 0 {
                return End::Drop(DropReason::Empty);
            }
            outcome.changed += 1;
            draft.write(out);
        } else {
            out.extend_from_slice(whole);
        }
        target.map_or(End::Stay, End::To)
    }

    fn step(
        &self,
        (place, step): (usize, &Step),
        draft: &mut Draft<'_>,
        tools: &mut Tools<'_, '_>,
        outcome: &mut Outcome,
    ) -> Result<Way, Fault> {
        if step.when.as_ref().is_some_and(|when| !when.holds(draft)) {
            return Ok(Way::On);
        }
        let mut trouble = Trouble::new(step.on_error, self.counts.steps.get(place));
        let way = step.act.run(draft, tools, &mut trouble);
        outcome.errors += trouble.errors;
        way
    }

    fn route(
        &self,
        target: usize,
        log: &[u8],
        (group, labels): (&EventGroup, Option<&Labels>),
        outcome: &mut Outcome,
    ) {
        let Some(target) = self.targets.get(target) else {
            return;
        };
        let (topic, source, tags) = match labels {
            Some(labels) => (&labels.topic, &labels.source, &labels.tags),
            None => (&group.topic, &group.source, &group.tags),
        };
        let topic = target.topic.as_deref().unwrap_or(topic);
        let known = outcome
            .routed
            .iter_mut()
            .find(|routed| routed.logstore == target.logstore && routed.group.topic == topic);
        let routed = match known {
            Some(routed) => routed,
            None => outcome.routed.push_mut(Routed {
                logstore: target.logstore.clone(),
                group: EventGroup {
                    topic: topic.to_vec(),
                    source: source.clone(),
                    tags: tags.clone(),
                    span: group.span,
                    ..EventGroup::default()
                },
            }),
        };
        routed.group.logs.extend_from_slice(log);
        routed.group.events += 1;
        self.counts.routed.inc();
    }
}

/// Appends an event as it came to those that are set aside.
fn put_log(aside: &mut EventGroup, log: &[u8], group: &EventGroup) {
    if aside.events == 0 {
        aside.topic.clone_from(&group.topic);
        aside.source.clone_from(&group.source);
        aside.tags.clone_from(&group.tags);
    }
    aside.logs.extend_from_slice(log);
    aside.events += 1;
}
