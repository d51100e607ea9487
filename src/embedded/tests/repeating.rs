use super::*;
use crate::config::Faults;
use crate::foundation::units::Span;

/// The same events with a pack id.
fn packed(name: &str, id: &str) -> LogGroup {
    let mut group = event(10, name);
    group.log_tags.push(LogTag {
        key: "__pack_id__".into(),
        value: Bytes::copy_from_slice(id.as_bytes()),
    });
    group
}

fn dropping() -> Embedded {
    Embedded {
        drop_repeats: Span::secs(3600),
        ..test_config()
    }
}

#[tokio::test]
async fn a_repeat_is_answered_and_not_stored_also_in_another_codec() {
    let server = Server::with(&dropping()).await;
    let group = packed("first", "ABC-1");
    let plain = group.encode_to_vec();
    server.put(&group).await;
    server.put(&group).await;
    let mut headers = protobuf();
    headers.insert(header::BODY_RAW_SIZE, HeaderValue::from(plain.len()));
    headers.insert(header::COMPRESS_TYPE, HeaderValue::from_static("lz4"));
    let body = codec::compress(Codec::Lz4, &plain).unwrap();
    let reply = server.post(LB, headers, &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let elsewhere = "/logstores/other-events/shards/lb";
    let reply = server.post(elsewhere, protobuf(), &plain).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(server.everything(0).await, [group]);
    let path = "/logstores/other-events/shards/0";
    let cursor = server
        .get(path, &[("type", "cursor"), ("from", "begin")])
        .await;
    let cursor = cursor.json()["cursor"].as_str().unwrap().to_owned();
    let query = [("type", "logs"), ("cursor", &*cursor), ("count", "9")];
    let found = server.get(path, &query).await.groups();
    assert_eq!(found.len(), 1, "another logstore has its own");
}

#[tokio::test]
async fn other_content_or_no_pack_id_is_no_repeat() {
    let server = Server::with(&dropping()).await;
    let groups = [
        packed("first", "ABC-1"),
        packed("second", "ABC-1"),
        packed("first", "ABC-2"),
        event(10, "plain"),
        event(10, "plain"),
        packed("unnamed", ""),
        packed("unnamed", ""),
    ];
    for group in &groups {
        server.put(group).await;
    }
    assert_eq!(server.everything(0).await, groups);
}

#[tokio::test]
async fn without_being_asked_it_stores_what_came_again() {
    let server = Server::start().await;
    let group = packed("first", "ABC-1");
    server.put(&group).await;
    server.put(&group).await;
    assert_eq!(server.everything(0).await, [group.clone(), group]);
}

#[tokio::test]
async fn a_repeat_is_known_in_another_shard_and_after_a_restart() {
    let config = Embedded {
        shards: 3,
        ..dropping()
    };
    let mut server = Server::with(&config).await;
    let group = packed("first", "ABC-1");
    for _ in 0..2 {
        for _ in 0..3 {
            server.put(&group).await;
        }
        let mut found = Vec::new();
        for shard in 0..3 {
            found.extend(server.everything(shard).await);
        }
        assert_eq!(found, std::slice::from_ref(&group));
        let folder = server.stop().await;
        server = Server::in_folder(&config, folder).await;
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_was_stored_and_a_resend_is_dropped() {
    let lossy = Embedded {
        faults: Faults {
            lost_answer_rate: 1.0,
            ..Faults::default()
        },
        ..dropping()
    };
    let server = Server::with(&lossy).await;
    let group = packed("first", "ABC-1");
    for _ in 0..2 {
        let body = group.encode_to_vec();
        let sent = server.send(Method::POST, LB, &[], protobuf(), &body).await;
        assert!(sent.unwrap_err().is_incomplete_message());
    }
    assert_eq!(server.everything(0).await, [group]);
}
