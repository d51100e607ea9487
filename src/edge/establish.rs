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
use super::prefixes::Slot;
use super::proxy_protocol::{HeaderError, take_header};
use super::tls;
use super::transport::Transport;
use super::way::{Post, Way};
use crate::config::ProxyRole;
use crate::telemetry::ConnectionEnd;

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) transport: Transport,
    pub(super) protocol: Protocol,
    pub(super) peer: Peer,
    /// Its place among those of its network, held until it ends. None where it brings many clients.
    pub(super) slot: Option<Slot>,
}

impl Established {
    /// A connection without TLS, whose client did not say another protocol.
    fn plain(stream: TcpStream, address: SocketAddr, slot: Option<Slot>) -> Self {
        Self {
            transport: Transport::plain(stream),
            protocol: Protocol::Http1,
            peer: Peer {
                address,
                secure: false,
            },
            slot,
        }
    }
}

/// Brings a connection to where HTTP begins.
///
/// # Errors
/// Why it is to be closed instead.
pub(super) async fn establish(
    stream: TcpStream,
    address: SocketAddr,
    slot: Option<Slot>,
    way: &Way,
    post: &Post,
) -> Result<Established, ConnectionEnd> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let role = way.proxy_protocol.role(address.ip());
    if role == ProxyRole::Refused {
        return Err(ConnectionEnd::ProxyUntrusted);
    }
    if way.tls.is_none() && role != ProxyRole::LoadBalancer {
        return Ok(Established::plain(stream, address, slot));
    }
    let steps = async {
        let steps = steps(stream, address, slot, way, &post.name);
        way.rules.turns.take(steps).await
    };
    tokio::select! {
        biased;
        established = tokio::time::timeout(way.rules.bounds.handshake_timeout, steps) => {
            established.unwrap_or(Err(ConnectionEnd::HandshakeTimeout))
        }
        () = post.stop.settled() => Err(ConnectionEnd::Stopped),
    }
}

async fn steps(
    mut stream: TcpStream,
    mut address: SocketAddr,
    mut slot: Option<Slot>,
    way: &Way,
    listener: &str,
) -> Result<Established, ConnectionEnd> {
    if way.proxy_protocol.role(address.ip()) == ProxyRole::LoadBalancer
        && let Some(source) = source(&mut stream, address, listener).await?
    {
        address = source;
        if !way.rules.proxies.trusts(source.ip()) {
            slot = Some(way.rules.prefixes.enter(source.ip())?);
        }
    }
    let Some(tls) = &way.tls else {
        return Ok(Established::plain(stream, address, slot));
    };
    let accepted = TlsAcceptor::from(tls.config()).accept(stream).await;
    let stream = accepted.map_err(|error| {
        tracing::debug!(listener, %error, "a TLS handshake failed");
        ConnectionEnd::HandshakeFailed
    })?;
    let session = stream.get_ref().1;
    let kind = tls::kind(session);
    let cells = &way.shared.metrics.edge.tls_handshakes;
    cells.at(kind as usize).inc();
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
        slot,
    })
}

/// Who is behind a load balancer, by the header that it has to send.
async fn source(
    stream: &mut TcpStream,
    address: SocketAddr,
    listener: &str,
) -> Result<Option<SocketAddr>, ConnectionEnd> {
    match take_header(stream).await {
        Ok(source) => Ok(source),
        // It looks whether we are there.
        Err(HeaderError::Ended) => Err(ConnectionEnd::Closed),
        Err(HeaderError::Socket(_)) => Err(ConnectionEnd::Broken),
        Err(HeaderError::Fault(fault)) => {
            tracing::debug!(listener, peer = %address, %fault, "no PROXY header");
            Err(ConnectionEnd::ProxyHeader)
        }
    }
}
