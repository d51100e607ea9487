//! Limits, put together: what is asked, what is kept over restarts, and how both follow a changed
//! configuration.
//!
//! Promise: a reload leaves no moment in which a ban or what was used of a budget does not count.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, PartError};
use crate::gate::quota::shared::{Status, Store, StoreFault};
use crate::gate::quota::{Keeper, KeptBudgets, Limit, LimitControl, Overrides, QuotaSet, Quotas};
use crate::telemetry::{LimitFigures, LimitOutcome, Metrics, QuotaFigures, SharedFigures};

/// Limits of a running service.
#[derive(Debug)]
pub(super) struct Limits {
    control: Arc<LimitControl>,
    keeper: Arc<Keeper>,
    stop: CancellationToken,
    /// Writes what is used of budgets, once more when it ends.
    keeping: Mutex<Option<JoinHandle<()>>>,
}

impl Limits {
    /// Makes the limits, takes up what is kept of them, and starts what keeps it.
    pub(super) fn start(
        config: &Config,
        metrics: &Arc<Metrics>,
        tasks: &TaskTracker,
        store: Option<Arc<Store>>,
    ) -> Result<Self, PartError> {
        let kept = KeptBudgets::open(&config.data_dir);
        let quotas = Quotas::with_store(config, kept.seed(), store)?;
        let keeper = Arc::new(kept.restore(&quotas, config.quota.save_interval.get()));
        let overrides = Arc::new(Overrides::open(
            &config.data_dir,
            config.quota.max_overrides,
            Arc::clone(&quotas),
        ));
        let stop = CancellationToken::new();
        let running = Arc::clone(&keeper).run(Arc::clone(&overrides), stop.clone());
        let keeping = tasks.spawn(running);
        let control = Arc::new(LimitControl { quotas, overrides });
        let (watched, kept) = (Arc::clone(&control), Arc::clone(&keeper));
        metrics.watch_limits(move || figures(&watched, &kept));
        Ok(Self {
            control,
            keeper,
            stop,
            keeping: Mutex::new(Some(keeping)),
        })
    }

    /// What is asked.
    pub(super) fn quotas(&self) -> &Arc<Quotas> {
        &self.control.quotas
    }

    /// What people see and change.
    pub(super) fn control(&self) -> &Arc<LimitControl> {
        &self.control
    }

    /// The limits of a changed configuration, to be taken over later.
    pub(super) fn prepare(&self, config: &Config) -> Result<QuotaSet, PartError> {
        self.control.quotas.prepare(config)
    }

    /// Takes over a changed configuration.
    pub(super) fn take_over(&self, set: QuotaSet, config: &Config) {
        let overrides = &self.control.overrides;
        overrides.set_max(config.quota.max_overrides);
        overrides.install_in(&set);
        self.keeper.hand_over(&set);
        self.control.quotas.take_over(set);
        // Once more: of an override that was made in between only the old limits know.
        overrides.install();
        self.keeper.set_interval(config.quota.save_interval.get());
    }

    /// Writes what is used of budgets for the last time.
    pub(super) async fn finish(&self, deadline: Instant) {
        self.stop.cancel();
        let keeping = self.keeping.lock();
        let keeping = keeping.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeping) = keeping
            && tokio::time::timeout_at(deadline, keeping).await.is_err()
        {
            tracing::error!("what is used of budgets was not written in time");
        }
    }
}

fn figures(control: &LimitControl, keeper: &Keeper) -> QuotaFigures {
    let counts = control.overrides.counts();
    let damaged = [keeper.was_damaged(), control.overrides.was_damaged()];
    QuotaFigures {
        limits: control
            .quotas
            .set()
            .all
            .iter()
            .map(|it| of_limit(it))
            .collect(),
        bans: counts.bans,
        raises: counts.raises,
        idle: counts.idle,
        saves: keeper.saves.get(),
        save_failures: keeper.failures.get(),
        shared: control.quotas.store().map(|store| of_store(store.status())),
        damaged: damaged.iter().map(|damaged| u64::from(*damaged)).sum(),
    }
}

fn of_limit(limit: &Limit) -> LimitFigures {
    let cells = &limit.cells;
    let mut outcomes = [0; LimitOutcome::COUNT];
    for (to, outcome) in outcomes.iter_mut().zip(LimitOutcome::ALL) {
        *to = match outcome {
            LimitOutcome::Passed => cells.passed.get(),
            LimitOutcome::Refused => cells.refused.get(),
            LimitOutcome::Observed => cells.observed.get(),
            LimitOutcome::Diverted => cells.diverted.get(),
            LimitOutcome::Sampled => cells.kept.get(),
            LimitOutcome::Marked => cells.marked.get(),
        };
    }
    let (capacity, keys) = limit.bucket().places();
    LimitFigures {
        name: limit.name.to_string(),
        outcomes,
        banned: cells.banned.get(),
        newcomers: cells.newcomers.get(),
        given_back: cells.given_back.get(),
        keys,
        capacity,
        lease: limit
            .lease()
            .map(|lease| [lease.alone.get(), lease.outrun.get()]),
    }
}

fn of_store(status: &Status) -> SharedFigures {
    SharedFigures {
        up: status.is_up(),
        changes: status.changes.get(),
        nodes: status.nodes.get(),
        round_trips: status.round_trips.get(),
        leases: status.leases.get(),
        crowded: status.crowded.get(),
        news: [
            status.news_sent.get(),
            status.news_taken.get(),
            status.news_bad.get(),
        ],
        faults: StoreFault::ALL
            .into_iter()
            .map(|fault| (fault.label(), status.faults(fault)))
            .collect(),
    }
}
