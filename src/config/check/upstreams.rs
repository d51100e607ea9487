//! Upstreams: what each kind needs, and what it must not have.

use http::Uri;

use super::{Findings, destinations, unique};
use crate::config::endpoint::region_of;
use crate::config::{Config, SignatureVersion, Upstream, UpstreamKind};

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let upstreams = config.upstreams.iter().enumerate();
    unique(
        upstreams.map(|(index, upstream)| (format!("upstream[{index}].name"), &*upstream.name)),
        "upstream",
        findings,
    );
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let path = format!("upstream[{index}]");
        match upstream.kind {
            UpstreamKind::Embedded => embedded(upstream, &path, findings),
            UpstreamKind::Sls => sls(upstream, &path, findings),
            UpstreamKind::Kafka => destinations::kafka(config, upstream, &path, findings),
            UpstreamKind::Files => destinations::files(config, upstream, &path, findings),
        }
        destinations::tables(upstream, &path, findings);
        let mut projects = config.projects.iter();
        if !projects.any(|project| project.uses(&upstream.name)) {
            let message = format!("no project uses the upstream `{}`", upstream.name);
            findings.warning(format!("{path}.name"), message);
        }
    }
    faults(config, findings);
}

fn embedded(upstream: &Upstream, path: &str, findings: &mut Findings) {
    for (name, given) in [
        ("endpoint", upstream.endpoint.is_some()),
        ("address", upstream.address.is_some()),
        ("region", upstream.region.is_some()),
        ("access_key_id", upstream.access_key_id.is_some()),
        ("access_key_secret", upstream.access_key_secret.is_some()),
        ("security_token", upstream.security_token.is_some()),
        ("ca_file", upstream.ca_file.is_some()),
    ] {
        if given {
            findings
                .error(
                    format!("{path}.{name}"),
                    "an upstream of kind `embedded` has none of its own",
                )
                .help("remove it, or set kind = \"sls\"; the embedded logstore is set up in [embedded]")
                .beside(format!("{path}.kind"));
        }
    }
}

fn sls(upstream: &Upstream, path: &str, findings: &mut Findings) {
    for (name, given) in [
        ("endpoint", upstream.endpoint.is_some()),
        ("access_key_id", upstream.access_key_id.is_some()),
        ("access_key_secret", upstream.access_key_secret.is_some()),
    ] {
        if !given {
            findings
                .error(
                    format!("{path}.{name}"),
                    "an upstream of kind `sls` needs this key",
                )
                .beside(format!("{path}.kind"));
        }
    }
    if upstream.access_key_id.as_deref() == Some("") {
        findings.error(format!("{path}.access_key_id"), "must not be empty");
    }
    let Some(text) = &upstream.endpoint else {
        return;
    };
    let key = format!("{path}.endpoint");
    match endpoint_fault(text) {
        Some(fault) => {
            let help =
                "write `https://cn-hangzhou.log.aliyuncs.com`: a scheme and a host, nothing else";
            findings.error(key, fault).help(help);
        }
        None if upstream.region.as_deref() == Some("") => {
            findings.error(format!("{path}.region"), "must not be empty");
        }
        None if upstream.signature == SignatureVersion::V4
            && upstream.region.is_none()
            && region_of(text).is_none() =>
        {
            findings
                .error(
                    format!("{path}.region"),
                    "signature v4 needs a region, and the endpoint does not name one",
                )
                .help("set region = \"...\"; an endpoint has no project in front")
                .beside(key);
        }
        None => {}
    }
}

/// Why a text is not an endpoint.
fn endpoint_fault(text: &str) -> Option<&'static str> {
    let Ok(uri) = text.parse::<Uri>() else {
        return Some("is not a URL");
    };
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Some("must begin with `http://` or `https://`");
    }
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => {
            Some("must not hold a user or password")
        }
        Some(authority) if authority.host().is_empty() => Some("names no host"),
        Some(authority) if text.ends_with(authority.as_str()) => None,
        Some(_) => Some("must end after the host and port"),
        None => Some("names no host"),
    }
}

fn faults(config: &Config, findings: &mut Findings) {
    let status = config.embedded.faults.error_status;
    if status != 0 && !(400..=599).contains(&status) {
        let message = format!("must be 0 or 400 to 599, not {status}");
        findings.error("embedded.faults.error_status", message);
    }
}
