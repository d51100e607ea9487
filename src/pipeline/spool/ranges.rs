//! Sets of numbers of bundles, kept as ranges.

/// Ranges with both ends in them, sorted, that neither meet nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// All numbers.
    pub(super) fn all() -> Self {
        Self(vec![(0, u64::MAX)])
    }

    /// What lies between `first` and `last`, both in it, without `but`, which is sorted.
    pub(super) fn except(first: u64, last: u64, but: &[u64]) -> Self {
        let (mut ranges, mut next) = (Vec::new(), Some(first));
        for &hole in but {
            let Some(from) = next.filter(|_| (first..=last).contains(&hole)) else {
                continue;
            };
            if hole > from {
                ranges.push((from, hole - 1));
            }
            next = hole.checked_add(1);
        }
        if let Some(from) = next
            && from <= last
        {
            ranges.push((from, last));
        }
        Self(ranges)
    }

    /// From pairs as [`Ranges::pairs`] gives them; `None` when they are not in order.
    pub(super) fn from_pairs(pairs: Vec<(u64, u64)>) -> Option<Self> {
        let ordered = pairs.iter().all(|(first, last)| first <= last)
            && pairs.is_sorted_by(|(_, before), (after, _)| before < after);
        ordered.then_some(Self(pairs))
    }

    /// Its ranges, both ends in them.
    pub(super) fn pairs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the number is in it.
    pub(super) fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < number);
        self.0.get(at).is_some_and(|(first, _)| *first <= number)
    }

    /// Puts a number in.
    pub(super) fn insert(&mut self, number: u64) {
        let at = self.0.partition_point(|(_, last)| *last < number);
        if self.0.get(at).is_some_and(|(first, _)| *first <= number) {
            return;
        }
        let follows = |range: Option<&(u64, u64)>| {
            range.is_some_and(|(_, last)| last.checked_add(1) == Some(number))
        };
        let leads = |range: Option<&(u64, u64)>| {
            range.is_some_and(|(first, _)| first.checked_sub(1) == Some(number))
        };
        let before = at.checked_sub(1);
        let joins_before = follows(before.and_then(|at| self.0.get(at)));
        let joins_after = leads(self.0.get(at));
        match (joins_before, joins_after) {
            (true, true) => {
                let (_, last) = self.0.remove(at);
                if let Some(range) = before.and_then(|at| self.0.get_mut(at)) {
                    range.1 = last;
                }
            }
            (true, false) => {
                if let Some(range) = before.and_then(|at| self.0.get_mut(at)) {
                    range.1 = number;
                }
            }
            (false, true) => {
                if let Some(range) = self.0.get_mut(at) {
                    range.0 = number;
                }
            }
            (false, false) => self.0.insert(at, (number, number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_the_set_of_what_was_put_in(numbers in prop::collection::vec(0_u64..40, 0..60)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for number in numbers {
                ranges.insert(number);
                set.insert(number);
                prop_assert!(Ranges::from_pairs(ranges.pairs().to_vec()).is_some());
            }
            for number in 0..41 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
        }

        #[test]
        fn except_leaves_out_what_it_says(but in prop::collection::btree_set(0_u64..30, 0..20)) {
            let but: Vec<u64> = but.into_iter().collect();
            let ranges = Ranges::except(5, 20, &but);
            for number in 0..30 {
                let expected = (5..=20).contains(&number) && !but.contains(&number);
                prop_assert_eq!(ranges.contains(number), expected, "{}", number);
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_numbers_too() {
        let mut ranges = Ranges::except(0, u64::MAX, &[0, u64::MAX]);
        assert_eq!(ranges.pairs(), [(1, u64::MAX - 1)]);
        ranges.insert(0);
        ranges.insert(u64::MAX);
        assert_eq!(ranges, Ranges::all());
    }
}
