//! Requests that two readers may read in two ways: one answer at most, and nothing is smuggled in.

use std::io::Write;
use std::net::Shutdown;

use super::support::{OPEN, Tollgate, connect, exchange_cut};
use super::{config, rest};

/// A request that must never be taken as one: it stands in the bodies and tails of others.
const SMUGGLED: &str =
    "GET /logstores/anonymous-demo/track?smuggled=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// The statuses of the answers in what came back.
fn statuses(answer: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split("\r\n").flat_map(|line| line.split('}'));
    lines
        .filter_map(|line| {
            line.strip_prefix("HTTP/1.1 ")
                .or(line.strip_prefix("HTTP/1.0 "))
        })
        .filter_map(|line| line.get(..3)?.parse().ok())
        .collect()
}

/// Sends each case on a connection of its own. The first answer has one of the statuses, 0 stands
/// for none, and there is no second answer.
fn all_refused(tollgate: &Tollgate, cases: &[(&str, String, &[u16])]) {
    let mut failures = Vec::new();
    for (name, bytes, allowed) in cases {
        let answer = exchange_cut(tollgate.ingest.unwrap(), bytes.as_bytes());
        let found = statuses(&answer);
        let first = found.first().copied().unwrap_or(0);
        if found.len() > 1 || !allowed.contains(&first) {
            failures.push(format!("{name}: {found:?}, not one of {allowed:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    nothing_was_stored(tollgate);
}

fn nothing_was_stored(tollgate: &Tollgate) {
    // An event that is taken last is the only one in the store.
    assert_eq!(tollgate.track(OPEN, "", super::EVENT).status, 200);
    let events = tollgate.events(OPEN, 1);
    assert_eq!(events[0]["k"], "v", "{events:?}");
}

fn post(lines: &str, body: &str) -> String {
    format!("POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n{body}")
}

const JSON: &str = r#"{"__logs__":[{"bad":"1"}]}"#;

#[test]
fn length_and_encoding_that_contradict_each_other() {
    let chunked = format!("{:x}\r\n{JSON}\r\n0\r\n\r\n", JSON.len());
    let tollgate = Tollgate::start();
    let refused: &[u16] = &[400, 501, 0];
    let mut cases = Vec::new();
    for te in [
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chun\u{a0}ked",
        "Transfer-Encoding: identity\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 5",
    ] {
        cases.push((te, post(te, &format!("{chunked}{SMUGGLED}")), refused));
    }
    let old = post("Transfer-Encoding: chunked", &chunked)
        .replace("HTTP/1.1\r\nHost", "HTTP/1.0\r\nHost");
    cases.push(("HTTP/1.0 with Transfer-Encoding", old, refused));
    for (name, length) in [
        ("plus", "+5"),
        ("minus", "-1"),
        ("hex", "0x5"),
        ("underscore", "5_0"),
        ("empty", ""),
        ("2^63", "9223372036854775808"),
        ("2^64", "18446744073709551616"),
        ("fraction", "5.0"),
        ("two words", "5 5"),
        ("list", "5, 6"),
        ("equal list", "5, 5"),
        ("two lines", "5\r\nContent-Length: 6"),
    ] {
        let line = format!("Content-Length: {length}");
        cases.push((
            name,
            post(&line, &format!("{JSON}{SMUGGLED}")),
            &[400, 413, 0],
        ));
    }
    let get = format!("GET /logstores/{OPEN}/track?bad=1 HTTP/1.1\r\nHost: localhost\r\n");
    cases.push((
        "a GET with a body",
        format!("{get}Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
        refused,
    ));
    cases.push((
        "a GET with chunks",
        format!("{get}Transfer-Encoding: chunked\r\n\r\n{chunked}{SMUGGLED}"),
        refused,
    ));
    all_refused(&tollgate, &cases);
}

#[test]
fn length_beside_chunked_is_taken_as_chunked_and_ends_the_connection() {
    // The library removes the length, so it cannot be refused; RFC 9112 6.3 asks for this much.
    let tollgate = Tollgate::start();
    let chunked = format!("{:x}\r\n{JSON}\r\n0\r\n\r\n{SMUGGLED}", JSON.len());
    let lines = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 4\r\nContent-Length: 4\r\nTransfer-Encoding: chunked",
    ];
    for line in lines {
        let answer = exchange_cut(tollgate.ingest.unwrap(), post(line, &chunked).as_bytes());
        let found = statuses(&answer);
        assert!(found == [200] || found == [400], "{line}: {found:?}");
    }
    let taken = tollgate.metric("tollgate_http_requests_total{version=\"1.1\"}");
    assert!(taken <= 4, "{taken} requests");
    assert_eq!(
        tollgate.metric("tollgate_requests_total{route=\"track_get\"}"),
        0
    );
}

#[test]
fn two_equal_lengths_are_one() {
    // The library joins them, as RFC 9110 8.6 allows: there is one reading, and the surplus is the
    // next request.
    let tollgate = Tollgate::start();
    let length = JSON.len();
    let line = format!("Content-Length: {length}\r\nContent-Length: {length}");
    let bytes = post(&line, &format!("{JSON}XX\r\n\r\n"));
    let answer = exchange_cut(tollgate.ingest.unwrap(), bytes.as_bytes());
    assert_eq!(statuses(&answer), [200, 400]);
    tollgate.events(OPEN, 1);
}

#[test]
fn broken_chunks_and_cut_bodies_are_never_acknowledged() {
    let tollgate = Tollgate::start();
    let refused: &[u16] = &[400, 0];
    let mut cases = Vec::new();
    let size = format!("{:x}", JSON.len());
    for (name, body) in [
        (
            "17 digits",
            format!("0000000000000000{size}0\r\n{JSON}\r\n0\r\n\r\n"),
        ),
        (
            "2^64 - 1",
            format!("ffffffffffffffff\r\n{JSON}\r\n0\r\n\r\n"),
        ),
        ("0x", format!("0x{size}\r\n{JSON}\r\n0\r\n\r\n")),
        ("plus", format!("+{size}\r\n{JSON}\r\n0\r\n\r\n")),
        ("space before", format!(" {size}\r\n{JSON}\r\n0\r\n\r\n")),
        ("underscore", format!("1_a\r\n{JSON}\r\n0\r\n\r\n")),
        ("empty size", format!("\r\n{JSON}\r\n0\r\n\r\n")),
        (
            "bare LF after the size",
            format!("{size}\n{JSON}\r\n0\r\n\r\n"),
        ),
        (
            "bare CR after the size",
            format!("{size}\r{JSON}\r\n0\r\n\r\n"),
        ),
        (
            "bare LF after the data",
            format!("{size}\r\n{JSON}\n0\r\n\r\n"),
        ),
        (
            "bare LF in an extension",
            format!("{size};a\nb\r\n{JSON}\r\n0\r\n\r\n"),
        ),
        (
            "stray bytes after the data",
            format!("{size}\r\n{JSON}xx\r\n0\r\n\r\n"),
        ),
        (
            "NUL in the size",
            format!("{size}\0\r\n{JSON}\r\n0\r\n\r\n"),
        ),
        ("no last chunk", format!("{size}\r\n{JSON}\r\n")),
        (
            "cut in the last chunk",
            format!("{size}\r\n{JSON}\r\n0\r\n"),
        ),
        ("cut in a chunk", format!("{size}\r\n{}", &JSON[..9])),
    ] {
        cases.push((name, post("Transfer-Encoding: chunked", &body), refused));
    }
    let length = format!("Content-Length: {}", JSON.len() + 1);
    cases.push(("a body cut by FIN", post(&length, JSON), refused));
    all_refused(&tollgate, &cases);
}

#[test]
fn heads_that_are_not_http() {
    let tollgate = Tollgate::start();
    let refused: &[u16] = &[400, 0];
    let tail = format!("Content-Length: {}\r\n\r\n{JSON}{SMUGGLED}", JSON.len());
    let post = format!("POST /logstores/{OPEN}/track");
    let mut cases = Vec::new();
    for (name, line) in [
        ("a folded header", "A: b\r\n c"),
        ("a bare CR", "A: b\rc"),
        ("a NUL", "A: b\0c"),
        ("a space before the first header", " A: b"),
        ("a space before the colon", "A : b"),
        ("no colon", "A b"),
        ("an empty name", ": b"),
        ("a name that is no token", "A(b): c"),
        ("a name with a slash", "A/b: c"),
    ] {
        // The bad line is the first header: whatever follows is read after it.
        let bytes = format!("{post} HTTP/1.1\r\n{line}\r\nHost: localhost\r\n{tail}");
        cases.push((name, bytes, refused));
    }
    for (name, line) in [
        ("two spaces", format!("{post}  HTTP/1.1")),
        ("tabs", format!("POST\t/logstores/{OPEN}/track\tHTTP/1.1")),
        ("a lower-case version", format!("{post} http/1.1")),
        ("HTTP/1.2", format!("{post} HTTP/1.2")),
        ("HTTP/2.0", format!("{post} HTTP/2.0")),
        ("HTTP/11", format!("{post} HTTP/11")),
        ("no version", post.clone()),
        ("a NUL in the target", format!("{post}\0 HTTP/1.1")),
        (
            "a space in the method",
            format!("PO ST /logstores/{OPEN}/track HTTP/1.1"),
        ),
    ] {
        cases.push((
            name,
            format!("{line}\r\nHost: localhost\r\n{tail}"),
            &[400, 505, 0],
        ));
    }
    cases.push((
        "TLS on a plain port",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned(),
        refused,
    ));
    cases.push((
        "HTTP/2 on a port without it",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        refused,
    ));
    all_refused(&tollgate, &cases);
}

#[test]
fn hosts_and_targets_have_one_reading() {
    let tollgate = Tollgate::start();
    let mut cases: Vec<(&str, String, &[u16])> = Vec::new();
    let tail = format!(
        "Content-Length: {}\r\nConnection: close\r\n\r\n{JSON}",
        JSON.len()
    );
    for host in [
        "",
        "Host: localhost\r\nHost: other\r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a,b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: [::1\r\n",
        "Host: localhost:x\r\n",
        "Host: localhost:99999\r\n",
        "Host: a%00\r\n",
        "Host: a\tb\r\n",
    ] {
        let bytes = format!("POST /logstores/{OPEN}/track HTTP/1.1\r\n{host}{tail}");
        cases.push((host, bytes, &[400]));
    }
    let path = format!("/logstores/{OPEN}/track");
    for (target, allowed) in [
        (format!("http://other{path}"), &[400][..]),
        (format!("http://other@localhost{path}"), &[400]),
        (format!("http://localhost@other{path}"), &[400]),
        ("http://127.0.0.1:1/metrics".to_owned(), &[400, 404]),
        (format!("//localhost{path}"), &[400, 404]),
        (format!("/{path}"), &[404]),
        (format!("file://{path}"), &[400, 404]),
        ("*".to_owned(), &[400, 404, 405]),
        (format!("/./logstores/{OPEN}/track"), &[404]),
        (format!("/x/../logstores/{OPEN}/track"), &[404]),
        (format!("/logstores/x/../{OPEN}/track"), &[404]),
        (format!("/logstores/x%2f..%2f{OPEN}/track"), &[404]),
        (format!("/logstores/%2e%2e/logstores/{OPEN}/track"), &[404]),
        (format!("/logstores/%2e/{OPEN}/track"), &[404]),
        (format!("/logstores/{OPEN}%2ftrack"), &[404]),
        (format!("/logstores/{OPEN}/%74rack"), &[404]),
        ("/logstores/%61nonymous-demo/track".to_owned(), &[404]),
        (format!("/logstores/{OPEN}%00/track"), &[404]),
        (format!("/logstores/{OPEN}%0d%0aX-A:b/track"), &[404]),
        (format!("/logstores/{OPEN}%zz/track"), &[404]),
        ("/logstores/%c0%ae%c0%ae/track".to_owned(), &[404]),
        (format!("/logstores//{OPEN}/track"), &[404]),
        (format!("/logstores/{OPEN}//track"), &[404]),
        (format!("/logstores/{OPEN}/track/"), &[404]),
        (format!("/logstores/{OPEN};x=y/track"), &[404]),
        (format!("/Logstores/{OPEN}/track"), &[404]),
        ("/logstores/ANONYMOUS-DEMO/track".to_owned(), &[404]),
        (format!("/logstores/{}/track", "a".repeat(5000)), &[404]),
        (format!("/logstores/{OPEN}\\track"), &[400, 404]),
    ] {
        let bytes = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{tail}");
        cases.push(("target", bytes, allowed));
    }
    for method in [
        "CONNECT localhost:80",
        "TRACE /",
        "post /logstores/anonymous-demo/track",
        "FROB /",
    ] {
        let bytes = format!("{method} HTTP/1.1\r\nHost: localhost\r\n{tail}");
        cases.push((method, bytes, &[400, 404, 405, 501]));
    }
    all_refused(&tollgate, &cases);
}

#[test]
fn nothing_is_upgraded_and_trailers_are_ignored() {
    let tollgate = Tollgate::start();
    let chunked = |trailers: &str| format!("{:x}\r\n{JSON}\r\n0\r\n{trailers}\r\n", JSON.len());
    for (lines, body) in [
        (
            "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
            chunked(""),
        ),
        (
            "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nTransfer-Encoding: chunked",
            chunked(""),
        ),
        (
            "Transfer-Encoding: chunked",
            chunked("Host: other\r\nAuthorization: Bearer x\r\nX-Log-Project: other\r\n"),
        ),
    ] {
        let answer = exchange_cut(tollgate.ingest.unwrap(), post(lines, &body).as_bytes());
        assert_eq!(statuses(&answer), [200], "{lines}");
    }
    // A body past the limit is refused before the client is told to go on.
    let claimed = post("Content-Length: 99999999999\r\nExpect: 100-continue", "");
    assert_eq!(
        statuses(&exchange_cut(tollgate.ingest.unwrap(), claimed.as_bytes())),
        [413]
    );
    let odd = post("Content-Length: 5\r\nExpect: 200-maybe", "");
    assert_eq!(
        statuses(&exchange_cut(tollgate.ingest.unwrap(), odd.as_bytes())),
        [400]
    );
}

#[test]
fn pipelined_requests_are_answered_in_order_up_to_the_bad_one() {
    let tollgate = Tollgate::start();
    let good = super::request("");
    let mut bytes = good.repeat(30);
    bytes.push_str("POST /logstores/anonymous-demo/track HTTP/1.1\r\nHost : x\r\n\r\n");
    bytes.push_str(&good.repeat(9));
    // All of it is read at once: unread bytes at the close would be answered by a reset, which may
    // take answers with it that are still on their way.
    assert!(bytes.len() < 8192);
    let answer = exchange_cut(tollgate.ingest.unwrap(), bytes.as_bytes());
    let found = statuses(&answer);
    assert_eq!(found.len(), 31, "{found:?}");
    assert_eq!((found[29], found[30]), (200, 400));
    tollgate.events(OPEN, 30);
}

#[test]
fn heads_past_their_bounds_are_refused_early() {
    let tollgate = Tollgate::start_config(&config("max_header = \"16KiB\"\nmax_headers = 30", ""));
    let ingest = tollgate.ingest.unwrap();
    let head = |count: usize| -> String {
        let more: String = (0..count).map(|i| format!("X-{i}: a\r\n")).collect();
        super::request(&more)
    };
    // Host and Content-Length count as well.
    assert_eq!(statuses(&exchange_cut(ingest, head(28).as_bytes())), [200]);
    assert_eq!(statuses(&exchange_cut(ingest, head(29).as_bytes())), [431]);
    let long = super::request(&format!("X: {}\r\n", "a".repeat(17 << 10)));
    assert_eq!(statuses(&exchange_cut(ingest, long.as_bytes())), [431]);
    let just = super::request(&format!("X: {}\r\n", "a".repeat(15 << 10)));
    assert_eq!(statuses(&exchange_cut(ingest, just.as_bytes())), [200]);
    let targets = format!(
        "GET /logstores/{OPEN}/track?{} HTTP/1.1\r\n",
        "a".repeat(70 << 10)
    );
    let found = statuses(&exchange_cut(ingest, targets.as_bytes()));
    assert!(found == [414] || found == [431], "{found:?}");
    // An endless head, method and run of empty lines: the end comes long before all is sent.
    for endless in [
        "X: aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "\r\n\r\n\r\n\r\n",
    ] {
        let mut stream = connect(ingest);
        drop(stream.write_all(b"POST / HTTP/1.1\r\n"));
        let block = endless.repeat((1 << 20) / endless.len());
        let sent = (0..32)
            .take_while(|_| stream.write_all(block.as_bytes()).is_ok())
            .count();
        assert!(sent < 32, "{endless:?}");
        drop(stream.shutdown(Shutdown::Both));
    }
    // Trailers and chunk extensions have bounds as well.
    let mut trailers = post("Transfer-Encoding: chunked", "0\r\n");
    trailers.push_str(&"X: aaaaaaaaaaaa\r\n".repeat(64 << 10));
    let mut stream = connect(ingest);
    drop(stream.write_all(trailers.as_bytes()));
    let found = statuses(&rest(&mut stream));
    assert!(found.is_empty() || found == [400], "{found:?}");
    let mut extension = post("Transfer-Encoding: chunked", "1;");
    extension.push_str(&"a".repeat(1 << 20));
    let mut stream = connect(ingest);
    drop(stream.write_all(extension.as_bytes()));
    let found = statuses(&rest(&mut stream));
    assert!(found.is_empty() || found == [400], "{found:?}");
    tollgate.events(OPEN, 2);
}
