//! Sets of keys that are fetched, from a server that does what the test wants.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::source::Pace;
use super::*;

pub(super) const ES: JwtAlgorithm = JwtAlgorithm::ES256;
/// Of a test that should wait for no clock.
pub(super) const QUICK: Pace = Pace {
    between: Duration::from_millis(200),
    retry: Duration::from_millis(20),
    total: Duration::from_secs(2),
};

/// What the server does with a connection, once it has read the head.
pub(super) type Answer = Arc<dyn Fn(&mut TcpStream) + Send + Sync>;

/// An HTTP server on the loopback, with one answer for everyone.
pub(super) struct Server {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Answer>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(status("503 Service Unavailable", "")));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, says, stopped) = (Arc::clone(&heads), Arc::clone(&answer), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let mut stream = stream.unwrap();
                let limit = Some(Duration::from_secs(5));
                stream.set_read_timeout(limit).unwrap();
                stream.set_write_timeout(limit).unwrap();
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
                    head.push(byte[0]);
                }
                seen.lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&head).into_owned());
                let answer = Arc::clone(&says.lock().unwrap());
                answer(&mut stream);
            }
        });
        Self {
            address,
            heads,
            answer,
            stop,
            thread: Some(thread),
        }
    }

    pub(super) fn says(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn has(&self, keys: &[Value]) {
        self.says(ok(&json!({ "keys": keys }).to_string()));
    }

    pub(super) fn fetches(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    pub(super) fn rules(&self, kid: &str) -> JwtKey {
        JwtKey {
            jwks_url: Some(format!("http://{}/jwks.json", self.address)),
            jwks_refresh: Span::secs(600),
            jwks_keep: Span::secs(3600),
            ..rules(kid, &[ES])
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Answer {
    let bytes = bytes.into();
    // Who has read enough hangs up.
    Arc::new(move |stream| drop(stream.write_all(&bytes)))
}

pub(super) fn ok(document: &str) -> Answer {
    let length = document.len();
    raw(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{document}"
    ))
}

pub(super) fn status(line: &str, more: &str) -> Answer {
    raw(format!(
        "HTTP/1.1 {line}\r\n{more}content-length: 0\r\n\r\n"
    ))
}

pub(super) fn jwk(pairs: &Pairs, kid: &str) -> Value {
    let mut jwk = pairs.jwk(ES);
    jwk["kid"] = json!(kid);
    jwk
}

pub(super) fn fetching(keys: impl IntoIterator<Item = JwtKey>) -> JwtVerifier {
    let mut verifier = load(keys).unwrap();
    verifier
        .sources
        .iter_mut()
        .for_each(|source| source.set_pace(QUICK));
    verifier
}

/// Fetches a source once; says whether that brought keys.
pub(super) async fn fetch(verifier: &JwtVerifier) -> bool {
    let take = |fetched| verifier.take(0, fetched);
    verifier.sources[0].step(&take).await
}

/// A verdict at the real time, which fetching goes by.
pub(super) fn now_refused(verifier: &JwtVerifier, pairs: &Pairs, kid: &str) -> Option<Reason> {
    refused_at(verifier, pairs, kid, 0)
}

pub(super) fn refused_at(
    verifier: &JwtVerifier,
    pairs: &Pairs,
    kid: &str,
    later: u64,
) -> Option<Reason> {
    let now = clock::unix_seconds() + later;
    let mut claims = good_claims();
    claims["iat"] = json!(now - 100);
    claims["exp"] = json!(now + 600);
    let header = json!({"alg": "ES256", "kid": kid}).to_string();
    let token = token_of(pairs, ES, &header, claims.to_string().as_bytes());
    reason(verifier.verify(token.as_bytes(), now))
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_wait_for_the_first_keys_and_are_verified_then() {
    let server = Server::start();
    let verifier = fetching([server.rules("idp")]);
    assert_eq!(
        now_refused(&verifier, &PAIRS, "a"),
        Some(Reason::TokenKeysUnavailable)
    );
    assert!(!fetch(&verifier).await);
    assert_eq!(
        now_refused(&verifier, &PAIRS, "a"),
        Some(Reason::TokenKeysUnavailable)
    );
    server.has(&[jwk(&PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    assert_eq!(now_refused(&verifier, &PAIRS, "a"), None);
    assert_eq!(
        now_refused(&verifier, &OTHER_PAIRS, "a"),
        Some(Reason::TokenSignature)
    );
    assert_eq!(
        now_refused(&verifier, &PAIRS, "b"),
        Some(Reason::TokenUnknownKey)
    );
    let [status] = &verifier.sources()[..] else {
        panic!()
    };
    assert_eq!(
        (&*status.name, status.fetches, status.failures, status.keys),
        ("idp", 2, 1, 1)
    );
    assert!(status.fetched_at.is_some() && status.last_error.is_none());
    let head = server.heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(head.starts_with("get /jwks.json http/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: {}\r\n", server.address)),
        "{head}"
    );
    assert!(
        !head.contains("authorization") && !head.contains("cookie"),
        "{head}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_issuer_is_not_told_to_wait() {
    let server = Server::start();
    let verifier = fetching([server.rules("idp")]);
    let mut claims = good_claims();
    claims["iss"] = json!("other");
    let token = token(ES, "a", &claims);
    assert_eq!(refused_by(&verifier, &token), Some(Reason::TokenUnknownKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_set_replaces_the_old_one_and_its_verdicts() {
    let server = Server::start();
    let verifier = fetching([server.rules("idp")]);
    server.has(&[jwk(&PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    let now = clock::unix_seconds();
    let mut claims = good_claims();
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + 600);
    let kept = token(ES, "a", &claims);
    let kept_is = || reason(verifier.verify(kept.as_bytes(), now));
    assert_eq!(kept_is(), None);
    assert_eq!(verifier.verdicts.len(), 1);

    // The same document again: nothing is forgotten.
    assert!(fetch(&verifier).await);
    assert_eq!((kept_is(), verifier.verdicts.len()), (None, 1));
    // A key is added: the old tokens are good, the new ones too.
    server.has(&[jwk(&PAIRS, "a"), jwk(&OTHER_PAIRS, "b")]);
    assert!(fetch(&verifier).await);
    assert_eq!(verifier.verdicts.len(), 0);
    assert_eq!(kept_is(), None);
    assert_eq!(now_refused(&verifier, &OTHER_PAIRS, "b"), None);
    // The first is removed: its verdict does not outlive it, even if a late one is put in.
    let late = verifier.verify(kept.as_bytes(), now).unwrap();
    server.has(&[jwk(&OTHER_PAIRS, "b")]);
    assert!(fetch(&verifier).await);
    verifier.verdicts.put(digest_of(kept.as_bytes()), late);
    assert_eq!(kept_is(), Some(Reason::TokenUnknownKey));
    // Another key under its name.
    server.has(&[jwk(&OTHER_PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    assert_eq!(kept_is(), Some(Reason::TokenSignature));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_else_the_server_says_the_last_good_set_is_kept() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let elsewhere = format!("location: http://{}/\r\n", trap.local_addr().unwrap());
    let server = Server::start();
    let verifier = fetching([server.rules("idp")]);
    server.has(&[jwk(&PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    let before = verifier.sources()[0].clone();
    let large =
        json!({"keys": [jwk(&OTHER_PAIRS, "a")], "filler": "x".repeat(10 << 20)}).to_string();
    let many: Vec<_> = (0..101)
        .map(|n| jwk(&OTHER_PAIRS, &n.to_string()))
        .collect();
    let mut private = jwk(&OTHER_PAIRS, "a");
    private["d"] = json!("AAAA");
    let secret = json!({"kty": "oct", "kid": "a", "k": base64(SECRET)});
    let other = |document: Value| ok(&document.to_string());
    let answers = [
        ok(&large),
        raw(format!("HTTP/1.1 200 OK\r\n\r\n{large}")),
        chunked(&large),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"keys\":["),
        raw(format!(
            "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
            "h".repeat(100_000)
        )),
        status("500 Internal Server Error", ""),
        status("404 Not Found", ""),
        status("204 No Content", ""),
        status("301 Moved Permanently", &elsewhere),
        status("302 Found", &elsewhere),
        status("307 Temporary Redirect", &elsewhere),
        raw("nonsense"),
        raw(""),
        ok(""),
        ok("<html>maintenance</html>"),
        ok("\u{feff}{\"keys\":[]}"),
        ok(&"[".repeat(100_000)),
        other(json!({"keys": []})),
        other(json!({"keys": many})),
        other(json!({"keys": [secret]})),
        other(json!({"keys": [private]})),
        other(
            json!({"keys": [{"kty": "RSA", "kid": "a", "n": base64(&[0xff; 128]), "e": "AQAB"}]}),
        ),
        other(json!({"keys": [1, null, "a", []]})),
        other(json!({"error": "down"})),
        Arc::new(|_| std::thread::sleep(QUICK.total + Duration::from_millis(300))),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        server.says(answer);
        assert!(!fetch(&verifier).await, "{number}");
        assert_eq!(now_refused(&verifier, &PAIRS, "a"), None, "{number}");
        let status = &verifier.sources()[0];
        assert_eq!(status.failures, number as u64 + 1, "{number}");
        assert!(status.last_error.is_some(), "{number}");
        assert_eq!(
            (status.fetched_at, status.keys),
            (before.fetched_at, 1),
            "{number}"
        );
    }
    assert!(trap.accept().is_err(), "a redirect was followed");
    server.has(&[jwk(&OTHER_PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    assert_eq!(now_refused(&verifier, &OTHER_PAIRS, "a"), None);
    assert_eq!(verifier.sources()[0].last_error, None);
}

pub(super) fn chunked(document: &str) -> Answer {
    let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in document.as_bytes().chunks(10_000) {
        bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        bytes.extend(piece);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    raw(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_should_not_be_in_a_set_do_not_spoil_the_others() {
    let server = Server::start();
    let verifier = fetching([server.rules("idp")]);
    let secret = json!({"kty": "oct", "kid": "s", "k": base64(SECRET)});
    let weak = json!({"kty": "RSA", "kid": "w", "n": base64(&[0xff; 128]), "e": "AQAB"});
    let mut encryption = jwk(&OTHER_PAIRS, "e");
    encryption["use"] = json!("enc");
    server.has(&[
        secret,
        weak,
        encryption,
        json!(5),
        OTHER_PAIRS.jwk(ES),
        jwk(&PAIRS, "a"),
    ]);
    assert!(fetch(&verifier).await);
    let status = &verifier.sources()[0];
    assert_eq!((status.keys, status.skipped), (1, 5));
    assert_eq!(now_refused(&verifier, &PAIRS, "a"), None);
    assert_eq!(
        now_refused(&verifier, &OTHER_PAIRS, "e"),
        Some(Reason::TokenUnknownKey)
    );
    let header = r#"{"alg":"HS256","kid":"s"}"#;
    let forged = token_of(
        &PAIRS,
        JwtAlgorithm::HS256,
        header,
        good_claims().to_string().as_bytes(),
    );
    assert_eq!(
        refused_by(&verifier, &forged),
        Some(Reason::TokenUnknownKey)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_cannot_be_fetched_again_ends_after_its_time() {
    let server = Server::start();
    let verifier = fetching([server.rules("idp")]);
    server.has(&[jwk(&PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    server.says(status("500 Internal Server Error", ""));
    assert!(!fetch(&verifier).await);
    assert_eq!(refused_at(&verifier, &PAIRS, "a", 3590), None);
    let gone = Some(Reason::TokenKeysUnavailable);
    assert_eq!(refused_at(&verifier, &PAIRS, "a", 3610), gone);
    assert_eq!(refused_at(&verifier, &PAIRS, "b", 3610), gone);
    // A verdict that was kept ends with it.
    let now = clock::unix_seconds();
    let mut claims = good_claims();
    claims["iat"] = json!(now + 3600);
    claims["exp"] = json!(now + 7200);
    let long = token(ES, "a", &claims);
    assert_eq!(
        reason(verifier.verify(long.as_bytes(), now + 3601 - 1)),
        None
    );
    assert_eq!(verifier.verdicts.len(), 2);
    assert_eq!(reason(verifier.verify(long.as_bytes(), now + 3610)), gone);
    server.has(&[jwk(&PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    assert_eq!(now_refused(&verifier, &PAIRS, "a"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn sets_with_equal_names_do_not_verify_for_each_other() {
    let server = Server::start();
    let keep = file(json!({"keys": [jwk(&PAIRS, "a")]}).to_string());
    let own = JwtKey {
        issuer: "own".to_owned(),
        jwks: Some(keep.path().to_owned()),
        ..rules("own", &[ES])
    };
    let verifier = fetching([server.rules("idp"), own]);
    // The fetched set brings a key under the name of one of the file.
    server.has(&[jwk(&OTHER_PAIRS, "a")]);
    assert!(fetch(&verifier).await);
    let verdict = |pairs: &Pairs, issuer: &str| {
        let mut claims = good_claims();
        claims["iss"] = json!(issuer);
        let header = r#"{"alg":"ES256","kid":"a"}"#;
        refused_by(
            &verifier,
            &token_of(pairs, ES, header, claims.to_string().as_bytes()),
        )
    };
    assert_eq!(verdict(&PAIRS, "own"), None);
    assert_eq!(verdict(&OTHER_PAIRS, "issuer"), None);
    assert_eq!(verdict(&OTHER_PAIRS, "own"), Some(Reason::TokenSignature));
    assert_eq!(verdict(&PAIRS, "issuer"), Some(Reason::TokenSignature));
    let nameless = r#"{"alg":"ES256"}"#;
    let token = token_of(&PAIRS, ES, nameless, good_claims().to_string().as_bytes());
    assert_eq!(refused_by(&verifier, &token), Some(Reason::TokenUnknownKey));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_unknown_names_asks_for_few_fetches_and_finds_a_new_key() {
    let server = Server::start();
    server.has(&[jwk(&PAIRS, "a")]);
    let verifier = Arc::new(fetching([server.rules("idp")]));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    tasks.spawn(Arc::clone(&verifier).refresh(stop.clone()));
    let fetched = || verifier.sources()[0].fetched_at.is_some();
    until(fetched).await;
    assert_eq!(now_refused(&verifier, &PAIRS, "a"), None);
    // Without a question there is no second fetch.
    tokio::time::sleep(QUICK.between * 2).await;
    assert_eq!(server.fetches(), 1);
    let flood = || {
        for n in 0..200u64 {
            let verdict = now_refused(&verifier, &OTHER_PAIRS, &format!("kid-{n}"));
            assert_eq!(verdict, Some(Reason::TokenUnknownKey));
        }
    };
    for _ in 0..10 {
        tokio::task::block_in_place(flood);
        tokio::time::sleep(QUICK.between / 4).await;
    }
    let most = begun.elapsed().as_millis() / QUICK.between.as_millis() + 2;
    let fetches = server.fetches();
    assert!(
        fetches >= 2 && fetches as u128 <= most,
        "{fetches} of at most {most}"
    );
    // A key that came meanwhile is found by being asked for.
    server.has(&[jwk(&PAIRS, "a"), jwk(&OTHER_PAIRS, "b")]);
    until(|| now_refused(&verifier, &OTHER_PAIRS, "b").is_none()).await;
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), tasks.join_next()).await;
    assert!(ended.unwrap().unwrap().is_ok());
}

pub(super) async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_fetches_become_rarer_and_stopping_does_not_wait_for_one() {
    let server = Server::start();
    let verifier = Arc::new(fetching([server.rules("idp")]));
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&verifier).refresh(stop.clone()));
    until(|| verifier.sources()[0].failures >= 3).await;
    // 20, 40, 80, 160, 200, 200 ms: far fewer than one every 20 ms.
    let begun = (Instant::now(), server.fetches());
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let more = server.fetches() - begun.1;
    assert!(
        more as u128 <= begun.0.elapsed().as_millis() / 80 + 2,
        "{more}"
    );
    let held = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&held);
    server.says(Arc::new(move |_| {
        count.fetch_add(1, Ordering::AcqRel);
        std::thread::sleep(Duration::from_millis(1500));
    }));
    until(|| held.load(Ordering::Acquire) > 0).await;
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(1), tasks.join_next()).await;
    assert!(ended.unwrap().unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_not_given_up_for_a_server_that_speaks_http_or_has_a_strange_certificate() {
    let server = Server::start();
    server.has(&[jwk(&PAIRS, "a")]);
    let rules = JwtKey {
        jwks_url: Some(format!(
            "https://localhost:{}/jwks.json",
            server.address.port()
        )),
        ..server.rules("idp")
    };
    let verifier = fetching([rules]);
    assert!(!fetch(&verifier).await);
    let seen = server.heads.lock().unwrap().join("");
    assert!(!seen.contains("GET"), "asked without TLS: {seen}");

    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der());
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let tls = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let rules = JwtKey {
        jwks_url: Some(format!("https://localhost:{port}/jwks.json")),
        ..server.rules("idp")
    };
    let verifier = fetching([rules]);
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.is_err()
    };
    let (fetched, refused) = tokio::join!(fetch(&verifier), accepting);
    assert!(
        !fetched && refused,
        "a certificate that nobody signed was trusted"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_under_localhost_are_this_machine() {
    let server = Server::start();
    server.has(&[jwk(&PAIRS, "a")]);
    let host = format!("idp.localhost:{}", server.address.port());
    let rules = JwtKey {
        jwks_url: Some(format!("http://{host}/jwks.json?v=1")),
        ..server.rules("idp")
    };
    let verifier = fetching([rules]);
    assert!(fetch(&verifier).await);
    let head = server.heads.lock().unwrap()[0].to_ascii_lowercase();
    assert!(
        head.starts_with("get /jwks.json?v=1 ") && head.contains(&host),
        "{head}"
    );
}

#[tokio::test]
async fn without_a_url_there_is_nothing_to_refresh() {
    let verifier = Arc::new(verifier(ES));
    assert!(verifier.sources().is_empty());
    verifier.refresh(CancellationToken::new()).await;
}
