//! Against a real HTTP service on a real socket.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::foundation::secret::Secret;

/// A service that refuses bodies with a `bad` event, and answers by the script before that.
struct Service {
    url: String,
    /// Number of events of each request, in order.
    requests: Arc<Mutex<Vec<usize>>>,
    authorizations: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

#[expect(clippy::disallowed_methods, reason = "the cap of `Limited` holds here")]
async fn start(script: Vec<(u16, &'static str)>) -> Service {
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

fn courier(url: &str) -> Courier {
    let token = Secret::new("t.o.k");
    Courier {
        endpoint: Endpoint::new(&url.parse().unwrap(), "shop", "web", Some(&token)).unwrap(),
        envelope: Envelope::new(None, None, &[]),
        patience: Patience {
            tries: 3,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(2),
        },
        stop: CancellationToken::new(),
        reached: AtomicBool::new(false),
    }
}

fn batch(count: u64, bad: &[u64]) -> Vec<Event> {
    let json = |line| {
        if bad.contains(&line) {
            r#"{"bad":1}"#
        } else {
            r#"{"a":1}"#
        }
    };
    (1..=count)
        .map(|line| Event {
            line,
            json: json(line).into(),
        })
        .collect()
}

#[tokio::test]
async fn bad_events_are_found_by_halves_and_their_neighbours_are_accepted() {
    let service = start(vec![]).await;
    let delivered = courier(&service.url)
        .deliver(&batch(100, &[1, 37, 100]))
        .await;
    let lines: Vec<_> = delivered
        .refused
        .iter()
        .map(|r| (r.line, r.reason.as_str()))
        .collect();
    assert_eq!(
        lines,
        [
            (1, "invalid_key"),
            (37, "invalid_key"),
            (100, "invalid_key")
        ]
    );
    assert_eq!((delivered.accepted, delivered.halt), (97, None));
    assert!(
        service.requests.lock().unwrap().len() < 50,
        "far fewer requests than events"
    );
    assert_eq!(service.authorizations.lock().unwrap()[0], "Bearer t.o.k");
}

#[tokio::test]
async fn a_batch_of_nothing_but_bad_events_ends() {
    let service = start(vec![]).await;
    let delivered = courier(&service.url)
        .deliver(&batch(4, &[1, 2, 3, 4]))
        .await;
    assert_eq!((delivered.accepted, delivered.refused.len()), (0, 4));
    assert_eq!(service.requests.lock().unwrap().len(), 7);
}

#[tokio::test]
async fn a_busy_service_is_tried_again() {
    let service = start(vec![(503, "memory_full"), (503, "memory_full")]).await;
    let delivered = courier(&service.url).deliver(&batch(2, &[])).await;
    assert_eq!((delivered.accepted, delivered.halt), (2, None));
    assert_eq!(*service.requests.lock().unwrap(), [2, 2, 2]);
}

#[tokio::test]
async fn a_service_that_stays_busy_ends_the_sending_after_so_many_tries() {
    let service = start(vec![(503, "memory_full"); 9]).await;
    let delivered = courier(&service.url).deliver(&batch(2, &[])).await;
    assert!(matches!(delivered.halt, Some(Halt::Refused(told)) if told.reason == "memory_full"));
    assert_eq!(service.requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_refused_token_ends_the_sending_at_once_and_keeps_what_was_accepted() {
    let script = vec![(400, "invalid_key"), (200, ""), (401, "token_expired")];
    let service = start(script).await;
    let delivered = courier(&service.url).deliver(&batch(4, &[])).await;
    assert_eq!(delivered.accepted, 2);
    assert!(matches!(delivered.halt, Some(Halt::Refused(told)) if told.reason == "token_expired"));
    assert_eq!(*service.requests.lock().unwrap(), [4, 2, 2]);
}

#[tokio::test]
async fn an_address_without_a_service_is_told_at_the_first_try() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let mut courier = courier(&format!("http://{port}"));
    courier.patience.first_pause = Duration::from_secs(3600);
    courier.patience.longest_pause = Duration::from_secs(3600);
    let delivered = courier.deliver(&batch(1, &[])).await;
    assert!(
        matches!(delivered.halt, Some(Halt::Unreachable(_))),
        "{delivered:?}"
    );
}

#[tokio::test]
async fn a_stopped_courier_begins_nothing() {
    let service = start(vec![]).await;
    let courier = courier(&service.url);
    courier.stop.cancel();
    let delivered = courier.deliver(&batch(1, &[])).await;
    assert_eq!(delivered.halt, Some(Halt::Interrupted));
    assert!(service.requests.lock().unwrap().is_empty());
}

#[test]
fn pauses_double_up_to_a_bound_and_keep_what_the_service_asks_for_within_reason() {
    let patience = Patience {
        tries: 10,
        first_pause: Duration::from_millis(200),
        longest_pause: Duration::from_secs(5),
    };
    let pause = |tried, asked: Option<u64>| patience.pause(tried, asked.map(Duration::from_secs));
    assert_eq!(pause(1, None), Duration::from_millis(200));
    assert_eq!(pause(3, None), Duration::from_millis(800));
    assert_eq!(pause(40, None), Duration::from_secs(5));
    assert_eq!(pause(1, Some(7)), Duration::from_secs(7));
    assert_eq!(pause(1, Some(86_400)), LONGEST_RETRY_AFTER);
}
