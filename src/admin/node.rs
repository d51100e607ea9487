//! The calls about the node as a whole: how it stands, its configuration, its drain, its disk, and what
//! would become of a request.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::ApiError;
use super::api::{AdminApi, json};
use super::calls::{Query, read};

type Answer = Result<Response<Full<Bytes>>, ApiError>;

/// How a node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeState {
    /// The version of the program.
    pub version: String,
    /// The commit that it was built from.
    pub commit: String,
    /// The id of the process.
    pub pid: u32,
    /// When the node was started, in Unix seconds.
    pub started: u64,
    /// Seconds since then.
    pub uptime: u64,
    /// The number of the configuration that is in force: 1 at the start, one more after each reload.
    pub generation: u64,
    /// When that was taken over, in Unix seconds.
    pub loaded: u64,
    /// Whether traffic should be sent here, as `/readyz` says.
    pub ready: bool,
    /// Whether a drain is under way.
    pub draining: bool,
    /// Where the node listens.
    pub listeners: Vec<ListenerState>,
    /// Public connections that are open.
    pub connections: u64,
    /// Tasks that the process works on, besides those of connections.
    pub tasks: u64,
    /// The memory of all logstores together.
    pub memory: MemoryState,
    /// The logstores, in the order of the configuration.
    pub logstores: Vec<LogstoreState>,
}

/// Where a node listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerState {
    /// Its name: `ingest`, that of an `[[ingest.listener]]`, `admin` or `logstore`.
    pub name: String,
    /// Address and port.
    pub address: String,
}

/// How memory stands, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryState {
    /// In use.
    pub used: u64,
    /// The most that may be in use.
    pub limit: u64,
}

/// How a logstore stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogstoreState {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// Its memory: what it holds, and what it may hold now.
    pub memory: MemoryState,
    /// Events that are held in memory.
    pub held: u64,
    /// Events that wait on disk.
    pub on_disk: u64,
}

/// The configuration that is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigView {
    /// Its number.
    pub generation: u64,
    /// All of it, in the form of the configuration file, as JSON.
    pub config: Value,
    /// Keys that the command line has set.
    pub overridden: Vec<String>,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrainState {
    /// Whether one is under way.
    pub draining: bool,
    /// Whether `/readyz` says that the node is ready.
    pub ready: bool,
    /// Public connections that are open.
    pub connections: u64,
    /// Events in memory that are not delivered yet.
    pub held: u64,
    /// Events on disk that are not delivered yet.
    pub on_disk: u64,
    /// Whether nothing is left: no connection, and nothing to deliver.
    pub empty: bool,
}

/// A request that is to be explained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExplainOrder {
    /// The method; `POST` when left out.
    pub method: Option<String>,
    /// The path, with the query: `/logstores/{logstore}/track`.
    pub target: String,
    /// Headers, each with its name and its value. `host` names the project, as it does for clients.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The client's address; `127.0.0.1` when left out.
    pub address: Option<String>,
    /// Whether the client speaks TLS.
    pub secure: bool,
    /// When the request comes, in Unix seconds; now when left out.
    pub at: Option<u64>,
}

/// What would become of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    /// The status of the answer.
    pub status: u16,
    /// The reason of a refusal.
    pub reason: Option<String>,
    /// The limit that had no room.
    pub limit: Option<String>,
    /// What each stage has found.
    pub stages: Vec<ExplainedStage>,
    /// Events of the request.
    pub events: u32,
    /// Events that would not be stored as they are, and why.
    pub others: Vec<Value>,
    /// What would be stored.
    pub stored: Vec<Value>,
}

/// A stage of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedStage {
    /// Its name.
    pub stage: String,
    /// What was found.
    pub notes: Vec<String>,
    /// Why the request ends here.
    pub refused: Option<ExplainedRefusal>,
}

/// Why a request ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedRefusal {
    /// The reason, as in metrics and in `x-tollgate-reason`.
    pub reason: String,
    /// What the client is told.
    pub message: String,
    /// How to mend it.
    pub fix: String,
}

/// A logstore's events on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpoolLane {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// Whether it is configured. What is left of one that is not stays until it is purged.
    pub configured: bool,
    /// Its files.
    pub segments: u64,
    /// Their bytes. Those of what is delivered are deleted when a whole file is.
    pub bytes: u64,
    /// Bytes that are kept for it, which no other logstore can take (`spool.guaranteed`). Only of one that is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u64>,
    /// Events that wait on disk. Only of one that is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u64>,
    /// Events in memory, those that were taken back from disk included. Only of one that is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// Whether what an earlier life has left is still being looked through: more will wait.
    #[serde(default)]
    pub recovering: bool,
}

/// Some of the logstores that have events on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpoolPage {
    /// Sorted by project and logstore.
    pub lanes: Vec<SpoolLane>,
    /// Where to go on; left out when these are the last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// What a look through a logstore's files has found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpoolReport {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// Whether anything is damaged. What is being written at the moment may look so: look again.
    pub damaged: bool,
    /// Events that are not delivered, as far as is noted on disk.
    pub events: u64,
    /// Bundles of such events.
    pub bundles: u64,
    /// Files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records that were read.
    pub records: u64,
    /// Records that cannot be read.
    pub damaged_records: u64,
    /// Files that are encrypted with a key that is not at hand.
    pub locked: u64,
}

/// A logstore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpoolPlace {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
}

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpoolPurged {
    /// Files of events.
    pub segments: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Why a call about the node was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says it in its message")]
pub enum NodeError {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Unavailable(String),
}

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let (status, code) = match &error {
            NodeError::Invalid(_) => (StatusCode::BAD_REQUEST, "ParameterInvalid"),
            NodeError::NotFound(_) => (StatusCode::NOT_FOUND, "NotExist"),
            NodeError::Conflict(_) => (StatusCode::CONFLICT, "Conflict"),
            NodeError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "ServerBusy"),
        };
        Self::new(status, code, error.to_string())
    }
}

/// Looks after a node as a whole. All of it may block.
pub trait NodeControl: Send + Sync {
    /// How it stands.
    fn state(&self) -> NodeState;
    /// The configuration that is in force.
    fn config(&self) -> ConfigView;
    /// How far a drain is.
    fn drained(&self) -> DrainState;
    /// Begins a drain, or ends it.
    fn drain(&self, begin: bool) -> DrainState;
    /// What would become of a request.
    ///
    /// # Errors
    /// When it is no request, or too many are asked about.
    fn explain(&self, order: &ExplainOrder) -> Result<Explained, NodeError>;
    /// The logstores that have events on disk, after one named `project/logstore`.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn spool(&self, after: Option<&str>, limit: usize) -> Result<SpoolPage, NodeError>;
    /// Reads what one has on disk.
    ///
    /// # Errors
    /// When there is nothing, or it cannot be read.
    fn verify(&self, project: &str, logstore: &str) -> Result<SpoolReport, NodeError>;
    /// Deletes what one has on disk that is not configured any more.
    ///
    /// # Errors
    /// When it is in use, there is nothing, or it cannot be deleted.
    fn purge(&self, place: &SpoolPlace) -> Result<SpoolPurged, NodeError>;
}

pub(super) fn drain(api: &AdminApi, begin: bool) -> Answer {
    let state = api.node.drain(begin);
    tracing::info!(begin, "a drain by the admin API");
    json(StatusCode::OK, &state)
}

pub(super) fn explain(api: &AdminApi, body: &[u8]) -> Answer {
    let order: ExplainOrder = read(body)?;
    json(StatusCode::OK, &api.node.explain(&order)?)
}

pub(super) fn list_spool(api: &AdminApi, query: &Query) -> Answer {
    let page = api.node.spool(query.get("cursor"), query.limit()?)?;
    json(StatusCode::OK, &page)
}

pub(super) fn purge_spool(api: &AdminApi, body: &[u8]) -> Answer {
    let place: SpoolPlace = read(body)?;
    let purged = api.node.purge(&place)?;
    tracing::info!(
        project = %place.project, logstore = %place.logstore, segments = purged.segments,
        bytes = purged.bytes, "events on disk deleted"
    );
    json(StatusCode::OK, &purged)
}
