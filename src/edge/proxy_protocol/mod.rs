//! The PROXY protocol: a load balancer for TCP tells, at the start of a connection, whom it is from.
//!
//! Promise: the header is taken off the socket to its last byte and no further, so what follows
//! belongs to TLS or HTTP; at most [`header::MAX_HEADER`] bytes are read. Bytes that cannot become a
//! header are told at once, not at the deadline. The deadline is the caller's: put a timeout around
//! [`take_header`]. Whom to ask for a header says `config::ProxyProtocol::role`.

pub mod header;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use self::header::{HeaderFault, MAX_HEADER, Scan, scan};

/// Why no header could be taken.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The bytes are none.
    #[error(transparent)]
    Fault(#[from] HeaderFault),
    /// The peer closed the connection before the header was whole.
    #[error("the connection ended before its PROXY header")]
    Ended,
    /// The socket failed.
    #[error("the socket failed before its PROXY header: {0}")]
    Socket(#[from] io::Error),
}

/// Takes a header off a connection. Gives who is behind the load balancer, or `None` when that
/// speaks for itself or does not know.
///
/// # Errors
/// When the connection does not begin with a header, ends, or fails. Close it then: some of its
/// bytes may be gone.
pub async fn take_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, HeaderError> {
    let mut buffer = vec![0; MAX_HEADER];
    let mut taken = 0;
    loop {
        // Bytes are looked at first, and only taken when they are known to be the header's.
        let free = buffer.get_mut(taken..).unwrap_or_default();
        let seen = taken + stream.peek(free).await?;
        if seen == taken {
            return Err(HeaderError::Ended);
        }
        let scanned = scan(buffer.get(..seen).unwrap_or_default());
        let end = match scanned {
            Scan::Partial => seen,
            Scan::Whole { length, .. } => length,
            Scan::Fault(fault) => return Err(fault.into()),
        };
        let known = buffer.get_mut(taken..end).unwrap_or_default();
        taken += stream.read_exact(known).await?;
        if let Scan::Whole { source, .. } = scanned {
            return Ok(source);
        }
    }
}
