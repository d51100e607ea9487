//! `--output json` of every command.

use std::path::Path;

use serde_json::Value;

use crate::support::{Data, PROJECT, Tollgate, binary};
use crate::{err, json_lines, out, run};

const WEB: &str = "web";
const HELD: &str = "held";

/// A node whose logstore `web` sets aside what has no price.
fn node() -> Tollgate {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("page.json");
    std::fs::write(&schema, r#"{"type":"object","required":["price"]}"#).unwrap();
    let config = format!(
        r#"
[admin]
listen = "127.0.0.1:1"
[ingest]
default_project = "{PROJECT}"
[sample]
per_second = 100
[[identity.jwt]]
kid = "main"
issuer = "tollgate"
audience = "tollgate"
[[limit]]
name = "door"
key = ["address"]
rate = [{{ count = 1000, per = "1s" }}]
[[schema]]
name = "page"
file = "{schema}"
[[upstream]]
name = "store"
kind = "embedded"
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{WEB}"
accept = ["anonymous"]
[[project.logstore]]
name = "{HELD}"
accept = ["anonymous"]
[project.logstore.schema]
use = ["page"]
mode = "enforce"
"#,
        schema = schema.display()
    );
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    Tollgate::start_with(Data::Own(folder), &["--config", &path])
}

/// A node that has stopped with events on disk.
fn stopped(folder: &Path) -> String {
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
[[upstream]]
name = "store"
kind = "sls"
endpoint = "http://localhost:1"
address = "127.0.0.1:1"
region = "local"
access_key_id = "nobody"
access_key_secret = "file:{secret}"
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{WEB}"
accept = ["anonymous"]
"#,
        data = folder.display(),
        secret = folder.join("secret").display(),
    );
    std::fs::write(folder.join("secret"), "of-nobody").unwrap();
    let path = folder.join("config.toml");
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let mut node = Tollgate::start_with(Data::Kept(folder.to_owned()), &["--config", &path]);
    let answer = node.track(WEB, "", r#"{"__logs__":[{"n":"1"},{"n":"2"}]}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(node.stop().success(), "{}", node.stderr());
    path
}

/// What a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One object, with these members at least.
    Object(&'static [&'static str]),
    /// An object a line, at least one, each with these members at least.
    Lines(&'static [&'static str]),
    /// The same, and there may be none.
    Any,
}

use Shape::{Any, Lines, Object};

/// Runs a command with `--output json`, and holds what it prints to its shape.
fn check(arguments: &[&str], exit: i32, shape: Shape) -> Vec<Value> {
    let output = run(&[arguments, &["--output", "json"]].concat());
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{arguments:?}\n{}\n{}",
        out(&output),
        err(&output)
    );
    let lines = json_lines(&output);
    let members: &[&str] = match shape {
        Object(members) => {
            assert_eq!(lines.len(), 1, "{arguments:?}\n{}", out(&output));
            members
        }
        Lines(members) => {
            assert!(!lines.is_empty(), "{arguments:?}\n{}", err(&output));
            members
        }
        Any => &[],
    };
    for line in &lines {
        for member in members {
            assert!(
                line.get(member).is_some(),
                "{arguments:?} has no {member}: {line}"
            );
        }
    }
    lines
}

#[test]
#[expect(clippy::too_many_lines, reason = "a row for each command")]
fn commands_without_a_node_print_json() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        at(name)
    };
    let good = write("good.toml", include_str!("../configs/valid/smallest.toml"));
    let bad = write("bad.toml", "[ingest]\nlisten = 7\n");
    check(
        &["check", "--config", &good],
        0,
        Object(&["file", "ok", "projects", "problems"]),
    );
    let found = check(&["check", "--config", &bad], 78, Object(&["problems"]));
    assert_eq!(found[0]["ok"], false);
    assert_eq!(found[0]["problems"][0]["line"], 2, "{}", found[0]);
    let pair = at("tls");
    check(
        &["cert", "self-signed", "--out", &pair],
        0,
        Object(&["cert", "key", "names", "days"]),
    );
    let policy = write(
        "policy.json",
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["log:PutLogs"],"Resource":["*"]}]}"#,
    );
    let policy = |action| {
        [
            "policy",
            "test",
            "--policy",
            &policy,
            "--action",
            action,
            "--resource",
            "x",
        ]
        .map(str::to_owned)
    };
    let test = |action, exit| {
        let words = policy(action);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        check(&words, exit, Object(&["decision", "by"]))
    };
    assert_eq!(test("log:PutLogs", 0)[0]["decision"], "allowed");
    assert_eq!(test("log:GetLogs", 1)[0]["decision"], "denied");
    let old = write(
        "old.json",
        r#"{"type":"object","properties":{"n":{"type":"number"}}}"#,
    );
    let new = write(
        "new.json",
        r#"{"type":"object","properties":{"n":{"type":"number","maximum":3}}}"#,
    );
    let events = write("events.ndjson", "{\"n\":1}\n{\"n\":7}\n{\"n\":\"x\"}\n");
    check(
        &["schema", "test", &old, &events],
        1,
        Lines(&["line", "event", "valid"]),
    );
    let diff = check(
        &["schema", "diff", &old, &new, &events],
        1,
        Object(&["changes", "events"]),
    );
    assert_eq!(diff[0]["events"]["newlyFail"], 1, "{}", diff[0]);
    let tests = write(
        "tests.toml",
        "config = \"good.toml\"\n[[test]]\nname = \"a stranger is refused\"\n[test.request]\nmethod = \"POST\"\npath = \"/logstores/nothing/track\"\nbody = \"{}\"\n[test.expect]\nstatus = 404\n",
    );
    let tested = run(&["test", &tests, "--output", "json"]);
    // The form of these files has tests of its own; here it counts that it is JSON.
    assert!(
        !json_lines(&tested).is_empty() || err(&tested).contains("{\"error\""),
        "{}",
        err(&tested)
    );
    check(
        &[
            "explain",
            "http://127.0.0.1:8080/logstores/nothing/track",
            "-d",
            "{}",
            "--data-dir",
            &at("none"),
        ],
        1,
        Object(&["status", "stages"]),
    );
    check(
        &["explain-ip", "--peer", "10.0.0.7"],
        0,
        Object(&["client", "reason"]),
    );
    let made = at("made.toml");
    check(
        &["init", &made, "--clients", "open"],
        0,
        Object(&["file", "keys", "problems", "next"]),
    );
    check(
        &["init", "-", "--clients", "open"],
        0,
        Object(&["file", "text", "keys", "problems", "next"]),
    );
    check(
        &["doctor", "--data-dir", &at("none")],
        0,
        Object(&["ok", "counts", "findings"]),
    );
    check(&["man", "--out", &at("man")], 0, Object(&["out", "pages"]));
    let old_name = run(&["explain-ip", "--peer", "10.0.0.7", "--format", "json"]);
    assert_eq!(
        json_lines(&old_name).len(),
        1,
        "the old name of the option still works"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a row for each command")]
fn commands_of_a_running_node_print_json() {
    let node = node();
    let url = format!("http://{}", node.admin);
    let data = node.data_dir().display().to_string();
    let config = node.data_dir().join("config.toml").display().to_string();
    let send = node.data_dir().join("events.ndjson").display().to_string();
    std::fs::write(&send, "{\"n\":\"1\"}\n{\"n\":\"2\"}\n").unwrap();
    let ingest = format!("http://{}", node.ingest.unwrap());
    let source = ["--config", &config, "--data-dir", &data];
    let on = |words: &[&str], exit, shape| {
        check(
            &[words, &source, &["--admin-url", &url]].concat(),
            exit,
            shape,
        )
    };
    let files = |words: &[&str], exit, shape| check(&[words, &source].concat(), exit, shape);

    let sent = files(
        &["send", &send, "--logstore", WEB, "--url", &ingest],
        0,
        Object(&["read", "accepted", "refused", "reasons", "seconds"]),
    );
    assert_eq!(sent[0]["accepted"], 2);
    let held = files(
        &["send", &send, "--logstore", HELD, "--url", &ingest],
        0,
        Object(&["read", "accepted"]),
    );
    assert_eq!(held[0]["read"], 2, "set aside is taken");
    node.events(WEB, 2);

    files(
        &["token", "mint", "--project", PROJECT, "--logstore", WEB],
        0,
        Object(&["token", "kid"]),
    );
    let made = on(
        &["ticket", "create", "--project", PROJECT, "--logstore", WEB],
        0,
        Object(&["token", "ticket"]),
    );
    let id = made[0]["ticket"]["id"].as_str().unwrap().to_owned();
    on(&["ticket", "list"], 0, Lines(&["id", "expires"]));
    on(
        &["ticket", "extend", &id, "--ttl", "2d"],
        0,
        Object(&["id", "expires"]),
    );
    on(&["ticket", "revoke", &id], 0, Object(&["kind", "value"]));
    on(
        &["revoke", "add", "session", "d-001"],
        0,
        Object(&["kind", "value"]),
    );
    on(&["revoke", "list"], 0, Lines(&["kind", "value"]));
    on(
        &["revoke", "lift", "session", "d-001"],
        0,
        Object(&["kind", "value"]),
    );
    on(&["limits"], 0, Lines(&["name", "mode"]));
    on(&["limits", "list"], 0, Lines(&["name", "mode"]));
    on(&["limits", "show", "door"], 0, Object(&["top"]));
    // One in some requests is looked at for it, so it may be empty.
    on(&["limits", "top"], 0, Any);
    let key = "address=203.0.113.7";
    let why = ["--for", "1h", "--reason", "flood"];
    on(
        &[&["limits", "ban", "door", key][..], &why].concat(),
        0,
        Object(&["limit", "key", "expires"]),
    );
    on(
        &["limits", "lift", "door", key],
        0,
        Object(&["limit", "key"]),
    );
    on(
        &[&["limits", "raise", "door", key, "--factor", "2"][..], &why].concat(),
        0,
        Object(&["factor"]),
    );
    let kept = files(
        &["quarantine", "ls", "--logstore", HELD],
        0,
        Lines(&["id", "check"]),
    );
    let id = kept[0]["id"].as_str().unwrap().to_owned();
    files(&["quarantine", "ls"], 0, Lines(&["logstore", "records"]));
    files(&["quarantine", "show", &id], 0, Object(&["id", "event"]));
    let out = node.data_dir().join("aside.ndjson").display().to_string();
    let exported = files(
        &["quarantine", "export", "--out", &out],
        0,
        Object(&["records"]),
    );
    assert_eq!(exported[0]["records"], 2);
    on(
        &["quarantine", "replay", "--logstore", HELD, "--dry-run"],
        0,
        Object(&["taken", "stillBad"]),
    );
    for (more, exit) in [(&[][..], 1), (&["--yes"][..], 0)] {
        let words = [&["quarantine", "purge", "--logstore", HELD][..], more].concat();
        on(&words, exit, Object(&["records", "bytes", "deleted"]));
    }
    on(
        &["audit"],
        0,
        Lines(&["project", "logstore", "accepted", "balanced"]),
    );
    on(&["sample"], 0, Lines(&["id", "verdict"]));
    let store = format!("http://{}", node.logstore.unwrap());
    files(
        &["tail", "--logstore", WEB, "--logstore-url", &store],
        0,
        Lines(&["n"]),
    );
    let live = [
        "replay",
        "--live",
        "--running-config",
        &config,
        "--data-dir",
        &data,
    ];
    check(
        &[&live[..], &["--config", &config, "--admin-url", &url]].concat(),
        0,
        Lines(&[]),
    );
    on(&["spool", "drain"], 0, Object(&["left", "ended"]));
    let top = on(
        &["top", "--interval", "200ms"],
        0,
        Object(&["requests", "logstores", "memory"]),
    );
    assert_eq!(top[0]["logstores"].as_array().unwrap().len(), 2);
    let doctor = [&["doctor", "--admin", &url][..], &source].concat();
    check(&doctor, 1, Object(&["findings"]));
}

#[test]
fn commands_of_a_spool_print_json() {
    let folder = tempfile::tempdir().unwrap();
    let config = stopped(folder.path());
    let place = format!("{PROJECT}/{WEB}");
    let on =
        |words: &[&str], exit, shape| check(&[words, &["--config", &config]].concat(), exit, shape);
    let listed = on(
        &["spool", "ls"],
        0,
        Lines(&["project", "logstore", "events", "bytes"]),
    );
    assert_eq!(listed[0]["events"], 2);
    on(
        &["spool", "show", &place],
        0,
        Lines(&["id", "events", "bytes"]),
    );
    on(&["spool", "verify"], 0, Any);
    let file = folder.path().join("spool.ndjson").display().to_string();
    on(
        &["spool", "export", "--out", &file],
        0,
        Object(&["events", "bundles"]),
    );
    let again = on(
        &["spool", "import", &file],
        1,
        Object(&["bundles", "known", "unusable"]),
    );
    assert_eq!(again[0]["known"], 1, "they are there already: {}", again[0]);
    on(
        &["spool", "drain", "--timeout", "1s"],
        1,
        Object(&["delivered", "left"]),
    );
    let asked = on(&["spool", "purge", &place], 1, Object(&["deleted"]));
    assert_eq!(asked[0]["deleted"], false);
    let purged = on(
        &["spool", "purge", &place, "--yes"],
        0,
        Object(&["deleted", "events"]),
    );
    assert_eq!(purged[0]["events"], 2);
}

#[test]
fn a_failure_is_one_json_object_at_the_end_of_standard_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.toml");
    std::fs::write(&path, "nonsense = 1\n").unwrap();
    let bad = path.to_str().unwrap();
    for (arguments, kind, exit) in [
        (
            vec!["audit", "--admin-url", "http://127.0.0.1:1"],
            "data_dir",
            73,
        ),
        (vec!["spool", "ls", "--config", bad], "config", 78),
        (vec!["test", "/nothing/here.toml"], "config", 78),
        (vec!["init", bad], "partial", 1),
    ] {
        let mut command = binary();
        command.current_dir(folder.path()).args(&arguments);
        let output = command.args(["--output", "json"]).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{arguments:?}\n{}",
            err(&output)
        );
        let told = err(&output);
        let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert_eq!(last["error"]["kind"], kind, "{told}");
        assert_eq!(last["error"]["exit"], exit, "{told}");
        let message = last["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty() && !message.contains('\u{1b}'), "{told}");
        assert!(out(&output).is_empty(), "{}", out(&output));
    }
}
