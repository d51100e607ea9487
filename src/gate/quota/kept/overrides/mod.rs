//! Bans and raises of keys, kept over restarts in `{data_dir}/quota/overrides.json`.
//!
//! Promise: what [`Overrides::add`] and [`Overrides::lift`] have confirmed holds from that moment on,
//! and after a restart. There are at most `quota.max_overrides`. Of two overrides of one key the one
//! that was made later counts, whichever comes first, so nodes that exchange theirs come to the same.
//! One for a limit that does not exist is kept, without effect, until it ends.
//!
//! The file is small and written whole. One that cannot be read is set aside and counted: the node
//! starts without bans, which is told, and not refused.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::foundation::clock;
use crate::foundation::whole_file::{replace, set_aside};
use crate::gate::identity::state::ChangeError;
use crate::gate::quota::Quotas;
use crate::gate::quota::limit::{KeyOverrides, Limit};
use crate::gate::quota::overrides::{Change, Override};
use crate::gate::quota::set::QuotaSet;
use crate::gate::quota::window::Factor;

const FORMAT: u32 = 1;
const FILE: &str = "overrides.json";
/// The longest that an override lasts, seconds.
const LONGEST: u64 = 366 * 86_400;
/// Bytes of a key and of a reason.
const MAX_KEY: usize = 1024;
const MAX_REASON: usize = 256;
/// Bytes of a file that is read: far beyond what the largest `quota.max_overrides` needs.
const MAX_FILE: u64 = 256 << 20;
const LARGEST_FACTOR: f64 = 1000.0;
const SMALLEST_FACTOR: f64 = 0.001;

/// An override that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewOverride {
    /// The key, as the list of top keys shows it: `address=203.0.113.7`.
    pub key: String,
    /// What is changed.
    pub change: NewChange,
    /// For a raise: how many times the limit the key gets, 0.001 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// How long, in seconds.
    pub ttl_seconds: u64,
    /// Why, for people; at most 256 bytes.
    pub reason: String,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NewChange {
    /// Refuse everything.
    Ban,
    /// Multiply the limit.
    Raise,
}

impl NewOverride {
    fn change(&self) -> Result<Change, ChangeError> {
        match (self.change, self.factor) {
            (NewChange::Ban, None) => Ok(Change::Ban),
            (NewChange::Ban, Some(_)) => Err(invalid("factor", "is for a raise; leave it out")),
            (NewChange::Raise, Some(factor))
                if (SMALLEST_FACTOR..=LARGEST_FACTOR).contains(&factor) =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is from 1 to 1000000"
                )]
                let thousandths = (factor * 1000.0).round() as u32;
                Ok(Change::Raise { thousandths })
            }
            (NewChange::Raise, _) => {
                let why = format!("must be from {SMALLEST_FACTOR} to {LARGEST_FACTOR}");
                Err(invalid("factor", why))
            }
        }
    }
}

fn invalid(member: &'static str, why: impl Into<String>) -> ChangeError {
    ChangeError::Invalid {
        member,
        why: why.into(),
    }
}

type Kept = BTreeMap<(String, String), Arc<Override>>;

/// What the file holds.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Contents<'a> {
    format: u32,
    overrides: Vec<std::borrow::Cow<'a, Override>>,
}

/// How many overrides there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverrideCounts {
    /// Keys that are banned.
    pub bans: u64,
    /// Keys whose limit is raised or lowered.
    pub raises: u64,
    /// Of both, those that have no effect, since their limit or key does not exist.
    pub idle: u64,
}

/// Bans and raises.
#[derive(Debug)]
pub struct Overrides {
    path: PathBuf,
    quotas: Arc<Quotas>,
    max: AtomicU32,
    kept: Mutex<Kept>,
    /// What is kept is not what is on disk.
    unwritten: AtomicBool,
    damaged: bool,
    version: watch::Sender<u64>,
}

impl Overrides {
    /// Reads what is kept in `data_dir`, at most `max`, and applies it to the limits. Blocks on the
    /// disk.
    #[must_use]
    pub fn open(data_dir: &Path, max: u32, quotas: Arc<Quotas>) -> Self {
        let path = data_dir.join("quota").join(FILE);
        let (kept, damaged) = match read(&path) {
            Ok(kept) => (kept, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Kept::new(), false),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "bans and raises of keys cannot be read; none is in force; the file is kept as overrides.json.damaged");
                set_aside(&path);
                (Kept::new(), true)
            }
        };
        let overrides = Self {
            path,
            quotas,
            max: AtomicU32::new(max),
            kept: Mutex::new(kept),
            unwritten: AtomicBool::new(false),
            damaged,
            version: watch::Sender::new(0),
        };
        overrides.install();
        overrides
    }

    /// Bans or raises a key of a limit, in place of what there was for it. Blocks until it is on disk.
    ///
    /// # Errors
    /// When the limit does not exist, a member is not what it must be, there are too many, or it
    /// cannot be written. Nothing has changed then.
    pub fn add(&self, limit: &str, new: &NewOverride) -> Result<Arc<Override>, ChangeError> {
        let set = self.quotas.set();
        let found = set.all.iter().find(|known| *known.name == *limit);
        let found = found.ok_or(ChangeError::NotFound("limit"))?;
        if new.key.len() > MAX_KEY {
            return Err(invalid("key", format!("has more than {MAX_KEY} bytes")));
        }
        let hash = found
            .hash_of_text(&new.key)
            .map_err(|why| invalid("key", why))?;
        if new.reason.trim().is_empty() || new.reason.len() > MAX_REASON {
            let why = format!("must have 1 to {MAX_REASON} bytes");
            return Err(invalid("reason", why));
        }
        if new.ttl_seconds == 0 || new.ttl_seconds > LONGEST {
            let why = format!("must be from 1 to {LONGEST}");
            return Err(invalid("ttlSeconds", why));
        }
        let change = new.change()?;
        let now = clock::unix_seconds();
        let mut kept = self.lock();
        let key = same_key(&kept, found, hash).unwrap_or_else(|| new.key.clone());
        self.change(
            &mut kept,
            Override {
                limit: limit.to_owned(),
                key,
                change,
                reason: new.reason.clone(),
                made: clock::unix_millis(),
                expires: now.saturating_add(new.ttl_seconds),
            },
        )
    }

    /// Ends what there is for a key. Blocks until that is on disk.
    ///
    /// # Errors
    /// When there is nothing for it, or it cannot be written. Nothing has changed then.
    pub fn lift(&self, limit: &str, key: &str) -> Result<Arc<Override>, ChangeError> {
        let set = self.quotas.set();
        let mut kept = self.lock();
        let found = set.all.iter().find(|known| *known.name == *limit);
        let same = found.and_then(|limit| same_key(&kept, limit, limit.hash_of_text(key).ok()?));
        let key = same.unwrap_or_else(|| key.to_owned());
        let now = clock::unix_seconds();
        let lifted = kept
            .get(&(limit.to_owned(), key))
            .filter(|one| one.change != Change::Lift && one.expires > now);
        let lifted = Arc::clone(lifted.ok_or(ChangeError::NotFound("override"))?);
        let tombstone = Override {
            change: Change::Lift,
            made: clock::unix_millis(),
            ..(*lifted).clone()
        };
        self.change(&mut kept, tombstone)?;
        Ok(lifted)
    }

    /// Takes over an override that another node has made, unless a later one for the key is known.
    /// `false`: it changes nothing. It holds even when it cannot be written; that is tried again.
    ///
    /// # Errors
    /// When there are too many.
    pub fn apply(&self, other: Override) -> Result<bool, ChangeError> {
        let now = clock::unix_seconds();
        let most = now.saturating_add(LONGEST);
        let sound = other.key.len() <= MAX_KEY && other.reason.len() <= MAX_REASON;
        if !sound || other.expires <= now || other.expires > most {
            return Ok(false);
        }
        let mut kept = self.lock();
        let at = (other.limit.clone(), other.key.clone());
        if kept.get(&at).is_some_and(|known| !is_later(&other, known)) {
            return Ok(false);
        }
        self.make_room(&mut kept, &at)?;
        let other = Arc::new(other);
        let before = kept.insert(at, Arc::clone(&other));
        self.unwritten.store(true, Ordering::Relaxed);
        self.write_if_needed(&kept);
        self.spread(&kept, &self.quotas.set());
        self.rescale(before.as_deref(), &other);
        Ok(true)
    }

    /// Everything that is kept, what was lifted included ([`Change::Lift`]).
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Override>> {
        self.lock().values().cloned().collect()
    }

    /// What is in force or would be, were there its limit; and why it is without effect, if it is.
    #[must_use]
    pub fn standing(&self) -> Vec<(Arc<Override>, Option<String>)> {
        let set = self.quotas.set();
        let now = clock::unix_seconds();
        let kept = self.list();
        let live = kept.into_iter().filter(|one| is_live(one, now));
        live.map(|one| {
            let idle = hash_of(&set, &one).err();
            (one, idle)
        })
        .collect()
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> OverrideCounts {
        let mut counts = OverrideCounts::default();
        for (one, idle) in self.standing() {
            match one.change {
                Change::Ban => counts.bans += 1,
                Change::Raise { .. } => counts.raises += 1,
                Change::Lift => {}
            }
            counts.idle += u64::from(idle.is_some());
        }
        counts
    }

    /// Whether the file could not be read when this was opened.
    #[must_use]
    pub fn was_damaged(&self) -> bool {
        self.damaged
    }

    /// Tells of each change here, by a number that grows.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// How many there may be.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// Sets how many there may be. More that are there already stay.
    pub fn set_max(&self, max: u32) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Applies what is kept to the limits as they are now.
    pub fn install(&self) {
        self.install_in(&self.quotas.set());
    }

    /// Applies what is kept to limits that are not asked yet.
    pub fn install_in(&self, set: &QuotaSet) {
        self.spread(&self.lock(), set);
    }

    /// Forgets what has ended, and writes what could not be written before.
    pub fn round(&self) {
        let now = clock::unix_seconds();
        let mut kept = self.lock();
        let before = kept.len();
        kept.retain(|_, one| one.expires > now);
        if kept.len() < before {
            self.unwritten.store(true, Ordering::Relaxed);
            self.spread(&kept, &self.quotas.set());
        }
        self.write_if_needed(&kept);
    }

    /// Puts an override of ours in, on disk first.
    fn change(&self, kept: &mut Kept, mut new: Override) -> Result<Arc<Override>, ChangeError> {
        let at = (new.limit.clone(), new.key.clone());
        if let Some(before) = kept.get(&at) {
            // A clock that is behind must not make this change the earlier one.
            new.made = new.made.max(before.made.saturating_add(1));
        }
        let mut changed = kept.clone();
        self.make_room(&mut changed, &at)?;
        let new = Arc::new(new);
        changed.insert(at, Arc::clone(&new));
        write(&self.path, &changed).map_err(|source| ChangeError::Write {
            path: self.path.clone(),
            source,
        })?;
        self.unwritten.store(false, Ordering::Relaxed);
        let before = std::mem::replace(kept, changed);
        self.spread(kept, &self.quotas.set());
        let at = (new.limit.clone(), new.key.clone());
        self.rescale(before.get(&at).map(|one| &**one), &new);
        Ok(new)
    }

    /// Counts what a key has used by its new factor.
    fn rescale(&self, before: Option<&Override>, new: &Override) {
        let now = self.quotas.now();
        let before = before.filter(|one| one.expires > now.unix_seconds);
        let (from, to) = (before.map_or(Factor::ONE, Override::factor), new.factor());
        let set = self.quotas.set();
        let limit = set.all.iter().find(|limit| *limit.name == *new.limit);
        if let Some(limit) = limit.filter(|_| from != to)
            && let Ok(hash) = limit.hash_of_text(&new.key)
        {
            limit.rescale(hash, from, to, now);
        }
    }

    /// Makes room for one more. What was lifted gives way; what is in force does not.
    fn make_room(&self, kept: &mut Kept, at: &(String, String)) -> Result<(), ChangeError> {
        let max = self.max.load(Ordering::Relaxed);
        if kept.contains_key(at) || kept.len() < max as usize {
            return Ok(());
        }
        let now = clock::unix_seconds();
        kept.retain(|_, one| one.expires > now);
        if kept.len() < max as usize {
            return Ok(());
        }
        let lifted = kept.iter().filter(|(_, one)| one.change == Change::Lift);
        let soonest = lifted.min_by_key(|(_, one)| one.expires);
        let soonest = soonest.map(|(at, _)| at.clone());
        match soonest {
            Some(at) => {
                kept.remove(&at);
                Ok(())
            }
            None => Err(ChangeError::Full {
                what: "overrides",
                max,
                key: "quota.max_overrides",
            }),
        }
    }

    fn write_if_needed(&self, kept: &Kept) {
        if !self.unwritten.load(Ordering::Relaxed) {
            return;
        }
        match write(&self.path, kept) {
            Ok(()) => self.unwritten.store(false, Ordering::Relaxed),
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "bans and raises of keys could not be written; tried again");
            }
        }
    }

    /// Gives each limit its overrides.
    fn spread(&self, kept: &Kept, set: &QuotaSet) {
        let now = clock::unix_seconds();
        let mut of: HashMap<&str, KeyOverrides> = HashMap::new();
        let mut live: Vec<&Arc<Override>> = kept.values().collect();
        live.retain(|one| is_live(one, now));
        // Two texts may name one key: the later override counts.
        live.sort_by_key(|one| one.made);
        for one in live {
            if let Ok(hash) = hash_of(set, one) {
                let of_limit = of.entry(&one.limit).or_default();
                of_limit.insert(hash, Arc::clone(one));
            }
        }
        for limit in &set.all {
            limit.set_overrides(of.remove(&*limit.name).unwrap_or_default());
        }
        self.version.send_modify(|version| *version += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_live(one: &Override, now: u64) -> bool {
    one.change != Change::Lift && one.expires > now
}

/// Whether `new` counts and not `known`. Of two that were made at once all nodes choose the same.
fn is_later(new: &Override, known: &Override) -> bool {
    let rank = |one: &Override| match one.change {
        Change::Lift => (0, 0),
        Change::Raise { thousandths } => (1, u32::MAX - thousandths),
        Change::Ban => (2, 0),
    };
    let order = |one: &Override| (one.made, rank(one), one.expires, one.reason.clone());
    order(new) > order(known)
}

/// The hash of the key of an override, or why it has none.
fn hash_of(set: &QuotaSet, one: &Override) -> Result<u64, String> {
    let limit = set.all.iter().find(|limit| *limit.name == *one.limit);
    let limit = limit.ok_or_else(|| "there is no such limit".to_owned())?;
    limit.hash_of_text(&one.key)
}

/// The text under which a key is known already, if it is: `10.0.0.1` and `10.0.0.1/32` are one.
fn same_key(kept: &Kept, limit: &Limit, hash: u64) -> Option<String> {
    let of_limit = kept.keys().filter(|(name, _)| **name == *limit.name);
    let mut same = of_limit.filter(|(_, key)| limit.hash_of_text(key) == Ok(hash));
    same.next().map(|(_, key)| key.clone())
}

fn read(path: &Path) -> io::Result<Kept> {
    if fs::metadata(path)?.len() > MAX_FILE {
        return Err(io::Error::other("it is too large"));
    }
    let contents: Contents<'_> = serde_json::from_slice(&fs::read(path)?)?;
    if contents.format != FORMAT {
        let why = format!("its format {} is of another version", contents.format);
        return Err(io::Error::other(why));
    }
    let overrides = contents.overrides.into_iter().map(|one| {
        let one = one.into_owned();
        ((one.limit.clone(), one.key.clone()), Arc::new(one))
    });
    Ok(overrides.collect())
}

fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let contents = Contents {
        format: FORMAT,
        overrides: kept
            .values()
            .map(|one| std::borrow::Cow::Borrowed(&**one))
            .collect(),
    };
    replace(path, |writer| Ok(serde_json::to_writer(writer, &contents)?))
}
