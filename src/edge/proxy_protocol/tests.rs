//! Headers on real sockets: whole, in pieces, with bytes of the client behind them.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::header::{HeaderFault, MAX_V1, MAX_V2_REST, Scan, scan};
use super::*;

/// A header of version 2.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

const V4: [u8; 12] = [198, 51, 100, 7, 10, 0, 0, 1, 0x30, 0x39, 0, 80];

fn source(bytes: &[u8]) -> Option<SocketAddr> {
    match scan(bytes) {
        Scan::Whole { length, source } if length == bytes.len() => source,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

#[test]
fn both_versions_name_the_source() {
    for (bytes, wanted) in [
        (
            b"PROXY TCP4 198.51.100.7 10.0.0.1 12345 80\r\n".to_vec(),
            "198.51.100.7:12345",
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n".to_vec(),
            "[2001:db8::7]:0",
        ),
        (
            b"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 2\r\n".to_vec(),
            "198.51.100.7:1",
        ),
        (v2(0x21, 0x11, &V4), "198.51.100.7:12345"),
        (
            v2(0x21, 0x11, &[&V4[..], &[4, 0, 1, 0]].concat()),
            "198.51.100.7:12345",
        ),
    ] {
        assert_eq!(source(&bytes), Some(wanted.parse().unwrap()));
    }
}

#[test]
fn a_load_balancer_may_speak_for_itself_or_not_know() {
    for bytes in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(),
        v2(0x20, 0x00, &[]),
        v2(0x20, 0x11, &V4),
        v2(0x20, 0x77, &[1, 2, 3]),
        v2(0x21, 0x00, &[]),
        v2(0x21, 0x00, &[9; MAX_V2_REST]),
    ] {
        assert_eq!(source(&bytes), None);
    }
}

#[test]
fn what_is_no_header_is_told_as_soon_as_it_is_known() {
    let long_line = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    for (bytes, fault) in [
        (b"POST / HTTP/1.1\r\n".to_vec(), HeaderFault::Missing),
        (b"PO".to_vec(), HeaderFault::Missing),
        (b"\x16\x03\x01".to_vec(), HeaderFault::Missing),
        (b"\r\n\r\nGET".to_vec(), HeaderFault::Missing),
        (b"proxy TCP4".to_vec(), HeaderFault::Missing),
        (b"PROXY\tTCP4".to_vec(), HeaderFault::Missing),
        (b"PROXY \r\n".to_vec(), HeaderFault::Malformed),
        (
            b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (
            b"PROXY TCP6 fe80::1%eth0 ::2 1 2\r\n".to_vec(),
            HeaderFault::Malformed,
        ),
        (b"PROXY UNKNOWN\rx\r\n".to_vec(), HeaderFault::Malformed),
        (long_line, HeaderFault::TooLong),
        (v2(0x11, 0x11, &V4), HeaderFault::Malformed),
        (v2(0x22, 0x11, &V4), HeaderFault::Malformed),
        (v2(0x21, 0x12, &V4), HeaderFault::Malformed),
        (v2(0x21, 0x31, &[0; 216]), HeaderFault::Malformed),
        (v2(0x21, 0x11, &V4[..11]), HeaderFault::Malformed),
        (v2(0x21, 0x21, &V4), HeaderFault::Malformed),
        (v2(0x21, 0x11, &[0; MAX_V2_REST + 1]), HeaderFault::TooLong),
        (
            v2(0x20, 0x00, &[0; 65_535])[..16].to_vec(),
            HeaderFault::TooLong,
        ),
    ] {
        assert_eq!(scan(&bytes), Scan::Fault(fault), "{}", bytes.escape_ascii());
    }
    let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1 - 16));
    assert_eq!(source(line.as_bytes()), None);
    assert_eq!(scan(b""), Scan::Partial);
}

fn headers() -> impl Strategy<Value = (Vec<u8>, Option<SocketAddr>)> {
    let tail = prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(address, port)| {
            let source = SocketAddr::from((address, port));
            let line = format!("PROXY TCP4 {} 10.0.0.1 {port} 443\r\n", source.ip());
            (line.into_bytes(), Some(source))
        }),
        (any::<[u16; 8]>(), any::<u16>()).prop_map(|(address, port)| {
            let source = SocketAddr::from((address, port));
            let line = format!("PROXY TCP6 {} ::1 {port} 443\r\n", source.ip());
            (line.into_bytes(), Some(source))
        }),
        (any::<[u8; 4]>(), any::<u16>(), tail.clone()).prop_map(|(address, port, tail)| {
            let rest = [
                &address[..],
                &[10, 0, 0, 1],
                &port.to_be_bytes(),
                &[1, 187],
                &tail,
            ];
            let source = SocketAddr::from((address, port));
            (v2(0x21, 0x11, &rest.concat()), Some(source))
        }),
        (any::<[u8; 16]>(), any::<u16>(), tail).prop_map(|(address, port, tail)| {
            let rest = [
                &address[..],
                &[0; 16],
                &port.to_be_bytes(),
                &[1, 187],
                &tail,
            ];
            let source = SocketAddr::from((address, port));
            (v2(0x21, 0x21, &rest.concat()), Some(source))
        }),
        Just((b"PROXY UNKNOWN\r\n".to_vec(), None)),
        Just((v2(0x20, 0, &[]), None)),
    ]
}

fn canonical(source: Option<SocketAddr>) -> Option<SocketAddr> {
    source.map(|source| SocketAddr::new(source.ip().to_canonical(), source.port()))
}

proptest! {
    #[test]
    fn what_a_load_balancer_writes_is_read(
        (header, wanted) in headers(),
        behind in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let bytes = [header.clone(), behind].concat();
        let whole = Scan::Whole { length: header.len(), source: canonical(wanted) };
        prop_assert_eq!(scan(&bytes), whole);
        for cut in 0..header.len() {
            prop_assert_eq!(scan(&header[..cut]), Scan::Partial);
        }
    }

    #[test]
    fn no_bytes_are_taken_for_two_things(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = [b"PROXY TCP4 ".to_vec(), bytes].concat();
        let mut before = Scan::Partial;
        for end in 0..bytes.len() {
            let now = scan(&bytes[..end]);
            prop_assert!(before == Scan::Partial || before == now);
            before = now;
        }
    }
}

/// A connection: the client's end, and the server's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(client, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

#[tokio::test]
async fn bytes_behind_the_header_stay_in_the_socket() {
    for header in [
        b"PROXY TCP4 198.51.100.7 10.0.0.1 12345 80\r\n".to_vec(),
        v2(0x21, 0x11, &[&V4[..], &[4, 0, 1, 0]].concat()),
    ] {
        let (mut client, mut server) = pair().await;
        let all = [header, b"GET / HTTP/1.1\r\n".to_vec()].concat();
        client.write_all(&all).await.unwrap();
        let source = take_header(&mut server).await.unwrap();
        assert_eq!(source, Some("198.51.100.7:12345".parse().unwrap()));
        let mut behind = [0; 16];
        server.read_exact(&mut behind).await.unwrap();
        assert_eq!(&behind, b"GET / HTTP/1.1\r\n");
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let (mut client, mut server) = pair().await;
    client.set_nodelay(true).unwrap();
    let write = async {
        for byte in b"PROXY TCP4 198.51.100.7 10.0.0.1 12345 80\r\nG" {
            client.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (source, ()) = tokio::join!(take_header(&mut server), write);
    assert_eq!(source.unwrap(), Some("198.51.100.7:12345".parse().unwrap()));
    assert_eq!(server.read_u8().await.unwrap(), b'G');
}

#[tokio::test]
async fn a_connection_without_a_whole_header_is_an_error() {
    let (mut client, mut server) = pair().await;
    client.write_all(b"PROXY TC").await.unwrap();
    drop(client);
    let error = take_header(&mut server).await.unwrap_err();
    assert!(matches!(error, HeaderError::Ended), "{error}");

    let (mut client, mut server) = pair().await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let error = take_header(&mut server).await.unwrap_err();
    assert!(matches!(error, HeaderError::Fault(HeaderFault::Missing)));
}
