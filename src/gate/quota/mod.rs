//! How much may be sent: limits on keys, charged in a fixed amount of memory.
//!
//! Promise: for any order of requests, a key that has a place is admitted no more than its windows
//! allow, and all keys that are new or have none no more than their parent's. What is asked is answered
//! at once; no limit waits. Memory is that of the tables, taken when the limits are made ([`config::Limit::state_bytes`](crate::config::Limit::state_bytes)).
//! Nothing is kept of a credential that was not verified.
//! Not here: who the caller is (`identity`), and how a refusal is told (`front`).

mod above;
mod bucket;
mod calendar;
mod charges;
mod classes;
mod compile;
mod control;
mod events;
mod facts;
mod heavy;
mod kept;
mod key;
mod limit;
mod metrics;
mod overrides;
mod set;
pub mod shared;
mod table;
#[cfg(test)]
mod tests;
mod watched;
mod window;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

pub use self::bucket::{Ask, Bucket, Full, MAX_WINDOWS};
pub use self::calendar::{Calendar, Unit};
pub use self::charges::{Charges, Mixed, Sorted, Told};
pub use self::control::{
    CountsView, KeyView, LimitControl, LimitDetail, LimitList, LimitView, MOST_TOP, OverrideView,
    RoomView, USUAL_TOP, WindowView,
};
pub use self::facts::{EventPart, Facts, Words};
pub use self::heavy::Heavy;
pub use self::kept::{Keeper, KeptBudgets, NewChange, NewOverride, OverrideCounts, Overrides};
pub use self::key::{Part, PartError, Seed, Shape, Stage};
pub use self::limit::{KeyOverrides, Limit, TooMuch};
pub use self::metrics::LimitCells;
pub use self::overrides::{Change, Override};
pub use self::set::QuotaSet;
use self::shared::Store;
pub use self::table::{Place, Table};
pub use self::watched::Watched;
pub use self::window::{Budget, Factor, Now, Over, Rate, Room, Window};
use crate::config::Config;
use crate::foundation::clock;

/// Nanoseconds at which the clock of the process begins: 0 means "never".
const ORIGIN: u64 = 1_000_000_000;

/// All limits of a running service.
#[derive(Debug)]
pub struct Quotas {
    set: ArcSwap<QuotaSet>,
    seed: Seed,
    clock: Clock,
    store: Option<Arc<Store>>,
}

/// The clock of limits. Tests of limits give the time themselves.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// Nanoseconds since [`ORIGIN`], for requests that are only tried out: their time is given.
    given: Option<u64>,
}

impl Clock {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            given: None,
        }
    }

    /// The time on both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.at(clock::unix_seconds())
    }

    /// The time on the clock of rates, and on the other what somebody has read there shortly before.
    fn at(&self, unix_seconds: u64) -> Now {
        let elapsed = || u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let nanos = self.given.unwrap_or_else(elapsed);
        Now {
            nanos: nanos.saturating_add(ORIGIN),
            unix_seconds,
        }
    }
}

impl Quotas {
    /// The limits of a configuration, with nothing used.
    ///
    /// # Errors
    /// A key with a part that does not exist; `tollgate check` tells of it first.
    pub fn new(config: &Config, seed: u64) -> Result<Arc<Self>, PartError> {
        Self::with_store(config, seed, None)
    }

    /// The same, where limits that are shared are shared through `store`. Somebody has to run it
    /// ([`Store::run`]). Without one each limit is of this node alone.
    ///
    /// # Errors
    /// As [`Quotas::new`].
    pub fn with_store(
        config: &Config,
        seed: u64,
        store: Option<Arc<Store>>,
    ) -> Result<Arc<Self>, PartError> {
        let seed = seed_of(seed);
        let set = QuotaSet::new(config, &seed, &QuotaSet::default(), store.as_ref())?;
        Ok(Arc::new(Self {
            set: ArcSwap::from_pointee(set),
            seed,
            clock: store.as_ref().map_or_else(Clock::start, |it| it.clock()),
            store,
        }))
    }

    /// Takes over the limits of a changed configuration. Limits whose rule is the same keep their
    /// state, all others begin anew.
    ///
    /// # Errors
    /// As [`Quotas::new`], and nothing has changed.
    pub fn reload(&self, config: &Config) -> Result<(), PartError> {
        self.take_over(self.prepare(config)?);
        Ok(())
    }

    /// The limits of a changed configuration, not asked yet.
    ///
    /// # Errors
    /// As [`Quotas::new`].
    pub fn prepare(&self, config: &Config) -> Result<QuotaSet, PartError> {
        QuotaSet::new(config, &self.seed, &self.set.load(), self.store.as_ref())
    }

    /// From now on these limits are asked.
    pub fn take_over(&self, set: QuotaSet) {
        self.set.store(Arc::new(set));
    }

    /// A request begins, at this time on the wall clock: budgets and bans go by it to its end.
    #[must_use]
    pub fn begin(&self, unix_seconds: u64) -> Charges {
        Charges::new(self.set.load_full(), self.clock, unix_seconds)
    }

    /// A request that is only tried out begins, `nanos` after the first of its kind. What the limits say
    /// of it is written down ([`Charges::watched`]).
    #[must_use]
    pub fn begin_trial(&self, unix_seconds: u64, nanos: u64) -> Charges {
        let clock = Clock {
            given: Some(nanos.saturating_add(ORIGIN)),
            ..self.clock
        };
        let mut charges = Charges::new(self.set.load_full(), clock, unix_seconds);
        charges.watch();
        charges
    }

    /// The limits as they are now.
    #[must_use]
    pub fn set(&self) -> Arc<QuotaSet> {
        self.set.load_full()
    }

    /// The time on both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The store that nodes share limits through, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }
}

/// A seed for the keys of limits.
#[must_use]
pub fn seed_of(seed: u64) -> Seed {
    // The hasher borrows it for the life of the process; there is one for each start.
    let shared = Box::leak(Box::new(foldhash::SharedSeed::from_u64(seed)));
    Seed::with_seed(seed.rotate_left(32), shared)
}
