//! Tokens. An input is tried as a token, as the claims of a token that the right key signed, and as
//! damage to a good token of every algorithm: two bytes for the place (little-endian), and what is
//! put there.

use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tollgate::config::{Identity, JwtAlgorithm, JwtKey};
use tollgate::event::{Reason, Refusal};
use tollgate::foundation::clock;
use tollgate::foundation::secret::{Secret, SecretRef};
use tollgate::foundation::units::Span;
use tollgate::gate::identity::{JwtVerifier, SigningKey, mint};

const PROJECT: &str = "shop";
const LOGSTORE: &str = "web";
const ACTION: [&str; 1] = ["log:PutWebTracking"];
const SECRET: &[u8] = b"the secret that no input can know, as long as the longest of hashes";
/// A thousand years, in seconds: seeds with a claim `exp` stay good.
const MAX_LIFETIME: u64 = 1000 * 366 * 86_400;

/// Pairs of keys that are used for nothing else.
const RSA: [&[u8]; 2] = [
    include_bytes!("../keys/rsa.pem"),
    include_bytes!("../keys/rsa.pub.pem"),
];
const P256: [&[u8]; 2] = [
    include_bytes!("../keys/p256.pem"),
    include_bytes!("../keys/p256.pub.pem"),
];
const P384: [&[u8]; 2] = [
    include_bytes!("../keys/p384.pem"),
    include_bytes!("../keys/p384.pub.pem"),
];
const ED25519: [&[u8]; 2] = [
    include_bytes!("../keys/ed25519.pem"),
    include_bytes!("../keys/ed25519.pub.pem"),
];

const ALGORITHMS: [(JwtAlgorithm, Algorithm, [&[u8]; 2]); 12] = [
    (JwtAlgorithm::HS256, Algorithm::HS256, [SECRET, SECRET]),
    (JwtAlgorithm::HS384, Algorithm::HS384, [SECRET, SECRET]),
    (JwtAlgorithm::HS512, Algorithm::HS512, [SECRET, SECRET]),
    (JwtAlgorithm::RS256, Algorithm::RS256, RSA),
    (JwtAlgorithm::RS384, Algorithm::RS384, RSA),
    (JwtAlgorithm::RS512, Algorithm::RS512, RSA),
    (JwtAlgorithm::PS256, Algorithm::PS256, RSA),
    (JwtAlgorithm::PS384, Algorithm::PS384, RSA),
    (JwtAlgorithm::PS512, Algorithm::PS512, RSA),
    (JwtAlgorithm::ES256, Algorithm::ES256, P256),
    (JwtAlgorithm::ES384, Algorithm::ES384, P384),
    (JwtAlgorithm::EdDSA, Algorithm::EdDSA, ED25519),
];

/// The key of HS256 alone, which needs no `kid`, and a key for every algorithm.
static VERIFIERS: LazyLock<[JwtVerifier; 2]> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("tollgate-token-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let all: Vec<JwtKey> = ALGORITHMS
        .iter()
        .map(|it| configured(it, &folder))
        .collect();
    let of = |keys: &[JwtKey]| {
        let identity = Identity {
            jwt: keys.to_vec(),
            ..Identity::default()
        };
        JwtVerifier::load(&identity, &folder).unwrap()
    };
    let verifiers = [of(&all[..1]), of(&all)];
    std::fs::remove_dir_all(&folder).unwrap();
    verifiers
});

/// A good token of each algorithm. The first was minted.
static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let key = SigningKey {
        rules: rules(JwtAlgorithm::HS256),
        secret: Secret::new(SECRET),
    };
    let minted = mint(&key, PROJECT, LOGSTORE, 86_400, Some("someone")).unwrap();
    let claims = json!({
        "iss": "tollgate", "aud": "edge", "exp": clock::unix_seconds() + 86_400,
        "project": PROJECT, "logstore": LOGSTORE,
    });
    let others = (1..ALGORITHMS.len()).map(|at| signed(at, &claims));
    std::iter::once(minted).chain(others).collect()
});

/// What signs, of each algorithm.
static SIGNERS: LazyLock<Vec<EncodingKey>> = LazyLock::new(|| {
    let signer = |(_, algorithm, [private, _]): &(JwtAlgorithm, Algorithm, [&[u8]; 2])| {
        let key = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                Ok(EncodingKey::from_secret(private))
            }
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_pem(private),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(private),
            _ => EncodingKey::from_rsa_pem(private),
        };
        key.unwrap()
    };
    ALGORITHMS.iter().map(signer).collect()
});

/// The name of a key is that of its algorithm; the first has the name that the seeds use.
fn kid(algorithm: JwtAlgorithm) -> &'static str {
    match algorithm {
        JwtAlgorithm::HS256 => "k1",
        other => other.as_str(),
    }
}

fn rules(algorithm: JwtAlgorithm) -> JwtKey {
    JwtKey {
        algorithms: vec![algorithm],
        max_lifetime: Span::secs(MAX_LIFETIME),
        ..JwtKey::named(kid(algorithm), "tollgate", "edge")
    }
}

fn configured(
    (algorithm, _, [_, public]): &(JwtAlgorithm, Algorithm, [&[u8]; 2]),
    folder: &Path,
) -> JwtKey {
    let path = folder.join(algorithm.as_str());
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(public).unwrap();
    let mut rules = rules(*algorithm);
    if *public == SECRET {
        rules.secret = Some(SecretRef::File(path));
    } else {
        rules.public_key = Some(path);
    }
    rules
}

fn signed(at: usize, claims: &Value) -> String {
    let (algorithm, header, _) = ALGORITHMS[at];
    let header = Header {
        kid: Some(kid(algorithm).to_owned()),
        ..Header::new(header)
    };
    jsonwebtoken::encode(&header, claims, &SIGNERS[at]).expect("a value is JSON")
}

/// What the verifiers say. A refusal is bounded and never repeats the token.
fn verdicts(token: &[u8]) -> [Result<(), Refusal>; 2] {
    VERIFIERS.each_ref().map(|verifier| {
        let bearer = verifier.verify(token, clock::unix_seconds());
        let verdict = bearer.and_then(|bearer| bearer.may(PROJECT, LOGSTORE, &ACTION));
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
    for (at, good) in TOKENS.iter().enumerate() {
        unchanged_only(at, good.as_bytes(), data);
    }
    signed_claims(data)
}

/// The token of one algorithm is good, and no damage to it is.
fn unchanged_only(at: usize, good: &[u8], data: &[u8]) {
    let [alone, among_others] = verdicts(good);
    assert_eq!(among_others, Ok(()), "{at}");
    assert_eq!(alone.is_ok(), at == 0, "{alone:?}");
    let bearer = VERIFIERS[1].verify(good, clock::unix_seconds()).unwrap();
    let elsewhere = bearer.may(PROJECT, "other", &ACTION);
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
    let [alone, among_others] = verdicts(signed(0, &claims).as_bytes()).map(|it| it.is_ok());
    assert_eq!(alone, among_others, "{claims}");
    // One other algorithm each, since some take long to sign.
    let other = 1 + data.len() % (ALGORITHMS.len() - 1);
    let [_, by_other] = verdicts(signed(other, &claims).as_bytes());
    assert_eq!(alone, by_other.is_ok(), "{claims}");
    if alone {
        let names = |claim: &str, name: &str| match &claims[claim] {
            Value::Array(names) => names.iter().any(|one| one == name),
            one => one == name,
        };
        assert_eq!(claims["iss"], "tollgate");
        assert!(names("aud", "edge"));
        assert_eq!(claims["project"], PROJECT);
        assert!(names("logstore", LOGSTORE));
        assert!(claims["action"].is_null() || names("action", ACTION[0]));
        let now = clock::unix_seconds();
        let time = |claim: &str| claims[claim].as_f64();
        let expires = time("exp").expect("exp is a number");
        assert!(expires > (now - 60) as f64, "{claims}");
        assert!(expires < (now + MAX_LIFETIME + 60) as f64, "{claims}");
        for start in ["nbf", "iat"] {
            assert!(
                time(start).is_none_or(|time| time < (now + 60) as f64),
                "{claims}"
            );
        }
    }
    alone
}
