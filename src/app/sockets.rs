//! The listening sockets: taken over where they were passed, bound where not, and kept to be handed
//! on.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use tokio::net::TcpListener;

use super::StartError;
use crate::edge::{self, BindError};
use crate::foundation::sockets::PassedSockets;

/// Name of the socket of the private listener, where sockets are passed.
pub const ADMIN_SOCKET: &str = "admin";
/// Name of the socket of the embedded logstore.
pub(super) const LOGSTORE_SOCKET: &str = "logstore";

/// Copies of the listening sockets by name. As long as one is held, connections wait in the
/// kernel's queue whether or not somebody accepts them.
#[derive(Debug, Default)]
pub struct KeptSockets(Vec<(String, OwnedFd)>);

impl KeptSockets {
    /// Keeps a copy of a socket.
    pub(super) fn keep(&mut self, name: &str, socket: &impl AsFd) -> Result<(), StartError> {
        let copy = socket.as_fd().try_clone_to_owned();
        let copy = copy.map_err(|source| StartError::Socket {
            name: name.to_owned(),
            source,
        })?;
        self.0.push((name.to_owned(), copy));
        Ok(())
    }

    /// Keeps these as well.
    pub(super) fn extend(&mut self, sockets: Vec<(String, OwnedFd)>) {
        self.0.extend(sockets);
    }

    /// The sockets.
    #[must_use]
    pub fn into_inner(self) -> Vec<(String, OwnedFd)> {
        self.0
    }
}

/// The socket of a private listener: the one that was passed, or a new one.
pub(super) async fn private(
    passed: &mut PassedSockets,
    name: &'static str,
    what: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, BindError> {
    match passed.take(name) {
        Some(socket) => edge::take_over(socket, name, address),
        None => edge::bind(what, address).await,
    }
}

/// Refuses sockets that no listener took: somebody meant them for something. Those of a handover were
/// for listeners that are not configured any more, and end here.
pub(super) fn none_left(passed: &PassedSockets) -> Result<(), StartError> {
    if passed.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = passed.names().iter().map(|n| format!("`{n}`")).collect();
    if passed.are_handed_over() {
        tracing::warn!(
            sockets = names.join(", "),
            "closed after the handover: no listener of this configuration has this name"
        );
        return Ok(());
    }
    Err(StartError::UnknownSocket(names.join(", ")))
}
