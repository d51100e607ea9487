//! What is made compact, and that nothing but white space changes.

use proptest::prelude::*;
use serde_json::Value;

use super::super::json::compact;
use super::*;

fn compacted(text: &[u8]) -> Result<String, JsonFault> {
    let mut out = Vec::new();
    compact(text, &mut out, |_, _| {}).map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn only_white_space_goes() {
    for (text, expected) in [
        ("{}", "{}"),
        (" \t\r\n{ \n } ", "{}"),
        (r#"{ "b" : 1 , "a" : [ 1 , 2 ] }"#, r#"{"b":1,"a":[1,2]}"#),
        (
            r#"{"n":[0,-0,1.50,1E+2,1e-07,12345678901234567890123,1e999]}"#,
            r#"{"n":[0,-0,1.50,1E+2,1e-07,12345678901234567890123,1e999]}"#,
        ),
        (
            r#"{"a b":" c \" d ","\u0061":"\/\u00e9é\ud83d\ude00"}"#,
            r#"{"a b":" c \" d ","\u0061":"\/\u00e9é\ud83d\ude00"}"#,
        ),
        (
            r#"{"":{"":{"":[[],{},true,false,null]}}}"#,
            r#"{"":{"":{"":[[],{},true,false,null]}}}"#,
        ),
        (
            r#"{"a":{"x":1},"b":{"x":1},"x":[{"x":1},{"x":1}]}"#,
            r#"{"a":{"x":1},"b":{"x":1},"x":[{"x":1},{"x":1}]}"#,
        ),
    ] {
        assert_eq!(compacted(text.as_bytes()).unwrap(), expected);
    }
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "{]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":tru}",
        "{\"a\":nul}",
        "{\"a\":truex}",
        "{\"a\":[1,]}",
        "{\"a\":[}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\\ud800\"}",
        "{} {}",
        "{}x",
        "{\"a\":1}//",
        "\u{feff}{}",
        "{\u{a0}}",
        "x",
        "{\"a\":\"",
        "{\"a\":\"\\",
        "{\"a\":\"\\u12",
    ] {
        assert_eq!(
            compacted(text.as_bytes()),
            Err(JsonFault::NotJson),
            "{text}"
        );
    }
    assert_eq!(compacted(b"{\"a\":\"\xc3\"}"), Err(JsonFault::NotJson));
    for text in [r#"{"a":1,"\u0061":2}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#] {
        assert_eq!(compacted(text.as_bytes()), Err(JsonFault::Twice), "{text}");
    }
}

#[test]
fn members_are_told_with_their_names_and_places() {
    let mut out = b"before".to_vec();
    let mut seen = Vec::new();
    let text = r#" { "\u0061" : [ 1 ] , "b" : { "c" : 2 } } "#;
    compact(text.as_bytes(), &mut out, |name, place| {
        seen.push((name.to_owned(), place))
    })
    .unwrap();
    let seen: Vec<_> = seen
        .into_iter()
        .map(|(name, place)| (name, std::str::from_utf8(&out[place]).unwrap()))
        .collect();
    let expected = [("a".to_owned(), "[1]"), ("b".to_owned(), r#"{"c":2}"#)];
    assert_eq!(seen, expected);
}

/// The text of some JSON, with white space here and there.
fn any_json() -> impl Strategy<Value = String> {
    let space = || prop_oneof![Just(""), Just(" "), Just("\n\t")];
    let text = || any::<String>().prop_map(|it| Value::from(it).to_string());
    let leaf = prop_oneof![
        text(),
        any::<i64>().prop_map(|it| it.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned()),
        Just(r#""\u00e9\/\ud83d\ude00""#.to_owned()),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..8), space(), space())
                .prop_map(|(items, a, b)| format!("[{a}{}{b}]", items.join(&format!("{b},{a}")))),
            object(inner),
        ]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let space = || prop_oneof![Just(""), Just(" "), Just("\r\n")];
    let members = prop::collection::btree_map(any::<String>(), value, 0..8);
    // In an order that is not that of the names.
    let members = members.prop_map(|map| map.into_iter().collect::<Vec<_>>());
    (members.prop_shuffle(), space(), space()).prop_map(|(members, a, b)| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, value)| format!("{}{a}:{b}{value}", Value::from(name)))
            .collect();
        format!("{{{b}{}{a}}}", members.join(&format!("{b},{a}")))
    })
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back_byte_for_byte(text in object(any_json())) {
        let token = encode(&secret_encoding(), &text);
        let decoded = decode(&unverified(), &token).unwrap();
        prop_assert_eq!(&decoded, &compacted(text.as_bytes()).unwrap());
        // Compact already: nothing changes any more.
        prop_assert_eq!(&encode(&secret_encoding(), &decoded), &token);
        // The same values as another reader sees, where it can hold the numbers.
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            prop_assert_eq!(serde_json::from_str::<Value>(&decoded).unwrap(), value);
        }
    }

    #[test]
    fn what_is_taken_is_json_for_another_reader(
        text in "[{}\\[\\]\",:0-9eE+.tfn\\\\u \\-a]{0,24}",
        around in any::<bool>(),
    ) {
        let text = if around { format!("{{\"a\":{text}}}") } else { text };
        let ours = compacted(text.as_bytes());
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text);
        match ours {
            Ok(_) => prop_assert!(theirs.is_ok()),
            Err(JsonFault::NotJson) => {
                // They take half surrogate pairs unread.
                prop_assert!(theirs.is_err() || text.contains("\\u"), "{}", text);
            }
            Err(_) => {}
        }
    }

    #[test]
    fn no_text_upsets_the_reader(token in any::<Vec<u8>>(), dots in any::<[u8; 2]>()) {
        let mut token = token;
        for dot in dots {
            let at = usize::from(dot).min(token.len());
            token.insert(at, b'.');
        }
        let mut out = Vec::new();
        prop_assert!(unverified().decode(&token, NOW, &mut out).is_err());
        prop_assert!(out.is_empty());
    }
}
