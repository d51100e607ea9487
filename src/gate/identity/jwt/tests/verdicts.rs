//! Verdicts that are kept.

use super::super::verdicts::Verdicts;
use super::*;

const ES: JwtAlgorithm = JwtAlgorithm::ES256;

#[test]
fn only_tokens_that_verified_are_kept() {
    let verifier = verifier(ES);
    let good = token(ES, "k1", &good_claims());
    for n in 0..50u64 {
        let mut claims = good_claims();
        claims["exp"] = json!(NOW - n);
        assert!(refused_by(&verifier, &token(ES, "k1", &claims)).is_some());
        let bad = good.replacen("ey", "eZ", 1) + &n.to_string();
        assert!(refused_by(&verifier, &bad).is_some());
        let (message, _) = good.rsplit_once('.').unwrap();
        let forged = base64(&[n.to_le_bytes(); 8].concat());
        assert!(refused_by(&verifier, &format!("{message}.{forged}")).is_some());
    }
    assert_eq!(verifier.verdicts.len(), 0);
    for _ in 0..3 {
        assert_eq!(refused_by(&verifier, &good), None);
    }
    assert_eq!(verifier.verdicts.len(), 1);
}

#[test]
fn what_an_hmac_proves_is_kept_when_it_comes_again() {
    let algorithm = JwtAlgorithm::HS256;
    let verifier = verifier(algorithm);
    let good = token(algorithm, "k1", &good_claims());
    for kept in [0, 1, 1] {
        assert_eq!(refused_by(&verifier, &good), None);
        assert_eq!(verifier.verdicts.len(), kept);
        let mut claims = good_claims();
        claims["exp"] = json!(NOW - 1);
        assert!(refused_by(&verifier, &token(algorithm, "k1", &claims)).is_some());
        let (message, _) = good.rsplit_once('.').unwrap();
        assert!(refused_by(&verifier, &format!("{message}.{}", base64(&[7; 32]))).is_some());
        assert_eq!(verifier.verdicts.len(), kept);
    }
    // A flood of tokens that come once leaves no place to none, and takes none.
    for n in 0..5000 {
        let mut claims = good_claims();
        claims["jti"] = json!(n.to_string());
        assert_eq!(
            refused_by(&verifier, &token(algorithm, "k1", &claims)),
            None
        );
    }
    assert_eq!(verifier.verdicts.len(), 1);
}

#[test]
fn one_secret_under_two_rules_has_two_verdicts() {
    let algorithm = JwtAlgorithm::HS256;
    let here = verifier(algorithm);
    let there = Arc::new(Key::of_secret(
        &Arc::new(JwtKey {
            audience: "elsewhere".to_owned(),
            ..rules("k1", &[algorithm])
        }),
        SECRET,
    ));
    let good = token(algorithm, "k1", &good_claims());
    for _ in 0..3 {
        assert_eq!(refused_by(&here, &good), None);
    }
    assert_eq!(here.verdicts.len(), 1);
    let parts = Parts::of(good.as_bytes()).unwrap();
    let method = there.method(algorithm).unwrap();
    let proof = method.verify(parts.message, parts.signature).unwrap();
    let (mut usual, mut longer) = ([0u8; USUAL_PAYLOAD], Vec::new());
    let payload = payload(&parts, &mut usual, &mut longer).unwrap();
    let refusal = here.admit(&there, proof, NOW, || Ok(payload)).unwrap_err();
    assert_eq!(refusal.reason(), Reason::TokenClaims);
}

#[test]
fn a_kept_verdict_says_the_same_and_ends_with_the_token() {
    for algorithm in [
        JwtAlgorithm::RS256,
        JwtAlgorithm::PS384,
        ES,
        JwtAlgorithm::EdDSA,
        JwtAlgorithm::HS256,
        JwtAlgorithm::HS384,
        JwtAlgorithm::HS512,
    ] {
        let verifier = verifier(algorithm);
        let mut claims = good_claims();
        claims["nbf"] = json!(NOW - 5);
        let text = token(algorithm, "k1", &claims);
        let at = |now: u64| verifier.verify(text.as_bytes(), now);
        let first = at(NOW).unwrap();
        at(NOW).unwrap();
        let again = at(NOW + 599).unwrap();
        assert_eq!(verifier.verdicts.len(), 1);
        assert_eq!((first.kid(), first.id()), (again.kid(), again.id()));
        assert_eq!(again.may("shop", "app", &["x"]), Ok(()));
        assert!(again.may("shop", "secrets", &["x"]).is_err());
        assert_eq!(reason(at(NOW + 600)), Some(Reason::TokenExpired));
        assert_eq!(reason(at(NOW - 6)), Some(Reason::TokenNotYetValid));
        // It was not near its end when it was kept; the rules of its life still hold.
        assert_eq!(reason(at(NOW - 4000)), Some(Reason::TokenNotYetValid));
    }
}

#[test]
fn changing_any_byte_of_a_kept_token_is_seen() {
    for algorithm in [JwtAlgorithm::EdDSA, JwtAlgorithm::HS256] {
        let verifier = verifier(algorithm);
        let good = token(algorithm, "k1", &good_claims());
        for _ in 0..2 {
            assert_eq!(refused_by(&verifier, &good), None);
        }
        assert_eq!(verifier.verdicts.len(), 1);
        for at in 0..good.len() {
            let mut changed = good.clone().into_bytes();
            changed[at] ^= 1;
            assert!(verifier.verify(&changed, NOW).is_err(), "{at}");
            assert!(
                verifier.verify(&good.as_bytes()[..at], NOW).is_err(),
                "{at}"
            );
        }
    }
}

#[test]
fn verdicts_are_bounded_in_bytes() {
    let verifier = verifier(JwtAlgorithm::EdDSA);
    let capacity = 256 << 10;
    let verdicts = Verdicts::holding(capacity);
    let mut kept = 0u64;
    for n in 0..1000u64 {
        let mut claims = good_claims();
        claims["sub"] = json!(n.to_string().repeat(400));
        let text = token(JwtAlgorithm::EdDSA, "k1", &claims);
        let bearer = verifier.verify(text.as_bytes(), NOW).unwrap();
        kept += bearer.weight() as u64;
        verdicts.put(digest_of(text.as_bytes()), bearer);
        assert!(verdicts.bytes() <= capacity);
    }
    assert!(
        kept > 4 * capacity && verdicts.len() > 10,
        "{kept} {}",
        verdicts.len()
    );
}
