//! Every metric: name, help, labels, value. Rendered in the Prometheus text format.
//!
//! The families are built by hand, since the crate's own vectors tell series apart by a hash of
//! their label values run together: `("ab", "c")` and `("a", "bc")` would be one series.

use std::sync::Arc;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::labels::{
    AdminCall, AdminOutcome, CredentialKind, DropReason, PlatformLabel, RelayOutcome, RouteLabel,
    TokenSource,
};
use super::metrics::{LogstoreMetrics, Metrics};
use crate::event::Reason;

pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

pub(super) struct Family {
    family: MetricFamily,
}

impl Family {
    pub(super) fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self { family }
    }

    pub(super) fn push(&mut self, labels: Labels<'_>, value: u64) {
        self.push_part(labels, value, 1);
    }

    /// Pushes `value / per`: Prometheus wants whole units.
    pub(super) fn push_part(&mut self, labels: Labels<'_>, value: u64, per: u32) {
        let mut metric = Metric::default();
        let pairs: Vec<LabelPair> = labels
            .into_iter()
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.to_owned());
                pair
            })
            .collect();
        metric.set_label(pairs);
        #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
        let value = value as f64 / f64::from(per);
        if self.family.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.family.mut_metric().push(metric);
    }
}

impl Metrics {
    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let families: Vec<MetricFamily> = self
            .process_families()
            .into_iter()
            .chain(self.edge_families())
            .chain(self.admin_families())
            .chain(self.jwks_families())
            .chain(self.limit_families())
            .chain(self.guard_families())
            .chain(self.certificate_families())
            .chain(self.logstore_families())
            .chain(self.quality_families())
            .chain(self.transform_families())
            .map(|family| family.family)
            .filter(|family| !family.get_metric().is_empty())
            .collect();
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "metrics could not be rendered");
        }
        text
    }

    fn process_families(&self) -> Vec<Family> {
        let mut requests = Family::new(
            "tollgate_requests_total",
            "Requests received, by route, refused ones included.",
            MetricType::COUNTER,
        );
        for route in RouteLabel::ALL {
            requests.push(
                vec![("route", route.label())],
                self.requests.at(*route as usize).get(),
            );
        }
        let mut refused = Family::new(
            "tollgate_unrouted_requests_refused_total",
            "Requests refused before their logstore was known, by reason.",
            MetricType::COUNTER,
        );
        for reason in Reason::ALL {
            let count = self.requests_refused.at(reason.index()).get();
            if count > 0 {
                refused.push(vec![("reason", reason.label())], count);
            }
        }
        let mut credentials = Family::new(
            "tollgate_credentials_refused_total",
            "Credentials refused, by kind and reason; of every route.",
            MetricType::COUNTER,
        );
        for kind in CredentialKind::ALL {
            for reason in Reason::ALL {
                let count = self.credentials_refused(*kind, *reason).get();
                if count > 0 {
                    let labels = vec![("kind", kind.label()), ("reason", reason.label())];
                    credentials.push(labels, count);
                }
            }
        }
        let mut security = Family::new(
            "tollgate_security_events_total",
            "Security events, by whether they were written or dropped (too many in a second, or no memory).",
            MetricType::COUNTER,
        );
        security.push(vec![("outcome", "written")], self.security_events.get());
        security.push(
            vec![("outcome", "dropped")],
            self.security_events_dropped.get(),
        );
        let mut leased = Family::new(
            "tollgate_memory_leased_bytes",
            "Memory held by bodies, open batches and undelivered LogGroups. Alert above 80 % of the limit.",
            MetricType::GAUGE,
        );
        let mut limit = Family::new(
            "tollgate_memory_limit_bytes",
            "The memory budget (limits.memory).",
            MetricType::GAUGE,
        );
        if let Some(budget) = self.memory() {
            leased.push(vec![], budget.used());
            limit.push(vec![], budget.limit());
        }
        let mut build = Family::new(
            "tollgate_build_info",
            "Always 1; version and commit are its labels.",
            MetricType::GAUGE,
        );
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", env!("TOLLGATE_COMMIT")),
        ];
        build.push(labels, 1);
        let mut families: Vec<Family> = vec![requests, refused, credentials, security];
        families.extend(PROCESS.iter().map(|(name, help, read)| {
            let mut family = Family::new(name, help, MetricType::COUNTER);
            family.push(vec![], read(self));
            family
        }));
        families.extend([leased, limit, build]);
        families
    }

    fn admin_families(&self) -> Vec<Family> {
        let mut calls = Family::new(
            "tollgate_admin_calls_total",
            "Calls of the admin API, by call and outcome. Look at denied.",
            MetricType::COUNTER,
        );
        for call in AdminCall::ALL {
            for outcome in AdminOutcome::ALL {
                let count = self.admin_calls(*call, *outcome).get();
                if count > 0 {
                    let labels = vec![("call", call.label()), ("outcome", outcome.label())];
                    calls.push(labels, count);
                }
            }
        }
        let mut tickets = Family::new(
            "tollgate_tickets",
            "Tickets that are kept, expired ones of the last day included. Bound: identity.ticket.max_count.",
            MetricType::GAUGE,
        );
        tickets.push(vec![], self.tickets.get());
        let mut revocations = Family::new(
            "tollgate_revocations",
            "Revocations that are kept. Bound: identity.revocation.max_count.",
            MetricType::GAUGE,
        );
        revocations.push(vec![], self.revocations.get());
        let mut damaged = Family::new(
            "tollgate_identity_journal_damaged_lines",
            "Damaged lines of the journal of tickets and revocations, skipped at start. Alert on any: a revocation may be among them.",
            MetricType::GAUGE,
        );
        damaged.push(vec![], self.journal_damaged_lines.get());
        vec![calls, tickets, revocations, damaged]
    }

    fn jwks_families(&self) -> [Family; 3] {
        let mut age = Family::new(
            "tollgate_jwks_age_seconds",
            "Seconds since the keys of a jwks_url were last fetched; none before the first time. Alert well below jwks_keep.",
            MetricType::GAUGE,
        );
        let mut keys = Family::new(
            "tollgate_jwks_keys",
            "Keys of a jwks_url that are used.",
            MetricType::GAUGE,
        );
        let mut fetches = Family::new(
            "tollgate_jwks_fetches_total",
            "Fetches of a jwks_url, by whether they brought a set to use.",
            MetricType::COUNTER,
        );
        for figures in self.jwks() {
            let source = ("source", figures.source.as_str());
            if let Some(seconds) = figures.age_seconds {
                age.push(vec![source], seconds);
            }
            keys.push(vec![source], figures.keys);
            fetches.push(vec![source, ("outcome", "done")], figures.fetched);
            fetches.push(vec![source, ("outcome", "failed")], figures.failed);
        }
        [age, keys, fetches]
    }

    fn logstore_families(&self) -> Vec<Family> {
        let logstores = self.each_logstore();
        let mut families: Vec<Family> = PLAIN
            .iter()
            .map(|(name, help, kind, read)| {
                let mut family = Family::new(name, help, *kind);
                for ((project, logstore), cells) in &logstores {
                    family.push(base(project, logstore), read(cells));
                }
                family
            })
            .collect();
        families.extend(BY_LABEL.iter().map(|by| by.family(&logstores)));
        families.extend(self.load_families(&logstores));
        families.extend(self.upstream_families(&logstores));
        families
    }
}

pub(super) fn base<'a>(project: &'a str, logstore: &'a str) -> Labels<'a> {
    vec![("project", project), ("logstore", logstore)]
}

type ReadProcess = fn(&Metrics) -> u64;

/// Counters of the process with no label.
const PROCESS: &[(&str, &str, ReadProcess)] = &[
    (
        "tollgate_sts_credentials_issued_total",
        "Temporary credentials given out by AssumeRole and /get_sts_token.",
        |m| m.sts_issued.get(),
    ),
    (
        "tollgate_doubled_project_requests_total",
        "Requests whose host names the project twice, a mistake of a published sample.",
        |m| m.doubled_project.get(),
    ),
];

type Read = fn(&LogstoreMetrics) -> u64;

/// Metrics of a logstore with no further label.
const PLAIN: &[(&str, &str, MetricType, Read)] = &[
    (
        "tollgate_requests_accepted_total",
        "Requests answered with 200.",
        MetricType::COUNTER,
        |m| m.requests_accepted.get(),
    ),
    (
        "tollgate_events_accepted_total",
        "Events in accepted requests.",
        MetricType::COUNTER,
        |m| m.events_accepted.get(),
    ),
    (
        "tollgate_accepted_bytes_total",
        "Bytes of accepted requests before compression.",
        MetricType::COUNTER,
        |m| m.bytes_accepted.get(),
    ),
    (
        "tollgate_reserved_fields_dropped_total",
        "Fields left out of accepted events because their name is reserved.",
        MetricType::COUNTER,
        |m| m.fields_reserved.get(),
    ),
    (
        "tollgate_event_times_replaced_total",
        "Accepted events whose __time__ was outside the window and was replaced.",
        MetricType::COUNTER,
        |m| m.times_replaced.get(),
    ),
    (
        "tollgate_events_delivered_total",
        "Events that the store has acknowledged.",
        MetricType::COUNTER,
        |m| m.events_delivered.get(),
    ),
    (
        "tollgate_events_held",
        "Accepted events in memory, not yet delivered.",
        MetricType::GAUGE,
        |m| m.events_held.get(),
    ),
    (
        "tollgate_open_batches",
        "Batches that still take events.",
        MetricType::GAUGE,
        |m| m.batches_open.get(),
    ),
    (
        "tollgate_waiting_batches",
        "Sealed batches that wait or are on their way.",
        MetricType::GAUGE,
        |m| m.batches_waiting.get(),
    ),
    (
        "tollgate_batches_sealed_early_total",
        "Batches sealed because batch.max_open was reached. Many: clients send very many sources, tags or addresses.",
        MetricType::COUNTER,
        |m| m.batches_sealed_early.get(),
    ),
    (
        "tollgate_groups_delivered_total",
        "LogGroups that the store has acknowledged.",
        MetricType::COUNTER,
        |m| m.groups_delivered.get(),
    ),
    (
        "tollgate_delivered_raw_bytes_total",
        "Bytes of delivered LogGroups before compression.",
        MetricType::COUNTER,
        |m| m.raw_bytes_delivered.get(),
    ),
    (
        "tollgate_delivered_sent_bytes_total",
        "Bytes of delivered LogGroups as sent.",
        MetricType::COUNTER,
        |m| m.sent_bytes_delivered.get(),
    ),
    (
        "tollgate_delivery_retries_total",
        "Delivery attempts that failed and are tried again.",
        MetricType::COUNTER,
        |m| m.delivery_retries.get(),
    ),
];

/// Metrics of a logstore with one label from a closed enum; values of 0 are left out.
struct ByLabel {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: fn(&LogstoreMetrics) -> Vec<(&'static str, u64)>,
}

impl ByLabel {
    fn family(&self, logstores: &[((String, String), Arc<LogstoreMetrics>)]) -> Family {
        let mut family = Family::new(self.name, self.help, MetricType::COUNTER);
        for ((project, logstore), cells) in logstores {
            for (value, count) in (self.values)(cells) {
                if count > 0 {
                    let mut labels = base(project, logstore);
                    labels.push((self.label, value));
                    family.push(labels, count);
                }
            }
        }
        family
    }
}

const BY_LABEL: &[ByLabel] = &[
    ByLabel {
        name: "tollgate_requests_refused_total",
        help: "Requests refused, by reason.",
        label: "reason",
        values: |m| {
            Reason::ALL
                .iter()
                .map(|r| (r.label(), m.requests_refused.at(r.index()).get()))
                .collect()
        },
    },
    ByLabel {
        name: "tollgate_events_refused_total",
        help: "Events in refused requests, as far as they were counted before the refusal.",
        label: "reason",
        values: |m| {
            Reason::ALL
                .iter()
                .map(|r| (r.label(), m.events_refused.at(r.index()).get()))
                .collect()
        },
    },
    ByLabel {
        name: "tollgate_requests_observed_total",
        help: "Requests taken only because identity_mode is observe, by the reason that would have refused them.",
        label: "reason",
        values: |m| {
            Reason::ALL
                .iter()
                .map(|r| (r.label(), m.requests_observed.at(r.index()).get()))
                .collect()
        },
    },
    ByLabel {
        name: "tollgate_requests_relayed_total",
        help: "Requests relayed unchanged to the upstream, by its answer.",
        label: "outcome",
        values: |m| {
            let cell = |o: &RelayOutcome| (o.label(), m.requests_relayed.at(*o as usize).get());
            RelayOutcome::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        name: "tollgate_credentials_accepted_total",
        help: "Accepted requests, by the kind of their credential.",
        label: "kind",
        values: |m| {
            let cell = |k: &CredentialKind| (k.label(), m.credential.at(*k as usize).get());
            CredentialKind::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        name: "tollgate_credentials_total",
        help: "Accepted requests, by where their credential stood.",
        label: "source",
        values: |m| {
            let cell = |s: &TokenSource| (s.label(), m.token_source.at(*s as usize).get());
            TokenSource::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        name: "tollgate_platform_requests_total",
        help: "Accepted requests, by the platform that their headers speak of. Trivially forged: a label, no more.",
        label: "platform",
        values: |m| {
            let cell = |p: &PlatformLabel| (p.label(), m.platform.at(*p as usize).get());
            PlatformLabel::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        name: "tollgate_events_dropped_total",
        help: "Accepted events that did not reach the store, by reason. Alert on any.",
        label: "reason",
        values: |m| {
            let cell = |d: &DropReason| (d.label(), m.events_dropped.at(*d as usize).get());
            DropReason::ALL.iter().map(cell).collect()
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetched_sets_of_keys_are_read_anew_each_time() {
        use std::sync::atomic::{AtomicU64, Ordering};

        use crate::telemetry::JwksFigures;

        let metrics = Metrics::new();
        let shown = || String::from_utf8(metrics.render()).unwrap();
        assert!(!shown().contains("tollgate_jwks"));
        assert!(shown().contains("tollgate_identity_journal_damaged_lines 0"));
        metrics.journal_damaged_lines.set(3);
        let fetched = Arc::new(AtomicU64::new(2));
        let counted = Arc::clone(&fetched);
        metrics.watch_jwks(move || {
            let fetched = counted.load(Ordering::Relaxed);
            let idp = JwksFigures {
                source: "idp".to_owned(),
                age_seconds: Some(90),
                keys: 4,
                fetched,
                failed: 1,
            };
            let never = JwksFigures {
                source: "never".to_owned(),
                failed: 7,
                ..JwksFigures::default()
            };
            vec![idp, never]
        });
        let text = shown();
        for line in [
            "tollgate_identity_journal_damaged_lines 3",
            r#"tollgate_jwks_age_seconds{source="idp"} 90"#,
            r#"tollgate_jwks_keys{source="idp"} 4"#,
            r#"tollgate_jwks_keys{source="never"} 0"#,
            r#"tollgate_jwks_fetches_total{source="idp",outcome="done"} 2"#,
            r#"tollgate_jwks_fetches_total{source="idp",outcome="failed"} 1"#,
            r#"tollgate_jwks_fetches_total{source="never",outcome="failed"} 7"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        assert!(!text.contains(r#"age_seconds{source="never"}"#), "{text}");
        fetched.store(5, Ordering::Relaxed);
        let line = r#"tollgate_jwks_fetches_total{source="idp",outcome="done"} 5"#;
        assert!(shown().contains(line));
    }

    #[test]
    fn names_that_run_together_stay_two_series() {
        let metrics = Metrics::new();
        metrics.logstore("abc", "defg").events_accepted.add(1);
        metrics.logstore("abcd", "efg").events_accepted.add(2);
        let text = String::from_utf8(metrics.render()).unwrap();
        for line in [
            r#"tollgate_events_accepted_total{project="abc",logstore="defg"} 1"#,
            r#"tollgate_events_accepted_total{project="abcd",logstore="efg"} 2"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
