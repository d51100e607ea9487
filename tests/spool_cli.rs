//! `tollgate spool` and `tollgate audit` on the real binary: what waits on disk is seen, checked, carried
//! over, delivered and deleted, of a node that runs and of one that does not; and the books balance.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Data, OPEN, PROJECT, Tollgate, binary};

/// Nothing listens there.
const AWAY: &str = "127.0.0.1:1";

fn place() -> String {
    format!("{PROJECT}/{OPEN}")
}

/// A store with the API of SLS.
fn store() -> Tollgate {
    let folder = Data::Own(tempfile::tempdir().unwrap());
    Tollgate::start_with(folder, &["--only", "logstore"])
}

/// Writes the configuration of a node in `folder` that delivers to a store, or to nobody.
fn configure(folder: &Path, store: Option<&Tollgate>, more: &str) {
    let key = folder.join("secret");
    let secret = match store {
        Some(store) => std::fs::read_to_string(store.data_dir().join("keys/logstore.key")).unwrap(),
        None => "of nobody".to_owned(),
    };
    std::fs::write(&key, secret.trim()).unwrap();
    let id = folder.join("key-id");
    std::fs::write(&id, "tollgate").unwrap();
    let address: SocketAddr = match store {
        Some(store) => store.logstore.unwrap(),
        None => AWAY.parse().unwrap(),
    };
    let config = format!(
        r#"
data_dir = "{data}"
[admin]
listen = "127.0.0.1:1"
[ingest]
default_project = "{PROJECT}"
[batch]
max_age = "20ms"
[delivery]
stop_deadline = "1s"
backoff_min = "5ms"
backoff_max = "50ms"
[delivery.breaker]
pause_min = "50ms"
pause_max = "100ms"
[[upstream]]
name = "store"
kind = "sls"
endpoint = "http://localhost:{port}"
address = "{address}"
region = "local"
access_key_id = "file:{id}"
access_key_secret = "file:{secret}"
{more}
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
"#,
        data = folder.display(),
        port = address.port(),
        id = id.display(),
        secret = key.display(),
    );
    std::fs::write(folder.join("config.toml"), config).unwrap();
}

fn start(folder: &Path) -> Tollgate {
    let config = folder.join("config.toml");
    let arguments = ["--config", config.to_str().unwrap()];
    Tollgate::start_with(Data::Kept(folder.to_owned()), &arguments)
}

fn send(tollgate: &Tollgate, first: u32, count: u32) {
    for n in first..first + count {
        let body = format!(
            r#"{{"__topic__":"t","__source__":"app","__tags__":{{"build":"7"}},"__logs__":[{{"n":"{n}"}}]}}"#
        );
        let answer = tollgate.track(OPEN, "", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// A stopped node that has left so many events on disk.
fn stopped(folder: &Path, more: &str, count: u32) {
    configure(folder, None, more);
    let mut node = start(folder);
    // Two batches, at least.
    send(&node, 0, count / 2);
    std::thread::sleep(Duration::from_millis(300));
    send(&node, count / 2, count - count / 2);
    let status = node.stop();
    assert!(status.success(), "{status}\n{}", node.stderr());
}

fn command(words: &[&str], folder: &Path, more: &[&str]) -> Output {
    let mut command = binary();
    command.args(words).arg("--config");
    command.arg(folder.join("config.toml")).args(more);
    command.output().unwrap()
}

fn spool(folder: &Path, word: &str, more: &[&str]) -> Output {
    command(&["spool", word], folder, more)
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{:?}\n{}", output, err(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn row(folder: &Path) -> Value {
    let rows = lines(&out(&spool(folder, "ls", &["--format", "json"])));
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

fn events(folder: &Path) -> Vec<Value> {
    lines(&out(&spool(folder, "show", &[&place(), "--events"])))
}

fn numbers(events: &[Value]) -> BTreeSet<u32> {
    let numbers = events.iter();
    numbers
        .map(|event| event["n"].as_str().unwrap().parse().unwrap())
        .collect()
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let lane = folder.join("spool").join(PROJECT).join(OPEN);
    let files = std::fs::read_dir(lane).unwrap();
    let mut found: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "seg"))
        .collect();
    found.sort();
    found
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn url(node: &Tollgate) -> String {
    format!("http://{}", node.admin)
}

fn audit(node: &Tollgate, folder: &Path) -> (Option<i32>, Value) {
    let more = ["--admin-url", &url(node), "--format", "json"];
    let output = command(&["audit"], folder, &more);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let books = lines(&text);
    let book = books.iter().find(|book| book["logstore"] == OPEN);
    let book = book.unwrap_or_else(|| panic!("{}", err(&output)));
    (output.status.code(), book.clone())
}

fn count(book: &Value, name: &str) -> u64 {
    book[name].as_u64().unwrap()
}

#[test]
fn what_a_stopped_node_left_is_seen_and_checked_and_drained_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder, None, "");
    assert_eq!(out(&spool(folder, "ls", &[])), "", "no spool yet");
    stopped(folder, "", 20);

    let lane = row(folder);
    assert_eq!(
        (lane["project"].as_str(), lane["logstore"].as_str()),
        (Some(PROJECT), Some(OPEN))
    );
    assert_eq!(count(&lane, "events"), 20, "{lane}");
    assert!(count(&lane, "bundles") >= 2 && count(&lane, "segments") >= 1);
    assert!(count(&lane, "bytes") > 1024 && count(&lane, "oldest") > 1_700_000_000);
    assert_eq!(lane["damaged"], false);
    let table = out(&spool(folder, "ls", &[]));
    assert!(table.contains(&place()), "{table}");

    let shown = events(folder);
    assert_eq!(numbers(&shown), (0..20).collect());
    assert_eq!(shown[0]["__topic__"], "t");
    assert_eq!(shown[0]["__source__"], "app");
    assert_eq!(shown[0]["__tag__:build"], "7");
    let ids: BTreeSet<_> = shown
        .iter()
        .map(|it| it["__tag__:__pack_id__"].as_str().unwrap().to_owned())
        .collect();
    let bundles = spool(folder, "show", &[&place(), "--format", "json"]);
    let bundles = lines(&out(&bundles));
    assert_eq!(bundles.len() as u64, count(&lane, "bundles"));
    let told: BTreeSet<_> = bundles
        .iter()
        .map(|it| it["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, ids);
    assert!(out(&spool(folder, "show", &[&place()])).contains(ids.first().unwrap()));
    assert_eq!(spool(folder, "show", &["x"]).status.code(), Some(2));
    let verified = spool(folder, "verify", &[]);
    assert_eq!(out(&verified), "");
    assert!(err(&verified).contains("all is well"), "{}", err(&verified));

    // The store is still away: nothing is lost by trying.
    let tried = spool(folder, "drain", &["--timeout", "1s"]);
    assert_eq!(tried.status.code(), Some(1), "{}", err(&tried));
    assert!(err(&tried).contains("20 are left"), "{}", err(&tried));
    assert_eq!(numbers(&events(folder)), (0..20).collect());

    let store = store();
    configure(folder, Some(&store), "");
    let drained = spool(folder, "drain", &["--timeout", "60s"]);
    assert!(drained.status.success(), "{}", err(&drained));
    assert!(
        err(&drained).contains("delivered 20 events"),
        "{}",
        err(&drained)
    );
    let arrived = store.events(OPEN, 20);
    assert_eq!(numbers(&arrived), (0..20).collect());
    for event in &arrived {
        assert!(ids.contains(event["__tag__:__pack_id__"].as_str().unwrap()));
    }
    assert_eq!(count(&row(folder), "events"), 0);
    let again = spool(folder, "drain", &[]);
    assert!(err(&again).contains("nothing waits"), "{}", err(&again));
    assert!(again.status.success());
    store.events(OPEN, 20);
}

/// What is nowhere is told, and an export over a file that anyone could read is its owner's.
fn no_typo_and_no_open_file(one: &Path, file: &str) {
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    let before = std::fs::read_to_string(file).unwrap();
    for (word, more) in [("export", &["-o", file][..]), ("drain", &[])] {
        let typo = spool(one, word, &[&["other/logstore"][..], more].concat());
        assert_eq!(typo.status.code(), Some(1), "{}", err(&typo));
        let told = err(&typo);
        assert!(told.contains("there is no other/logstore"), "{told}");
        assert!(!told.contains("exported"), "{told}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
    // A file that anyone could read is so no more.
    out(&spool(one, "export", &[&place(), "-o", file]));
    assert_eq!(std::fs::read_to_string(file).unwrap(), before);
    let mode = std::fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn bundles_are_carried_to_another_spool_once_and_purged() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (one.path(), other.path());
    stopped(one, "", 10);
    let file = other.join("export.ndjson");
    let file = file.to_str().unwrap();
    let exported = spool(one, "export", &["-o", file]);
    assert!(
        err(&exported).contains("exported 10 events"),
        "{}",
        err(&exported)
    );
    out(&exported);
    let plain = lines(&out(&spool(one, "export", &["--events"])));
    assert_eq!(plain[0]["__project__"], PROJECT);
    assert_eq!(plain[0]["__logstore__"], OPEN);
    assert_eq!(numbers(&plain), (0..10).collect());
    no_typo_and_no_open_file(one, file);

    // To a node whose spool is encrypted.
    let secret = other.join("spool.key");
    std::fs::write(&secret, "a secret of thirty-two bytes, or more").unwrap();
    let keys = format!("[spool]\nkeys = [\"file:{}\"]", secret.display());
    configure(other, None, &keys);
    let imported = spool(other, "import", &[file]);
    assert!(
        err(&imported).contains("imported 10 events"),
        "{}",
        err(&imported)
    );
    out(&imported);
    assert_eq!(events(other), events(one), "whole, with their ids");
    let bundles = count(&row(other), "bundles");
    let again = spool(other, "import", &[file]);
    assert_eq!(again.status.code(), Some(1));
    let already = format!("imported 0 events in 0 bundles; {bundles} bundles were in the spool");
    assert!(err(&again).contains(&already), "{}", err(&again));
    assert_eq!(count(&row(other), "events"), 10);

    // Lines that are none are told, and the others are taken.
    let text = std::fs::read_to_string(file).unwrap();
    let broken = text.replace("\"events\":", "\"events\":1");
    std::fs::write(file, format!("{{}}\nno\n{broken}{text}")).unwrap();
    let to = spool(other, "import", &[file, "--to", "else/where"]);
    assert_eq!(to.status.code(), Some(1), "{}", err(&to));
    assert!(
        err(&to).contains("line 2: this is no bundle"),
        "{}",
        err(&to)
    );
    assert!(err(&to).contains("imported 10 events"), "{}", err(&to));
    assert!(
        err(&to).contains("else/where is not configured"),
        "{}",
        err(&to)
    );

    // Without its key it is counted, not read.
    configure(other, None, "");
    let rows = lines(&out(&spool(other, "ls", &["--format", "json"])));
    let lane = rows.iter().find(|it| it["logstore"] == OPEN).unwrap();
    assert_eq!((count(lane, "events"), count(lane, "locked")), (10, 1));
    let locked = spool(other, "verify", &[]);
    assert_eq!(locked.status.code(), Some(1));
    let told = String::from_utf8(locked.stdout).unwrap();
    assert!(told.contains("not in spool.keys"), "{told}");
    configure(other, None, &keys);

    let asked = spool(other, "purge", &["else/where"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(err(&asked).contains("--yes"), "{}", err(&asked));
    out(&spool(other, "purge", &["else/where", "--yes"]));
    let left = lines(&out(&spool(other, "ls", &["--format", "json"])));
    let events_of = |logstore: &str| {
        let lane = left.iter().find(|it| it["logstore"] == logstore);
        lane.map(|lane| count(lane, "events"))
    };
    assert_eq!((events_of("where"), events_of(OPEN)), (Some(0), Some(10)));

    // And the next node there delivers what was brought.
    let store = store();
    configure(other, Some(&store), &keys);
    let mut node = start(other);
    assert_eq!(numbers(&store.events(OPEN, 10)), (0..10).collect());
    assert!(node.stop().success());
}

#[test]
fn a_lane_that_is_named_is_drained_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let archive = folder.join("archive");
    let configure = |store: Option<&Tollgate>| {
        let files = format!(
            "[[upstream]]\nname = \"files\"\nkind = \"files\"\nfiles = {{ dir = \"{}\" }}",
            archive.display()
        );
        configure(folder, store, &files);
        let path = folder.join("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace(
            "upstream = \"store\"",
            "upstream = \"store\"\nalso = \"files\"",
        );
        std::fs::write(path, text).unwrap();
    };
    let waiting = || {
        let rows = lines(&out(&spool(folder, "ls", &["--format", "json"])));
        let of = |logstore: &str| {
            let row = rows.iter().find(|row| row["logstore"] == logstore);
            row.map_or(0, |row| count(row, "events"))
        };
        (of(OPEN), of(&format!("{OPEN}@files")))
    };
    configure(None);
    // Nothing can be written there.
    std::fs::write(&archive, "a file").unwrap();
    let mut node = start(folder);
    send(&node, 0, 10);
    let status = node.stop();
    assert!(status.success(), "{status}\n{}", node.stderr());
    assert_eq!(waiting(), (10, 10));

    // The store is back, the folder of the copies is not: their lane is not even begun.
    let store = store();
    configure(Some(&store));
    let drained = spool(folder, "drain", &[&place(), "--timeout", "60s"]);
    let told = err(&drained);
    assert_eq!(drained.status.code(), Some(0), "{told}");
    assert!(told.contains("delivered 10 events"), "{told}");
    assert!(
        !told.contains("not configured") && !told.contains("archive"),
        "{told}"
    );
    assert_eq!(numbers(&store.events(OPEN, 10)), (0..10).collect());
    assert_eq!(waiting(), (0, 10));

    // And the copies alone, without anything of the store.
    std::fs::remove_file(&archive).unwrap();
    let copies = format!("{}@files", place());
    let drained = spool(folder, "drain", &[&copies, "--timeout", "60s"]);
    let told = err(&drained);
    assert_eq!(drained.status.code(), Some(0), "{told}");
    assert!(told.contains("delivered 10 events"), "{told}");
    assert!(!told.contains("not configured"), "{told}");
    assert_eq!(waiting(), (0, 0));
    assert!(archive.join(PROJECT).join(OPEN).is_dir());
    store.events(OPEN, 10);
}

#[test]
fn a_flipped_bit_is_told_with_its_place_and_costs_one_record() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stopped(folder, "", 20);
    let bundles = lines(&out(&spool(
        folder,
        "show",
        &[&place(), "--format", "json"],
    )));
    assert!(bundles.len() >= 2);
    let file = segments(folder)[0].clone();
    let mut bytes = std::fs::read(&file).unwrap();
    // In the payload of the first record: segment header 1024, record header 28.
    bytes[1024 + 28 + 10] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    let verified = spool(folder, "verify", &[]);
    assert_eq!(verified.status.code(), Some(1));
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(told.contains(file.to_str().unwrap()), "{told}");
    assert!(
        told.contains("1 damaged records") && told.contains("at 1024 ("),
        "{told}"
    );
    let json = spool(folder, "verify", &["--format", "json"]);
    let json = lines(&String::from_utf8(json.stdout).unwrap());
    assert_eq!(json[0]["file"], file.to_str().unwrap());
    assert_eq!(row(folder)["damaged"], true);

    let lost = bundles[0]["events"].as_u64().unwrap();
    let shown = spool(folder, "show", &[&place(), "--events"]);
    assert_eq!(shown.status.code(), Some(1), "{}", err(&shown));
    let shown = lines(&String::from_utf8(shown.stdout).unwrap());
    assert_eq!(shown.len() as u64, 20 - lost);
    let exported = spool(folder, "export", &[]);
    assert_eq!(exported.status.code(), Some(1));

    let store = store();
    configure(folder, Some(&store), "");
    let drained = spool(folder, "drain", &["--timeout", "60s"]);
    assert!(drained.status.success(), "{}", err(&drained));
    let arrived = store.events(OPEN, 20 - usize::try_from(lost).unwrap());
    assert_eq!(numbers(&arrived), numbers(&shown));
}

#[test]
fn a_node_that_runs_is_looked_at_and_keeps_its_spool_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stopped(folder, "", 10);
    let file = folder.join("export.ndjson");
    let file = file.to_str().unwrap();
    out(&spool(folder, "export", &["-o", file]));
    let node = start(folder);
    until("what is there is found", || {
        count(&audit(&node, folder).1, "recovered") == 10
    });
    assert_eq!(count(&row(folder), "events"), 10);
    assert_eq!(numbers(&events(folder)), (0..10).collect());
    out(&spool(folder, "verify", &[]));
    out(&spool(folder, "export", &[]));
    let holder = format!("process id {}", node.pid());
    for (word, more) in [
        ("import", vec![file]),
        ("purge", vec![&*place(), "--yes"]),
        ("drain", vec![]),
    ] {
        let refused = spool(folder, word, &more);
        assert_eq!(refused.status.code(), Some(73), "{word}: {}", err(&refused));
        let told = err(&refused);
        assert!(told.contains(&holder) || word == "drain", "{told}");
        assert!(told.contains("process"), "{told}");
    }
    let url = url(&node);
    let there = spool(folder, "ls", &["--admin-url", &url, "--output", "json"]);
    let there = lines(&out(&there));
    assert_eq!((there.len(), &there[0]["logstore"]), (1, &OPEN.into()));
    let (waiting, held) = (count(&there[0], "waiting"), count(&there[0], "held"));
    assert_eq!(waiting + held, 10, "{there:?}");
    assert_eq!(there[0]["configured"], true);
    let table = out(&spool(folder, "ls", &["--admin-url", &url]));
    assert!(
        table.contains(&place()) && table.contains("in memory"),
        "{table}"
    );
    let both = ["--admin-url", &*url, "--spool-dir", "/tmp"];
    assert_eq!(spool(folder, "ls", &both).status.code(), Some(2));
    let more = ["--admin-url", &*url, "--timeout", "1s"];
    let follows = spool(folder, "drain", &more);
    assert_eq!(follows.status.code(), Some(1), "{}", err(&follows));
    assert!(
        err(&follows).contains("events wait on disk"),
        "{}",
        err(&follows)
    );
    let told = err(&follows);
    let told = told
        .lines()
        .find(|line| line.contains("events wait on disk"));
    // Some may have been taken back into memory to be sent.
    let words = told.unwrap().split(' ');
    let sum: u64 = words.filter_map(|word| word.parse::<u64>().ok()).sum();
    assert_eq!(sum, 10, "{}", err(&follows));
    let missing = command(&["audit"], folder, &[]);
    assert_eq!(missing.status.code(), Some(69), "{}", err(&missing));
}

#[test]
fn the_books_balance_under_load_and_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let store = store();
    configure(folder, None, "");
    let mut node = start(folder);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let node = &node;
            scope.spawn(move || send(node, thread * 100, 100));
        }
        for _ in 0..5 {
            let (code, book) = audit(&node, folder);
            assert_eq!(code, Some(0), "{book}");
        }
    });
    let (code, book) = audit(&node, folder);
    assert_eq!((code, count(&book, "entered")), (Some(0), 300), "{book}");
    assert_eq!(count(&book, "accepted"), 300, "{book}");
    assert_eq!(count(&book, "held") + count(&book, "waiting"), 300);
    assert!(count(&book, "retries") > 0);
    assert!(node.stop().success(), "{}", node.stderr());

    configure(folder, Some(&store), "");
    let mut node = start(folder);
    std::thread::scope(|scope| {
        let sending = &node;
        scope.spawn(move || send(sending, 300, 200));
        for _ in 0..5 {
            let (code, book) = audit(&node, folder);
            assert_eq!(code, Some(0), "{book}");
        }
    });
    until("all is delivered", || {
        let (code, book) = audit(&node, folder);
        assert_eq!(code, Some(0), "{book}");
        count(&book, "delivered") == 500
    });
    let (_, book) = audit(&node, folder);
    assert_eq!(count(&book, "recovered"), 300, "{book}");
    assert_eq!(count(&book, "accepted"), 200, "{book}");
    assert_eq!(numbers(&store.events(OPEN, 500)), (0..500).collect());
    let table = command(&["audit"], folder, &["--admin-url", &url(&node)]);
    assert!(out(&table).contains(&place()));
    assert!(node.stop().success());
    assert_eq!(count(&row(folder), "events"), 0);
}

/// The books of a node that does not run.
fn dead(folder: &Path) -> (Option<i32>, Value) {
    let output = command(&["audit"], folder, &["--format", "json"]);
    let books = lines(std::str::from_utf8(&output.stdout).unwrap());
    let book = books.into_iter().find(|book| book["logstore"] == OPEN);
    let book = book.unwrap_or_else(|| panic!("{}", err(&output)));
    (output.status.code(), book)
}

#[test]
fn the_books_of_a_node_that_was_stopped_are_those_of_its_disk() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stopped(folder, "", 20);
    let (code, book) = dead(folder);
    assert_eq!(
        (code, &book["ended"]),
        (Some(0), &Value::Bool(true)),
        "{book}"
    );
    let of = |book: &Value| ["entered", "waiting", "onDisk", "held"].map(|it| count(book, it));
    assert_eq!(of(&book), [20, 20, 20, 0]);
    // What commands do is in the books.
    let file = folder.join("spool.ndjson");
    let file = file.to_str().unwrap();
    out(&spool(folder, "export", &["-o", file]));
    out(&spool(folder, "purge", &[&place(), "--yes"]));
    let (code, book) = dead(folder);
    assert_eq!((code, of(&book)), (Some(0), [20, 0, 0, 0]), "{book}");
    assert_eq!(book["dropped"]["purged"], 20);
    out(&spool(folder, "import", &[file]));
    let (code, book) = dead(folder);
    assert_eq!((code, of(&book)), (Some(0), [20, 20, 20, 0]), "{book}");
    assert_eq!(count(&book, "added"), 20);
    // It is delivered by a life of its own, which ends with a stop.
    let store = store();
    configure(folder, Some(&store), "");
    out(&spool(folder, "drain", &[]));
    let (code, book) = dead(folder);
    assert_eq!((code, count(&book, "delivered")), (Some(0), 20), "{book}");
    let mut node = start(folder);
    let (code, book) = audit(&node, folder);
    let earlier = &book["earlier"];
    assert_eq!((code, count(earlier, "lives")), (Some(0), 2), "{book}");
    let all = ["entered", "added", "delivered", "left", "killed"].map(|it| count(earlier, it));
    assert_eq!((all, &earlier["unknown"]), ([20, 20, 20, 0, 0], &0.into()));
    let hidden = command(&["audit"], folder, &[]);
    assert_eq!(hidden.status.code(), Some(69), "{}", err(&hidden));
    assert!(err(&hidden).contains("--admin-url"), "{}", err(&hidden));
    assert!(node.stop().success());
}

#[test]
fn events_that_vanish_from_the_disk_of_a_dead_node_are_missing_in_its_books() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stopped(folder, "", 20);
    segments(folder)
        .iter()
        .for_each(|it| std::fs::remove_file(it).unwrap());
    let (code, book) = dead(folder);
    assert_eq!((code, &book["difference"]), (Some(1), &20.into()), "{book}");
    let table = command(&["audit"], folder, &[]);
    assert!(err(&table).contains("20 events of"), "{}", err(&table));
    std::fs::remove_file(folder.join("books.json")).unwrap();
    assert_eq!(command(&["audit"], folder, &[]).status.code(), Some(69));
}

#[test]
fn a_node_that_was_stopped_while_it_looked_through_its_spool_has_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stopped(folder, "", 20);
    // A life that ended with 5 of the 20 found: how far one comes until a stop is not to be had at will.
    let path = folder.join("books.json");
    let mut books: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let all = books["logstores"].as_array_mut().unwrap();
    let book = all.iter_mut().find(|it| it["logstore"] == OPEN).unwrap();
    let mut earlier = book.clone();
    let more = [("lives", 1), ("killed", 0), ("left", 20), ("unknown", 15)];
    more.iter()
        .for_each(|(name, count)| earlier[*name] = (*count).into());
    book["earlier"] = earlier;
    for (name, count) in [("entered", 0), ("recovered", 5), ("waiting", 5)] {
        book[name] = count.into();
    }
    book["recovering"] = true.into();
    std::fs::write(&path, books.to_string()).unwrap();
    let (code, book) = dead(folder);
    assert_eq!((code, count(&book, "onDisk")), (Some(0), 20), "{book}");
    assert_eq!(
        (&book["difference"], &book["unknown"]),
        (&0.into(), &Value::Null)
    );
    let table = command(&["audit"], folder, &[]);
    assert!(table.status.success());
    let told = err(&table);
    assert!(told.contains("still looking through its spool"), "{told}");
    assert!(
        !told.contains("of earlier lives") && !told.contains("twice"),
        "{told}"
    );
    // The next one finds all of them.
    let mut node = start(folder);
    until("all is found", || {
        count(&audit(&node, folder).1, "recovered") == 20
    });
    let (code, book) = audit(&node, folder);
    let earlier = &book["earlier"];
    assert_eq!((code, &earlier["unknown"]), (Some(0), &0.into()), "{book}");
    assert!(node.stop().success());
}

#[test]
fn a_spool_that_is_named_in_another_way_has_the_same_books() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stopped(folder, "", 20);
    let file = folder.join("spool.ndjson");
    let file = file.to_str().unwrap();
    out(&spool(folder, "export", &["-o", file]));
    let by_relative = |word: &str, more: &[&str]| {
        let mut command = binary();
        command.args(["spool", word, "--config", "config.toml"]);
        command.args(["--spool-dir", "spool"]).args(more);
        out(&command.current_dir(folder).output().unwrap())
    };
    let of = |book: &Value| ["waiting", "onDisk"].map(|it| count(book, it));
    by_relative("purge", &[&place(), "--yes"]);
    let (code, book) = dead(folder);
    assert_eq!((code, of(&book)), (Some(0), [0, 0]), "{book}");
    by_relative("import", &[file]);
    let (code, book) = dead(folder);
    assert_eq!((code, of(&book)), (Some(0), [20, 20]), "{book}");
    let store = store();
    configure(folder, Some(&store), "");
    by_relative("drain", &[]);
    let (code, book) = dead(folder);
    assert_eq!((code, of(&book)), (Some(0), [0, 0]), "{book}");
    assert_eq!(count(&book, "delivered"), 20);
}

#[test]
fn a_start_that_fails_late_is_no_kill() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    stopped(folder, "", 20);
    let config = folder.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let short = folder.join("short");
    std::fs::write(&short, "short").unwrap();
    // It is read when all but the admin API has started.
    let token = format!("[admin]\ntoken = \"file:{}\"", short.display());
    std::fs::write(&config, text.replace("[admin]", &token)).unwrap();
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let failed = command(&["run"], folder, &listen);
    assert_eq!(failed.status.code(), Some(73), "{}", err(&failed));
    std::fs::write(&config, text).unwrap();
    let (code, book) = dead(folder);
    assert_eq!((code, &book["ended"]), (Some(0), &true.into()), "{book}");
    assert_eq!(count(&book, "entered"), 20);
}

#[test]
fn of_a_node_that_was_killed_the_books_say_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    configure(folder, None, "");
    let mut node = start(folder);
    send(&node, 0, 20);
    until("the books are written", || {
        std::fs::read_to_string(folder.join("books.json"))
            .unwrap()
            .contains("\"entered\":20")
    });
    node.signal("-KILL");
    assert!(!node.wait().success());
    // They were in memory.
    let (code, book) = dead(folder);
    assert_eq!(
        (code, &book["ended"]),
        (Some(0), &Value::Bool(false)),
        "{book}"
    );
    assert_eq!((&book["unknown"], count(&book, "onDisk")), (&20.into(), 0));
    let table = command(&["audit"], folder, &[]);
    assert!(err(&table).contains("another container"), "{}", err(&table));
    let mut node = start(folder);
    let (code, book) = audit(&node, folder);
    let earlier = &book["earlier"];
    assert_eq!((code, count(earlier, "killed")), (Some(0), 1), "{book}");
    assert_eq!(
        (count(earlier, "left"), &earlier["unknown"]),
        (20, &20.into())
    );
    assert!(node.stop().success());
}
