//! Every stretch of a connection's life has an end, with a reason that is counted.

use std::io::{Read, Write};
use std::time::Duration;

use super::support::{OPEN, connect, read_answer};
use super::{EVENT, await_ended, request, rest, send, start};

#[test]
fn a_silent_connection_ends_at_the_first_byte_timeout() {
    let tollgate = start("first_byte_timeout = \"300ms\"\nheader_timeout = \"60s\"");
    let mut silent: Vec<_> = (0..50).map(|_| connect(tollgate.ingest.unwrap())).collect();
    for stream in &mut silent {
        assert_eq!(rest(stream), b"");
    }
    await_ended(&tollgate, "first_byte_timeout", 50);
    assert_eq!(tollgate.metric("tollgate_connections_open"), 0);
}

#[test]
fn a_head_has_a_deadline_in_all_however_it_drips() {
    let tollgate =
        start("first_byte_timeout = \"60s\"\nheader_timeout = \"1s\"\nidle_timeout = \"60s\"");
    let mut slow = connect(tollgate.ingest.unwrap());
    // It never pauses for long, and never ends.
    let sent = (0..500).take_while(|_| {
        std::thread::sleep(Duration::from_millis(20));
        slow.write_all(b"X").is_ok()
    });
    assert!(sent.count() < 500);
    await_ended(&tollgate, "header_timeout", 1);
    // The second head of a connection has its own.
    let mut second = send(tollgate.ingest.unwrap(), request("").as_bytes());
    assert_eq!(read_answer(&mut second).status, 200);
    second.write_all(b"POST / HT").unwrap();
    assert_eq!(rest(&mut second), b"");
    await_ended(&tollgate, "header_timeout", 2);
}

#[test]
fn an_idle_connection_has_its_own_deadline() {
    let tollgate = start("header_timeout = \"300ms\"\nidle_timeout = \"2s\"");
    let mut kept = send(tollgate.ingest.unwrap(), request("").as_bytes());
    assert_eq!(read_answer(&mut kept).status, 200);
    // Longer than a head may take, and still welcome.
    std::thread::sleep(Duration::from_millis(900));
    kept.write_all(request("").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut kept).status, 200);
    assert_eq!(rest(&mut kept), b"");
    await_ended(&tollgate, "idle_timeout", 1);
}

#[test]
fn an_old_connection_is_told_with_its_next_answer() {
    let tollgate = start("max_connection_age = \"1s\"");
    let mut kept = send(tollgate.ingest.unwrap(), request("").as_bytes());
    assert_eq!(read_answer(&mut kept).header("connection"), None);
    std::thread::sleep(Duration::from_millis(1200));
    kept.write_all(request("").as_bytes()).unwrap();
    let answer = read_answer(&mut kept);
    assert_eq!(
        (answer.status, answer.header("connection")),
        (200, Some("close"))
    );
    assert_eq!(rest(&mut kept), b"");
    await_ended(&tollgate, "max_age", 1);
    tollgate.events(OPEN, 2);
}

#[test]
fn the_last_of_so_many_requests_is_answered_and_closes() {
    let tollgate = start("max_requests = 3");
    let mut kept = send(tollgate.ingest.unwrap(), request("").repeat(5).as_bytes());
    let text = String::from_utf8(rest(&mut kept)).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
    assert_eq!(text.matches("connection: close").count(), 1, "{text}");
    await_ended(&tollgate, "max_requests", 1);
    tollgate.events(OPEN, 3);
}

#[test]
fn a_dripping_body_is_cut_at_the_rate_and_a_steady_one_is_not() {
    let tollgate = start("min_body_rate = 200\nbody_grace = \"500ms\"\nbody_timeout = \"60s\"");
    let ingest = tollgate.ingest.unwrap();
    let head = format!("POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\n");
    let drip = |framing: &str, piece: &[u8]| {
        let mut stream = send(ingest, format!("{head}{framing}\r\n\r\n").as_bytes());
        stream.set_nonblocking(false).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let piece = piece.to_vec();
        let dripping = std::thread::spawn(move || {
            let sent = (0..1000).take_while(|_| {
                std::thread::sleep(Duration::from_millis(30));
                writer.write_all(&piece).is_ok()
            });
            assert!(sent.count() < 1000);
        });
        let answer = read_answer(&mut stream);
        assert_eq!(
            answer.refusal(),
            (408, "RequestTimeout".into(), "body_timeout".into())
        );
        // Nothing more comes of it: what follows the body cannot be told from it.
        let mut byte = [0];
        assert!(!matches!(stream.read(&mut byte), Ok(1)));
        dripping.join().unwrap();
    };
    drip("Content-Length: 100000", b"{");
    drip("Transfer-Encoding: chunked", b"1\r\n{\r\n");
    // Ten times the rate, for longer than the grace.
    let body = format!("{EVENT}{}", " ".repeat(3000));
    let mut steady = send(
        ingest,
        format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
    );
    for piece in body.as_bytes().chunks(60) {
        steady.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(read_answer(&mut steady).status, 200);
    tollgate.events(OPEN, 1);
}

#[test]
fn a_client_that_never_reads_is_cut() {
    let tollgate = start("write_timeout = \"500ms\"\nmax_requests = 1000000");
    let mut deaf = connect(tollgate.ingest.unwrap());
    deaf.set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let block = request("").repeat(1000);
    // Until the answers have filled every buffer, and the connection ends.
    while deaf.write_all(block.as_bytes()).is_ok() {}
    await_ended(&tollgate, "write_timeout", 1);
}
