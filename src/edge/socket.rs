//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::TcpListener;

use crate::config::{Ingest, Listener, MAIN_LISTENER};
use crate::foundation::sockets::PassedSockets;

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

/// Takes over a listening socket that was passed by this name. It listens where it does, whatever
/// the configuration says.
///
/// # Errors
/// When it cannot be used.
pub fn take_over(
    socket: std::net::TcpListener,
    name: &str,
    wanted: SocketAddr,
) -> Result<TcpListener, BindError> {
    let taken = socket
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(socket))
        .and_then(|taken| Ok((taken.local_addr()?, taken)));
    let (address, taken) = taken.map_err(|source| BindError {
        what: format!("the socket passed as `{name}`"),
        address: wanted,
        source,
    })?;
    tracing::info!(name, %address, "took over a listening socket");
    let moved = address.port() != wanted.port() || address.ip() != wanted.ip();
    if wanted.port() != 0 && moved {
        tracing::warn!(name, %address, %wanted, "the socket that was passed listens elsewhere than the configuration says");
    }
    Ok(taken)
}

/// Binds a public listener, or takes over the socket that was passed for it.
pub(super) fn bind_public(
    ingest: &Ingest,
    listener: &Listener,
    passed: &mut PassedSockets,
) -> Result<TcpListener, BindError> {
    let name = passed_name(&listener.name);
    if let Some(socket) = passed.take(name) {
        return take_over(socket, name, listener.listen);
    }
    open(ingest, listener).map_err(|source| BindError {
        what: format!("clients (listener `{}`)", listener.name),
        address: listener.listen,
        source,
    })
}

/// The name of a public listener's socket, where sockets are passed.
pub(super) fn passed_name(listener: &str) -> &str {
    match listener {
        MAIN_LISTENER => "ingest",
        name => name,
    }
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
    pub(super) what: String,
    pub(super) address: SocketAddr,
    pub(super) source: io::Error,
}
