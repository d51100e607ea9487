//! The metrics of limits that nodes share, and of the store that they share them through.

use prometheus::proto::MetricType;

use super::families::Family;
use super::limits::QuotaFigures;

/// How the store stands, for metrics.
#[derive(Clone, Debug, Default)]
pub struct SharedFigures {
    /// Whether it answers.
    pub up: bool,
    /// Changes between up and down.
    pub changes: u64,
    /// Nodes that were seen in the last seconds.
    pub nodes: u64,
    /// Batches of leases that were answered.
    pub round_trips: u64,
    /// Leases that were asked for.
    pub leases: u64,
    /// Leases that could not be asked for at once.
    pub crowded: u64,
    /// Revocations, bans and raises that were sent, that came, and that were not understood.
    pub news: [u64; 3],
    /// What went wrong, by names from a closed set.
    pub faults: Vec<(&'static str, u64)>,
}

type Read = fn(&SharedFigures) -> u64;

const PLAIN: &[(&str, &str, MetricType, Read)] = &[
    (
        "tollgate_quota_store_up",
        "Whether the store of shared limits answers. Alert on 0: each node goes on alone, or refuses.",
        MetricType::GAUGE,
        |it| u64::from(it.up),
    ),
    (
        "tollgate_quota_store_changes_total",
        "Changes of the store of shared limits between up and down.",
        MetricType::COUNTER,
        |it| it.changes,
    ),
    (
        "tollgate_quota_store_nodes",
        "Nodes that share limits, seen in the last seconds. Alert when there are more than quota.redis.nodes.",
        MetricType::GAUGE,
        |it| it.nodes,
    ),
    (
        "tollgate_quota_store_round_trips_total",
        "Batches of leases that the store of shared limits has answered.",
        MetricType::COUNTER,
        |it| it.round_trips,
    ),
    (
        "tollgate_quota_store_leases_total",
        "Leases that were asked for.",
        MetricType::COUNTER,
        |it| it.leases,
    ),
    (
        "tollgate_quota_store_leases_crowded_total",
        "Leases that could not be asked for at once, since too many waited.",
        MetricType::COUNTER,
        |it| it.crowded,
    ),
];

impl QuotaFigures {
    pub(super) fn shared_families(&self) -> Vec<Family> {
        let Some(shared) = &self.shared else {
            return Vec::new();
        };
        let mut families: Vec<Family> = Vec::new();
        for (name, help, kind, read) in PLAIN {
            let mut family = Family::new(name, help, *kind);
            family.push(vec![], read(shared));
            families.push(family);
        }
        let mut faults = Family::new(
            "tollgate_quota_store_faults_total",
            "What the store of shared limits did not do, by kind of fault.",
            MetricType::COUNTER,
        );
        for (fault, count) in shared.faults.iter().filter(|(_, count)| *count > 0) {
            faults.push(vec![("fault", *fault)], *count);
        }
        let mut news = Family::new(
            "tollgate_quota_store_news_total",
            "Revocations, bans and raises that were sent to other nodes, that came from them, and that were not understood or could not be kept.",
            MetricType::COUNTER,
        );
        for (outcome, count) in ["sent", "taken", "bad"].into_iter().zip(shared.news) {
            news.push(vec![("outcome", outcome)], count);
        }
        let mut alone = Family::new(
            "tollgate_limit_alone_total",
            "Of a shared limit: decided by this node alone, since the store was away or late.",
            MetricType::COUNTER,
        );
        let mut outrun = Family::new(
            "tollgate_limit_outrun_total",
            "Of a shared limit: refused before the store had answered. Many: raise quota.redis.lease.",
            MetricType::COUNTER,
        );
        for limit in &self.limits {
            if let Some([by_itself, early]) = limit.lease {
                alone.push(vec![("limit", &*limit.name)], by_itself);
                outrun.push(vec![("limit", &*limit.name)], early);
            }
        }
        families.extend([faults, news, alone, outrun]);
        families
    }
}
