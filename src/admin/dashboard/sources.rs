//! What the dashboard shows that others have: implemented above (`app`), where everything is known.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::turns::Turn;
use crate::gate::identity::ProvenAccount;

/// A name and a value.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// An event of a logstore. Until it is known that it is shown, its texts are those that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PreviewEvent<'a> {
    /// Its time, unix seconds.
    pub time: u32,
    /// Nanoseconds of that, where it has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nanos: Option<u32>,
    /// `__topic__`.
    pub topic: Cow<'a, str>,
    /// `__source__`.
    pub source: Cow<'a, str>,
    /// Tags.
    pub tags: Vec<Pair<'a>>,
    /// Fields, in their order.
    pub fields: Vec<Pair<'a>>,
    /// Whether some of it was left out, because it is long.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// An event as it is shown.
pub type ShownEvent = PreviewEvent<'static>;

/// What becomes of an event that was read: how it is shown, if it is.
pub type SeeEvent = Arc<dyn for<'a> Fn(PreviewEvent<'a>) -> Option<ShownEvent> + Send + Sync>;

/// Which events are asked for.
#[derive(Clone)]
pub struct PreviewOrder {
    /// The project, by the name that clients use.
    pub project: String,
    /// The logstore, by the name that clients use.
    pub logstore: String,
    /// No events before, unix seconds.
    pub from: u64,
    /// No events after, unix seconds.
    pub to: u64,
    /// At most so many: the newest.
    pub count: usize,
    /// What becomes of each.
    pub see: SeeEvent,
    /// The right to read, held for as long as anything of it is in memory.
    pub turn: Arc<Turn>,
}

impl fmt::Debug for PreviewOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreviewOrder")
            .field("project", &self.project)
            .field("logstore", &self.logstore)
            .finish_non_exhaustive()
    }
}

/// Events of a logstore.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Preview {
    /// The newest first.
    pub events: Vec<ShownEvent>,
    /// Not everything was read: there are more.
    pub partial: bool,
}

/// Why there are no events to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreviewError {
    /// There is no such logstore.
    NotFound,
    /// Its events go where they cannot be read back.
    Unreadable,
    /// The store did not give them; what it says.
    Store(String),
}

/// The events that a preview is made of, or why there are none.
pub type PreviewFuture = Pin<Box<dyn Future<Output = Result<Preview, PreviewError>> + Send>>;

/// What runs.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The version of the binary.
    pub version: &'static str,
    /// How many configurations were in force since the start, this one included.
    pub generation: u64,
    /// When this one came into force, unix seconds.
    pub configured: u64,
    /// When the process started, unix seconds.
    pub started: u64,
    /// Whether traffic may be sent here.
    pub ready: bool,
}

/// How long one stage takes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageLatency {
    /// The stage.
    pub stage: String,
    /// Half of them take no longer, microseconds.
    pub p50: u64,
    /// Nine of ten take no longer, microseconds.
    pub p90: u64,
    /// 99 of 100 take no longer, microseconds.
    pub p99: u64,
    /// How many there were.
    pub count: u64,
}

/// Where the dashboard looks.
pub trait DashboardSources: Send + Sync {
    /// What runs.
    fn about(&self) -> About;

    /// How long each stage takes, over the last seconds. Empty where nobody measures it.
    fn latency(&self) -> Vec<StageLatency>;

    /// The projects and logstores that are configured, and what takes copies of their events
    /// (`web@archive`).
    fn logstores(&self) -> Vec<(String, String)>;

    /// The sample of requests, a JSON object each.
    fn sample(&self) -> Vec<Bytes>;

    /// Shows the records of a logstore that were set aside, the newest first, each a JSON object,
    /// until `see` says no, or so many bytes were read. Blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn set_aside(
        &self,
        project: &str,
        logstore: &str,
        see: &mut dyn FnMut(&str) -> bool,
    ) -> io::Result<()>;

    /// Reads the newest events of a logstore from its store.
    fn preview(&self, order: PreviewOrder) -> PreviewFuture;

    /// Whose account a token (JWT) of a project proves, if the token is good.
    fn account(&self, project: &str, token: &[u8]) -> Option<ProvenAccount>;

    /// Whether what has proven an account still counts: nobody has revoked it, and it is trusted still.
    fn still_counts(&self, account: &ProvenAccount) -> bool;
}
