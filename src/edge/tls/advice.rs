//! What is wrong with the files of a listener's TLS, all at once, for `tollgate check`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::pair::{FileError, FileFault, Pair};
use super::settings::authorities;
use super::slot::due;
use crate::config::{Problem, Severity, Tls};
use crate::foundation::clock;

/// Rights of everybody who is neither the owner nor of the group.
const OTHERS: u32 = 0o007;

/// Reads every file that the TLS of a listener names, and says what is wrong or soon will be. `path`
/// is the key of its table, such as `ingest.tls`.
#[must_use]
pub fn check(path: &str, rules: &Tls) -> Vec<Problem> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let now = clock::unix_seconds();
    let mut problems = Vec::new();
    for (index, files) in rules.certificates.iter().enumerate() {
        let key = |name: &str| format!("{path}.certificate[{index}].{name}");
        match Pair::load(files, &provider) {
            Ok(pair) => {
                let said = notes(&pair, now).into_iter();
                problems.extend(said.map(|(message, help)| warning(key("cert"), message, help)));
            }
            Err(error) => {
                let name = if error.path == files.key {
                    "key"
                } else {
                    "cert"
                };
                problems.push(refusal(key(name), &error));
            }
        }
        if is_open(&files.key) {
            problems.push(warning(
                key("key"),
                format!(
                    "every user of this machine can read {}",
                    files.key.display()
                ),
                "take the rights of others away (`chmod o= FILE`)",
            ));
        }
    }
    if let Some(file) = &rules.client_ca
        && let Err(error) = authorities(file)
    {
        problems.push(refusal(format!("{path}.client_ca"), &error));
    }
    problems
}

fn refusal(key: String, error: &FileError) -> Problem {
    let help = match &error.fault {
        FileFault::OtherKey(_) => Some("name the key that the certificate was made with"),
        FileFault::NoCertificate => Some("a file of PEM has `-----BEGIN CERTIFICATE-----` in it"),
        _ => None,
    };
    Problem {
        severity: Severity::Error,
        key,
        message: error.to_string(),
        help: help.map(str::to_owned),
        place: None,
    }
}

fn warning(key: String, message: String, help: &str) -> Problem {
    Problem {
        severity: Severity::Warning,
        key,
        message,
        help: Some(help.to_owned()),
        place: None,
    }
}

/// What is to be said of a pair that can be used.
fn notes(pair: &Pair, now: u64) -> Vec<(String, &'static str)> {
    let mut notes = Vec::new();
    if pair.facts.is_nameless() {
        notes.push((
            "the certificate has no name (subjectAltName), so no client accepts it".to_owned(),
            "names in its subject (CN) do not count any more; have it made again with names",
        ));
    }
    if let Some(fault) = pair.fault_at(now) {
        notes.push((fault.to_string(), "clients refuse it; renew it"));
    } else if due(pair, now).is_some() {
        let days = pair.facts.not_after.saturating_sub(now) / 86_400;
        let message = format!("the certificate ends in {days} days");
        notes.push((message, "renew it; the files are read again by themselves"));
    }
    notes
}

/// Whether everybody may read or write a file.
fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & OTHERS != 0)
}
