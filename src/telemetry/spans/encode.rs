//! Spans as OTLP writes them (`proto/otlp_trace.proto`).

use bytes::Bytes;
use prost::Message as _;

use super::{Span, SpanKind, Value};
use crate::foundation::trace_context::TraceContext;

/// The messages of `proto/otlp_trace.proto`.
pub(super) mod otlp {
    include!(concat!(env!("OUT_DIR"), "/otlp.rs"));
}

use otlp::any_value::Value as Any;
use otlp::{AnyValue, KeyValue};

/// What flags of a span say of its parent: that it is known whether it is remote, and that it is.
const KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;
/// The code of a status that says that a span failed.
const ERROR: i32 = 2;

/// What is told of the process.
pub(super) fn resource(attributes: &[(String, String)]) -> otlp::Resource {
    let attribute = |(key, value): &(String, String)| KeyValue {
        key: key.clone(),
        value: any(Any::StringValue(value.clone())),
    };
    otlp::Resource {
        attributes: attributes.iter().map(attribute).collect(),
    }
}

/// A request to take these spans.
pub(super) fn request(resource: &otlp::Resource, spans: Vec<Span>) -> Bytes {
    let scope = otlp::InstrumentationScope {
        name: "tollgate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let of_scope = otlp::ScopeSpans {
        scope: Some(scope),
        spans: spans.into_iter().map(written).collect(),
    };
    let request = otlp::ExportTraceServiceRequest {
        resource_spans: vec![otlp::ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: vec![of_scope],
        }],
    };
    request.encode_to_vec().into()
}

/// How many spans the collector says that it has not taken, and why.
pub(super) fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let answer = otlp::ExportTraceServiceResponse::decode(answer).ok()?;
    let partial = answer.partial_success?;
    let count = u64::try_from(partial.rejected_spans).ok()?;
    (count > 0).then_some((count, partial.error_message))
}

fn written(span: Span) -> otlp::Span {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
    };
    let remote = match span.remote_parent {
        true => KNOWN | REMOTE,
        false => KNOWN,
    };
    otlp::Span {
        trace_id: bytes(&span.context.trace_id()),
        span_id: bytes(&span.context.span_id()),
        parent_span_id: span.parent.map(|it| bytes(&it)).unwrap_or_default(),
        name: span.name.to_owned(),
        kind,
        start_time_unix_nano: span.began,
        end_time_unix_nano: span.ended.max(span.began),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        links: span.links.iter().map(link).collect(),
        dropped_links_count: span.more_links,
        status: span.failed.then_some(otlp::Status { code: ERROR }),
        flags: remote | u32::from(span.context.is_sampled()),
    }
}

fn link(to: &TraceContext) -> otlp::span::Link {
    otlp::span::Link {
        trace_id: bytes(&to.trace_id()),
        span_id: bytes(&to.span_id()),
        flags: u32::from(to.is_sampled()),
    }
}

fn attribute((key, value): (&'static str, Value)) -> KeyValue {
    let value = match value {
        Value::Word(word) => Any::StringValue(word.to_owned()),
        Value::Text(text) => Any::StringValue(text),
        Value::Number(number) => Any::IntValue(i64::try_from(number).unwrap_or(i64::MAX)),
    };
    KeyValue {
        key: key.to_owned(),
        value: any(value),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the field is optional")]
fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

fn bytes(id: &[u8]) -> Bytes {
    Bytes::copy_from_slice(id)
}
