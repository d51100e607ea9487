//! Spans that wait to be sent.
//!
//! Promise: to offer is a lock and a move of what was made before; nobody waits for a collector. What
//! belongs together is taken whole or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Span;
use crate::telemetry::{SpanDrop, SpanMetrics};

/// A queue of spans with a bound. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct SpanQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Most spans that wait.
    most: usize,
    /// Told when so many wait.
    batch: usize,
    full: Notify,
    metrics: Arc<SpanMetrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: VecDeque<Span>,
    closed: bool,
}

impl SpanQueue {
    /// A queue of at most `most` spans; whoever takes them is woken when `batch` wait.
    #[must_use]
    pub fn new(most: usize, batch: usize, metrics: Arc<SpanMetrics>) -> Self {
        Self(Arc::new(Shared {
            waiting: Mutex::default(),
            most,
            batch,
            full: Notify::new(),
            metrics,
        }))
    }

    /// Gives spans of one story to be sent: all of them, or none, when there is no room for all.
    pub fn offer(&self, spans: Vec<Span>) {
        let Shared {
            most,
            batch,
            full,
            metrics,
            ..
        } = &*self.0;
        let mut waiting = self.lock();
        let drop_for = match () {
            () if waiting.closed => Some(SpanDrop::Stopped),
            () if waiting.spans.len() + spans.len() > *most => Some(SpanDrop::QueueFull),
            () => None,
        };
        if let Some(reason) = drop_for {
            drop(waiting);
            metrics.dropped.at(reason as usize).add(spans.len() as u64);
            return;
        }
        waiting.spans.extend(spans);
        let now = waiting.spans.len();
        metrics.waiting.set(now as u64);
        drop(waiting);
        if now >= *batch {
            full.notify_one();
        }
    }

    /// What is counted of spans.
    pub(super) fn metrics(&self) -> &Arc<SpanMetrics> {
        &self.0.metrics
    }

    /// Waits until a batch of spans is there. Wakes once too often now and then.
    pub(super) async fn filled(&self) {
        if self.lock().spans.len() < self.0.batch {
            self.0.full.notified().await;
        }
    }

    /// The oldest spans, a batch of them at most.
    pub(super) fn take(&self) -> Vec<Span> {
        let mut waiting = self.lock();
        let count = waiting.spans.len().min(self.0.batch);
        let taken = waiting.spans.drain(..count).collect();
        self.0.metrics.waiting.set(waiting.spans.len() as u64);
        taken
    }

    /// Takes no more from now on, and gives up what waits. How many they were.
    pub(super) fn close(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.closed = true;
        self.0.metrics.waiting.set(0);
        std::mem::take(&mut waiting.spans).len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::trace_context::TraceContext;
    use crate::telemetry::spans::SpanKind;

    fn spans(count: usize) -> Vec<Span> {
        let span = Span {
            context: TraceContext::root().unwrap(),
            parent: None,
            remote_parent: false,
            name: "request",
            kind: SpanKind::Server,
            began: 1,
            ended: 2,
            attributes: Vec::new(),
            links: Vec::new(),
            more_links: 0,
            failed: false,
        };
        vec![span; count]
    }

    #[tokio::test]
    async fn what_belongs_together_is_taken_whole_or_dropped_and_counted() {
        let metrics = Arc::new(SpanMetrics::default());
        let queue = SpanQueue::new(10, 4, Arc::clone(&metrics));
        let dropped = |reason: SpanDrop| metrics.dropped.at(reason as usize).get();
        for _ in 0..5 {
            queue.offer(spans(3));
        }
        assert_eq!(metrics.waiting.get(), 9);
        assert_eq!(dropped(SpanDrop::QueueFull), 6);
        queue.filled().await;
        assert_eq!(queue.take().len(), 4);
        queue.offer(spans(3));
        assert_eq!(
            (metrics.waiting.get(), dropped(SpanDrop::QueueFull)),
            (8, 6)
        );
        assert_eq!(queue.close(), 8);
        queue.offer(spans(2));
        assert_eq!((metrics.waiting.get(), dropped(SpanDrop::Stopped)), (0, 2));
        assert!(queue.take().is_empty());
    }
}
