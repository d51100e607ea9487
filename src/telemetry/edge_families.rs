//! The metrics of public connections.

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::labels::{AddressOutcome, ConnectionEnd, HttpVersion, TlsHandshake};
use super::metrics::{EdgeMetrics, Metrics};

type Read = fn(&EdgeMetrics) -> u64;

/// Metrics with no label.
const PLAIN: &[(&Declaration, Read)] = &[
    (&declared::CONNECTIONS_ACCEPTED, |m| m.accepted.get()),
    (&declared::CONNECTIONS_OPEN, |m| m.open.get()),
    (&declared::CONNECTIONS_RESTING, |m| m.resting.get()),
    (&declared::CONNECTIONS_LIMIT, |m| m.limit.get()),
    (&declared::CONNECTION_WAITS, |m| m.full.get()),
    (&declared::ACCEPT_ERRORS, |m| m.accept_errors.get()),
    (&declared::HTTPS_REDIRECTS, |m| m.redirected.get()),
    (&declared::REFUSALS_DELAYED, |m| m.refusals_delayed.get()),
    (&declared::REFUSALS_WAITING, |m| m.refusals_waiting.get()),
    (&declared::REFUSALS_WAITING_CONNECTIONS, |m| {
        m.connections_refused.get()
    }),
];

impl Metrics {
    pub(super) fn edge_families(&self) -> Vec<Family> {
        let mut families: Vec<Family> = PLAIN
            .iter()
            .map(|(declared, read)| {
                let mut family = Family::of(declared);
                family.push(vec![], read(&self.edge));
                family
            })
            .collect();
        let mut ended = Family::of(&declared::CONNECTIONS_ENDED);
        for end in ConnectionEnd::ALL {
            let count = self.edge.ended.at(*end as usize).get();
            if count > 0 {
                ended.push(vec![("reason", end.label())], count);
            }
        }
        let mut requests = Family::of(&declared::HTTP_REQUESTS);
        for version in HttpVersion::ALL {
            let count = self.edge.requests.at(*version as usize).get();
            requests.push(vec![("version", version.label())], count);
        }
        let mut addresses = Family::of(&declared::CLIENT_ADDRESSES);
        for outcome in AddressOutcome::ALL {
            let count = self.edge.addresses.at(*outcome as usize).get();
            if count > 0 {
                addresses.push(vec![("outcome", outcome.label())], count);
            }
        }
        let mut handshakes = Family::of(&declared::TLS_HANDSHAKES);
        for kind in TlsHandshake::ALL {
            let count = self.edge.tls_handshakes.at(*kind as usize).get();
            if count > 0 {
                handshakes.push(vec![("kind", kind.label())], count);
            }
        }
        let mut descriptors = Family::of(&declared::DESCRIPTORS_OPEN);
        if let Some(open) = self.edge.descriptors.get().and_then(|open| open()) {
            descriptors.push(vec![], open);
        }
        let mut limit = Family::of(&declared::DESCRIPTORS_LIMIT);
        match self.edge.descriptor_limit.get() {
            0 => {} // none
            most => limit.push(vec![], most),
        }
        families.extend([ended, requests, addresses, handshakes, descriptors, limit]);
        families
    }
}
