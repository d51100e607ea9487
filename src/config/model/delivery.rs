//! Packing, delivering, and what Tollgate says of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::units::{ByteSize, Span};

/// How events are packed into LogGroups. A batch holds events of one project, logstore, topic, source and set of tags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Batch {
    /// A batch is sealed when it holds so many bytes before compression.
    pub max_bytes: ByteSize,
    /// A batch is sealed when it holds so many events.
    #[schemars(range(min = 1, max = 40_960))]
    pub max_events: u32,
    /// A batch is sealed when its first event is so old.
    pub max_age: Span,
    /// Open batches of one logstore. Past it the oldest is sealed at once.
    #[schemars(range(min = 1))]
    pub max_open: u32,
}

/// How LogGroups are delivered, and what happens on failure and on stopping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delivery {
    /// LogGroups of one logstore on their way at once.
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: u32,
    /// Time for one attempt, answer included.
    pub timeout: Span,
    /// First pause after a failed attempt; each further one doubles, with jitter.
    pub backoff_min: Span,
    /// Longest pause between attempts.
    pub backoff_max: Span,
    /// Time that stopping may take to deliver what is held. What is left then is lost, counted, and told by the exit code.
    pub stop_deadline: Span,
}

/// Log lines of Tollgate itself, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,tollgate::pipeline=debug`.
    pub level: String,
    /// Form of a line.
    pub format: LogFormat,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::kib(512),
            max_events: 4096,
            max_age: Span::secs(2),
            max_open: 1024,
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            concurrency: 4,
            timeout: Span::secs(15),
            backoff_min: Span::millis(200),
            backoff_max: Span::secs(30),
            stop_deadline: Span::secs(25),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}
