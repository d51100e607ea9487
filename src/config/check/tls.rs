//! TLS of a listener: keys that mean something only together. What is in the files is looked at by
//! `edge::tls`.

use super::Findings;
use crate::config::{ClientAuth, Tls};
use crate::foundation::units::Span;

const MIN_INTERVAL: Span = Span::secs(1);
const MAX_INTERVAL: Span = Span::secs(86_400);
/// Certificates of a listener. Each is looked at every `reload_interval`.
const MAX_CERTIFICATES: usize = 1000;
/// What browsers take as for ever (two years is asked for by their preload lists).
const MAX_HSTS: Span = Span::secs(10 * 365 * 86_400);

/// Looks at the TLS of one listener, whose table is `path`.
pub(super) fn check(tls: &Tls, path: &str, findings: &mut Findings) {
    if !tls.is_on() {
        without_certificates(tls, path, findings);
        return;
    }
    certificates(tls, path, findings);
    clients(tls, path, findings);
    let interval = tls.reload_interval;
    if interval < MIN_INTERVAL || interval > MAX_INTERVAL {
        findings.error(
            format!("{path}.reload_interval"),
            format!("must be {MIN_INTERVAL} to {MAX_INTERVAL}"),
        );
    }
    if tls
        .hsts
        .is_some_and(|age| age.as_secs() == 0 || age > MAX_HSTS)
    {
        findings
            .error(
                format!("{path}.hsts"),
                format!("must be 1s to {MAX_HSTS}, in whole seconds"),
            )
            .help("leave it out where browsers shall not be told");
    }
}

/// Were they passed over in silence, somebody would believe that the listener speaks TLS.
fn without_certificates(tls: &Tls, path: &str, findings: &mut Findings) {
    let plain = Tls::default();
    for (name, set) in [
        ("min_version", tls.min_version != plain.min_version),
        ("strict_sni", tls.strict_sni),
        ("client_auth", tls.client_auth != ClientAuth::None),
        ("client_ca", tls.client_ca.is_some()),
        ("hsts", tls.hsts.is_some()),
    ] {
        if set {
            findings
                .error(
                    format!("{path}.{name}"),
                    "this listener has no certificate, so it speaks plain HTTP",
                )
                .help(format!(
                    "add `[[{path}.certificate]]` with `cert` and `key`; `tollgate cert self-signed` makes a pair for development"
                ));
        }
    }
}

fn certificates(tls: &Tls, path: &str, findings: &mut Findings) {
    let all = &tls.certificates;
    if all.len() > MAX_CERTIFICATES {
        findings.error(
            format!("{path}.certificate"),
            format!("{} certificates; at most {MAX_CERTIFICATES}", all.len()),
        );
    }
    for (index, pair) in all.iter().enumerate() {
        for (name, file) in [("cert", &pair.cert), ("key", &pair.key)] {
            if file.as_os_str().is_empty() {
                let key = format!("{path}.certificate[{index}].{name}");
                findings.error(key, "must not be empty");
            }
        }
        let mut before = all.iter().take(index);
        if let Some(first) = before.position(|other| other.cert == pair.cert) {
            findings
                .error(
                    format!("{path}.certificate[{index}].cert"),
                    format!(
                        "{} is already certificate[{first}] of this listener",
                        pair.cert.display()
                    ),
                )
                .help("name each certificate once");
        }
    }
}

fn clients(tls: &Tls, path: &str, findings: &mut Findings) {
    match (tls.client_auth, &tls.client_ca) {
        (ClientAuth::None, Some(_)) => {
            findings
                .error(
                    format!("{path}.client_ca"),
                    "clients are not asked for certificates",
                )
                .help("set client_auth = \"required\" or \"optional\"")
                .beside(format!("{path}.client_auth"));
        }
        (ClientAuth::Optional | ClientAuth::Required, None) => {
            findings
                .error(
                    format!("{path}.client_auth"),
                    "nobody is named whose client certificates are taken",
                )
                .help("set client_ca to a PEM file of authorities");
        }
        (ClientAuth::None, None) | (ClientAuth::Optional | ClientAuth::Required, Some(_)) => {}
    }
}
