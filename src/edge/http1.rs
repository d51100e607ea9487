//! HTTP/1 on one connection, which gives its buffers back while it rests.
//!
//! hyper holds some 20 KiB for a connection (a buffer to write, one to read, its own state) from the
//! moment that it is told of it to the end, whether something is asked or not. So it is not told
//! before the first byte has come, and is taken off a connection on which nothing is under way for a
//! moment (`Lifetime::due`): the stream is all that is kept, and hyper begins anew with what comes
//! next. Nothing of HTTP/1 is remembered from one request to the next, so no client can tell.
//!
//! Promise: whatever bounds the life of a connection, or asks it to end, holds at rest as well.
//! A head that does not come in one piece rests, too: its bytes are gathered until it is whole.
//!
//! Bound: what is gathered of a head is no more than hyper would take, `max_header`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, Service};
use hyper_util::rt::TokioTimer;
use tokio::io::AsyncWrite as _;

use super::connection::{Spoken, end};
use super::lifetime::Lifetime;
use super::service::Requests;
use super::transport::Transport;
use super::way::Bounds;
use crate::foundation::stall::StallGuard;
use crate::front::Reply;
use crate::telemetry::{ConnectionEnd, Metrics};

type Hyper<S> = http1::Connection<StallGuard<Transport>, S>;

/// Smallest read buffer that hyper takes.
const MIN_BUFFER: usize = 8192;

/// A connection that speaks HTTP/1.
pub(super) struct Http1<'s, S: HttpService<Incoming>> {
    bounds: &'s Bounds,
    requests: Arc<Requests>,
    /// Makes what answers them.
    answering: fn(Arc<Requests>) -> S,
    state: State<S>,
    /// Whether it is to be drained once what has come is read.
    drains: bool,
}

enum State<S: HttpService<Incoming>> {
    // To rest allocates nothing: what is small and stays would lie in the room of what was given back.
    Resting(Rest),
    /// In the hands of hyper.
    Awake(Box<Hyper<S>>),
    /// Between the two, inside of one step.
    Turning,
}

/// All that is kept of a connection that rests.
struct Rest {
    transport: Transport,
    _counted: Counted,
}

/// A connection that counts as resting.
struct Counted(Arc<Metrics>);

impl Counted {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.edge.resting.add(1);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.edge.resting.sub(1);
    }
}

impl<'s, S> Http1<'s, S>
where
    S: Service<Request<Incoming>, Response = Reply, Error = Infallible>,
{
    /// At rest, unless some bytes have come already.
    pub(super) fn new(
        transport: Transport,
        requests: Arc<Requests>,
        answering: fn(Arc<Requests>) -> S,
        bounds: &'s Bounds,
    ) -> Self {
        let begun = transport.is_ahead();
        let mut new = Self {
            bounds,
            state: State::resting(transport, &requests),
            requests,
            answering,
            drains: false,
        };
        if begun {
            new.wake();
        }
        new
    }

    /// hyper begins with what was read ahead.
    fn wake(&mut self) {
        let State::Resting(rest) = std::mem::replace(&mut self.state, State::Turning) else {
            return;
        };
        self.requests.life.rests(false);
        let bounds = self.bounds;
        let io = StallGuard::new(rest.transport, bounds.write_timeout);
        let answering = (self.answering)(Arc::clone(&self.requests));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The connection's life has the deadlines: this one would count idle time as well.
            .header_read_timeout(None)
            .max_headers(bounds.max_headers)
            .max_buf_size(most(bounds))
            // Without it hyper drops a request whose client hangs up after the body, before it is kept.
            .half_close(true)
            .serve_connection(io, answering);
        self.state = State::Awake(Box::new(connection));
    }
}

impl<S: HttpService<Incoming>> State<S> {
    fn resting(transport: Transport, requests: &Requests) -> Self {
        requests.life.rests(true);
        Self::Resting(Rest {
            transport,
            _counted: Counted::new(&requests.metrics),
        })
    }
}

impl<S> Spoken for Http1<'_, S>
where
    S: Service<Request<Incoming>, Response = Reply, Error = Infallible>,
{
    fn poll(&mut self, context: &mut Context<'_>, life: &Lifetime) -> Poll<ConnectionEnd> {
        if let State::Resting(rest) = &mut self.state {
            let most = most(self.bounds);
            let more = rest.transport.poll_more(context, most);
            // What TLS has to answer to what was read, such as an alert; whoever cannot be told is gone.
            let told = Pin::new(&mut rest.transport).poll_flush(context);
            if more.is_pending() && !matches!(told, Poll::Ready(Err(_))) {
                return Poll::Pending;
            }
            self.wake();
        }
        let State::Awake(connection) = &mut self.state else {
            return Poll::Pending;
        };
        if std::mem::take(&mut self.drains) {
            if let Poll::Ready(result) = Pin::new(&mut **connection).poll(context) {
                return Poll::Ready(end(result, life));
            }
            Pin::new(&mut **connection).graceful_shutdown();
        }
        let result = ready!(Pin::new(&mut **connection).poll(context));
        Poll::Ready(end(result, life))
    }

    fn drain(&mut self) {
        if let State::Resting(_) = &self.state {
            // Told before it has read, hyper would forget the part of a head that was gathered.
            self.drains = self.requests.life.awaits_head();
            self.wake();
        }
        if let (false, State::Awake(connection)) = (self.drains, &mut self.state) {
            Pin::new(&mut **connection).graceful_shutdown();
        }
    }

    fn rest(&mut self) {
        match std::mem::replace(&mut self.state, State::Turning) {
            State::Awake(connection) => {
                let parts = connection.into_parts();
                let mut transport = parts.io.into_inner();
                transport.put_back(&parts.read_buf);
                self.state = State::resting(transport, &self.requests);
            }
            other => self.state = other,
        }
    }
}

/// The most of a head that is taken.
fn most(bounds: &Bounds) -> usize {
    bounds.max_header.max(MIN_BUFFER)
}
