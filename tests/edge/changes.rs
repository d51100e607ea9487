//! What a reload changes of the public listeners.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::{connect, exchange, read_answer};
use super::*;

/// A port that nobody listens at.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Writes a configuration in the place of the one that runs, and reloads it.
pub(super) fn reload(tollgate: &Tollgate, text: &str) -> support::Answer {
    let folder = tollgate.data_dir();
    std::fs::write(folder.join("config.toml.new"), text).unwrap();
    std::fs::rename(folder.join("config.toml.new"), folder.join("config.toml")).unwrap();
    api(tollgate, "POST", "reload")
}

fn api(tollgate: &Tollgate, method: &str, path: &str) -> support::Answer {
    let token = std::fs::read_to_string(tollgate.data_dir().join("keys/admin.key")).unwrap();
    let head = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 0\r\n\r\n",
        token.trim()
    );
    exchange(tollgate.admin, &head, b"")
}

pub(super) fn reloads(tollgate: &Tollgate, text: &str) {
    let answer = reload(tollgate, text);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// An event on an open connection: the status, and whether the connection goes on.
pub(super) fn ask(stream: &mut TcpStream) -> (u16, bool) {
    stream.write_all(request("").as_bytes()).unwrap();
    let answer = read_answer(stream);
    (answer.status, answer.header("connection") != Some("close"))
}

fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn more(address: SocketAddr, rest: &str) -> String {
    format!("[[ingest.listener]]\nname = \"more\"\nlisten = \"{address}\"\n{rest}")
}

#[test]
fn a_listener_comes_moves_and_goes_and_its_connections_end_with_their_answer() {
    let tollgate = Tollgate::start_config(&config("", ""));
    let mut main = connect(tollgate.ingest.unwrap());
    assert_eq!(ask(&mut main), (200, true));
    let (first, second) = (free(), free());
    reloads(&tollgate, &config("", &more(first, "")));
    let mut early = connect(first);
    assert_eq!(ask(&mut early), (200, true));
    let listeners = api(&tollgate, "GET", "state").json()["listeners"].clone();
    let listed = |name: &str, address: SocketAddr| {
        let all = listeners.as_array().unwrap();
        all.iter()
            .any(|it| it["name"] == name && it["address"] == address.to_string())
    };
    assert!(
        listed("more", first) && listed("main", tollgate.ingest.unwrap()),
        "{listeners}"
    );
    // It moves: who was there is answered once more.
    reloads(&tollgate, &config("", &more(second, "")));
    until("the old place is closed", || refuses(first));
    assert_eq!(ask(&mut early), (200, false));
    let mut late = connect(second);
    let mut silent = connect(second);
    assert_eq!(ask(&mut late), (200, true));
    // It goes.
    reloads(&tollgate, &config("", ""));
    until("the new place is closed", || refuses(second));
    assert_eq!(ask(&mut late), (200, false));
    assert_eq!(ask(&mut silent), (200, false), "it was there before");
    assert_eq!(
        ask(&mut main),
        (200, true),
        "the others have nothing to do with it"
    );
}

#[test]
fn an_address_that_one_listener_gives_up_is_taken_by_another_in_the_same_reload() {
    let tollgate = Tollgate::start_config(&config("", ""));
    let (first, second) = (free(), free());
    let two = |more_at: SocketAddr, other_at: SocketAddr| {
        let other = format!("[[ingest.listener]]\nname = \"other\"\nlisten = \"{other_at}\"\n");
        config("", &format!("{}{other}", more(more_at, "")))
    };
    let listed = |name: &str| {
        let state = api(&tollgate, "GET", "state").json();
        let all = state["listeners"].as_array().unwrap().clone();
        let found = all.into_iter().find(|it| it["name"] == name);
        found.map(|it| it["address"].as_str().unwrap().to_owned())
    };
    reloads(&tollgate, &two(first, second));
    let mut early = connect(first);
    assert_eq!(ask(&mut early), (200, true));
    // They change places, then one has another name: at no moment is an address without a socket.
    reloads(&tollgate, &two(second, first));
    assert_eq!(listed("more"), Some(second.to_string()));
    assert_eq!(listed("other"), Some(first.to_string()));
    assert_eq!(ask(&mut early), (200, false), "it was of `more`");
    for address in [first, second] {
        assert_eq!(ask(&mut connect(address)), (200, true), "{address}");
    }
    reloads(&tollgate, &config("", &more(first, "")));
    until("the place of nobody is closed", || refuses(second));
    assert_eq!(listed("other"), None);
    let mut late = connect(first);
    assert_eq!(ask(&mut late), (200, true));
    // A reload that is refused hands nothing on.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let answer = reload(&tollgate, &two(taken.local_addr().unwrap(), first));
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert_eq!(ask(&mut late), (200, true), "all is as it was");
    assert_eq!(listed("more"), Some(first.to_string()));
    assert_eq!(ask(&mut connect(first)), (200, true));
}

#[test]
fn who_waits_at_a_socket_is_heard_when_another_is_bound_beside_it() {
    let place = TcpListener::bind("[::]:0").unwrap();
    let port = place.local_addr().unwrap().port();
    drop(place);
    let six_only = |most: usize, six: bool| {
        let place = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        let rest = more(place, &format!("ipv6_only = {six}\n"));
        let bounds = format!("reuse_port = true\nmax_connections = {most}");
        config(&bounds, &rest)
    };
    // A place for the next connection of either listener: one whose body does not end has the last.
    let tollgate = Tollgate::start_config(&six_only(2, false));
    let four = SocketAddr::from(([127, 0, 0, 1], port));
    let mut busy = connect(four);
    let whole = request("");
    busy.write_all(&whole.as_bytes()[..whole.len() - 1])
        .unwrap();
    until("there is no place", || {
        tollgate.metric("tollgate_connection_waits_total") >= 1
    });
    let mut waiting: Vec<_> = (0..40).map(|_| connect(four)).collect();
    for stream in &mut waiting {
        stream.write_all(whole.as_bytes()).unwrap();
    }
    reloads(&tollgate, &six_only(100, true));
    for stream in &mut waiting {
        assert_eq!(read_answer(stream).status, 200);
    }
    until("the old socket is closed", || refuses(four));
}

#[test]
fn an_address_that_cannot_be_had_leaves_all_as_it_was() {
    let tollgate = Tollgate::start_config(&config("idle_timeout = \"60s\"", ""));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let good = free();
    let both = format!(
        "[[ingest.listener]]\nname = \"good\"\nlisten = \"{good}\"\n{}",
        more(address, "")
    );
    let answer = reload(&tollgate, &config("max_connections = 7", &both));
    let told = answer.text();
    assert_eq!(answer.status, 409, "{told}");
    assert!(
        told.contains(&address.to_string()) && told.contains("`more`"),
        "{told}"
    );
    assert!(refuses(good));
    assert_eq!(tollgate.metric("tollgate_config_generation "), 1);
    assert!(tollgate.metric("tollgate_connections_limit ") > 7);
    drop(taken);
    reloads(&tollgate, &config("max_connections = 7", &both));
    assert_eq!(ask(&mut connect(good)).0, 200);
    assert_eq!(ask(&mut connect(address)).0, 200);
    assert_eq!(tollgate.metric("tollgate_connections_limit "), 7);
    // These two belong to the sockets, which stay.
    let answer = reload(
        &tollgate,
        &config("max_connections = 7\nbacklog = 9", &both),
    );
    assert_eq!(answer.status, 409);
    assert!(
        answer.text().contains("ingest.backlog"),
        "{}",
        answer.text()
    );
}

#[test]
fn listeners_come_and_go_under_load_without_a_failed_request() {
    let tollgate = Tollgate::start_config(&config("connection_rate_per_prefix = 0", ""));
    let over = AtomicBool::new(false);
    let address = tollgate.ingest.unwrap();
    let sent = std::thread::scope(|scope| {
        let send = || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                let mut stream = connect(address);
                for _ in 0..50 {
                    assert_eq!(ask(&mut stream), (200, true));
                    sent += 1;
                }
            }
            sent
        };
        let senders = [scope.spawn(send), scope.spawn(send)];
        for round in 0..40 {
            let place = free();
            let bounds = format!(
                "connection_rate_per_prefix = 0\nmax_connections = {}",
                500 + round
            );
            reloads(&tollgate, &config(&bounds, &more(place, "")));
            assert_eq!(ask(&mut connect(place)).0, 200);
            reloads(&tollgate, &config("connection_rate_per_prefix = 0", ""));
        }
        over.store(true, Ordering::Relaxed);
        senders.map(|it| it.join().unwrap()).iter().sum::<u64>()
    });
    assert!(sent > 100, "{sent}");
    assert_eq!(tollgate.metric("tollgate_config_generation "), 81);
    assert_eq!(tollgate.metric("tollgate_requests_refused_total"), 0);
}

#[test]
fn deadlines_and_bounds_are_those_of_the_configuration_that_a_connection_found() {
    let tollgate = Tollgate::start_config(&config("max_requests = 100", ""));
    let mut before = connect(tollgate.ingest.unwrap());
    assert_eq!(ask(&mut before), (200, true));
    reloads(
        &tollgate,
        &config(
            "max_requests = 2\nidle_timeout = \"300ms\"\nmax_connections = 3",
            "",
        ),
    );
    let mut after = connect(tollgate.ingest.unwrap());
    assert_eq!(ask(&mut after), (200, true));
    assert_eq!(ask(&mut after), (200, false));
    let mut idle = connect(tollgate.ingest.unwrap());
    assert_eq!(ask(&mut idle), (200, true));
    until("it is closed", || {
        tollgate.metric("tollgate_connections_ended_total{reason=\"idle_timeout\"}") == 1
    });
    assert_eq!(ask(&mut before), (200, true), "it has its own bounds");
    assert_eq!(tollgate.metric("tollgate_connections_limit "), 3);
    // A stranger is believed no longer, on any connection.
    let trusting = "[ingest.trusted_proxies]\nnetworks = [\"127.0.0.0/8\"]\n";
    let outcome = |name: &str| {
        tollgate.metric(&format!(
            "tollgate_client_addresses_total{{outcome=\"{name}\"}}"
        ))
    };
    reloads(&tollgate, &config("max_requests = 100", trusting));
    let forwarded = request("X-Forwarded-For: 203.0.113.7\r\n");
    let mut told = |expected: &str| {
        let seen = outcome(expected);
        before.write_all(forwarded.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut before).status, 200);
        assert_eq!(outcome(expected), seen + 1, "{expected}");
    };
    told("not_trusted");
    reloads(&tollgate, &config("max_requests = 100", ""));
    told("peer_not_trusted");
}
