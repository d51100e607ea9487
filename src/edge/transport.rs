//! The bytes of a connection, encrypted or not. It tells the connection's life what arrives.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::frames::Frames;
use super::lifetime::{HangUp, Lifetime, Protocol};

/// What an HTTP/2 connection begins with.
pub(super) const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection's stream, with bytes that were read ahead and are read again.
#[derive(Debug)]
pub(super) struct Transport {
    stream: Stream,
    ahead: BytesMut,
    /// Set when HTTP begins.
    life: Option<Arc<Lifetime>>,
    /// Of HTTP/2.
    frames: Option<Frames>,
    /// Whether the other end has gone: what is written leads nowhere.
    gone: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    // Boxed: it is a kilobyte, and most connections of a plain listener would carry that for nothing.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

/// Bytes that are read at once by a connection that rests: most requests whole.
const READ_AHEAD: usize = 2048;

impl Transport {
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(stream),
            ahead: BytesMut::new(),
            life: None,
            frames: None,
            gone: false,
        }
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream)),
            ahead: BytesMut::new(),
            life: None,
            frames: None,
            gone: false,
        }
    }

    /// Tells `life` from now on what arrives.
    pub(super) fn watched_by(mut self, life: Arc<Lifetime>) -> Self {
        self.frames = (life.protocol() == Protocol::Http2).then(Frames::new);
        self.life = Some(life);
        self
    }

    /// Whether the first bytes are the preface of HTTP/2. Waits until that can be told; the bytes
    /// are read again afterwards.
    ///
    /// # Cancel safety
    /// Not: what was read is lost with the future. Only to be given up with the connection.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        let mut first = [0; HTTP2_PREFACE.len()];
        let mut length = 0;
        let is = loop {
            let (read, rest) = first.split_at_mut(length);
            if !HTTP2_PREFACE.starts_with(read) {
                break false;
            }
            if rest.is_empty() {
                break true;
            }
            match self.read(rest).await? {
                0 => break false,
                count => length += count,
            }
        };
        self.put_back(first.get(..length).unwrap_or_default());
        Ok(is)
    }

    /// Bytes that are to be read again, before what comes.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        let mut whole = BytesMut::with_capacity(bytes.len() + self.ahead.len());
        whole.extend_from_slice(bytes);
        whole.extend_from_slice(&self.ahead);
        self.ahead = whole;
    }

    /// Whether bytes are to be read again.
    pub(super) fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Reads ahead while nobody else reads: until something has come, or its end. Where a part of a
    /// head has come before, until the head is whole as far as can be told, or as long as `most`.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>, most: usize) -> Poll<()> {
        let begun = self.is_ahead();
        loop {
            let mut room = [MaybeUninit::uninit(); READ_AHEAD];
            let mut buffer = ReadBuf::uninit(&mut room);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            let bytes = buffer.filled();
            // An error or the end comes again.
            if read.is_err() || bytes.is_empty() {
                return Poll::Ready(());
            }
            if let Some(life) = &self.life {
                life.received(bytes.len());
            }
            let from = self.ahead.len().saturating_sub(HEAD_END.len() - 1);
            self.ahead.extend_from_slice(bytes);
            let new = self.ahead.get(from..).unwrap_or_default();
            if !begun || self.ahead.len() >= most || ends_head(new) {
                return Poll::Ready(());
            }
        }
    }
}

/// The longer of the two ends that a head may have after its last line.
const HEAD_END: &[u8] = b"\n\r\n";

/// Whether the empty line at the end of a head is among these bytes.
fn ends_head(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        rest.starts_with(HEAD_END) || rest.starts_with(b"\n\n")
    })
}

impl Transport {
    fn fill(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(self.ahead.get(..length).unwrap_or_default());
            self.ahead.advance(length);
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        // An error is an end as well: it comes again, or the end does.
        let Poll::Ready(read) = self.as_mut().fill(context, buffer) else {
            if let Some(life) = &self.life {
                life.starves();
            }
            return Poll::Pending;
        };
        let count = buffer.filled().len() - before;
        let this = &mut *self;
        if let Some(life) = &this.life {
            if count > 0 {
                life.received(count);
                if let Some(frames) = &mut this.frames {
                    let bytes = buffer.filled().get(before..).unwrap_or_default();
                    let cost = frames.cost(bytes);
                    if cost > 0 {
                        life.owes(cost);
                    }
                }
            } else if buffer.remaining() > 0 {
                match life.hung_up() {
                    HangUp::Now => {}
                    HangUp::NextStep => {
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    // Each answer wakes the connection.
                    HangUp::Answered => return Poll::Pending,
                }
            }
        }
        Poll::Ready(read)
    }
}

impl Transport {
    /// What a write gave, unless the client is gone. Then it counts as done: an error would make the
    /// protocol forget requests that have come whole before, and their events would be lost.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, all: T) -> Poll<io::Result<T>> {
        // A flush follows, when the protocol has nothing more to write.
        if let Some(life) = &self.life {
            life.flushes(false);
        }
        let (Poll::Ready(Err(error)), Some(life)) = (&written, &self.life) else {
            return written;
        };
        tracing::debug!(%error, "the client is gone");
        life.gone();
        self.gone = true;
        Poll::Ready(Ok(all))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gone {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.written(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        if self.gone {
            return Poll::Ready(Ok(all));
        }
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        };
        self.written(written, all)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gone {
            return Poll::Ready(Ok(()));
        }
        let flushed = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        };
        let flushed = self.written(flushed, ());
        if let (Poll::Ready(Ok(())), Some(life)) = (&flushed, &self.life) {
            life.flushes(true);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        };
        self.written(closed, ())
    }
}
