//! Handshakes that do not go on.

use std::time::Instant;

use super::super::{await_ended, rest, send};
use super::*;

/// The first bytes that a client sends.
fn hello(authority: &Authority) -> Vec<u8> {
    let name = ServerName::try_from("edge.test").unwrap();
    let mut connection = ClientConnection::new(authority.client().config(), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    assert!(hello.len() > 100);
    hello
}

#[test]
fn a_handshake_that_does_not_go_on_is_closed_at_the_deadline() {
    let authority = Authority::new();
    let tollgate = start_with(
        "handshake_timeout = \"2s\"",
        "",
        &authority.put("a", &["edge.test"]),
    );
    let hello = hello(&authority);
    let began = Instant::now();
    // Silence, half a ClientHello, and a whole one whose client then says nothing.
    let mut streams: Vec<TcpStream> = [&hello[..0], &hello[..hello.len() / 2], &hello[..]]
        .iter()
        .map(|bytes| send(tollgate.ingest.unwrap(), bytes))
        .collect();
    for (index, stream) in streams.iter_mut().enumerate() {
        let answer = rest(stream);
        assert_eq!(
            answer.is_empty(),
            index < 2,
            "only a whole hello is answered"
        );
    }
    assert!(began.elapsed() >= Duration::from_millis(1900));
    await_ended(&tollgate, "handshake_timeout", 3);
}

#[test]
fn a_hello_that_comes_in_drops_has_no_longer_than_others() {
    let authority = Authority::new();
    let tollgate = start_with(
        "handshake_timeout = \"2s\"",
        "",
        &authority.put("a", &["edge.test"]),
    );
    let mut stream = connect(tollgate.ingest.unwrap());
    for byte in hello(&authority) {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    await_ended(&tollgate, "handshake_timeout", 1);
}

#[test]
fn a_flood_of_handshakes_that_stall_does_not_keep_others_out() {
    let authority = Authority::new();
    let tollgate = start_with(
        "max_handshakes = 4\nhandshake_timeout = \"10s\"",
        "",
        &authority.put("a", &["edge.test"]),
    );
    let hello = hello(&authority);
    let half = &hello[..hello.len() / 2];
    let flood: Vec<TcpStream> = (0..20)
        .map(|_| send(tollgate.ingest.unwrap(), half))
        .collect();
    super::super::await_metric(&tollgate, "tollgate_connections_open", 20);
    std::thread::sleep(Duration::from_millis(100));
    // Four stall and 16 wait. Places that pass on after a second let this one in before its deadline,
    // though each of the others would have held on for as long as that.
    let sent = authority.client().send(&tollgate, "edge.test").unwrap();
    assert_eq!(sent.answer.status, 200);
    let line = "tollgate_connections_ended_total{reason=\"handshake_crowded\"}";
    let crowded = tollgate.metric(line);
    assert!((16..=20).contains(&crowded), "{crowded}");
    drop(flood);
}

#[test]
fn what_is_no_tls_is_closed_and_nothing_is_answered_in_the_clear() {
    let authority = Authority::new();
    let tollgate = start("", &authority.put("a", &["edge.test"]));
    let mut stream = send(
        tollgate.ingest.unwrap(),
        super::super::request("").as_bytes(),
    );
    let answer = rest(&mut stream);
    // An alert of TLS, and no HTTP.
    assert!(
        answer.len() <= 7 && !answer.starts_with(b"HTTP"),
        "{answer:?}"
    );
    await_ended(&tollgate, "handshake_failed", 1);
}

#[test]
fn who_stands_in_a_handshake_does_not_hold_up_the_end() {
    let authority = Authority::new();
    let mut tollgate = start("", &authority.put("a", &["edge.test"]));
    let hello = hello(&authority);
    let _stream = send(tollgate.ingest.unwrap(), &hello[..50]);
    assert_eq!(
        authority
            .client()
            .send(&tollgate, "edge.test")
            .unwrap()
            .answer
            .status,
        200
    );
    let began = Instant::now();
    assert!(tollgate.stop().success());
    assert!(began.elapsed() < Duration::from_secs(8));
}
