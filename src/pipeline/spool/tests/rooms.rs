//! How lanes share the room on disk.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{
    AppendError, Claim, Files, Full, Log, LogRules, OpenError, Packing, Room, Space,
    SpoolDirectory, WhenFull,
};
use super::damage::{append, id};
use super::disk::{Faults, SimDisk};
use super::{logstore, web_site};

const FOLDER: &str = "/spool";

/// A spool of 120,000 bytes, half of which are guaranteed, with a lane for each claim.
fn lanes(reserve: u64, claims: &[Claim], when_full: WhenFull) -> (SpoolDirectory, Vec<Log>) {
    lanes_on(&SimDisk::new(1), reserve, claims, when_full)
}

fn lanes_on(
    disk: &SimDisk,
    reserve: u64,
    claims: &[Claim],
    when_full: WhenFull,
) -> (SpoolDirectory, Vec<Log>) {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let space = Arc::new(Space::new(120_000, reserve));
    let directory = SpoolDirectory::open(files, Path::new(FOLDER), space, None).unwrap();
    let open = |(number, claim)| lane(&directory, number, claim, when_full).unwrap();
    let logs = claims.iter().enumerate().map(open).collect();
    (directory, logs)
}

fn lane(
    directory: &SpoolDirectory,
    number: usize,
    claim: &Claim,
    when_full: WhenFull,
) -> Result<Log, OpenError> {
    let rules = LogRules {
        segment_bytes: 4000,
        max_bytes: 120_000,
        packing: Packing::Plain,
        claim: *claim,
        when_full,
        ..LogRules::default()
    };
    let name = logstore(&format!("lane{number}"));
    directory.log(&web_site(), &name, rules)
}

/// Appends until the lane is refused; how many went in, and why no more.
fn fill(log: &mut Log, from: u64) -> (u64, Full) {
    let mut count = 0;
    loop {
        match append(log, from + count) {
            Ok(()) => count += 1,
            Err(AppendError::Full(full)) => return (count, full),
            Err(error) => panic!("{error}"),
        }
    }
}

const ONE: Claim = Claim {
    weight: 1,
    copies: false,
};

#[test]
fn a_lane_that_nobody_empties_takes_nothing_of_the_part_of_another() {
    let (directory, mut logs) = lanes(0, &[ONE, ONE], WhenFull::Refuse);
    let [dead, well] = &mut logs[..] else {
        unreachable!()
    };
    assert_eq!((dead.room().part(), well.room().part()), (30_000, 30_000));
    assert_eq!(fill(dead, 1).1, Full::Spool);
    let held = dead.counts().disk_bytes;
    assert!((85_000..=90_000).contains(&held), "{held}");
    // As long as it is emptied, it is never refused.
    for number in 1..2000 {
        append(well, number).unwrap();
        well.sync().unwrap();
        well.done(id(number));
    }
    let (_, full) = fill(well, 2000);
    assert_eq!(full, Full::Spool);
    assert!(directory.space().used() <= 120_000);
    let held = well.counts().disk_bytes;
    assert!((28_000..=32_000).contains(&held), "{held}");
}

#[test]
fn a_lane_within_its_part_gives_up_nothing_of_its_own() {
    let (_directory, mut logs) = lanes(0, &[ONE, ONE], WhenFull::DropOldest);
    let [dead, well] = &mut logs[..] else {
        unreachable!()
    };
    for number in 1..1000 {
        append(dead, number).unwrap();
        dead.sync().unwrap();
        dead.release(id(number));
    }
    assert!(dead.counts().dropped_events > 0);
    for number in 1..80 {
        append(well, number).unwrap();
        well.sync().unwrap();
        well.release(id(number));
    }
    assert_eq!(well.counts().dropped_events, 0);
}

#[test]
fn a_lane_that_is_above_its_new_bound_gives_up_as_much_as_comes() {
    let (directory, mut logs) = lanes(0, &[ONE], WhenFull::DropOldest);
    let log = &mut logs[0];
    for number in 1..1000 {
        append(log, number).unwrap();
        log.sync().unwrap();
        log.release(id(number));
    }
    let (dropped, held) = (log.counts().dropped_events, log.counts().disk_bytes);
    assert!(held > 110_000, "{held}");
    // Parts of 45,000 bytes are kept for others from now on.
    let open = |number| lane(&directory, number, &ONE, WhenFull::DropOldest).unwrap();
    let _others = [1, 2, 3].map(open);
    append(log, 1000).unwrap();
    let one = log.counts().dropped_events - dropped;
    assert!((1..=80).contains(&one), "{one}");
    for number in 1001..1100 {
        append(log, number).unwrap();
        log.sync().unwrap();
        log.release(id(number));
        assert!(log.counts().disk_bytes <= held);
    }
    let all = log.counts().dropped_events - dropped;
    assert!((100..=300).contains(&all), "{all}");
}

/// What others have taken meanwhile would be taken once more.
#[test]
fn what_was_given_up_is_forgotten_once_a_lane_is_within_its_bound() {
    let (directory, mut logs) = lanes(0, &[ONE], WhenFull::DropOldest);
    let log = &mut logs[0];
    for number in 1..1000 {
        append(log, number).unwrap();
        log.sync().unwrap();
        log.release(id(number));
    }
    let open = |number| lane(&directory, number, &ONE, WhenFull::DropOldest).unwrap();
    let _others = [1, 2, 3].map(open);
    append(log, 1000).unwrap();
    assert!(log.given_up > 0);
    log.sync().unwrap();
    // It stays while it holds more than that.
    for number in 600..620 {
        log.done(id(number));
    }
    assert!(log.given_up > 0);
    for number in 1..=1000 {
        log.done(id(number));
    }
    log.checkpoint().unwrap();
    assert!(log.counts().disk_bytes < 10_000, "{:?}", log.counts());
    assert_eq!(log.given_up, 0);
}

#[test]
fn a_lane_that_could_not_be_opened_keeps_nothing_from_others() {
    let disk = SimDisk::new(1);
    let (directory, logs) = lanes_on(&disk, 0, &[ONE], WhenFull::Refuse);
    disk.set_faults(Faults {
        read: 1000,
        ..Faults::default()
    });
    assert!(lane(&directory, 1, &ONE, WhenFull::Refuse).is_err());
    assert_eq!(logs[0].room().part(), 60_000);
    disk.set_faults(Faults::default());
    let _other = lane(&directory, 1, &ONE, WhenFull::Refuse).unwrap();
    assert_eq!(logs[0].room().part(), 30_000);
}

#[test]
fn what_is_deleted_in_between_does_not_make_a_disk_endless() {
    let space = Arc::new(Space::new(5000, 0));
    let room = space.enter(ONE, 5000);
    assert!(room.release(0));
    assert_eq!(room.take_of(501, 500, false), Err(Full::Disk));
    assert_eq!(room.take_of(500, 500, false), Ok(()));
}

#[test]
fn copies_come_behind_those_whose_they_are() {
    let copies = Claim {
        copies: true,
        ..ONE
    };
    let (_directory, mut logs) = lanes(0, &[ONE, copies], WhenFull::Refuse);
    let [first, copies] = &mut logs[..] else {
        unreachable!()
    };
    assert_eq!(
        (first.room().part(), copies.room().part()),
        (40_000, 20_000)
    );
    fill(copies, 1);
    let held = copies.counts().disk_bytes;
    assert!((45_000..=50_000).contains(&held), "{held}");
    fill(first, 1);
    let held = first.counts().disk_bytes;
    assert!((65_000..=75_000).contains(&held), "{held}");
}

#[test]
fn parts_follow_lanes_that_come_go_and_change_their_weight() {
    let (_directory, mut logs) = lanes(0, &[ONE, ONE], WhenFull::Refuse);
    let parts = |logs: &[Log]| {
        let part = |log: &Log| log.room().part();
        logs.iter().map(part).collect::<Vec<u64>>()
    };
    logs[0].room().weigh(3);
    assert_eq!(parts(&logs), [45_000, 15_000]);
    // It is to be ended: the other has all of what is guaranteed, and this one drains.
    logs[0].room().weigh(0);
    assert_eq!(parts(&logs), [0, 60_000]);
    logs[0].leave();
    assert_eq!(parts(&logs), [0, 60_000]);
    let (count, _) = fill(&mut logs[1], 1);
    assert!(count > 300, "{count}");
}

#[test]
fn a_disk_that_has_less_than_the_spool_may_take_is_divided_as_well() {
    // 60,000 bytes are free.
    let reserve = (1 << 40) - 60_000;
    let (_directory, mut logs) = lanes(reserve, &[ONE, ONE], WhenFull::Refuse);
    let [dead, well] = &mut logs[..] else {
        unreachable!()
    };
    assert_eq!(fill(dead, 1).1, Full::Disk);
    let held = dead.counts().disk_bytes;
    assert!((40_000..=45_000).contains(&held), "{held}");
    let (_, full) = fill(well, 1);
    assert_eq!(full, Full::Disk);
    let held = well.counts().disk_bytes;
    assert!((14_000..=16_000).contains(&held), "{held}");
}

#[test]
fn a_disk_is_divided_without_a_reserve_as_well() {
    let disk = SimDisk::new(1);
    disk.set_faults(Faults {
        free: Some(60_000),
        ..Faults::default()
    });
    let (_directory, mut logs) = lanes_on(&disk, 0, &[ONE, ONE], WhenFull::Refuse);
    let [dead, well] = &mut logs[..] else {
        unreachable!()
    };
    assert_eq!(fill(dead, 1).1, Full::Disk);
    let held = dead.counts().disk_bytes;
    assert!((40_000..=45_000).contains(&held), "{held}");
    // What is told is what is kept.
    assert_eq!(well.room().part(), 15_000);
    assert_eq!(fill(well, 1).1, Full::Disk);
    let held = well.counts().disk_bytes;
    assert!((14_000..=16_000).contains(&held), "{held}");
}

#[derive(Clone, Debug)]
enum Step {
    Take(usize, u64),
    Release(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4_usize, 1..300_u64).prop_map(|(lane, bytes)| Step::Take(lane, bytes)),
        1 => (0..4_usize, 1..600_u64).prop_map(|(lane, bytes)| Step::Release(lane, bytes)),
    ]
}

proptest! {
    /// The sum stays within the whole, and what is within a part is given, whatever others hold.
    #[test]
    fn a_part_is_there_whenever_it_is_asked_for(
        weights in prop::collection::vec(0..5_u32, 4),
        copies in prop::collection::vec(any::<bool>(), 4),
        guaranteed in 0..=100_u8,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let files = SimDisk::new(1);
        let space = Arc::new(Space::new(5000, 0).guaranteeing(guaranteed));
        let claims = weights.into_iter().zip(copies);
        let rooms: Vec<Arc<Room>> = claims
            .map(|(weight, copies)| space.enter(Claim { weight, copies }, 3000))
            .collect();
        let mut held = [0_u64; 4];
        for step in steps {
            match step {
                Step::Take(lane, bytes) => {
                    let taken = rooms[lane].take(bytes, &files, Path::new(FOLDER), 0);
                    let within = held[lane] + bytes <= rooms[lane].part();
                    prop_assert!(taken.is_ok() || !within, "refused within its part");
                    held[lane] += if taken.is_ok() { bytes } else { 0 };
                }
                Step::Release(lane, bytes) => {
                    let bytes = bytes.min(held[lane]);
                    rooms[lane].release(bytes);
                    held[lane] -= bytes;
                }
            }
            prop_assert_eq!(space.used(), held.iter().sum::<u64>());
            prop_assert!(space.used() <= 5000);
        }
    }
}
