//! The certificates of the listeners.

use super::finding::Findings;
use crate::app::{ADMIN_SOCKET, CertificateFacts, certificates};
use crate::cli::moment;
use crate::config::Config;
use crate::foundation::clock;

/// Seconds before its end from which a certificate is to be looked at.
const SOON: u64 = 14 * 86_400;

/// Looks at dates, chain and names. What cannot be read has been told of the configuration.
pub(super) fn look(config: &Config, findings: &mut Findings) {
    let all = certificates(config);
    let now = clock::unix_seconds();
    let mut names: Vec<String> = Vec::new();
    for (listener, certificates) in &all {
        let private = listener == ADMIN_SOCKET;
        for certificate in certificates {
            let subject = format!("{} of `{listener}`", certificate.cert.display());
            match &certificate.found {
                Ok(facts) => {
                    if !private {
                        names.extend(facts.names.iter().cloned());
                    }
                    dates(&subject, facts, now, findings);
                }
                Err(error) => findings.fail(
                    "certificate",
                    &subject,
                    error,
                    "mend the file; a pair of certificate and key belongs together",
                ),
            }
        }
    }
    if all.iter().all(|(listener, _)| listener == ADMIN_SOCKET) {
        return;
    }
    let missing = hosts(config).into_iter();
    let missing: Vec<String> = missing.filter(|host| !is_covered(host, &names)).collect();
    if !missing.is_empty() {
        findings.fail(
            "certificate",
            "names",
            format!("no certificate is for {}", missing.join(", ")),
            "clients that call these names refuse the connection; have a certificate made with them, or take them out of ingest.hosts and ingest.domains",
        );
    }
}

fn dates(subject: &str, facts: &CertificateFacts, now: u64, findings: &mut Findings) {
    let end = moment::format(facts.not_after);
    if facts.not_after < now {
        let told = format!("expired at {end}");
        let help = "clients refuse it; renew it, and the files are read again by themselves";
        findings.fail("certificate", subject, told, help);
    } else if facts.not_before > now {
        let begin = moment::format(facts.not_before);
        let told = format!("does not count before {begin}");
        let help = "look at the clock of this machine, or wait";
        findings.fail("certificate", subject, told, help);
    } else if facts.not_after - now < SOON {
        let told = format!(
            "ends at {end}, in {} days",
            (facts.not_after - now) / 86_400
        );
        let help = "renew it; the files are read again by themselves";
        findings.warn("certificate", subject, told, help);
    } else {
        let told = format!("good until {end}, for {}", told_names(facts));
        findings.ok("certificate", subject, told);
    }
    if facts.self_signed {
        let told = "vouches for itself: clients that are not told of it refuse it";
        let help = "for development only; have one made by an authority";
        findings.warn("certificate", subject, told, help);
    } else if facts.chain == 1 {
        let told = "the file holds no certificate of its authority";
        let help = "put the intermediate certificates behind it (`fullchain.pem`), unless its authority is one that clients know themselves";
        findings.warn("certificate", subject, told, help);
    }
}

fn told_names(facts: &CertificateFacts) -> String {
    match (facts.names.is_empty(), facts.has_addresses) {
        (false, _) => facts.names.join(", "),
        (true, true) => "addresses".to_owned(),
        (true, false) => "no name".to_owned(),
    }
}

/// The names that clients call this node by, as far as the configuration says.
fn hosts(config: &Config) -> Vec<String> {
    let custom = config.ingest.hosts.keys().map(ToString::to_string);
    let projects = config.ingest.domains.iter().flat_map(|domain| {
        let projects = config.projects.iter();
        projects.map(move |project| format!("{}.{domain}", project.name))
    });
    custom.chain(projects).collect()
}

/// Whether one of the names of certificates is for this host.
fn is_covered(host: &str, names: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    let above = host.split_once('.').map(|(_, above)| above);
    let mut names = names.iter().map(String::as_str);
    names.any(|name| match name.strip_prefix("*.") {
        Some(parent) => above == Some(parent),
        None => name == host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        let names = ["*.edge.test".to_owned(), "track.test".to_owned()];
        for good in ["shop.edge.test", "SHOP.Edge.Test", "track.test"] {
            assert!(is_covered(good, &names), "{good}");
        }
        for bad in ["edge.test", "a.b.edge.test", "x.track.test", "test"] {
            assert!(!is_covered(bad, &names), "{bad}");
        }
    }
}
