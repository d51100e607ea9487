//! The public listeners: they take connections, bring them to where HTTP begins (`establish`), and
//! serve HTTP/1.1 and HTTP/2 on them by the front (`connection`).
//!
//! Promise: never more than `max_connections` at once on all listeners together; every stretch of a
//! connection's life has a deadline (`lifetime`), and an end with a reason that is counted. After
//! `stop` no new connection is taken, requests in flight are answered, idle connections closed.

mod accept;
mod connection;
pub mod descriptors;
mod establish;
mod lifetime;
mod peer;
mod prefixes;
mod service;
mod socket;
mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::establish::ServerConfigs;
use self::lifetime::LifeBounds;
use self::prefixes::Prefixes;
pub use self::socket::{BindError, bind};
use crate::config::{Config, Http2, Ingest, Listener};
use crate::front::Front;
use crate::telemetry::Metrics;

/// The public listeners, bound and not yet served: connections wait in the kernel's queues.
pub struct Edge {
    listeners: Vec<(TcpListener, Way)>,
    bounds: Bounds,
    max_connections: usize,
    prefixes: Arc<Prefixes>,
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
    /// TLS, where the listener has it.
    tls: Option<ServerConfigs>,
}

impl Way {
    fn new(listener: &Listener) -> Self {
        Self {
            name: listener.name.clone(),
            http2: listener.http2.clone(),
            tls: None,
        }
    }

    /// Whether anything comes before HTTP.
    fn shakes_hands(&self) -> bool {
        self.tls.is_some()
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
            life: LifeBounds {
                first_byte_timeout: ingest.first_byte_timeout.get(),
                header_timeout: ingest.header_timeout.get(),
                idle_timeout: ingest.idle_timeout.get(),
                max_age: ingest.max_connection_age.get(),
                max_requests: ingest.max_requests,
            },
        }
    }
}

/// What all public connections share.
struct Shared {
    front: Arc<Front>,
    metrics: Arc<Metrics>,
    bounds: Bounds,
    connections: Arc<Semaphore>,
    prefixes: Arc<Prefixes>,
    handshakes: Semaphore,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Edge {
    /// Binds every public listener of the configuration. `descriptors` is the limit of file
    /// descriptors, if there is one.
    ///
    /// # Errors
    /// When an address is taken or not ours; the error names it. Nothing listens then.
    pub fn bind(config: &Config, descriptors: Option<u64>) -> Result<Self, BindError> {
        let ingest = &config.ingest;
        let mut listeners = Vec::new();
        for listener in ingest.all_listeners() {
            let socket = socket::bind_public(ingest, &listener)?;
            listeners.push((socket, Way::new(&listener)));
        }
        Ok(Self {
            listeners,
            bounds: Bounds::new(ingest),
            max_connections: max_connections(config, descriptors),
            prefixes: Prefixes::new(ingest),
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

    /// Serves until `stop` is cancelled, then returns when the last connection is done. Bound that
    /// wait with a timeout: a slow client can hold it.
    pub async fn serve(self, front: Arc<Front>, metrics: Arc<Metrics>, stop: CancellationToken) {
        metrics.edge.limit.set(self.max_connections as u64);
        let shared = Arc::new(Shared {
            front,
            metrics,
            bounds: self.bounds,
            connections: Arc::new(Semaphore::new(self.max_connections)),
            prefixes: self.prefixes,
            handshakes: Semaphore::new(self.bounds.max_handshakes),
            tasks: TaskTracker::new(),
            stop,
        });
        for (socket, way) in self.listeners {
            let accepting = accept::accept(socket, Arc::new(way), Arc::clone(&shared));
            shared.tasks.spawn(accepting);
        }
        shared.stop.cancelled().await;
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
