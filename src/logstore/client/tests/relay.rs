//! Requests that are passed on as they came, against a server that keeps every byte it got.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::super::relay::MAX_RELAYS;
use super::*;
use crate::logstore::signature::{Signer, Unsigned};

/// A server that answers every request with the same bytes and closes.
struct Recorder {
    base: String,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// `gate`: a permit is taken before each answer.
    async fn start(answer: impl Into<Vec<u8>>, gate: Option<Arc<Semaphore>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (answer.into(), Arc::clone(&got));
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, seen, gate) = (answer.clone(), Arc::clone(&seen), gate.clone());
                tasks.spawn(async move {
                    let request = read_request(&mut stream).await;
                    seen.lock().unwrap().push(request);
                    if let Some(gate) = gate {
                        gate.acquire().await.unwrap().forget();
                    }
                    drop(stream.write_all(&answer).await);
                });
            }
        });
        Self { base, got }
    }

    async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::start(answer, None).await
    }

    fn got(&self) -> Vec<Vec<u8>> {
        self.got.lock().unwrap().clone()
    }

    /// Head and body of the one request.
    fn only(&self) -> (String, Vec<u8>) {
        let got = self.got();
        assert_eq!(got.len(), 1);
        let end = head_end(&got[0]).unwrap();
        let head = String::from_utf8_lossy(&got[0][..end]).into_owned();
        (head, got[0][end..].to_vec())
    }
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(at + 4)
}

async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = head_end(&read) {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head
                .split_once("content-length: ")
                .and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<usize>().ok());
            if read.len() >= end + length.unwrap_or(0) {
                return read;
            }
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return read;
        }
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nx-log-requestid: UP1\r\ncontent-length: 0\r\n\r\n";

fn headers(pairs: &[(&str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: http::HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

async fn relay_to(
    client: &StoreClient,
    target: &str,
    headers: &HeaderMap,
    host: RelayHost<'_>,
    body: impl Into<Bytes>,
) -> Result<RelayedAnswer, RelayError> {
    let relay = RelayRequest {
        method: &Method::POST,
        path_and_query: target,
        headers,
        host,
        body: body.into(),
        span: None,
    };
    client.relay(&demo(), relay).await
}

async fn simple(client: &StoreClient) -> Result<RelayedAnswer, RelayError> {
    let headers = HeaderMap::new();
    relay_to(client, "/logstores/a", &headers, RelayHost::Store, "body").await
}

async fn error_after(answer: impl Into<Vec<u8>>) -> String {
    let server = Recorder::answering(answer).await;
    let error = simple(&client(server.base.clone())).await.unwrap_err();
    assert_eq!(server.got().len(), 1, "made once");
    error.to_string()
}

#[tokio::test]
async fn paths_and_queries_go_out_as_they_came() {
    for target in [
        "/logstores/a",
        "/logstores/a/shards/lb?",
        "/logstores/a%2fb%2F%2e%2E/../x",
        "/logstores/a?k=a+b%20c&k=%2B&&=&x==",
        "/logstores/a?q=a?b/c",
        "/logstores//a///b",
        "/logstores/a?%zz=%",
        "/logstores/a?x={a:'b'}|^`",
        "/logstores/a;b,c@d:e!$&'()*",
        "/?Action=x",
    ] {
        let server = Recorder::answering(OK).await;
        let client = client(server.base.clone());
        let none = HeaderMap::new();
        let answer = relay_to(&client, target, &none, RelayHost::Store, "b").await;
        assert_eq!(answer.unwrap().status, 200, "{target}");
        let (head, _) = server.only();
        let line = format!("POST {target} HTTP/1.1\r\n");
        assert!(head.starts_with(&line), "{target}: {head}");
    }
}

#[tokio::test]
async fn our_span_stands_in_the_place_of_the_one_that_the_sender_names() {
    let (ours, theirs) = (TraceContext::root().unwrap(), TraceContext::root().unwrap());
    let headers = headers(&[("traceparent", theirs.to_string().as_bytes())]);
    for (span, sent) in [(Some(ours), ours), (None, theirs)] {
        let server = Recorder::answering(OK).await;
        let relay = RelayRequest {
            method: &Method::POST,
            path_and_query: "/logstores/a",
            headers: &headers,
            host: RelayHost::Store,
            body: "body".into(),
            span,
        };
        let client = client(server.base.clone());
        client.relay(&demo(), relay).await.unwrap();
        let (head, _) = server.only();
        assert!(head.contains(&format!("traceparent: {sent}\r\n")), "{head}");
        assert_eq!(head.matches("traceparent").count(), 1, "{head}");
    }
}

#[tokio::test]
async fn a_target_that_would_change_is_not_sent() {
    let server = Recorder::answering(OK).await;
    let client = client(server.base.clone());
    for target in [
        "",
        "?x",
        "a",
        "/a#b",
        "/a b",
        "/a\r\nx: y",
        "*",
        ":1/a",
        "@evil/a",
    ] {
        let none = HeaderMap::new();
        let answer = relay_to(&client, target, &none, RelayHost::Store, "b").await;
        let unsendable = matches!(
            answer,
            Err(RelayError::Store(StoreError::Unsendable { .. }))
        );
        assert!(unsendable, "{target}");
    }
    assert!(server.got().is_empty());
}

#[tokio::test]
async fn signed_headers_and_bodies_go_out_byte_for_byte_and_ours_stay_here() {
    let sent = headers(&[
        ("authorization", b"LOG id:c2ln="),
        ("content-type", b"application/x-protobuf; Charset=\"UTF-8\""),
        ("content-md5", b"64274B962CA43580C682DFED881AF46D"),
        ("date", b"Mon, 15 Jun 2026 08:00:00 GMT"),
        ("x-log-date", b"Mon, 15 Jun 2026 08:00:00 GMT"),
        ("x-log-bodyrawsize", b"51"),
        ("x-log-odd", b""),
        ("x-log-odd", b"\xe4\xbd\xa0  two  spaces"),
        ("x-acs-security-token", b"CAIS+/=="),
        ("accept-encoding", b"gzip, lz4"),
        ("user-agent", b"sdk/1"),
        ("x-custom", b"kept"),
        ("host", b"edge.example.com"),
        ("cookie", b"tollgate_token=secret"),
        ("origin", b"https://shop.example.com"),
        ("referer", b"https://shop.example.com/?token=secret"),
        ("x-tollgate-anything", b"secret"),
        ("connection", b"close, X-Gone, x-log-date, authorization"),
        ("x-gone", b"1"),
        ("keep-alive", b"timeout=5"),
        ("te", b"trailers"),
        ("upgrade", b"h2c"),
        ("proxy-authorization", b"Basic secret"),
        ("transfer-encoding", b"chunked"),
        ("expect", b"100-continue"),
    ]);
    let body: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let server = Recorder::answering(OK).await;
    let client = client(server.base.clone());
    let target = "/logstores/a";
    let answer = relay_to(&client, target, &sent, RelayHost::Store, body.clone()).await;
    answer.unwrap();
    let got = server.got().remove(0);
    let end = head_end(&got).unwrap();
    assert!(got[end..] == body, "the body is the same");
    let mut lines: Vec<&[u8]> = got[..end - 4]
        .split(|byte| *byte == b'\n')
        .skip(1)
        .map(<[u8]>::trim_ascii_end)
        .collect();
    lines.sort_unstable();
    let host = format!("host: demo.{}", server.base.trim_start_matches("http://"));
    let mut expected: Vec<&[u8]> = vec![
        b"authorization: LOG id:c2ln=",
        b"content-type: application/x-protobuf; Charset=\"UTF-8\"",
        b"content-md5: 64274B962CA43580C682DFED881AF46D",
        b"content-length: 300000",
        b"date: Mon, 15 Jun 2026 08:00:00 GMT",
        b"x-log-date: Mon, 15 Jun 2026 08:00:00 GMT",
        b"x-log-bodyrawsize: 51",
        b"x-log-odd:",
        b"x-log-odd: \xe4\xbd\xa0  two  spaces",
        b"x-acs-security-token: CAIS+/==",
        b"accept-encoding: gzip, lz4",
        b"user-agent: sdk/1",
        b"x-custom: kept",
        host.as_bytes(),
    ];
    expected.sort_unstable();
    let text = |lines: &[&[u8]]| String::from_utf8_lossy(&lines.join(&b'\n')).into_owned();
    assert_eq!(text(&lines), text(&expected));
}

/// What a client made of a key of the store's, on its way through us.
async fn signed_relay(version: SignatureVersion, store_host: bool) -> RelayedAnswer {
    let server = Server::start(|_| with_id("")).await;
    let client = client(server.base());
    let mut sent = headers(&[
        ("content-type", b"application/json"),
        ("x-log-bodyrawsize", b"2"),
        ("host", b"logs.example.com"),
    ]);
    let key = key();
    let signer = Signer {
        version,
        key: &key,
        region: "cn-hangzhou",
    };
    let request = Unsigned {
        method: &Method::POST,
        path: "/logstores/web-events",
        query: &[("b", "1 +"), ("a", "/\u{e9}")],
        body: b"{}",
    };
    signer
        .sign(&request, &mut sent, clock::unix_seconds())
        .unwrap();
    let host = sent.get("host").unwrap().clone();
    let host = if store_host {
        RelayHost::Store
    } else {
        RelayHost::AsReceived(&host)
    };
    let target = "/logstores/web-events?b=1+%2B&a=%2f%C3%A9";
    let answer = relay_to(&client, target, &sent, host, "{}").await.unwrap();
    let seen = server.seen().remove(0);
    let expected = if store_host {
        format!("demo.127.0.0.1:{}", server.port())
    } else {
        "logs.example.com".to_owned()
    };
    assert_eq!(seen.header("host"), expected);
    answer
}

#[tokio::test]
async fn a_signature_is_still_good_at_the_store() {
    assert_eq!(signed_relay(SignatureVersion::V1, true).await.status, 200);
    assert_eq!(signed_relay(SignatureVersion::V1, false).await.status, 200);
    assert_eq!(signed_relay(SignatureVersion::V4, false).await.status, 200);
    let changed_host = signed_relay(SignatureVersion::V4, true).await;
    assert_eq!(changed_host.status, 401);
}

#[tokio::test]
async fn the_answer_comes_back_with_its_status_body_and_the_headers_that_matter() {
    let answer = "HTTP/1.1 403 Forbidden\r\nx-log-requestid: UP1\r\nX-Log-Time: 7\r\n\
        content-type: application/json\r\ncontent-encoding: gzip\r\nserver: x\r\n\
        set-cookie: a=b\r\ndate: Mon, 15 Jun 2026 08:00:00 GMT\r\naccess-control-allow-origin: *\r\n\
        location: /\r\nx-tollgate-ack: memory\r\ntransfer-encoding: chunked\r\n\r\n\
        3\r\n{\"a\r\n1;x=y\r\n\"\r\n4\r\n:1}\n\r\n0\r\n\r\n";
    let server = Recorder::answering(answer).await;
    let answer = simple(&client(server.base.clone())).await.unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(&answer.body[..], b"{\"a\":1}\n");
    let expected = headers(&[
        ("x-log-requestid", b"UP1"),
        ("x-log-time", b"7"),
        ("content-type", b"application/json"),
        ("content-encoding", b"gzip"),
    ]);
    assert_eq!(answer.headers, expected);
}

#[tokio::test]
async fn what_the_store_does_not_answer_is_no_answer() {
    let portal = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
    assert_eq!(
        error_after(portal).await,
        "status 200, but not from the store: the answer has no x-log-requestid"
    );
    let redirect = "HTTP/1.1 302 Found\r\nx-log-requestid: a\r\nlocation: http://127.0.0.1:1/\r\n\
        content-length: 0\r\n\r\n";
    let error = error_after(redirect).await;
    assert!(error.contains("never followed"), "{error}");
    let cut = "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 5\r\n\r\nab";
    let error = error_after(cut).await;
    assert!(
        error.contains("the connection to the store broke"),
        "{error}"
    );
    let error = error_after("").await;
    assert!(
        error.contains("the connection to the store broke"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_is_read_up_to_a_cap() {
    let answer = |size: usize| {
        let head = "HTTP/1.1 400 Bad Request\r\nx-log-requestid: a\r\n";
        format!("{head}content-length: {size}\r\n\r\n{}", "a".repeat(size))
    };
    let server = Recorder::answering(answer(1 << 20)).await;
    let most = simple(&client(server.base.clone())).await.unwrap();
    assert_eq!(most.body.len(), 1 << 20);
    let error = error_after(answer((1 << 20) + 1)).await;
    assert!(error.contains("larger than its limit"), "{error}");
}

fn hasty(base: String) -> StoreClient {
    let mut endpoint = endpoint(base);
    // On a machine that is busy two times that are the same end in any order.
    endpoint.timeouts = Duration::from_secs(10).into();
    endpoint.timeouts.whole = Duration::from_millis(300);
    StoreClient::new(endpoint).unwrap()
}

#[tokio::test]
async fn an_answer_that_does_not_come_runs_into_the_timeout() {
    let never = Recorder::start(OK, Some(Arc::new(Semaphore::new(0)))).await;
    let error = simple(&hasty(never.base.clone())).await.unwrap_err();
    let error = error.to_string();
    // Which of two deadlines of 300 ms each is over first is the machine's choice.
    let expected = "the store did not answer in time: ";
    let why = error.strip_prefix(expected).unwrap();
    assert!(["300 ms", "no answer for 300 ms"].contains(&why), "{error}");
    assert_eq!(never.got().len(), 1, "made once");
}

#[tokio::test]
async fn an_answer_that_drips_runs_into_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nx-log-requestid: a\r\ncontent-length: 60000\r\n\r\n";
        drop(stream.write_all(head.as_bytes()).await);
        while stream.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let error = simple(&hasty(base)).await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn when_too_many_are_on_their_way_the_next_is_refused_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Recorder::start(OK, Some(Arc::clone(&gate))).await;
    let client = Arc::new(client(server.base.clone()));
    let tasks = TaskTracker::new();
    let waiting: Vec<_> = (0..MAX_RELAYS)
        .map(|_| {
            let client = Arc::clone(&client);
            tasks.spawn(async move { simple(&client).await.map(|answer| answer.status) })
        })
        .collect();
    while server.got().len() < MAX_RELAYS {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(simple(&client).await.unwrap_err(), RelayError::Busy);
    gate.add_permits(MAX_RELAYS + 1);
    for task in waiting {
        assert_eq!(task.await.unwrap().unwrap(), 200);
    }
    assert_eq!(
        simple(&client).await.unwrap().status,
        200,
        "slots come back"
    );
    assert_eq!(server.got().len(), MAX_RELAYS + 1);
}

#[tokio::test]
async fn a_relayed_answer_does_not_set_the_clock_of_our_own_calls() {
    let server = Server::start(|_| with_id("")).await;
    let client = client(server.base());
    let sent = headers(&[
        ("authorization", b"LOG LTAI4TollgateTestKeyId:c2ln="),
        ("x-log-date", b"Mon, 15 Jun 2020 08:00:00 GMT"),
        ("x-log-apiversion", b"0.6.0"),
        ("x-log-signaturemethod", b"hmac-sha1"),
        ("x-acs-security-token", b"CAISTollgateTestSecurityToken+/=="),
    ]);
    let relay = relay_to(&client, "/logstores/a", &sent, RelayHost::Store, "").await;
    let body = relay.unwrap().body;
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("RequestTimeExpired"), "{body}");
    assert_eq!(client.clock_ahead.load(Ordering::Relaxed), 0);
}
