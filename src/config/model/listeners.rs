//! The private listener, and what a client may send to the public ones.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::secret::SecretRef;
use crate::foundation::units::{ByteSize, Span};

/// The private listener: health, metrics, the dashboard and the admin API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port. Keep it off the public network.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Host names that the admin API, the dashboard, `/metrics`, `/autoscale` and `/drain` may be called by, beside addresses and `localhost`. Others are refused, so that no web page can reach them by a name of its own (DNS rebinding).
    #[schemars(example = vec!["tollgate-admin.monitoring.svc"])]
    pub hosts: Vec<String>,
    /// The bearer token that the admin API asks for. Left out: made on first start, in `{data_dir}/keys/admin.key`, where the commands of this machine find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "file:/etc/tollgate/admin.key")]
    pub token: Option<SecretRef>,
    /// TLS of this listener. Without a certificate it speaks plain HTTP. The pages that need no token (health, metrics) ask for a certificate too where `client_auth = "required"`.
    pub tls: super::Tls,
    /// Clients that need no token, by the certificate that they show; the first that fits counts. A certificate that none names is let in with the token only.
    #[serde(rename = "client")]
    pub clients: Vec<super::AdminClient>,
    /// The dashboard: a page at `/` of this listener; see docs/dashboard.md.
    pub dashboard: super::Dashboard,
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
    /// Memory for the state of the guards of all logstores together. A configuration whose guards need more is refused.
    pub guard_memory: ByteSize,
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

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: loopback(8081),
            hosts: Vec::new(),
            token: None,
            tls: super::Tls::default(),
            clients: Vec::new(),
            dashboard: super::Dashboard::default(),
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
            guard_memory: ByteSize::mib(64),
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
