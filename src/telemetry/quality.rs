//! What is counted of events that were found wanting.

use prometheus::proto::MetricType::{COUNTER, GAUGE};

use super::families::Family;
use super::labels::Judge;
use super::metrics::{Cells, Counter, LogstoreMetrics, Metrics};

type ByJudge = fn(&LogstoreMetrics) -> &Cells<{ Judge::COUNT }>;
type Plain = fn(&LogstoreMetrics) -> &Counter;

const BY_JUDGE: [(&str, &str, ByJudge); 2] = [
    (
        "tollgate_events_quarantined_total",
        "Events set aside, by what found them wanting. Those of the judge `store` were accepted and then refused by the store; the others are not among the accepted ones.",
        |m| &m.events_quarantined,
    ),
    (
        "tollgate_events_observed_total",
        "Accepted events that would have been found wanting, were it enforced.",
        |m| &m.events_observed,
    ),
];

const PLAIN: [(&str, &str, Plain); 3] = [
    (
        "tollgate_events_sampled_total",
        "Events that a step left out by choice: a sample, a privacy signal, no field left.",
        |m| &m.events_sampled,
    ),
    (
        "tollgate_events_repaired_total",
        "Accepted events that were bad and have been repaired.",
        |m| &m.events_repaired,
    ),
    (
        "tollgate_events_duplicate_total",
        "Events that were taken before, and are not stored again.",
        |m| &m.events_duplicate,
    ),
];

impl Metrics {
    pub(super) fn quality_families(&self) -> Vec<Family> {
        let logstores = self.each_logstore();
        let by_judge = BY_JUDGE.iter().map(|(name, help, cells)| {
            let mut family = Family::new(name, help, COUNTER);
            for ((project, logstore), metrics) in &logstores {
                for judge in Judge::ALL {
                    let count = cells(metrics).at(*judge as usize).get();
                    if count > 0 {
                        let labels = vec![
                            ("project", project.as_str()),
                            ("logstore", logstore.as_str()),
                            ("judge", judge.label()),
                        ];
                        family.push(labels, count);
                    }
                }
            }
            family
        });
        let plain = PLAIN.iter().map(|(name, help, cell)| {
            let mut family = Family::new(name, help, COUNTER);
            for ((project, logstore), metrics) in &logstores {
                let count = cell(metrics).get();
                if count > 0 {
                    let labels = vec![
                        ("project", project.as_str()),
                        ("logstore", logstore.as_str()),
                    ];
                    family.push(labels, count);
                }
            }
            family
        });
        by_judge
            .chain(plain)
            .chain(self.quarantine_families())
            .collect()
    }

    fn quarantine_families(&self) -> Vec<Family> {
        let quarantine = &self.quarantine;
        let of = |name, help, kind, value| {
            let mut family = Family::new(name, help, kind);
            family.push(Vec::new(), value);
            family
        };
        vec![
            of(
                "tollgate_quarantine_bytes",
                "Bytes of events that are set aside on local disk.",
                GAUGE,
                quarantine.bytes.get(),
            ),
            of(
                "tollgate_quarantine_expired_records_total",
                "Records of the quarantine deleted by quarantine.max_age or quarantine.max_size.",
                COUNTER,
                quarantine.expired.get(),
            ),
            of(
                "tollgate_quarantine_write_errors_total",
                "Writes of the quarantine that failed and are tried again. Alert on any.",
                COUNTER,
                quarantine.write_errors.get(),
            ),
            of(
                "tollgate_quarantine_replayed_records_total",
                "Records of the quarantine that were replayed and taken.",
                COUNTER,
                quarantine.replayed.get(),
            ),
        ]
    }
}
