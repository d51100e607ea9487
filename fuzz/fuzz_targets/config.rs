//! `cargo +nightly fuzz run config fuzz/corpus/config tests/corpus/config`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::config(data);
});
