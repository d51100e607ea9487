//! What became of the events of a request.

use crate::event::EventGroup;
use crate::foundation::names::LogstoreName;
use crate::telemetry::Counter;

/// Why a step failed at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The event would have more fields than `limits.fields`.
    TooManyFields,
    /// A name would be empty, or longer than `limits.key`.
    BadName,
    /// A name is reserved, or one that only we attach.
    ReservedName,
    /// A value would be longer than `limits.value`.
    ValueTooLong,
    /// The events of the request would grow by more than `limits.body`.
    NoRoom,
    /// What is read is not UTF-8.
    NotText,
    /// What is read is no JSON object.
    NotJson,
    /// There are more members or parameters than `max_fields`.
    TooManyMembers,
    /// A token could not be made or read: the reason, as docs/jwt-functions.md lists them.
    Token(&'static str),
}

impl Fault {
    /// The words of all faults: those of events, then those of tokens.
    pub const LABELS: [&'static str; 22] = [
        "too_many_fields",
        "bad_name",
        "reserved_name",
        "value_too_long",
        "no_room",
        "not_text",
        "not_json",
        "too_many_members",
        "too_long",
        "malformed",
        "header",
        "critical",
        "algorithm",
        "signature",
        "payload",
        "missing_claim",
        "claim_type",
        "expired",
        "immature",
        "issuer",
        "audience",
        "signing",
    ];

    /// The fault as a word, for reports and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::TooManyFields => "too_many_fields",
            Self::BadName => "bad_name",
            Self::ReservedName => "reserved_name",
            Self::ValueTooLong => "value_too_long",
            Self::NoRoom => "no_room",
            Self::NotText => "not_text",
            Self::NotJson => "not_json",
            Self::TooManyMembers => "too_many_members",
            Self::Token(reason) => reason,
        }
    }

    /// Its place in [`Fault::LABELS`].
    #[must_use]
    pub fn index(self) -> usize {
        let label = self.label();
        let place = Self::LABELS.iter().position(|known| *known == label);
        place.unwrap_or_default()
    }
}

/// Why an event was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It was not of the share that `sample` lets through.
    Sample,
    /// The browser asked not to be tracked.
    Privacy,
    /// No field was left.
    Empty,
}

impl DropReason {
    /// Every reason, in the order of [`DropReason::index`].
    pub const ALL: [Self; 3] = [Self::Sample, Self::Privacy, Self::Empty];

    /// The reason as a word, for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Privacy => "privacy",
            Self::Empty => "empty",
        }
    }

    /// Its place in [`DropReason::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// An event at which a step failed whose `on_error` is `quarantine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Which event of the request, from 0, before the steps.
    pub event: u32,
    /// Which step: its place, for [`super::Transforms::label`].
    pub step: usize,
    /// Why.
    pub fault: Fault,
}

/// Events that go somewhere else.
#[derive(Debug)]
pub struct Routed {
    /// The logstore of the same project, if it is another one.
    pub logstore: Option<LogstoreName>,
    /// The events. Their topic is the one of the step.
    pub group: EventGroup,
}

/// What became of the events of a request, beside those that stay in their group. Every event of the
/// request is in exactly one of: the group, `dropped`, `set_aside`, `routed`.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Events that were dropped.
    pub dropped: u32,
    /// Which those are: their places in the request before the steps, in their order.
    pub left_out: Vec<u32>,
    /// Events that are set aside, as they came: no step has touched them, masks neither.
    pub set_aside: EventGroup,
    /// Why each event of `set_aside` is there, in their order.
    pub quarantined: Vec<Quarantined>,
    /// Events that go somewhere else.
    pub routed: Vec<Routed>,
    /// How often a step failed. Each is counted for its step as well.
    pub errors: u32,
    /// How many events were changed.
    pub changed: u32,
    /// Whether topic, source or tags were changed.
    pub relabeled: bool,
}

/// What is counted for one step.
#[derive(Debug, Default)]
pub struct StepCounts {
    /// How often it failed, by [`Fault::index`].
    pub errors: [Counter; Fault::LABELS.len()],
    /// Of these, events that were set aside.
    pub quarantined: Counter,
}

/// What is counted for the transforms of one logstore.
#[derive(Debug)]
pub struct TransformCounts {
    /// For each step, in their order.
    pub steps: Box<[StepCounts]>,
    /// Events dropped, by [`DropReason::index`].
    pub dropped: [Counter; DropReason::ALL.len()],
    /// Events sent elsewhere.
    pub routed: Counter,
}

impl TransformCounts {
    pub(super) fn count_drop(&self, reason: DropReason) {
        if let Some(counter) = self.dropped.get(reason.index()) {
            counter.inc();
        }
    }
}
