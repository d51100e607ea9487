//! Who a request is from, where it came through proxies.
//!
//! A proxy appends the address that it saw to a header. The header is read from its right end, where
//! our own proxies wrote, and no further than the first address that is none of them: what stands to
//! the left of that was written by the client, or by somebody nobody here answers for. So whatever a
//! client writes there changes nothing.
//!
//! Promise: pure, and without allocation; at most [`MAX_HOPS`] entries are looked at. A peer that is
//! not trusted is the client, and its headers are not read. An entry that cannot be used ends the
//! walk, and the last good address is the client's: that of the proxy that wrote the entry. Exactly
//! one header is read. Not here: the PROXY protocol, which comes before (`edge::proxy_protocol`).

mod entry;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::entry::Unusable;
use self::entry::{Entry, from_the_right};
use super::network::Network;

/// Entries that are looked at, at most.
pub const MAX_HOPS: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The header that trusted proxies write addresses to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` for the scheme.
    XForwardedFor,
    /// `Forwarded` of RFC 7239: `for`, and `proto` for the scheme.
    Forwarded,
}

impl AddressHeader {
    /// Its name.
    #[must_use]
    pub fn name(self) -> HeaderName {
        match self {
            Self::XForwardedFor => X_FORWARDED_FOR,
            Self::Forwarded => FORWARDED,
        }
    }
}

/// Whose headers are believed, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRules {
    /// Where trusted proxies are. Empty: nobody is trusted.
    pub networks: Vec<Network>,
    /// The one header that is read.
    pub header: AddressHeader,
}

impl ProxyRules {
    /// Whether a proxy at this address is believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(address))
    }
}

/// Why an address was taken for the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer is not a trusted proxy. Headers were not read.
    PeerNotTrusted,
    /// The peer is a trusted proxy that named no client.
    NoHeader,
    /// It is the first from the right that is no trusted proxy.
    NotTrusted,
    /// The header ended, and every address is a trusted proxy: it is the furthest.
    AllTrusted,
    /// The next entry cannot be used.
    Unusable(Unusable),
    /// [`MAX_HOPS`] entries are trusted proxies, and there are more.
    TooManyHops,
}

impl Ended {
    /// What it means, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::PeerNotTrusted => "the peer is not a trusted proxy, so no header is read",
            Self::NoHeader => "the peer is a trusted proxy, and sent no such header",
            Self::NotTrusted => "the first address from the right that is not a trusted proxy",
            Self::AllTrusted => "every address is a trusted proxy; this is the furthest",
            Self::Unusable(Unusable::Malformed) => {
                "the next entry is not an address, so this, which wrote it, counts as the client"
            }
            Self::Unusable(Unusable::Hidden) => {
                "the next entry hides the address, so this, which wrote it, counts as the client"
            }
            Self::TooManyHops => "32 entries are trusted proxies; what follows is not looked at",
        }
    }

    /// The word for it in machine-readable output.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::PeerNotTrusted => "peer_not_trusted",
            Self::NoHeader => "no_header",
            Self::NotTrusted => "not_trusted",
            Self::AllTrusted => "all_trusted",
            Self::Unusable(Unusable::Malformed) => "malformed",
            Self::Unusable(Unusable::Hidden) => "hidden",
            Self::TooManyHops => "too_many_hops",
        }
    }
}

/// Who a request is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address, an IPv4 one as IPv4.
    pub address: IpAddr,
    /// Whether the client spoke TLS, where a trusted proxy told.
    pub secure: Option<bool>,
    /// Why it is this address.
    pub ended: Ended,
}

/// One entry of the header, as the walk saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop<'h> {
    /// As it was written.
    pub text: &'h [u8],
    /// The address in it.
    pub found: Result<IpAddr, Unusable>,
    /// Whether that is a trusted proxy.
    pub trusted: bool,
}

/// Decides who a request is from: `peer` is who the connection is from.
#[must_use]
pub fn client(peer: IpAddr, headers: &HeaderMap, rules: &ProxyRules) -> Client {
    trace(peer, headers, rules, |_| ())
}

/// The same, and tells every entry that was looked at, from the right.
pub fn trace<'h>(
    peer: IpAddr,
    headers: &'h HeaderMap,
    rules: &ProxyRules,
    mut tell: impl FnMut(Hop<'h>),
) -> Client {
    let mut client = Client {
        address: peer.to_canonical(),
        secure: None,
        ended: Ended::PeerNotTrusted,
    };
    if !rules.trusts(client.address) {
        return client;
    }
    client.ended = Ended::NoHeader;
    let forwarded = rules.header == AddressHeader::Forwarded;
    if !forwarded {
        client.secure = last_scheme(headers);
    }
    // Occurrences of a header are one list, in their order.
    let lines = headers.get_all(rules.header.name()).iter().rev();
    let entries = lines.flat_map(|line| from_the_right(line.as_bytes(), forwarded));
    for (index, text) in entries.enumerate() {
        if index == MAX_HOPS {
            client.ended = Ended::TooManyHops;
            break;
        }
        let entry = if forwarded {
            Entry::forwarded(text)
        } else {
            Entry::plain(text)
        };
        let trusted = entry.is_ok_and(|entry| rules.trusts(entry.address));
        tell(Hop {
            text,
            found: entry.map(|entry| entry.address),
            trusted,
        });
        match entry {
            Ok(entry) => {
                client.address = entry.address;
                if forwarded {
                    client.secure = entry.secure;
                }
                client.ended = if trusted {
                    Ended::AllTrusted
                } else {
                    Ended::NotTrusted
                };
            }
            Err(unusable) => client.ended = Ended::Unusable(unusable),
        }
        if !trusted {
            break;
        }
    }
    client
}

/// What the nearest proxy says of the scheme: the last word of the last `X-Forwarded-Proto`.
fn last_scheme(headers: &HeaderMap) -> Option<bool> {
    let last: &HeaderValue = headers.get_all(X_FORWARDED_PROTO).iter().next_back()?;
    let word = last.as_bytes().rsplit(|byte| *byte == b',').next()?;
    entry::scheme(word.trim_ascii())
}
