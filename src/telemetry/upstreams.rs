//! What is counted of delivery: for each logstore, and for each upstream.

use std::sync::{Arc, PoisonError};

use prometheus::proto::MetricType::{self, COUNTER, GAUGE};

use super::families::{Family, base};
use super::labels::BreakerState;
use super::metrics::{Counter, Gauge, LogstoreMetrics, Metrics};

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
}

impl UpstreamMetrics {
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
const OF_LOGSTORE: &[(&str, &str, MetricType, OfLogstore)] = &[
    (
        "tollgate_delivery_concurrency",
        "LogGroups that may be on their way at once now. Bound: delivery.concurrency. It falls when the store has too much to do.",
        GAUGE,
        (|it| it.concurrency.get()),
    ),
    (
        "tollgate_delivery_splits_total",
        "Times that a LogGroup refused for its content was halved, to find the events that are refused.",
        COUNTER,
        |it| it.splits.get(),
    ),
    (
        "tollgate_delivery_splits_exhausted_total",
        "Parts of refused LogGroups that were given up whole, good events among them. Bound: delivery.max_splits. Alert on any.",
        COUNTER,
        |it| it.splits_exhausted.get(),
    ),
    (
        "tollgate_delivery_fallback_groups_total",
        "LogGroups delivered to the project's fallback, while its upstream was down.",
        COUNTER,
        |it| it.fallback_groups.get(),
    ),
    (
        "tollgate_delivery_resends_in_doubt_total",
        "LogGroups sent again although the store may have taken them: the answer was lost. They can be there twice, with the same __pack_id__.",
        COUNTER,
        |it| it.resends_in_doubt.get(),
    ),
];

/// Metrics of an upstream.
const OF_UPSTREAM: &[(&str, &str, OfUpstream)] = &[
    (
        "tollgate_upstream_breaker_opened_total",
        "Times that the breaker opened because the upstream was down.",
        |it| it.opened.get(),
    ),
    (
        "tollgate_upstream_probes_total",
        "Single attempts to see whether an upstream that was down is back.",
        |it| it.probes.get(),
    ),
    (
        "tollgate_upstream_retries_delayed_total",
        "Repeated attempts that waited because of delivery.retries_per_second.",
        |it| it.retries_delayed.get(),
    ),
    (
        "tollgate_upstream_credentials_refused_total",
        "Attempts whose access key the store refused, or that may not write. Nothing is lost; alert on any, since an operator has to mend it.",
        |it| it.credentials_refused.get(),
    ),
];

impl Metrics {
    /// The cells of one configured upstream; made on first use.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        let mut map = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(map.entry(name.to_owned()).or_default())
    }

    pub(super) fn upstream_families(&self, logstores: &Logstores) -> Vec<Family> {
        let of_logstore = OF_LOGSTORE.iter().map(|(name, help, kind, read)| {
            let mut family = Family::new(name, help, *kind);
            for ((project, logstore), cells) in logstores {
                family.push(base(project, logstore), read(&cells.delivery));
            }
            family
        });
        let mut families: Vec<Family> = of_logstore.collect();
        let upstreams = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut state = Family::new(
            "tollgate_upstream_breaker_state",
            "1 for the state of the upstream's breaker, 0 for the others. Alert on open for longer than a minute.",
            GAUGE,
        );
        for (name, cells) in &*upstreams {
            let now = cells.breaker();
            for one in BreakerState::ALL {
                let labels = vec![("upstream", name.as_str()), ("state", one.label())];
                state.push(labels, u64::from(*one == now));
            }
        }
        families.push(state);
        for (name, help, read) in OF_UPSTREAM {
            let mut family = Family::new(name, help, COUNTER);
            for (upstream, cells) in &*upstreams {
                family.push(vec![("upstream", upstream.as_str())], read(cells));
            }
            families.push(family);
        }
        families
    }
}
