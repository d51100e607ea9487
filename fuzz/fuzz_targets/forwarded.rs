//! `cargo +nightly fuzz run forwarded fuzz/corpus/forwarded tests/corpus/forwarded`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::forwarded(data);
});
