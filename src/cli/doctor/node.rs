//! The running node, as its private listener shows it.

use std::time::Duration;

use http::StatusCode;

use super::finding::Findings;
use crate::cli::admin_args::AdminArgs;
use crate::cli::api::Api;
use crate::cli::node::running;
use crate::cli::scrape::Scrape;
use crate::config::Config;
use crate::telemetry::Judge;

/// Whether a node runs; and how it is.
pub(super) fn look(
    config: &Config,
    admin: &AdminArgs,
    timeout: Duration,
    findings: &mut Findings,
) -> bool {
    let api = match running(config, admin, Some(timeout)) {
        Ok(Some(api)) => api,
        Ok(None) => {
            let subject = config.admin.listen.to_string();
            findings.skip("node", &subject, "no node runs here");
            return false;
        }
        Err(failure) => {
            let help = "something listens at the private address that is not a node of this configuration, or its token is another";
            findings.fail("node", "", failure.to_string(), help);
            return false;
        }
    };
    let subject = api.base().to_owned();
    match api.page("/readyz") {
        Ok((StatusCode::OK, _)) => findings.ok("node", &subject, "runs, and is ready"),
        Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => {
            let help = "it is starting or stopping, or its store is not ready; look at its log";
            findings.fail("node", &subject, "runs, and is not ready", help);
        }
        Ok((status, _)) => {
            let told = format!("/readyz answers {status}");
            findings.fail(
                "node",
                &subject,
                told,
                "name the private listener with --admin",
            );
            return false;
        }
        Err(failure) => {
            let help = "name the private listener with --admin";
            findings.fail("node", &subject, failure.to_string(), help);
            return false;
        }
    }
    books(&api, &subject, findings);
    figures(&api, &subject, findings);
    true
}

fn books(api: &Api, subject: &str, findings: &mut Findings) {
    match api.books() {
        Ok(books) => {
            let waiting: u64 = books.logstores.iter().map(|it| it.waiting).sum();
            if waiting > 0 {
                let told = format!("{waiting} events wait on disk for the store");
                let help =
                    "`tollgate spool ls` says for which logstore; see the findings of its upstream";
                findings.warn("node", subject, told, help);
            }
            let aside = books.logstores.iter();
            let aside = aside.filter_map(|it| it.sums.quarantined.get(Judge::Store.label()));
            let aside: u64 = aside.sum();
            if aside > 0 {
                let told = format!("{aside} events were refused by the store and set aside");
                findings.warn("node", subject, told, "`tollgate quarantine ls` says why");
            }
        }
        Err(failure) => {
            let help =
                "is it another node? Name its configuration with --config, or its data directory";
            findings.fail("node", subject, failure.to_string(), help);
        }
    }
}

fn figures(api: &Api, subject: &str, findings: &mut Findings) {
    let Ok((StatusCode::OK, text)) = api.page("/metrics") else {
        let help = "look at its log";
        findings.warn("node", subject, "shows no metrics", help);
        return;
    };
    let scrape = Scrape::parse(&String::from_utf8_lossy(&text));
    for sample in scrape.of("tollgate_upstream_breaker_state") {
        let state = sample.label("state").unwrap_or_default();
        if sample.value > 0.0 && !matches!(state, "closed" | "") {
            let upstream = sample.label("upstream").unwrap_or_default();
            let told = format!("the breaker of upstream `{upstream}` is {state}");
            let help = "the store does not answer; events wait. See the findings of the upstream";
            findings.warn("node", subject, told, help);
        }
    }
    let (open, limit) = (
        scrape.sum("tollgate_descriptors_open"),
        scrape.sum("tollgate_descriptors_limit"),
    );
    if limit > 0.0 && open > 0.8 * limit {
        let told = format!("{open} of {limit} file descriptors are in use");
        let help = "raise LimitNOFILE=, or lower ingest.max_connections";
        findings.warn("node", subject, told, help);
    }
    let failed = scrape.sum("tollgate_tls_reload_failed_total");
    if failed > 0.0 {
        let told = format!("certificates could not be read again {failed} times");
        findings.warn("node", subject, told, "its log says which file");
    }
}
