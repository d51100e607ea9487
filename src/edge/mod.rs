//! The public listeners: they take connections, bring them to where HTTP begins (`establish`), and
//! serve HTTP/1.1 and HTTP/2 on them by the front (`connection`).
//!
//! Promise: never more than `max_connections` at once on all listeners together; every stretch of a
//! connection's life has a deadline (`lifetime`), and an end with a reason that is counted. After
//! [`Stop::now`] no new connection is taken, requests in flight are answered, idle connections closed.
//! Another configuration is made ready whole (`standing`) before anything of it counts; what a connection
//! has begun with it keeps (`way`).

mod accept;
mod connection;
mod crowd;
pub mod descriptors;
mod echo;
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
mod room;
mod service;
mod socket;
mod standing;
mod threads;
mod transport;
mod turns;
mod way;

pub mod tls;

use std::io;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::crowd::Crowd;
use self::room::Room;
pub use self::socket::{BindError, bind, take_over};
pub use self::standing::{Bound, Edge, Prepared, certificate_files};
use self::threads::Threads;
use self::tls::TlsError;
use crate::config::Config;
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

/// What all public connections share, whatever the configuration.
struct Shared {
    front: Arc<StandingFront>,
    metrics: Arc<Metrics>,
    room: Arc<Room>,
    crowd: Arc<Crowd>,
    threads: Threads,
    tasks: TaskTracker,
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

    /// The same for one listener, which may be taken out before the others.
    fn of_one(&self) -> Self {
        Self {
            no_more: self.no_more.child_token(),
            now: self.now.clone(),
        }
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
