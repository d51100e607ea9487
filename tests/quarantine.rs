//! Events that were set aside, on the real binary: seen, replayed once the schema is mended, exported
//! and deleted; with nothing lost and nothing stored twice, over a kill.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
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
    let reloads = || tollgate.stderr().matches("identity reloaded").count();
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

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
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

    let look = |folder: &Path| {
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
        out(&files(folder, &["export", "-o", file.to_str().unwrap()]));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(lines(&std::fs::read_to_string(&file).unwrap()), kept);
        let some = ["export", "--check", "page", "--since", "2026-01-01"];
        assert_eq!(lines(&out(&files(folder, &some))), kept);
        std::fs::remove_file(file).unwrap();
    };
    look(data);
    assert!(tollgate.stop().success());
    look(data);

    // Only a running node replays.
    let dead = ["replay", "--logstore", WEB, "--config"];
    let config = data.join("config.toml");
    let config = config.to_str().unwrap();
    let refused = files(data, &[&dead[..], &[config]].concat());
    assert_eq!(refused.status.code(), Some(69), "{}", err(&refused));
    let mut tollgate = start(data, "");
    let purge = ["purge", "--logstore", WEB];
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
    let purged = files(data, &[&purge[..], &["--config", config]].concat());
    assert!(
        err(&purged).contains("deleted 2 records"),
        "{}",
        err(&purged)
    );
    let none = files(data, &["purge", "--logstore", "other", "--config", config]);
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
