//! Tests of limits: what is admitted never exceeds the bound, whatever comes.

mod newcomers;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::prelude::*;

use super::bucket::{Ask, Bucket, Charged, Full};
use super::window::{Budget, Factor, Now, Rate, Window};
use super::{Calendar, Unit};

const SECOND: u64 = 1_000_000_000;

fn at(nanos: u64) -> Now {
    Now {
        nanos: SECOND + nanos,
        unix_seconds: 1_795_305_600 + nanos / SECOND,
    }
}

fn rate(count: u64, per: u64, burst: u64) -> Window {
    Window::Rate(Rate::new(count, per, burst))
}

/// All keys together may do what they like: for tests of what single keys may.
fn no_root() -> [Window; 1] {
    [rate(u64::MAX, 1, u64::MAX)]
}

fn take(bucket: &Bucket, hashes: &[u64], units: u64, now: Now) -> Result<Charged, Full> {
    let ask = Ask {
        hashes,
        units,
        reserved: false,
        factor: Factor::ONE,
        now,
    };
    bucket.take(ask, &|| format!("{hashes:?}"))
}

/// Spreads small numbers as a hash would.
fn spread(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Whether more was admitted in some stretch of time than `burst + count * time / per`. Exact.
fn exceeds(admitted: &[(u64, u64)], count: u64, per: u64, burst: u64) -> Option<(usize, usize)> {
    for from in 0..admitted.len() {
        let mut sum = 0u128;
        for to in from..admitted.len() {
            sum += u128::from(admitted[to].1);
            let time = u128::from(admitted[to].0 - admitted[from].0);
            if sum * u128::from(per)
                > u128::from(burst) * u128::from(per) + u128::from(count) * time
            {
                return Some((from, to));
            }
        }
    }
    None
}

fn arrivals() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let pause = prop_oneof![Just(0), 1..1000u64, 1..SECOND, 1..100 * SECOND];
    prop::collection::vec((pause, 1..40u64), 1..120)
}

proptest! {
    #[test]
    fn no_arrivals_get_more_than_the_rate_and_its_burst(
        arrivals in arrivals(),
        count in 1..2000u64,
        per in prop_oneof![2000..5000u64, 2000..SECOND, Just(SECOND), Just(60 * SECOND)],
        burst in 1..300u64,
    ) {
        let window = rate(count, per, burst);
        let (mut word, mut now) = (0, 0);
        let mut admitted = Vec::new();
        for (pause, units) in arrivals {
            now += pause;
            if let Ok(after) = window.take(word, units, Factor::ONE, at(now)) {
                word = after;
                admitted.push((now, units));
            }
        }
        prop_assert_eq!(exceeds(&admitted, count, per, burst), None);
    }

    #[test]
    fn what_is_refused_passes_after_the_time_that_was_told_and_not_before(
        arrivals in arrivals(),
        count in 1..2000u64,
        burst in 40..300u64,
    ) {
        let window = rate(count, SECOND, burst);
        let (mut word, mut now) = (0, 0);
        for (pause, units) in arrivals {
            now += pause;
            match window.take(word, units, Factor::ONE, at(now)) {
                Ok(after) => word = after,
                Err(over) => {
                    let wait = over.wait.unwrap();
                    prop_assert!(window.take(word, units, Factor::ONE, at(now + wait)).is_ok());
                    prop_assert!(window.take(word, units, Factor::ONE, at(now + wait - 1)).is_err());
                }
            }
        }
    }

    /// For cells of whole nanoseconds governor says the same.
    #[test]
    fn it_agrees_with_governor(
        arrivals in arrivals(),
        count in prop::sample::select(vec![1u32, 2, 5, 10, 100, 1000]),
        burst in 1..300u32,
    ) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(Duration::from_secs(1) / count)
            .unwrap()
            .allow_burst(NonZeroU32::new(burst).unwrap());
        let governor = RateLimiter::direct_with_clock(quota, clock.clone());
        let window = rate(count.into(), SECOND, burst.into());
        let (mut word, mut now) = (0, 0);
        for (pause, units) in arrivals {
            now += pause;
            clock.advance(Duration::from_nanos(pause));
            let cells = NonZeroU32::new(u32::try_from(units).unwrap()).unwrap();
            let theirs = matches!(governor.check_n(cells), Ok(Ok(_)));
            let ours = window.take(word, units, Factor::ONE, at(now));
            prop_assert_eq!(ours.is_ok(), theirs, "{} units at {}", units, now);
            word = ours.unwrap_or(word);
        }
    }

    /// A clock that swings by more than a day finds the days before forgotten.
    #[test]
    fn a_budget_never_gives_more_in_a_day_though_the_clock_is_set_back(
        steps in prop::collection::vec((-200_000i64..200_000, 1..50u64), 1..200),
        most in 1..500u64,
    ) {
        let calendar = Calendar::new(Unit::Day, 8 * 3600);
        let window = Window::Budget(Budget::new(most, calendar));
        let (mut word, mut clock) = (0, 1_795_305_600u64);
        let mut used: std::collections::HashMap<u16, u64> = std::collections::HashMap::new();
        let (mut latest, mut latest_clock) = (0, clock);
        for (step, units) in steps {
            clock = clock.saturating_add_signed(step).max(latest_clock - 86_000);
            latest_clock = latest_clock.max(clock);
            let now = Now { nanos: SECOND, unix_seconds: clock };
            let period = calendar.period(clock).number();
            if let Ok(after) = window.take(word, units, Factor::ONE, now) {
                word = after;
                // What comes while the clock is behind counts for the later day.
                if period >= latest {
                    *used.entry(period).or_default() += units;
                    latest = period;
                    prop_assert!(used[&period] <= most);
                }
            }
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again(units in 1..50u64, burst in 50..100u64) {
        let bucket = Bucket::new(&[rate(1, SECOND, burst)], 64, 0, &no_root());
        let mut admitted = 0;
        while let Ok(charged) = take(&bucket, &[7, 0], units, at(0)) {
            admitted += units;
            let ask = Ask { hashes: &[7, 0], units, reserved: false, factor: Factor::ONE, now: at(0) };
            bucket.give_back(ask, charged, at(0));
            prop_assert!(take(&bucket, &[7, 0], units, at(0)).is_ok());
        }
        prop_assert!(admitted <= burst && admitted + units > burst);
    }
}

#[test]
fn extreme_numbers_neither_overflow_nor_open() {
    let zero = rate(0, SECOND, 10);
    assert_eq!(zero.take(0, 1, Factor::ONE, at(0)).unwrap_err().wait, None);
    let slow = rate(1, u64::MAX / 4, 1);
    let after = slow.take(0, 1, Factor::ONE, at(0)).unwrap();
    assert!(slow.take(after, 1, Factor::ONE, at(u64::MAX / 8)).is_err());
    let never = rate(1, u64::MAX, 1);
    assert!(
        never.take(0, 1, Factor::ONE, at(0)).is_err(),
        "beyond the end of the clock"
    );
    let fast = rate(u64::MAX, 1, u64::MAX);
    assert!(fast.take(0, u64::MAX / 2, Factor::ONE, at(0)).is_ok());
    let small = rate(5, SECOND, 5);
    assert_eq!(
        small
            .take(0, u64::MAX, Factor::ONE, at(0))
            .unwrap_err()
            .wait,
        None
    );
    assert_eq!(
        small
            .take(u64::MAX, 1, Factor::ONE, at(0))
            .map_err(|over| over.wait.is_some()),
        Err(true)
    );
    let raised = Factor::thousandths(10_000);
    assert!(small.take(0, 50, raised, at(0)).is_ok());
    assert!(small.take(0, 51, raised, at(0)).is_err());
    assert_eq!(small.room(0, raised, at(0)).most, 50);
    assert_eq!(
        small
            .percent(20)
            .take(0, 2, Factor::ONE, at(0))
            .unwrap_err()
            .wait,
        None
    );
}

#[test]
fn all_windows_have_room_or_none_is_charged() {
    let windows = [rate(10, SECOND, 10), rate(15, 60 * SECOND, 15)];
    let bucket = Bucket::new(&windows, 64, 0, &no_root());
    let count = |now| {
        (0..100)
            .filter(|_| take(&bucket, &[9, 0], 1, now).is_ok())
            .count()
    };
    assert_eq!(count(at(0)), 10);
    assert_eq!(count(at(SECOND)), 5, "the minute is used up");
    assert_eq!(
        take(&bucket, &[9, 0], 1, at(2 * SECOND)).unwrap_err().wait,
        Some(2 * SECOND)
    );
    let rooms = bucket.rooms(9, false, Factor::ONE, at(2 * SECOND));
    assert_eq!((rooms[0].remaining, rooms[1].remaining), (10, 0));
}

#[test]
fn a_reserve_is_left_by_noise_and_used_by_what_is_precious() {
    let bucket = Bucket::new(&[rate(100, SECOND, 100)], 64, 20, &no_root());
    let ask = |reserved| Ask {
        hashes: &[3, 0],
        units: 1,
        reserved,
        factor: Factor::ONE,
        now: at(0),
    };
    let noise = (0..1000).filter(|_| bucket.take(ask(false), &String::new).is_ok());
    assert_eq!(noise.count(), 80);
    let precious = (0..1000).filter(|_| bucket.take(ask(true), &String::new).is_ok());
    assert_eq!(precious.count(), 20, "never more than the limit in all");
}

/// The heart of it: ten million keys, each of them new, come to a table of 65,536.
#[test]
fn ten_million_rotating_keys_get_no_more_than_their_parent() {
    const KEYS: u64 = 10_000_000;
    // Each key may send 5 at once; new keys of the parent 1000 at once and 1000 in a second.
    let parent_rate = 1000;
    let parent = Bucket::new(
        &[rate(parent_rate, SECOND, parent_rate)],
        1024,
        0,
        &no_root(),
    );
    let own = [rate(5, 3600 * SECOND, 5)];
    let bucket = Bucket::new(&own, 65_536, 0, &no_root()).below(parent);
    let before = (bucket.places().0, super::Table::bytes(65_536, 2));
    // A good key that was there before the flood, and one that hammers all the time.
    let (good, hammer) = ([spread(u64::MAX), 77], [spread(u64::MAX - 1), 78]);
    assert!(take(&bucket, &good, 1, at(0)).is_ok());
    let mut hammered = u64::from(take(&bucket, &hammer, 1, at(0)).is_ok());
    let mut admitted = 0u64;
    // In ten minutes.
    for number in 0..KEYS {
        let now = at(number * 600 * SECOND / KEYS);
        // Each takes what it gets, and the next one comes.
        while take(&bucket, &[spread(number), 42], 1, now).is_ok() {
            admitted += 1;
        }
        if number % 10 == 0 && take(&bucket, &hammer, 1, now).is_ok() {
            hammered += 1;
        }
    }
    let bound = parent_rate + parent_rate * 600;
    assert!(
        admitted <= bound,
        "{admitted} admitted, the parent allows {bound}"
    );
    assert!(
        admitted >= bound * 9 / 10,
        "{admitted} admitted: the parent was not used"
    );
    assert!(
        hammered <= 6,
        "pushed out and back in, the key got {hammered} of 5 and one more"
    );
    let rest = (0..10).filter(|_| take(&bucket, &good, 1, at(600 * SECOND)).is_ok());
    assert_eq!(rest.count(), 4, "the good key is still known");
    assert_eq!(bucket.places().0, before.0);
    assert!(before.1 + super::Table::bytes(1024, 2) < 64 << 20);
}

/// A parent with room for twenty units in an hour, and keys of ten in a second.
fn under_a_small_parent() -> Bucket {
    let hour = 3600 * SECOND;
    let parent = Bucket::new(&[rate(20, hour, 20)], 64, 0, &no_root());
    Bucket::new(&[rate(10, SECOND, 10)], 64, 0, &no_root()).below(parent)
}

#[test]
fn a_new_key_pays_its_parent_until_its_burst_would_have_come_back_and_a_steady_one_no_more() {
    let bucket = under_a_small_parent();
    let take_all = |key: u64, now| {
        let tries = (0..100).filter(|_| take(&bucket, &[key, 1], 1, now).is_ok());
        tries.count()
    };
    assert_eq!(take_all(7, at(0)), 10);
    assert_eq!(take_all(8, at(0)), 10);
    let full = take(&bucket, &[9, 1], 1, at(0)).unwrap_err();
    assert!(!full.own, "the parent is used up");
    for second in 1..100 {
        let got = take_all(7, at(second * SECOND));
        assert_eq!(got, 10, "it is nobody's newcomer any more");
    }
    assert_eq!(take_all(9, at(100 * SECOND)), 0);
}

#[test]
fn a_key_that_is_new_for_long_is_held_to_its_own_limit_in_a_small_table_too() {
    let limit: crate::config::Limit = toml::from_str(
        "name = \"both\"\nkey = [\"project\"]\nmax_keys = 8\nrate = [{ count = 100, per = \"1s\" }, { count = 100000, per = \"1h\" }]",
    )
    .unwrap();
    let classes = super::classes::Classes::new(&[]);
    let limit = super::Limit::new(&limit, &classes, 0, super::seed_of(7), None).unwrap();
    for second in 0..120 {
        let now = at(second * SECOND);
        let hashes = [7, super::bucket::NO_PARENT];
        assert!(
            limit.take(&hashes, 100, false, now, &String::new).is_ok(),
            "{second}"
        );
    }
}

#[test]
fn what_is_given_back_makes_no_key_known() {
    let bucket = under_a_small_parent();
    let mut admitted = 0;
    for key in 1..40 {
        let hashes = [spread(key), 1];
        let ask = |units| Ask {
            hashes: &hashes,
            units,
            reserved: false,
            factor: Factor::ONE,
            now: at(0),
        };
        // Refused by something else, on purpose, and at once.
        if let Ok(charged) = bucket.take(ask(10), &String::new) {
            bucket.give_back(ask(10), charged, at(0));
            assert_eq!(
                bucket.rooms(hashes[0], false, Factor::ONE, at(0))[0].remaining,
                10
            );
        }
        while bucket.take(ask(1), &String::new).is_ok() {
            admitted += 1;
        }
    }
    assert_eq!(admitted, 20);
    assert_eq!(bucket.places().1, 2, "of all the others nothing is kept");
}

#[test]
fn what_is_given_back_to_a_key_that_is_known_by_now_stays_with_its_parent() {
    let bucket = under_a_small_parent();
    let hashes = [7, 1];
    let ask = Ask {
        hashes: &hashes,
        units: 10,
        reserved: false,
        factor: Factor::ONE,
        now: at(SECOND / 2),
    };
    assert!(take(&bucket, &hashes, 1, at(0)).is_ok());
    let charged = bucket.take(Ask { units: 9, ..ask }, &String::new).unwrap();
    assert!(take(&bucket, &hashes, 5, at(SECOND)).is_ok(), "it is known");
    bucket.give_back(Ask { units: 9, ..ask }, charged, at(SECOND));
    let others = (20..50).filter(|key| take(&bucket, &[*key, 1], 1, at(SECOND)).is_ok());
    assert_eq!(others.count(), 10);
}

#[test]
fn keys_of_budgets_without_a_place_are_held_to_the_budget_of_all() {
    let limit: crate::config::Limit = toml::from_str(
        "name = \"daily\"\nkey = [\"address\"]\nmax_keys = 8\nbudget = [{ count = 5, per = \"day\" }]",
    )
    .unwrap();
    let classes = super::classes::Classes::new(&[]);
    let limit = super::Limit::new(&limit, &classes, 0, super::seed_of(7), None).unwrap();
    let passed = (0..1000).filter(|key| {
        let hashes = [spread(*key), 1];
        limit.take(&hashes, 1, false, at(0), &String::new).is_ok()
    });
    assert_eq!(passed.count(), 40);
}

#[test]
fn a_heavy_key_that_finds_no_place_is_held_to_its_limit_all_the_same() {
    let parent = Bucket::new(&[rate(1_000_000, SECOND, 1_000_000)], 64, 0, &no_root());
    let bucket = Bucket::new(&[rate(50, 3600 * SECOND, 50)], 64, 0, &no_root()).below(parent);
    for number in 0..10_000 {
        assert!(take(&bucket, &[spread(number), 1], 1, at(0)).is_ok());
    }
    let homeless = (10_000..20_000)
        .map(spread)
        .find(|hash| bucket.rooms(*hash, false, Factor::ONE, at(0))[0].remaining == 50)
        .unwrap();
    let passed = (0..1000).filter(|_| take(&bucket, &[homeless, 1], 1, at(0)).is_ok());
    // Sixteen sightings until it is pinned, then its own fifty.
    let passed = passed.count();
    assert!((50..=50 + 16).contains(&passed), "{passed}");
}

#[test]
fn many_threads_share_one_key_and_none_gets_more() {
    let bucket = Bucket::new(&[rate(1, 3600 * SECOND, 1000)], 64, 0, &no_root());
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let tries = 0..1000;
                    tries
                        .filter(|_| take(&bucket, &[5, 0], 1, at(0)).is_ok())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(passed, 1000);
}

#[test]
fn what_is_given_back_late_has_come_back_by_itself_already() {
    let bucket = Bucket::new(&[rate(10, SECOND, 20)], 64, 0, &no_root());
    let hashes = [7, 0];
    let then = at(0);
    let charged: Vec<_> = (0..20)
        .map(|_| take(&bucket, &hashes, 1, then).unwrap())
        .collect();
    // Two seconds later all twenty have come back; nothing is added to that.
    let later = at(2 * SECOND);
    let _all = take(&bucket, &hashes, 20, later).unwrap();
    for charged in charged {
        let ask = Ask {
            hashes: &hashes,
            units: 1,
            reserved: false,
            factor: Factor::ONE,
            now: then,
        };
        bucket.give_back(ask, charged, later);
    }
    assert!(take(&bucket, &hashes, 1, later).is_err());
}

#[test]
fn a_pinned_key_that_gets_a_place_brings_along_what_it_has_used() {
    let hour = 3600 * SECOND;
    let bucket = Bucket::new(&[rate(50, hour, 50)], 8, 0, &no_root());
    for number in 0..200 {
        // The places of the table fill up, and are free again after one seventy-second.
        let key = [spread(number), super::bucket::NO_PARENT];
        let _full = take(&bucket, &key, 1, at(0));
    }
    let homeless = (1000..2000)
        .map(spread)
        .find(|hash| {
            let before = bucket.places().1;
            let taken = take(&bucket, &[*hash, super::bucket::NO_PARENT], 1, at(0));
            taken.is_ok() && bucket.places().1 == before
        })
        .unwrap();
    let key = [homeless, super::bucket::NO_PARENT];
    while take(&bucket, &key, 1, at(0)).is_ok() {}
    let later = at(73 * SECOND);
    assert!(take(&bucket, &key, 1, later).is_ok(), "one has come back");
    assert!(take(&bucket, &key, 1, later).is_err(), "and not all fifty");
}
