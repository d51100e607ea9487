//! Who a request is from, behind proxies: on the real binary, by what stands in the stored event and
//! by what policies decide.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::Output;

use support::{OPEN, Tollgate, binary, connect, exchange_cut, read_answer};

fn quickstart(more: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/quickstart.toml");
    std::fs::read_to_string(path).unwrap() + more
}

fn post(extra: &str) -> Vec<u8> {
    let body = "{\"__logs__\":[{\"k\":\"v\"}]}";
    let head = format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{extra}\r\n{body}",
        body.len()
    );
    head.into_bytes()
}

/// Sends a PROXY header and a request in one write, and says the status; 0 for a connection that was
/// closed without an answer.
fn send(address: SocketAddr, header: &[u8], extra: &str) -> u16 {
    let mut stream = connect(address);
    stream.write_all(&[header, &post(extra)].concat()).unwrap();
    let mut first = [0];
    match stream.peek(&mut first) {
        Ok(1) => read_answer(&mut stream).status,
        _ => 0,
    }
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend(rest);
    header
}

/// The addresses of the stored events, sorted.
fn addresses(tollgate: &Tollgate, count: usize) -> Vec<String> {
    let events = tollgate.events(OPEN, count);
    let address =
        |event: &serde_json::Value| event["__tag__:__client_ip__"].as_str().unwrap().to_owned();
    let mut addresses: Vec<String> = events.iter().map(address).collect();
    addresses.sort();
    addresses
}

fn listener(tollgate: &Tollgate, name: &str) -> SocketAddr {
    let line = tollgate.banner.lines().find(|line| line.ends_with(name));
    let address = line.and_then(|line| line.split("http://").nth(1)?.split(' ').next());
    address.unwrap().parse().unwrap()
}

#[test]
fn a_load_balancer_names_the_client_by_the_proxy_protocol() {
    let tollgate = Tollgate::start_config(&quickstart(
        "\n[ingest.proxy_protocol]\ntrusted = [\"127.0.0.0/8\"]\n",
    ));
    let ingest = tollgate.ingest.unwrap();
    let source = [198, 51, 100, 2, 10, 0, 0, 1, 1, 2, 0, 80];
    for header in [
        b"PROXY TCP4 198.51.100.1 10.0.0.1 12345 80\r\n".to_vec(),
        v2(0x21, 0x11, &source),
        b"PROXY TCP6 2001:db8::3 ::1 12345 80\r\n".to_vec(),
        b"PROXY TCP6 ::ffff:198.51.100.4 ::1 12345 80\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x20, 0x00, &[]),
    ] {
        // Who names the client by the PROXY protocol is not believed in headers.
        let spoofed = "X-Forwarded-For: 203.0.113.1\r\nForwarded: for=203.0.113.1\r\n";
        assert_eq!(send(ingest, &header, spoofed), 200);
    }
    let wanted = [
        "127.0.0.1",
        "127.0.0.1",
        "198.51.100.1",
        "198.51.100.2",
        "198.51.100.4",
        "2001:db8::3",
    ];
    assert_eq!(addresses(&tollgate, 6), wanted);

    for bad in [
        b"".to_vec(),
        b"PROXY TCP4 198.51.100.1 10.0.0.1 12345 80\n".to_vec(),
        v2(0x21, 0x12, &source),
        v2(0x20, 0x00, &[0; 65_535]),
    ] {
        assert_eq!(send(ingest, &bad, ""), 0, "{}", bad.escape_ascii());
    }
    let bad = "tollgate_connections_ended_total{reason=\"proxy_header\"}";
    assert_eq!(tollgate.metric(bad), 4);
    tollgate.events(OPEN, 6);
}

#[test]
fn who_is_behind_a_load_balancer_counts_for_its_network_and_the_load_balancer_does_not() {
    let tollgate = Tollgate::start_config(
        &quickstart("\n[ingest.proxy_protocol]\ntrusted = [\"127.0.0.1\"]\n")
            .replace("[ingest]", "[ingest]\nmax_connections_per_prefix = 1"),
    );
    let ingest = tollgate.ingest.unwrap();
    let open = |client: u8| {
        let mut stream = connect(ingest);
        let header = format!("PROXY TCP4 198.51.100.{client} 10.0.0.1 12345 80\r\n");
        let bytes = [header.as_bytes(), &post("")].concat();
        stream.write_all(&bytes).unwrap();
        stream
    };
    let (mut one, mut two) = (open(1), open(2));
    assert_eq!(read_answer(&mut one).status, 200);
    assert_eq!(read_answer(&mut two).status, 200);
    let mut again = open(1);
    let mut nothing = Vec::new();
    drop(again.read_to_end(&mut nothing));
    assert!(nothing.is_empty(), "{}", nothing.escape_ascii());
    let full = "tollgate_connections_ended_total{reason=\"prefix_limit\"}";
    assert_eq!(tollgate.metric(full), 1);
}

#[test]
fn a_header_may_come_slowly_but_not_for_ever() {
    let tollgate = Tollgate::start_config(
        &quickstart("\n[ingest.proxy_protocol]\ntrusted = [\"127.0.0.1\"]\n")
            .replace("[ingest]", "[ingest]\nhandshake_timeout = \"1s\""),
    );
    let ingest = tollgate.ingest.unwrap();
    let mut stream = connect(ingest);
    for piece in ["PRO", "XY TCP4 198.51.100.1 10.0.0", ".1 12345 80\r"] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    stream.write_all(b"\n").unwrap();
    stream.write_all(&post("")).unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
    assert_eq!(addresses(&tollgate, 1), ["198.51.100.1"]);

    let mut stalled = connect(ingest);
    stalled.write_all(b"PROXY TCP4 198").unwrap();
    let mut rest = Vec::new();
    drop(stalled.read_to_end(&mut rest));
    assert!(rest.is_empty());
    let late = "tollgate_connections_ended_total{reason=\"handshake_timeout\"}";
    assert_eq!(tollgate.metric(late), 1);
}

#[test]
fn who_is_no_load_balancer_is_refused_or_served_as_itself() {
    let tollgate = Tollgate::start_config(&quickstart(
        "\n[ingest.proxy_protocol]\ntrusted = [\"192.0.2.1\"]\n\
         [[ingest.listener]]\nname = \"inside\"\nlisten = \"127.0.0.1:0\"\n\
         [ingest.listener.proxy_protocol]\ntrusted = [\"192.0.2.1\"]\nuntrusted = \"direct\"\n",
    ));
    let header = b"PROXY TCP4 198.51.100.1 10.0.0.1 12345 80\r\n";
    let (main, inside) = (tollgate.ingest.unwrap(), listener(&tollgate, "inside"));
    assert_eq!(send(main, b"", ""), 0);
    assert_eq!(send(main, header, ""), 0);
    assert_eq!(send(inside, b"", ""), 200);
    assert_eq!(send(inside, header, ""), 400);
    let answer = exchange_cut(inside, &[v2(0x20, 0, &[]), post("")].concat());
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        answer.escape_ascii()
    );
    assert_eq!(addresses(&tollgate, 1), ["127.0.0.1"]);
    let refused = "tollgate_connections_ended_total{reason=\"proxy_untrusted\"}";
    assert_eq!(tollgate.metric(refused), 2);
}

#[test]
fn trusted_proxies_name_the_client_by_one_header() {
    let tollgate = Tollgate::start_config(&quickstart(
        "\n[ingest.trusted_proxies]\nnetworks = [\"127.0.0.1\", \"10.0.0.0/8\"]\n",
    ));
    for extra in [
        "X-Forwarded-For: 203.0.113.9, 198.51.100.1, 10.1.1.1\r\n",
        "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 198.51.100.2\r\n",
        "X-Forwarded-For: 198.51.100.9, nonsense, 10.1.1.2\r\n",
        "Forwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\nCF-Connecting-IP: 203.0.113.9\r\n",
    ] {
        assert_eq!(send(tollgate.ingest.unwrap(), b"", extra), 200);
    }
    let wanted = ["10.1.1.2", "127.0.0.1", "198.51.100.1", "198.51.100.2"];
    assert_eq!(addresses(&tollgate, 4), wanted);
    for (outcome, count) in [("not_trusted", 2), ("malformed", 1), ("no_header", 1)] {
        let line = format!("tollgate_client_addresses_total{{outcome=\"{outcome}\"}}");
        assert_eq!(tollgate.metric(&line), count, "{outcome}");
    }
}

#[test]
fn without_trusted_proxies_headers_never_matter() {
    let tollgate = Tollgate::start();
    let extra =
        "X-Forwarded-For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9\r\n";
    assert_eq!(send(tollgate.ingest.unwrap(), b"", extra), 200);
    assert_eq!(addresses(&tollgate, 1), ["127.0.0.1"]);
}

#[test]
fn policies_see_the_client_and_whether_it_came_by_tls() {
    let policy = r#"{"Version":"1","Statement":[
        {"Effect":"Deny","Action":"*","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":["198.51.100.0/24"]}}},
        {"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"acs:SecureTransport":["false"]}}}]}"#;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deny.json");
    std::fs::write(&file, policy).unwrap();
    let config = quickstart(&format!(
        "\n[ingest.trusted_proxies]\nnetworks = [\"127.0.0.1\"]\nheader = \"forwarded\"\n\
         [[identity.policy]]\nname = \"deny\"\nfile = \"{}\"\n",
        file.display()
    ));
    let config = config.replace("[[project]]\n", "[[project]]\npolicy = \"deny\"\n");
    let tollgate = Tollgate::start_config(&config);
    for (forwarded, status) in [
        ("for=192.0.2.1;proto=https", 200),
        ("for=192.0.2.1;proto=http", 401),
        ("for=192.0.2.1", 401),
        ("for=198.51.100.7;proto=https", 401),
        (
            "for=192.0.2.1;proto=https, for=198.51.100.7;proto=https",
            401,
        ),
    ] {
        let extra = format!("Forwarded: {forwarded}\r\n");
        let got = send(tollgate.ingest.unwrap(), b"", &extra);
        assert_eq!(got, status, "{forwarded}");
    }
}

fn explain(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let config = quickstart(
        "\n[ingest.trusted_proxies]\nnetworks = [\"10.0.0.0/8\"]\n\
         [[ingest.listener]]\nname = \"lb\"\nlisten = \"127.0.0.1:0\"\n\
         [ingest.listener.proxy_protocol]\ntrusted = [\"192.0.2.1\"]\n",
    );
    std::fs::write(&path, config).unwrap();
    let mut command = binary();
    command.args(["explain-ip", "--config"]).arg(path);
    command.args(arguments).output().unwrap()
}

#[test]
fn explain_ip_tells_the_decision_hop_by_hop() {
    let header = "X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.2.2.2";
    let proto = "X-Forwarded-Proto: https";
    let output = explain(&["--peer", "10.0.0.1", "--header", header, "--header", proto]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(words[1][..3], ["connection", "10.0.0.1", "a"]);
    assert_eq!(words[2][..3], ["x-forwarded-for", "10.2.2.2", "a"]);
    assert_eq!(words[3][..3], ["x-forwarded-for", "198.51.100.7", "not"]);
    assert!(text.contains("client: 198.51.100.7\n"), "{text}");
    assert!(text.contains("TLS: yes"), "{text}");
    assert!(!text.contains("203.0.113.9"), "{text}");

    let json = |arguments: &[&str]| -> (i32, serde_json::Value) {
        let output = explain(&[arguments, &["--format", "json"]].concat());
        let code = output.status.code().unwrap();
        (code, serde_json::from_slice(&output.stdout).unwrap())
    };
    let (code, told) = json(&[
        "--peer",
        "10.0.0.1",
        "--header",
        "x-forwarded-for: nonsense, 10.2.2.2",
    ]);
    assert_eq!(
        (code, &told["client"], &told["reason"]),
        (0, &"10.2.2.2".into(), &"malformed".into())
    );
    assert_eq!(told["hops"][1]["fault"], "malformed");

    let lb = ["--listener", "lb", "--peer", "192.0.2.1"];
    let (code, told) = json(&[&lb[..], &["--proxy", "10.0.0.9", "--header", header]].concat());
    assert_eq!((code, &told["client"]), (0, &"198.51.100.7".into()));
    let (code, told) = json(&[&lb[..], &["--proxy", "local", "--header", header]].concat());
    assert_eq!((code, &told["client"]), (0, &"192.0.2.1".into()));
    let (code, told) = json(&lb);
    assert_eq!(code, 1);
    assert!(told["closed"].as_str().unwrap().contains("PROXY header"));
    assert_eq!(json(&["--peer", "192.0.2.1", "--proxy", "192.0.2.2"]).0, 1);
    assert_eq!(explain(&["--peer", "nobody"]).status.code(), Some(2));
    assert_eq!(
        explain(&["--peer", "10.0.0.1", "--header", "nonsense"])
            .status
            .code(),
        Some(2)
    );
    let unknown = explain(&["--peer", "10.0.0.1", "--listener", "other"]);
    assert_eq!(unknown.status.code(), Some(78));
}
