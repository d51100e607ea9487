//! Tests of overrides that are kept.

use super::*;
use crate::config::Config;
use crate::gate::quota::Quotas;

fn quotas() -> Arc<Quotas> {
    let text = r#"
        name = "door"
        key = ["address"]
        rate = [{ count = 1, per = "1h" }]
    "#;
    let config = Config {
        limit_rules: vec![toml::from_str(text).unwrap()],
        ..Config::quickstart()
    };
    Quotas::new(&config, 7).unwrap()
}

fn open(folder: &Path) -> Overrides {
    Overrides::open(folder, 3, quotas())
}

fn ban(key: &str) -> NewOverride {
    NewOverride {
        key: key.to_owned(),
        change: NewChange::Ban,
        factor: None,
        ttl_seconds: 3600,
        reason: "flood".to_owned(),
    }
}

fn is_banned(overrides: &Overrides, key: &str) -> bool {
    let set = overrides.quotas.set();
    let hash = set.all[0].hash_of_text(key).unwrap();
    let found = set.all[0].override_of(hash, overrides.quotas.now());
    found.is_some_and(|one| one.change == Change::Ban)
}

fn other(change: Change, made: u64) -> Override {
    Override {
        limit: "door".to_owned(),
        key: "address=10.0.0.1".to_owned(),
        change,
        reason: "elsewhere".to_owned(),
        made,
        expires: clock::unix_seconds() + 60,
    }
}

#[test]
fn what_is_banned_stays_so_after_a_start_until_it_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = open(folder.path());
    overrides.add("door", &ban("address=10.0.0.1")).unwrap();
    assert!(is_banned(&overrides, "address=10.0.0.1"));
    assert!(!is_banned(&overrides, "address=10.0.0.2"));
    let again = open(folder.path());
    assert!(is_banned(&again, "address=10.0.0.1"));
    again.lift("door", "address=10.0.0.1").unwrap();
    assert!(!is_banned(&again, "address=10.0.0.1"));
    let third = open(folder.path());
    assert!(!is_banned(&third, "address=10.0.0.1"));
    assert_eq!(third.list()[0].change, Change::Lift, "others may ask");
    assert_eq!(third.counts(), OverrideCounts::default());
}

#[test]
fn the_later_of_two_counts_whichever_comes_first() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let folder = tempfile::tempdir().unwrap();
        let overrides = open(folder.path());
        let told = [
            other(Change::Ban, 1000),
            other(Change::Raise { thousandths: 2000 }, 2000),
            other(Change::Lift, 3000),
        ];
        for index in order {
            overrides.apply(told[index].clone()).unwrap();
        }
        assert_eq!(overrides.list()[0].change, Change::Lift);
        assert!(!overrides.apply(told[0].clone()).unwrap());
        // Made at once, they are ordered all the same.
        assert!(overrides.apply(other(Change::Ban, 3000)).unwrap());
        assert!(!overrides.apply(other(Change::Lift, 3000)).unwrap());
        assert!(is_banned(&overrides, "address=10.0.0.1"));
    }
}

#[test]
fn a_change_here_is_later_than_what_it_replaces_even_if_the_clock_is_behind() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = open(folder.path());
    let ahead = clock::unix_millis() + 1_000_000;
    overrides.apply(other(Change::Ban, ahead)).unwrap();
    overrides.lift("door", "address=10.0.0.1").unwrap();
    assert_eq!(overrides.list()[0].made, ahead + 1);
}

#[test]
fn what_has_ended_is_forgotten_and_what_is_for_nothing_is_kept_idle() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = open(folder.path());
    let mut short = ban("address=10.0.0.9");
    short.ttl_seconds = 1;
    overrides.add("door", &short).unwrap();
    let mut window = other(Change::Ban, 1);
    window.limit = "window".to_owned();
    let mut subject = other(Change::Ban, 1);
    subject.key = "subject=x".to_owned();
    overrides.apply(window).unwrap();
    overrides.apply(subject).unwrap();
    let counts = overrides.counts();
    assert_eq!((counts.bans, counts.idle), (3, 2));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert!(!is_banned(&overrides, "address=10.0.0.9"));
    overrides.round();
    assert_eq!(overrides.list().len(), 2);
    assert_eq!(open(folder.path()).list().len(), 2);
    let mut past = other(Change::Ban, 1);
    past.expires = 1;
    assert!(!overrides.apply(past).unwrap());
}

#[test]
fn at_the_bound_what_was_lifted_gives_way_and_bans_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let overrides = open(folder.path());
    for number in 1..=3 {
        let key = format!("address=10.0.0.{number}");
        overrides.add("door", &ban(&key)).unwrap();
    }
    let full = overrides.add("door", &ban("address=10.0.0.4")).unwrap_err();
    assert!(matches!(full, ChangeError::Full { .. }), "{full}");
    let mut foreign = other(Change::Ban, 1);
    foreign.key = "address=10.0.0.4".to_owned();
    assert!(overrides.apply(foreign).is_err());
    // One that is there may be changed.
    overrides.add("door", &ban("address=10.0.0.3")).unwrap();
    overrides.lift("door", "address=10.0.0.3").unwrap();
    overrides.add("door", &ban("address=10.0.0.4")).unwrap();
    assert_eq!(overrides.list().len(), 3);
    assert!(overrides.list().iter().all(|one| one.change == Change::Ban));
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside() {
    for contents in ["", "{", "{\"format\":2,\"overrides\":[]}", "[]"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quota/overrides.json");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        let overrides = open(folder.path());
        assert!(overrides.was_damaged(), "{contents}");
        let aside = folder.path().join("quota/overrides.json.damaged");
        assert_eq!(fs::read_to_string(aside).unwrap(), contents);
        overrides.add("door", &ban("address=10.0.0.1")).unwrap();
        assert!(!open(folder.path()).was_damaged());
    }
}

#[test]
fn what_cannot_be_written_is_refused_here_and_holds_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the folder would be: as good as a disk that takes nothing.
    fs::write(folder.path().join("quota"), "").unwrap();
    let overrides = Overrides::open(folder.path(), 3, quotas());
    let error = overrides.add("door", &ban("address=10.0.0.1")).unwrap_err();
    assert!(matches!(error, ChangeError::Write { .. }), "{error}");
    assert!(!is_banned(&overrides, "address=10.0.0.1"));
    assert!(overrides.apply(other(Change::Ban, 1)).unwrap());
    assert!(is_banned(&overrides, "address=10.0.0.1"));
    fs::remove_file(folder.path().join("quota")).unwrap();
    overrides.round();
    assert!(is_banned(&open(folder.path()), "address=10.0.0.1"));
}
