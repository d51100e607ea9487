//! What stands in the log, and what never does.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{api, config, prompt};
use crate::support::{
    Answer, GUARDED, OPEN, PROJECT, Tollgate, binary, connect, exchange, read_answer,
};

const EVENT: &[u8] = br#"{"__logs__":[{"event":"view"}]}"#;

fn lines(tollgate: &Tollgate) -> Vec<Value> {
    let text = tollgate.stderr();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    lines.collect()
}

/// Waits for lines of a target: the log is written behind.
fn of_target(tollgate: &Tollgate, target: &str, at_least: usize) -> Vec<Value> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found: Vec<Value> = lines(tollgate)
            .into_iter()
            .filter(|line| line["target"] == target)
            .collect();
        if found.len() >= at_least {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "{target}: {found:#?}\n{}",
            tollgate.stderr()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn each_line_is_json_with_its_generation_and_a_class_of_refusals_has_one_a_second() {
    let tollgate = Tollgate::start_config(&prompt("[log]\nformat = \"json\"\n"));
    for _ in 0..200 {
        assert_eq!(tollgate.track(GUARDED, "", EVENT).status, 401);
    }
    assert_eq!(tollgate.get("/made-up-path").status, 404);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(tollgate.track(GUARDED, "", EVENT).status, 401);
    let refused = of_target(&tollgate, "tollgate::refused", 3);
    let missing: Vec<&Value> = refused
        .iter()
        .filter(|line| line["fields"]["reason"] == "credential_missing")
        .collect();
    assert!((2..=30).contains(&missing.len()), "{missing:#?}");
    let told: u64 = missing
        .iter()
        .map(|line| line["fields"]["suppressed"].as_u64().unwrap())
        .sum();
    assert_eq!(told + missing.len() as u64, 201);
    let suppressed = tollgate.metric("tollgate_log_refusals_suppressed_total");
    assert_eq!(suppressed, told);
    let fields = &missing[0]["fields"];
    assert_eq!(fields["project"], PROJECT);
    assert_eq!(fields["logstore"], GUARDED);
    assert_eq!(fields["status"], 401);
    assert_eq!(fields["route"], "track_post");
    assert_eq!(fields["client"], "127.0.0.1");
    assert_eq!(fields["request"].as_str().unwrap().len(), 24);
    for line in lines(&tollgate) {
        assert_eq!(line["generation"], 1, "{line}");
    }
    assert!(!tollgate.stderr().contains("made-up-path"));
}

#[test]
fn the_access_log_is_off_by_default_and_an_even_share_when_on() {
    let off = Tollgate::start_config(&config("[log]\nformat = \"json\"\n"));
    let on = Tollgate::start_config(&config("[log]\nformat = \"json\"\naccess = 0.5\n"));
    for tollgate in [&off, &on] {
        for _ in 0..20 {
            assert_eq!(tollgate.track(OPEN, "", EVENT).status, 200);
        }
    }
    let told = of_target(&on, "tollgate::access", 10);
    assert!(told.len() <= 11, "{told:#?}");
    let fields = &told[0]["fields"];
    for (field, value) in [
        ("method", json!("POST")),
        ("version", json!("1.1")),
        ("route", json!("track_post")),
        ("project", json!(PROJECT)),
        ("logstore", json!(OPEN)),
        ("status", json!(200)),
        ("bytes", json!(EVENT.len())),
        ("client", json!("127.0.0.1")),
    ] {
        assert_eq!(fields[field], value, "{field}: {fields}");
    }
    assert!(fields["micros"].is_u64());
    let quiet = lines(&off);
    assert!(
        quiet
            .iter()
            .all(|line| line["target"] != "tollgate::access"),
        "{quiet:#?}"
    );
}

/// Sends a secret in every place that a client can put one.
fn send_secrets(tollgate: &Tollgate, secret: &str) -> Vec<Answer> {
    let body = format!(
        r#"{{"__logs__":[{{"event":"{secret}","password":"{secret}"}}],"__topic__":"{secret}","__tags__":{{"__token__":"{secret}","k":"{secret}"}}}}"#
    );
    let mut answers = Vec::new();
    for logstore in [OPEN, GUARDED, secret] {
        for headers in [
            format!("Authorization: Bearer {secret}\r\n"),
            format!("Authorization: LOG {secret}:{secret}\r\n"),
            format!("Cookie: token={secret}; {secret}=1\r\n"),
            format!("X-Log-Project: {secret}\r\n"),
            format!("Referer: https://servicewechat.com/{secret}/devtools/?{secret}\r\n"),
            format!("Origin: https://{secret}.example\r\n"),
            format!("User-Agent: {secret}\r\nX-{secret}: {secret}\r\n"),
        ] {
            answers.push(tollgate.track(logstore, &headers, &body));
            answers.push(tollgate.track(logstore, &headers, &body[..body.len() - 1]));
        }
        answers.push(tollgate.get(&format!(
            "/t/{secret}/logstores/{logstore}/track?APIVersion=0.6.0&a={secret}"
        )));
        answers.push(tollgate.get(&format!(
            "/logstores/{logstore}/track?APIVersion=0.6.0&token={secret}&a={secret}"
        )));
        answers.push(tollgate.get(&format!("/{secret}?token={secret}")));
    }
    let method =
        format!("{secret} /logstores/{OPEN}/track HTTP/1.1\r\nHost: {secret}.example\r\n\r\n");
    answers.push(tollgate.send(&method, b""));
    answers
}

#[test]
fn no_secret_and_no_payload_is_in_the_log_at_any_level() {
    let rules =
        "[log]\nformat = \"json\"\nlevel = \"trace\"\naccess = 1.0\nrefusals_per_second = 1000\n";
    let tollgate = Tollgate::start_config(&prompt(rules));
    let token = tollgate.token();
    let good = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(tollgate.track(GUARDED, &good, EVENT).status, 200);
    let secret = "S3CR3TxQ9vNf7";
    let answers = send_secrets(&tollgate, secret);
    assert!(answers.iter().any(|it| it.status == 200) && answers.iter().any(|it| it.status == 401));
    // Until it was packed, sent and stored.
    tollgate.events(GUARDED, 1);
    of_target(&tollgate, "tollgate::access", answers.len());
    let signature = token.rsplit('.').next().unwrap();
    let admin = std::fs::read_to_string(tollgate.data_dir().join("keys/admin.key")).unwrap();
    api(&tollgate, "GET", "books", "");
    let log = tollgate.stderr();
    for (what, hidden) in [
        ("what a client sent", secret),
        ("a token", signature),
        ("the admin token", admin.trim()),
    ] {
        let found = log.lines().find(|line| line.contains(hidden));
        assert!(found.is_none(), "{what}: {found:?}");
    }
    // As bytes, as some print them.
    let bytes = secret
        .bytes()
        .map(|b| b.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    assert!(!log.contains(&bytes));
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A request of HTTP/2, by HPACK's literals.
fn request(stream: u32, fields: [(&str, &str); 5]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    frame(1, 1 | 4, stream, &block)
}

#[test]
fn what_libraries_say_of_requests_is_not_in_the_log() {
    let secret = "S3CR3TxQ9vNf7";
    let filter = "trace,h2=trace,hyper=trace,h2::server=debug";
    let rules = format!(
        "[ingest.http2]\nprior_knowledge = true\n[log]\nformat = \"json\"\nlevel = \"{filter}\"\n"
    );
    let tollgate = Tollgate::start_config(&prompt(&rules));
    let good = format!("/logstores/{OPEN}/track?APIVersion=0.6.0&token={secret}&a=b");
    // Neither is one that may be: HTTP/2's library says so, and which it was.
    let (bad, host) = (format!("{good}<\u{1}>"), format!("{secret}<>.example"));
    for (path, authority) in [(&bad, "localhost"), (&good, &*host), (&good, "localhost")] {
        let mut stream = connect(tollgate.ingest.unwrap());
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path.as_str()),
            (":authority", authority),
            ("authorization", secret),
        ];
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let sent = [preface, frame(4, 0, 0, &[]), request(1, fields)].concat();
        stream.write_all(&sent).unwrap();
        // Until it is answered, or refused: HEADERS or RST_STREAM.
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; length as usize]).unwrap();
            if head[3] == 1 || head[3] == 3 {
                break;
            }
        }
    }
    // A change while it runs changes nothing of that.
    let answer = api(&tollgate, "PUT", "log", r#"{"level":"h2=trace,debug"}"#);
    assert_eq!(answer.status, 200);
    assert_eq!(tollgate.get(&good).status, 200);
    for line in lines(&tollgate) {
        let (target, level) = (line["target"].as_str().unwrap(), &line["level"]);
        let ours = target == "tollgate" || target.starts_with("tollgate::");
        assert!(ours || (level != "DEBUG" && level != "TRACE"), "{line}");
    }
    let log = tollgate.stderr();
    let found = log.lines().find(|line| line.contains(secret));
    assert!(found.is_none(), "{found:?}");
}

#[test]
fn the_level_is_changed_for_a_time_by_the_api_and_the_command() {
    let tollgate = Tollgate::start_config(&config("[log]\nformat = \"json\"\nlevel = \"warn\"\n"));
    let answer = api(&tollgate, "GET", "log", "");
    assert_eq!(
        answer.json(),
        json!({"level": "warn", "configured": "warn"})
    );
    for bad in [
        r#"{"level":"loud=sideways"}"#,
        r#"{"level":"debug","for":"2d"}"#,
        r#"{"level":"debug","for":"10ms"}"#,
        r#"{"level":"debug","until":1}"#,
    ] {
        assert_eq!(api(&tollgate, "PUT", "log", bad).status, 400, "{bad}");
    }
    let admin = format!("http://{}", tollgate.admin);
    let command = |arguments: &[&str]| {
        let mut command = binary();
        command.arg("log-level").args(arguments);
        command
            .args(["--admin-url", &admin, "--data-dir"])
            .arg(tollgate.data_dir());
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = command(&["info,tollgate::refused=off", "--for", "2s"]);
    assert!(
        told.starts_with("info,tollgate::refused=off until "),
        "{told}"
    );
    assert_eq!(tollgate.track(GUARDED, "", EVENT).status, 401);
    let deadline = Instant::now() + Duration::from_secs(20);
    while command(&[]).trim() != "warn (as configured)" {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(200));
    }
    // What was said while it was info, and nothing of what it had switched off.
    of_target(&tollgate, "tollgate::telemetry::log::level", 0);
    let log = tollgate.stderr();
    assert!(log.contains("log level changed"), "{log}");
    assert!(!log.contains("tollgate::refused\""), "{log}");
    assert_eq!(
        api(&tollgate, "PUT", "log", r#"{"level":"debug"}"#).status,
        200
    );
    let reset: Value = serde_json::from_str(&command(&["--reset", "--format", "json"])).unwrap();
    assert_eq!(reset, json!({"level": "warn", "configured": "warn"}));
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, config("[log]\nlevel = \"trace\"\naccess = 1.0\n")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
        ])
        .args(["--logstore-listen", "127.0.0.1:0", "--config"])
        .arg(&path)
        .arg("--data-dir")
        .arg(folder.path())
        .stdout(Stdio::piped())
        // A pipe that is never read.
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut banner = String::new();
    while !banner.contains("Ctrl-C stops it") {
        assert!(out.read_line(&mut banner).unwrap() > 0, "{banner}");
    }
    let address = |what: &str| {
        let line = banner
            .lines()
            .find(|line| line.trim_start().starts_with(what))
            .unwrap();
        line.split("http://")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let (ingest, admin) = (address("events in"), address("private"));
    let mut stream = connect(ingest);
    for _ in 0..3000 {
        let head = format!(
            "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            EVENT.len()
        );
        std::io::Write::write_all(&mut stream, &[head.as_bytes(), EVENT].concat()).unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
    }
    let metrics = exchange(
        admin,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"",
    )
    .text();
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tollgate_log_lines_dropped_total "));
    assert!(dropped.unwrap().parse::<u64>().unwrap() > 0, "{metrics}");
    // It ends as well, and in time.
    let kill = format!("kill -TERM {}", child.id());
    assert!(
        Command::new("sh")
            .args(["-c", &kill])
            .status()
            .unwrap()
            .success()
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
