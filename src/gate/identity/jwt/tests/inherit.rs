//! Sets of keys that outlive a reload.

use super::sources::*;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_verifier_inherits_what_was_fetched_under_equal_rules() {
    let server = Server::start();
    server.has(&[jwk(&PAIRS, "a")]);
    let old = fetching([server.rules("idp")]);
    assert!(fetch(&old).await);
    server.says(status("503 Service Unavailable", ""));

    // Another place in the configuration is no other rule.
    let keep = file(json!({"keys": [jwk(&OTHER_PAIRS, "own")]}).to_string());
    let own = JwtKey {
        jwks: Some(keep.path().to_owned()),
        ..rules("own", &[ES])
    };
    let new = fetching([own, server.rules("idp")]);
    assert_eq!(
        now_refused(&new, &PAIRS, "a"),
        Some(Reason::TokenKeysUnavailable)
    );
    new.inherit(&old);
    assert_eq!(now_refused(&new, &PAIRS, "a"), None);
    assert_eq!(new.sources(), old.sources());
    assert!(!fetch(&new).await);
    assert_eq!(now_refused(&new, &PAIRS, "a"), None);
    // It is no fresher for having been inherited.
    let gone = Some(Reason::TokenKeysUnavailable);
    assert_eq!(refused_at(&new, &PAIRS, "a", 3590), None);
    assert_eq!(refused_at(&new, &PAIRS, "a", 3610), gone);

    // What the old one still does is nothing to it, and what it does itself counts.
    server.has(&[jwk(&OTHER_PAIRS, "b")]);
    assert!(fetch(&old).await);
    assert_eq!(
        now_refused(&old, &PAIRS, "a"),
        Some(Reason::TokenUnknownKey)
    );
    assert_eq!(now_refused(&new, &PAIRS, "a"), None);
    drop(old);
    assert_eq!(now_refused(&new, &PAIRS, "a"), None);
    assert_ne!(new.verdicts.len(), 0);
    assert!(fetch(&new).await);
    assert_eq!(new.verdicts.len(), 0);
    assert_eq!(
        now_refused(&new, &PAIRS, "a"),
        Some(Reason::TokenUnknownKey)
    );
    assert_eq!(now_refused(&new, &OTHER_PAIRS, "b"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_other_rules_is_not_inherited() {
    let (server, other) = (Server::start(), Server::start());
    server.has(&[jwk(&PAIRS, "a")]);
    let old = fetching([server.rules("idp")]);
    assert!(fetch(&old).await);
    let wider = JwtKey {
        algorithms: vec![ES, JwtAlgorithm::RS256],
        ..server.rules("idp")
    };
    let audience = JwtKey {
        audience: "another".to_owned(),
        ..server.rules("idp")
    };
    for changed in [other.rules("idp"), server.rules("idp2"), wider, audience] {
        let new = fetching([changed]);
        new.inherit(&old);
        assert_eq!(
            now_refused(&new, &PAIRS, "a"),
            Some(Reason::TokenKeysUnavailable)
        );
        assert_eq!(
            (new.sources()[0].fetched_at, new.sources()[0].keys),
            (None, 0)
        );
    }
}
