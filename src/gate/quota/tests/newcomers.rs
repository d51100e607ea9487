//! Tests of new keys: what they cost their parents, and what those get back.

use proptest::prelude::*;

use super::super::bucket::{Ask, Bucket, Charged};
use super::super::window::Factor;
use super::{SECOND, at, exceeds, no_root, rate, spread, take, under_a_small_parent};

/// A request that has not ended yet.
struct Open {
    key: u64,
    units: u64,
    nanos: u64,
    charged: Charged,
}

proptest! {
    /// Requests of keys that become known meanwhile end late and in any order. Each key that is let off
    /// its parent has left at least one unit there, and is held to its own limit whatever comes back.
    #[test]
    fn who_is_let_off_its_parent_has_paid_for_that_and_has_its_own_limit(
        steps in prop::collection::vec(
            (0..SECOND, 0..30u64, 1..11u64, any::<bool>(), 0..4usize, any::<u8>()),
            1..300,
        ),
    ) {
        let parent = Bucket::new(&[rate(20, 1_000_000 * SECOND, 20)], 64, 0, &no_root());
        // No key is pushed out: of all thirty something may be kept.
        let bucket = Bucket::new(&[rate(10, SECOND, 10)], 1024, 0, &no_root()).below(parent);
        let (mut now, mut open) = (0, Vec::<Open>::new());
        let mut paid = std::collections::HashMap::<u64, u64>::new();
        let mut let_off = std::collections::HashSet::new();
        let mut admitted = vec![Vec::new(); 30];
        for (pause, key, units, is_kept, ends, which) in steps {
            now += pause;
            let hashes = |key: u64| [spread(key), 1];
            // One request of a new key at a time: of several that are given back while it is not
            // idle, nothing says that none is left.
            let is_open = open.iter().any(|it| {
                it.key == key && it.charged.0 > 1 && now < it.nanos + SECOND
            });
            if !is_open && let Ok(charged) = take(&bucket, &hashes(key), units, at(now)) {
                if charged.0 == 1 {
                    let_off.insert(key);
                }
                open.push(Open { key, units, nanos: now, charged });
            }
            for _ in 0..ends.min(open.len()) {
                let ended = open.swap_remove(usize::from(which) % open.len());
                if is_kept {
                    admitted[usize::try_from(ended.key).unwrap()].push((ended.nanos, ended.units));
                    if ended.charged.0 > 1 {
                        *paid.entry(ended.key).or_default() += ended.units;
                    }
                } else {
                    let hashes = hashes(ended.key);
                    let ask = Ask {
                        hashes: &hashes,
                        units: ended.units,
                        reserved: false,
                        factor: Factor::ONE,
                        now: at(ended.nanos),
                    };
                    bucket.give_back(ask, ended.charged, at(now));
                }
            }
            let unpaid = let_off.iter().filter(|key| !paid.contains_key(*key)).count();
            let charged = paid.values().sum::<u64>() + unpaid as u64;
            prop_assert!(charged <= 20, "{} for {:?}, {} let off", charged, paid, unpaid);
        }
        for mut admitted in admitted {
            admitted.sort_unstable();
            prop_assert_eq!(exceeds(&admitted, 10, SECOND, 10), None);
        }
    }
}

#[test]
fn keys_of_one_set_that_are_idle_in_turns_stay_known_and_cost_their_parent_no_more() {
    let hour = 3600 * SECOND;
    let parent = Bucket::new(&[rate(20, hour, 20)], 64, 0, &no_root());
    // One set of eight places.
    let bucket = Bucket::new(&[rate(10, SECOND, 10)], 8, 0, &no_root()).below(parent);
    // In each second both come and go; the parent could pay for ten turns.
    for second in 0..100 {
        for (key, nanos) in [(7, 0), (8, SECOND / 2)] {
            let now = at(second * SECOND + nanos);
            assert!(take(&bucket, &[key, 1], 1, now).is_ok(), "{key} {second}");
        }
    }
    // Six more and then one that finds all idle: it takes the place of one that is new.
    for key in 20..26 {
        assert!(take(&bucket, &[key, 1], 1, at(100 * SECOND)).is_ok());
    }
    assert_eq!(bucket.places(), (8, 8));
    let later = 100 * SECOND + SECOND / 2;
    assert!(take(&bucket, &[30, 1], 1, at(later)).is_ok());
    for key in [7, 8] {
        assert!(take(&bucket, &[key, 1], 10, at(later + SECOND)).is_ok());
    }
    assert_eq!(bucket.places().1, 8);
}

#[test]
fn a_key_that_sends_one_unit_and_waits_has_its_own_limit_then_and_no_more() {
    let bucket = under_a_small_parent();
    for key in 1..=40 {
        let _full = take(&bucket, &[spread(key), 1], 1, at(0));
    }
    let got = |second: u64| -> usize {
        let tries = (1..=40).flat_map(|key| std::iter::repeat_n(key, 100));
        let tries = tries.filter(|key| {
            let now = at(second * SECOND);
            take(&bucket, &[spread(*key), 1], 1, now).is_ok()
        });
        tries.count()
    };
    // The parent let twenty of them in; each of those may have what the limit says.
    assert_eq!(got(1), 200);
    assert_eq!(got(2), 200);
}

#[test]
fn what_comes_back_when_a_key_is_idle_and_known_stays_with_its_parent() {
    let bucket = under_a_small_parent();
    let mut admitted = 0;
    for key in 1..=40 {
        let hashes = [spread(key), 1];
        let ask = Ask {
            hashes: &hashes,
            units: 10,
            reserved: false,
            factor: Factor::ONE,
            now: at(key * 10 * SECOND),
        };
        let Ok(charged) = bucket.take(ask, &String::new) else {
            continue;
        };
        let known = at(key * 10 * SECOND + SECOND);
        while take(&bucket, &hashes, 1, known).is_ok() {
            admitted += 1;
        }
        // Refused by something slow, when all has come back by itself.
        bucket.give_back(ask, charged, at(key * 10 * SECOND + 3 * SECOND));
    }
    assert_eq!(admitted, 20, "two keys were let in, of ten units each");
}

#[test]
fn a_pin_that_is_given_back_whole_is_new_from_then_on() {
    let bucket = Bucket::new(
        &[rate(5, SECOND, 5)],
        8,
        0,
        &[rate(1000, 3600 * SECOND, 1000)],
    );
    let none = super::super::bucket::NO_PARENT;
    // Eight keys whose places are in use all the time.
    let fill = |now| {
        for key in 1..=8 {
            let _full = take(&bucket, &[spread(key), none], 5, now);
        }
    };
    fill(at(0));
    let pinned = [spread(99), none];
    let ask = |units, now| Ask {
        hashes: &pinned,
        units,
        reserved: false,
        factor: Factor::ONE,
        now,
    };
    for _ in 0..16 {
        let charged = bucket.take(ask(1, at(0)), &String::new).unwrap();
        bucket.give_back(ask(1, at(0)), charged, at(0));
    }
    let early = at(SECOND * 9 / 10);
    fill(early);
    let charged = bucket.take(ask(5, early), &String::new).unwrap();
    assert_eq!(charged.0, 3, "it has a pin and is new");
    bucket.give_back(ask(5, early), charged, early);
    let later = at(SECOND * 11 / 10);
    let charged = bucket.take(ask(5, later), &String::new).unwrap();
    assert_eq!(charged.0, 3, "nothing was paid for it, so it is new still");
}

#[test]
fn a_new_key_without_room_waits_for_what_is_above_it_too() {
    let hour = 3600 * SECOND;
    let parent = Bucket::new(&[rate(10, hour, 10)], 64, 0, &no_root());
    let bucket = Bucket::new(&[rate(10, 100 * SECOND, 10)], 64, 0, &no_root()).below(parent);
    assert!(take(&bucket, &[7, 1], 10, at(0)).is_ok());
    // Its own unit comes back after ten seconds, one of the parent after six minutes; after a hundred
    // seconds it is not new any more, and needs none.
    let full = take(&bucket, &[7, 1], 1, at(0)).unwrap_err();
    assert_eq!((full.wait, full.own), (Some(100 * SECOND), true));
    let ask = Ask {
        hashes: &[7, 1],
        units: 1,
        reserved: false,
        factor: Factor::ONE,
        now: at(0),
    };
    assert_eq!(bucket.look(ask), Err(full));
    assert!(take(&bucket, &[7, 1], 1, at(100 * SECOND - 1)).is_err());
    assert!(take(&bucket, &[7, 1], 1, at(100 * SECOND)).is_ok());
}
