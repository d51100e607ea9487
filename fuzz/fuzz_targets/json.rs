//! `cargo +nightly fuzz run json fuzz/corpus/json tests/corpus/json`
#![no_main]

use tollgate_fuzz::agree::check_json;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check_json(data));
