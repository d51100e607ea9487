//! Spans of requests and of deliveries, and their way to a collector (OTLP over HTTP).
//!
//! Promise: whoever records a span never waits. Spans go through a queue with a bound; one task takes
//! them out and sends them. When the queue is full, or the collector does not take them in time, they
//! are dropped and counted by reason ([`SpanDrop`](super::SpanDrop)). Nothing of a span is a client's
//! words: names are constants, attributes are numbers, names of the configuration and labels of
//! closed lists, and the client's address where that is chosen.
//! Not here: which requests have a span, and what is told of them (`front`, `pipeline`).

mod collector;
mod encode;
mod export;
mod queue;

pub use self::collector::{Collector, HeaderSource};
pub use self::export::{ExportRules, Exporter, FLUSH};
pub use self::queue::SpanQueue;
use crate::foundation::trace_context::TraceContext;

/// What a span is in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A part of another one.
    Internal,
    /// A request that was answered.
    Server,
    /// A request that was made.
    Client,
    /// Something that was handed to a queue.
    Producer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A word of ours.
    Word(&'static str),
    /// A name of the configuration, or an id.
    Text(String),
    /// A number.
    Number(u64),
}

/// Something that took time, as it is told to a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its trace and its id.
    pub context: TraceContext,
    /// The id of the span that it is a part of, in the same trace.
    pub parent: Option<[u8; 8]>,
    /// Whether that one is of another process.
    pub remote_parent: bool,
    /// What it is.
    pub name: &'static str,
    /// What it is in its trace.
    pub kind: SpanKind,
    /// When it began, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// When it ended.
    pub ended: u64,
    /// What is told of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// Other spans that it has to do with.
    pub links: Vec<TraceContext>,
    /// How many more there were.
    pub more_links: u32,
    /// Whether it failed.
    pub failed: bool,
}
