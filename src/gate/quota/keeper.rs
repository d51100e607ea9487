//! Budgets, kept over restarts in `{data_dir}/quota/budgets`.
//!
//! Promise: after a crash at most what was used within `quota.save_interval` is forgotten; after a
//! stop nothing is. What cannot be read or written never stops the service: it is told, counted and
//! tried again. What is kept of a limit is used for a limit of the same name that means the same by
//! it ([`meaning`]); how much is allowed, and whether it is enforced, may have changed.
//!
//! The file, numbers in little-endian order: a mark, the seed of the hashes, the hash of a known text
//! (another version of the hasher is told by it); for each limit its name (length, bytes), its meaning
//! (16 bytes), the number of words of a key, then for each key its hash and its words, then 0; an
//! empty name; the SHA-256 of all before. It holds hashes of keys, not keys.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::bucket::MAX_WINDOWS;
use super::kept_file::{replace, set_aside};
use super::limit::Limit;
use super::set::QuotaSet;
use super::standing::Overrides;
use super::window::Now;
use super::{Quotas, seed_of};
use crate::telemetry::Counter;

const FILE: &str = "budgets";
const MARK: &[u8; 8] = b"TGBUDG01";
const SUM: usize = 32;
/// Hashed with the seed of a file, to find out whether its hashes are still those of this program.
const PROBE: &[u8] = b"address=192.0.2.1";

/// What a key of a limit stands for.
type Meaning = [u8; 16];

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
        if *saved == marks || marks.is_empty() {
            return;
        }
        match self.write(&set) {
            Ok(()) => {
                *saved = marks;
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
        replace(&self.path, |file| {
            let mut out = Summing {
                inner: file,
                sum: Sha256::new(),
            };
            out.write_all(MARK)?;
            out.write_all(&self.seed.to_le_bytes())?;
            out.write_all(&self.probe.to_le_bytes())?;
            for limit in set.all.iter().filter(|limit| has_budget(limit)) {
                write_limit(&mut out, limit, set.utc_offset(), now)?;
            }
            out.write_all(&[0])?;
            let sum = out.sum.finalize();
            out.inner.write_all(&sum)
        })
    }
}

fn write_limit(out: &mut impl Write, limit: &Limit, offset: i32, now: Now) -> io::Result<()> {
    let short = |count: usize| u8::try_from(count).map_err(io::Error::other);
    let slots: Vec<usize> = limit.bucket().budget_words().collect();
    out.write_all(&[short(limit.name.len())?])?;
    out.write_all(limit.name.as_bytes())?;
    out.write_all(&meaning(limit, offset))?;
    out.write_all(&[short(slots.len())?])?;
    let mut written = Ok(());
    limit.bucket().each_budget(now, |hash, words| {
        if written.is_err() {
            return;
        }
        written = out.write_all(&hash.max(1).to_le_bytes());
        for slot in &slots {
            let word = words.get(*slot).copied().unwrap_or_default();
            written = written
                .as_ref()
                .map_err(|error| io::Error::from(error.kind()))
                .and_then(|()| out.write_all(&word.to_le_bytes()));
        }
    });
    written?;
    out.write_all(&0_u64.to_le_bytes())
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

/// What the words of a limit's keys mean: which keys, what is counted, and for which periods. Not how
/// much is allowed, nor what happens then.
fn meaning(limit: &Limit, utc_offset: i32) -> Meaning {
    let rule = &limit.rule;
    let periods: Vec<_> = rule.budgets.iter().map(|budget| budget.per).collect();
    let about = (
        (&rule.key, rule.ipv4_prefix, rule.ipv6_prefix),
        (rule.unit, &periods, !rule.reserve.is_empty(), utc_offset),
        (&rule.projects, &rule.logstores, &rule.classes),
    );
    let text = serde_json::to_vec(&about).unwrap_or_default();
    let digest = Sha256::digest(&text);
    let mut meaning = Meaning::default();
    for (to, from) in meaning.iter_mut().zip(digest) {
        *to = from;
    }
    meaning
}

/// Gives a key of a limit the words of its budgets.
fn put(limit: &Limit, slots: &[usize], hash: u64, used: &[u64], now: Now) -> bool {
    let mut words = [0; MAX_WINDOWS];
    for (slot, used) in slots.iter().zip(used) {
        if let Some(word) = words.get_mut(*slot) {
            *word = *used;
        }
    }
    limit.bucket().restore(hash, &words, now)
}

fn restore(from: &mut impl Read, set: &QuotaSet, now: Now) -> io::Result<()> {
    let bad = || io::Error::other("it does not hold what it should");
    loop {
        let length: [u8; 1] = take(from)?;
        if length == [0] {
            return Ok(());
        }
        let mut name = vec![0; usize::from(length[0])];
        from.read_exact(&mut name)?;
        let name = String::from_utf8(name).map_err(io::Error::other)?;
        let written: Meaning = take(from)?;
        let [words] = take(from)?;
        let words = usize::from(words);
        if words > MAX_WINDOWS {
            return Err(bad());
        }
        let known = set.all.iter().find(|limit| *limit.name == *name);
        let same = known.filter(|limit| meaning(limit, set.utc_offset()) == written);
        let slots: Vec<usize> = same
            .map(|limit| limit.bucket().budget_words().collect())
            .unwrap_or_default();
        let (mut kept, mut lost) = (0_u64, 0_u64);
        loop {
            let hash = u64::from_le_bytes(take(from)?);
            if hash == 0 {
                break;
            }
            let mut used = [0; MAX_WINDOWS];
            for word in used.iter_mut().take(words) {
                *word = u64::from_le_bytes(take(from)?);
            }
            let used = used.get(..words).unwrap_or_default();
            match same.is_some_and(|limit| put(limit, &slots, hash, used, now)) {
                true => kept += 1,
                false => lost += 1,
            }
        }
        if same.is_none() && lost > 0 {
            tracing::warn!(
                limit = name,
                keys = lost,
                "the limit counts something else now, or is gone; what was used of its budgets is forgotten"
            );
        } else if lost > 0 {
            tracing::warn!(
                limit = name,
                keys = lost,
                "the limit has no place for all keys whose budgets were in use; theirs begin anew"
            );
        }
        tracing::debug!(limit = name, keys = kept, "budgets taken up");
    }
}

fn take<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The part of a file that its sum is of.
type Summed = io::Take<File>;

/// The seed of a file, whether its hashes are those of this program, and the rest of it.
fn open_whole(path: &Path) -> io::Result<(u64, bool, BufReader<Summed>)> {
    let mut file = File::open(path)?;
    let short = || io::Error::other("it is cut off");
    let length = file.metadata()?.len();
    let length = length.checked_sub(SUM as u64).ok_or_else(short)?;
    let mut summing = Summing {
        inner: &mut io::sink(),
        sum: Sha256::new(),
    };
    let read = io::copy(&mut (&mut file).take(length), &mut summing)?;
    let written: [u8; SUM] = take(&mut file)?;
    if read != length || *summing.sum.finalize() != written {
        return Err(io::Error::other("its checksum is wrong"));
    }
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file.take(length));
    if take(&mut reader)? != *MARK {
        return Err(io::Error::other("its format is of another version"));
    }
    let seed = u64::from_le_bytes(take(&mut reader)?);
    let probed = u64::from_le_bytes(take(&mut reader)?);
    Ok((seed, probed == probe(seed), reader))
}

fn probe(seed: u64) -> u64 {
    let mut hasher = seed_of(seed).build_hasher();
    hasher.write_usize(PROBE.len());
    hasher.write(PROBE);
    hasher.finish()
}

/// A seed that nobody can guess: the standard library takes that of its maps from the system.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Writes, and keeps the sum of what was written.
struct Summing<'a, W> {
    inner: &'a mut W,
    sum: Sha256,
}

impl<W: Write> Write for Summing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
