//! What a file of tests may hold. The doc comments are the reference; docs/testing.md shows the use.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::{Scalar, TokenPlace};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::units::Span;

/// A file of tests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// The configuration that is tested, seen from the folder of this file. `--config` comes before it. Neither: the built-in defaults.
    #[serde(default)]
    pub(super) config: Option<PathBuf>,
    /// The tests. Each begins with nothing used, seen or remembered.
    #[serde(default, rename = "test")]
    #[schemars(extend("x-alone" = true))]
    pub(super) tests: Vec<Test>,
}

/// A test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    /// What holds, in a sentence.
    pub(super) name: String,
    /// The requests, sent in this order.
    #[schemars(extend("x-alone" = true))]
    pub(super) request: Vec<RequestSpec>,
    /// What is expected of the last request.
    #[serde(default)]
    #[schemars(with = "Expect")]
    pub(super) expect: Option<Expect>,
}

/// A request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestSpec {
    /// The method. Left out: `POST`.
    #[serde(default)]
    pub(super) method: Option<String>,
    /// The path, with its query. Left out: the track route of `logstore`.
    #[serde(default)]
    pub(super) path: Option<String>,
    /// The Host header. Left out: one that names `project`.
    #[serde(default)]
    pub(super) host: Option<String>,
    /// The project. Left out: `default_project` of the configuration, or the first of it.
    #[serde(default)]
    #[schemars(with = "ProjectName")]
    pub(super) project: Option<ProjectName>,
    /// The logstore. Left out: the first of the project.
    #[serde(default)]
    #[schemars(with = "LogstoreName")]
    pub(super) logstore: Option<LogstoreName>,
    /// The address that the request is from, after all proxies. Left out: `203.0.113.1`.
    #[serde(default)]
    pub(super) client: Option<IpAddr>,
    /// Whether it was encrypted on its way.
    #[serde(default)]
    pub(super) tls: bool,
    /// When it comes: `2026-11-22T10:00:00Z`, or unix seconds. Left out: when the one before it came; the first comes now.
    #[serde(default)]
    pub(super) time: Option<Scalar>,
    /// How much later than the one before it, or than its own last repetition, it comes.
    #[serde(default)]
    #[schemars(with = "Span")]
    pub(super) after: Option<Span>,
    /// How often it is sent.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 10_000))]
    pub(super) repeat: u32,
    /// Headers.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// It carries a token (JWT).
    #[serde(default)]
    #[schemars(with = "TokenSpec")]
    pub(super) token: Option<TokenSpec>,
    /// It is signed with a long-lived access key.
    #[serde(default)]
    #[schemars(with = "AccessKeySpec")]
    pub(super) access_key: Option<AccessKeySpec>,
    /// It is signed with temporary credentials of a role.
    #[serde(default)]
    #[schemars(with = "SessionSpec")]
    pub(super) session: Option<SessionSpec>,
    /// It carries a ticket.
    #[serde(default)]
    #[schemars(with = "TicketSpec")]
    pub(super) ticket: Option<TicketSpec>,
    /// The events, in the form that the route takes. Left out, with no body: one event, `{ event = "test" }`.
    #[serde(default)]
    pub(super) events: Option<Vec<Map<String, Value>>>,
    /// The topic of the events.
    #[serde(default)]
    pub(super) topic: Option<String>,
    /// Tags of the events.
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    /// The body, as it is.
    #[serde(default)]
    pub(super) body: Option<String>,
    /// A file with the body, seen from the folder of this file.
    #[serde(default)]
    pub(super) body_file: Option<PathBuf>,
    /// What is expected of it, each time that it is sent.
    #[serde(default)]
    #[schemars(with = "Expect")]
    pub(super) expect: Option<Expect>,
}

fn once() -> u32 {
    1
}

/// Whether the signature of a made-up credential counts as good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Proof {
    /// As if its keys had made it.
    #[default]
    Good,
    /// As if anybody had made it up.
    Bad,
}

/// A token (JWT), as the issuer of a key would make it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenSpec {
    /// The `kid` of the `[[identity.jwt]]` that made it. Left out: the only one of the configuration.
    #[serde(default)]
    pub(super) key: Option<String>,
    /// Whose it is (`sub`).
    #[serde(default)]
    pub(super) sub: Option<String>,
    /// The project that it is for. Left out: that of the request.
    #[serde(default)]
    pub(super) project: Option<String>,
    /// The logstore that it is for. Left out: that of the request.
    #[serde(default)]
    pub(super) logstore: Option<String>,
    /// Time until it ends. Left out: an hour, or `max_lifetime` of its key when that is less.
    #[serde(default)]
    #[schemars(with = "Span")]
    pub(super) ttl: Option<Span>,
    /// When it was made. Left out: when the request comes for the first time.
    #[serde(default)]
    pub(super) issued: Option<Scalar>,
    /// Further claims. They come before those that are made of the other keys.
    #[serde(default)]
    pub(super) claims: Map<String, Value>,
    /// Where it stands.
    #[serde(default = "in_authorization")]
    pub(super) place: TokenPlace,
    /// Whether its signature is good.
    #[serde(default)]
    pub(super) proof: Proof,
}

fn in_authorization() -> TokenPlace {
    TokenPlace::Authorization
}

/// A signature with a long-lived access key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccessKeySpec {
    /// Its id.
    pub(super) id: String,
    /// Whether the signature is good.
    #[serde(default)]
    pub(super) proof: Proof,
}

/// A signature with temporary credentials.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionSpec {
    /// ARN of the role that was assumed.
    pub(super) role: String,
    /// Name of the session.
    #[serde(default = "test_session")]
    pub(super) name: String,
    /// The session policy, as JSON.
    #[serde(default)]
    pub(super) policy: Option<String>,
    /// Time until they end. Left out: an hour.
    #[serde(default)]
    #[schemars(with = "Span")]
    pub(super) ttl: Option<Span>,
    /// When they were given out. Left out: when the request comes for the first time.
    #[serde(default)]
    pub(super) issued: Option<Scalar>,
    /// Whether the signature is good.
    #[serde(default)]
    pub(super) proof: Proof,
}

fn test_session() -> String {
    "test".to_owned()
}

/// A ticket. It counts as one that is there and may be used so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TicketSpec {
    /// Its id.
    pub(super) id: String,
    /// Where it stands.
    #[serde(default = "in_authorization")]
    pub(super) place: TokenPlace,
    /// Whether its signature is good.
    #[serde(default)]
    pub(super) proof: Proof,
}

/// What becomes of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EventResult {
    /// It passes as it is.
    Accepted,
    /// It passes, changed so that it does.
    Repaired,
    /// It is left out.
    Dropped,
    /// It is set aside.
    Quarantined,
    /// It came before.
    Duplicate,
    /// It is left out by choice: a sample, or a privacy signal.
    Sampled,
}

impl EventResult {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Repaired => "repaired",
            Self::Dropped => "dropped",
            Self::Quarantined => "quarantined",
            Self::Duplicate => "duplicate",
            Self::Sampled => "sampled",
        }
    }
}

/// What is expected of a request. Only what is named is looked at, and something must be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Expect {
    /// The status of the answer.
    #[schemars(range(min = 100, max = 599))]
    pub(super) status: Option<u16>,
    /// The reason of the refusal, as in `x-tollgate-reason`.
    pub(super) reason: Option<String>,
    /// The stage that refused it.
    pub(super) stage: Option<String>,
    /// Name of the limit that refused it, or took events out.
    pub(super) limit: Option<String>,
    /// Why its credential would be refused if the logstore did not only observe.
    pub(super) observed: Option<String>,
    /// A part of the message of the refusal.
    pub(super) message: Option<String>,
    /// Headers of the answer: a text, `true` for any, `false` for none.
    pub(super) headers: BTreeMap<String, Scalar>,
    /// Events that are stored, in any order, each with at least these fields.
    pub(super) stored: Option<Vec<BTreeMap<String, Scalar>>>,
    /// How many events are stored.
    pub(super) stored_count: Option<u32>,
    /// Fields that no stored event has. Some event must be stored.
    pub(super) absent: Option<Vec<String>>,
    /// The logstore that is looked at for stored events. Left out: all of them. Alone: something is stored there.
    #[schemars(with = "LogstoreName")]
    pub(super) logstore: Option<LogstoreName>,
    /// How many events are set aside.
    pub(super) quarantined: Option<u32>,
    /// How many events are left out since they do not pass.
    pub(super) dropped: Option<u32>,
    /// What becomes of each event, in their order, before limits.
    pub(super) results: Option<Vec<EventResult>>,
}

impl Expect {
    /// Whether nothing is expected.
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            status,
            reason,
            stage,
            limit,
            observed,
            message,
            headers,
            stored,
            stored_count,
            absent,
            logstore,
            quarantined,
            dropped,
            results,
        } = self;
        let of_answer = status.is_none() && message.is_none() && headers.is_empty();
        let of_refusal =
            reason.is_none() && stage.is_none() && limit.is_none() && observed.is_none();
        let empty_list = stored.as_ref().is_none_or(Vec::is_empty);
        let no_names = absent.as_ref().is_none_or(Vec::is_empty);
        let of_stored = empty_list && no_names && stored_count.is_none() && logstore.is_none();
        let of_events = quarantined.is_none() && dropped.is_none() && results.is_none();
        of_answer && of_refusal && of_stored && of_events
    }
}
