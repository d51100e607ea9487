use super::*;

#[tokio::test]
async fn what_is_put_with_either_signature_is_pulled_as_it_was() {
    let mut server = Server::start().await;
    let groups = [event(10, "first"), event(20, "second")];
    server.put(&groups[0]).await;
    server.version = SignatureVersion::V4;
    server.put(&groups[1]).await;
    assert_eq!(server.everything(0).await, groups);
}

#[tokio::test]
async fn success_is_200_with_nothing_and_no_content_type() {
    let server = Server::start().await;
    let body = event(10, "a").encode_to_vec();
    let reply = server.post(LB, protobuf(), &body).await;
    assert_eq!((reply.status, reply.text().as_str()), (StatusCode::OK, ""));
    assert_eq!(reply.header("content-type"), "");
    assert_eq!(reply.header("content-length"), "0");
    assert_eq!(reply.header("x-log-requestid").len(), 24);
    assert!(!reply.header("x-log-time").is_empty());
}

#[tokio::test]
async fn every_codec_is_understood_on_every_route_of_writes() {
    let server = Server::start().await;
    let group = event(10, &"long ".repeat(200));
    let plain = group.encode_to_vec();
    let route = "/logstores/web-events/shards/route";
    let mut written = 0;
    for path in [LB, "/logstores/web-events", route] {
        for codec in [
            Codec::None,
            Codec::Lz4,
            Codec::Zstd,
            Codec::Deflate,
            Codec::Gzip,
        ] {
            let mut headers = protobuf();
            headers.insert(header::BODY_RAW_SIZE, HeaderValue::from(plain.len()));
            if let Some(name) = codec.as_header() {
                headers.insert(header::COMPRESS_TYPE, HeaderValue::from_static(name));
            }
            let body = codec::compress(codec, &plain).unwrap();
            let key = [("key", "0123456789abcdef0123456789ABCDEF")];
            let query = if path == route { &key[..] } else { &[] };
            let reply = server.send(Method::POST, path, query, headers, &body).await;
            let reply = reply.unwrap();
            assert_eq!(reply.status, StatusCode::OK, "{codec:?}: {}", reply.text());
            written += 1;
        }
    }
    assert_eq!(server.everything(0).await, vec![group; written]);
}

#[tokio::test]
async fn json_of_the_sts_plugin_is_taken_also_when_its_declared_size_is_wrong() {
    let server = Server::start().await;
    let body = r#"{"__logs__":[{"msg":"你好😀","__time__":1781510400}],"__topic__":"web"}"#;
    let mut headers = content_type("application/json");
    headers.insert(header::BODY_RAW_SIZE, HeaderValue::from(51));
    let reply = server
        .post("/logstores/web-events", headers, body.as_bytes())
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let groups = server.everything(0).await;
    assert_eq!(groups[0].logs, [log(1_781_510_400, &[("msg", "你好😀")])]);
    assert_eq!(groups[0].topic(), &b"web"[..]);
}

#[tokio::test]
async fn lb_takes_turns_and_route_follows_the_hash() {
    let server = Server::with(&Embedded {
        shards: 2,
        ..test_config()
    })
    .await;
    for _ in 0..4 {
        server.put(&event(10, "turns")).await;
    }
    assert_eq!(server.everything(0).await.len(), 2);
    assert_eq!(server.everything(1).await.len(), 2);
    let body = event(20, "hash").encode_to_vec();
    for key in [
        "00000000000000000000000000000000",
        "7ffffffffffffffffffffffffffffffe",
        "7fffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffff",
    ] {
        let path = "/logstores/web-events/shards/route";
        let reply = server
            .send(Method::POST, path, &[("key", key)], protobuf(), &body)
            .await
            .unwrap();
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    assert_eq!(server.everything(0).await.len(), 4);
    assert_eq!(server.everything(1).await.len(), 4);
}

#[tokio::test]
async fn a_group_without_logs_is_accepted_and_not_stored() {
    let server = Server::start().await;
    server.put(&group(Vec::new())).await;
    assert!(server.everything(0).await.is_empty());
}

#[tokio::test]
async fn times_of_any_age_are_taken() {
    let server = Server::start().await;
    server.put(&event(0, "old")).await;
    server.put(&event(u32::MAX, "future")).await;
    assert_eq!(server.everything(0).await.len(), 2);
}

#[tokio::test]
async fn a_logstore_that_was_stopped_and_started_has_everything() {
    let server = Server::start().await;
    server.put(&event(10, "before")).await;
    let end = server.cursor(0, "end").await;
    let folder = server.stop().await;
    let server = Server::in_folder(&test_config(), folder).await;
    server.put(&event(20, "after")).await;
    assert_eq!(
        server.everything(0).await,
        [event(10, "before"), event(20, "after")]
    );
    assert_eq!(
        server.pull(0, &end, &[]).await.groups(),
        [event(20, "after")]
    );
}

#[tokio::test]
async fn one_folder_serves_one_process() {
    let server = Server::start().await;
    let folder = server.folder.as_ref().unwrap().path();
    let error = open(&test_config(), folder).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[tokio::test]
async fn a_body_may_come_in_chunks_without_its_length() {
    let mut server = Server::start().await;
    server.chunked = true;
    let group = event(10, &"long ".repeat(50_000));
    server.put(&group).await;
    assert_eq!(server.everything(0).await, [group]);
}
