//! Arbitrary bytes, and seeds with a few bytes broken.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::checks;
use super::corpus::seeds;

/// A change of a seed at one place.
#[derive(Clone, Debug)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index),
    Repeat(Index, Index),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let place = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
        match self {
            Self::Replace(index, byte) => {
                let at = place(index, bytes);
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Self::Insert(index, more) => {
                let at = place(index, bytes);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Cut(index) => bytes.truncate(place(index, bytes)),
            Self::Repeat(from, to) => {
                let (from, to) = (place(from, bytes), place(to, bytes));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.extend(piece);
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        4 => (any::<Index>(), vec(any::<u8>(), 1..6)).prop_map(|(at, more)| Damage::Insert(at, more)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Damage::Repeat(from, to)),
    ]
}

/// One input in four is arbitrary, the rest are seeds with up to four kinds of damage.
fn input(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let seeds: Vec<Vec<u8>> = seeds(target).into_iter().map(|(_, seed)| seed).collect();
    let broken = (select(seeds), vec(damage(), 0..4)).prop_map(|(mut seed, damages)| {
        damages.iter().for_each(|damage| damage.apply(&mut seed));
        seed
    });
    prop_oneof![1 => vec(any::<u8>(), 0..200), 3 => broken]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_compressed_body_exceeds_its_cap(data in input("decompress")) {
        checks::decompress(&data);
    }

    #[test]
    fn no_broken_request_passes_for_a_signed_one(data in input("signature")) {
        checks::signature(&data);
    }

    #[test]
    fn no_broken_token_opens_a_logstore(data in input("token")) {
        checks::token(&data);
    }

    #[test]
    fn no_broken_call_gets_credentials(data in input("sts")) {
        checks::sts(&data);
    }

    #[test]
    fn no_broken_configuration_goes_without_a_place_and_a_message(data in input("config")) {
        checks::config(&data);
    }

    #[test]
    fn no_broken_search_means_two_things(data in input("search")) {
        checks::search(&data);
    }

    #[test]
    fn no_broken_policy_decides_otherwise_than_the_model(data in input("policy")) {
        checks::policy(&data);
    }

    #[test]
    fn no_broken_group_reads_otherwise_than_to_prost(data in input("wire")) {
        checks::wire(&data);
    }

    #[test]
    fn no_broken_proxy_header_reads_in_two_ways(data in input("proxy_protocol")) {
        checks::proxy_protocol(&data);
    }

    #[test]
    fn no_broken_entry_changes_what_a_proxy_appended(data in input("forwarded")) {
        checks::forwarded(&data);
    }
}
