//! The yardstick: a bare hyper server that reads each body and answers with a fixed status and nothing
//! else: 200 beside what is accepted, 403 beside what is refused.
//!
//! It does what any HTTP service on hyper must do and no more. Tollgate's cost is told as a multiple
//! of its cost, since both then meet the same machine at the same moment. Not here: limits on
//! connections, on sizes, and a graceful stop; the bench kills it.

use std::convert::Infallible;
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the process is ended. Prints its address first.
pub fn run(status: u16) -> anyhow::Result<()> {
    let status = StatusCode::from_u16(status)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(status))
}

async fn serve(status: StatusCode) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut output = std::io::stdout();
    writeln!(output, "  events in  http://{}", listener.local_addr()?)?;
    writeln!(output, "{}", crate::servers::READY)?;
    output.flush()?;
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| answer(request, status)),
                )
                .await
        });
    }
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
