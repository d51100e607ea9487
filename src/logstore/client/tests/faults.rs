//! A store that is away, hangs, or breaks off.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::logstore::client::exchange::MAX_HEAD;

/// A server that does to each connection what `each` does.
pub(super) async fn raw_server<F>(each: impl Fn(TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tasks.spawn(each(stream));
        }
    });
    base
}

/// Reads the head of a request and no more of it than came along.
pub(super) async fn read_head(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        stream.read_buf(&mut read).await.unwrap();
    }
}

/// Reads a request of [`put`], then sends `answer` and closes.
async fn answer_with(mut stream: TcpStream, answer: Vec<u8>) {
    let mut read = Vec::new();
    let end = unhex(V_PB1_LZ4);
    while !read.ends_with(&end) {
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
    drop(stream.write_all(&answer).await);
}

async fn failure_after(answer: impl Into<Vec<u8>>) -> StoreError {
    let answer = answer.into();
    let base = raw_server(move |stream| answer_with(stream, answer.clone())).await;
    put(&client(base)).await.unwrap_err()
}

fn hasty(base: String, timeout: Duration) -> StoreClient {
    let mut endpoint = endpoint(base);
    endpoint.timeouts = timeout.into();
    StoreClient::new(endpoint).unwrap()
}

#[tokio::test]
async fn nobody_listening_is_a_failure_to_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let result = put(&client(base)).await;
    assert_eq!(transport(result), TransportFailure::Connect);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_failure_to_connect() {
    let result = put(&client("http://store.invalid".to_owned())).await;
    assert_eq!(transport(result), TransportFailure::Connect);
}

#[tokio::test]
async fn a_server_that_never_answers_runs_into_the_timeout() {
    let base = raw_server(|mut stream| async move {
        let mut read = Vec::new();
        while stream.read_buf(&mut read).await.unwrap_or(0) > 0 {}
    })
    .await;
    let client = hasty(base, Duration::from_millis(200));
    assert_eq!(transport(put(&client).await), TransportFailure::Timeout);
}

#[tokio::test]
async fn a_server_that_never_reads_runs_into_the_timeout() {
    let base = raw_server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let client = hasty(base, Duration::from_millis(300));
    let body = Bytes::from(vec![7; 16 << 20]);
    let size = body.len();
    let result = client
        .put_log_group(
            &demo(),
            &web_events(),
            PackedGroup::new(Codec::None, body, size),
        )
        .await;
    assert_eq!(transport(result), TransportFailure::Timeout);
}

#[tokio::test]
async fn an_answer_that_drips_runs_into_the_timeout() {
    let base = raw_server(|mut stream| async move {
        read_head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 60000\r\n\r\n";
        drop(stream.write_all(head.as_bytes()).await);
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let client = hasty(base, Duration::from_millis(300));
    assert_eq!(transport(put(&client).await), TransportFailure::Timeout);
}

#[tokio::test]
async fn a_connection_that_breaks_before_or_within_the_answer_is_a_failure() {
    let heads = [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\n",
        "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    ];
    for head in heads {
        let error = failure_after(head).await;
        assert!(
            matches!(
                error,
                StoreError::Transport {
                    failure: TransportFailure::Interrupted,
                    ..
                }
            ),
            "{head:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn garbage_and_heads_without_end_are_failures() {
    let mut many = b"HTTP/1.1 200 OK\r\nx-log-requestid: a\r\n".to_vec();
    for n in 0..50_000 {
        many.extend_from_slice(format!("x-{n}: y\r\n").as_bytes());
    }
    many.extend_from_slice(b"content-length: 0\r\n\r\n");
    let long = format!(
        "HTTP/1.1 200 OK\r\nx-log-requestid: {}\r\ncontent-length: 0\r\n\r\n",
        "a".repeat(2 * MAX_HEAD)
    );
    let bad_chunk =
        "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    for answer in [
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        vec![0x15, 3, 1, 0, 2, 2, 0x46],
        many,
        long.into_bytes(),
        bad_chunk.as_bytes().to_vec(),
    ] {
        let error = failure_after(answer).await;
        assert!(
            matches!(
                error,
                StoreError::Transport {
                    failure: TransportFailure::Interrupted,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_200_before_the_body_was_sent_is_no_success() {
    let base = raw_server(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 0\r\n\r\n";
        drop(stream.write_all(answer.as_bytes()).await);
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let body = Bytes::from(vec![7; 16 << 20]);
    let size = body.len();
    let result = client(base)
        .put_log_group(
            &demo(),
            &web_events(),
            PackedGroup::new(Codec::None, body, size),
        )
        .await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "status 200, but not from the store: the answer came before the request was sent"
    );
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced_without_an_error() {
    let base = raw_server(|stream| {
        let answer = "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 0\r\n\r\n";
        answer_with(stream, answer.as_bytes().to_vec())
    })
    .await;
    let client = client(base);
    for _ in 0..20 {
        put(&client).await.unwrap();
        // The close that follows the answer has to arrive, and nothing tells when.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
