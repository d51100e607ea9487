//! What somebody deletes while it is used.

use std::path::Path;

use super::super::Fault;
use super::damage::{Spool, append, drain, id};

#[test]
fn a_segment_that_is_deleted_under_us_is_counted_and_the_rest_flows() {
    let mut spool = Spool::new();
    spool.rules.segment_bytes = 1600;
    spool.fill(1..=6);
    let (_directory, mut log) = spool.open();
    while !log.recover(1).unwrap() {}
    let second = spool.disk.contents(".seg")[1].0.clone();
    spool.disk.unplant(&second);
    assert_eq!(drain(&mut log), [1, 2, 5, 6], "two in each");
    assert_eq!(log.counts().missing_segments, 1);
}

#[test]
fn a_deleted_segment_loses_only_what_memory_does_not_have() {
    let mut spool = Spool::new();
    spool.rules.segment_bytes = 1600;
    let (_directory, mut log) = spool.open();
    for number in 1..=6 {
        append(&mut log, number).unwrap();
    }
    log.sync().unwrap();
    for number in [1, 3, 5] {
        assert!(log.release(id(number)));
    }
    let second = spool.disk.contents(".seg")[1].0.clone();
    spool.disk.unplant(&second);
    assert_eq!(drain(&mut log), [1, 5]);
    let counts = log.counts();
    let ends = (counts.lost_events, counts.withdrawn_events);
    assert_eq!((ends, counts.missing_segments), ((2, 2), 1));
    assert_eq!((log.events_of(id(4)), log.events_of(id(6))), (0, 2));
}

#[test]
fn a_sync_that_finds_its_segment_deleted_hands_back_only_what_memory_has() {
    let spool = Spool::new();
    let (_directory, mut log) = spool.open();
    for number in 1..=3 {
        append(&mut log, number).unwrap();
    }
    log.sync().unwrap();
    assert!(log.release(id(1)) && log.release(id(2)));
    // The first is being read, the second waits, the third is in memory as well.
    assert_eq!(log.take_next().unwrap().unwrap().id, id(1));
    assert_eq!(log.durable_events_of(id(3)), 2);
    let (path, _) = spool.only_segment();
    spool.disk.unplant(&path);
    append(&mut log, 4).unwrap();
    assert_eq!(log.durable_events_of(id(4)), 0, "not synced");
    let doubt = log.sync().unwrap_err();
    let bundles: Vec<u64> = doubt.parts.iter().map(|part| part.bundle.number).collect();
    assert_eq!(bundles, [3, 4]);
    let counts = log.counts();
    let ends = (counts.lost_events, counts.withdrawn_events);
    assert_eq!((ends, counts.held_events), ((4, 4), 0));
    assert!(counts.balance(), "{counts:?}");
    for number in [3, 4] {
        append(&mut log, number).unwrap();
    }
    log.sync().unwrap();
    assert_eq!(log.durable_events_of(id(3)), 2);
}

#[test]
fn a_deleted_directory_is_told_and_heals() {
    let spool = Spool::new();
    let (_directory, mut log) = spool.open();
    append(&mut log, 1).unwrap();
    log.sync().unwrap();
    append(&mut log, 2).unwrap();
    spool.disk.unplant(Path::new("/spool/web-site"));
    let doubt = log.sync().unwrap_err();
    assert_eq!(doubt.fault, Fault::Gone);
    assert_eq!(doubt.parts.len(), 2, "also what was durable is gone");
    append(&mut log, 3).unwrap();
    log.sync().unwrap();
    assert!(log.counts().balance());
    drop(log);
    spool.disk.crash();
    let (read, _log) = Spool {
        disk: spool.disk.clone(),
        ..Spool::new()
    }
    .read();
    assert_eq!(read, [3]);
}
