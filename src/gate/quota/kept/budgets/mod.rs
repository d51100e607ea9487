//! Budgets, kept over restarts in `{data_dir}/quota/budgets`.
//!
//! Promise: after a crash at most what was used within `quota.save_interval` is forgotten; after a
//! stop nothing is. What cannot be read or written never stops the service: it is told, counted and
//! tried again. What is kept of a limit is used for a limit of the same name that means the same by
//! it (`format::meaning`); how much is allowed, and whether it is enforced, may have changed.

mod format;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::format::{Meaning, Summed, meaning, open_whole, probe, put, random, restore, write};
use super::overrides::Overrides;
use crate::foundation::whole_file::{replace, set_aside};
use crate::gate::quota::Quotas;
use crate::gate::quota::limit::Limit;
use crate::gate::quota::set::QuotaSet;
use crate::telemetry::Counter;

const FILE: &str = "budgets";
/// What a start finds of budgets.
#[derive(Debug)]
pub struct KeptBudgets {
    path: PathBuf,
    seed: u64,
    found: Option<BufReader<Summed>>,
    damaged: bool,
}

impl KeptBudgets {
    /// Opens what is kept in `data_dir`, and checks that it is whole. Blocks on the disk. A file that
    /// is not whole is set aside as `budgets.damaged`.
    #[must_use]
    pub fn open(data_dir: &Path) -> Self {
        let path = data_dir.join("quota").join(FILE);
        let (found, damaged) = match open_whole(&path) {
            Ok(found) => (Some(found), false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, false),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "what was used of budgets cannot be read; they begin anew; the file is kept as budgets.damaged");
                set_aside(&path);
                (None, true)
            }
        };
        let (seed, found) = match found {
            Some((seed, true, reader)) => (seed, Some(reader)),
            Some((_, false, _)) => {
                tracing::warn!(path = %path.display(), "what was used of budgets was written by another version, whose hashes differ; they begin anew");
                (random(), None)
            }
            None => (random(), None),
        };
        Self {
            path,
            seed,
            found,
            damaged,
        }
    }

    /// The seed that [`Quotas::new`] has to be given.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Gives the limits what was used of their budgets, and becomes what keeps it from now on.
    #[must_use]
    pub fn restore(mut self, quotas: &Arc<Quotas>, interval: Duration) -> Keeper {
        let mut damaged = self.damaged;
        let fresh = self.found.is_none();
        if let Some(mut found) = self.found.take()
            && let Err(error) = restore(&mut found, &quotas.set(), quotas.now())
        {
            tracing::error!(%error, path = %self.path.display(), "what was used of budgets could not be read to its end");
            damaged = true;
        }
        let set = quotas.set();
        Keeper {
            path: self.path,
            seed: self.seed,
            probe: probe(self.seed),
            saved: Mutex::new(marks(&set)),
            quotas: Arc::clone(quotas),
            interval: AtomicU64::new(millis(interval)),
            failing: AtomicBool::new(false),
            fresh: AtomicBool::new(fresh),
            damaged,
            saves: Counter::default(),
            failures: Counter::default(),
        }
    }
}

/// Keeps budgets on disk.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    seed: u64,
    probe: u64,
    quotas: Arc<Quotas>,
    interval: AtomicU64,
    /// What was counted when it was last saved.
    saved: Mutex<Vec<Mark>>,
    failing: AtomicBool,
    /// Whether there is no file yet. The seed is kept in any case: samples and percentages are of the
    /// same keys after a restart.
    fresh: AtomicBool,
    damaged: bool,
    /// Files that were written.
    pub saves: Counter,
    /// Files that could not be written.
    pub failures: Counter,
}

/// How far a limit with a budget has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    name: Arc<str>,
    meaning: Meaning,
    passed: u64,
    given_back: u64,
}

impl Keeper {
    /// Whether what was there could not be read.
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        self.damaged
    }

    /// Sets how often budgets are written.
    pub fn set_interval(&self, interval: Duration) {
        self.interval.store(millis(interval), Ordering::Relaxed);
    }

    /// Gives new limits what was used of those in force, where both mean the same by a key. To be
    /// called once before the new limits are asked, so that nobody begins anew in between.
    pub fn hand_over(&self, new: &QuotaSet) {
        let now = self.quotas.now();
        let before = self.quotas.set();
        for limit in &new.all {
            let same = before.all.iter().find(|old| old.name == limit.name);
            let Some(old) = same.filter(|old| !Arc::ptr_eq(old, limit)) else {
                continue;
            };
            if has_budget(limit)
                && meaning(old, before.utc_offset()) == meaning(limit, new.utc_offset())
            {
                let slots: Vec<usize> = limit.bucket().budget_words().collect();
                let from: Vec<usize> = old.bucket().budget_words().collect();
                old.bucket().each_budget(now, |hash, words| {
                    let used = from.iter().map(|slot| words.get(*slot).copied());
                    let used: Vec<u64> = used.map(Option::unwrap_or_default).collect();
                    // A smaller table may have no place for all of them.
                    let _placed = put(limit, &slots, hash, &used, now);
                });
            }
        }
    }

    /// Writes what is used of budgets, if something was since the last time. Blocks on the disk.
    pub fn save(&self) {
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let set = self.quotas.set();
        // First how far it was counted, then the words: what comes in between is written next time.
        let marks = marks(&set);
        let seedless = self.fresh.load(Ordering::Relaxed) && !set.all.is_empty();
        if !seedless && (*saved == marks || marks.is_empty()) {
            return;
        }
        match self.write(&set) {
            Ok(()) => {
                *saved = marks;
                self.fresh.store(false, Ordering::Relaxed);
                self.saves.inc();
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(path = %self.path.display(), "what is used of budgets is written again");
                }
            }
            Err(error) => {
                self.failures.inc();
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, path = %self.path.display(), "what is used of budgets could not be written; tried again; a restart would forget it");
                }
            }
        }
    }

    /// Saves every `quota.save_interval` until `stop`, and once more then. Ended overrides go too.
    pub async fn run(self: Arc<Self>, overrides: Arc<Overrides>, stop: CancellationToken) {
        loop {
            let interval = Duration::from_millis(self.interval.load(Ordering::Relaxed));
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(interval) => false,
            };
            let (keeper, overrides) = (Arc::clone(&self), Arc::clone(&overrides));
            let round = tokio::task::spawn_blocking(move || {
                keeper.save();
                overrides.round();
            });
            if let Err(error) = round.await {
                tracing::error!(%error, "budgets were not saved");
            }
            if stopped {
                return;
            }
        }
    }

    fn write(&self, set: &QuotaSet) -> io::Result<()> {
        let now = self.quotas.now();
        let budgets = set.all.iter().filter(|limit| has_budget(limit));
        replace(&self.path, |file| {
            write(
                file,
                (self.seed, self.probe),
                budgets,
                set.utc_offset(),
                now,
            )
        })
    }
}

fn has_budget(limit: &Limit) -> bool {
    !limit.rule.budgets.is_empty()
}

fn marks(set: &QuotaSet) -> Vec<Mark> {
    let limits = set.all.iter().filter(|limit| has_budget(limit));
    limits
        .map(|limit| Mark {
            name: Arc::clone(&limit.name),
            meaning: meaning(limit, set.utc_offset()),
            passed: limit.cells.passed.get(),
            given_back: limit.cells.given_back.get(),
        })
        .collect()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}
