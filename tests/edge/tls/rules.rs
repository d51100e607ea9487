//! The rules of TLS of a listener, changed by a reload.

use rustls::version::{TLS12, TLS13};

use super::super::changes::{ask, reload, reloads};
use super::super::config;
use super::*;

#[test]
fn rules_of_tls_change_for_new_connections() {
    let (server, clients) = (Authority::new(), Authority::new());
    let pair = server.put("a", &["edge.test"]);
    let text = |lines: &str| config("", &format!("[ingest.tls]\n{lines}\n{pair}"));
    let tollgate = Tollgate::start_config(&text("min_version = \"1.2\""));
    let client = server.client();
    let old = client.clone().versions(&[&TLS12]);
    let send = |client: &Client| {
        let sent = exchange(&client.config(), tollgate.ingest.unwrap(), "edge.test");
        sent.ok().map(|sent| sent.answer.status)
    };
    let mut early = client.send(&tollgate, "edge.test").unwrap();
    assert_eq!(send(&old), Some(200));
    reloads(&tollgate, &text("min_version = \"1.3\""));
    assert_eq!(send(&old), None);
    assert_eq!(send(&client.clone().versions(&[&TLS13])), Some(200));
    assert_eq!(
        early.again(),
        200,
        "a connection lives on with what it began with"
    );
    // Certificates of clients.
    let ca = format!(
        "client_auth = \"required\"\nclient_ca = {:?}",
        clients.file()
    );
    reloads(&tollgate, &text(&ca));
    assert_eq!(send(&client), None);
    let mut known = client.clone();
    known.identity = Some(clients.sign(&["device-1"], GOOD));
    assert_eq!(send(&known), Some(200));
    let shown = |name: &str| tollgate.metrics().contains(name);
    assert!(shown("authority.pem"));
    // What cannot be used changes nothing, and is not shown.
    let answer = reload(
        &tollgate,
        &text("client_auth = \"required\"\nclient_ca = \"/nowhere/ca.pem\""),
    );
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(!shown("/nowhere"));
    assert_eq!((send(&client), send(&known)), (None, Some(200)));
    // What it speaks after that.
    let h1 = config(
        "",
        &format!("[ingest.http2]\nenabled = false\n[ingest.tls]\n{pair}"),
    );
    let both = client.clone().protocols(&["h2", "http/1.1"]);
    let spoken = || {
        let mut stream = open(&both.config(), tollgate.ingest.unwrap(), "edge.test");
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        String::from_utf8(stream.conn.alpn_protocol().unwrap().to_vec()).unwrap()
    };
    reloads(&tollgate, &text(""));
    assert_eq!(spoken(), "h2");
    assert!(!shown("authority.pem"), "its series are gone");
    reloads(&tollgate, &h1);
    assert_eq!(spoken(), "http/1.1");
    // And none at all.
    reloads(&tollgate, &config("", ""));
    assert_eq!(ask(&mut connect(tollgate.ingest.unwrap())).0, 200);
    assert_eq!(send(&client), None);
}
