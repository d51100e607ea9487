//! An event that was set aside, before what events are held to now.

use std::net::{IpAddr, Ipv4Addr};

use super::Quality;
use super::judge::{log_of, percent_of};
use super::repair::repair;
use super::steps::{apply, server_id};
use crate::config::{LimitMode, OnInvalid};
use crate::event::{EventGroup, Violation};
use crate::front::service::Front;
use crate::gate::guard::{self, Check as GuardCheck, Reservation};
use crate::gate::transform::{Routed, TransformFacts};

/// What is known of the request that brought an event.
#[derive(Clone, Copy, Debug)]
pub(in crate::front) struct Past<'a> {
    /// When it came, in unix seconds.
    pub(in crate::front) received: u64,
    /// The client's address, where it was kept.
    pub(in crate::front) client: Option<IpAddr>,
    /// Who sent it, and which of the events that are alike in its request it was, where guards asked.
    pub(in crate::front) sender: Option<(u64, u32)>,
    /// The privacy signals of its client: DNT, GPC.
    pub(in crate::front) signals: (bool, bool),
    /// The fields that we gave it.
    pub(in crate::front) stamp: &'a [u8],
}

/// What became of it.
#[derive(Debug)]
pub(in crate::front) enum Again {
    /// It passes. What it brings that is remembered, and where it goes if not to its own logstore.
    Passes(Reservation, Option<Box<Routed>>),
    /// A check still finds it bad.
    StillBad(String, Vec<Violation>),
    /// It was taken from another request.
    Duplicate,
    /// Another request is bringing it at this very moment.
    InFlight,
    /// A step leaves it out, by the operator's choice.
    LeftOut,
}

impl Front {
    /// Judges the one event of a group, and changes it as the rules say.
    pub(in crate::front) fn judge_again(
        &self,
        quality: &Quality,
        past: &Past<'_>,
        group: &mut EventGroup,
    ) -> Again {
        let faults = std::mem::take(&mut group.faults);
        if let (Some(schema), Some(fault)) = (&quality.schema, faults.into_iter().next()) {
            let rule = schema.rule();
            let log = group.logs.get(log_of(group, 0)).unwrap_or_default();
            if rule.mode == LimitMode::Enforce && percent_of(log) < u64::from(rule.percent) {
                let repaired = match rule.on_invalid {
                    OnInvalid::Repair => repair(schema, &fault, log),
                    _ => None,
                };
                match repaired {
                    Some(log) => group.logs = log,
                    None => {
                        let check = schema.label(fault.check).to_owned();
                        return Again::StillBad(check, fault.violations);
                    }
                }
            }
        }
        let reservation = match self.guard_again(quality, past, group) {
            Ok(reservation) => reservation,
            Err(end) => return end,
        };
        let Some(steps) = &quality.transforms else {
            return Again::Passes(reservation, None);
        };
        let (topic, source) = (group.topic.clone(), group.source.clone());
        let facts = TransformFacts {
            client_address: past.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            // Records do not keep them.
            user_agent: b"",
            referer: b"",
            do_not_track: past.signals.0,
            global_privacy_control: past.signals.1,
            received: past.received,
            server_id: server_id(),
            topic: &topic,
            source: &source,
        };
        let outcome = apply(steps, group, &facts);
        if let Some(quarantined) = outcome.quarantined.first() {
            let label = steps.label(quarantined.step);
            let violation = Violation {
                pointer: String::new(),
                keyword: "transform".into(),
                message: format!("{label}: {}", quarantined.fault.label()),
            };
            return Again::StillBad(label.to_owned(), vec![violation]);
        }
        let routed = outcome.routed.into_iter().next().map(Box::new);
        if group.events == 0 && routed.is_none() {
            return Again::LeftOut;
        }
        Again::Passes(reservation, routed)
    }

    fn guard_again(
        &self,
        quality: &Quality,
        past: &Past<'_>,
        group: &mut EventGroup,
    ) -> Result<Reservation, Again> {
        let Some(guards) = &quality.guards else {
            return Ok(Reservation::default());
        };
        // A record of before guards asked who sends may say no more than the address.
        let (sender, turn) = past.sender.unwrap_or_else(|| {
            let address = past.client.map_or_else(String::new, |it| it.to_string());
            (self.guards.sender(&[b"address", address.as_bytes()]), 0)
        });
        let trust = self.trust();
        let ask = guard::Ask {
            group,
            stamp: past.stamp,
            attached: trust.attached(),
            received: past.received,
            millis: self.guards.millis(),
            sender,
            turn,
        };
        let mut work = guard::Work::default();
        let mut judged = guards.judge(&ask, &mut work);
        if !judged.enforced {
            return Ok(judged.reservation);
        }
        if !judged.request.is_empty() {
            let violations = std::mem::take(&mut judged.request);
            return Err(Again::StillBad("guard".to_owned(), violations));
        }
        if let Some(fault) = judged.faults.pop() {
            let check = GuardCheck::of_number(fault.check).map_or("guard", GuardCheck::label);
            return Err(Again::StillBad(check.to_owned(), fault.violations));
        }
        // Whole events are named by their sender and turn too. Of one whose record does not hold them its
        // id is what keeps it from being stored twice.
        if past.sender.is_some() || !guards.names_whole_events() {
            if !judged.held.is_empty() {
                return Err(Again::InFlight);
            }
            if !judged.duplicates.is_empty() {
                return Err(Again::Duplicate);
            }
        }
        let repairing = guard::Repairing {
            stamp: past.stamp,
            attached: trust.attached(),
            received: past.received,
        };
        guards.repair(&repairing, &judged, group, &mut work);
        Ok(judged.reservation)
    }
}
