//! HSTS, and listeners that send clients to https.

use std::net::{Ipv4Addr, TcpListener};

use super::*;
use crate::support::{OPEN, PROJECT, exchange as plain};

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn browsers_are_told_of_https_over_https_only() {
    let authority = Authority::new();
    let port = free_port();
    let pair = authority.put("a", &["edge.test"]);
    let more = format!("[[ingest.listener]]\nname = \"plain\"\nlisten = \"127.0.0.1:{port}\"\n");
    let tollgate = start("hsts = \"180d\"", &format!("{pair}{more}"));
    let client = authority.client();
    let sent = client.send(&tollgate, "edge.test").unwrap();
    assert_eq!(
        sent.answer.header("strict-transport-security"),
        Some("max-age=15552000")
    );
    // A refusal says it as well.
    let mut stream = open(&client.config(), tollgate.ingest.unwrap(), "edge.test");
    stream
        .write_all(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let refused = read_answer(&mut stream);
    assert_eq!(refused.status, 404);
    assert!(refused.header("strict-transport-security").is_some());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let answer = plain(address, &super::super::request(""), b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[test]
fn a_plain_listener_sends_known_hosts_to_https_and_others_nowhere() {
    let authority = Authority::new();
    let port = free_port();
    let more = format!(
        "[[ingest.listener]]\nname = \"plain\"\nlisten = \"127.0.0.1:{port}\"\nredirect_to_https = 8443\n"
    );
    let tollgate = start_with(
        &format!("domains = [\"edge.test\"]\nhosts = {{ \"track.test\" = \"{PROJECT}\" }}"),
        "",
        &format!("{}{more}", authority.put("a", &["edge.test"])),
    );
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let ask = |head: &str| plain(address, head, b"");
    let known = ask(&format!(
        "GET /logstores/{OPEN}/track?a=b%20c HTTP/1.1\r\nHost: Track.test:80\r\n\r\n"
    ));
    assert_eq!(known.status, 308);
    assert_eq!(
        known.header("location"),
        Some(format!("https://track.test:8443/logstores/{OPEN}/track?a=b%20c").as_str())
    );
    assert_eq!(known.header("strict-transport-security"), None);
    let project = ask(&format!(
        "GET / HTTP/1.1\r\nHost: {PROJECT}.edge.test\r\n\r\n"
    ));
    assert_eq!(
        project.header("location"),
        Some(format!("https://{PROJECT}.edge.test:8443/").as_str())
    );
    let posted = ask(&format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: track.test\r\nContent-Length: 4\r\n\r\nbody"
    ));
    assert_eq!(posted.status, 308);
    for head in [
        "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: {PROJECT}.evil.test\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".to_owned(),
        "GET http://evil.test/ HTTP/1.1\r\nHost: track.test\r\n\r\n".to_owned(),
        format!(
            "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}"
        ),
    ] {
        let answer = ask(&head);
        assert_eq!(answer.status, 404, "{head}");
        assert_eq!(answer.header("location"), None, "{head}");
        assert_eq!(answer.refusal().2, "unknown_project");
    }
    assert_eq!(tollgate.metric("tollgate_https_redirects_total"), 8);
    assert_eq!(
        tollgate.metric("tollgate_http_requests_total{version=\"1.1\"}"),
        8
    );
}
