//! How many connections there are, where they come in, and what they leave for the rest.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::support::{OPEN, Tollgate, binary, connect, exchange, read_answer};
use super::{EVENT, await_ended, await_metric, config, request, rest, send, start};

/// A connection from an address of this machine.
pub(super) fn connect_from(source: Ipv4Addr, target: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&target.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// The address of a further listener, from the banner.
pub(super) fn listener(tollgate: &Tollgate, name: &str) -> SocketAddr {
    let line = tollgate
        .banner
        .lines()
        .find(|line| line.ends_with(&format!("  {name}")));
    let line = line.unwrap_or_else(|| panic!("no listener {name}: {}", tollgate.banner));
    let rest = line.split("http://").nth(1).unwrap();
    rest.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn past_max_connections_new_ones_wait_and_lose_nothing() {
    let tollgate = start("max_connections = 4");
    let ingest = tollgate.ingest.unwrap();
    // Requests under way: those do not give way.
    let text = request("");
    let head = text.strip_suffix(EVENT).unwrap();
    let held: Vec<_> = (0..4).map(|_| send(ingest, head.as_bytes())).collect();
    await_metric(&tollgate, "tollgate_connections_open", 4);
    let mut fifth = send(ingest, request("").as_bytes());
    fifth
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut byte = [0];
    assert!(fifth.peek(&mut byte).is_err(), "it waits");
    assert_eq!(tollgate.metric("tollgate_connection_waits_total"), 1);
    assert_eq!(tollgate.metric("tollgate_connections_limit"), 4);
    drop(held);
    fifth
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(read_answer(&mut fifth).status, 200);
    tollgate.events(OPEN, 1);
}

#[test]
fn a_network_has_its_share_and_leaves_room_for_others() {
    let tollgate = start("max_connections_per_prefix = 3\nprefix_v4 = 30");
    let ingest = tollgate.ingest.unwrap();
    let at = |last: u8| connect_from(Ipv4Addr::new(127, 0, 1, last), ingest);
    // 127.0.1.0/30 holds three of its four addresses' connections.
    let mut held = vec![at(1), at(2), at(3)];
    for stream in &mut held {
        stream.write_all(request("").as_bytes()).unwrap();
        assert_eq!(read_answer(stream).status, 200);
    }
    assert_eq!(rest(&mut at(1)), b"");
    await_ended(&tollgate, "prefix_limit", 1);
    let mut other = at(4);
    other.write_all(request("").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut other).status, 200);
    drop(held.pop());
    await_metric(&tollgate, "tollgate_connections_open", 3);
    let mut again = at(2);
    again.write_all(request("").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut again).status, 200);
    tollgate.events(OPEN, 5);
}

#[test]
fn further_listeners_share_the_caps_and_have_their_own_protocols() {
    let tables = r#"
        [[ingest.listener]]
        name = "inner"
        listen = "127.0.0.1:0"
        [ingest.listener.http2]
        prior_knowledge = true
        [[ingest.listener]]
        name = "third"
        listen = "127.0.0.1:0"
    "#;
    let tollgate = Tollgate::start_config(&config("max_connections = 5", tables));
    let (inner, third) = (listener(&tollgate, "inner"), listener(&tollgate, "third"));
    for address in [tollgate.ingest.unwrap(), inner, third] {
        let head = request("Connection: close\r\n");
        assert_eq!(exchange(address, &head, b"").status, 200);
    }
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let two = send(inner, PREFACE);
    let mut byte = [1];
    assert!(
        matches!(two.peek(&mut byte), Ok(1)) && byte == [0],
        "a SETTINGS frame"
    );
    // HTTP/2 is not spoken where it was not asked for.
    let text = rest(&mut send(third, PREFACE));
    assert!(
        text.is_empty() || text.starts_with(b"HTTP/1.1 400"),
        "{text:?}"
    );
    drop(two);
    // The other two listeners each hold a permit for their next connection.
    let held: Vec<_> = (0..5).map(|_| connect(inner)).collect();
    await_metric(&tollgate, "tollgate_connections_open", 3);
    drop(held);
    assert_eq!(exchange(third, &request(""), b"").status, 200);
    tollgate.events(OPEN, 4);
}

#[test]
fn an_ipv6_listener_takes_ipv4_unless_told_not_to() {
    let tables = r#"
        [[ingest.listener]]
        name = "both"
        listen = "[::]:0"
        [[ingest.listener]]
        name = "six"
        listen = "[::]:0"
        ipv6_only = true
    "#;
    let tollgate = Tollgate::start_config(&config("", tables));
    let port = |name: &str| listener(&tollgate, name).port();
    let six = |name: &str| SocketAddr::from((Ipv6Addr::LOCALHOST, port(name)));
    let four = |name: &str| SocketAddr::from((Ipv4Addr::LOCALHOST, port(name)));
    for address in [six("both"), four("both"), six("six")] {
        assert_eq!(
            exchange(address, &request(""), b"").status,
            200,
            "{address}"
        );
    }
    assert!(TcpStream::connect(four("six")).is_err());
    let events = tollgate.events(OPEN, 3);
    let mut clients: Vec<&str> = events
        .iter()
        .map(|event| event["__tag__:__client_ip__"].as_str().unwrap())
        .collect();
    clients.sort_unstable();
    assert_eq!(clients, ["127.0.0.1", "::1", "::1"]);
}

#[test]
fn a_port_is_shared_only_when_asked() {
    let shared = |port: u16| {
        let tables =
            format!("[[ingest.listener]]\nname = \"shared\"\nlisten = \"127.0.0.1:{port}\"\n");
        config("reuse_port = true", &tables)
    };
    let one = Tollgate::start_config(&shared(0));
    let port = listener(&one, "shared").port();
    let two = Tollgate::start_config(&shared(port));
    assert_eq!(listener(&two, "shared").port(), port);
    drop(one);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!(exchange(address, &request(""), b"").status, 200);
    // Without the option the second is refused, by name and address.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, shared(port).replace("reuse_port = true", "")).unwrap();
    let output = binary()
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--logstore-listen",
            "127.0.0.1:0",
        ])
        .args([
            "--config",
            path.to_str().unwrap(),
            "--data-dir",
            folder.path().to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("`shared`") && told.contains(&address.to_string()),
        "{told}"
    );
}

#[test]
fn too_few_descriptors_leave_enough_for_delivery() {
    let tollgate = Tollgate::start_limited("ulimit -n 512", &config("", ""));
    let ingest = tollgate.ingest.unwrap();
    assert_eq!(tollgate.metric("tollgate_descriptors_limit"), 512);
    let room = tollgate.metric("tollgate_connections_limit");
    assert!((1..=256).contains(&room), "{room}");
    assert!(
        tollgate
            .stderr()
            .contains("ingest.max_connections is lowered"),
        "{}",
        tollgate.stderr()
    );
    let text = request("");
    let head = text.strip_suffix(EVENT).unwrap();
    let mut first = send(ingest, head.as_bytes());
    let held: Vec<_> = (0..400).map(|_| connect(ingest)).collect();
    await_metric(&tollgate, "tollgate_connections_open", room);
    let open = tollgate.metric("tollgate_descriptors_open");
    assert!(open > room && open < 512, "{open}");
    // What was taken is delivered, and the private listener answers.
    first.write_all(EVENT.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut first).status, 200);
    tollgate.events(OPEN, 1);
    assert_eq!(tollgate.metric("tollgate_accept_errors_total"), 0);
    drop(held);
    assert_eq!(tollgate.track(OPEN, "", EVENT).status, 200);
    tollgate.events(OPEN, 2);
}

#[test]
fn without_descriptors_accepting_pauses_and_goes_on() {
    let tollgate = start("");
    // The private listener has no descriptor for a new connection either: this one is kept.
    let mut admin = connect(tollgate.admin);
    let mut metrics = || {
        admin
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        read_answer(&mut admin).text()
    };
    let errors = |text: &str| -> u64 {
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("tollgate_accept_errors_total "));
        line.unwrap().parse().unwrap()
    };
    assert_eq!(errors(&metrics()), 0);
    let pid = rustix::process::Pid::from_raw(i32::try_from(tollgate.pid()).unwrap());
    let limit = |most: u64| rustix::process::Rlimit {
        current: Some(most),
        maximum: Some(20_000),
    };
    let nofile = rustix::process::Resource::Nofile;
    rustix::process::prlimit(pid, nofile, limit(3)).unwrap();
    let mut waiting = send(tollgate.ingest.unwrap(), request("").as_bytes());
    std::thread::sleep(Duration::from_secs(1));
    let found = errors(&metrics());
    assert!((1..=40).contains(&found), "{found} attempts in a second");
    rustix::process::prlimit(pid, nofile, limit(2000)).unwrap();
    assert_eq!(read_answer(&mut waiting).status, 200);
    tollgate.events(OPEN, 1);
}

#[test]
fn a_stop_closes_what_is_idle_and_answers_what_is_under_way() {
    let tables = r#"
        [[ingest.listener]]
        name = "inner"
        listen = "127.0.0.1:0"
        [ingest.listener.http2]
        prior_knowledge = true
    "#;
    let mut tollgate = Tollgate::start_config(&config("header_timeout = \"60s\"", tables));
    let inner = listener(&tollgate, "inner");
    let mut silent = vec![connect(inner), connect(tollgate.ingest.unwrap())];
    // The whole preface, and the start of it.
    silent.push(send(
        inner,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ));
    silent.push(send(inner, b"PRI * HT"));
    let text = request("Expect: 100-continue\r\n");
    let (head, body) = text.split_at(text.len() - EVENT.len());
    let mut under_way = send(tollgate.ingest.unwrap(), head.as_bytes());
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut under_way, &mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100"));
    tollgate.signal("-TERM");
    for stream in [0, 1, 3] {
        assert_eq!(rest(&mut silent[stream]), b"");
    }
    under_way.write_all(body.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut under_way).status, 200);
    drop(silent);
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
}

#[test]
fn what_has_come_by_a_stop_is_answered() {
    let tables = r#"
        [[ingest.listener]]
        name = "inner"
        listen = "127.0.0.1:0"
        [ingest.listener.http2]
        prior_knowledge = true
    "#;
    let mut tollgate = Tollgate::start_config(&config("", tables));
    let (main, inner) = (tollgate.ingest.unwrap(), listener(&tollgate, "inner"));
    let mut all = Vec::new();
    for address in [main, inner] {
        for kept in [true, false].repeat(5) {
            let mut stream = connect(address);
            if kept {
                stream.write_all(request("").as_bytes()).unwrap();
                assert_eq!(read_answer(&mut stream).status, 200);
            }
            all.push(stream);
        }
    }
    await_metric(&tollgate, "tollgate_connections_open", 20);
    tollgate.events(OPEN, 10);
    tollgate.signal("-STOP");
    for stream in &mut all {
        stream.write_all(request("").as_bytes()).unwrap();
    }
    tollgate.signal("-TERM");
    tollgate.signal("-CONT");
    let mut answered = 0;
    for stream in &mut all {
        answered += usize::from(rest(stream).starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(answered, 20);
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
}

#[test]
fn the_soft_limit_of_descriptors_is_raised() {
    let tollgate = Tollgate::start_limited("ulimit -Sn 200; ulimit -Hn 2000", &config("", ""));
    assert_eq!(tollgate.metric("tollgate_descriptors_limit"), 2000);
}
