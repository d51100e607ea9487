//! What identity may know of a request, and the names that policies give to what it asks for.

use std::net::IpAddr;

/// What a request wants to do, as policies name it (SLS actions; RAM).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// PutLogs, as protobuf or JSON.
    PutLogs,
    /// Web tracking by POST.
    TrackPost,
    /// Web tracking by GET.
    TrackGet,
    /// Cursors and pulling (embedded store).
    GetCursorOrData,
    /// Shards (embedded store).
    ListShards,
    /// Searching (embedded store).
    GetLogs,
    /// Counting over time (embedded store).
    GetHistograms,
    /// What a logstore is (embedded store).
    GetLogstore,
    /// The logstores of a project (embedded store).
    ListLogstores,
    /// What a project is (embedded store).
    GetProject,
}

impl Action {
    /// Every action that a request can ask for.
    pub const ALL: [Self; 10] = [
        Self::PutLogs,
        Self::TrackPost,
        Self::TrackGet,
        Self::GetCursorOrData,
        Self::ListShards,
        Self::GetLogs,
        Self::GetHistograms,
        Self::GetLogstore,
        Self::ListLogstores,
        Self::GetProject,
    ];

    /// The name that refusals print.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PutLogs => "log:PostLogStoreLogs",
            Self::TrackPost => "log:PutWebTracking",
            Self::TrackGet => "log:WebTracking",
            Self::GetCursorOrData => "log:GetCursorOrData",
            Self::ListShards => "log:ListShards",
            Self::GetLogs => "log:GetLogStoreLogs",
            Self::GetHistograms => "log:GetLogStoreHistogram",
            Self::GetLogstore => "log:GetLogStore",
            Self::ListLogstores => "log:ListLogStores",
            Self::GetProject => "log:GetProject",
        }
    }

    /// Every name that a policy may use for it. Official samples list `log:PutLogs` beside
    /// `log:PostLogStoreLogs`, so the two are one.
    #[must_use]
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::PutLogs => &["log:PostLogStoreLogs", "log:PutLogs"],
            Self::TrackPost => &["log:PutWebTracking"],
            Self::TrackGet => &["log:WebTracking"],
            Self::GetCursorOrData => &["log:GetCursorOrData"],
            Self::ListShards => &["log:ListShards"],
            Self::GetLogs => &["log:GetLogStoreLogs"],
            Self::GetHistograms => &["log:GetLogStoreHistogram"],
            Self::GetLogstore => &["log:GetLogStore"],
            Self::ListLogstores => &["log:ListLogStores"],
            Self::GetProject => &["log:GetProject"],
        }
    }
}

/// What identity may know of a request before its body is read.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The project, as it is configured.
    pub project: &'a str,
    /// The logstore, as it is configured. Empty for what is about a project.
    pub logstore: &'a str,
    /// What the request wants to do.
    pub action: Action,
    /// The logstore or project, as policies name it.
    pub resource: &'a str,
    /// The client's address; an IPv4-mapped one is IPv4.
    pub client: IpAddr,
    /// Whether the request came over TLS.
    pub secure: bool,
    /// The Origin header, when it is text.
    pub origin: Option<&'a str>,
    /// The time, unix seconds.
    pub unix_seconds: u64,
}
