//! Proxies in front: that not everybody is believed, and that the key that says whom is there.

use super::Findings;
use crate::config::{Config, ProxyProtocol};

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let networks = config.ingest.trusted_proxies.networks.iter();
    for (index, network) in networks.enumerate() {
        if network.is_everything() {
            let key = format!("ingest.trusted_proxies.networks[{index}]");
            findings
                .error(key, format!("{network} believes whatever any client says"))
                .help("name the networks of your own proxies");
        }
    }
    proxy_protocol(
        &config.ingest.proxy_protocol,
        "ingest.proxy_protocol",
        findings,
    );
    for (index, listener) in config.ingest.listeners.iter().enumerate() {
        let path = format!("ingest.listener[{index}].proxy_protocol");
        proxy_protocol(&listener.proxy_protocol, &path, findings);
    }
}

/// The PROXY protocol of one listener.
fn proxy_protocol(rules: &ProxyProtocol, path: &str, findings: &mut Findings) {
    for (index, network) in rules.trusted.iter().enumerate() {
        if network.is_everything() {
            let message = format!("{network} lets whoever connects name any client's address");
            findings
                .warning(format!("{path}.trusted[{index}]"), message)
                .help("name the networks of your load balancers, unless nobody else can connect");
        }
    }
    if rules.trusted.is_empty() && rules.untrusted != ProxyProtocol::default().untrusted {
        let message = "without `trusted` the PROXY protocol is not spoken";
        findings
            .error(format!("{path}.untrusted"), message)
            .help(format!("say who speaks it: `trusted = [...]` in [{path}]"));
    }
}
