//! JSON bodies by name: what they mean.

use tollgate::event::Reason;

use super::agree::{RECEIVED, tight, usual};
use super::json_bodies::{contents, one_log, pairs, refused, taken, times};
use super::reference::Setting;

#[test]
fn the_bytes_are_those_that_the_official_python_sdk_writes() {
    let golden = "0a250880e2bed106120e0a056576656e741205636c69636b120d0a047061676512052f686f6d65\
                  1a03776562220b3230332e302e3131332e37\
                  321c0a0d5f5f636c69656e745f69705f5f120b3230332e302e3131332e37";
    let body = br#"{"__logs__":[{"event":"click","page":"/home"}],"__topic__":"web","__source__":"203.0.113.7"}"#;
    let setting = Setting {
        stamp: Vec::new(),
        ..usual()
    };
    let mut group = taken(body, &setting);
    group.put_tag(b"__client_ip__", b"203.0.113.7");
    let mut bytes = group.logs.clone();
    for (tag, label) in [(0x1a, &group.topic), (0x22, &group.source)] {
        tollgate::foundation::wire::put_bytes(&mut bytes, tag, label);
    }
    bytes.extend_from_slice(&group.tags);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, golden);
}

#[test]
fn what_the_browser_sdk_sends_is_stored_as_it_meant_it() {
    let body = r#"{"__logs__":[{"a":"1","b":"null","c":"{\"d\":[1]}","e":"undefined","f":"true","__time__":"123"},{"a":"x"}],"__tags__":{"app":"shop"},"__topic__":"web","__source__":"h5"}"#;
    let group = taken(body.as_bytes(), &usual());
    assert_eq!(group.events, 2);
    assert_eq!((&*group.topic, &*group.source), (&b"web"[..], &b"h5"[..]));
    assert_eq!(group.tags, b"\x32\x0b\x0a\x03app\x12\x04shop");
    assert_eq!(group.times_replaced, 1);
    let first = contents(body, &usual());
    assert_eq!(first[2], ("c".to_owned(), r#"{"d":[1]}"#.to_owned()));
    assert_eq!(
        first[5],
        ("__client_time__".to_owned(), "123".to_owned()),
        "a time outside the window stays as a field"
    );
}

#[test]
fn every_kind_of_value_becomes_text() {
    let body = one_log(
        r#""s":"a\nb","i":12345678901234567890,"f":1.50e+3,"z":-0,"t":true,"n":null,"o": { "a" : [ 1 , "x y" ] },"e":"""#,
    );
    let expected = pairs(&[
        ("s", "a\nb"),
        ("i", "12345678901234567890"),
        ("f", "1.50e+3"),
        ("z", "-0"),
        ("t", "true"),
        ("n", "null"),
        ("o", r#"{"a":[1,"x y"]}"#),
        ("e", ""),
    ]);
    assert_eq!(contents(&body, &usual()), expected);
}

#[test]
fn numbers_are_forwarded_as_they_are_written_whatever_their_size() {
    let digits = "7".repeat(100_000);
    for number in [
        "1e400",
        "-1E-400",
        "9007199254740993",
        "18446744073709551616",
        &digits,
    ] {
        let body = one_log(&format!(r#""n":{number}"#));
        assert_eq!(contents(&body, &usual()), pairs(&[("n", number)]));
    }
}

#[test]
fn lone_surrogates_become_the_replacement_character_and_nul_stays() {
    let body = one_log(r#""\ud800":"\udc00x","p":"\ud83d\ude00","z":"a\u0000b""#);
    let expected = pairs(&[("\u{fffd}", "\u{fffd}x"), ("p", "😀"), ("z", "a\0b")]);
    assert_eq!(contents(&body, &usual()), expected);
}

#[test]
fn what_is_no_json_is_refused() {
    let bad: &[&str] = &[
        "",
        " ",
        "{",
        "}",
        "{\"__logs__\":[",
        "{\"__logs__\":[]",
        "{\"__logs__\":[{]}",
        "nul",
        "{\"__logs__\":[]}{}",
        "{\"__logs__\":[]} x",
        "{\"__logs__\":[]},",
        "{'__logs__':[]}",
        "{\"__logs__\":[],}",
        "{\"__logs__\":[{},]}",
        "{\"__logs__\":[{\"a\":1,}]}",
        "{__logs__:[]}",
        "{\"__logs__\":[{\"a\":NaN}]}",
        "{\"__logs__\":[{\"a\":Infinity}]}",
        "{\"__logs__\" []}",
        "{\"__logs__\":[{\"a\":01}]}",
        "{\"__logs__\":[{\"a\":+1}]}",
        "{\"__logs__\":[{\"a\":.5}]}",
        "{\"__logs__\":[{\"a\":5.}]}",
        "{\"__logs__\":[{\"a\":1e}]}",
        "{\"__logs__\":[{\"a\":0x10}]}",
        "{\"__logs__\":[{\"a\":-}]}",
        "{\"__logs__\":[{\"a\":1}/*c*/]}",
        "{\"__logs__\":[] //c\n}",
        "{\"__logs__\":[{\"a\":\"\u{1}\"}]}",
        "{\"__logs__\":[{\"a\":\"\n\"}]}",
        "\u{feff}",
        "{\"__logs__\":[{\"a\":\"\\x\"}]}",
        "{\"__logs__\":[{\"a\":\"\\u12g4\"}]}",
        "{\"__logs__\":[{\"a\":\"\\u12\"}]}",
        "{\"__logs__\":[{\"a\":\"\\",
        "{\"__logs__\":[{\"a\":\"",
        "{\"__logs__\":[{\"a\":tru}]}",
        "{\"__logs__\":[{\"a\"}]}",
        "{\"__logs__\":[{\"a\":}]}",
        "{\"__logs__\":[{\"a\":1 \"b\":2}]}",
        "{\"__logs__\":[{} {}]}",
        "{\"__logs__\":[{\"a\":1\u{a0}}]}",
        "{\"__logs__\":[],\"x\":[1,]}",
        "{\"__logs__\":[],\"x\":{\"a\":[}]}",
        "{\"__logs__\":[\u{c}]}",
        "\u{feff}\u{feff}{\"__logs__\":[]}",
        "{\"__logs__\":[]}\0",
    ];
    for body in bad {
        refused(body.as_bytes(), &usual(), Reason::NotJson);
    }
}

#[test]
fn a_body_cut_anywhere_is_not_json() {
    let body = br#" {"__logs__":[{"a":"x\u00e9","b":[1,{"c":-1.5e3}],"d":true}],"__tags__":{"t":null},"__topic__":"web"}"#;
    taken(body, &usual());
    for end in 0..body.len() {
        refused(&body[..end], &usual(), Reason::NotJson);
    }
}

#[test]
fn what_is_not_utf8_is_refused_wherever_it_stands() {
    for bytes in [
        &b"\xc0\xaf"[..],
        b"\xed\xa0\x80",
        b"\xff",
        b"\xe4\xb8",
        b"\xf4\x90\x80\x80",
    ] {
        let body = [&br#"{"__logs__":[{"k":""#[..], bytes, b"\"}]}"].concat();
        let message = refused(&body, &usual(), Reason::NotUtf8);
        assert!(message.contains("at byte 19"), "{message}");
        refused(
            &[&b"{\"__logs__\":[]}"[..], bytes].concat(),
            &usual(),
            Reason::NotUtf8,
        );
    }
    let utf16: Vec<u8> = "{\"__logs__\":[]}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    refused(&utf16, &usual(), Reason::NotJson);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let body = "\u{feff}{\"__logs__\":[{\"a\":\"b\"}]}";
    assert_eq!(contents(body, &usual()), pairs(&[("a", "b")]));
}

#[test]
fn a_percent_encoded_body_is_decoded_once() {
    let body = "\r\n%7B%22__logs__%22:%5b%7B%22a%22:%22%2525+%22%7D%5D%7d";
    assert_eq!(contents(body, &usual()), pairs(&[("a", "%25+")]));
    refused(b"%7B%FF", &usual(), Reason::NotUtf8);
    refused(b"%7B%", &usual(), Reason::NotJson);
    refused(b"%257B", &usual(), Reason::NotJson);
}

#[test]
fn the_wrong_shape_is_refused() {
    let bad = [
        "null",
        "[]",
        "[{}]",
        "\"x\"",
        "1",
        "{}",
        r#"{"a":1}"#,
        r#"{"__logs__":null}"#,
        r#"{"__logs__":{}}"#,
        r#"{"__logs__":"x"}"#,
        r#"{"__logs__":[1]}"#,
        r#"{"__logs__":[[]]}"#,
        r#"{"__logs__":[{},null]}"#,
        r#"{"__logs__":[],"__tags__":[]}"#,
        r#"{"__logs__":[],"__tags__":"x"}"#,
        r#"{"__logs__":[],"__topic__":{}}"#,
        r#"{"__logs__":[],"__source__":["x"]}"#,
    ];
    for body in bad {
        refused(body.as_bytes(), &usual(), Reason::WrongShape);
    }
}

#[test]
fn no_events_are_taken_and_nothing_comes_out() {
    let group = taken(br#"{"__logs__":[ ]}"#, &usual());
    assert_eq!((group.events, group.logs.len()), (0, 0));
}

#[test]
fn an_event_without_fields_is_an_event() {
    let setting = Setting {
        stamp: Vec::new(),
        ..usual()
    };
    let group = taken(br#"{"__logs__":[{}, { }]}"#, &setting);
    assert_eq!(group.events, 2);
    assert_eq!(group.logs, b"\x0a\x06\x08\x80\xe2\xbe\xd1\x06".repeat(2));
}

#[test]
fn the_keys_of_the_envelope_come_in_any_order_and_others_are_ignored() {
    let body = r#"{"x":{"deep":[1,{"__logs__":1}]},"__source__":7,"__tags__":{"b":true,"a":{"c" : 1},"n":null},"__logs__":[{"k":"v"}],"__topic__":null,"x":2}"#;
    let group = taken(body.as_bytes(), &usual());
    assert_eq!((&*group.source, &*group.topic), (&b"7"[..], &b""[..]));
    assert_eq!(
        group.tags,
        b"\x32\x09\x0a\x01b\x12\x04true\x32\x0c\x0a\x01a\x12\x07{\"c\":1}"
    );
}

#[test]
fn a_key_that_comes_twice_is_refused_however_it_is_written() {
    let bad = [
        one_log(r#""k":1,"k":2"#),
        one_log(r#""k":1,"\u006b":2"#),
        one_log(r#""\ud800":1,"\udfff":2"#),
        one_log(r#""__time__":1781510400,"a":1,"__time__":1781510400"#),
        one_log(r#""__tag__:x":1,"a":1,"__tag__:x":2"#),
        r#"{"__logs__":[],"__tags__":{"t":1,"\u0074":1}}"#.to_owned(),
        r#"{"__logs__":[],"__logs__":[]}"#.to_owned(),
        r#"{"__topic__":null,"__logs__":[],"\u005f_topic__":"x"}"#.to_owned(),
        r#"{"__tags__":null,"__logs__":[],"__tags__":{}}"#.to_owned(),
        r#"{"__tags__":{"__token__":"a","__token__":"b"},"__logs__":[]}"#.to_owned(),
    ];
    for body in bad {
        refused(body.as_bytes(), &usual(), Reason::DuplicateKey);
    }
    taken(
        br#"{"__logs__":[{"k":1},{"k":1,"o":{"k":1,"k":2}}]}"#,
        &usual(),
    );
}

#[test]
fn a_token_never_becomes_a_tag() {
    let body = br#"{"__tags__":{"__token__":"se\u0063ret","a":"b"},"__logs__":[{}]}"#;
    let group = taken(body, &usual());
    assert_eq!(group.token, b"secret");
    assert_eq!(group.tags, b"\x32\x06\x0a\x01a\x12\x01b");
}

#[test]
fn names_of_ours_are_left_out_and_counted() {
    let body = r#"{"__tags__":{"__client_ip__":"1.2.3.4","__receive_time__":null,"__pack_id__":{},"ok":1},"__logs__":[{"__topic__":"x","__source__":1,"__partition_time__":1,"_extract_others_":1,"__extract_others__":1,"__client_time__":"1","__pack_id__":"A-1","__tag__:__client_ip__":"1.2.3.4","\u005f_topic__x":"kept","_":"kept"}]}"#;
    let group = taken(body.as_bytes(), &usual());
    assert_eq!(group.reserved_fields, 11);
    assert_eq!(group.tags, b"\x32\x07\x0a\x02ok\x12\x011");
    assert_eq!(
        contents(body, &usual()),
        pairs(&[("__topic__x", "kept"), ("_", "kept")])
    );
}

#[test]
fn a_time_is_taken_as_seconds_or_milliseconds_from_a_number_or_text() {
    let at = |time: &str| {
        times(
            &one_log(&format!(r#""a":1,"__time__":{time},"b":2"#)),
            &usual(),
        )
    };
    let earlier = u32::try_from(RECEIVED).unwrap() - 100;
    assert_eq!(at("1781510300"), (earlier, None));
    assert_eq!(at("\"1781510300\""), (earlier, None));
    assert_eq!(at("1781510300.75"), (earlier, None));
    assert_eq!(at("1781510300123"), (earlier, Some(123_000_000)));
    assert_eq!(at("\"1781510300123\""), (earlier, Some(123_000_000)));
    let with_part = r#""__time_ns_part__":5,"__time__":1781510300123"#;
    assert_eq!(times(&one_log(with_part), &usual()), (earlier, Some(5)));
    let bad_part = r#""__time__":1781510300,"__time_ns_part__":1000000000"#;
    assert_eq!(times(&one_log(bad_part), &usual()), (earlier, None));
}

#[test]
fn a_time_outside_the_window_is_replaced_and_kept_as_a_field() {
    let received = u32::try_from(RECEIVED).unwrap();
    for time in [
        "1",
        "4102444800",
        "-1",
        "null",
        "\"soon\"",
        "99999999999999999999",
        "1.7e9",
        "{ }",
        "\"\"",
    ] {
        let body = one_log(&format!(r#""a":1,"__time__":{time},"__time_ns_part__":5"#));
        assert_eq!(times(&body, &usual()), (received, None), "{time}");
        assert_eq!(taken(body.as_bytes(), &usual()).times_replaced, 1);
        let text = time.trim_matches('"').replace(' ', "");
        let expected = pairs(&[("a", "1"), ("__client_time__", &text)]);
        assert_eq!(contents(&body, &usual()), expected);
    }
}

#[test]
fn a_time_outside_the_window_is_refused_where_the_configuration_says_so() {
    let (old, fresh) = (RECEIVED - 61, RECEIVED - 60);
    let body = |time: u64| one_log(&format!(r#""__time__":{time}"#));
    taken(body(fresh).as_bytes(), &tight());
    let message = refused(body(old).as_bytes(), &tight(), Reason::TimeOutOfRange);
    assert!(message.contains("/__logs__/0/__time__"), "{message}");
    refused(
        one_log(r#""__time__":"x""#).as_bytes(),
        &tight(),
        Reason::TimeOutOfRange,
    );
}
