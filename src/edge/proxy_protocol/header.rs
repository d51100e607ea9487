//! The header of the PROXY protocol, versions 1 and 2, as pure functions over bytes.
//!
//! Source: `doc/proxy-protocol.txt` of HAProxy. Of version 2 the addresses of TCP over IPv4 and IPv6
//! are read; what follows them (TLVs) is skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, with its line end.
pub const MAX_V1: usize = 107;
/// The longest part of a header of version 2 after its first 16 bytes. The protocol allows 65,535; no
/// load balancer needs a tenth of that.
pub const MAX_V2_REST: usize = 1024;
/// The longest header.
pub const MAX_HEADER: usize = V2_FIXED + MAX_V2_REST;

const V1_START: &[u8] = b"PROXY ";
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const V2_FIXED: usize = 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The beginning of a header: every byte belongs to it, and there is at least one more.
    Partial,
    /// A whole header.
    Whole {
        /// Its length. What follows belongs to TLS or HTTP.
        length: usize,
        /// Who is behind the load balancer, an IPv4 address as IPv4; `None` when it speaks for
        /// itself (`LOCAL`, a health check) or does not know (`UNKNOWN`).
        source: Option<SocketAddr>,
    },
    /// No header, whatever follows.
    Fault(HeaderFault),
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// They begin with something else.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// They begin as one and break its form.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// It is longer than a header may be.
    #[error("the PROXY header is too long")]
    TooLong,
}

/// Looks at the first bytes of a connection.
#[must_use]
pub fn scan(bytes: &[u8]) -> Scan {
    let outcome = if starts_like(bytes, V1_START) {
        version_1(bytes)
    } else if starts_like(bytes, V2_START) {
        version_2(bytes)
    } else {
        Err(HeaderFault::Missing)
    };
    match outcome {
        Ok(Some((length, source))) => Scan::Whole { length, source },
        Ok(None) => Scan::Partial,
        Err(fault) => Scan::Fault(fault),
    }
}

/// Length and source of a whole header, or `None` for the beginning of one.
type Outcome = Result<Option<(usize, Option<SocketAddr>)>, HeaderFault>;

/// Whether the bytes begin with `start`, as far as they go.
fn starts_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.starts_with(start) || start.starts_with(bytes)
}

fn version_1(bytes: &[u8]) -> Outcome {
    let longest = bytes.get(..MAX_V1).unwrap_or(bytes);
    let Some(end) = longest.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() >= MAX_V1 {
            Err(HeaderFault::TooLong)
        } else {
            Ok(None)
        };
    };
    let line = longest.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let text = line.and_then(|line| std::str::from_utf8(line).ok());
    let source = text.and_then(line_source).ok_or(HeaderFault::Malformed)?;
    Ok(Some((end + 1, source)))
}

/// The source that a line of version 1 names; outer `None` when it is malformed.
fn line_source(line: &str) -> Option<Option<SocketAddr>> {
    if !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None); // what else stands there is to be ignored
    }
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let source = address(words.next()?)?;
    address(words.next()?)?; // the target: its form must be right
    let source_port = port(words.next()?)?;
    port(words.next()?)?;
    let source = SocketAddr::new(source.to_canonical(), source_port);
    words.next().is_none().then_some(Some(source))
}

/// A port without sign and without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    (plain && !padded).then(|| text.parse().ok()).flatten()
}

fn version_2(bytes: &[u8]) -> Outcome {
    let after_start = bytes.get(V2_START.len()..).unwrap_or_default();
    let (command, family) = match after_start {
        [] => return Ok(None),
        [command, ..] if !matches!(command, 0x20 | 0x21) => return Err(HeaderFault::Malformed),
        [_] => return Ok(None),
        [command, family, ..] => (*command, *family),
    };
    let Some([high, low]) = after_start.get(2..4) else {
        return Ok(None);
    };
    let rest = usize::from(u16::from_be_bytes([*high, *low]));
    if rest > MAX_V2_REST {
        return Err(HeaderFault::TooLong);
    }
    let local = command == 0x20;
    let addresses = match family {
        _ if local => 0,
        0x00 => 0,
        0x11 => 12,
        0x21 => 36,
        _ => return Err(HeaderFault::Malformed),
    };
    if rest < addresses {
        return Err(HeaderFault::Malformed);
    }
    let Some(rest) = bytes.get(V2_FIXED..V2_FIXED + rest) else {
        return Ok(None);
    };
    let source = match (local, family) {
        (false, 0x11) => v4_source(rest),
        (false, 0x21) => v6_source(rest),
        _ => None,
    };
    Ok(Some((V2_FIXED + rest.len(), source)))
}

/// Source address, target address, source port, target port.
fn v4_source(rest: &[u8]) -> Option<SocketAddr> {
    let address: [u8; 4] = *rest.first_chunk()?;
    let port: [u8; 2] = *rest.get(8..)?.first_chunk()?;
    Some(SocketAddr::from((address, u16::from_be_bytes(port))))
}

fn v6_source(rest: &[u8]) -> Option<SocketAddr> {
    let address: [u8; 16] = *rest.first_chunk()?;
    let port: [u8; 2] = *rest.get(32..)?.first_chunk()?;
    let address = Ipv6Addr::from(address).to_canonical();
    Some(SocketAddr::new(address, u16::from_be_bytes(port)))
}
