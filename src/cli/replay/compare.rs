//! The verdict of a request as it was, and as it would be.

use std::collections::BTreeMap;

use crate::app::Stage;
use crate::app::TrialAnswer;
use crate::event::{Reason, SampledProof, SampledRequest};

/// Why events cannot be judged as they were.
const HIDDEN: &str = "personal data in it is hidden";

/// What becomes of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It stays.
    Same,
    /// It was taken, and would be refused.
    Refused,
    /// It was refused, and would be taken.
    Taken,
    /// It was refused, and would be for another reason.
    OtherReason,
    /// It is taken, and other events of it are kept.
    OtherEvents,
    /// It cannot be told, and why.
    Undecided(&'static str),
}

/// What would become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) change: Change,
    /// As it was, and as it would be.
    pub(super) before: String,
    pub(super) after: String,
    /// What a refusal says.
    pub(super) message: Option<String>,
}

/// Compares what was with what would be. `bodyless`: the sample does not hold the body.
pub(super) fn compare(request: &SampledRequest, bodyless: bool, answer: &TrialAnswer) -> Compared {
    let verdict = &request.verdict;
    let before = verdict.reason.as_deref();
    let steps = &answer.traced.steps;
    let came_to = steps.last().map_or(Stage::Route, |step| step.stage);
    let refused = steps.last().and_then(|step| step.refused.as_ref());
    let after = answer.reason.map(Reason::label);
    let change = change(request, bodyless, answer, came_to);
    let others = |others: BTreeMap<String, usize>| {
        let told = others.iter().map(|(end, count)| format!("{count} {end}"));
        told.collect::<Vec<_>>().join(", ")
    };
    let (before, after) = match change {
        Change::OtherEvents => (others(ends_before(request)), others(ends_after(answer))),
        _ => (
            before.unwrap_or("taken").to_owned(),
            after.unwrap_or("taken").to_owned(),
        ),
    };
    Compared {
        change,
        before,
        after,
        message: refused.map(crate::event::Refusal::message),
    }
}

fn change(
    request: &SampledRequest,
    bodyless: bool,
    answer: &TrialAnswer,
    came_to: Stage,
) -> Change {
    let verdict = &request.verdict;
    let before = verdict.reason.as_deref();
    let after = answer.reason.map(Reason::label);
    // Refusals that no stage has told of.
    if before.is_none() && after.is_none() && verdict.status != answer.status.as_u16() {
        return Change::Undecided("its answer has another status, and no reason");
    }
    let busy = |reason: Reason| reason.is_quota() || reason.status().is_server_error();
    if before != after && answer.reason.is_some_and(busy) {
        return Change::Undecided("it was tried out without what its verdict depends on");
    }
    if before == after && !(bodyless && after.is_some() && came_to >= Stage::Events) {
        return match before.is_some() || ends_before(request) == ends_after(answer) {
            true => Change::Same,
            // Other events may be kept since other texts stand in them.
            false if request.hidden => Change::Undecided(HIDDEN),
            false => Change::OtherEvents,
        };
    }
    let was_at = Stage::of_label(&verdict.stage);
    let by_state = before.and_then(reason).is_some_and(depends_on_more);
    // What was refused for what is not in the request stays refused, unless something before that
    // refuses it now.
    if by_state {
        return match after.is_some() && was_at.is_some_and(|was_at| came_to < was_at) {
            true => Change::OtherReason,
            false => Change::Same,
        };
    }
    if bodyless && came_to >= Stage::Events {
        return match before {
            None => Change::Same,
            Some(_) if was_at.is_some_and(|was_at| was_at >= Stage::Body) => Change::Same,
            Some(_) => Change::Undecided("it would come to its body, which is not in the sample"),
        };
    }
    let at_credential = |stage| matches!(stage, Stage::Credential | Stage::Policy);
    let unchecked = request
        .credential
        .as_ref()
        .is_some_and(|it| it.proof == SampledProof::Unchecked);
    if unchecked && was_at.is_some_and(at_credential) {
        return Change::Undecided("its credential was not checked when it was recorded");
    }
    if request.hidden && came_to >= Stage::Events {
        return Change::Undecided(HIDDEN);
    }
    let unproven = request.credential.is_none() && came_to == Stage::Credential;
    if unproven && after.and_then(reason).is_some_and(asks_for_proof) {
        return Change::Undecided("its credential was not looked at when it was recorded");
    }
    match (before, after) {
        (None, _) => Change::Refused,
        (_, None) => Change::Taken,
        _ => Change::OtherReason,
    }
}

fn reason(label: &str) -> Option<Reason> {
    Reason::ALL.iter().find(|it| it.label() == label).copied()
}

/// Whether a reason depends on more than the request and the configuration.
fn depends_on_more(reason: Reason) -> bool {
    reason.is_quota()
        || reason.status().is_server_error()
        || matches!(
            reason,
            Reason::UpstreamQuota
                | Reason::Banned
                | Reason::BodyTimeout
                | Reason::BodyIncomplete
                | Reason::BodyTooLarge
                | Reason::Uncompress
                | Reason::UnknownCompression
                | Reason::RawSizeInvalid
                | Reason::BadFraming
                | Reason::CookieLimits
                | Reason::CredentialRevoked
                | Reason::SignatureReplayed
                | Reason::SignatureTime
                | Reason::BodyDigest
                | Reason::RelayKeyRefused
                | Reason::RelayRefused
                | Reason::TicketUnknown
                | Reason::TicketExpired
                | Reason::TicketNotYetValid
                | Reason::TicketUsedUp
                | Reason::TicketAddress
                | Reason::TicketOrigin
                | Reason::TicketAccount
                | Reason::TicketScope
                | Reason::AccessKeyDisabled
        )
}

/// Whether a reason is what a credential gets whose proof is not in the sample.
fn asks_for_proof(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::TokenSignature
            | Reason::TokenMalformed
            | Reason::SignatureMismatch
            | Reason::SignatureTime
            | Reason::SecurityTokenInvalid
            | Reason::TicketUnknown
    )
}

/// How events ended that were not simply kept. What was sent before, and what a sample leaves out,
/// depends on more than the request.
fn ends<'a>(others: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for (end, check) in others.filter(|(end, _)| *end != "duplicate" && *end != "sampled") {
        *ends.entry(format!("{end} ({check})")).or_default() += 1;
    }
    ends
}

fn ends_before(request: &SampledRequest) -> BTreeMap<String, usize> {
    let others = request.verdict.others.iter();
    ends(others.map(|it| (it.end.as_str(), it.check.as_str())))
}

fn ends_after(answer: &TrialAnswer) -> BTreeMap<String, usize> {
    let others = answer.traced.others.iter();
    ends(others.map(|it| (it.end, it.check.as_str())))
}
