//! HTTP on one connection, until its end.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::{HttpService, Service};
use hyper_util::rt::TokioTimer;
use tokio::time::sleep_until;
use tokio_util::task::TaskTracker;

use super::Stop;
use super::echo::Echo;
use super::establish::Established;
use super::http1::Http1;
use super::lifetime::{Due, Lifetime, Protocol};
use super::refusals::Refusals;
use super::service::{Requests, answering};
use super::transport::Transport;
use super::way::{Post, Way};
use crate::foundation::stall::StallGuard;
use crate::front::Reply;
use crate::telemetry::ConnectionEnd;

type Io = StallGuard<Transport>;
type Http2<S> = http2::Connection<Io, S, Streams>;

/// The largest frame that HTTP/2 clients may send: the smallest that the protocol allows.
const MAX_FRAME: u32 = 16 << 10;

/// Tells HTTP/2 with prior knowledge from HTTP/1, where a listener takes both.
///
/// # Errors
/// Why the connection is to be closed instead.
pub(super) async fn choose_protocol(
    mut established: Established,
    way: &Way,
    post: &Post,
) -> Result<Established, ConnectionEnd> {
    let (transport, peer) = (&mut established.transport, &established.peer);
    if way.http2.prior_knowledge && !peer.secure {
        let limit = way.rules.bounds.life.first_byte_timeout;
        let told = tokio::select! {
            biased;
            told = tokio::time::timeout(limit, transport.begins_http2()) => told,
            () = post.stop.settled() => return Err(ConnectionEnd::Stopped),
        };
        match told {
            Ok(Ok(true)) => established.protocol = Protocol::Http2,
            Ok(Ok(false)) => {}
            Ok(Err(_)) => return Err(ConnectionEnd::Broken),
            Err(_) => return Err(ConnectionEnd::FirstByteTimeout),
        }
    }
    Ok(established)
}

/// A connection that speaks HTTP. Made by a function that is not async: what is moved on its way to
/// hyper would take its room twice in the task, for as long as the connection lives.
enum Either<'s, S: HttpService<Incoming>> {
    Http1(Http1<'s, S>),
    Http2(Pin<Box<Http2<S>>>),
}

/// Serves HTTP until the connection ends.
pub(super) async fn serve(established: Established, way: &Way, post: &Arc<Post>) -> ConnectionEnd {
    let (life, spoken) = speak(established, way, post, answering);
    let _entry = way.shared.crowd.enter(&life);
    match spoken {
        Either::Http1(mut connection) => supervise(&mut connection, &life, &post.stop).await,
        Either::Http2(mut connection) => supervise(&mut connection, &life, &post.stop).await,
    }
}

fn speak<'s, S>(
    established: Established,
    way: &'s Way,
    post: &Arc<Post>,
    answering: fn(Arc<Requests>) -> S,
) -> (Arc<Lifetime>, Either<'s, S>)
where
    S: Service<Request<Incoming>, Response = Reply, Error = Infallible>,
    S::Future: Send + 'static,
{
    let (bounds, shared) = (&way.rules.bounds, &way.shared);
    let Established {
        transport,
        protocol,
        peer,
        slot,
    } = established;
    let life = Arc::new(Lifetime::new(protocol, bounds.life));
    let requests = Arc::new(Requests {
        front: Arc::clone(&shared.front),
        metrics: Arc::clone(&shared.metrics),
        peer,
        post: Arc::clone(post),
        protocol,
        life: Arc::clone(&life),
        max_headers: bounds.max_headers,
        refusals: slot.map(|slot| Refusals::new(slot, bounds.refusal_delay)),
    });
    let transport = transport.watched_by(Arc::clone(&life));
    let spoken = match protocol {
        Protocol::Http1 => Either::Http1(Http1::new(transport, requests, answering, bounds)),
        Protocol::Http2 => {
            let io = StallGuard::new(transport, bounds.write_timeout);
            Either::Http2(Box::pin(http2(io, answering(requests), way)))
        }
    };
    (life, spoken)
}

fn http2<S>(io: Io, answering: S, way: &Way) -> Http2<S>
where
    S: Service<Request<Incoming>, Response = Reply, Error = Infallible>,
    S::Future: Send + 'static,
{
    let rules = &way.http2;
    let small = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    http2::Builder::new(Streams(way.shared.tasks.clone()))
        .timer(TokioTimer::new())
        .max_concurrent_streams(rules.max_concurrent_streams)
        .max_pending_accept_reset_streams(rules.max_pending_resets as usize)
        .max_local_error_reset_streams(rules.max_error_resets as usize)
        .max_header_list_size(small(way.rules.bounds.max_header))
        .initial_stream_window_size(small(rules.stream_window.as_usize()))
        .initial_connection_window_size(small(rules.connection_window.as_usize()))
        .adaptive_window(false)
        .max_frame_size(MAX_FRAME)
        .max_send_buf_size(rules.max_send_buffer.as_usize())
        .keep_alive_interval(rules.ping_interval.get())
        .keep_alive_timeout(rules.ping_timeout.get())
        .serve_connection(io, answering)
}

/// Runs the streams of HTTP/2 connections: each has a task of its own.
#[derive(Clone, Debug)]
struct Streams(TaskTracker);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// A connection on which HTTP is spoken.
pub(super) trait Spoken {
    /// Takes a step, until its end.
    fn poll(&mut self, context: &mut Context<'_>, life: &Lifetime) -> Poll<ConnectionEnd>;
    /// It is to take no further requests.
    fn drain(&mut self);
    /// It is to give its buffers back, if it can. A step has to follow.
    fn rest(&mut self) {}
}

impl<S> Spoken for Pin<Box<Http2<S>>>
where
    S: Service<Request<Incoming>, Response = Reply, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn poll(&mut self, context: &mut Context<'_>, life: &Lifetime) -> Poll<ConnectionEnd> {
        let result = ready!(self.as_mut().as_mut().poll(context));
        Poll::Ready(end(result, life))
    }

    fn drain(&mut self) {
        self.as_mut().graceful_shutdown();
    }
}

/// Drives a connection, asks its life after each step what is due, and does it.
async fn supervise(connection: &mut impl Spoken, life: &Lifetime, stop: &Stop) -> ConnectionEnd {
    let mut no_more = pin!(stop.no_more.cancelled());
    let mut stopped = pin!(stop.settled());
    let mut called = pin!(life.called());
    let (mut retired, mut stopping) = (false, false);
    let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
    let mut armed = false;
    let mut echo = Echo::new();
    let bell = echo.bell();
    std::future::poll_fn(|context| {
        echo.follow(context);
        // All of these wake by the bell, and are asked when it has rung.
        let mut rung = bell.has_rung();
        if rung {
            let context = &mut bell.context();
            if !retired && no_more.as_mut().poll(context).is_ready() {
                retired = true;
                life.retire(ConnectionEnd::Stopped);
                life.hurry();
            }
            if !stopping && stopped.as_mut().poll(context).is_ready() {
                stopping = true;
                // What has come whole is taken up first: told at once, the protocol would drop it.
                if let Poll::Ready(end) = echo.poll(|context| connection.poll(context, life)) {
                    return Poll::Ready(end);
                }
                life.drain(ConnectionEnd::Stopped);
                connection.drain();
            }
            // It only wakes.
            while called.as_mut().poll(context).is_ready() {
                called.set(life.called());
            }
        }
        loop {
            if let Poll::Ready(end) = echo.poll(|context| connection.poll(context, life)) {
                return Poll::Ready(end);
            }
            // `Drain` comes once, and `Rest` once until more has been read.
            let at = match life.due() {
                Due::Close(end) => return Poll::Ready(end),
                Due::Drain => {
                    connection.drain();
                    continue;
                }
                Due::Rest => {
                    connection.rest();
                    continue;
                }
                Due::At(at) => at,
            };
            // A timer that is too early is left, and looked at again when it fires: requests come
            // more often than deadlines.
            if !armed || at < timer.deadline() {
                timer.as_mut().reset(at);
                armed = true;
            } else if !rung {
                return Poll::Pending;
            }
            ready!(timer.as_mut().poll(&mut bell.context()));
            (armed, rung) = (false, false);
        }
    })
    .await
}

/// How a connection ended of which hyper says so.
pub(super) fn end(result: hyper::Result<()>, life: &Lifetime) -> ConnectionEnd {
    let Err(error) = result else {
        return life.end();
    };
    tracing::debug!(%error, "a connection ended with an error");
    match io_kind(&error) {
        Some(io::ErrorKind::TimedOut) => ConnectionEnd::WriteTimeout,
        Some(_) => ConnectionEnd::Broken,
        None if error.is_timeout() => ConnectionEnd::PingTimeout,
        None if error.is_incomplete_message() || error.is_closed() => ConnectionEnd::Broken,
        None => ConnectionEnd::ProtocolError,
    }
}

/// The kind of the I/O error at the bottom of an error, if there is one.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = error.source();
    }
    None
}
