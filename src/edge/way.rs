//! What connections are held to: by the listener that they come from, and by the configuration that is in
//! force when they begin.
//!
//! Promise: a connection lives to its end by the bounds that it began with. Whose headers are believed, and
//! what answers say of https, each request asks of the configuration in force.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;

use super::lifetime::LifeBounds;
use super::prefixes::Prefixes;
use super::redirect::Redirect;
use super::tls::{ListenerTls, TlsError};
use super::turns::Turns;
use super::{EdgeError, Shared, Stop};
use crate::config::{Config, Http2, Ingest, Listener, ProxyProtocol};
use crate::foundation::client_address::ProxyRules;
use crate::telemetry::Metrics;

/// A listener, for its connections.
pub(super) struct Post {
    pub(super) name: String,
    /// By the configuration that is in force.
    pub(super) way: ArcSwap<Way>,
    pub(super) stop: Stop,
    /// Whether it is taken out while others stay.
    pub(super) retired: AtomicBool,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the connections of one listener pass on their way to HTTP, and are held to then.
pub(super) struct Way {
    pub(super) http2: Http2,
    pub(super) proxy_protocol: ProxyProtocol,
    /// TLS, where the listener has it.
    pub(super) tls: Option<Arc<ListenerTls>>,
    pub(super) https: Https,
    pub(super) rules: Arc<Rules>,
    pub(super) shared: Arc<Shared>,
}

/// What the answers of a listener say of https.
#[derive(Debug, Default)]
pub(super) struct Https {
    /// The value of `Strict-Transport-Security`.
    pub(super) hsts: Option<HeaderValue>,
    /// Answers nothing else.
    pub(super) redirect: Option<Redirect>,
}

impl Https {
    /// Whether any answer is another one for it.
    pub(super) fn says_something(&self) -> bool {
        self.hsts.is_some() || self.redirect.is_some()
    }
}

/// What all public listeners hold their connections to.
pub(super) struct Rules {
    pub(super) bounds: Bounds,
    /// Whose headers are believed.
    pub(super) proxies: ProxyRules,
    pub(super) prefixes: Arc<Prefixes>,
    pub(super) turns: Arc<Turns>,
}

impl Way {
    pub(super) fn new(
        config: &Config,
        listener: &Listener,
        tls: Option<Arc<ListenerTls>>,
        rules: &Arc<Rules>,
        shared: &Arc<Shared>,
    ) -> Self {
        let hsts = listener.tls.hsts.filter(|_| tls.is_some());
        let to_https = listener.redirect_to_https;
        Self {
            http2: listener.http2.clone(),
            proxy_protocol: listener.proxy_protocol.clone(),
            tls,
            https: Https {
                hsts: hsts.and_then(|age| format!("max-age={}", age.as_secs()).parse().ok()),
                redirect: to_https.map(|port| Redirect::new(config, port)),
            },
            rules: Arc::clone(rules),
            shared: Arc::clone(shared),
        }
    }
}

/// Reads the certificates of a listener, where it has any.
pub(super) fn load_tls(
    listener: &Listener,
    metrics: &Metrics,
) -> Result<Option<Arc<ListenerTls>>, EdgeError> {
    let protocols: &[&str] = if listener.http2.enabled {
        &["h2", "http/1.1"]
    } else {
        &["http/1.1"]
    };
    let load = |rules| ListenerTls::load(&listener.name, rules, protocols, metrics);
    let loaded: Result<_, TlsError> = Some(&listener.tls)
        .filter(|rules| rules.is_on())
        .map(load)
        .transpose();
    loaded.map_err(|source| EdgeError::Tls {
        listener: listener.name.clone(),
        source,
    })
}

/// Whether two listeners speak TLS in the same way, so that what one has read is good for the other.
pub(super) fn same_tls(one: &Listener, other: &Listener) -> bool {
    one.tls == other.tls && one.http2.enabled == other.http2.enabled
}

impl Rules {
    /// Those of a configuration. What is counted and remembered of networks goes on.
    pub(super) fn new(ingest: &Ingest, before: Option<&Self>) -> Self {
        let bounds = Bounds::new(ingest);
        let turns = before.filter(|before| {
            let before = &before.bounds;
            let (most, time) = (bounds.max_handshakes, bounds.handshake_timeout);
            (before.max_handshakes, before.handshake_timeout) == (most, time)
        });
        let turns = turns.map(|before| Arc::clone(&before.turns));
        Self {
            proxies: ingest.trusted_proxies.rules(),
            prefixes: Prefixes::after(ingest, before.map(|before| &before.prefixes)),
            turns: turns.unwrap_or_else(|| {
                let grace = bounds.handshake_timeout / 10;
                Arc::new(Turns::new(bounds.max_handshakes, grace))
            }),
            bounds,
        }
    }
}

/// Bounds of every public connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) handshake_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) max_handshakes: usize,
    pub(super) max_header: usize,
    pub(super) max_headers: usize,
    pub(super) refusal_delay: Duration,
    pub(super) life: LifeBounds,
}

impl Bounds {
    fn new(ingest: &Ingest) -> Self {
        Self {
            handshake_timeout: ingest.handshake_timeout.get(),
            write_timeout: ingest.write_timeout.get(),
            max_handshakes: ingest.max_handshakes as usize,
            max_header: ingest.max_header.as_usize(),
            max_headers: ingest.max_headers as usize,
            refusal_delay: ingest.refusal_delay.get(),
            life: LifeBounds {
                first_byte_timeout: ingest.first_byte_timeout.get(),
                header_timeout: ingest.header_timeout.get(),
                idle_timeout: ingest.idle_timeout.get(),
                max_age: ingest.max_connection_age.get(),
                max_requests: ingest.max_requests,
                body_timeout: ingest.body_timeout.get(),
                max_header: ingest.max_header.as_usize(),
            },
        }
    }
}
