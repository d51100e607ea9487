//! The embedded logstore over real sockets and files, with signed requests.

mod access;
mod describing;
mod faults;
mod querying;
mod reading;
mod refusals;
mod repeating;
mod writing;

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use prost::Message;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{SignatureVersion, SyncMode};
use crate::foundation::clock;
use crate::foundation::secret::Secret;
use crate::logstore::codec::{self, Codec};
use crate::logstore::header;
use crate::logstore::proto::{Log, LogGroup, LogGroupList, LogTag, log::Content};
use crate::logstore::signature::{Signer, Unsigned};

const LB: &str = "/logstores/web-events/shards/lb";

fn test_config() -> Embedded {
    Embedded {
        sync: SyncMode::Process,
        shards: 1,
        ..Embedded::default()
    }
}

fn test_key() -> AccessKey {
    AccessKey {
        id: "testAccessKeyId".to_owned(),
        secret: Secret::new("testAccessKeySecret"),
        security_token: None,
    }
}

fn open(config: &Embedded, folder: &Path) -> Result<EmbeddedLogstore, OpenError> {
    open_for(config, folder, None)
}

fn open_for(
    config: &Embedded,
    folder: &Path,
    access: Option<Arc<dyn Access>>,
) -> Result<EmbeddedLogstore, OpenError> {
    let project = ProjectName::new("demo").unwrap();
    let logstores = ["web-events", "other-events"].map(|name| LogstoreName::new(name).unwrap());
    let projects = vec![(project, logstores.to_vec())];
    EmbeddedLogstore::open(
        config,
        folder,
        projects,
        test_key(),
        access,
        &Arc::default(),
    )
}

/// A running logstore with the project `demo`, and a client for it.
struct Server {
    address: SocketAddr,
    host: String,
    key: AccessKey,
    region: String,
    version: SignatureVersion,
    age: u64,
    chunked: bool,
    api: Arc<Api>,
    tasks: TaskTracker,
    stop: CancellationToken,
    folder: Option<tempfile::TempDir>,
}

impl Server {
    async fn start() -> Self {
        Self::with(&test_config()).await
    }

    async fn with(config: &Embedded) -> Self {
        Self::in_folder(config, tempfile::tempdir().unwrap()).await
    }

    async fn in_folder(config: &Embedded, folder: tempfile::TempDir) -> Self {
        Self::open_to(config, folder, None).await
    }

    async fn open_to(
        config: &Embedded,
        folder: tempfile::TempDir,
        access: Option<Arc<dyn Access>>,
    ) -> Self {
        let logstore = open_for(config, folder.path(), access).unwrap();
        let api = Arc::clone(&logstore.api);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let stopped = stop.clone();
        tasks.spawn(async move {
            logstore.serve(listener, stopped).await;
            logstore.close();
        });
        Self {
            address,
            host: format!("demo.{address}"),
            key: test_key(),
            region: config.region.clone(),
            version: SignatureVersion::V1,
            age: 0,
            chunked: false,
            api,
            tasks,
            stop,
            folder: Some(folder),
        }
    }

    /// Stops serving and gives back the folder.
    async fn stop(mut self) -> tempfile::TempDir {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.folder.take().unwrap()
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, query, HeaderMap::new(), &[])
            .await
            .unwrap()
    }

    async fn post(&self, path: &str, headers: HeaderMap, body: &[u8]) -> Reply {
        self.send(Method::POST, path, &[], headers, body)
            .await
            .unwrap()
    }

    /// Writes a group uncompressed to whatever shard.
    async fn put(&self, group: &LogGroup) {
        let reply = self.post(LB, protobuf(), &group.encode_to_vec()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }

    async fn cursor(&self, shard: u32, from: &str) -> String {
        let path = format!("/logstores/web-events/shards/{shard}");
        let reply = self.get(&path, &[("type", "cursor"), ("from", from)]).await;
        reply.json()["cursor"].as_str().unwrap().to_owned()
    }

    async fn pull(&self, shard: u32, cursor: &str, more: &[(&str, &str)]) -> Reply {
        let path = format!("/logstores/web-events/shards/{shard}");
        let mut query = vec![("type", "logs"), ("cursor", cursor), ("count", "1000")];
        query.extend_from_slice(more);
        let mut headers = HeaderMap::new();
        headers.insert("accept-encoding", HeaderValue::from_static("lz4"));
        self.send(Method::GET, &path, &query, headers, &[])
            .await
            .unwrap()
    }

    /// All groups of a shard.
    async fn everything(&self, shard: u32) -> Vec<LogGroup> {
        let cursor = self.cursor(shard, "begin").await;
        self.pull(shard, &cursor, &[]).await.groups()
    }

    /// Signs and sends; an error when there is no answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        mut headers: HeaderMap,
        body: &[u8],
    ) -> Result<Reply, hyper::Error> {
        headers.insert(HOST, self.host.parse().unwrap());
        let signer = Signer {
            version: self.version,
            key: &self.key,
            region: &self.region,
        };
        let unsigned = Unsigned {
            method: &method,
            path,
            query,
            body,
        };
        let time = clock::unix_seconds() - self.age;
        signer.sign(&unsigned, &mut headers, time).unwrap();
        self.send_as_is(method, path, query, headers, body).await
    }

    async fn send_as_is(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        headers: HeaderMap,
        body: &[u8],
    ) -> Result<Reply, hyper::Error> {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish();
        let mut request = Request::new(RequestBody {
            bytes: Full::new(Bytes::copy_from_slice(body)),
            chunked: self.chunked,
        });
        *request.method_mut() = method;
        *request.uri_mut() = format!("{path}?{query}").parse().unwrap();
        *request.headers_mut() = headers;
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.spawn(connection);
        let (head, mut body) = sender.send_request(request).await?.into_parts();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            bytes.extend_from_slice(&frame?.into_data().unwrap_or_default());
        }
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: bytes,
        })
    }
}

/// A body whose length is told or, sent in chunks, not.
struct RequestBody {
    bytes: Full<Bytes>,
    chunked: bool,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.bytes).poll_frame(context)
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked {
            SizeHint::default()
        } else {
            self.bytes.size_hint()
        }
    }
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Status and code of an error, whose form is checked.
    fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("x-log-requestid").len(), 24);
        assert!(self.header("x-log-time").parse::<u64>().unwrap() > 1_500_000_000);
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        assert!(!body["errorMessage"].as_str().unwrap().is_empty());
        let code = body["errorCode"].as_str().unwrap();
        (self.status.as_u16(), code.to_owned())
    }

    /// The groups of a PullLogs answer.
    fn groups(&self) -> Vec<LogGroup> {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        let raw: usize = self.header("x-log-bodyrawsize").parse().unwrap();
        let codec = Codec::from_header(self.header("x-log-compresstype").as_bytes());
        let mut plain = Vec::new();
        if raw > 0 {
            let codec = codec.unwrap_or(Codec::None);
            codec::decompress(codec, &self.body, Some(raw), raw, &mut plain).unwrap();
        } else {
            assert!(self.body.is_empty());
        }
        let groups = LogGroupList::decode(&*plain).unwrap().log_groups;
        assert_eq!(self.header("x-log-count"), groups.len().to_string());
        groups
    }
}

fn protobuf() -> HeaderMap {
    content_type("application/x-protobuf")
}

fn content_type(value: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
    headers
}

fn log(time: u32, contents: &[(&str, &str)]) -> Log {
    let contents = contents.iter().map(|(key, value)| Content {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    Log {
        time,
        contents: contents.collect(),
        time_ns: None,
    }
}

fn group(logs: Vec<Log>) -> LogGroup {
    LogGroup {
        logs,
        topic: Some("web".into()),
        source: Some("203.0.113.7".into()),
        log_tags: vec![LogTag {
            key: "app".into(),
            value: "shop".into(),
        }],
        ..LogGroup::default()
    }
}

fn event(time: u32, name: &str) -> LogGroup {
    group(vec![log(time, &[("event", name)])])
}
