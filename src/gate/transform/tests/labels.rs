//! What steps do to topic, source and tags.

use super::{apply, assert_fields, compile, events, facts, group, key_file};
use crate::event::EventGroup;
use crate::gate::transform::{TransformFacts, Work};

fn tagged() -> EventGroup {
    let mut group = group(&[&[("a", "1")], &[("a", "2")]]);
    group.source = b"13800138000".to_vec();
    group.put_tag(b"mail", b"a@b.example");
    group.put_tag(b"app", b"shop");
    group
}

fn labels(group: &EventGroup) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let tags = group.each_tag();
    let tags = tags.map(|(name, value)| format!(" {}={}", text(name), text(value)));
    format!(
        "{}|{}|{}",
        text(&group.topic),
        text(&group.source),
        tags.collect::<String>()
    )
}

fn after(text: &str) -> String {
    let mut group = tagged();
    let outcome = apply(&compile(text).unwrap(), &mut group);
    assert_eq!((outcome.errors, group.events), (0, 2));
    labels(&group)
}

#[test]
fn steps_reach_topic_source_and_tags_by_name() {
    let all = "topic|13800138000| mail=a@b.example app=shop";
    let remove = |names: &str| after(&format!("[[t]]\ntype = \"remove\"\nfields = [{names}]"));
    assert_eq!(
        remove("\"__tag__:mail\", \"__source__\""),
        "topic|| app=shop"
    );
    assert_eq!(remove("\"__topic__\", \"__tag__:*\""), "|13800138000|");
    assert_eq!(remove("\"b*\", \"mail\""), all);
    let mask = "[[t]]\ntype = \"mask\"\n";
    assert_eq!(
        after(&format!("{mask}fields = [\"__tag__:app\", \"__topic__\"]")),
        "*****|13800138000| mail=a@b.example app=****"
    );
    assert_eq!(
        after(&format!(
            "{mask}pattern = \"phone\"\n[[t]]\ntype = \"mask\"\npattern = \"email\""
        )),
        "topic|***********| mail=*@b.example app=shop"
    );
    let (_file, key) = key_file(b"0123456789abcdef");
    let hashed = after(&format!(
        "[[t]]\ntype = \"hash\"\nfields = [\"__tag__:app\"]\nlength = 8\nkey = \"{key}\""
    ));
    assert!(hashed.starts_with("topic|13800138000| mail=a@b.example app="));
    assert!(!hashed.ends_with("shop"), "{hashed}");
    // A condition is asked of an event.
    let when = "when = { field = \"a\", equals = \"1\" }";
    assert_eq!(
        after(&format!(
            "[[t]]\ntype = \"keep_only\"\nfields = [\"a\"]\n{when}"
        )),
        all
    );
}

#[test]
fn only_tags_that_are_named_or_ours_are_kept() {
    let text = "[[t]]\ntype = \"keep_only\"\nfields = [\"a\", \"__tag__:app\"]";
    assert_eq!(after(text), "topic|13800138000| app=shop");
    let attached = crate::event::AttachedNames::new(["x"].into_iter(), ["mail"].into_iter());
    let seed = crate::foundation::secret::Secret::new([7; 32]);
    let configs = super::configs("[[t]]\ntype = \"keep_only\"\nfields = [\"a\"]");
    let limits = crate::config::Limits::default();
    let steps = super::Transforms::new(&configs, &[], &limits, &attached, &seed).unwrap();
    let mut group = tagged();
    apply(&steps, &mut group);
    assert_eq!(labels(&group), "topic|13800138000| mail=a@b.example");
}

#[test]
fn signals_reach_tags() {
    let text = "[[t]]\ntype = \"privacy_signals\"\nsignals = [\"gpc\"]\naction = \"remove_fields\"\nfields = [\"__tag__:mail\", \"__source__\"]";
    let steps = compile(text).unwrap();
    let mut group = tagged();
    let outcome = apply(&steps, &mut group);
    assert!(!outcome.relabeled && labels(&group).contains("mail"));
    let asked = TransformFacts {
        global_privacy_control: true,
        ..facts()
    };
    let outcome = steps.apply(&mut group, &asked, &mut Work::default());
    assert!(outcome.relabeled);
    assert_eq!(labels(&group), "topic|| app=shop");
}

/// What no step may copy in the clear; and what is set aside is as it came.
#[test]
fn labels_are_hidden_before_the_first_step_and_not_in_what_is_set_aside() {
    let text = "[[t]]\ntype = \"add\"\nfield = \"copy\"\nvalue = \"${topic}\"\n\
        [[t]]\ntype = \"mask\"\nfields = [\"__topic__\"]\n\
        [[t]]\ntype = \"remove\"\nfields = [\"__tag__:mail\"]\n\
        [[t]]\ntype = \"parse_json\"\nfield = \"a\"\non_error = \"quarantine\"\nwhen = { field = \"a\", equals = \"1\" }\n\
        [[t]]\ntype = \"route\"\nlogstore = \"other\"\nwhen = { field = \"a\", equals = \"2\" }";
    let mut group = tagged();
    let outcome = apply(&compile(text).unwrap(), &mut group);
    assert_eq!(group.events, 0);
    let aside = &outcome.set_aside;
    assert_eq!(labels(aside), labels(&tagged()));
    let routed = &outcome.routed[0].group;
    assert_eq!(labels(routed), "*****|13800138000| app=shop");
    assert_fields(&events(routed)[0], &[("a", "2"), ("copy", "*****")]);
}

/// What cannot be hidden goes.
#[test]
fn a_tag_that_cannot_be_masked_is_left_out() {
    let mut group = tagged();
    group.put_tag(b"bad", b"\xff");
    let text = "[[t]]\ntype = \"mask\"\nfields = [\"__tag__:bad\"]";
    let outcome = apply(&compile(text).unwrap(), &mut group);
    assert_eq!(outcome.errors, 1);
    assert_eq!(labels(&group), labels(&tagged()));
}
