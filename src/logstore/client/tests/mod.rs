//! The client against a small server on a real socket, which checks every signature it gets.

mod answers;
mod calls;
mod faults;
mod phases;
mod relay;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;
use crate::foundation::secret::Secret;
use crate::logstore::signature::{RequestParts, TIME_WINDOW, verify};
use crate::logstore::vectors::{V_PB1_LZ4, unhex};

const REQUEST_ID: &str = "6A2FB1C0E1B2C3D4E5F60718";

type Reply = http::Response<Full<Bytes>>;

/// A request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |it| it.to_str().unwrap())
    }
}

fn key() -> AccessKey {
    AccessKey {
        id: "LTAI4TollgateTestKeyId".to_owned(),
        secret: Secret::new("tollgateTestAccessKeySecret0001"),
        security_token: Some(Secret::new("CAISTollgateTestSecurityToken+/==")),
    }
}

fn demo() -> ProjectName {
    ProjectName::new("demo").unwrap()
}

fn web_events() -> LogstoreName {
    LogstoreName::new("web-events").unwrap()
}

fn endpoint(base: String) -> StoreEndpoint {
    StoreEndpoint {
        base,
        address: None,
        region: "cn-hangzhou".to_owned(),
        key: key(),
        signature: SignatureVersion::V4,
        ca_file: None,
        timeouts: Duration::from_secs(20).into(),
    }
}

fn client(base: String) -> StoreClient {
    StoreClient::new(endpoint(base)).unwrap()
}

async fn put(client: &StoreClient) -> Result<PutReceipt, StoreError> {
    let body = Bytes::from(unhex(V_PB1_LZ4));
    client
        .put_log_group(
            &demo(),
            &web_events(),
            PackedGroup::new(Codec::Lz4, body, 87),
        )
        .await
}

fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut reply = http::Response::builder().status(status);
    for (name, value) in headers {
        reply = reply.header(*name, *value);
    }
    reply.body(Full::new(body.into())).unwrap()
}

fn with_id(body: impl Into<Bytes>) -> Reply {
    reply(200, &[("x-log-requestid", REQUEST_ID)], body)
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let body = serde_json::json!({"errorCode": code, "errorMessage": message}).to_string();
    let headers = [
        ("x-log-requestid", REQUEST_ID),
        ("content-type", "application/json"),
    ];
    reply(status, &headers, body)
}

/// A server that answers requests whose signature is right with `answer`, and others with the
/// refusal that SLS has for them.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(0, answer).await
    }

    /// `clock_ahead`: seconds that its clock is ahead of ours.
    async fn start_at(
        clock_ahead: i64,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(checked(clock_ahead, Arc::clone(&seen), answer));
        let tasks = TaskTracker::new();
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tasks.spawn(serve(stream, Arc::clone(&answer)));
            }
        });
        Self { address, seen }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Checks the signature before it answers.
fn checked(
    clock_ahead: i64,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: impl Fn(&Seen) -> Reply + Send + Sync,
) -> impl Fn(Seen) -> Reply + Send + Sync {
    move |request| {
        seen.lock().unwrap().push(request.clone());
        let now = clock::unix_seconds().saturating_add_signed(clock_ahead);
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        let parts = RequestParts {
            method: &request.method,
            path,
            query,
            headers: &request.headers,
        };
        let key = key();
        let lookup = |id: &str| (id == key.id).then_some(&key);
        let mut reply = match verify(&parts, &request.body, lookup, now, TIME_WINDOW) {
            Ok(_) => answer(&request),
            Err(error) => {
                let (status, code, message) = error.answer();
                refusal(status.as_u16(), code, &message)
            }
        };
        reply
            .headers_mut()
            .insert(header::TIME, HeaderValue::from(now));
        reply
    }
}

/// Answers the requests of one connection.
async fn serve<S>(stream: S, answer: Arc<impl Fn(Seen) -> Reply + Send + Sync + 'static>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    use http_body_util::BodyExt;

    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = Arc::clone(&answer);
        async move {
            let (head, mut incoming) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(frame)) = incoming.frame().await {
                body.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            }
            Ok::<_, Infallible>(answer(Seen {
                method: head.method.to_string(),
                target: head.uri.to_string(),
                headers: head.headers,
                body,
            }))
        }
    });
    // A client that goes away in the middle is part of the tests.
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

/// The failure, when there was no answer.
fn transport(result: Result<PutReceipt, StoreError>) -> TransportFailure {
    match result {
        Err(StoreError::Transport { failure, .. }) => failure,
        other => panic!("{other:?}"),
    }
}
