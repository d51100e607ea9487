//! Who is at the other end of a connection, and who sends a request over it.

use std::net::SocketAddr;

use http::HeaderMap;

use crate::foundation::client_address::{Ended, ProxyRules, Unusable, client};
use crate::front::Sender;
use crate::telemetry::AddressOutcome;

/// The other end of a connection, as far as its set-up has told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The address of the socket, or the one that its PROXY header names.
    pub(super) address: SocketAddr,
    /// Whether the connection is encrypted.
    pub(super) secure: bool,
}

impl Peer {
    /// Who sends a request with these headers, and how that was found.
    pub(super) fn sender(
        &self,
        headers: &HeaderMap,
        proxies: &ProxyRules,
    ) -> (Sender, AddressOutcome) {
        let client = client(self.address.ip(), headers, proxies);
        let sender = Sender {
            address: client.address,
            // A trusted proxy knows better than we how its client came.
            secure: client.secure.unwrap_or(self.secure),
        };
        (sender, outcome(client.ended))
    }
}

fn outcome(ended: Ended) -> AddressOutcome {
    match ended {
        Ended::PeerNotTrusted => AddressOutcome::PeerNotTrusted,
        Ended::NoHeader => AddressOutcome::NoHeader,
        Ended::NotTrusted => AddressOutcome::NotTrusted,
        Ended::AllTrusted => AddressOutcome::AllTrusted,
        Ended::Unusable(Unusable::Malformed) => AddressOutcome::Malformed,
        Ended::Unusable(Unusable::Hidden) => AddressOutcome::Hidden,
        Ended::TooManyHops => AddressOutcome::TooManyHops,
    }
}
