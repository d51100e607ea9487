//! `cargo +nightly fuzz run decompress fuzz/corpus/decompress tests/corpus/decompress`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::decompress(data);
});
