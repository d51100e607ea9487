//! An HTTP/1.1 listener: a permit before each accept, deadlines on heads, and a stop that waits for
//! the requests in flight.
//!
//! Promise: never more than `max_connections` at once; a client that sends no head in
//! `header_timeout`, or does not read its answers for `write_timeout`, is closed; after `stop` no new connection is taken, requests in flight are
//! answered, idle connections are closed. When it cannot accept (no descriptors): it pauses and
//! tries again, without spinning.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stall::StallGuard;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// Connections held at once; past it new ones wait in the kernel's queue.
    pub max_connections: u32,
    /// Time for a whole request head, counted from the start of the connection or the end of the
    /// request before.
    pub header_timeout: Duration,
    /// Time that writing an answer may stand still because the client does not read.
    pub write_timeout: Duration,
    /// Bytes of a request head.
    pub max_header: usize,
}

/// Smallest read buffer that hyper takes.
const MIN_BUFFER: usize = 8192;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `stop` is cancelled, then returns when the last one is done. Bound
/// that wait with a timeout: a slow client can hold it.
///
/// `service` makes the service of one connection from the address of its peer. When a service ends
/// in an error, its connection is closed without an answer.
pub async fn serve<S, B>(
    listener: TcpListener,
    options: ServeOptions,
    service: impl Fn(SocketAddr) -> S,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Error: std::error::Error + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(options.max_connections as usize));
    let connections = TaskTracker::new();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve_connection(stream, options, service(peer), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection<S, B>(
    stream: TcpStream,
    options: ServeOptions,
    service: S,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Error: std::error::Error + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.max_header.max(MIN_BUFFER))
        // Without it hyper drops a request whose client hangs up after the body, before it is kept.
        .half_close(true)
        .serve_connection(StallGuard::new(stream, options.write_timeout), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
