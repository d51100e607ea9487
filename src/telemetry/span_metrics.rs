//! What is counted of spans.

use super::declared;
use super::exposition::Family;
use super::labels::SpanDrop;
use super::metrics::{Cells, Counter, Gauge, Metrics};

/// What is counted of spans on their way to a collector.
#[derive(Debug, Default)]
pub struct SpanMetrics {
    /// Spans that the collector has taken.
    pub exported: Counter,
    /// Spans that it has not, by reason.
    pub dropped: Cells<{ SpanDrop::COUNT }>,
    /// Requests to the collector that failed.
    pub failed_exports: Counter,
    /// Spans that wait now.
    pub waiting: Gauge,
}

impl Metrics {
    pub(super) fn span_families(&self) -> [Family; 4] {
        let cells = &self.spans;
        let mut exported = Family::of(&declared::TRACE_SPANS_EXPORTED);
        exported.push(vec![], cells.exported.get());
        let mut dropped = Family::of(&declared::TRACE_SPANS_DROPPED);
        for reason in SpanDrop::ALL {
            let count = cells.dropped.at(*reason as usize).get();
            dropped.push(vec![("reason", reason.label())], count);
        }
        let mut failed = Family::of(&declared::TRACE_EXPORTS_FAILED);
        failed.push(vec![], cells.failed_exports.get());
        let mut waiting = Family::of(&declared::TRACE_SPANS_WAITING);
        waiting.push(vec![], cells.waiting.get());
        [exported, dropped, failed, waiting]
    }
}
