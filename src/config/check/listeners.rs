//! Addresses: distinct, and private where they should be. The filter of log lines.

use std::net::SocketAddr;

use super::{Findings, runs_embedded};
use crate::config::Config;
use crate::config::walk::nearest;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let mut private = vec![("admin.listen", config.admin.listen)];
    if runs_embedded(config) {
        private.push(("embedded.listen", config.embedded.listen));
    }
    let further = config.ingest.listeners.iter().enumerate();
    let further = further.map(|(index, listener)| {
        let key = format!("ingest.listener[{index}].listen");
        (key, listener.listen)
    });
    let listeners: Vec<(String, SocketAddr)> =
        std::iter::once(("ingest.listen".to_owned(), config.ingest.listen))
            .chain(further)
            .chain(private.iter().map(|(key, a)| ((*key).to_owned(), *a)))
            .collect();
    for (index, (key, address)) in listeners.iter().enumerate() {
        let mut earlier = listeners.iter().take(index);
        if let Some((other, _)) = earlier.find(|(_, other)| collide(*other, *address)) {
            let message = format!("{address} is already taken by {other}");
            findings
                .error(key, message)
                .help("give each listener a port of its own")
                .beside(other);
        }
    }
    for (key, address) in private {
        if !is_loopback(address) {
            let message = format!("{address} can be reached from other machines");
            let help = "keep this listener off the public network";
            findings.warning(key, message).help(help);
        }
    }
    check_filter(&config.log.level, findings);
}

/// Whether both cannot be bound. Port 0 is a new port each time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

/// Whether only this machine reaches an address.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A lone word is a level: the filter would take a mistyped one for the name of a module, and then
/// say nothing at all.
fn check_filter(filter: &str, findings: &mut Findings) {
    let bare = |part: &&str| {
        let level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
        !part.is_empty() && !part.contains(['=', '[', ':']) && !level
    };
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(filter) {
        findings.error("log.level", format!("`{filter}` is not a filter: {error}"));
    } else if let Some(word) = filter.split(',').map(str::trim).find(bare) {
        let finding = findings.error("log.level", format!("`{word}` is not a level"));
        if let Some(near) = nearest(word, &LEVELS) {
            finding.help(format!("did you mean `{near}`?"));
        } else {
            finding.help("use error, warn, info, debug or trace, or a filter such as `info,tollgate::pipeline=debug`");
        }
    }
}
