//! A store on a real socket that answers writes as a test tells it to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::testing::names_in;
use crate::logstore::codec::{Codec, decompress};
use crate::logstore::proto::LogGroup;

/// What the store does with a write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// Keeps it and says 200.
    Take,
    /// Keeps it after a while and says 200.
    TakeLate(Duration),
    /// Keeps it and closes the connection without an answer.
    TakeAndHangUp,
    /// Refuses it with this status and error code.
    Refuse(u16, &'static str),
    /// A page of this status from something between.
    Page(u16),
    /// Closes the connection without an answer.
    HangUp,
    /// Never answers.
    Hang,
}

/// The store. Dropping it closes its connections and refuses new ones.
pub(super) struct ScriptedStore {
    pub(super) address: SocketAddr,
    taken: Arc<Mutex<Vec<LogGroup>>>,
    _tasks: JoinSet<()>,
}

type Rule = dyn Fn(&LogGroup) -> Answer + Send + Sync;

impl ScriptedStore {
    /// A store that does with each write as `rule` says.
    pub(super) async fn start(rule: impl Fn(&LogGroup) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::<Mutex<Vec<LogGroup>>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(rule), Arc::clone(&taken)));
        Self {
            address,
            taken,
            _tasks: tasks,
        }
    }

    /// What was kept so far.
    pub(super) fn taken(&self) -> Vec<LogGroup> {
        self.taken.lock().unwrap().clone()
    }

    /// The names of all events kept so far, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.taken().iter().flat_map(names_in).collect();
        names.sort();
        names
    }
}

async fn accept(listener: TcpListener, rule: Arc<Rule>, taken: Arc<Mutex<Vec<LogGroup>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (rule, taken) = (Arc::clone(&rule), Arc::clone(&taken));
        let service = service_fn(move |request| {
            let (rule, taken) = (Arc::clone(&rule), Arc::clone(&taken));
            async move { answer(request, &*rule, &taken).await }
        });
        connections.spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Hanging up is an error of the service, which ends the connection.
            drop(connection.await);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    rule: &Rule,
    taken: &Mutex<Vec<LogGroup>>,
) -> io::Result<Response<Full<Bytes>>> {
    let log_group = read(request).await;
    let keep = |log_group| taken.lock().unwrap().push(log_group);
    let hang_up = || Err(io::Error::other("as the test says"));
    let (status, body) = match rule(&log_group) {
        Answer::Take => {
            keep(log_group);
            (200, String::new())
        }
        Answer::TakeLate(after) => {
            tokio::time::sleep(after).await;
            keep(log_group);
            (200, String::new())
        }
        Answer::TakeAndHangUp => {
            keep(log_group);
            return hang_up();
        }
        Answer::Refuse(status, code) => {
            let body = format!(r#"{{"errorCode":"{code}","errorMessage":"as the test says"}}"#);
            (status, body)
        }
        Answer::Page(status) => {
            let page = Full::from("<html>no</html>");
            return Ok(Response::builder().status(status).body(page).unwrap());
        }
        Answer::HangUp => return hang_up(),
        Answer::Hang => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            return hang_up();
        }
    };
    let response = Response::builder()
        .status(status)
        .header("x-log-requestid", "5642EFA499248C827B012B39")
        .header("content-type", "application/json");
    Ok(response.body(Full::from(body)).unwrap())
}

async fn read(request: Request<Incoming>) -> LogGroup {
    let header = |name: &str| request.headers().get(name).cloned();
    let codec = header("x-log-compresstype").map_or(Codec::None, |value| {
        Codec::from_header(value.as_bytes()).unwrap()
    });
    let raw_size = header("x-log-bodyrawsize").unwrap();
    let raw_size: usize = raw_size.to_str().unwrap().parse().unwrap();
    let mut body = request.into_body();
    let mut sent = Vec::new();
    while let Some(frame) = body.frame().await {
        sent.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    let mut raw = Vec::new();
    decompress(codec, &sent, Some(raw_size), 16 << 20, &mut raw).unwrap();
    assert_eq!(raw.len(), raw_size);
    LogGroup::decode(raw.as_slice()).unwrap()
}
