//! What comes before HTTP on a connection, in its own task: the PROXY header, the TLS handshake.
//!
//! Promise: all of it together takes at most `handshake_timeout`, and at most `max_handshakes`
//! connections are in it at once; a connection past that waits in the order of arrival, within its
//! own deadline (`turns`). A connection of a plain listener passes without waiting.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::lifetime::Protocol;
use super::peer::Peer;
use super::transport::Transport;
use super::{Shared, Way, tls};
use crate::telemetry::{ConnectionEnd, Metrics};

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) transport: Transport,
    pub(super) protocol: Protocol,
    pub(super) peer: Peer,
}

/// Brings a connection to where HTTP begins.
///
/// # Errors
/// Why it is to be closed instead.
pub(super) async fn establish(
    stream: TcpStream,
    address: SocketAddr,
    way: &Way,
    shared: &Shared,
) -> Result<Established, ConnectionEnd> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    if !way.shakes_hands() {
        return Ok(Established {
            transport: Transport::plain(stream),
            protocol: Protocol::Http1,
            peer: Peer {
                address,
                secure: false,
            },
        });
    }
    let steps = async {
        let steps = steps(stream, address, way, &shared.metrics);
        shared.turns.take(steps).await
    };
    tokio::select! {
        established = tokio::time::timeout(shared.bounds.handshake_timeout, steps) => {
            established.unwrap_or(Err(ConnectionEnd::HandshakeTimeout))
        }
        () = shared.stop.cancelled() => Err(ConnectionEnd::Stopped),
    }
}

async fn steps(
    stream: TcpStream,
    address: SocketAddr,
    way: &Way,
    metrics: &Metrics,
) -> Result<Established, ConnectionEnd> {
    // The PROXY header belongs here, before TLS: it tells another `address`.
    let Some(tls) = &way.tls else {
        return Ok(Established {
            transport: Transport::plain(stream),
            protocol: Protocol::Http1,
            peer: Peer {
                address,
                secure: false,
            },
        });
    };
    let accepted = TlsAcceptor::from(tls.config()).accept(stream).await;
    let stream = accepted.map_err(|error| {
        tracing::debug!(listener = way.name, %error, "a TLS handshake failed");
        ConnectionEnd::HandshakeFailed
    })?;
    let session = stream.get_ref().1;
    let kind = tls::kind(session);
    metrics.edge.tls_handshakes.at(kind as usize).inc();
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    Ok(Established {
        transport: Transport::tls(stream),
        protocol,
        peer: Peer {
            address,
            secure: true,
        },
    })
}
