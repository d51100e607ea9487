//! Certificates of clients.

use rustls::HandshakeKind;

use super::*;

struct Case {
    server: Authority,
    clients: Authority,
    strangers: Authority,
    tollgate: Tollgate,
}

fn case(client_auth: &str) -> Case {
    let (server, clients) = (Authority::new(), Authority::new());
    let lines = format!(
        "client_auth = \"{client_auth}\"\nclient_ca = {:?}\nreload_interval = \"1s\"",
        clients.file()
    );
    let tollgate = start(&lines, &server.put("a", &["edge.test"]));
    Case {
        server,
        clients,
        strangers: Authority::new(),
        tollgate,
    }
}

impl Case {
    fn status(&self, issuer: Option<(&Authority, i32)>) -> Option<u16> {
        let mut client = self.server.client();
        client.identity = issuer.map(|(issuer, until)| issuer.sign(&["device-1"], until));
        let sent = client.send(&self.tollgate, "edge.test").ok()?;
        Some(sent.answer.status)
    }
}

#[test]
fn required_certificates_are_required() {
    let case = case("required");
    assert_eq!(case.status(Some((&case.clients, GOOD))), Some(200));
    assert_eq!(case.status(None), None);
    assert_eq!(case.status(Some((&case.strangers, GOOD))), None);
    assert_eq!(case.status(Some((&case.clients, 2021))), None, "expired");
    super::super::await_ended(&case.tollgate, "handshake_failed", 3);
}

#[test]
fn optional_certificates_must_be_good_when_they_are_shown() {
    let case = case("optional");
    assert_eq!(case.status(Some((&case.clients, GOOD))), Some(200));
    assert_eq!(case.status(None), Some(200));
    assert_eq!(case.status(Some((&case.strangers, GOOD))), None);
}

#[test]
fn a_client_with_a_certificate_shows_it_each_time() {
    let case = case("required");
    let mut client = case.server.client();
    client.identity = Some(case.clients.sign(&["device-1"], GOOD));
    let config = client.config();
    for _ in 0..2 {
        let sent = exchange(&config, case.tollgate.ingest.unwrap(), "edge.test").unwrap();
        assert_eq!(sent.kind(), HandshakeKind::Full);
    }
}

#[test]
fn authorities_are_read_again() {
    let case = case("required");
    let file = case.clients.path("authority.pem");
    std::fs::write(&file, "nothing").unwrap();
    until("the fault is told", || {
        case.tollgate
            .stderr()
            .contains("client authorities cannot be used")
    });
    assert_eq!(case.status(Some((&case.clients, GOOD))), Some(200));
    std::fs::write(&file, case.strangers.issuer.pem()).unwrap();
    until("the new authority counts", || {
        case.status(Some((&case.strangers, GOOD))) == Some(200)
    });
    assert_eq!(case.status(Some((&case.clients, GOOD))), None);
}
