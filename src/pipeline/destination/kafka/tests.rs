use prost::Message as _;
use rskafka::record::Record;

use super::*;
use crate::event::{put_content, put_tag};
use crate::foundation::wire::{put_bytes, put_varint};
use crate::logstore::proto::LogGroup;

fn rules(value: MessageValue, key: MessageKey) -> Arc<KafkaRules> {
    Arc::new(plain_rules(value, key))
}

fn plain_rules(value: MessageValue, key: MessageKey) -> KafkaRules {
    KafkaRules {
        brokers: vec!["127.0.0.1:1".to_owned()],
        topic: "t".to_owned(),
        value,
        key,
        compression: KafkaCompression::Zstd,
        max_bytes: 1 << 20,
        tls: None,
        login: None,
        timeout: Duration::from_secs(5),
        max_age: Duration::from_secs(300),
    }
}

/// A LogGroup of one event for each user.
fn log_group(users: &[&str], pack: &str) -> Vec<u8> {
    let mut raw = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let mut log = vec![0x08];
        put_varint(&mut log, 1_781_510_400);
        put_content(&mut log, b"user", user.as_bytes());
        put_content(&mut log, b"n", number.to_string().as_bytes());
        put_bytes(&mut raw, 0x0a, &log);
    }
    put_bytes(&mut raw, 0x1a, b"web");
    put_tag(&mut raw, b"__client_ip__", b"203.0.113.7");
    put_tag(&mut raw, b"__pack_id__", pack.as_bytes());
    raw
}

const PACK: &str = "0123456789ABCDEF-A";
const USERS: [&str; 6] = ["ann", "bob", "ann", "cyd", "bob", "ann"];

fn chunks(rules: &Arc<KafkaRules>, raw: Vec<u8>, taken: &Taken, partitions: i32) -> Vec<Chunk> {
    let messages = Messages::of(raw, Arc::clone(rules)).unwrap();
    let mut chunks = Vec::new();
    for mut queue in messages.queues(taken, partitions) {
        while !queue.is_empty() {
            let most = messages.most(&queue);
            let chunk = messages.chunk(&mut queue);
            let sizes = chunk.records.iter().map(Record::approximate_size);
            let bytes: usize = sizes.sum();
            assert!(bytes <= most, "{bytes} {most}");
            assert!(bytes <= rules.max_bytes || chunk.records.len() == 1);
            chunks.push(chunk);
        }
    }
    chunks
}

fn records(rules: &Arc<KafkaRules>, raw: Vec<u8>, taken: &Taken, partitions: i32) -> Vec<Record> {
    let chunks = chunks(rules, raw, taken, partitions).into_iter();
    chunks.flat_map(|chunk| chunk.records).collect()
}

fn ids(records: &[Record]) -> Vec<String> {
    let mut ids: Vec<String> = records
        .iter()
        .map(|it| String::from_utf8(it.headers["tollgate-id"].clone()).unwrap())
        .collect();
    ids.sort();
    ids
}

#[test]
fn each_event_is_a_json_message_with_its_key_time_and_id() {
    let rules = rules(MessageValue::Json, MessageKey::Field("user".to_owned()));
    let all = records(&rules, log_group(&USERS, PACK), &Taken::default(), 3);
    assert_eq!(all.len(), 6);
    for record in &all {
        let value = record.value.as_deref().unwrap();
        let event: serde_json::Value = serde_json::from_slice(value).unwrap();
        assert_eq!(
            record.key.as_deref(),
            event["user"].as_str().map(str::as_bytes)
        );
        assert_eq!(record.timestamp.timestamp(), 1_781_510_400);
        let id = format!("{PACK}.{}", event["n"].as_str().unwrap());
        assert_eq!(record.headers["tollgate-id"], id.as_bytes());
        assert_eq!(event["__topic__"], "web");
        assert_eq!(event["__tag__:__client_ip__"], "203.0.113.7");
    }
    let part = records(
        &rules,
        log_group(&USERS, &format!("{PACK}.40-45")),
        &Taken::default(),
        3,
    );
    assert_eq!(ids(&part)[0], format!("{PACK}.40"));
}

#[test]
fn events_of_one_key_are_one_log_group() {
    let rules = rules(MessageValue::Protobuf, MessageKey::Field("user".to_owned()));
    let all = records(&rules, log_group(&USERS, PACK), &Taken::default(), 3);
    assert_eq!(
        ids(&all),
        [".0-5", ".1-4", ".3-3"].map(|part| format!("{PACK}{part}"))
    );
    for record in &all {
        let group = LogGroup::decode(record.value.as_deref().unwrap()).unwrap();
        let user = |log: &crate::logstore::proto::Log| log.contents[0].value.clone();
        assert!(
            group
                .logs
                .iter()
                .all(|log| Some(&*user(log)) == record.key.as_deref())
        );
        assert_eq!(group.topic.as_deref(), Some(&b"web"[..]));
        let pack = group.log_tags.last().unwrap();
        assert_eq!(pack.value, record.headers["tollgate-id"]);
    }
}

#[test]
fn a_batch_without_keys_is_one_log_group_as_a_store_gets_it() {
    let rules = rules(MessageValue::Protobuf, MessageKey::None);
    let raw = log_group(&USERS, PACK);
    let all = records(&rules, raw.clone(), &Taken::default(), 8);
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0].key, all[0].value.as_deref()), (&None, Some(&*raw)));
    assert_eq!(ids(&all), [PACK]);
}

#[test]
fn keys_are_topics_addresses_fields_or_nothing() {
    let key = |key| {
        let rules = rules(MessageValue::Json, key);
        let all = records(&rules, log_group(&["ann"], PACK), &Taken::default(), 1);
        all[0].key.clone().map(|it| String::from_utf8(it).unwrap())
    };
    assert_eq!(key(MessageKey::None), None);
    assert_eq!(key(MessageKey::Topic).as_deref(), Some("web"));
    assert_eq!(
        key(MessageKey::ClientAddress).as_deref(),
        Some("203.0.113.7")
    );
    assert_eq!(
        key(MessageKey::Field("user".to_owned())).as_deref(),
        Some("ann")
    );
    assert_eq!(key(MessageKey::Field("nobody".to_owned())), None);
}

#[test]
fn what_was_taken_is_left_out_and_the_rest_keeps_its_ids() {
    let rules = rules(MessageValue::Json, MessageKey::None);
    let mut taken = Taken::default();
    for event in [0, 2, 3] {
        taken.mark(event);
    }
    let all = records(&rules, log_group(&USERS, PACK), &taken, 3);
    assert_eq!(
        ids(&all),
        ["1", "4", "5"].map(|place| format!("{PACK}.{place}"))
    );
}

#[test]
fn what_is_sent_together_is_bounded_and_one_large_event_stands_alone() {
    let large = "x".repeat(5000);
    let users = ["a", &large, "b", "c"];
    for value in [MessageValue::Json, MessageValue::Protobuf] {
        let rules = KafkaRules {
            max_bytes: 1000,
            ..plain_rules(value, MessageKey::None)
        };
        let chunks = chunks(
            &Arc::new(rules),
            log_group(&users, PACK),
            &Taken::default(),
            1,
        );
        let events: Vec<_> = chunks.iter().map(|chunk| chunk.events.clone()).collect();
        assert_eq!(events, [vec![0], vec![1], vec![2, 3]], "{value:?}");
    }
}

/// All messages of such a batch together would have twenty times its size, or a hundred.
#[test]
fn messages_that_repeat_much_are_made_a_few_at_a_time() {
    let users: Vec<String> = (0..200).map(|user| user.to_string()).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut raw = log_group(&users, PACK);
    for tag in 0..16 {
        put_tag(&mut raw, format!("t{tag}").as_bytes(), &[1; 4096]);
    }
    for value in [MessageValue::Json, MessageValue::Protobuf] {
        let rules = rules(value, MessageKey::Field("user".to_owned()));
        let chunks = chunks(&rules, raw.clone(), &Taken::default(), 3);
        let mut events: Vec<usize> = chunks.iter().flat_map(|it| it.events.clone()).collect();
        events.sort_unstable();
        assert_eq!(events, (0..200).collect::<Vec<_>>(), "{value:?}");
        assert!(chunks.len() > 10, "{value:?} {}", chunks.len());
    }
}

#[test]
fn what_can_be_tried_again_decides_and_every_doubt_counts() {
    let doubt = || Failure::down(RetryReason::Network, "doubt").in_doubt();
    let sure = || Failure::retry(RetryReason::Busy, "sure");
    let refused = || Failure::refused("TooLarge", "refused");
    for (first, second, words, in_doubt) in [
        (doubt(), sure(), "sure", true),
        (sure(), doubt(), "doubt", true),
        (refused(), sure(), "sure", false),
        (doubt(), refused(), "doubt", true),
        (refused(), refused(), "refused", false),
    ] {
        let worst = worse(Some(worse(None, first)), second);
        assert_eq!((&*worst.words, worst.in_doubt), (words, in_doubt));
    }
}

#[tokio::test]
async fn brokers_that_are_not_there_are_down_and_nothing_is_taken() {
    let kafka = Kafka::new(plain_rules(MessageValue::Json, MessageKey::None));
    let raw = log_group(&USERS, PACK);
    let parcel = Parcel::pack(crate::logstore::codec::Codec::Lz4, raw, None)
        .await
        .unwrap();
    let mut taken = Taken::default();
    let failure = kafka.put(&parcel, &mut taken).await.unwrap_err();
    let reason = RetryReason::Network;
    assert_eq!(failure.next, NextStep::Retry { reason }, "{failure}");
    assert_eq!(taken, Taken::default());
}

#[tokio::test]
async fn a_broker_that_never_answers_costs_the_time_of_an_attempt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut rules = plain_rules(MessageValue::Json, MessageKey::None);
    rules.brokers = vec![listener.local_addr().unwrap().to_string()];
    rules.timeout = Duration::from_millis(100);
    let kafka = Kafka::new(rules);
    let raw = log_group(&USERS, PACK);
    let parcel = Parcel::pack(crate::logstore::codec::Codec::Lz4, raw, None)
        .await
        .unwrap();
    let failure = kafka.put(&parcel, &mut Taken::default()).await.unwrap_err();
    assert!(failure.words.contains("no answer of Kafka"), "{failure}");
}
