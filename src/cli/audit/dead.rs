//! The books of a node that does not run: what its last life has written, beside what is on disk now.
//!
//! Promise: nothing is changed and no lock is taken. Files that a process uses are not judged.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{tell, tell_difference};
use crate::app;
use crate::cli::form::{self, Form};
use crate::cli::run::start_failure;
use crate::cli::{Exit, Failure, moment, output};
use crate::config::Config;
use crate::pipeline::quarantine::{each_record, places};
use crate::pipeline::spool::{LaneReport, RealFiles, SpoolView};
use crate::telemetry::{KeptBooks, LogstoreBook};

/// The books of a logstore, and what is there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadBook {
    #[serde(flatten)]
    book: LogstoreBook,
    /// Whether its life ended with a stop.
    ended: bool,
    /// When the books were written, in Unix seconds.
    written: u64,
    /// Events that wait in its spool; without it these cannot be counted.
    on_disk: Option<u64>,
    /// Records in its quarantine.
    records: u64,
    /// What was left by the books less what waits on disk. Not of a life that ended before it knew what was
    /// on its disk.
    unknown: Option<i64>,
}

pub(super) fn audit(config: &Config, form: Form) -> Result<Exit, Failure> {
    let dir = app::spool_dir(config);
    if is_used(&dir) {
        let why = format!(
            "a process has the spool {}, and nothing answers where its node should listen: name it with --admin-url",
            dir.display()
        );
        return Err(Failure::new(Exit::Unavailable, why));
    }
    let path = KeptBooks::path(&config.data_dir);
    let kept = KeptBooks::read(&config.data_dir).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::new(
            Exit::Unavailable,
            format!(
                "the node does not run, and has left no books at {}; `tollgate spool ls` says what waits on disk",
                path.display()
            ),
        ),
        _ => Failure::new(Exit::DataDir, format!("{}: {error}", path.display())),
    })?;
    let books = beside_disk(config, &dir, kept)?;
    let well = books.iter().all(|it| it.book.balanced);
    if form == Form::Json {
        books.iter().try_for_each(form::print)?;
    } else {
        let shown: Vec<LogstoreBook> = books.iter().map(|it| it.book.clone()).collect();
        tell(&shown, form)?;
        books.iter().for_each(tell_disk);
    }
    books.iter().for_each(|it| tell_difference(&it.book));
    Ok(if well { Exit::Success } else { Exit::Partial })
}

/// Whether a process holds the lock of the spool, by what the kernel says: to try it could keep a node from
/// starting. Of processes of another container the kernel says nothing.
fn is_used(dir: &Path) -> bool {
    let path = dir.join(".lock");
    let Ok(lock) = std::fs::metadata(&path) else {
        return false;
    };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    is_held(&locks, device(&path).as_deref(), lock.ino())
}

/// Whether there is a lock on a file. Without a device: on one of that number on any.
fn is_held(locks: &str, device: Option<&str>, inode: u64) -> bool {
    let file = format!("{}:{inode}", device.unwrap_or_default());
    locks.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_file = |word: &str| match device {
            Some(_) => word == file,
            None => word.ends_with(&file),
        };
        words.any(|it| it == "FLOCK") && words.any(is_file)
    })
}

/// The device of a file as the kernel's list of locks has it: that of its mount, which on btrfs and in
/// overlays is not the one that `stat` tells.
fn device(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    let about = format!("/proc/self/fdinfo/{}", file.as_raw_fd());
    let about = std::fs::read_to_string(about).ok()?;
    let mount = about.lines().find_map(|it| it.strip_prefix("mnt_id:"))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let device = mounts.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == mount.trim()).then(|| words.nth(1))?
    })?;
    let (major, minor) = device.split_once(':')?;
    let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    Some(format!("{major:02x}:{minor:02x}"))
}

/// What the last life has written, held to what is on disk.
fn beside_disk(config: &Config, dir: &Path, kept: KeptBooks) -> Result<Vec<DeadBook>, Failure> {
    let keys = app::spool_keys(config).map_err(|error| start_failure(&error))?;
    let view = SpoolView::new(Arc::new(RealFiles), dir, keys);
    let unreadable = |error: std::io::Error| Failure::new(Exit::DataDir, error);
    let lanes = match view.lanes() {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        lanes => lanes.map_err(unreadable)?,
    };
    let aside = places(&config.data_dir).map_err(unreadable)?;
    let (ended, written) = (kept.ended, kept.written / 1000);
    let each = kept.logstores.into_iter().map(|mut book| {
        let is_it =
            |project: &str, logstore: &str| (project, logstore) == (&book.project, &book.logstore);
        let lane = lanes
            .iter()
            .find(|it| is_it(it.project.as_str(), it.logstore.as_str()));
        let report = lane.map(|it| view.lane(&it.project, &it.logstore).verify());
        let on_disk = match report.transpose().map_err(unreadable)? {
            None => Some(0),
            Some(report) => known(&report),
        };
        let mut records = 0;
        if let Some(place) = aside.iter().find(|it| is_it(&it.project, &it.logstore)) {
            let damaged = each_record(place, |_, _| {
                records += 1;
                true
            });
            damaged.map_err(unreadable)?;
        }
        // It had not seen all of its disk, so its books do not say how much that is.
        let seen = on_disk.filter(|_| !book.recovering);
        let unknown = seen.map(|found| book.left().wrapping_sub(found).cast_signed());
        // After a stop nothing has happened that is not in the books.
        if let (true, true, Some(unknown)) = (ended, book.balanced, unknown) {
            (book.difference, book.balanced) = (unknown, unknown == 0);
        }
        Ok(DeadBook {
            book,
            ended,
            written,
            on_disk,
            records,
            unknown,
        })
    });
    each.collect()
}

/// How many events wait, where all of them can be counted.
fn known(report: &LaneReport) -> Option<u64> {
    let all = report.unopened_parts == 0 && report.segments.iter().all(|it| !it.locked);
    all.then(|| report.waiting_events())
}

/// Says what is on disk, beside the books.
fn tell_disk(it: &DeadBook) {
    let name = format!("{}/{}", it.book.project, it.book.logstore);
    let when = moment::format(it.written);
    let how = match it.ended {
        true => "stopped",
        false => {
            "killed, or crashed, after the books were written (or it runs in another container: only processes of this one are seen)"
        }
    };
    let found = match it.on_disk {
        Some(found) => format!("{found} events are on disk"),
        None => {
            "what is on disk cannot be counted, for want of a key or since it is damaged".to_owned()
        }
    };
    let records = it.records;
    let mut line =
        format!("{name}: {how}, {when}; {found}, and {records} records in the quarantine");
    if let (false, Some(unknown)) = (it.ended, it.unknown.filter(|it| *it != 0)) {
        let (count, what) = (
            unknown.unsigned_abs(),
            if unknown > 0 { "less" } else { "more" },
        );
        line.push_str(&format!(
            "; these are {count} {what} than were left, and what became of so many is not known"
        ));
    }
    if it.book.recovering {
        line.push_str(
            "; it was still looking through its spool then, so these are not held to its books",
        );
    }
    output::note(output::escape(&line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_that_of_its_device_and_file() {
        let locks = "\
1: POSIX  ADVISORY  WRITE 11 fe:00:77 0 EOF
2: FLOCK  ADVISORY  WRITE 12 08:11:5 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 08:11:5 0 EOF
";
        assert!(is_held(locks, Some("08:11"), 5));
        for (device, inode) in [("08:12", 5), ("8:11", 5), ("08:11", 15), ("fe:00", 77)] {
            assert!(!is_held(locks, Some(device), inode), "{device} {inode}");
        }
        assert!(is_held(locks, None, 5) && !is_held(locks, None, 77));
    }

    #[test]
    fn a_spool_is_used_while_its_lock_is_held() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_used(folder.path()), "there is no lock");
        let path = folder.path().join(".lock");
        let file = File::create(&path).unwrap();
        assert!(!is_used(folder.path()));
        assert!(device(&path).is_some());
        file.lock().unwrap();
        assert!(is_used(folder.path()));
        file.unlock().unwrap();
        assert!(!is_used(folder.path()));
    }
}
