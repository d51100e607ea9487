//! Budgets, shares and fair shares.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::fair::{Division, FairRules, FairTerms, divide};
use super::*;

#[test]
fn a_full_budget_refuses_and_a_dropped_lease_makes_room() {
    let budget = Budget::new(100);
    let first = budget.lease(60).unwrap();
    assert_eq!(budget.lease(41).unwrap_err(), BudgetFull);
    drop(first);
    assert_eq!(budget.lease(100).unwrap().bytes(), 100);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_share_counts_against_its_parent_and_takes_nothing_when_the_parent_is_full() {
    let whole = Budget::new(100);
    let share = Budget::share(&whole, 80);
    let other = whole.lease(50).unwrap();
    assert!(share.lease(60).is_err());
    assert_eq!((share.used(), whole.used()), (0, 50));
    let mut lease = share.lease(50).unwrap();
    assert!(lease.grow(1).is_err());
    lease.shrink_to(10);
    assert_eq!((share.used(), whole.used()), (10, 60));
    lease.merge(share.lease(5).unwrap());
    assert_eq!(lease.bytes(), 15);
    drop((lease, other));
    assert_eq!((share.used(), whole.used()), (0, 0));
}

#[test]
fn a_lease_splits_without_taking_or_giving_back() {
    let budget = Budget::new(100);
    let mut lease = budget.lease(60).unwrap();
    let part = lease.split(20);
    assert_eq!((lease.bytes(), part.bytes(), budget.used()), (40, 20, 60));
    assert_eq!(lease.split(41).bytes(), 40, "never more than it holds");
    drop((lease, part));
    assert_eq!(budget.used(), 0);
}

#[test]
fn sums_that_overflow_are_refused() {
    let budget = Budget::new(u64::MAX);
    let _all = budget.lease(u64::MAX).unwrap();
    assert!(budget.lease(1).is_err());
}

#[test]
fn a_part_follows_what_its_parent_may_hold() {
    let whole = Budget::new(1000);
    let [hog, quiet] = shares(&whole, &[1, 1], 0, 1);
    let part = Budget::part(&quiet, 2, 10);
    assert_eq!((quiet.allowed(), part.allowed()), (500, 250));
    let held = hog.lease(500).unwrap();
    assert_eq!((quiet.allowed(), part.allowed()), (250, 125));
    assert!(part.lease(126).is_err());
    let _more = whole.lease(500).unwrap();
    assert!(part.lease(1).is_err(), "the whole is full");
    drop(held);
    assert_eq!(part.lease(125).unwrap().bytes(), 125);
}

#[test]
fn a_lease_within_a_percentage_grows_no_further() {
    let budget = Budget::new(1000);
    assert!(budget.lease_within(701, 70).is_err());
    let mut low = budget.lease_within(700, 70).unwrap();
    assert!(low.grow(1).is_err());
    let high = budget.lease(300).unwrap();
    low.shrink_to(600);
    assert!(low.grow(1).is_err(), "others hold the rest");
    drop(high);
    low.grow(100).unwrap();
    assert_eq!(low.bind(60), Err(BudgetFull));
    low.bind(100).unwrap();
    low.grow(200).unwrap();
    assert_eq!(low.bind(89), Err(BudgetFull));
    low.bind(90).unwrap();
    assert!(low.grow(1).is_err());
}

#[test]
fn one_that_floods_leaves_room_and_more_that_flood_get_less() {
    let fill = |share: &Arc<Budget>| {
        let mut lease = share.lease(0).unwrap();
        while lease.grow(1).is_ok() {}
        lease
    };
    let whole = Budget::new(9000);
    let [first, second, third] = shares(&whole, &[1, 1, 1], 0, 1);
    let mut held = fill(&first);
    assert_eq!(held.bytes(), 4500, "alone: as much as is then free");
    let second = fill(&second);
    let third = fill(&third);
    assert_eq!((second.bytes(), third.bytes()), (2250, 1125));
    // As the first drains it may not take again before what is free has caught up.
    held.shrink_to(3000);
    assert!(held.grow(1).is_err(), "2625 are free");
    held.shrink_to(2000);
    assert!(held.grow(813).is_err());
    held.grow(812).unwrap();

    let whole = Budget::new(4000);
    let [light, heavy] = shares(&whole, &[1, 3], 0, 1);
    let heavy = fill(&heavy);
    assert_eq!(heavy.bytes(), 3000, "three times what is free");
    assert_eq!(fill(&light).bytes(), 500);
}

#[test]
fn one_share_alone_gets_its_limit() {
    let whole = Budget::new(1000);
    let terms = FairTerms {
        weight: 1,
        limit: 900,
    };
    let alone = divide(&whole, &[terms], RULES);
    assert_eq!(alone[0].lease(900).unwrap().bytes(), 900);
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let whole = Budget::new(u64::MAX);
    let terms = FairTerms {
        weight: u32::MAX,
        limit: u64::MAX,
    };
    let rules = FairRules {
        reserved: 255,
        alpha: u32::MAX,
    };
    for reserved in [0, 50, 255] {
        let shares = divide(&whole, &[terms, terms], FairRules { reserved, ..rules });
        let first = shares[0].lease(shares[0].allowed()).unwrap();
        assert!(shares[1].lease(u64::MAX).is_err());
        drop((first, shares));
        assert_eq!(whole.used(), 0);
    }
}

const RULES: FairRules = FairRules {
    reserved: 50,
    alpha: 2,
};

fn shares<const N: usize>(
    whole: &Arc<Budget>,
    weights: &[u32; N],
    reserved: u8,
    alpha: u32,
) -> [Arc<Budget>; N] {
    let terms = weights.map(|weight| FairTerms {
        weight,
        limit: whole.limit(),
    });
    let rules = FairRules { reserved, alpha };
    divide(whole, &terms, rules).try_into().unwrap()
}

#[test]
fn shares_come_go_and_change_and_what_they_hold_stays_counted() {
    let whole = Budget::new(1000);
    let division = Division::new(&whole);
    let terms = |weight| FairTerms {
        weight,
        limit: 1000,
    };
    let rules = FairRules {
        reserved: 50,
        alpha: 1,
    };
    let one = division.divide(&[(None, terms(1))], rules).remove(0);
    let held = one.lease(900).unwrap();
    // A second one comes while the first holds nearly all: it gets what is there, and its reserve once
    // the first has drained.
    let wanted = [(Some(Arc::clone(&one)), terms(1)), (None, terms(1))];
    let two = division.divide(&wanted, rules).remove(1);
    assert!(one.lease(1).is_err(), "it has more than its terms allow");
    assert!(two.lease(101).is_err(), "the whole is full");
    let small = two.lease(100).unwrap();
    drop(held);
    let reserve = two.lease(150).unwrap();
    drop((small, reserve));
    // The first goes while it holds something, and its reserve with it.
    let held = one.lease(500).unwrap();
    let alone = division.divide(&[(Some(Arc::clone(&two)), terms(1))], rules);
    assert!(Arc::ptr_eq(&alone[0], &two));
    assert_eq!(two.lease(500).unwrap().bytes(), 500);
    assert!(two.lease(501).is_err());
    drop(held);
    assert_eq!(two.lease(1000).unwrap().bytes(), 1000);
    whole.set_limit(500);
    assert!(two.lease(501).is_err());
    drop((one, two, alone));
    assert_eq!(whole.used(), 0);
}

#[test]
fn dividing_anew_beside_leases_loses_no_byte() {
    let whole = Budget::new(1 << 20);
    let division = Division::new(&whole);
    let wanted = |shares: &[Arc<Budget>], weights: [u32; 3]| {
        let terms = weights.map(|weight| FairTerms {
            weight,
            limit: 1 << 19,
        });
        let kept = |i: usize| shares.get(i).map(Arc::clone);
        [0, 1, 2].map(|i| (kept(i), terms[i]))
    };
    let shares = division.divide(&wanted(&[], [1, 2, 3]), RULES);
    std::thread::scope(|scope| {
        for share in &shares {
            for seed in 1..3u64 {
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..20_000u64 {
                        let bytes = (round * 7919 * seed) % 40_000;
                        held.extend(share.lease(bytes));
                        if held.len() > 8 {
                            drop(held.swap_remove((round % 8) as usize));
                        }
                    }
                });
            }
        }
        for round in 0..2000u32 {
            let weights = [1 + round % 5, 1 + round % 3, 1];
            assert_eq!(division.divide(&wanted(&shares, weights), RULES).len(), 3);
        }
    });
    assert_eq!(whole.used(), 0);
    // Nothing of the pool is lost, and nothing is there twice.
    let last = wanted(&[], [5, 2, 1]).map(|(_, terms)| terms);
    let fresh = divide(&Budget::new(1 << 20), &last, RULES);
    for (share, fresh) in shares.iter().zip(&fresh) {
        assert_eq!((share.used(), share.allowed()), (0, fresh.allowed()));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Lease {
        share: usize,
        bytes: u64,
        percent: u8,
    },
    Release {
        at: usize,
    },
    Shrink {
        at: usize,
        to: u64,
    },
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0usize..5, 1u64..4000, prop_oneof![Just(70u8), Just(90), Just(100)])
            .prop_map(|(share, bytes, percent)| Op::Lease { share, bytes, percent }),
        2 => (0usize..64).prop_map(|at| Op::Release { at }),
        1 => (0usize..64, 0u64..2000).prop_map(|(at, to)| Op::Shrink { at, to }),
    ]
}

proptest! {
    /// For any sequence: the sum stays within the whole, what is within a reserve is given, and what
    /// is above one is at most alpha times the weight times what is free in the pool after it.
    #[test]
    fn thresholds_hold_for_any_sequence(
        ops in prop::collection::vec(any_op(), 1..300),
        weights in prop::array::uniform5(1u32..=100),
        whole in 1000u64..20_000,
        reserved in 0u8..=100,
        alpha in 1u32..=16,
    ) {
        let budget = Budget::new(whole);
        let shares = shares(&budget, &weights, reserved, alpha);
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let to_reserve = percent_of(whole, reserved);
        let reserves = weights.map(|w| to_reserve * u64::from(w) / total);
        let pool = whole - reserves.iter().sum::<u64>();
        let mut held: Vec<(usize, Lease)> = Vec::new();
        for op in ops {
            match op {
                Op::Lease { share, bytes, percent } => {
                    let before = shares[share].used();
                    let allowed = shares[share].allowed();
                    let lease = shares[share].lease_within(bytes, percent);
                    let fits = before + bytes <= percent_of(allowed, percent);
                    prop_assert_eq!(lease.is_ok(), fits, "allowed says what a lease gets");
                    if before + bytes <= percent_of(reserves[share], percent) {
                        prop_assert!(lease.is_ok(), "refused within its reserve");
                    }
                    let Ok(lease) = lease else { continue };
                    held.push((share, lease));
                    let above = |i: usize| shares[i].used().saturating_sub(reserves[i]);
                    let free = pool - (0..5).map(above).sum::<u64>();
                    let most = u64::from(alpha) * u64::from(weights[share]) * free;
                    // What was above before a lease within the reserve may be above still.
                    if above(share) > 0 {
                        prop_assert!(above(share) <= most);
                    }
                }
                Op::Release { at } => {
                    if !held.is_empty() {
                        drop(held.swap_remove(at % held.len()));
                    }
                }
                Op::Shrink { at, to } => {
                    if !held.is_empty() {
                        let at = at % held.len();
                        held[at].1.shrink_to(to);
                    }
                }
            }
            prop_assert!(budget.used() <= whole);
            prop_assert_eq!(budget.used(), shares.iter().map(|s| s.used()).sum::<u64>());
        }
        held.clear();
        prop_assert_eq!(budget.used(), 0);
        for (share, reserve) in shares.iter().zip(reserves) {
            let factor = u128::from(alpha) * u128::from(weights[shares.iter().position(|s| Arc::ptr_eq(s, share)).unwrap()]);
            let open = u128::from(pool) * factor / (factor + 1);
            prop_assert_eq!(u128::from(share.allowed()), (u128::from(reserve) + open).min(u128::from(whole)));
        }
    }

    /// Each logstore is drained at a rate of its own; one brings twenty times that, the others what
    /// they drain, in bursts that fit their reserve. Only the one that floods is refused.
    #[test]
    fn one_at_twenty_times_its_share_loses_its_own_and_the_others_none(
        bursts in prop::collection::vec(0u64..6, 200),
        quiet in 1usize..6,
    ) {
        let budget = Budget::new(60_000);
        let terms = vec![FairTerms { weight: 1, limit: 60_000 }; quiet + 1];
        let shares = divide(&budget, &terms, RULES);
        let drain = 500;
        let mut queues: Vec<VecDeque<Lease>> = Vec::new();
        queues.resize_with(quiet + 1, VecDeque::new);
        let (mut refused, mut arrived) = (0u64, 0u64);
        for (tick, burst) in bursts.iter().enumerate() {
            for _ in 0..20 {
                arrived += 1;
                match shares[0].lease(drain) {
                    Ok(lease) => queues[0].push_back(lease),
                    Err(BudgetFull) => refused += 1,
                }
            }
            // A burst now, and silence for as long as it takes to drain.
            for (share, queue) in shares.iter().zip(&mut queues).skip(1) {
                if tick % 6 == 0 {
                    for _ in 0..*burst {
                        queue.push_back(share.lease(drain).unwrap());
                    }
                }
            }
            for queue in &mut queues {
                queue.pop_front();
            }
            prop_assert!(budget.used() <= budget.limit());
        }
        prop_assert!(refused * 10 > arrived * 8, "{refused} of {arrived}");
    }
}

#[test]
fn from_many_threads_a_reserve_is_never_refused_and_the_whole_never_exceeded() {
    let whole = Budget::new(100_000);
    let shares = shares(&whole, &[1, 1, 2], 40, 4);
    let reserve = 10_000;
    std::thread::scope(|scope| {
        for (number, share) in shares.iter().enumerate().flat_map(|s| [s, s]) {
            let whole = &whole;
            scope.spawn(move || {
                let mut seed = 1 + number as u64;
                let mut held: Vec<Lease> = Vec::new();
                for round in 0..30_000 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let bytes = (seed >> 33) % 2500;
                    if number == 0 {
                        // Two threads, each with half of the reserve.
                        held.clear();
                        held.push(share.lease(bytes).unwrap());
                        held.push(share.lease(reserve / 2 - bytes).unwrap());
                    } else if let Ok(lease) = share.lease(bytes) {
                        held.push(lease);
                    } else if !held.is_empty() {
                        drop(held.swap_remove(round % held.len()));
                    }
                    assert!(whole.used() <= whole.limit());
                }
            });
        }
    });
    assert_eq!(whole.used(), 0);
    assert_eq!(shares.map(|share| share.used()), [0; 3]);
}

/// Turns a seed into the next number below `most`.
fn random(seed: &mut u64, most: u64) -> u64 {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % most
}

/// The same, as a place in a list.
fn any_of(seed: &mut u64, count: u64) -> usize {
    usize::try_from(random(seed, count)).unwrap()
}

/// Runs `divide` again and again until all of `threads` have come to their end.
fn while_divided(threads: Vec<Box<dyn FnOnce() + Send + '_>>, mut divide: impl FnMut(u32)) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = threads.into_iter().map(|run| scope.spawn(run)).collect();
        let mut round = 0;
        while !threads
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            divide(round);
            round += 1;
        }
    });
}

#[test]
fn what_is_leased_grown_split_and_given_back_while_terms_change_is_counted_to_the_byte() {
    let whole = Budget::new(1 << 20);
    let division = Division::new(&whole);
    let limit = 3 << 18;
    let wanted = |shares: &[Arc<Budget>], weights: [u32; 3]| {
        let kept = |i: usize| shares.get(i).map(Arc::clone);
        [0, 1, 2].map(|i| {
            let weight = weights[i];
            (kept(i), FairTerms { weight, limit })
        })
    };
    let shares = division.divide(&wanted(&[], [1, 2, 3]), RULES);
    let work = |share: &Arc<Budget>, mut seed: u64| {
        let part = Budget::part(share, 2, 1000);
        // Of the share, and of a part of it.
        let mut held: [Vec<Lease>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..10_000 {
            let which = any_of(&mut seed, 2);
            let from = if which == 0 { share } else { &part };
            let bytes = random(&mut seed, 60_000);
            let percent = [70, 90, 100][any_of(&mut seed, 3)];
            let at = any_of(&mut seed, 8);
            let before = held[which].len();
            match (random(&mut seed, 6), held[which].get_mut(at)) {
                (0, Some(lease)) => drop(lease.grow(bytes)),
                (1, Some(lease)) => drop(lease.resize(bytes)),
                (2, Some(lease)) => {
                    let rest = lease.split(bytes);
                    held[which].push(rest);
                }
                (3, Some(_)) if before > 1 => {
                    let other = held[which].swap_remove(at);
                    held[which][0].merge(other);
                }
                (4, Some(_)) => drop(held[which].swap_remove(at)),
                _ => held[which].extend(from.lease_within(bytes, percent)),
            }
            if held[which].len() > 8 {
                held[which].truncate(4);
            }
            assert!(whole.used() <= whole.limit());
            assert!(share.used() <= limit);
            let own = |of: usize| held[of].iter().map(Lease::bytes).sum::<u64>();
            assert_eq!(part.used(), own(1));
            assert!(share.used() >= own(0) + own(1));
        }
    };
    let threads = shares.iter().zip(1..).flat_map(|(share, number)| {
        [number, number + 10]
            .map(|seed| -> Box<dyn FnOnce() + Send> { Box::new(move || work(share, seed)) })
    });
    while_divided(threads.collect(), |round| {
        let weights = [1 + round % 5, 1 + round % 3, 1];
        let rules = FairRules {
            reserved: (round % 101) as u8,
            ..RULES
        };
        assert_eq!(division.divide(&wanted(&shares, weights), rules).len(), 3);
    });
    assert_eq!(whole.used(), 0);
    // Nothing of the pool is lost, and nothing is there twice.
    let terms = wanted(&shares, [5, 2, 1]);
    let again = division.divide(&terms, RULES);
    let fresh = divide(&Budget::new(1 << 20), &terms.map(|(_, terms)| terms), RULES);
    for (share, fresh) in again.iter().zip(&fresh) {
        assert_eq!((share.used(), share.allowed()), (0, fresh.allowed()));
    }
}

#[test]
fn what_both_the_old_and_the_new_terms_allow_is_not_refused_while_they_change() {
    let whole = Budget::new(1 << 20);
    let division = Division::new(&whole);
    let limit = whole.limit();
    let terms = FairTerms { weight: 1, limit };
    // Nothing but reserves, or nothing but the pool: half of the one with half of the other has no room.
    let rules = |round: u32| FairRules {
        reserved: if round.is_multiple_of(2) { 100 } else { 0 },
        alpha: 8,
    };
    let shares = division.divide(&[(None, terms), (None, terms)], rules(0));
    let kept: Vec<_> = shares
        .iter()
        .map(|it| (Some(Arc::clone(it)), terms))
        .collect();
    let work = |share: &Arc<Budget>, mut seed: u64| {
        for _ in 0..30_000 {
            let mut lease = share
                .lease_within(1 + random(&mut seed, 50_000), 90)
                .unwrap();
            assert!(share.allowed() > 300_000, "{}", share.allowed());
            lease.grow(1 + random(&mut seed, 50_000)).unwrap();
        }
    };
    let threads = shares.iter().zip(1..).flat_map(|(share, number)| {
        [number, number + 10]
            .map(|seed| -> Box<dyn FnOnce() + Send> { Box::new(move || work(share, seed)) })
    });
    while_divided(threads.collect(), |round| {
        assert_eq!(division.divide(&kept, rules(round)).len(), 2);
    });
    assert_eq!(whole.used(), 0);
}

#[test]
fn a_lease_of_another_budget_is_not_adopted_and_goes_back() {
    let (one, other) = (Budget::new(100), Budget::new(100));
    let mut loan = one.adopt(other.lease(30).unwrap());
    assert_eq!((loan.bytes(), one.used(), other.used()), (0, 0, 0));
    loan.grow(40).unwrap();
    let own = one.adopt(loan);
    assert_eq!((own.bytes(), one.used()), (40, 40));
    drop(own);
    assert_eq!((one.used(), other.used()), (0, 0));
}
