//! `cargo +nightly fuzz run protobuf fuzz/corpus/protobuf tests/corpus/protobuf`
#![no_main]

use tollgate_fuzz::agree::check_protobuf;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check_protobuf(data));
