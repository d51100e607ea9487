//! Refusals that wait, beside good requests of the same connection.

use super::super::refusals::{start_guarded, weary};
use super::super::support::GUARDED;
use super::*;

const WAITING: &str = "tollgate_refusals_waiting";

/// A whole request with a bad token.
fn bad(stream: u32) -> Vec<u8> {
    let path = format!("/logstores/{GUARDED}/track");
    let fields = block(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", &path),
        (":authority", "localhost"),
        ("authorization", "Bearer no-token"),
    ]);
    let mut bytes = frame(HEADERS, END_HEADERS, stream, &fields);
    bytes.extend(frame(DATA, END_STREAM, stream, EVENT.as_bytes()));
    bytes
}

fn start(ingest: &str, http2: &str) -> Tollgate {
    let tables = format!("[ingest.http2]\nprior_knowledge = true\n{http2}");
    start_guarded(ingest, &tables)
}

/// A client of a network that was refused before.
fn known(tollgate: &Tollgate) -> Client {
    let ingest = tollgate.ingest.unwrap();
    weary(tollgate, || connect(ingest));
    let mut client = Client::new(ingest);
    client.next_of(SETTINGS).unwrap();
    client.send(&frame(SETTINGS, ACK, 0, &[]));
    client
}

#[test]
fn good_streams_pass_refused_ones_that_wait_and_a_stop_ends_the_wait() {
    let mut tollgate = start("refusal_delay = \"20s\"", "max_concurrent_streams = 10");
    let mut client = known(&tollgate);
    for index in 0..9 {
        client.send(&bad(id(index)));
    }
    await_metric(&tollgate, WAITING, 9);
    client.send(&post(id(9)));
    let answer = client.next_of(HEADERS).unwrap();
    assert_eq!((answer.stream, answer.status()), (id(9), 200));
    // It was taken, so refusals are answered at once again: those that wait go on to wait.
    client.send(&bad(id(10)));
    let answer = client.next_of(HEADERS).unwrap();
    assert_eq!(answer.stream, id(10));
    // The bound of streams is the bound of answers that wait.
    for index in 11..13 {
        client.send(&frame(HEADERS, END_HEADERS, id(index), &head(&[])));
    }
    let refused = client.next_of(RST_STREAM).unwrap();
    assert_eq!((refused.stream, refused.code()), (id(12), REFUSED_STREAM));
    client.send(&frame(DATA, END_STREAM, id(11), EVENT.as_bytes()));
    assert_eq!(client.next_of(HEADERS).unwrap().stream, id(11));
    assert_eq!(tollgate.metric(WAITING), 9);
    tollgate.signal("-TERM");
    // Otherwise the last would leave after a minute and a half at the least.
    for _ in 0..9 {
        client.next_of(HEADERS).unwrap();
    }
    drop(client);
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
}

#[test]
fn refusals_of_one_connection_leave_one_after_the_other() {
    let tollgate = start("refusal_delay = \"100ms\"", "");
    let mut client = known(&tollgate);
    let began = std::time::Instant::now();
    for index in 0..10 {
        client.send(&bad(id(index)));
    }
    for _ in 0..10 {
        client.next_of(HEADERS).unwrap();
    }
    // Ten waits of 50 ms at the least, and not one.
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[test]
fn who_gives_up_what_waits_again_and_again_is_closed() {
    let tollgate = start("refusal_delay = \"20s\"", "");
    let mut client = known(&tollgate);
    for index in 0..32 {
        client.send(&bad(id(index)));
    }
    await_metric(&tollgate, WAITING, 32);
    for index in 0..32 {
        client.send(&frame(RST_STREAM, 0, id(index), &8_u32.to_be_bytes()));
    }
    client.rest();
    await_ended(&tollgate, "refused", 1);
    await_metric(&tollgate, WAITING, 0);
}
