//! The steps of a request cost no more instructions than they did, coarsely: each beside a parse of ten
//! events into a tree of values, in the same build. Counted by valgrind, which this binary runs on
//! itself; a count does not depend on what else the machine does.
//!
//! A step that is found too dear here does something twice, or something that grows with its input.
//! What a request costs in a release build is told by `benches/`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::config::{Config, Limits, TimeWindow, TokenPlace};
use tollgate::event::EventGroup;
use tollgate::front::transcode::{self, Context, Rules};
use tollgate::gate::identity::state::IdentityState;
use tollgate::gate::identity::sts::ReplayWindow;
use tollgate::gate::identity::{Action, Authenticator, Check, Facts, Trust, mint};
use tollgate::gate::quota::{self, Quotas};
use tollgate::telemetry::Metrics;

const PROJECT: &str = "sls-webtracking-mini";
const LOGSTORE: &str = "web-tracking-logstore";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// The yardstick.
const TREE: &str = "tree of 10 events";
/// Steps, and the most that each may cost of the yardstick: half as much again as when this was written,
/// by Rust 1.95.
const STEPS: [(&str, f64); 6] = [
    ("1 event", 0.08),
    ("10 events", 0.7),
    ("100 events", 7.0),
    ("token", 0.18),
    ("kept token", 0.1),
    ("limit", 0.024),
];

/// The step that a run of this binary takes, and how often.
const STEP: &str = "TOLLGATE_COUNTED_STEP";
const TIMES: &str = "TOLLGATE_COUNTED_TIMES";
const FEW: usize = 4;
const MANY: usize = 24;

fn body(events: usize) -> Vec<u8> {
    let event = json!({
        "event": "page_view", "page": "/products/4711", "referrer": "https://www.example.com/search",
        "duration": 1834, "scroll": 0.75, "session": "2f1c9a7e-5b8d-4c61-9d3e-7a40b1c2d3e4",
        "language": "zh-CN", "screen": "1920x1080", "logged_in": true, "note": "\u{65b0}\u{54c1}",
    });
    let events = vec![event; events];
    serde_json::to_vec(&json!({"__topic__": "web", "__logs__": events})).unwrap()
}

/// Takes a step so many times, after what is only done once.
fn take(step: &str, times: usize) {
    let repeat = |step: &mut dyn FnMut(usize)| (0..times).for_each(step);
    match step.split_once(" event") {
        _ if step == TREE => {
            let body = body(10);
            repeat(&mut |_| drop(black_box(serde_json::from_slice::<Value>(&body).unwrap())));
        }
        Some((events, _)) => {
            let body = body(events.parse().unwrap());
            let rules = Rules::new(&Limits::default(), &TimeWindow::default());
            let context = Context {
                rules: &rules,
                received: 1_781_510_400,
                stamp: &[],
                attached: tollgate::event::AttachedNames::NONE,
                check: None,
            };
            let mut out = EventGroup::default();
            repeat(&mut |_| {
                out.clear();
                transcode::json(&body, &context, &mut out).unwrap();
            });
        }
        None if step == "limit" => ask(times),
        None => check(step == "kept token", times),
    }
}

fn check(kept: bool, times: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::quickstart();
    config.data_dir = folder.path().to_owned();
    let nonces = ReplayWindow::new(Duration::from_secs(900), ReplayWindow::USUAL);
    let trust = Arc::new(Trust::load(&config, &Arc::new(nonces)).unwrap());
    let state = IdentityState::open(folder.path(), &config.identity, &Metrics::new()).unwrap();
    let authenticator = Authenticator::new(Arc::clone(&trust), Arc::new(state));
    let key = trust.session_key(None).unwrap();
    let tokens: Vec<String> = (0..MANY)
        .map(|n| mint(key, PROJECT, LOGSTORE, 600, Some(&format!("visitor-{n}"))).unwrap())
        .collect();
    let facts = Facts {
        project: PROJECT,
        logstore: LOGSTORE,
        action: Action::TrackPost,
        resource: "acs:log:cn:1:project/sls-webtracking-mini/logstore/web-tracking-logstore",
        client: CLIENT,
        secure: true,
        origin: Some("https://shop.example.com"),
        unix_seconds: tollgate::foundation::clock::unix_seconds(),
    };
    let check = Check::new(&authenticator, &trust, &facts);
    let mut one = |at: usize| {
        let token = tokens.get(at).unwrap().as_bytes();
        drop(black_box(
            check.token(token, TokenPlace::Authorization, None).unwrap(),
        ));
    };
    if kept {
        (0..2).for_each(|_| one(0));
        (0..times).for_each(|_| one(0));
    } else {
        (0..times).for_each(&mut one);
    }
}

fn ask(times: usize) {
    let mut config = Config::quickstart();
    let rule =
        "name = \"per-address\"\nkey = [\"address\"]\nrate = [{ count = 1000, per = \"1s\" }]";
    config.limit_rules = vec![toml::from_str(rule).unwrap()];
    let quotas = Quotas::new(&config, 7).unwrap();
    let began = quotas.now().unix_seconds;
    for _ in 0..times + 1 {
        let mut charges = quotas.begin(began);
        charges.at_door(&quota::Facts::of_address(CLIENT)).unwrap();
        charges.keep();
    }
}

/// Instructions of a step.
fn count(step: &str) -> f64 {
    let run = |times: usize| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap())
            .args(["counted", "--exact", "--ignored", "--test-threads=1"])
            .env(STEP, step)
            .env(TIMES, times.to_string())
            .output()
            .expect("valgrind is one of Debian's packages");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let (_, count) = said.rsplit_once("Collected : ").unwrap();
        count
            .split_whitespace()
            .next()
            .unwrap()
            .parse::<f64>()
            .unwrap()
    };
    (run(MANY) - run(FEW)) / (MANY - FEW) as f64
}

#[test]
#[ignore = "run by the test below, and counted"]
fn counted() {
    // Asked for by who runs ignored tests too, there is nothing to do.
    if let (Ok(step), Ok(times)) = (std::env::var(STEP), std::env::var(TIMES)) {
        take(&step, times.parse().unwrap());
    }
}

#[test]
fn no_step_of_a_request_has_become_dear() {
    let yardstick = count(TREE);
    let mut dear = Vec::new();
    for (step, most) in STEPS {
        let ratio = count(step) / yardstick;
        println!("{step}: {ratio:.3} of {yardstick:.0}");
        if ratio > most {
            dear.push(format!("{step}: {ratio:.3} and not {most}"));
        }
    }
    assert!(dear.is_empty(), "{dear:#?}");
}
