//! Who a request is from: each form of each header, and what no client can change.

use proptest::prelude::*;

use super::*;

fn rules(header: AddressHeader) -> ProxyRules {
    ProxyRules {
        networks: ["10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
        header,
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn decided(peer: &str, lines: &[(&'static str, &str)], header: AddressHeader) -> Client {
    client(peer.parse().unwrap(), &headers(lines), &rules(header))
}

/// Address and reason behind the trusted peer 10.0.0.1.
fn plain(value: &str) -> (String, Ended) {
    let client = decided(
        "10.0.0.1",
        &[("x-forwarded-for", value)],
        AddressHeader::XForwardedFor,
    );
    (client.address.to_string(), client.ended)
}

fn forwarded(value: &str) -> (String, Ended) {
    let client = decided(
        "10.0.0.1",
        &[("forwarded", value)],
        AddressHeader::Forwarded,
    );
    (client.address.to_string(), client.ended)
}

const MALFORMED: Ended = Ended::Unusable(Unusable::Malformed);
const HIDDEN: Ended = Ended::Unusable(Unusable::Hidden);

#[test]
fn the_first_address_from_the_right_that_is_no_proxy_of_ours_is_the_client() {
    for (value, address, ended) in [
        ("198.51.100.7", "198.51.100.7", Ended::NotTrusted),
        (
            "203.0.113.9, 198.51.100.7",
            "198.51.100.7",
            Ended::NotTrusted,
        ),
        (
            "198.51.100.7,10.2.3.4 ,\t10.9.9.9",
            "198.51.100.7",
            Ended::NotTrusted,
        ),
        ("10.2.3.4, 10.9.9.9", "10.2.3.4", Ended::AllTrusted),
        (
            "[2001:db8:1::5]:443, 2001:db8:1::6",
            "2001:db8:1::5",
            Ended::AllTrusted,
        ),
        (
            "[2001:db8:2::5]:443, 2001:db8:1::6",
            "2001:db8:2::5",
            Ended::NotTrusted,
        ),
        ("198.51.100.7:65535", "198.51.100.7", Ended::NotTrusted),
        ("::ffff:198.51.100.7", "198.51.100.7", Ended::NotTrusted),
        (
            "198.51.100.7, ::ffff:10.1.1.1",
            "198.51.100.7",
            Ended::NotTrusted,
        ),
    ] {
        assert_eq!(plain(value), (address.to_owned(), ended), "{value}");
    }
}

#[test]
fn an_entry_that_cannot_be_used_ends_the_walk_at_the_proxy_that_wrote_it() {
    for (value, ended) in [
        ("198.51.100.7, shop.example.com, 10.2.3.4", MALFORMED),
        ("198.51.100.7, fe80::1%eth0, 10.2.3.4", MALFORMED),
        ("198.51.100.7, [fe80::1%25eth0], 10.2.3.4", MALFORMED),
        ("198.51.100.7, , 10.2.3.4", MALFORMED),
        ("198.51.100.7, 010.0.0.1, 10.2.3.4", MALFORMED),
        ("198.51.100.7, 192.0.2.1:65536, 10.2.3.4", MALFORMED),
        ("198.51.100.7, 192.0.2.1:, 10.2.3.4", MALFORMED),
        ("198.51.100.7, 192.0.2.1:+1, 10.2.3.4", MALFORMED),
        ("198.51.100.7, [::1, 10.2.3.4", MALFORMED),
        ("198.51.100.7, [::1]80, 10.2.3.4", MALFORMED),
        ("198.51.100.7, [192.0.2.1], 10.2.3.4", MALFORMED),
        ("198.51.100.7, \"192.0.2.1\", 10.2.3.4", MALFORMED),
        ("198.51.100.7, \u{ff11}92.0.2.1, 10.2.3.4", MALFORMED),
        ("198.51.100.7, unknown, 10.2.3.4", HIDDEN),
        ("198.51.100.7, _hidden, 10.2.3.4", HIDDEN),
    ] {
        assert_eq!(plain(value), ("10.2.3.4".to_owned(), ended), "{value}");
    }
    assert_eq!(plain(""), ("10.0.0.1".to_owned(), MALFORMED));
}

#[test]
fn the_standard_header_is_read_with_its_quotes_and_parameters() {
    for (value, address, ended) in [
        ("for=198.51.100.7", "198.51.100.7", Ended::NotTrusted),
        (
            "For=\"[2001:db8:cafe::17]:4711\"",
            "2001:db8:cafe::17",
            Ended::NotTrusted,
        ),
        (
            "for=203.0.113.9, FOR=198.51.100.7;by=10.0.0.9;proto=http;host=\"a,b;c\"",
            "198.51.100.7",
            Ended::NotTrusted,
        ),
        (
            "for=198.51.100.7:_port, for=10.1.1.1 ; by=_x",
            "198.51.100.7",
            Ended::NotTrusted,
        ),
        ("for=198.51.100.7, for=unknown", "10.0.0.1", HIDDEN),
        ("for=198.51.100.7, for=\"_a.b:80\"", "10.0.0.1", HIDDEN),
        ("for=198.51.100.7, proto=https", "10.0.0.1", HIDDEN),
        ("for=1.1.1.1;for=2.2.2.2", "10.0.0.1", MALFORMED),
        ("for=\"1.1.1.1", "10.0.0.1", MALFORMED),
        ("for=\"1.1.1\\.1\"", "10.0.0.1", MALFORMED),
        ("for=", "10.0.0.1", MALFORMED),
        ("for=1.1.1.1;", "10.0.0.1", MALFORMED),
        ("198.51.100.7", "10.0.0.1", MALFORMED),
        ("f or=198.51.100.7", "10.0.0.1", MALFORMED),
        ("for=198.51.100.7 10.0.0.1", "10.0.0.1", MALFORMED),
        ("for=\"[fe80::1%eth0]\"", "10.0.0.1", MALFORMED),
    ] {
        assert_eq!(forwarded(value), (address.to_owned(), ended), "{value}");
    }
}

#[test]
fn lines_of_a_header_are_one_list_in_their_order() {
    let lines = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "198.51.100.7, 10.1.1.1"),
        ("x-forwarded-for", "10.2.2.2"),
    ];
    let client = decided("10.0.0.1", &lines, AddressHeader::XForwardedFor);
    assert_eq!(client.address.to_string(), "198.51.100.7");
}

#[test]
fn only_one_header_is_read() {
    let lines = [
        ("x-forwarded-for", "198.51.100.1"),
        ("forwarded", "for=198.51.100.2"),
        ("x-real-ip", "198.51.100.3"),
        ("cf-connecting-ip", "198.51.100.4"),
        ("true-client-ip", "198.51.100.5"),
        ("x-client-ip", "198.51.100.6"),
    ];
    for (header, address) in [
        (AddressHeader::XForwardedFor, "198.51.100.1"),
        (AddressHeader::Forwarded, "198.51.100.2"),
    ] {
        assert_eq!(
            decided("10.0.0.1", &lines, header).address.to_string(),
            address
        );
    }
    let others = decided("10.0.0.1", &lines[2..], AddressHeader::XForwardedFor);
    assert_eq!(
        (others.address.to_string(), others.ended),
        ("10.0.0.1".to_owned(), Ended::NoHeader)
    );
}

#[test]
fn the_walk_is_bounded() {
    let long = |entries: usize| format!("198.51.100.7{}", ", 10.1.1.1".repeat(entries));
    let client = ("198.51.100.7".to_owned(), Ended::NotTrusted);
    assert_eq!(plain(&long(MAX_HOPS - 1)), client);
    let proxy = ("10.1.1.1".to_owned(), Ended::TooManyHops);
    assert_eq!(plain(&long(MAX_HOPS)), proxy);
    assert_eq!(plain(&long(5000)), proxy);
}

#[test]
fn the_scheme_is_that_of_the_proxy_that_named_the_client() {
    let secure = |lines: &[(&'static str, &str)], header| decided("10.0.0.1", lines, header).secure;
    let plain = |proto: &[&str]| {
        let mut lines = vec![("x-forwarded-for", "198.51.100.7")];
        lines.extend(proto.iter().map(|proto| ("x-forwarded-proto", *proto)));
        secure(&lines, AddressHeader::XForwardedFor)
    };
    assert_eq!(plain(&[]), None);
    assert_eq!(plain(&["HTTPS"]), Some(true));
    assert_eq!(plain(&["https, http"]), Some(false));
    assert_eq!(plain(&["https", "http"]), Some(false));
    assert_eq!(plain(&["http, wss "]), Some(true));
    assert_eq!(plain(&["gopher"]), None);

    let standard = |value: &str| secure(&[("forwarded", value)], AddressHeader::Forwarded);
    assert_eq!(standard("for=198.51.100.7;proto=https"), Some(true));
    assert_eq!(
        standard("for=198.51.100.7;proto=https, for=10.1.1.1;proto=http"),
        Some(true)
    );
    assert_eq!(
        standard("for=1.1.1.1;proto=https, for=198.51.100.7"),
        None,
        "the spoofed part says nothing"
    );
    let lines = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
    ];
    let stranger = decided("198.51.100.7", &lines, AddressHeader::XForwardedFor);
    assert_eq!(stranger.secure, None);
}

#[test]
fn every_hop_is_told_from_the_right() {
    let headers = headers(&[("x-forwarded-for", "1.1.1.1, 198.51.100.7, 10.1.1.1")]);
    let mut told = Vec::new();
    let rules = rules(AddressHeader::XForwardedFor);
    let traced = trace("10.0.0.1".parse().unwrap(), &headers, &rules, |hop| {
        told.push((String::from_utf8_lossy(hop.text).into_owned(), hop.trusted));
    });
    assert_eq!(
        told,
        [
            ("10.1.1.1".to_owned(), true),
            ("198.51.100.7".to_owned(), false)
        ]
    );
    assert_eq!(
        traced,
        client("10.0.0.1".parse().unwrap(), &headers, &rules)
    );
}

/// Bytes that may stand in a header, with those that mean something here more often.
fn header_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b"\",;=\\:[]%._ for10.fe\t".to_vec()),
        1 => 0x20u8..0x7f,
        1 => 0x80u8..=0xff,
    ];
    prop::collection::vec(byte, 0..80)
}

fn with_values(header: AddressHeader, values: &[Vec<u8>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(header.name(), HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn either() -> impl Strategy<Value = AddressHeader> {
    prop::sample::select(vec![AddressHeader::XForwardedFor, AddressHeader::Forwarded])
}

proptest! {
    #[test]
    fn what_a_client_writes_on_the_left_changes_nothing(
        header in either(),
        lines in prop::collection::vec(header_bytes(), 0..4),
        spoofed in header_bytes(),
        client_bits in any::<u32>(),
        proxies in prop::collection::vec(any::<[u8; 3]>(), 0..4),
    ) {
        let rules = rules(header);
        let client_address = IpAddr::from(client_bits.to_be_bytes());
        prop_assume!(!rules.trusts(client_address));
        let written = |address: IpAddr| match header {
            AddressHeader::XForwardedFor => address.to_string(),
            AddressHeader::Forwarded => format!("for={address};proto=https"),
        };
        let mut chain = written(client_address);
        for [a, b, c] in proxies {
            chain.push_str(", ");
            chain.push_str(&written(IpAddr::from([10, a, b, c])));
        }
        let peer = IpAddr::from([10, 0, 0, 1]);
        let honest = client(peer, &with_values(header, &[chain.clone().into_bytes()]), &rules);
        prop_assert_eq!(honest.address, client_address);

        // In a line of its own, and in the same line.
        let mut apart = lines.clone();
        apart.push(chain.clone().into_bytes());
        let apart = client(peer, &with_values(header, &apart), &rules);
        prop_assert_eq!(apart, honest);
        let mut joined = lines;
        joined.push([spoofed, b", ".to_vec(), chain.into_bytes()].concat());
        let joined = client(peer, &with_values(header, &joined), &rules);
        prop_assert_eq!(joined, honest);
    }

    #[test]
    fn without_trusted_networks_headers_never_matter(
        header in either(),
        lines in prop::collection::vec(header_bytes(), 0..4),
        peer in any::<u32>(),
    ) {
        let rules = ProxyRules { networks: Vec::new(), header };
        let peer = IpAddr::from(peer.to_be_bytes());
        let mut headers = with_values(header, &lines);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("https"));
        let client = client(peer, &headers, &rules);
        let alone = Client { address: peer, secure: None, ended: Ended::PeerNotTrusted };
        prop_assert_eq!(client, alone);
    }

    #[test]
    fn any_header_gives_an_address_that_stands_in_it(
        header in either(),
        lines in prop::collection::vec(header_bytes(), 0..4),
    ) {
        let peer = IpAddr::from([10, 0, 0, 1]);
        let headers = with_values(header, &lines);
        let mut seen = vec![peer];
        let client = trace(peer, &headers, &rules(header), |hop| seen.extend(hop.found));
        prop_assert_eq!(seen.last(), Some(&client.address));
        prop_assert!(seen.len() <= MAX_HOPS + 1);
    }
}
