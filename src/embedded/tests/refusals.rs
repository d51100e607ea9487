use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn raw_size(bytes: usize, compress_type: &'static str) -> HeaderMap {
    let mut headers = protobuf();
    headers.insert(header::BODY_RAW_SIZE, HeaderValue::from(bytes));
    headers.insert(
        header::COMPRESS_TYPE,
        HeaderValue::from_static(compress_type),
    );
    headers
}

fn refused(reply: Reply, status: u16, code: &str) {
    assert_eq!(reply.error(), (status, code.to_owned()), "{}", reply.text());
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let mut server = Server::start().await;
    let missing = server.get("/logstores/missing-events", &[]).await;
    assert!(
        missing
            .text()
            .contains("logstore missing-events does not exist")
    );
    refused(missing, 404, "LogStoreNotExist");
    let path = "/logstores/missing-events/shards/lb";
    let body = event(10, "a").encode_to_vec();
    refused(
        server.post(path, protobuf(), &body).await,
        404,
        "LogStoreNotExist",
    );
    server.host = "missing.example.com".to_owned();
    let missing = server.get("/logstores", &[]).await;
    assert!(
        missing
            .text()
            .contains("The Project does not exist : missing")
    );
    refused(missing, 404, "ProjectNotExist");
}

#[tokio::test]
async fn the_host_names_the_project_with_and_without_a_port() {
    let mut server = Server::start().await;
    for host in ["demo.example.com:8082", "demo.example.com", "demo"] {
        server.host = host.to_owned();
        assert_eq!(server.get("/", &[]).await.json()["projectName"], "demo");
    }
}

#[tokio::test]
async fn a_shard_that_is_not_there_is_400() {
    let server = Server::start().await;
    for shard in ["1", "x"] {
        let path = format!("/logstores/web-events/shards/{shard}");
        let query = [("type", "cursor"), ("from", "begin")];
        refused(server.get(&path, &query).await, 400, "ShardNotExist");
    }
}

#[tokio::test]
async fn routes_and_methods_that_are_not_there_are_refused() {
    let server = Server::start().await;
    refused(server.get("/nothing", &[]).await, 404, "ParameterInvalid");
    let delete = server.send(
        Method::DELETE,
        "/logstores/web-events",
        &[],
        HeaderMap::new(),
        &[],
    );
    refused(delete.await.unwrap(), 405, "InvalidMethod");
}

#[tokio::test]
async fn a_key_for_route_must_be_there_and_be_a_hash() {
    let server = Server::start().await;
    let path = "/logstores/web-events/shards/route";
    let body = event(10, "a").encode_to_vec();
    let none = server.post(path, protobuf(), &body).await;
    refused(none, 400, "MissingParameter");
    for key in ["0", "+1234567890123456789012345678901", &"g".repeat(32)] {
        let query = [("key", key)];
        let reply = server.send(Method::POST, path, &query, protobuf(), &body);
        refused(reply.await.unwrap(), 400, "ParameterInvalid");
    }
}

#[tokio::test]
async fn requests_that_are_not_signed_by_the_key_now_are_refused() {
    let mut server = Server::start().await;
    let mut headers = HeaderMap::new();
    headers.insert(HOST, server.host.parse().unwrap());
    let unsigned = server.send_as_is(Method::GET, "/logstores", &[], headers, &[]);
    refused(unsigned.await.unwrap(), 400, "MissingParameter");

    server.age = 16 * 60;
    let late = server.get("/logstores", &[]).await;
    refused(late, 400, "RequestTimeExpired");
    server.age = 0;

    server.key.secret = Secret::new("wrong");
    for version in [SignatureVersion::V1, SignatureVersion::V4] {
        server.version = version;
        let forged = server.get("/logstores", &[]).await;
        refused(forged, 401, "SignatureNotMatch");
    }
    server.key.id = "unknown".to_owned();
    refused(server.get("/logstores", &[]).await, 401, "Unauthorized");
}

#[tokio::test]
async fn a_v4_signature_for_another_region_is_refused() {
    let mut server = Server::start().await;
    server.version = SignatureVersion::V4;
    server.region = "cn-hangzhou".to_owned();
    let reply = server.get("/logstores", &[]).await;
    assert!(reply.text().contains("this store is in local"));
    refused(reply, 401, "SignatureNotMatch");
}

#[tokio::test]
async fn a_body_that_was_changed_on_the_way_is_refused() {
    let server = Server::start().await;
    let mut headers = protobuf();
    headers.insert(HOST, server.host.parse().unwrap());
    let body = event(10, "a").encode_to_vec();
    let signer = Signer {
        version: SignatureVersion::V1,
        key: &server.key,
        region: "",
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
    let other = event(10, "b").encode_to_vec();
    let reply = server.send_as_is(Method::POST, LB, &[], headers, &other);
    refused(reply.await.unwrap(), 400, "PostBodyInvalid");
    assert!(server.everything(0).await.is_empty());
}

#[tokio::test]
async fn a_body_of_ten_mib_is_taken_and_one_byte_more_is_not() {
    let server = Server::start().await;
    let limit = 10 << 20;
    let body = |length: usize| {
        let overhead = event(10, &"x".repeat(limit - 100)).encoded_len() - (limit - 100);
        let body = event(10, &"x".repeat(length - overhead)).encode_to_vec();
        assert_eq!(body.len(), length);
        body
    };
    let largest = server.post(LB, protobuf(), &body(limit)).await;
    assert_eq!(largest.status, StatusCode::OK, "{}", largest.text());
    let larger = server.post(LB, protobuf(), &body(limit + 1)).await;
    refused(larger, 413, "PostBodyTooLarge");
    assert_eq!(server.everything(0).await.len(), 1);
}

#[tokio::test]
async fn a_small_body_that_grows_past_ten_mib_is_refused() {
    let server = Server::start().await;
    let plain = vec![0; (10 << 20) + 1];
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Deflate, Codec::Gzip] {
        let body = codec::compress(codec, &plain).unwrap();
        let headers = raw_size(plain.len(), codec.as_header().unwrap());
        refused(
            server.post(LB, headers, &body).await,
            413,
            "PostBodyTooLarge",
        );
    }
}

#[tokio::test]
async fn lz4_must_be_as_large_as_it_says() {
    let server = Server::start().await;
    let plain = event(10, "a").encode_to_vec();
    let body = codec::compress(Codec::Lz4, &plain).unwrap();
    for lie in [plain.len() - 1, plain.len() + 1, 1 << 20] {
        let reply = server.post(LB, raw_size(lie, "lz4"), &body).await;
        refused(reply, 400, "PostBodyUncompressError");
    }
}

#[tokio::test]
async fn compressions_that_are_unknown_or_broken_are_refused() {
    let server = Server::start().await;
    let unknown = server.post(LB, raw_size(1, "snappy"), b"x").await;
    refused(unknown, 400, "ParameterInvalid");
    for name in ["zstd", "deflate", "gzip", "lz4"] {
        let broken = server
            .post(LB, raw_size(10, name), b"\xff\xff\xff\xff")
            .await;
        refused(broken, 400, "PostBodyUncompressError");
    }
    let mut headers = raw_size(0, "lz4");
    headers.insert(header::BODY_RAW_SIZE, HeaderValue::from_static("many"));
    refused(
        server.post(LB, headers, b"x").await,
        400,
        "ParameterInvalid",
    );
}

#[tokio::test]
async fn what_is_not_a_log_group_is_refused() {
    let server = Server::start().await;
    for body in [&b"hello"[..], b"\x0a\x00", b"\x0a\x05\x08\x01"] {
        refused(
            server.post(LB, protobuf(), body).await,
            400,
            "PostBodyInvalid",
        );
    }
    let json = server.post(LB, content_type("application/json; charset=utf-8"), b"{}");
    refused(json.await, 400, "PostBodyInvalid");
}

#[tokio::test]
async fn more_than_4096_logs_are_refused() {
    let server = Server::start().await;
    server.put(&group(vec![log(10, &[]); 4096])).await;
    let body = group(vec![log(10, &[]); 4097]).encode_to_vec();
    refused(
        server.post(LB, protobuf(), &body).await,
        413,
        "PostBodyTooLarge",
    );
}

#[tokio::test]
async fn a_body_in_chunks_is_refused_when_it_passes_the_limit() {
    let mut server = Server::start().await;
    server.chunked = true;
    let body = vec![0; (10 << 20) + 1];
    refused(
        server.post(LB, protobuf(), &body).await,
        413,
        "PostBodyTooLarge",
    );
}

#[tokio::test]
async fn with_a_full_memory_budget_writes_and_pulls_are_503_and_small_reads_go_on() {
    let server = Server::start().await;
    server.put(&event(10, "a")).await;
    let begin = server.cursor(0, "begin").await;
    let budget = &server.api.budget;
    let everything = budget.lease(budget.limit() - budget.used()).unwrap();
    let body = event(10, "b").encode_to_vec();
    let refused_write = server.post(LB, protobuf(), &body).await;
    assert_eq!(refused_write.header("retry-after"), "1");
    refused(refused_write, 503, "ServerBusy");
    refused(server.pull(0, &begin, &[]).await, 503, "ServerBusy");
    assert_eq!(server.cursor(0, "begin").await, begin);
    drop(everything);
    server.put(&event(10, "b")).await;
    assert_eq!(server.everything(0).await.len(), 2);
}

#[tokio::test]
async fn memory_is_given_back_when_writes_and_pulls_are_done() {
    let server = Server::start().await;
    server.put(&event(10, &"x".repeat(100_000))).await;
    server.everything(0).await;
    let bad = server.post(LB, protobuf(), &[0xff; 100_000]).await;
    refused(bad, 400, "PostBodyInvalid");
    let all_given_back = async {
        while server.api.budget.used() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_given_back)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408() {
    let server = Server::start().await;
    let mut headers = protobuf();
    headers.insert(HOST, server.host.parse().unwrap());
    let signer = Signer {
        version: SignatureVersion::V1,
        key: &server.key,
        region: "",
    };
    let unsigned = Unsigned {
        method: &Method::POST,
        path: LB,
        query: &[],
        body: b"",
    };
    signer
        .sign(&unsigned, &mut headers, clock::unix_seconds())
        .unwrap();
    let mut head = format!("POST {LB} HTTP/1.1\r\ncontent-length: 100\r\n");
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    head.push_str("\r\nonly a part");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("RequestTimeout"), "{answer}");
}
