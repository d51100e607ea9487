//! Bytes and signatures recorded from the official SDKs (Python 0.9.52 unless said), for tests.

/// LogGroup: topic `web`, source `203.0.113.7`, one log at 1781510400 with event=click and
/// page=/home, tag `__client_ip__`=`203.0.113.7`. 87 bytes.
pub const V_PB1_RAW: &str = "0a250880e2bed106120e0a056576656e741205636c69636b120d0a047061676512052f686f6d651a03776562220b3230332e302e3131332e37321c0a0d5f5f636c69656e745f69705f5f120b3230332e302e3131332e37";
/// The same as a literal-only lz4 block. 89 bytes.
pub const V_PB1_LZ4: &str = "f0480a250880e2bed106120e0a056576656e741205636c69636b120d0a047061676512052f686f6d651a03776562220b3230332e302e3131332e37321c0a0d5f5f636c69656e745f69705f5f120b3230332e302e3131332e37";
/// The same as zlib. 83 bytes.
pub const V_PB1_ZLIB: &str = "789ce352e56878b4ef229b101f176b6a596a5e89106b724e6672b6102f174b41627aaa10ab7e467e6eaa1473796a9212b79181b19e819ea1a1b19eb9910c176f7c3c502d504f7c66417cbc10b22c00190f16c9";
/// LogGroup: four logs at 1781510400..=1781510403 with event=page_view, path=/products/list and
/// ua=Mozilla/5.0, topic `web`, source `203.0.113.7`, tag `__pack_id__`=`0123456789ABCDEF-0`.
/// 337 bytes as an lz4 block of 145.
pub const V_PB2_LZ4: &str = "ff3c0a450880e2bed10612120a056576656e741209706167655f7669657712160a0470617468120e2f70726f64756374732f6c69737412110a027561120b4d6f7a696c6c612f352e300a4508814700331f828e00331f83470030f0261a03776562220b3230332e302e3131332e3732210a0b5f5f7061636b5f69645f5f1212303132333435363738394142434445462d30";
/// MD5 of the 337 plain bytes.
pub const V_PB2_MD5: &str = "CBCF91A719858CBD7CD3183142A52450";

/// The bytes that a text of hexadecimal digits stands for.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
