//! What stands in front: proxies that tell who the client is, by a header or by the PROXY protocol.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::client_address::{AddressHeader, ProxyRules};
use crate::foundation::network::Network;

/// Proxies that are believed when they name the client's address in a header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrustedProxies {
    /// Where these proxies are. Empty: no header is read, and the client is who the connection is from.
    #[schemars(example = vec!["10.0.0.0/8", "2001:db8:1::/48"])]
    pub networks: Vec<Network>,
    /// The one header that is read, from the right, up to the first address outside `networks`. Proxies must append to it or set it; the other one is never read, nor `X-Real-IP` and the like.
    pub header: AddressHeader,
}

/// The PROXY protocol (versions 1 and 2), by which a load balancer for TCP tells the client's address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyProtocol {
    /// Load balancers that send its header at the start of every connection. One that sends none is closed. Empty: the protocol is not spoken.
    #[schemars(example = vec!["10.0.0.0/8"])]
    pub trusted: Vec<Network>,
    /// What happens to a connection from elsewhere.
    pub untrusted: UntrustedPeer,
}

/// What happens to a connection that is not from a trusted load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UntrustedPeer {
    /// It is closed before anything of it is read.
    Refuse,
    /// It is served as the client that it is, and closed if it begins with a PROXY header. For health checks and clients inside, which do not come through the load balancer.
    Direct,
}

/// What the PROXY protocol asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyRole {
    /// Nothing: the listener does not speak it.
    NotSpoken,
    /// It must begin with a header.
    LoadBalancer,
    /// It is served without one.
    Direct,
    /// It is closed.
    Refused,
}

impl ProxyProtocol {
    /// What is asked of a connection from this address.
    #[must_use]
    pub fn role(&self, peer: IpAddr) -> ProxyRole {
        if self.trusted.is_empty() {
            ProxyRole::NotSpoken
        } else if self.trusted.iter().any(|network| network.contains(peer)) {
            ProxyRole::LoadBalancer
        } else {
            match self.untrusted {
                UntrustedPeer::Refuse => ProxyRole::Refused,
                UntrustedPeer::Direct => ProxyRole::Direct,
            }
        }
    }
}

impl TrustedProxies {
    /// As rules to decide by.
    #[must_use]
    pub fn rules(&self) -> ProxyRules {
        ProxyRules {
            networks: self.networks.clone(),
            header: self.header,
        }
    }
}

impl Default for TrustedProxies {
    fn default() -> Self {
        Self {
            networks: Vec::new(),
            header: AddressHeader::XForwardedFor,
        }
    }
}

impl Default for ProxyProtocol {
    fn default() -> Self {
        Self {
            trusted: Vec::new(),
            untrusted: UntrustedPeer::Refuse,
        }
    }
}
