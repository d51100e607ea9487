//! The seeds of the fuzz targets, replayed.

use std::fs;
use std::path::Path;

use super::agree;

/// Replays every file of a directory and says how many there were.
fn replay(directory: &str, check: fn(&str, &[u8])) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = fs::read_dir(root.join(directory)).unwrap();
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let replayed = std::panic::catch_unwind(|| check(&name, &bytes));
        assert!(replayed.is_ok(), "{}", path.display());
        count += 1;
    }
    count
}

/// A seed named `y_` is taken, one named `n_` is refused.
fn check_named_json(name: &str, seed: &[u8]) {
    agree::check_json(seed);
    let taken = agree::json(seed, &agree::usual()).is_ok();
    match name.as_bytes() {
        [b'y', b'_', ..] => assert!(taken, "{name}"),
        [b'n', b'_', ..] => assert!(!taken, "{name}"),
        _ => {}
    }
}

#[test]
fn every_json_seed_means_to_us_what_it_means_to_the_reference() {
    assert!(replay("json", check_named_json) >= 118);
}

#[test]
fn every_query_seed_means_to_us_what_it_means_to_the_reference() {
    assert!(replay("query", |_, seed| agree::check_query(seed)) >= 25);
}

#[test]
fn every_protobuf_seed_means_to_us_what_it_means_to_the_reference() {
    assert!(replay("protobuf", |_, seed| agree::check_protobuf(seed)) >= 30);
}
