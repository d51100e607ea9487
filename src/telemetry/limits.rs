//! The metrics of limits: read from them at each scrape, since limits come and go with a reload.

use std::sync::OnceLock;

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::labels::{LimitOutcome, NameKind};
use super::metrics::Metrics;
use super::shared_limits::SharedFigures;

/// How the limits stand, for metrics.
#[derive(Clone, Debug, Default)]
pub struct QuotaFigures {
    /// Each limit.
    pub limits: Vec<LimitFigures>,
    /// Keys that are banned.
    pub bans: u64,
    /// Keys whose limit is raised or lowered.
    pub raises: u64,
    /// Of both, those without effect: their limit or key does not exist.
    pub idle: u64,
    /// Files of budgets that were written.
    pub saves: u64,
    /// Files of budgets that could not be written.
    pub save_failures: u64,
    /// Files that could not be read at the start.
    pub damaged: u64,
    /// The store that nodes share limits through, if there is one.
    pub shared: Option<SharedFigures>,
}

/// How a limit stands, for metrics.
#[derive(Clone, Debug, Default)]
pub struct LimitFigures {
    /// Its name, from the configuration.
    pub name: String,
    /// What became of what it was asked, in the order of [`LimitOutcome::ALL`].
    pub outcomes: [u64; LimitOutcome::COUNT],
    /// Of the refused, those whose key is banned.
    pub banned: u64,
    /// Of the refused, those whose own key had room, and new keys together had none.
    pub newcomers: u64,
    /// Asked for by requests that were refused later, and given back.
    pub given_back: u64,
    /// Places that hold a key.
    pub keys: u64,
    /// Places.
    pub capacity: u64,
    /// Of a shared limit: decided by the node alone, and refused before the store had answered.
    pub lease: Option<[u64; 2]>,
}

type Figures = Box<dyn Fn() -> QuotaFigures + Send + Sync>;

/// Says how the limits stand now.
#[derive(Default)]
pub(super) struct LimitsWatch(OnceLock<Figures>);

impl std::fmt::Debug for LimitsWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LimitsWatch").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Shows what `figures` says of the limits, at each reading. The first watch stays.
    pub fn watch_limits(&self, figures: impl Fn() -> QuotaFigures + Send + Sync + 'static) {
        self.limits.0.get_or_init(|| Box::new(figures));
    }

    pub(super) fn limit_families(&self) -> Vec<Family> {
        let Some(figures) = self.limits.0.get() else {
            return Vec::new();
        };
        let figures = figures();
        let names = figures.limits.iter().map(|it| it.name.clone());
        let sharing = self.sharing(NameKind::Limit, names);
        let mut requests = Family::of(&declared::LIMIT_REQUESTS);
        for limit in &figures.limits {
            for (outcome, count) in LimitOutcome::ALL.iter().zip(limit.outcomes) {
                if count > 0 || *outcome == LimitOutcome::Passed {
                    let name = sharing.shown(&limit.name);
                    let labels = vec![("limit", name), ("outcome", outcome.label())];
                    requests.push(labels, count);
                }
            }
        }
        let mut families = vec![requests];
        for (declared, read) in OF_LIMIT {
            let mut family = Family::of(declared);
            for limit in &figures.limits {
                family.push(vec![("limit", sharing.shown(&limit.name))], read(limit));
            }
            families.push(family);
        }
        let mut overrides = Family::of(&declared::LIMIT_OVERRIDES);
        overrides.push(vec![("change", "ban")], figures.bans);
        overrides.push(vec![("change", "raise")], figures.raises);
        let mut idle = Family::of(&declared::LIMIT_OVERRIDES_IDLE);
        idle.push(vec![], figures.idle);
        let mut saves = Family::of(&declared::QUOTA_SAVES);
        saves.push(vec![("outcome", "done")], figures.saves);
        saves.push(vec![("outcome", "failed")], figures.save_failures);
        let mut damaged = Family::of(&declared::QUOTA_DAMAGED_FILES);
        damaged.push(vec![], figures.damaged);
        families.extend([overrides, idle, saves, damaged]);
        families.extend(figures.shared_families(&sharing));
        families
    }
}

type ReadLimit = fn(&LimitFigures) -> u64;

const OF_LIMIT: &[(&Declaration, ReadLimit)] = &[
    (&declared::LIMIT_BANNED, |limit| limit.banned),
    (&declared::LIMIT_NEWCOMERS_REFUSED, |limit| limit.newcomers),
    (&declared::LIMIT_GIVEN_BACK, |limit| limit.given_back),
    (&declared::LIMIT_KEYS, |limit| limit.keys),
    (&declared::LIMIT_KEY_CAPACITY, |limit| limit.capacity),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_anew_each_time() {
        let metrics = Metrics::new();
        let shown = || metrics.render(crate::telemetry::Form::Text);
        assert!(!shown().contains("tollgate_limit_"));
        metrics.watch_limits(|| QuotaFigures {
            limits: vec![LimitFigures {
                name: "door".to_owned(),
                outcomes: [5, 4, 0, 0, 0, 1],
                banned: 2,
                keys: 3,
                capacity: 8,
                ..LimitFigures::default()
            }],
            bans: 1,
            save_failures: 7,
            ..QuotaFigures::default()
        });
        let text = shown();
        for line in [
            r#"tollgate_limit_requests_total{limit="door",outcome="passed"} 5"#,
            r#"tollgate_limit_requests_total{limit="door",outcome="refused"} 4"#,
            r#"tollgate_limit_requests_total{limit="door",outcome="marked"} 1"#,
            r#"tollgate_limit_banned_total{limit="door"} 2"#,
            r#"tollgate_limit_keys{limit="door"} 3"#,
            r#"tollgate_limit_key_capacity{limit="door"} 8"#,
            r#"tollgate_limit_overrides{change="ban"} 1"#,
            r#"tollgate_limit_overrides_idle 0"#,
            r#"tollgate_quota_saves_total{outcome="failed"} 7"#,
            "tollgate_quota_damaged_files 0",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}: {text}");
        }
        assert!(!text.contains("diverted"), "{text}");
    }
}
