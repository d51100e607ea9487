//! For which events steps run, where events go, and what happens when a step fails.

use super::{apply, assert_fields, compile, compile_with, events, group, run, small_limits};
use crate::gate::transform::{Fault, Quarantined};

#[test]
fn a_step_runs_only_when_it_should() {
    for (when, event, runs) in [
        ("equals = \"x\"", &[("a", "x")][..], true),
        ("equals = \"x\"", &[("a", "xy")], false),
        ("equals = \"x\"", &[], false),
        ("equals = \"x\", not = true", &[], true),
        ("glob = \"/pay/*\"", &[("a", "/pay/1")], true),
        ("glob = \"/pay/*\"", &[("a", "/play/1")], false),
        ("matches = \"^v[0-9]+$\"", &[("a", "v12")], true),
        ("matches = \"^v[0-9]+$\"", &[("a", "v12\\n")], false),
        ("exists = true", &[("a", "")], true),
        ("exists = false", &[("a", "")], false),
        ("exists = false", &[], true),
        // Of several fields of one name the last counts, as the store shows it.
        ("equals = \"x\"", &[("a", "x"), ("a", "y")], false),
    ] {
        let text = format!(
            "[[t]]\ntype = \"add\"\nfield = \"ran\"\nvalue = \"1\"\nwhen = {{ field = \"a\", {when} }}"
        );
        let mut event = event.to_vec();
        event.push(("z", "1"));
        let found = run(&text, &event);
        assert_eq!(
            found.iter().any(|(name, _)| name == "ran"),
            runs,
            "{when} {event:?}"
        );
    }
}

#[test]
fn an_event_that_no_step_changes_is_copied_byte_by_byte() {
    let transforms = compile(
        "[[t]]\ntype = \"remove\"\nfields = [\"nothing\"]\n[[t]]\ntype = \"mask\"\npattern = \"email\"\n\
         [[t]]\ntype = \"sample\"\npercent = 100",
    )
    .unwrap();
    let mut group = group(&[&[("a", "1"), ("a", "2")], &[]]);
    let before = group.clone();
    let outcome = apply(&transforms, &mut group);
    assert!(group == before);
    assert_eq!((outcome.changed, outcome.dropped), (0, 0));
    let none = compile_with("transform = []", &[], &small_limits()).unwrap();
    assert!(none.is_empty());
    assert_eq!(apply(&none, &mut group).changed, 0);
    assert!(group == before);
}

#[test]
fn events_are_routed_by_what_is_in_them_and_later_steps_still_run() {
    let transforms = compile(
        "[[t]]\ntype = \"route\"\nlogstore = \"payments\"\nwhen = { field = \"event\", equals = \"pay\" }\n\
         [[t]]\ntype = \"route\"\ntopic = \"pages\"\nwhen = { field = \"event\", glob = \"p*\" }\n\
         [[t]]\ntype = \"mask\"\nfields = [\"name\"]",
    )
    .unwrap();
    let event = |kind| -> [(&'static str, &'static str); 2] { [("event", kind), ("name", "ab")] };
    let (pay, page, click) = (event("pay"), event("page"), event("click"));
    let mut all = group(&[&pay, &click, &page, &pay]);
    let outcome = apply(&transforms, &mut all);
    assert_eq!(all.events, 1);
    assert_fields(&events(&all)[0], &[("event", "click"), ("name", "**")]);
    let [payments, pages] = &outcome.routed[..] else {
        panic!("{outcome:?}");
    };
    assert_eq!(payments.logstore.as_ref().unwrap().as_str(), "payments");
    assert_eq!(
        (payments.group.topic.as_slice(), payments.group.events),
        (&b"topic"[..], 2)
    );
    assert_fields(
        &events(&payments.group)[1],
        &[("event", "pay"), ("name", "**")],
    );
    assert_eq!(
        (pages.logstore.as_ref(), pages.group.topic.as_slice()),
        (None, &b"pages"[..])
    );
    assert_eq!(pages.group.source, b"source");
    assert_eq!(transforms.counts().0.routed.get(), 3);
}

#[test]
fn what_happens_at_a_failure_is_what_the_step_says() {
    let parse = |on_error: &str| {
        let text = format!(
            "[[t]]\ntype = \"mask\"\nfields = [\"name\"]\n\
             [[t]]\ntype = \"parse_json\"\nfield = \"data\"\non_error = \"{on_error}\""
        );
        compile(&text).unwrap()
    };
    let good = &[("data", "{\"x\":1}"), ("name", "ab")][..];
    let bad = &[("data", "{\"x\":1"), ("name", "ab")][..];
    let (keep, drop_field, aside) = (parse("keep"), parse("drop_field"), parse("quarantine"));
    let mut all = group(&[good, bad]);
    let outcome = apply(&keep, &mut all);
    assert_fields(&events(&all)[0], &[("name", "**"), ("x", "1")]);
    assert_fields(&events(&all)[1], &[("data", "{\"x\":1"), ("name", "**")]);
    assert_eq!(outcome.errors, 1);
    let mut all = group(&[good, bad]);
    apply(&drop_field, &mut all);
    assert_fields(&events(&all)[1], &[("name", "**")]);
    let mut all = group(&[good, bad, good]);
    let outcome = apply(&aside, &mut all);
    assert_eq!(all.events, 2);
    assert_eq!(
        outcome.quarantined,
        [Quarantined {
            event: 1,
            step: 1,
            fault: Fault::NotJson
        }]
    );
    assert_eq!(aside.label(1), "parse_json_1");
    // As it came: it can be sent through the steps again.
    assert_fields(&events(&outcome.set_aside)[0], bad);
    assert_eq!(outcome.set_aside.topic, b"topic");
    assert_eq!(aside.counts().0.steps[1].quarantined.get(), 1);
}

#[test]
fn the_label_of_every_fault_is_known() {
    for fault in [
        Fault::TooManyFields,
        Fault::BadName,
        Fault::ReservedName,
        Fault::ValueTooLong,
        Fault::NoRoom,
        Fault::NotText,
        Fault::NotJson,
        Fault::TooManyMembers,
        Fault::Token("signing"),
    ] {
        assert_eq!(Fault::LABELS[fault.index()], fault.label());
    }
    use crate::gate::transform::jwt::{DecodeError, EncodeError};
    for label in EncodeError::LABELS.iter().chain(&DecodeError::LABELS) {
        assert!(Fault::LABELS.contains(label), "{label}");
    }
}
