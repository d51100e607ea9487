use serde_json::json;

use super::*;

#[tokio::test]
async fn shards_divide_the_md5_space() {
    let server = Server::with(&Embedded {
        shards: 2,
        ..test_config()
    })
    .await;
    let shards = server.get("/logstores/web-events/shards", &[]).await.json();
    let keys: Vec<_> = shards
        .as_array()
        .unwrap()
        .iter()
        .map(|shard| {
            assert_eq!(shard["status"], "readwrite");
            assert!(shard["createTime"].is_u64());
            let text = |name: &str| shard[name].as_str().unwrap().to_owned();
            (
                shard["shardID"].as_u64().unwrap(),
                text("inclusiveBeginKey"),
                text("exclusiveEndKey"),
            )
        })
        .collect();
    let middle = "7fffffffffffffffffffffffffffffff".to_owned();
    let expected = [
        (0, "0".repeat(32), middle.clone()),
        (1, middle, "f".repeat(32)),
    ];
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn logstores_are_listed_by_part_of_name_and_by_page() {
    let server = Server::start().await;
    let all = server.get("/logstores", &[]).await.json();
    let expected = json!({"count": 2, "total": 2, "logstores": ["other-events", "web-events"]});
    assert_eq!(all, expected);
    let query = [("logstoreName", "web"), ("offset", ""), ("size", "")];
    let web = server.get("/logstores", &query).await.json();
    assert_eq!(
        web,
        json!({"count": 1, "total": 1, "logstores": ["web-events"]})
    );
    let query = [("offset", "1"), ("size", "5")];
    let second = server.get("/logstores", &query).await.json();
    assert_eq!(second["logstores"], json!(["web-events"]));
    assert_eq!(second["total"], 2);
}

#[tokio::test]
async fn a_logstore_has_every_field_that_some_sdk_needs() {
    let server = Server::start().await;
    let logstore = server.get("/logstores/web-events", &[]).await.json();
    assert_eq!(logstore["logstoreName"], "web-events");
    assert_eq!(logstore["ttl"], 30);
    assert_eq!(logstore["shardCount"], 1);
    for name in [
        "enable_tracking",
        "appendMeta",
        "autoSplit",
        "maxSplitShard",
        "createTime",
        "lastModifyTime",
        "telemetryType",
        "mode",
        "hot_ttl",
    ] {
        assert!(!logstore[name].is_null(), "{name}");
    }
    assert!(logstore["encrypt_conf"].is_null(), "one SDK fails on it");
}

#[tokio::test]
async fn a_project_has_every_field_that_some_sdk_needs() {
    let server = Server::start().await;
    let project = server.get("/", &[]).await.json();
    assert_eq!(project["projectName"], "demo");
    assert_eq!(project["region"], "local");
    for name in [
        "status",
        "description",
        "owner",
        "createTime",
        "lastModifyTime",
        "dataRedundancyType",
    ] {
        assert!(project[name].is_string(), "{name}");
    }
}
