//! Who is at the other end of a connection.

use std::net::SocketAddr;

use http::HeaderMap;

use crate::front::Sender;

/// The other end of a connection, as far as its set-up has told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The address of the socket.
    pub(super) address: SocketAddr,
    /// Whether the connection is encrypted.
    pub(super) secure: bool,
}

impl Peer {
    /// Who sends a request with these headers.
    pub(super) fn sender(&self, _headers: &HeaderMap) -> Sender {
        Sender {
            address: self.address.ip().to_canonical(),
            secure: self.secure,
        }
    }
}
