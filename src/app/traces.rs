//! The way of spans to their collector, as the configuration says.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::StartError;
use crate::config::{Config, Traces, TracesUrl};
use crate::logstore::client::tls_config;
use crate::telemetry::Metrics;
use crate::telemetry::spans::{Collector, ExportRules, Exporter, HeaderSource, SpanQueue};

/// The queue of spans, and who sends what is in it; nothing when there is no collector.
pub(super) fn exporter(
    config: &Config,
    metrics: &Metrics,
) -> Result<Option<(SpanQueue, Exporter)>, StartError> {
    let traces = &config.traces;
    let Some(endpoint) = &traces.endpoint else {
        return Ok(None);
    };
    let collector = collector(traces, endpoint, traces.timeout.get()).map_err(failed)?;
    let again = traces.clone();
    let source: HeaderSource = Box::new(move || headers(&again));
    let (most, batch) = (traces.queue as usize, traces.batch as usize);
    let queue = SpanQueue::new(most, batch, Arc::clone(&metrics.spans));
    let rules = ExportRules {
        resource: resource(traces),
        interval: traces.interval.get(),
        retry_for: traces.retry_for.get(),
    };
    let exporter = Exporter::new(queue.clone(), collector, source, rules);
    Ok(Some((queue, exporter)))
}

/// Whether the collector takes what it is sent, within `time`: a request without any span. Nothing when
/// there is no collector.
pub async fn probe_collector(config: &Config, time: Duration) -> Option<Result<(), String>> {
    let endpoint = config.traces.endpoint.as_ref()?;
    Some(match collector(&config.traces, endpoint, time) {
        Ok(collector) => collector.probe().await,
        Err(reason) => Err(reason),
    })
}

fn collector(traces: &Traces, endpoint: &str, timeout: Duration) -> Result<Collector, String> {
    let url = TracesUrl::parse(endpoint).map_err(|fault| format!("the URL {fault}"))?;
    let tls = tls_config(traces.ca_file.as_deref()).map_err(|error| error.to_string())?;
    Ok(Collector::new(
        url.uri().clone(),
        tls,
        headers(traces)?,
        timeout,
    ))
}

fn failed(reason: String) -> StartError {
    StartError::Traces(reason)
}

/// Reads the headers of requests to the collector.
fn headers(traces: &Traces) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, reference) in &traces.headers {
        let wrong = |what: String| format!("header `{name}`: {what}");
        let secret = reference.read().map_err(|error| wrong(error.to_string()))?;
        let value = HeaderValue::from_bytes(secret.expose());
        let mut value =
            value.map_err(|_| wrong("the secret is no value of a header".to_owned()))?;
        value.set_sensitive(true);
        let known = HeaderName::from_bytes(name.as_bytes());
        headers.insert(known.map_err(|error| wrong(error.to_string()))?, value);
    }
    Ok(headers)
}

/// What is told of this process.
fn resource(traces: &Traces) -> Vec<(String, String)> {
    let own = [
        ("service.name", traces.service_name.clone()),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", instance()),
    ];
    let own = own
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let more = traces.resource.iter();
    own.chain(more.map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

/// A random UUID (version 4) for this start of the process.
fn instance() -> String {
    let random = || Ok::<_, getrandom::Error>((getrandom::u64()?, getrandom::u64()?));
    let (high, low) = random().unwrap_or_default();
    let (high, low) = (high & !0xF000 | 0x4000, low & !(0b11 << 62) | 0b10 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xFFFF,
        high & 0xFFFF,
        low >> 48,
        low & 0xFFFF_FFFF_FFFF
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_a_uuid_and_no_two_are_the_same() {
        let id = instance();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
        assert_ne!(id, instance());
    }
}
