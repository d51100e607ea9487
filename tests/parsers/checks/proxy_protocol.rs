//! The header of the PROXY protocol.

use std::net::{IpAddr, SocketAddr};

use tollgate::edge::proxy_protocol::header::{MAX_HEADER, MAX_V1, Scan, scan};

/// Panics unless bytes are read the same however they arrive, and a header written again names the
/// same source. Says whether they begin with a whole header.
pub fn proxy_protocol(data: &[u8]) -> bool {
    let whole = scan(data);
    for end in (0..data.len()).take(MAX_HEADER + 1) {
        let part = scan(&data[..end]);
        match (part, whole) {
            // Not known yet: every byte so far belongs to the header, if it becomes one.
            (Scan::Partial, Scan::Whole { length, .. }) => assert!(end < length),
            (Scan::Partial, _) => {}
            (decided, whole) => assert_eq!(decided, whole, "after {end} bytes"),
        }
    }
    let Scan::Whole { length, source } = whole else {
        assert!(whole != Scan::Partial || data.len() < MAX_HEADER);
        return false;
    };
    assert!(length <= data.len() && length <= MAX_HEADER);
    assert!(data[0] != b'P' || length <= MAX_V1);
    if let Some(source) = source {
        assert_eq!(source.ip(), source.ip().to_canonical());
        for header in [version_1(source), version_2(source)] {
            let read = Scan::Whole {
                length: header.len(),
                source: Some(source),
            };
            assert_eq!(scan(&header), read);
        }
    }
    true
}

fn version_1(source: SocketAddr) -> Vec<u8> {
    let (family, target) = match source.ip() {
        IpAddr::V4(_) => ("TCP4", "10.0.0.1"),
        IpAddr::V6(_) => ("TCP6", "::1"),
    };
    let (address, port) = (source.ip(), source.port());
    format!("PROXY {family} {address} {target} {port} 443\r\n").into_bytes()
}

fn version_2(source: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    match source.ip() {
        IpAddr::V4(address) => {
            header.extend([0x11, 0, 12]);
            header.extend(address.octets());
            header.extend([10, 0, 0, 1]);
        }
        IpAddr::V6(address) => {
            header.extend([0x21, 0, 36]);
            header.extend(address.octets());
            header.extend([0; 16]);
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend([1, 187]);
    header
}
