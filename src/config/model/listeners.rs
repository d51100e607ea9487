//! The listeners, and what a client may send to the public one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tls::Tls;
use crate::foundation::names::ProjectName;
use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// The public listener, where clients send events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Address and port.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Connections held at once. Past it, new ones wait in the kernel's queue.
    #[schemars(range(min = 1))]
    pub max_connections: u32,
    /// Time for a request head to arrive, also from an idle kept-alive connection.
    pub header_timeout: Span,
    /// Time for a whole body to arrive. Past it: 408 `RequestTimeout`.
    pub body_timeout: Span,
    /// Time that writing an answer may stand still because the client does not read it. Then the connection is closed.
    pub write_timeout: Span,
    /// Bytes of a request head. Mini programs of Alipay send long Referers. Past it: 431.
    pub max_header: ByteSize,
    /// The project of requests whose Host names none: an IP address or a name without a dot.
    #[schemars(example = "my-project")]
    pub default_project: Option<ProjectName>,
    /// Parents of the names that clients reach this listener by, through a wildcard record in DNS: `edge.example.com` stands for `{project}.edge.example.com` for every project. The mini-program SDK always puts the project in front. Only for advice: a Host whose first label is a project is that project, whatever follows.
    #[schemars(example = ["edge.example.com"])]
    pub domains: Vec<String>,
    /// Custom domains: host name to project. For clients that send to a name without the project.
    #[schemars(example = serde_json::json!({"track.example.com": "my-project"}))]
    pub hosts: BTreeMap<String, ProjectName>,
    /// TLS.
    pub tls: Tls,
}

/// The private listener: health, metrics and the admin API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port. Keep it off the public network.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Host names that the admin API may be called by, beside addresses and `localhost`. Others are refused, so that no web page can reach it by a name of its own (DNS rebinding).
    #[schemars(example = vec!["tollgate-admin.monitoring.svc"])]
    pub hosts: Vec<String>,
    /// The bearer token that the admin API asks for. Left out: made on first start, in `{data_dir}/keys/admin.key`, where the commands of this machine find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "file:/etc/tollgate/admin.key")]
    pub token: Option<SecretRef>,
}

/// Bounds on what a client may send and on memory. The defaults equal the store's own limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Memory for bodies, open batches and undelivered LogGroups together. Past it: 503 `ServerBusy`.
    pub memory: ByteSize,
    /// The share of `memory`, in percent, that one logstore may hold, so that a store that is down cannot starve the others.
    #[schemars(range(min = 1, max = 100))]
    pub memory_share: u8,
    /// A body before compression. Past it: 413 `PostBodyTooLarge`.
    pub body: ByteSize,
    /// A body from a client whose token is not verified yet, because the token is inside it. Past it: 413.
    pub unverified_body: ByteSize,
    /// Events in a request. Past it: 413 `PostBodyTooLarge`.
    #[schemars(range(min = 1, max = 40_960))]
    pub events: u32,
    /// The query of a GET. Past it: 413.
    pub query: ByteSize,
    /// Fields of an event. Past it: 400 `PostBodyInvalid`.
    #[schemars(range(min = 1))]
    pub fields: u32,
    /// A key. Past it, or empty: 400 `InvalidKey`.
    pub key: ByteSize,
    /// A value. Past it: 400 `PostBodyInvalid`.
    pub value: ByteSize,
    /// The topic, and the source. Past it: 400 `PostBodyInvalid`.
    pub topic: ByteSize,
    /// Tags of a request. Past it: 400 `PostBodyInvalid`.
    pub tags: u32,
    /// The value of a tag. Past it: 400 `PostBodyInvalid`.
    pub tag_value: ByteSize,
    /// Nesting of JSON, the envelope (3) included. Past it: 400 `PostBodyInvalid`.
    #[schemars(range(min = 3, max = 128))]
    pub depth: u32,
}

/// What happens with the time (`__time__`) that a client gives an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeWindow {
    /// How old an event may be.
    pub past: Span,
    /// How far in the future an event may be.
    pub future: Span,
    /// What happens outside the window.
    pub outside: OutsideWindow,
}

/// What happens to an event whose time is outside the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutsideWindow {
    /// The event gets the time of receipt; what the client said is kept in the field `__client_time__`.
    Replace,
    /// The request is refused with 400 `PostBodyInvalid`, as SLS does.
    Refuse,
}

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            max_connections: 10_000,
            header_timeout: Span::secs(10),
            body_timeout: Span::secs(30),
            write_timeout: Span::secs(10),
            max_header: ByteSize::kib(48),
            default_project: None,
            domains: Vec::new(),
            hosts: BTreeMap::new(),
            tls: Tls::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: loopback(8081),
            hosts: Vec::new(),
            token: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(256),
            memory_share: 50,
            body: ByteSize::mib(10),
            unverified_body: ByteSize::mib(3),
            events: 4096,
            query: ByteSize::kib(16),
            fields: 1024,
            key: ByteSize::bytes(128),
            value: ByteSize::mib(1),
            topic: ByteSize::bytes(128),
            tags: 64,
            tag_value: ByteSize::kib(4),
            depth: 64,
        }
    }
}

impl Default for TimeWindow {
    fn default() -> Self {
        Self {
            past: Span::secs(7 * 86_400),
            future: Span::secs(900),
            outside: OutsideWindow::Replace,
        }
    }
}
