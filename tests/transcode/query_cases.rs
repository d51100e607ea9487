//! Queries by name.

use prost::Message as _;
use tollgate::config::Limits;
use tollgate::event::{EventGroup, Reason};
use tollgate::foundation::units::ByteSize;
use tollgate::logstore::proto::LogGroup;

use super::agree::{RECEIVED, TOKEN_PARAMETER, query, tight, usual};
use super::reference::{self, Setting};

/// The query must be taken, as by the reference, and this comes out.
fn taken(text: &str) -> EventGroup {
    let setting = plain();
    let ours = query(text.as_bytes(), &setting).unwrap();
    let expected = reference::query(text.as_bytes(), TOKEN_PARAMETER, &setting);
    assert_eq!(Ok(&ours), expected.as_ref());
    assert_eq!(ours.events, 1);
    ours
}

fn plain() -> Setting {
    Setting {
        stamp: Vec::new(),
        ..usual()
    }
}

/// The contents as `key=value`.
fn contents(text: &str) -> Vec<String> {
    let group = LogGroup::decode(&*taken(text).logs).unwrap();
    let contents = group.logs[0].contents.iter();
    contents
        .map(|content| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            format!("{}={}", text(&content.key), text(&content.value))
        })
        .collect()
}

#[test]
fn every_pair_is_a_field_and_the_version_and_the_token_are_not() {
    let fields = contents("a=1&APIVersion=0.6.0&token=secret&b=two&%74oken=secret");
    assert_eq!(fields, ["a=1", "b=two"]);
    assert_eq!(taken("token=secret").token, b"", "the front reads it");
}

#[test]
fn a_hundred_pairs_are_a_hundred_fields() {
    let pairs: Vec<_> = (0..100).map(|index| format!("k{index}=v")).collect();
    assert_eq!(
        contents(&format!("APIVersion=0.6.0&{}", pairs.join("&"))).len(),
        100
    );
}

#[test]
fn hand_written_queries_are_read_leniently() {
    let fields =
        contents(r#"APIVersion=0.6.0&&q={"a":1,b}&e=&f&&g=a+b%20c&h=x=y&i=%zz%4&j=%e4%b8%ad&"#);
    assert_eq!(
        fields,
        [
            r#"q={"a":1,b}"#,
            "e=",
            "f=",
            "g=a b c",
            "h=x=y",
            "i=%zz%4",
            "j=中"
        ]
    );
    assert_eq!(
        contents("a=%ff%c0%af&b=%e4%b8"),
        ["a=\u{fffd}\u{fffd}\u{fffd}", "b=\u{fffd}"]
    );
    assert_eq!(contents("a=%00%0d%0a"), ["a=\0\r\n"]);
}

#[test]
fn an_empty_query_is_an_event_without_fields() {
    for text in ["", "&", "&&&&", "APIVersion=0.6.0"] {
        assert!(contents(text).is_empty(), "{text}");
    }
    assert!(contents(&"&".repeat(1_000_000)).is_empty());
}

#[test]
fn topic_source_and_time_mean_what_they_mean_in_a_body() {
    let earlier = RECEIVED - 5;
    let text = format!("__topic__=web&a=1&__source__=h5&__time__={earlier}&__time_ns_part__=7");
    let group = taken(&text);
    assert_eq!((&*group.topic, &*group.source), (&b"web"[..], &b"h5"[..]));
    let log = &LogGroup::decode(&*group.logs).unwrap().logs[0];
    assert_eq!((u64::from(log.time), log.time_ns), (earlier, Some(7)));
    assert_eq!(contents(&text), ["a=1"]);
    let group = taken("__time__=99999999999999999999");
    assert_eq!(group.times_replaced, 1);
}

#[test]
fn of_pairs_with_the_same_key_the_first_counts() {
    let text = "k=1&k=2&%6b=3&__topic__=a&__topic__=b&APIVersion=1&APIVersion=2";
    assert_eq!(contents(text), ["k=1"]);
    let group = taken(text);
    assert_eq!(group.topic, b"a");
    assert_eq!(group.reserved_fields, 3);
}

#[test]
fn names_of_ours_are_left_out_and_counted() {
    let text = "__tag__:__client_ip__=1.2.3.4&__pack_id__=x&__client_time__=1&a=1";
    assert_eq!(contents(text), ["a=1"]);
    assert_eq!(taken(text).reserved_fields, 3);
}

#[test]
fn every_limit_has_its_refusal() {
    let refused = |text: &str, setting: &Setting| {
        let expected = reference::query(text.as_bytes(), TOKEN_PARAMETER, setting).unwrap_err();
        let refusal = query(text.as_bytes(), setting).unwrap_err();
        assert_eq!(refusal.reason(), expected);
        (refusal.reason(), refusal.message())
    };
    let many: Vec<_> = (0..10_000).map(|index| format!("k{index}=v")).collect();
    assert_eq!(refused(&many.join("&"), &usual()).0, Reason::TooManyFields);
    assert_eq!(refused("a=1&=x", &usual()).0, Reason::InvalidKey);
    assert_eq!(refused(&"k".repeat(129), &usual()).0, Reason::InvalidKey);
    assert_eq!(
        refused("__topic__=123456789", &tight()).0,
        Reason::ValueTooLarge
    );
    assert_eq!(refused("__time__=1", &tight()).0, Reason::TimeOutOfRange);
    let small = Setting {
        limits: Limits {
            value: ByteSize::bytes(3),
            ..usual().limits
        },
        ..usual()
    };
    let (reason, message) = refused("a=1&b%0a=1234", &small);
    assert_eq!(reason, Reason::ValueTooLarge);
    assert!(
        message.contains("4 is above the limit of 3, at byte 4 in /b\\n"),
        "{message}"
    );
}
