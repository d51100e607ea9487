//! The metrics of guards: read from them at each scrape, since guards come and go with a reload.

use std::sync::OnceLock;

use super::declared;
use super::exposition::{Family, OTHER};
use super::families::base;
use super::labels::NameKind;
use super::metrics::Metrics;

/// How the guards of one logstore stand, for metrics.
#[derive(Clone, Debug, Default)]
pub struct GuardFigures {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// Each guard by its label: refused, repaired, observed.
    pub checks: Vec<(&'static str, [u64; 3])>,
    /// Requests whose topic, source or tags a guard found bad.
    pub requests: u64,
    /// Events that have come before: dropped, observed, held by another request, not remembered
    /// since memory is full, without a name.
    pub duplicates: [u64; 5],
    /// Names of events that are remembered, and how many may be.
    pub ids: Option<[u64; 2]>,
    /// Fields whose distinct values are bounded.
    pub values: Vec<GuardedValues>,
}

/// How the distinct values of a field stand, for metrics.
#[derive(Clone, Debug, Default)]
pub struct GuardedValues {
    /// The field, from the configuration.
    pub field: String,
    /// Events beyond the bound: refused, replaced, observed.
    pub beyond: [u64; 3],
    /// Distinct values that are kept.
    pub distinct: u64,
    /// Distinct values that may be.
    pub max: u64,
}

const OUTCOMES: [&str; 3] = ["refused", "repaired", "observed"];
const DUPLICATES: [&str; 5] = ["dropped", "observed", "held", "untracked", "unnamed"];
const BEYOND: [&str; 3] = ["refused", "replaced", "observed"];

type Figures = Box<dyn Fn() -> Vec<GuardFigures> + Send + Sync>;

/// Says how the guards stand now.
#[derive(Default)]
pub(super) struct GuardsWatch(OnceLock<Figures>);

impl std::fmt::Debug for GuardsWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardsWatch").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Shows what `figures` says of the guards, at each reading. The first watch stays.
    pub fn watch_guards(&self, figures: impl Fn() -> Vec<GuardFigures> + Send + Sync + 'static) {
        self.guards.0.get_or_init(|| Box::new(figures));
    }

    pub(super) fn guard_families(&self) -> Vec<Family> {
        let Some(figures) = self.guards.0.get() else {
            return Vec::new();
        };
        let mut events = Family::of(&declared::GUARD_EVENTS);
        let mut requests = Family::of(&declared::GUARD_REQUESTS);
        let mut duplicates = Family::of(&declared::GUARD_DUPLICATES);
        let mut ids = Family::of(&declared::GUARD_IDS);
        let mut capacity = Family::of(&declared::GUARD_ID_CAPACITY);
        let mut beyond = Family::of(&declared::GUARD_VALUES);
        let mut distinct = Family::of(&declared::GUARD_DISTINCT_VALUES);
        let mut limit = Family::of(&declared::GUARD_DISTINCT_VALUES_LIMIT);
        let all = figures();
        let name =
            |of: &GuardFigures, field: &str| format!("{}\0{}\0{field}", of.project, of.logstore);
        let names = all
            .iter()
            .flat_map(|of| of.values.iter().map(move |it| name(of, &it.field)));
        let sharing = self.sharing(NameKind::Field, names);
        for of in &all {
            let (project, logstore) = self.shown(&of.project, &of.logstore);
            let labels = || base(project, logstore);
            let with = |name, value| [labels(), vec![(name, value)]].concat();
            for (check, counts) in &of.checks {
                for (outcome, count) in OUTCOMES.iter().zip(counts) {
                    if *count > 0 {
                        let labels = [with("guard", check), vec![("outcome", outcome)]].concat();
                        events.push(labels, *count);
                    }
                }
            }
            requests.push(labels(), of.requests);
            if let Some([kept, max]) = of.ids {
                for (outcome, count) in DUPLICATES.iter().zip(of.duplicates) {
                    duplicates.push(with("outcome", outcome), count);
                }
                ids.push(labels(), kept);
                capacity.push(labels(), max);
            }
            for values in &of.values {
                let is_other = project == OTHER || sharing.has(&name(of, &values.field));
                let with_field = || match is_other {
                    true => [base(OTHER, OTHER), vec![("field", OTHER)]].concat(),
                    false => with("field", &values.field),
                };
                for (outcome, count) in BEYOND.iter().zip(values.beyond) {
                    beyond.push([with_field(), vec![("outcome", outcome)]].concat(), count);
                }
                distinct.push(with_field(), values.distinct);
                limit.push(with_field(), values.max);
            }
        }
        vec![
            events, requests, duplicates, ids, capacity, beyond, distinct, limit,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_are_read_anew_each_time() {
        let metrics = Metrics::new();
        let shown = || metrics.render(crate::telemetry::Form::Text);
        assert!(!shown().contains("tollgate_guard_"));
        metrics.watch_guards(|| {
            vec![GuardFigures {
                project: "p".to_owned(),
                logstore: "l".to_owned(),
                checks: vec![("key_pattern", [3, 0, 1])],
                requests: 2,
                duplicates: [7, 0, 0, 1, 0],
                ids: Some([5, 10]),
                values: vec![GuardedValues {
                    field: "page".to_owned(),
                    beyond: [0, 4, 0],
                    distinct: 9,
                    max: 9,
                }],
            }]
        });
        let text = shown();
        for line in [
            r#"tollgate_guard_events_total{project="p",logstore="l",guard="key_pattern",outcome="refused"} 3"#,
            r#"tollgate_guard_requests_total{project="p",logstore="l"} 2"#,
            r#"tollgate_guard_duplicates_total{project="p",logstore="l",outcome="dropped"} 7"#,
            r#"tollgate_guard_ids{project="p",logstore="l"} 5"#,
            r#"tollgate_guard_values_total{project="p",logstore="l",field="page",outcome="replaced"} 4"#,
            r#"tollgate_guard_distinct_values_limit{project="p",logstore="l",field="page"} 9"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
    }
}
