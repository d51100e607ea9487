//! `[traces]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::secret::SecretRef;
use crate::foundation::units::Span;

/// Traces of requests and deliveries for a collector, by OTLP over HTTP; see docs/traces.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Traces {
    /// Where spans are sent, as a whole URL. Without it there are no traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"http://127.0.0.1:4318/v1/traces")]
    pub endpoint: Option<String>,
    /// Headers of each request to the collector: names, and where their values are kept, `env:NAME` or `file:PATH`. Read again when the collector answers 401 or 403.
    pub headers: BTreeMap<String, SecretRef>,
    /// For `https`: certificates of the authorities to trust (PEM), in place of the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/tollgate/collector-ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// Share of the requests that are traced, at random: 0 is none, 1 is all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub ratio: f64,
    /// What the `traceparent` of a request counts for.
    pub incoming: IncomingTrace,
    /// Whether spans of requests name the client's address, where the logstore keeps it.
    pub client_address: bool,
    /// `service.name` of the spans.
    pub service_name: String,
    /// Further attributes of the process, such as `deployment.environment.name`.
    pub resource: BTreeMap<String, String>,
    /// Spans that wait to be sent, at most. Further ones are dropped and counted.
    #[schemars(range(min = 64, max = 1_000_000))]
    pub queue: u32,
    /// Spans in one request to the collector, at most.
    #[schemars(range(min = 1, max = 10_000))]
    pub batch: u32,
    /// How long a span waits for others, at most.
    pub interval: Span,
    /// How long a request to the collector may take.
    pub timeout: Span,
    /// How long spans are tried that the collector does not take now. After that they are dropped and counted.
    pub retry_for: Span,
}

/// What the `traceparent` of a request counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncomingTrace {
    /// Nothing.
    Ignore,
    /// The span of a request that is traced has a trace of its own, with a link to the sender's.
    Link,
    /// The span of a request that is traced is in the sender's trace.
    Continue,
    /// The span is in the sender's trace, and whether the request is traced is for the sender to say, where it says anything. Only behind proxies that write the header anew: whoever sets it can have every request traced.
    Trust,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            endpoint: None,
            headers: BTreeMap::new(),
            ca_file: None,
            ratio: 0.01,
            incoming: IncomingTrace::Link,
            client_address: false,
            service_name: "tollgate".to_owned(),
            resource: BTreeMap::new(),
            queue: 4096,
            batch: 512,
            interval: Span::secs(5),
            timeout: Span::secs(10),
            retry_for: Span::secs(60),
        }
    }
}
