//! Compression of bodies, as `x-log-compresstype` names it.
//!
//! Promise: a decoder never allocates by a size that the sender merely claims, and stops at `cap`;
//! what is not one whole, clean stream is an error. When a body decodes to more than `cap`:
//! [`CodecError::TooLarge`], with no more than about `2 * cap` ever held. Not here: HTTP's
//! `Content-Encoding`, which no client of SLS uses.
//!
//! Forms on the wire: lz4 is a raw block without a length in front, so the size must come with it;
//! deflate is zlib (RFC 1950), and bare RFC 1951 is understood too, since the API reference names
//! it; zstd and gzip are their standard frames.

use std::io::{Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use lz4_flex::block::DecompressError;

/// Level for zstd: what the official Go and Python producers use.
const ZSTD_LEVEL: i32 = 1;
/// Windows of zstd frames up to 8 MiB are always accepted: its own guidance for decoders.
const MIN_WINDOW_LOG: u32 = 23;
/// And never more than 128 MiB.
const MAX_WINDOW_LOG: u32 = 27;
/// One byte of an lz4 block makes at most so many bytes of output.
const LZ4_EXPANSION: usize = 255;
/// Output room that inflating asks for at a time.
const INFLATE_STEP: usize = 32 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// A raw LZ4 block.
    Lz4,
    /// zlib.
    Deflate,
    /// A Zstandard frame.
    Zstd,
    /// gzip.
    Gzip,
}

/// Why a body could not be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The plain body is, or claims to be, larger than the cap.
    #[error("the body is larger than {cap} bytes before compression")]
    TooLarge {
        /// The cap, in bytes.
        cap: usize,
    },
    /// Not one whole stream of that codec.
    #[error("the body is not a well-formed compressed stream")]
    Malformed,
    /// An lz4 block came without its plain size.
    #[error("an lz4 body needs its size before compression (x-log-bodyrawsize)")]
    MissingRawSize,
    /// An lz4 block holds another number of bytes than declared.
    #[error("the body has {found} bytes before compression, not {declared} as declared")]
    RawSizeMismatch {
        /// What `x-log-bodyrawsize` said.
        declared: usize,
        /// What was found; at least so many, when it is more than declared.
        found: usize,
    },
}

impl Codec {
    /// The codec that a value of `x-log-compresstype` names, in any case of letters.
    #[must_use]
    pub fn from_header(value: &[u8]) -> Option<Self> {
        [Self::Lz4, Self::Deflate, Self::Zstd, Self::Gzip]
            .into_iter()
            .find(|codec| {
                codec
                    .as_header()
                    .is_some_and(|name| value.eq_ignore_ascii_case(name.as_bytes()))
            })
    }

    /// The value for `x-log-compresstype`; without compression the header is left out.
    #[must_use]
    pub fn as_header(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Lz4 => Some("lz4"),
            Self::Deflate => Some("deflate"),
            Self::Zstd => Some("zstd"),
            Self::Gzip => Some("gzip"),
        }
    }
}

/// Compresses `raw`.
///
/// # Errors
/// [`CodecError::Malformed`] when the codec's library fails, which it does not for bytes in memory.
pub fn compress(codec: Codec, raw: &[u8]) -> Result<Vec<u8>, CodecError> {
    let level = Compression::fast();
    let compressed = match codec {
        Codec::None => Ok(raw.to_vec()),
        Codec::Lz4 => Ok(lz4_flex::block::compress(raw)),
        Codec::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(raw).and_then(|()| encoder.finish())
        }
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(raw).and_then(|()| encoder.finish())
        }
        Codec::Zstd => zstd::bulk::compress(raw, ZSTD_LEVEL),
    };
    compressed.map_err(|_| CodecError::Malformed)
}

/// Decompresses the whole of `input` into `out`, which is emptied first and, on an error, after.
///
/// `declared_raw` is the plain size that the sender claims. lz4 must decode to exactly it; the other
/// codecs know where they end, and clients that count characters instead of bytes are in wide use,
/// so there only a claim above `cap` counts.
///
/// # Errors
/// See [`CodecError`].
pub fn decompress(
    codec: Codec,
    input: &[u8],
    declared_raw: Option<usize>,
    cap: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    out.clear();
    if declared_raw.is_some_and(|declared| declared > cap) {
        return Err(CodecError::TooLarge { cap });
    }
    let decoded = match codec {
        Codec::None => copy(input, cap, out),
        Codec::Lz4 => unlz4(input, declared_raw, cap, out),
        Codec::Deflate => inflate(input, true, cap, out).or_else(|error| match error {
            CodecError::Malformed => inflate(input, false, cap, out),
            other => Err(other),
        }),
        Codec::Gzip => read_capped(MultiGzDecoder::new(input), input, cap, out),
        Codec::Zstd => unzstd(input, cap, out),
    };
    if decoded.is_err() {
        out.clear();
    }
    decoded
}

fn copy(input: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    if input.len() > cap {
        return Err(CodecError::TooLarge { cap });
    }
    out.extend_from_slice(input);
    Ok(())
}

fn unlz4(
    input: &[u8],
    declared_raw: Option<usize>,
    cap: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let declared = declared_raw.ok_or(CodecError::MissingRawSize)?;
    let most = input.len().saturating_mul(LZ4_EXPANSION).saturating_add(16);
    out.resize(declared.min(most).min(cap), 0);
    let found = match lz4_flex::block::decompress_into(input, out) {
        Ok(found) => found,
        Err(DecompressError::OutputTooSmall { expected, .. }) => expected.max(out.len() + 1),
        Err(_) => return Err(CodecError::Malformed),
    };
    if found == declared {
        Ok(())
    } else {
        Err(CodecError::RawSizeMismatch { declared, found })
    }
}

/// flate2's readers take a stream that is cut off for one that has ended, so this asks the state
/// machine itself.
fn inflate(
    input: &[u8],
    zlib_header: bool,
    cap: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    out.clear();
    let mut state = Decompress::new(zlib_header);
    loop {
        out.reserve(INFLATE_STEP.min(cap.saturating_sub(out.len()).saturating_add(1)));
        let read = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let rest = input.get(read..).ok_or(CodecError::Malformed)?;
        let (before_in, before_out) = (state.total_in(), out.len());
        let status = state
            .decompress_vec(rest, out, FlushDecompress::None)
            .map_err(|_| CodecError::Malformed)?;
        if out.len() > cap {
            return Err(CodecError::TooLarge { cap });
        }
        let whole = usize::try_from(state.total_in()) == Ok(input.len());
        match status {
            Status::StreamEnd if whole => return Ok(()),
            Status::StreamEnd => return Err(CodecError::Malformed),
            Status::Ok | Status::BufError => {
                if state.total_in() == before_in && out.len() == before_out {
                    return Err(CodecError::Malformed);
                }
            }
        }
    }
}

fn unzstd(input: &[u8], cap: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    // A frame made in one go needs a window as large as its content, so the limit follows the cap.
    let window_log = cap
        .checked_next_power_of_two()
        .map_or(MAX_WINDOW_LOG, usize::ilog2)
        .clamp(MIN_WINDOW_LOG, MAX_WINDOW_LOG);
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(input).map_err(|_| CodecError::Malformed)?;
    decoder
        .window_log_max(window_log)
        .map_err(|_| CodecError::Malformed)?;
    read_capped(decoder, input, cap, out)
}

/// Reads a decoder to its end. Decoders that come here fail on a cut stream and on trailing bytes;
/// an input of no bytes, which they take for an empty stream, fails here.
fn read_capped(
    decoder: impl Read,
    input: &[u8],
    cap: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    if input.is_empty() {
        return Err(CodecError::Malformed);
    }
    let limit = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
    decoder
        .take(limit)
        .read_to_end(out)
        .map_err(|_| CodecError::Malformed)?;
    if out.len() > cap {
        return Err(CodecError::TooLarge { cap });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
