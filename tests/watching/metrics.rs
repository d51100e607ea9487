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

/// Requests of a stranger who makes everything up. Each of eight connections sends its part.
fn make_up(tollgate: &Tollgate, from: usize, count: usize) {
    std::thread::scope(|scope| {
        for part in 0..8 {
            scope.spawn(move || {
                let mut stream = connect(tollgate.ingest.unwrap());
                for number in (from..from + count).skip(part).step_by(8) {
                    let address =
                        format!("203.{}.{}.{}", number % 3, number / 256 % 256, number % 256);
                    let (path, token) = match number % 4 {
                        0 => (format!("/made/up/{number}"), String::new()),
                        1 => (format!("/logstores/made-up-{number}/track"), String::new()),
                        2 => (
                            format!("/logstores/{GUARDED}/track"),
                            format!("token-{number}"),
                        ),
                        _ => (
                            format!("/logstores/{OPEN}/track"),
                            format!("token-{number}"),
                        ),
                    };
                    let head = format!(
                        "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n\
                         User-Agent: agent-{number}\r\nAuthorization: Bearer {token}\r\n\
                         X-Log-Project: {}\r\nContent-Length: {}\r\n\r\n",
                        if number % 7 == 0 {
                            format!("project-{number}")
                        } else {
                            PROJECT.to_owned()
                        },
                        EVENT.len()
                    );
                    stream.write_all(head.as_bytes()).unwrap();
                    stream.write_all(EVENT).unwrap();
                    read_answer(&mut stream);
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
    make_up(&tollgate, 0, 400);
    let labels = format!("{{project=\"{PROJECT}\",logstore=\"{OPEN}\"}}");
    until(
        &tollgate,
        &format!("tollgate_events_delivered_total{labels}"),
        1,
    );
    let before = series(&tollgate.metrics());
    make_up(&tollgate, 400, 2400);
    let after = series(&tollgate.metrics());
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    let all = tollgate.metric("tollgate_http_requests_total{version=\"1.1\"}");
    assert!(all >= 2800, "{all}");
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
