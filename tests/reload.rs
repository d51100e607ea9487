//! Another configuration while the node runs, on the real binary: by the admin API, a signal and a file,
//! under load, refused, and tried out before.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Answer, Data, OPEN, PROJECT, Tollgate, binary, connect, exchange, read_answer};

const ONE: &str = r#"{"__logs__":[{"k":"v"}]}"#;

fn base(more: &str) -> String {
    format!(
        r#"
[ingest]
refusal_delay = "0s"
connection_rate_per_prefix = 0
default_project = "{PROJECT}"
[batch]
max_age = "50ms"
{more}
[[upstream]]
name = "store"
kind = "embedded"
[[project]]
name = "{PROJECT}"
upstream = "store"
"#
    )
}

fn logstore(name: &str, more: &str) -> String {
    format!("[[project.logstore]]\nname = \"{name}\"\naccept = [\"anonymous\"]\n{more}\n")
}

fn write(folder: &Path, text: &str) {
    // As an editor does: whole or not at all.
    let new = folder.join("config.toml.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.join("config.toml")).unwrap();
}

fn start(folder: &Path, text: &str) -> Tollgate {
    write(folder, text);
    let path = folder.join("config.toml").to_str().unwrap().to_owned();
    Tollgate::start_with(Data::Kept(folder.to_owned()), &["--config", &path])
}

fn api(tollgate: &Tollgate, method: &str, path: &str, body: &Value) -> Answer {
    let key = tollgate.data_dir().join("keys/admin.key");
    let token = std::fs::read_to_string(key).unwrap();
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let head = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        tollgate.admin,
        token.trim(),
        body.len()
    );
    exchange(tollgate.admin, &head, body.as_bytes())
}

fn reload(tollgate: &Tollgate) -> Answer {
    api(tollgate, "POST", "reload", &Value::Null)
}

fn state(tollgate: &Tollgate) -> Value {
    let answer = api(tollgate, "GET", "state", &Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn command(tollgate: &Tollgate, arguments: &[&str]) -> Output {
    let url = format!("http://{}", tollgate.admin);
    let mut command = binary();
    command.args(arguments).args(["--admin-url", &url]);
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What could grow: memory in KiB, descriptors, threads, tasks, series.
fn figures(tollgate: &Tollgate) -> [u64; 5] {
    let pid = tollgate.pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    let metrics = tollgate.metrics();
    let series = metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    let tasks = state(tollgate)["tasks"].as_u64().unwrap();
    [
        of("VmRSS:"),
        fds as u64,
        of("Threads:"),
        tasks,
        series as u64,
    ]
}

/// The configuration of a round: something of every part that may change, and every third time a logstore
/// more.
fn round(number: u64) -> String {
    let more = format!(
        "[delivery]\nbackoff_max = \"{}s\"\n[overload]\nalpha = {}\n[limits]\nmemory = \"{}MiB\"\n[[limit]]\nname = \"door\"\nkey = [\"address\"]\n[[limit.rate]]\ncount = {}\nper = \"1s\"\n",
        20 + number % 3,
        1 + number % 4,
        192 + number % 2 * 64,
        1_000_000 + number % 5,
    );
    let weight = format!(
        "weight = {}\nallow_origins = [\"https://a{}.example\"]",
        1 + number % 7,
        number % 2
    );
    let mut text = base(&more) + &logstore(OPEN, &weight);
    if number % 3 == 1 {
        text += &logstore("comes-and-goes", "");
    }
    text
}

/// Sends as fast as answers come, on a connection of its own. How many were taken.
fn send_on(tollgate: &Tollgate, over: &AtomicBool, failed: &AtomicU64) -> u64 {
    let address = tollgate.ingest.unwrap();
    let mut taken = 0;
    let request = format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ONE}",
        ONE.len()
    );
    while !over.load(Ordering::Relaxed) {
        let mut stream = connect(address);
        for _ in 0..500 {
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
            let answer = read_answer(&mut stream);
            if answer.status == 200 {
                taken += 1;
            } else {
                failed.fetch_add(1, Ordering::Relaxed);
            }
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    taken
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long it runs is for who starts it"
)]
fn reloads_under_load_fail_no_request_and_grow_nothing() {
    let rounds: u64 = std::env::var("TOLLGATE_RELOADS").map_or(150, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let tollgate = start(folder.path(), &round(0));
    let (over, failed) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut early, mut late) = ([0; 5], [0; 5]);
    let taken: u64 = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| send_on(&tollgate, &over, &failed)))
            .collect();
        let measure = |figures: &mut [u64; 5]| {
            // Lanes that were taken out end in their own time.
            until("lanes are gone", || {
                state(&tollgate)["logstores"].as_array().unwrap().len() == 1
                    && !tollgate.metrics().contains("comes-and-goes")
            });
            *figures = self::figures(&tollgate);
        };
        for number in 1..=rounds {
            write(folder.path(), &round(number));
            if number % 5 == 0 {
                tollgate.signal("-HUP");
                until("the signal counts", || {
                    tollgate.metric("tollgate_config_generation") == number + 1
                });
            } else {
                let answer = reload(&tollgate);
                assert_eq!(answer.status, 200, "{number}: {}", answer.text());
                assert_eq!(answer.json()["generation"], number + 1);
            }
            if number % 3 == 1 {
                let answer = tollgate.track("comes-and-goes", "", ONE);
                assert_eq!(answer.status, 200, "{number}: {answer:?}");
            }
            if number == rounds / 5 / 3 * 3 {
                measure(&mut early);
            }
        }
        write(folder.path(), &round(3));
        assert_eq!(reload(&tollgate).status, 200);
        measure(&mut late);
        over.store(true, Ordering::Relaxed);
        senders.into_iter().map(|it| it.join().unwrap()).sum()
    });
    assert_eq!(failed.load(Ordering::Relaxed), 0, "requests were refused");
    println!("memory KiB, descriptors, threads, tasks, series: {early:?} then {late:?}");
    let [memory, fds, threads, tasks, series] = early;
    assert_eq!(late[4], series, "series: {early:?} then {late:?}");
    assert!(
        late[0] < memory + memory / 4 + (12 << 10),
        "memory: {early:?} then {late:?}"
    );
    assert!(late[1] <= fds + 8, "descriptors: {early:?} then {late:?}");
    assert!(late[2] <= threads + 16, "threads: {early:?} then {late:?}");
    assert!(late[3] <= tasks + 8, "tasks: {early:?} then {late:?}");
    // Every event that was taken is there, and only once.
    let delivered =
        format!("tollgate_events_delivered_total{{project=\"{PROJECT}\",logstore=\"{OPEN}\"}}");
    until("all is delivered", || tollgate.metric(&delivered) == taken);
    assert_eq!(
        tollgate.metric("tollgate_config_reloads_total{source=\"api\",outcome=\"done\"}")
            + tollgate.metric("tollgate_config_reloads_total{source=\"signal\",outcome=\"done\"}"),
        rounds + 1
    );
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_where_and_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let good = base("") + &logstore(OPEN, "");
    let tollgate = start(folder.path(), &good);
    write(
        folder.path(),
        &good.replace("max_age = \"50ms\"", "max_age = \"50ms\"\nmax_evnts = 7"),
    );
    let answer = reload(&tollgate);
    assert_eq!(answer.status, 409, "{}", answer.text());
    let told = answer.json();
    let problem = &told["problems"][0];
    assert_eq!(problem["line"], 8, "{told}");
    assert_eq!(problem["column"], 1, "{told}");
    assert_eq!(problem["where"], "batch.max_evnts", "{told}");
    assert!(
        problem["hint"].as_str().unwrap().contains("max_events"),
        "{told}"
    );
    assert!(
        problem["file"].as_str().unwrap().ends_with("config.toml"),
        "{told}"
    );
    // The log is written beside the answer.
    until("it is in the log", || {
        tollgate.stderr().contains("config.toml:8:1")
    });
    let refused = "tollgate_config_reloads_total{source=\"api\",outcome=\"refused\"}";
    assert_eq!(tollgate.metric(refused), 1);
    // What needs a restart is named, and refuses the rest with it.
    let fixed = good.replace("default_project", "backlog = 77\ndefault_project");
    write(folder.path(), &(fixed + &logstore("another", "")));
    let answer = reload(&tollgate).json();
    assert_eq!(answer["problems"][0]["where"], "ingest.backlog", "{answer}");
    assert_eq!(answer["problems"].as_array().unwrap().len(), 1, "{answer}");
    assert_eq!(tollgate.track("another", "", ONE).status, 404);
    // A dry run says both, by the API, and by the commands.
    let dry = api(&tollgate, "POST", "reload", &json!({"dry_run": true})).json();
    assert_eq!(dry["needs_restart"], json!(["ingest.backlog"]), "{dry}");
    assert_eq!(
        dry["changed"],
        json!([format!("project[{PROJECT}].logstore[another]")])
    );
    let data = folder.path().to_str().unwrap();
    let told = command(
        &tollgate,
        &[
            "reload",
            "--dry-run",
            "--data-dir",
            data,
            "--output",
            "json",
        ],
    );
    assert_eq!(told.status.code(), Some(1));
    let told: Value = serde_json::from_str(&out(&told)).unwrap();
    assert_eq!(told["needs_restart"], json!(["ingest.backlog"]));
    assert_eq!(
        (
            tollgate.metric("tollgate_config_generation"),
            &dry["generation"]
        ),
        (1, &json!(1))
    );
    // Mended, it counts.
    write(folder.path(), &(good + &logstore("another", "")));
    let done = command(&tollgate, &["reload", "--data-dir", data]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(out(&done).contains("logstore[another]"), "{}", out(&done));
    assert_eq!(tollgate.track("another", "", ONE).status, 200);
    assert_eq!(state(&tollgate)["generation"], 2);
}

#[test]
fn check_says_what_a_file_would_change_on_the_running_node() {
    let folder = tempfile::tempdir().unwrap();
    let good = base("") + &logstore(OPEN, "");
    let tollgate = start(folder.path(), &good);
    let key = folder.path().join("keys/admin.key");
    let token = format!("[admin]\ntoken = \"file:{}\"\n", key.display());
    let other = folder.path().join("other.toml");
    let check = |text: &str| {
        std::fs::write(&other, text).unwrap();
        command(
            &tollgate,
            &[
                "check",
                "--config",
                other.to_str().unwrap(),
                "--against-running",
            ],
        )
    };
    let changed = good.replace("50ms", "60ms") + &token + "[log]\nlevel = \"warn\"\n";
    let told = check(&changed);
    let text = out(&told);
    assert!(
        text.contains("would change   batch.max_age"),
        "{text} {told:?}"
    );
    assert!(text.contains("would change   admin.token"), "{text}");
    assert!(text.contains("needs restart  log.level"), "{text}");
    assert!(
        !text.contains("listen"),
        "what the command line has set stays so: {text}"
    );
    assert_eq!(told.status.code(), Some(1));
}

#[test]
fn a_store_that_moved_gets_what_waits_for_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = |upstream: &str| {
        let dead = "[[upstream]]\nname = \"dead\"\nkind = \"sls\"\nendpoint = \"http://127.0.0.1:9\"\nregion = \"local\"\naccess_key_id = \"a\"\naccess_key_secret = \"file:{secret}\"\n";
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "a secret that is long enough").unwrap();
        let dead = dead.replace("{secret}", secret.to_str().unwrap());
        let text = base(&format!("[delivery]\ntimeout = \"2s\"\n{dead}")) + &logstore(OPEN, "");
        text.replace(
            "upstream = \"store\"",
            &format!("upstream = \"{upstream}\""),
        ) + "[[project]]\nname = \"keeps-the-store\"\nupstream = \"store\"\n"
            + &logstore("other", "")
    };
    let tollgate = start(folder.path(), &config("dead"));
    for _ in 0..20 {
        assert_eq!(tollgate.track(OPEN, "", ONE).status, 200);
    }
    until("it was tried", || {
        let text = tollgate.metrics();
        text.lines().any(|line| {
            line.starts_with("tollgate_delivery_retries_total") && !line.ends_with(" 0")
        })
    });
    write(folder.path(), &config("store"));
    let answer = reload(&tollgate);
    assert_eq!(answer.status, 200, "{}", answer.text());
    tollgate.events(OPEN, 20);
}

#[test]
fn a_logstore_that_is_taken_out_leaves_its_disk_and_finds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let dead = "[delivery]\ntimeout = \"1s\"\nstop_deadline = \"1s\"\n[[upstream]]\nname = \"dead\"\nkind = \"sls\"\nendpoint = \"http://127.0.0.1:9\"\nregion = \"local\"\naccess_key_id = \"a\"\naccess_key_secret = \"env:PATH\"\n[[project]]\nname = \"elsewhere\"\nupstream = \"dead\"\n";
    let with = |lost: bool| {
        let mut text = base("") + &logstore(OPEN, "") + dead + &logstore("stays", "");
        if lost {
            text += &logstore("lost", "ack = \"disk\"");
        }
        text
    };
    let tollgate = start(folder.path(), &with(true));
    let send = || {
        let head = "x-log-project: elsewhere\r\n";
        tollgate.track("lost", head, ONE).status
    };
    for _ in 0..5 {
        assert_eq!(send(), 200);
    }
    write(folder.path(), &with(false));
    assert_eq!(reload(&tollgate).status, 200);
    assert_eq!(send(), 404);
    let lane = || {
        let page = api(&tollgate, "GET", "spool", &Value::Null).json();
        let lanes = page["lanes"].as_array().unwrap().clone();
        lanes.into_iter().find(|it| it["logstore"] == "lost")
    };
    until("it has ended", || {
        !tollgate.metrics().contains("logstore=\"lost\"")
    });
    let kept = lane().unwrap();
    assert_eq!(kept["configured"], false, "{kept}");
    assert!(kept["segments"].as_u64().unwrap() > 0, "{kept}");
    let report = api(&tollgate, "GET", "spool/elsewhere/lost", &Value::Null).json();
    assert_eq!(
        (&report["events"], &report["damaged"]),
        (&json!(5), &json!(false)),
        "{report}"
    );
    // It comes again with what it had.
    write(folder.path(), &with(true));
    let answer = reload(&tollgate);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let find = |name: &str| {
        let state = state(&tollgate);
        let all = state["logstores"].as_array().unwrap().clone();
        all.into_iter().find(|it| it["logstore"] == name).unwrap()
    };
    until("its events wait again", || {
        let it = find("lost");
        it["held"].as_u64().unwrap() + it["on_disk"].as_u64().unwrap() == 5
    });
    let place = json!({"project": "elsewhere", "logstore": "lost"});
    let busy = api(&tollgate, "POST", "spool/purge", &place);
    assert_eq!(busy.status, 409, "{}", busy.text());
    write(folder.path(), &with(false));
    assert_eq!(reload(&tollgate).status, 200);
    until("it has ended again", || {
        !tollgate.metrics().contains("logstore=\"lost\"")
    });
    let purged = api(&tollgate, "POST", "spool/purge", &place);
    assert_eq!(purged.status, 200, "{}", purged.text());
    assert_eq!(lane().map(|it| it["segments"].clone()), Some(json!(0)));
}

/// What the lines of all complete files of a logstore hold as `id`.
fn archived(folder: &Path) -> Vec<String> {
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        assert!(
            path.extension().is_some_and(|it| it == "ndjson"),
            "{path:?}"
        );
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            ids.push(event["id"].as_str().unwrap().to_owned());
        }
    }
    ids
}

/// Sends events as answers come: the id of each that was taken, and the stages before and after it.
fn send_numbered(
    tollgate: &Tollgate,
    name: usize,
    over: &AtomicBool,
    stage: &AtomicU64,
) -> Vec<(String, u64, u64)> {
    let mut sent = Vec::new();
    while !over.load(Ordering::SeqCst) {
        let id = format!("{name}-{}", sent.len());
        let before = stage.load(Ordering::SeqCst);
        let answer = tollgate.track(
            "moves",
            "",
            format!("{{\"__logs__\":[{{\"id\":\"{id}\"}}]}}"),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent.push((id, before, stage.load(Ordering::SeqCst)));
    }
    sent
}

#[test]
fn reloads_that_move_a_logstore_and_its_copies_under_load_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let copies = |round: u64| !round.is_multiple_of(3);
    // Each round moves the logstore; two of three have copies, one of these by another way.
    let text = |round: u64| {
        let upstream = |name: &str, age: u64| {
            let dir = place(name);
            format!(
                "[[upstream]]\nname = \"{name}\"\nkind = \"files\"\n[upstream.files]\ndir = \"{dir}\"\nmax_age = \"{age}s\"\nreserve = 0\ncompression = \"none\"\n"
            )
        };
        let to = if round.is_multiple_of(2) {
            "first"
        } else {
            "second"
        };
        let also = if copies(round) { "copies" } else { "" };
        let keys = format!("upstream = \"{to}\"\nalso = \"{also}\"");
        base("[delivery]\nstop_deadline = \"20s\"\n")
            + &logstore("moves", &keys)
            + &upstream("first", 60)
            + &upstream("second", 60)
            + &upstream("copies", 60 + round % 2)
    };
    let mut tollgate = start(folder.path(), &text(0));
    let (over, stage) = (AtomicBool::new(false), AtomicU64::new(0));
    let rounds = 12;
    let sent: Vec<(String, u64, u64)> = std::thread::scope(|scope| {
        let (tollgate, over, stage) = (&tollgate, &over, &stage);
        let senders: Vec<_> = (0..2)
            .map(|name| scope.spawn(move || send_numbered(tollgate, name, over, stage)))
            .collect();
        for round in 1..=rounds {
            std::thread::sleep(Duration::from_millis(150));
            // Odd while nobody can say which configuration a request finds.
            stage.store(2 * round - 1, Ordering::SeqCst);
            write(folder.path(), &text(round));
            // A lane of that name may still be ending.
            until("it is taken over", || reload(tollgate).status == 200);
            stage.store(2 * round, Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_millis(150));
        over.store(true, Ordering::SeqCst);
        senders
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    assert!(tollgate.stop().success(), "{}", tollgate.stderr());
    let of = |name: &str| archived(&folder.path().join(name).join(PROJECT).join("moves"));
    let mut delivered = [of("first"), of("second")].concat();
    let mut expected: Vec<String> = sent.iter().map(|(id, ..)| id.clone()).collect();
    delivered.sort();
    expected.sort();
    assert!(
        delivered == expected,
        "{} and {}",
        delivered.len(),
        expected.len()
    );
    let copied = of("copies");
    let known: BTreeSet<&str> = copied.iter().map(String::as_str).collect();
    assert_eq!(known.len(), copied.len(), "a copy is there twice");
    let (mut with, mut without) = (0, 0);
    for (id, before, after) in &sent {
        // Only between two reloads it is sure which of them it was.
        if before == after && before.is_multiple_of(2) {
            let wanted = copies(before / 2);
            assert_eq!(
                known.contains(id.as_str()),
                wanted,
                "{id} of round {}",
                before / 2
            );
            *(if wanted { &mut with } else { &mut without }) += 1;
        }
    }
    assert!(with > 0 && without > 0, "{with} {without}");
}

#[test]
fn a_file_that_changes_is_taken_over_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let by = "[reload]\nby = [\"file\"]\ninterval = \"50ms\"\n";
    let good = base(by) + &logstore(OPEN, "");
    let tollgate = start(folder.path(), &good);
    let refused = reload(&tollgate);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("reload.by"), "{}", refused.text());
    write(folder.path(), &(good.clone() + &logstore("another", "")));
    until("the file counts", || {
        tollgate.metric("tollgate_config_generation") == 2
    });
    assert_eq!(tollgate.track("another", "", ONE).status, 200);
    // A mistake is told once, and not again until something changes.
    write(folder.path(), "[[project");
    let told = "tollgate_config_reloads_total{source=\"file\",outcome=\"refused\"}";
    until("the mistake is told", || tollgate.metric(told) == 1);
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(tollgate.metric(told), 1);
    write(folder.path(), &good);
    until("it is mended", || {
        tollgate.metric("tollgate_config_generation") == 3
    });
    assert_eq!(tollgate.track("another", "", ONE).status, 404);
}

#[test]
fn a_drain_turns_traffic_away_and_ends_and_a_request_is_explained() {
    let tollgate = Arc::new(Tollgate::start());
    let ready = || {
        exchange(
            tollgate.admin,
            "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"",
        )
        .status
    };
    assert_eq!(ready(), 200);
    let begun = api(&tollgate, "POST", "drain", &Value::Null).json();
    assert_eq!(
        (&begun["draining"], &begun["ready"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(ready(), 503);
    assert_eq!(
        tollgate.track(OPEN, "", ONE).status,
        200,
        "who comes is served"
    );
    until("nothing is left", || {
        api(&tollgate, "GET", "drain", &Value::Null).json()["empty"] == true
    });
    api(&tollgate, "DELETE", "drain", &Value::Null);
    assert_eq!(ready(), 200);

    let explain = |logstore: &str| {
        let order = json!({
            "target": format!("/logstores/{logstore}/track"),
            "headers": [["host", "127.0.0.1"], ["content-type", "application/json"]],
            "body": ONE, "address": "192.0.2.7",
        });
        let answer = api(&tollgate, "POST", "explain", &order);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let before = tollgate.events(OPEN, 1).len();
    let taken = explain(OPEN);
    assert_eq!(
        (&taken["status"], &taken["events"]),
        (&json!(200), &json!(1)),
        "{taken}"
    );
    assert_eq!(taken["stored"][0]["events"][0]["k"], "v", "{taken}");
    let refused = explain("web-tracking-logstore");
    assert_eq!(refused["reason"], "credential_missing", "{refused}");
    let last = refused["stages"].as_array().unwrap().last().unwrap();
    assert!(
        !last["refused"]["fix"].as_str().unwrap().is_empty(),
        "{refused}"
    );
    assert_eq!(tollgate.events(OPEN, 1).len(), before, "nothing was stored");
    let bad = api(&tollgate, "POST", "explain", &json!({"target": "nowhere"}));
    assert_eq!(bad.status, 400, "{}", bad.text());
    let document = api(&tollgate, "GET", "openapi.json", &Value::Null);
    assert_eq!(document.json()["openapi"], "3.1.0");
}

#[test]
fn what_is_only_tried_out_or_refused_is_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let good = base("") + &logstore(OPEN, "");
    let tollgate = start(folder.path(), &good);
    assert_eq!(tollgate.track(OPEN, "", ONE).status, 200);
    let dead = "[[upstream]]\nname = \"phantom\"\nkind = \"sls\"\nendpoint = \"http://127.0.0.1:9\"\nregion = \"local\"\naccess_key_id = \"a\"\naccess_key_secret = \"env:PATH\"\n";
    let tried = good.clone() + &logstore("phantom", "upstream = \"phantom\"") + dead;
    write(folder.path(), &tried);
    let answer = api(&tollgate, "POST", "reload", &json!({"dry_run": true}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    write(
        folder.path(),
        &format!("{tried}\n[metrics]\nmax_logstores = 5\n"),
    );
    let refused = reload(&tollgate);
    assert_eq!(refused.status, 409, "{}", refused.text());
    for shown in [
        tollgate.metrics(),
        api(&tollgate, "GET", "books", &Value::Null).text(),
        api(&tollgate, "GET", "upstreams", &Value::Null).text(),
    ] {
        assert!(
            shown.contains("store") && !shown.contains("phantom"),
            "{shown}"
        );
    }
    write(folder.path(), &tried);
    assert_eq!(reload(&tollgate).status, 200);
    assert!(tollgate.metrics().contains("logstore=\"phantom\""));
}

#[test]
fn a_logstore_that_comes_back_while_it_leaves_is_counted_as_one() {
    for disk in ["true", "false"] {
        let folder = tempfile::tempdir().unwrap();
        let dead = format!(
            "[spool]\nenabled = {disk}\n[delivery]\ntimeout = \"1s\"\nstop_deadline = \"2s\"\nbackoff_max = \"1s\"\n[[upstream]]\nname = \"dead\"\nkind = \"sls\"\nendpoint = \"http://127.0.0.1:9\"\nregion = \"local\"\naccess_key_id = \"a\"\naccess_key_secret = \"env:PATH\"\n"
        );
        let without = base(&dead) + &logstore("stays", "");
        let with = without.clone() + &logstore(OPEN, "upstream = \"dead\"");
        let tollgate = start(folder.path(), &with);
        let send = || assert_eq!(tollgate.track(OPEN, "", ONE).status, 200);
        (0..2).for_each(|_| send());
        write(folder.path(), &without);
        assert_eq!(reload(&tollgate).status, 200);
        write(folder.path(), &with);
        let answer = reload(&tollgate);
        assert_eq!(answer.status, 200, "{}", answer.text());
        (0..3).for_each(|_| send());
        until("all five are held", || {
            let books = api(&tollgate, "GET", "books", &Value::Null).json();
            let all = books["logstores"].as_array().unwrap().clone();
            let of_this = all.into_iter().find(|it| it["logstore"] == OPEN);
            let held = |it: &Value| it["held"].as_u64().unwrap() + it["waiting"].as_u64().unwrap();
            of_this.is_some_and(|it| held(&it) == 5 && it["difference"] == 0)
        });
        // What it holds is measured where it is now.
        let leased = |text: &str| -> f64 {
            let named = format!(
                "tollgate_logstore_leased_bytes{{project=\"{PROJECT}\",logstore=\"{OPEN}\"}} "
            );
            let line = text.lines().find_map(|line| line.strip_prefix(&named));
            line.unwrap().parse().unwrap()
        };
        let before = leased(&tollgate.metrics());
        let body = format!(r#"{{"__logs__":[{{"k":"{}"}}]}}"#, "v".repeat(100_000));
        assert_eq!(tollgate.track(OPEN, "", &body).status, 200);
        if disk == "false" {
            let now = leased(&tollgate.metrics());
            assert!(now >= before + 90_000.0, "{before} {now}");
        }
        let data = tollgate.data_dir();
        let audit = command(&tollgate, &["audit", "--data-dir", data.to_str().unwrap()]);
        assert!(audit.status.success(), "{audit:?}");
    }
}

#[test]
fn another_admin_token_and_other_names_of_the_listener_come_with_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    let put = |token: &str| std::fs::write(&secret, token).unwrap();
    let text = |admin: &str| base(&format!("[admin]\n{admin}\n")) + &logstore(OPEN, "");
    let by_file = format!("token = \"file:{}\"", secret.display());
    put("the first token, of thirty-two bytes");
    let tollgate = start(folder.path(), &text(&by_file));
    let call = |token: &str, method: &str, path: &str, body: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        exchange(tollgate.admin, &head, body.as_bytes())
    };
    let state = |token: &str| call(token, "GET", "/api/v1/state", "").status;
    let first = "the first token, of thirty-two bytes";
    let second = "the second token, of thirty-two bytes";
    let login = json!({ "token": first }).to_string();
    let session = call("none", "POST", "/api/v1/dashboard/session", &login).json();
    let session = session["session"].as_str().unwrap().to_owned();
    let look = |bearer: &str| call(bearer, "GET", "/api/v1/dashboard/session", "").status;
    assert_eq!((state(first), look(&session), look(first)), (200, 200, 200));
    // What it holds changes, and not its name. The reload itself is asked for by the one before.
    put(second);
    assert_eq!(state(second), 401);
    assert_eq!(call(first, "POST", "/api/v1/reload", "").status, 200);
    assert_eq!((state(first), state(second)), (401, 200));
    assert_eq!(
        (look(&session), look(first)),
        (401, 401),
        "what it had opened"
    );
    assert_eq!(look(second), 200);
    // One that is too short changes nothing.
    put("short");
    let refused = call(second, "POST", "/api/v1/reload", "");
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("admin.token"), "{}", refused.text());
    assert_eq!(state(second), 200);
    // Names of the listener, and back to the token that the node makes.
    let scrape = |host: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n");
        exchange(tollgate.admin, &head, b"").status
    };
    assert_eq!(scrape("tollgate.monitoring"), 403);
    write(folder.path(), &text("hosts = [\"tollgate.monitoring\"]"));
    assert!(!folder.path().join("keys/admin.key").exists());
    let tried = call(second, "POST", "/api/v1/reload", "{\"dry_run\": true}");
    assert_eq!(tried.status, 200, "{}", tried.text());
    assert!(!folder.path().join("keys/admin.key").exists(), "only tried");
    assert_eq!(call(second, "POST", "/api/v1/reload", "").status, 200);
    assert_eq!((state(second), scrape("tollgate.monitoring")), (401, 200));
    assert_eq!(reload(&tollgate).status, 200, "by the key that was made");
    let told = tollgate.stderr();
    for token in [first, second] {
        assert!(!told.contains(token), "{told}");
    }
}

#[test]
fn keys_of_the_spool_change_and_what_was_sealed_before_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        format!("\"file:{}\"", path.display())
    };
    let old = key("old.key", "the old key, of thirty-two bytes and more");
    let new = key("new.key", "the new key, of thirty-two bytes and more");
    let short = key("short.key", "short");
    let config = |keys: &str, upstream: &str| {
        let dead = "[[upstream]]\nname = \"dead\"\nkind = \"sls\"\nendpoint = \"http://127.0.0.1:9\"\nregion = \"local\"\naccess_key_id = \"a\"\naccess_key_secret = \"env:PATH\"\n";
        let spool = format!("[spool]\nkeys = [{keys}]\n[delivery]\ntimeout = \"1s\"\n{dead}");
        let text = base(&spool) + &logstore(OPEN, "ack = \"disk\"");
        text.replace(
            "upstream = \"store\"",
            &format!("upstream = \"{upstream}\""),
        ) + "[[project]]\nname = \"keeps-the-store\"\nupstream = \"store\"\n"
            + &logstore("other", "")
    };
    let event = |text: &str| format!(r#"{{"__logs__":[{{"k":"{text}"}}]}}"#);
    let on_disk = |text: &str| {
        let mut folders = vec![folder.path().join("spool")];
        let mut found = false;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = std::fs::read(&path) {
                    found |= bytes.windows(text.len()).any(|it| it == text.as_bytes());
                }
            }
        }
        found
    };
    let tollgate = start(folder.path(), &config(&old, "dead"));
    let send = |text: &str| assert_eq!(tollgate.track(OPEN, "", event(text)).status, 200);
    let reload_to = |text: &str| {
        write(folder.path(), text);
        let answer = reload(&tollgate);
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    send("sealed-by-the-old");
    reload_to(&config(&format!("{new}, {old}"), "dead"));
    send("sealed-by-the-new");
    // A key that is taken away still opens what it has sealed, until the node stops.
    reload_to(&config(&new, "dead"));
    send("sealed-by-the-new-as-well");
    write(folder.path(), &config(&short, "dead"));
    assert_eq!(reload(&tollgate).status, 409);
    reload_to(&config("", "dead"));
    send("plain-from-now-on");
    for text in ["sealed-by-the-old", "sealed-by-the-new"] {
        assert!(!on_disk(text), "{text}");
    }
    assert!(on_disk("plain-from-now-on"));
    reload_to(&config(&new, "store"));
    tollgate.events(OPEN, 4);
    let damaged =
        |line: &str| line.starts_with("tollgate_spool_damage_total") && !line.ends_with(" 0");
    assert!(!tollgate.metrics().lines().any(damaged));
}
