//! The token service. An input is text in the form of HTTP: a line with the method and the target,
//! headers, an empty line, the body. It is called as it stands, tried as a security token, and as
//! damage to a good one: two bytes for the place (little-endian), and what is put there.

use std::sync::{Arc, LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use tollgate::config::{Config, Identity, Role};
use tollgate::foundation::secret::Secret;
use tollgate::foundation::units::Span;
use tollgate::gate::identity::sts::{
    Code, Credentials, KeyRing, MAX_BODY, NewSession, ReplayWindow, Roles, RpcAnswer, RpcRequest,
    Sessions, TokenService,
};
use tollgate::gate::identity::{AccessKeys, LongLivedKey, Origin};

/// 2026-11-21T23:56:33Z.
const NOW: u64 = 1_795_305_393;
const ROLE: &str = "acs:ram::123:role/web";

struct Service {
    service: TokenService,
    sessions: Sessions<()>,
    good: Credentials,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let role = Role {
        arn: ROLE.to_owned(),
        policies: Vec::new(),
        assumed_by: vec!["server-1".to_owned()],
        external_id: None,
        max_session_duration: Span::secs(3600),
    };
    let mut identity: Identity = Config::quickstart().identity;
    identity.roles = vec![role];
    identity.sts.calls_per_second = u32::MAX;
    let secret = Secret::new("the secret that no input can know");
    let key = LongLivedKey::new("server-1", secret, Vec::new(), true);
    let keys = Arc::new(AccessKeys::collect([key]).unwrap());
    let ring = Arc::new(KeyRing::new(&[Secret::new("k".repeat(32))]).unwrap());
    let roles = Roles::load(&identity, &keys).unwrap();
    let nonces = Arc::new(ReplayWindow::new(identity.signed.window.get(), 1000));
    let check = Box::new(|_: &str| Ok(()));
    let service = TokenService::new(&identity, Arc::clone(&ring), keys, roles, nonces, check);
    let good = service
        .issue(&NewSession {
            role_arn: ROLE,
            session_name: "fuzz",
            duration: 900,
            origin: &Origin::Nobody,
            policy: None,
            unix_seconds: NOW,
        })
        .unwrap();
    Service {
        service,
        sessions: Sessions::new(ring),
        good,
    }
});

/// Panics unless only a token that was sealed and not changed opens, and no call that the holder of
/// the key has not signed is answered with credentials. Says whether the call was read as far as
/// the key or the text that is signed.
pub fn sts(data: &[u8]) -> bool {
    tokens(data);
    let answer = call(data);
    assert!(!answer.issued, "nobody signed this");
    let (code, key_id) = answer.failure.expect("no credentials");
    assert_eq!(answer.status, code.status());
    assert!(answer.body.len() < 80_000, "{} bytes", answer.body.len());
    let shown = String::from_utf8(answer.body).expect("an answer is text");
    assert!(shown.contains(&*code.as_str()), "{shown}");
    assert!(key_id.is_none_or(|id| id.chars().count() <= 128));
    matches!(
        code,
        Code::SignatureDoesNotMatch | Code::InvalidAccessKeyId | Code::NoPermission
    )
}

fn tokens(data: &[u8]) {
    let Service { sessions, good, .. } = &*SERVICE;
    let open = |token: &[u8]| sessions.open(token, &good.access_key_id, NOW).is_ok();
    assert!(!open(data), "{}", data.escape_ascii());
    let token = good.security_token.as_bytes();
    assert!(open(token));
    assert!(!sessions.is_ours(data) || data.starts_with(b"CAIS"));
    let [low, high, put @ ..] = data else {
        return;
    };
    let at = usize::from(u16::from_le_bytes([*low, *high])) % token.len();
    assert!(!open(&token[..at]));
    let over = (at + put.len()).min(token.len());
    for rest in [at, over] {
        let changed = [&token[..at], put, &token[rest..]].concat();
        assert!(
            changed == token || !open(&changed),
            "{}",
            changed.escape_ascii()
        );
    }
}

/// Calls with what can be read; a header that HTTP would not let pass is left out.
fn call(data: &[u8]) -> RpcAnswer {
    let mut rest = data;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.get(1..).unwrap_or_default();
        line.trim_ascii()
    };
    let first = String::from_utf8_lossy(line()).into_owned();
    let (method, target) = first.split_once(' ').unwrap_or(("", &first));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    loop {
        let line = line();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    std::hint::black_box(TokenService::is_call(method, query, &headers));
    let body = rest.get(..MAX_BODY + 1).unwrap_or(rest);
    let request = RpcRequest {
        method,
        path,
        query,
        headers: &headers,
        body,
        unix_seconds: NOW,
    };
    SERVICE.service.call(&request, &|_| false)
}
