//! Sets of ids of bundles.

use std::collections::HashMap;

use super::BundleId;
use super::ranges::Ranges;

/// Ids of bundles. Bundles of a life are numbered in a row, so it takes little more than the gaps.
#[derive(Clone, Debug, Default)]
pub struct BundleSet(HashMap<u64, Ranges, foldhash::fast::RandomState>);

impl BundleSet {
    /// Puts an id in. False when it was there.
    pub fn insert(&mut self, id: BundleId) -> bool {
        let numbers = self.0.entry(id.prefix).or_default();
        let new = !numbers.contains(id.number);
        if new {
            numbers.insert(id.number);
        }
        new
    }

    /// Puts all ids of another set in.
    pub(super) fn merge(&mut self, other: Self) {
        for (prefix, numbers) in other.0 {
            let mine = self.0.entry(prefix).or_default();
            if mine.is_empty() {
                *mine = numbers;
                continue;
            }
            for (first, last) in numbers.pairs() {
                (*first..=*last).for_each(|number| mine.insert(number));
            }
        }
    }

    /// Whether the id is in it.
    #[must_use]
    pub fn contains(&self, id: BundleId) -> bool {
        let numbers = self.0.get(&id.prefix);
        numbers.is_some_and(|numbers| numbers.contains(id.number))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        let ranges = self.0.values().flat_map(Ranges::pairs);
        ranges.map(|(first, last)| last - first + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_in_once_and_those_of_other_lives_are_others() {
        let id = |prefix, number| BundleId { prefix, number };
        let mut set = BundleSet::default();
        assert!(set.insert(id(1, 5)) && set.insert(id(1, 6)) && set.insert(id(2, 5)));
        assert!(!set.insert(id(1, 6)));
        assert!(set.contains(id(2, 5)) && !set.contains(id(2, 6)) && !set.contains(id(3, 5)));
        assert_eq!(set.count(), 3);
    }
}
