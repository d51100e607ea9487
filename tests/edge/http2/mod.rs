//! HTTP/2 by its frames: what a good client gets.

mod floods;
mod refused;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::support::{OPEN, PROJECT, Tollgate, connect};
use super::{EVENT, await_ended, await_metric, start};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;

/// With these lines in `[ingest]`, and HTTP/2 without TLS with these in `[ingest.http2]`.
fn start_http2(ingest: &str, http2: &str) -> Tollgate {
    start(&format!(
        "{ingest}\n[ingest.http2]\nprior_knowledge = true\n{http2}"
    ))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header as HPACK's literal without indexing, with a new name.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            bytes.push(u8::try_from(length).unwrap());
        } else {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    headers
        .iter()
        .flat_map(|(name, value)| literal(name, value))
        .collect()
}

/// The head of a good POST, and these headers besides.
fn head(extra: &[(&str, &str)]) -> Vec<u8> {
    let path = format!("/logstores/{OPEN}/track");
    let mut all = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path.as_str()),
        (":authority", "localhost"),
    ];
    all.extend(extra);
    block(&all)
}

/// A whole good request.
fn post(stream: u32) -> Vec<u8> {
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &head(&[]));
    bytes.extend(frame(DATA, END_STREAM, stream, EVENT.as_bytes()));
    bytes
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status of a HEADERS frame, where it is one of HPACK's table.
    fn status(&self) -> u16 {
        match self.payload[0] {
            0x88 => 200,
            0x8c => 400,
            0x8d => 404,
            _ => 0,
        }
    }
}

struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let mut client = Self(connect(address));
        client.send(PREFACE);
        client.send(&frame(SETTINGS, 0, 0, &[]));
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        })
    }

    fn next_of(&mut self, kind: u8) -> Option<Frame> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.kind == kind)
    }

    /// Every frame until the end of the connection.
    fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// The stream of the request with this index.
fn id(index: u32) -> u32 {
    index * 2 + 1
}

#[test]
fn events_come_by_http2_and_the_settings_are_ours() {
    let tollgate = start_http2("", "");
    let mut client = Client::new(tollgate.ingest.unwrap());
    let settings = client.next_of(SETTINGS).unwrap();
    let value = |wanted: u16| {
        let mut pairs = settings.payload.chunks(6);
        let pair = pairs.find(|pair| u16::from_be_bytes([pair[0], pair[1]]) == wanted);
        pair.map(|pair| u32::from_be_bytes(pair[2..].try_into().unwrap()))
    };
    assert_eq!(value(3), Some(100), "streams");
    assert_eq!(value(4), Some(64 << 10), "window of a stream");
    assert_eq!(value(6), Some(48 << 10), "header list");
    let window = client.next_of(WINDOW_UPDATE).unwrap();
    let opened = u32::from_be_bytes(window.payload.try_into().unwrap());
    assert_eq!(opened + 65_535, 1 << 20, "window of the connection");
    for index in 0..20 {
        client.send(&post(id(index)));
    }
    for _ in 0..20 {
        assert_eq!(client.next_of(HEADERS).unwrap().status(), 200);
    }
    tollgate.events(OPEN, 20);
    assert_eq!(
        tollgate.metric("tollgate_http_requests_total{version=\"2\"}"),
        20
    );
}

#[test]
fn a_host_and_an_authority_may_not_differ() {
    let tollgate = start_http2("", "");
    let path = format!("/logstores/{OPEN}/track");
    let common = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path.as_str()),
    ];
    let status = |more: &[(&str, &str)]| {
        let mut client = Client::new(tollgate.ingest.unwrap());
        let headers: Vec<_> = common.iter().chain(more).copied().collect();
        let mut bytes = frame(HEADERS, END_HEADERS, 1, &block(&headers));
        bytes.extend(frame(DATA, END_STREAM, 1, EVENT.as_bytes()));
        client.send(&bytes);
        loop {
            // The end of the connection is a refusal as well.
            let Some(frame) = client.next() else {
                return 0;
            };
            match frame.kind {
                HEADERS => return frame.status(),
                RST_STREAM => return 0,
                _ => {}
            }
        }
    };
    let project = format!("{PROJECT}.example.com");
    assert_eq!(status(&[(":authority", &project)]), 200);
    assert_eq!(status(&[("host", &project)]), 200);
    assert_eq!(status(&[(":authority", &project), ("host", &project)]), 200);
    assert_eq!(
        status(&[(":authority", &project), ("host", "other.example.com")]),
        400
    );
    assert_eq!(status(&[]), 400);
    assert_eq!(status(&[("host", "a"), ("host", "b")]), 400);
    for bad in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("Upper", "case"),
        ("content-length", "5"),
        (":late", "x"),
    ] {
        let found = status(&[(":authority", "localhost"), bad]);
        assert!(found == 0 || found == 400, "{bad:?}: {found}");
    }
    tollgate.events(OPEN, 3);
}

#[test]
fn without_a_preface_a_connection_ends_at_the_first_byte_timeout() {
    let tollgate = start_http2(
        "first_byte_timeout = \"300ms\"\nheader_timeout = \"60s\"",
        "",
    );
    let ingest = tollgate.ingest.unwrap();
    for begin in [&b""[..], &PREFACE[..1], &PREFACE[..23]] {
        let mut stream = super::send(ingest, begin);
        assert_eq!(super::rest(&mut stream), b"");
    }
    await_ended(&tollgate, "first_byte_timeout", 3);
    // The same port takes HTTP/1.1 as well, also of a method that begins like the preface.
    let answer = super::support::exchange(ingest, &super::request(""), b"");
    assert_eq!(answer.status, 200);
    let patch = super::support::exchange(ingest, "PRI / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"");
    assert_eq!(patch.status, 404);
}

#[test]
fn an_idle_connection_is_told_and_closed() {
    let tollgate = start_http2("idle_timeout = \"500ms\"\nheader_timeout = \"500ms\"", "");
    let ingest = tollgate.ingest.unwrap();
    // One that never asked for anything, and one that did; neither answers the PING of the GOAWAY.
    let mut silent = Client::new(ingest);
    let mut used = Client::new(ingest);
    used.send(&post(1));
    for client in [&mut silent, &mut used] {
        assert!(
            client
                .rest()
                .iter()
                .any(|frame| frame.kind == GOAWAY && frame.code() == 0)
        );
    }
    // Frames that are no requests do not keep it.
    let mut pinging = Client::new(ingest);
    let sent = (0..1000).take_while(|_| {
        std::thread::sleep(Duration::from_millis(10));
        pinging.0.write_all(&frame(PING, 0, 0, &[0; 8])).is_ok()
    });
    assert!(sent.count() < 1000);
    await_ended(&tollgate, "idle_timeout", 3);
    tollgate.events(OPEN, 1);
}

#[test]
fn age_and_number_of_requests_end_with_goaway_and_lose_nothing() {
    let tollgate = start_http2("max_requests = 3", "");
    let mut client = Client::new(tollgate.ingest.unwrap());
    for index in 0..3 {
        client.send(&post(id(index)));
    }
    let mut answers = 0;
    while let Some(frame) = client.next() {
        match frame.kind {
            HEADERS => answers += u32::from(frame.status() == 200),
            PING if frame.flags & ACK == 0 => {
                let answer = super::http2::frame(PING, ACK, 0, &frame.payload);
                drop(client.0.write_all(&answer));
            }
            _ => {}
        }
    }
    assert_eq!(answers, 3);
    await_ended(&tollgate, "max_requests", 1);
    tollgate.events(OPEN, 3);

    let tollgate = start_http2(
        "max_connection_age = \"500ms\"\nheader_timeout = \"500ms\"",
        "",
    );
    let mut client = Client::new(tollgate.ingest.unwrap());
    client.send(&post(1));
    let frames = client.rest();
    assert!(
        frames
            .iter()
            .any(|frame| frame.kind == GOAWAY && frame.code() == 0),
        "{frames:?}"
    );
    await_ended(&tollgate, "max_age", 1);
    tollgate.events(OPEN, 1);
}

#[test]
fn what_was_sent_whole_is_kept_however_the_client_leaves() {
    let tollgate = start_http2("", "");
    let ingest = tollgate.ingest.unwrap();
    const ROUNDS: usize = 30;
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    bytes.extend(post(1));
    bytes.extend(post(3));
    for round in 0..ROUNDS {
        let mut stream = connect(ingest);
        if round % 2 == 0 {
            // All in one write, and gone.
            stream.write_all(&bytes).unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        } else {
            // The streams are given up, in the same write.
            let mut more = bytes.clone();
            more.extend(frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
            more.extend(frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes()));
            stream.write_all(&more).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        }
    }
    tollgate.events(OPEN, 2 * ROUNDS);
    await_metric(&tollgate, "tollgate_connections_open", 0);
}

#[test]
fn streams_past_the_bound_are_refused() {
    let tollgate = start_http2("", "max_concurrent_streams = 5");
    let mut client = Client::new(tollgate.ingest.unwrap());
    client.next_of(SETTINGS).unwrap();
    client.send(&frame(SETTINGS, ACK, 0, &[]));
    for index in 0..7 {
        client.send(&frame(HEADERS, END_HEADERS, id(index), &head(&[])));
    }
    for index in [5, 6] {
        let refused = client.next_of(RST_STREAM).unwrap();
        assert_eq!(
            (refused.stream, refused.code()),
            (id(index), REFUSED_STREAM)
        );
    }
    // The others are as before.
    client.send(&frame(DATA, END_STREAM, 1, EVENT.as_bytes()));
    assert_eq!(client.next_of(HEADERS).unwrap().status(), 200);
    tollgate.events(OPEN, 1);
}

#[test]
fn header_lists_are_bounded_in_size_and_number() {
    let tollgate = start_http2("max_header = \"16KiB\"\nmax_headers = 20", "");
    let mut client = Client::new(tollgate.ingest.unwrap());
    let mut taken = |index: u32, extra: &[(String, String)]| {
        let extra: Vec<(&str, &str)> = extra
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let bytes = head(&extra);
        let mut pieces = bytes.chunks(16_000).enumerate().peekable();
        while let Some((at, piece)) = pieces.next() {
            let kind = if at == 0 { HEADERS } else { CONTINUATION };
            let flags = if pieces.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            client.send(&frame(kind, flags, id(index), piece));
        }
        client.send(&frame(DATA, END_STREAM, id(index), EVENT.as_bytes()));
        loop {
            let frame = client.next().unwrap();
            // A refused request may be reset after its answer.
            match frame.kind {
                _ if frame.stream != id(index) => {}
                HEADERS => return frame.status() == 200,
                RST_STREAM => return false,
                _ => {}
            }
        }
    };
    let many = |count: usize| -> Vec<(String, String)> {
        (0..count)
            .map(|i| (format!("x-{i}"), "a".to_owned()))
            .collect()
    };
    let crumbs: Vec<(String, String)> = (0..20)
        .map(|i| ("cookie".to_owned(), format!("c{i}=v")))
        .collect();
    assert!(
        taken(0, &many(19)),
        "with the host that is made of :authority"
    );
    assert!(!taken(1, &many(20)));
    assert!(taken(2, &crumbs), "a cookie in parts is one header");
    assert!(taken(3, &[("x".to_owned(), "a".repeat(15 << 10))]));
    assert!(!taken(4, &[("x".to_owned(), "a".repeat(17 << 10))]));
    tollgate.events(OPEN, 3);
}

#[test]
fn a_client_that_is_gone_is_noticed_by_ping() {
    let tollgate = start_http2("", "ping_interval = \"200ms\"\nping_timeout = \"300ms\"");
    let mut client = Client::new(tollgate.ingest.unwrap());
    let mut pings = 0;
    while let Some(frame) = client.next() {
        pings += u32::from(frame.kind == PING);
    }
    assert!(pings >= 1);
    await_ended(&tollgate, "ping_timeout", 1);
}

#[test]
fn early_refusals_do_not_count_as_faults_of_the_client() {
    // Each refused body is cut by a reset of ours: more of them than `max_error_resets`.
    let tollgate = start_http2("refusal_delay = \"0s\"", "max_error_resets = 20");
    let mut client = Client::new(tollgate.ingest.unwrap());
    let nowhere = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/nowhere"),
        (":authority", "localhost"),
        ("content-length", "99999999"),
    ];
    for index in 0..100 {
        client.send(&frame(HEADERS, END_HEADERS, id(index), &block(&nowhere)));
        client.send(&frame(DATA, 0, id(index), b"{"));
        let answer = client.next_of(HEADERS).unwrap();
        assert_eq!((answer.stream, answer.status()), (id(index), 404));
    }
    client.send(&post(id(100)));
    assert_eq!(client.next_of(HEADERS).unwrap().status(), 200);
    tollgate.events(OPEN, 1);
}

#[test]
fn a_client_that_opens_no_window_is_closed_when_idle() {
    let tollgate = start_http2(
        "idle_timeout = \"500ms\"\nheader_timeout = \"500ms\"",
        "max_concurrent_streams = 10",
    );
    let mut client = Client::new(tollgate.ingest.unwrap());
    // SETTINGS_INITIAL_WINDOW_SIZE of 0: no byte of an answer's body may be sent.
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let nowhere = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/nowhere"),
        (":authority", "localhost"),
    ];
    for index in 0..10 {
        let bytes = frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            id(index),
            &block(&nowhere),
        );
        client.send(&bytes);
    }
    let frames = client.rest();
    let answers = frames.iter().filter(|frame| frame.kind == HEADERS).count();
    assert_eq!(answers, 10);
    assert!(
        frames
            .iter()
            .all(|frame| frame.kind != DATA || frame.payload.is_empty())
    );
    await_ended(&tollgate, "idle_timeout", 1);
}

#[test]
fn windows_bound_what_a_client_sends_ahead() {
    let tollgate = start_http2("", "");
    let mut client = Client::new(tollgate.ingest.unwrap());
    client.next_of(SETTINGS).unwrap();
    client.send(&frame(SETTINGS, ACK, 0, &[]));
    // A client that does not wait for its window, on streams that are read by nobody yet.
    let piece = vec![b' '; 16 << 10];
    let mut ended = false;
    for index in 0..200 {
        let mut bytes = frame(
            HEADERS,
            END_HEADERS,
            id(index),
            &head(&[("content-length", "99999999")]),
        );
        for _ in 0..8 {
            bytes.extend(frame(DATA, 0, id(index), &piece));
        }
        if client.0.write_all(&bytes).is_err() {
            ended = true;
            break;
        }
    }
    let frames = client.rest();
    let refused = |frame: &Frame| frame.kind == RST_STREAM || frame.kind == GOAWAY;
    assert!(ended || frames.iter().any(refused), "{frames:?}");
}
