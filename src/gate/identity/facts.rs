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
}

impl Action {
    /// The name that refusals print.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PutLogs => "log:PostLogStoreLogs",
            Self::TrackPost => "log:PutWebTracking",
            Self::TrackGet => "log:WebTracking",
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
        }
    }
}

/// What identity may know of a request before its body is read.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The project, as it is configured.
    pub project: &'a str,
    /// The logstore, as it is configured.
    pub logstore: &'a str,
    /// What the request wants to do.
    pub action: Action,
    /// The logstore, as policies name it.
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
