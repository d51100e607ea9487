//! `cargo +nightly fuzz run query fuzz/corpus/query tests/corpus/query`
#![no_main]

use tollgate_fuzz::agree::check_query;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check_query(data));
