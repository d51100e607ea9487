//! Where a delivery becomes a span for a collector.

use super::{Forwarder, Kept, Sent};
use crate::pipeline::delivery::span::{DeliverySpan, Ended, Links};
use crate::pipeline::destination::{Attempts, Parcel};

/// The span of a delivery that begins, where a request of the batch is traced. Its attempts name it.
pub(super) fn begin_span(links: Links, parcel: &mut Parcel) -> Option<Box<DeliverySpan>> {
    let span = DeliverySpan::begin(links)?;
    parcel.span = Some(Attempts::new(span.context()));
    Some(span)
}

impl Forwarder {
    /// Tells the collector of a delivery that has ended; `left` events have not.
    pub(super) fn end_span(&self, of: &mut Kept, parcel: &Parcel, sent: Sent, left: u64) {
        let (Some(span), Some(spans)) = (of.span.take(), &self.spans) else {
            return;
        };
        let (outcome, failed) = match (sent, left) {
            (Sent::Refused, _) => ("refused", true),
            (_, 0) => ("delivered", false),
            _ => ("stopped", true),
        };
        let ended = Ended {
            lane: &self.lane,
            id: of.id,
            events: of.events,
            bytes: parcel.body.len(),
            attempts: parcel.span.as_ref().map_or(0, Attempts::made),
            outcome,
            failed,
        };
        spans.offer(vec![span.end(&ended)]);
    }
}
