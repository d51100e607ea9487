//! Tests of requests before the limits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Facts, Quotas, Words};
use super::{Charges, Mixed};
use crate::config::Config;
use crate::event::{EventGroup, Reason, Refusal};

const SECOND: u64 = 1_000_000_000;
const TODAY: u64 = 1_795_305_600;
const PROJECT: &str = "sls-webtracking-mini";
const LOGSTORE: &str = "anonymous-demo";

pub(super) fn quotas(limits: &str) -> Arc<Quotas> {
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.toml");
    let text = std::fs::read_to_string(quickstart).unwrap() + "\n" + limits;
    let config = Config::parse(&text, "test.toml").unwrap();
    Quotas::new(&config, 7).unwrap()
}

/// What is known of a request from one of the addresses of 198.51.0.0/16.
pub(super) fn facts(address: u16) -> Facts<'static> {
    let [third, fourth] = address.to_be_bytes();
    Facts {
        project: PROJECT,
        logstore: LOGSTORE,
        ..Facts::of_address(IpAddr::V4(Ipv4Addr::new(198, 51, third, fourth)))
    }
}

pub(super) fn begin(quotas: &Quotas, nanos: u64) -> Charges {
    quotas.begin_trial(TODAY + nanos / SECOND, nanos)
}

/// One request with so many events, as the front asks for it.
pub(super) fn ask(
    charges: &mut Charges,
    facts: &Facts<'_>,
    events: u32,
    bytes: u64,
) -> Result<(), Refusal> {
    charges.at_door(facts)?;
    charges.at_head(facts)?;
    charges.of_caller(facts)?;
    let mut group = EventGroup {
        logs: vec![0; usize::try_from(events).unwrap()],
        events,
        ..EventGroup::default()
    };
    charges.of_events(facts, &mut group, bytes).map(|_| ())
}

const EVENTS: &str = "[[limit]]\nname = \"events\"\nunit = \"events\"\nkey = [\"address\"]\nrate = [{ count = 2, per = \"1h\" }]\n";

#[test]
fn a_look_at_limits_on_events_makes_nobody_known() {
    let quotas = quotas(EVENTS);
    let passed = (0..256).filter(|address| {
        let mut charges = begin(&quotas, u64::from(*address));
        ask(&mut charges, &facts(*address), 1, 10).is_ok()
    });
    // Sixty-four times two is what the network around them may have in new ones.
    assert_eq!(passed.count(), 128);
}

#[test]
fn a_look_keeps_nothing_and_says_what_taking_would() {
    let quotas = quotas(EVENTS);
    let limit = Arc::clone(&quotas.set().all[0]);
    for address in 0..1000 {
        let mut charges = begin(&quotas, 0);
        charges.at_head(&facts(address)).unwrap();
    }
    assert_eq!(limit.bucket().places().1, 0);
    for _ in 0..2 {
        ask(&mut begin(&quotas, 0), &facts(7), 1, 10).unwrap();
    }
    let refused = begin(&quotas, 0).at_head(&facts(7)).unwrap_err();
    assert_eq!(refused.reason(), Reason::QuotaExceeded);
    assert_eq!(refused.retry_seconds(), Some(1800));
}

#[test]
fn what_is_taken_from_four_limits_takes_no_allocation_and_no_reference() {
    let request = |name: &str| {
        format!(
            "[[limit]]\nname = \"{name}\"\nkey = [\"address\"]\nrate = [{{ count = 9, per = \"1s\" }}]\n"
        )
    };
    let quotas = quotas(&format!(
        "{EVENTS}{}{}{}",
        request("a"),
        request("b"),
        request("c")
    ));
    let set = quotas.set();
    let counts = || -> Vec<_> { set.all.iter().map(Arc::strong_count).collect() };
    let before = counts();
    let mut charges = begin(&quotas, 0);
    ask(&mut charges, &facts(7), 1, 10).unwrap();
    assert_eq!(charges.tab.taken.len(), 4);
    assert!(!charges.tab.taken.spilled());
    assert_eq!(counts(), before);
}

#[test]
fn a_request_that_another_limit_refuses_on_purpose_makes_nobody_known() {
    let small = "[[limit]]\nname = \"small\"\nunit = \"bytes\"\nrate = [{ count = 1000000, per = \"1s\", burst = 1000 }]\n";
    let quotas = quotas(&format!("{EVENTS}{small}"));
    let mut passed = 0;
    for address in 0..256 {
        let mut charges = begin(&quotas, u64::from(address));
        let refused = ask(&mut charges, &facts(address), 1, 5000).unwrap_err();
        charges.refused(refused.reason());
        for _ in 0..2 {
            let mut charges = begin(&quotas, u64::from(address));
            match ask(&mut charges, &facts(address), 1, 0) {
                Ok(()) => passed += 1,
                Err(refused) => charges.refused(refused.reason()),
            }
        }
    }
    assert_eq!(passed, 128);
}

/// What becomes of a request in the end.
#[derive(Clone, Copy, Debug)]
enum End {
    Kept,
    /// Refused by us.
    Ours,
    /// The client did something wrong.
    Theirs,
}

const ROTATING: &str = "[[limit]]\nname = \"events\"\nunit = \"events\"\nkey = [\"address\"]\nmax_keys = 8\nrate = [{ count = 4, per = \"1h\" }]\nparent = { key = [\"address\"], ipv4_prefix = 24, rate = [{ count = 10, per = \"1h\" }] }\n";

proptest! {
    /// Keys come and go in a table of eight, requests end late and in any order. In the time in which
    /// all of them are new they get what their parent allows and no more.
    #[test]
    fn whatever_is_refused_and_given_back_new_keys_get_no_more_than_their_parent(
        steps in prop::collection::vec(
            (
                0..10_000_000_000u64,
                0..40u16,
                1..4u32,
                prop::sample::select(vec![End::Kept, End::Kept, End::Ours, End::Theirs]),
                any::<bool>(),
            ),
            1..200,
        ),
    ) {
        let quotas = quotas(ROTATING);
        let (mut now, mut admitted, mut open) = (0u64, 0u64, Vec::new());
        for (pause, address, events, end, is_late) in steps {
            now += pause;
            let mut charges = begin(&quotas, now);
            match ask(&mut charges, &facts(address), events, 10) {
                Ok(()) => open.push((charges, events, end)),
                Err(refused) => charges.refused(refused.reason()),
            }
            if is_late {
                continue;
            }
            for (mut charges, events, end) in open.drain(..) {
                match end {
                    End::Kept => admitted += u64::from(events),
                    End::Ours => charges.refused(Reason::MemoryFull),
                    End::Theirs => charges.refused(Reason::NotJson),
                }
            }
            let bound = 10 + 10 * now / (3600 * SECOND);
            prop_assert!(admitted <= bound, "{} of {}", admitted, bound);
        }
    }
}

/// An event with one field, as it stands in a group.
fn event(field: &str, value: &str) -> Vec<u8> {
    let bytes = |tag: u8, content: &[u8]| {
        let mut all = vec![tag, u8::try_from(content.len()).unwrap()];
        all.extend_from_slice(content);
        all
    };
    let pair = [bytes(0x0a, field.as_bytes()), bytes(0x12, value.as_bytes())].concat();
    bytes(0x0a, &[vec![0x08, 1], bytes(0x12, &pair)].concat())
}

#[test]
fn of_several_limits_that_take_events_out_the_one_with_the_longest_wait_is_told() {
    let limit = |name: &str, per: &str| {
        format!(
            "[[limit]]\nname = \"{name}\"\nunit = \"events\"\nkey = [\"address\"]\nclasses = [\"{name}\"]\nrate = [{{ count = 1, per = \"{per}\" }}]\n[[class]]\nname = \"{name}\"\nfield = \"event\"\nvalues = [\"{name}\"]\n"
        )
    };
    let quotas = quotas(&format!("{}{}", limit("slow", "1h"), limit("fast", "10s")));
    let send = |events: &[&str]| {
        let mut charges = begin(&quotas, 0);
        charges.at_head(&facts(1)).unwrap();
        let mut group = EventGroup {
            logs: events.iter().flat_map(|it| event("event", it)).collect(),
            events: u32::try_from(events.len()).unwrap(),
            ..EventGroup::default()
        };
        let sorted = charges.of_events(&facts(1), &mut group, 10);
        (sorted, charges.bit().map(ToString::to_string))
    };
    send(&["slow", "fast"]).0.unwrap();
    let (refused, bit) = send(&["slow", "fast"]);
    assert_eq!(refused.unwrap_err().retry_seconds(), Some(3600));
    assert_eq!(bit.as_deref(), Some("slow"));
    let (sorted, _) = send(&["slow", "fast", "other"]);
    assert_eq!(sorted.unwrap().last.unwrap().retry_seconds(), Some(3600));
}

#[test]
fn of_parts_what_passes_later_is_told_and_of_a_whole_what_never_does() {
    let refusal = |reason: Reason, wait: u32| Refusal::from(reason).retry_after(wait);
    let soon = refusal(Reason::QuotaExceeded, 1);
    let late = refusal(Reason::QuotaExceeded, 9000);
    let never = Refusal::from(Reason::QuotaTooLarge);
    let banned = refusal(Reason::Banned, 5);
    let parts = [&never, &banned, &soon, &late];
    let whole = [&soon, &late, &never, &banned];
    for (mixed, order) in [(Mixed::Parts, parts), (Mixed::Whole, whole)] {
        for (place, told) in order.iter().enumerate() {
            for other in order.iter().take(place) {
                for (one, two) in [(told, other), (other, told)] {
                    let got = if mixed.prefers(one, two) { one } else { two };
                    assert_eq!(got.reason(), told.reason(), "{mixed:?} {place}");
                    assert_eq!(got.retry_seconds(), told.retry_seconds(), "{place}");
                }
            }
        }
    }
}

#[test]
fn events_that_would_pass_soon_are_not_thrown_away_with_one_that_never_fits() {
    let small = "[[limit]]\nname = \"small\"\nunit = \"bytes\"\nkey = [\"address\"]\nclasses = [\"big\"]\nrate = [{ count = 5, per = \"1s\" }]\n[[class]]\nname = \"big\"\nfield = \"event\"\nvalues = [\"big\"]\n";
    let other = "[[limit]]\nname = \"other\"\nunit = \"events\"\nkey = [\"address\"]\nclasses = [\"other\"]\nrate = [{ count = 1, per = \"2s\" }]\n[[class]]\nname = \"other\"\nfield = \"event\"\nvalues = [\"other\"]\n";
    for limits in [format!("{small}{other}"), format!("{other}{small}")] {
        let quotas = quotas(&limits);
        let send = |events: &[&str], whole: bool| {
            let mut charges = begin(&quotas, 0);
            charges.at_head(&facts(1)).unwrap();
            if whole {
                charges.set_whole();
            }
            let mut group = EventGroup {
                logs: events.iter().flat_map(|it| event("event", it)).collect(),
                events: u32::try_from(events.len()).unwrap(),
                ..EventGroup::default()
            };
            let sorted = charges.of_events(&facts(1), &mut group, 10);
            let told = sorted
                .map(|_| ())
                .map_err(|it| (it.reason(), it.retry_seconds()));
            (told, charges.bit().map(ToString::to_string))
        };
        assert_eq!(send(&["other"], false).0, Ok(()));
        let (told, bit) = send(&["big", "other"], false);
        assert_eq!(told, Err((Reason::QuotaExceeded, Some(2))));
        assert_eq!(bit.as_deref(), Some("other"));
        for (events, whole) in [(&["big"][..], false), (&["big", "other"], true)] {
            let (told, bit) = send(events, whole);
            assert_eq!(told, Err((Reason::QuotaTooLarge, None)));
            assert_eq!(bit.as_deref(), Some("small"));
        }
    }
}

#[test]
fn what_is_diverted_says_why_and_takes_all_parts_of_a_request_along() {
    let quotas = quotas(
        "[[limit]]\nname = \"spill\"\nkey = [\"address\", \"logstore\"]\naction = \"divert\"\ndivert_to = \"web-tracking-logstore\"\nlogstores = [\"anonymous-demo\"]\nrate = [{ count = 1, per = \"1h\" }]\n",
    );
    let group = || EventGroup {
        logs: event("k", "v"),
        events: 1,
        ..EventGroup::default()
    };
    ask(&mut begin(&quotas, 0), &facts(1), 1, 10).unwrap();
    let mut charges = begin(&quotas, 0);
    charges.at_head(&facts(1)).unwrap();
    // The events, and then those that steps gave another topic.
    for _ in 0..2 {
        let mut group = group();
        let sorted = charges.of_events(&facts(1), &mut group, 10).unwrap();
        assert_eq!((sorted.diverted.len(), group.events), (1, 0));
    }
    let why = charges.why_diverted().unwrap();
    assert_eq!(why.reason(), Reason::QuotaExceeded);
    assert_eq!(why.retry_seconds(), Some(3600));
}

#[test]
fn a_newcomer_that_goes_elsewhere_is_not_counted_as_refused() {
    let quotas = quotas(
        "[[limit]]\nname = \"spill\"\nkey = [\"address\", \"logstore\"]\naction = \"divert\"\ndivert_to = \"web-tracking-logstore\"\nlogstores = [\"anonymous-demo\"]\nrate = [{ count = 1, per = \"1h\" }]\nparent = { key = [\"address\"], ipv4_prefix = 24, rate = [{ count = 1, per = \"1h\" }] }\n",
    );
    ask(&mut begin(&quotas, 0), &facts(1), 1, 10).unwrap();
    let mut charges = begin(&quotas, 0);
    ask(&mut charges, &facts(2), 1, 10).unwrap();
    let why = charges.why_diverted().unwrap();
    assert!(why.message().contains("too many new keys"), "{why:?}");
    assert_eq!(quotas.set().all[0].cells.newcomers.get(), 0);
}

/// A head that says how long its body is.
struct Says(u64);

impl Words for Says {
    fn header(&self, _: &http::HeaderName) -> Option<&[u8]> {
        None
    }

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn origin(&self) -> Option<&[u8]> {
        None
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.0)
    }
}

#[test]
fn the_wait_for_bytes_is_told_for_all_of_them_before_they_are_read() {
    let quotas = quotas(
        "[[limit]]\nname = \"bytes\"\nunit = \"bytes\"\nkey = [\"address\"]\nrate = [{ count = 10, per = \"1s\", burst = 1000 }]\n",
    );
    ask(&mut begin(&quotas, 0), &facts(1), 1, 1000).unwrap();
    let head = |bytes| {
        let says = Says(bytes);
        let facts = Facts {
            words: &says,
            ..facts(1)
        };
        begin(&quotas, 0).at_head(&facts).unwrap_err()
    };
    assert_eq!(head(0).retry_seconds(), Some(1));
    assert_eq!(head(1000).retry_seconds(), Some(100));
    assert_eq!(head(1001).reason(), Reason::QuotaTooLarge);
}
