//! The guards of all logstores, as a configuration says and a reload changes them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{Check, CheckCells, DedupCells, Guards};
use crate::config::{Config, PatternError};
use crate::foundation::secret::Secret;
use crate::gate::quota::{Seed, seed_of};
use crate::telemetry::{Counter, GuardFigures, GuardedValues};

type Map<T> = HashMap<Box<str>, T, foldhash::quality::RandomState>;

/// The guards of a configuration.
#[derive(Debug, Default)]
pub struct GuardSet {
    of: Map<Map<Arc<Guards>>>,
}

impl GuardSet {
    /// The guards of a configuration. What those of `before`, under the same seed, have seen is
    /// carried over where the rule is the same.
    ///
    /// # Errors
    /// A pattern of names is none; `tollgate check` tells of it first.
    pub fn new(config: &Config, seed: &Seed, before: &Self) -> Result<Self, PatternError> {
        let mut of: Map<Map<Arc<Guards>>> = Map::default();
        for project in &config.projects {
            let name = project.name.as_str();
            let mut logstores = Map::default();
            for logstore in &project.logstores {
                if logstore.guards.is_on() {
                    let before = before.get(name, logstore.name.as_str());
                    let guards = Guards::new(&logstore.guards, seed, before.map(Arc::as_ref))?;
                    logstores.insert(logstore.name.as_str().into(), guards);
                }
            }
            if !logstores.is_empty() {
                of.insert(name.into(), logstores);
            }
        }
        Ok(Self { of })
    }

    /// The guards of a logstore, if it has any.
    #[must_use]
    pub fn of(&self, project: &str, logstore: &str) -> Option<Arc<Guards>> {
        self.get(project, logstore).cloned()
    }

    fn get(&self, project: &str, logstore: &str) -> Option<&Arc<Guards>> {
        self.of.get(project)?.get(logstore)
    }

    /// Every logstore that has guards: project, logstore, guards. In no order.
    pub fn each(&self) -> impl Iterator<Item = (&str, &str, &Guards)> {
        self.of.iter().flat_map(|(project, logstores)| {
            logstores
                .iter()
                .map(move |(logstore, guards)| (&**project, &**logstore, &**guards))
        })
    }
}

/// The guards of a running service.
#[derive(Debug)]
pub struct StandingGuards {
    set: ArcSwap<GuardSet>,
    seed: Seed,
    /// Keys the names of senders. Records of the quarantine hold those, so it outlives the process.
    senders: Hmac<Sha256>,
    started: Instant,
}

impl StandingGuards {
    /// The guards of a configuration, which have seen nothing. `seed` and `key` must be unknown to
    /// senders; `key` is the same each time.
    ///
    /// # Errors
    /// As [`GuardSet::new`].
    pub fn new(config: &Config, seed: u64, key: &Secret) -> Result<Arc<Self>, PatternError> {
        let seed = seed_of(seed);
        let set = GuardSet::new(config, &seed, &GuardSet::default())?;
        Ok(Arc::new(Self {
            set: ArcSwap::from_pointee(set),
            seed,
            senders: sender_key(key),
            started: Instant::now(),
        }))
    }

    /// The guards of a changed configuration, not asked yet.
    ///
    /// # Errors
    /// As [`GuardSet::new`].
    pub fn prepare(&self, config: &Config) -> Result<GuardSet, PatternError> {
        GuardSet::new(config, &self.seed, &self.set.load())
    }

    /// From now on these guards are asked.
    pub fn take_over(&self, set: GuardSet) {
        self.set.store(Arc::new(set));
    }

    /// The guards as they are now.
    #[must_use]
    pub fn set(&self) -> Arc<GuardSet> {
        self.set.load_full()
    }

    /// The clock that [`Ask::millis`](super::Ask::millis) is read from.
    #[must_use]
    pub fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A sender as [`Ask::sender`](super::Ask::sender): its credential's kind and name, or its
    /// address. The same in each process of this node, and nothing that can be guessed back without
    /// its key.
    #[must_use]
    pub fn sender(&self, parts: &[&[u8]]) -> u64 {
        let mut mac = self.senders.clone();
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        let hash = mac.finalize().into_bytes();
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        u64::from_le_bytes(bytes)
    }
}

/// The key of the names of senders. The secret keys other things too, so this is derived from it.
fn sender_key(secret: &Secret) -> Hmac<Sha256> {
    let keyed = |key: &[u8]| {
        // HMAC takes keys of any length.
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
    };
    let mut mac = keyed(secret.expose());
    mac.update(b"tollgate sender");
    keyed(&mac.finalize().into_bytes())
}

impl StandingGuards {
    /// How the guards stand, for [`Metrics::watch_guards`](crate::telemetry::Metrics::watch_guards).
    #[must_use]
    pub fn figures(&self) -> Vec<GuardFigures> {
        let set = self.set.load();
        let each = set.each().map(|(project, logstore, guards)| GuardFigures {
            project: project.to_owned(),
            logstore: logstore.to_owned(),
            ..guards.figures()
        });
        each.collect()
    }
}

impl Guards {
    /// How they stand; project and logstore are left empty.
    #[must_use]
    pub fn figures(&self) -> GuardFigures {
        let checks = Check::ALL.iter().map(|check| {
            let CheckCells {
                refused,
                repaired,
                observed,
            } = self.cells.of(*check);
            let counts = [refused, repaired, observed].map(Counter::get);
            (check.label(), counts)
        });
        let DedupCells {
            dropped,
            observed,
            held,
            untracked,
            unnamed,
        } = &self.cells.dedup;
        let values = self.values.iter().map(|values| GuardedValues {
            field: values.rule.field.clone(),
            beyond: [
                &values.cells.refused,
                &values.cells.replaced,
                &values.cells.observed,
            ]
            .map(Counter::get),
            distinct: values.seen.count(),
            max: values.seen.max(),
        });
        GuardFigures {
            checks: checks.collect(),
            requests: self.cells.requests.get(),
            duplicates: [dropped, observed, held, untracked, unnamed].map(Counter::get),
            ids: self
                .ids
                .as_ref()
                .map(|ids| [ids.seen.count(), ids.seen.max()]),
            values: values.collect(),
            ..GuardFigures::default()
        }
    }
}
