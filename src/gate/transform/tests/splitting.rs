//! Steps that make many fields of one.

use super::{apply, assert_fields, compile, compile_with, events, group, run, small_limits};
use crate::gate::transform::{Fault, Transforms};

#[test]
fn members_of_an_object_become_fields() {
    let text = "[[t]]\ntype = \"parse_json\"\nfield = \"d\"\nprefix = \"d_\"";
    let json = r#" {"s":"a\u00e9\n\"", "n":1.50, "b":true, "z":null, "o":{"x":[1, 2]}, "é":"中"} "#;
    assert_fields(
        &run(text, &[("d", json), ("e", "1")]),
        &[
            ("e", "1"),
            ("d_s", "aé\n\""),
            ("d_n", "1.50"),
            ("d_b", "true"),
            ("d_z", "null"),
            ("d_o", "{\"x\":[1, 2]}"),
            ("d_é", "中"),
        ],
    );
    assert_fields(&run(text, &[("e", "1")]), &[("e", "1")]);
}

#[test]
fn inner_objects_may_be_flattened_to_a_depth() {
    let text = "[[t]]\ntype = \"parse_json\"\nfield = \"d\"\nflatten = true\nkeep_source = true";
    let found = run(
        text,
        &[("d", r#"{"a":{"b":{"c":1},"l":[{"x":1}]},"e":{}}"#)],
    );
    assert_fields(&found[1..], &[("a.b.c", "1"), ("a.l", "[{\"x\":1}]")]);
    let deep = format!("{}1{}", "{\"k\":".repeat(10), "}".repeat(10));
    let found = run(text, &[("d", &deep)]);
    assert_fields(&found[1..], &[("k.k.k.k.k.k.k.k", "{\"k\":{\"k\":1}}")]);
}

/// The names come from clients: they take no place that is taken, and none that is not theirs.
#[test]
fn names_of_members_are_not_trusted() {
    let text = "[[t]]\ntype = \"parse_json\"\nfield = \"d\"";
    let found = run(
        text,
        &[("d", r#"{"a":"new","b":"1","b":"2"}"#), ("a", "old")],
    );
    assert_fields(&found, &[("a", "old"), ("b", "1")]);
    for (json, fault) in [
        (r#"{"tenant":"x"}"#, Fault::ReservedName),
        (r#"{"__topic__":"x"}"#, Fault::ReservedName),
        (
            r#"{"x":1,"__tag__:__client_ip__":"x"}"#,
            Fault::ReservedName,
        ),
        (r#"{"":1}"#, Fault::BadName),
        ("[1]", Fault::NotJson),
        ("{} {}", Fault::NotJson),
        ("", Fault::NotJson),
        (r#"{"a":01}"#, Fault::NotJson),
        (r#"{"a":"\ud800"}"#, Fault::NotJson),
    ] {
        fails(&compile(text).unwrap(), &[("d", json)], fault);
    }
    fails(
        &compile(text).unwrap(),
        &[("d", &"{\"a\":".repeat(5000))],
        Fault::NotJson,
    );
    fails(
        &compile(text).unwrap(),
        &[("d", &format!("{{\"a\":{}", "[".repeat(100_000)))],
        Fault::NotJson,
    );
}

#[test]
fn what_is_too_much_leaves_the_event_as_it_was() {
    let text = "[[t]]\ntype = \"parse_json\"\nfield = \"d\"\nmax_fields = 3";
    let transforms = compile(text).unwrap();
    fails(
        &transforms,
        &[("d", r#"{"a":1,"b":2,"c":3,"e":4}"#)],
        Fault::TooManyMembers,
    );
    let transforms = compile_with(text, &[], &small_limits()).unwrap();
    fails(
        &transforms,
        &[
            ("d", r#"{"a":1,"b":2,"c":3}"#),
            ("x", ""),
            ("y", ""),
            ("z", ""),
        ],
        Fault::TooManyFields,
    );
    fails(
        &transforms,
        &[("d", r#"{"a":1,"toolonganame":2}"#)],
        Fault::BadName,
    );
    let text = "[[t]]\ntype = \"split_query\"\nfield = \"d\"\nmax_fields = 2";
    fails(
        &compile(text).unwrap(),
        &[("d", "a=1&b=2&c=3")],
        Fault::TooManyMembers,
    );
}

#[track_caller]
fn fails(transforms: &Transforms, event: &[(&str, &str)], fault: Fault) {
    let mut group = group(&[event]);
    let before = group.clone();
    let errors = transforms.counts().0.steps[0].errors[fault.index()].get();
    let outcome = apply(transforms, &mut group);
    assert_eq!(outcome.errors, 1, "{fault:?}");
    assert!(group == before, "{fault:?} {:?}", events(&group));
    let after = transforms.counts().0.steps[0].errors[fault.index()].get();
    assert_eq!(after, errors + 1, "{fault:?}");
}

#[test]
fn parameters_become_fields() {
    let text =
        "[[t]]\ntype = \"split_query\"\nfield = \"url\"\nprefix = \"q_\"\nkeep_source = false";
    for (url, expected) in [
        (
            "https://a.example/p?x=1&y=a%20b+c&z=%E4%BB%B7&x=2&empty=&bare&=no&%=%4#f?g=1",
            &[
                ("q_x", "1"),
                ("q_y", "a b c"),
                ("q_z", "价"),
                ("q_empty", ""),
                ("q_bare", ""),
                ("q_%", "%4"),
            ][..],
        ),
        ("x=1&&y=2", &[("q_x", "1"), ("q_y", "2")]),
        ("?x=1", &[("q_x", "1")]),
        ("x=https://b.example/", &[("q_x", "https://b.example/")]),
    ] {
        assert_fields(&run(text, &[("url", url)]), expected);
    }
    let none = run(
        &text.replace("false", "true"),
        &[("url", "https://a.example/p=1")],
    );
    assert_fields(&none, &[("url", "https://a.example/p=1")]);
    fails(&compile(text).unwrap(), &[("url", "x=%ff")], Fault::NotText);
    let bare = "[[t]]\ntype = \"split_query\"\nfield = \"url\"";
    fails(
        &compile(bare).unwrap(),
        &[("url", "?a=1&tenant=x")],
        Fault::ReservedName,
    );
}
