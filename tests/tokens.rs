//! What verifying a token allocates: next to nothing, so that neither a request of one event nor a
//! flood of forged tokens is about memory.

#![expect(
    unsafe_code,
    reason = "counting allocations takes a global allocator, whose trait is unsafe"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tollgate::config::{Identity, JwtAlgorithm, JwtKey};
use tollgate::foundation::clock;
use tollgate::foundation::secret::Secret;
use tollgate::gate::identity::{JwtVerifier, SigningKey, mint};

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

/// The allocations of a thousand verifications, after two; all end as the first did.
fn allocations(verifier: &JwtVerifier, token: &str, good: bool) -> usize {
    let now = clock::unix_seconds();
    let verify = || verifier.verify(token.as_bytes(), now).is_ok();
    // What an HMAC proves is kept when it comes for the second time.
    assert_eq!((verify(), verify()), (good, good));
    let before = ALLOCATIONS.get();
    for _ in 0..1000 {
        assert_eq!(verify(), good);
    }
    ALLOCATIONS.get() - before
}

#[test]
fn neither_a_token_of_a_secret_that_comes_again_nor_a_forged_one_takes_an_allocation() {
    let key = |secret: &str| SigningKey {
        rules: JwtKey::named("k1", "tollgate", "edge"),
        secret: Secret::new(secret.repeat(8)),
    };
    let verifier = JwtVerifier::of_keys(&[key("good")]);
    let minted = |secret| mint(&key(secret), "shop", "web", 600, Some("someone")).unwrap();
    assert_eq!(allocations(&verifier, &minted("good"), true), 0);
    let good = minted("good");
    let (message, _) = good.rsplit_once('.').unwrap();
    for forged in [
        &minted("evil"),
        message,
        &format!("{message}."),
        "",
        "x",
        "a.b.c",
    ] {
        assert_eq!(allocations(&verifier, forged, false), 0, "{forged}");
    }
}

#[test]
fn a_token_that_was_seen_before_takes_no_allocation() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parsers/keys");
    let private = std::fs::read(keys.join("p256.pem")).unwrap();
    let rules = JwtKey {
        algorithms: vec![JwtAlgorithm::ES256],
        public_key: Some(keys.join("p256.pub.pem")),
        ..JwtKey::named("k1", "tollgate", "edge")
    };
    let identity = Identity {
        jwt: vec![rules],
        ..Identity::default()
    };
    let verifier = JwtVerifier::load(&identity, &PathBuf::new()).unwrap();
    let claims = json!({
        "iss": "tollgate", "aud": "edge", "exp": clock::unix_seconds() + 600, "sub": "someone",
        "project": "shop", "logstore": ["web", "app"],
    });
    let signer = EncodingKey::from_ec_pem(&private).unwrap();
    let header = Header::new(Algorithm::ES256);
    let token = jsonwebtoken::encode(&header, &claims, &signer).unwrap();
    assert_eq!(allocations(&verifier, &token, true), 0);
}
