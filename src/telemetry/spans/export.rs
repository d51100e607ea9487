//! The task that sends spans to a collector.
//!
//! Promise: spans go out in batches, each at the latest when `interval` has passed. A batch that the
//! collector cannot take now is tried again with growing pauses, at least as long as it asks for,
//! until `retry_for` has passed; one that it refuses is dropped. Spans that come meanwhile wait in the
//! queue, whose bound is the only memory that a collector which is down can take. A stop sends what is
//! left, within [`FLUSH`]. Each span ends once, as exported or as dropped with a reason.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, Fault, HeaderSource};
use super::encode::{self, otlp};
use super::queue::SpanQueue;
use crate::telemetry::SpanDrop;

/// The time that a stop gives to the spans that are left.
pub const FLUSH: Duration = Duration::from_secs(2);

/// Pauses between attempts: the first one, doubled with each failure, up to the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause that a collector is granted.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// The longest pause while stopping.
const HURRIED: Duration = Duration::from_millis(100);

/// How spans are sent.
#[derive(Clone, Debug)]
pub struct ExportRules {
    /// What is told of the process.
    pub resource: Vec<(String, String)>,
    /// How long a span waits for others, at most.
    pub interval: Duration,
    /// How long a batch is tried.
    pub retry_for: Duration,
}

/// Sends spans to a collector.
pub struct Exporter {
    queue: SpanQueue,
    collector: Collector,
    headers: HeaderSource,
    resource: otlp::Resource,
    interval: Duration,
    retry_for: Duration,
    /// Spans that were taken from the queue and have not ended.
    at_hand: u64,
    /// Requests in a row that failed and may be repeated.
    failures: u32,
    /// Whether the last request failed.
    failing: bool,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Exporter {
    /// Sends what is in `queue`. `headers` reads those of the collector again, when it does not accept
    /// them any more.
    #[must_use]
    pub fn new(
        queue: SpanQueue,
        collector: Collector,
        headers: HeaderSource,
        rules: ExportRules,
    ) -> Self {
        Self {
            queue,
            collector,
            headers,
            resource: encode::resource(&rules.resource),
            interval: rules.interval,
            retry_for: rules.retry_for,
            at_hand: 0,
            failures: 0,
            failing: false,
        }
    }

    /// Sends spans until `stop`, and then what is left.
    pub async fn run(mut self, stop: CancellationToken) {
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(FLUSH).await;
        };
        tokio::select! {
            () = self.export(&stop) => {}
            () = over => {}
        }
        let left = self.at_hand + self.queue.close();
        if left > 0 {
            self.dropped(SpanDrop::Stopped, left);
            tracing::warn!(spans = left, "spans were not exported before the stop");
        }
    }

    /// Returns once it is stopping and nothing is left.
    async fn export(&mut self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.queue.filled() => {}
                () = tokio::time::sleep(self.interval) => {}
            }
            let spans = self.queue.take();
            if !spans.is_empty() {
                self.at_hand = spans.len() as u64;
                let body = encode::request(&self.resource, spans);
                self.send(body, stop).await;
                self.at_hand = 0;
            } else if stop.is_cancelled() {
                return;
            }
        }
    }

    /// Brings the spans at hand to their end.
    async fn send(&mut self, body: Bytes, stop: &CancellationToken) {
        let (began, spans) = (Instant::now(), self.at_hand);
        loop {
            let fault = match self.collector.post(body.clone()).await {
                Ok(took) => {
                    let rejected = took.rejected.min(spans);
                    self.queue.metrics().exported.add(spans - rejected);
                    self.dropped(SpanDrop::Rejected, rejected);
                    if rejected > 0 {
                        let words = took.words;
                        tracing::warn!(rejected, words, "the collector has not taken all spans");
                    }
                    self.works();
                    return;
                }
                Err(fault) => fault,
            };
            self.queue.metrics().failed_exports.inc();
            self.fails(fault);
            let asked = match fault {
                Fault::Refused(status) => {
                    self.dropped(SpanDrop::Rejected, spans);
                    if matches!(status.as_u16(), 401 | 403) {
                        self.read_headers().await;
                    }
                    return;
                }
                Fault::Busy(_, asked) => asked,
                Fault::Connect | Fault::Timeout => None,
            };
            self.failures = self.failures.saturating_add(1);
            let pause = pause(self.failures, asked);
            let gives_up = began.elapsed() + pause > self.retry_for;
            if gives_up {
                self.dropped(SpanDrop::Unavailable, spans);
                self.at_hand = 0;
            }
            // The next ones are not sent before that either.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => tokio::time::sleep(pause.min(HURRIED)).await,
            }
            if gives_up {
                return;
            }
        }
    }

    /// Somebody may have written another secret.
    async fn read_headers(&mut self) {
        let headers = std::mem::replace(&mut self.headers, Box::new(|| Err(String::new())));
        let read = tokio::task::spawn_blocking(move || (headers(), headers)).await;
        let Ok((read, headers)) = read else { return };
        self.headers = headers;
        match read {
            Ok(headers) => self.collector.set_headers(headers),
            Err(error) => tracing::warn!(%error, "the headers for the collector cannot be read"),
        }
    }

    fn dropped(&self, reason: SpanDrop, spans: u64) {
        let cells = &self.queue.metrics().dropped;
        cells.at(reason as usize).add(spans);
    }

    fn fails(&mut self, fault: Fault) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%fault, "the collector does not take spans; those that cannot be sent are dropped and counted");
        }
    }

    fn works(&mut self) {
        self.failures = 0;
        if std::mem::replace(&mut self.failing, false) {
            tracing::info!("the collector takes spans again");
        }
    }
}

/// The pause after so many failures in a row: at least what was asked for, else between half of a
/// ceiling that doubles and all of it.
fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    let factor = 1u32.checked_shl(failures.saturating_sub(1));
    let ceiling = FIRST_PAUSE.saturating_mul(factor.unwrap_or(u32::MAX));
    let ceiling = ceiling.min(LAST_PAUSE);
    let random = getrandom::u32().unwrap_or(u32::MAX);
    let share = f64::from(random) / f64::from(u32::MAX);
    let own = ceiling.mul_f64(0.5 + share / 2.0);
    asked.map_or(own, |asked| asked.min(LONGEST_ASKED).max(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_ceiling_and_are_no_shorter_than_asked() {
        for (failures, ceiling) in [(1, 500), (2, 1000), (4, 4000), (5, 5000), (u32::MAX, 5000)] {
            let pause = pause(failures, None).as_millis();
            assert!(
                (ceiling / 2..=ceiling).contains(&pause),
                "{failures}: {pause}"
            );
        }
        let asked = |seconds| pause(1, Some(Duration::from_secs(seconds))).as_secs();
        assert_eq!((asked(0), asked(7), asked(100_000)), (0, 7, 300));
    }
}
