//! What guards remember: names of events, and distinct values.

use super::*;

fn dedup(fields: &[&str]) -> Rule {
    Rule {
        dedup: Some(Dedup {
            fields: fields.iter().map(|&name| name.to_owned()).collect(),
            max_ids: 1000,
            ..Dedup::default()
        }),
        ..Rule::default()
    }
}

/// The hook sends the queue and does not empty it, so the timer sends the same events again, with
/// one that came in between.
#[test]
fn the_unload_hook_sends_events_twice_and_they_are_stored_once() {
    let guards = guards(&dedup(&["id"]));
    let first = group(&[
        &[("id", "a")],
        &[("id", "b")],
        &[("id", "a")],
        &[("x", "y")],
    ]);
    let judged = judge(&guards, &ask(&first));
    assert_eq!(judged.duplicates, [2]);
    assert_eq!(judged.reservation.len(), 2);
    judged.reservation.confirm();
    let copy = group(&[
        &[("id", "a")],
        &[("id", "b")],
        &[("id", "")],
        &[("id", "c")],
    ]);
    let judged = judge(&guards, &ask(&copy));
    assert_eq!((&*judged.duplicates, &*judged.held), (&[0, 1][..], &[][..]));
    assert!(judged.faults.is_empty());
    // The request is refused after all: only what came with it may come again.
    drop(judged);
    assert_eq!(judge(&guards, &ask(&copy)).duplicates, [0, 1]);
    let cells = &guards.cells().dedup;
    assert_eq!((cells.dropped.get(), cells.unnamed.get()), (5, 3));
}

#[test]
fn whole_events_are_named_by_content_sender_and_turn() {
    let guards = guards(&dedup(&[]));
    let click: Fields<'_> = &[("event", "click")];
    let twice = group(&[click, click]);
    let judged = judge(&guards, &ask(&twice));
    assert_eq!(judged.duplicates, [0u32; 0], "a user may click twice");
    judged.reservation.confirm();
    assert_eq!(judge(&guards, &ask(&twice)).duplicates, [0, 1]);
    let thrice = group(&[click, click, click]);
    assert_eq!(judge(&guards, &ask(&thrice)).duplicates.len(), 2);
    let other = Ask {
        sender: 8,
        ..ask(&twice)
    };
    assert_eq!(judge(&guards, &other).duplicates, [0u32; 0]);
    let mut later = EventGroup::default();
    put(&mut later, NOW + 1, click);
    assert_eq!(judge(&guards, &ask(&later)).duplicates, [0u32; 0]);
    let mut topic = twice.clone();
    topic.topic.push(b'x');
    assert_eq!(judge(&guards, &ask(&topic)).duplicates, [0u32; 0]);
}

#[test]
fn the_time_need_not_count_and_senders_can_be_apart() {
    let mut rule = dedup(&[]);
    rule.dedup.as_mut().unwrap().ignore_time = true;
    let whole = guards(&rule);
    judge(&whole, &ask(&group(&[&[("n", "1")]])))
        .reservation
        .confirm();
    let mut later = EventGroup::default();
    put(&mut later, NOW + 3, &[("n", "1")]);
    assert_eq!(judge(&whole, &ask(&later)).duplicates, [0]);
    for (per_sender, wanted) in [(false, vec![0]), (true, vec![])] {
        let mut rule = dedup(&["id", "seq"]);
        rule.dedup.as_mut().unwrap().per_sender = per_sender;
        let guards = guards(&rule);
        let one = group(&[&[("id", "a"), ("seq", "1")]]);
        judge(&guards, &ask(&one)).reservation.confirm();
        let other = Ask {
            sender: 8,
            ..ask(&one)
        };
        assert_eq!(judge(&guards, &other).duplicates, wanted);
        let shifted = group(&[&[("id", "a1"), ("seq", "")], &[("id", "a"), ("seq", "11")]]);
        assert_eq!(judge(&guards, &ask(&shifted)).duplicates, [0u32; 0]);
    }
}

#[test]
fn a_request_that_is_under_way_holds_its_events_and_one_that_dies_gives_them_back() {
    let guards = guards(&dedup(&["id"]));
    let events = group(&[&[("id", "a")], &[("id", "b")]]);
    let mut first = judge(&guards, &ask(&events));
    let second = judge(&guards, &ask(&events));
    assert_eq!((&*second.held, &*second.duplicates), (&[0, 1][..], &[][..]));
    drop(second);
    // A limit took the second event out.
    first.reservation.keep(|event| event == 0);
    first.reservation.confirm();
    let third = judge(&guards, &ask(&events));
    assert_eq!((&*third.duplicates, third.reservation.len()), (&[0][..], 1));
    let died = std::thread::spawn({
        let guards = Arc::clone(&guards);
        move || {
            let events = group(&[&[("id", "c")]]);
            let _judged = judge(&guards, &ask(&events));
            std::panic::resume_unwind(Box::new(()));
        }
    });
    assert!(died.join().is_err());
    let again = group(&[&[("id", "c")]]);
    assert_eq!(judge(&guards, &ask(&again)).reservation.len(), 1);
    drop(third);
    assert_eq!(guards.figures().ids, Some([1, 1000]));
}

#[test]
fn at_the_bound_events_pass_and_are_counted() {
    let mut rule = dedup(&["id"]);
    rule.dedup.as_mut().unwrap().max_ids = 10;
    let guards = guards(&rule);
    let send = |id: &str, millis| {
        let group = group(&[&[("id", id)]]);
        let asked = Ask {
            millis,
            ..ask(&group)
        };
        let judged = judge(&guards, &asked);
        let passed = judged.duplicates.is_empty() && judged.held.is_empty();
        judged.reservation.confirm();
        passed
    };
    for n in 0..10 {
        assert!(send(&n.to_string(), 0));
    }
    assert!(
        send("x", 1) && send("x", 2),
        "there is no room to remember it"
    );
    assert_eq!(guards.cells().dedup.untracked.get(), 2);
    assert!(!send("3", 600_000), "what was remembered stays");
    // A window and an eighth later there is room again.
    assert!(send("x", 675_001) && !send("x", 675_002) && send("3", 675_003));
}

/// Threads send the same requests at once, and again when they are told that an event is held: each
/// event is taken once.
#[test]
fn of_requests_at_once_exactly_one_passes() {
    const IDS: usize = 2000;
    let mut rule = dedup(&["id"]);
    rule.dedup.as_mut().unwrap().max_ids = 2000;
    let guards = guards(&rule);
    let taken: Vec<AtomicUsize> = (0..IDS).map(|_| AtomicUsize::new(0)).collect();
    let lost = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            let (guards, taken, lost) = (&guards, &taken, &lost);
            scope.spawn(move || {
                let mut work = Work::default();
                for n in 0..IDS / 2 {
                    let ids = [n, n + IDS / 2].map(|id| id.to_string());
                    let events = group(&[&[("id", &ids[0])], &[("id", &ids[1])]]);
                    loop {
                        let judged = guards.judge(&ask(&events), &mut work);
                        if !judged.held.is_empty() {
                            std::thread::yield_now();
                            continue;
                        }
                        // Some requests are refused after they were judged, and sent again.
                        if (n + thread) % 3 == 0 && lost.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
                            drop(judged);
                            continue;
                        }
                        for (event, id) in [n, n + IDS / 2].into_iter().enumerate() {
                            let event = u32::try_from(event).unwrap();
                            if !judged.duplicates.contains(&event) {
                                taken[id].fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        judged.reservation.confirm();
                        break;
                    }
                }
            });
        }
    });
    assert!(taken.iter().all(|n| n.load(Ordering::Relaxed) == 1));
    assert_eq!(guards.figures().ids, Some([2000, 2000]));
}

fn bounded(max: u32, at_bound: AtBound) -> Rule {
    Rule {
        cardinality: vec![Cardinality {
            field: "page".to_owned(),
            max,
            window: Span::secs(80),
            at_bound,
            replacement: "__other__".to_owned(),
        }],
        ..Rule::default()
    }
}

#[test]
fn a_field_has_so_many_values_and_no_more() {
    let refusing = guards(&bounded(3, AtBound::Refuse));
    let send = |guards: &Arc<Guards>, page: &str, millis| {
        let group = group(&[&[("page", page)]]);
        let asked = Ask {
            millis,
            ..ask(&group)
        };
        let judged = judge(guards, &asked);
        let passed = judged.faults.is_empty();
        judged.reservation.confirm();
        passed
    };
    for page in ["a", "b", "", "a", "b"] {
        assert!(send(&refusing, page, 0));
    }
    assert!(!send(&refusing, "d", 0));
    assert!(send(&refusing, "a", 60_000), "a known value is seen again");
    assert!(!send(&refusing, "d", 80_000));
    assert!(send(&refusing, "d", 90_000), "b was not seen for a window");
    assert!(send(&refusing, "a", 90_000) && send(&refusing, "e", 90_000));
    assert!(!send(&refusing, "b", 90_000));
    let figures = &refusing.figures().values[0];
    assert_eq!(figures.field, "page");
    assert_eq!((figures.distinct, figures.max), (3, 3));
    assert_eq!(figures.beyond, [3, 0, 0]);
    let judged = judge(&refusing, &ask(&group(&[&[("x", "b")]])));
    assert!(judged.faults.is_empty(), "an event without the field");

    let replacing = guards(&bounded(1, AtBound::Replace));
    let group = group(&[
        &[("page", "a")],
        &[("page", "b"), ("n", "1")],
        &[("page", "a")],
    ]);
    let (count, mended) = repaired(&replacing, &ask(&group));
    assert_eq!(count, 1);
    assert_eq!(read(&mended)[1][0].1, "__other__");
    assert_eq!(read(&mended)[2], read(&group)[2]);
    assert_eq!(replacing.figures().values[0].beyond, [0, 1, 0]);
}

#[test]
fn values_of_refused_events_take_no_room() {
    let guards = guards(&bounded(1, AtBound::Refuse));
    let page = |name: &str| group(&[&[("page", name)]]);
    let (a, b) = (page("a"), page("b"));
    let first = judge(&guards, &ask(&a));
    let also = judge(&guards, &ask(&a));
    assert!(also.faults.is_empty() && also.reservation.len() == 1);
    drop(first);
    assert_eq!(
        judge(&guards, &ask(&b)).faults.len(),
        1,
        "another still holds it"
    );
    drop(also);
    let judged = judge(&guards, &ask(&b));
    assert!(judged.faults.is_empty());
    judged.reservation.confirm();
    assert_eq!(judge(&guards, &ask(&a)).faults.len(), 1);
}

#[test]
fn threads_share_the_bound_of_values() {
    const MAX: u32 = 10_000;
    let guards = guards(&bounded(MAX, AtBound::Refuse));
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (guards, passed) = (&guards, &passed);
            scope.spawn(move || {
                let mut work = Work::default();
                for n in 0..5000 {
                    let value = format!("{thread}-{n}");
                    let events = group(&[&[("page", &value)]]);
                    let judged = guards.judge(&ask(&events), &mut work);
                    passed.fetch_add(usize::from(judged.faults.is_empty()), Ordering::Relaxed);
                    judged.reservation.confirm();
                }
            });
        }
    });
    assert_eq!(passed.into_inner(), 10_000);
}

#[test]
fn a_reload_keeps_what_was_seen_where_the_rule_is_the_same() {
    let seed = seed_of(3);
    let mut rule = bounded(1, AtBound::Refuse);
    rule.dedup = dedup(&["id"]).dedup;
    let before = Guards::new(&rule, &seed, None).unwrap();
    let events = group(&[&[("page", "a"), ("id", "1")]]);
    judge(&before, &ask(&events)).reservation.confirm();
    rule.key_pattern = Some("[a-z]+".to_owned());
    let after = Guards::new(&rule, &seed, Some(&before)).unwrap();
    assert_eq!(judge(&after, &ask(&events)).duplicates, [0]);
    let other = group(&[&[("page", "b"), ("id", "2")]]);
    assert_eq!(judge(&after, &ask(&other)).faults.len(), 1);
    rule.cardinality[0].max = 2;
    let wider = Guards::new(&rule, &seed, Some(&after)).unwrap();
    assert!(judge(&wider, &ask(&other)).faults.is_empty());
    assert_eq!(wider.cells().dedup.dropped.get(), 1, "counts go on");

    let mut config = Config::quickstart();
    config.projects[0].logstores[0].guards = rule;
    let running = StandingGuards::new(&config, 5, &Secret::new([7; 32])).unwrap();
    let of = |set: &GuardSet| {
        let project = config.projects[0].name.as_str();
        set.of(project, config.projects[0].logstores[0].name.as_str())
            .unwrap()
    };
    judge(&of(&running.set()), &ask(&events))
        .reservation
        .confirm();
    running.take_over(running.prepare(&config).unwrap());
    assert_eq!(judge(&of(&running.set()), &ask(&events)).duplicates, [0]);
    assert_ne!(
        running.sender(&[b"ab", b"c"]),
        running.sender(&[b"a", b"bc"])
    );
}

/// Ten million ids go by: memory is what was taken at the start, and the count within the bound.
#[test]
fn memory_is_fixed_whatever_comes() {
    let recent = Recent::new(1000, 8000, Purpose::Ids);
    let slots = recent.slots();
    for id in 1..10_000_000u64 {
        let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let millis = id / 100;
        if recent.see(hash, millis) == Fresh {
            recent.confirm(hash, millis);
        }
        if id.is_multiple_of(100_000) {
            assert!(recent.count() <= 1000);
        }
    }
    assert_eq!(recent.slots(), slots);
    assert_eq!(
        slots as u64 * 12,
        crate::config::RecentShape::of(1000).bytes()
    );
}

#[derive(Clone, Debug)]
enum Step {
    Send { ids: Vec<u8>, taken: bool },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (prop::collection::vec(0u8..60, 1..6), any::<bool>())
            .prop_map(|(ids, taken)| Step::Send { ids, taken }),
        1 => (1u64..700_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// For any order of requests: an id that was confirmed does not pass within its window, and one
    /// that was not, or long ago, passes.
    #[test]
    fn ids_pass_once_in_a_window(steps in prop::collection::vec(step(), 1..80)) {
        const WINDOW: u64 = 600_000;
        let guards = guards(&dedup(&["id"]));
        let mut confirmed: HashMap<u8, u64> = HashMap::new();
        let mut now = 0;
        for step in steps {
            let (ids, taken) = match step {
                Step::Wait(millis) => { now += millis; continue }
                Step::Send { ids, taken } => (ids, taken),
            };
            let names: Vec<String> = ids.iter().map(u8::to_string).collect();
            let fields: Vec<[(&str, &str); 1]> = names.iter().map(|n| [("id", n.as_str())]).collect();
            let events: Vec<Fields<'_>> = fields.iter().map(|f| f.as_slice()).collect();
            let group = group(&events);
            let judged = judge(&guards, &Ask { millis: now, ..ask(&group) });
            prop_assert!(judged.held.is_empty());
            let mut here = HashSet::new();
            for (index, id) in (0u32..).zip(&ids) {
                let dropped = judged.duplicates.contains(&index);
                let age = confirmed.get(id).map(|at| now - at);
                let again = !here.insert(*id);
                match age {
                    _ if again => prop_assert!(dropped),
                    Some(age) if age <= WINDOW => prop_assert!(dropped),
                    Some(age) if age <= WINDOW * 9 / 8 => {}
                    _ => prop_assert!(!dropped),
                }
                if taken && !dropped {
                    confirmed.insert(*id, now);
                }
            }
            if taken { judged.reservation.confirm() }
        }
    }

    /// A table under any order of sights, confirmations and releases is what a map would be.
    #[test]
    fn the_table_is_a_set(
        steps in prop::collection::vec((0u64..40, 0u8..3, 0u64..300), 1..300),
        spread in any::<bool>(),
    ) {
        let recent = Recent::new(30, 8000, Purpose::Values);
        let mut model: HashMap<u64, (u32, bool, u64)> = HashMap::new();
        let mut now = 0;
        for (key, act, wait) in steps {
            now += wait;
            let tick = now / 1000;
            model.retain(|_, (holders, _, seen)| *holders > 0 || tick - *seen <= 8);
            // Keys that all begin at one slot, or anywhere.
            let hash = if spread { key.wrapping_mul(0x9e37_79b9_7f4a_7c15) } else { key << 6 }.max(1);
            let full = model.len() >= 30;
            let entry = model.get_mut(&hash);
            match (act, entry) {
                (0, Some((holders, confirmed, seen))) => {
                    let wanted = if *confirmed { Known } else { Held };
                    prop_assert_eq!(recent.see(hash, now), wanted);
                    if *confirmed { *seen = tick } else { *holders += 1 }
                }
                (0, None) => {
                    let wanted = if full { Full } else { Fresh };
                    prop_assert_eq!(recent.see(hash, now), wanted);
                    if !full { model.insert(hash, (1, false, tick)); }
                }
                (1, Some((holders, confirmed, seen))) if *holders > 0 => {
                    recent.confirm(hash, now);
                    *holders -= 1;
                    (*confirmed, *seen) = (true, tick);
                }
                (2, Some((holders, confirmed, _))) if *holders > 0 => {
                    recent.release(hash);
                    *holders -= 1;
                    if *holders == 0 && !*confirmed { model.remove(&hash); }
                }
                _ => {}
            }
        }
        // Whatever is left of the model is in the table, and nothing else.
        let tick = now / 1000;
        model.retain(|_, (holders, _, seen)| *holders > 0 || tick - *seen <= 8);
        for (hash, (_, confirmed, _)) in &model {
            let wanted = if *confirmed { Known } else { Held };
            prop_assert_eq!(recent.see(*hash, now), wanted);
        }
        let extra = u64::from(recent.see(u64::MAX, now) == Fresh);
        prop_assert_eq!(recent.count(), model.len() as u64 + extra);
    }

    /// Mending makes an event that passes, whatever it was.
    #[test]
    fn what_was_mended_passes(
        fields in prop::collection::vec(("(?s)[a-c\0\n\u{85}\u{202e}]{1,3}", "(?s).{0,40}"), 0..12),
    ) {
        let rule = Rule {
            duplicate_keys: DuplicateKeys::Last,
            reserved_prefixes: vec!["ab".to_owned()],
            reserved_keys: ReservedKeys::Drop,
            line_breaks: false,
            ..all_on(Letters::Replace)
        };
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
        let group = group(&[&fields, &[("z", "1")]]);
        let (_, mended) = repaired(&guards(&rule), &ask(&group));
        let strict = Rule {
            reserved_prefixes: rule.reserved_prefixes,
            line_breaks: false,
            ..all_on(Letters::Refuse)
        };
        prop_assert_eq!(found(&strict, &mended), []);
        prop_assert_eq!(read(&mended).len(), 2);
        prop_assert!(mended.logs.len() <= group.logs.len());
    }
}
