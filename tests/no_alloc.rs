//! Transcoding allocates nothing per event, once its buffers have grown; deciding who a request is
//! from allocates nothing where a verdict or a policy says it, and for other tokens a few times.

#![expect(
    unsafe_code,
    reason = "counting allocations takes a global allocator, whose trait is unsafe"
)]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use tollgate::config::{Config, JwtAlgorithm, JwtKey, Limits, PolicyRule, TimeWindow, TokenPlace};
use tollgate::event::{EventGroup, Refusal};
use tollgate::front::transcode::{self, Context, Rules};
use tollgate::gate::identity::state::IdentityState;
use tollgate::gate::identity::sts::ReplayWindow;
use tollgate::gate::identity::{Action, Authenticator, Check, Facts, Trust, mint};
use tollgate::gate::policy::{
    self, ActionName, ConditionKey, Decision, Fact, Policies, Policy, PolicyKind, Question,
};
use tollgate::telemetry::Metrics;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks for.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Transcode = fn(&[u8], &Context<'_>, &mut EventGroup) -> Result<(), Refusal>;

/// Warms the buffers with one body, and counts the allocations of a thousand more.
fn allocations(body: &[u8], transcode: Transcode) -> usize {
    let rules = Rules::new(&Limits::default(), &TimeWindow::default());
    let mut stamp = Vec::new();
    transcode::put_content(&mut stamp, b"client_ip", b"203.0.113.7");
    let context = Context {
        rules: &rules,
        received: 1_781_510_400,
        stamp: &stamp,
        attached: tollgate::event::AttachedNames::NONE,
        check: None,
    };
    let mut out = EventGroup::default();
    transcode(body, &context, &mut out).unwrap();
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        out.clear();
        transcode(body, &context, &mut out).unwrap();
    }
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1u8]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn a_thousand_json_bodies_allocate_nothing() {
    let fields: Vec<_> = (0..200).map(|field| format!(r#""k{field}":"v""#)).collect();
    let wide = format!(r#"{{"__logs__":[{{{}}}]}}"#, fields.join(","));
    let long = format!(r#"{{"__logs__":[{{"k":"{}"}}]}}"#, "v".repeat(20_000));
    let bodies = [
        r#"{"__logs__":[{"event":"view","n":1.5,"__time__":1781510399123},{"event":"x"}],"__topic__":"web","__tags__":{"a":"b","__token__":"t"}}"#,
        r#"{"__logs__":[{"a\u0062":"x\ny","o":{ "a": [1, 2] },"__time__":"old","__pack_id__":1}]}"#,
        "%7B%22__logs__%22%3A%5B%7B%22a%22%3A%22b%22%7D%5D%7D",
        &wide,
        &long,
    ];
    for body in bodies {
        assert_eq!(allocations(body.as_bytes(), transcode::json), 0, "{body}");
    }
}

#[test]
fn a_thousand_queries_allocate_nothing() {
    let query = b"APIVersion=0.6.0&__topic__=web&a=1&b=x+y%20%ff&a=2&__time__=1781510399";
    let transcode: Transcode = |body, context, out| transcode::query(body, "token", context, out);
    assert_eq!(allocations(query, transcode), 0);
}

#[test]
fn a_thousand_log_groups_allocate_nothing() {
    let unchanged = b"\x0a\x0e\x08\x80\xe2\xbe\xd1\x06\x12\x06\x0a\x01a\x12\x01b\x1a\x03web";
    let rewritten = b"\x0a\x0e\x12\x06\x0a\x01a\x12\x01b\x08\x80\xe2\xbe\xd1\x06";
    let replaced = b"\x0a\x0a\x08\x01\x12\x06\x0a\x01a\x12\x01b";
    assert_eq!(allocations(unchanged, transcode::protobuf), 0);
    assert_eq!(allocations(replaced, transcode::protobuf), 0);
    assert_eq!(allocations(rewritten, transcode::protobuf), 0);
}

const PROJECT: &str = "sls-webtracking-mini";
const LOGSTORE: &str = "web-tracking-logstore";
const RESOURCE: &str = "acs:log:cn:1:project/sls-webtracking-mini/logstore/web-tracking-logstore";
const ISSUER: &str = "https://login.example.com/";

/// A policy of 50 statements, of which the last allows.
fn fifty_statements() -> String {
    let statement = |at: usize| {
        let site = if at == 49 { "shop" } else { "other" };
        format!(
            r#"{{"Effect":"Allow","Action":"*","Resource":"acs:log:*:*:project/*/logstore/web-?racking-*","Condition":{{"IpAddress":{{"acs:SourceIp":["203.0.113.0/24"]}},"StringLike":{{"tollgate:Origin":"https://{site}.*"}}}}}}"#
        )
    };
    let statements: Vec<String> = (0..50).map(statement).collect();
    format!(
        r#"{{"Version":"1","Statement":[{}]}}"#,
        statements.join(",")
    )
}

/// A gate with a minting key, an issuer's RSA key and a policy of the project, and its folder.
fn gate() -> (tempfile::TempDir, Authenticator) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::quickstart();
    config.data_dir = folder.path().to_owned();
    config.identity.jwt.push(JwtKey {
        algorithms: vec![JwtAlgorithm::RS256],
        public_key: Some(keys().join("rsa.pub.pem")),
        ..JwtKey::named("rsa", ISSUER, "tollgate")
    });
    config.identity.policies.push(PolicyRule {
        name: "fifty".to_owned(),
        file: None,
        document: Some(fifty_statements()),
    });
    config.projects[0].policy = Some("fifty".to_owned());
    let nonces = ReplayWindow::new(Duration::from_secs(900), ReplayWindow::USUAL);
    let trust = Trust::load(&config, &Arc::new(nonces)).unwrap();
    let state = IdentityState::open(folder.path(), &config.identity, &Metrics::new()).unwrap();
    (folder, Authenticator::new(Arc::new(trust), Arc::new(state)))
}

fn keys() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parsers/keys"))
}

/// A token of an issuer with an RSA key.
fn rs256(now: u64) -> String {
    let der = PrivatePkcs8KeyDer::from_pem_file(keys().join("rsa.pem")).unwrap();
    let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let claims = format!(
        r#"{{"iss":"{ISSUER}","aud":"tollgate","sub":"u","exp":{},"project":"{PROJECT}","logstore":"{LOGSTORE}"}}"#,
        now + 600
    );
    let message = [r#"{"alg":"RS256","kid":"rsa"}"#, &claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    pair.sign(
        &RSA_PKCS1_SHA256,
        &random,
        message.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Allocations of a thousand checks of a token, after two.
fn allocations_of_token(authenticator: &Authenticator, token: &str) -> usize {
    let again: Vec<String> = vec![token.to_owned(); 1000];
    // What an HMAC proves is kept when it comes for the second time.
    allocations_of_tokens(authenticator, &again[..2]);
    allocations_of_tokens(authenticator, &again)
}

/// Allocations of a check of each of these tokens.
fn allocations_of_tokens(authenticator: &Authenticator, tokens: &[String]) -> usize {
    let trust = authenticator.trust();
    let facts = Facts {
        project: PROJECT,
        logstore: LOGSTORE,
        action: Action::TrackPost,
        resource: RESOURCE,
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        secure: true,
        origin: Some("https://shop.example.com"),
        unix_seconds: tollgate::foundation::clock::unix_seconds(),
    };
    let check = Check::new(authenticator, &trust, &facts);
    let before = ALLOCATIONS.get();
    for token in tokens {
        let token = token.as_bytes();
        let checked = check.token(token, TokenPlace::Authorization, None);
        drop(std::hint::black_box(checked.unwrap()));
    }
    ALLOCATIONS.get() - before
}

#[test]
fn a_thousand_kept_verdicts_allocate_nothing() {
    let (_folder, authenticator) = gate();
    let token = rs256(tollgate::foundation::clock::unix_seconds());
    assert_eq!(allocations_of_token(&authenticator, &token), 0);
}

#[test]
fn a_thousand_checks_of_a_minted_token_allocate_nothing() {
    let (_folder, authenticator) = gate();
    let trust = authenticator.trust();
    let key = trust.session_key(None).unwrap();
    let token = mint(key, PROJECT, LOGSTORE, 600, Some("visitor")).unwrap();
    assert_eq!(allocations_of_token(&authenticator, &token), 0);
}

#[test]
fn a_token_that_comes_once_allocates_its_payload_and_no_more() {
    let (_folder, authenticator) = gate();
    let trust = authenticator.trust();
    let key = trust.session_key(None).unwrap();
    let of =
        |visitor: usize| mint(key, PROJECT, LOGSTORE, 600, Some(&visitor.to_string())).unwrap();
    let tokens: Vec<String> = (0..1000).map(of).collect();
    // The header, which all have, is kept from the first on.
    allocations_of_tokens(&authenticator, &[of(1000)]);
    assert_eq!(allocations_of_tokens(&authenticator, &tokens), 1000);
}

struct Known;

impl policy::Context for Known {
    fn fact(&self, key: &ConditionKey) -> Fact<'_> {
        match key {
            ConditionKey::SourceIp => Fact::Address(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7))),
            ConditionKey::Origin => Fact::Text("https://shop.example.com"),
            _ => Fact::Absent,
        }
    }
}

#[test]
fn a_thousand_decisions_of_a_policy_allocate_nothing() {
    let held = [Arc::new(
        Policy::parse(PolicyKind::Identity, "fifty", &fifty_statements()).unwrap(),
    )];
    let policies = Policies {
        identity: &held,
        session: None,
        project: None,
    };
    let question = Question {
        action: &ActionName::Known(Action::PutLogs),
        resource: RESOURCE,
        context: &Known,
    };
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        let decision = policies.decide(std::hint::black_box(&question));
        assert!(
            matches!(decision, Decision::Allowed(grant) if grant.by.unwrap().statement() == 49)
        );
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}
