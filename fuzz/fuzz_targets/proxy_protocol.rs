//! `cargo +nightly fuzz run proxy_protocol fuzz/corpus/proxy_protocol tests/corpus/proxy_protocol`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    tollgate_fuzz::checks::proxy_protocol(data);
});
