//! Who is let in: by memory, by measured delay, and by the time that the machine has.
//!
//! Promise: a request that is refused here has cost a few loads. Nobody waits. What a refusal says of
//! when to try again comes from what is held and how fast it drains.
//! When the store is slow: what would be held longer than `overload.max_delay` is refused before
//! memory is full. When it is down there is no rate, and memory is the bound.
//! Not here: the memory itself (`foundation::budget`), quotas of clients (`gate`).

mod drain;
mod machine;
#[cfg(test)]
mod tests;
mod turnstile;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

pub(super) use self::drain::DelayRules;
use self::drain::{Drain, time_for};
use self::turnstile::Turnstile;
pub(super) use self::watch::watch_machine;
use super::lane_spool::LaneSpool;
use crate::config::Overload;
use crate::event::{Priority, Reason, Refusal, retry_seconds};
use crate::foundation::budget::{Budget, Loan, percent_of};
use crate::telemetry::LogstoreMetrics;

/// The longest time to wait that a client is told, in seconds.
const LONGEST_WAIT: u32 = 300;
/// The longest while it is not known how fast things drain.
const LONGEST_GUESS: u32 = 30;
/// No bound.
const UNBOUND: u64 = u64::MAX;

/// How much of what a lane may hold each priority may use, in percent.
#[derive(Clone, Copy, Debug)]
struct Shares {
    low: u8,
    normal: u8,
}

impl Shares {
    fn of(self, priority: Priority) -> u8 {
        match priority {
            Priority::Low => self.low,
            Priority::Normal => self.normal,
            Priority::High => 100,
        }
    }
}

/// The rules of all lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdmissionRules {
    shares: Shares,
    delay: DelayRules,
}

impl AdmissionRules {
    /// As configured; an attempt at delivery takes at most `attempt`.
    pub(super) fn new(overload: &Overload, attempt: Duration) -> Self {
        Self {
            shares: Shares {
                low: overload.low_share,
                normal: overload.normal_share,
            },
            delay: DelayRules {
                max_delay: overload.max_delay.get(),
                quota_memory: overload.quota_memory.get(),
                quota_delay: overload.quota_delay.get(),
                // A slow store may take one attempt for each batch.
                stale: attempt.saturating_mul(2).max(Duration::from_secs(10)),
            },
        }
    }
}

/// Who is let into one lane.
#[derive(Debug)]
pub(super) struct Admission {
    budget: Arc<Budget>,
    low_share: AtomicU8,
    normal_share: AtomicU8,
    turnstile: Turnstile,
    drain: Mutex<(Drain, DelayRules)>,
    /// Bytes of events that may be held by the measure of time; worked out when something changes, so
    /// that a request only reads it.
    bound: AtomicU64,
    bound_by_quota: AtomicBool,
    metrics: Arc<LogstoreMetrics>,
    /// Takes what would wait for too long, where there is one.
    disk: OnceLock<Arc<LaneSpool>>,
}

impl Admission {
    pub(super) fn new(
        budget: Arc<Budget>,
        weight: u32,
        rules: AdmissionRules,
        metrics: Arc<LogstoreMetrics>,
    ) -> Self {
        metrics.load.watch(&budget);
        Self {
            budget,
            low_share: AtomicU8::new(rules.shares.low),
            normal_share: AtomicU8::new(rules.shares.normal),
            turnstile: Turnstile::new(weight),
            drain: Mutex::new((Drain::default(), rules.delay)),
            bound: AtomicU64::new(UNBOUND),
            bound_by_quota: AtomicBool::new(false),
            metrics,
            disk: OnceLock::new(),
        }
    }

    /// Goes by other rules from now on.
    pub(super) fn change_rules(&self, weight: u32, rules: AdmissionRules) {
        self.low_share.store(rules.shares.low, Ordering::Relaxed);
        self.normal_share
            .store(rules.shares.normal, Ordering::Relaxed);
        self.turnstile.set_weight(weight);
        self.drain().1 = rules.delay;
        self.settle();
    }

    /// How much of what the lane may hold a priority may use, in percent.
    fn share_of(&self, priority: Priority) -> u8 {
        Shares {
            low: self.low_share.load(Ordering::Relaxed),
            normal: self.normal_share.load(Ordering::Relaxed),
        }
        .of(priority)
    }

    fn drain(&self) -> MutexGuard<'_, (Drain, DelayRules)> {
        self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What would wait for too long goes to this disk from now on.
    pub(super) fn use_disk(&self, spool: &Arc<LaneSpool>) {
        self.disk.get_or_init(|| Arc::clone(spool));
    }

    /// Counts the lane's requests.
    fn turnstile(&self) -> &Turnstile {
        &self.turnstile
    }

    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// See [`super::Lane::enter`].
    pub(super) fn enter(&self, bytes: u64, usual: Priority, most: Priority) -> Result<(), Refusal> {
        let percent = self.share_of(most);
        let passing = self.share_of(usual);
        self.turnstile.pass(passing).map_err(|held_up| {
            let wait = retry_seconds(held_up, LONGEST_GUESS);
            Refusal::from(Reason::Overloaded).retry_after(wait)
        })?;
        self.in_time(bytes, percent)?;
        let sum = self.budget.used().saturating_add(bytes);
        if bytes > 0 && sum > percent_of(self.budget.allowed(), percent) {
            return Err(self.memory_full(bytes, percent));
        }
        Ok(())
    }

    /// See [`super::Lane::admit`].
    pub(super) fn admit(&self, bytes: u64, priority: Priority) -> Result<Loan<'_>, Refusal> {
        let percent = self.share_of(priority);
        self.in_time(bytes, percent)?;
        let lease = self.budget.lend(bytes, percent);
        lease.map_err(|_| self.memory_full(bytes, percent))
    }

    /// See [`super::Lane::admit_again`].
    pub(super) fn admit_again(
        &self,
        lease: &mut Loan<'_>,
        priority: Priority,
    ) -> Result<(), Refusal> {
        let percent = self.share_of(priority);
        self.in_time(lease.bytes(), percent)?;
        lease
            .bind(percent)
            .map_err(|_| self.memory_full(0, percent))
    }

    /// See [`super::Lane::timed`].
    pub(super) fn timed(&self, refusal: Refusal) -> Refusal {
        if refusal.reason() == Reason::MemoryFull && !refusal.is_timed() {
            let wait = self.wait_for_memory(0, 100);
            return refusal.retry_after(wait);
        }
        refusal
    }

    /// A worker took a batch, and `waiting` are left.
    pub(super) fn on_taken(&self, waiting: usize) {
        self.change(|drain, now| drain.taken(waiting, now));
    }

    /// The store took events of so many bytes.
    pub(super) fn on_delivered(&self, bytes: u64) {
        self.change_with(|drain, rules, now| drain.delivered(bytes, now, rules));
    }

    /// The store did not take a batch, because of a quota or otherwise.
    pub(super) fn on_failure(&self, of_quota: bool) {
        self.change(|drain, now| drain.failed(of_quota, now));
    }

    /// Lets go of what is too old to count. To be called from time to time.
    pub(super) fn settle(&self) {
        self.change(|_, _| ());
    }

    fn change(&self, change: impl FnOnce(&mut Drain, Instant)) {
        self.change_with(|drain, _, now| change(drain, now));
    }

    fn change_with(&self, change: impl FnOnce(&mut Drain, &DelayRules, Instant)) {
        let now = Instant::now();
        let mut locked = self.drain();
        let (drain, rules) = &mut *locked;
        change(drain, rules, now);
        let bound = drain.bound(now, rules);
        self.bound_by_quota.store(bound.by_quota, Ordering::Relaxed);
        let most = bound.bytes.unwrap_or(UNBOUND);
        self.bound.store(most, Ordering::Relaxed);
        if let Some(disk) = self.disk.get() {
            disk.hold_at_most(most);
        }
        self.metrics.load.drain_rate.set(bound.rate.unwrap_or(0));
    }

    /// Whether so many bytes more would still be delivered in time.
    fn in_time(&self, bytes: u64, percent: u8) -> Result<(), Refusal> {
        let bound = self.bound.load(Ordering::Relaxed);
        if bound == UNBOUND {
            return Ok(());
        }
        let most = percent_of(bound, percent);
        let sum = self.metrics.load.bytes_held.get().saturating_add(bytes);
        // What memory holds for too long goes to disk.
        if sum <= most || self.disk.get().is_some_and(|disk| disk.is_well()) {
            return Ok(());
        }
        let reason = if self.bound_by_quota.load(Ordering::Relaxed) {
            Reason::UpstreamQuota
        } else {
            Reason::StoreSlow
        };
        Err(Refusal::from(reason).retry_after(self.wait_for(sum - most)))
    }

    fn memory_full(&self, bytes: u64, percent: u8) -> Refusal {
        let wait = self.wait_for_memory(bytes, percent);
        Refusal::from(Reason::MemoryFull).retry_after(wait)
    }

    /// Seconds until there is room for so many bytes more.
    fn wait_for_memory(&self, bytes: u64, percent: u8) -> u32 {
        let most = percent_of(self.budget.allowed(), percent);
        let sum = self.budget.used().saturating_add(bytes);
        self.wait_for(sum.saturating_sub(most))
    }

    /// Seconds until so many bytes have been drained. While it is not known how fast that is: the
    /// longer the store has failed, the longer it may fail still.
    fn wait_for(&self, bytes: u64) -> u32 {
        let rate = self.metrics.load.drain_rate.get();
        if rate > 0 {
            return retry_seconds(time_for(bytes, rate), LONGEST_WAIT);
        }
        let failing = self.drain().0.failing_for(Instant::now());
        let failing = failing.unwrap_or_default();
        retry_seconds(failing, LONGEST_GUESS)
    }
}
