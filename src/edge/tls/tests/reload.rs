//! Files that change while the listener serves.

use super::*;

fn serial(listener: &ListenerTls) -> Vec<String> {
    let files = listener.files.lock().unwrap();
    let names = |slot: &Slot| slot.pair.facts.names.join(" ");
    files.certificates.iter().map(names).collect()
}

struct Case {
    folder: Folder,
    metrics: Arc<Metrics>,
    listener: Arc<ListenerTls>,
}

fn case() -> Case {
    let folder = Folder::new();
    let tls = rules(vec![
        folder.pair("a", &["old.test"]),
        folder.pair("b", &["b.test"]),
    ]);
    let metrics = Metrics::new();
    let listener = ListenerTls::load("main", &tls, &["http/1.1"], &metrics).unwrap();
    Case {
        folder,
        metrics,
        listener,
    }
}

impl Case {
    fn counts(&self) -> (u64, u64) {
        let file = self.folder.files("a").cert;
        let cells = self
            .metrics
            .certificate("main", &file.display().to_string());
        (cells.reloaded.get(), cells.failed.get())
    }
}

#[test]
fn what_changed_is_read_and_nothing_else() {
    let case = case();
    let before = case.listener.config();
    case.listener.refresh(false);
    assert!(Arc::ptr_eq(&before, &case.listener.config()));
    assert_eq!(case.counts(), (0, 0));
    case.folder.pair("a", &["new.test"]);
    case.listener.refresh(false);
    assert_eq!(serial(&case.listener), ["new.test", "b.test"]);
    assert!(!Arc::ptr_eq(&before, &case.listener.config()));
    assert_eq!(case.counts(), (1, 0));
}

#[test]
fn a_forced_look_reads_everything() {
    let case = case();
    case.listener.refresh(true);
    assert_eq!(case.counts(), (1, 0));
}

#[test]
fn a_bad_pair_keeps_the_old_one_and_is_told_once_at_the_second_look() {
    let case = case();
    let files = case.folder.files("a");
    let key = std::fs::read(&files.key).unwrap();
    case.folder.pair("a", &["new.test"]);
    let new_key = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, key).unwrap();
    for (look, failed) in [0, 1, 1].into_iter().enumerate() {
        case.listener.refresh(false);
        assert_eq!(serial(&case.listener), ["old.test", "b.test"]);
        assert_eq!(case.counts(), (0, failed), "look {look}");
    }
    // Another fault is another tale.
    std::fs::remove_file(&files.key).unwrap();
    case.listener.refresh(true);
    assert_eq!(case.counts(), (0, 2));
    std::fs::write(&files.key, new_key).unwrap();
    case.listener.refresh(false);
    assert_eq!(serial(&case.listener), ["new.test", "b.test"]);
    assert_eq!(case.counts(), (1, 2));
}

#[test]
fn a_pair_out_of_its_dates_keeps_the_old_one() {
    let case = case();
    for years in [(2020, 2021), (2098, 2099)] {
        case.folder.pair_of("a", &["new.test"], years);
        case.listener.refresh(true);
        assert_eq!(serial(&case.listener), ["old.test", "b.test"]);
    }
    assert_eq!(case.counts(), (0, 2));
}

#[test]
fn a_swapped_link_is_a_change() {
    // As Kubernetes does: files are links into a folder that is a link itself.
    let folder = Folder::new();
    for (name, host) in [("one", "one.test"), ("two", "two.test")] {
        std::fs::create_dir(folder.path(name)).unwrap();
        folder.pair(&format!("{name}/tls"), &[host]);
    }
    let data = folder.path("..data");
    std::os::unix::fs::symlink("one", &data).unwrap();
    let files = Certificate {
        cert: folder.path("tls.crt"),
        key: folder.path("tls.key"),
    };
    std::os::unix::fs::symlink("..data/tls.pem", &files.cert).unwrap();
    std::os::unix::fs::symlink("..data/tls.key", &files.key).unwrap();
    let listener =
        ListenerTls::load("main", &rules(vec![files]), &["http/1.1"], &Metrics::new()).unwrap();
    assert_eq!(serial(&listener), ["one.test"]);
    let next = folder.path("..next");
    std::os::unix::fs::symlink("two", &next).unwrap();
    std::fs::rename(next, data).unwrap();
    listener.refresh(false);
    assert_eq!(serial(&listener), ["two.test"]);
}

#[test]
fn the_end_of_a_certificate_is_told_30_7_and_1_days_before() {
    const DAY: u64 = 86_400;
    let folder = Folder::new();
    let files = folder.pair_of("a", &["a.test"], (2020, 2030));
    let pair = pair::Pair::load(&files, &provider()).unwrap();
    let end = pair.facts.not_after;
    for (before, due) in [
        (31 * DAY, None),
        (30 * DAY, Some(30)),
        (8 * DAY, Some(30)),
        (7 * DAY, Some(7)),
        (DAY, Some(1)),
        (0, Some(1)),
    ] {
        assert_eq!(slot::due(&pair, end - before), due, "{before}");
    }
    assert_eq!(slot::due(&pair, end + 1), Some(0));
    // One that lives for days only is not nagged about all its life.
    let mut short = pair;
    short.facts.not_before = end - 6 * DAY;
    assert_eq!(slot::due(&short, end - 3 * DAY), None);
    assert_eq!(slot::due(&short, end - 2 * DAY), Some(7));
    assert_eq!(slot::due(&short, end - DAY), Some(1));
}

#[test]
fn what_was_followed_ends_nothing_any_more() {
    let folder = Folder::new();
    let certificates = vec![folder.pair("a", &["a.test"])];
    let [one, two] = ["one", "two"].map(|name| {
        let files = folder.pair(name, &["authority.test"]);
        std::fs::read(files.cert).unwrap()
    });
    let path = folder.path("authorities.pem");
    std::fs::write(&path, [one.as_slice(), two.as_slice()].concat()).unwrap();
    let tls = Tls {
        client_auth: ClientAuth::Optional,
        client_ca: Some(path.clone()),
        ..rules(certificates)
    };
    let load = || ListenerTls::load("admin", &tls, &["http/1.1"], &Metrics::new()).unwrap();
    let (before, now) = (load(), load());
    let open = before.trust();
    now.follow(&before);
    std::fs::write(&path, one).unwrap();
    // A look that was on its way: whoever comes now would be sent away at once, for ever.
    before.refresh(true);
    assert!(!now.trust().is_cancelled());
    now.refresh(true);
    assert!(open.is_cancelled() && !now.trust().is_cancelled());
}
