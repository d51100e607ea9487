//! The metrics of limits that nodes share, and of the store that they share them through.

use super::declared::{self, Declaration};
use super::exposition::Family;
use super::limits::QuotaFigures;
use super::names::Sharing;

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

const PLAIN: &[(&Declaration, Read)] = &[
    (&declared::QUOTA_STORE_UP, |it| u64::from(it.up)),
    (&declared::QUOTA_STORE_CHANGES, |it| it.changes),
    (&declared::QUOTA_STORE_NODES, |it| it.nodes),
    (&declared::QUOTA_STORE_ROUND_TRIPS, |it| it.round_trips),
    (&declared::QUOTA_STORE_LEASES, |it| it.leases),
    (&declared::QUOTA_STORE_LEASES_CROWDED, |it| it.crowded),
];

impl QuotaFigures {
    pub(super) fn shared_families(&self, sharing: &Sharing) -> Vec<Family> {
        let Some(shared) = &self.shared else {
            return Vec::new();
        };
        let mut families: Vec<Family> = Vec::new();
        for (declared, read) in PLAIN {
            let mut family = Family::of(declared);
            family.push(vec![], read(shared));
            families.push(family);
        }
        let mut faults = Family::of(&declared::QUOTA_STORE_FAULTS);
        for (fault, count) in shared.faults.iter().filter(|(_, count)| *count > 0) {
            faults.push(vec![("fault", *fault)], *count);
        }
        let mut news = Family::of(&declared::QUOTA_STORE_NEWS);
        for (outcome, count) in ["sent", "taken", "bad"].into_iter().zip(shared.news) {
            news.push(vec![("outcome", outcome)], count);
        }
        let mut alone = Family::of(&declared::LIMIT_ALONE);
        let mut outrun = Family::of(&declared::LIMIT_OUTRUN);
        for limit in &self.limits {
            if let Some([by_itself, early]) = limit.lease {
                let labels = || vec![("limit", sharing.shown(&limit.name))];
                alone.push(labels(), by_itself);
                outrun.push(labels(), early);
            }
        }
        families.extend([faults, news, alone, outrun]);
        families
    }
}
