//! Tokens. An input is tried as a token, as the claims of a token that the right key signed, and as
//! damage to a minted one: two bytes for the place (little-endian), and what is put there.

use std::sync::LazyLock;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::Value;
use tollgate::config::{JwtKey, TokenPlace};
use tollgate::event::{Reason, Refusal};
use tollgate::foundation::clock;
use tollgate::foundation::secret::Secret;
use tollgate::foundation::units::Span;
use tollgate::gate::identity::{Authenticator, Principal, SigningKey, mint};

const PROJECT: &str = "shop";
const LOGSTORE: &str = "web";
const SECRET: &[u8] = b"the secret that no input can know";
/// A thousand years, in seconds: seeds with a claim `exp` stay good.
const MAX_LIFETIME: u64 = 1000 * 366 * 86_400;

static KEYS: LazyLock<[SigningKey; 2]> = LazyLock::new(|| {
    [
        key("k1", SECRET),
        key("k2", b"another secret for another key"),
    ]
});
/// The first key alone, which needs no `kid`, and both.
static AUTHENTICATORS: LazyLock<[Authenticator; 2]> = LazyLock::new(|| {
    [
        Authenticator::new(&KEYS[..1]),
        Authenticator::new(&KEYS[..]),
    ]
});
static MINTED: LazyLock<String> =
    LazyLock::new(|| mint(&KEYS[0], PROJECT, LOGSTORE, 86_400, Some("someone")).unwrap());

fn key(kid: &str, secret: &[u8]) -> SigningKey {
    let rules = JwtKey {
        max_lifetime: Span::secs(MAX_LIFETIME),
        ..JwtKey::named(kid, "tollgate", "edge")
    };
    SigningKey {
        rules,
        secret: Secret::new(secret),
    }
}

/// What the authenticators say. A refusal is bounded and never repeats the token.
fn verdicts(token: &[u8]) -> [Result<Principal, Refusal>; 2] {
    AUTHENTICATORS.each_ref().map(|authenticator| {
        let verdict = authenticator.verify(token, TokenPlace::Body, PROJECT, LOGSTORE);
        if let Err(refusal) = &verdict {
            let message = refusal.message();
            assert!(message.len() < 1000, "{message}");
            let text = String::from_utf8_lossy(token);
            assert!(text.len() < 32 || !message.contains(&*text), "{message}");
        }
        verdict
    })
}

fn assert_refused(token: &[u8]) {
    for verdict in verdicts(token) {
        assert!(verdict.is_err(), "{}", token.escape_ascii());
    }
}

/// Panics unless only a token with the right claims, signed by a known key and not changed since,
/// is accepted. Says whether the input is such claims.
pub fn token(data: &[u8]) -> bool {
    assert_refused(data);
    minted_only(data);
    signed_claims(data)
}

fn minted_only(data: &[u8]) {
    let good = MINTED.as_bytes();
    for verdict in verdicts(good) {
        assert!(verdict.is_ok(), "{verdict:?}");
    }
    let elsewhere = AUTHENTICATORS[0].verify(good, TokenPlace::Body, PROJECT, "other");
    assert_eq!(elsewhere.unwrap_err().reason(), Reason::TokenScope);
    let [low, high, put @ ..] = data else {
        return;
    };
    let at = usize::from(u16::from_le_bytes([*low, *high])) % good.len();
    assert_refused(&good[..at]);
    let over = (at + put.len()).min(good.len());
    for rest in [at, over] {
        let changed = [&good[..at], put, &good[rest..]].concat();
        if changed != good {
            assert_refused(&changed);
        }
    }
}

fn signed_claims(data: &[u8]) -> bool {
    let Ok(claims) = serde_json::from_slice::<Value>(data) else {
        return false;
    };
    let secret = EncodingKey::from_secret(SECRET);
    let header = Header {
        kid: Some("k1".to_owned()),
        ..Header::default()
    };
    let token = jsonwebtoken::encode(&header, &claims, &secret).expect("a value is JSON");
    let [alone, among_others] = verdicts(token.as_bytes()).map(|verdict| verdict.is_ok());
    assert_eq!(alone, among_others, "{claims}");
    if alone {
        let names = |claim: &str, name: &str| match &claims[claim] {
            Value::Array(names) => names.iter().any(|one| one == name),
            one => one == name,
        };
        assert_eq!(claims["iss"], "tollgate");
        assert!(names("aud", "edge"));
        assert_eq!(claims["project"], PROJECT);
        assert!(names("logstore", LOGSTORE));
        let now = clock::unix_seconds();
        let expires = claims["exp"].as_f64().expect("exp is a number");
        assert!(expires > (now - 60) as f64, "{claims}");
        assert!(expires < (now + MAX_LIFETIME + 60) as f64, "{claims}");
    }
    alone
}
