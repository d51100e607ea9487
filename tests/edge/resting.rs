//! A connection on which nothing is under way holds no buffers, and nobody can tell it by anything else.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::refusals::start_guarded;
use super::support::{GUARDED, OPEN, Tollgate, connect, read_answer};
use super::{EVENT, await_ended, await_metric, request, rest, send, start};

pub(super) const RESTING: &str = "tollgate_connections_resting";
const OPENED: &str = "tollgate_connections_open";
const LONG: &str = "first_byte_timeout = \"60s\"\nheader_timeout = \"60s\"\nidle_timeout = \"60s\"";

/// A connection that was served and rests, the only one that is open.
fn rested(tollgate: &Tollgate) -> TcpStream {
    let mut stream = send(tollgate.ingest.unwrap(), request("").as_bytes());
    assert_eq!(read_answer(&mut stream).status, 200);
    await_metric(tollgate, RESTING, 1);
    stream
}

/// Reads until so many answers have come, all of them 200 and nothing else.
fn answers(stream: &mut impl Read, count: usize) {
    let (mut found, mut piece) = (Vec::new(), [0; 4096]);
    let done = |found: &[u8]| {
        let text = String::from_utf8_lossy(found);
        text.matches("HTTP/1.1 200 OK").count() == count && text.ends_with("\r\n\r\n")
    };
    while !done(&found) {
        let read = stream.read(&mut piece).unwrap();
        let so_far = String::from_utf8_lossy(&found);
        assert!(read > 0, "it ended after {so_far}");
        found.extend_from_slice(&piece[..read]);
    }
}

/// Sends a head byte by byte, so slowly that it does not come in one piece.
fn drip(stream: &mut impl Write, bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(8));
    }
}

#[test]
fn who_is_silent_or_idle_rests_and_is_served_as_often_as_it_asks() {
    let tollgate = start("");
    let mut all: Vec<_> = (0..3).map(|_| connect(tollgate.ingest.unwrap())).collect();
    await_metric(&tollgate, RESTING, 3);
    let text = request("");
    let (head, body) = text.split_at(text.len() - EVENT.len());
    for _ in 0..3 {
        for (count, stream) in all.iter_mut().enumerate() {
            stream.write_all(head.as_bytes()).unwrap();
            await_metric(&tollgate, RESTING, 2);
            // A request under way does not rest, however long it takes.
            if count == 0 {
                thread::sleep(Duration::from_millis(800));
                assert_eq!(tollgate.metric(RESTING), 2);
            }
            stream.write_all(body.as_bytes()).unwrap();
            assert_eq!(read_answer(stream).status, 200);
            await_metric(&tollgate, RESTING, 3);
        }
    }
    drop(all);
    await_metric(&tollgate, OPENED, 0);
    assert_eq!(tollgate.metric(RESTING), 0);
    tollgate.events(OPEN, 9);
}

#[test]
fn requests_that_come_at_once_after_a_rest_are_all_answered() {
    let tollgate = start(LONG);
    let mut stream = rested(&tollgate);
    // More than is read at once by a connection that rests, and a part of a further head.
    let all = request("").repeat(60) + "POST /logs";
    assert!(all.len() > 5000);
    stream.write_all(all.as_bytes()).unwrap();
    answers(&mut stream, 60);
    // It rests with that part, and goes on from there.
    await_metric(&tollgate, RESTING, 1);
    let rest_of_it = request("").strip_prefix("POST /logs").unwrap().to_owned();
    stream.write_all(rest_of_it.as_bytes()).unwrap();
    answers(&mut stream, 1);
    // Empty lines that follow a body are no head.
    stream.write_all((request("") + "\r\n").as_bytes()).unwrap();
    answers(&mut stream, 1);
    await_metric(&tollgate, RESTING, 1);
    stream.write_all(request("").as_bytes()).unwrap();
    answers(&mut stream, 1);
    // A body that is far longer than what is read at once.
    await_metric(&tollgate, RESTING, 1);
    let body = format!("{EVENT}{}", " ".repeat(200_000));
    let head = request("").replace(
        &format!("Content-Length: {}\r\n\r\n{EVENT}", EVENT.len()),
        &format!("Content-Length: {}\r\n\r\n{body}", body.len()),
    );
    stream.write_all(head.as_bytes()).unwrap();
    answers(&mut stream, 1);
    tollgate.events(OPEN, 65);
}

#[test]
fn a_head_that_comes_slowly_rests_until_it_is_whole() {
    let tollgate = start(LONG);
    let mut first = connect(tollgate.ingest.unwrap());
    for row in 0..2 {
        let text = request("X-Long: of some length, so that it takes its time\r\n");
        let (head, body) = text.split_at(text.len() - EVENT.len());
        let (begun, more) = head.split_at(20);
        first.write_all(begun.as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(700));
        assert_eq!(tollgate.metric(RESTING), 1, "row {row}");
        let (more, last) = more.split_at(more.len() - 1);
        drip(&mut first, more.as_bytes());
        assert_eq!(tollgate.metric(RESTING), 1, "row {row}");
        // It is whole with this byte, and the body is awaited awake.
        first.write_all(last.as_bytes()).unwrap();
        await_metric(&tollgate, RESTING, 0);
        drip(&mut first, body.as_bytes());
        assert_eq!(read_answer(&mut first).status, 200);
    }
    // Lines may end without a carriage return.
    await_metric(&tollgate, RESTING, 1);
    let bare = request("").replace("\r\n", "\n");
    first.write_all(&bare.as_bytes()[..20]).unwrap();
    thread::sleep(Duration::from_millis(700));
    drip(&mut first, &bare.as_bytes()[20..]);
    assert_eq!(read_answer(&mut first).status, 200);
    tollgate.events(OPEN, 3);
}

#[test]
fn a_head_that_is_gathered_has_its_bounds() {
    let tollgate = start("max_header = \"16KiB\"\nheader_timeout = \"3s\"");
    let begin = |text: &[u8]| {
        let stream = send(tollgate.ingest.unwrap(), text);
        await_metric(&tollgate, RESTING, 1);
        thread::sleep(Duration::from_millis(700));
        assert_eq!(tollgate.metric(RESTING), 1);
        stream
    };
    let mut long = begin(b"POST / HTTP/1.1\r\nX: ");
    drop(long.write_all(&[b'a'; 16 << 10]));
    assert!(rest(&mut long).starts_with(b"HTTP/1.1 431"));
    await_metric(&tollgate, OPENED, 0);
    let mut bad = begin(b"POST / HTTP/1.1\r\n");
    bad.write_all(b"no header\r\n\r\n").unwrap();
    assert!(rest(&mut bad).starts_with(b"HTTP/1.1 400"));
    await_metric(&tollgate, OPENED, 0);
    // Its time counts from its first byte.
    let mut endless = begin(b"POST / HTTP/1.1\r\nX: ");
    let sent = (0..500).take_while(|_| {
        thread::sleep(Duration::from_millis(20));
        endless.write_all(b"a").is_ok()
    });
    assert!(sent.count() < 500);
    await_ended(&tollgate, "header_timeout", 1);
    // One that ends in the midst of it is answered nothing, or that it was no request.
    let mut cut = begin(b"POST / HTTP/1.1\r\nX: ");
    cut.shutdown(Shutdown::Write).unwrap();
    let text = rest(&mut cut);
    assert!(text.is_empty() || text.starts_with(b"HTTP/1.1 400"));
    await_metric(&tollgate, OPENED, 0);
    assert_eq!(tollgate.metric(RESTING), 0);
}

#[test]
fn a_client_that_leaves_while_it_rests_is_noticed() {
    let tollgate = start(LONG);
    for count in 1..=2 {
        let mut used = rested(&tollgate);
        used.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut used), b"");
        await_ended(&tollgate, "closed", count);
    }
    let mut silent = connect(tollgate.ingest.unwrap());
    await_metric(&tollgate, RESTING, 1);
    silent.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut silent), b"");
    await_ended(&tollgate, "closed", 3);
    // A reset instead of an end.
    let reset = rested(&tollgate);
    let reset = socket2::Socket::from(reset);
    reset.set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    await_metric(&tollgate, OPENED, 0);
    assert_eq!(tollgate.metric(RESTING), 0);
    // A last request, and an end behind it.
    let mut last = rested(&tollgate);
    last.write_all(request("").as_bytes()).unwrap();
    last.shutdown(Shutdown::Write).unwrap();
    assert!(rest(&mut last).starts_with(b"HTTP/1.1 200"));
    tollgate.events(OPEN, 5);
}

#[test]
fn bounds_of_a_life_count_across_rests() {
    let tollgate = start("max_requests = 3\nidle_timeout = \"2s\"");
    let mut stream = connect(tollgate.ingest.unwrap());
    for asked in 1..=3 {
        await_metric(&tollgate, RESTING, 1);
        stream.write_all(request("").as_bytes()).unwrap();
        let close = (asked == 3).then_some("close");
        assert_eq!(read_answer(&mut stream).header("connection"), close);
    }
    assert_eq!(rest(&mut stream), b"");
    await_ended(&tollgate, "max_requests", 1);
    let mut idle = rested(&tollgate);
    assert_eq!(rest(&mut idle), b"");
    await_ended(&tollgate, "idle_timeout", 1);
    // An empty line after a body does not make it wait for a head.
    let text = request("") + "\r\n";
    let mut idle = send(tollgate.ingest.unwrap(), text.as_bytes());
    answers(&mut idle, 1);
    assert_eq!(rest(&mut idle), b"");
    await_ended(&tollgate, "idle_timeout", 2);
    tollgate.events(OPEN, 5);
}

#[test]
fn refusals_are_remembered_across_rests() {
    const DELAYED: &str = "tollgate_refusals_delayed_total";
    let tollgate = start_guarded("refusal_delay = \"100ms\"", "");
    let mut stream = connect(tollgate.ingest.unwrap());
    let text = request("Authorization: Bearer no-token\r\n").replacen(OPEN, GUARDED, 1);
    for count in 0..6 {
        await_metric(&tollgate, RESTING, 1);
        stream.write_all(text.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream).status, 401);
        // Four in a row are free.
        assert_eq!(tollgate.metric(DELAYED), u64::saturating_sub(count, 3));
    }
}

#[test]
fn who_rests_gives_way_to_others() {
    let tollgate = start("max_connections = 3\nidle_timeout = \"600s\"");
    let ingest = tollgate.ingest.unwrap();
    let mut old: Vec<_> = (0..3)
        .map(|_| send(ingest, request("").as_bytes()))
        .collect();
    for stream in &mut old {
        assert_eq!(read_answer(stream).status, 200);
    }
    await_metric(&tollgate, RESTING, 2);
    for _ in 0..3 {
        let mut new = send(ingest, request("Connection: close\r\n").as_bytes());
        assert_eq!(read_answer(&mut new).status, 200);
    }
    let crowded = tollgate.metric("tollgate_connections_ended_total{reason=\"crowded\"}");
    assert!(crowded >= 1, "{}", tollgate.metrics());
    tollgate.events(OPEN, 6);
}

/// Idle, silent, and with a part of a first or of a further head: all at rest.
fn all_kinds(ingest: SocketAddr) -> [TcpStream; 4] {
    let served = || {
        let mut stream = send(ingest, request("").as_bytes());
        assert_eq!(read_answer(&mut stream).status, 200);
        stream
    };
    let mut further = served();
    further.write_all(b"POST /logs").unwrap();
    [
        served(),
        connect(ingest),
        send(ingest, b"POST /logs"),
        further,
    ]
}

#[test]
fn a_stop_closes_who_rests_and_waits_for_heads() {
    let mut tollgate = start("header_timeout = \"60s\"");
    let [mut idle, mut silent, mut first, mut further] = all_kinds(tollgate.ingest.unwrap());
    await_metric(&tollgate, RESTING, 4);
    thread::sleep(Duration::from_millis(700));
    assert_eq!(tollgate.metric(RESTING), 4);
    tollgate.events(OPEN, 2);
    tollgate.signal("-TERM");
    assert_eq!(rest(&mut idle), b"");
    assert_eq!(rest(&mut silent), b"");
    for stream in [&mut first, &mut further] {
        let text = request("");
        let more = text.strip_prefix("POST /logs").unwrap();
        stream.write_all(more.as_bytes()).unwrap();
        let text = String::from_utf8(rest(stream)).unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains("connection: close"), "{text}");
    }
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
}

#[test]
fn what_has_come_to_who_rests_by_a_stop_is_answered() {
    let mut tollgate = start("");
    let ingest = tollgate.ingest.unwrap();
    let mut all: Vec<_> = (0..5).flat_map(|_| all_kinds(ingest)).collect();
    thread::sleep(Duration::from_millis(700));
    await_metric(&tollgate, RESTING, 20);
    tollgate.events(OPEN, 10);
    tollgate.signal("-STOP");
    for (index, stream) in all.iter_mut().enumerate() {
        let text = request("");
        let begun = if index % 4 < 2 { "" } else { "POST /logs" };
        let more = text.strip_prefix(begun).unwrap();
        stream.write_all(more.as_bytes()).unwrap();
    }
    tollgate.signal("-TERM");
    tollgate.signal("-CONT");
    for stream in &mut all {
        assert!(rest(stream).starts_with(b"HTTP/1.1 200"));
    }
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
}
