//! Bodies: read under a cap and a deadline, decompressed under a cap, leased as they arrive.
//!
//! Promise: memory is taken for bytes that are there, never for a length that a client claims.
//! When the budget is full: 503 `ServerBusy` at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::event::{Reason, Refusal};
use crate::foundation::budget::{Budget, Lease, Loan};
use crate::logstore::codec::{self, Codec, CodecError};
use crate::logstore::header;

/// Bytes of a refused body that are still read.
const DRAINED: u64 = 64 << 10;
/// Time for them.
const DRAINING: Duration = Duration::from_secs(1);

/// Bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// Bytes as sent.
    pub(super) cap: usize,
    /// Time for all of it.
    pub(super) timeout: Duration,
    /// Bytes a second that must arrive, once the grace is over.
    pub(super) min_rate: u64,
    /// Time before the rate is looked at.
    pub(super) grace: Duration,
}

impl BodyLimits {
    /// Until when a body may stand at so many bytes.
    fn deadline(&self, start: Instant, received: u64) -> Instant {
        let whole = start + self.timeout;
        let Some(paid) = received.saturating_mul(1000).checked_div(self.min_rate) else {
            return whole; // no rate is asked for
        };
        // What is past the whole time is cut to it, so that no sum overflows.
        let paid = Duration::from_millis(paid).min(self.timeout);
        whole.min(start + self.grace + paid)
    }
}

/// The body of a request: on its way, or at hand. One type for both, so that the story of a request is
/// told, and compiled, once.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// Of a connection.
    Wire(Incoming),
    /// Of a request that is only tried out.
    Whole(Bytes),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Wire(body) => Pin::new(body).poll_frame(context),
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => {
                let all = std::mem::take(bytes);
                Poll::Ready(Some(Ok(Frame::data(all))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Wire(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Wire(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// Reads a whole body. While some of it is here and more is waited for, what is here is leased of
/// `budget`; a body that comes in one piece takes nothing of it. What it takes from then on is its
/// caller's to lease.
///
/// # Cancel safety
/// Dropping the future drops the bytes and gives the lease back; nothing else has happened.
pub(super) async fn read(
    body: &mut RequestBody,
    limits: BodyLimits,
    budget: &Arc<Budget>,
) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limits.cap as u64 {
        return Err(too_large(limits.cap));
    }
    let mut lease: Option<Lease> = None;
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    // Most bodies are there with their heads: clock and timer are for the others.
    let mut patience = None;
    while !body.is_end_stream() {
        let arrived = lease.as_ref().map_or(0, Lease::bytes);
        let frame = match come(body).await {
            Some(frame) => frame,
            None => {
                let patience = patience.get_or_insert_with(|| Patience::new(&limits));
                patience.wait(body, &limits, arrived).await?
            }
        };
        let Some(frame) = frame else {
            break;
        };
        let frame = frame.map_err(|_| Reason::BodyIncomplete)?;
        // Trailers are of no use here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if arrived + data.len() as u64 > limits.cap as u64 {
            return Err(too_large(limits.cap));
        }
        if arrived == 0 && body.is_end_stream() {
            return Ok(data);
        }
        let more = data.len() as u64;
        let leased = match &mut lease {
            Some(lease) => lease.grow(more),
            None => budget.lease(more).map(|first| lease = Some(first)),
        };
        leased.map_err(|_| Reason::MemoryFull)?;
        if whole.is_empty() && joined.is_empty() {
            whole = data;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&whole);
            }
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() {
        whole
    } else {
        joined.freeze()
    })
}

type Came = Option<Result<Frame<Bytes>, hyper::Error>>;

/// What has come of a body, if anything has.
async fn come(body: &mut RequestBody) -> Option<Came> {
    std::future::poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *body).poll_frame(context) {
            Poll::Ready(came) => Some(came),
            Poll::Pending => None,
        })
    })
    .await
}

/// How long a body is waited for.
struct Patience {
    start: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    fn new(limits: &BodyLimits) -> Self {
        let start = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(limits.deadline(start, 0)));
        Self { start, timer }
    }

    /// Waits for more of a body of which so many bytes have come.
    async fn wait(
        &mut self,
        body: &mut RequestBody,
        limits: &BodyLimits,
        bytes: u64,
    ) -> Result<Came, Refusal> {
        loop {
            tokio::select! {
                biased;
                frame = body.frame() => return Ok(frame),
                () = self.timer.as_mut() => {
                    let now_due = limits.deadline(self.start, bytes);
                    if Instant::now() >= now_due {
                        return Err(too_slow(limits));
                    }
                    self.timer.as_mut().reset(now_due);
                }
            }
        }
    }
}

/// Reads what is left of a small body, to throw it away. A client that is still writing when the
/// connection closes may lose the answer, and with it the reason of the refusal. A body that is not
/// small, has no length, or waits for a word of ours is left alone.
pub(super) async fn drain(body: &mut RequestBody, headers: &HeaderMap) {
    let small = body.size_hint().upper().is_some_and(|left| left <= DRAINED);
    if !small || headers.contains_key(EXPECT) {
        return;
    }
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(DRAINING, rest).await.is_err() {
        tracing::trace!("a refused client did not send the rest of its body");
    }
}

fn too_slow(limits: &BodyLimits) -> Refusal {
    let (whole, rate) = (limits.timeout.as_secs(), limits.min_rate);
    Refusal::new(
        Reason::BodyTimeout,
        format!("{whole} s are allowed, and {rate} bytes a second are asked for"),
    )
}

fn too_large(cap: usize) -> Refusal {
    Refusal::new(
        Reason::BodyTooLarge,
        format!("Body size must little than {cap}"),
    )
}

/// How a body is compressed, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    codec: Codec,
    /// `x-log-bodyrawsize`, where it can be believed to be meant in bytes.
    raw_size: Option<usize>,
}

impl Encoding {
    /// Whether the head says that the body is compressed.
    pub(super) fn is_used(headers: &HeaderMap) -> bool {
        let kind = headers.get(header::COMPRESS_TYPE);
        kind.is_some_and(|kind| !kind.is_empty())
    }

    /// Reads `x-log-compresstype` and `x-log-bodyrawsize`. The latter is looked at only together
    /// with a compression: uncompressed, the STS plugin counts UTF-16 units there.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(kind) = headers
            .get(header::COMPRESS_TYPE)
            .filter(|value| !value.is_empty())
        else {
            return Ok(Self {
                codec: Codec::None,
                raw_size: None,
            });
        };
        let codec = Codec::from_header(kind.as_bytes()).ok_or(Reason::UnknownCompression)?;
        let raw_size = match headers.get(header::BODY_RAW_SIZE) {
            None => None,
            Some(value) => {
                let digits = value
                    .to_str()
                    .ok()
                    .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
                Some(
                    digits
                        .and_then(|text| text.parse().ok())
                        .ok_or(Reason::RawSizeInvalid)?,
                )
            }
        };
        Ok(Self { codec, raw_size })
    }

    /// The bytes that a body of so many has inside, as far as that is known before it is unpacked: no
    /// more than these are ever made.
    pub(super) fn plain_size(self, sent: usize) -> Option<usize> {
        match self.codec {
            Codec::None => Some(sent),
            _ => self.raw_size,
        }
    }

    /// The plain bytes of a body: itself, or decompressed into `plain`, of at most `cap` bytes. The
    /// lease grows by what may be made before it is made.
    pub(super) fn decode<'a>(
        self,
        body: &'a [u8],
        cap: usize,
        lease: &mut Loan<'_>,
        plain: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Refusal> {
        if self.codec == Codec::None {
            return Ok(body);
        }
        let most = self.raw_size.unwrap_or(cap);
        if most > cap {
            return Err(too_large(cap));
        }
        lease.grow(most as u64).map_err(|_| Reason::MemoryFull)?;
        plain.clear();
        codec::decompress(self.codec, body, self.raw_size, most, plain)
            .map_err(|error| self.refusal(&error, cap))?;
        Ok(plain)
    }

    fn refusal(self, error: &CodecError, cap: usize) -> Refusal {
        match error {
            CodecError::TooLarge { .. } if self.raw_size.is_none() => too_large(cap),
            CodecError::TooLarge { .. } | CodecError::RawSizeMismatch { .. } => Refusal::new(
                Reason::RawSizeInvalid,
                "it is not the size that the body has when decompressed",
            ),
            CodecError::MissingRawSize => {
                Refusal::new(Reason::RawSizeInvalid, "lz4 needs x-log-bodyrawsize")
            }
            CodecError::Malformed => Reason::Uncompress.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_body_in_one_piece_takes_nothing_of_the_memory_for_arriving_ones() {
        let limits = BodyLimits {
            cap: 10,
            timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            min_rate: 1,
        };
        let full = Budget::new(0);
        let mut body = RequestBody::Whole(Bytes::from_static(b"0123456789"));
        let read = read(&mut body, limits, &full).await.unwrap();
        assert_eq!((&*read, full.used()), (&b"0123456789"[..], 0));
    }
}
