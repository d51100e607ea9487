//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

use crate::config::{Ingest, Listener};

/// Binds a private address.
///
/// # Errors
/// When the address is taken or not ours; the error names it.
pub async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            what: what.to_owned(),
            address,
            source,
        })
}

/// Binds a public listener.
pub(super) fn bind_public(ingest: &Ingest, listener: &Listener) -> Result<TcpListener, BindError> {
    open(ingest, listener).map_err(|source| BindError {
        what: format!("clients (listener `{}`)", listener.name),
        address: listener.listen,
        source,
    })
}

fn open(ingest: &Ingest, listener: &Listener) -> io::Result<TcpListener> {
    let address = listener.listen;
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    // A restart need not wait for the old connections to be forgotten.
    socket.set_reuse_address(true)?;
    if ingest.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // Said in either case: what the system does by default differs.
        socket.set_only_v6(listener.ipv6_only)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(i32::try_from(ingest.backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {what}: {source}; choose another address, or stop what holds it"
)]
pub struct BindError {
    what: String,
    address: SocketAddr,
    source: io::Error,
}
