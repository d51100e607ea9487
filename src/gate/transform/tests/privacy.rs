//! Masks, hashes, signals, samples, and what schemas mark.

use super::{
    apply, assert_fields, compile, compile_with, events, facts, group, key_file, run, run_with,
    small_limits,
};
use crate::config::{Limits, PersonalPattern};
use crate::gate::transform::{Annotation, MaskAction, TransformFacts, Work};

#[test]
fn whole_values_are_masked_by_character() {
    let text =
        "[[t]]\ntype = \"mask\"\nfields = [\"name\", \"x_*\"]\nkeep_first = 1\nkeep_last = 1";
    let event = &[
        ("name", "王小明"),
        ("x_1", "ab"),
        ("x_2", "👩‍👩‍👧z"),
        ("x_3", ""),
        ("b", "plain"),
    ];
    let found = run(text, event);
    // Of a value that is not longer than what stays, nothing stays.
    assert_fields(
        &found,
        &[
            ("name", "王*明"),
            ("x_1", "**"),
            ("x_2", "👩****z"),
            ("x_3", ""),
            ("b", "plain"),
        ],
    );
}

#[test]
fn personal_data_is_masked_inside_all_values() {
    // As docs/transforms.md says: numbers with a checksum first.
    let text = "[[t]]\ntype = \"mask\"\npattern = \"id_card\"\nkeep_last = 2\ncharacter = \"#\"\n\
        [[t]]\ntype = \"mask\"\npattern = \"bank_card\"\nkeep_last = 4\n\
        [[t]]\ntype = \"mask\"\npattern = \"phone\"\nkeep_first = 3\nkeep_last = 4\n\
        [[t]]\ntype = \"mask\"\npattern = \"email\"\nkeep_first = 1";
    let event = &[
        ("a", "call +86 138-0013-8000 or zhang@example.com"),
        ("b", "１３８ ００１３ ８０００"),
        ("c", "110105 19491231 002X"),
        ("d", "4111 1111 1111 1111 / 4111 1111 1111 1112"),
        ("e", "440524188001010015"),
        ("__tag__:__client_ip__", "13800138000"),
    ];
    assert_fields(
        &run(text, event),
        &[
            ("a", "call +86 138-****-8000 or z****@example.com"),
            ("b", "１３８ **** ８０００"),
            ("c", "###### ######## ##2X"),
            ("d", "**** **** **** 1111 / 4111 1111 1111 1112"),
            ("e", "440524188001010015"),
            ("__tag__:__client_ip__", "13800138000"),
        ],
    );
}

#[test]
fn what_an_expression_finds_is_masked() {
    let text =
        "[[t]]\ntype = \"mask\"\nfields = [\"a\"]\nregex = \"[A-Z]{2}[0-9]*\"\nkeep_first = 2";
    let found = run(text, &[("a", "SF123 and sf123, 订单JD9"), ("b", "SF123")]);
    assert_fields(&found, &[("a", "SF*** and sf123, 订单JD*"), ("b", "SF123")]);
}

/// What cannot be masked must not be stored in the clear.
#[test]
fn a_mask_that_does_not_fit_drops_the_field() {
    let text = "[[t]]\ntype = \"mask\"\nfields = [\"a\"]\ncharacter = \"█\"";
    let transforms = compile_with(text, &[], &small_limits()).unwrap();
    let mut group = group(&[&[("a", "123456789012345"), ("b", "1")]]);
    let outcome = apply(&transforms, &mut group);
    assert_eq!(outcome.errors, 1);
    assert_fields(&events(&group)[0], &[("b", "1")]);
}

#[test]
fn a_hash_is_the_one_that_other_tools_compute() {
    let (_file, key) = key_file(b"0123456789abcdef");
    let hash = |more: &str| {
        let text =
            format!("[[t]]\ntype = \"hash\"\nfields = [\"a\", \"b\"]\nkey = \"{key}\"\n{more}");
        run(&text, &[("a", "user-1"), ("b", "user-1"), ("c", "user-1")])
    };
    let plain = hash("");
    // printf user-1 | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(plain[0].1, HASH_OF_USER_1);
    assert_eq!(plain[0].1, plain[1].1);
    assert_eq!(plain[2].1, "user-1");
    assert_eq!(hash("length = 16")[0].1, &HASH_OF_USER_1[..16]);
    let other = hash("encoding = \"base64url\"");
    assert_eq!(other[0].1.len(), 43);
    let apart = hash("by_field = true");
    assert_ne!(apart[0].1, apart[1].1);
}

const HASH_OF_USER_1: &str = "9671a70114c638eedd26dab7f09610bac33c46a8c7ec9de24c68654f8ccce682";

#[test]
fn a_key_that_is_short_or_missing_is_told_and_not_shown() {
    let (_file, key) = key_file(b"hunter2");
    let text = format!("[[t]]\ntype = \"hash\"\nfields = [\"a\"]\nkey = \"{key}\"");
    let problems = compile(&text).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "transform[0].key: has less than 16 bytes"
    );
    let text = "[[t]]\ntype = \"hash\"\nfields = [\"a\"]\nkey = \"file:/nonexistent/key\"";
    assert!(
        compile(text).unwrap_err()[0]
            .message
            .contains("/nonexistent/key")
    );
}

#[test]
fn signals_of_browsers_are_heeded() {
    let gpc = TransformFacts {
        global_privacy_control: true,
        ..facts()
    };
    let dnt = TransformFacts {
        do_not_track: true,
        ..facts()
    };
    let event = &[
        ("user_id", "u"),
        ("b", "1"),
        ("__tag__:__client_ip__", "1.2.3.4"),
    ][..];
    let remove = compile("[[t]]\ntype = \"privacy_signals\"\naction = \"remove_fields\"\nfields = [\"user_*\", \"__tag__:__client_ip__\"]").unwrap();
    for signal in [&gpc, &dnt] {
        assert_fields(&run_with(&remove, event, signal), &[("b", "1")]);
    }
    assert_eq!(run_with(&remove, event, &facts()).len(), 3);
    let (_file, key) = key_file(b"0123456789abcdef");
    let hash = compile(&format!("[[t]]\ntype = \"privacy_signals\"\naction = \"only_hash\"\nfields = [\"user_id\"]\nkey = \"{key}\"")).unwrap();
    assert_eq!(run_with(&hash, event, &gpc)[0].1.len(), 64);
    let drop =
        compile("[[t]]\ntype = \"privacy_signals\"\nsignals = [\"gpc\"]\naction = \"drop_event\"")
            .unwrap();
    assert_eq!(run_with(&drop, event, &dnt).len(), 3);
    let mut events = group(&[event, event]);
    let outcome = drop.apply(&mut events, &gpc, &mut Work::default());
    assert_eq!(
        (outcome.dropped, events.events, events.logs.len()),
        (2, 0, 0)
    );
    assert_eq!(drop.counts().0.dropped[1].get(), 2);
}

#[test]
fn a_sample_is_the_share_that_was_asked_for_and_the_same_each_time() {
    let kept = |text: &str| -> Vec<String> {
        let transforms = compile(text).unwrap();
        let users: Vec<String> = (0..4000).map(|user| format!("u{user}")).collect();
        let mut all = group(&[]);
        for user in &users {
            super::put_event(&mut all, &[("user_id", user.as_str())], None);
        }
        apply(&transforms, &mut all);
        events(&all)
            .into_iter()
            .map(|mut fields| fields.remove(0).1)
            .collect()
    };
    let text = "[[t]]\ntype = \"sample\"\npercent = 25\nby = [\"user_id\"]";
    let first = kept(text);
    assert!((850..1150).contains(&first.len()), "{}", first.len());
    assert_eq!(first, kept(text));
    let (_file, key) = key_file(b"0123456789abcdef");
    let other = kept(&format!("{text}\nkey = \"{key}\""));
    assert_ne!(first, other, "who passes depends on the key");
    assert_eq!(kept("[[t]]\ntype = \"sample\"\npercent = 100").len(), 4000);
    assert_eq!(kept("[[t]]\ntype = \"sample\"\npercent = 0").len(), 0);
    let half = kept("[[t]]\ntype = \"sample\"\npercent = 50").len();
    assert!((1800..2200).contains(&half), "{half}");
}

#[test]
fn all_events_of_one_key_share_their_fate() {
    let text = "[[t]]\ntype = \"sample\"\npercent = 50\nby = [\"user_id\", \"${client_address}\"]";
    let transforms = compile(text).unwrap();
    for user in ["a", "b", "c", "d", "e", "f"] {
        let mut all = group(&[]);
        for event in ["1", "2", "3", "4"] {
            super::put_event(&mut all, &[("user_id", user), ("event", event)], None);
        }
        apply(&transforms, &mut all);
        assert!(all.events == 0 || all.events == 4);
    }
}

#[test]
fn what_a_schema_marks_is_hidden_before_any_step_sees_it() {
    let mark = |field: &str, word: &str| Annotation {
        field: field.to_owned(),
        action: word.parse().unwrap(),
    };
    let marks = [
        mark("name", "mask"),
        mark("id", "hash"),
        mark("secret", "remove"),
        mark("note", "phone"),
    ];
    let text = "[[t]]\ntype = \"add\"\nfield = \"copy\"\nvalue = \"${name}\"";
    let transforms = compile_with(text, &marks, &Limits::default()).unwrap();
    let event = &[
        ("name", "abc"),
        ("id", "7"),
        ("secret", "s"),
        ("note", "tel 13800138000"),
    ];
    let found = run_with(&transforms, event, &facts());
    assert_eq!(found[1].1.len(), 64);
    assert_fields(&found[2..], &[("note", "tel ***********"), ("copy", "***")]);
    assert_eq!(found[0].1, "***");
    assert!("what".parse::<MaskAction>().is_err());
    assert_eq!(
        "email".parse(),
        Ok(MaskAction::Personal(PersonalPattern::Email))
    );
}

/// Two schemas, or two places of one, may mark a field: what one hides the other does not show.
#[test]
fn all_patterns_that_are_marked_hide() {
    let marks = [("note", "email"), ("note", "phone"), ("note", "phone")]
        .into_iter()
        .chain([("name", "hash"), ("name", "phone"), ("name", "mask")]);
    let marks = marks.map(|(field, word)| (field.to_owned(), word.parse().unwrap()));
    let marks = Annotation::of_marks(marks);
    let transforms = compile_with("transform = []", &marks, &Limits::default()).unwrap();
    let event = &[("note", "13800138000 a@b.example"), ("name", "abc")];
    assert_fields(
        &run_with(&transforms, event, &facts()),
        &[("note", "*********** *@b.example"), ("name", "***")],
    );
    assert_eq!(marks.len(), 3);
}

/// Objects and arrays are kept as their JSON, in which any letter may be escaped.
#[test]
fn escaped_texts_inside_json_are_masked() {
    let text = "[[t]]\ntype = \"mask\"\npattern = \"email\"\n\
        [[t]]\ntype = \"mask\"\npattern = \"phone\"\n\
        [[t]]\ntype = \"mask\"\nregex = \"SECRET\"";
    for (value, masked) in [
        (
            r#"{"mail":"a\u0040b.example"}"#,
            r#"{"mail":"*@b.example"}"#,
        ),
        (
            r#" [1, "\u0031\u00338\u00300138000", "\ud83d\ude00\n"]"#,
            r#" [1, "***********", "\ud83d\ude00\n"]"#,
        ),
        (r#"{"\u0053ECRET":"\"\\ \/"}"#, r#"{"******":"\"\\ \/"}"#),
        // Half of a character does not hide the rest; a text with an escape that is none is no JSON.
        (
            r#"["\ud83d a\u0040b.example"]"#,
            "[\"\u{fffd} *@b.example\"]",
        ),
        (
            r#"["\q\uzz a\u0040b.example"]"#,
            r#"["\q\uzz a\u0040b.example"]"#,
        ),
        (
            r#"[warn] "C:\Users\x" a@b.example"#,
            r#"[warn] "C:\Users\x" *@b.example"#,
        ),
        // The letter of an escape is none of the text.
        (
            r#"["\nalice@b.example","\ta@b.example\u0041","x@b.example"]"#,
            r#"["\n*****@b.example","\t*@b.exampleA","*@b.example"]"#,
        ),
        // JSON inside a text of JSON.
        (
            r#"{"a":"{\"m\":\"a\\u0040b.example\"}"}"#,
            r#"{"a":"{\"m\":\"*@b.example\"}"}"#,
        ),
        // Not escaped, beside one that is.
        (
            r#"{"a":"x\ny","b":13800138000}"#,
            r#"{"a":"x\ny","b":***********}"#,
        ),
        (r#"{"a":"a\u0040b.example"#, r#"{"a":"a\u0040b.example"#),
        (r#"{"a":"\"#, r#"{"a":"\"#),
        (r"a\u0040b.example", r"a\u0040b.example"),
    ] {
        assert_fields(&run(text, &[("extra", value)]), &[("extra", masked)]);
    }
}
