//! Everything that is counted, as plain numbers at one moment: for people who look on.
//!
//! Not here: rates, which need two of these, and who may see what (`admin::dashboard`).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde::Serialize;

use super::labels::{DropReason, Judge, RelayOutcome};
use super::metrics::{Cells, LogstoreMetrics, Metrics, REASONS};
use crate::event::Reason;

/// Numbers by name; those of 0 are left out. The names are those of the cells, or
/// `refused.{reason}`, `dropped.{reason}` and `quarantined.{judge}`.
pub type Numbers = BTreeMap<String, u64>;

/// Everything at one moment.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Each logstore.
    pub logstores: Vec<LogstoreOverview>,
    /// Requests refused before their logstore was known, by reason, since the process has started.
    pub unrouted: Numbers,
    /// Each upstream.
    pub upstreams: Vec<UpstreamOverview>,
    /// Each certificate that is in use.
    pub certificates: Vec<CertificateOverview>,
    /// The process.
    pub process: ProcessOverview,
}

/// One logstore.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogstoreOverview {
    /// Its project.
    pub project: String,
    /// Its name.
    pub logstore: String,
    /// What only grows, since the process has started.
    pub counts: Numbers,
    /// What goes up and down. Times in milliseconds.
    pub gauges: Numbers,
}

/// One upstream.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamOverview {
    /// Its name.
    pub name: String,
    /// The state of its breaker.
    pub breaker: &'static str,
    /// Times that the breaker opened.
    pub opened: u64,
    /// Single attempts of a half-open breaker.
    pub probes: u64,
    /// Attempts whose access key was refused.
    pub credentials_refused: u64,
}

/// One file of a certificate of one listener.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateOverview {
    /// The listener.
    pub listener: String,
    /// The file.
    pub file: String,
    /// When it ends, Unix seconds.
    pub not_after: u64,
    /// Times that a changed file could not be used.
    pub failed: u64,
}

/// The process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessOverview {
    /// Bytes of the memory budget in use.
    pub memory_used: u64,
    /// Bytes of the memory budget.
    pub memory_limit: u64,
    /// Public connections open now.
    pub connections: u64,
    /// Public connections that may be open at once.
    pub connection_limit: u64,
    /// How late tasks run, in microseconds.
    pub lag_micros: u64,
    /// Whether requests are refused for that.
    pub shedding: bool,
    /// Bytes of records of the quarantine on disk.
    pub quarantine_bytes: u64,
}

impl Metrics {
    /// Everything at this moment. The cells are read one after the other while others count on them.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let logstores = self.each_logstore();
        let logstores = logstores.iter().map(|((project, logstore), cells)| {
            let (project, logstore) = (project.clone(), logstore.clone());
            LogstoreOverview {
                project,
                logstore,
                counts: counts(cells),
                gauges: gauges(cells),
            }
        });
        let mut unrouted = Numbers::new();
        put_refusals(&mut unrouted, "refused", &self.requests_refused);
        Overview {
            logstores: logstores.collect(),
            unrouted,
            upstreams: self.upstream_overviews(),
            certificates: self.certificate_overviews(),
            process: self.process_overview(),
        }
    }

    fn upstream_overviews(&self) -> Vec<UpstreamOverview> {
        let upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let each = upstreams.iter().map(|(name, cells)| UpstreamOverview {
            name: name.clone(),
            breaker: cells.breaker().label(),
            opened: cells.opened.get(),
            probes: cells.probes.get(),
            credentials_refused: cells.credentials_refused.get(),
        });
        each.collect()
    }

    fn certificate_overviews(&self) -> Vec<CertificateOverview> {
        self.certificates.each(|listener, file, cells| {
            (cells.not_after.get() > 0).then(|| CertificateOverview {
                listener: listener.to_owned(),
                file: file.to_owned(),
                not_after: cells.not_after.get(),
                failed: cells.failed.get(),
            })
        })
    }

    fn process_overview(&self) -> ProcessOverview {
        let memory = self.memory();
        ProcessOverview {
            memory_used: memory.as_ref().map_or(0, |budget| budget.used()),
            memory_limit: memory.as_ref().map_or(0, |budget| budget.limit()),
            connections: self.edge.open.get(),
            connection_limit: self.edge.limit.get(),
            lag_micros: self.machine.lag_micros.get(),
            shedding: self.machine.shedding.get() > 0,
            quarantine_bytes: self.quarantine.bytes.get(),
        }
    }
}

fn put(numbers: &mut Numbers, name: impl Into<String>, value: u64) {
    if value > 0 {
        numbers.insert(name.into(), value);
    }
}

fn put_refusals(numbers: &mut Numbers, prefix: &str, cells: &Cells<REASONS>) {
    for reason in Reason::ALL {
        let count = cells.at(reason.index()).get();
        if count > 0 {
            numbers.insert(format!("{prefix}.{}", reason.label()), count);
        }
    }
}

fn counts(cells: &LogstoreMetrics) -> Numbers {
    let mut counts = Numbers::new();
    let relayed = RelayOutcome::ALL.iter();
    let relayed = relayed.map(|it| cells.requests_relayed.at(*it as usize).get());
    for (name, value) in [
        ("requests", cells.requests_accepted.get()),
        ("relayed", relayed.sum()),
        ("events", cells.events_accepted.get()),
        ("bytes", cells.bytes_accepted.get()),
        ("delivered", cells.events_delivered.get()),
        ("sentBytes", cells.sent_bytes_delivered.get()),
        ("retries", cells.delivery_retries.get()),
        ("repaired", cells.events_repaired.get()),
        ("sampled", cells.events_sampled.get()),
        ("duplicate", cells.events_duplicate.get()),
        ("fallback", cells.delivery.fallback_groups.get()),
        ("expired", cells.spool.expired.get()),
        ("shed", cells.spool.shed.get()),
        ("recovered", cells.spool.recovered.get()),
    ] {
        put(&mut counts, name, value);
    }
    put_refusals(&mut counts, "refused", &cells.requests_refused);
    put_refusals(&mut counts, "observed", &cells.requests_observed);
    for judge in Judge::ALL {
        let name = format!("quarantined.{}", judge.label());
        let count = cells.events_quarantined.at(*judge as usize).get();
        put(&mut counts, name, count);
    }
    for reason in DropReason::ALL {
        let name = format!("dropped.{}", reason.label());
        put(
            &mut counts,
            name,
            cells.events_dropped.at(*reason as usize).get(),
        );
    }
    counts
}

fn gauges(cells: &LogstoreMetrics) -> Numbers {
    let mut gauges = Numbers::new();
    let (held, drained) = (cells.load.bytes_held.get(), cells.load.drain_rate.get());
    let delay = held.saturating_mul(1000).checked_div(drained);
    let (leased, allowed) = cells.load.memory().unwrap_or_default();
    for (name, value) in [
        ("held", cells.events_held.get()),
        ("heldBytes", held),
        ("delay", delay.unwrap_or(0)),
        ("leasedBytes", leased),
        ("allowedBytes", allowed),
        ("openBatches", cells.batches_open.get()),
        ("waitingBatches", cells.batches_waiting.get()),
        ("concurrency", cells.delivery.concurrency.get()),
        ("spoolEvents", cells.spool.waiting.get()),
        ("spoolBytes", cells.spool.bytes.get()),
        ("spoolState", cells.spool.state.get()),
        ("spoolDamaged", cells.spool.damaged.get()),
    ] {
        put(&mut gauges, name, value);
    }
    gauges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_seen_by_name_and_zeros_are_left_out() {
        let metrics = Metrics::new();
        let cells = metrics.logstore("shop", "web");
        cells.requests_accepted.add(3);
        let reason = Reason::TokenExpired;
        cells.requests_refused.at(reason.index()).add(2);
        cells.events_quarantined.at(Judge::Schema as usize).add(4);
        cells.spool.bytes.set(77);
        cells.load.bytes_held.set(500);
        cells.load.drain_rate.set(1000);
        metrics.requests_refused.at(0).inc();
        let cells = metrics.upstream_or_new("sls");
        cells.opened.inc();
        metrics.keep_upstream("sls", &cells);
        metrics.certificate("main", "a.pem").not_after.set(9);
        metrics.certificate("main", "clients.pem").reloaded.inc();
        let seen = metrics.overview();
        let one = &seen.logstores[0];
        let expected = [
            ("quarantined.schema", 4),
            ("refused.token_expired", 2),
            ("requests", 3),
        ];
        let found: Vec<_> = one.counts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        assert_eq!(found, expected);
        assert_eq!((one.gauges["spoolBytes"], one.gauges["delay"]), (77, 500));
        assert_eq!(seen.unrouted["refused.unknown_route"], 1);
        assert_eq!(seen.upstreams[0].breaker, "closed");
        assert_eq!(seen.certificates.len(), 1, "authorities have no end");
    }
}
