//! Callers besides the holder of the own key: what they are asked for, and when.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use super::*;
use crate::event::{EventGroup, Reason, Refusal};
use crate::logstore::signature::{Rules, SignedBody, verify_head};

/// Lets the key `guest` do what `may` says, and write what has the topic `open`.
struct Guests {
    key: AccessKey,
    may: Vec<StoreAction>,
    asks_for_events: bool,
    asked: Mutex<Vec<(StoreAction, Option<String>)>>,
}

struct Guest {
    body: SignedBody,
    asks_for_events: bool,
}

fn guests(may: &[StoreAction], asks_for_events: bool) -> Arc<Guests> {
    let key = AccessKey {
        id: "guest".to_owned(),
        ..test_key()
    };
    Arc::new(Guests {
        key,
        may: may.to_vec(),
        asks_for_events,
        asked: Mutex::default(),
    })
}

impl Access for Guests {
    fn admit(&self, request: &StoreRequest<'_>) -> Result<Box<dyn Admitted>, Refusal> {
        assert_eq!(request.client, IpAddr::from(Ipv4Addr::LOCALHOST));
        assert_eq!(request.project, "demo");
        let logstore = request.logstore.map(str::to_owned);
        self.asked.lock().unwrap().push((request.action, logstore));
        let now = clock::unix_seconds();
        let head = verify_head(&request.parts, now, &Rules::default(), |id, _| {
            assert_eq!(id, "guest", "the own key asks nobody");
            Ok(&self.key)
        });
        let body = head.map_err(Refusal::from)?.body;
        if self.may.contains(&request.action) {
            Ok(Box::new(Guest {
                body,
                asks_for_events: self.asks_for_events,
            }))
        } else {
            Err(Reason::PolicyDenied.into())
        }
    }
}

impl Admitted for Guest {
    fn check_body(&self, sent: &[u8]) -> Result<(), Refusal> {
        self.body.check(sent).map_err(Refusal::from)
    }

    fn asks_for_events(&self) -> bool {
        self.asks_for_events
    }

    fn without_events(&self) -> Refusal {
        Reason::PolicyDenied.into()
    }

    fn check_events(&self, events: &EventGroup) -> Result<(), Refusal> {
        let tags: Vec<_> = events.each_tag().collect();
        assert_eq!(tags, [(&b"app"[..], &b"shop"[..])]);
        assert_eq!(events.source, b"203.0.113.7");
        if events.topic == b"open" {
            Ok(())
        } else {
            Err(Reason::PolicyDenied.into())
        }
    }
}

async fn server(guests: &Arc<Guests>) -> Server {
    let access: Arc<dyn Access> = Arc::clone(guests) as _;
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::open_to(&test_config(), folder, Some(access)).await;
    server.key = AccessKey {
        id: "guest".to_owned(),
        ..test_key()
    };
    server
}

fn denied(reply: &Reply) {
    assert_eq!(reply.error(), (401, "Unauthorized".to_owned()));
    assert!(reply.text().contains("denied by sts or ram"));
}

#[tokio::test]
async fn every_operation_asks_for_its_action() {
    use StoreAction as A;
    let guests = guests(&[], false);
    let server = server(&guests).await;
    for (method, target, action) in [
        ("GET", "", A::GetLogstore),
        ("GET", "?log", A::GetLogs),
        ("GET", "?histogram", A::GetHistograms),
        ("POST", "/logs", A::GetLogs),
        ("GET", "/shards", A::ListShards),
        ("GET", "/shards/0?cursor", A::GetCursorOrData),
        ("GET", "/shards/0?cursor_time", A::GetCursorOrData),
        ("GET", "/shards/0?log", A::GetCursorOrData),
        ("POST", "/shards/lb", A::PutLogs),
        ("POST", "", A::PutLogs),
        ("POST", "/shards/route", A::PutLogs),
        ("POST", "/track", A::Track),
    ] {
        let (path, kind) = target.split_once('?').unwrap_or((target, ""));
        let path = format!("/logstores/web-events{path}");
        let method = method.parse().unwrap();
        let query = [("type", kind)];
        let reply = server.send(method, &path, &query, HeaderMap::new(), b"");
        denied(&reply.await.unwrap());
        let asked = guests.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked, (action, Some("web-events".to_owned())), "{target}");
    }
    for (path, action, logstore) in [
        ("/", A::GetProject, None),
        ("/logstores", A::ListLogstores, None),
        ("/logstores/not-there", A::GetLogstore, Some("not-there")),
    ] {
        denied(&server.get(path, &[]).await);
        let asked = guests.asked.lock().unwrap().pop().unwrap();
        assert_eq!(asked, (action, logstore.map(str::to_owned)));
    }
    let nameless = server.get("/logstores/..%2f*", &[]).await;
    assert_eq!(nameless.error(), (404, "LogStoreNotExist".to_owned()));
    assert!(guests.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_own_key_still_may_do_everything_and_asks_nobody() {
    let guests = guests(&[], true);
    let mut server = server(&guests).await;
    server.key = test_key();
    server.put(&event(10, "a")).await;
    assert_eq!(server.everything(0).await.len(), 1);
    assert!(guests.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_guest_does_what_it_may_with_the_body_that_it_signed() {
    let guests = guests(&[StoreAction::PutLogs, StoreAction::Track], false);
    let mut server = server(&guests).await;
    let body = event(10, "a").encode_to_vec();
    for version in [SignatureVersion::V1, SignatureVersion::V4] {
        server.version = version;
        assert_eq!(server.post(LB, protobuf(), &body).await.status, 200);
    }
    let json = br#"{"__topic__":"web","__logs__":[{"event":"b"}]}"#;
    let track = "/logstores/web-events/track";
    assert_eq!(server.post(track, protobuf(), json).await.status, 200);
    denied(&server.get("/", &[]).await);

    server.region = "elsewhere".to_owned();
    let reply = server.post(LB, protobuf(), &body).await;
    assert_eq!(reply.error(), (401, "SignatureNotMatch".to_owned()));

    server.version = SignatureVersion::V1;
    let mut headers = protobuf();
    headers.insert(HOST, server.host.parse().unwrap());
    let signer = Signer {
        version: server.version,
        key: &server.key,
        region: &server.region,
    };
    let unsigned = Unsigned {
        method: &Method::POST,
        path: LB,
        query: &[],
        body: &body,
    };
    signer
        .sign(&unsigned, &mut headers, clock::unix_seconds())
        .unwrap();
    let mut changed = body.clone();
    *changed.last_mut().unwrap() ^= 1;
    let reply = server.send_as_is(Method::POST, LB, &[], headers, &changed);
    let reply = reply.await.unwrap();
    assert_eq!(reply.error(), (401, "SignatureNotMatch".to_owned()));

    server.key = test_key();
    assert_eq!(server.everything(0).await.len(), 3);
}

#[tokio::test]
async fn where_events_decide_they_are_asked_for_and_what_brings_none_is_refused() {
    let guests = guests(&[StoreAction::PutLogs, StoreAction::GetProject], true);
    let mut server = server(&guests).await;
    denied(&server.get("/", &[]).await);
    denied(
        &server
            .post(LB, protobuf(), &event(10, "a").encode_to_vec())
            .await,
    );
    let mut good = event(10, "b");
    good.topic = Some("open".into());
    server.put(&good).await;
    let json = br#"{"__topic__":"open","__source__":"203.0.113.7","__tags__":{"app":"shop"},"__logs__":[{"event":"c"}]}"#;
    let json = server
        .post(LB, content_type("application/json"), json)
        .await;
    assert_eq!(json.status, 200, "{}", json.text());
    // The reader of a LogGroup takes the last topic, and so does the check.
    let mut twice = good.encode_to_vec();
    twice.extend_from_slice(b"\x1a\x04shut");
    denied(&server.post(LB, protobuf(), &twice).await);
    let mut broken = event(10, "d").encode_to_vec();
    broken.extend_from_slice(b"\x1a\x02\xff\xfe");
    let reply = server.post(LB, protobuf(), &broken).await;
    assert_eq!(reply.error(), (400, "InvalidEncoding".to_owned()));
    server.key = test_key();
    assert_eq!(server.everything(0).await.len(), 2);
}
