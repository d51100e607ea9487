//! Events that were set aside, on the real binary: seen, replayed once the schema is mended, exported
//! and deleted; with nothing lost and nothing stored twice, over a kill.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, Data, PROJECT, Tollgate, binary, exchange};

const WEB: &str = "web";
const BAD: &str = "bad-events";

/// What events are held to at first: two members that only some clients send.
const STRICT: &str = r#"{"type":"object","required":["event","price"],
    "properties":{"price":{"type":"number"},"event":{"enum":["order","click"]}}}"#;

/// A node in `folder`, which outlives it, whose logstore `web` is held to page.json there.
fn start(folder: &Path, more: &str) -> Tollgate {
    start_with(folder, "", more)
}

/// The same, with keys of the logstore as well.
fn start_with(folder: &Path, of_logstore: &str, more: &str) -> Tollgate {
    let file = folder.join("page.json");
    if !file.exists() {
        std::fs::write(&file, STRICT).unwrap();
    }
    let path = folder.join("config.toml");
    let config = format!(
        r#"
[admin]
listen = "127.0.0.1:1"
[ingest]
default_project = "{PROJECT}"
[[schema]]
name = "page"
file = "{file}"
[[upstream]]
name = "store"
kind = "embedded"
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{BAD}"
accept = ["anonymous"]
[[project.logstore]]
name = "{WEB}"
accept = ["anonymous"]
{of_logstore}
[project.logstore.schema]
use = ["page"]
mode = "enforce"
{more}
"#,
        file = file.display(),
    );
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    Tollgate::start_with(Data::Kept(folder.to_owned()), &["--config", &path])
}

/// Mends the schema of a running node.
fn mend(tollgate: &Tollgate, schema: &str) {
    let reloads = || tollgate.stderr().matches("configuration reloaded").count();
    let before = reloads();
    std::fs::write(tollgate.data_dir().join("page.json"), schema).unwrap();
    tollgate.signal("-HUP");
    until("the schema is taken over", || reloads() > before);
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A command on the files.
fn files(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.arg("quarantine").args(arguments).arg("--data-dir");
    command.arg(folder).output().unwrap()
}

/// A command to the running node.
fn node(tollgate: &Tollgate, arguments: &[&str]) -> Output {
    let url = format!("http://{}", tollgate.admin);
    let mut command = binary();
    command.arg("quarantine").args(arguments).arg("--data-dir");
    command.arg(tollgate.data_dir()).args(["--admin-url", &url]);
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn replay(tollgate: &Tollgate, more: &[&str]) -> Value {
    let mut arguments = vec!["replay", "--logstore", WEB, "--format", "json"];
    arguments.extend_from_slice(more);
    let output = node(tollgate, &arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", err(&output)))
}

fn counts(report: &Value) -> [u64; 4] {
    ["taken", "stillBad", "skipped", "left"].map(|name| report[name].as_u64().unwrap())
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The records of `web`, once there are so many.
fn records(folder: &Path, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    until("the records are written", || {
        let arguments = ["ls", "--logstore", WEB, "-n", "100000", "--format", "json"];
        found = lines(&out(&files(folder, &arguments)));
        found.len() >= count
    });
    assert_eq!(found.len(), count);
    found
}

fn send(tollgate: &Tollgate, body: &str) -> Answer {
    let answer = tollgate.track(WEB, "", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
}

fn metric(tollgate: &Tollgate, name: &str, logstore: &str, more: &str) -> u64 {
    tollgate.metric(&format!(
        "{name}{{project=\"{PROJECT}\",logstore=\"{logstore}\"{more}}}"
    ))
}

fn kill(mut tollgate: Tollgate) {
    tollgate.signal("-KILL");
    tollgate.wait();
}

#[test]
fn what_a_mended_schema_takes_is_replayed_once_and_over_a_kill_never_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let tollgate = start(data, "");
    let answer = send(
        &tollgate,
        r#"{"__topic__":"shop","__source__":"app","__tags__":{"build":"7"},"__logs__":[
        {"event":"order","price":1},
        {"event":"order","n":2,"nested":{"a":[1,null]},"flag":true},
        {"event":"click","price":"2.5"},
        {"event":"order","__time__":1000,"text":"é\u001b[31m\u009b"},
        {"event":"scroll","price":5}]}"#,
    );
    assert_eq!(answer.header("x-tollgate-quarantined-events"), Some("3"));
    let request = answer.header("x-log-requestid").unwrap();
    let quarantined = "tollgate_events_quarantined_total";
    assert_eq!(metric(&tollgate, quarantined, WEB, ",judge=\"schema\""), 3);
    let accepted =
        |tollgate: &Tollgate| metric(tollgate, "tollgate_events_accepted_total", WEB, "");
    assert_eq!(accepted(&tollgate), 2);
    assert_eq!(tollgate.events(WEB, 2).len(), 2);
    let kept = records(data, 3);
    assert_eq!(kept[0]["id"], format!("{request}-1"));
    assert_eq!(kept[0]["event"]["nested"], json!({"a": [1, null]}));

    // The schema is as it was.
    let report = replay(&tollgate, &[]);
    assert_eq!(counts(&report), [0, 3, 0, 0]);
    assert_eq!(report["still"][0]["id"], kept[0]["id"]);
    assert_eq!(report["byCheck"]["page@1"]["stillBad"], 3, "{report}");

    mend(&tollgate, &STRICT.replace(r#","price"]"#, "]"));
    assert_eq!(counts(&replay(&tollgate, &["--dry-run"])), [2, 1, 0, 0]);
    assert_eq!(
        counts(&replay(&tollgate, &["--since", "4000000000"])),
        [0; 4]
    );
    assert_eq!(counts(&replay(&tollgate, &["--check", "other"])), [0; 4]);
    assert_eq!(tollgate.events(WEB, 2).len(), 2);
    assert_eq!(counts(&replay(&tollgate, &[])), [2, 1, 0, 0]);
    let events = tollgate.events(WEB, 4);
    let order = events.iter().find(|it| it["n"] == "2").unwrap();
    for (name, value) in [
        ("nested", r#"{"a":[1,null]}"#),
        ("flag", "true"),
        ("__topic__", "shop"),
        ("__source__", "app"),
        ("__tag__:build", "7"),
        ("__tag__:__client_ip__", "127.0.0.1"),
    ] {
        assert_eq!(order[name], value, "{order}");
    }
    let timed = events.iter().find(|it| it["text"].is_string()).unwrap();
    assert_eq!(timed["__client_time__"], "1000", "{timed}");
    assert_eq!(timed["__time__"], order["__time__"], "the time of receipt");

    assert_eq!(counts(&replay(&tollgate, &[])), [0, 1, 2, 0]);
    assert_eq!(accepted(&tollgate), 4);
    let replayed = "tollgate_quarantine_replayed_records_total";
    assert_eq!(tollgate.metric(replayed), 2);
    kill(tollgate);

    // What was kept is kept, and what was replayed is known.
    let tollgate = start(data, "");
    assert_eq!(records(data, 3), kept);
    assert_eq!(counts(&replay(&tollgate, &[])), [0, 1, 2, 0]);
    assert_eq!(tollgate.events(WEB, 4).len(), 4);
    mend(&tollgate, "true");
    assert_eq!(counts(&replay(&tollgate, &[])), [1, 0, 2, 0]);
    assert_eq!(tollgate.events(WEB, 5).len(), 5);

    // One of them once more, on purpose; never all of them.
    let id = kept[0]["id"].as_str().unwrap();
    assert_eq!(counts(&replay(&tollgate, &["--again", id])), [1, 0, 0, 0]);
    assert_eq!(tollgate.events(WEB, 6).len(), 6);
    assert_eq!(counts(&replay(&tollgate, &[id])), [0, 0, 1, 0]);
    let all = node(&tollgate, &["replay", "--logstore", WEB, "--again"]);
    assert_eq!(all.status.code(), Some(2), "{}", err(&all));
    let missing = node(&tollgate, &["replay", "--logstore", WEB, "none"]);
    assert_eq!(missing.status.code(), Some(1), "{}", err(&missing));
    let unknown = node(&tollgate, &["replay", "--logstore", "other"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", err(&unknown));
}

/// What the commands show of these records, which are those of the test below.
fn look(folder: &Path, kept: &[Value]) {
    let id = kept[0]["id"].as_str().unwrap();
    let table = out(&files(folder, &["ls"]));
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().take(7).collect())
        .collect();
    assert_eq!(
        rows[1],
        [PROJECT, WEB, "schema", "page@1", "enum", "1", "0"]
    );
    assert_eq!(
        rows[2],
        [PROJECT, WEB, "schema", "page@1", "required", "3", "0"]
    );
    let last = out(&files(folder, &["ls", "--logstore", WEB, "-n", "1"]));
    assert_eq!(last.lines().count(), 2, "{last}");
    assert!(last.contains("/event: "), "{last}");
    let none = out(&files(folder, &["ls", "-n", "9", "--cause", "guard"]));
    assert_eq!(none, "");
    let shown = out(&files(folder, &["show", id]));
    assert!(shown.lines().count() > 10, "{shown}");
    let harmless = |c: char| c == '\n' || (!c.is_control() && c != '\u{202e}');
    assert!(shown.chars().all(harmless), "{shown:?}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["event"], kept[0]["event"]);
    assert_eq!(shown["event"]["text"], "a\u{9b}b\u{202e}c\u{1b}\n");
    assert_eq!(shown["project"], PROJECT);
    let missing = files(folder, &["show", "none"]);
    assert_eq!(missing.status.code(), Some(1));
    let file = folder.join("out.ndjson");
    // One that anyone could read is so no more.
    std::fs::write(&file, "before").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    out(&files(folder, &["export", "-o", file.to_str().unwrap()]));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(lines(&std::fs::read_to_string(&file).unwrap()), kept);
    let some = ["export", "--check", "page", "--since", "2026-01-01"];
    assert_eq!(lines(&out(&files(folder, &some))), kept);
    std::fs::remove_file(file).unwrap();
}

/// The same by the admin API: what the commands show of the files, they show of a node.
fn look_there(tollgate: &Tollgate, kept: &[Value]) {
    let data = tollgate.data_dir();
    let id = kept[0]["id"].as_str().unwrap();
    for arguments in [
        &["ls"][..],
        &["ls", "--output", "json"],
        &["ls", "--logstore", WEB, "-n", "2"],
        &["ls", "-n", "9", "--check", "page@1", "--output", "json"],
        &["ls", "-n", "9", "--cause", "guard"],
        &["show", id],
        &["export"],
        &["export", "--since", "2099-01-01"],
    ] {
        let (there, here) = (node(tollgate, arguments), files(data, arguments));
        assert_eq!(out(&there), out(&here), "{arguments:?}");
    }
    let missing = node(tollgate, &["show", "none"]);
    assert_eq!(missing.status.code(), Some(1));
    let nobody = tempfile::tempdir().unwrap();
    let mut other = binary();
    other
        .args(["quarantine", "ls", "--data-dir"])
        .arg(nobody.path());
    other.args(["--admin-url", &format!("http://{}", tollgate.admin)]);
    assert_eq!(other.output().unwrap().status.code(), Some(73), "no token");
}

/// A call of the admin API.
fn get(tollgate: &Tollgate, path: &str) -> Answer {
    let key = std::fs::read_to_string(tollgate.data_dir().join("keys/admin.key")).unwrap();
    let head = format!(
        "GET /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        key.trim()
    );
    exchange(tollgate.admin, &head, b"")
}

#[test]
fn the_api_shows_records_in_pages_that_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), "");
    let none = get(&tollgate, "quarantine");
    assert_eq!((none.status, none.json()), (200, json!({"places": []})));
    let place = format!("quarantine/{PROJECT}/{WEB}");
    assert_eq!(get(&tollgate, &place).status, 404, "nothing was set aside");
    // Ten megabytes and more: a page holds no more than four.
    let long = "x".repeat(300_000);
    for n in 0..36 {
        let body = format!(r#"{{"__logs__":[{{"event":"order","n":{n},"long":"{long}"}}]}}"#);
        send(&tollgate, &body);
    }
    let kept = records(folder.path(), 36);
    let read = |query: &str| {
        let (mut pages, mut ids, mut cursor) = (0, Vec::new(), String::new());
        loop {
            let answer = get(&tollgate, &format!("{place}?{query}{cursor}"));
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(answer.body.len() < 5 << 20);
            let page = answer.json();
            let records = page["records"].as_array().unwrap();
            ids.extend(records.iter().map(|it| it["record"]["id"].clone()));
            pages += 1;
            let Some(next) = page["next"].as_str() else {
                return (pages, ids);
            };
            cursor = format!("&cursor={next}");
        }
    };
    let all: Vec<Value> = kept.iter().map(|it| it["id"].clone()).collect();
    let (pages, ids) = read("limit=500");
    assert_eq!(ids, all);
    assert!(pages >= 3, "{pages}");
    let (pages, ids) = read("limit=10");
    assert_eq!((pages >= 4, ids), (true, all.clone()));
    let one = all[30].as_str().unwrap();
    assert_eq!(read(&format!("id={one}")).1, [all[30].clone()]);
    assert_eq!(read("check=page").1, all);
    assert_eq!(read("cause=guard").1, Vec::<Value>::new());
    let places = get(&tollgate, "quarantine").json();
    assert_eq!(places["places"][0]["logstore"], WEB);
    assert!(places["places"][0]["bytes"].as_u64().unwrap() > 10 << 20);
    for (path, status) in [
        (format!("{place}?cursor=here"), 400),
        (format!("{place}?cursor=99:0"), 200),
        (format!("{place}?cause=whim"), 400),
        (format!("{place}?since=now"), 400),
        ("quarantine?cursor=web".to_owned(), 400),
        (format!("quarantine/..%2F..%2F/{WEB}"), 404),
        (format!("quarantine/{PROJECT}/..%2Fkeys"), 404),
    ] {
        let answer = get(&tollgate, &path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    // A name that is none is told apart from a logstore of which nothing was set aside.
    let typo = node(&tollgate, &["export", "--logstore", "wep"]);
    assert_eq!(typo.status.code(), Some(1));
    let told = String::from_utf8(typo.stderr).unwrap();
    assert!(told.contains("there is no logstore wep"), "{told}");
    let empty = out(&node(&tollgate, &["export", "--logstore", BAD]));
    assert_eq!(empty, "");
    let config = folder.path().join("config.toml");
    let by_config = |logstore: &str| {
        let mut command = binary();
        command.args(["quarantine", "export", "--logstore", logstore, "--config"]);
        command.arg(&config).arg("--data-dir").arg(folder.path());
        command.output().unwrap().status.code()
    };
    assert_eq!((by_config("wep"), by_config(BAD)), (Some(1), Some(0)));
    // Commands show records that are longer than a page of theirs.
    let whole = node(&tollgate, &["export"]);
    assert_eq!(lines(&out(&whole)), kept);
}

#[test]
fn records_are_seen_exported_and_deleted_on_a_live_node_and_on_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut tollgate = start(data, "");
    send(
        &tollgate,
        r#"{"__logs__":[{"event":"order","text":"a\u009bb\u202ec\u001b\n"},{"price":1},{"price":2}]}"#,
    );
    send(&tollgate, r#"{"__logs__":[{"event":"other","price":1}]}"#);
    let kept = records(data, 4);
    let id = kept[0]["id"].as_str().unwrap();

    look(data, &kept);
    look_there(&tollgate, &kept);
    assert!(tollgate.stop().success());
    look(data, &kept);

    // Only a running node replays.
    let dead = ["replay", "--logstore", WEB, "--config"];
    let config = data.join("config.toml");
    let config = config.to_str().unwrap();
    let refused = files(data, &[&dead[..], &[config]].concat());
    assert_eq!(refused.status.code(), Some(69), "{}", err(&refused));
    let mut tollgate = start(data, "");
    let purge = ["purge", "--logstore", WEB, "--yes"];
    let held = files(data, &[&purge[..], &["--config", config]].concat());
    assert_eq!(
        held.status.code(),
        Some(73),
        "the node holds them: {}",
        err(&held)
    );
    mend(&tollgate, "true");
    assert_eq!(counts(&replay(&tollgate, &[id])), [1, 0, 0, 0]);
    assert_eq!(lines(&out(&files(data, &["export"]))).len(), 3);
    assert_eq!(lines(&out(&files(data, &["export", "--replayed"]))), kept);
    let purged = node(&tollgate, &purge);
    assert!(
        err(&purged).contains("deleted 4 records"),
        "{}",
        err(&purged)
    );
    assert_eq!(out(&files(data, &["ls"])), "");
    assert_eq!(counts(&replay(&tollgate, &[])), [0; 4]);
    assert_eq!(tollgate.metric("tollgate_quarantine_bytes"), 0);
    assert_eq!(tollgate.events(WEB, 1).len(), 1);

    // On a node that does not run the files are deleted.
    mend(&tollgate, STRICT);
    send(&tollgate, r#"{"__logs__":[{"x":1},{"x":2}]}"#);
    assert!(tollgate.stop().success(), "what waits is written by then");
    // Without --yes they are counted, and stay.
    let asked = ["purge", "--logstore", WEB, "--config", config];
    for _ in 0..2 {
        let asked = files(data, &asked);
        assert_eq!(asked.status.code(), Some(1), "{}", err(&asked));
        let told = err(&asked);
        assert!(
            told.contains("2 records of") && told.contains("--yes"),
            "{told}"
        );
    }
    let purged = files(data, &[&purge[..], &["--config", config]].concat());
    assert!(
        err(&purged).contains("deleted 2 records"),
        "{}",
        err(&purged)
    );
    let other = ["purge", "--logstore", "other", "--yes", "--config", config];
    let none = files(data, &other);
    assert_eq!(none.status.code(), Some(1), "{}", err(&none));
}

#[test]
fn a_replay_passes_by_guards_and_steps_and_takes_no_event_that_came_another_way() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let tollgate = start(
        data,
        r#"
[project.logstore.guards]
reserved_prefixes = ["sys_"]
dedup = { fields = ["id"] }
[[project.logstore.transform]]
type = "remove"
fields = ["secret"]
"#,
    );
    send(
        &tollgate,
        r#"{"__logs__":[
        {"id":"1","event":"order","secret":"x"},
        {"id":"1","event":"order","secret":"y"},
        {"id":"2","event":"order"},
        {"id":"3","event":"order","sys_x":1},
        {"id":"4","event":"order","price":1,"sys_y":1}]}"#,
    );
    records(data, 5);
    mend(&tollgate, "true");
    // The client has sent one of them anew meanwhile.
    send(
        &tollgate,
        r#"{"__logs__":[{"id":"2","event":"order","price":9}]}"#,
    );
    let report = replay(&tollgate, &[]);
    assert_eq!(counts(&report), [1, 2, 0, 0], "{report}");
    assert_eq!(report["duplicates"], 2, "{report}");
    assert_eq!(
        report["byCheck"]["reserved_prefixes"]["stillBad"], 1,
        "{report}"
    );
    let events = tollgate.events(WEB, 2);
    assert!(
        events.iter().all(|event| event["secret"].is_null()),
        "{events:?}"
    );
    assert_eq!(counts(&replay(&tollgate, &[])), [0, 2, 3, 0]);
}

#[test]
fn what_a_step_set_aside_goes_where_the_steps_say_now() {
    let folder = tempfile::tempdir().unwrap();
    let steps = format!(
        r#"
[[project.logstore.transform]]
type = "parse_json"
field = "detail"
on_error = "quarantine"
[[project.logstore.transform]]
type = "route"
logstore = "{BAD}"
when = {{ field = "event", equals = "click" }}
[[project.logstore.transform]]
type = "sample"
percent = 0
when = {{ field = "noise", exists = true }}
"#
    );
    let tollgate = start(folder.path(), &steps);
    send(
        &tollgate,
        r#"{"__logs__":[{"event":"order","price":"1","detail":"{"},{"event":"click","price":"2","detail":"["},
        {"event":"order","n":3,"noise":1}]}"#,
    );
    let kept = records(folder.path(), 3);
    let causes: Vec<&Value> = kept.iter().map(|record| &record["cause"]).collect();
    assert_eq!(causes, ["schema", "transform", "transform"]);
    let report = replay(&tollgate, &["--cause", "transform"]);
    assert_eq!(counts(&report), [0, 2, 0, 0], "{report}");
    assert_eq!(
        report["still"][0]["why"], "parse_json_0: not_json",
        "{report}"
    );
    let config = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace("on_error = \"quarantine\"", "on_error = \"keep\"");
    std::fs::write(&config, text).unwrap();
    mend(&tollgate, "true");
    let report = replay(&tollgate, &[]);
    assert_eq!(counts(&report), [2, 0, 0, 0], "{report}");
    assert_eq!(report["leftOut"], 1, "{report}");
    assert_eq!(tollgate.events(WEB, 1)[0]["detail"], "{");
    assert_eq!(tollgate.events(BAD, 1)[0]["detail"], "[");
    let accepted = |logstore| metric(&tollgate, "tollgate_events_accepted_total", logstore, "");
    assert_eq!((accepted(WEB), accepted(BAD)), (1, 1));
    assert_eq!(counts(&replay(&tollgate, &[])), [0, 0, 3, 0]);
}

#[test]
fn a_disk_that_takes_nothing_loses_nothing_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut tollgate = start(data, "[delivery]\nstop_deadline = \"1s\"\n");
    send(&tollgate, r#"{"__logs__":[{"n":1}]}"#);
    records(data, 1);
    mend(&tollgate, "true");
    // What cannot be noted is not stored.
    let of_web = data.join("quarantine").join(PROJECT).join(WEB);
    std::fs::create_dir(of_web.join("replayed")).unwrap();
    let failed = node(&tollgate, &["replay", "--logstore", WEB]);
    assert_eq!(failed.status.code(), Some(69), "{}", err(&failed));
    std::fs::remove_dir(of_web.join("replayed")).unwrap();
    assert_eq!(counts(&replay(&tollgate, &[])), [1, 0, 0, 0]);
    assert_eq!(tollgate.events(WEB, 1).len(), 1);
    // What cannot be written when the process stops is told, and by the exit code.
    mend(&tollgate, STRICT);
    let purged = node(&tollgate, &["purge", "--logstore", WEB, "--yes"]);
    assert!(purged.status.success(), "{}", err(&purged));
    std::fs::remove_dir(&of_web).unwrap();
    std::fs::write(&of_web, "no folder").unwrap();
    send(&tollgate, r#"{"__logs__":[{"n":2}]}"#);
    until("the write fails", || {
        tollgate.metric("tollgate_quarantine_write_errors_total") > 0
    });
    assert_eq!(tollgate.stop().code(), Some(75), "{}", tollgate.stderr());
    let told = tollgate.stderr();
    assert!(told.contains("set aside and are not on disk"), "{told}");
}

#[test]
fn an_answer_from_disk_waits_until_what_is_set_aside_is_synced() {
    for ack in ["disk", "logstore"] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let ack = format!("ack = \"{ack}\"");
        let tollgate = start_with(data, &ack, "[delivery]\nack_timeout = \"3s\"\n");
        // A file where the quarantine wants a folder: no record can be written.
        let of_web = data.join("quarantine").join(PROJECT).join(WEB);
        std::fs::create_dir_all(of_web.parent().unwrap()).unwrap();
        std::fs::write(&of_web, "in the way").unwrap();
        let body = |n: u32| {
            let good = format!("{{\"event\":\"click\",\"price\":{n}}}");
            format!("{{\"__logs__\":[{{\"n\":{n}}},{good}]}}")
        };
        let (status, _, reason) = tollgate.track(WEB, "", body(1)).refusal();
        assert_eq!((status, reason.as_str()), (503, "quarantine_full"), "{ack}");
        std::fs::remove_file(&of_web).unwrap();
        assert_eq!(
            send(&tollgate, &body(2)).header("x-tollgate-quarantined-events"),
            Some("1")
        );
        // From the moment of the answer on.
        kill(tollgate);
        let mut kept: Vec<u64> = records(data, 2)
            .iter()
            .map(|it| it["event"]["n"].as_u64().unwrap())
            .collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 2], "{ack}");
    }
}

#[test]
fn what_we_gave_an_event_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let address = "[[project.logstore]]\nname = \"field\"\naccept = [\"anonymous\"]\nclient_address = \"field\"\n";
    let quality = "[project.logstore.guards]\nreserved_prefixes = [\"sys_\"]\n";
    let tollgate = start(folder.path(), &format!("{address}{quality}"));
    let answer = tollgate.track(
        "field",
        "",
        r#"{"__logs__":[{"sys_a":1,"__time__":5,"__client_time__":"forged","__tag__:x":"forged"}]}"#,
    );
    assert_eq!(answer.header("x-tollgate-quarantined-events"), Some("1"));
    let list = ["ls", "--logstore", "field", "--format", "json"];
    let mut record = Value::Null;
    until("the record is written", || {
        let all = lines(&out(&files(folder.path(), &list)));
        record = all.into_iter().next().unwrap_or_default();
        record.is_object()
    });
    assert_eq!(
        record["attached"],
        json!({"__client_time__": "5", "__tag__:__client_ip__": "127.0.0.1"})
    );
    assert_eq!(record["event"]["sys_a"], "1", "guards see texts");
    let config = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("sys_", "other_")).unwrap();
    mend(&tollgate, STRICT);
    let report = node(&tollgate, &["replay", "--logstore", "field"]);
    assert!(out(&report).contains("1  taken"), "{}", out(&report));
    let event = &tollgate.events("field", 1)[0];
    assert_eq!(event["__client_time__"], "5", "{event}");
    assert_eq!(event["__tag__:__client_ip__"], "127.0.0.1", "{event}");
    assert_eq!(event["__time__"], record["received"], "{event}");
}

#[test]
fn many_replays_at_once_store_each_event_once_in_as_many_calls_as_it_takes() {
    const EVENTS: usize = 10_500;
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), "");
    let numbers: Vec<String> = (0..EVENTS).map(|n| format!("{{\"n\":{n}}}")).collect();
    for part in numbers.chunks(500) {
        let body = format!("{{\"__logs__\":[{}]}}", part.join(","));
        until("there is room", || {
            tollgate.track(WEB, "", &body).status == 200
        });
    }
    records(folder.path(), EVENTS);
    mend(&tollgate, "true");
    let all = ["replay", "--logstore", WEB, "--format", "json"];
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let output = node(&tollgate, &all);
                // Who comes while another runs is told so.
                let told = err(&output);
                assert!(
                    output.status.success() || told.contains("another replay"),
                    "{told}"
                );
            });
        }
    });
    let mut rest = [0; 4];
    until("the last one has run", || {
        rest = counts(&replay(&tollgate, &[]));
        rest[3] == 0
    });
    assert_eq!((rest[1], rest[0] + rest[2]), (0, EVENTS as u64));
    let mut found: Vec<usize> = tollgate
        .events(WEB, EVENTS)
        .iter()
        .map(|event| event["n"].as_str().unwrap().parse().unwrap())
        .collect();
    found.sort_unstable();
    assert!(found.into_iter().eq(0..EVENTS));
    let replayed = "tollgate_quarantine_replayed_records_total";
    assert_eq!(tollgate.metric(replayed), EVENTS as u64);
}

#[test]
fn a_replay_that_finds_no_room_stops_and_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    // Batches that stay: what is taken holds its memory.
    let tollgate = start(
        data,
        r#"
[batch]
max_age = "3s"
max_bytes = "1900KiB"
[limits]
body = "256KiB"
memory = "4MiB"
"#,
    );
    let value = "v".repeat(100_000);
    for number in 0..40 {
        let body = format!("{{\"__logs__\":[{{\"n\":{number},\"v\":\"{value}\"}}]}}");
        until("there is room", || {
            tollgate.track(WEB, "", &body).status == 200
        });
    }
    records(data, 40);
    mend(&tollgate, "true");
    let mut taken = 0;
    let mut stopped = 0;
    until("all of them are taken", || {
        let report = replay(&tollgate, &[]);
        let [now, bad, skipped, left] = counts(&report);
        assert_eq!(
            (bad, skipped, now + left),
            (0, taken, 40 - taken),
            "{report}"
        );
        taken += now;
        stopped += u64::from(report["stopped"].is_string());
        left == 0
    });
    assert!(stopped > 0, "they never had room at once");
    let mut numbers: Vec<u64> = tollgate
        .events(WEB, 40)
        .iter()
        .map(|event| event["n"].as_str().unwrap().parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..40));
}

#[test]
fn what_is_set_aside_in_a_logstore_stands_there_with_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let aside = format!("[project.logstore.quarantine]\nlogstore = \"{BAD}\"\n");
    let tollgate = start(folder.path(), &aside);
    let answer = send(
        &tollgate,
        r#"{"__logs__":[{"event":"order","n":1},{"event":"order","price":1},{"price":2}]}"#,
    );
    assert_eq!(answer.header("x-tollgate-quarantined-events"), Some("2"));
    assert_eq!(tollgate.events(WEB, 1).len(), 1);
    let bad = tollgate.events(BAD, 2);
    for (event, place) in bad.iter().zip([0, 2]) {
        assert_eq!(event["logstore"], WEB);
        assert_eq!(
            (&event["cause"], &event["check"]),
            (&json!("schema"), &json!("page@1"))
        );
        let record: Value = serde_json::from_str(event["record"].as_str().unwrap()).unwrap();
        let request = answer.header("x-log-requestid").unwrap();
        assert_eq!(record["id"], format!("{request}-{place}"));
        assert_eq!(record["violations"][0]["keyword"], "required");
    }
    assert_eq!(
        metric(&tollgate, "tollgate_events_accepted_total", BAD, ""),
        2
    );
    assert_eq!(out(&files(folder.path(), &["ls"])), "");
}

#[test]
fn the_api_refuses_what_it_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), "");
    let key = std::fs::read_to_string(folder.path().join("keys/admin.key")).unwrap();
    let post = |path: &str, body: &Value| {
        let body = body.to_string();
        let head = format!(
            "POST /api/v1/quarantine/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            key.trim(),
            body.len()
        );
        exchange(tollgate.admin, &head, body.as_bytes()).status
    };
    let order = json!({"project": PROJECT, "logstore": WEB});
    assert_eq!(post("replay", &order), 200);
    assert_eq!(post("purge", &order), 404, "nothing was set aside");
    for (member, value) in [
        ("again", json!(true)),
        ("from", json!("here")),
        ("logstore", json!("../x")),
        ("file", json!("/etc/passwd")),
        ("only", json!({"cause": "whim"})),
    ] {
        let mut wrong = order.clone();
        wrong[member] = value;
        assert_eq!(post("replay", &wrong), 400, "{wrong}");
    }
    let denied =
        "POST /api/v1/quarantine/purge HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(exchange(tollgate.admin, denied, b"").status, 401);
}

/// The address is not kept; still a replayed event is told to be of the sender who has sent it again.
#[test]
fn a_replay_knows_the_sender_of_an_event_without_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let guards = "[project.logstore.guards]\ndedup = { fields = [\"id\"], per_sender = true }\n";
    let tollgate = start_with(data, "client_address = \"off\"", guards);
    send(
        &tollgate,
        r#"{"__logs__":[{"id":"1","event":"order"},{"id":"2","event":"order"}]}"#,
    );
    for record in records(data, 2) {
        assert_eq!(record["sender"].as_str().unwrap().len(), 16, "{record}");
    }
    mend(&tollgate, "true");
    send(
        &tollgate,
        r#"{"__logs__":[{"id":"1","event":"order","price":9}]}"#,
    );
    let report = replay(&tollgate, &[]);
    assert_eq!(counts(&report), [1, 0, 0, 0], "{report}");
    assert_eq!(report["duplicates"], 1, "{report}");
    tollgate.events(WEB, 2);
}

/// A request that was sent twice is stored once, as it would have been, and events that are alike in
/// one request are different events.
#[test]
fn whole_events_that_came_twice_are_replayed_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let guards = "[project.logstore.guards]\ndedup = { ignore_time = true }\n";
    let tollgate = start_with(data, "client_address = \"off\"", guards);
    let body = r#"{"__tags__":{"b":"1","a":"2"},"__logs__":[
        {"event":"order","n":"1"},{"event":"order","n":"1"},{"event":"order","n":"2"}]}"#;
    send(&tollgate, body);
    send(&tollgate, body);
    records(data, 6);
    mend(&tollgate, "true");
    let report = replay(&tollgate, &["--dry-run"]);
    assert_eq!(report["duplicates"], 3, "{report}");
    let report = replay(&tollgate, &[]);
    assert_eq!(counts(&report), [3, 0, 0, 0], "{report}");
    assert_eq!(report["duplicates"], 3, "{report}");
    // And the client's third copy is known too.
    send(&tollgate, body);
    assert_eq!(tollgate.events(WEB, 3).len(), 3);
    assert_eq!(
        metric(&tollgate, "tollgate_events_duplicate_total", WEB, ""),
        3
    );
}

/// Also beyond the events that a refusal would tell of.
#[test]
fn every_record_says_why_when_a_repair_fails() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let rules = "on_invalid = \"repair\"\nrepair = [\"truncate\"]\nunrepaired = \"quarantine\"\n";
    let tollgate = start(data, rules);
    let events = vec![r#"{"event":"order"}"#; 40].join(",");
    send(&tollgate, &format!("{{\"__logs__\":[{events}]}}"));
    for record in records(data, 40) {
        assert_eq!(record["violations"][0]["keyword"], "required", "{record}");
    }
}

/// A record that stands twice in its file is one event.
#[test]
fn a_record_that_stands_twice_is_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let tollgate = start(data, "");
    send(&tollgate, r#"{"__logs__":[{"event":"order"}]}"#);
    records(data, 1);
    kill(tollgate);
    let kept = data.join("quarantine").join(PROJECT).join(WEB);
    for file in std::fs::read_dir(kept).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.repeat(2)).unwrap();
    }
    std::fs::write(data.join("page.json"), "true").unwrap();
    let tollgate = start(data, "");
    let report = replay(&tollgate, &[]);
    assert_eq!(counts(&report), [1, 0, 1, 0], "{report}");
    assert_eq!(tollgate.events(WEB, 1).len(), 1);
}
