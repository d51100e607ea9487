//! Tests of guards: what each finds and mends, and what is remembered of requests.

mod remembering;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::recent::Sight::{Fresh, Full, Held, Known};
use super::*;
use crate::config::{
    AtBound, Config, DuplicateKeys, LimitMode, OutsideWindow, ReservedKeys, TimeWindow,
};
use crate::event::{AttachedNames, EventGroup, FieldPlaces, LOGS_TAG, MAX_TOLD, MAX_VIOLATIONS};
use crate::foundation::secret::Secret;
use crate::foundation::wire;
use crate::gate::quota::seed_of;

const NOW: u64 = 1_781_510_400;

type Fields<'a> = &'a [(&'a str, &'a str)];

fn content(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut inner = Vec::new();
    wire::put_bytes(&mut inner, 0x0a, name.as_bytes());
    wire::put_bytes(&mut inner, 0x12, value.as_bytes());
    wire::put_bytes(out, 0x12, &inner);
}

fn put(group: &mut EventGroup, seconds: u64, fields: Fields<'_>) {
    let mut log = vec![0x08];
    wire::put_varint(&mut log, seconds);
    for (name, value) in fields {
        content(&mut log, name, value);
    }
    wire::put_bytes(&mut group.logs, LOGS_TAG, &log);
    group.events += 1;
}

fn group(events: &[Fields<'_>]) -> EventGroup {
    let mut group = EventGroup::default();
    for fields in events {
        put(&mut group, NOW, fields);
    }
    group
}

fn ask(group: &EventGroup) -> Ask<'_> {
    Ask {
        group,
        stamp: b"",
        attached: AttachedNames::NONE,
        received: NOW,
        millis: 1000,
        sender: 7,
        turn: 0,
    }
}

fn guards(rule: &Rule) -> Arc<Guards> {
    Guards::new(rule, &seed_of(1), None).unwrap()
}

fn judge(guards: &Arc<Guards>, ask: &Ask<'_>) -> Judged {
    guards.judge(ask, &mut Work::default())
}

/// Keyword and pointer of every violation of the one event of a group.
fn found(rule: &Rule, group: &EventGroup) -> Vec<(String, String)> {
    let judged = judge(&guards(rule), &ask(group));
    let violations = judged.faults.iter().flat_map(|fault| &fault.violations);
    violations
        .map(|it| (it.keyword.to_string(), it.pointer.clone()))
        .collect()
}

fn read(group: &EventGroup) -> Vec<Vec<(String, String)>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut places = FieldPlaces::default();
    let events = group.each_log().map(|place| {
        let logs = &group.logs[..place.end];
        places.read(logs, place.body..place.end);
        let fields = places.of(logs);
        fields
            .iter()
            .map(|field| (text(field.name), text(field.value)))
            .collect()
    });
    events.collect()
}

fn repaired(guards: &Arc<Guards>, ask: &Ask<'_>) -> (u32, EventGroup) {
    let mut work = Work::default();
    let judged = guards.judge(ask, &mut work);
    let mut mended = ask.group.clone();
    let count = guards.repair(&ask.repairing(), &judged, &mut mended, &mut work);
    (count, mended)
}

fn all_on(letters: Letters) -> Rule {
    Rule {
        control_characters: letters,
        direction_characters: letters,
        ..Rule::default()
    }
}

#[test]
fn by_default_nothing_is_found_and_nothing_is_held() {
    let rule = Rule::default();
    assert!(!rule.is_on());
    let group = group(&[&[("a\0", "\u{202e}"), ("a\0", "")], &[]]);
    let judged = judge(&guards(&rule), &ask(&group));
    assert!(judged.faults.is_empty() && judged.repairs.is_empty());
    assert!(judged.duplicates.is_empty() && judged.request.is_empty());
    assert!(judged.reservation.is_empty());
    let set = GuardSet::new(&Config::quickstart(), &seed_of(1), &GuardSet::default()).unwrap();
    assert_eq!(set.each().count(), 0);
}

#[test]
fn each_guard_tells_what_it_is_and_where() {
    let rule = Rule {
        key_pattern: Some("[a-z_~/\u{1}]+".to_owned()),
        duplicate_keys: DuplicateKeys::Refuse,
        reserved_prefixes: vec!["sys_".to_owned()],
        required: vec!["event".to_owned()],
        ..all_on(Letters::Refuse)
    };
    let cases: [(Fields<'_>, &str, &str); 9] = [
        (&[("event", "a\0b")], "control_characters", "/event"),
        (&[("event", "a"), ("b\n", "c")], "control_characters", "/b?"),
        (&[("event", "a\u{85}")], "control_characters", "/event"),
        (
            &[("event", "\u{202e}gpj")],
            "direction_characters",
            "/event",
        ),
        (&[("event", "a"), ("Up", "")], "key_pattern", "/Up"),
        (
            &[("event", "a"), ("sys_x", "")],
            "reserved_prefixes",
            "/sys_x",
        ),
        (
            &[("event", "a"), ("x", ""), ("x", "")],
            "duplicate_keys",
            "/x",
        ),
        (&[("event", "")], "required", "/event"),
        (
            &[("a~/", "\u{7f}"), ("event", "a")],
            "control_characters",
            "/a~0~1",
        ),
    ];
    for (fields, keyword, pointer) in cases {
        let wanted = (format!("guard:{keyword}"), pointer.to_owned());
        assert_eq!(found(&rule, &group(&[fields])), [wanted], "{fields:?}");
    }
    assert_eq!(
        found(&rule, &group(&[&[("event", "a\tb\r\n价格 “x”")]])),
        []
    );
    let strict = Rule {
        line_breaks: false,
        ..rule
    };
    assert_eq!(found(&strict, &group(&[&[("event", "a\nb")]])).len(), 1);
    let numbers: HashSet<u16> = Check::ALL.iter().map(|check| check.number()).collect();
    assert_eq!(numbers.len(), Check::ALL.len());
}

#[test]
fn the_time_of_events_has_a_window_of_the_logstore() {
    let clock = |outside| Rule {
        clock: Some(TimeWindow {
            past: Span::secs(60),
            future: Span::secs(5),
            outside,
        }),
        ..Rule::default()
    };
    let mut group = EventGroup::default();
    for seconds in [NOW, NOW - 60, NOW - 61, NOW + 5, NOW + 6] {
        put(&mut group, seconds, &[("n", "1")]);
    }
    // The transcoder has replaced this one's already.
    put(&mut group, NOW, &[("__client_time__", "12")]);
    let judged = judge(&guards(&clock(OutsideWindow::Refuse)), &ask(&group));
    let bad: Vec<u32> = judged.faults.iter().map(|fault| fault.event).collect();
    assert_eq!(bad, [2, 4, 5]);
    assert_eq!(judged.faults[0].violations[0].pointer, "/__time__");
    let guards = guards(&clock(OutsideWindow::Replace));
    let (count, mended) = repaired(&guards, &ask(&group));
    assert_eq!(count, 2);
    let late = (NOW - 61).to_string();
    assert_eq!(read(&mended)[2][0], ("__client_time__".to_owned(), late));
    let again = judge(&guards, &ask(&mended));
    assert!(again.repairs.is_empty() && again.faults.is_empty());
    assert_eq!(guards.cells().of(Check::Clock).repaired.get(), 2);
}

#[test]
fn what_is_told_is_bounded() {
    let rule = Rule {
        key_pattern: Some("[a-z]+".to_owned()),
        ..Rule::default()
    };
    let names: Vec<String> = (0..40).map(|n| format!("{}{n}", "N".repeat(400))).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let events = vec![fields.as_slice(); 40];
    let mut group = group(&events);
    for name in &names {
        group.put_tag(name.as_bytes(), b"v");
    }
    let judged = judge(&guards(&rule), &ask(&group));
    assert_eq!(judged.faults.len(), 40);
    assert_eq!(judged.request.len(), MAX_VIOLATIONS);
    for (index, fault) in judged.faults.iter().enumerate() {
        // A record of the quarantine says why, wherever its event stood.
        let told = if index < MAX_TOLD { MAX_VIOLATIONS } else { 1 };
        assert_eq!(fault.violations.len(), told);
        assert!(fault.hidden > 0);
        let mut texts = fault.violations.iter();
        assert!(texts.all(|it| it.pointer.len() <= 256 && it.message.len() <= 256));
    }
}

#[test]
fn topic_source_and_tags_are_looked_at_too() {
    let rule = Rule {
        reserved_prefixes: vec!["sys_".to_owned()],
        ..all_on(Letters::Refuse)
    };
    let mut group = group(&[&[("n", "1")]]);
    group.topic.extend_from_slice(b"a\0");
    group.put_tag(b"sys_env", b"x");
    group.put_tag(b"app", "\u{202e}".as_bytes());
    group.put_tag(b"sys_tenant", b"ours");
    let attached = AttachedNames::new([].into_iter(), ["sys_tenant"].into_iter());
    let asked = Ask {
        attached: &attached,
        ..ask(&group)
    };
    let judged = judge(&guards(&rule), &asked);
    let pointers: Vec<&str> = judged.request.iter().map(|it| &*it.pointer).collect();
    assert_eq!(
        pointers,
        ["/__topic__", "/__tags__/sys_env", "/__tags__/app"]
    );
    assert!(judged.faults.is_empty());
    let rule = Rule {
        reserved_prefixes: vec!["sys_".to_owned()],
        reserved_keys: ReservedKeys::Drop,
        ..all_on(Letters::Replace)
    };
    let (_, mended) = repaired(&guards(&rule), &asked);
    assert_eq!(mended.topic, b"a?");
    let tags: Vec<(&[u8], &[u8])> = mended.each_tag().collect();
    assert_eq!(tags, [(&b"app"[..], &b"?"[..]), (b"sys_tenant", b"ours")]);
    assert_eq!(mended.reserved_fields, 1);
}

#[test]
fn what_we_add_ourselves_is_not_held_against_the_client() {
    let rule = Rule {
        key_pattern: Some("[a-z]+".to_owned()),
        reserved_prefixes: vec!["__".to_owned()],
        ..Rule::default()
    };
    let mut stamp = Vec::new();
    content(&mut stamp, "__tag__:__client_ip__", "203.0.113.7");
    let fields: Fields<'_> = &[("n", "1"), ("__tag__:__client_ip__", "203.0.113.7")];
    let group = group(&[fields]);
    assert_eq!(found(&rule, &group).len(), 1);
    let stamped = Ask {
        stamp: &stamp,
        ..ask(&group)
    };
    assert!(judge(&guards(&rule), &stamped).faults.is_empty());
}

#[test]
fn events_are_mended_and_nothing_else_is_touched() {
    let rule = Rule {
        duplicate_keys: DuplicateKeys::Last,
        reserved_prefixes: vec!["sys_".to_owned()],
        reserved_keys: ReservedKeys::Drop,
        ..all_on(Letters::Replace)
    };
    let long = "v".repeat(300);
    let group = group(&[
        &[("a", "1"), ("b", &long)],
        &[("a", "x\0y"), ("b\n", "1"), ("c", "\u{202e}z")],
        &[("k", "1"), ("j", "2"), ("k", "3"), ("k", "4")],
        &[("sys_x", "1"), ("sys\u{1}", "1"), ("ok", "1")],
    ]);
    let guards = guards(&rule);
    let (count, mended) = repaired(&guards, &ask(&group));
    assert_eq!(count, 3);
    assert_eq!(mended.events, 4);
    let plain = read(&mended);
    let wanted: [Fields<'_>; 4] = [
        &[("a", "1"), ("b", &long)],
        &[("a", "x?y"), ("b?", "1"), ("c", "?z")],
        &[("j", "2"), ("k", "4")],
        &[("sys?", "1"), ("ok", "1")],
    ];
    for (event, wanted) in plain.iter().zip(wanted) {
        let event: Vec<(&str, &str)> = event.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(event, wanted);
    }
    assert_eq!(mended.reserved_fields, 1);
    let (again, same) = repaired(&guards, &ask(&mended));
    assert!(again == 0 && same == mended);
}

/// A name that is mended must not become one that only we, or the operator, give.
#[test]
fn a_mended_name_is_not_a_way_around_names_of_ours() {
    let rule = Rule {
        reserved_prefixes: vec!["sys?".to_owned()],
        ..all_on(Letters::Replace)
    };
    let attached = AttachedNames::new(["user?id"].into_iter(), [].into_iter());
    let group = group(&[&[
        ("user\u{1}id", "forged"),
        ("sys\u{2}x", "forged"),
        ("n", "1"),
    ]]);
    let asked = Ask {
        attached: &attached,
        ..ask(&group)
    };
    let (_, mended) = repaired(&guards(&rule), &asked);
    assert_eq!(read(&mended), [[("n".to_owned(), "1".to_owned())]]);
    assert_eq!(mended.reserved_fields, 2);
}

#[test]
fn observe_counts_and_touches_nothing_and_a_percentage_is_of_senders() {
    let rule = Rule {
        mode: LimitMode::Observe,
        dedup: Some(Dedup {
            fields: vec!["id".to_owned()],
            ..Dedup::default()
        }),
        ..all_on(Letters::Replace)
    };
    let observing = guards(&rule);
    let group = group(&[&[("id", "1"), ("a", "\0")]]);
    judge(&observing, &ask(&group)).reservation.confirm();
    let (count, same) = repaired(&observing, &ask(&group));
    assert!(count == 0 && same == group);
    let cells = observing.cells();
    assert_eq!(cells.of(Check::ControlCharacters).observed.get(), 2);
    assert_eq!(cells.dedup.observed.get(), 1);
    assert_eq!(cells.dedup.dropped.get(), 0);
    let part = guards(&Rule {
        mode: LimitMode::Enforce,
        percent: 30,
        ..rule
    });
    let enforced = (0..1000u64).filter(|sender| {
        let asked = Ask {
            sender: *sender,
            ..ask(&group)
        };
        judge(&part, &asked).enforced
    });
    assert_eq!(enforced.count(), 300);
}
