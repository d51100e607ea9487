//! Which events of a refused LogGroup are sent next.
//!
//! Promise: parts are sent in their order and cover each event once. One bad event among `n` is found
//! with `2 * log2(n)` further calls, rounded up; a group costs at most twice its splits and one call
//! for each halving that was open at the bound. At the bound a part that is refused is given up whole.
//! A store that refuses everything is recognised: as long as it took no part at all, splitting ends
//! after a few more refusals than lead to single events.

use std::ops::Range;

/// Refusals beyond those that lead to the first single event, while nothing was taken.
const PATIENCE: u32 = 8;

/// What becomes of a part that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Refused {
    /// Its halves are sent.
    Halved,
    /// It is one event, which is given up.
    Single,
    /// It is given up whole: the splits of this group are used up, or the store takes nothing of it.
    Bound,
}

/// The parts of one refused LogGroup.
#[derive(Debug)]
pub(in crate::pipeline) struct Splitter {
    /// Parts that are to be sent, the next one last: at most one for each level of halving.
    waiting: Vec<Range<usize>>,
    splits_left: u32,
    /// Refusals that are left while nothing was taken.
    patience: u32,
    taken: bool,
}

impl Splitter {
    /// For a LogGroup of `events` events, to be halved at most `splits` times in all.
    pub(in crate::pipeline) fn new(events: usize, splits: u32) -> Self {
        let levels = usize::BITS - events.leading_zeros();
        Self {
            waiting: Vec::new(),
            splits_left: splits,
            patience: levels + PATIENCE,
            taken: false,
        }
    }

    /// The next part to send.
    pub(in crate::pipeline) fn next(&mut self) -> Option<Range<usize>> {
        self.waiting.pop()
    }

    /// The parts that are still to be sent, in their order.
    pub(in crate::pipeline) fn left(&self) -> impl Iterator<Item = &Range<usize>> {
        self.waiting.iter().rev()
    }

    /// The store took a part.
    pub(in crate::pipeline) fn taken(&mut self) {
        self.taken = true;
    }

    /// The store refused a part, or at first the whole.
    pub(in crate::pipeline) fn refused(&mut self, part: &Range<usize>) -> Refused {
        let hopeless = !self.taken && self.patience == 0;
        self.patience = self.patience.saturating_sub(1);
        if part.len() <= 1 {
            return Refused::Single;
        }
        if hopeless || self.splits_left == 0 {
            return Refused::Bound;
        }
        self.splits_left -= 1;
        let middle = part.start + part.len() / 2;
        self.waiting.push(middle..part.end);
        self.waiting.push(part.start..middle);
        Refused::Halved
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What became of each event, and the calls beyond the first.
    struct Run {
        taken: Vec<usize>,
        single: Vec<usize>,
        bound: Vec<usize>,
        calls: u32,
    }

    fn run(events: usize, splits: u32, bad: impl Fn(&Range<usize>) -> bool) -> Run {
        let mut splitter = Splitter::new(events, splits);
        let (mut taken, mut single, mut bound) = (Vec::new(), Vec::new(), Vec::new());
        let mut part = 0..events;
        let mut calls = 0;
        loop {
            match splitter.refused(&part) {
                Refused::Halved => {}
                Refused::Single => single.extend(part),
                Refused::Bound => bound.extend(part),
            }
            part = loop {
                let Some(next) = splitter.next() else {
                    return Run {
                        taken,
                        single,
                        bound,
                        calls,
                    };
                };
                calls += 1;
                if bad(&next) {
                    break next;
                }
                splitter.taken();
                taken.extend(next);
            };
        }
    }

    #[test]
    fn one_bad_event_is_found_within_the_promised_calls() {
        for events in [1usize, 2, 3, 5, 64, 100, 4095, 4096] {
            for at in [0, events / 3, events / 2, events - 1] {
                let found = run(events, 128, |part| part.contains(&at));
                assert_eq!(found.single, [at], "{events}");
                assert!(found.bound.is_empty());
                assert_eq!(found.taken.len(), events - 1);
                let levels = f64::from(u32::try_from(events).unwrap()).log2();
                assert!(
                    f64::from(found.calls) <= 2.0 * levels + 2.0,
                    "{events}: {}",
                    found.calls
                );
            }
        }
    }

    #[test]
    fn a_store_that_refuses_everything_is_not_asked_for_every_event() {
        let found = run(4096, 1000, |_| true);
        assert_eq!(found.single.len() + found.bound.len(), 4096);
        assert!(found.calls < 64, "{}", found.calls);
    }

    #[test]
    fn at_the_bound_parts_are_given_up_whole_and_the_others_still_sent() {
        let found = run(1024, 8, |part| part.clone().any(|event| event % 64 == 1));
        assert!(!found.bound.is_empty());
        assert!(found.calls <= 16);
        assert_eq!(
            found.taken.len() + found.single.len() + found.bound.len(),
            1024
        );
    }

    proptest! {
        #[test]
        fn each_event_ends_once_and_only_bad_ones_stand_alone(
            events in 1usize..300,
            bad in prop::collection::btree_set(0usize..300, 0..20),
            splits in 0u32..200,
        ) {
            let is_bad = |part: &Range<usize>| part.clone().any(|event| bad.contains(&event));
            let found = run(events, splits, is_bad);
            let mut all = [&found.taken[..], &found.single, &found.bound].concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..events));
            prop_assert!(found.taken.iter().all(|event| !bad.contains(event)));
            prop_assert!(found.calls <= 2 * splits);
            if events > 1 {
                prop_assert!(found.single.iter().all(|event| bad.contains(event)));
            }
        }
    }
}
