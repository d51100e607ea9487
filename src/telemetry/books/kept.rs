//! The books over restarts, in `{data_dir}/books.json`.
//!
//! Promise: after a stop the file holds all that was counted, and the next life finds on disk what this
//! one has left, so the difference is 0 ([`Earlier::unknown`]). After a kill it is some seconds old: what
//! is not known is told, and not guessed. A file that is not there or not whole makes earlier lives
//! unknown, and stops nothing. One that cannot be read now may be whole: it is not written over, and read
//! once it can be. Only one process writes it: the one that has the spool.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Books, Earlier, LogstoreBook, Sums};
use crate::foundation::clock;
use crate::foundation::whole_file;
use crate::telemetry::metrics::{LogstoreKey, Metrics};

const FILE: &str = "books.json";
const VERSION: u32 = 1;
/// Why events are dropped that somebody has deleted on disk.
const PURGED: &str = "purged";
/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Logstores that are not configured any more and whose books are kept.
const MAX_AWAY: usize = 1_000;

/// The books of a logstore that the last life did not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Away {
    /// Its project.
    pub project: String,
    /// Its name.
    pub logstore: String,
    /// What is known of it.
    pub earlier: Earlier,
}

/// What a life of the process has last written of its books.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptBooks {
    version: u32,
    /// When it began, in Unix milliseconds.
    pub began: u64,
    /// When this was written, in Unix milliseconds.
    pub written: u64,
    /// Whether it was at the end of a stop, after which nothing was counted.
    pub ended: bool,
    /// The books of each logstore then.
    pub logstores: Vec<LogstoreBook>,
    /// Those of other logstores, of earlier lives.
    #[serde(default)]
    pub away: Vec<Away>,
}

impl KeptBooks {
    /// Where they are kept.
    #[must_use]
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// Reads what is kept in a data directory. Blocks on the disk.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is not whole ([`io::ErrorKind::InvalidData`]).
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        let file = std::fs::File::open(Self::path(data_dir))?;
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text)?;
        let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let kept: Self = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        match kept.version {
            VERSION => Ok(kept),
            other => Err(damaged(format!("it is of version {other}"))),
        }
    }

    /// Puts it in the place of what is kept, and waits until it is on disk.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays then.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        whole_file::replace(&Self::path(data_dir), |out| {
            serde_json::to_writer(&mut *out, self)?;
            out.write_all(b"\n")
        })
    }

    /// Notes what a command has changed of what waits on disk, of a node that does not run: what was
    /// deleted, and what was put there.
    pub fn change(&mut self, project: &str, logstore: &str, deleted: u64, put: u64) {
        let mut books = self.logstores.iter_mut();
        let mut away = self.away.iter_mut();
        if let Some(book) = books.find(|it| it.project == project && it.logstore == logstore) {
            book.sums.change(&mut book.waiting, deleted, put);
        } else if let Some(Away { earlier, .. }) =
            away.find(|it| it.project == project && it.logstore == logstore)
        {
            earlier.sums.change(&mut earlier.left, deleted, put);
        }
    }

    /// What the life that wrote this, and those before it, are to the next one.
    fn into_earlier(self) -> BTreeMap<LogstoreKey, Earlier> {
        let ended = self.ended;
        let away = self.away.into_iter().take(MAX_AWAY);
        let away = away.map(|it| ((it.project, it.logstore), it.earlier));
        let last = self.logstores.into_iter().map(|book| {
            let key = (book.project.clone(), book.logstore.clone());
            (key, book.into_earlier(ended))
        });
        away.chain(last).collect()
    }
}

impl Sums {
    /// What waits has changed without a life. What is deleted beyond what was known came after the last
    /// writing.
    fn change(&mut self, waiting: &mut u64, deleted: u64, put: u64) {
        let deleted = deleted.min(*waiting);
        *waiting = waiting.saturating_sub(deleted).saturating_add(put);
        self.added = self.added.wrapping_add(put);
        if deleted > 0 {
            let purged = self.dropped.entry(PURGED.to_owned()).or_default();
            *purged = purged.wrapping_add(deleted);
        }
    }
}

impl LogstoreBook {
    fn into_earlier(self, ended: bool) -> Earlier {
        let left = self.left();
        let mut earlier = self.earlier.unwrap_or_default();
        earlier.lives += 1;
        earlier.killed += u64::from(!ended);
        earlier.sums.add(&self.sums);
        let doubts = earlier.resends_in_doubt.wrapping_add(self.resends_in_doubt);
        earlier.resends_in_doubt = doubts;
        earlier.left = left;
        earlier
    }
}

impl Metrics {
    /// Takes up what the last life has written in `data_dir`.
    fn take_up_books(&self, data_dir: &Path) -> io::Result<()> {
        let path = KeptBooks::path(data_dir);
        match KeptBooks::read(data_dir) {
            Ok(kept) => {
                let mut all = self.lock_earlier();
                for (key, earlier) in kept.into_earlier() {
                    // What has gone meanwhile, by a reload, is there already.
                    all.entry(key).or_insert(earlier);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, path = %path.display(), "the books of earlier lives are damaged; they begin anew; the file is kept as books.json.damaged");
                whole_file::set_aside(&path);
            }
            Err(error) => {
                let why = format!(
                    "{} cannot be read, and is left as it is: {error}",
                    path.display()
                );
                return Err(io::Error::new(error.kind(), why));
            }
        }
        Ok(())
    }

    /// Writes the books to `data_dir`; the first time those of the life before are read from there. Blocks
    /// on the disk. Only one thread may do this at a time.
    ///
    /// # Errors
    /// When those of the life before cannot be read, or it cannot be written; what was there stays then.
    pub fn keep_books(&self, data_dir: &Path, ended: bool) -> io::Result<()> {
        if self.knows_earlier.get().is_none() {
            self.take_up_books(data_dir)?;
            self.knows_earlier.get_or_init(|| ());
        }
        let Books { logstores, .. } = self.books();
        let has = |key: &LogstoreKey| {
            let mut all = logstores.iter();
            all.any(|it| (&it.project, &it.logstore) == (&key.0, &key.1))
        };
        let away: Vec<Away> = self
            .lock_earlier()
            .iter()
            .filter(|(key, _)| !has(key))
            .map(|((project, logstore), earlier)| Away {
                project: project.clone(),
                logstore: logstore.clone(),
                earlier: earlier.clone(),
            })
            .collect();
        let kept = KeptBooks {
            version: VERSION,
            began: self.started_millis,
            written: clock::unix_millis(),
            ended,
            logstores,
            away,
        };
        kept.write(data_dir)
    }

    /// All that waited on disk of a logstore that is not configured was deleted.
    pub fn note_purged(&self, project: &str, logstore: &str) {
        let key = (project.to_owned(), logstore.to_owned());
        if let Some(earlier) = self.lock_earlier().get_mut(&key) {
            let left = earlier.left;
            earlier.sums.change(&mut earlier.left, left, 0);
        }
    }

    /// Adds what is known of earlier lives.
    pub(super) fn with_earlier(&self, books: &mut [LogstoreBook]) {
        let all = self.lock_earlier();
        for book in books {
            let key = (book.project.clone(), book.logstore.clone());
            book.earlier = all.get(&key).cloned().map(|mut earlier| {
                let found = earlier.left.wrapping_sub(book.recovered).cast_signed();
                earlier.unknown = earlier.unknown.wrapping_add(found);
                earlier
            });
        }
    }

    /// The books of a logstore that goes end as those of an earlier life: it may come back.
    pub(in crate::telemetry) fn end_book(&self, (key, mut book): (LogstoreKey, LogstoreBook)) {
        self.with_earlier(std::slice::from_mut(&mut book));
        let mut all = self.lock_earlier();
        if all.len() < MAX_AWAY || all.contains_key(&key) {
            all.insert(key, book.into_earlier(true));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn life(folder: &Path) -> std::sync::Arc<Metrics> {
        let metrics = Metrics::new();
        drop(metrics.logstore("p", "l"));
        metrics.keep_books(folder, false).unwrap();
        metrics
    }

    fn earlier(metrics: &Metrics) -> Option<Earlier> {
        let book = metrics.books().logstores.remove(0);
        assert!(book.balanced, "{book:?}");
        book.earlier
    }

    #[test]
    fn lives_that_stop_hand_all_of_their_books_on() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..3_u64 {
            let metrics = life(folder.path());
            let cells = metrics.logstore("p", "l");
            // What the one before has left is found.
            cells.spool.recovered.add(10 * number);
            cells.events_entered.add(30);
            let aside = cells
                .events_refused
                .at(crate::event::Reason::QuotaExceeded.index());
            aside.add(5);
            cells.events_delivered.add(15);
            cells.delivery.resends_in_doubt.add(2);
            cells.spool.waiting.add(10 + 10 * number);
            let Some(earlier) = earlier(&metrics) else {
                assert_eq!(number, 0);
                metrics.keep_books(folder.path(), true).unwrap();
                continue;
            };
            assert_eq!((earlier.lives, earlier.killed), (number, 0));
            assert_eq!((earlier.left, earlier.unknown), (10 * number, 0));
            assert_eq!(earlier.resends_in_doubt, 2 * number);
            let sums = &earlier.sums;
            assert_eq!((sums.entered, sums.delivered), (30 * number, 15 * number));
            assert_eq!(sums.refused["quota_exceeded"], 5 * number);
            metrics.keep_books(folder.path(), true).unwrap();
        }
    }

    #[test]
    fn of_a_life_that_was_killed_the_last_seconds_are_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = life(folder.path());
        let cells = metrics.logstore("p", "l");
        cells.events_entered.add(9);
        cells.events_held.add(5);
        cells.spool.waiting.add(4);
        metrics.keep_books(folder.path(), false).unwrap();
        let second = life(folder.path());
        // Of those in memory nothing is on disk, and one of the others was delivered.
        second.logstore("p", "l").spool.recovered.add(3);
        second.logstore("p", "l").spool.waiting.add(3);
        let found = earlier(&second).unwrap();
        assert_eq!((found.lives, found.killed), (1, 1));
        assert_eq!((found.left, found.unknown), (9, 6));
        // It is killed before it has looked at all; the third finds one that was not seen.
        second.keep_books(folder.path(), false).unwrap();
        let third = life(folder.path());
        third.logstore("p", "l").spool.recovered.add(4);
        third.logstore("p", "l").spool.waiting.add(4);
        let found = earlier(&third).unwrap();
        assert_eq!((found.killed, found.left, found.unknown), (2, 3, 5));
    }

    #[test]
    fn a_file_that_is_not_whole_makes_earlier_lives_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeptBooks::path(folder.path());
        std::fs::write(&path, "{\"version\":1,").unwrap();
        let metrics = life(folder.path());
        assert_eq!(earlier(&metrics), None);
        assert!(folder.path().join("books.json.damaged").exists());
        std::fs::write(
            &path,
            "{\"version\":2,\"began\":1,\"written\":1,\"ended\":true,\"logstores\":[]}",
        )
        .unwrap();
        assert!(KeptBooks::read(folder.path()).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_read_for_now_is_left_and_taken_up_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = KeptBooks::path(folder.path());
        let first = life(folder.path());
        first.logstore("p", "l").events_entered.add(7);
        first.logstore("p", "l").spool.waiting.add(7);
        first.keep_books(folder.path(), true).unwrap();
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(&path, &elsewhere).unwrap();
        // A link to itself: nobody can open that, root neither.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let second = Metrics::new();
        let cells = second.logstore("p", "l");
        let error = second.keep_books(folder.path(), false).unwrap_err();
        assert!(error.to_string().contains("left as it is"), "{error}");
        second.keep_books(folder.path(), false).unwrap_err();
        assert!(path.is_symlink() && !folder.path().join("books.json.damaged").exists());
        cells.spool.recovered.add(7);
        cells.spool.waiting.add(7);
        assert_eq!(earlier(&second), None);
        std::fs::rename(&elsewhere, &path).unwrap();
        second.keep_books(folder.path(), false).unwrap();
        let found = earlier(&second).unwrap();
        assert_eq!((found.lives, found.killed, found.unknown), (1, 0, 0));
        assert_eq!(found.sums.entered, 7);
    }

    #[test]
    fn a_logstore_of_shared_series_goes_by_a_reload_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        metrics.bound_logstores(1);
        drop(metrics.logstore("p", "first"));
        let of = |name: &str| {
            let mut books = metrics.books().logstores;
            books.retain(|it| it.logstore == name);
            let book = books.pop().unwrap();
            assert!(book.balanced, "{book:?}");
            book
        };
        let cells = metrics.logstore("p", "l");
        cells.events_entered.add(9);
        cells.events_delivered.add(4);
        cells.spool.waiting.add(5);
        assert!(of("l").earlier.is_none());
        metrics.forget_logstore("p", "l");
        // It is not lost while it is away.
        metrics.keep_books(folder.path(), false).unwrap();
        let kept = KeptBooks::read(folder.path()).unwrap();
        assert_eq!((kept.away.len(), kept.logstores.len()), (1, 1));
        assert_eq!(
            (kept.away[0].earlier.left, &*kept.away[0].logstore),
            (5, "l")
        );
        // Its disk is looked through again.
        let again = metrics.logstore("p", "l");
        again.spool.recovered.add(5);
        again.spool.waiting.add(5);
        let book = of("l");
        assert_eq!((book.sums.entered, book.recovered, book.waiting), (0, 5, 5));
        let earlier = book.earlier.unwrap();
        assert_eq!(
            (earlier.sums.entered, earlier.left, earlier.unknown),
            (9, 5, 0)
        );
    }

    #[test]
    fn what_commands_change_and_who_is_not_configured_stay_in_the_books() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = life(folder.path());
        let cells = metrics.logstore("p", "l");
        cells.events_entered.add(9);
        cells.spool.waiting.add(9);
        metrics.keep_books(folder.path(), true).unwrap();
        let mut kept = KeptBooks::read(folder.path()).unwrap();
        kept.change("p", "l", 4, 1);
        kept.write(folder.path()).unwrap();
        // The next life does not have it, and the one after that does.
        let other = Metrics::new();
        drop(other.logstore("p", "other"));
        other.keep_books(folder.path(), false).unwrap();
        other.note_purged("p", "other");
        other.keep_books(folder.path(), true).unwrap();
        let mut kept = KeptBooks::read(folder.path()).unwrap();
        kept.change("p", "l", 1, 0);
        kept.write(folder.path()).unwrap();
        let back = life(folder.path());
        back.logstore("p", "l").spool.recovered.add(5);
        back.logstore("p", "l").spool.waiting.add(5);
        let found = earlier(&back).unwrap();
        assert_eq!((found.lives, found.left, found.unknown), (1, 5, 0));
        assert_eq!((found.sums.added, found.sums.dropped["purged"]), (1, 5));
        // It goes by a reload, and comes again.
        back.forget_logstore("p", "l");
        let again = back.logstore("p", "l");
        again.spool.recovered.add(5);
        again.spool.waiting.add(5);
        let found = earlier(&back).unwrap();
        assert_eq!((found.lives, found.left, found.unknown), (2, 5, 0));
        back.forget_logstore("p", "l");
        back.note_purged("p", "l");
        drop(back.logstore("p", "l"));
        assert_eq!(earlier(&back).unwrap().unknown, 0);
    }
}
