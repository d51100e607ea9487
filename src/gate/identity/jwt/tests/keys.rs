//! Which keys are loaded, and which are refused.

use super::*;

/// A key with a public-key file of this content.
fn with_pem(content: &str, algorithms: &[JwtAlgorithm]) -> Result<JwtVerifier, Vec<String>> {
    let file = file(content);
    load([JwtKey {
        public_key: Some(file.path().to_owned()),
        ..rules("k1", algorithms)
    }])
}

fn with_jwks(content: &Value, algorithms: &[JwtAlgorithm]) -> Result<JwtVerifier, Vec<String>> {
    let file = file(content.to_string());
    load([JwtKey {
        jwks: Some(file.path().to_owned()),
        ..rules("set", algorithms)
    }])
}

fn refusal_of(verdict: Result<JwtVerifier, Vec<String>>) -> String {
    let errors = verdict.unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.into_iter().next().unwrap()
}

fn certificate() -> (String, rcgen::KeyPair) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["issuer.example.com".to_owned()])
        .unwrap()
        .self_signed(&pair)
        .unwrap();
    (certificate.pem(), pair)
}

#[test]
fn public_keys_are_read_in_every_form() {
    use JwtAlgorithm::*;
    let rsa = [RS256, RS384, RS512, PS256, PS384, PS512];
    let spki = |algorithm| pem("PUBLIC KEY", &PAIRS.spki(algorithm));
    let forms = [
        (spki(RS256), &rsa[..]),
        (
            pem("RSA PUBLIC KEY", PAIRS.rsa.public_key().as_ref()),
            &rsa[..],
        ),
        (
            format!("a comment\n{}\nand after", spki(ES256)),
            &[ES256][..],
        ),
        (spki(ES384).replace('\n', "\r\n"), &[ES384][..]),
        (spki(EdDSA), &[EdDSA][..]),
    ];
    for (text, algorithms) in &forms {
        let verifier = with_pem(text, algorithms).unwrap();
        for algorithm in *algorithms {
            let token = token(*algorithm, "k1", &good_claims());
            assert_eq!(refused_by(&verifier, &token), None, "{algorithm:?}");
        }
    }
    let (text, pair) = certificate();
    let verifier = with_pem(&text, &[ES256]).unwrap();
    let signer =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der()).unwrap();
    let header = r#"{"alg":"ES256"}"#;
    let payload = good_claims().to_string();
    let message = format!(
        "{}.{}",
        base64(header.as_bytes()),
        base64(payload.as_bytes())
    );
    let signature = signer
        .sign(&SystemRandom::new(), message.as_bytes())
        .unwrap();
    let token = format!("{message}.{}", base64(signature.as_ref()));
    assert_eq!(refused_by(&verifier, &token), None);
}

#[test]
fn a_private_key_is_refused_by_that_name_and_not_shown() {
    let (_, pair) = certificate();
    let pkcs8 = pair.serialize_pem();
    let relabelled = pkcs8.replace("PRIVATE KEY", "EC PRIVATE KEY");
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let public = pem("PUBLIC KEY", &PAIRS.spki(JwtAlgorithm::ES256));
    for text in [&pkcs8, &relabelled, encrypted, &format!("{public}{pkcs8}")] {
        let error = refusal_of(with_pem(text, &[JwtAlgorithm::ES256]));
        assert!(error.contains("private key"), "{error}");
        let inside = text.lines().nth(1).unwrap();
        assert!(!error.contains(inside), "{error}");
    }
    let mut jwk = PAIRS.jwk(JwtAlgorithm::ES256);
    jwk["d"] = json!("c2VjcmV0IG51bWJlcg");
    let error = refusal_of(with_jwks(&jwk, &[JwtAlgorithm::ES256]));
    assert!(
        error.contains("private key") && !error.contains("c2VjcmV0"),
        "{error}"
    );
}

#[test]
fn files_that_hold_no_key_to_use_are_refused_with_what_they_hold() {
    use JwtAlgorithm::*;
    let spki = |algorithm| pem("PUBLIC KEY", &PAIRS.spki(algorithm));
    let two = spki(ES256) + &spki(ES256);
    let cut = &spki(ES256)[..60];
    for (text, algorithm, wanted) in [
        ("", ES256, "not PEM"),
        ("nonsense", ES256, "not PEM"),
        (cut, ES256, "not PEM"),
        (
            "-----BEGIN PUBLIC KEY-----\n!!!\n-----END PUBLIC KEY-----",
            ES256,
            "not PEM",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            ES256,
            "not a public key",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            ES256,
            "certificate",
        ),
        (
            "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----",
            ES256,
            "no public key",
        ),
        (&two, ES256, "more than one"),
        (&spki(ES256), RS256, "P-256"),
        (&spki(ES256), ES384, "P-256"),
        (&spki(RS256), ES256, "an RSA key"),
        (&spki(EdDSA), ES256, "Ed25519"),
    ] {
        let error = refusal_of(with_pem(text, &[algorithm]));
        assert!(error.starts_with("identity.jwt[0] (`k1`): "), "{error}");
        assert!(error.contains(wanted), "{error}");
    }
    let missing = JwtKey {
        public_key: Some("/nonexistent/key.pem".into()),
        ..rules("k1", &[ES256])
    };
    assert!(refusal_of(load([missing])).contains("/nonexistent/key.pem"));
}

#[test]
fn one_key_has_one_source_and_algorithms_that_fit_it() {
    use JwtAlgorithm::*;
    let keep = file(SECRET);
    let secret = || Some(SecretRef::File(keep.path().to_owned()));
    let elsewhere = || Some(PathBuf::from("/nonexistent"));
    let url = || Some("https://example.com/jwks".to_owned());
    let wrong = [
        JwtKey {
            secret: secret(),
            public_key: elsewhere(),
            ..rules("k", &[HS256])
        },
        JwtKey {
            jwks: elsewhere(),
            jwks_url: url(),
            ..rules("k", &[ES256])
        },
        JwtKey {
            secret: secret(),
            ..rules("k", &[HS256, RS256])
        },
        JwtKey {
            secret: secret(),
            ..rules("k", &[RS256])
        },
        JwtKey {
            secret: secret(),
            ..rules("k", &[])
        },
        JwtKey {
            jwks_url: url(),
            ..rules("k", &[HS256])
        },
        JwtKey {
            jwks_url: Some("http://example.com/".into()),
            ..rules("k", &[ES256])
        },
        JwtKey {
            jwks_url: Some("https://u:p@example.com/".into()),
            ..rules("k", &[ES256])
        },
        rules("k", &[ES256]),
    ];
    let count = wrong.len();
    let errors = load(wrong).unwrap_err();
    assert_eq!(errors.len(), count, "{errors:#?}");
    for (index, error) in errors.iter().enumerate() {
        assert!(
            error.starts_with(&format!("identity.jwt[{index}] (`k`): ")),
            "{error}"
        );
        assert!(!error.contains("a secret that"), "{error}");
    }
}

#[test]
fn a_secret_is_as_long_as_the_longest_hash() {
    use JwtAlgorithm::*;
    for (algorithms, needed) in [
        (&[HS256][..], 32),
        (&[HS384], 48),
        (&[HS512], 64),
        (&[HS256, HS512], 64),
    ] {
        for length in [needed - 1, needed] {
            let keep = file("x".repeat(length));
            let key = JwtKey {
                secret: Some(SecretRef::File(keep.path().to_owned())),
                ..rules("k1", algorithms)
            };
            assert_eq!(
                load([key]).is_ok(),
                length == needed,
                "{algorithms:?} {length}"
            );
        }
    }
    let jwk = |length: usize| json!({"kty": "oct", "k": base64(&vec![7; length])});
    assert!(with_jwks(&jwk(31), &[HS256]).is_err());
    assert!(with_jwks(&jwk(32), &[HS256]).is_ok());
    assert!(with_jwks(&jwk(32), &[HS512]).is_err());
}

#[test]
fn a_set_narrows_its_keys_and_is_used_by_their_names() {
    use JwtAlgorithm::*;
    for algorithm in ALL {
        let mut named = PAIRS.jwk(algorithm);
        named["kid"] = json!("inner");
        named["use"] = json!("sig");
        named["key_ops"] = json!(["verify"]);
        named["alg"] = json!(algorithm.as_str());
        named["x5u"] = json!("http://127.0.0.1:1/");
        let mut other = OTHER_PAIRS.jwk(ES384);
        other["kid"] = json!("for-encryption");
        other["use"] = json!("enc");
        let set = json!({"keys": [other, named]});
        let verifier = with_jwks(&set, &[algorithm]).unwrap();
        let by_name = |kid: &str| refused_by(&verifier, &token(algorithm, kid, &good_claims()));
        assert_eq!(by_name("inner"), None, "{algorithm:?}");
        assert_eq!(
            by_name("set"),
            Some(Reason::TokenUnknownKey),
            "{algorithm:?}"
        );
        let bearer = verifier.verify(token(algorithm, "inner", &good_claims()).as_bytes(), NOW);
        assert_eq!(bearer.unwrap().key_name(), "set");
        // A key alone needs no name, and then has that of the configuration.
        let single = with_jwks(&PAIRS.jwk(algorithm), &[algorithm]).unwrap();
        assert_eq!(
            refused_by(&single, &token(algorithm, "set", &good_claims())),
            None
        );
        for (member, value) in [
            ("use", json!("enc")),
            ("key_ops", json!(["encrypt"])),
            ("key_ops", json!([])),
            ("alg", json!("ES512")),
            ("alg", json!("none")),
            (
                "alg",
                json!(if algorithm == RS384 { "RS256" } else { "RS384" }),
            ),
            ("crv", json!("P-521")),
            ("kty", json!("AKP")),
            ("kty", json!(null)),
            ("kid", json!(5)),
        ] {
            let rsa_or_secret = matches!(KeyType::of(algorithm), KeyType::Rsa | KeyType::Secret);
            if member == "crv" && rsa_or_secret {
                continue;
            }
            let mut changed = PAIRS.jwk(algorithm);
            changed[member] = value.clone();
            let verdict = with_jwks(&json!({"keys": [changed]}), &[algorithm]);
            assert!(verdict.is_err(), "{algorithm:?} {member} {value}");
        }
    }
    // PS256 of a key that the configuration allows only RS256, and the other way round.
    let verifier = with_jwks(&PAIRS.jwk(RS256), &[RS256]).unwrap();
    let token = token(PS256, "set", &good_claims());
    assert_eq!(refused_by(&verifier, &token), Some(Reason::TokenUnknownKey));
}

#[test]
fn broken_sets_are_refused() {
    use JwtAlgorithm::*;
    let good = |kid: &str| {
        let mut jwk = PAIRS.jwk(ES256);
        jwk["kid"] = json!(kid);
        jwk
    };
    let many = |count: usize| {
        let keys: Vec<_> = (0..count).map(|n| good(&n.to_string())).collect();
        json!({ "keys": keys })
    };
    assert!(with_jwks(&many(100), &[ES256]).is_ok());
    assert!(refusal_of(with_jwks(&many(101), &[ES256])).contains("more than 100"));
    let nameless = json!({"keys": [good("a"), PAIRS.jwk(ES256)]});
    assert!(refusal_of(with_jwks(&nameless, &[ES256])).contains("no `kid`"));
    for broken in [
        json!({"keys": []}),
        json!({}),
        json!([]),
        json!(null),
        json!({"keys": {}}),
    ] {
        assert!(with_jwks(&broken, &[ES256]).is_err(), "{broken}");
    }
    for (member, value) in [
        ("x", json!("AAAA")),
        ("y", json!("AAAA")),
        ("x", json!(format!("{}=", good("a")["x"].as_str().unwrap()))),
        ("y", json!(null)),
        ("x", good("a")["y"].clone()),
    ] {
        let mut changed = good("a");
        changed[member] = value;
        assert!(with_jwks(&changed, &[ES256]).is_err(), "{member}");
    }
    let weak = json!({"kty": "RSA", "n": base64(&[0xff; 128]), "e": "AQAB"});
    assert!(refusal_of(with_jwks(&weak, &[RS256])).contains("2048"));
    let keep = file(" ".repeat(300 * 1024));
    let long = JwtKey {
        jwks: Some(keep.path().to_owned()),
        ..rules("k1", &[ES256])
    };
    assert!(refusal_of(load([long])).contains("256 KiB"));
}

#[test]
fn keys_of_one_name_are_chosen_by_their_issuer() {
    use JwtAlgorithm::*;
    let set = |pairs: &Pairs| {
        let mut jwk = pairs.jwk(ES256);
        jwk["kid"] = json!("shared");
        file(json!({"keys": [jwk]}).to_string())
    };
    let (first, second) = (set(&PAIRS), set(&OTHER_PAIRS));
    let key = |kid: &str, issuer: &str, path: &Path| JwtKey {
        issuer: issuer.to_owned(),
        jwks: Some(path.to_owned()),
        ..rules(kid, &[ES256])
    };
    let verifier = load([
        key("a", "first", first.path()),
        key("b", "second", second.path()),
    ])
    .unwrap();
    let header = r#"{"alg":"ES256","kid":"shared"}"#;
    for (pairs, issuer, wanted) in [
        (&PAIRS, "first", None),
        (&OTHER_PAIRS, "second", None),
        (&PAIRS, "second", Some(Reason::TokenSignature)),
        (&OTHER_PAIRS, "first", Some(Reason::TokenSignature)),
        (&PAIRS, "third", Some(Reason::TokenClaims)),
    ] {
        let mut claims = good_claims();
        claims["iss"] = json!(issuer);
        let token = token_of(pairs, ES256, header, claims.to_string().as_bytes());
        assert_eq!(refused_by(&verifier, &token), wanted, "{issuer}");
    }
    // Of many keys with one name, as many are tried as is allowed.
    let copies = |good_at: usize| {
        let keys: Vec<_> = (0..6)
            .map(|n| {
                let pairs = if n == good_at { &PAIRS } else { &OTHER_PAIRS };
                let mut jwk = pairs.jwk(ES256);
                jwk["kid"] = json!("shared");
                jwk
            })
            .collect();
        with_jwks(&json!({ "keys": keys }), &[ES256]).unwrap()
    };
    let token = token(ES256, "shared", &good_claims());
    assert_eq!(refused_by(&copies(MAX_TRIES - 1), &token), None);
    assert_eq!(
        refused_by(&copies(MAX_TRIES), &token),
        Some(Reason::TokenSignature)
    );
}

#[test]
fn keys_are_exchanged_with_an_overlap_to_the_second() {
    let keys = [signing_key("old", &[1; 32]), signing_key("new", &[2; 32])];
    let now = clock::unix_seconds();
    let tokens = keys
        .each_ref()
        .map(|key| mint(key, "shop", "web", 60, None).unwrap());
    for (range, good) in [
        (0..1, [true, false]),
        (0..2, [true, true]),
        (1..2, [false, true]),
        (0..0, [false, false]),
    ] {
        let verifier = JwtVerifier::of_keys(&keys[range]);
        let found = tokens
            .each_ref()
            .map(|token| verifier.verify(token.as_bytes(), now).is_ok());
        assert_eq!(found, good);
        let early = tokens
            .each_ref()
            .map(|token| verifier.verify(token.as_bytes(), now + 59).is_ok());
        assert_eq!(early, good);
        assert!(
            tokens
                .iter()
                .all(|token| verifier.verify(token.as_bytes(), now + 61).is_err())
        );
    }
}

#[test]
fn only_keys_with_a_secret_sign_and_no_secret_is_made_for_others() {
    use crate::gate::identity::load_jwt_keys;
    let folder = tempfile::tempdir().unwrap();
    let keep = file(pem("PUBLIC KEY", &PAIRS.spki(JwtAlgorithm::ES256)));
    let public = JwtKey {
        public_key: Some(keep.path().to_owned()),
        ..rules("public", &[JwtAlgorithm::ES256])
    };
    let fetched = JwtKey {
        jwks_url: Some("https://example.com/".to_owned()),
        ..rules("fetched", &[JwtAlgorithm::ES256])
    };
    let made = rules("made", &[JwtAlgorithm::HS512]);
    let identity = identity([public, fetched, made]);
    let keys = load_jwt_keys(&identity, folder.path()).unwrap();
    let names: Vec<_> = keys.iter().map(|key| key.rules.kid.as_str()).collect();
    assert_eq!(names, ["made"]);
    assert_eq!(
        std::fs::read_dir(folder.path().join("keys"))
            .unwrap()
            .count(),
        1
    );
    let verifier = JwtVerifier::load(&identity, folder.path()).unwrap();
    let token = mint(&keys[0], "shop", "web", 60, None).unwrap();
    assert!(
        verifier
            .verify(token.as_bytes(), clock::unix_seconds())
            .is_ok()
    );
    let errors = JwtVerifier::load(&identity, &no_folder())
        .map(drop)
        .unwrap_err();
    assert_eq!(errors.len(), 1);
}
