//! The span of a delivery: of a batch that holds events of requests that are traced for a collector.
//!
//! It is in the trace of the first of these requests, as a part of its span, and has links to the
//! others. A batch that went to disk has forgotten whose events it holds, and has none.

use std::time::Instant;

use crate::foundation::clock;
use crate::foundation::trace_context::TraceContext;
use crate::pipeline::Lane;
use crate::pipeline::spool::BundleId;
use crate::telemetry::spans::{Span, SpanKind, Value};

/// Requests that a batch remembers, at most; 25 bytes each.
const MOST: usize = 32;

/// The traced requests whose events are in a batch.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Links {
    spans: Vec<TraceContext>,
    /// How many more there are.
    more: u32,
    last: Option<TraceContext>,
}

impl Links {
    /// Events of one more request.
    pub(in crate::pipeline) fn add(&mut self, span: TraceContext) {
        // A request may bring events in several parts.
        if self.last.replace(span) == Some(span) {
            return;
        }
        match self.spans.len() {
            MOST => self.more = self.more.saturating_add(1),
            _ => self.spans.push(span),
        }
    }
}

/// A delivery that is under way.
#[derive(Debug)]
pub(in crate::pipeline) struct DeliverySpan {
    context: TraceContext,
    links: Links,
    /// In nanoseconds since the Unix epoch.
    began: u64,
    clock: Instant,
}

/// How a delivery ended.
#[derive(Debug)]
pub(in crate::pipeline) struct Ended<'a> {
    /// The lane.
    pub(in crate::pipeline) lane: &'a Lane,
    /// The batch.
    pub(in crate::pipeline) id: BundleId,
    /// How many events it held.
    pub(in crate::pipeline) events: u32,
    /// Its size as it was sent, in bytes.
    pub(in crate::pipeline) bytes: usize,
    /// How often it was tried.
    pub(in crate::pipeline) attempts: u32,
    /// What became of it, in a word.
    pub(in crate::pipeline) outcome: &'static str,
    /// Whether that is a failure.
    pub(in crate::pipeline) failed: bool,
}

impl DeliverySpan {
    /// One that begins now; `None` when no request of the batch is traced.
    pub(in crate::pipeline) fn begin(links: Links) -> Option<Box<Self>> {
        let context = links.spans.first()?.child()?;
        Some(Box::new(Self {
            context,
            links,
            began: clock::unix_nanos(),
            clock: Instant::now(),
        }))
    }

    /// Its ids.
    pub(in crate::pipeline) fn context(&self) -> TraceContext {
        self.context
    }

    /// Somebody else delivers the batch.
    pub(in crate::pipeline) fn give_back(self) -> Links {
        self.links
    }

    /// It ends now.
    pub(in crate::pipeline) fn end(self, ended: &Ended<'_>) -> Span {
        let took = u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut spans = self.links.spans.into_iter();
        let parent = spans.next().map(|parent| parent.span_id());
        let text = |text: &str| Value::Text(text.to_owned());
        let attributes = vec![
            ("tollgate.project", text(ended.lane.project().as_str())),
            ("tollgate.logstore", text(ended.lane.logstore().as_str())),
            ("tollgate.pack_id", Value::Text(ended.id.to_string())),
            ("tollgate.events", Value::Number(ended.events.into())),
            ("tollgate.attempts", Value::Number(ended.attempts.into())),
            ("tollgate.outcome", Value::Word(ended.outcome)),
            ("http.request.body.size", Value::Number(ended.bytes as u64)),
        ];
        Span {
            context: self.context,
            parent,
            remote_parent: false,
            name: "deliver",
            kind: SpanKind::Client,
            began: self.began,
            ended: self.began.saturating_add(took),
            attributes,
            links: spans.collect(),
            more_links: self.links.more,
            failed: ended.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_remembers_some_requests_and_counts_the_others() {
        let mut links = Links::default();
        let all: Vec<_> = (0..MOST + 5)
            .map(|_| TraceContext::root().unwrap())
            .collect();
        for span in &all {
            links.add(*span);
            links.add(*span);
        }
        assert_eq!((links.spans.len(), links.more), (MOST, 5));
        let span = DeliverySpan::begin(links).unwrap();
        assert_eq!(span.context().trace_id(), all[0].trace_id());
        assert_ne!(span.context().span_id(), all[0].span_id());
        assert_eq!(span.give_back().spans, all[..MOST]);
        assert!(DeliverySpan::begin(Links::default()).is_none());
    }
}
