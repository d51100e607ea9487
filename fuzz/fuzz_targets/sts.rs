//! `cargo +nightly fuzz run sts fuzz/corpus/sts tests/corpus/sts`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::sts(data);
});
