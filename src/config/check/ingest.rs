//! The public listeners, and the bounds on connections to them.

use super::{Findings, is_word, unique};
use crate::config::{Config, Http2, Ingest, MAIN_LISTENER};
use crate::foundation::units::{ByteSize, Span};

/// What the HTTP library needs at least to read a head.
const SMALLEST_HEADER: ByteSize = ByteSize::kib(8);
/// The largest window of the protocol: 2^31 - 1.
const LARGEST_WINDOW: u64 = (1 << 31) - 1;
/// The window that HTTP/2 begins with: a connection's cannot be made smaller.
const FIRST_WINDOW: u64 = (1 << 16) - 1;

/// The longest that a refusal may be held back: clients give up soon after, and send again.
const LONGEST_DELAY: Span = Span::secs(60);

/// The longest that a stop may wait for load balancers.
const LONGEST_DRAIN: Span = Span::secs(600);

/// Names of sockets that are passed in for other listeners.
const OTHER_SOCKETS: [&str; 3] = ["ingest", "admin", "logstore"];

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let ingest = &config.ingest;
    let names = ingest.listeners.iter().enumerate();
    let names = names.map(|(index, l)| (format!("ingest.listener[{index}].name"), l.name.as_str()));
    let main = ("ingest.listen".to_owned(), MAIN_LISTENER);
    unique(
        std::iter::once(main).chain(names.clone()),
        "listener",
        findings,
    );
    for (key, name) in names {
        if OTHER_SOCKETS.contains(&name) {
            let message =
                format!("`{name}` is the name of another socket, where sockets are passed");
            findings.error(key.clone(), message);
        }
        if !is_word(name) {
            findings.error(key, "a name is of letters, digits, `-`, `_` and `.`");
        }
    }
    times(ingest, findings);
    if ingest.refusal_delay > LONGEST_DELAY {
        let message = format!("must be at most {LONGEST_DELAY}");
        findings
            .error("ingest.refusal_delay", message)
            .help("clients take a slower answer for none, and send again");
    }
    if ingest.drain_delay > LONGEST_DRAIN {
        let message = format!("must be at most {LONGEST_DRAIN}");
        findings.error("ingest.drain_delay", message);
    }
    if ingest.max_header < SMALLEST_HEADER {
        let message = format!("must be at least {SMALLEST_HEADER}");
        findings.error("ingest.max_header", message);
    }
    if (ingest.max_connections as usize) < ingest.listeners.len() + 1 {
        findings.error(
            "ingest.max_connections",
            "must be at least one for each public listener",
        );
    }
    http2("ingest.http2", &ingest.http2, findings);
    https(config, findings);
    for (index, listener) in ingest.listeners.iter().enumerate() {
        let path = format!("ingest.listener[{index}].http2");
        http2(&path, &listener.http2, findings);
    }
}

/// TLS of every listener, and those that send clients there.
fn https(config: &Config, findings: &mut Findings) {
    let ingest = &config.ingest;
    let main = ("ingest".to_owned(), ingest.redirect_to_https, &ingest.tls);
    let more = ingest.listeners.iter().enumerate().map(|(index, it)| {
        let path = format!("ingest.listener[{index}]");
        (path, it.redirect_to_https, &it.tls)
    });
    for (path, redirect, tls) in std::iter::once(main).chain(more) {
        super::tls::check(tls, &format!("{path}.tls"), findings);
        if redirect.is_none() {
            continue;
        }
        let key = format!("{path}.redirect_to_https");
        if tls.is_on() {
            findings
                .error(&*key, "this listener speaks TLS itself")
                .help("set it on a plain listener beside this one")
                .beside(format!("{path}.tls"));
        }
        if ingest.hosts.is_empty() && ingest.domains.is_empty() {
            findings
                .error(key, "no host is known, so every request would be refused")
                .help("name them in ingest.hosts or ingest.domains")
                .beside("ingest.hosts")
                .beside("ingest.domains");
        }
    }
}

fn times(ingest: &Ingest, findings: &mut Findings) {
    for (key, time) in [
        ("ingest.handshake_timeout", ingest.handshake_timeout),
        ("ingest.first_byte_timeout", ingest.first_byte_timeout),
        ("ingest.header_timeout", ingest.header_timeout),
        ("ingest.idle_timeout", ingest.idle_timeout),
        ("ingest.body_timeout", ingest.body_timeout),
        ("ingest.write_timeout", ingest.write_timeout),
        ("ingest.max_connection_age", ingest.max_connection_age),
    ] {
        if time == Span::default() {
            findings.error(key, "must be more than 0");
        }
    }
}

fn http2(path: &str, http2: &Http2, findings: &mut Findings) {
    for (key, window, least) in [
        ("stream_window", http2.stream_window, 1),
        ("connection_window", http2.connection_window, FIRST_WINDOW),
    ] {
        if window.get() < least || window.get() > LARGEST_WINDOW {
            let message = format!("must be between {least} and {LARGEST_WINDOW} bytes");
            findings.error(format!("{path}.{key}"), message);
        }
    }
    if http2.max_send_buffer.get() == 0 {
        findings.error(format!("{path}.max_send_buffer"), "must be more than 0");
    }
    for (key, time) in [
        ("ping_interval", http2.ping_interval),
        ("ping_timeout", http2.ping_timeout),
    ] {
        if time == Span::default() {
            findings.error(format!("{path}.{key}"), "must be more than 0");
        }
    }
}
