//! Where traces go.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING, USER_AGENT};

use super::Findings;
use crate::config::{Config, TracesUrl};
use crate::foundation::units::Span;

/// Headers and attributes, at most.
const MOST: usize = 32;
const MAX_TEXT: usize = 256;
const LONGEST: Span = Span::secs(600);

/// Headers that are ours to set.
const OURS: [HeaderName; 5] = [
    HOST,
    CONTENT_TYPE,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    USER_AGENT,
];

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let traces = &config.traces;
    let url = traces.endpoint.as_deref().map(TracesUrl::parse);
    if let Some(Err(fault)) = &url {
        findings.error("traces.endpoint", format!("the URL {fault}"));
    }
    let https = matches!(&url, Some(Ok(url)) if url.is_https());
    if traces.ca_file.is_some() && !https {
        findings
            .error(
                "traces.ca_file",
                "is of no use: the endpoint is not `https://`",
            )
            .beside("traces.endpoint");
    }
    if let Some(Ok(url)) = &url
        && !https
        && !traces.headers.is_empty()
        && !is_near(url)
    {
        findings
            .warning(
                "traces.headers",
                "go over the network as they are: the endpoint is not `https://`",
            )
            .beside("traces.endpoint");
    }
    headers(config, findings);
    sizes(config, findings);
    words(config, findings);
}

fn is_near(url: &TracesUrl) -> bool {
    let host = url.uri().host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn headers(config: &Config, findings: &mut Findings) {
    let headers = &config.traces.headers;
    if headers.len() > MOST {
        findings.error("traces.headers", format!("must be at most {MOST}"));
    }
    for name in headers.keys() {
        let key = format!("traces.headers.{name}");
        match HeaderName::from_bytes(name.as_bytes()) {
            Err(_) => {
                findings.error(key, "is not a name of a header");
            }
            Ok(name) if OURS.contains(&name) => {
                findings.error(key, "is a header that Tollgate sets itself");
            }
            Ok(_) => {}
        }
    }
}

fn sizes(config: &Config, findings: &mut Findings) {
    let traces = &config.traces;
    if !(0.0..=1.0).contains(&traces.ratio) {
        findings.error("traces.ratio", "must be from 0 (none) to 1 (all)");
    }
    if traces.batch > traces.queue {
        let message = format!("{} is more than can wait (traces.queue)", traces.batch);
        findings
            .error("traces.batch", message)
            .beside("traces.queue");
    }
    for (key, span) in [
        ("traces.interval", traces.interval),
        ("traces.timeout", traces.timeout),
        ("traces.retry_for", traces.retry_for),
    ] {
        if span.get().is_zero() || span > LONGEST {
            findings.error(key, format!("must be more than 0 and at most {LONGEST}"));
        }
    }
}

fn words(config: &Config, findings: &mut Findings) {
    let traces = &config.traces;
    let sound =
        |text: &str| (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control);
    let message = format!("must have 1 to {MAX_TEXT} bytes, and no control characters");
    if !sound(&traces.service_name) {
        findings.error("traces.service_name", message.clone());
    }
    if traces.resource.len() > MOST {
        findings.error("traces.resource", format!("must be at most {MOST}"));
    }
    for (name, value) in &traces.resource {
        if !sound(name) || !sound(value) {
            findings.error(format!("traces.resource.{name}"), message.clone());
        } else if name.starts_with("service.") && name != "service.namespace" {
            let hint = "`service.name` is `traces.service_name`; version and instance are told by themselves";
            findings
                .error(
                    format!("traces.resource.{name}"),
                    "is told by Tollgate itself",
                )
                .help(hint);
        }
    }
}
