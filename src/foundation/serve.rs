//! An HTTP/1.1 listener, plain or with TLS: a permit before each accept, deadlines on heads, and a stop
//! that waits for the requests in flight.
//!
//! Promise: never more than `max_connections` at once, those in a handshake included, and of one peer no
//! more than its share; a client whose
//! handshake is not done in `header_timeout`, that sends no head in as long, or does not read its answers
//! for `write_timeout`, is closed; after `stop` no new connection is taken, requests in flight are
//! answered, idle connections are closed. When it cannot accept (no descriptors): it pauses and
//! tries again, without spinning. With TLS nothing is ever answered in plain HTTP.

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
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peers::Peers;
use super::stall::StallGuard;

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Connections held at once; past it new ones wait in the kernel's queue.
    pub max_connections: u32,
    /// Time for a whole request head, counted from the start of the connection or the end of the
    /// request before. The handshake of TLS has as long, for itself.
    pub header_timeout: Duration,
    /// Time that writing an answer may stand still because the client does not read.
    pub write_timeout: Duration,
    /// Bytes of a request head.
    pub max_header: usize,
    /// What each peer may have of the connections; a further one is closed at once.
    pub peers: Option<Arc<Peers>>,
}

/// How a listener speaks TLS.
pub trait TlsSide: Send + Sync {
    /// What a new connection begins with; asked for each, since certificates change.
    fn config(&self) -> Arc<ServerConfig>;
    /// Ends once an authority by which clients are let in now is taken out.
    fn trust(&self) -> CancellationToken;
    /// Told how each handshake went.
    fn ended(&self, handshake: Handshake);
}

/// How a handshake went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// Well.
    Done,
    /// It was refused by one of the two, or the client does not speak TLS.
    Failed,
    /// It took too long.
    TimedOut,
}

/// Who has connected.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Where from.
    pub address: SocketAddr,
    /// The certificate that it has shown, where it was asked for one: good by the authorities of the
    /// listener.
    pub certificate: Option<CertificateDer<'static>>,
    /// Ends when that may be good no more, since an authority was taken out: the connection is closed
    /// after the request on its way.
    pub trust: CancellationToken,
}

/// Smallest read buffer that hyper takes.
const MIN_BUFFER: usize = 8192;
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections until `stop` is cancelled, then returns when the last one is done. Bound
/// that wait with a timeout: a slow client can hold it.
///
/// `service` makes the service of one connection from who has connected. When a service ends
/// in an error, its connection is closed without an answer.
pub async fn serve<S, B, M>(
    listener: TcpListener,
    options: ServeOptions,
    tls: Option<Arc<dyn TlsSide>>,
    service: M,
    stop: CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Error: std::error::Error + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    M: Fn(Connected) -> S + Send + Sync + 'static,
{
    let permits = Arc::new(Semaphore::new(options.max_connections as usize));
    let connections = TaskTracker::new();
    let service = Arc::new(service);
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
            Ok((stream, address)) => {
                let peers = options.peers.as_ref();
                let place = peers.map(|it| it.place(address.ip()).ok_or(()));
                let Ok(place) = place.transpose() else {
                    continue;
                };
                let (tls, service, stop) = (tls.clone(), Arc::clone(&service), stop.clone());
                let options = options.clone();
                connections.spawn(async move {
                    begin(stream, address, options, tls, &*service, stop).await;
                    drop((permit, place));
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

/// Brings a connection to where HTTP begins, and serves it.
async fn begin<S, B>(
    stream: TcpStream,
    address: SocketAddr,
    options: ServeOptions,
    tls: Option<Arc<dyn TlsSide>>,
    service: &(impl Fn(Connected) -> S + Send + Sync),
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
    let mut connected = Connected {
        address,
        certificate: None,
        trust: CancellationToken::new(),
    };
    let Some(tls) = tls else {
        return serve_connection(stream, options, service(connected), stop, None).await;
    };
    // Before the authorities are read: of two that come in between, the older trust ends too early, not late.
    let trust = tls.trust();
    let shake = TlsAcceptor::from(tls.config()).accept(stream);
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(options.header_timeout, shake) => shaken,
        () = stop.cancelled() => return,
    };
    let stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(peer = %address, %error, "a TLS handshake failed");
            return tls.ended(Handshake::Failed);
        }
        Err(_) => return tls.ended(Handshake::TimedOut),
    };
    tls.ended(Handshake::Done);
    let chain = stream.get_ref().1.peer_certificates();
    connected.certificate = chain.and_then(|all| Some(all.first()?.clone().into_owned()));
    let trust = connected.certificate.is_some().then_some(trust);
    if let Some(trust) = &trust {
        connected.trust = trust.clone();
    }
    serve_connection(stream, options, service(connected), stop, trust).await;
}

async fn serve_connection<T, S, B>(
    stream: T,
    options: ServeOptions,
    service: S,
    stop: CancellationToken,
    trust: Option<CancellationToken>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Error: std::error::Error + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_buf_size(options.max_header.max(MIN_BUFFER))
        // Without it hyper drops a request whose client hangs up after the body, before it is kept.
        .half_close(true)
        .serve_connection(StallGuard::new(stream, options.write_timeout), service);
    tokio::pin!(connection);
    let distrusted = async {
        match trust {
            Some(trust) => trust.cancelled_owned().await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = async { tokio::select! { () = stop.cancelled() => {}, () = distrusted => {} } } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
