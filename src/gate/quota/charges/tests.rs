//! Tests of requests before the limits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Facts, Quotas};
use super::Charges;
use crate::config::Config;
use crate::event::{EventGroup, Reason, Refusal};

const SECOND: u64 = 1_000_000_000;
const TODAY: u64 = 1_795_305_600;
const PROJECT: &str = "sls-webtracking-mini";
const LOGSTORE: &str = "anonymous-demo";

pub(super) fn quotas(limits: &str) -> Arc<Quotas> {
    let text = format!(
        "{}\n{limits}",
        include_str!("../../../../config/quickstart.toml")
    );
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
