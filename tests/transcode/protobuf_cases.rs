//! Protobuf bodies by name.

use bytes::Bytes;
use prost::Message as _;
use tollgate::event::{EventGroup, Reason};
use tollgate::foundation::wire;
use tollgate::logstore::proto::log::Content;
use tollgate::logstore::proto::{Log, LogGroup, LogTag};

use super::agree::{RECEIVED, protobuf, tight, usual};
use super::reference::{self, Setting};

fn taken(body: &[u8], setting: &Setting) -> EventGroup {
    let ours = protobuf(body, setting).unwrap_or_else(|refusal| panic!("{}", refusal.message()));
    assert_eq!(Ok(&ours), reference::protobuf(body, setting).as_ref());
    ours
}

fn refused(body: &[u8], setting: &Setting, reason: Reason) -> String {
    let refusal = protobuf(body, setting).unwrap_err();
    assert_eq!(refusal.reason(), reason, "{}", refusal.message());
    refusal.message()
}

fn plain() -> Setting {
    Setting {
        stamp: Vec::new(),
        ..usual()
    }
}

fn log(time: u64, contents: &[(&str, &str)]) -> Log {
    Log {
        time: u32::try_from(time).unwrap(),
        contents: contents
            .iter()
            .map(|(key, value)| Content {
                key: Bytes::copy_from_slice(key.as_bytes()),
                value: Bytes::copy_from_slice(value.as_bytes()),
            })
            .collect(),
        time_ns: None,
    }
}

fn group(logs: Vec<Log>) -> LogGroup {
    LogGroup {
        logs,
        ..LogGroup::default()
    }
}

fn tag(key: &str, value: &str) -> LogTag {
    LogTag {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

/// A field with a length.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_bytes(&mut out, number << 3 | wire::LENGTH_DELIMITED, payload);
    out
}

#[test]
fn a_log_that_needs_no_change_comes_out_as_it_came() {
    let mut exact = log(
        RECEIVED,
        &[("a", "1"), ("a", "2"), ("long", &"v".repeat(70_000))],
    );
    exact.time_ns = Some(0);
    let body = group(vec![log(RECEIVED - 1, &[]), exact]).encode_to_vec();
    let out = taken(&body, &plain());
    assert_eq!(out.logs, body);
    assert_eq!(out.events, 2);
    taken(&body, &usual());
}

#[test]
fn the_stamp_comes_after_the_contents_and_before_the_nanoseconds() {
    let mut exact = log(RECEIVED, &[("a", "1")]);
    exact.time_ns = Some(5);
    let out = taken(&group(vec![exact]).encode_to_vec(), &usual());
    let stamped = LogGroup::decode(&*out.logs).unwrap();
    assert_eq!(stamped.logs[0].contents.len(), 2);
    assert_eq!(stamped.encode_to_vec(), out.logs, "canonical");
}

#[test]
fn topic_source_and_tags_are_taken_and_the_rest_of_the_group_is_not() {
    let body = LogGroup {
        logs: vec![log(RECEIVED, &[("a", "1")])],
        category: Some(Bytes::from_static(b"c")),
        topic: Some(Bytes::from_static(b"web")),
        source: Some(Bytes::from_static(b"h5")),
        machine_uuid: Some(Bytes::from_static(b"m")),
        log_tags: vec![
            tag("a", "b"),
            tag("__token__", "secret"),
            tag("__client_ip__", "1.2.3.4"),
            tag("__pack_id__", "A-1"),
            tag("a", "c"),
        ],
    };
    let out = taken(&body.encode_to_vec(), &usual());
    assert_eq!((&*out.topic, &*out.source), (&b"web"[..], &b"h5"[..]));
    assert_eq!(out.token, b"secret");
    assert_eq!(
        out.tags,
        b"\x32\x06\x0a\x01a\x12\x01b\x32\x06\x0a\x01a\x12\x01c"
    );
    assert_eq!(out.reserved_fields, 2);
}

#[test]
fn of_a_field_that_may_stand_once_the_last_counts() {
    let log = [
        &[0x08, 0x01][..],
        &field(2, b"\x0a\x01a\x12\x01b"),
        &[0x08, 0x80, 0xe2, 0xbe, 0xd1, 0x06],
    ];
    let body = [field(3, b"\xff"), field(3, b"web"), field(1, &log.concat())].concat();
    let out = taken(&body, &plain());
    assert_eq!(out.topic, b"web");
    assert_eq!(
        out.logs,
        group(vec![self::log(RECEIVED, &[("a", "b")])]).encode_to_vec()
    );
}

#[test]
fn what_is_not_canonical_becomes_canonical() {
    let time = [0x08, 0x80, 0xe2, 0xbe, 0xd1, 0x06];
    let wide_time = [0x08, 0x80, 0xe2, 0xbe, 0xd1, 0x86, 0x00];
    let content = field(2, b"\x0a\x01a\x12\x01b");
    let swapped = field(2, b"\x12\x01b\x0a\x01a");
    let twice = field(2, b"\x0a\x01x\x0a\x01a\x12\x01b");
    let unknown = field(2, b"\x0a\x01a\x12\x01b\x18\x07");
    let wide_length = b"\x12\x86\x00\x0a\x01a\x12\x01b".to_vec();
    let values = field(3, b"v");
    let expected = group(vec![log(RECEIVED, &[("a", "b")])]).encode_to_vec();
    for log in [
        [&content[..], &time].concat(),
        [&wide_time[..], &content].concat(),
        [&time[..], &swapped].concat(),
        [&time[..], &twice].concat(),
        [&time[..], &unknown].concat(),
        [&time[..], &wide_length].concat(),
        [&time[..], &values, &content].concat(),
        [&time[..], &content, &values].concat(),
    ] {
        assert_eq!(taken(&field(1, &log), &plain()).logs, expected, "{log:x?}");
    }
}

#[test]
fn names_of_ours_are_left_out_and_counted() {
    let body = group(vec![log(
        RECEIVED,
        &[
            ("__time__", "1"),
            ("a", "b"),
            ("__tag__:x", "y"),
            ("__source__", "z"),
        ],
    )]);
    let out = taken(&body.encode_to_vec(), &plain());
    assert_eq!(
        out.logs,
        group(vec![log(RECEIVED, &[("a", "b")])]).encode_to_vec()
    );
    assert_eq!(out.reserved_fields, 3);
}

#[test]
fn a_time_outside_the_window_is_replaced_or_refused() {
    let mut old = log(1_000, &[("a", "b")]);
    old.time_ns = Some(7);
    let body = group(vec![old]).encode_to_vec();
    let out = taken(&body, &plain());
    let expected = group(vec![log(
        RECEIVED,
        &[("__client_time__", "1000"), ("a", "b")],
    )]);
    assert_eq!(out.logs, expected.encode_to_vec());
    assert_eq!(out.times_replaced, 1);
    refused(&body, &tight(), Reason::TimeOutOfRange);
    let mut too_wide = vec![0x08];
    wire::put_varint(&mut too_wide, RECEIVED + (1 << 32));
    assert_eq!(taken(&field(1, &too_wide), &plain()).times_replaced, 1);
}

#[test]
fn nanoseconds_that_are_no_part_of_a_second_are_dropped() {
    let mut odd = log(RECEIVED, &[]);
    odd.time_ns = Some(1_000_000_000);
    let out = taken(&group(vec![odd]).encode_to_vec(), &plain());
    assert_eq!(out.logs, group(vec![log(RECEIVED, &[])]).encode_to_vec());
}

#[test]
fn what_is_malformed_is_refused_and_says_where() {
    let time = [0x08, 0x80, 0xe2, 0xbe, 0xd1, 0x06];
    let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let long_varint = [&[0x08][..], &[0xff; 11]].concat();
    let cases = [
        (huge.to_vec(), "at byte 1"),
        (field(1, &[]), "without Time, at byte 2 in /Logs/0"),
        (field(1, &field(2, b"\x0a\x01a\x12\x01b")), "without Time"),
        (
            field(1, &[0x0d, 0, 0, 0, 0]),
            "wrong wire type, at byte 2 in /Logs/0",
        ),
        (
            field(1, &[&time[..], &field(2, b"\x0a\x01a")].concat()),
            "missing, at byte 10 in /Logs/0",
        ),
        (
            field(1, &[&time[..], &[0x20, 1]].concat()),
            "wrong wire type",
        ),
        (field(1, &long_varint), "in /Logs/0"),
        (field(6, b"\x0a\x01a"), "missing, at byte 2"),
        (vec![0x18, 1], "wrong wire type, at byte 0"),
        (vec![0x0b, 0x0c], "at byte 0"),
        (vec![0x00, 0x00], "at byte 0"),
        (b"{\"__logs__\":[]}".to_vec(), "at byte 0"),
    ];
    for (body, place) in cases {
        let message = refused(&body, &usual(), Reason::NotProtobuf);
        assert!(message.contains(place), "{message} lacks {place}");
        if body[0] & 7 != 3 {
            assert!(reference::protobuf(&body, &usual()).is_err());
        }
    }
    refused(&[0x0b].repeat(100_000), &usual(), Reason::NotProtobuf);
}

#[test]
fn a_body_cut_inside_a_field_is_refused() {
    let body = LogGroup {
        topic: Some(Bytes::from_static(b"web")),
        ..group(vec![log(RECEIVED, &[("a", "1")])])
    };
    let body = body.encode_to_vec();
    let whole_fields = [0, body.len() - 5];
    for end in (0..body.len()).filter(|end| !whole_fields.contains(end)) {
        refused(&body[..end], &usual(), Reason::NotProtobuf);
    }
}

#[test]
fn what_is_not_utf8_is_refused_wherever_it_stands() {
    let time = [0x08, 0x80, 0xe2, 0xbe, 0xd1, 0x06];
    for bad in [
        field(3, b"\xff"),
        field(4, b"\xc0\xaf"),
        field(6, b"\x0a\x01a\x12\x01\xff"),
        field(
            1,
            &[&time[..], &field(2, b"\x0a\x01\xff\x12\x01b")].concat(),
        ),
        field(
            1,
            &[&time[..], &field(2, b"\x0a\x01a\x12\x01\xff")].concat(),
        ),
    ] {
        refused(&bad, &usual(), Reason::NotUtf8);
        assert_eq!(reference::protobuf(&bad, &usual()), Err(Reason::NotUtf8));
    }
}

#[test]
fn every_limit_has_its_refusal() {
    let many = |count| group(vec![log(RECEIVED, &[]); count]).encode_to_vec();
    assert_eq!(taken(&many(4096), &usual()).events, 4096);
    refused(&many(4097), &usual(), Reason::TooManyEvents);
    let fields = |count| group(vec![log(RECEIVED, &vec![("k", "v"); count])]).encode_to_vec();
    taken(&fields(1024), &usual());
    refused(&fields(1025), &usual(), Reason::TooManyFields);
    let with = |key: &str, value: &str| group(vec![log(RECEIVED, &[(key, value)])]).encode_to_vec();
    taken(&with(&"k".repeat(128), &"v".repeat(1 << 20)), &usual());
    refused(&with(&"k".repeat(129), ""), &usual(), Reason::InvalidKey);
    refused(&with("", ""), &usual(), Reason::InvalidKey);
    refused(
        &with("k", &"v".repeat((1 << 20) + 1)),
        &usual(),
        Reason::ValueTooLarge,
    );
    let tags = |tags: Vec<LogTag>| {
        let group = LogGroup {
            log_tags: tags,
            ..LogGroup::default()
        };
        group.encode_to_vec()
    };
    taken(&tags(vec![tag("a", "b"); 64]), &usual());
    refused(
        &tags(vec![tag("a", "b"); 65]),
        &usual(),
        Reason::TooManyFields,
    );
    refused(&tags(vec![tag("", "b")]), &usual(), Reason::InvalidKey);
    refused(
        &tags(vec![tag("a", &"b".repeat(4097))]),
        &usual(),
        Reason::ValueTooLarge,
    );
    refused(&field(3, &[b't'; 129]), &usual(), Reason::ValueTooLarge);
}

#[test]
fn a_million_unknown_fields_are_skipped() {
    let mut body = [0x78, 0x01].repeat(1_000_000);
    body.extend_from_slice(&group(vec![log(RECEIVED, &[("a", "b")])]).encode_to_vec());
    assert_eq!(taken(&body, &usual()).events, 1);
}
