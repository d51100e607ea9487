//! `cargo +nightly fuzz run wire fuzz/corpus/wire tests/corpus/wire`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::wire(data);
});
