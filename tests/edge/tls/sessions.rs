//! What client and server agree on: version, certificate, protocol, and coming back.

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::*;
use crate::support::OPEN;

#[test]
fn both_versions_are_spoken_and_the_older_one_can_be_refused() {
    let authority = Authority::new();
    let pair = authority.put("a", &["edge.test"]);
    let (old, new) = (
        authority.client().versions(&[&TLS12]),
        authority.client().versions(&[&TLS13]),
    );
    let tollgate = start("", &pair);
    for client in [&old, &new] {
        assert_eq!(
            client.send(&tollgate, "edge.test").unwrap().answer.status,
            200
        );
    }
    for kind in ["tls12", "tls13"] {
        let line = format!("tollgate_tls_handshakes_total{{kind=\"{kind}\"}}");
        assert_eq!(tollgate.metric(&line), 1, "{kind}");
    }
    let strict = start("min_version = \"1.3\"", &pair);
    assert!(old.send(&strict, "edge.test").is_err());
    assert_eq!(new.send(&strict, "edge.test").unwrap().answer.status, 200);
    super::super::await_ended(&strict, "handshake_failed", 1);
}

#[test]
fn the_certificate_is_chosen_by_name() {
    let authority = Authority::new();
    let pairs = [
        authority.put("first", &["first.test"]),
        authority.put("wild", &["*.edge.test", "edge.test"]),
        authority.put("exact", &["shop.edge.test"]),
    ];
    let tollgate = start("", &pairs.concat());
    let client = authority.client();
    for (name, file) in [
        ("first.test", "first.pem"),
        ("shop.edge.test", "exact.pem"),
        ("demo.edge.test", "wild.pem"),
        ("edge.test", "wild.pem"),
    ] {
        let sent = client.send(&tollgate, name).unwrap();
        assert_eq!(sent.certificate(), &pem_of(&authority.path(file)), "{name}");
    }
    // The first certificate is shown, and is not for that name.
    let error = client.send(&tollgate, "a.b.edge.test").err().unwrap();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    let strict = start("strict_sni = true", &pairs.concat());
    assert!(client.send(&strict, "demo.edge.test").is_ok());
    let error = client.send(&strict, "unknown.test").err().unwrap();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
}

#[test]
fn a_client_that_comes_back_is_known_by_its_ticket() {
    let authority = Authority::new();
    let pair = authority.put("a", &["edge.test"]);
    let kinds = |tollgate: &Tollgate, client: &Client| {
        let config = client.config();
        let once = || {
            let sent = exchange(&config, tollgate.ingest.unwrap(), "edge.test").unwrap();
            assert_eq!(sent.answer.status, 200);
            sent.kind()
        };
        (once(), once())
    };
    let tollgate = start("", &pair);
    for version in [&TLS12, &TLS13] {
        let client = authority.client().versions(&[version]);
        let (first, second) = kinds(&tollgate, &client);
        assert_eq!(
            (first, second),
            (HandshakeKind::Full, HandshakeKind::Resumed)
        );
    }
    for kind in ["tls12_resumed", "tls13_resumed"] {
        let line = format!("tollgate_tls_handshakes_total{{kind=\"{kind}\"}}");
        assert_eq!(tollgate.metric(&line), 1, "{kind}");
    }
    // A reload of certificates does not take tickets away.
    let config = authority.client().config();
    let address = tollgate.ingest.unwrap();
    exchange(&config, address, "edge.test").unwrap();
    authority.put("a", &["edge.test"]);
    tollgate.signal("-HUP");
    until("the new certificate is in use", || {
        tollgate.stderr().contains("a new certificate is in use")
    });
    let sent = exchange(&config, address, "edge.test").unwrap();
    assert_eq!(sent.kind(), HandshakeKind::Resumed);

    let without = start("session_tickets = false", &pair);
    for version in [&TLS12, &TLS13] {
        let client = authority.client().versions(&[version]);
        let (_, second) = kinds(&without, &client);
        assert_eq!(second, HandshakeKind::Full);
    }
}

#[test]
fn nothing_is_taken_before_the_handshake_is_done() {
    let authority = Authority::new();
    let tollgate = start("", &authority.put("a", &["edge.test"]));
    let mut config = authority.client().config();
    Arc::get_mut(&mut config).unwrap().enable_early_data = true;
    exchange(&config, tollgate.ingest.unwrap(), "edge.test").unwrap();
    let name = ServerName::try_from("edge.test").unwrap();
    let mut again = ClientConnection::new(Arc::clone(&config), name).unwrap();
    // The ticket says how much may be sent early: nothing.
    assert!(again.early_data().is_none());
}

#[test]
fn http2_is_spoken_with_who_asks_for_it_where_it_is_on() {
    let authority = Authority::new();
    let pair = authority.put("a", &["edge.test"]);
    let both = authority.client().protocols(&["h2", "http/1.1"]);
    let tollgate = start("", &pair);
    assert_eq!(over_http2(&both, &tollgate), 200);
    assert_eq!(
        tollgate.metric("tollgate_http_requests_total{version=\"2\"}"),
        1
    );
    let old = authority.client().protocols(&["http/1.1"]);
    let sent = old.send(&tollgate, "edge.test").unwrap();
    assert_eq!(sent.answer.status, 200);
    assert_eq!(sent.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let other = authority.client().protocols(&["spdy/3"]);
    assert!(other.send(&tollgate, "edge.test").is_err());

    let without = start_with("http2 = { enabled = false }", "", &pair);
    let sent = both.send(&without, "edge.test").unwrap();
    assert_eq!(sent.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let only = authority.client().protocols(&["h2"]);
    assert!(only.send(&without, "edge.test").is_err());
}

/// Sends an event over HTTP/2 and gives the status of its answer.
fn over_http2(client: &Client, tollgate: &Tollgate) -> u16 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(tollgate.ingest.unwrap())
            .await
            .unwrap();
        let name = ServerName::try_from("edge.test").unwrap();
        let stream = TlsConnector::from(client.config())
            .connect(name, stream)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let running = TaskTracker::new().spawn(connection);
        let request = http::Request::post(format!("https://edge.test/logstores/{OPEN}/track"))
            .header("x-log-project", crate::support::PROJECT)
            .body(Full::new(bytes::Bytes::from_static(
                crate::EVENT.as_bytes(),
            )))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        assert!(answer.into_body().frame().await.is_none());
        drop(sender);
        running.abort();
        status
    })
}
