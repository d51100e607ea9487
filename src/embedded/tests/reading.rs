use super::*;

const SHARD: &str = "/logstores/web-events/shards/0";

#[tokio::test]
async fn at_the_tail_a_pull_is_empty_and_gives_the_same_cursor() {
    let server = Server::start().await;
    server.put(&event(10, "a")).await;
    let end = server.cursor(0, "end").await;
    let reply = server.pull(0, &end, &[]).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.body.is_empty());
    assert_eq!(reply.header("x-log-count"), "0");
    assert_eq!(reply.header("x-log-cursor"), end);
    assert_eq!(reply.header("x-log-bodyrawsize"), "0");
}

#[tokio::test]
async fn a_pull_counts_groups_and_leads_on_to_the_next() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.put(&event(10, name)).await;
    }
    let mut cursor = server.cursor(0, "begin").await;
    for name in ["a", "b", "c"] {
        let query = [("type", "log"), ("cursor", cursor.as_str()), ("count", "1")];
        let reply = server.get(SHARD, &query).await;
        assert_eq!(reply.groups(), [event(10, name)]);
        cursor = reply.header("x-log-cursor").to_owned();
    }
    assert_eq!(cursor, server.cursor(0, "end").await);
}

#[tokio::test]
async fn a_pull_never_passes_its_end_cursor() {
    let server = Server::start().await;
    server.put(&event(10, "a")).await;
    let end = server.cursor(0, "end").await;
    server.put(&event(10, "b")).await;
    let begin = server.cursor(0, "begin").await;
    for name in ["end_cursor", "endCursor"] {
        let reply = server.pull(0, &begin, &[(name, &end)]).await;
        assert_eq!(reply.groups(), [event(10, "a")], "{name}");
        assert_eq!(reply.header("x-log-cursor"), end);
        let after = server.pull(0, &end, &[(name, &end)]).await;
        assert_eq!(after.header("x-log-cursor"), end);
        assert_eq!(after.header("x-log-count"), "0");
    }
}

#[tokio::test]
async fn the_answer_is_compressed_as_accept_encoding_says() {
    let server = Server::start().await;
    server.put(&event(10, &"long ".repeat(100))).await;
    let begin = server.cursor(0, "begin").await;
    let query = [
        ("type", "logs"),
        ("cursor", begin.as_str()),
        ("count", "10"),
    ];
    for (accept, compress_type) in [
        ("lz4", "lz4"),
        ("zstd", "zstd"),
        ("deflate", "deflate"),
        ("", ""),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("accept-encoding", HeaderValue::from_static(accept));
        let reply = server
            .send(Method::GET, SHARD, &query, headers, &[])
            .await
            .unwrap();
        assert_eq!(reply.header("x-log-compresstype"), compress_type);
        assert_eq!(reply.header("content-type"), "application/x-protobuf");
        assert_eq!(reply.groups().len(), 1, "{accept:?}");
    }
}

#[tokio::test]
async fn head_gives_the_headers_of_a_pull_without_its_body() {
    let server = Server::start().await;
    server.put(&event(10, "a")).await;
    let begin = server.cursor(0, "begin").await;
    let query = [
        ("type", "logs"),
        ("cursor", begin.as_str()),
        ("count", "10"),
    ];
    let reply = server
        .send(Method::HEAD, SHARD, &query, HeaderMap::new(), &[])
        .await
        .unwrap();
    assert_eq!(reply.status, StatusCode::OK);
    assert!(reply.body.is_empty());
    assert_eq!(reply.header("x-log-count"), "1");
    assert_eq!(reply.header("x-log-cursor"), server.cursor(0, "end").await);
}

#[tokio::test]
async fn cursors_are_found_by_time_and_tell_their_time() {
    let server = Server::start().await;
    let before = clock::unix_seconds();
    server.put(&event(10, "a")).await;
    let begin = server.cursor(0, "begin").await;
    assert_eq!(server.cursor(0, &before.to_string()).await, begin);
    assert_eq!(server.cursor(0, "0").await, begin);
    let end = server.cursor(0, "end").await;
    let future = (clock::unix_seconds() + 100).to_string();
    assert_eq!(server.cursor(0, &future).await, end);
    for cursor in [begin, end, base64_of("-1")] {
        let query = [("type", "cursor_time"), ("cursor", cursor.as_str())];
        let time = server.get(SHARD, &query).await.json()["cursor_time"].clone();
        let time = time.as_u64().unwrap();
        assert!((before..=clock::unix_seconds()).contains(&time), "{time}");
    }
}

#[tokio::test]
async fn a_cursor_below_the_oldest_group_moves_to_it() {
    let server = Server::start().await;
    server.put(&event(10, "a")).await;
    for cursor in [base64_of("-5"), base64_of("0")] {
        assert_eq!(server.pull(0, &cursor, &[]).await.groups().len(), 1);
    }
}

#[tokio::test]
async fn a_cursor_past_the_end_or_unreadable_is_refused() {
    let server = Server::start().await;
    for cursor in ["nonsense", "MA", &base64_of(&i64::MAX.to_string())] {
        let error = server.pull(0, cursor, &[]).await.error();
        assert_eq!(error, (400, "ParameterInvalid".to_owned()), "{cursor}");
    }
}

#[tokio::test]
async fn more_groups_than_a_thousand_at_once_or_a_filter_are_refused() {
    let server = Server::start().await;
    let begin = server.cursor(0, "begin").await;
    let query = [
        ("type", "logs"),
        ("cursor", begin.as_str()),
        ("count", "1001"),
    ];
    let reply = server.get(SHARD, &query).await;
    assert_eq!(reply.error(), (400, "ParameterInvalid".to_owned()));
    assert!(reply.text().contains("[0-1000]"));
    let filtered = server.pull(0, &begin, &[("query", "* | where a")]).await;
    assert_eq!(filtered.error(), (400, "ParameterInvalid".to_owned()));
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
