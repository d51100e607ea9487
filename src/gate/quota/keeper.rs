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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::IpAddr;

    use super::super::bucket::{Ask, Bucket};
    use super::super::calendar::{Calendar, Unit};
    use super::super::window::{Budget, Factor, Window};
    use super::*;
    use crate::config::Config;
    use crate::gate::quota::Facts;

    const DAY: u64 = 86_400;

    fn config(key: &str, count: u64) -> Config {
        let text = format!(
            r#"
            name = "daily"
            key = ["{key}"]
            rate = [{{ count = 1000, per = "1s" }}]
            budget = [{{ count = {count}, per = "month" }}]
        "#
        );
        Config {
            limit_rules: vec![toml::from_str(&text).unwrap()],
            ..Config::quickstart()
        }
    }

    struct Started {
        quotas: Arc<Quotas>,
        keeper: Keeper,
    }

    fn start(folder: &Path, config: &Config) -> Started {
        let kept = KeptBudgets::open(folder);
        let quotas = Quotas::new(config, kept.seed()).unwrap();
        let keeper = kept.restore(&quotas, Duration::from_secs(5));
        Started { quotas, keeper }
    }

    impl Started {
        /// How many of `count` requests of an address pass.
        fn passed(&self, address: &str, count: usize) -> usize {
            let address: IpAddr = address.parse().unwrap();
            let facts = Facts::of_address(address);
            let asked = (0..count).filter(|_| self.quotas.begin().at_door(&facts).is_ok());
            asked.count()
        }
    }

    #[test]
    fn what_was_used_before_a_start_counts_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = config("address", 5);
        let first = start(folder.path(), &config);
        assert_eq!(first.passed("10.0.0.1", 3), 3);
        assert_eq!(first.passed("10.0.0.2", 9), 5);
        first.keeper.save();
        first.keeper.save();
        assert_eq!(first.keeper.saves.get(), 1, "nothing was used in between");
        let second = start(folder.path(), &config);
        assert_eq!(second.passed("10.0.0.1", 9), 2);
        assert_eq!(second.passed("10.0.0.2", 9), 0);
        assert_eq!(second.passed("10.0.0.3", 9), 5);
        assert!(!second.keeper.was_damaged());
    }

    #[test]
    fn a_changed_amount_counts_on_and_a_changed_key_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = start(folder.path(), &config("address", 5));
        assert_eq!(first.passed("10.0.0.1", 4), 4);
        first.keeper.save();
        let mut raised = config("address", 7);
        let rate = raised.limit_rules[0].rates[0].clone();
        raised.limit_rules[0].rates.push(rate);
        assert_eq!(start(folder.path(), &raised).passed("10.0.0.1", 9), 3);
        let mut wider = config("address", 5);
        wider.limit_rules[0].ipv4_prefix = 24;
        assert_eq!(start(folder.path(), &wider).passed("10.0.0.1", 9), 5);
        let mut renamed = config("address", 5);
        renamed.limit_rules[0].name = "other".to_owned();
        assert_eq!(start(folder.path(), &renamed).passed("10.0.0.1", 9), 5);
        let mut elsewhere = config("address", 5);
        elsewhere.quota.utc_offset = "+08:00".to_owned();
        assert_eq!(start(folder.path(), &elsewhere).passed("10.0.0.1", 9), 5);
    }

    #[test]
    fn a_reload_hands_over_what_was_used() {
        let folder = tempfile::tempdir().unwrap();
        let started = start(folder.path(), &config("address", 5));
        assert_eq!(started.passed("10.0.0.1", 4), 4);
        let set = started.quotas.prepare(&config("address", 6)).unwrap();
        started.keeper.hand_over(&set);
        started.quotas.take_over(set);
        assert_eq!(started.passed("10.0.0.1", 9), 2);
    }

    #[test]
    fn a_damaged_file_is_set_aside_wherever_the_damage_is() {
        let folder = tempfile::tempdir().unwrap();
        let config = config("address", 5);
        let first = start(folder.path(), &config);
        first.passed("10.0.0.1", 4);
        first.keeper.save();
        let path = folder.path().join("quota/budgets");
        let whole = fs::read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|cut| whole[..cut].to_vec()).collect();
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1;
            damaged.push(bytes);
        }
        damaged.push([&whole[..], b"x"].concat());
        for bytes in damaged {
            fs::write(&path, &bytes).unwrap();
            let again = start(folder.path(), &config);
            assert!(again.keeper.was_damaged(), "{} bytes", bytes.len());
            assert!(!path.exists());
            assert_eq!(fs::read(path.with_extension("damaged")).unwrap(), bytes);
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(start(folder.path(), &config).passed("10.0.0.1", 9), 1);
    }

    #[test]
    fn hashes_of_another_program_are_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let config = config("address", 5);
        let first = start(folder.path(), &config);
        first.passed("10.0.0.1", 4);
        first.keeper.save();
        let path = folder.path().join("quota/budgets");
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - SUM);
        bytes[16] ^= 1;
        let sum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&sum);
        fs::write(&path, bytes).unwrap();
        let second = start(folder.path(), &config);
        assert!(!second.keeper.was_damaged());
        assert_eq!(second.passed("10.0.0.1", 9), 5);
    }

    #[test]
    fn a_disk_that_takes_nothing_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quota"), "").unwrap();
        let started = start(folder.path(), &config("address", 5));
        assert_eq!(started.passed("10.0.0.1", 2), 2);
        started.keeper.save();
        started.keeper.save();
        assert_eq!(started.keeper.failures.get(), 2, "tried each time");
        assert_eq!(started.passed("10.0.0.1", 9), 3);
        fs::remove_file(folder.path().join("quota")).unwrap();
        started.keeper.save();
        assert_eq!(started.keeper.saves.get(), 1);
        let again = start(folder.path(), &config("address", 5));
        assert_eq!(again.passed("10.0.0.1", 9), 0);
    }

    #[test]
    fn keys_without_a_place_in_the_table_are_kept_too() {
        let now = |second: u64| Now {
            nanos: 1_000_000_000,
            unix_seconds: 1_795_305_600 + second,
        };
        let window = [Window::Budget(Budget::new(
            1000,
            Calendar::new(Unit::Day, 0),
        ))];
        let root = [window[0].times(100)];
        let bucket = Bucket::new(&window, 8, 0, &root);
        let take = |bucket: &Bucket, key: u64| {
            let ask = Ask {
                hashes: &[key << 40 | 1],
                units: 1,
                reserved: false,
                factor: Factor::ONE,
                now: now(0),
            };
            bucket.take(ask, &String::new).is_ok()
        };
        for key in 1..=9 {
            (0..100).for_each(|_| assert!(take(&bucket, key)));
        }
        let next = Bucket::new(&window, 8, 0, &root);
        let mut kept = Vec::new();
        bucket.each_budget(now(0), |hash, words| kept.push((hash, words.to_vec())));
        assert_eq!(kept.len(), 9);
        for (hash, words) in &kept {
            assert!(next.restore(*hash, words, now(0)));
        }
        let left = |key: u64, second| {
            next.rooms(key << 40 | 1, false, Factor::ONE, now(second))[0].remaining
        };
        assert_eq!(left(1, 0), 900);
        assert!(left(9, 0) < 930, "{}", left(9, 0));
        assert_eq!(left(1, DAY), 1000);
        let tomorrow = Bucket::new(&window, 8, 0, &root);
        assert!(tomorrow.restore(kept[0].0, &kept[0].1, now(DAY)));
        assert_eq!(tomorrow.places().1, 0, "what counts no more takes no place");
    }

    #[test]
    fn a_clock_that_is_set_opens_no_budget() {
        let calendar = Calendar::new(Unit::Day, 0);
        let window = Window::Budget(Budget::new(10, calendar));
        let at = |days: u64| Now {
            nanos: 1,
            unix_seconds: 1_795_305_600 + days * DAY,
        };
        let left = |word, days| window.room(word, Factor::ONE, at(days)).remaining;
        let used = window.take(0, 8, Factor::ONE, at(10)).unwrap();
        assert_eq!(left(used, 10), 2);
        // Set back over midnight: what was used still counts, and goes on counting.
        assert_eq!(left(used, 9), 2);
        let more = window.take(used, 2, Factor::ONE, at(9)).unwrap();
        assert!(window.take(more, 1, Factor::ONE, at(9)).is_err());
        assert!(window.take(more, 1, Factor::ONE, at(10)).is_err());
        // A new day opens it, as it should.
        assert_eq!(left(more, 11), 10);
        // A day far ahead was written while the clock was wrong: it locks nobody out.
        let wrong = window.take(0, 10, Factor::ONE, at(400)).unwrap();
        assert_eq!(left(wrong, 10), 10);
        // Set forward and back again within a day: what was used in between counts.
        let forward = window.take(used, 5, Factor::ONE, at(11)).unwrap();
        assert_eq!(left(forward, 10), 5);
    }
}
