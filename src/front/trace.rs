//! What each stage of the story of a request decided: of one that is only tried out, and of a few of
//! those that clients send (`sample`). All others pay one look at an `Option` for each stage.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::arrival::Arrival;
use super::identify::Caller;
use super::ingest::Taken;
use super::quality::EventResult;
use crate::config::IdentityMode;
use crate::event::{EventGroup, Reason, Refusal};
use crate::gate::identity::{Denied, PresumedSession, Principal};
use crate::gate::quota::{Charges, Watched};
use crate::telemetry::{CredentialKind, RequestStage, TokenSource};

/// A stage of the story of a request, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Framing, method and path.
    Route,
    /// The project and the logstore, by Host, headers and path.
    Logstore,
    /// Limits on addresses, at the door and for the logstore.
    Address,
    /// The page that sends, by its Origin.
    Origin,
    /// The mini program that sends, by its Referer.
    Platform,
    /// Whether there is room and time.
    Room,
    /// The credential and the policies, as far as the head tells.
    Credential,
    /// Limits on callers.
    Caller,
    /// The body: how long it is, and what it was before compression.
    Body,
    /// The events in it.
    Events,
    /// Credentials in the body, and policies that ask for the events.
    Policy,
    /// Schema, guards and steps.
    Quality,
    /// Limits on events and bytes.
    Quota,
    /// Where the events go.
    Delivery,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 14] = [
        Self::Route,
        Self::Logstore,
        Self::Address,
        Self::Origin,
        Self::Platform,
        Self::Room,
        Self::Credential,
        Self::Caller,
        Self::Body,
        Self::Events,
        Self::Policy,
        Self::Quality,
        Self::Quota,
        Self::Delivery,
    ];

    /// The stage with this name.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.label() == label)
    }

    /// The stage that is timed from here on; `None`: it is part of the one before.
    fn timed(self) -> Option<RequestStage> {
        match self {
            Self::Credential => Some(RequestStage::Credential),
            Self::Body => Some(RequestStage::Body),
            Self::Events => Some(RequestStage::Events),
            Self::Quality => Some(RequestStage::Quality),
            Self::Quota => Some(RequestStage::Commit),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Logstore => "logstore",
            Self::Address => "address",
            Self::Origin => "origin",
            Self::Platform => "platform",
            Self::Room => "room",
            Self::Credential => "credential",
            Self::Caller => "caller",
            Self::Body => "body",
            Self::Events => "events",
            Self::Policy => "policy",
            Self::Quality => "quality",
            Self::Quota => "quota",
            Self::Delivery => "delivery",
        }
    }
}

/// What one stage decided.
#[derive(Clone, Debug)]
pub struct Step {
    /// The stage.
    pub stage: Stage,
    /// What was found, in sentences without their full stops.
    pub notes: Vec<String>,
    /// Why the request ended here.
    pub refused: Option<Refusal>,
}

/// What became of one event that was not simply kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedEvent {
    /// Its place in the request, from 0.
    pub event: u32,
    /// How it ended: `repaired`, `dropped`, `quarantined`, `duplicate` or `sampled`.
    pub end: &'static str,
    /// What found it wanting, such as `page-view@2`.
    pub check: String,
    /// Pointers, each with what is wrong there.
    pub violations: Vec<(String, String)>,
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracedCaller {
    /// The kind of credential.
    pub kind: CredentialKind,
    /// Where it stood, when it counted.
    pub source: Option<TokenSource>,
    /// Its name, for the books.
    pub name: Option<String>,
    /// The key of the configuration that proved a token.
    pub key: Option<String>,
    /// What temporary credentials are.
    pub session: Option<PresumedSession>,
    /// Why it was turned away, even where that is only observed.
    pub denied: Option<Reason>,
}

/// What is written down of one request.
#[derive(Debug, Default)]
pub struct Traced {
    /// The stages, as far as the request came.
    pub steps: Vec<Step>,
    /// The project and the logstore.
    pub logstore: Option<(String, String)>,
    /// Who sent it: the last that was said.
    pub caller: Option<TracedCaller>,
    /// How many events were read.
    pub events: u32,
    /// Events that were not simply kept.
    pub others: Vec<TracedEvent>,
    /// The limit that refused the request, or took events out.
    pub limit: Option<String>,
}

impl Traced {
    /// Why the request was refused.
    #[must_use]
    pub fn refused_for(&self) -> Option<Reason> {
        let refused = self.steps.last()?.refused.as_ref();
        refused.map(Refusal::reason)
    }
}

/// A body as it came, for the sample. It may hold secrets.
#[derive(Default)]
pub(super) struct SeenBody {
    /// The bytes before compression; none when there was none, or more than are kept.
    pub(super) plain: Option<Vec<u8>>,
    /// It is longer than what is kept.
    pub(super) too_long: bool,
    /// The token that was found in it.
    pub(super) token: Vec<u8>,
    /// Whether its events could be read.
    pub(super) readable: bool,
}

/// Writes down what becomes of one request.
#[derive(Default)]
pub struct Trace {
    traced: Mutex<Traced>,
    /// Bytes of a body that are kept.
    max_body: usize,
    /// When the request came, unix milliseconds.
    begun: u64,
    body: Mutex<SeenBody>,
}

/// Bodies are not printed.
impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Trace");
        shown.field("traced", &self.traced).finish_non_exhaustive()
    }
}

impl Trace {
    /// One for the sample, that keeps bodies of so many bytes.
    pub(super) fn for_sample(max_body: usize, begun: u64) -> Self {
        Self {
            max_body,
            begun,
            ..Self::default()
        }
    }

    /// What was written down.
    #[must_use]
    pub fn finish(self) -> Traced {
        self.finish_with_body().0
    }

    /// What was written down, the body, and when the request came.
    pub(super) fn finish_with_body(self) -> (Traced, SeenBody, u64) {
        let (traced, body) = (self.traced.into_inner(), self.body.into_inner());
        (
            traced.unwrap_or_else(PoisonError::into_inner),
            body.unwrap_or_else(PoisonError::into_inner),
            self.begun,
        )
    }

    fn see_body(&self, see: impl FnOnce(&mut SeenBody)) {
        see(&mut self.body.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A stage begins.
    pub(super) fn enter(&self, stage: Stage) {
        self.change(|traced| {
            if traced.steps.last().is_none_or(|last| last.stage != stage) {
                traced.steps.push(Step {
                    stage,
                    notes: Vec::new(),
                    refused: None,
                });
            }
        });
    }

    /// Says something of the stage at hand.
    pub(super) fn note(&self, note: impl Into<String>) {
        self.change(|traced| {
            if let Some(step) = traced.steps.last_mut() {
                step.notes.push(note.into());
            }
        });
    }

    /// The limits that were asked since the last time.
    pub(super) fn limits(&self, watched: Vec<Watched>) {
        for Watched {
            limit,
            key,
            units,
            outcome,
        } in watched
        {
            self.note(format!("limit `{limit}`, key {key}, {units}: {outcome}"));
        }
    }

    /// The request ended at the stage at hand.
    pub(super) fn refused(&self, refusal: &Refusal) {
        self.change(|traced| {
            if let Some(step) = traced.steps.last_mut() {
                step.refused = Some(refusal.clone());
            }
        });
    }

    /// Events that were not simply kept.
    pub(super) fn others(&self, others: &[EventResult]) {
        let traced_of = |result: &EventResult| TracedEvent {
            event: result.event,
            end: result.end.label(),
            check: result.check.clone(),
            violations: result
                .violations
                .iter()
                .map(|it| (it.pointer.clone(), it.message.clone()))
                .collect(),
        };
        self.change(|traced| traced.others = others.iter().map(traced_of).collect());
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Traced)) {
        change(&mut self.traced.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What is known of a proof: the key of a token, the id of a ticket.
fn key_of(principal: &Principal) -> Option<String> {
    let of_token = principal.bearer().map(|it| it.key_name().to_owned());
    of_token.or_else(|| principal.ticket().map(|pass| pass.id().to_string()))
}

/// What is written down of a request whose logstore is known.
impl Arrival<'_> {
    /// A stage begins.
    pub(super) fn enter(&self, stage: Stage) {
        if let Some(trace) = self.trace {
            trace.enter(stage);
        }
        if let (Some(timer), Some(stage)) = (self.timer, stage.timed()) {
            timer.enter(stage);
        }
    }

    /// Says something of the stage at hand.
    pub(super) fn note(&self, say: impl FnOnce() -> String) {
        if let Some(trace) = self.trace {
            trace.note(say());
        }
    }

    /// The limits that were asked.
    pub(super) fn note_limits(&self, charges: &mut Charges) {
        if let Some(trace) = self.trace {
            trace.limits(charges.watched());
        }
    }

    /// Where the request wants to go.
    pub(super) fn note_located(&self) {
        let Some(trace) = self.trace else { return };
        let logstore = self.logstore.rules.name.as_str();
        trace.note(format!("project `{}`, logstore `{logstore}`", self.project));
        let names = (self.project.to_owned(), logstore.to_owned());
        trace.change(|traced| traced.logstore = Some(names));
    }

    /// What the head says of the caller.
    pub(super) fn note_presented(&self, caller: &Caller<'_>) {
        let Some(trace) = self.trace else { return };
        match caller {
            Caller::Known(principal, _) => self.note_caller(principal),
            Caller::Relay(principal, _) => {
                self.note_caller(principal);
                trace.note("its key is not ours: the store checks the signature");
            }
            Caller::InBody(Ok(_)) => {
                trace.note(
                    "the head proves nobody; a token in the body counts, else it is anonymous",
                );
            }
            Caller::InBody(Err(denied)) => trace.note(format!(
                "the head proves nobody ({}); a token in the body counts",
                denied.refusal.reason().label()
            )),
        }
    }

    /// Who the caller is.
    pub(super) fn note_caller(&self, principal: &Principal) {
        let Some(trace) = self.trace else { return };
        let caller = TracedCaller {
            kind: principal.kind(),
            source: Some(principal.source()),
            name: principal.key().map(String::from),
            key: key_of(principal),
            session: principal.session(),
            denied: None,
        };
        let (kind, source) = (caller.kind.label(), principal.source().label());
        let mut note = match &caller.name {
            Some(name) => format!("{kind} `{name}`, by {source}"),
            None => kind.to_owned(),
        };
        if let Some(key) = &caller.key {
            note.push_str(&format!(", key `{key}`"));
        }
        if principal.awaits_events() {
            note.push_str("; its policies ask for the events");
        }
        trace.change(|traced| {
            // Who was turned away where that is only observed, is nobody after that.
            let observed = traced.caller.as_ref().is_some_and(|it| it.denied.is_some());
            if !observed && traced.caller.as_ref() != Some(&caller) {
                traced.caller = Some(caller);
                if let Some(step) = traced.steps.last_mut() {
                    step.notes.push(note);
                }
            }
        });
    }

    /// A credential is turned away.
    pub(super) fn note_denied(&self, denied: &Denied) {
        let Some(trace) = self.trace else { return };
        let reason = denied.refusal.reason();
        trace.change(|traced| {
            // What was proven before it was turned away stays known.
            let before = traced.caller.take().filter(|it| it.kind == denied.kind);
            let (key, session) = match denied.proven.as_deref() {
                Some(proven) => (key_of(proven), proven.session()),
                None => before.map_or((None, None), |it| (it.key, it.session)),
            };
            traced.caller = Some(TracedCaller {
                kind: denied.kind,
                source: None,
                name: denied.key.as_deref().map(str::to_owned),
                key,
                session,
                denied: Some(reason),
            });
        });
        if self.logstore.rules.identity_mode == IdentityMode::Observe {
            let message = denied.refusal.message();
            trace.note(format!(
                "would be refused ({}: {message}), and is only observed",
                reason.label()
            ));
        }
    }

    /// The body is here, before compression.
    pub(super) fn note_body(&self, sent: usize, plain: &[u8]) {
        if let Some(span) = self.span {
            span.note_body(sent);
        }
        let Some(trace) = self.trace else { return };
        trace.note(format!("{sent} bytes, {} before compression", plain.len()));
        trace.see_body(|seen| {
            seen.too_long = plain.len() > trace.max_body;
            seen.plain = (!seen.too_long).then(|| plain.to_vec());
        });
        trace.enter(Stage::Events);
    }

    /// The events were read.
    pub(super) fn note_events(&self, group: &EventGroup) {
        if let Some(span) = self.span {
            span.note_events(group.events);
        }
        let Some(trace) = self.trace else { return };
        trace.see_body(|seen| {
            seen.readable = true;
            seen.token.clone_from(&group.token);
        });
        trace.change(|traced| traced.events = group.events);
        let many = if group.events == 1 { "" } else { "s" };
        trace.note(format!("{} event{many}", group.events));
        if group.times_replaced > 0 {
            trace.note(format!("times replaced: {}", group.times_replaced));
        }
        if group.reserved_fields > 0 {
            trace.note(format!(
                "reserved fields renamed: {}",
                group.reserved_fields
            ));
        }
        trace.enter(Stage::Policy);
    }

    /// The story ends.
    pub(super) fn note_end(&self, taken: Result<&Taken, &Refusal>, charges: &mut Charges) {
        let Some(trace) = self.trace else { return };
        trace.limits(charges.watched());
        let limit = charges.bit().map(|it| it.to_string());
        trace.change(|traced| traced.limit = limit);
        match taken {
            Ok(Taken::Held(kept)) => trace.others(&kept.others),
            Ok(Taken::Relayed(_)) => {}
            Err(refusal) => trace.refused(refusal),
        }
    }
}
