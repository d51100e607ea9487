//! The metrics of public connections.

use prometheus::proto::MetricType;

use super::families::Family;
use super::labels::{AddressOutcome, ConnectionEnd, HttpVersion, TlsHandshake};
use super::metrics::{EdgeMetrics, Metrics};

type Read = fn(&EdgeMetrics) -> u64;

/// Metrics with no label.
const PLAIN: &[(&str, &str, MetricType, Read)] = &[
    (
        "tollgate_connections_accepted_total",
        "Public connections accepted.",
        MetricType::COUNTER,
        |m| m.accepted.get(),
    ),
    (
        "tollgate_connections_open",
        "Public connections open now. Bound: ingest.max_connections.",
        MetricType::GAUGE,
        |m| m.open.get(),
    ),
    (
        "tollgate_connections_resting",
        "Open connections of HTTP/1 that hold no buffers now: nothing is under way, or a head comes slowly.",
        MetricType::GAUGE,
        |m| m.resting.get(),
    ),
    (
        "tollgate_connections_limit",
        "Public connections that may be open at once: ingest.max_connections, or less when there are too few file descriptors.",
        MetricType::GAUGE,
        |m| m.limit.get(),
    ),
    (
        "tollgate_connection_waits_total",
        "Times that new connections had to wait in the kernel's queue because ingest.max_connections were open.",
        MetricType::COUNTER,
        |m| m.full.get(),
    ),
    (
        "tollgate_accept_errors_total",
        "Connections that could not be accepted. Many: no descriptors are left.",
        MetricType::COUNTER,
        |m| m.accept_errors.get(),
    ),
    (
        "tollgate_https_redirects_total",
        "Requests on listeners with redirect_to_https, those of unknown hosts included.",
        MetricType::COUNTER,
        |m| m.redirected.get(),
    ),
    (
        "tollgate_refusals_delayed_total",
        "Refused requests whose answer was held back, since their client or its network was refused again and again (ingest.refusal_delay).",
        MetricType::COUNTER,
        |m| m.refusals_delayed.get(),
    ),
    (
        "tollgate_refusals_waiting",
        "Answers to refused requests that are held back now.",
        MetricType::GAUGE,
        |m| m.refusals_waiting.get(),
    ),
];

impl Metrics {
    pub(super) fn edge_families(&self) -> Vec<Family> {
        let mut families: Vec<Family> = PLAIN
            .iter()
            .map(|(name, help, kind, read)| {
                let mut family = Family::new(name, help, *kind);
                family.push(vec![], read(&self.edge));
                family
            })
            .collect();
        let mut ended = Family::new(
            "tollgate_connections_ended_total",
            "Public connections ended, by reason.",
            MetricType::COUNTER,
        );
        for end in ConnectionEnd::ALL {
            let count = self.edge.ended.at(*end as usize).get();
            if count > 0 {
                ended.push(vec![("reason", end.label())], count);
            }
        }
        let mut requests = Family::new(
            "tollgate_http_requests_total",
            "Requests on public connections, by version of HTTP.",
            MetricType::COUNTER,
        );
        for version in HttpVersion::ALL {
            let count = self.edge.requests.at(*version as usize).get();
            requests.push(vec![("version", version.label())], count);
        }
        let mut addresses = Family::new(
            "tollgate_client_addresses_total",
            "Requests, by how the address of their client was found (docs/deploy-edge.md).",
            MetricType::COUNTER,
        );
        for outcome in AddressOutcome::ALL {
            let count = self.edge.addresses.at(*outcome as usize).get();
            if count > 0 {
                addresses.push(vec![("outcome", outcome.label())], count);
            }
        }
        let mut handshakes = Family::new(
            "tollgate_tls_handshakes_total",
            "TLS handshakes that were finished, by version, and whether the client came back with a ticket. Those that were not are in tollgate_connections_ended_total.",
            MetricType::COUNTER,
        );
        for kind in TlsHandshake::ALL {
            let count = self.edge.tls_handshakes.at(*kind as usize).get();
            if count > 0 {
                handshakes.push(vec![("kind", kind.label())], count);
            }
        }
        let mut descriptors = Family::new(
            "tollgate_descriptors_open",
            "File descriptors in use. Alert above 90 % of the limit.",
            MetricType::GAUGE,
        );
        if let Some(open) = self.edge.descriptors.get().and_then(|open| open()) {
            descriptors.push(vec![], open);
        }
        let mut limit = Family::new(
            "tollgate_descriptors_limit",
            "The limit of file descriptors, raised at start as far as the system lets us.",
            MetricType::GAUGE,
        );
        match self.edge.descriptor_limit.get() {
            0 => {} // none
            most => limit.push(vec![], most),
        }
        families.extend([ended, requests, addresses, handshakes, descriptors, limit]);
        families
    }
}
