//! Which requests are traced for a collector, and what is told of those.
//!
//! Promise: a sender chooses nothing of a span but its client's address, where that is told at all, and
//! two ids where its `traceparent` counts for something; whether it is traced only with
//! `traces.incoming = "trust"`. Where there is no collector a request pays one look at an `Option`.
//! Not here: `trace`, which writes down what a request was told and why.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use http::request::Parts;

use super::lines::{method_of, version_of};
use super::reply::{Reply, X_LOG_REQUESTID, X_TOLLGATE_REASON};
use super::service::{Front, Sender};
use crate::config::{IncomingTrace, Traces};
use crate::event::Reason;
use crate::foundation::clock;
use crate::foundation::trace_context::{TRACEPARENT, TraceContext};
use crate::telemetry::spans::{Span, SpanKind, SpanQueue, Value};
use crate::telemetry::{RequestStage, StageTimes};

/// Which requests are traced, and where their spans go.
#[derive(Debug)]
pub(super) struct Spans {
    queue: SpanQueue,
    share: Share,
    incoming: IncomingTrace,
    client_address: bool,
}

/// A share of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    All,
    /// Those whose random number is below.
    Below(u64),
}

/// The span of a request that is under way.
#[derive(Debug)]
pub(super) struct ServerSpan {
    context: TraceContext,
    /// The span of the sender that it is a part of.
    parent: Option<TraceContext>,
    /// The span of the sender that it has to do with.
    link: Option<TraceContext>,
    /// In nanoseconds since the Unix epoch.
    began: u64,
    stages: StageTimes,
    facts: Mutex<Facts>,
}

#[derive(Debug, Default)]
struct Facts {
    body: Option<u64>,
    events: Option<u64>,
}

impl Spans {
    pub(super) fn new(traces: &Traces, queue: SpanQueue) -> Self {
        Self {
            queue,
            share: Share::of(traces.ratio),
            incoming: traces.incoming,
            client_address: traces.client_address,
        }
    }

    /// The span of a request that begins now, if it is traced.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Option<Box<ServerSpan>> {
        let trusted = match self.incoming {
            IncomingTrace::Trust => sent_by(headers),
            _ => None,
        };
        let chosen = match trusted {
            Some(sent) => sent.is_sampled(),
            None => self.share.has(random()),
        };
        if !chosen {
            return None;
        }
        let began = clock::unix_nanos();
        let (parent, link) = match self.incoming {
            IncomingTrace::Ignore => (None, None),
            IncomingTrace::Link => (None, sent_by(headers)),
            IncomingTrace::Continue | IncomingTrace::Trust => (sent_by(headers), None),
        };
        let context = match &parent {
            Some(parent) => parent.child(),
            None => TraceContext::root(),
        };
        Some(Box::new(ServerSpan {
            context: context?,
            parent,
            link,
            began,
            stages: StageTimes::default(),
            facts: Mutex::default(),
        }))
    }
}

impl Share {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the ratio is from 0 to 1, and what is beyond is cut"
    )]
    fn of(ratio: f64) -> Self {
        match ratio {
            1.0.. => Self::All,
            ratio => Self::Below((ratio.max(0.0) * u64::MAX as f64) as u64),
        }
    }

    fn has(self, random: u64) -> bool {
        match self {
            Self::All => true,
            Self::Below(bound) => random < bound,
        }
    }
}

thread_local! {
    static STATE: Cell<u64> =
        Cell::new(getrandom::u64().unwrap_or_else(|_| clock::unix_nanos()));
}

/// A number that no sender can foresee or bring about: splitmix64, from a random place on. A share by
/// the trace id, as is usual, would let senders choose by choosing ids.
fn random() -> u64 {
    let state = STATE.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// The span that a sender names, where it names one. Two headers name none.
fn sent_by(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(only), None) => TraceContext::parse(only.as_bytes()),
        _ => None,
    }
}

impl ServerSpan {
    /// Its ids.
    pub(super) fn context(&self) -> TraceContext {
        self.context
    }

    /// When its stages began.
    pub(super) fn stages(&self) -> &StageTimes {
        &self.stages
    }

    /// The body is here, as it was sent.
    pub(super) fn note_body(&self, bytes: usize) {
        self.facts().body = Some(bytes as u64);
    }

    /// The events were read.
    pub(super) fn note_events(&self, events: u32) {
        self.facts().events = Some(events.into());
    }

    fn facts(&self) -> std::sync::MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    /// The span of a request that begins now, if it is traced.
    pub(super) fn begin_span(&self, parts: &Parts) -> Option<Box<ServerSpan>> {
        self.spans.as_ref()?.begin(&parts.headers)
    }

    /// Gives the span of a request that took so many nanoseconds to its answer to be sent.
    pub(super) fn finish_span(
        &self,
        span: ServerSpan,
        (parts, sender): (&Parts, Sender),
        reply: &Reply,
        took: u64,
    ) {
        let Some(spans) = &self.spans else { return };
        let told = self.told(parts);
        let status = reply.status();
        let reason = reply.headers().get(X_TOLLGATE_REASON);
        let reason = reason.and_then(|reason| Reason::of_label(reason.to_str().ok()?));
        let reason = reason.map(|reason| Value::Word(reason.label()));
        let failed = status.is_server_error();
        let outcome = match status.is_success() {
            true => "accepted",
            false => "refused",
        };
        let id = reply.headers().get(X_LOG_REQUESTID);
        let id = id.and_then(|id| Some(Value::Text(id.to_str().ok()?.to_owned())));
        let text = |text: &str| Value::Text(text.to_owned());
        let scheme = if sender.secure { "https" } else { "http" };
        let client = told.client(sender).filter(|_| spans.client_address);
        let Facts { body, events } = std::mem::take(&mut *span.facts());
        let all = [
            (
                "http.request.method",
                Some(Value::Word(method_of(&parts.method))),
            ),
            (
                "http.response.status_code",
                Some(Value::Number(status.as_u16().into())),
            ),
            ("http.request.body.size", body.map(Value::Number)),
            (
                "network.protocol.version",
                Some(Value::Word(version_of(parts.version))),
            ),
            ("url.scheme", Some(Value::Word(scheme))),
            ("client.address", client.map(Value::Text)),
            ("error.type", reason.clone().filter(|_| failed)),
            ("tollgate.route", Some(Value::Word(told.route()))),
            ("tollgate.project", told.project().map(text)),
            ("tollgate.logstore", told.name().map(text)),
            ("tollgate.outcome", Some(Value::Word(outcome))),
            ("tollgate.reason", reason),
            ("tollgate.events", events.map(Value::Number)),
            ("tollgate.request_id", id),
        ];
        let known = all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let whole = Span {
            context: span.context,
            parent: span.parent.map(|parent| parent.span_id()),
            remote_parent: span.parent.is_some(),
            name: told.route(),
            kind: SpanKind::Server,
            began: span.began,
            ended: span.began.saturating_add(took),
            attributes: known.collect(),
            links: span.link.into_iter().collect(),
            more_links: 0,
            failed,
        };
        let stages = span.stages.spans(took).into_iter();
        let parts = stages.filter_map(|(stage, from, to)| part_of(&whole, stage, (from, to)));
        let parts: Vec<Span> = parts.collect();
        spans
            .queue
            .offer(std::iter::once(whole).chain(parts).collect());
    }
}

/// A stage of a request, from so many nanoseconds after its begin to so many.
fn part_of(whole: &Span, stage: RequestStage, (from, to): (u64, u64)) -> Option<Span> {
    Some(Span {
        context: whole.context.child()?,
        parent: Some(whole.context.span_id()),
        remote_parent: false,
        name: stage.label(),
        kind: SpanKind::Internal,
        began: whole.began.saturating_add(from),
        ended: whole.began.saturating_add(to),
        attributes: Vec::new(),
        links: Vec::new(),
        more_links: 0,
        failed: false,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;
    use crate::telemetry::SpanMetrics;

    fn spans(ratio: f64, incoming: IncomingTrace) -> Spans {
        let traces = Traces {
            ratio,
            incoming,
            ..Traces::default()
        };
        let queue = SpanQueue::new(64, 8, Arc::new(SpanMetrics::default()));
        Spans::new(&traces, queue)
    }

    /// Headers of a sender who says that its trace is recorded, or not.
    fn sent(sampled: bool) -> (TraceContext, HeaderMap) {
        let flags = u8::from(sampled);
        let text = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags:02x}");
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(&text).unwrap());
        (TraceContext::parse(text.as_bytes()).unwrap(), headers)
    }

    #[test]
    fn a_share_of_the_requests_is_traced_and_no_sender_has_a_say() {
        for incoming in [
            IncomingTrace::Ignore,
            IncomingTrace::Link,
            IncomingTrace::Continue,
        ] {
            for sampled in [true, false] {
                let (_, headers) = sent(sampled);
                let taken = |ratio| {
                    let spans = spans(ratio, incoming);
                    let begun = (0..20_000).filter(|_| spans.begin(&headers).is_some());
                    begun.count()
                };
                assert_eq!((taken(0.0), taken(1.0)), (0, 20_000));
                assert!((1_700..2_300).contains(&taken(0.1)), "{incoming:?}");
            }
        }
    }

    #[test]
    fn a_sender_that_is_trusted_decides_where_it_says_anything() {
        let trusting = |ratio| spans(ratio, IncomingTrace::Trust);
        let (_, yes) = sent(true);
        let (_, no) = sent(false);
        assert!(trusting(0.0).begin(&yes).is_some());
        assert!(trusting(1.0).begin(&no).is_none());
        assert!(trusting(0.0).begin(&HeaderMap::new()).is_none());
        let mut twice = yes.clone();
        twice.append(TRACEPARENT, no.get(TRACEPARENT).unwrap().clone());
        for nothing in [HeaderMap::new(), twice] {
            let begun = trusting(1.0).begin(&nothing).unwrap();
            assert_eq!((begun.parent, begun.link), (None, None));
        }
    }

    #[test]
    fn what_a_sender_names_is_left_linked_or_continued() {
        let (theirs, headers) = sent(true);
        let begin = |incoming| spans(1.0, incoming).begin(&headers).unwrap();
        let ignoring = begin(IncomingTrace::Ignore);
        assert_eq!((ignoring.parent, ignoring.link), (None, None));
        let linking = begin(IncomingTrace::Link);
        assert_eq!((linking.parent, linking.link), (None, Some(theirs)));
        assert_ne!(linking.context.trace_id(), theirs.trace_id());
        for incoming in [IncomingTrace::Continue, IncomingTrace::Trust] {
            let going_on = begin(incoming);
            assert_eq!((going_on.parent, going_on.link), (Some(theirs), None));
            assert_eq!(going_on.context.trace_id(), theirs.trace_id());
            assert_ne!(going_on.context.span_id(), theirs.span_id());
            assert!(going_on.context.is_sampled());
        }
    }
}
