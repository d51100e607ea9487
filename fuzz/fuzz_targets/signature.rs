//! `cargo +nightly fuzz run signature fuzz/corpus/signature tests/corpus/signature`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::signature(data);
});
