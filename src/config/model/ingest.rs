//! The public listeners, and the bounds on connections to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listeners::loopback;
use super::proxies::{ProxyProtocol, TrustedProxies};
use super::tls::Tls;
use crate::foundation::names::ProjectName;
use crate::foundation::units::{ByteSize, Span};

/// The public listener, where clients send events. Its deadlines and caps hold for the listeners of `[[ingest.listener]]` together with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Address and port. `[::]:8080` takes IPv4 as well, unless `ipv6_only` is set.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Of an IPv6 address: takes no IPv4 connections (as `::ffff:a.b.c.d`).
    pub ipv6_only: bool,
    /// Sets `SO_REUSEPORT` on every public listener, so that several processes share the port. Off, a second process on the same port is an error at start.
    pub reuse_port: bool,
    /// Threads that serve connections; each connection stays with one. 0: one for each processor, or as many as `TOKIO_WORKER_THREADS` in the environment says.
    #[schemars(range(min = 0, max = 1024))]
    pub threads: u32,
    /// Connections that the kernel keeps until they are accepted, for each listener. The kernel cuts it to `net.core.somaxconn`.
    #[schemars(range(min = 1, max = 65_535))]
    pub backlog: u32,
    /// Connections held at once by all public listeners. Past it, new ones wait in the kernel's queue, and connections that stand still give way to them. Lowered, with a warning, when the limit of file descriptors has no room for so many.
    #[schemars(range(min = 1))]
    pub max_connections: u32,
    /// Connections held at once by one network. Past it, a new one is closed at once. Proxies of `trusted_proxies` and `proxy_protocol` are not counted; who is behind a PROXY header is.
    #[schemars(range(min = 1))]
    pub max_connections_per_prefix: u32,
    /// New connections a second of one network, once it has used up its burst: as many as `max_connections_per_prefix`, and at least a second's worth. Past it, a new one is closed at once. 0 asks for none. The same connections count as for `max_connections_per_prefix`.
    pub connection_rate_per_prefix: u32,
    /// The most that the answer to a refused request is held back. Of a client that is refused again and again on one connection, or comes back from a network that was, further refusals wait for 10 ms, then twice as long each time, up to this; while such answers wait on more than 1,000 connections, longer in proportion, up to eight times. Other answers never wait. Does not apply to proxies of `trusted_proxies` and `proxy_protocol`; who is behind a PROXY header is held back. `0s` answers all at once.
    pub refusal_delay: Span,
    /// Bits of an IPv4 address that make a network for the bounds above.
    #[schemars(range(min = 0, max = 32))]
    pub prefix_v4: u8,
    /// The same for IPv6. Whoever has one address has at least a /64.
    #[schemars(range(min = 0, max = 128))]
    pub prefix_v6: u8,
    /// Time for what comes before HTTP on a connection: its PROXY header, its TLS handshake, and its place among `max_handshakes`. Then it is closed.
    pub handshake_timeout: Span,
    /// TLS handshakes and PROXY headers under way at once. Past it, a connection waits for as long as `handshake_timeout` lets it; meanwhile one that has taken more than a tenth of that is closed for each that waits.
    #[schemars(range(min = 1))]
    pub max_handshakes: u32,
    /// Time from the start of HTTP on a connection until its first byte, of HTTP/2 its whole preface. Then it is closed.
    pub first_byte_timeout: Span,
    /// Time for a request head, in all, from its first byte. Then the connection is closed.
    pub header_timeout: Span,
    /// Time that a connection may stand between requests. Then it is closed, an HTTP/2 connection by GOAWAY.
    pub idle_timeout: Span,
    /// Time for a whole body to arrive. Past it: 408 `RequestTimeout`.
    pub body_timeout: Span,
    /// Bytes a second that a body must arrive at, counted from the end of `body_grace`. Slower: 408 `RequestTimeout`, and the connection is closed. 0 asks for none.
    pub min_body_rate: ByteSize,
    /// Time before `min_body_rate` is looked at.
    pub body_grace: Span,
    /// Time that writing an answer may stand still because the client does not read it. Then the connection is closed.
    pub write_timeout: Span,
    /// Age at which a connection takes its last request: the answer says `connection: close`, or GOAWAY in HTTP/2. So that clients find new nodes, and none stays for ever.
    pub max_connection_age: Span,
    /// Time between the moment at which a stop makes `/readyz` say no and the one at which the listeners close, so that load balancers send nothing more when they do. It comes before `delivery.stop_deadline`. A handover needs none.
    pub drain_delay: Span,
    /// Requests on one connection. The last answer says `connection: close`, or GOAWAY in HTTP/2.
    #[schemars(range(min = 1))]
    pub max_requests: u32,
    /// Bytes of a request head; of HTTP/2, of the decoded header list. Mini programs of Alipay send long Referers. Past it: 431.
    pub max_header: ByteSize,
    /// Headers of a request. Past it: 431. The parts that a HTTP/2 client makes of its Cookie header count as one.
    #[schemars(range(min = 1, max = 1000))]
    pub max_headers: u32,
    /// The project of requests whose Host names none: an IP address or a name without a dot.
    #[schemars(example = "my-project")]
    pub default_project: Option<ProjectName>,
    /// Parents of the names that clients reach this listener by, through a wildcard record in DNS: `edge.example.com` stands for `{project}.edge.example.com` for every project. The mini-program SDK always puts the project in front. Only for advice: a Host whose first label is a project is that project, whatever follows.
    #[schemars(example = ["edge.example.com"])]
    pub domains: Vec<String>,
    /// Custom domains: host name to project. For clients that send to a name without the project.
    #[schemars(example = serde_json::json!({"track.example.com": "my-project"}))]
    pub hosts: BTreeMap<String, ProjectName>,
    /// Proxies that are believed when they name the client's address in a header.
    pub trusted_proxies: TrustedProxies,
    /// The PROXY protocol on the first listener.
    pub proxy_protocol: ProxyProtocol,
    /// Answers nothing on the first listener but 308 to `https://` of the same host, path and query, at this port. For a plain listener beside one with TLS. Hosts that are not in `hosts`, and not `{project}.` before one of `domains`, are refused with 404.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), example = 443)]
    pub redirect_to_https: Option<u16>,
    /// HTTP/2 on the first listener.
    pub http2: Http2,
    /// TLS on the first listener. Without a certificate it speaks plain HTTP. The files are read again when they change, and on SIGHUP; what cannot be used is told of, and what was there before stays.
    pub tls: Tls,
    /// Further public listeners.
    #[serde(rename = "listener", skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
}

/// A further public listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Name of the listener, for log lines and for sockets that are passed in. The first one, of `ingest.listen`, is `main`.
    pub name: String,
    /// Address and port.
    #[schemars(extend("format" = "socket-address"))]
    pub listen: SocketAddr,
    /// Of an IPv6 address: takes no IPv4 connections.
    #[serde(default)]
    pub ipv6_only: bool,
    /// The PROXY protocol on this listener.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// HTTP/2 on this listener.
    #[serde(default)]
    pub http2: Http2,
    /// Answers nothing but 308 to `https://`, at this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1), example = 443)]
    pub redirect_to_https: Option<u16>,
    /// TLS on this listener.
    #[serde(default)]
    pub tls: Tls,
}

/// HTTP/2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http2 {
    /// Offers `h2` to clients of TLS, by ALPN.
    pub enabled: bool,
    /// Takes HTTP/2 without TLS from clients that begin with its preface. For a listener that only a proxy of yours reaches.
    pub prior_knowledge: bool,
    /// Requests at once on one connection. More are refused with `REFUSED_STREAM`.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_concurrent_streams: u32,
    /// Streams that a client has reset before they were taken up (rapid reset). More end the connection.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_pending_resets: u32,
    /// Streams that were reset because of errors of the client, in a connection's life (MadeYouReset). More end the connection.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_error_resets: u32,
    /// Bytes of a body that a client may send ahead of what was read.
    pub stream_window: ByteSize,
    /// The same for all bodies of a connection.
    pub connection_window: ByteSize,
    /// Bytes of answers that are kept for each stream of a client that does not read.
    pub max_send_buffer: ByteSize,
    /// How often a connection is asked by PING whether its client is still there.
    pub ping_interval: Span,
    /// Time for the answer. Then the connection is closed.
    pub ping_timeout: Span,
}

/// The name of the listener of `ingest.listen`.
pub const MAIN_LISTENER: &str = "main";

impl Ingest {
    /// Every public listener: that of `ingest.listen`, then those of `[[ingest.listener]]`.
    #[must_use]
    pub fn all_listeners(&self) -> Vec<Listener> {
        let main = Listener {
            name: MAIN_LISTENER.to_owned(),
            listen: self.listen,
            ipv6_only: self.ipv6_only,
            proxy_protocol: self.proxy_protocol.clone(),
            http2: self.http2.clone(),
            redirect_to_https: self.redirect_to_https,
            tls: self.tls.clone(),
        };
        std::iter::once(main)
            .chain(self.listeners.iter().cloned())
            .collect()
    }
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            listen: loopback(8080),
            ipv6_only: false,
            reuse_port: false,
            threads: 0,
            backlog: 1024,
            max_connections: 10_000,
            max_connections_per_prefix: 512,
            connection_rate_per_prefix: 1000,
            refusal_delay: Span::secs(1),
            prefix_v4: 32,
            prefix_v6: 64,
            handshake_timeout: Span::secs(10),
            max_handshakes: 512,
            first_byte_timeout: Span::secs(10),
            header_timeout: Span::secs(10),
            idle_timeout: Span::secs(60),
            body_timeout: Span::secs(30),
            min_body_rate: ByteSize::bytes(500),
            body_grace: Span::secs(5),
            write_timeout: Span::secs(10),
            max_connection_age: Span::secs(3600),
            drain_delay: Span::secs(0),
            max_requests: 10_000,
            max_header: ByteSize::kib(48),
            max_headers: 100,
            default_project: None,
            domains: Vec::new(),
            hosts: BTreeMap::new(),
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: ProxyProtocol::default(),
            redirect_to_https: None,
            http2: Http2::default(),
            tls: Tls::default(),
            listeners: Vec::new(),
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            enabled: true,
            prior_knowledge: false,
            max_concurrent_streams: 100,
            max_pending_resets: 20,
            max_error_resets: 256,
            stream_window: ByteSize::kib(64),
            connection_window: ByteSize::mib(1),
            max_send_buffer: ByteSize::kib(64),
            ping_interval: Span::secs(30),
            ping_timeout: Span::secs(10),
        }
    }
}
