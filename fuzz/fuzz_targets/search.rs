//! `cargo +nightly fuzz run search fuzz/corpus/search tests/corpus/search`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::search(data);
});
