//! Redis, and the servers that sets of keys are fetched from.

use std::time::Duration;

use super::finding::Findings;
use crate::app::probe_collector;
use crate::config::Config;
use crate::gate::identity::probe_sets;
use crate::gate::quota::shared::{StoreFault, probe};

/// Whether the store of shared limits can be reached, and takes writes.
pub(super) async fn redis(config: &Config, timeout: Duration, findings: &mut Findings) {
    let probes = probe(&config.quota.redis, timeout).await;
    let primaries = probes.iter().filter(|it| it.replica == Ok(false)).count();
    for probe in &probes {
        match probe.replica {
            Ok(false) => findings.ok("redis", &probe.address, "answers, and is a primary"),
            Ok(true) => findings.ok("redis", &probe.address, "answers, and is a replica"),
            Err(fault) => {
                let (told, help) = told(fault);
                findings.fail("redis", &probe.address, told, help);
            }
        }
    }
    let answers = probes.iter().any(|it| it.replica.is_ok());
    if answers && primaries == 0 {
        findings.fail(
            "redis",
            "",
            "none that answers takes writes",
            "name the primary in quota.redis.urls; without it each node counts alone",
        );
    }
}

fn told(fault: StoreFault) -> (String, &'static str) {
    let told = match fault {
        StoreFault::Connect => "cannot be reached",
        StoreFault::Timeout => "did not answer in time",
        StoreFault::Tls => "no secure connection",
        StoreFault::Auth => "user or password are refused",
        StoreFault::Secret => "the password cannot be read",
        StoreFault::NotReady => "is not ready",
        other => {
            return (
                format!("does not answer as it should ({})", other.label()),
                "",
            );
        }
    };
    let help = match fault {
        StoreFault::Connect | StoreFault::Timeout => {
            "look whether it runs and listens there, and at firewalls between"
        }
        StoreFault::Tls => "look at its certificate and at quota.redis.ca_file",
        StoreFault::Auth | StoreFault::Secret => "look at quota.redis.user and password",
        _ => "look at its own log",
    };
    (told.to_owned(), help)
}

/// Whether each set of keys can be fetched.
pub(super) async fn key_sets(config: &Config, timeout: Duration, findings: &mut Findings) {
    for probe in probe_sets(&config.identity, timeout).await {
        let subject = format!("`{}` at {}", probe.name, probe.url);
        match probe.keys {
            Ok(keys) => {
                let told = format!("fetched, with {keys} keys that can be used");
                findings.ok("jwks", &subject, told);
            }
            Err(why) => findings.fail(
                "jwks",
                &subject,
                why,
                "tokens of this issuer are refused until it can be fetched; look at the URL, and at what stands between",
            ),
        }
    }
}

/// Whether the collector of traces takes them.
pub(super) async fn collector(config: &Config, timeout: Duration, findings: &mut Findings) {
    let Some(taken) = probe_collector(config, timeout).await else {
        return;
    };
    let subject = config.traces.endpoint.as_deref().unwrap_or_default();
    match taken {
        Ok(()) => findings.ok("traces", subject, "takes a request without any span"),
        Err(why) => findings.fail(
            "traces",
            subject,
            why,
            "spans are dropped until it takes them, and events go on; look at `[traces]`: the whole URL with its path, `headers`, `ca_file`",
        ),
    }
}
