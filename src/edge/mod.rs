//! The public listeners: they take connections, bring them to where HTTP begins (`establish`), and
//! serve HTTP/1.1 and HTTP/2 on them by the front (`connection`).
//!
//! Promise: never more than `max_connections` at once on all listeners together; every stretch of a
//! connection's life has a deadline (`lifetime`), and an end with a reason that is counted. After
//! [`Stop::now`] no new connection is taken, requests in flight are answered, idle connections closed.

mod accept;
mod connection;
mod crowd;
pub mod descriptors;
mod establish;
mod frames;
mod http1;
mod lifetime;
mod peer;
mod prefixes;
pub mod proxy_protocol;
mod record;
mod redirect;
mod refusals;
mod service;
mod socket;
mod threads;
mod transport;
mod turns;

pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::crowd::Crowd;
use self::lifetime::LifeBounds;
use self::prefixes::Prefixes;
use self::redirect::Redirect;
pub use self::socket::{BindError, bind, take_over};
use self::threads::Threads;
use self::tls::{ListenerTls, TlsError};
use self::turns::Turns;
use crate::config::{Config, Http2, Ingest, Listener, ProxyProtocol};
use crate::foundation::client_address::ProxyRules;
use crate::foundation::sockets::PassedSockets;
use crate::front::StandingFront;
use crate::telemetry::Metrics;

/// Why the public listeners cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// An address could not be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A listener cannot speak TLS.
    #[error("listener `{listener}`: {source}; `tollgate check` tells more")]
    Tls {
        /// Its name.
        listener: String,
        /// Why.
        source: TlsError,
    },
    /// There are no threads for connections.
    #[error("no threads for connections (`ingest.threads`): {0}")]
    Threads(#[source] io::Error),
}

/// The public listeners, bound and not yet served: connections wait in the kernel's queues.
pub struct Edge {
    listeners: Vec<(TcpListener, Way)>,
    bounds: Bounds,
    proxies: ProxyRules,
    max_connections: usize,
    prefixes: Arc<Prefixes>,
    threads: Threads,
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge")
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

/// What the connections of one listener pass on their way to HTTP.
struct Way {
    name: String,
    http2: Http2,
    proxy_protocol: ProxyProtocol,
    /// TLS, where the listener has it.
    tls: Option<Arc<ListenerTls>>,
    https: Arc<Https>,
}

/// What the answers of a listener say of https.
#[derive(Debug, Default)]
struct Https {
    /// The value of `Strict-Transport-Security`.
    hsts: Option<HeaderValue>,
    /// Answers nothing else.
    redirect: Option<Redirect>,
}

impl Way {
    fn new(config: &Config, listener: &Listener, metrics: &Metrics) -> Result<Self, EdgeError> {
        let rules = &listener.tls;
        let protocols: &[&str] = if listener.http2.enabled {
            &["h2", "http/1.1"]
        } else {
            &["http/1.1"]
        };
        let tls = rules
            .is_on()
            .then(|| ListenerTls::load(&listener.name, rules, protocols, metrics))
            .transpose()
            .map_err(|source| EdgeError::Tls {
                listener: listener.name.clone(),
                source,
            })?;
        let hsts = rules.hsts.filter(|_| tls.is_some());
        let to_https = listener.redirect_to_https;
        let https = Https {
            hsts: hsts.and_then(|age| format!("max-age={}", age.as_secs()).parse().ok()),
            redirect: to_https.map(|port| Redirect::new(config, port)),
        };
        Ok(Self {
            name: listener.name.clone(),
            http2: listener.http2.clone(),
            proxy_protocol: listener.proxy_protocol.clone(),
            tls,
            https: Arc::new(https),
        })
    }
}

/// Bounds of every public connection.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    handshake_timeout: Duration,
    write_timeout: Duration,
    max_handshakes: usize,
    max_header: usize,
    max_headers: usize,
    refusal_delay: Duration,
    life: LifeBounds,
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

/// What all public connections share.
struct Shared {
    front: Arc<StandingFront>,
    metrics: Arc<Metrics>,
    bounds: Bounds,
    /// Whose headers are believed.
    proxies: Arc<ProxyRules>,
    connections: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    prefixes: Arc<Prefixes>,
    turns: Turns,
    threads: Threads,
    tasks: TaskTracker,
    stop: Stop,
}

/// Tells the public listeners to stop, in two steps.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    no_more: CancellationToken,
    now: CancellationToken,
}

impl Stop {
    /// No new connection is taken. Those that are open get their answers, each the last one of its
    /// connection; a connection that has asked nothing yet may still ask.
    pub fn take_no_more(&self) {
        self.no_more.cancel();
    }

    /// Requests in flight are answered, all other connections closed.
    pub fn now(&self) {
        self.no_more.cancel();
        self.now.cancel();
    }

    /// Ends when connections are to be closed, and what had come by then has been seen: requests that
    /// wait in the kernel's buffers are read before their connection is told.
    async fn settled(&self) {
        self.now.cancelled().await;
        // The sockets are looked at before this task comes to its turn again.
        tokio::task::yield_now().await;
    }
}

impl Edge {
    /// Binds every public listener of the configuration. `descriptors` is the limit of file
    /// descriptors, if there is one. A socket that was passed for a listener is used instead.
    ///
    /// # Errors
    /// When an address is taken or not ours, a certificate cannot be used, or the system gives no
    /// threads; the error names it. Nothing listens then.
    pub fn bind(
        config: &Config,
        descriptors: Option<u64>,
        metrics: &Metrics,
        passed: &mut PassedSockets,
    ) -> Result<Self, EdgeError> {
        let ingest = &config.ingest;
        let mut listeners = Vec::new();
        for listener in ingest.all_listeners() {
            let way = Way::new(config, &listener, metrics)?;
            let socket = socket::bind_public(ingest, &listener, passed)?;
            listeners.push((socket, way));
        }
        Ok(Self {
            listeners,
            bounds: Bounds::new(ingest),
            proxies: ingest.trusted_proxies.rules(),
            max_connections: max_connections(config, descriptors),
            prefixes: Prefixes::new(ingest),
            threads: Threads::start(ingest.threads).map_err(EdgeError::Threads)?,
        })
    }

    /// The listeners by name, and where they listen, the first one first.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.listeners
            .iter()
            .filter_map(|(socket, way)| Some((way.name.clone(), socket.local_addr().ok()?)))
            .collect()
    }

    /// The runtimes that will serve connections, a thread each.
    #[must_use]
    pub fn runtimes(&self) -> Vec<Handle> {
        self.threads.handles()
    }

    /// The TLS of the listeners that have it, to have its files read again.
    #[must_use]
    pub fn certificates(&self) -> Vec<Arc<ListenerTls>> {
        let ways = self.listeners.iter().map(|(_, way)| way);
        ways.filter_map(|way| way.tls.clone()).collect()
    }

    /// The listening sockets, by the names that they are passed on by.
    pub fn sockets(&self) -> impl Iterator<Item = (&str, &TcpListener)> {
        let sockets = self.listeners.iter();
        sockets.map(|(socket, way)| (socket::passed_name(&way.name), socket))
    }

    /// Serves until it is told to stop, then returns when the last connection is done. Bound that
    /// wait with a timeout: a slow client can hold it.
    pub async fn serve(self, front: Arc<StandingFront>, metrics: Arc<Metrics>, stop: Stop) {
        metrics.edge.limit.set(self.max_connections as u64);
        let shared = Arc::new(Shared {
            front,
            metrics,
            bounds: self.bounds,
            proxies: Arc::new(self.proxies),
            connections: Arc::new(Semaphore::new(self.max_connections)),
            crowd: Arc::default(),
            prefixes: self.prefixes,
            turns: Turns::new(
                self.bounds.max_handshakes,
                self.bounds.handshake_timeout / 10,
            ),
            threads: self.threads,
            tasks: TaskTracker::new(),
            stop,
        });
        for (socket, way) in self.listeners {
            if let Some(tls) = &way.tls {
                let fresh = Arc::clone(tls).keep_fresh(shared.stop.now.clone());
                shared.tasks.spawn(fresh);
            }
            let accepting = accept::accept(socket, Arc::new(way), Arc::clone(&shared));
            shared.tasks.spawn(accepting);
        }
        shared.stop.no_more.cancelled().await;
        shared.tasks.close();
        shared.tasks.wait().await;
    }
}

/// `ingest.max_connections`, or fewer when the limit of descriptors has no room for so many.
fn max_connections(config: &Config, descriptors: Option<u64>) -> usize {
    let wanted = config.ingest.max_connections;
    let room = descriptors::room(config, descriptors);
    if room < u64::from(wanted) {
        tracing::warn!(
            wanted,
            room,
            limit = descriptors,
            "ingest.max_connections is lowered: the limit of file descriptors is too small (ulimit -n, LimitNOFILE)"
        );
    }
    usize::try_from(room)
        .unwrap_or(usize::MAX)
        .min(wanted as usize)
}
