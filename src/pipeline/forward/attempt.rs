//! One attempt of a worker: when it may be made, where it goes, what is noted of it, and the pause after
//! one that failed.
//!
//! Promise: none begins while its upstream is found to be down, but for its probes, whatever was waited
//! for before it.
//! Not here: how often it is repeated, and what becomes of the events (`forward`).

use std::time::Duration;

use tokio::time::Instant;

use super::Forwarder;
use crate::logstore::error::RetryReason;
use crate::pipeline::Route;
use crate::pipeline::delivery::aimd::{Sign, Slot};
use crate::pipeline::delivery::breaker::{Pass, Verdict};
use crate::pipeline::delivery::project::ProjectSlot;
use crate::pipeline::destination::{Failure, Parcel, Taken};
use crate::pipeline::retry::random_share;

/// The right to make an attempt.
pub(super) struct Turn<'a> {
    slot: Slot<'a>,
    route: &'a Route,
    pass: Pass<'a>,
    project: Option<ProjectSlot<'a>>,
}

impl Forwarder {
    /// The right to make an attempt, once the lane has a slot for it and an upstream is taken for up.
    /// `again`: it repeats a failed one, and waits for its turn.
    pub(super) async fn turn(&self, again: bool) -> Turn<'_> {
        let slot = self.concurrency.slot().await;
        loop {
            let (route, pass) = self.route().await;
            let project = match &route.project {
                Some(part) => Some(part.slot(pass.is_probe()).await),
                None => None,
            };
            if again && !pass.is_probe() {
                // After the project: turns that were had before would be used all at once.
                route.upstream.turn().await;
            }
            // It may have been found to be down meanwhile.
            if pass.is_probe() || route.upstream.breaker().is_closed() {
                return Turn {
                    slot,
                    route,
                    pass,
                    project,
                };
            }
        }
    }

    /// One attempt.
    pub(super) async fn attempt(
        &self,
        turn: Turn<'_>,
        parcel: &Parcel,
        taken: &mut Taken,
    ) -> Result<(), Failure> {
        let Turn {
            slot,
            route,
            mut pass,
            project,
        } = turn;
        if let Some(span) = &parcel.span {
            span.count();
        }
        let began = Instant::now();
        taken.ask();
        let result = route.destination.put(parcel, taken).await;
        taken.answered();
        let (sign, verdict) = match &result {
            Ok(()) => (Sign::Well, Verdict::Up),
            Err(failure) => (failure.sign, failure.verdict),
        };
        slot.ended(sign, parcel.body.len(), began);
        if let Some(project) = &project {
            project.ended(sign, began);
        }
        pass.asked_to_wait(result.as_ref().err().and_then(|it| it.retry_after));
        route.upstream.attempted(began.elapsed());
        pass.ended(verdict);
        match &result {
            Err(error) if verdict == Verdict::Down => route.upstream.failed(error),
            Ok(()) if !std::ptr::eq(route, &self.store) => {
                self.metrics.delivery.fallback_groups.inc();
            }
            Err(failure) if failure.is_of_credential() => route.upstream.credential_refused(),
            _ => {}
        }
        result
    }

    /// The store, or while its upstream is down the second one. Either may be up first when both are
    /// down.
    async fn route(&self) -> (&Route, Pass<'_>) {
        let store = &self.store;
        let Some(fallback) = &self.fallback else {
            return (store, store.upstream.breaker().pass().await);
        };
        tokio::select! {
            biased;
            pass = store.upstream.breaker().pass() => (store, pass),
            pass = fallback.upstream.breaker().pass() => (fallback, pass),
        }
    }

    /// Waits before the next attempt; stopping cuts it short, and so does an upstream that is back.
    /// `asked`: for how long the store wants to be left alone.
    pub(super) async fn pause(&self, reason: RetryReason, failures: u32, asked: Option<Duration>) {
        let share = random_share();
        let stopping = &self.signals.stopping;
        let of_upstream = matches!(reason, RetryReason::Network | RetryReason::Busy);
        let is_up = |route: &Route| route.upstream.breaker().is_closed();
        if of_upstream && !is_up(&self.store) && self.fallback.as_ref().is_some_and(is_up) {
            return;
        }
        if !stopping.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(self.backoff.pause_asked(reason, failures, share, asked)) => {}
                () = self.store.upstream.breaker().recovered(), if of_upstream => {}
                () = stopping.cancelled() => {}
            }
            return;
        }
        tokio::time::sleep(self.backoff.pause_while_stopping(reason, failures, share)).await;
    }
}
