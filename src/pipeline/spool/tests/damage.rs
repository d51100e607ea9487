//! What is found on disk, and what becomes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::{
    AppendError, BundleId, Files, Full, KeyRing, Log, LogRules, OpenError, Order, Packing, Part,
    ReadError, Space, SpoolDirectory, SpoolView, WhenFull,
};
use super::disk::{Faults, SimDisk};
use super::{clicks, web_site};

pub(super) struct Spool {
    pub(super) disk: SimDisk,
    pub(super) rules: LogRules,
    pub(super) keys: Option<Arc<KeyRing>>,
    pub(super) max_bytes: u64,
    pub(super) reserve: u64,
}

impl Spool {
    pub(super) fn new() -> Self {
        Self {
            disk: SimDisk::new(1),
            rules: LogRules {
                segment_bytes: 4000,
                max_bytes: 1 << 20,
                packing: Packing::Plain,
                ..LogRules::default()
            },
            keys: None,
            max_bytes: 1 << 20,
            reserve: 0,
        }
    }

    pub(super) fn open(&self) -> (SpoolDirectory, Log) {
        let space = Arc::new(Space::new(self.max_bytes, self.reserve));
        let files: Arc<dyn Files> = Arc::new(self.disk.clone());
        let path = Path::new("/spool");
        let directory = SpoolDirectory::open(files, path, space, self.keys.clone()).unwrap();
        let log = directory
            .log(&web_site(), &clicks(), self.rules.clone())
            .unwrap();
        (directory, log)
    }

    /// Appends bundles of one part and leaves.
    pub(super) fn fill(&self, numbers: std::ops::RangeInclusive<u64>) {
        let (_directory, mut log) = self.open();
        for number in numbers {
            append(&mut log, number).unwrap();
        }
        log.sync().unwrap();
    }

    /// What a new life reads, and its log.
    pub(super) fn read(&self) -> (Vec<u64>, Log) {
        let (_directory, mut log) = self.open();
        while !log.recover(1).unwrap() {}
        let read = drain(&mut log);
        (read, log)
    }

    pub(super) fn only_segment(&self) -> (PathBuf, Vec<u8>) {
        let mut found = self.disk.contents(".seg");
        found.retain(|(path, _)| !path.to_str().unwrap().contains("damaged"));
        assert_eq!(found.len(), 1);
        found.remove(0)
    }
}

pub(super) fn id(number: u64) -> BundleId {
    BundleId { prefix: 9, number }
}

pub(super) fn append(log: &mut Log, number: u64) -> Result<(), AppendError> {
    append_at(log, number, 5000)
}

fn append_at(log: &mut Log, number: u64, now: u64) -> Result<(), AppendError> {
    let logs = [b'l'; 200];
    let part = Part {
        bundle: id(number),
        number: 0,
        last: true,
        events: 2,
        key: Some(b"the key"),
        logs: &logs,
    };
    log.append(&part, now)
}

pub(super) fn drain(log: &mut Log) -> Vec<u64> {
    let mut read = Vec::new();
    while let Some(taken) = log.take_next().unwrap() {
        if let Ok(bundle) = log.read(taken.id) {
            assert_eq!(&bundle.log_group[200..], b"the key");
            assert_eq!((bundle.events, bundle.logs_bytes), (2, 200));
            read.push(taken.id.number);
            assert!(log.done(taken.id));
        }
    }
    assert!(log.counts().balance());
    read
}

/// Header, 4 + 7 bytes of key, 200 of events.
const RECORD: usize = 28 + 211;

#[test]
fn a_torn_tail_is_passed_over_and_never_written_to() {
    for cut in 1..RECORD {
        let spool = Spool::new();
        spool.fill(1..=3);
        let (path, mut bytes) = spool.only_segment();
        bytes.truncate(bytes.len() - cut);
        spool.disk.plant(&path, &bytes);
        let (read, log) = spool.read();
        assert_eq!(read, [1, 2]);
        assert_eq!(log.counts().torn_tails, 1);
        assert_eq!(log.counts().skipped_bytes, (RECORD - cut) as u64);
        assert_eq!(spool.only_segment().1, bytes);
    }
}

#[test]
fn zeros_garbage_and_stale_records_behind_the_last_record_are_no_records() {
    let other = Spool::new();
    let other = Spool {
        disk: SimDisk::new(2),
        ..other
    };
    other.fill(7..=8);
    let stale = other.only_segment().1[1024..].to_vec();
    for tail in [vec![0; 3000], vec![0xA7; 999], stale] {
        let spool = Spool::new();
        spool.fill(1..=2);
        let (path, mut bytes) = spool.only_segment();
        bytes.extend_from_slice(&tail);
        spool.disk.plant(&path, &bytes);
        let (read, log) = spool.read();
        assert_eq!(read, [1, 2]);
        assert_eq!(log.counts().torn_tails, 1);
        assert_eq!(log.counts().skipped_bytes, tail.len() as u64);
    }
}

#[test]
fn one_flipped_bit_at_any_place_costs_at_most_the_record_that_it_hits() {
    let whole = Spool::new();
    whole.fill(1..=3);
    let (path, bytes) = whole.only_segment();
    for at in 0..bytes.len() {
        let spool = Spool::new();
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let (directory, log) = spool.open();
        drop((directory, log));
        spool.disk.plant(&path, &flipped);
        let (read, log) = spool.read();
        let hit = at.checked_sub(1024).map(|at| at / RECORD + 1);
        let expected: Vec<u64> = (1..=3).filter(|n| Some(*n as usize) != hit).collect();
        assert_eq!(read, expected, "bit at {at}");
        let counts = log.counts();
        let found = counts.damaged_records + counts.garbage + counts.torn_tails;
        assert_eq!(found, u64::from(hit.is_some()), "bit at {at}");
        let copies = spool.disk.contents(".bytes");
        assert_eq!(copies.len(), usize::from(hit.is_some()));
    }
}

#[test]
fn a_flipped_bit_in_the_checkpoint_sends_again_and_loses_nothing() {
    let whole = Spool::new();
    let (directory, mut log) = whole.open();
    for number in 1..=3 {
        append(&mut log, number).unwrap();
    }
    log.sync().unwrap();
    log.done(id(2));
    log.checkpoint().unwrap();
    drop((directory, log));
    assert_eq!(whole.read().0, [1, 3]);
    let (path, bytes) = whole.disk.contents("/checkpoint").remove(0);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        whole.disk.plant(&path, &flipped);
        let (read, log) = whole.read();
        assert_eq!((read, log.counts().bad_checkpoints), (vec![1, 2, 3], 1));
    }
    whole.disk.plant(&path, &bytes[..20]);
    assert_eq!(whole.read().0, [1, 2, 3]);
}

#[test]
fn damaged_copies_are_bounded() {
    let mut spool = Spool::new();
    spool.rules.damaged = (600, 2);
    spool.fill(1..=9);
    let (path, mut bytes) = spool.only_segment();
    for record in [1, 3, 5, 7] {
        bytes[1024 + record * RECORD + 100] ^= 1;
    }
    spool.disk.plant(&path, &bytes);
    let (read, log) = spool.read();
    assert_eq!(read, [1, 3, 5, 7, 9]);
    let counts = log.counts();
    assert_eq!((counts.damaged_records, counts.damaged_events), (4, 8));
    assert_eq!(counts.not_copied, 2);
    assert_eq!(spool.disk.contents(".bytes").len(), 2);
}

#[test]
fn a_copy_of_a_segment_is_read_once_under_its_own_name() {
    let spool = Spool::new();
    spool.fill(1..=3);
    let (path, bytes) = spool.only_segment();
    for name in ["0000000000000000.seg", "00000000000000ff.seg"] {
        spool.disk.plant(&path.with_file_name(name), &bytes);
        let (read, log) = spool.read();
        assert_eq!((read, log.counts().twin_segments), (vec![1, 2, 3], 1));
        assert_eq!(spool.only_segment().0, path, "the copy is in damaged/");
        spool.disk.unplant(&path.parent().unwrap().join("damaged"));
    }
}

#[test]
fn files_that_are_not_ours_are_left_alone() {
    let spool = Spool::new();
    spool.fill(1..=1);
    let (path, bytes) = spool.only_segment();
    for name in ["x.seg", "000000000000000A.seg", "notes.txt", "../a.seg"] {
        spool.disk.plant(&path.with_file_name(name), b"mine");
    }
    assert_eq!(spool.read().0, [1]);
    assert_eq!(spool.disk.contents("notes.txt").len(), 1);
    // One that says that it is of another lane.
    let other = Spool::new();
    let (directory, _log) = other.open();
    let moved = Path::new("/spool/web-site/other/0000000000000001.seg");
    other.disk.create_folder(moved.parent().unwrap()).unwrap();
    other.disk.plant(moved, &bytes);
    let log = directory.log(&web_site(), &super::logstore("other"), other.rules.clone());
    assert_eq!(log.unwrap().counts().foreign_segments, 1);
}

#[test]
fn empty_and_headerless_files_are_no_obstacle() {
    let spool = Spool::new();
    spool.fill(1..=1);
    let (path, _) = spool.only_segment();
    spool
        .disk
        .plant(&path.with_file_name("00000000000000f0.seg"), b"");
    spool
        .disk
        .plant(&path.with_file_name("00000000000000f1.seg"), &[0; 5000]);
    spool
        .disk
        .plant(&path.with_file_name("00000000000000f2.seg"), &[7; 5000]);
    let (read, log) = spool.read();
    assert_eq!((read, log.counts().headerless_segments), (vec![1], 1));
    assert_eq!(
        spool.only_segment().0,
        path,
        "two are deleted, one is set aside"
    );
}

#[test]
fn a_newer_version_is_left_alone_and_an_older_one_is_read() {
    let spool = Spool::new();
    spool.fill(1..=2);
    let (path, bytes) = spool.only_segment();
    let newer = super::versions::with_version(&bytes, 2);
    spool.disk.plant(&path, &newer);
    let (read, log) = spool.read();
    assert_eq!((read, log.counts().newer_segments), (vec![], 1));
    assert_eq!(spool.only_segment().1, newer, "not eaten");
    assert_eq!(log.counts().disk_bytes, newer.len() as u64, "and charged");
    let older = super::versions::as_zeroth(&bytes);
    spool.disk.plant(&path, &older);
    assert_eq!(spool.read().0, [1, 2]);
}

#[test]
fn an_encrypted_segment_waits_for_its_key() {
    let mut spool = Spool::new();
    let (old, new) = ([1; 32], [2; 32]);
    spool.keys = Some(Arc::new(KeyRing::new(&[&old]).unwrap()));
    spool.fill(1..=2);
    let (_, bytes) = spool.only_segment();
    let plain = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    assert!(!plain(b"the key") && !plain(&[b'l'; 20]));
    for keys in [None, Some(Arc::new(KeyRing::new(&[&new]).unwrap()))] {
        spool.keys = keys;
        let (read, log) = spool.read();
        assert_eq!((read, log.counts().locked_segments), (vec![], 1));
    }
    // Rotation: the first seals, all open.
    spool.keys = Some(Arc::new(KeyRing::new(&[&new, &old]).unwrap()));
    spool.fill(3..=3);
    assert_eq!(spool.read().0, [1, 2, 3]);
    spool.keys = Some(Arc::new(KeyRing::new(&[&new]).unwrap()));
    assert_eq!(spool.read().0, [3]);
}

#[test]
fn a_full_lane_refuses_and_heals() {
    let mut spool = Spool::new();
    spool.rules.max_bytes = 6000;
    let (_directory, mut log) = spool.open();
    let mut number = 0;
    let error = loop {
        number += 1;
        if let Err(error) = append(&mut log, number) {
            break error;
        }
    };
    assert!(matches!(error, AppendError::Full(Full::Lane)), "{error}");
    assert!(log.counts().disk_bytes <= 6000);
    for done in 1..number {
        assert!(log.done(id(done)));
    }
    append(&mut log, number + 1).unwrap();
    assert!(log.counts().balance());
}

#[test]
fn a_full_spool_and_a_short_disk_refuse() {
    let mut spool = Spool::new();
    spool.max_bytes = 3000;
    let (_directory, mut log) = spool.open();
    let error = (1..)
        .find_map(|number| append(&mut log, number).err())
        .unwrap();
    assert!(matches!(error, AppendError::Full(Full::Spool)), "{error}");
    let spool = Spool {
        reserve: 1 << 50,
        ..Spool::new()
    };
    let (_directory, mut log) = spool.open();
    let error = append(&mut log, 1).unwrap_err();
    assert!(matches!(error, AppendError::Full(Full::Disk)), "{error}");
}

#[test]
fn the_oldest_give_way_where_the_rules_say_so() {
    let mut spool = Spool::new();
    spool.rules.max_bytes = 12_000;
    spool.rules.when_full = WhenFull::DropOldest;
    let (_directory, mut log) = spool.open();
    for number in 1..=100 {
        append(&mut log, number).unwrap();
        log.sync().unwrap();
        log.release(id(number));
        assert!(log.counts().disk_bytes <= 12_000);
    }
    let counts = log.counts();
    assert!(counts.dropped_events > 100, "{counts:?}");
    let read = drain(&mut log);
    assert_eq!(read.last(), Some(&100));
    assert_eq!(read.len() as u64 * 2 + counts.dropped_events, 200);
    // What is taken does not give way.
    for number in 101.. {
        if let Err(error) = append(&mut log, number) {
            assert!(matches!(error, AppendError::Full(Full::Lane)));
            break;
        }
    }
}

#[test]
fn what_is_too_old_ends_and_is_counted() {
    let mut spool = Spool::new();
    spool.rules.max_age = Some(1000);
    spool.rules.index_bytes = 2000;
    let (_directory, mut log) = spool.open();
    for number in 1..=40 {
        append_at(&mut log, number, 5000 + number * 10).unwrap();
        log.sync().unwrap();
        log.release(id(number));
    }
    assert_eq!(log.expire(6000), 0);
    let ended = log.expire(6211);
    assert!(ended > 0 && ended <= 40, "{ended}");
    assert_eq!(log.expire(9000) + ended, 80);
    assert!(log.counts().balance() && log.counts().held_events == 0);
}

#[test]
fn the_index_is_bounded_and_both_orders_give_everything_once() {
    for order in [Order::OldestFirst, Order::NewestFirst] {
        let mut spool = Spool::new();
        spool.rules.order = order;
        spool.rules.index_bytes = 6000;
        let (directory, mut log) = spool.open();
        for number in 1..=500 {
            append(&mut log, number).unwrap();
            log.sync().unwrap();
            log.release(id(number));
            assert!(
                log.counts().index_bytes < 14_000,
                "{}",
                log.counts().index_bytes
            );
        }
        log.sync().unwrap();
        let mut expected: Vec<u64> = (1..=500).collect();
        if order == Order::NewestFirst {
            expected.reverse();
        }
        drop((directory, log));
        let (_directory, mut log) = spool.open();
        while !log.recover(5000).unwrap() {
            assert!(log.counts().index_bytes < 14_000);
        }
        assert_eq!(log.counts().held_events, 1000);
        let mut read = Vec::new();
        while let Some(taken) = log.take_next().unwrap() {
            assert!(log.counts().index_bytes < 14_000);
            read.push(taken.id.number);
            assert!(log.done(taken.id));
        }
        if order == Order::NewestFirst {
            // Within a segment too, the newest is first.
            assert!(read.is_sorted_by(|a, b| a > b));
        }
        assert_eq!(read, expected);
    }
}

#[test]
fn a_sync_that_failed_is_not_believed_the_next_time() {
    let spool = Spool::new();
    let (directory, mut log) = spool.open();
    append(&mut log, 1).unwrap();
    log.sync().unwrap();
    append(&mut log, 2).unwrap();
    spool.disk.set_faults(Faults {
        sync: 1000,
        ..Faults::default()
    });
    let doubt = log.sync().unwrap_err();
    assert_eq!((doubt.parts.len(), doubt.parts[0].bundle), (1, id(2)));
    spool.disk.set_faults(Faults::default());
    assert_eq!(log.counts().withdrawn_events, 2);
    append(&mut log, 2).unwrap();
    log.sync().unwrap();
    assert_eq!(spool.disk.contents(".seg").len(), 2, "in another file");
    drop((directory, log));
    spool.disk.crash();
    assert_eq!(spool.read().0, [1, 2]);
}

#[test]
fn one_process_has_the_directory_and_one_log_each_lane() {
    let spool = Spool::new();
    let (directory, log) = spool.open();
    let files: Arc<dyn Files> = Arc::new(spool.disk.clone());
    let space = Arc::new(Space::new(1, 0));
    let error = SpoolDirectory::open(files, Path::new("/spool"), space, None).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("in use by another process, with process id 1"),
        "{text}"
    );
    let twice = directory.log(&web_site(), &clicks(), spool.rules.clone());
    assert!(matches!(twice, Err(OpenError::Twice(..))));
    drop((directory, log));
    spool.open();
}

#[test]
fn a_part_without_a_key_a_second_time_or_too_large_is_refused() {
    let spool = Spool::new();
    let (_directory, mut log) = spool.open();
    let mut part = Part {
        bundle: id(1),
        number: 0,
        last: false,
        events: 1,
        key: None,
        logs: b"x",
    };
    assert!(matches!(log.append(&part, 1), Err(AppendError::Keyless)));
    part.key = Some(b"");
    log.append(&part, 1).unwrap();
    assert!(matches!(
        log.append(&part, 1),
        Err(AppendError::Repeated(0))
    ));
    let large = vec![0; 1 << 24];
    part.number = 1;
    part.logs = &large;
    assert!(matches!(log.append(&part, 1), Err(AppendError::TooLarge)));
    assert!(matches!(log.read(id(7)), Err(ReadError::Unknown)));
    assert!(log.counts().balance());
}

#[test]
fn a_view_reads_what_waits_without_the_lock() {
    let mut spool = Spool::new();
    spool.rules.segment_bytes = 1500;
    let (directory, mut log) = spool.open();
    for number in 1..=6 {
        append(&mut log, number).unwrap();
    }
    log.sync().unwrap();
    log.done(id(3));
    log.checkpoint().unwrap();
    let files: Arc<dyn Files> = Arc::new(spool.disk.clone());
    let view = SpoolView::new(files, Path::new("/spool"), None);
    assert_eq!(view.lanes().unwrap(), directory.lanes().unwrap());
    let lane = view.lane(&web_site(), &clicks());
    let mut read = Vec::new();
    let report = lane.bundles(|bundle| {
        read.push(bundle.id.number);
        Ok(())
    });
    assert_eq!(read, [1, 2, 4, 5, 6]);
    let report = report.unwrap();
    assert!(!report.is_damaged());
    let waiting: u64 = report.segments.iter().map(|s| s.waiting_events).sum();
    assert_eq!(waiting, 10);
    assert_eq!(lane.verify().unwrap(), report);
    // A tail that is being written is no damage, a flipped bit is.
    let (path, mut bytes) = spool.disk.contents(".seg").pop().unwrap();
    bytes.extend_from_slice(&[0xA7, 0x5E, 1]);
    spool.disk.plant(&path, &bytes);
    assert!(!lane.verify().unwrap().is_damaged());
    bytes[1100] ^= 1;
    spool.disk.plant(&path, &bytes);
    assert!(lane.verify().unwrap().is_damaged());
}
