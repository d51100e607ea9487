//! How loaded the process and its logstores are: cells and families.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::declared;
use super::exposition::Family;
use super::families::base;
use super::metrics::{Gauge, LogstoreMetrics, Metrics};
use crate::foundation::budget::Budget;

/// How loaded one logstore is.
#[derive(Debug, Default)]
pub struct LogstoreLoad {
    /// Bytes of held events, before compression.
    pub bytes_held: Gauge,
    /// Bytes a second that the store takes while there is a backlog; 0 while that is not known.
    pub drain_rate: Gauge,
    budget: ArcSwapOption<Budget>,
}

impl LogstoreLoad {
    /// Shows `budget` as the memory of the logstore, in place of one before.
    pub fn watch(&self, budget: &Arc<Budget>) {
        self.budget.store(Some(Arc::clone(budget)));
    }

    /// The logstore has no memory any more.
    pub(super) fn forget(&self) {
        self.budget.store(None);
    }

    /// The memory of the logstore.
    pub(super) fn budget(&self) -> Option<Arc<Budget>> {
        self.budget.load_full()
    }

    /// Bytes that it holds, and bytes that it may hold now; none before that is known.
    #[must_use]
    pub fn memory(&self) -> Option<(u64, u64)> {
        let budget = self.budget()?;
        Some((budget.used(), budget.allowed()))
    }
}

/// How loaded the process is.
#[derive(Debug, Default)]
pub struct MachineLoad {
    /// How late tasks run, smoothed, in microseconds.
    pub lag_micros: Gauge,
    /// How late they may run before requests are refused for it, in microseconds.
    pub max_lag_micros: Gauge,
    /// 1 while requests are refused for that.
    pub shedding: Gauge,
}

type Cells = [((String, String), Arc<LogstoreMetrics>)];

impl Metrics {
    pub(super) fn load_families(&self, logstores: &Cells) -> Vec<Family> {
        let mut leased = Family::of(&declared::LOGSTORE_LEASED_BYTES);
        let mut allowed = Family::of(&declared::LOGSTORE_ALLOWED_BYTES);
        let mut held = Family::of(&declared::HELD_BYTES);
        let mut rate = Family::of(&declared::DRAIN_RATE_BYTES);
        let mut delay = Family::of(&declared::EXPECTED_DELAY_SECONDS);
        for ((project, logstore), cells) in logstores {
            let labels = || base(project, logstore);
            let load = &cells.load;
            if let Some(budget) = load.budget() {
                leased.push(labels(), budget.used());
                allowed.push(labels(), budget.allowed());
            }
            held.push(labels(), load.bytes_held.get());
            let drained = load.drain_rate.get();
            let millis = load.bytes_held.get().saturating_mul(1000);
            if let Some(millis) = millis.checked_div(drained) {
                rate.push(labels(), drained);
                delay.push_part(labels(), millis, 1000);
            }
        }
        let mut lag = Family::of(&declared::RUNTIME_LAG_SECONDS);
        lag.push_part(vec![], self.machine.lag_micros.get(), 1_000_000);
        let mut shedding = Family::of(&declared::SHEDDING);
        shedding.push(vec![], self.machine.shedding.get());
        vec![leased, allowed, held, rate, delay, lag, shedding]
    }
}
