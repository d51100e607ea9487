//! The seeds of the fuzz targets, replayed.

use std::fs;
use std::path::{Path, PathBuf};

use super::checks;

/// The seeds of a target.
pub fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut seeds: Vec<_> = fs::read_dir(root.join(target))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    seeds
}

/// Replays every seed of a target. One named `y_` must be taken, one named `n_` refused.
fn replay(target: &str, check: fn(&[u8]) -> bool, at_least: usize) {
    let seeds = seeds(target);
    assert!(seeds.len() >= at_least, "{} seeds", seeds.len());
    for (path, seed) in seeds {
        let shown = path.display();
        let taken = std::panic::catch_unwind(|| check(&seed));
        let taken = taken.unwrap_or_else(|_| panic!("{shown}"));
        match path.file_name().unwrap().as_encoded_bytes() {
            [b'y', b'_', ..] => assert!(taken, "{shown}"),
            [b'n', b'_', ..] => assert!(!taken, "{shown}"),
            _ => panic!("is {shown} taken or refused?"),
        }
    }
}

#[test]
fn every_compressed_seed_stays_within_its_cap() {
    replay("decompress", checks::decompress, 25);
}

#[test]
fn no_request_of_the_seeds_passes_for_a_signed_one() {
    replay("signature", checks::signature, 20);
}

#[test]
fn no_token_of_the_seeds_opens_a_logstore_but_by_its_claims() {
    replay("token", checks::token, 20);
}

#[test]
fn no_call_of_the_seeds_gets_credentials() {
    replay("sts", checks::sts, 25);
}

#[test]
fn every_configuration_of_the_seeds_loads_or_says_where_it_is_wrong() {
    replay("config", checks::config, 15);
}

#[test]
fn every_search_of_the_seeds_means_the_same_when_it_is_written_out() {
    replay("search", checks::search, 25);
}

#[test]
fn every_policy_of_the_seeds_decides_as_the_model_does_or_says_where_it_is_wrong() {
    replay("policy", checks::policy, 25);
}

#[test]
fn every_wire_seed_reads_as_it_reads_to_prost() {
    replay("wire", checks::wire, 20);
}

#[test]
fn every_proxy_header_of_the_seeds_reads_the_same_however_it_arrives() {
    replay("proxy_protocol", checks::proxy_protocol, 25);
}

#[test]
fn no_address_of_the_seeds_changes_what_a_proxy_appended() {
    replay("forwarded", checks::forwarded, 25);
}
