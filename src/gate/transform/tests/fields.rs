//! Steps that add, rename and take away.

use super::{apply, assert_fields, compile, compile_with, events, group, run, small_limits};
use crate::gate::transform::Fault;

#[test]
fn a_field_is_added_from_fields_and_facts() {
    let found = run(
        "[[t]]\ntype = \"add\"\nfield = \"line\"\nvalue = \"${a}/${nothing}/${client_address} ${topic} ${source} ${server_id} ${receive_time} $$ é\"",
        &[("a", "价")],
    );
    assert_fields(
        &found,
        &[
            ("a", "价"),
            (
                "line",
                "价//203.0.113.77 topic source edge-1 1781510400 $ é",
            ),
        ],
    );
}

#[test]
fn a_template_with_a_missing_part_may_be_left_out() {
    let text =
        "[[t]]\ntype = \"add\"\nfield = \"line\"\nvalue = \"x${b}\"\nmissing = \"leave_out\"";
    assert_fields(&run(text, &[("a", "1")]), &[("a", "1")]);
    assert_fields(&run(text, &[("b", "1")]), &[("b", "1"), ("line", "x1")]);
}

#[test]
fn what_is_added_takes_the_place_of_all_fields_of_that_name() {
    let text = "[[t]]\ntype = \"add\"\nfield = \"a\"\nvalue = \"new ${a}\"";
    let found = run(text, &[("a", "1"), ("b", "2"), ("a", "3")]);
    assert_fields(&found, &[("b", "2"), ("a", "new 3")]);
}

#[test]
fn a_renamed_field_takes_the_place_of_the_other() {
    let text = "[[t]]\ntype = \"rename\"\nfrom = \"a\"\nto = \"b\"";
    assert_fields(
        &run(text, &[("b", "1"), ("a", "2"), ("c", "3")]),
        &[("b", "2"), ("c", "3")],
    );
    assert_fields(&run(text, &[("b", "1")]), &[("b", "1")]);
    assert_fields(&run(text, &[("a", "1"), ("a", "2")]), &[("b", "2")]);
}

#[test]
fn fields_are_removed_and_kept_by_pattern() {
    let event = &[
        ("utm_source", "1"),
        ("utm_", "2"),
        ("价格", "3"),
        ("b", "4"),
        ("__tag__:__client_ip__", "5"),
    ][..];
    let text = "[[t]]\ntype = \"remove\"\nfields = [\"utm_*\", \"b\"]";
    assert_fields(
        &run(text, event),
        &[("价格", "3"), ("__tag__:__client_ip__", "5")],
    );
    let text = "[[t]]\ntype = \"keep_only\"\nfields = [\"价?\"]";
    assert_fields(
        &run(text, event),
        &[("价格", "3"), ("__tag__:__client_ip__", "5")],
    );
}

/// What only the edge gives is taken away when it is meant, and never by the way.
#[test]
fn the_stamps_of_the_edge_go_only_when_they_are_named() {
    let event = &[("a", "1"), ("tenant", "t"), ("__tag__:__client_ip__", "5")][..];
    let text = "[[t]]\ntype = \"remove\"\nfields = [\"*_ip__\", \"?\"]";
    assert_fields(
        &run(text, event),
        &[("tenant", "t"), ("__tag__:__client_ip__", "5")],
    );
    let text = "[[t]]\ntype = \"remove\"\nfields = [\"__tag__:*\"]";
    assert_fields(&run(text, event), &[("a", "1"), ("tenant", "t")]);
    let text = "[[t]]\ntype = \"keep_only\"\nfields = [\"nothing_else\"]";
    assert_fields(
        &run(text, event),
        &[("tenant", "t"), ("__tag__:__client_ip__", "5")],
    );
}

#[test]
fn an_event_without_a_field_left_is_dropped_and_counted() {
    let transforms = compile("[[t]]\ntype = \"keep_only\"\nfields = [\"a\"]").unwrap();
    let mut events_of = group(&[&[("b", "1")], &[("a", "1")]]);
    let outcome = apply(&transforms, &mut events_of);
    assert_eq!((outcome.dropped, events_of.events), (1, 1));
    assert_eq!(transforms.counts().0.dropped[2].get(), 1);
}

#[test]
fn names_of_the_store_and_of_credentials_cannot_be_written() {
    for text in [
        "[[t]]\ntype = \"add\"\nfield = \"__topic__\"\nvalue = \"x\"",
        "[[t]]\ntype = \"add\"\nfield = \"tenant\"\nvalue = \"x\"",
        "[[t]]\ntype = \"rename\"\nfrom = \"a\"\nto = \"__tag__:__client_ip__\"",
        "[[t]]\ntype = \"client_address\"\nfield = \"__time__\"",
        "[[t]]\ntype = \"parse_json\"\nfield = \"a\"\nprefix = \"__tag__:\"",
    ] {
        let problems = compile(text).unwrap_err();
        assert!(problems[0].to_string().contains("reserved"), "{problems:?}");
    }
}

#[test]
fn nothing_is_added_past_a_limit() {
    let limits = small_limits();
    let add = |field: &str, value: &str| {
        format!("[[t]]\ntype = \"add\"\nfield = \"{field}\"\nvalue = \"{value}\"\n")
    };
    for (text, event, fault) in [
        (
            add("e", "x"),
            &[("a", ""), ("b", ""), ("c", ""), ("d", "")][..],
            Fault::TooManyFields,
        ),
        (
            add("a", "${b}${b}"),
            &[("a", "1"), ("b", "12345678901234567")],
            Fault::ValueTooLong,
        ),
        (add("abcdefghi", "x"), &[("a", "1")], Fault::BadName),
    ] {
        let transforms = compile_with(&text, &[], &limits).unwrap();
        let mut group = group(&[event]);
        let before = group.clone();
        let outcome = apply(&transforms, &mut group);
        assert_eq!(outcome.errors, 1, "{fault:?}");
        assert!(group == before, "{fault:?}: the event stays as it was");
        let (counts, labels) = transforms.counts();
        assert_eq!(counts.steps[0].errors[fault.index()].get(), 1);
        assert_eq!(labels.collect::<Vec<_>>(), ["add_0"]);
    }
}

#[test]
fn the_events_of_a_request_grow_together_by_no_more_than_a_body() {
    let text = "[[t]]\ntype = \"add\"\nfield = \"b\"\nvalue = \"12345678901234567890\"";
    let transforms = compile_with(text, &[], &small_limits()).unwrap();
    let event: &[(&str, &str)] = &[("a", "1")];
    let mut group = group(&[event; 40]);
    let before = group.logs.len();
    let outcome = apply(&transforms, &mut group);
    assert_eq!(events(&group).len(), 40);
    assert!(outcome.errors > 20 && outcome.changed > 5, "{outcome:?}");
    // The heads of events may widen by a byte each.
    assert!(group.logs.len() <= before + 256 + 40);
    let errors = &transforms.counts().0.steps[0].errors;
    assert_eq!(
        errors[Fault::NoRoom.index()].get(),
        u64::from(outcome.errors)
    );
}
