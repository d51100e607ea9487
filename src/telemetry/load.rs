//! How loaded the process and its logstores are: cells and families.

use std::sync::{Arc, OnceLock};

use prometheus::proto::MetricType;

use super::families::{Family, base};
use super::metrics::{Gauge, LogstoreMetrics, Metrics};
use crate::foundation::budget::Budget;

/// How loaded one logstore is.
#[derive(Debug, Default)]
pub struct LogstoreLoad {
    /// Bytes of held events, before compression.
    pub bytes_held: Gauge,
    /// Bytes a second that the store takes while there is a backlog; 0 while that is not known.
    pub drain_rate: Gauge,
    budget: OnceLock<Arc<Budget>>,
}

impl LogstoreLoad {
    /// Shows `budget` as the memory of the logstore. The first stays.
    pub fn watch(&self, budget: &Arc<Budget>) {
        self.budget.get_or_init(|| Arc::clone(budget));
    }
}

/// How loaded the process is.
#[derive(Debug, Default)]
pub struct MachineLoad {
    /// How late tasks run, smoothed, in microseconds.
    pub lag_micros: Gauge,
    /// 1 while requests are refused for that.
    pub shedding: Gauge,
}

type Cells = [((String, String), Arc<LogstoreMetrics>)];

impl Metrics {
    pub(super) fn load_families(&self, logstores: &Cells) -> Vec<Family> {
        let gauge = |name, help| Family::new(name, help, MetricType::GAUGE);
        let mut leased = gauge(
            "tollgate_logstore_leased_bytes",
            "Memory held for the logstore: bodies, open batches and undelivered LogGroups.",
        );
        let mut allowed = gauge(
            "tollgate_logstore_allowed_bytes",
            "Memory that the logstore may hold now. It falls when other logstores hold much.",
        );
        let mut held = gauge(
            "tollgate_held_bytes",
            "Bytes of held events, before compression.",
        );
        let mut rate = gauge(
            "tollgate_drain_rate_bytes",
            "Bytes a second, before compression, that the store takes of a backlog. Missing while there is none.",
        );
        let mut delay = gauge(
            "tollgate_expected_delay_seconds",
            "What is held divided by the drain rate. Bound: overload.max_delay. Missing while the rate is not known.",
        );
        for ((project, logstore), cells) in logstores {
            let labels = || base(project, logstore);
            let load = &cells.load;
            if let Some(budget) = load.budget.get() {
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
        let mut lag = gauge(
            "tollgate_runtime_lag_seconds",
            "How late tasks run because the processors are busy, smoothed. Bound: overload.max_lag.",
        );
        lag.push_part(vec![], self.machine.lag_micros.get(), 1_000_000);
        let mut shedding = gauge(
            "tollgate_shedding",
            "1 while requests are refused because the machine is short (overloaded).",
        );
        shedding.push(vec![], self.machine.shedding.get());
        vec![leased, allowed, held, rate, delay, lag, shedding]
    }
}
