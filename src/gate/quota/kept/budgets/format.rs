//! The form of the file of budgets.
//!
//! The file, numbers in little-endian order: a mark, the seed of the hashes, the hash of a known text
//! (another version of the hasher is told by it); for each limit its name (length, bytes), its meaning
//! (16 bytes), the number of words of a key, then for each key its hash and its words, then 0; an
//! empty name; the SHA-256 of all before. It holds hashes of keys, not keys.

use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::gate::quota::bucket::MAX_WINDOWS;
use crate::gate::quota::limit::Limit;
use crate::gate::quota::seed_of;
use crate::gate::quota::set::QuotaSet;
use crate::gate::quota::window::Now;

const MARK: &[u8; 8] = b"TGBUDG01";
pub(super) const SUM: usize = 32;
/// Hashed with the seed of a file, to find out whether its hashes are still those of this program.
const PROBE: &[u8] = b"address=192.0.2.1";

/// What a key of a limit stands for.
pub(super) type Meaning = [u8; 16];

/// Writes the budgets of these limits.
pub(super) fn write<'l>(
    file: &mut impl Write,
    (seed, probe): (u64, u64),
    limits: impl Iterator<Item = &'l Arc<Limit>>,
    utc_offset: i32,
    now: Now,
) -> io::Result<()> {
    let mut out = Summing {
        inner: file,
        sum: Sha256::new(),
    };
    out.write_all(MARK)?;
    out.write_all(&seed.to_le_bytes())?;
    out.write_all(&probe.to_le_bytes())?;
    for limit in limits {
        write_limit(&mut out, limit, utc_offset, now)?;
    }
    out.write_all(&[0])?;
    let sum = out.sum.finalize();
    out.inner.write_all(&sum)
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
        let used = slots.iter().map(|slot| words.get(*slot).copied());
        let used = used.map(Option::unwrap_or_default);
        // 0 would end the list.
        let entry = std::iter::once(hash.max(1)).chain(used);
        let entry: Vec<u8> = entry.flat_map(|word| word.to_le_bytes()).collect();
        written = out.write_all(&entry);
    });
    written?;
    out.write_all(&0_u64.to_le_bytes())
}

/// What the words of a limit's keys mean: which keys, what is counted, and for which periods. Not how
/// much is allowed, nor what happens then.
pub(super) fn meaning(limit: &Limit, utc_offset: i32) -> Meaning {
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
pub(super) fn put(limit: &Limit, slots: &[usize], hash: u64, used: &[u64], now: Now) -> bool {
    let mut words = [0; MAX_WINDOWS];
    for (slot, used) in slots.iter().zip(used) {
        if let Some(word) = words.get_mut(*slot) {
            *word = *used;
        }
    }
    limit.bucket().restore(hash, &words, now)
}

/// Gives the limits what a file holds, from behind its head on.
pub(super) fn restore(from: &mut impl Read, set: &QuotaSet, now: Now) -> io::Result<()> {
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
pub(super) type Summed = io::Take<File>;

/// The seed of a file, whether its hashes are those of this program, and the rest of it.
pub(super) fn open_whole(path: &Path) -> io::Result<(u64, bool, BufReader<Summed>)> {
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

/// The hash of a known text under a seed.
pub(super) fn probe(seed: u64) -> u64 {
    let mut hasher = seed_of(seed).build_hasher();
    hasher.write_usize(PROBE.len());
    hasher.write(PROBE);
    hasher.finish()
}

/// A seed that nobody can guess: the standard library takes that of its maps from the system.
pub(super) fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
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
