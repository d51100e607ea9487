//! `cargo +nightly fuzz run policy fuzz/corpus/policy tests/corpus/policy`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::policy(data);
});
