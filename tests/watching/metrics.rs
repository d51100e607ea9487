//! What `/metrics` and `/autoscale` say.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::{Duration, Instant};

use tollgate::telemetry::GROUPS;

use super::{config, private, prompt};
use crate::support::{GUARDED, OPEN, PROJECT, Tollgate, connect, read_answer};

const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0;q=0.6,*/*;q=0.1\r\n";
const EVENT: &[u8] = br#"{"__logs__":[{"event":"view"}]}"#;

/// Names of series without their values.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.map(|line| match line.rfind('}') {
        Some(end) => line[..=end].to_owned(),
        None => line.split(' ').next().unwrap().to_owned(),
    });
    names.collect()
}

/// Waits until a line of the metrics holds.
fn until(tollgate: &Tollgate, line: &str, at_least: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while tollgate.metric(line) < at_least {
        assert!(Instant::now() < deadline, "{line}\n{}", tollgate.metrics());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_node_shows_nothing_that_is_not_declared_in_either_form() {
    let tollgate = Tollgate::start_config(&prompt(""));
    let token = format!("Authorization: Bearer {}\r\n", tollgate.token());
    for _ in 0..20 {
        assert_eq!(tollgate.track(GUARDED, &token, EVENT).status, 200);
        assert_eq!(tollgate.track(GUARDED, "", EVENT).status, 401);
        assert_eq!(tollgate.track(OPEN, "", b"{").status, 400);
        assert_eq!(tollgate.get("/nowhere").status, 404);
    }
    let labels = format!("{{project=\"{PROJECT}\",logstore=\"{GUARDED}\"");
    let lag = format!("tollgate_delivery_lag_seconds_count{labels}}}");
    until(&tollgate, &lag, 1);

    let text = private(&tollgate, "/metrics", "");
    let kind = text.header("content-type").unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let open = private(&tollgate, "/metrics", OPEN_METRICS);
    let kind = open.header("content-type").unwrap();
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert_eq!(open.header("vary"), Some("accept"));
    assert!(open.text().ends_with("\n# EOF\n"));
    assert_eq!(
        series(&text.text()).len(),
        text.text()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .count()
    );

    let declared: Vec<_> = GROUPS.iter().flat_map(|group| group.metrics).collect();
    for (answer, in_text) in [(&text, true), (&open, false)] {
        for line in answer.text().lines() {
            let Some(rest) = line.strip_prefix("# TYPE ") else {
                continue;
            };
            let name = rest.split(' ').next().unwrap();
            let known = declared
                .iter()
                .any(|it| if in_text { it.name } else { it.stem() } == name);
            assert!(known, "{name} is not declared");
        }
    }
    let text = text.text();
    for line in [
        "tollgate_config_generation 1",
        "tollgate_drain_stage{stage=\"serving\"} 1",
        &format!("tollgate_requests_refused_total{labels},reason=\"credential_missing\"}} 20"),
        "tollgate_unrouted_requests_refused_total{reason=\"unknown_route\"} 20",
        "tollgate_metrics_logstores_folded 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    // The first of each worker thread is timed.
    for line in [
        "tollgate_request_duration_seconds_count",
        "tollgate_request_stage_seconds_count{stage=\"commit\"}",
        "tollgate_batch_wait_seconds_count",
        "tollgate_delivery_attempt_seconds_count{upstream=\"embedded\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(tollgate.metric(line) > 0, "{line}: {text}");
    }
    assert!(text.contains(&format!(
        "tollgate_refused_bytes_total{{project=\"{PROJECT}\",logstore=\"{OPEN}\""
    )));
    assert!(open.text().contains("# {request_id=\""), "an exemplar");
}

/// A number that follows from another without being like it.
fn scattered(number: usize) -> u64 {
    let mixed = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

/// The request of a stranger who makes everything up: paths, logstores, projects, hosts, tokens wherever
/// they may stand, addresses, platforms, topics and tags.
fn made_up(number: usize) -> Vec<u8> {
    let name = format!("{:x}", scattered(number));
    let (mut path, mut host) = (format!("/logstores/{OPEN}/track"), "localhost".to_owned());
    let (mut project, mut more, mut body) = (PROJECT.to_owned(), String::new(), EVENT.to_vec());
    match number % 12 {
        0 => path = format!("/{name}/{number}"),
        1 => path = format!("/logstores/l-{name}/track"),
        2 => path = format!("/v1/events/l-{name}"),
        3 => project = format!("p-{name}"),
        4 => {
            (project, host) = (
                String::new(),
                format!("p-{name}.cn-hangzhou.log.aliyuncs.com"),
            )
        }
        5 => {
            (path, more) = (
                format!("/logstores/{GUARDED}/track"),
                format!("Authorization: Bearer {name}\r\n"),
            )
        }
        6 => path = format!("/t/{name}/logstores/{GUARDED}/track"),
        7 => {
            (path, more) = (
                format!("/logstores/{GUARDED}/track?token={name}"),
                format!("Cookie: t{name}={name}\r\n"),
            )
        }
        8 => {
            (path, more) = (
                format!("/logstores/{GUARDED}/shards/lb"),
                format!("Authorization: LOG {name}:{name}\r\n"),
            )
        }
        9 => {
            more = format!(
                "Referer: https://servicewechat.com/{name}/1/page.html\r\nUser-Agent: {name}\r\n"
            )
        }
        10 => {
            let text = format!(
                r#"{{"__topic__":"{name}","__source__":"{name}","__tags__":{{"{name}":"{name}"}},"__logs__":[{{"{name}":"view"}}]}}"#
            );
            body = text.into_bytes();
        }
        _ => {}
    }
    if !project.is_empty() {
        more += &format!("X-Log-Project: {project}\r\n");
    }
    let address = scattered(number).to_be_bytes();
    let [a, b, c, ..] = address;
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 203.{a}.{b}.{c}\r\n{more}\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.append(&mut body);
    request
}

/// Sends made-up requests. Each of eight connections sends its part; one that is closed is replaced.
fn make_up(tollgate: &Tollgate, from: usize, count: usize) {
    std::thread::scope(|scope| {
        for part in 0..8 {
            scope.spawn(move || {
                let mut stream = connect(tollgate.ingest.unwrap());
                for number in (from..from + count).skip(part).step_by(8) {
                    stream.write_all(&made_up(number)).unwrap();
                    let answer = read_answer(&mut stream);
                    assert!((200..500).contains(&answer.status), "{answer:?}");
                    if answer.header("connection") == Some("close") {
                        stream = connect(tollgate.ingest.unwrap());
                    }
                }
            });
        }
    });
}

#[test]
fn made_up_paths_tokens_addresses_and_names_make_no_series() {
    let more = "[ingest.trusted_proxies]\nnetworks = [\"127.0.0.0/8\"]\n";
    let tollgate = Tollgate::start_config(&prompt(more));
    // Each reason has its series from its first use on.
    make_up(&tollgate, 0, 600);
    let labels = format!("{{project=\"{PROJECT}\",logstore=\"{OPEN}\"}}");
    until(
        &tollgate,
        &format!("tollgate_events_delivered_total{labels}"),
        1,
    );
    let mut before = series(&tollgate.metrics());
    // How fast a store takes what waits for it is measured only while something waits, which may
    // never be, or not before now.
    for name in [
        "tollgate_drain_rate_bytes",
        "tollgate_expected_delay_seconds",
    ] {
        before.insert(format!("{name}{labels}"));
    }
    make_up(&tollgate, 600, 50_000);
    let after = series(&tollgate.metrics());
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    let all = tollgate.metric("tollgate_http_requests_total{version=\"1.1\"}");
    assert!(all >= 50_600, "{all}");
    let accepted = format!("tollgate_requests_accepted_total{labels}");
    assert!(tollgate.metric(&accepted) > 10_000);
}

#[test]
fn names_beyond_the_bound_share_their_series() {
    let limits: String = (0..5)
        .map(|n| {
            format!(
                "[[limit]]\nname = \"limit-{n}\"\nkey = [\"address\"]\n\
                 rate = [{{ count = {}, per = \"1h\" }}]\n",
                100 + n
            )
        })
        .collect();
    let text = config(&limits) + "\n[metrics]\nmax_names = 3\n";
    let tollgate = Tollgate::start_config(&text);
    for _ in 0..7 {
        assert_eq!(tollgate.track(OPEN, "", EVENT).status, 200);
    }
    let passed = |limit: &str| {
        let name = "tollgate_limit_requests_total";
        tollgate.metric(&format!("{name}{{limit=\"{limit}\",outcome=\"passed\"}}"))
    };
    assert_eq!((passed("limit-2"), passed("_other")), (7, 14));
    assert!(!tollgate.metrics().contains("limit-3"));
    let folded =
        |kind: &str| tollgate.metric(&format!("tollgate_metrics_names_folded{{kind=\"{kind}\"}}"));
    assert_eq!((folded("limit"), folded("upstream")), (2, 0));
}

#[test]
fn logstores_beyond_the_bound_share_their_series() {
    let logstores: String = (0..6)
        .map(|n| format!("[[project.logstore]]\nname = \"more-{n}\"\naccept = [\"anonymous\"]\n"))
        .collect();
    let text = config(&logstores) + "\n[metrics]\nmax_logstores = 5\n";
    let tollgate = Tollgate::start_config(&text);
    for n in 0..6 {
        for _ in 0..=n {
            assert_eq!(tollgate.track(&format!("more-{n}"), "", EVENT).status, 200);
        }
    }
    // Two of the built-in configuration and three of these come first.
    let line = |logstore: &str| {
        let project = if logstore == "_other" {
            "_other"
        } else {
            PROJECT
        };
        let name = "tollgate_requests_accepted_total";
        tollgate.metric(&format!(
            "{name}{{project=\"{project}\",logstore=\"{logstore}\"}}"
        ))
    };
    assert_eq!(tollgate.metric("tollgate_metrics_logstores_folded"), 3);
    assert_eq!((line("more-2"), line("_other")), (3, 4 + 5 + 6));
    assert!(!tollgate.metrics().contains("more-5"));
    let bucket = "tollgate_delivery_lag_seconds_count{project=\"_other\",logstore=\"_other\"}";
    until(&tollgate, bucket, 3);
    // The books know all of them.
    let books = super::api(&tollgate, "GET", "books", "").json();
    assert_eq!(books["logstores"].as_array().unwrap().len(), 8);
    assert_eq!(books["balanced"], true);
}

#[test]
fn pages_of_others_read_nothing_by_a_name_that_points_here() {
    let more = "[admin]\nhosts = [\"tollgate.monitoring.svc\"]\n";
    let tollgate = Tollgate::start_config(&config(more));
    let get = |path: &str, host: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        crate::support::exchange(tollgate.admin, &head, b"")
    };
    for path in ["/metrics", "/autoscale", "/drain"] {
        for host in [
            "127.0.0.1:8081",
            "[::1]",
            "localhost",
            "Tollgate.Monitoring.svc:8081",
        ] {
            assert_eq!(get(path, host).status, 200, "{path} {host}");
        }
        for host in [
            "evil.example",
            "tollgate",
            "127.0.0.1.evil.example:8081",
            "",
        ] {
            let answer = get(path, host);
            assert_eq!(answer.status, 403, "{path} {host}");
            let told = answer.text();
            assert!(told.contains("admin.hosts"), "{told}");
            assert!(!told.contains(PROJECT), "{told}");
        }
        let change =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            crate::support::exchange(tollgate.admin, &change, b"").status,
            405
        );
    }
    // A probe calls by whatever name it has, and learns one word.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(path, "evil.example").status, 200, "{path}");
    }
    let denied = "tollgate_admin_calls_total{call=\"open\",outcome=\"denied\"}";
    assert_eq!(tollgate.metric(denied), 12);
}

#[test]
fn one_number_says_how_full_the_node_is() {
    let tollgate =
        Tollgate::start_config(&config("").replace("[ingest]", "[ingest]\nmax_connections = 10"));
    let _held: Vec<_> = (0..5).map(|_| connect(tollgate.ingest.unwrap())).collect();
    until(&tollgate, "tollgate_connections_open", 5);
    let answer = private(&tollgate, "/autoscale", "");
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let load: f64 = answer.text().trim().parse().unwrap();
    assert!((0.5..=1.0).contains(&load), "{load}");
    let json = private(&tollgate, "/autoscale", "Accept: application/json\r\n").json();
    assert_eq!(json["connections"], 0.5);
    for part in ["memory", "logstore", "lag", "load"] {
        assert!(
            (0.0..=1.0).contains(&json[part].as_f64().unwrap()),
            "{json}"
        );
    }
    assert!(
        tollgate
            .metrics()
            .contains("tollgate_load_part_ratio{part=\"connections\"} 0.5\n")
    );
}

#[test]
fn simultaneous_scrapes_are_all_answered() {
    let tollgate = Tollgate::start();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let answer = private(&tollgate, "/metrics", OPEN_METRICS);
                assert_eq!(answer.status, 200);
                assert!(answer.text().ends_with("# EOF\n"));
            });
        }
    });
    assert!(
        tollgate
            .metrics()
            .contains("tollgate_scrape_duration_seconds ")
    );
}
