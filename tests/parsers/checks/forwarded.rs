//! The headers that name the client's address.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue};
use tollgate::foundation::client_address::{
    AddressHeader, Ended, MAX_HOPS, ProxyRules, SchemeSource, client, trace,
};

/// Panics unless what a client writes leaves what a proxy appended as it is, and the address is one
/// that stands in the header. Says whether the header alone names a client. The first byte chooses
/// the header.
pub fn forwarded(data: &[u8]) -> bool {
    let Some((choice, value)) = data.split_first() else {
        return false;
    };
    let header = match choice {
        b'x' => AddressHeader::XForwardedFor,
        _ => AddressHeader::Forwarded,
    };
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return false;
    };
    let rules = ProxyRules {
        networks: vec!["10.0.0.0/8".parse().unwrap()],
        header,
        scheme: SchemeSource::Header,
    };
    let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let mut headers = HeaderMap::new();
    headers.append(header.name(), value.clone());
    let mut seen = vec![peer];
    let alone = trace(peer, &headers, &rules, |hop| seen.extend(hop.found));
    assert_eq!(seen.last(), Some(&alone.address));
    assert!(seen.len() <= MAX_HOPS + 1);
    assert_eq!(alone, client(peer, &headers, &rules));

    let appended = match header {
        AddressHeader::XForwardedFor => "198.51.100.7",
        AddressHeader::Forwarded => "for=198.51.100.7;proto=https",
    };
    let mut joined = value.as_bytes().to_vec();
    joined.extend(b", ");
    joined.extend(appended.as_bytes());
    let joined = HeaderValue::from_bytes(&joined).expect("bytes that may stand in a header");
    headers.append(header.name(), joined);
    let behind = client(peer, &headers, &rules);
    assert_eq!(behind.address, IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)));
    assert_eq!(behind.ended, Ended::NotTrusted);
    matches!(alone.ended, Ended::NotTrusted | Ended::AllTrusted)
}
