//! Delivery by the real binary to stores on raw sockets: one that refuses single events, one that does
//! all that a store should not do, and one that is away.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Data, OPEN, PROJECT, Tollgate, binary, delivering_to, until};

const OK: &str = "HTTP/1.1 200 OK\r\nx-log-requestid: 6A2F\r\ncontent-length: 0\r\n\r\n";

/// What a store does with a request.
enum Reply {
    /// Says this, and waits for the next one.
    Say(String),
    /// Says this and closes.
    Last(String),
}

fn refusal(status: &str, code: &str) -> Reply {
    let body = format!(r#"{{"errorCode":"{code}","errorMessage":"not this one"}}"#);
    Reply::Say(format!(
        "HTTP/1.1 {status}\r\nx-log-requestid: 6A2F\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A store that does as `rule` says, by the number of the request, its head and its body.
struct Store {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

type Rule = dyn Fn(usize, &str, &[u8]) -> Reply + Send + Sync;

impl Store {
    fn start(rule: impl Fn(usize, &str, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), rule)
    }

    fn start_at(
        address: SocketAddr,
        rule: impl Fn(usize, &str, &[u8]) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (rule, requests) = (
            Arc::<Rule>::from(Box::new(rule) as Box<Rule>),
            Arc::default(),
        );
        let count: Arc<AtomicUsize> = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (rule, count) = (Arc::clone(&rule), Arc::clone(&count));
                std::thread::spawn(move || serve(stream.unwrap(), &*rule, &count));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, rule: &Rule, requests: &AtomicUsize) {
    while let Some((head, body)) = read(&mut stream) {
        let number = requests.fetch_add(1, Ordering::SeqCst);
        match rule(number, &head, &body) {
            Reply::Say(answer) => {
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Last(answer) => {
                drop(stream.write_all(answer.as_bytes()));
                return;
            }
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 65536];
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let named = name.eq_ignore_ascii_case("content-length");
                named.then(|| value.trim().parse::<usize>().unwrap())
            });
            let body = &bytes[end + 4..];
            if body.len() >= length.unwrap_or(0) {
                return Some((head, body.to_vec()));
            }
        }
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&piece[..read]);
    }
}

/// A node that delivers to a store, with short pauses.
fn start(store: SocketAddr) -> Tollgate {
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(store, folder.path());
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    Tollgate::start_with(Data::Own(folder), &["--config", &path])
}

fn configuration(store: SocketAddr, folder: &std::path::Path) -> String {
    let secret = folder.join("secret");
    std::fs::write(&secret, "of yesterday").unwrap();
    let upstream = format!(
        "region = \"cn-x\"\ncompression = \"none\"\naccess_key_id = \"file:{}\"",
        secret.display()
    );
    delivering_to(store, &secret, ("max_age = \"20ms\"", &upstream))
}

fn send(tollgate: &Tollgate, names: &[&str]) {
    let logs: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({ "event": name }))
        .collect();
    let body = serde_json::json!({ "__logs__": logs }).to_string();
    let answer = tollgate.track(OPEN, "", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn of(metric: &str, label: &str) -> String {
    format!("tollgate_{metric}{{project=\"{PROJECT}\",logstore=\"{OPEN}\"{label}}}")
}

fn has(body: &[u8], text: &str) -> bool {
    body.windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn delivery_sets_a_refused_event_aside_and_a_replay_sends_it_once_more() {
    let mended = Arc::new(AtomicUsize::new(0));
    let (told, seen) = (Arc::clone(&mended), Arc::<Mutex<Vec<u8>>>::default());
    let kept = Arc::clone(&seen);
    let store = Store::start(move |_, _, body| {
        if told.load(Ordering::SeqCst) == 0 && has(body, "poison") {
            return refusal("400 Bad Request", "PostBodyInvalid");
        }
        kept.lock().unwrap().extend_from_slice(body);
        Reply::Say(OK.to_owned())
    });
    let tollgate = start(store.address);
    send(&tollgate, &["a", "b", "poison", "c", "d", "e", "f", "g"]);
    until("all but one are delivered", || {
        tollgate.metric(&of("events_delivered_total", "")) == 7
    });
    until("one is set aside", || {
        tollgate.metric(&of("events_quarantined_total", ",judge=\"store\"")) == 1
    });
    assert_eq!(tollgate.metric(&of("events_held", "")), 0);
    assert_eq!(store.requests(), 7, "one, and three times two halves");
    assert!(tollgate.metrics().contains(&of("delivery_concurrency", "")));

    let quarantine = |arguments: &[&str]| {
        let mut command = binary();
        command.arg("quarantine").args(arguments);
        command.args(["--logstore", OPEN, "--format", "json", "--data-dir"]);
        command.arg(tollgate.data_dir()).output().unwrap()
    };
    let mut listed = String::new();
    until("its record is written", || {
        listed = String::from_utf8(quarantine(&["ls"]).stdout).unwrap();
        listed.contains("poison")
    });
    let record: serde_json::Value = serde_json::from_str(listed.trim()).unwrap();
    assert_eq!(
        (&record["cause"], &record["check"]),
        (&"store".into(), &"PostBodyInvalid".into())
    );
    assert!(listed.contains("not this one"), "{listed}");

    mended.store(1, Ordering::SeqCst);
    let url = format!("http://{}", tollgate.admin);
    let replayed = quarantine(&["replay", "--admin-url", &url]);
    let report: serde_json::Value = serde_json::from_slice(&replayed.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&replayed.stderr)));
    assert_eq!(report["taken"], 1);
    until("it is delivered too", || {
        tollgate.metric(&of("events_delivered_total", "")) == 8
    });
    assert!(has(&seen.lock().unwrap(), "poison"));
}

#[test]
fn delivery_outlives_a_store_that_does_everything_wrong() {
    let elsewhere = Store::start(|_, _, _| Reply::Say(OK.to_owned()));
    let redirect = format!(
        "HTTP/1.1 307 Go\r\nlocation: http://{}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.address
    );
    let with = |head: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let id = "x-log-requestid: 6A2F";
    let wrong = vec![
        String::new(),
        "HTTP/1.1 200 OK\r\n".to_owned(),
        with("200 OK", "<html>Log in to the network</html>"),
        with(&format!("200 OK\r\n{id}"), "<html>Log in</html>"),
        with("200 OK", ""),
        with(&format!("200 OK\r\n{id}"), r#"{"errorCode":"ServerBusy"}"#),
        with("204 No Content", ""),
        redirect,
        with("502 Bad Gateway", "<html>no</html>"),
        with("503 Unavailable", &"x".repeat(200_000)),
        with("403 Forbidden", "<html>blocked</html>"),
        "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 900000000\r\n\r\nx".to_owned(),
        "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
            .to_owned(),
        format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(300_000)),
        "\u{15}\u{3}\u{1}\u{0}\u{2}\u{2}F".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(2000),
    ];
    let count = wrong.len();
    let store = Store::start(move |number, _, _| match wrong.get(number) {
        Some(answer) => Reply::Last(answer.clone()),
        None => Reply::Say(OK.to_owned()),
    });
    let tollgate = start(store.address);
    send(&tollgate, &["a", "b", "c"]);
    until("all is delivered at last", || {
        tollgate.metric(&of("events_delivered_total", "")) == 3
    });
    assert_eq!(store.requests(), count + 1, "{}", tollgate.stderr());
    assert_eq!(elsewhere.requests(), 0, "a redirect is not followed");
    assert_eq!(
        tollgate.metric(&of("delivery_retries_total", "")),
        count as u64
    );
    assert!(
        !tollgate
            .metrics()
            .contains("tollgate_events_dropped_total{")
    );
}

#[test]
fn delivery_reads_a_refused_key_again_and_loses_nothing_meanwhile() {
    let store = Store::start(|_, head, _| {
        if head.contains("of-today") {
            return Reply::Say(OK.to_owned());
        }
        refusal("401 Unauthorized", "SignatureNotMatch")
    });
    let tollgate = start(store.address);
    send(&tollgate, &["a", "b"]);
    let refused = "tollgate_upstream_credentials_refused_total{upstream=\"store\"}";
    until("the key is refused", || tollgate.metric(refused) > 0);
    assert_eq!(tollgate.metric(&of("events_held", "")), 2);
    let secret = tollgate.data_dir().join("secret");
    std::fs::write(secret, "of-today\n").unwrap();
    until("the new key is used", || {
        tollgate.metric(&of("events_delivered_total", "")) == 2
    });
    assert!(
        !tollgate.stderr().contains("of yesterday"),
        "no key in a log"
    );
}

#[test]
fn delivery_shows_that_an_upstream_is_down_and_goes_on_when_it_is_back() {
    // A port that nobody listens on, until later.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let tollgate = start(address);
    let state = |state: &str| {
        let name = "tollgate_upstream_breaker_state";
        tollgate.metric(&format!("{name}{{upstream=\"store\",state=\"{state}\"}}"))
    };
    assert_eq!((state("closed"), state("open")), (1, 0));
    send(&tollgate, &["a", "b", "c"]);
    until("it is found to be down", || state("closed") == 0);
    until("it is probed", || {
        tollgate.metric("tollgate_upstream_probes_total{upstream=\"store\"}") > 2
    });
    let _store = Store::start_at(address, |_, _, _| Reply::Say(OK.to_owned()));
    until("it is back", || {
        tollgate.metric(&of("events_delivered_total", "")) == 3
    });
    assert_eq!(state("closed"), 1);
    assert_eq!(
        tollgate.metric("tollgate_upstream_breaker_opened_total{upstream=\"store\"}"),
        1
    );
}

#[test]
fn delivery_goes_to_a_fallback_by_configuration() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let second = "fallback = \"second\"";
    let upstream = "[[upstream]]\nname = \"second\"\nkind = \"embedded\"\n";
    let project = format!(
        "[[project]]\nname = \"{PROJECT}\"\nupstream = \"store\"\n{second}\n[[project.logstore]]"
    );
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:1\"\n[ingest]\ndefault_project = \"{PROJECT}\"\n\
         [batch]\nmax_age = \"20ms\"\n[delivery]\nbackoff_min = \"5ms\"\nbackoff_max = \"50ms\"\n\
         [[upstream]]\nname = \"store\"\nkind = \"sls\"\nendpoint = \"http://{address}\"\nregion = \"cn-x\"\n\
         access_key_id = \"id\"\naccess_key_secret = \"env:PATH\"\n{upstream}{project}\n\
         name = \"{OPEN}\"\naccept = [\"anonymous\"]\n"
    );
    let mut tollgate = Tollgate::start_config(&config);
    send(&tollgate, &["a", "b", "c"]);
    assert_eq!(tollgate.events(OPEN, 3).len(), 3);
    assert_eq!(
        tollgate.metric(&of("delivery_fallback_groups_total", "")),
        1
    );
    assert!(tollgate.stop().success());
}

#[test]
fn delivery_waits_as_long_as_the_store_asks_and_no_longer_than_it_may() {
    for (asked, longest) in [("2", "10s"), ("3600", "1s")] {
        let times = Arc::<Mutex<Vec<Instant>>>::default();
        let seen = Arc::clone(&times);
        let store = Store::start(move |number, _, _| {
            seen.lock().unwrap().push(Instant::now());
            match number {
                0 => {
                    let body = r#"{"errorCode":"ServerBusy","errorMessage":"later"}"#;
                    let length = body.len();
                    Reply::Say(format!(
                        "HTTP/1.1 503 Busy\r\nx-log-requestid: a\r\nretry-after: {asked}\r\ncontent-length: {length}\r\n\r\n{body}"
                    ))
                }
                _ => Reply::Say(OK.to_owned()),
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let config = configuration(store.address, folder.path());
        let config = config.replace(
            "backoff_max = \"50ms\"",
            &format!("backoff_max = \"{longest}\""),
        );
        let tollgate = Tollgate::start_config(&config);
        send(&tollgate, &["a"]);
        until("it is delivered", || {
            tollgate.metric(&of("events_delivered_total", "")) == 1
        });
        let times = times.lock().unwrap();
        let pause = times[1].duration_since(times[0]);
        let least = if asked == "2" { 2000 } else { 900 };
        assert!(pause >= Duration::from_millis(least), "{asked}: {pause:?}");
    }
}

#[test]
fn delivery_says_how_an_upstream_is() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let tollgate = start(address);
    let told = |format: &str| {
        let url = format!("http://{}", tollgate.admin);
        let mut command = binary();
        command.args(["upstreams", "--format", format, "--admin-url", &url]);
        command.arg("--data-dir").arg(tollgate.data_dir());
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text, notes)
    };
    let report = || -> (Option<i32>, serde_json::Value) {
        let (code, text, notes) = told("json");
        (
            code,
            serde_json::from_str(text.trim()).unwrap_or_else(|_| panic!("{text}{notes}")),
        )
    };
    let (code, before) = report();
    assert_eq!(code, Some(0), "{before}");
    assert_eq!(
        (&before["upstream"], &before["state"]),
        (&"store".into(), &"closed".into())
    );
    assert_eq!(before["retries"]["perSecond"], 50);
    assert!(before.get("since").is_none() && before.get("nextProbe").is_none());
    let lane = &before["logstores"][0];
    assert_eq!(
        (&lane["logstore"], &lane["fallback"]),
        (&OPEN.into(), &false.into())
    );
    assert_eq!(
        (&lane["concurrency"], &lane["most"]),
        (&2.into(), &4.into())
    );

    send(&tollgate, &["a", "b", "c"]);
    until("it is found to be down", || report().1["opened"] == 1);
    let (code, down) = report();
    assert_eq!(code, Some(1), "{down}");
    assert_ne!(down["state"], "closed");
    assert!(down["failures"].as_u64().unwrap() >= 5, "{down}");
    assert!(down["since"].as_u64().unwrap() > 1_700_000_000_000);
    let words = down["lastFailure"].as_str().unwrap();
    assert!(words.contains("cannot be reached"), "{words}");
    until("a probe is waited for", || {
        report().1.get("nextProbe").is_some()
    });
    let (_, table, notes) = told("table");
    assert!(
        table.contains("store") && table.contains(&format!("{PROJECT}/{OPEN} ")),
        "{table}"
    );
    assert!(notes.contains("cannot be reached"), "{notes}");

    let _store = Store::start_at(address, |_, _, _| Reply::Say(OK.to_owned()));
    until("it is back", || report().1["state"] == "closed");
    let (code, after) = report();
    assert_eq!((code, &after["failures"]), (Some(0), &0.into()), "{after}");
    // Without the token nobody is told.
    let head = "GET /api/v1/upstreams HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(support::exchange(tollgate.admin, head, b"").status, 401);
}

#[test]
fn delivery_of_a_replayed_event_goes_to_the_store_that_refused_it_and_makes_no_second_copy() {
    let mended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&mended);
    let store = Store::start(move |_, _, body| {
        if !told.load(Ordering::SeqCst) && has(body, "poison") {
            return refusal("400 Bad Request", "PostBodyInvalid");
        }
        Reply::Say(OK.to_owned())
    });
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(store.address, folder.path());
    let project = format!("name = \"{PROJECT}\"\n");
    let archive = folder.path().join("archive");
    let config = config.replace(&project, &format!("{project}also = \"archive\"\n"))
        + &format!(
            "[[upstream]]\nname = \"archive\"\nkind = \"files\"\n[upstream.files]\ndir = \"{}\"\nreserve = 0\n",
            archive.display()
        );
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let tollgate = Tollgate::start_with(Data::Own(folder), &["--config", &path]);
    send(&tollgate, &["a", "poison", "b"]);
    let of_copy = |metric: &str| {
        let lane = format!("{OPEN}@archive");
        let labels = format!("project=\"{PROJECT}\",logstore=\"{lane}\"");
        tollgate.metric(&format!("tollgate_{metric}{{{labels}}}"))
    };
    until("the copy has all, and one is set aside", || {
        of_copy("events_delivered_total") == 3
            && tollgate.metric(&of("events_quarantined_total", ",judge=\"store\"")) == 1
    });
    mended.store(true, Ordering::SeqCst);
    let url = format!("http://{}", tollgate.admin);
    until("its record is replayed", || {
        let mut command = binary();
        command.args([
            "quarantine",
            "replay",
            "--logstore",
            OPEN,
            "--format",
            "json",
        ]);
        command.args(["--admin-url", &url, "--data-dir"]);
        let replayed = command.arg(tollgate.data_dir()).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&replayed.stdout).unwrap();
        report["taken"] == 1
    });
    until("it is delivered too", || {
        tollgate.metric(&of("events_delivered_total", "")) == 3
    });
    assert_eq!(of_copy("events_accepted_total"), 3);
}

#[test]
fn delivery_uses_a_key_that_was_rotated_before_the_old_one_is_refused() {
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let seen = Arc::clone(&heads);
    let store = Store::start(move |_, head, _| {
        seen.lock().unwrap().push(head.to_owned());
        Reply::Say(OK.to_owned())
    });
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(store.address, folder.path());
    let config = config.replace(
        "[delivery]\n",
        "[delivery]\ncredentials_refresh = \"50ms\"\n",
    );
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let tollgate = Tollgate::start_with(Data::Own(folder), &["--config", &path]);
    send(&tollgate, &["a"]);
    let secret = tollgate.data_dir().join("secret");
    std::fs::write(secret, "of-today\n").unwrap();
    let mut sent = 1;
    until("the new one is used", || {
        send(&tollgate, &["b"]);
        sent += 1;
        let heads = heads.lock().unwrap();
        heads.last().is_some_and(|head| head.contains("of-today"))
    });
    until("all is delivered", || {
        tollgate.metric(&of("events_delivered_total", "")) == sent
    });
    let count = |name: &str| tollgate.metric(&format!("tollgate_upstream_{name}}}"));
    let reads = "credential_reads_total{upstream=\"store\",outcome=";
    assert_eq!(count(&format!("{reads}\"changed\"")), 1);
    assert_eq!(count(&format!("{reads}\"failed\"")), 0);
    assert_eq!(count("credentials_refused_total{upstream=\"store\""), 0);
    let log = tollgate.stderr();
    assert!(!log.contains("of yesterday"), "{log}");
}

#[test]
fn delivery_says_which_project_is_over_its_quota() {
    let store = Store::start(|number, _, _| match number {
        0..3 => refusal("403 Forbidden", "WriteQuotaExceed"),
        3..5 => refusal("403 Forbidden", "ShardWriteQuotaExceed"),
        _ => Reply::Say(OK.to_owned()),
    });
    let tollgate = start(store.address);
    let gauge = format!(
        "tollgate_upstream_project_concurrency{{upstream=\"store\",project=\"{PROJECT}\"}}"
    );
    assert!(tollgate.metrics().contains(&format!("{gauge} 0")));
    send(&tollgate, &["a"]);
    until("it is delivered", || {
        tollgate.metric(&of("events_delivered_total", "")) == 1
    });
    assert!(tollgate.metric(&gauge) >= 1, "{}", tollgate.metrics());
    let told = |format: &str| {
        let url = format!("http://{}", tollgate.admin);
        let mut command = binary();
        command.args(["upstreams", "--output", format, "--admin-url", &url]);
        command.arg("--data-dir").arg(tollgate.data_dir());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let report: serde_json::Value = serde_json::from_str(told("json").trim()).unwrap();
    assert_eq!(report["projects"][0]["project"], PROJECT);
    assert!(report["projects"][0]["concurrency"].as_u64() >= Some(1));
    let table = told("text");
    assert!(table.contains(&format!(" {PROJECT} ")), "{table}");
}

#[test]
fn delivery_follows_a_name_that_stands_for_another_address() {
    let names = |taken: &Arc<AtomicUsize>| {
        let taken = Arc::clone(taken);
        move |_: usize, _: &str, _: &[u8]| {
            taken.fetch_add(1, Ordering::SeqCst);
            Reply::Say(OK.to_owned())
        }
    };
    let (at_first, at_second) = (Arc::default(), Arc::default());
    let first = Store::start_at("127.0.0.1:0".parse().unwrap(), names(&at_first));
    let port = first.address.port();
    let second = format!("127.0.0.2:{port}").parse().unwrap();
    let _second = Store::start_at(second, names(&at_second));
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let stands_for = |address: &str| {
        std::fs::write(&hosts, format!("{address} {PROJECT}.store.test\n")).unwrap();
    };
    stands_for("127.0.0.1");
    let config = configuration(first.address, folder.path());
    let config = config.replace(&first.address.to_string(), &format!("store.test:{port}"));
    let config = config.replace("[delivery]\n", "[delivery]\nconnection_age = \"100ms\"\n");
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let data = Data::Kept(folder.path().to_owned());
    let arguments = ["--config", path.to_str().unwrap()];
    let Some(tollgate) = Tollgate::start_with_hosts(data, &hosts, &arguments) else {
        return;
    };
    let mut sent = 0;
    let mut send_one = || {
        send(&tollgate, &["a"]);
        sent += 1;
        until("it is delivered", || {
            tollgate.metric(&of("events_delivered_total", "")) == sent
        });
    };
    for _ in 0..5 {
        send_one();
    }
    assert_eq!(at_second.load(Ordering::SeqCst), 0);
    stands_for("127.0.0.2");
    until("the other address is dialled", || {
        send_one();
        at_second.load(Ordering::SeqCst) > 0
    });
    std::thread::sleep(Duration::from_millis(150));
    // A connection that grew old while nothing was sent carries one more at most.
    send_one();
    let before = at_first.load(Ordering::SeqCst);
    for _ in 0..5 {
        send_one();
    }
    assert_eq!(
        at_first.load(Ordering::SeqCst),
        before,
        "nobody goes there any more"
    );
}

/// The first LogGroup of a connection is answered; of the next one nothing is said, and the half of the
/// connection that would say it is closed.
fn serve_half(mut stream: TcpStream, taken: &Mutex<Vec<String>>) {
    let pack_of = |body: &[u8]| {
        let text = String::from_utf8_lossy(body);
        let place = text.find("__pack_id__").unwrap();
        let id: String = text[place..]
            .chars()
            .skip("__pack_id__".len())
            .skip_while(|it| !it.is_ascii_hexdigit())
            .take_while(|it| it.is_ascii_hexdigit() || *it == '-')
            .collect();
        id
    };
    for answered in [true, false] {
        let Some((_, body)) = read(&mut stream) else {
            return;
        };
        taken.lock().unwrap().push(pack_of(&body));
        if answered {
            stream.write_all(OK.as_bytes()).unwrap();
        }
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    // It still reads what comes, and never says a word again.
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
}

#[test]
fn delivery_over_half_closed_connections_loses_nothing_and_marks_what_may_be_twice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::<Mutex<Vec<String>>>::default();
    let all = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let taken = Arc::clone(&all);
            std::thread::spawn(move || serve_half(stream.unwrap(), &taken));
        }
    });
    let tollgate = start(address);
    for sent in 1..=20 {
        send(&tollgate, &["a"]);
        until("it is delivered", || {
            tollgate.metric(&of("events_delivered_total", "")) == sent
        });
    }
    let taken = taken.lock().unwrap();
    let once: std::collections::BTreeSet<_> = taken.iter().collect();
    assert_eq!(once.len(), 20, "{taken:?}");
    let twice = (taken.len() - once.len()) as u64;
    assert!(twice > 0, "{taken:?}");
    let doubts = tollgate.metric(&of("delivery_resends_in_doubt_total", ""));
    assert_eq!(doubts, twice);
}

#[test]
fn delivery_of_a_replayed_copy_goes_to_the_second_store_alone() {
    let (first, mended) = (
        Store::start(|_, _, _| Reply::Say(OK.to_owned())),
        Arc::new(AtomicBool::new(false)),
    );
    let told = Arc::clone(&mended);
    let second = Store::start(move |_, _, body| {
        if !told.load(Ordering::SeqCst) && has(body, "poison") {
            return refusal("400 Bad Request", "PostBodyInvalid");
        }
        Reply::Say(OK.to_owned())
    });
    let folder = tempfile::tempdir().unwrap();
    let config = configuration(first.address, folder.path());
    let project = format!("name = \"{PROJECT}\"\n");
    let upstream = config.find("[[upstream]]").unwrap()..config.find("[[project]]").unwrap();
    let other = config[upstream]
        .replace("name = \"store\"", "name = \"second\"")
        .replace(&first.address.to_string(), &second.address.to_string());
    let config = config.replace(&project, &format!("{project}also = \"second\"\n")) + &other;
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let tollgate = Tollgate::start_with(Data::Own(folder), &["--config", &path]);
    let lane = format!("{OPEN}@second");
    let of_copy = |metric: &str, more: &str| {
        let labels = format!("project=\"{PROJECT}\",logstore=\"{lane}\"{more}");
        tollgate.metric(&format!("tollgate_{metric}{{{labels}}}"))
    };
    let delivered = of("events_delivered_total", "");
    send(&tollgate, &["a", "poison", "b"]);
    until(
        "the first has all, and of the copy one is set aside",
        || {
            tollgate.metric(&delivered) == 3
                && of_copy("events_quarantined_total", ",judge=\"store\"") == 1
        },
    );
    mended.store(true, Ordering::SeqCst);
    let url = format!("http://{}", tollgate.admin);
    let quarantine = |words: &[&str]| {
        let mut command = binary();
        command.arg("quarantine").args(words);
        command.args(["--output", "json", "--admin-url", &url, "--data-dir"]);
        command.arg(tollgate.data_dir()).output().unwrap()
    };
    until("its record is replayed", || {
        let replayed = quarantine(&["replay", "--logstore", &lane]);
        let report: serde_json::Value = serde_json::from_slice(&replayed.stdout).unwrap();
        report["taken"] == 1
    });
    until("the second store has it", || {
        of_copy("events_delivered_total", "") == 3
    });
    assert_eq!(of_copy("events_accepted_total", ""), 4);
    assert_eq!(tollgate.metric(&delivered), 3);
    assert_eq!(tollgate.metric(&of("events_accepted_total", "")), 3);
    let absent = quarantine(&["replay", "--logstore", &format!("{OPEN}@nowhere")]);
    let words = String::from_utf8(absent.stderr).unwrap();
    assert!(words.contains("@nowhere in"), "{words}");
    let purged = quarantine(&["purge", "--logstore", &lane, "--yes"]);
    assert!(purged.status.success(), "{purged:?}");
}
