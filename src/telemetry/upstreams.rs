//! What is counted of delivery: for each logstore, and for each upstream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::families::base;
use super::labels::{BreakerState, CredentialRead, NameKind};
use super::latency::{Coarse, Histogram};
use super::metrics::{Cells, Counter, Gauge, LogstoreMetrics, Metrics};
use super::upstream_report::Words;

/// How the LogGroups of one logstore are sent.
#[derive(Debug, Default)]
pub struct LogstoreDelivery {
    /// LogGroups that may be on their way at once now.
    pub concurrency: Gauge,
    /// Times that a refused LogGroup was halved.
    pub splits: Counter,
    /// Parts that were given up whole, since their LogGroup may not be split any further.
    pub splits_exhausted: Counter,
    /// LogGroups that the second upstream has taken in place of the first.
    pub fallback_groups: Counter,
    /// Attempts that failed so that the store may have taken the LogGroup, before it is sent again.
    pub resends_in_doubt: Counter,
    /// From the first event of a batch to its first attempt.
    pub wait: Histogram<Coarse>,
    /// From the first event of a LogGroup to the end of its delivery.
    pub lag: Histogram<Coarse>,
}

/// How one upstream is.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    /// The state of its breaker, as a place in [`BreakerState::ALL`].
    pub state: Gauge,
    /// Times that the breaker opened from being closed.
    pub opened: Counter,
    /// Single attempts of a half-open breaker.
    pub probes: Counter,
    /// Repeated attempts that waited for their turn.
    pub retries_delayed: Counter,
    /// Attempts whose access key was refused, or may not write.
    pub credentials_refused: Counter,
    /// Times that the access key was read again, by [`CredentialRead`].
    pub credential_reads: Cells<{ CredentialRead::COUNT }>,
    /// Failures in a row.
    pub failures: Gauge,
    /// Since when the breaker has its state, in Unix milliseconds; 0: since the process has started.
    pub since: Gauge,
    /// When the next probe may be made, in Unix milliseconds; 0 while none is waited for.
    pub next_probe: Gauge,
    /// Repeated attempts that are allowed in a second.
    pub retries_per_second: Gauge,
    /// When the next repeated attempt has its turn, in Unix milliseconds.
    pub next_turn: Gauge,
    /// LogGroups of one logstore on their way at once, at most.
    pub concurrency: Gauge,
    /// LogGroups that all logstores of a project may have on their way, by the upstream's name for it; 0
    /// before it was over its quota. As long as somebody counts there.
    projects: Mutex<BTreeMap<String, Weak<Gauge>>>,
    /// What is no number.
    pub(super) words: Mutex<Words>,
    /// How long attempts take.
    pub attempts: Histogram<Coarse>,
}

impl UpstreamMetrics {
    /// How many LogGroups all logstores of a project may have on their way.
    #[must_use]
    pub fn project(&self, project: &str) -> Arc<Gauge> {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        projects.retain(|_, gauge| gauge.strong_count() > 0);
        let known = projects.get(project).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let gauge = Arc::default();
            projects.insert(project.to_owned(), Arc::downgrade(&gauge));
            gauge
        })
    }

    /// The projects that are delivered here, and how many LogGroups each may have on their way.
    #[must_use]
    pub fn projects(&self) -> Vec<(String, u64)> {
        let projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let used = projects.iter().filter_map(|(name, gauge)| {
            let gauge = gauge.upgrade()?;
            Some((name.clone(), gauge.get()))
        });
        used.collect()
    }

    /// The state of its breaker.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        let index = usize::try_from(self.state.get()).unwrap_or_default();
        let state = BreakerState::ALL.get(index);
        state.copied().unwrap_or(BreakerState::Closed)
    }
}

type Logstores = [((String, String), Arc<LogstoreMetrics>)];
type OfLogstore = fn(&LogstoreDelivery) -> u64;
type OfUpstream = fn(&UpstreamMetrics) -> u64;

/// Metrics of a logstore.
const OF_LOGSTORE: &[(&Declaration, OfLogstore)] = &[
    (&declared::DELIVERY_CONCURRENCY, (|it| it.concurrency.get())),
    (&declared::DELIVERY_SPLITS, |it| it.splits.get()),
    (&declared::DELIVERY_SPLITS_EXHAUSTED, |it| {
        it.splits_exhausted.get()
    }),
    (&declared::DELIVERY_FALLBACK_GROUPS, |it| {
        it.fallback_groups.get()
    }),
    (&declared::DELIVERY_RESENDS_IN_DOUBT, |it| {
        it.resends_in_doubt.get()
    }),
];

/// Metrics of an upstream.
const OF_UPSTREAM: &[(&Declaration, OfUpstream)] = &[
    (&declared::UPSTREAM_BREAKER_OPENED, |it| it.opened.get()),
    (&declared::UPSTREAM_PROBES, |it| it.probes.get()),
    (&declared::UPSTREAM_RETRIES_DELAYED, |it| {
        it.retries_delayed.get()
    }),
    (&declared::UPSTREAM_CREDENTIALS_REFUSED, |it| {
        it.credentials_refused.get()
    }),
];

impl Metrics {
    /// The cells of an upstream that may yet be used. New ones are shown nowhere until they are
    /// [kept](Self::keep_upstream).
    #[must_use]
    pub fn upstream_or_new(&self, name: &str) -> Arc<UpstreamMetrics> {
        let known = self.lock_upstreams().get(name).map(Arc::clone);
        known.unwrap_or_default()
    }

    /// Shows `cells` as those of an upstream that is used.
    pub fn keep_upstream(&self, name: &str, cells: &Arc<UpstreamMetrics>) {
        let mut map = self.lock_upstreams();
        map.insert(name.to_owned(), Arc::clone(cells));
    }

    fn lock_upstreams(&self) -> MutexGuard<'_, BTreeMap<String, Arc<UpstreamMetrics>>> {
        self.upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn upstream_families(&self, logstores: &Logstores) -> Vec<Family> {
        let of_logstore = OF_LOGSTORE.iter().map(|(declared, read)| {
            let mut family = Family::of(declared);
            for ((project, logstore), cells) in logstores {
                family.push(base(project, logstore), read(&cells.delivery));
            }
            family
        });
        let mut families: Vec<Family> = of_logstore.collect();
        let mut lag = Family::of(&declared::DELIVERY_LAG_SECONDS);
        for ((project, logstore), cells) in logstores {
            lag.push_histogram(&base(project, logstore), &cells.delivery.lag.read(), &[]);
        }
        families.push(lag);
        let upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sharing = self.sharing(NameKind::Upstream, upstreams.keys().cloned());
        let shown: Vec<_> = upstreams
            .iter()
            .map(|(name, cells)| (sharing.shown(name), cells))
            .collect();
        let mut state = Family::of(&declared::UPSTREAM_BREAKER_STATE);
        for (name, cells) in &shown {
            let now = cells.breaker();
            for one in BreakerState::ALL {
                let labels = vec![("upstream", *name), ("state", one.label())];
                state.push(labels, u64::from(*one == now));
            }
        }
        families.push(state);
        let mut attempts = Family::of(&declared::DELIVERY_ATTEMPT_SECONDS);
        for (upstream, cells) in &shown {
            let labels = vec![("upstream", *upstream)];
            attempts.push_histogram(&labels, &cells.attempts.read(), &[]);
        }
        families.push(attempts);
        let mut of_projects = Family::of(&declared::UPSTREAM_PROJECT_CONCURRENCY);
        let used: Vec<_> = shown.iter().map(|(_, cells)| cells.projects()).collect();
        let names = used.iter().flatten().map(|(name, _)| name.clone());
        let projects = self.sharing(NameKind::Project, names);
        for ((upstream, _), used) in shown.iter().zip(&used) {
            for (project, concurrency) in used {
                let project = projects.shown(project);
                let labels = vec![("upstream", *upstream), ("project", project)];
                of_projects.push(labels, *concurrency);
            }
        }
        families.push(of_projects);
        let mut reads = Family::of(&declared::UPSTREAM_CREDENTIAL_READS);
        for (upstream, cells) in &shown {
            for outcome in CredentialRead::ALL {
                let labels = vec![("upstream", *upstream), ("outcome", outcome.label())];
                reads.push(labels, cells.credential_reads.at(*outcome as usize).get());
            }
        }
        families.push(reads);
        for (declared, read) in OF_UPSTREAM {
            let mut family = Family::of(declared);
            for (upstream, cells) in &shown {
                family.push(vec![("upstream", *upstream)], read(cells));
            }
            families.push(family);
        }
        families
    }
}
