//! Compressed bodies: a byte for the codec, two for the declared size (little-endian, `ffff` for
//! none), and the body.

use tollgate::logstore::codec::{self, Codec, CodecError};

/// Most bytes of a plain body here.
const CAP: usize = 4096;
const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Lz4,
    Codec::Deflate,
    Codec::Zstd,
    Codec::Gzip,
];

/// Decompresses into a buffer that another body has left behind.
fn decompressed(
    codec: Codec,
    body: &[u8],
    declared: Option<usize>,
    cap: usize,
) -> Result<Vec<u8>, CodecError> {
    let mut out = b"of another body".to_vec();
    let result = codec::decompress(codec, body, declared, cap, &mut out);
    assert!(out.len() <= cap, "{codec:?} made {} bytes", out.len());
    // The promise is about twice the cap; the rest is the least that a reader asks for.
    assert!(out.capacity() <= 2 * cap + 64, "{codec:?} held more");
    match result {
        Ok(()) => Ok(out),
        Err(error) => {
            assert!(out.is_empty(), "{codec:?} left something after {error}");
            Err(error)
        }
    }
}

/// Panics unless a body decompresses within its cap, and whatever is compressed comes back.
pub fn decompress(data: &[u8]) -> bool {
    let [codec, low, high, body @ ..] = data else {
        return false;
    };
    let codec = CODECS[usize::from(*codec) % CODECS.len()];
    let declared = match u16::from_le_bytes([*low, *high]) {
        u16::MAX => None,
        size => Some(usize::from(size)),
    };
    comes_back(codec, body);
    let Ok(plain) = decompressed(codec, body, declared, CAP) else {
        return false;
    };
    let size = plain.len();
    assert!(codec != Codec::Lz4 || declared == Some(size));
    assert_eq!(
        decompressed(codec, body, Some(size), CAP).as_deref(),
        Ok(&plain[..]),
        "a true declaration changes nothing"
    );
    if let Some(cap) = size.checked_sub(1) {
        let declared = (codec == Codec::Lz4).then_some(size);
        assert_eq!(
            decompressed(codec, body, declared, cap),
            Err(CodecError::TooLarge { cap })
        );
    }
    true
}

fn comes_back(codec: Codec, body: &[u8]) {
    let plain = &body[..body.len().min(CAP)];
    let packed = codec::compress(codec, plain).expect("bytes in memory can be compressed");
    let size = plain.len();
    assert_eq!(
        decompressed(codec, &packed, Some(size), size).as_deref(),
        Ok(plain)
    );
    // A cut deflate stream could by chance be a whole one without the header of zlib.
    if matches!(codec, Codec::Gzip | Codec::Zstd) {
        let cut = &packed[..packed.len() - 1];
        let result = decompressed(codec, cut, None, CAP);
        assert_eq!(result, Err(CodecError::Malformed), "{codec:?}");
    }
}
