//! Names of the configuration that stand in labels beside those of logstores. The first
//! `metrics.max_names` of a kind have series of their own, further ones share those of `_other`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::declared;
use super::exposition::{Family, OTHER};
use super::labels::NameKind;
use super::metrics::{Gauge, Metrics};

/// The names of one kind, and whether each has series of its own.
type Known = BTreeMap<String, bool>;

/// Who has series of its own. Once decided it stays so while the name is there: a sum that falls is to
/// Prometheus one that began anew.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// How many of each kind; 0 stands for all.
    most: Gauge,
    known: Mutex<[Known; NameKind::COUNT]>,
}

/// Those of one reading that share their series.
#[derive(Debug, Default)]
pub(super) struct Sharing(BTreeSet<String>);

impl Sharing {
    /// Whether a name shares.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.0.is_empty() && self.0.contains(name)
    }

    /// A name as its series have it.
    pub(super) fn shown<'a>(&self, name: &'a str) -> &'a str {
        if self.has(name) { OTHER } else { name }
    }
}

impl Metrics {
    /// Gives series of their own to so many names of each kind, the first that come.
    pub fn bound_names(&self, most: u32) {
        self.names.most.set(u64::from(most));
    }

    /// Which of the names that there are now share their series.
    pub(super) fn sharing(&self, kind: NameKind, names: impl Iterator<Item = String>) -> Sharing {
        let most = self.names.most.get();
        if most == 0 {
            return Sharing::default();
        }
        let mut known = self
            .names
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get_mut(kind as usize) else {
            return Sharing::default();
        };
        let names: Vec<String> = names.collect();
        let there: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        known.retain(|name, _| there.contains(name.as_str()));
        let mut apart = known.values().filter(|apart| **apart).count() as u64;
        for name in names {
            known.entry(name).or_insert_with(|| {
                let has_room = apart < most;
                apart += u64::from(has_room);
                has_room
            });
        }
        let sharing = known.iter().filter(|(_, apart)| !**apart);
        Sharing(sharing.map(|(name, _)| name.clone()).collect())
    }

    /// To be asked after all others, since they decide.
    pub(super) fn names_family(&self) -> Family {
        let mut family = Family::of(&declared::METRICS_NAMES_FOLDED);
        let known = self
            .names
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (kind, known) in NameKind::ALL.iter().zip(&*known) {
            let folded = known.values().filter(|apart| !**apart).count() as u64;
            family.push(vec![("kind", kind.label())], folded);
        }
        family
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::telemetry::{
        Form, GuardFigures, GuardedValues, JwksFigures, LimitFigures, QuotaFigures,
    };

    /// The value of the line that begins so.
    fn value(metrics: &Metrics, series: &str) -> Option<u64> {
        let text = metrics.render(Form::Text);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok())
    }

    fn limits(names: &[&str]) -> QuotaFigures {
        let limit = |name: &&str| LimitFigures {
            name: (*name).to_owned(),
            banned: 10,
            ..LimitFigures::default()
        };
        QuotaFigures {
            limits: names.iter().map(limit).collect(),
            ..QuotaFigures::default()
        }
    }

    #[test]
    fn limits_past_the_bound_share_their_series_and_a_metric_says_so() {
        let metrics = Metrics::new();
        metrics.bound_names(2);
        let now = Arc::new(Mutex::new(limits(&["z", "m", "a", "b"])));
        let figures = Arc::clone(&now);
        metrics.watch_limits(move || figures.lock().unwrap().clone());
        let banned = |limit: &str| {
            let series = format!("tollgate_limit_banned_total{{limit=\"{limit}\"}}");
            value(&metrics, &series)
        };
        let folded = "tollgate_metrics_names_folded{kind=\"limit\"}";
        assert_eq!(
            [banned("z"), banned("m"), banned("_other")],
            [Some(10), Some(10), Some(20)]
        );
        assert_eq!(banned("a"), None);
        assert_eq!(value(&metrics, folded), Some(2));
        // Another order changes nothing: who has series keeps them.
        *now.lock().unwrap() = limits(&["a", "b", "m", "z"]);
        assert_eq!(
            [banned("z"), banned("_other"), banned("a")],
            [Some(10), Some(20), None]
        );
        // A place that is free is for the next new name.
        *now.lock().unwrap() = limits(&["a", "b", "m", "new", "newer"]);
        assert_eq!(
            [banned("new"), banned("_other"), banned("z")],
            [Some(10), Some(30), None]
        );
        assert_eq!(value(&metrics, folded), Some(3));
    }

    /// Three names of every kind but limits. The gauges of projects are shown while they are kept.
    fn three_of_each(metrics: &Metrics) -> [Arc<Gauge>; 3] {
        for name in ["a", "b", "c"] {
            let cells = metrics.upstream_or_new(name);
            cells.probes.add(7);
            metrics.keep_upstream(name, &cells);
        }
        let cells = metrics.upstream_or_new("a");
        let counted = [("p", 3), ("q", 4), ("r", 5)].map(|(project, allowed)| {
            let gauge = cells.project(project);
            gauge.set(allowed);
            gauge
        });
        for (file, ends) in [("a.pem", 900), ("b.pem", 300), ("c.pem", 500)] {
            let cells = metrics.certificate("main", file);
            cells.not_after.set(ends);
            cells.failed.add(2);
        }
        metrics.watch_jwks(|| {
            let set = |(source, age): (&str, u64)| JwksFigures {
                source: source.to_owned(),
                age_seconds: Some(age),
                keys: 4,
                ..JwksFigures::default()
            };
            [("a", 1), ("b", 30), ("c", 20)].map(set).to_vec()
        });
        metrics.watch_guards(|| {
            let value = |field: &str| GuardedValues {
                field: field.to_owned(),
                distinct: 5,
                ..GuardedValues::default()
            };
            vec![GuardFigures {
                project: "p".to_owned(),
                logstore: "l".to_owned(),
                values: ["a", "b", "c"].map(value).to_vec(),
                ..GuardFigures::default()
            }]
        });
        counted
    }

    #[test]
    fn upstreams_key_sets_certificates_and_fields_share_as_well() {
        let metrics = Metrics::new();
        metrics.bound_names(1);
        let _counted = three_of_each(&metrics);
        let other = "project=\"_other\",logstore=\"_other\",field=\"_other\"";
        let certificate = "{listener=\"_other\",file=\"_other\"}";
        for (series, expected) in [
            (
                "tollgate_upstream_probes_total{upstream=\"a\"}".to_owned(),
                7,
            ),
            (
                "tollgate_upstream_probes_total{upstream=\"_other\"}".to_owned(),
                14,
            ),
            (
                "tollgate_upstream_breaker_state{upstream=\"_other\",state=\"closed\"}".to_owned(),
                2,
            ),
            (
                "tollgate_delivery_attempt_seconds_count{upstream=\"_other\"}".to_owned(),
                0,
            ),
            (
                "tollgate_upstream_project_concurrency{upstream=\"a\",project=\"p\"}".to_owned(),
                3,
            ),
            // One line, though the upstream has series of its own.
            (
                "tollgate_upstream_project_concurrency{upstream=\"a\",project=\"_other\"}"
                    .to_owned(),
                9,
            ),
            (
                "tollgate_metrics_names_folded{kind=\"project\"}".to_owned(),
                2,
            ),
            // The one that ends first is what somebody has to know.
            (
                format!("tollgate_tls_certificate_expiry_seconds{certificate}"),
                300,
            ),
            (format!("tollgate_tls_reload_failed_total{certificate}"), 4),
            (
                "tollgate_jwks_age_seconds{source=\"_other\"}".to_owned(),
                30,
            ),
            ("tollgate_jwks_keys{source=\"_other\"}".to_owned(), 8),
            (format!("tollgate_guard_distinct_values{{{other}}}"), 10),
            (
                "tollgate_metrics_names_folded{kind=\"upstream\"}".to_owned(),
                2,
            ),
            (
                "tollgate_metrics_names_folded{kind=\"certificate\"}".to_owned(),
                2,
            ),
            (
                "tollgate_metrics_names_folded{kind=\"key_set\"}".to_owned(),
                2,
            ),
            (
                "tollgate_metrics_names_folded{kind=\"field\"}".to_owned(),
                2,
            ),
            (
                "tollgate_metrics_names_folded{kind=\"limit\"}".to_owned(),
                0,
            ),
        ] {
            assert_eq!(value(&metrics, &series), Some(expected), "{series}");
        }
        let text = metrics.render(Form::OpenMetrics);
        assert!(!text.contains("\"c\"") && !text.contains("c.pem"), "{text}");
        let series = text
            .lines()
            .filter_map(|line| Some(line.rsplit_once(' ')?.0));
        let mut seen = BTreeSet::new();
        for one in series.filter(|line| !line.starts_with('#')) {
            assert!(seen.insert(one.to_owned()), "twice: {one}");
        }
    }
}
