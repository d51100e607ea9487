//! The steps on the fields of events, done on what passed.

use std::cell::RefCell;
use std::sync::OnceLock;

use http::header::{REFERER, USER_AGENT};

use super::aside::Bad;
use super::judge::{Found, texts};
use super::results::{EventEnd, EventResult};
use crate::event::{EventGroup, FieldPlaces, Violation};
use crate::front::arrival::Arrival;
use crate::front::platform;
use crate::gate::transform::{Outcome, Routed, TransformFacts, Transforms, Work};
use crate::pipeline::quarantine::RecordEvent;
use crate::telemetry::Judge;

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

/// The name of this node, for events.
pub(super) fn server_id() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
        name.unwrap_or_default().trim().to_owned()
    })
}

/// Does the steps on events of which the request is known so far.
pub(super) fn apply(
    transforms: &Transforms,
    group: &mut EventGroup,
    facts: &TransformFacts<'_>,
) -> Outcome {
    WORK.with_borrow_mut(|work| transforms.apply(group, facts, work))
}

/// Does the steps. What they leave of the events stays in the group; what they send elsewhere is
/// returned.
pub(super) fn do_steps(
    arrival: &Arrival<'_>,
    transforms: &Transforms,
    token_parameter: &str,
    stamped: usize,
    group: &mut EventGroup,
    found: &mut Found,
) -> Vec<Routed> {
    let headers = &arrival.parts.headers;
    let text = |name| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    let referer = platform::without_secrets(text(REFERER), token_parameter);
    let (topic, source) = (group.topic.clone(), group.source.clone());
    let facts = TransformFacts {
        client_address: arrival.sender.address,
        user_agent: text(USER_AGENT),
        referer: &referer,
        do_not_track: arrival.says("dnt"),
        global_privacy_control: arrival.says("sec-gpc"),
        received: arrival.unix_seconds,
        server_id: server_id(),
        topic: &topic,
        source: &source,
    };
    let outcome = apply(transforms, group, &facts);
    found.changed |= outcome.changed > 0 || outcome.relabeled;
    for event in &outcome.left_out {
        found.results.push(EventResult {
            event: found.place(*event),
            end: EventEnd::Sampled,
            judge: Judge::Transform,
            check: String::new(),
            violations: Vec::new(),
            hidden: 0,
        });
    }
    let aside = &outcome.set_aside;
    for (quarantined, place) in outcome.quarantined.iter().zip(aside.each_log()) {
        let label = transforms.label(quarantined.step);
        let violations = vec![Violation {
            pointer: String::new(),
            keyword: "transform".into(),
            message: format!("{label}: {}", quarantined.fault.label()),
        }];
        let event = found.place(quarantined.event);
        found.aside_by_steps.push(quarantined.event);
        let log = aside.logs.get(place.body..place.end).unwrap_or_default();
        let kinds = texts(log, stamped, &mut FieldPlaces::default());
        let bad = Bad {
            event,
            cause: "transform",
            check: label,
            violations: &violations,
            hidden: 0,
            record: RecordEvent { log, kinds: &kinds },
        };
        // With topic, source and tags as they came, too.
        found.records.add(arrival, aside, &bad);
        found.results.push(EventResult {
            event,
            end: EventEnd::Quarantined,
            judge: Judge::Transform,
            check: label.to_owned(),
            violations,
            hidden: 0,
        });
    }
    outcome.routed
}
