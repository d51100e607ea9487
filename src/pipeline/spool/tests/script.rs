//! A fixed script with one fault, at the first call, the second, and so on until none is hit.

use std::path::Path;
use std::sync::Arc;

use super::super::{BundleId, Log, LogRules, Part, Space, SpoolDirectory};
use super::disk::{Faults, SimDisk};
use super::{clicks, web_site};

fn rules() -> LogRules {
    LogRules {
        segment_bytes: 1400,
        max_bytes: 1 << 20,
        index_bytes: 800,
        ..LogRules::default()
    }
}

fn open(disk: &SimDisk) -> (SpoolDirectory, Log) {
    let files = Arc::new(disk.clone());
    let space = Arc::new(Space::new(1 << 20, 0));
    let directory = SpoolDirectory::open(files, Path::new("/spool"), space, None).unwrap();
    let log = directory.log(&web_site(), &clicks(), rules()).unwrap();
    (directory, log)
}

fn part(id: BundleId, logs: &[u8]) -> Part<'_> {
    Part {
        bundle: id,
        number: 0,
        last: true,
        events: 1,
        key: Some(b"key"),
        logs,
    }
}

/// Appends ten bundles with a sync after each; ends every third; gives the ones that are promised.
/// A bundle that is in doubt is appended once more; one that is refused is given up.
fn script(log: &mut Log) -> Vec<(u64, bool)> {
    let mut promised = Vec::new();
    let logs = vec![b'x'; 150];
    for number in 1..=10 {
        let id = BundleId { prefix: 1, number };
        let mut tries = 0;
        let kept = loop {
            tries += 1;
            if log.append(&part(id, &logs), 1000).is_ok() && log.sync().is_ok() {
                break true;
            }
            if tries > 2 {
                break false;
            }
        };
        if !kept {
            continue;
        }
        let ended = number % 3 == 0 && log.done(id);
        if !ended {
            log.release(id);
        }
        if number % 4 == 0 && log.checkpoint().is_err() {
            log.checkpoint().unwrap();
        }
        promised.push((number, ended));
    }
    promised
}

fn drain(log: &mut Log) -> Vec<u64> {
    while !log.recover(1000).unwrap() {}
    let mut read = Vec::new();
    while let Some(taken) = log.take_next().unwrap() {
        let bundle = log.read(taken.id).unwrap();
        assert_eq!(bundle.log_group.len(), 153);
        read.push(taken.id.number);
        assert!(log.done(taken.id));
    }
    assert!(log.counts().balance());
    read
}

#[test]
fn one_fault_at_the_nth_call_loses_nothing_for_every_n() {
    let mut faults = 0;
    for n in 0.. {
        let disk = SimDisk::new(n);
        let (directory, mut log) = open(&disk);
        disk.set_faults(Faults {
            nth: Some(n),
            ..Faults::default()
        });
        let promised = script(&mut log);
        assert_eq!(
            promised.len(),
            10,
            "one fault refuses nothing for good, n = {n}"
        );
        assert!(log.counts().balance());
        drop((log, directory));
        let hit = disk.hit();
        disk.crash();
        let (_directory, mut log) = open(&disk);
        let read = drain(&mut log);
        for (number, ended) in promised {
            assert!(ended || read.contains(&number), "{number} is lost, n = {n}");
        }
        faults += hit;
        if hit == 0 {
            break;
        }
    }
    assert!(faults > 40, "only {faults} calls were made to fail");
}

#[test]
fn a_crash_at_the_nth_call_loses_nothing_for_every_n() {
    for n in 0.. {
        for seed in 0..20 {
            let disk = SimDisk::new(seed);
            let (directory, mut log) = open(&disk);
            disk.set_faults(Faults {
                dies: Some(n),
                ..Faults::default()
            });
            let logs = vec![b'x'; 150];
            let mut promised = Vec::new();
            for number in 1..=8 {
                let id = BundleId { prefix: 1, number };
                if log.append(&part(id, &logs), 1000).is_ok() && log.sync().is_ok() {
                    promised.push(number);
                }
                if number % 3 == 0 && log.checkpoint().is_err() {}
            }
            let dead = disk.is_dead();
            drop((log, directory));
            disk.crash();
            let (_directory, mut log) = open(&disk);
            let read = drain(&mut log);
            assert!(
                promised.iter().all(|number| read.contains(number)),
                "n = {n}, {seed}"
            );
            if !dead {
                return;
            }
        }
    }
}
