//! Living with limits, on the real binary: bans and raises by the commands and the admin API, what
//! is kept over a kill, and reloads.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, Data, OPEN, PROJECT, Tollgate, binary, exchange};

const ONE: &str = r#"{"__logs__":[{"k":"v"}]}"#;

fn config(limits: &str) -> String {
    format!(
        r#"
[admin]
listen = "127.0.0.1:1"
[ingest]
refusal_delay = "0s"
default_project = "{PROJECT}"
[[upstream]]
name = "store"
kind = "embedded"
[[project]]
name = "{PROJECT}"
upstream = "store"
[[project.logstore]]
name = "{OPEN}"
accept = ["anonymous"]
{limits}
"#
    )
}

const SMALL: &str = r#"
[[limit]]
name = "per-small"
key = ["address"]
[[limit.rate]]
count = 2
per = "1h"
"#;

fn daily(count: u64, interval: &str) -> String {
    format!(
        r#"
[quota]
save_interval = "{interval}"
[[limit]]
name = "monthly"
key = ["address"]
[[limit.rate]]
count = 1000
per = "1s"
[[limit.budget]]
count = {count}
per = "month"
"#
    )
}

/// A node on a configuration in `folder`, which outlives it.
fn start(folder: &Path, limits: &str) -> Tollgate {
    let path = folder.join("config.toml");
    std::fs::write(&path, config(limits)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    Tollgate::start_with(Data::Kept(folder.to_owned()), &["--config", &path])
}

/// `None`: taken. Else why it was refused.
fn refused(tollgate: &Tollgate) -> Option<String> {
    let answer = tollgate.track(OPEN, "", ONE);
    if answer.status == 200 {
        return None;
    }
    let reason = answer.header("x-tollgate-reason");
    Some(reason.map_or_else(|| format!("{answer:?}"), str::to_owned))
}

fn passed(tollgate: &Tollgate, count: usize) -> usize {
    (0..count).filter(|_| refused(tollgate).is_none()).count()
}

fn command(tollgate: &Tollgate, arguments: &[&str]) -> Output {
    let url = format!("http://{}", tollgate.admin);
    let mut command = binary();
    command.arg("limits").args(arguments).arg("--data-dir");
    command.arg(tollgate.data_dir()).args(["--admin-url", &url]);
    command.output().unwrap()
}

fn on_files(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = binary();
    command.arg("limits").args(arguments).arg("--data-dir");
    command.arg(folder).arg("--config");
    command.arg(folder.join("config.toml")).output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", err(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn api(tollgate: &Tollgate, method: &str, path: &str, body: &Value) -> Answer {
    let key = tollgate.data_dir().join("keys/admin.key");
    let token = std::fs::read_to_string(key).unwrap();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let head = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        tollgate.admin,
        token.trim(),
        body.len()
    );
    exchange(tollgate.admin, &head, body.as_bytes())
}

fn kill(mut tollgate: Tollgate) {
    tollgate.signal("-KILL");
    tollgate.wait();
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const HERE: &str = "address=127.0.0.1";

#[test]
fn a_ban_holds_from_the_next_request_on_and_over_a_kill_until_it_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), SMALL);
    assert_eq!(refused(&tollgate), None);
    let ban = [
        "ban",
        "per-small",
        HERE,
        "--for",
        "1h",
        "--reason",
        "a flood",
    ];
    let banned = command(&tollgate, &ban);
    out(&banned);
    assert!(err(&banned).contains("banned until"), "{}", err(&banned));
    assert_eq!(refused(&tollgate).as_deref(), Some("banned"));
    let other = [
        "ban",
        "per-small",
        "address=::1",
        "--for",
        "1h",
        "--reason",
        "x",
    ];
    out(&command(&tollgate, &other));
    kill(tollgate);
    let tollgate = start(folder.path(), SMALL);
    assert_eq!(refused(&tollgate).as_deref(), Some("banned"));
    let shown = out(&command(&tollgate, &["show", "per-small"]));
    assert!(
        shown.contains("banned until") && shown.contains("a flood"),
        "{shown}"
    );
    assert_eq!(
        tollgate.metric(r#"tollgate_limit_overrides{change="ban"}"#),
        2
    );
    assert!(tollgate.metric(r#"tollgate_limit_banned_total{limit="per-small"}"#) >= 1);
    out(&command(&tollgate, &["lift", "per-small", HERE]));
    assert_eq!(refused(&tollgate), None);
    let again = command(&tollgate, &["lift", "per-small", HERE]);
    assert_eq!(again.status.code(), Some(1), "{}", err(&again));
    kill(tollgate);
    let tollgate = start(folder.path(), SMALL);
    assert_eq!(refused(&tollgate), None, "what was lifted stays lifted");
}

#[test]
fn a_raise_lasts_as_long_as_it_was_made_for() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), SMALL);
    assert_eq!(passed(&tollgate, 3), 2);
    let raise = |span| {
        let arguments = [
            "raise",
            "per-small",
            HERE,
            "--factor",
            "10",
            "--for",
            span,
            "--reason",
            "x",
        ];
        out(&command(&tollgate, &arguments));
    };
    raise("1h");
    assert_eq!(passed(&tollgate, 25), 18, "two of twenty were used before");
    let shown = out(&command(
        &tollgate,
        &["show", "per-small", "--key", HERE, "--format", "json"],
    ));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["rooms"][0]["most"], 20, "{shown}");
    assert_eq!(shown["changed"]["factor"], 10.0);
    raise("1s");
    until("the raise ends", || {
        let one = api(
            &tollgate,
            "GET",
            &format!("limits/per-small?key={HERE}"),
            &Value::Null,
        );
        one.json()["changed"].is_null()
    });
    assert!(refused(&tollgate).is_some());
}

#[test]
fn top_tells_who_sends_and_what_each_may() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), SMALL);
    passed(&tollgate, 300);
    let top = out(&command(&tollgate, &["top"]));
    assert!(
        top.contains("per-small: 2 requests in 1h for each address"),
        "{top}"
    );
    assert!(top.contains(HERE) && top.contains("0/2"), "{top}");
    let listed = out(&command(&tollgate, &[]));
    assert!(
        listed.contains("enforce") && listed.contains("1/"),
        "{listed}"
    );
    let json_lines = out(&command(&tollgate, &["list", "--format", "json"]));
    let limit: Value = serde_json::from_str(json_lines.trim()).unwrap();
    assert_eq!(limit["counts"]["passed"], 2, "{limit}");
    assert_eq!(limit["keysInUse"], 1);
    let detail = api(&tollgate, "GET", "limits/per-small?top=1", &Value::Null).json();
    assert_eq!(detail["top"][0]["key"], HERE, "{detail}");
    assert_eq!(detail["top"][0]["passes"], false);
    assert!(detail["top"][0]["retrySeconds"].as_u64().unwrap() <= 1800);
    let line = r#"tollgate_limit_requests_total{limit="per-small",outcome="refused"}"#;
    assert_eq!(tollgate.metric(line), 298);
    assert_eq!(
        tollgate.metric(r#"tollgate_limit_keys{limit="per-small"}"#),
        1
    );
    let wrong = command(&tollgate, &["show", "big"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(err(&wrong).contains("no such limit"), "{}", err(&wrong));
    let none = binary()
        .args(["limits", "ban", "per-small", HERE])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(2), "{}", err(&none));
    let help = out(&binary().args(["limits", "--help"]).output().unwrap());
    assert!(help.contains("Examples:"), "{help}");
}

#[test]
fn what_is_used_of_a_budget_survives_a_kill_but_for_the_last_moments() {
    let folder = tempfile::tempdir().unwrap();
    let limits = daily(5, "100ms");
    let tollgate = start(folder.path(), &limits);
    assert_eq!(passed(&tollgate, 3), 3);
    let saves = r#"tollgate_quota_saves_total{outcome="done"}"#;
    let before = tollgate.metric(saves);
    // One that was under way may have missed the last request; the next one has not.
    until("it is saved", || {
        tollgate.metric(saves) > 0 && {
            std::thread::sleep(Duration::from_millis(400));
            tollgate.metric(saves) >= before
        }
    });
    kill(tollgate);
    let tollgate = start(folder.path(), &limits);
    assert_eq!(passed(&tollgate, 4), 2);
    kill(tollgate);
    let budgets = folder.path().join("quota/budgets");
    std::fs::write(&budgets, "damage").unwrap();
    let tollgate = start(folder.path(), &limits);
    assert_eq!(tollgate.metric("tollgate_quota_damaged_files"), 1);
    assert_eq!(passed(&tollgate, 9), 5);
    assert!(tollgate.stderr().contains("budgets.damaged"));
    let aside = std::fs::read_to_string(folder.path().join("quota/budgets.damaged"));
    assert_eq!(aside.unwrap(), "damage");
}

#[test]
fn a_stop_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let limits = daily(5, "1h");
    let mut tollgate = start(folder.path(), &limits);
    assert_eq!(passed(&tollgate, 4), 4);
    assert!(tollgate.stop().success());
    drop(tollgate);
    let tollgate = start(folder.path(), &limits);
    assert_eq!(passed(&tollgate, 4), 1);
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("quota"), "").unwrap();
    let mut tollgate = start(folder.path(), &daily(5, "100ms"));
    assert_eq!(passed(&tollgate, 9), 5);
    let failed = r#"tollgate_quota_saves_total{outcome="failed"}"#;
    until("it fails twice", || tollgate.metric(failed) >= 2);
    let ban = ["ban", "monthly", HERE, "--for", "1h", "--reason", "x"];
    let banned = command(&tollgate, &ban);
    assert_eq!(banned.status.code(), Some(69), "{}", err(&banned));
    assert!(tollgate.stop().success());
    let log = tollgate.stderr();
    let told = log.matches("what is used of budgets could not be written");
    assert_eq!(told.count(), 1, "once: {log}");
}

#[test]
fn a_reload_keeps_what_is_counted_and_what_is_banned() {
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &format!("{SMALL}{}", daily(3, "1h")));
    assert_eq!(passed(&tollgate, 3), 2);
    let ban = json!({"key": "address=10.9.9.9", "change": "ban", "ttlSeconds": 600, "reason": "x"});
    let made = api(&tollgate, "POST", "limits/per-small/overrides", &ban);
    assert_eq!(made.status, 201, "{made:?}");
    let reload = |limits: &str| {
        std::fs::write(folder.path().join("config.toml"), config(limits)).unwrap();
        let answer = api(&tollgate, "POST", "reload", &Value::Null);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    };
    // The rate is as it was: its keys are as full as they were. The budget is larger: what was used
    // of it is still used.
    let told = reload(&format!("{SMALL}{}", daily(4, "30m")));
    assert!(told.contains("2 limits"), "{told}");
    assert!(refused(&tollgate).is_some());
    let key = |limit: &str, key: &str| {
        let path = format!("limits/{limit}?key={key}");
        api(&tollgate, "GET", &path, &Value::Null).json()
    };
    assert_eq!(key("monthly", HERE)["rooms"][1]["remaining"], 2);
    assert_eq!(key("per-small", "address=10.9.9.9")["passes"], false);
    // Without the limit its ban has no effect, and is not forgotten.
    reload(&daily(4, "30m"));
    assert_eq!(passed(&tollgate, 3), 2);
    let list = api(&tollgate, "GET", "limits", &Value::Null).json();
    assert_eq!(list["idle"][0]["key"], "address=10.9.9.9", "{list}");
    assert_eq!(tollgate.metric("tollgate_limit_overrides_idle"), 1);
    reload(&format!("{SMALL}{}", daily(4, "30m")));
    assert_eq!(key("per-small", "address=10.9.9.9")["passes"], false);
    // What is wrong changes nothing.
    std::fs::write(
        folder.path().join("config.toml"),
        config("[[limit]]\nname = \"per-small\"\n"),
    )
    .unwrap();
    let wrong = api(&tollgate, "POST", "reload", &Value::Null);
    assert_eq!(wrong.status, 409, "{wrong:?}");
    assert_eq!(key("per-small", "address=10.9.9.9")["passes"], false);
}

#[test]
fn a_ban_can_be_made_while_the_node_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut tollgate = start(folder.path(), SMALL);
    let ban = ["ban", "per-small", HERE, "--for", "1h", "--reason", "x"];
    let busy = on_files(folder.path(), &ban);
    assert_eq!(busy.status.code(), Some(73), "{}", err(&busy));
    tollgate.stop();
    let banned = on_files(folder.path(), &ban);
    out(&banned);
    assert!(err(&banned).contains("nothing listens"), "{}", err(&banned));
    let listed = on_files(folder.path(), &[]);
    assert!(out(&listed).contains("per-small"));
    assert!(err(&listed).contains("not known"), "{}", err(&listed));
    let unknown = ["ban", "big", HERE, "--for", "1h", "--reason", "x"];
    assert_eq!(on_files(folder.path(), &unknown).status.code(), Some(1));
    drop(tollgate);
    let tollgate = start(folder.path(), SMALL);
    assert_eq!(refused(&tollgate).as_deref(), Some("banned"));
}
