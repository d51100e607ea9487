//! JSON bodies by name: limits, and what a refusal says.

use tollgate::config::Limits;
use tollgate::event::{EventGroup, Reason};
use tollgate::front::transcode::{self, Context, Rules};

use super::agree::{RECEIVED, check_json, check_json_under, json, usual};
use super::json_bodies::{contents, one_log, refused, taken};
use super::reference::Setting;

#[test]
fn nesting_past_the_limit_is_refused_and_never_overflows_the_stack() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        one_log(&format!(r#""a":{open}{close}"#))
    };
    taken(nested(61).as_bytes(), &usual());
    refused(nested(62).as_bytes(), &usual(), Reason::TooDeep);
    refused(nested(10_000).as_bytes(), &usual(), Reason::TooDeep);
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        for before in ["", "{\"x\":", "{\"__logs__\":[{\"a\":"] {
            let body = format!("{before}{}", open.repeat(1_000_000));
            let refusal = json(body.as_bytes(), &usual()).unwrap_err();
            assert_eq!(refusal.reason(), Reason::TooDeep);
        }
    }
    let flat = Setting {
        limits: Limits {
            depth: 2,
            ..usual().limits
        },
        ..usual()
    };
    taken(br#"{"__logs__":[],"__tags__":{"a":1}}"#, &flat);
    refused(br#"{"__logs__":[{}]}"#, &flat, Reason::TooDeep);
}

#[test]
fn a_million_keys_are_refused_at_the_limit_and_a_thousand_are_taken() {
    let with_keys = |count: usize| {
        let members: Vec<_> = (0..count)
            .map(|index| format!(r#""key{index}":1"#))
            .collect();
        one_log(&members.join(","))
    };
    assert_eq!(contents(&with_keys(1024), &usual()).len(), 1024);
    let message = refused(with_keys(1025).as_bytes(), &usual(), Reason::TooManyFields);
    assert!(
        message.contains("1025 is above the limit of 1024"),
        "{message}"
    );
    let refusal = json(with_keys(1_000_000).as_bytes(), &usual()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::TooManyFields);
}

#[test]
fn the_number_of_events_is_bounded() {
    let with_events = |count: usize| format!(r#"{{"__logs__":[{}]}}"#, vec!["{}"; count].join(","));
    assert_eq!(taken(with_events(4096).as_bytes(), &usual()).events, 4096);
    refused(
        with_events(4097).as_bytes(),
        &usual(),
        Reason::TooManyEvents,
    );
    let refusal = json(with_events(1_000_000).as_bytes(), &usual()).unwrap_err();
    assert_eq!(refusal.reason(), Reason::TooManyEvents);
}

#[test]
fn a_refused_body_still_says_how_many_events_were_read() {
    let rules = Rules::new(&usual().limits, &usual().time);
    let context = Context {
        rules: &rules,
        received: RECEIVED,
        stamp: b"",
        attached: tollgate::event::AttachedNames::NONE,
        check: None,
    };
    let mut out = EventGroup::default();
    let body = br#"{"__logs__":[{"a":1},{"a":2},{"a":3"#;
    transcode::json(body, &context, &mut out).unwrap_err();
    assert_eq!(out.events, 2);
}

/// Makes a body that holds a text in some place.
type BodyWith = fn(String) -> String;

#[test]
fn keys_values_and_tags_are_taken_up_to_their_limit() {
    let text = |length: usize| "x".repeat(length);
    let cases: [(BodyWith, usize, Reason); 5] = [
        (
            |key| one_log(&format!(r#""{key}":1"#)),
            128,
            Reason::InvalidKey,
        ),
        (
            |value| one_log(&format!(r#""k":"{value}""#)),
            1 << 20,
            Reason::ValueTooLarge,
        ),
        (
            |tag| format!(r#"{{"__tags__":{{"{tag}":1}},"__logs__":[]}}"#),
            128,
            Reason::InvalidKey,
        ),
        (
            |tag| format!(r#"{{"__tags__":{{"t":"{tag}"}},"__logs__":[]}}"#),
            4096,
            Reason::ValueTooLarge,
        ),
        (
            |topic| format!(r#"{{"__topic__":"{topic}","__logs__":[]}}"#),
            128,
            Reason::ValueTooLarge,
        ),
    ];
    for (body, limit, reason) in cases {
        taken(body(text(limit)).as_bytes(), &usual());
        refused(body(text(limit + 1)).as_bytes(), &usual(), reason);
    }
    refused(one_log(r#""":1"#).as_bytes(), &usual(), Reason::InvalidKey);
    let escaped = one_log(&format!(r#""k":"{}""#, r"\u00e9".repeat(1 << 19)));
    taken(escaped.as_bytes(), &usual());
    let tags: Vec<_> = (0..65).map(|tag| format!(r#""{tag}":1"#)).collect();
    let with_tags =
        |tags: &[String]| format!(r#"{{"__tags__":{{{}}},"__logs__":[]}}"#, tags.join(","));
    let with_token = [&tags[..64], &[r#""__token__":"t""#.to_owned()]].concat();
    taken(with_tags(&with_token).as_bytes(), &usual());
    refused(with_tags(&tags).as_bytes(), &usual(), Reason::TooManyFields);
}

#[test]
fn logs_of_every_width_of_length_are_canonical() {
    for length in [
        0,
        90,
        100,
        110,
        120,
        127,
        128,
        16_000,
        16_370,
        16_384,
        20_000,
        1 << 20,
    ] {
        let body = one_log(&format!(r#""k":"{}""#, "v".repeat(length)));
        check_json(body.as_bytes());
    }
}

#[test]
fn a_refusal_says_where() {
    let body = r#"{"__logs__":[{"a":1},{"pr/i~ce":"\x"}]}"#;
    let message = refused(body.as_bytes(), &usual(), Reason::NotJson);
    assert!(
        message.contains("at byte 33 in /__logs__/1/pr~1i~0ce"),
        "{message}"
    );
    let body = r#"{"\u005f_tags__":{"a\nb":1,"a\nb":2},"__logs__":[]}"#;
    let message = refused(body.as_bytes(), &usual(), Reason::DuplicateKey);
    assert!(message.contains("in /__tags__/a\\nb."), "{message}");
    let body = r#"{"x":[1,],"__logs__":[]}"#;
    let message = refused(body.as_bytes(), &usual(), Reason::NotJson);
    assert!(message.contains("at byte 8 in /x."), "{message}");
}

#[test]
fn a_refusal_never_shows_a_token() {
    let body = br#"{"__tags__":{"__token__":"hush","__token__":"hush"},"__logs__":[]}"#;
    let refusal = json(body, &usual()).unwrap_err();
    assert!(!format!("{refusal:?} {refusal}").contains("hush"));
}

#[test]
fn hostile_sizes_agree_with_the_reference() {
    let escapes = one_log(&format!(r#""k":"{}""#, r"\n".repeat(100_000)));
    let spaces = format!("{{\"__logs__\":[{}{{}}]}}", " ".repeat(300_000));
    let long_key = one_log(&format!(r#""{}":1"#, "k".repeat(1 << 20)));
    let long_unknown = format!(r#"{{"{}":1,"__logs__":[]}}"#, r"\u006b".repeat(50_000));
    for body in [escapes, spaces, long_key, long_unknown] {
        check_json_under(body.as_bytes(), &usual());
    }
}
