//! Where each flood of HTTP/2 ends, and that it does; and that good clients are not taken for one.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::super::{await_ended, await_metric};
use super::*;

const PRIORITY: u8 = 2;
const UNKNOWN: u8 = 200;

/// How a flood ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    GoAway(u32),
    Closed,
    StillOpen,
}

/// Sends until the other side has had enough, or so many times, then looks how it ended.
fn flood(client: &mut Client, times: u32, mut bytes: impl FnMut(u32) -> Vec<u8>) -> End {
    let limit = Some(Duration::from_secs(5));
    client.0.set_write_timeout(limit).unwrap();
    client.0.set_read_timeout(limit).unwrap();
    for index in 0..times {
        match client.0.write_all(&bytes(index)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(_) => break,
        }
    }
    let mut told = None;
    loop {
        let mut head = [0; 9];
        let mut read = client.0.read_exact(&mut head);
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if read.is_ok() {
            read = client.0.read_exact(&mut payload);
        }
        match read {
            Ok(()) if head[3] == GOAWAY => {
                told = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
            }
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return End::StillOpen,
            Err(_) => return told.map_or(End::Closed, End::GoAway),
        }
    }
}

/// Ended, with this code where one was read: what was sent ahead may destroy it on its way.
fn ended(what: &str, end: &End, codes: &[u32]) {
    match end {
        End::GoAway(code) => assert!(codes.contains(code), "{what}: {end:?}"),
        End::Closed => {}
        End::StillOpen => panic!("{what}: still open"),
    }
}

fn pairs(round: u32, with: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (round * 100..(round + 1) * 100)
        .flat_map(|index| {
            let mut pair = frame(HEADERS, END_HEADERS, id(index), &head(&[]));
            pair.extend(with(id(index)));
            pair
        })
        .collect()
}

#[test]
fn floods_of_requests_end_the_connection() {
    let tollgate = start_http2("", "");
    let ingest = tollgate.ingest.unwrap();
    // Rapid reset (CVE-2023-44487).
    let end = flood(&mut Client::new(ingest), 20, |round| {
        pairs(round, |id| frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()))
    });
    ended("rapid reset", &end, &[ENHANCE_YOUR_CALM]);
    await_ended(&tollgate, "protocol_error", 1);
    // The server is made to reset (CVE-2025-8671): a window is opened by nothing.
    let end = flood(&mut Client::new(ingest), 40, |round| {
        pairs(round, |id| frame(WINDOW_UPDATE, 0, id, &[0; 4]))
    });
    ended("made you reset", &end, &[ENHANCE_YOUR_CALM, 1]);
    await_ended(&tollgate, "protocol_error", 2);
    // CONTINUATION without end (RUSTSEC-2024-0332).
    let mut client = Client::new(ingest);
    client.send(&frame(HEADERS, 0, 1, &head(&[])));
    let piece = literal("x", &"a".repeat(1000));
    let end = flood(&mut client, 20_000, |_| frame(CONTINUATION, 0, 1, &piece));
    ended("CONTINUATION", &end, &[ENHANCE_YOUR_CALM, 1]);
    await_metric(&tollgate, "tollgate_connections_open", 0);
    assert_eq!(tollgate.track(OPEN, "", EVENT).status, 200);
    tollgate.events(OPEN, 1);
}

#[test]
fn floods_of_frames_end_the_connection() {
    let tollgate = start_http2("write_timeout = \"60s\"\nidle_timeout = \"600s\"", "");
    let ingest = tollgate.ingest.unwrap();
    let kinds: [(&str, Vec<u8>); 5] = [
        ("PING", frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("unknown", frame(UNKNOWN, 0, 0, &[])),
        ("unknown and long", frame(UNKNOWN, 0, 0, &[7; 1000])),
    ];
    for (name, one) in &kinds {
        let mut client = Client::new(ingest);
        // Its answers are read: writing never stands still.
        let mut reader = client.0.try_clone().unwrap();
        let reading = thread::spawn(move || drop(std::io::copy(&mut reader, &mut std::io::sink())));
        let block = one.repeat(10_000 / one.len());
        let deadline = Instant::now() + Duration::from_secs(20);
        while client.0.write_all(&block).is_ok() {
            assert!(Instant::now() < deadline, "{name}: still open");
        }
        reading.join().unwrap();
    }
    await_ended(&tollgate, "frame_flood", 5);
    // Frames of a body that carry nothing, or next to it.
    for (name, piece) in [("empty DATA", &b""[..]), ("small DATA", b"  ")] {
        let mut client = Client::new(ingest);
        client.send(&frame(HEADERS, END_HEADERS, 1, &head(&[])));
        let block = frame(DATA, 0, 1, piece).repeat(100);
        let end = flood(&mut client, 1000, |_| block.clone());
        // A window ends before, where it counts.
        ended(name, &end, &[ENHANCE_YOUR_CALM, 3]);
    }
    await_metric(&tollgate, "tollgate_connections_open", 0);
}

#[test]
fn good_clients_are_no_flood() {
    let tollgate = start_http2("", "");
    let ingest = tollgate.ingest.unwrap();
    // Many small requests, each with an answer that is waited for, and a PING.
    let mut many = Client::new(ingest);
    const REQUESTS: u32 = 1500;
    for index in 0..REQUESTS {
        many.send(&post(id(index)));
        many.send(&frame(PING, 0, 0, &[0; 8]));
        assert_eq!(many.next_of(HEADERS).unwrap().status(), 200);
    }
    // One that keeps its connection by PINGs, ten a second for three seconds.
    let mut kept = Client::new(ingest);
    for _ in 0..30 {
        kept.send(&frame(PING, 0, 0, &[0; 8]));
        thread::sleep(Duration::from_millis(100));
    }
    kept.send(&post(1));
    assert_eq!(kept.next_of(HEADERS).unwrap().status(), 200);
    // A long upload, in frames of 1,000 bytes, as the window opens.
    let mut upload = Client::new(ingest);
    let mut body = EVENT.as_bytes().to_vec();
    body.resize(2_000_000, b' ');
    upload.send(&frame(HEADERS, END_HEADERS, 1, &head(&[])));
    let mut open = 65_535_usize;
    let mut pieces = body.chunks(1000).peekable();
    while let Some(piece) = pieces.next() {
        while open < piece.len() {
            let update = upload.next_of(WINDOW_UPDATE).unwrap();
            if update.stream == 1 {
                open += u32::from_be_bytes(update.payload.try_into().unwrap()) as usize;
            }
        }
        open -= piece.len();
        let flags = if pieces.peek().is_none() {
            END_STREAM
        } else {
            0
        };
        upload.send(&frame(DATA, flags, 1, piece));
    }
    assert_eq!(upload.next_of(HEADERS).unwrap().status(), 200);
    tollgate.events(OPEN, REQUESTS as usize + 2);
}

#[test]
fn who_never_acknowledges_the_end_is_closed_all_the_same() {
    let tollgate = start_http2("max_requests = 3\nheader_timeout = \"1s\"", "");
    let mut client = Client::new(tollgate.ingest.unwrap());
    client
        .0
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut reader = Client(client.0.try_clone().unwrap());
    let reading = thread::spawn(move || {
        let frames = reader.rest();
        let answers = frames.iter().filter(|frame| frame.kind == HEADERS);
        answers.filter(|frame| frame.status() == 200).count()
    });
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut index = 0;
    while client.0.write_all(&post(id(index))).is_ok() {
        assert!(Instant::now() < deadline, "still open");
        index += 1;
        thread::sleep(Duration::from_millis(50));
    }
    await_ended(&tollgate, "max_requests", 1);
    let answered = reading.join().unwrap();
    // What was asked in time was taken, the rest was not.
    assert!(answered >= 3, "{answered}");
    tollgate.events(OPEN, answered);
}
