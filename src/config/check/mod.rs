//! Rules that need more than one key, or more than a type.
//!
//! Promise: pure, and every rule runs whatever the others found. Not here: the form of one value
//! (`walk`, by the schema), and whether secrets can be read ([`super::Config::check_secrets`]).

mod admin;
mod bounds;
mod credentials;
mod dashboard;
mod destinations;
mod guards;
mod identity;
mod ingest;
mod jwt;
mod listeners;
mod overload;
mod proxies;
mod quota;
mod redis;
mod routes;
mod schema;
mod tls;
mod traces;
mod transforms;
mod upstreams;

use super::problems::{Problem, Severity};
use super::walk::nearest;
use super::{Config, UpstreamKind};

/// A rule that a configuration breaks.
pub(super) struct Finding {
    severity: Severity,
    /// The key at fault, then other keys that have a part in it.
    pub(super) keys: Vec<String>,
    message: String,
    help: Option<String>,
}

impl Finding {
    /// As a problem that has no place yet.
    pub(super) fn problem(self) -> Problem {
        Problem {
            severity: self.severity,
            key: self.keys.into_iter().next().unwrap_or_default(),
            message: self.message,
            help: self.help,
            place: None,
        }
    }

    fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Names another key that has a part in it.
    fn beside(&mut self, key: impl Into<String>) -> &mut Self {
        self.keys.push(key.into());
        self
    }
}

/// What the rules found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, key: impl Into<String>, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Error, key.into(), message.into())
    }

    fn warning(&mut self, key: impl Into<String>, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, key.into(), message.into())
    }

    fn add(&mut self, severity: Severity, key: String, message: String) -> &mut Finding {
        self.0.push_mut(Finding {
            severity,
            keys: vec![key],
            message,
            help: None,
        })
    }
}

/// Every rule that a configuration breaks.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Findings::default();
    listeners::check(config, &mut findings);
    admin::check(config, &mut findings);
    dashboard::check(config, &mut findings);
    proxies::check(config, &mut findings);
    ingest::check(config, &mut findings);
    bounds::check(config, &mut findings);
    overload::check(config, &mut findings);
    identity::check(config, &mut findings);
    credentials::check(config, &mut findings);
    upstreams::check(config, &mut findings);
    routes::check(config, &mut findings);
    schema::check(config, &mut findings);
    redis::check(config, &mut findings);
    quota::check(config, &mut findings);
    guards::check(config, &mut findings);
    traces::check(config, &mut findings);
    transforms::check(config, &mut findings);
    findings.0
}

/// Whether the embedded logstore runs.
fn runs_embedded(config: &Config) -> bool {
    let mut upstreams = config.upstreams.iter();
    upstreams.any(|upstream| upstream.kind == UpstreamKind::Embedded)
}

/// Characters that a cookie name, a query parameter and a file name share.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Tells of every name that was there before.
fn unique<'n>(names: impl Iterator<Item = (String, &'n str)>, what: &str, findings: &mut Findings) {
    let mut seen = std::collections::BTreeMap::new();
    for (key, name) in names {
        if let Some(first) = seen.get(name) {
            let message = format!("a second {what} named `{name}`; the first is {first}");
            findings.error(key, message);
        } else {
            seen.insert(name, key);
        }
    }
}

/// Tells when `name` is not one of `known`.
fn refers<'n>(
    key: String,
    name: &str,
    known: impl Iterator<Item = &'n str>,
    what: &str,
    findings: &mut Findings,
) {
    let known: Vec<&str> = known.collect();
    if known.contains(&name) {
        return;
    }
    let finding = findings.error(key, format!("there is no {what} `{name}`"));
    match nearest(name, &known) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding.help(format!("add an entry of this name, {what}")),
    };
}
