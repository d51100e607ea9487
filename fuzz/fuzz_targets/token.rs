//! `cargo +nightly fuzz run token fuzz/corpus/token tests/corpus/token`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::token(data);
});
