//! What is counted of events that were found wanting.

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::labels::Judge;
use super::metrics::{Cells, Counter, LogstoreMetrics, Metrics};

type ByJudge = fn(&LogstoreMetrics) -> &Cells<{ Judge::COUNT }>;
type Plain = fn(&LogstoreMetrics) -> &Counter;

const BY_JUDGE: [(&Declaration, ByJudge); 2] = [
    (&declared::EVENTS_QUARANTINED, |m| &m.events_quarantined),
    (&declared::EVENTS_OBSERVED, |m| &m.events_observed),
];

const PLAIN: [(&Declaration, Plain); 3] = [
    (&declared::EVENTS_SAMPLED, |m| &m.events_sampled),
    (&declared::EVENTS_REPAIRED, |m| &m.events_repaired),
    (&declared::EVENTS_DUPLICATE, |m| &m.events_duplicate),
];

impl Metrics {
    pub(super) fn quality_families(&self) -> Vec<Family> {
        let logstores = self.shown_logstores();
        let by_judge = BY_JUDGE.iter().map(|(declared, cells)| {
            let mut family = Family::of(declared);
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
        let plain = PLAIN.iter().map(|(declared, cell)| {
            let mut family = Family::of(declared);
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
        let of = |declared, value| {
            let mut family = Family::of(declared);
            family.push(Vec::new(), value);
            family
        };
        vec![
            of(&declared::QUARANTINE_BYTES, quarantine.bytes.get()),
            of(
                &declared::QUARANTINE_EXPIRED_RECORDS,
                quarantine.expired.get(),
            ),
            of(
                &declared::QUARANTINE_WRITE_ERRORS,
                quarantine.write_errors.get(),
            ),
            of(
                &declared::QUARANTINE_REPLAYED_RECORDS,
                quarantine.replayed.get(),
            ),
        ]
    }
}
