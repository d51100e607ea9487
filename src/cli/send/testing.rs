//! A service on a real socket that tests send to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A service that refuses bodies with a `bad` event, and answers by the script before that.
pub(super) struct Service {
    pub(super) url: String,
    /// Number of events of each request, in order.
    pub(super) requests: Arc<Mutex<Vec<usize>>>,
    pub(super) authorizations: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

#[expect(clippy::disallowed_methods, reason = "the cap of `Limited` holds here")]
pub(super) async fn start(script: Vec<(u16, &'static str)>) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests: Arc<Mutex<Vec<usize>>> = Arc::default();
    let authorizations: Arc<Mutex<Vec<String>>> = Arc::default();
    let script = Arc::new(Mutex::new(script.into_iter().rev().collect::<Vec<_>>()));
    let mut tasks = JoinSet::new();
    let (seen, tokens) = (Arc::clone(&requests), Arc::clone(&authorizations));
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (seen, tokens, script) =
                (Arc::clone(&seen), Arc::clone(&tokens), Arc::clone(&script));
            let service = service_fn(move |request: Request<Incoming>| {
                let (seen, tokens, script) =
                    (Arc::clone(&seen), Arc::clone(&tokens), Arc::clone(&script));
                async move {
                    assert_eq!(request.uri().path(), "/logstores/web/track");
                    assert_eq!(request.headers()["x-log-project"], "shop");
                    if let Some(token) = request.headers().get("authorization") {
                        tokens
                            .lock()
                            .unwrap()
                            .push(token.to_str().unwrap().to_owned());
                    }
                    let body = Limited::new(request.into_body(), 1 << 20)
                        .collect()
                        .await
                        .unwrap();
                    let body: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
                    let events = body["__logs__"].as_array().unwrap();
                    seen.lock().unwrap().push(events.len());
                    let scripted = script.lock().unwrap().pop();
                    let bad = events.iter().any(|event| event.get("bad").is_some());
                    let (status, reason) =
                        scripted.unwrap_or(if bad { (400, "invalid_key") } else { (200, "") });
                    let text = format!(r#"{{"errorMessage":"no","reason":"{reason}"}}"#);
                    let response = Response::builder()
                        .status(status)
                        .header("retry-after", "0");
                    Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
                }
            });
            connections.spawn(async move {
                drop(
                    http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await,
                );
            });
        }
    });
    Service {
        url,
        requests,
        authorizations,
        _tasks: tasks,
    }
}
