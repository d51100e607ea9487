use super::*;
use crate::logstore::vectors::{V_PB1_LZ4, V_PB1_RAW, V_PB1_ZLIB, V_PB2_LZ4, V_PB2_MD5, unhex};
use md5::{Digest, Md5};

const CAP: usize = 10 << 20;
const COMPRESSED: [Codec; 4] = [Codec::Lz4, Codec::Deflate, Codec::Zstd, Codec::Gzip];

fn plain(
    codec: Codec,
    input: &[u8],
    declared: Option<usize>,
    cap: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut out = b"left over from the request before".to_vec();
    let result = decompress(codec, input, declared, cap, &mut out);
    if result.is_err() {
        assert!(out.is_empty(), "a failed body left bytes behind");
    }
    result.map(|()| out)
}

/// Bytes that do not compress, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

#[test]
fn every_codec_gives_back_what_it_was_given() {
    let bodies = [
        Vec::new(),
        b"x".to_vec(),
        b"page_view ".repeat(1000),
        noise(70_000),
    ];
    for codec in [
        Codec::None,
        Codec::Lz4,
        Codec::Deflate,
        Codec::Zstd,
        Codec::Gzip,
    ] {
        for body in &bodies {
            let compressed = compress(codec, body).unwrap();
            let back = plain(codec, &compressed, Some(body.len()), CAP);
            assert_eq!(back.as_ref(), Ok(body), "{codec:?} of {} bytes", body.len());
        }
    }
}

#[test]
fn header_names_are_read_in_any_case_and_unknown_ones_are_not_guessed() {
    for codec in COMPRESSED {
        let name = codec.as_header().unwrap();
        assert_eq!(Codec::from_header(name.as_bytes()), Some(codec));
        assert_eq!(
            Codec::from_header(name.to_uppercase().as_bytes()),
            Some(codec)
        );
    }
    for unknown in ["", "br", "lz4 ", "none", "identity"] {
        assert_eq!(Codec::from_header(unknown.as_bytes()), None, "{unknown}");
    }
}

#[test]
fn bodies_recorded_from_official_clients_decode() {
    let raw = unhex(V_PB1_RAW);
    assert_eq!(
        plain(Codec::Lz4, &unhex(V_PB1_LZ4), Some(87), CAP).as_ref(),
        Ok(&raw)
    );
    assert_eq!(
        plain(Codec::Deflate, &unhex(V_PB1_ZLIB), None, CAP).as_ref(),
        Ok(&raw)
    );
    let second = plain(Codec::Lz4, &unhex(V_PB2_LZ4), Some(337), CAP).unwrap();
    assert_eq!(Md5::digest(&second).to_vec(), unhex(V_PB2_MD5));
}

#[test]
fn bare_deflate_without_a_zlib_header_is_understood() {
    let zlib = compress(Codec::Deflate, b"page_view page_view").unwrap();
    let bare = &zlib[2..zlib.len() - 4];
    assert_eq!(
        plain(Codec::Deflate, bare, None, CAP).unwrap(),
        b"page_view page_view"
    );
}

#[test]
fn gzip_of_several_members_and_zstd_of_several_frames_are_one_body() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut joined = compress(codec, b"one").unwrap();
        joined.extend(compress(codec, b"two").unwrap());
        assert_eq!(plain(codec, &joined, None, CAP).unwrap(), b"onetwo");
    }
}

#[test]
fn a_bomb_is_stopped_at_the_cap_in_every_codec() {
    let cap = 64 * 1024;
    let zeros = vec![0; 8 << 20];
    for codec in COMPRESSED {
        let bomb = compress(codec, &zeros).unwrap();
        for declared in [None, Some(10), Some(cap), Some(usize::MAX)] {
            let mut out = Vec::new();
            let error = decompress(codec, &bomb, declared, cap, &mut out).unwrap_err();
            let lz4 = codec == Codec::Lz4 && declared != Some(usize::MAX);
            match error {
                CodecError::TooLarge { cap: at } => assert_eq!(at, cap),
                CodecError::MissingRawSize => assert!(lz4 && declared.is_none()),
                CodecError::RawSizeMismatch { found, .. } => {
                    assert!(lz4 && Some(found) > declared);
                }
                CodecError::Malformed => panic!("{codec:?} of {declared:?}"),
            }
            assert!(
                out.capacity() <= 4 * cap,
                "{codec:?} held {}",
                out.capacity()
            );
        }
    }
}

#[test]
fn a_body_of_exactly_the_cap_passes_and_one_byte_more_does_not() {
    let body = noise(5000);
    for codec in [
        Codec::None,
        Codec::Lz4,
        Codec::Deflate,
        Codec::Zstd,
        Codec::Gzip,
    ] {
        let compressed = compress(codec, &body).unwrap();
        assert!(plain(codec, &compressed, Some(5000), 5000).is_ok());
        assert_eq!(
            plain(codec, &compressed, Some(5000), 4999),
            Err(CodecError::TooLarge { cap: 4999 }),
            "{codec:?}"
        );
    }
}

#[test]
fn an_lz4_block_must_decode_to_exactly_its_declared_size() {
    let block = compress(Codec::Lz4, &b"page_view ".repeat(100)).unwrap();
    assert_eq!(
        plain(Codec::Lz4, &block, None, CAP),
        Err(CodecError::MissingRawSize)
    );
    assert_eq!(
        plain(Codec::Lz4, &block, Some(1001), CAP),
        Err(CodecError::RawSizeMismatch {
            declared: 1001,
            found: 1000
        })
    );
    for declared in [0, 1, 999] {
        let error = plain(Codec::Lz4, &block, Some(declared), CAP).unwrap_err();
        assert!(
            matches!(error, CodecError::RawSizeMismatch { found, .. } if found > declared),
            "{error:?}"
        );
    }
}

#[test]
fn an_lz4_claim_allocates_no_more_than_the_block_can_hold() {
    let mut out = Vec::new();
    let claim = 8 << 20;
    let error = decompress(Codec::Lz4, &[0x10, b'x'], Some(claim), CAP, &mut out).unwrap_err();
    assert_eq!(
        error,
        CodecError::RawSizeMismatch {
            declared: claim,
            found: 1
        }
    );
    assert!(out.capacity() < 4096, "{}", out.capacity());
}

#[test]
fn hostile_lz4_blocks_are_malformed() {
    let mut endless_literals = vec![0xf0];
    endless_literals.resize(1_000_001, 0xff);
    let mut endless_match = vec![0x1f, b'x', 1, 0];
    endless_match.resize(1_000_000, 0xff);
    let cases: [(&str, &[u8]); 7] = [
        ("offset 0", &[0x14, b'x', 0, 0, 0x50, 1, 2, 3, 4, 5]),
        (
            "offset before the start",
            &[0x14, b'x', 2, 0, 0x50, 1, 2, 3, 4, 5],
        ),
        ("literals cut off", &[0x50, 1, 2]),
        ("offset cut off", &[0x14, b'x', 1]),
        ("no bytes", &[]),
        ("a literal length of a million 0xff", &endless_literals),
        ("a match length of a million 0xff", &endless_match),
    ];
    for (what, block) in cases {
        let result = plain(Codec::Lz4, block, Some(1000), CAP);
        assert!(
            matches!(
                result,
                Err(CodecError::Malformed | CodecError::RawSizeMismatch { .. })
            ),
            "{what}: {result:?}"
        );
    }
}

#[test]
fn a_stream_that_is_cut_off_is_malformed_wherever_it_is_cut() {
    let body = noise(300);
    for codec in [Codec::Deflate, Codec::Zstd, Codec::Gzip] {
        let whole = compress(codec, &body).unwrap();
        for length in 0..whole.len() {
            assert_eq!(
                plain(codec, &whole[..length], None, CAP),
                Err(CodecError::Malformed),
                "{codec:?} cut at {length}"
            );
        }
    }
}

#[test]
fn bytes_after_the_stream_are_malformed() {
    for codec in [Codec::Deflate, Codec::Zstd, Codec::Gzip] {
        for tail in [&b"\0"[..], b"x", b"trailing bytes of some length"] {
            let mut body = compress(codec, b"page_view").unwrap();
            body.extend_from_slice(tail);
            assert_eq!(
                plain(codec, &body, None, CAP),
                Err(CodecError::Malformed),
                "{codec:?}, {tail:?}"
            );
        }
    }
}

#[test]
fn a_flipped_checksum_is_malformed() {
    for codec in [Codec::Deflate, Codec::Gzip] {
        let mut body = compress(codec, b"page_view").unwrap();
        let at = body.len() - 5 + usize::from(codec == Codec::Deflate);
        body[at] ^= 1;
        assert_eq!(plain(codec, &body, None, CAP), Err(CodecError::Malformed));
    }
}

#[test]
fn a_zstd_frame_may_need_a_window_as_large_as_the_cap_and_no_larger() {
    let body = noise(9 << 20);
    let frame = compress(Codec::Zstd, &body).unwrap();
    assert_eq!(
        plain(Codec::Zstd, &frame, None, CAP).unwrap().len(),
        9 << 20
    );

    // Magic number, a descriptor without sizes, a window of 64 MiB, one empty last block.
    let greedy = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 16 << 3, 0x01, 0x00, 0x00];
    assert_eq!(
        plain(Codec::Zstd, &greedy, None, CAP),
        Err(CodecError::Malformed)
    );
    let modest = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
    assert_eq!(plain(Codec::Zstd, &modest, None, CAP), Ok(Vec::new()));
}
