//! The node as a whole: how full it is, and how far a stop is.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::declared;
use super::exposition::Family;
use super::labels::{DrainStage, LoadPart};
use super::metrics::{Gauge, Metrics};
use crate::foundation::clock;

/// How far a stop is.
#[derive(Debug, Default)]
pub struct DrainMetrics {
    /// A place in [`DrainStage::ALL`].
    stage: Gauge,
    /// When it ends, whatever is left, in Unix milliseconds; 0: nothing ends.
    deadline: Gauge,
    /// Held while the two change.
    changing: Mutex<()>,
}

impl DrainMetrics {
    /// A stage has begun; the whole ends in `left`.
    pub fn enter(&self, stage: DrainStage, left: Duration) {
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let deadline = clock::unix_millis().saturating_add(left);
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.deadline.set(deadline);
        self.stage.set(stage as u64);
    }

    /// Somebody sends traffic elsewhere, or no longer does. Nothing ends with it; a stop that has begun
    /// goes on.
    pub fn hold(&self, begin: bool) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.deadline.get() == 0 {
            let stage = match begin {
                true => DrainStage::NotReady,
                false => DrainStage::Serving,
            };
            self.stage.set(stage as u64);
        }
    }

    /// The stage.
    #[must_use]
    pub fn stage(&self) -> DrainStage {
        let index = usize::try_from(self.stage.get()).unwrap_or_default();
        let stage = DrainStage::ALL.get(index);
        stage.copied().unwrap_or(DrainStage::Serving)
    }
}

/// How far a stop is, for people and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainProgress {
    /// `serving`, `not_ready`, `closing` or `delivering`.
    pub stage: String,
    /// Public connections that are open.
    pub connections: u64,
    /// Events in memory.
    pub events_in_memory: u64,
    /// Events on disk and not in memory. They are delivered by the next start.
    pub events_on_disk: u64,
    /// Sealed batches that wait or are on their way.
    pub batches_waiting: u64,
    /// When it ends, whatever is left, in Unix milliseconds; none while nothing is to end: it serves, or
    /// a drain was begun by the admin API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// Milliseconds until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milliseconds_left: Option<u64>,
}

/// How full a node is: shares of its bounds, from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLoad {
    /// The largest of the others: the number for autoscalers.
    pub load: f64,
    /// Of `limits.memory`.
    pub memory: f64,
    /// Of what the fullest logstore may hold now.
    pub logstore: f64,
    /// Of the connections that may be open.
    pub connections: f64,
    /// Of `overload.max_lag`.
    pub lag: f64,
    /// Whether requests are refused because the machine is short.
    pub shedding: bool,
}

impl NodeLoad {
    /// A part.
    #[must_use]
    pub fn part(&self, part: LoadPart) -> f64 {
        match part {
            LoadPart::Memory => self.memory,
            LoadPart::Logstore => self.logstore,
            LoadPart::Connections => self.connections,
            LoadPart::Lag => self.lag,
        }
    }
}

/// A share in millionths, so that it can be pushed as a whole number.
const MILLION: u32 = 1_000_000;

#[expect(clippy::cast_precision_loss, reason = "a share needs few digits")]
fn share(used: u64, of: u64) -> f64 {
    match of {
        0 => 0.0,
        of => (used as f64 / of as f64).min(1.0),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is from 0 to 1"
)]
fn millionths(share: f64) -> u64 {
    (share * f64::from(MILLION)).round() as u64
}

impl Metrics {
    /// How full the node is now.
    #[must_use]
    pub fn load(&self) -> NodeLoad {
        let logstores = self.each_logstore();
        let fullest = logstores.iter().map(|(_, cells)| {
            let budget = cells.load.budget();
            budget.map_or(0.0, |budget| share(budget.used(), budget.allowed()))
        });
        let memory = self.memory();
        let machine = &self.machine;
        let mut load = NodeLoad {
            load: 0.0,
            memory: memory.map_or(0.0, |budget| share(budget.used(), budget.limit())),
            logstore: fullest.fold(0.0, f64::max),
            connections: share(self.edge.open.get(), self.edge.limit.get()),
            lag: share(machine.lag_micros.get(), machine.max_lag_micros.get()),
            shedding: machine.shedding.get() > 0,
        };
        let parts = LoadPart::ALL.iter().map(|part| load.part(*part));
        load.load = parts.fold(if load.shedding { 1.0 } else { 0.0 }, f64::max);
        load
    }

    /// How far a stop is now.
    #[must_use]
    pub fn drain_progress(&self) -> DrainProgress {
        let logstores = self.each_logstore();
        let sum = |read: fn(&super::LogstoreMetrics) -> u64| {
            logstores.iter().map(|(_, cells)| read(cells)).sum()
        };
        let deadline = Some(self.drain.deadline.get()).filter(|it| *it > 0);
        DrainProgress {
            stage: self.drain.stage().label().to_owned(),
            connections: self.edge.open.get(),
            events_in_memory: sum(|cells| cells.events_held.get()),
            events_on_disk: sum(|cells| cells.spool.waiting.get()),
            batches_waiting: sum(|cells| cells.batches_waiting.get()),
            deadline,
            milliseconds_left: deadline.map(|it| it.saturating_sub(clock::unix_millis())),
        }
    }

    pub(super) fn node_families(&self) -> Vec<Family> {
        let plain = |declared, value, per| {
            let mut family = Family::of(declared);
            family.push_part(vec![], value, per);
            family
        };
        let load = self.load();
        let mut parts = Family::of(&declared::LOAD_PART_RATIO);
        for part in LoadPart::ALL {
            let labels = vec![("part", part.label())];
            parts.push_part(labels, millionths(load.part(*part)), MILLION);
        }
        let now = self.drain.stage();
        let mut stages = Family::of(&declared::DRAIN_STAGE);
        for stage in DrainStage::ALL {
            stages.push(vec![("stage", stage.label())], u64::from(*stage == now));
        }
        let mut deadline = Family::of(&declared::DRAIN_DEADLINE_TIMESTAMP_SECONDS);
        if self.drain.deadline.get() > 0 {
            deadline.push_part(vec![], self.drain.deadline.get(), 1000);
        }
        let mut scrape = Family::of(&declared::SCRAPE_DURATION_SECONDS);
        if self.scrape_micros.get() > 0 {
            scrape.push_part(vec![], self.scrape_micros.get(), 1_000_000);
        }
        vec![
            plain(&declared::LOAD_RATIO, millionths(load.load), MILLION),
            parts,
            stages,
            deadline,
            scrape,
            plain(
                &declared::METRICS_LOGSTORES_FOLDED,
                self.folded_logstores(),
                1,
            ),
            plain(&declared::LOG_LINES_DROPPED, super::log::dropped_lines(), 1),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::budget::Budget;
    use crate::telemetry::Form;

    #[test]
    fn a_drain_is_told_until_a_stop_begins() {
        let drain = DrainMetrics::default();
        drain.hold(true);
        assert_eq!(drain.stage(), DrainStage::NotReady);
        drain.hold(false);
        assert_eq!(drain.stage(), DrainStage::Serving);
        drain.enter(DrainStage::Closing, Duration::from_secs(1));
        drain.hold(true);
        drain.hold(false);
        assert_eq!(drain.stage(), DrainStage::Closing);
    }

    #[test]
    fn the_load_is_the_largest_share() {
        let metrics = Metrics::new();
        assert_eq!(metrics.load().load, 0.0);
        let budget = Budget::new(1000);
        metrics.watch_memory(&budget);
        let _lease = budget.lease(250).unwrap();
        metrics.edge.limit.set(10);
        metrics.edge.open.add(3);
        metrics.machine.max_lag_micros.set(100);
        metrics.machine.lag_micros.set(1000);
        let load = metrics.load();
        let parts = (load.memory, load.connections, load.lag, load.logstore);
        assert_eq!(parts, (0.25, 0.3, 1.0, 0.0));
        assert_eq!(load.load, 1.0);
        metrics.machine.lag_micros.set(0);
        assert_eq!(metrics.load().load, 0.3);
        let lane = Budget::new(100);
        metrics.logstore("p", "l").load.watch(&lane);
        let _held = lane.lease(90).unwrap();
        assert_eq!(metrics.load().load, 0.9);
        let text = metrics.render(Form::Text);
        assert!(text.contains("\ntollgate_load_ratio 0.9\n"), "{text}");
        assert!(text.contains("tollgate_load_part_ratio{part=\"memory\"} 0.25\n"));
    }
}
