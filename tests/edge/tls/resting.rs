//! Connections that rest, encrypted: what lies in the TLS session counts as well.

use super::*;
use crate::resting::RESTING;
use crate::{await_ended, await_metric, request};

fn ask(stream: &mut Tls) -> u16 {
    stream.write_all(request("").as_bytes()).unwrap();
    read_answer(stream).status
}

#[test]
fn an_encrypted_connection_rests_and_goes_on() {
    let authority = Authority::new();
    let tollgate = start("", &authority.put("a", &["edge.test"]));
    let client = authority.client();
    for version in rustls::ALL_VERSIONS {
        let config = client.clone().versions(&[version]).config();
        let mut stream = open(&config, tollgate.ingest.unwrap(), "edge.test");
        // The handshake alone.
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        await_metric(&tollgate, RESTING, 1);
        assert_eq!(ask(&mut stream), 200);
        await_metric(&tollgate, RESTING, 1);
        // More in one record than is read at once by a connection that rests.
        let all = request("").repeat(40) + &request("Connection: close\r\n");
        stream.write_all(all.as_bytes()).unwrap();
        let mut text = String::new();
        drop(stream.read_to_string(&mut text));
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 41, "{text}");
        await_metric(&tollgate, "tollgate_connections_open", 0);
    }
    assert_eq!(tollgate.metric(RESTING), 0);
    tollgate.events(crate::support::OPEN, 84);
}

#[test]
fn what_is_not_for_http_wakes_nobody_and_an_end_is_answered_by_one() {
    let authority = Authority::new();
    let tollgate = start_with(
        "idle_timeout = \"60s\"",
        "",
        &authority.put("a", &["edge.test"]),
    );
    let config = authority.client().config();
    let mut stream = open(&config, tollgate.ingest.unwrap(), "edge.test");
    assert_eq!(ask(&mut stream), 200);
    await_metric(&tollgate, RESTING, 1);
    for _ in 0..3 {
        stream.conn.refresh_traffic_keys().unwrap();
        stream.flush().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(tollgate.metric(RESTING), 1);
    }
    assert_eq!(ask(&mut stream), 200);
    await_metric(&tollgate, RESTING, 1);
    // A part of a head, and the rest of it in records of one byte.
    let text = request("");
    stream.write_all(&text.as_bytes()[..10]).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(tollgate.metric(RESTING), 1);
    for byte in &text.as_bytes()[10..] {
        stream.write_all(&[*byte]).unwrap();
        stream.flush().unwrap();
    }
    assert_eq!(read_answer(&mut stream).status, 200);
    await_metric(&tollgate, RESTING, 1);
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    // The end comes with a word that it is one.
    let mut text = Vec::new();
    assert_eq!(stream.read_to_end(&mut text).unwrap(), 0);
    await_ended(&tollgate, "closed", 1);
    tollgate.events(crate::support::OPEN, 3);
}

#[test]
fn a_stop_closes_an_encrypted_connection_that_rests() {
    let authority = Authority::new();
    let mut tollgate = start("", &authority.put("a", &["edge.test"]));
    let config = authority.client().config();
    let mut stream = open(&config, tollgate.ingest.unwrap(), "edge.test");
    assert_eq!(ask(&mut stream), 200);
    await_metric(&tollgate, RESTING, 1);
    tollgate.signal("-TERM");
    let mut text = Vec::new();
    assert_eq!(stream.read_to_end(&mut text).unwrap(), 0);
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
}
