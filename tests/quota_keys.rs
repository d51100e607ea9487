//! Limits, by raw sockets against the real binary: every part of a key, what new keys are charged to,
//! shares of keys, forms of answers, and requests that lead nowhere.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::Write as _;
use std::net::SocketAddr;

use support::{Answer, PROJECT, Tollgate, binary, read_answer};

const ONE: &str = r#"{"__logs__":[{"k":"v"}]}"#;

/// A site with these logstores (their names, and what else is said of them) and limits.
fn start(logstores: &[(&str, &str)], limits: &str) -> Tollgate {
    let logstores: Vec<String> = logstores
        .iter()
        .map(|(name, more)| format!("[[project.logstore]]\nname = \"{name}\"\n{more}\n"))
        .collect();
    Tollgate::start_quotas(&logstores.concat(), limits)
}

fn limit(name: &str, more: &str) -> String {
    format!("[[limit]]\nname = \"{name}\"\n{more}\n")
}

fn token(tollgate: &Tollgate, logstore: &str, subject: &str) -> String {
    let output = binary()
        .args([
            "token",
            "mint",
            "--project",
            PROJECT,
            "--logstore",
            logstore,
        ])
        .args(["--subject", subject, "--data-dir"])
        .arg(tollgate.data_dir())
        .output()
        .unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    format!("Authorization: Bearer {}\r\n", token.trim())
}

fn sls(tollgate: &Tollgate, logstore: &str, extra: &str, body: &str) -> Answer {
    let extra = format!("x-log-apiversion: 0.6.0\r\n{extra}");
    tollgate.track(logstore, &extra, body)
}

/// A request from another address of this machine.
fn from(tollgate: &Tollgate, last: u8, request: &str, body: &str) -> Answer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let address = SocketAddr::from(([127, 0, 5, last], 0));
    socket.bind(&address.into()).unwrap();
    socket.connect(&tollgate.ingest.unwrap().into()).unwrap();
    let mut stream: std::net::TcpStream = socket.into();
    let head = format!("{request}Content-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    read_answer(&mut stream)
}

/// A part of a key, two requests that it tells apart, and whether it does: what the head says, and
/// the body.
struct Row {
    part: &'static str,
    one: (&'static str, &'static str, &'static str),
    other: (&'static str, &'static str, &'static str),
    apart: bool,
}

#[test]
fn every_part_of_a_key_tells_apart_what_it_should() {
    let row = |part, one, other, apart| Row {
        part,
        one,
        other,
        apart,
    };
    // The subject, a header, the body.
    let ann = ("ann", "", ONE);
    let rows = [
        row("subject", ann, ("bob", "", ONE), true),
        row("subject", ann, ("ann", "Cookie: visitor=b\r\n", ONE), false),
        row("claim:sub", ann, ("bob", "", ONE), true),
        // Who lacks it shares one count with all others who do.
        row("claim:tier", ann, ("bob", "", ONE), false),
        // One key signs for both.
        row("credential", ann, ("bob", "", ONE), false),
        row(
            "cookie:visitor",
            ("ann", "Cookie: visitor=a\r\n", ONE),
            ("ann", "Cookie: visitor=b\r\n", ONE),
            true,
        ),
        row(
            "header:x-device",
            ("ann", "X-Device: a\r\n", ONE),
            ("ann", "X-Device: b\r\n", ONE),
            true,
        ),
        row(
            "origin",
            ("ann", "Origin: https://a.example.com\r\n", ONE),
            ("ann", "Origin: https://b.example.com\r\n", ONE),
            true,
        ),
        row(
            "topic",
            ("ann", "", r#"{"__topic__":"a","__logs__":[{"k":"v"}]}"#),
            ("ann", "", r#"{"__topic__":"b","__logs__":[{"k":"v"}]}"#),
            true,
        ),
        row(
            "event:k",
            ("ann", "", r#"{"__logs__":[{"k":"a"}]}"#),
            ("ann", "", r#"{"__logs__":[{"k":"b"}]}"#),
            true,
        ),
        row("logstore", ann, ("bob", "", ONE), false),
    ];
    let names: Vec<String> = (0..rows.len()).map(|row| format!("row-{row}")).collect();
    let logstores: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let limits = rows.iter().zip(&names).map(|(row, name)| {
        let part = row.part;
        let more = format!("key = [\"{part}\"]\nunit = \"events\"\nlogstores = [\"{name}\"]\nrate = [{{ count = 1, per = \"1h\" }}]");
        limit(name, &more)
    });
    let tollgate = start(&logstores, &limits.collect::<String>());
    for (row, name) in rows.iter().zip(&names) {
        let send = |(subject, extra, body): (&str, &str, &str)| {
            let extra = format!("{}{extra}", token(&tollgate, name, subject));
            sls(&tollgate, name, &extra, body).status
        };
        let got = [send(row.one), send(row.one), send(row.other)];
        let other = if row.apart { 200 } else { 403 };
        assert_eq!(got, [200, 403, other], "{}", row.part);
    }
}

#[test]
fn new_keys_are_charged_to_the_parent_that_is_named_and_as_many_are_kept_as_were_asked_for() {
    let tollgate = start(
        &[("web", "")],
        &limit(
            "devices",
            "key = [\"subject\", \"header:x-device\"]\nmax_keys = 8\nrate = [{ count = 2, per = \"1h\" }]\nparent = { key = [\"subject\"], rate = [{ count = 5, per = \"1h\" }] }",
        ),
    );
    let passed = |subject: &str| {
        let bearer = token(&tollgate, "web", subject);
        let devices = (0..10).flat_map(|device| [device; 3]);
        let passed = devices.filter(|device| {
            let extra = format!("{bearer}X-Device: {device}\r\n");
            sls(&tollgate, "web", &extra, ONE).status == 200
        });
        passed.count()
    };
    assert_eq!([passed("ann"), passed("bob")], [5, 5]);
    let metric = |name: &str| tollgate.metric(&format!("{name}{{limit=\"devices\"}}"));
    assert_eq!(metric("tollgate_limit_key_capacity"), 8);
    assert!(metric("tollgate_limit_newcomers_refused_total") > 0);
}

#[test]
fn a_share_of_keys_is_held_to_a_limit_and_stays_the_same() {
    let tollgate = start(
        &[("web", "accept = [\"anonymous\"]")],
        &limit(
            "tried",
            "key = [\"address\"]\npercent = 50\nrate = [{ count = 0, per = \"1s\" }]",
        ),
    );
    let ask = |last: u8| {
        let head = "POST /logstores/web/track HTTP/1.1\r\nHost: localhost\r\n";
        from(&tollgate, last, head, ONE).status == 200
    };
    let first: Vec<bool> = (1..60).map(ask).collect();
    let second: Vec<bool> = (1..60).map(ask).collect();
    assert_eq!(first, second, "who is held to it stays so");
    let passed = first.iter().filter(|passed| **passed).count();
    assert!((12..48).contains(&passed), "about half of 59, not {passed}");
    let outcome = |outcome: &str| {
        tollgate.metric(&format!(
            "tollgate_limit_requests_total{{limit=\"tried\",outcome=\"{outcome}\"}}"
        ))
    };
    let passed = u64::try_from(2 * passed).unwrap();
    assert_eq!(
        (outcome("observed"), outcome("refused")),
        (passed, 118 - passed)
    );
}

#[test]
fn a_logstore_may_settle_how_quotas_are_answered() {
    let open = |answer: &str| format!("accept = [\"anonymous\"]\nquota_answer = \"{answer}\"");
    let tollgate = start(
        &[("as-sls", &open("sls")), ("as-http", &open("http"))],
        &limit("none", "rate = [{ count = 0, per = \"1s\" }]"),
    );
    let plain = tollgate.track("as-sls", "", ONE);
    let (status, code, _) = plain.refusal();
    assert_eq!((status, code.as_str()), (403, "WriteQuotaExceed"));
    let of_sls = sls(&tollgate, "as-http", "", ONE);
    assert_eq!(of_sls.status, 429);
    assert_eq!(of_sls.json()["violated-policies"][0], "none");
    for answer in [plain, of_sls] {
        assert!(answer.header("retry-after").is_some());
    }
}

#[test]
fn an_address_is_held_back_whatever_it_asks_for_and_pays_once() {
    let tollgate = start(
        &[("web", "accept = [\"anonymous\"]")],
        &limit(
            "per-address",
            "key = [\"address\"]\nrate = [{ count = 2, per = \"1h\" }]",
        ),
    );
    let requests = [
        (
            "POST /logstores/web/track HTTP/1.1\r\nHost: localhost\r\n",
            200,
        ),
        ("POST /nowhere HTTP/1.1\r\nHost: localhost\r\n", 404),
        (
            "PUT /logstores/web/track HTTP/1.1\r\nHost: localhost\r\n",
            405,
        ),
        (
            "POST /logstores/other/track HTTP/1.1\r\nHost: localhost\r\n",
            404,
        ),
        (
            "POST /logstores/web/track HTTP/1.1\r\nHost: other-project.example.com\r\n",
            404,
        ),
    ];
    for (last, (head, status)) in (1..).zip(requests) {
        let ask = || from(&tollgate, last, head, ONE);
        assert_eq!([ask().status, ask().status], [status; 2], "{head}");
        let stopped = ask();
        // One for a logstore in the form of its client, the others as SLS would.
        let form = if last == 1 { 429 } else { 403 };
        assert_eq!(stopped.status, form, "{head}: {stopped:?}");
        assert_eq!(stopped.header("x-tollgate-reason"), Some("quota_exceeded"));
        assert_eq!(stopped.header("x-tollgate-limit"), Some("per-address"));
        let wait: u64 = stopped.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1800).contains(&wait), "{wait}");
        // Whatever it had asked for, events are refused as well.
        let events = from(&tollgate, last, requests[0].0, ONE);
        assert_eq!(events.status, 429, "{head}");
    }
}

#[test]
fn the_path_of_the_token_service_is_held_back_without_a_call_as_well() {
    let limits = limit(
        "per-address",
        "key = [\"address\"]\nrate = [{ count = 2, per = \"1h\" }]",
    );
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("server-1.secret");
    std::fs::write(&secret, "a-secret-of-some-length-that-nobody-guesses").unwrap();
    let role = r#"
[[identity.access_key]]
id = "server-1"
secret = "file:{secret}"

[[identity.policy]]
name = "write-web"
document = '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": ["log:PutLogs"], "Resource": ["*"]}]}'

[[identity.role]]
arn = "acs:ram::1234567890123456:role/writer"
policies = ["write-web"]
assumed_by = ["server-1"]
"#;
    let tollgate = start(
        &[("web", "accept = [\"anonymous\"]")],
        &format!(
            "{limits}{}",
            role.replace("{secret}", secret.to_str().unwrap())
        ),
    );
    let ask = || from(&tollgate, 1, "GET / HTTP/1.1\r\nHost: localhost\r\n", "");
    assert_eq!([ask().status, ask().status], [404; 2]);
    let stopped = ask();
    assert_eq!(stopped.status, 403);
    assert_eq!(stopped.header("x-tollgate-limit"), Some("per-address"));
}

#[test]
fn a_preflight_is_charged_and_answered_so_that_a_page_reads_why_its_request_is_refused() {
    let tollgate = start(
        &[("web", "accept = [\"anonymous\"]")],
        &limit(
            "per-address",
            "key = [\"address\"]\nrate = [{ count = 2, per = \"1h\" }]",
        ),
    );
    let page =
        "/logstores/web/track HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example.com\r\n";
    let preflight = format!("OPTIONS {page}Access-Control-Request-Method: POST\r\n");
    // More than refusals that are answered at once: each of these is, as nothing counts them.
    for number in 0..40 {
        let answer = from(&tollgate, 1, &preflight, "");
        assert_eq!(answer.status, 200, "{number}");
        for name in ["origin", "methods", "headers"] {
            let name = format!("access-control-allow-{name}");
            assert!(answer.header(&name).is_some(), "{number}: {name}");
        }
        assert_eq!(answer.header("x-tollgate-reason"), None);
    }
    let refused = from(&tollgate, 1, &format!("POST {page}"), ONE);
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    assert!(refused.header("access-control-allow-origin").is_some());
    let exposed = refused.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("retry-after"), "{exposed}");
}

#[test]
fn the_wait_for_bytes_is_that_of_the_whole_body() {
    let tollgate = start(
        &[("web", "accept = [\"anonymous\"]")],
        &limit(
            "bytes",
            "unit = \"bytes\"\nkey = [\"address\"]\nrate = [{ count = 1, per = \"1s\", burst = 1000 }]",
        ),
    );
    let body = |bytes: usize| {
        let around = r#"{"__logs__":[{"k":""}]}"#.len();
        format!(
            "{{\"__logs__\":[{{\"k\":\"{}\"}}]}}",
            "v".repeat(bytes - around)
        )
    };
    assert_eq!(sls(&tollgate, "web", "", &body(1000)).status, 200);
    let refused = sls(&tollgate, "web", "", &body(900));
    assert_eq!(refused.status, 403);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((800..=900).contains(&wait), "{wait} s");
    // It never fits, and that is told before it is read: here only its head is sent.
    let head =
        "POST /logstores/web/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n";
    let (status, _, reason) = tollgate.send(head, b"").refusal();
    assert_eq!((status, reason.as_str()), (413, "quota_too_large"));
}
