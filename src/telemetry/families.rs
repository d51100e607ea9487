//! The values of the metrics, read from their cells.

use std::sync::Arc;
use std::time::Instant;

use super::declared::{self, Declaration};
use super::exposition::{self, Family, Form, Labels};
use super::labels::{
    AdminCall, AdminHandshake, AdminOutcome, CredentialKind, DropReason, NameKind, PlatformLabel,
    RelayOutcome, RouteLabel, TokenSource,
};
use super::metrics::{LogstoreMetrics, Metrics};
use crate::event::Reason;

impl Metrics {
    /// All metrics in this form.
    #[must_use]
    pub fn render(&self, form: Form) -> String {
        let began = Instant::now();
        let families = self
            .process_families()
            .into_iter()
            .chain(self.configuration_families())
            .chain(self.node_families())
            .chain(self.system_families())
            .chain(self.latency_families(form))
            .chain(self.edge_families())
            .chain(self.span_families())
            .chain(self.admin_families())
            .chain(self.jwks_families())
            .chain(self.embedded_families())
            .chain(self.limit_families())
            .chain(self.guard_families())
            .chain(self.certificate_families())
            .chain(self.logstore_families())
            .chain(self.quality_families())
            .chain(self.transform_families())
            .chain([self.names_family()]);
        let text = exposition::write(families, form);
        let micros = began.elapsed().as_micros();
        self.scrape_micros
            .set(u64::try_from(micros).unwrap_or(u64::MAX).max(1));
        text
    }

    fn process_families(&self) -> Vec<Family> {
        let mut requests = Family::of(&declared::REQUESTS);
        for route in RouteLabel::ALL {
            requests.push(
                vec![("route", route.label())],
                self.requests.at(*route as usize).get(),
            );
        }
        let mut refused = Family::of(&declared::UNROUTED_REQUESTS_REFUSED);
        for reason in Reason::ALL {
            let count = self.requests_refused.at(reason.index()).get();
            if count > 0 {
                refused.push(vec![("reason", reason.label())], count);
            }
        }
        let mut credentials = Family::of(&declared::CREDENTIALS_REFUSED);
        for kind in CredentialKind::ALL {
            for reason in Reason::ALL {
                let count = self.credentials_refused(*kind, *reason).get();
                if count > 0 {
                    let labels = vec![("kind", kind.label()), ("reason", reason.label())];
                    credentials.push(labels, count);
                }
            }
        }
        let mut security = Family::of(&declared::SECURITY_EVENTS);
        security.push(vec![("outcome", "written")], self.security_events.get());
        security.push(
            vec![("outcome", "dropped")],
            self.security_events_dropped.get(),
        );
        let mut leased = Family::of(&declared::MEMORY_LEASED_BYTES);
        let mut limit = Family::of(&declared::MEMORY_LIMIT_BYTES);
        if let Some(budget) = self.memory() {
            leased.push(vec![], budget.used());
            limit.push(vec![], budget.limit());
        }
        let mut build = Family::of(&declared::BUILD_INFO);
        let labels = vec![
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", env!("TOLLGATE_COMMIT")),
        ];
        build.push(labels, 1);
        let mut families: Vec<Family> = vec![requests, refused, credentials, security];
        families.extend(PROCESS.iter().map(|(declared, read)| {
            let mut family = Family::of(declared);
            family.push(vec![], read(self));
            family
        }));
        families.extend([leased, limit, build]);
        families
    }

    fn admin_families(&self) -> Vec<Family> {
        let mut calls = Family::of(&declared::ADMIN_CALLS);
        for call in AdminCall::ALL {
            for outcome in AdminOutcome::ALL {
                let count = self.admin_calls(*call, *outcome).get();
                if count > 0 {
                    let labels = vec![("call", call.label()), ("outcome", outcome.label())];
                    calls.push(labels, count);
                }
            }
        }
        let mut handshakes = Family::of(&declared::ADMIN_HANDSHAKES);
        for outcome in AdminHandshake::ALL {
            let count = self.admin_handshakes.at(*outcome as usize).get();
            if count > 0 {
                handshakes.push(vec![("outcome", outcome.label())], count);
            }
        }
        let mut tickets = Family::of(&declared::TICKETS);
        tickets.push(vec![], self.tickets.get());
        let mut revocations = Family::of(&declared::REVOCATIONS);
        revocations.push(vec![], self.revocations.get());
        let mut damaged = Family::of(&declared::IDENTITY_JOURNAL_DAMAGED_LINES);
        damaged.push(vec![], self.journal_damaged_lines.get());
        let mut families = vec![calls, handshakes, tickets, revocations, damaged];
        families.extend(self.dashboard_families());
        families
    }

    fn jwks_families(&self) -> [Family; 3] {
        let mut age = Family::of(&declared::JWKS_AGE_SECONDS);
        let mut keys = Family::of(&declared::JWKS_KEYS);
        let mut fetches = Family::of(&declared::JWKS_FETCHES);
        let all = self.jwks();
        let names = all.iter().map(|it| it.source.clone());
        let sharing = self.sharing(NameKind::KeySet, names);
        for figures in &all {
            let source = ("source", sharing.shown(&figures.source));
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
        let logstores = self.shown_logstores();
        let mut families: Vec<Family> = PLAIN
            .iter()
            .map(|(declared, read)| {
                let mut family = Family::of(declared);
                for ((project, logstore), cells) in &logstores {
                    family.push(base(project, logstore), read(cells));
                }
                family
            })
            .collect();
        families.extend(BY_LABEL.iter().map(|by| by.family(&logstores)));
        families.extend(self.load_families(&logstores));
        families.extend(self.upstream_families(&logstores));
        families.extend(super::spool::families(&logstores));
        families.extend(super::archive::families(&logstores));
        families
    }
}

pub(super) fn base<'a>(project: &'a str, logstore: &'a str) -> Labels<'a> {
    vec![("project", project), ("logstore", logstore)]
}

type ReadProcess = fn(&Metrics) -> u64;

/// Counters of the process with no label.
const PROCESS: &[(&Declaration, ReadProcess)] = &[
    (&declared::STS_CREDENTIALS_ISSUED, |m| m.sts_issued.get()),
    (&declared::LOGGED_REFUSALS_SUPPRESSED, |m| {
        m.refusals_suppressed.get()
    }),
    (&declared::DOUBLED_PROJECT_REQUESTS, |m| {
        m.doubled_project.get()
    }),
];

type Read = fn(&LogstoreMetrics) -> u64;

/// Metrics of a logstore with no further label.
const PLAIN: &[(&Declaration, Read)] = &[
    (&declared::REQUESTS_ACCEPTED, |m| m.requests_accepted.get()),
    (&declared::EVENTS_ENTERED, |m| m.events_entered.get()),
    (&declared::EVENTS_ADDED, |m| m.events_added.get()),
    (&declared::EVENTS_DECIDING, |m| m.events_deciding.get()),
    (&declared::EVENTS_ROUTED, |m| m.events_routed.get()),
    (&declared::EVENTS_ACCEPTED, |m| m.events_accepted.get()),
    (&declared::ACCEPTED_BYTES, |m| m.bytes_accepted.get()),
    (&declared::RESERVED_FIELDS_DROPPED, |m| {
        m.fields_reserved.get()
    }),
    (&declared::EVENT_TIMES_REPLACED, |m| m.times_replaced.get()),
    (&declared::EVENTS_DELIVERED, |m| m.events_delivered.get()),
    (&declared::EVENTS_HELD, |m| m.events_held.get()),
    (&declared::OPEN_BATCHES, |m| m.batches_open.get()),
    (&declared::WAITING_BATCHES, |m| m.batches_waiting.get()),
    (&declared::BATCHES_SEALED_EARLY, |m| {
        m.batches_sealed_early.get()
    }),
    (&declared::GROUPS_DELIVERED, |m| m.groups_delivered.get()),
    (&declared::DELIVERED_RAW_BYTES, |m| {
        m.raw_bytes_delivered.get()
    }),
    (&declared::DELIVERED_SENT_BYTES, |m| {
        m.sent_bytes_delivered.get()
    }),
    (&declared::DELIVERY_RETRIES, |m| m.delivery_retries.get()),
];

/// Metrics of a logstore with one label from a closed enum; values of 0 are left out.
struct ByLabel {
    declared: &'static Declaration,
    label: &'static str,
    values: fn(&LogstoreMetrics) -> Vec<(&'static str, u64)>,
}

impl ByLabel {
    fn family(&self, logstores: &[((String, String), Arc<LogstoreMetrics>)]) -> Family {
        let mut family = Family::of(self.declared);
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
        declared: &declared::REQUESTS_REFUSED,
        label: "reason",
        values: |m| {
            Reason::ALL
                .iter()
                .map(|r| (r.label(), m.requests_refused.at(r.index()).get()))
                .collect()
        },
    },
    ByLabel {
        declared: &declared::EVENTS_REFUSED,
        label: "reason",
        values: |m| {
            Reason::ALL
                .iter()
                .map(|r| (r.label(), m.events_refused.at(r.index()).get()))
                .collect()
        },
    },
    ByLabel {
        declared: &declared::REFUSED_BYTES,
        label: "reason",
        values: |m| {
            Reason::ALL
                .iter()
                .map(|r| (r.label(), m.bytes_refused.at(r.index()).get()))
                .collect()
        },
    },
    ByLabel {
        declared: &declared::REQUESTS_OBSERVED,
        label: "reason",
        values: |m| {
            Reason::ALL
                .iter()
                .map(|r| (r.label(), m.requests_observed.at(r.index()).get()))
                .collect()
        },
    },
    ByLabel {
        declared: &declared::REQUESTS_RELAYED,
        label: "outcome",
        values: |m| {
            let cell = |o: &RelayOutcome| (o.label(), m.requests_relayed.at(*o as usize).get());
            RelayOutcome::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        declared: &declared::CREDENTIALS_ACCEPTED,
        label: "kind",
        values: |m| {
            let cell = |k: &CredentialKind| (k.label(), m.credential.at(*k as usize).get());
            CredentialKind::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        declared: &declared::CREDENTIALS,
        label: "source",
        values: |m| {
            let cell = |s: &TokenSource| (s.label(), m.token_source.at(*s as usize).get());
            TokenSource::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        declared: &declared::PLATFORM_REQUESTS,
        label: "platform",
        values: |m| {
            let cell = |p: &PlatformLabel| (p.label(), m.platform.at(*p as usize).get());
            PlatformLabel::ALL.iter().map(cell).collect()
        },
    },
    ByLabel {
        declared: &declared::EVENTS_DROPPED,
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
        let shown = || metrics.render(Form::Text);
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
        let text = metrics.render(Form::Text);
        for line in [
            r#"tollgate_events_accepted_total{project="abc",logstore="defg"} 1"#,
            r#"tollgate_events_accepted_total{project="abcd",logstore="efg"} 2"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
