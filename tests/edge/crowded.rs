//! Who gives way when there are as many connections as may be, and that requests never do.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::support::{OPEN, Tollgate, connect, read_answer};
use super::{EVENT, await_ended, await_metric, request, rest, send, start};

const NOWHERE: &[u8] = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn crowded(tollgate: &Tollgate) -> u64 {
    tollgate.metric("tollgate_connections_ended_total{reason=\"crowded\"}")
}

/// Asks at this pace until it is closed, or everything is over.
fn keep_asking(address: SocketAddr, pace: Duration, asked: &AtomicUsize, over: &AtomicBool) {
    let mut stream = connect(address);
    while !over.load(Ordering::Relaxed) && stream.write_all(NOWHERE).is_ok() {
        let mut byte = [0];
        if !matches!(stream.peek(&mut byte), Ok(1)) || read_answer(&mut stream).status != 404 {
            return;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let pieces = pace.as_millis() / 50;
        for _ in 0..pieces {
            thread::sleep(Duration::from_millis(50));
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// So many clients fill every place, each asking at this pace: others are served all the same.
fn others_are_served_beside_who_asks_every(pace: Duration) {
    const MOST: usize = 40;
    let tollgate = start("max_connections = 40\nidle_timeout = \"600s\"\nrefusal_delay = \"0s\"");
    let ingest = tollgate.ingest.unwrap();
    let (asked, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..MOST {
            scope.spawn(|| keep_asking(ingest, pace, &asked, &over));
        }
        while asked.load(Ordering::Relaxed) < MOST {
            thread::sleep(Duration::from_millis(20));
        }
        let good = scope.spawn(|| {
            for _ in 0..5 {
                let mut stream = send(ingest, request("Connection: close\r\n").as_bytes());
                assert_eq!(read_answer(&mut stream).status, 200);
            }
        });
        let good = good.join();
        over.store(true, Ordering::Relaxed);
        good.unwrap();
    });
    assert!(crowded(&tollgate) >= 1, "{}", tollgate.metrics());
    tollgate.events(OPEN, 5);
}

#[test]
fn who_asks_now_and_then_gives_way() {
    others_are_served_beside_who_asks_every(Duration::from_secs(2));
}

#[test]
fn who_asks_all_the_time_is_told_to_end() {
    others_are_served_beside_who_asks_every(Duration::from_millis(200));
}

#[test]
fn silent_ones_give_way_before_heads_and_a_request_under_way_never() {
    let tollgate = start("max_connections = 3");
    let ingest = tollgate.ingest.unwrap();
    let text = request("");
    let head = text.strip_suffix(EVENT).unwrap();
    let mut busy = send(ingest, head.as_bytes());
    let mut partial = send(ingest, b"POST / HT");
    await_metric(&tollgate, "tollgate_connections_open", 2);
    let mut silent = connect(ingest);
    await_metric(&tollgate, "tollgate_connections_open", 3);
    // The listener keeps a place ready for whoever comes next.
    assert_eq!(rest(&mut silent), b"");
    await_ended(&tollgate, "crowded", 1);
    partial
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(partial.peek(&mut [0]).is_err(), "it is still there");
    partial
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut next = send(ingest, head.as_bytes());
    assert_eq!(rest(&mut partial), b"");
    await_ended(&tollgate, "crowded", 2);
    thread::sleep(Duration::from_millis(1500));
    for stream in [&mut busy, &mut next] {
        stream.write_all(EVENT.as_bytes()).unwrap();
        assert_eq!(read_answer(stream).status, 200);
    }
    tollgate.events(OPEN, 2);
}
