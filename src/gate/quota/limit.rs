//! One limit, compiled: what it is asked, and what becomes of what is too much.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use super::bucket::{Ask, Bucket, Charged, Full, NO_PARENT};
use super::classes::Classes;
use super::compile::{Parent, parent_of, shape_of, turnover, windows_of};
use super::facts::{EventPart, Facts};
use super::key::{Part, PartError, Seed, Shape, Stage};
use super::metrics::LimitCells;
use super::overrides::{Change, Override};
use super::shared::{Lease, Store, Word};
use super::window::{Factor, Now, Room, Window};
use crate::config::{self, LimitAction, LimitMode, LimitUnit, WithoutStore};

/// One in so many asks is looked at for the list of those that send the most.
const SAMPLE: u64 = 16;
/// Seconds to wait where nothing will ever pass.
const NEVER: u32 = 3600;
const SECOND: u64 = 1_000_000_000;

/// Overrides of a limit, by the hash of their key.
pub type KeyOverrides = HashMap<u64, Arc<Override>, foldhash::quality::RandomState>;

/// A limit.
#[derive(Debug)]
pub struct Limit {
    /// Its part of the configuration.
    pub rule: config::Limit,
    /// Its name, to be handed out.
    pub name: Arc<str>,
    /// When it is asked.
    pub stage: Stage,
    /// What it tells apart.
    pub shape: Shape,
    /// What is counted for it.
    pub cells: LimitCells,
    parent: Option<Parent>,
    sample_by: Shape,
    seed: Seed,
    bucket: Arc<Bucket>,
    lease: Option<Arc<Lease>>,
    /// What it allows, in words.
    told: OnceLock<String>,
    overrides: ArcSwapOption<KeyOverrides>,
    /// Whether there are overrides: nearly always there are none, and asking this is cheaper.
    has_overrides: AtomicBool,
    /// The classes that it counts, and those that may use the reserve.
    counted: Box<[usize]>,
    reserved: Box<[usize]>,
}

/// The hashes of a key and of its parent.
pub type Hashes = [u64; 2];

/// Too much for a limit.
#[derive(Clone, Debug)]
pub enum TooMuch {
    /// Its windows are full.
    Full(Full),
    /// Its key is banned.
    Banned(Arc<Override>),
    /// It is shared, and refuses while its store cannot be reached.
    StoreDown,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The limit only observes, or observes this key.
    Observed,
    /// It is refused.
    Refused,
    /// It goes to another logstore.
    Diverted,
    /// It goes on as one of the sample.
    Kept,
    /// It goes on, marked.
    Marked,
}

impl Consequence {
    /// What is said of it.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Observed => "has no room, and only observes",
            Self::Refused => "has no room: refused",
            Self::Diverted => "has no room: diverted",
            Self::Kept => "has no room: kept as one of the sample",
            Self::Marked => "has no room: marked",
        }
    }
}

impl Limit {
    /// Compiles a limit.
    ///
    /// # Errors
    /// A part of a key that does not exist.
    pub fn new(
        rule: &config::Limit,
        classes: &Classes,
        utc_offset: i32,
        seed: Seed,
        store: Option<&Arc<Store>>,
    ) -> Result<Self, PartError> {
        let shape = shape_of(&rule.key, rule.ipv4_prefix, rule.ipv6_prefix)?;
        let parent = parent_of(rule, &shape)?;
        let whole = windows_of(rule, utc_offset);
        let store = store.filter(|_| rule.shared);
        // What this node counts for itself is its share, when others count too.
        let share = |windows: &[Window]| -> Vec<Window> {
            let nodes = store.map_or(1, |store| store.nodes());
            windows.iter().map(|window| window.share(nodes)).collect()
        };
        let windows = share(&whole);
        let reserve = rule.reserve.values().copied().fold(0, u8::saturating_add);
        let parent_windows = parent.as_ref().map(|parent| share(&parent.windows));
        let parents = rule.parent_keys();
        // All keys together, by what is right below them.
        let (below_root, keys) = match parent_windows.as_deref() {
            Some(above) if !above.is_empty() => (above, parents),
            _ => (windows.as_slice(), rule.max_keys),
        };
        let root: Vec<Window> = below_root
            .iter()
            .map(|window| turnover(window, keys))
            .collect();
        let bucket = Bucket::new(&windows, rule.max_keys, reserve, &root);
        let bucket = match &parent_windows {
            // One that allows whatever comes would keep all keys together out of it.
            Some(windows) if !windows.is_empty() => {
                bucket.below(Bucket::new(windows, parents, 0, &root))
            }
            _ => bucket,
        };
        let bucket = Arc::new(bucket);
        let lease = store.map(|store| {
            let (bucket, store) = (Arc::clone(&bucket), Arc::clone(store));
            Arc::new(Lease::new(rule, &whole, bucket, store))
        });
        Ok(Self {
            name: rule.name.as_str().into(),
            stage: rule.stage()?,
            sample_by: shape_of(&rule.sample_by, rule.ipv4_prefix, rule.ipv6_prefix)?,
            parent,
            shape,
            cells: LimitCells::default(),
            seed,
            bucket,
            lease,
            told: OnceLock::new(),
            overrides: ArcSwapOption::empty(),
            has_overrides: AtomicBool::new(false),
            counted: rule
                .classes
                .iter()
                .filter_map(|name| classes.index(name))
                .collect(),
            reserved: rule
                .reserve
                .keys()
                .filter_map(|name| classes.index(name))
                .collect(),
            rule: rule.clone(),
        })
    }

    /// Whether single events are told apart by it: by a field, or by their class.
    #[must_use]
    pub fn tells_events_apart(&self) -> bool {
        self.shape.tells_events_apart()
            || !self.rule.classes.is_empty()
            || !self.rule.reserve.is_empty()
    }

    /// Whether it counts events of a class.
    #[must_use]
    pub fn counts(&self, class: Option<usize>) -> bool {
        self.rule.classes.is_empty() || class.is_some_and(|class| self.counted.contains(&class))
    }

    /// Whether events of a class may use the reserve.
    #[must_use]
    pub fn reserves(&self, class: Option<usize>) -> bool {
        class.is_some_and(|class| self.reserved.contains(&class))
    }

    /// The hashes of a request's key.
    #[must_use]
    pub fn hashes(&self, facts: &Facts<'_>, event: Option<EventPart<'_>>) -> Hashes {
        let parent = match &self.parent {
            Some(parent) => {
                let shape = match facts.caller_is_known() {
                    true => parent.of_known.as_ref(),
                    false => Some(&parent.of_unknown),
                };
                shape.map_or(NO_PARENT, |shape| shape.hash(&self.seed, facts, event))
            }
            None => NO_PARENT,
        };
        [self.shape.hash(&self.seed, facts, event), parent]
    }

    /// The key of a request as text.
    #[must_use]
    pub fn key_text(&self, facts: &Facts<'_>, event: Option<EventPart<'_>>) -> String {
        self.shape.text(facts, event)
    }

    /// The hash of a key that is given as text.
    ///
    /// # Errors
    /// What the text should hold.
    pub fn hash_of_text(&self, text: &str) -> Result<u64, String> {
        self.shape.hash_of_text(&self.seed, text)
    }

    /// Takes units for a key, or nothing.
    ///
    /// # Errors
    /// [`TooMuch`], and nothing was taken.
    pub fn take(
        &self,
        hashes: &Hashes,
        units: u64,
        reserved: bool,
        now: Now,
        text: &dyn Fn() -> String,
    ) -> Result<(Charged, Factor), TooMuch> {
        let [own, _] = *hashes;
        let factor = self.factor_of(own, now)?;
        let ask = Ask {
            hashes,
            units,
            reserved,
            factor,
            now,
        };
        let taken = match &self.lease {
            Some(lease) => self.take_shared(lease, ask, text),
            None => self.bucket.take(ask, text).map_err(TooMuch::Full),
        };
        self.see(ask, text);
        taken.map(|charged| (charged, factor))
    }

    /// Whether units of a key would pass. Nothing is taken, and nothing is kept of a key that is not
    /// known.
    ///
    /// # Errors
    /// As [`Limit::take`].
    pub fn look(
        &self,
        hashes: &Hashes,
        units: u64,
        now: Now,
        text: &dyn Fn() -> String,
    ) -> Result<(), TooMuch> {
        let [own, _] = *hashes;
        let ask = Ask {
            hashes,
            units,
            reserved: false,
            factor: self.factor_of(own, now)?,
            now,
        };
        let looked = match &self.lease {
            Some(lease) => self.look_shared(lease, ask, text),
            None => self.bucket.look(ask).map_err(TooMuch::Full),
        };
        if looked.is_err() {
            // What passes is counted when it is taken.
            self.see(ask, text);
        }
        looked
    }

    /// Counts a key among those that send the most, now and then.
    fn see(&self, ask: Ask<'_>, text: &dyn Fn() -> String) {
        let own = ask.hashes.first().copied().unwrap_or_default();
        // The low bits of the clock are as good as a coin, and nobody outside chooses them.
        if (ask.now.nanos ^ own).is_multiple_of(SAMPLE) {
            let units = ask.units.saturating_mul(SAMPLE);
            self.bucket.see(own, units, ask.now, text);
        }
    }

    /// How much of the limit a key gets.
    fn factor_of(&self, own: u64, now: Now) -> Result<Factor, TooMuch> {
        match self.override_of(own, now) {
            None => Ok(Factor::ONE),
            Some(changed) => match changed.change {
                Change::Ban => Err(TooMuch::Banned(changed)),
                Change::Raise { .. } | Change::Lift => Ok(changed.factor()),
            },
        }
    }

    /// Takes units from the lease of a key; where there is none to be had from the store, from this
    /// node's share.
    fn take_shared(
        &self,
        lease: &Arc<Lease>,
        ask: Ask<'_>,
        text: &dyn Fn() -> String,
    ) -> Result<Charged, TooMuch> {
        let own = ask.hashes.first().copied().unwrap_or_default();
        let full = |wait| TooMuch::Full(Full { wait, own: true });
        match lease.take(own, ask.units, ask.factor, ask.now, text) {
            Word::Passed => match self.bucket.note(ask, text) {
                Ok(charged) => Ok(charged.leased()),
                Err(full) => {
                    lease.give_back(own, ask.units, ask.now);
                    Err(TooMuch::Full(full))
                }
            },
            Word::Full(wait) => Err(full(wait)),
            Word::Alone if self.rule.without_store == WithoutStore::Refuse => {
                Err(TooMuch::StoreDown)
            }
            Word::Alone => {
                let charged = self.bucket.take(ask, text).map_err(TooMuch::Full)?;
                lease.went_alone(own, ask.units, ask.now);
                Ok(charged)
            }
            Word::Homeless => self.bucket.take(ask, text).map_err(TooMuch::Full),
        }
    }

    /// What [`Limit::take_shared`] would say.
    fn look_shared(
        &self,
        lease: &Arc<Lease>,
        ask: Ask<'_>,
        text: &dyn Fn() -> String,
    ) -> Result<(), TooMuch> {
        let own = ask.hashes.first().copied().unwrap_or_default();
        match lease.look(own, ask.units, ask.factor, ask.now, text) {
            Word::Passed => self.bucket.look_noted(ask).map_err(TooMuch::Full),
            Word::Full(wait) => Err(TooMuch::Full(Full { wait, own: true })),
            Word::Alone if self.rule.without_store == WithoutStore::Refuse => {
                Err(TooMuch::StoreDown)
            }
            Word::Alone | Word::Homeless => self.bucket.look(ask).map_err(TooMuch::Full),
        }
    }

    /// Gives back what was taken, or a part of it. `charged` holds when that was.
    pub fn give_back(
        &self,
        hashes: &Hashes,
        units: u64,
        reserved: bool,
        (charged, factor, then): (Charged, Factor, Now),
        now: Now,
    ) {
        let ask = Ask {
            hashes,
            units,
            reserved,
            factor,
            now: then,
        };
        let (leased, charged) = charged.split();
        if leased && let (Some(lease), Some(own)) = (&self.lease, hashes.first()) {
            lease.give_back(*own, units, now);
        }
        self.bucket.give_back(ask, charged, now);
    }

    /// What becomes of what is too much for a key.
    #[must_use]
    pub fn consequence(&self, own: u64, facts: &Facts<'_>) -> Consequence {
        // Other bits than those that choose the place in the table.
        let enforced = percent_of(own.rotate_left(17)) < u64::from(self.rule.percent);
        if self.rule.mode != LimitMode::Enforce || !enforced {
            return Consequence::Observed;
        }
        match self.rule.action {
            LimitAction::Refuse => Consequence::Refused,
            LimitAction::Divert => Consequence::Diverted,
            LimitAction::Mark => Consequence::Marked,
            LimitAction::Sample => {
                let sample = self.sample_by.hash(&self.seed, facts, None);
                if percent_of(sample) < u64::from(self.rule.keep) {
                    Consequence::Kept
                } else {
                    Consequence::Refused
                }
            }
        }
    }

    /// Seconds to wait before trying again; `None` when it would never pass.
    #[must_use]
    pub fn retry_seconds(&self, too_much: &TooMuch, now: Now) -> Option<u32> {
        let nothing = self.rule.rates.iter().any(|rate| rate.count.get() == 0);
        match too_much {
            TooMuch::Banned(ban) => {
                let left = ban.expires.saturating_sub(now.unix_seconds).max(1);
                Some(u32::try_from(left).unwrap_or(u32::MAX))
            }
            TooMuch::StoreDown => Some(1),
            TooMuch::Full(Full { wait: None, .. }) if nothing => Some(NEVER),
            TooMuch::Full(full) => full
                .wait
                .map(|wait| u32::try_from(wait.div_ceil(SECOND).max(1)).unwrap_or(u32::MAX)),
        }
    }

    /// What the limit allows, for people: `100 requests in 1s and 100000 requests in a day for each address`.
    #[must_use]
    pub fn told(&self) -> &str {
        self.told.get_or_init(|| self.in_words())
    }

    fn in_words(&self) -> String {
        let unit = match self.rule.unit {
            LimitUnit::Requests => "requests",
            LimitUnit::Events => "events",
            LimitUnit::Bytes => "bytes",
        };
        let rates = self.rule.rates.iter();
        let rates = rates.map(|rate| format!("{} {unit} in {}", rate.count.get(), rate.per));
        let budgets = self.rule.budgets.iter();
        let budgets = budgets
            .map(|budget| format!("{} {unit} in a {}", budget.count.get(), budget.per.as_str()));
        let windows: Vec<String> = rates.chain(budgets).collect();
        let parts: Vec<String> = self.shape.parts.iter().map(Part::to_string).collect();
        let each = if parts.is_empty() {
            "in all".to_owned()
        } else {
            format!("for each {}", parts.join(" and "))
        };
        format!("{} {each}", windows.join(" and "))
    }

    /// The leases of its keys, where it is shared with other nodes.
    #[must_use]
    pub fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.as_ref()
    }

    /// What each window of a key would let pass now, as far as this node knows. Of a shared limit:
    /// what the store last said of its tightest window; its share, while the store is away.
    #[must_use]
    pub fn rooms(&self, own: u64, reserved: bool, factor: Factor, now: Now) -> Vec<Room> {
        let Some(lease) = &self.lease else {
            return self.bucket.rooms(own, reserved, factor, now);
        };
        let Some((remaining, wait)) = lease.room(own, now) else {
            return self.bucket.rooms(own, reserved, factor, now);
        };
        let windows = lease.windows().iter();
        windows
            .map(|window| {
                let rested = window.room(0, factor, now);
                Room {
                    remaining: remaining.min(rested.most),
                    most: rested.most,
                    reset: wait.max(rested.reset),
                }
            })
            .collect()
    }

    /// Whether one more unit would pass now, as far as this node knows.
    ///
    /// # Errors
    /// Where there is no room, and for how long.
    pub fn would_pass(&self, own: u64, factor: Factor, now: Now) -> Result<(), Full> {
        match self.lease.as_ref().and_then(|lease| lease.room(own, now)) {
            Some((0, wait)) => Err(Full {
                wait: Some(wait),
                own: true,
            }),
            Some(_) => Ok(()),
            None => self.bucket.would_pass(own, factor, now),
        }
    }

    /// The windows of the whole limit.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        match &self.lease {
            Some(lease) => lease.windows(),
            None => self.bucket.windows(),
        }
    }

    /// A key gets another factor: see [`Bucket::rescale`] and [`Lease::rescale`].
    pub fn rescale(&self, own: u64, from: Factor, to: Factor, now: Now) {
        self.bucket.rescale(own, from, to, now);
        if let Some(lease) = &self.lease {
            lease.rescale(own, from, to);
        }
    }

    /// The state of its keys; where it is shared, that of this node's share.
    #[must_use]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Puts these overrides in place of those before.
    pub fn set_overrides(&self, overrides: KeyOverrides) {
        let some = !overrides.is_empty();
        self.overrides.store(some.then(|| Arc::new(overrides)));
        self.has_overrides.store(some, Ordering::Release);
    }

    /// The override of a key, while it lasts.
    #[must_use]
    pub fn override_of(&self, own: u64, now: Now) -> Option<Arc<Override>> {
        if !self.has_overrides.load(Ordering::Acquire) {
            return None;
        }
        let overrides = self.overrides.load();
        let found = overrides.as_ref()?.get(&own)?;
        (found.expires > now.unix_seconds).then(|| Arc::clone(found))
    }
}

fn percent_of(hash: u64) -> u64 {
    ((hash >> 32) * 100) >> 32
}
