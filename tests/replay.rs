//! The sample of requests, `tollgate explain` and `tollgate replay`, on the real binary.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use prost::Message as _;
use serde_json::Value;
use support::{GUARDED, OPEN, PROJECT, Tollgate, binary};
use tollgate::logstore::proto::{Log, LogGroup, log::Content};

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "event": { "const": "order" },
    "price": { "type": "number", "maximum": 100 },
    "name": { "type": "string", "maxLength": 5 }
  },
  "required": ["event"]
}"#;

/// A site with a logstore for tokens and an open one that is held to a schema.
fn config(folder: &Path, more: &str) -> String {
    let file = folder.join("order.json");
    if !file.exists() {
        std::fs::write(&file, SCHEMA).unwrap();
    }
    format!(
        r#"
[ingest]
default_project = "{PROJECT}"
refusal_delay = "0s"

[[identity.jwt]]
kid = "quickstart"
issuer = "tollgate"
audience = "tollgate"

[[schema]]
name = "order"
version = "1"
file = "{file}"
event = "order"

[[upstream]]
name = "store"
kind = "embedded"

[[limit]]
name = "few"
key = ["header:x-few"]
logstores = ["limited"]
unit = "requests"
rate = [{{ count = 2, per = "1h", burst = 2 }}]

[[project]]
name = "{PROJECT}"
upstream = "store"

[[project.logstore]]
name = "{GUARDED}"
allow_origins = ["https://shop.example.com"]

[[project.logstore]]
name = "limited"
accept = ["anonymous"]

[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
[project.logstore.schema]
use = ["order"]
event_field = "event"
on_invalid = "reject"

{more}
"#,
        file = file.display(),
    )
}

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The sample of a running node.
fn sample(tollgate: &Tollgate, more: &[&str]) -> Output {
    let mut command = binary();
    command.arg("sample").args(["--data-dir"]);
    command.arg(tollgate.data_dir());
    command.args(["--admin-url", &format!("http://{}", tollgate.admin)]);
    command.args(more).output().unwrap()
}

fn replay(config: &Path, sample: &Path, more: &[&str]) -> Output {
    let mut command = binary();
    command
        .arg("replay")
        .arg("--config")
        .arg(config)
        .arg(sample);
    command.args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = text(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn summary(output: &Output) -> Value {
    lines(output).pop().unwrap()["summary"].clone()
}

fn event(more: &str) -> String {
    format!("{{\"__logs__\":[{{\"event\":\"order\"{more}}}]}}")
}

/// Requests that end in many ways; how many, and the tokens that they held.
fn send_all_kinds(tollgate: &Tollgate) -> (usize, Vec<String>) {
    let token = tollgate.token();
    let (said, proof) = token.rsplit_once('.').unwrap();
    let forged = format!("{said}.{}", proof.chars().rev().collect::<String>());
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let shop = "Origin: https://shop.example.com\r\n";
    let mut sent = 0;
    let mut track = |logstore: &str, extra: &str, body: &str| {
        sent += 1;
        tollgate.track(logstore, extra, body).status
    };
    assert_eq!(track(GUARDED, &bearer(&token), &event("")), 200);
    assert_eq!(track(GUARDED, &(bearer(&token) + shop), &event("")), 200);
    let elsewhere = "Origin: https://evil.example\r\n";
    assert_eq!(
        track(GUARDED, &(bearer(&token) + elsewhere), &event("")),
        401
    );
    assert_eq!(track(GUARDED, &bearer(&forged), &event("")), 401);
    assert_eq!(track(GUARDED, &bearer("nonsense"), &event("")), 401);
    assert_eq!(track(GUARDED, "", &event("")), 401);
    let in_body = format!(
        "{{\"__tags__\":{{\"__token__\":\"{token}\"}},\"__logs__\":[{{\"event\":\"x\"}}]}}"
    );
    assert_eq!(track(GUARDED, "", &in_body), 200);
    assert_eq!(track(GUARDED, &bearer(&token), &in_body), 401);
    assert_eq!(track(GUARDED, &bearer(&token), "{\"__logs__\":[{"), 400);
    assert_eq!(track(OPEN, "", &event(",\"price\":5")), 200);
    assert_eq!(track(OPEN, "", &event(",\"price\":500")), 400);
    assert_eq!(
        track(OPEN, "", &event(",\"mail\":\"a.user@mail.example\"")),
        200
    );
    assert_eq!(track("nowhere", "", "{}"), 404);
    let elsewhere = support::mint(tollgate.data_dir(), OPEN);
    assert_eq!(track(GUARDED, &bearer(&elsewhere), &event("")), 401);
    let phone = event(",\"phone\":13812345678,\"card\":\"6222 0212 3456 7890 123\"");
    assert_eq!(track(OPEN, "", &phone), 200);
    for status in [200, 200, 429] {
        assert_eq!(track("limited", "x-few: a\r\n", &event("")), status);
    }
    let mut path = |target: &str| {
        sent += 1;
        tollgate.get(target).status
    };
    let of_query = format!("/logstores/{GUARDED}/track?APIVersion=0.6.0&token={token}&event=q");
    path(&of_query);
    path(&format!("/t/{token}/logstores/{GUARDED}/track?event=p"));
    assert_eq!(
        path(&format!("/logstores/{OPEN}/track?event=order&price=7")),
        200
    );
    assert_eq!(path("/nowhere"), 404);
    (sent, vec![proof.to_owned(), forged, "nonsense".to_owned()])
}

#[test]
fn a_replay_agrees_with_every_verdict_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let text_of = config(folder.path(), "[sample]\nper_second = 1000\n");
    let tollgate = Tollgate::start_config(&text_of);
    let (sent, secrets) = send_all_kinds(&tollgate);
    let kept = sample(&tollgate, &[]);
    assert_eq!(kept.status.code(), Some(0), "{}", text(&kept.stderr));
    assert_eq!(lines(&kept).len(), sent);
    let sampled = text(&kept.stdout);
    for secret in secrets.iter().chain([&"a.user@".to_owned()]) {
        assert!(!sampled.contains(secret), "{secret} in {sampled}");
    }
    let path = file(folder.path(), "sample.ndjson", &sampled);
    let same = file(folder.path(), "same.toml", &text_of);
    let replayed = replay(&same, &path, &["--format", "json"]);
    let told = text(&replayed.stdout);
    assert_eq!(replayed.status.code(), Some(0), "{told}");
    assert_eq!(summary(&replayed)["same"], sent, "{told}");
}

#[test]
fn a_replay_on_another_configuration_says_who_would_change_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let before = config(folder.path(), "[sample]\nper_second = 1000\n");
    let tollgate = Tollgate::start_config(&before);
    let (sent, _) = send_all_kinds(&tollgate);
    let path = file(
        folder.path(),
        "sample.ndjson",
        &text(&sample(&tollgate, &[]).stdout),
    );
    let changed = |name: &str, old: &str, new: &str| {
        assert!(before.contains(old), "{old}");
        let config = file(folder.path(), name, &before.replace(old, new));
        let replayed = replay(&config, &path, &["--format", "json"]);
        assert_eq!(
            replayed.status.code(),
            Some(1),
            "{}",
            text(&replayed.stderr)
        );
        let summary = summary(&replayed);
        (lines(&replayed), summary)
    };
    let is = |line: &Value, before: &str, after: &str| {
        line["before"] == before && line["after"] == after
    };
    // A key that is gone: every token that it proved is refused.
    let (told, sum) = changed("keys.toml", "kid = \"quickstart\"", "kid = \"other\"");
    assert_eq!(sum["refused"], 5, "{sum}");
    assert!(told.iter().any(|it| is(it, "taken", "token_unknown_key")));
    assert!(
        told.iter()
            .any(|it| it["credential"]["key"] == "quickstart")
    );
    // Another audience.
    let (told, _) = changed("aud.toml", "audience = \"tollgate\"", "audience = \"else\"");
    assert!(told.iter().any(|it| is(it, "taken", "token_claims")));
    // An origin is let in: the token that was not looked at cannot be judged.
    let (told, sum) = changed(
        "origin.toml",
        "https://shop.example.com",
        "https://evil.example",
    );
    assert!(told.iter().any(|it| is(it, "taken", "origin_not_allowed")));
    assert_eq!(sum["undecided"], 1, "{told:?}");
    // A stricter schema; what a limit said stays.
    let schema = SCHEMA.replace("\"maximum\": 100", "\"maximum\": 4");
    file(folder.path(), "strict.json", &schema);
    let (told, sum) = changed("schema.toml", "order.json", "strict.json");
    assert_eq!(
        (&sum["refused"], &sum["same"]),
        (&2.into(), &(sent - 2).into())
    );
    assert!(
        told[0]["message"].as_str().unwrap().contains("at most 4"),
        "{told:?}"
    );
    // Bad events are set aside in the place of a refusal.
    let (told, _) = changed(
        "aside.toml",
        "on_invalid = \"reject\"",
        "on_invalid = \"quarantine\"",
    );
    assert!(
        told.iter().any(|it| is(it, "schema_invalid", "taken")),
        "{told:?}"
    );
    // For people.
    let config = file(
        folder.path(),
        "open.toml",
        &before.replace("kid = \"quickstart\"", "kid = \"other\""),
    );
    let people = text(&replay(&config, &path, &[]).stdout);
    for part in [
        "would be refused, and were taken",
        "taken -> token_unknown_key",
        "jwt `quickstart`",
    ] {
        assert!(people.contains(part), "{people}");
    }
}

#[test]
fn the_sample_stays_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let text_of = config(
        folder.path(),
        "[sample]\nper_second = 3\nmemory = \"64KiB\"\nmax_body = \"4KiB\"\n",
    );
    let tollgate = Tollgate::start_config(&text_of);
    let begun = std::time::Instant::now();
    for number in 0..60 {
        tollgate.track(OPEN, "", event(&format!(",\"n\":{number}")));
        tollgate.track("nowhere", "", "{}");
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    let kept = lines(&sample(&tollgate, &[]));
    let of = |status: u64| {
        kept.iter()
            .filter(|it| it["verdict"]["status"] == status)
            .count()
    };
    assert!(
        (3..=3 * seconds).contains(&of(200)),
        "{} in {seconds} s",
        of(200)
    );
    assert!((1..=3 * seconds).contains(&of(404)), "{}", of(404));
    // Long bodies are left out, and said to be.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let long = event(&format!(",\"long\":\"{}\"", "x".repeat(5000)));
    assert_eq!(tollgate.track(OPEN, "", long).status, 200);
    let last = lines(&sample(&tollgate, &["-n", "1", "--reason", "none"]))
        .pop()
        .unwrap();
    assert_eq!(
        last["body"]["left_out"],
        "it is longer than sample.max_body"
    );
    // What is refused does not push out what is taken.
    let taken = lines(&sample(&tollgate, &["--reason", "none"])).len();
    let head = "x".repeat(8000);
    for _ in 0..3 {
        for _ in 0..6 {
            tollgate.track("nowhere", &format!("user-agent: {head}\r\n"), "{}");
        }
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let all = sample(&tollgate, &[]);
    assert!(all.stdout.len() <= 66 << 10, "{}", all.stdout.len());
    assert_eq!(
        lines(&sample(&tollgate, &["--reason", "none"])).len(),
        taken
    );
}

#[test]
fn no_sample_is_kept_where_none_is_wanted_and_strangers_see_none() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = Tollgate::start_config(&config(folder.path(), "[sample]\nper_second = 0\n"));
    tollgate.track(OPEN, "", event(""));
    let kept = sample(&tollgate, &[]);
    assert!(kept.status.success() && kept.stdout.is_empty());
    let head = "GET /api/v1/sample HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(support::exchange(tollgate.admin, head, b"").status, 401);
}

#[test]
fn events_of_the_sample_make_a_schema() {
    let tollgate = Tollgate::start();
    for price in [1, 2, 3] {
        tollgate.track(OPEN, "", event(&format!(",\"price\":{price}")));
    }
    let events = sample(&tollgate, &["--events"]);
    let mut infer = binary();
    infer.args(["schema", "infer", "-"]);
    let mut child = infer
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), &events.stdout).unwrap();
    let proposed: Value = {
        let output = child.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(
        proposed["properties"]["price"]["type"], "integer",
        "{proposed}"
    );
}

/// Events of every form in which clients send them.
#[test]
fn events_of_the_sample_are_those_of_all_forms_of_requests() {
    let folder = tempfile::tempdir().unwrap();
    let text_of = config(
        folder.path(),
        "[sample]\nper_second = 1000\n[limits]\nkey = \"300B\"\n",
    );
    let text_of = text_of.replace(
        "count = 2, per = \"1h\", burst = 2",
        "count = 99, per = \"1h\"",
    );
    let tollgate = Tollgate::start_config(&text_of);
    let open = "limited";
    let content = |key: &'static str, value: &'static str| Content {
        key: key.into(),
        value: value.into(),
    };
    let group = LogGroup {
        logs: vec![Log {
            time: 1,
            contents: vec![content("n", "5"), content("é", "\"")],
            time_ns: None,
        }],
        ..LogGroup::default()
    };
    tollgate.track(open, "", "{\"__logs__\":[{\"n\":1},{\"n\":2}]}");
    let post = |body: &str| {
        let head = format!(
            "POST /v1/events/{open} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        assert_eq!(tollgate.send(&head, body.as_bytes()).status, 200);
    };
    post("{\"n\":3}");
    post("{\"n\":4,\"o\":{\"a\":[1]}}\n{\"n\":4.5}\n");
    post("[{\"n\":null}]");
    let group = group.encode_to_vec();
    let head = format!(
        "POST /logstores/{open}/shards/lb HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nx-log-bodyrawsize: {0}\r\nContent-Length: {0}\r\n\r\n",
        group.len()
    );
    let answer = tollgate.send(&head, &group);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let target = format!("/logstores/{open}/track?APIVersion=0.6.0&n=6&token=x");
    tollgate.get(&target);
    tollgate.track(open, "", "no events");
    // By the limits of the configuration, which this one is beyond the usual ones of.
    let long = "k".repeat(200);
    tollgate.get(&format!(
        "/logstores/{open}/track?APIVersion=0.6.0&{long}=7"
    ));
    let file = tollgate.data_dir().join("config.toml");
    let events = [
        "--events",
        "--logstore",
        open,
        "--config",
        file.to_str().unwrap(),
    ];
    let events = sample(&tollgate, &events);
    let told = text(&events.stdout);
    let longest = format!("{{\"{long}\":\"7\"}}");
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "{\"n\":1}",
            "{\"n\":2}",
            "{\"n\":3}",
            "{\"n\":4,\"o\":{\"a\":[1]}}",
            "{\"n\":4.5}",
            "{\"n\":null}",
            "{\"n\":\"5\",\"é\":\"\\\"\"}",
            "{\"n\":\"6\"}",
            &longest,
        ],
        "{}",
        text(&events.stderr)
    );
    assert!(text(&events.stderr).contains("1 requests without events"));
}

/// What is hidden in the sample would be judged otherwise than what came.
#[test]
fn hidden_data_is_no_change() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("order.json"),
        r#"{"properties":{"mail":{"enum":["a.user@shop.example"]}}}"#,
    )
    .unwrap();
    let whole = config(folder.path(), "[sample]\nper_second = 1000\n");
    let whole = whole.replace("on_invalid = \"reject\"\n", "on_invalid = \"quarantine\"\n");
    let tollgate = Tollgate::start_config(&whole);
    let escaped = event(",\"mail\":\"a.user\\u0040shop.example\"");
    assert_eq!(tollgate.track(OPEN, "", escaped).status, 200);
    let target = format!("/logstores/{OPEN}/track?event=order&mail=a.user@shop.example&x=1*1");
    assert_eq!(tollgate.get(&target).status, 200);
    let kept = sample(&tollgate, &[]);
    assert_eq!(lines(&kept).len(), 2);
    for line in lines(&kept) {
        assert_eq!(line["hidden"], true, "{line}");
        assert!(!line.to_string().contains("a.user"), "{line}");
    }
    let path = file(folder.path(), "sample.ndjson", &text(&kept.stdout));
    let same = file(folder.path(), "same.toml", &whole);
    let replayed = replay(&same, &path, &["--format", "json"]);
    let sum = summary(&replayed);
    assert_eq!(
        (&sum["undecided"], &sum["same"]),
        (&2.into(), &0.into()),
        "{sum}"
    );
}

/// Where trials have their folders, beside the data directory.
const TRIALS: &str = "trials-of-explain";

fn explain(config: &Path, data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = binary();
    let trials = data_dir.parent().unwrap().join(TRIALS);
    std::fs::create_dir_all(&trials).unwrap();
    command.env("TMPDIR", trials);
    command.arg("explain").arg("--config").arg(config);
    command.arg("--data-dir").arg(data_dir);
    command.args(arguments).output().unwrap()
}

/// Every file below a folder, with its size and the time of its last change.
fn listing(folder: &Path) -> String {
    let mut told = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&next)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        entries.sort_by_key(std::fs::DirEntry::path);
        for entry in entries {
            let data = entry.metadata().unwrap();
            if data.is_dir() {
                folders.push(entry.path());
            }
            writeln!(
                told,
                "{:?} {} {:?}",
                entry.path(),
                data.len(),
                data.modified().unwrap()
            )
            .unwrap();
        }
    }
    told
}

#[test]
fn a_request_is_explained_stage_by_stage_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "config.toml", &config(folder.path(), ""));
    let mut tollgate = Tollgate::start_config(&config(folder.path(), ""));
    let token = tollgate.token();
    let data_dir = tollgate.data_dir().to_owned();
    assert!(tollgate.stop().success());
    let before = listing(&data_dir);
    let url = format!("http://localhost/logstores/{GUARDED}/track");
    let bearer = format!("Authorization: Bearer {token}");
    let body = event(",\"price\":3");
    let good = explain(&path, &data_dir, &[&url, "-H", &bearer, "-d", &body]);
    let told = text(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{told}{}", text(&good.stderr));
    for part in [
        "jwt `quickstart`, by authorization",
        "1 event",
        "taken: 200 OK",
        "\"price\":\"3\"",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains(&token));
    // Refused: the stage, the reason and the way out; JSON for machines.
    let open = format!("http://localhost/logstores/{OPEN}/track");
    let bad = explain(
        &path,
        &data_dir,
        &[&open, "-d", &event(",\"price\":300"), "--format", "json"],
    );
    assert_eq!(bad.status.code(), Some(1));
    let told = lines(&bad).pop().unwrap();
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&400.into(), &"schema_invalid".into())
    );
    let last = told["stages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["stage"], "quality", "{told}");
    // As it stands on the wire; at another time.
    let raw = format!(
        "POST /logstores/{GUARDED}/track HTTP/1.1\r\nHost: localhost\r\n{bearer}\r\n\r\n{body}"
    );
    let raw = file(folder.path(), "request.http", &raw);
    let raw = raw.to_str().unwrap();
    assert_eq!(explain(&path, &data_dir, &[raw]).status.code(), Some(0));
    let late = explain(&path, &data_dir, &[raw, "--at", "2099-01-01"]);
    assert!(
        text(&late.stdout).contains("token_expired"),
        "{}",
        text(&late.stdout)
    );
    // Limits are asked, and begin with nothing used each time.
    let limited = "http://localhost/logstores/limited/track";
    for _ in 0..3 {
        let arguments = [limited, "-H", "x-few: a", "-d", &event("")];
        let few = explain(&path, &data_dir, &arguments);
        let told = text(&few.stdout);
        assert!(
            told.contains("limit `few`") && told.contains("has room"),
            "{told}"
        );
    }
    assert_eq!(listing(&data_dir), before, "nothing has changed");
    let left = std::fs::read_dir(data_dir.parent().unwrap().join(TRIALS));
    assert_eq!(left.unwrap().count(), 0, "folders of trials are deleted");
}

#[test]
fn a_running_node_is_asked_what_would_become_of_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "config.toml", &config(folder.path(), ""));
    let tollgate = Tollgate::start_config(&config(folder.path(), ""));
    let there = format!("http://{}", tollgate.admin);
    let data_dir = tollgate.data_dir();
    let bearer = format!("Authorization: Bearer {}", tollgate.token());
    let url = format!("http://localhost/logstores/{GUARDED}/track");
    let (good, bad) = (event(",\"price\":3"), event(",\"price\":300"));
    let open = format!("http://localhost/logstores/{OPEN}/track");
    for (url, body, code, part) in [
        (&url, &good, 0, "taken: 200"),
        (&open, &bad, 1, "REFUSED schema_invalid"),
    ] {
        let request = [&**url, "-H", &bearer, "-d", body];
        let here = explain(&path, data_dir, &request);
        let asked = [&request[..], &["--admin", &there]].concat();
        let asked = explain(&path, data_dir, &asked);
        let told = text(&asked.stdout);
        assert_eq!(
            asked.status.code(),
            Some(code),
            "{told}{}",
            text(&asked.stderr)
        );
        assert_eq!(here.status.code(), Some(code));
        assert!(told.contains(part), "{part} in {told}");
        let json = [&request[..], &["--admin", &there, "--output", "json"]].concat();
        let json = lines(&explain(&path, data_dir, &json)).pop().unwrap();
        let here = [&request[..], &["--output", "json"]].concat();
        let here = lines(&explain(&path, data_dir, &here)).pop().unwrap();
        assert_eq!(json["status"], here["status"]);
        assert_eq!(
            json["stages"].as_array().unwrap().len(),
            here["stages"].as_array().unwrap().len()
        );
    }
    assert_eq!(tollgate.metric("tollgate_events_held"), 0);
    let accepted = tollgate.metrics();
    let accepted = accepted
        .lines()
        .filter(|it| it.starts_with("tollgate_events_accepted_total{"));
    assert!(
        accepted.clone().all(|line| line.ends_with(" 0")),
        "{accepted:?}"
    );
    let sampled = file(folder.path(), "sampled", "{\"time\":1}");
    let sampled = explain(
        &path,
        data_dir,
        &[sampled.to_str().unwrap(), "--admin", &there],
    );
    assert_eq!(sampled.status.code(), Some(2), "{}", text(&sampled.stderr));
    let wrong = explain(
        &path,
        folder.path(),
        &[&url, "-d", &good, "--admin", &there],
    );
    assert_eq!(
        wrong.status.code(),
        Some(73),
        "no token: {}",
        text(&wrong.stderr)
    );
    let large = file(folder.path(), "large", &"x".repeat(70_000));
    let large = format!("@{}", large.display());
    let large = explain(&path, data_dir, &[&url, "-d", &large, "--admin", &there]);
    assert_eq!(
        large.status.code(),
        Some(1),
        "a body past 64 KiB: {}",
        text(&large.stderr)
    );
}

#[test]
fn what_is_revoked_is_explained_so() {
    let folder = tempfile::tempdir().unwrap();
    // Where no node answers, whatever else runs on the machine.
    let nobody = "[admin]\nlisten = \"127.0.0.1:9\"\n";
    let path = file(folder.path(), "config.toml", &config(folder.path(), nobody));
    let mut tollgate = Tollgate::start_config(&config(folder.path(), ""));
    let bearer = format!("Authorization: Bearer {}", tollgate.token());
    let data_dir = tollgate.data_dir().to_owned();
    assert!(tollgate.stop().success());
    let mut revoke = binary();
    revoke
        .args(["revoke", "add", "kid", "quickstart", "--config"])
        .arg(&path);
    let revoked = revoke.arg("--data-dir").arg(&data_dir).output().unwrap();
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    let url = format!("http://localhost/logstores/{GUARDED}/track");
    let told = explain(&path, &data_dir, &[&url, "-H", &bearer, "-d", &event("")]);
    let told = text(&told.stdout);
    assert!(told.contains("credential_revoked"), "{told}");
}

#[test]
fn what_is_no_request_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "config.toml", &config(folder.path(), ""));
    for (name, content, told) in [
        ("a", "", "line 1"),
        ("b", "POST", "line 1"),
        ("c", "POST /x HTTP/1.1\nno header\n\n", "line 2"),
        ("d", "{\"id\":1}", "no line of the sample"),
        ("e", "POST x HTTP/1.1\n\n", "no path"),
    ] {
        let request = file(folder.path(), name, content);
        let output = explain(&path, folder.path(), &[request.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(
            text(&output.stderr).contains(told),
            "{}",
            text(&output.stderr)
        );
    }
    let missing = explain(&path, folder.path(), &["/nowhere/at/all"]);
    assert_eq!(missing.status.code(), Some(2));
    let sample = file(folder.path(), "sample", "{\"not\":\"one\"}\n");
    assert_eq!(replay(&path, &sample, &[]).status.code(), Some(2));
}
