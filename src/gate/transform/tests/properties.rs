//! Any steps on any events.

use proptest::prelude::*;

use super::{compile_with, events, facts, group, key_file, put_event, small_limits};
use crate::config::Limits;
use crate::event::EventGroup;
use crate::gate::transform::{Transforms, Work};

/// Steps that together reach every kind; fields are few, so that they meet.
fn step() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec!["a", "b", "c", "价", "q.x"]);
    let names = prop::sample::select(vec![
        "\"a\"",
        "\"?\"",
        "\"*\"",
        "\"b\", \"c\"",
        "\"q.*\"",
        "\"__*\"",
        "\"*x*\", \"价\"",
    ]);
    let value = prop::sample::select(vec![
        "",
        "x",
        "${a}${b}",
        "${b}-${client_address}",
        "${价}$$",
        "{\\\"x\\\":1}",
    ]);
    let pattern = prop::sample::select(vec!["email", "phone", "id_card", "bank_card"]);
    let on_error = prop::sample::select(vec!["keep", "drop_field", "quarantine"]);
    (0..16u8, field.clone(), field, names, value, pattern, on_error).prop_map(
        |(kind, field, other, names, value, pattern, on_error)| match kind {
            0 => format!("type = \"add\"\nfield = \"{field}\"\nvalue = \"{value}\"\non_error = \"{on_error}\""),
            1 if field != other => format!("type = \"rename\"\nfrom = \"{field}\"\nto = \"{other}\""),
            2 => format!("type = \"remove\"\nfields = [{names}]"),
            3 => format!("type = \"keep_only\"\nfields = [{names}]"),
            4 => format!("type = \"client_address\"\nfield = \"{field}\"\nform = \"prefix\""),
            5 => format!("type = \"referer\"\nfield = \"{field}\"\nform = \"origin\""),
            6 => format!("type = \"receive_time\"\nfield = \"{field}\"\nformat = \"rfc3339\""),
            7 => format!("type = \"mask\"\nfields = [{names}]\nkeep_first = 1\ncharacter = \"█\"\non_error = \"{on_error}\""),
            8 => format!("type = \"mask\"\npattern = \"{pattern}\"\nkeep_last = 2\non_error = \"{on_error}\""),
            9 => format!("type = \"mask\"\nregex = \"[a-m0-4]+|\\\\s\"\nfields = [{names}]\non_error = \"{on_error}\""),
            10 => format!("type = \"hash\"\nfields = [{names}]\nkey = \"KEY\"\nlength = 16\non_error = \"{on_error}\""),
            11 => format!("type = \"parse_json\"\nfield = \"{field}\"\nflatten = true\nprefix = \"q.\"\non_error = \"{on_error}\""),
            12 => format!("type = \"split_query\"\nfield = \"{field}\"\nkeep_source = false\non_error = \"{on_error}\""),
            13 => format!("type = \"sample\"\npercent = 80\nby = [\"{field}\"]"),
            14 => format!("type = \"route\"\ntopic = \"t\"\nwhen = {{ field = \"{field}\", exists = true }}"),
            _ => format!("type = \"server_id\"\nfield = \"{field}\"\nwhen = {{ field = \"{other}\", glob = \"*1*\" }}"),
        },
    )
}

fn steps() -> impl Strategy<Value = String> {
    prop::collection::vec(step(), 0..8).prop_map(|steps| {
        let steps: Vec<String> = steps
            .iter()
            .map(|step| format!("[[t]]\n{step}\n"))
            .collect();
        match steps.is_empty() {
            true => "transform = []".to_owned(),
            false => steps.concat(),
        }
    })
}

type Event = Vec<(String, String)>;

/// Events within the small limits, most of whose values mean something to some step.
fn event() -> impl Strategy<Value = Event> {
    let name = prop::sample::select(vec!["a", "b", "c", "价", "q.x", "tenant", "__tag__:"]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "",
            "13800138000",
            "x@y.com",
            "4222222222222",
            "{\"a\":{\"x\":\"1\"}}",
            "{\"tenant\":1}",
            "a=1&b=%41",
            "?tenant=1",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,10}",
    ];
    prop::collection::vec((name.prop_map(str::to_owned), value), 0..=4)
        .prop_filter("values are within the limits", |event| {
            event.iter().all(|(_, value)| value.len() <= 32)
        })
}

fn all_of(list: &[Event]) -> EventGroup {
    let mut all = group(&[]);
    for event in list {
        let event: Vec<(&str, &str)> = event
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        put_event(&mut all, &event, Some(5));
    }
    all
}

fn compiled(text: &str, limits: &Limits) -> Transforms {
    let (_file, key) = key_file(b"0123456789abcdef");
    compile_with(&text.replace("KEY", &key), &[], limits).unwrap()
}

fn within(group: &EventGroup, limits: &Limits) -> Result<(), TestCaseError> {
    for event in events(group) {
        prop_assert!(event.len() <= limits.fields as usize, "{event:?}");
        for (name, value) in event {
            prop_assert!(
                !name.is_empty() && name.len() <= limits.key.as_usize(),
                "{name:?}"
            );
            prop_assert!(value.len() <= limits.value.as_usize(), "{value:?}");
        }
    }
    Ok(())
}

proptest! {
    /// What leaves is well-formed (`events` sees to it, and to the time), within the limits, and every
    /// event is somewhere.
    #[test]
    fn any_steps_leave_events_in_order(text in steps(), list in prop::collection::vec(event(), 1..6)) {
        let limits = small_limits();
        let transforms = compiled(&text, &limits);
        let mut all = all_of(&list);
        let before = all.logs.len();
        let count = all.events;
        let mut work = Work::default();
        let outcome = transforms.apply(&mut all, &facts(), &mut work);
        let elsewhere: u32 = outcome.routed.iter().map(|routed| routed.group.events).sum();
        prop_assert_eq!(all.events + outcome.dropped + outcome.set_aside.events + elsewhere, count);
        prop_assert_eq!(outcome.quarantined.len(), outcome.set_aside.events as usize);
        within(&all, &limits)?;
        within(&outcome.set_aside, &limits)?;
        let mut after = all.logs.len() + outcome.set_aside.logs.len();
        for routed in &outcome.routed {
            within(&routed.group, &limits)?;
            after += routed.group.logs.len();
        }
        prop_assert!(after <= before + limits.body.as_usize() + 2 * list.len());
        for (aside, event) in events(&outcome.set_aside).into_iter().zip(&outcome.quarantined) {
            prop_assert_eq!(&aside, &list[event.event as usize]);
        }
        // The buffers carry nothing from one request to the next.
        let mut again = all_of(&list);
        transforms.apply(&mut again, &facts(), &mut work);
        prop_assert!(again == all);
    }

    #[test]
    fn taking_away_twice_is_taking_away_once(
        kind in prop::sample::select(vec!["remove", "keep_only"]),
        names in prop::sample::select(vec!["\"a\"", "\"?\"", "\"q*\", \"b\"", "\"__*\"", "\"*\""]),
        list in prop::collection::vec(event(), 1..4),
    ) {
        let transforms = compiled(&format!("[[t]]\ntype = \"{kind}\"\nfields = [{names}]"), &small_limits());
        let mut once = all_of(&list);
        transforms.apply(&mut once, &facts(), &mut Work::default());
        let mut twice = once.clone();
        let outcome = transforms.apply(&mut twice, &facts(), &mut Work::default());
        prop_assert!(twice == once);
        prop_assert_eq!((outcome.changed, outcome.dropped), (0, 0));
    }
}
