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
    /// LogGroups of one logstore on their way at once, at most. How many it is adapts to the store: it begins with 2, grows while the store answers well, and falls on quota answers, timeouts, 5xx and slow answers.
    #[schemars(range(min = 1, max = 1024))]
    pub concurrency: u32,
    /// Time for one attempt, answer included.
    pub timeout: Span,
    /// Time of an attempt for a new connection: name, TCP and TLS.
    pub connect_timeout: Span,
    /// Time of an attempt in which the store reads nothing of the LogGroup.
    pub write_timeout: Span,
    /// Time of an attempt from the end of the LogGroup to the head of the answer.
    pub answer_timeout: Span,
    /// A connection to the store that is so old is not used again: its name is looked up anew.
    pub connection_age: Span,
    /// How often the access key of an upstream is read again while the store takes it, in the background, where it is `file:PATH`: shorter than a new key lies there before the old one expires. 0: only when the store refuses it.
    pub credentials_refresh: Span,
    /// First pause after a failed attempt; each further one doubles, with jitter.
    pub backoff_min: Span,
    /// Longest pause between attempts.
    pub backoff_max: Span,
    /// Attempts in a second that repeat failed ones, at one upstream, over all its logstores. Further ones wait their turn.
    #[schemars(range(min = 1, max = 10_000))]
    pub retries_per_second: u32,
    /// When an upstream counts as down, and how it is probed then.
    pub breaker: Breaker,
    /// What becomes of events that the store refuses for their content. The LogGroup is split until they stand alone; its other events are delivered.
    pub refused: RefusedEvents,
    /// Times that one refused LogGroup is split. Past it a part that is refused shares the fate of refused events as a whole.
    #[schemars(range(max = 10_000))]
    pub max_splits: u32,
    /// How long a request of `ack = "disk"` or `"logstore"` waits for it. Past it: 503 `ServerBusy`; its events may be stored all the same.
    pub ack_timeout: Span,
    /// Time that stopping may take to deliver what is held. What is left then goes to the spool; without one it is lost, counted, and told by the exit code.
    pub stop_deadline: Span,
}

/// When an upstream counts as down, and how it is probed then. Shared by all its logstores; see docs/delivery.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Attempts in a row that fail to get an answer of the store (no connection, no answer in time, a broken connection, 5xx) before it counts as down; then nothing is sent but single probes. 0: never.
    pub failures: u32,
    /// Time until the first probe; each further one doubles, with jitter.
    pub pause_min: Span,
    /// Longest time until a probe.
    pub pause_max: Span,
}

/// What becomes of events that the store refuses for their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefusedEvents {
    /// They are set aside on local disk (`data_dir`/quarantine), with the words of the store.
    Quarantine,
    /// They are dropped and counted.
    Drop,
}

/// Log lines of Tollgate itself, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,tollgate::pipeline=debug`.
    pub level: String,
    /// Form of a line.
    pub format: LogFormat,
    /// Lines a second for requests that are refused, for each reason; the next line says how many had none. 0: none. See docs/logs.md.
    #[schemars(range(max = 1000))]
    pub refusals_per_second: u32,
    /// Share of the requests that get a line in the access log, evenly: 0 is none, 1 is all.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub access: f64,
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
            connect_timeout: Span::secs(5),
            write_timeout: Span::secs(10),
            answer_timeout: Span::secs(10),
            connection_age: Span::secs(300),
            credentials_refresh: Span::secs(60),
            backoff_min: Span::millis(200),
            backoff_max: Span::secs(30),
            retries_per_second: 50,
            breaker: Breaker::default(),
            refused: RefusedEvents::Quarantine,
            max_splits: 128,
            ack_timeout: Span::secs(10),
            stop_deadline: Span::secs(25),
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            failures: 5,
            pause_min: Span::secs(1),
            pause_max: Span::secs(10),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            refusals_per_second: 1,
            access: 0.0,
        }
    }
}
