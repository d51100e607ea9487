//! The public listener: binds its socket and hands connections to the front.
//!
//! Not here yet: TLS, HTTP/2, PROXY protocol and limits per address.

pub mod tls;

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Ingest;
use crate::foundation::serve::ServeOptions;

/// How the public listener serves, by its section of the configuration.
#[must_use]
pub fn options(ingest: &Ingest) -> ServeOptions {
    ServeOptions {
        max_connections: ingest.max_connections,
        header_timeout: ingest.header_timeout.get(),
        write_timeout: ingest.write_timeout.get(),
        max_header: ingest.max_header.as_usize(),
    }
}

/// Binds an address.
///
/// # Errors
/// When the address is taken or not ours; the error names it.
pub async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError {
            what,
            address,
            source,
        })
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {what}: {source}; choose another address, or stop what holds it"
)]
pub struct BindError {
    what: &'static str,
    address: SocketAddr,
    source: std::io::Error,
}
