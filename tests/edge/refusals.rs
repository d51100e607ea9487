//! Who is refused again and again waits for its answers, and nobody else does.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::connections::{connect_from, listener};
use super::support::{GUARDED, OPEN, Tollgate, connect, read_answer};
use super::{await_ended, await_metric, config, request, rest};

const DELAYED: &str = "tollgate_refusals_delayed_total";
const WAITING: &str = "tollgate_refusals_waiting";
const OPENED: &str = "tollgate_connections_open";

/// So long that no test waits for it, and that half of it is long.
const LONG: &str = "refusal_delay = \"20s\"";
/// Refusals in a row that are answered at once.
const FREE: u64 = 4;
/// Connections of a network that is refused until its next one waits the longest.
pub(super) const WEARY: usize = 12;

/// A service with an open logstore and one that asks for tokens, these lines in `[ingest]` and these
/// tables after it.
pub(super) fn start_guarded(ingest: &str, tables: &str) -> Tollgate {
    let guarded = format!(
        r#"
        [[project.logstore]]
        name = "{GUARDED}"
        [[identity.jwt]]
        kid = "test"
        issuer = "tollgate"
        audience = "tollgate"
        "#
    );
    Tollgate::start_config(&(config(ingest, tables) + &guarded))
}

fn start(ingest: &str) -> Tollgate {
    start_guarded(ingest, "")
}

fn good(stream: &mut TcpStream) -> u16 {
    stream.write_all(request("").as_bytes()).unwrap();
    read_answer(stream).status
}

fn ask_badly(stream: &mut TcpStream) {
    let text = request("Authorization: Bearer no-token\r\n").replacen(OPEN, GUARDED, 1);
    stream.write_all(text.as_bytes()).unwrap();
}

fn bad(stream: &mut TcpStream) -> u16 {
    ask_badly(stream);
    read_answer(stream).status
}

/// Has a network refused as often as is counted, each time at once, and leaves no connection.
pub(super) fn weary(tollgate: &Tollgate, open: impl Fn() -> TcpStream) {
    let mut all: Vec<_> = (0..WEARY).map(|_| open()).collect();
    for stream in &mut all {
        assert_eq!(good(stream), 200);
    }
    for stream in &mut all {
        for _ in 0..FREE {
            assert_eq!(bad(stream), 401);
        }
    }
    drop(all);
    await_metric(tollgate, OPENED, 0);
    assert_eq!(tollgate.metric(DELAYED), 0);
}

#[test]
fn refusals_in_a_row_wait_longer_and_longer_until_something_is_taken() {
    let tollgate = start("refusal_delay = \"100ms\"");
    let mut stream = connect(tollgate.ingest.unwrap());
    for row in 0..2 {
        for _ in 0..FREE {
            assert_eq!(bad(&mut stream), 401);
        }
        assert_eq!(tollgate.metric(DELAYED), 7 * row);
        let began = Instant::now();
        for _ in 0..7 {
            assert_eq!(bad(&mut stream), 401);
        }
        // Half of 10, 20, 40, 80, 100, 100 and 100 ms at the least.
        assert!(began.elapsed() >= Duration::from_millis(225));
        assert_eq!(tollgate.metric(DELAYED), 7 * (row + 1));
        assert_eq!(good(&mut stream), 200);
    }
    assert_eq!(tollgate.metric(WAITING), 0);
    tollgate.events(OPEN, 2);
}

#[test]
fn others_are_answered_meanwhile_and_a_stop_waits_for_nobody() {
    let mut tollgate = start(LONG);
    let ingest = tollgate.ingest.unwrap();
    weary(&tollgate, || connect(ingest));
    let mut refused = connect(ingest);
    ask_badly(&mut refused);
    await_metric(&tollgate, WAITING, 1);
    // Another client behind the same address: what is taken never waits.
    let mut neighbour = connect(ingest);
    assert_eq!(good(&mut neighbour), 200);
    // It has shown that it is good: its own refusals count from the start.
    for _ in 0..FREE {
        assert_eq!(bad(&mut neighbour), 401);
    }
    // A network that was not refused.
    let mut other = connect_from(Ipv4Addr::new(127, 0, 2, 1), ingest);
    assert_eq!(bad(&mut other), 401);
    assert_eq!((tollgate.metric(WAITING), tollgate.metric(DELAYED)), (1, 1));
    tollgate.events(OPEN, WEARY + 1);
    let began = Instant::now();
    tollgate.signal("-TERM");
    let text = String::from_utf8(rest(&mut refused)).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 401") && text.contains("connection: close"),
        "{text}"
    );
    drop((neighbour, other));
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "the shortest wait"
    );
}

#[test]
fn a_network_that_comes_back_is_known_for_as_long_as_it_was_refused() {
    let tollgate = start("refusal_delay = \"20ms\"");
    let ingest = tollgate.ingest.unwrap();
    weary(&tollgate, || connect(ingest));
    // One refusal for each connection, from its first.
    for _ in 0..5 {
        assert_eq!(bad(&mut connect(ingest)), 401);
    }
    let delayed = tollgate.metric(DELAYED);
    assert!((1..=5).contains(&delayed), "{delayed}");
    // One is forgotten each second; those beyond the free ones of a connection are few here.
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        thread::sleep(Duration::from_secs(2));
        let before = tollgate.metric(DELAYED);
        assert_eq!(bad(&mut connect(ingest)), 401);
        if tollgate.metric(DELAYED) == before {
            return;
        }
    }
    panic!("it is never forgotten");
}

#[test]
fn proxies_do_not_wait_and_who_is_behind_a_proxy_header_does() {
    let tables = r#"
        [ingest.trusted_proxies]
        networks = ["127.0.3.1"]
        header = "x-forwarded-for"
        [[ingest.listener]]
        name = "balanced"
        listen = "127.0.0.1:0"
        [ingest.listener.proxy_protocol]
        trusted = ["127.0.0.1"]
    "#;
    let tollgate = start_guarded("refusal_delay = \"5ms\"", tables);
    let mut proxy = connect_from(Ipv4Addr::new(127, 0, 3, 1), tollgate.ingest.unwrap());
    for _ in 0..60 {
        assert_eq!(bad(&mut proxy), 401);
    }
    let balanced = listener(&tollgate, "balanced");
    let through = |header: &str| {
        let mut stream = connect(balanced);
        stream.write_all(header.as_bytes()).unwrap();
        for _ in 0..10 {
            assert_eq!(bad(&mut stream), 401);
        }
    };
    // The load balancer itself, and a proxy behind it.
    through("PROXY UNKNOWN\r\n");
    through("PROXY TCP4 127.0.3.1 10.0.0.1 12345 80\r\n");
    assert_eq!(tollgate.metric(DELAYED), 0);
    through("PROXY TCP4 198.51.100.1 10.0.0.1 12345 80\r\n");
    assert_eq!(tollgate.metric(DELAYED), 10 - FREE);
}

#[test]
fn who_is_refused_among_many_waits_longer() {
    const CROWD: u64 = 2200;
    const DELAY: Duration = Duration::from_secs(10);
    let tollgate = start("refusal_delay = \"10s\"\nmax_connections_per_prefix = 4000");
    let ingest = tollgate.ingest.unwrap();
    weary(&tollgate, || connect(ingest));
    let mut crowd: Vec<_> = (0..CROWD).map(|_| connect(ingest)).collect();
    crowd.iter_mut().for_each(ask_badly);
    let deadline = Instant::now() + Duration::from_secs(20);
    while tollgate.metric(DELAYED) < CROWD {
        assert!(Instant::now() < deadline, "{}", tollgate.metric(DELAYED));
        thread::sleep(Duration::from_millis(20));
    }
    assert!(
        tollgate.metric(WAITING) > 2100,
        "the first have left already"
    );
    let mut last = connect(ingest);
    let began = Instant::now();
    ask_badly(&mut last);
    last.set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    assert_eq!(read_answer(&mut last).status, 401);
    assert!(began.elapsed() > DELAY, "the longest of one that is alone");
    // What is taken never waits.
    let began = Instant::now();
    assert_eq!(good(&mut connect(ingest)), 200);
    assert!(began.elapsed() < DELAY / 2, "the shortest wait");
}

#[test]
fn nothing_waits_where_it_is_off() {
    let tollgate = start("refusal_delay = \"0s\"");
    let mut stream = connect(tollgate.ingest.unwrap());
    for _ in 0..100 {
        assert_eq!(bad(&mut stream), 401);
    }
    assert_eq!(tollgate.metric(DELAYED), 0);
}

#[test]
fn a_preflight_is_neither_refused_nor_taken() {
    let tollgate = start("");
    let mut stream = connect(tollgate.ingest.unwrap());
    for row in 0..=FREE {
        assert_eq!(tollgate.metric(DELAYED), 0, "{row}");
        assert_eq!(bad(&mut stream), 401);
        stream
            .write_all(b"OPTIONS /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
    }
    assert_eq!(tollgate.metric(DELAYED), 1);
}

#[test]
fn who_is_refused_gives_way_before_who_is_idle() {
    let tollgate = start(&format!("{LONG}\nmax_connections = 14"));
    let ingest = tollgate.ingest.unwrap();
    weary(&tollgate, || connect(ingest));
    // The oldest are idle.
    let mut idle: Vec<_> = (0..12).map(|_| connect(ingest)).collect();
    for stream in &mut idle {
        assert_eq!(good(stream), 200);
    }
    let mut refused = connect(ingest);
    ask_badly(&mut refused);
    await_metric(&tollgate, WAITING, 1);
    // With this one all places are taken, and the listener wants one for whoever comes next.
    let mut last = connect(ingest);
    assert_eq!(good(&mut last), 200);
    let text = String::from_utf8(rest(&mut refused)).unwrap();
    assert!(
        text.starts_with("HTTP/1.1 401") && text.contains("connection: close"),
        "{text}"
    );
    await_ended(&tollgate, "crowded", 1);
    for stream in &mut idle {
        assert_eq!(good(stream), 200);
    }
    tollgate.events(OPEN, WEARY + 12 + 1 + 12);
}

#[test]
fn connections_of_a_network_have_a_rate() {
    let tollgate = start("max_connections_per_prefix = 3\nconnection_rate_per_prefix = 1");
    let ingest = tollgate.ingest.unwrap();
    let at = |last: u8, ingest: SocketAddr| {
        let mut stream = connect_from(Ipv4Addr::new(127, 0, 4, last), ingest);
        // What was closed may be so before this, or not.
        drop(stream.write_all(request("Connection: close\r\n").as_bytes()));
        let answered = rest(&mut stream).starts_with(b"HTTP/1.1 200");
        await_metric(&tollgate, OPENED, 0);
        answered
    };
    for _ in 0..3 {
        assert!(at(1, ingest), "its burst");
    }
    let mut tries = 0..30;
    assert!(tries.any(|_| !at(1, ingest)), "one comes back each second");
    await_ended(&tollgate, "prefix_rate", 1);
    assert!(at(2, ingest), "another network");
    thread::sleep(Duration::from_millis(1100));
    assert!(at(1, ingest));
}
