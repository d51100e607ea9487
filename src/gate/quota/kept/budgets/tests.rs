//! Tests of budgets that are kept.

use std::fs;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::format::SUM;
use super::*;
use crate::config::Config;
use crate::gate::quota::Facts;
use crate::gate::quota::bucket::{Ask, Bucket};
use crate::gate::quota::calendar::{Calendar, Unit};
use crate::gate::quota::window::{Budget, Factor, Now, Window};

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
        let asked = (0..count).filter(|_| {
            self.quotas
                .begin(self.quotas.now().unix_seconds)
                .at_door(&facts)
                .is_ok()
        });
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
    let left =
        |key: u64, second| next.rooms(key << 40 | 1, false, Factor::ONE, now(second))[0].remaining;
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
