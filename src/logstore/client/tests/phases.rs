//! A store that is slow in one phase of a call, and connections that are old or were closed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::faults::{raw_server, read_head};
use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 0\r\n\r\n";
const SHORT: Duration = Duration::from_millis(150);

/// A client for which one phase is short, and all else long.
fn with(base: String, shorten: impl Fn(&mut Timeouts)) -> StoreClient {
    let mut endpoint = endpoint(base);
    shorten(&mut endpoint.timeouts);
    StoreClient::new(endpoint).unwrap()
}

/// What failed, and the words for it.
async fn failure(client: &StoreClient, body: usize) -> (TransportFailure, String) {
    let body = Bytes::from(vec![7; body]);
    let size = body.len();
    let result = client
        .put_log_group(
            &demo(),
            &web_events(),
            PackedGroup::new(Codec::None, body, size),
        )
        .await;
    match result {
        Err(StoreError::Transport { failure, detail }) => (failure, detail),
        other => panic!("{other:?}"),
    }
}

/// Reads a request of [`put`]; `false` when the connection ends before.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    let end = unhex(V_PB1_LZ4);
    while !read.ends_with(&end) {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return false;
        }
    }
    true
}

async fn silence(stream: TcpStream) {
    tokio::time::sleep(Duration::from_secs(60)).await;
    drop(stream);
}

#[tokio::test]
async fn delivery_gives_up_a_handshake_that_does_not_end() {
    let base = raw_server(silence).await.replace("http:", "https:");
    let client = with(base, |times| times.connect = SHORT);
    let (failure, detail) = failure(&client, 10).await;
    assert_eq!(failure, TransportFailure::Connect);
    assert_eq!(detail, "no connection within 150 ms");
}

#[tokio::test]
async fn delivery_gives_up_a_store_that_stops_reading() {
    let client = with(raw_server(silence).await, |times| times.write = SHORT);
    let (failure, detail) = failure(&client, 16 << 20).await;
    assert_eq!(failure, TransportFailure::Timeout);
    assert_eq!(detail, "nothing of the request was read for 150 ms");
}

#[tokio::test]
async fn delivery_gives_up_an_answer_that_does_not_begin_or_whose_head_drips() {
    for piece in [&b""[..], b"H", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let base = raw_server(move |mut stream| async move {
            read_head(&mut stream).await;
            while stream.write_all(piece).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let client = with(base, |times| times.answer = SHORT);
        match put(&client).await {
            Err(StoreError::Transport { failure, detail }) => {
                // Many an H is no HTTP.
                let dripped = piece == b"H" && failure == TransportFailure::Interrupted;
                let timed =
                    failure == TransportFailure::Timeout && detail == "no answer for 150 ms";
                assert!(dripped || timed, "{piece:?}: {failure:?} {detail}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn delivery_does_not_use_an_old_connection_again() {
    for (age, connections) in [(Duration::from_secs(300), 1), (Duration::ZERO, 3)] {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        let base = raw_server(move |mut stream| {
            count.fetch_add(1, Ordering::SeqCst);
            async move {
                while read_request(&mut stream).await {
                    stream.write_all(OK).await.unwrap();
                }
            }
        })
        .await;
        let client = with(base, |times| times.connection_age = age);
        for _ in 0..3 {
            put(&client).await.unwrap();
            // The connection has to come back to those that are idle.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(opened.load(Ordering::SeqCst), connections, "{age:?}");
    }
}

/// A store that answers `answered` requests of each connection and breaks it at the next; and the
/// requests that it has read.
async fn breaks_after(answered: usize) -> (String, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let base = raw_server(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            for _ in 0..answered {
                if !read_request(&mut stream).await {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                stream.write_all(OK).await.unwrap();
            }
            read_request(&mut stream).await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    (base, requests)
}

#[tokio::test]
async fn delivery_asks_once_more_when_a_used_connection_breaks() {
    let (base, requests) = breaks_after(1).await;
    let client = client(base);
    for _ in 0..3 {
        put(&client).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The second request broke and was made again, apart from the others; so was the third.
    assert!(requests.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn delivery_does_not_ask_again_when_a_new_connection_breaks() {
    let (base, requests) = breaks_after(0).await;
    let client = client(base);
    assert_eq!(transport(put(&client).await), TransportFailure::Interrupted);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn delivery_reads_an_access_key_again_when_it_is_refused() {
    let server = Server::start(|_| with_id("")).await;
    let mut endpoint = endpoint(server.base());
    endpoint.key.secret = Secret::new("the one of yesterday");
    let kept = Arc::new(Mutex::new(Err("not there yet".to_owned())));
    let read = Arc::new(AtomicUsize::new(0));
    let (source, count) = (Arc::clone(&kept), Arc::clone(&read));
    let client = StoreClient::new(endpoint)
        .unwrap()
        .with_key_kept_by(KeyKeeper {
            source: Arc::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
                source.lock().unwrap().clone()
            }),
            every: Duration::ZERO,
            told: Arc::new(|_| {}),
        });
    for _ in 0..3 {
        let error = put(&client).await.unwrap_err();
        let reason = RetryReason::Credential;
        assert_eq!(next_step(&error), NextStep::Retry { reason });
    }
    assert_eq!(read.load(Ordering::SeqCst), 1, "once in a second");
    *kept.lock().unwrap() = Ok(key());
    tokio::time::sleep(Duration::from_millis(1050)).await;
    put(&client).await.unwrap();
    put(&client).await.unwrap();
    assert_eq!(read.load(Ordering::SeqCst), 2);
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn delivery_reads_an_access_key_again_before_it_is_refused() {
    let server = Server::start(|_| with_id("")).await;
    let kept = Arc::new(Mutex::new(Ok(key())));
    let told = Arc::<Mutex<Vec<KeyRead>>>::default();
    let (source, heard) = (Arc::clone(&kept), Arc::clone(&told));
    let client = StoreClient::new(endpoint(server.base()))
        .unwrap()
        .with_key_kept_by(KeyKeeper {
            source: Arc::new(move || source.lock().unwrap().clone()),
            every: Duration::from_millis(30),
            told: Arc::new(move |read| heard.lock().unwrap().push(read)),
        });
    put(&client).await.unwrap();
    assert!(told.lock().unwrap().is_empty(), "not at once");
    // A key is read again while a request is under way, so what comes next may have come as well.
    let next = async |outcome: KeyRead| {
        told.lock().unwrap().clear();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !told.lock().unwrap().contains(&outcome) {
            assert!(tokio::time::Instant::now() < deadline, "{outcome:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(put(&client).await);
        }
    };
    next(KeyRead::Same).await;
    *kept.lock().unwrap() = Err("it is being written".to_owned());
    next(KeyRead::Failed).await;
    put(&client).await.unwrap();
    let other = AccessKey {
        secret: Secret::new("the one of tomorrow"),
        ..key()
    };
    *kept.lock().unwrap() = Ok(other);
    next(KeyRead::Changed).await;
    let error = put(&client).await.unwrap_err();
    let reason = RetryReason::Credential;
    assert_eq!(next_step(&error), NextStep::Retry { reason }, "it is used");
}

#[tokio::test]
async fn delivery_starts_no_second_reading_of_an_access_key_while_one_hangs() {
    let server = Server::start(|_| with_id("")).await;
    let mut endpoint = endpoint(server.base());
    // Refused, so both ways to read it are tried.
    endpoint.key.secret = Secret::new("the one of yesterday");
    let hangs = Arc::new(AtomicBool::new(true));
    let begun = Arc::new(AtomicUsize::new(0));
    let (gate, count) = (Arc::clone(&hangs), Arc::clone(&begun));
    let client = StoreClient::new(endpoint)
        .unwrap()
        .with_key_kept_by(KeyKeeper {
            source: Arc::new(move || {
                count.fetch_add(1, Ordering::SeqCst);
                // A test that fails has to end.
                for _ in 0..2000 {
                    if !gate.load(Ordering::SeqCst) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(key())
            }),
            every: Duration::from_millis(1),
            told: Arc::new(|_| {}),
        });
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let error = put(&client).await.unwrap_err();
        let reason = RetryReason::Credential;
        assert_eq!(next_step(&error), NextStep::Retry { reason });
    }
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    hangs.store(false, Ordering::SeqCst);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while put(&client).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "it is read again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn delivery_uses_no_access_key_of_which_one_half_was_written_when_it_was_read() {
    let server = Server::start(|_| with_id("")).await;
    let reads = Arc::new(AtomicUsize::new(0));
    let told = Arc::<Mutex<Vec<KeyRead>>>::default();
    let (count, heard) = (Arc::clone(&reads), Arc::clone(&told));
    let client = StoreClient::new(endpoint(server.base()))
        .unwrap()
        .with_key_kept_by(KeyKeeper {
            source: Arc::new(move || {
                let of = |id: &str| AccessKey {
                    id: id.to_owned(),
                    ..key()
                };
                Ok(match count.fetch_add(1, Ordering::SeqCst) {
                    0 | 2 => of("half-of-each"),
                    1 => key(),
                    _ => of("of-today"),
                })
            }),
            every: Duration::from_millis(1),
            told: Arc::new(move |read| heard.lock().unwrap().push(read)),
        });
    let used = |id: &str| {
        let seen = server.seen();
        seen.iter()
            .any(|it| format!("{:?}", it.headers).contains(id))
    };
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !used("of-today") {
        assert!(tokio::time::Instant::now() < deadline);
        drop(put(&client).await);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    assert!(!used("half-of-each"));
    let told = told.lock().unwrap();
    assert_eq!(told[..2], [KeyRead::Same, KeyRead::Changed]);
    assert!(!told[2..].contains(&KeyRead::Changed), "{told:?}");
    assert!(reads.load(Ordering::SeqCst) >= 5);
}
