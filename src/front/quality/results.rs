//! What became of each event, for clients that ask.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use crate::config::Ack;
use crate::event::Violation;
use crate::front::toll::Receipts;
use crate::gate::guard::Reservation;
use crate::telemetry::Judge;

const X_TOLLGATE_QUARANTINED_EVENTS: HeaderName =
    HeaderName::from_static("x-tollgate-quarantined-events");
const X_TOLLGATE_DROPPED_EVENTS: HeaderName = HeaderName::from_static("x-tollgate-dropped-events");

/// What became of the events of a request that was not refused.
#[derive(Debug, Default)]
pub(in crate::front) struct Kept {
    /// How many there were.
    pub(in crate::front) events: u32,
    /// Those that were not simply kept, in their order.
    pub(in crate::front) others: Vec<EventResult>,
    /// What says when those that are kept are safe.
    pub(in crate::front) receipts: Receipts,
    /// How safe they are then, where they are.
    pub(in crate::front) ack: Option<Ack>,
    /// What guards remember of them, once they are.
    pub(in crate::front) names: Reservation,
}

impl Kept {
    /// Whether some of them are set aside.
    pub(in crate::front) fn sets_aside(&self) -> bool {
        self.others.iter().any(|it| it.end == EventEnd::Quarantined)
    }

    /// Says in the head of the answer how many are not stored.
    pub(in crate::front) fn tell(&self, headers: &mut HeaderMap) {
        for (name, end) in [
            (X_TOLLGATE_QUARANTINED_EVENTS, EventEnd::Quarantined),
            (X_TOLLGATE_DROPPED_EVENTS, EventEnd::Dropped),
        ] {
            let count = self.others.iter().filter(|it| it.end == end).count();
            if count > 0 {
                headers.insert(name, HeaderValue::from(count));
            }
        }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::front) enum EventEnd {
    /// It is kept, and will be delivered.
    Accepted,
    /// It is kept, changed so that it passes.
    Repaired,
    /// It was left out.
    Dropped,
    /// It was set aside, and can be replayed.
    Quarantined,
    /// It was taken before, and is stored once.
    Duplicate,
    /// It was left out by the operator's choice: a sample, or a privacy signal.
    Sampled,
}

impl EventEnd {
    /// Its name.
    pub(in crate::front) fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repaired => "repaired",
            Self::Dropped => "dropped",
            Self::Quarantined => "quarantined",
            Self::Duplicate => "duplicate",
            Self::Sampled => "sampled",
        }
    }
}

/// What became of an event that did not simply pass.
#[derive(Clone, Debug)]
pub(in crate::front) struct EventResult {
    pub(in crate::front) event: u32,
    pub(in crate::front) end: EventEnd,
    /// What found it wanting.
    pub(in crate::front) judge: Judge,
    /// Which check, such as `page-view@2`.
    pub(in crate::front) check: String,
    pub(in crate::front) violations: Vec<Violation>,
    pub(in crate::front) hidden: u32,
}

#[derive(Serialize)]
struct Results<'a> {
    accepted: u32,
    #[serde(skip_serializing_if = "is_zero")]
    refused_by_limits: u32,
    results: Vec<OneResult<'a>>,
}

#[derive(Serialize)]
struct OneResult<'a> {
    event: u32,
    result: EventEnd,
    #[serde(skip_serializing_if = "str::is_empty")]
    check: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    violations: Vec<OneViolation<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    more: u32,
}

#[derive(Serialize)]
struct OneViolation<'a> {
    pointer: &'a str,
    keyword: &'a str,
    message: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The results of a request, as JSON: of every event in its order. Limits took `refused` out of those
/// that passed, and do not say which.
pub(in crate::front) fn results_of(kept: &Kept, refused: u32) -> Vec<u8> {
    let Kept { events, others, .. } = kept;
    let events = *events;
    let mut others = others.iter().peekable();
    let results: Vec<OneResult<'_>> = (0..events)
        .map(|event| match others.next_if(|other| other.event == event) {
            None => OneResult {
                event,
                result: EventEnd::Accepted,
                check: "",
                violations: Vec::new(),
                more: 0,
            },
            Some(other) => OneResult {
                event,
                result: other.end,
                check: &other.check,
                violations: other
                    .violations
                    .iter()
                    .map(|violation| OneViolation {
                        pointer: &violation.pointer,
                        keyword: &violation.keyword,
                        message: &violation.message,
                    })
                    .collect(),
                more: other.hidden,
            },
        })
        .collect();
    let kept = |one: &&OneResult<'_>| matches!(one.result, EventEnd::Accepted | EventEnd::Repaired);
    let accepted = results.iter().filter(kept).count();
    let all = Results {
        accepted: u32::try_from(accepted)
            .unwrap_or(u32::MAX)
            .saturating_sub(refused),
        refused_by_limits: refused,
        results,
    };
    // Texts and numbers can always be written.
    serde_json::to_vec(&all).unwrap_or_default()
}
