//! Lanes that deliver nowhere, for requests that are only tried out.

use std::sync::Arc;

use super::admission::{Admission, AdmissionRules};
use super::lane::Lane;
use super::open::Safety;
use super::queue::SealedQueue;
use super::{PipelineRules, shares};
use crate::foundation::budget::Budget;
use crate::foundation::budget::fair::Division;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::telemetry::{DropReason, LogstoreMetrics};

/// A logstore whose events are looked at and thrown away.
#[derive(Debug)]
pub struct IdleLane {
    /// The project.
    pub project: ProjectName,
    /// The logstore.
    pub logstore: LogstoreName,
    /// How its share of memory compares to those of the others.
    pub weight: u32,
    /// Where its events are counted.
    pub metrics: Arc<LogstoreMetrics>,
}

/// Lanes with nobody who works for them, in the order of what is given.
#[must_use]
pub fn idle_lanes(given: Vec<IdleLane>, rules: PipelineRules<'_>) -> Vec<Arc<Lane>> {
    let memory = Budget::new(rules.limits.memory.get());
    let weights = given.iter().map(|lane| (None, lane.weight));
    let shares = shares(&Division::new(&memory), weights.collect(), rules);
    let admission = AdmissionRules::new(rules.overload, rules.delivery.timeout.get());
    let lanes = given.into_iter().zip(shares).map(|(lane, budget)| {
        let metrics = lane.metrics;
        let admission = Admission::new(budget, lane.weight, admission, Arc::clone(&metrics));
        let names = (lane.project, lane.logstore);
        let safety = |_: &Arc<SealedQueue>| Safety::default();
        Arc::new(Lane::new(names, admission, rules.batch, metrics, safety))
    });
    lanes.collect()
}

impl Lane {
    /// Takes out what a lane without workers holds: LogGroups in wire form. Its events count as dropped.
    #[must_use]
    pub fn take_held(&self) -> Vec<Vec<u8>> {
        self.seal_now();
        let held = std::iter::from_fn(|| self.sealed().take_now());
        held.map(|batch| {
            batch.held.dropped(DropReason::Stopped);
            batch.raw
        })
        .collect()
    }
}
