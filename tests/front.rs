//! The front, by raw sockets against the real binary: what each request is answered, and what of
//! it is in the store.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::io::Write;

use support::{Answer, GUARDED, OPEN, Tollgate, connect, exchange_cut, lz4_literals, read_answer};

const EVENT: &str = r#"{"__topic__":"t","__source__":"s","__tags__":{"app":"shop"},"__logs__":[{"k":"v","n":5,"u":"你好😀"}]}"#;

fn assert_accepted(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}\n{}", answer.text());
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("content-length"), Some("0"));
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(answer.header("x-tollgate-ack"), Some("memory"));
    assert_marked(answer);
}

fn assert_marked(answer: &Answer) {
    // The C SDK knows these names in lower case only.
    let id = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("x-log-requestid: "))
        .unwrap();
    assert!(
        id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()),
        "{id}"
    );
    let time = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("x-log-time: "))
        .unwrap();
    assert!(time.parse::<u64>().unwrap() > 1_500_000_000);
    assert!(answer.header("access-control-allow-origin").is_some());
}

#[test]
fn an_event_is_read_back_field_by_field() {
    let tollgate = Tollgate::start();
    assert_accepted(&tollgate.track(OPEN, "", EVENT));
    let events = tollgate.events(OPEN, 1);
    let event = &events[0];
    for (key, value) in [
        ("__topic__", "t"),
        ("__source__", "s"),
        ("__tag__:app", "shop"),
        ("__tag__:__client_ip__", "127.0.0.1"),
        ("k", "v"),
        ("n", "5"),
        ("u", "你好😀"),
    ] {
        assert_eq!(event[key], value, "{key} of {event}");
    }
    assert!(event["__tag__:__pack_id__"].as_str().unwrap().contains('-'));
}

#[test]
fn a_token_opens_its_logstore_from_every_place_and_is_never_kept() {
    let tollgate = Tollgate::start();
    let token = tollgate.token();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    assert_accepted(&tollgate.track(GUARDED, &bearer, EVENT));
    let cookie = format!("Cookie: a=b;tollgate_token={token}\r\n");
    assert_accepted(&tollgate.track(GUARDED, &cookie, EVENT));
    let head = format!(
        "POST /t/{token}/logstores/{GUARDED}/track?APIVersion=0.6.0& HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        EVENT.len()
    );
    assert_accepted(&tollgate.send(&head, EVENT.as_bytes()));
    let query = format!("/logstores/{GUARDED}/track?APIVersion=0.6.0&token={token}&k=v");
    assert_accepted(&tollgate.get(&query));
    let body =
        format!(r#"{{"__logs__":[{{"k":"v"}}],"__tags__":{{"__token__":"{token}","app":"x"}}}}"#);
    assert_accepted(&tollgate.track(GUARDED, "", body));
    let events = tollgate.events(GUARDED, 5);
    let signature = token.rsplit('.').next().unwrap();
    for place in [format!("{events:?}"), tollgate.stderr(), tollgate.metrics()] {
        assert!(!place.contains(signature), "the token is in {place}");
    }
    for source in ["authorization", "cookie", "path", "query", "body"] {
        let line = format!(
            "tollgate_credentials_total{{project=\"sls-webtracking-mini\",logstore=\"{GUARDED}\",source=\"{source}\"}}"
        );
        assert_eq!(tollgate.metric(&line), 1, "{source}");
    }
}

#[test]
fn without_a_good_token_nothing_is_stored_and_the_answer_says_why() {
    let tollgate = Tollgate::start();
    let refusal = |extra: &str, body: &str| tollgate.track(GUARDED, extra, body).refusal();
    let unauthorized = |reason: &str| (401, "Unauthorized".to_owned(), reason.to_owned());
    let open_token = support::mint(tollgate.data_dir(), OPEN);
    let good = tollgate.token();
    let mut forged = good.clone();
    forged.truncate(good.len() - 4);
    forged.push_str("AAAA");
    assert_eq!(refusal("", EVENT), unauthorized("credential_missing"));
    assert_eq!(
        refusal("Authorization: Bearer nonsense\r\n", EVENT),
        unauthorized("token_malformed")
    );
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(
        refusal(&bearer(&forged), EVENT),
        unauthorized("token_signature")
    );
    assert_eq!(
        refusal(&bearer(&open_token), EVENT),
        unauthorized("token_scope")
    );
    let twice = format!("{}{}", bearer(&good), bearer(&good));
    assert_eq!(refusal(&twice, EVENT), unauthorized("token_ambiguous"));
    let signed = "Authorization: LOG :c2ln\r\n";
    let missing = (400, "MissingParameter", "signature_header_missing");
    let (status, code, reason) = refusal(signed, EVENT);
    assert_eq!((status, code.as_str(), reason.as_str()), missing);
    let in_body = r#"{"__logs__":[{"k":"v"}],"__tags__":{"__token__":"nonsense"}}"#;
    assert_eq!(refusal("", in_body), unauthorized("token_malformed"));
    let refused = format!(
        "tollgate_requests_refused_total{{project=\"sls-webtracking-mini\",logstore=\"{GUARDED}\",reason=\"token_malformed\"}}"
    );
    assert_eq!(tollgate.metric(&refused), 2);
    tollgate.events(GUARDED, 0);
}

#[test]
fn a_bad_token_is_refused_before_the_body_is_read() {
    let tollgate = Tollgate::start();
    let mut stream = connect(tollgate.ingest.unwrap());
    let head = format!(
        "POST /logstores/{GUARDED}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nAuthorization: Bearer x.y.z\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).status, 401);
}

#[test]
fn get_and_gif_routes_take_one_event_from_the_query() {
    let tollgate = Tollgate::start();
    let query = "APIVersion=0.6.0&&k=a+b%20c&__topic__=t&pct=100%&u=%E4%BD%A0&empty=";
    assert_accepted(&tollgate.get(&format!("/logstores/{OPEN}/track?{query}")));
    let gif = tollgate.get(&format!("/logstores/{OPEN}/track.gif?{query}"));
    assert_eq!((gif.status, gif.body.len()), (200, 43));
    assert_eq!(gif.header("content-type"), Some("image/gif"));
    assert_eq!(gif.header("cache-control"), Some("no-store"));
    let head = format!(
        "GET /logstores/{OPEN}/track_ua.gif?k=v HTTP/1.1\r\nHost: localhost\r\nUser-Agent: UA/1\r\nReferer: https://shop.example.com/a\r\n\r\n"
    );
    assert_eq!(tollgate.send(&head, b"").status, 200);
    let events = tollgate.events(OPEN, 3);
    let with_ua = events
        .iter()
        .find(|e| e.get("__userAgent__").is_some())
        .unwrap();
    assert_eq!(with_ua["__userAgent__"], "UA/1");
    assert_eq!(with_ua["__referer__"], "https://shop.example.com/a");
    let plain = events.iter().find(|e| e.get("pct").is_some()).unwrap();
    for (key, value) in [
        ("k", "a b c"),
        ("__topic__", "t"),
        ("pct", "100%"),
        ("u", "你"),
        ("empty", ""),
    ] {
        assert_eq!(plain[key], value, "{key}");
    }
    assert!(plain.get("APIVersion").is_none());
}

#[test]
fn a_query_over_16_kib_is_refused() {
    let tollgate = Tollgate::start();
    let at = |size: usize| {
        let value = "v".repeat(size - 2);
        tollgate.get(&format!("/logstores/{OPEN}/track?k={value}"))
    };
    assert_eq!(at(16 << 10).status, 200);
    assert_eq!(at((16 << 10) + 1).refusal().2, "query_too_large");
}

#[test]
fn every_compression_is_taken_and_lies_about_sizes_are_refused() {
    let tollgate = Tollgate::start();
    let lz4 = lz4_literals(EVENT.as_bytes());
    let send = |kind: &str, raw: &str, body: &[u8]| {
        let raw = if raw.is_empty() {
            String::new()
        } else {
            format!("x-log-bodyrawsize: {raw}\r\n")
        };
        tollgate.track(OPEN, &format!("x-log-compresstype: {kind}\r\n{raw}"), body)
    };
    let size = EVENT.len().to_string();
    assert_accepted(&send("lz4", &size, &lz4));
    let zlib = compress(EVENT, |plain| {
        flate2::read::ZlibEncoder::new(plain, flate2::Compression::fast())
    });
    assert_accepted(&send("deflate", &size, &zlib));
    assert_accepted(&send("deflate", "", &zlib));
    let gzip = compress(EVENT, |plain| {
        flate2::read::GzEncoder::new(plain, flate2::Compression::fast())
    });
    assert_accepted(&send("gzip", "", &gzip));
    let zstd = zstd::bulk::compress(EVENT.as_bytes(), 1).unwrap();
    assert_accepted(&send("zstd", &size, &zstd));
    let reason = |answer: Answer| answer.refusal().2;
    assert_eq!(reason(send("lz4", "", &lz4)), "raw_size_invalid");
    for lie in ["0", "1", "999", "-1", "x", "99999999999999999999"] {
        let reason = reason(send("lz4", lie, &lz4));
        assert!(
            reason == "raw_size_invalid" || reason == "uncompress",
            "{lie}: {reason}"
        );
    }
    assert_eq!(reason(send("lz4", "10485761", &lz4)), "body_too_large");
    assert_eq!(reason(send("brotli", &size, &lz4)), "unknown_compression");
    assert_eq!(reason(send("deflate", "", b"nonsense")), "uncompress");
    // The STS plugin counts UTF-16 units, uncompressed: such a size is not believed and not refused.
    assert_accepted(&tollgate.track(OPEN, "x-log-bodyrawsize: 7\r\n", EVENT));
    tollgate.events(OPEN, 6);
}

fn compress<'a, R: std::io::Read>(plain: &'a str, encoder: impl FnOnce(&'a [u8]) -> R) -> Vec<u8> {
    let mut out = Vec::new();
    encoder(plain.as_bytes()).read_to_end(&mut out).unwrap();
    out
}

#[test]
fn bombs_are_refused_at_the_cap() {
    let tollgate = Tollgate::start();
    let bomb = vec![b' '; 100 << 20];
    let mut zlib = Vec::new();
    let mut encoder = flate2::read::ZlibEncoder::new(&bomb[..], flate2::Compression::fast());
    std::io::Read::read_to_end(&mut encoder, &mut zlib).unwrap();
    let mut gzip = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(&bomb[..], flate2::Compression::fast());
    std::io::Read::read_to_end(&mut encoder, &mut gzip).unwrap();
    let zstd = zstd::bulk::compress(&bomb, 1).unwrap();
    drop(bomb);
    for (kind, body) in [("deflate", &zlib), ("gzip", &gzip), ("zstd", &zstd)] {
        let answer = tollgate.track(OPEN, &format!("x-log-compresstype: {kind}\r\n"), body);
        assert_eq!(
            answer.refusal(),
            (413, "PostBodyTooLarge".into(), "body_too_large".into()),
            "{kind}"
        );
    }
    assert_accepted(&tollgate.track(OPEN, "", EVENT));
}

#[test]
fn bad_bodies_have_their_answers_and_store_nothing() {
    let tollgate = Tollgate::start();
    let keys = |count: usize| {
        let members: Vec<String> = (0..count).map(|i| format!("\"k{i}\":1")).collect();
        format!("{{\"__logs__\":[{{{}}}]}}", members.join(","))
    };
    let deep = format!(
        "{{\"__logs__\":[{{\"k\":{}1{}}}]}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let events =
        |count: usize| format!("{{\"__logs__\":[{}]}}", vec!["{\"k\":1}"; count].join(","));
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (b"".to_vec(), 400, "not_json"),
        (b"hello".to_vec(), 400, "not_json"),
        (b"{\"__logs__\":[{\"k\":\"v\"}".to_vec(), 400, "not_json"),
        (b"{}{}".to_vec(), 400, ""),
        (b"[]".to_vec(), 400, "wrong_shape"),
        (b"{\"a\":1}".to_vec(), 400, "wrong_shape"),
        (b"{\"__logs__\":{}}".to_vec(), 400, "wrong_shape"),
        (b"{\"__logs__\":[1]}".to_vec(), 400, "wrong_shape"),
        (
            b"{\"__logs__\":[{\"k\":1,\"k\":2}]}".to_vec(),
            400,
            "duplicate_key",
        ),
        (
            b"{\"__logs__\":[{\"k\":\"\xff\"}]}".to_vec(),
            400,
            "not_utf8",
        ),
        (b"{\"__logs__\":[{\"\":1}]}".to_vec(), 400, "invalid_key"),
        (keys(700_000).into_bytes(), 400, "too_many_fields"),
        (deep.into_bytes(), 400, "too_deep"),
        (events(4097).into_bytes(), 413, "too_many_events"),
    ];
    for (body, status, reason) in cases {
        let answer = tollgate.track(OPEN, "", &body);
        let (found, code, why) = answer.refusal();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(found, status, "{shown}: {code} {why}");
        assert!(reason.is_empty() || why == reason, "{shown}: {why}");
        assert_marked(&answer);
    }
    assert_accepted(&tollgate.track(OPEN, "", events(4096)));
    assert_accepted(&tollgate.track(OPEN, "", "{\"__logs__\":[]}"));
    assert_accepted(&tollgate.track(OPEN, "", r#"{"__logs__":[{"k":"\ud800","nul":"\u0000"}]}"#));
    let events = tollgate.events(OPEN, 4097);
    let odd = events
        .iter()
        .find(|event| event.get("nul").is_some())
        .unwrap();
    assert_eq!((&odd["k"], &odd["nul"]), (&"\u{fffd}".into(), &"\0".into()));
}

#[test]
fn a_percent_encoded_form_body_is_survived() {
    let tollgate = Tollgate::start();
    let encoded: String = EVENT.bytes().map(|b| format!("%{b:02X}")).collect();
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_accepted(&tollgate.track(OPEN, form, encoded));
    assert_eq!(tollgate.events(OPEN, 1)[0]["u"], "你好😀");
}

#[test]
fn sizes_of_bodies_are_bounded_declared_or_not() {
    let tollgate = Tollgate::start();
    let head = |length: &str| {
        format!("POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n")
    };
    let declared = tollgate.send(&head("Content-Length: 10485761"), b"");
    assert_eq!(
        declared.refusal(),
        (413, "PostBodyTooLarge".into(), "body_too_large".into())
    );
    let mut chunked = Vec::new();
    for _ in 0..11 {
        chunked.extend_from_slice(b"100000\r\n");
        chunked.resize(chunked.len() + (1 << 20), b' ');
        chunked.extend_from_slice(b"\r\n");
    }
    let undeclared = tollgate.send(&head("Transfer-Encoding: chunked"), &chunked);
    assert_eq!(undeclared.refusal().2, "body_too_large");
    let value = "v".repeat((10 << 20) - 40 - 1_048_576 * 9);
    let large = vec![format!("{{\"k\":\"{}\"}}", "w".repeat(1_048_576 - 12)); 9].join(",");
    let body = format!(
        "{{\"__logs__\":[{{\"k\":\"{}\"}},{large}]}}",
        &value[..500_000]
    );
    assert!(body.len() <= 10 << 20);
    assert_accepted(&tollgate.track(OPEN, "", &body));
    tollgate.events(OPEN, 10);
}

#[test]
fn an_unverified_body_has_a_smaller_bound() {
    let tollgate = Tollgate::start();
    let padding = " ".repeat(3 << 20);
    let body = format!("{padding}{EVENT}");
    assert_eq!(
        tollgate.track(GUARDED, "", &body).refusal().2,
        "body_too_large"
    );
    let bearer = format!("Authorization: Bearer {}\r\n", tollgate.token());
    assert_accepted(&tollgate.track(GUARDED, &bearer, &body));
}

#[test]
fn a_body_cut_short_is_never_acknowledged() {
    let tollgate = Tollgate::start();
    let bytes = format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{EVENT}",
        EVENT.len() + 10
    );
    let answer = exchange_cut(tollgate.ingest.unwrap(), bytes.as_bytes());
    assert!(
        !answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    // More than declared: the surplus is not an event, the rest is.
    let surplus = format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{EVENT}{EVENT}",
        EVENT.len()
    );
    let answer = exchange_cut(tollgate.ingest.unwrap(), surplus.as_bytes());
    assert!(
        answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    tollgate.events(OPEN, 1);
}

#[test]
fn a_client_that_hangs_up_after_its_body_loses_nothing() {
    let tollgate = Tollgate::start();
    for _ in 0..200 {
        let mut stream = connect(tollgate.ingest.unwrap());
        let bytes = format!(
            "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{EVENT}",
            EVENT.len()
        );
        stream.write_all(bytes.as_bytes()).unwrap();
        drop(stream);
    }
    tollgate.events(OPEN, 200);
}

#[test]
fn unknown_names_routes_and_methods_have_their_answers() {
    let tollgate = Tollgate::start();
    let refusal = |line: &str, host: &str| {
        tollgate.send(
            &format!("{line} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"),
            b"",
        )
    };
    let of = |line: &str, host: &str| refusal(line, host).refusal();
    let is = |status: u16, code: &str, reason: &str| (status, code.to_owned(), reason.to_owned());
    assert_eq!(
        of("POST /logstores/other-store/track", "localhost"),
        is(404, "LogStoreNotExist", "unknown_logstore")
    );
    assert_eq!(
        of("POST /logstores/web/track", "other.localhost"),
        is(404, "ProjectNotExist", "unknown_project")
    );
    for path in [
        "/",
        "/logstores",
        "/metrics",
        "/logstores/anonymous-demo/track/",
        "/t/x/y",
    ] {
        let line = format!("POST {path}");
        assert_eq!(
            of(&line, "localhost"),
            is(404, "ParameterInvalid", "unknown_route"),
            "{path}"
        );
    }
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
        let line = format!("{method} /logstores/{OPEN}/track");
        let answer = refusal(&line, "localhost");
        assert_eq!(answer.header("allow"), Some("GET, POST, OPTIONS"));
        assert_eq!(
            answer.refusal(),
            is(405, "InvalidMethod", "method_not_allowed"),
            "{method}"
        );
    }
    assert_eq!(
        of(&format!("POST /logstores/{OPEN}/track"), "a,b"),
        is(400, "InvalidHost", "invalid_host")
    );
    let mut stream = connect(tollgate.ingest.unwrap());
    let head = format!(
        "HEAD /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 405") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
}

#[test]
fn the_project_is_named_by_host_header_or_default() {
    let tollgate = Tollgate::start();
    for host in [
        "sls-webtracking-mini.localhost",
        "sls-webtracking-mini.localhost:8080",
        "SLS-webtracking-mini.edge.example.com",
        "sls-webtracking-mini.sls-webtracking-mini.cn-hangzhou.example.com",
        "127.0.0.1:1",
        "edge.example.com\r\nx-log-project: sls-webtracking-mini",
    ] {
        let head = format!(
            "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n",
            EVENT.len()
        );
        assert_accepted(&tollgate.send(&head, EVENT.as_bytes()));
    }
    assert_eq!(
        tollgate.metric("tollgate_doubled_project_requests_total"),
        1
    );
}

#[test]
fn signed_and_protobuf_requests_are_taken_where_the_logstore_is_open() {
    let tollgate = Tollgate::start();
    // LogGroup{Topic web, Source 203.0.113.7, one Log {event=click, page=/home}}, the time left out
    // of the check by the window: it is replaced and kept as a field.
    let group: &[u8] = b"\x0a\x25\x08\x80\xe2\xbe\xd1\x06\x12\x0e\x0a\x05event\x12\x05click\x12\x0d\x0a\x04page\x12\x05/home\x1a\x03web\x22\x0b203.0.113.7";
    for path in [
        "",
        "/shards/lb",
        "/shards/route?key=00000000000000000000000000000000",
        "/shards/lb?",
    ] {
        let head = format!(
            "POST /logstores/{OPEN}{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nAuthorization: LOG a:b\r\nContent-Length: {}\r\n\r\n",
            group.len()
        );
        assert_accepted(&tollgate.send(&head, group));
        let guarded = head.replace(OPEN, GUARDED);
        assert_eq!(
            tollgate.send(&guarded, group).refusal().2,
            "signature_header_missing"
        );
    }
    let json = r#"{"__logs__":[{"event":"json"}],"__topic__":"web"}"#;
    let head = format!(
        "POST /logstores/{OPEN} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        json.len()
    );
    assert_accepted(&tollgate.send(&head, json.as_bytes()));
    let broken = head
        .replace("application/json", "application/x-protobuf")
        .replace(&json.len().to_string(), "3");
    assert_eq!(
        tollgate.send(&broken, b"\x0a\x05x").refusal().2,
        "not_protobuf"
    );
    let events = tollgate.events(OPEN, 5);
    let clicks = events
        .iter()
        .filter(|e| e["event"] == "click" && e["page"] == "/home");
    assert_eq!(clicks.count(), 4);
}

#[test]
fn preflights_are_answered_everywhere() {
    let tollgate = Tollgate::start();
    for path in [
        format!("/logstores/{OPEN}/track"),
        format!("/logstores/{GUARDED}"),
        format!("/t/x/logstores/{GUARDED}/track.gif"),
        "/logstores/unknown/track".to_owned(),
        "/".to_owned(),
    ] {
        let head = format!(
            "OPTIONS {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://shop.example.com\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,content-md5\r\n\r\n"
        );
        let answer = tollgate.send(&head, b"");
        assert_eq!(answer.status, 200, "{path}");
        let allowed = answer.header("access-control-allow-headers").unwrap();
        for header in [
            "authorization",
            "content-md5",
            "content-type",
            "x-acs-security-token",
            "x-log-date",
        ] {
            assert!(allowed.contains(header), "{header}");
        }
        assert!(answer.header("access-control-max-age").is_some());
        assert_marked(&answer);
    }
}

#[test]
fn a_million_odd_names_add_no_series() {
    // All are refused, and none is to wait for it.
    let config = include_str!("../config/quickstart.toml");
    let config = config.replacen("[ingest]", "[ingest]\nrefusal_delay = \"0s\"", 1);
    assert!(config.contains("refusal_delay"));
    let tollgate = Tollgate::start_config(&config);
    // Until refusals of a kind are so many in a second that the log leaves some out, which is counted.
    for _ in 0..5 {
        drop(tollgate.get("/odd/0"));
        drop(tollgate.get("/logstores/odd-0/track"));
    }
    // The second answer says how long the first one took.
    drop(tollgate.metrics());
    let before = tollgate.metrics().lines().count();
    for i in 1..200 {
        drop(tollgate.get(&format!("/odd/{i}")));
        drop(tollgate.get(&format!("/logstores/odd-{i}/track?token={i}")));
    }
    assert_eq!(tollgate.metrics().lines().count(), before);
}

#[test]
fn rules_of_a_logstore_keep_honest_mistakes_out() {
    let config = r#"
        [ingest]
        default_project = "sls-webtracking-mini"
        [[upstream]]
        name = "embedded"
        kind = "embedded"
        [[project]]
        name = "sls-webtracking-mini"
        upstream = "embedded"
        [[project.logstore]]
        name = "anonymous-demo"
        accept = ["anonymous"]
        appids = ["wx01"]
        development = false
        allow_origins = ["https://shop.example.com"]
        json_answer = true
        client_address = "field"
    "#;
    let tollgate = Tollgate::start_config(config);
    let send = |header: &str| tollgate.track(OPEN, &format!("{header}\r\n"), EVENT);
    let referer = |rest: &str| {
        send(&format!(
            "Referer: https://servicewechat.com/{rest}/page-frame.html"
        ))
    };
    assert_eq!(referer("wx02/12").refusal().2, "appid_not_allowed");
    assert_eq!(referer("wx01/devtools").refusal().2, "development_refused");
    let evil = send("Origin: https://evil.example.com");
    assert_eq!(
        evil.header("access-control-allow-origin"),
        Some("*"),
        "it may read why"
    );
    assert_eq!(evil.refusal().2, "origin_not_allowed");
    let good = referer("wx01/12");
    assert_eq!((good.status, good.text().as_str()), (200, "{}"));
    assert_eq!(good.header("content-type"), Some("application/json"));
    let shop = send("Origin: https://shop.example.com");
    assert_eq!(shop.status, 200);
    assert_eq!(
        shop.header("access-control-allow-origin"),
        Some("https://shop.example.com")
    );
    assert_eq!(
        shop.header("access-control-allow-credentials"),
        Some("true")
    );
    // As a field, the address lets the requests share a batch.
    let events = tollgate.events(OPEN, 2);
    assert!(
        events
            .iter()
            .all(|event| event["__tag__:__client_ip__"] == "127.0.0.1")
    );
    assert_eq!(
        events[0]["__tag__:__pack_id__"],
        events[1]["__tag__:__pack_id__"]
    );
}

#[test]
fn a_full_memory_budget_answers_503_and_says_when_to_try_again() {
    let config = r#"
        [ingest]
        default_project = "sls-webtracking-mini"
        [limits]
        memory = "2MiB"
        body = "512KiB"
        unverified_body = "64KiB"
        [spool]
        enabled = false
        [batch]
        max_bytes = "256KiB"
        [delivery]
        stop_deadline = "1s"
        [[upstream]]
        name = "nowhere"
        kind = "sls"
        endpoint = "http://localhost:1"
        region = "local"
        access_key_id = "id"
        access_key_secret = "file:/etc/hostname"
        [[project]]
        name = "sls-webtracking-mini"
        upstream = "nowhere"
        [[project.logstore]]
        name = "anonymous-demo"
        accept = ["anonymous"]
    "#;
    let mut tollgate = Tollgate::start_config(config);
    let body = format!("{{\"__logs__\":[{{\"k\":\"{}\"}}]}}", "v".repeat(100_000));
    let mut accepted = 0;
    let refused = loop {
        let answer = tollgate.track(OPEN, "", &body);
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 20, "2 MiB cannot hold so many bodies of 100 kB");
    };
    assert!(accepted > 3, "only {accepted}");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "the store is down for a moment");
    assert_eq!(
        refused.refusal(),
        (503, "ServerBusy".into(), "memory_full".into())
    );
    let leased = tollgate.metric("tollgate_memory_leased_bytes");
    assert!(
        leased <= 1 << 20,
        "one logstore may hold half of 2 MiB, and holds {leased}"
    );
    assert_eq!(tollgate.stop().code(), Some(75));
    let told = format!("{accepted} events undelivered");
    assert!(tollgate.stderr().contains(&told), "{}", tollgate.stderr());
}

#[test]
fn a_slow_body_is_answered_408_and_a_silent_connection_is_closed() {
    let config = r#"
        [ingest]
        default_project = "sls-webtracking-mini"
        header_timeout = "1s"
        body_timeout = "1s"
        [[upstream]]
        name = "embedded"
        kind = "embedded"
        [[project]]
        name = "sls-webtracking-mini"
        upstream = "embedded"
        [[project.logstore]]
        name = "anonymous-demo"
        accept = ["anonymous"]
    "#;
    let tollgate = Tollgate::start_config(config);
    let mut silent = connect(tollgate.ingest.unwrap());
    let mut slow = connect(tollgate.ingest.unwrap());
    let head = format!(
        "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).unwrap();
    let answer = read_answer(&mut slow);
    assert_eq!(
        answer.refusal(),
        (408, "RequestTimeout".into(), "body_timeout".into())
    );
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut silent, &mut rest).unwrap();
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn events_of_many_addresses_share_a_few_writes() {
    let tollgate = Tollgate::start();
    let ingest = tollgate.ingest.unwrap();
    for last in 1..=60u8 {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket
            .bind(&std::net::SocketAddr::from(([127, 0, 0, last], 0)).into())
            .unwrap();
        socket.connect(&ingest.into()).unwrap();
        let mut stream = std::net::TcpStream::from(socket);
        let head = format!(
            "POST /logstores/{OPEN}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            EVENT.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(EVENT.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut stream).status, 200);
    }
    let events = tollgate.events(OPEN, 60);
    let addresses: std::collections::BTreeSet<String> = events
        .iter()
        .map(|event| event["__tag__:__client_ip__"].to_string())
        .collect();
    assert_eq!(addresses.len(), 60);
    let line = format!(
        "tollgate_groups_delivered_total{{project=\"sls-webtracking-mini\",logstore=\"{OPEN}\"}}"
    );
    let groups = tollgate.metric(&line);
    assert!(groups <= 10, "60 events took {groups} writes");
}

const SMALL: &str = r#"
    [ingest]
    default_project = "sls-webtracking-mini"
    max_connections = 4
    write_timeout = "1s"
    [limits]
    memory = "16MiB"
    body = "1MiB"
    unverified_body = "1MiB"
    [[identity.jwt]]
    kid = "quickstart"
    issuer = "tollgate"
    audience = "tollgate"
    [[upstream]]
    name = "embedded"
    kind = "embedded"
    [[project]]
    name = "sls-webtracking-mini"
    upstream = "embedded"
    [[project.logstore]]
    name = "web-tracking-logstore"
    [[project.logstore]]
    name = "anonymous-demo"
    accept = ["anonymous"]
"#;

#[test]
fn clients_that_never_read_their_answers_lose_their_connection() {
    let tollgate = Tollgate::start_config(SMALL);
    let ingest = tollgate.ingest.unwrap();
    let deaf: Vec<_> = (0..4)
        .map(|_| {
            let socket =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.connect(&ingest.into()).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut stream = std::net::TcpStream::from(socket);
            let get =
                format!("GET /logstores/{OPEN}/track?k=v HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let many = get.repeat(2000);
            let until = std::time::Instant::now() + std::time::Duration::from_millis(1500);
            while std::time::Instant::now() < until {
                if stream.write(many.as_bytes()).is_err() {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
            stream
        })
        .collect();
    // All four places are taken by the deaf; the fifth client gets one when they are cut.
    assert_eq!(tollgate.track(OPEN, "", EVENT).status, 200);
    drop(deaf);
}

#[test]
fn strangers_with_slow_bodies_do_not_take_the_memory_of_those_with_a_token() {
    let config = SMALL.replace("max_connections = 4", "max_connections = 100");
    let tollgate = Tollgate::start_config(&config);
    let held: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(tollgate.ingest.unwrap());
            let head = format!(
                "POST /logstores/{GUARDED}/track HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
            );
            drop(stream.write_all(head.as_bytes()));
            drop(stream.write_all(&vec![b' '; 999_999]));
            stream
        })
        .collect();
    let bearer = format!("Authorization: Bearer {}\r\n", tollgate.token());
    assert_accepted(&tollgate.track(GUARDED, &bearer, EVENT));
    let leased = tollgate.metric("tollgate_memory_leased_bytes");
    assert!(leased < 2 << 20, "strangers hold {leased} of 8 MiB");
    drop(held);
}

#[test]
fn framings_that_can_be_read_in_two_ways_are_refused() {
    let tollgate = Tollgate::start();
    let reason = |head: &str| {
        let head = head.replace("OPEN", &format!("/logstores/{OPEN}/track"));
        tollgate
            .send(&format!("{head}\r\n\r\n"), b"0\r\n\r\n")
            .refusal()
            .2
    };
    for head in [
        "POST OPEN HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "POST OPEN HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, chunked",
        "POST OPEN HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 200-maybe",
        "GET OPEN HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5",
    ] {
        assert_eq!(reason(head), "bad_framing", "{head}");
    }
    let hosts =
        "POST http://localhost/logstores/anonymous-demo/track HTTP/1.1\r\nHost: a\r\nHost: b";
    assert_eq!(
        reason(&format!("{hosts}\r\nContent-Length: 5")),
        "invalid_host"
    );
}

#[test]
fn a_token_where_it_does_not_belong_is_refused_or_left_out() {
    let tollgate = Tollgate::start();
    let token = tollgate.token();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let tagged = format!(r#"{{"__logs__":[{{"k":"v"}}],"__tags__":{{"__token__":"{token}"}}}}"#);
    assert_eq!(
        tollgate.track(GUARDED, &bearer, &tagged).refusal().2,
        "token_ambiguous"
    );
    // A stale cookie is ambient: the token in the body decides.
    let stale = "Cookie: tollgate_token=stale\r\n";
    assert_accepted(&tollgate.track(GUARDED, stale, &tagged));
    assert_eq!(
        tollgate.track(GUARDED, stale, EVENT).refusal().2,
        "token_malformed"
    );
    let as_field = format!(r#"{{"__logs__":[{{"k":"v","__token__":"{token}"}}]}}"#);
    assert_accepted(&tollgate.track(OPEN, "", &as_field));
    assert_accepted(&tollgate.get(&format!("/logstores/{OPEN}/track?k=v&__token__={token}")));
    let events = tollgate.events(OPEN, 2);
    assert!(
        events.iter().all(|event| event.get("__token__").is_none()),
        "{events:?}"
    );
}

#[test]
fn an_event_that_no_log_group_can_hold_is_refused_at_the_door() {
    let tollgate = Tollgate::start();
    let body = |size: usize| {
        let value = "v".repeat(size);
        let fields: Vec<String> = (0..10).map(|i| format!("\"k{i}\":\"{value}\"")).collect();
        format!("{{\"__logs__\":[{{{}}}]}}", fields.join(","))
    };
    let largest = body((10 << 20) / 10 - 12);
    assert!(largest.len() <= 10 << 20, "{}", largest.len());
    assert_eq!(
        tollgate.track(OPEN, "", &largest).refusal().2,
        "body_too_large"
    );
    assert_accepted(&tollgate.track(OPEN, "", body((10 << 20) / 10 - 100)));
    tollgate.events(OPEN, 1);
}

#[test]
fn projects_that_share_one_at_the_upstream_keep_all_their_logstores() {
    let config = r#"
        [[upstream]]
        name = "embedded"
        kind = "embedded"
        [[project]]
        name = "shop-cn"
        upstream = "embedded"
        upstream_project = "sls-webtracking-mini"
        [[project.logstore]]
        name = "clicks"
        accept = ["anonymous"]
        [[project]]
        name = "shop-eu"
        upstream = "embedded"
        upstream_project = "sls-webtracking-mini"
        [[project.logstore]]
        name = "views"
        accept = ["anonymous"]
    "#;
    let tollgate = Tollgate::start_config(config);
    for (project, logstore) in [("shop-cn", "clicks"), ("shop-eu", "views")] {
        let named = format!("x-log-project: {project}\r\n");
        assert_accepted(&tollgate.track(logstore, &named, EVENT));
        tollgate.events(logstore, 1);
    }
}
