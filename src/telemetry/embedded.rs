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
    pub(super) fn embedded_families(&self) -> [Family; 2] {
        let mut failing = Family::of(&declared::EMBEDDED_FAILING);
        failing.push(vec![], self.embedded.failing.get());
        let mut reopened = Family::of(&declared::EMBEDDED_REOPENED);
        reopened.push(vec![], self.embedded.reopened.get());
        [failing, reopened]
    }
}
