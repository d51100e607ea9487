//! The stores: whether they can be reached, take the key, have the logstores, and agree on the time.

use std::time::Duration;

use super::finding::Findings;
use crate::cli::tail::{endpoint_of, names_at_store};
use crate::config::{Config, Upstream, UpstreamKind};
use crate::foundation::clock;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::logstore::client::{Probe, StoreClient};
use crate::logstore::error::{NextStep, RetryReason, StoreError, next_step};

/// Seconds that clocks may differ: an answer takes its time, and a date has whole seconds.
const CLOSE: u64 = 30;
/// Seconds beyond which tokens of others are refused for their times; signatures are at 15 minutes.
const FAR: u64 = 300;
/// Logstores of an upstream that are asked for.
const MOST: usize = 100;

/// Asks each upstream for the shards of its logstores. `runs` says that a node runs here.
pub(super) async fn look(config: &Config, runs: bool, timeout: Duration, findings: &mut Findings) {
    for upstream in &config.upstreams {
        ask(config, upstream, runs, timeout, findings).await;
    }
}

async fn ask(
    config: &Config,
    upstream: &Upstream,
    runs: bool,
    timeout: Duration,
    findings: &mut Findings,
) {
    let name = &upstream.name;
    if upstream.kind == UpstreamKind::Embedded && !runs {
        let told = "the embedded logstore runs with the node, which does not run";
        findings.skip("upstream", name, told);
        return;
    }
    if matches!(upstream.kind, UpstreamKind::Kafka | UpstreamKind::Files) {
        let told = "only stores are asked; what Kafka or files refuse is in the log of the node";
        findings.skip("upstream", name, told);
        return;
    }
    let endpoint = endpoint_of(config, upstream).map(|mut endpoint| {
        endpoint.timeouts = timeout.into();
        endpoint
    });
    let client = endpoint
        .map_err(|failure| failure.to_string())
        .and_then(|endpoint| StoreClient::new(endpoint).map_err(|error| error.to_string()));
    let client = match client {
        Ok(client) => client,
        Err(why) => {
            let help = "give it a key, or mend its endpoint";
            findings.fail("upstream", name, why, help);
            return;
        }
    };
    let places = places(config, upstream);
    let mut good = 0;
    let mut clock_told = false;
    for (project, logstore) in places.iter().take(MOST) {
        let probe = client.probe(project, logstore).await;
        if let (Some(time), false) = (probe.server_time, clock_told) {
            clock_told = true;
            skew(name, time, findings);
        }
        let subject = format!("{name}, {project}/{logstore}");
        match tell(&subject, &probe, findings) {
            Told::Good => good += 1,
            Told::Bad => {}
            // The others of the store would fail as well.
            Told::Hopeless => return,
        }
    }
    if good > 0 {
        let told = format!("the key is taken, and {good} logstores are there");
        findings.ok("upstream", name, told);
    }
    if places.len() > MOST {
        let more = places.len() - MOST;
        findings.skip("upstream", name, format!("{more} more logstores"));
    }
}

/// The logstores of an upstream, by their names there.
fn places(config: &Config, upstream: &Upstream) -> Vec<(ProjectName, LogstoreName)> {
    let projects = config.projects.iter();
    let of_it = projects.filter(|project| project.uses(&upstream.name));
    let mut all: Vec<_> = of_it
        .flat_map(|project| {
            let logstores = project.logstores.iter();
            let of_it = logstores.filter(|it| project.sends(it, &upstream.name));
            of_it.map(|it| names_at_store(config, project.name.clone(), it.name.clone()))
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

enum Told {
    Good,
    Bad,
    Hopeless,
}

fn tell(subject: &str, probe: &Probe, findings: &mut Findings) -> Told {
    let Err(error) = &probe.shards else {
        return Told::Good;
    };
    let told = error.to_string();
    let NextStep::Retry { reason } = next_step(error) else {
        findings.fail("upstream", subject, told, "");
        return Told::Bad;
    };
    let (help, then) = match reason {
        RetryReason::Credential if is_denied(error) => {
            findings.warn(
                "upstream",
                subject,
                format!("the key is known and its signature good, but it may not list shards: {told}"),
                "Tollgate needs log:PostLogStoreLogs only; whether it has that is seen when it writes",
            );
            return Told::Bad;
        }
        RetryReason::Busy | RetryReason::Quota => {
            let help = "the store is busy; ask again later";
            findings.warn("upstream", subject, told, help);
            return Told::Bad;
        }
        RetryReason::Credential => (
            "look at access_key_id, access_key_secret, security_token and region of this upstream; the key may be disabled",
            Told::Hopeless,
        ),
        RetryReason::ClockSkew => ("set the clock of this machine (NTP)", Told::Hopeless),
        RetryReason::NotFound => (
            "make the project or logstore in the store, or mend its name (upstream_project, upstream_logstore)",
            Told::Bad,
        ),
        RetryReason::Network => (
            "look at the endpoint, at names (DNS), and at firewalls between; from inside a VPC use its endpoint",
            Told::Hopeless,
        ),
        RetryReason::Intermediary => (
            "something answers in the store's place: look at the endpoint, at proxies, and at ca_file",
            Told::Hopeless,
        ),
    };
    findings.fail("upstream", subject, told, help);
    then
}

/// Whether a key that was proven may not do this: the store checks the signature before the rights.
fn is_denied(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(answer) if answer.message.contains("denied by sts or ram"))
}

fn skew(name: &str, store: u64, findings: &mut Findings) {
    let now = clock::unix_seconds();
    let apart = store.abs_diff(now);
    let which = if store > now { "behind" } else { "ahead of" };
    let told = format!("this machine is {apart} s {which} the store");
    let help = "set the clock of this machine (NTP): times of tokens and of events go by it";
    if apart <= CLOSE {
        findings.ok("clock", name, "as the store's");
    } else if apart <= FAR {
        findings.warn("clock", name, told, help);
    } else {
        findings.fail("clock", name, told, help);
    }
}
