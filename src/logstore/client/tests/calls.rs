//! What is sent, and what comes back when all is well.

use prost::Message;

use super::*;
use crate::logstore::codec;
use crate::logstore::proto::{Log, LogGroup, LogGroupList, LogTag, log};

#[tokio::test]
async fn a_write_goes_out_as_the_official_producers_send_it() {
    for signature in [SignatureVersion::V1, SignatureVersion::V4] {
        let server = Server::start(|_| with_id("")).await;
        let mut endpoint = endpoint(format!("http://store.localhost:{}", server.port()));
        endpoint.signature = signature;
        let receipt = put(&StoreClient::new(endpoint).unwrap()).await.unwrap();
        assert_eq!(receipt.request_id, REQUEST_ID);
        let seen = &server.seen()[0];
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            ("POST", "/logstores/web-events/shards/lb")
        );
        let host = format!("demo.store.localhost:{}", server.port());
        assert_eq!(seen.header("host"), host);
        assert_eq!(seen.header("content-type"), "application/x-protobuf");
        assert_eq!(seen.header("content-length"), "89");
        assert_eq!(seen.header("x-log-apiversion"), "0.6.0");
        assert_eq!(seen.header("x-log-bodyrawsize"), "87");
        assert_eq!(seen.header("x-log-compresstype"), "lz4");
        assert_eq!(seen.body, unhex(V_PB1_LZ4));
    }
}

#[tokio::test]
async fn without_compression_no_header_says_so() {
    let server = Server::start(|_| with_id("{}")).await;
    let client = client(server.base());
    client
        .put_log_group(
            &demo(),
            &web_events(),
            PackedGroup::new(Codec::None, "raw".into(), 3),
        )
        .await
        .unwrap();
    assert!(!server.seen()[0].headers.contains_key("x-log-compresstype"));
}

#[tokio::test]
async fn an_endpoint_that_is_an_address_still_names_the_project_in_host() {
    let server = Server::start(|_| with_id("")).await;
    put(&client(server.base())).await.unwrap();
    let host = format!("demo.127.0.0.1:{}", server.port());
    assert_eq!(server.seen()[0].header("host"), host);
}

#[tokio::test]
async fn a_given_address_is_dialled_in_place_of_the_name() {
    let server = Server::start(|_| with_id("")).await;
    let mut endpoint = endpoint("http://cn-hangzhou.log.aliyuncs.com".to_owned());
    endpoint.address = Some(server.address);
    put(&StoreClient::new(endpoint).unwrap()).await.unwrap();
    let host = "demo.cn-hangzhou.log.aliyuncs.com";
    assert_eq!(server.seen()[0].header("host"), host);
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let server = Server::start(|_| with_id("")).await;
    let body: Bytes = (0..3_000_001_u32).map(|n| (n % 251) as u8).collect();
    let client = client(server.base());
    client
        .put_log_group(
            &demo(),
            &web_events(),
            PackedGroup::new(Codec::None, body.clone(), body.len()),
        )
        .await
        .unwrap();
    assert_eq!(server.seen()[0].body, body);
}

#[tokio::test]
async fn shards_and_cursors_are_read() {
    let server = Server::start(|seen| {
        if seen.target.ends_with("/shards") {
            with_id(r#"[{"shardID":0,"status":"readwrite","createTime":1},{"shardID":7,"status":"readonly"}]"#)
        } else {
            with_id(r#"{"cursor":"MA=="}"#)
        }
    })
    .await;
    let client = client(server.base());
    let shards = client.list_shards(&demo(), &web_events()).await.unwrap();
    let read: Vec<_> = shards
        .iter()
        .map(|it| (it.id, it.status.as_str()))
        .collect();
    assert_eq!(read, [(0, "readwrite"), (7, "readonly")]);
    for (from, text) in [
        (CursorFrom::Begin, "begin"),
        (CursorFrom::End, "end"),
        (CursorFrom::Time(1_781_510_400), "1781510400"),
    ] {
        let cursor = client.get_cursor(&demo(), &web_events(), 7, from).await;
        assert_eq!(cursor.unwrap(), "MA==");
        let target = format!("/logstores/web-events/shards/7?type=cursor&from={text}");
        assert_eq!(server.seen().last().unwrap().target, target);
    }
}

fn list() -> LogGroupList {
    let content = log::Content {
        key: "event".into(),
        value: "click".into(),
    };
    LogGroupList {
        log_groups: vec![LogGroup {
            logs: vec![Log {
                time: 1_781_510_400,
                contents: vec![content; 50],
                time_ns: Some(7),
            }],
            topic: Some("web".into()),
            log_tags: vec![LogTag {
                key: "k".into(),
                value: "v".into(),
            }],
            ..LogGroup::default()
        }],
    }
}

#[tokio::test]
async fn a_pull_is_decompressed_in_every_codec_that_the_store_may_choose() {
    let raw = list().encode_to_vec();
    for codec in [Codec::Lz4, Codec::Zstd, Codec::Deflate, Codec::None] {
        let plain = raw.clone();
        let server = Server::start(move |_| {
            let mut reply = with_id(codec::compress(codec, &plain).unwrap());
            let headers = reply.headers_mut();
            headers.insert("x-log-cursor", HeaderValue::from_static("MQ=="));
            headers.insert("x-log-bodyrawsize", HeaderValue::from(plain.len()));
            if let Some(name) = codec.as_header() {
                headers.insert("x-log-compresstype", HeaderValue::from_static(name));
            }
            reply
        })
        .await;
        let client = client(server.base());
        let pulled = client
            .pull_logs(&demo(), &web_events(), 0, "MA==", 100)
            .await
            .unwrap();
        assert_eq!(pulled.groups, list().log_groups, "{codec:?}");
        assert_eq!(pulled.next_cursor, "MQ==");
        let seen = &server.seen()[0];
        let target = "/logstores/web-events/shards/0?type=log&cursor=MA%3D%3D&count=100";
        assert_eq!(seen.target, target);
        assert_eq!(seen.header("accept-encoding"), "lz4");
    }
}

#[tokio::test]
async fn a_pull_at_the_end_gives_nothing_and_the_same_cursor() {
    let server = Server::start(|_| {
        let headers = [
            ("x-log-requestid", REQUEST_ID),
            ("x-log-cursor", "MA=="),
            ("x-log-bodyrawsize", "0"),
            ("x-log-compresstype", "lz4"),
        ];
        reply(200, &headers, "")
    })
    .await;
    let client = client(server.base());
    let pulled = client
        .pull_logs(&demo(), &web_events(), 0, "MA==", 100)
        .await
        .unwrap();
    let next_cursor = "MA==".to_owned();
    let groups = Vec::new();
    assert_eq!(
        pulled,
        Pulled {
            groups,
            next_cursor
        }
    );
}

#[tokio::test]
async fn connections_are_kept_between_calls() {
    let server = Server::start(|_| with_id("")).await;
    let (proxy, connections) = counting_proxy(server.address).await;
    let client = client(format!("http://{proxy}"));
    for _ in 0..5 {
        put(&client).await.unwrap();
    }
    assert_eq!(*connections.lock().unwrap(), 1);
}

/// Passes connections on, and counts them.
async fn counting_proxy(to: SocketAddr) -> (SocketAddr, Arc<Mutex<u32>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&count);
    let tasks = TaskTracker::new();
    tasks.clone().spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            *counter.lock().unwrap() += 1;
            tasks.spawn(async move {
                let mut far = tokio::net::TcpStream::connect(to).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    (address, count)
}
