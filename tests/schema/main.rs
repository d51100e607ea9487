//! Schemas of events: the public test suite, and random cases held against the `jsonschema` crate.
#![expect(clippy::unwrap_used, reason = "tests")]
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "tests, and a bench's generator"
)]

#[path = "../../benches/schema/differential.rs"]
mod differential;
mod events;
#[path = "../../benches/schema/random.rs"]
mod random;
mod suite;

use proptest::prelude::*;
use tollgate::gate::schema::Work;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// `cargo bench --bench schema -- differential` is the long run.
    #[test]
    fn one_pass_and_tree_and_crate_agree(seed in any::<u64>()) {
        let (mut work, mut tally) = (Work::default(), differential::Tally::default());
        let outcome = differential::case(seed, 20, &mut work, &mut tally);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
