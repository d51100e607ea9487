//! The yardstick: a bare hyper server that reads each body and answers with a fixed status and nothing
//! else. With a certificate it speaks TLS 1.3, and HTTP/2 to who asks for it.
//!
//! It does what any HTTP service on hyper must do and no more. Tollgate's cost is told as a multiple
//! of its cost, since both then meet the same machine at the same moment. Not here: limits on
//! connections, on sizes, and a graceful stop; the bench kills it.

use std::convert::Infallible;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::wire::Wire;

/// Long, since connections stand idle in some scenarios.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3600);

/// Options of the yardstick.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// What it answers.
    status: u16,
    /// Each connection stays with one thread, which has a runtime of its own, as Tollgate's do.
    #[arg(long)]
    own_threads: bool,
    /// PEM file of its certificate.
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long)]
    key: Option<PathBuf>,
}

/// Serves until the process is ended. Prints its address first.
pub fn run(options: &Options) -> anyhow::Result<()> {
    tollgate::edge::descriptors::raise().context("there is no limit of descriptors to go by")?;
    let status = StatusCode::from_u16(options.status)?;
    let tls = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let chain = vec![CertificateDer::from_pem_file(cert)?];
            let mut config = ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(&[&rustls::version::TLS13])?
                .with_no_client_auth()
                .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
            let wires = [Wire::Http2, Wire::Tls];
            config.alpn_protocols = wires.map(|wire| wire.protocol().to_vec()).into();
            Some(TlsAcceptor::from(Arc::new(config)))
        }
        _ => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut threads = Vec::new();
    if options.own_threads {
        for _ in 0..runtime.metrics().num_workers() {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            threads.push(builder.worker_threads(1).enable_all().build()?);
        }
    }
    runtime.block_on(serve(status, tls, &threads))
}

async fn serve(
    status: StatusCode,
    tls: Option<TlsAcceptor>,
    threads: &[Runtime],
) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut output = std::io::stdout();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let address = listener.local_addr()?;
    writeln!(output, "  events in  {scheme}://{address}")?;
    writeln!(output, "{}", crate::servers::READY)?;
    output.flush()?;
    let mut connections = JoinSet::new();
    let mut turns = threads.iter().cycle();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        while connections.try_join_next().is_some() {}
        let runtime = turns
            .next()
            .map_or_else(Handle::current, |it| it.handle().clone());
        let (stream, tls) = (stream.into_std()?, tls.clone());
        let served = async move {
            // It belongs to the runtime from here on.
            let Ok(stream) = TcpStream::from_std(stream) else {
                return;
            };
            match tls {
                None => over_http1(stream, status).await,
                Some(tls) => over_tls(stream, tls, status).await,
            }
        };
        drop(connections.spawn_on(served, &runtime));
    }
}

/// What comes of a connection is of no matter: the load generator tells what is wrong.
async fn over_http1(stream: impl AsyncRead + AsyncWrite + Unpin, status: StatusCode) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| answer(request, status)),
        );
    drop(served.await);
}

async fn over_tls(stream: TcpStream, tls: TlsAcceptor, status: StatusCode) {
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    if stream.get_ref().1.alpn_protocol() != Some(Wire::Http2.protocol()) {
        return over_http1(stream, status).await;
    }
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| answer(request, status)),
        );
    drop(served.await);
}

async fn answer(
    request: Request<Incoming>,
    fixed: StatusCode,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut body = request.into_body();
    let mut status = fixed;
    while let Some(frame) = body.frame().await {
        if frame.is_err() {
            status = StatusCode::BAD_REQUEST;
            break;
        }
    }
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    Ok(response)
}
