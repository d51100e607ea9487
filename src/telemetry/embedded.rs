//! What is counted of the embedded logstore.

use super::declared;
use super::exposition::Family;
use super::metrics::{Counter, Gauge, Metrics};

/// The embedded logstore of this process.
#[derive(Debug, Default)]
pub struct EmbeddedMetrics {
    /// 1 while it cannot write to its disk.
    pub failing: Gauge,
    /// Times that its files were opened anew after that.
    pub reopened: Counter,
    /// LogGroups that came again and were not stored again (`embedded.drop_repeats`).
    pub repeats_dropped: Counter,
    /// LogGroups that were forgotten before their time, so that a repeat would be stored.
    pub repeats_forgotten: Counter,
    /// 1 where it is all that this process does (`--only logstore`).
    pub alone: Gauge,
}

impl EmbeddedMetrics {
    /// Whether its disk takes what is written.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.failing.get() == 0
    }
}

impl Metrics {
    pub(super) fn embedded_families(&self) -> [Family; 4] {
        let mut failing = Family::of(&declared::EMBEDDED_FAILING);
        failing.push(vec![], self.embedded.failing.get());
        let mut reopened = Family::of(&declared::EMBEDDED_REOPENED);
        reopened.push(vec![], self.embedded.reopened.get());
        let mut dropped = Family::of(&declared::EMBEDDED_REPEATS_DROPPED);
        dropped.push(vec![], self.embedded.repeats_dropped.get());
        let mut forgotten = Family::of(&declared::EMBEDDED_REPEATS_FORGOTTEN);
        forgotten.push(vec![], self.embedded.repeats_forgotten.get());
        [failing, reopened, dropped, forgotten]
    }
}
