//! Tokens that must not open anything.

use super::*;

const PUBLIC: [JwtAlgorithm; 6] = [
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS512,
    JwtAlgorithm::PS256,
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
    JwtAlgorithm::EdDSA,
];

#[test]
fn every_algorithm_verifies_its_own_tokens_and_no_tampered_ones() {
    for algorithm in ALL {
        let good = token(algorithm, "k1", &good_claims());
        let name = algorithm.as_str();
        let bearer = verifiers()[&algorithm]
            .verify(good.as_bytes(), NOW)
            .unwrap();
        assert_eq!(
            (bearer.kid(), bearer.subject()),
            ("k1", Some("someone")),
            "{name}"
        );
        for (at, byte) in good.bytes().enumerate() {
            let mut changed = good.clone().into_bytes();
            changed[at] = if byte == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(refused(algorithm, &changed).is_some(), "{name} at {at}");
        }
        let forged = {
            let (message, _) = good.rsplit_once('.').unwrap();
            format!(
                "{message}.{}",
                base64(&OTHER_PAIRS.sign(algorithm, message.as_bytes()))
            )
        };
        let wanted = (KeyType::of(algorithm) != KeyType::Secret).then_some(Reason::TokenSignature);
        assert_eq!(refused(algorithm, &forged), wanted, "{name}");
    }
}

#[test]
fn tokens_of_one_algorithm_are_refused_by_keys_of_every_other() {
    for made_with in ALL {
        let good = token(made_with, "k1", &good_claims());
        for asked in ALL {
            let wanted = (made_with != asked).then_some(Reason::TokenUnknownKey);
            assert_eq!(refused(asked, &good), wanted, "{made_with:?} {asked:?}");
        }
    }
}

#[test]
fn no_token_without_an_algorithm_is_taken() {
    let payload = base64(good_claims().to_string().as_bytes());
    let signature = base64(&PAIRS.sign(JwtAlgorithm::HS256, b"x"));
    let headers = [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":"nOnE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":0}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"alg":"hs256"}"#,
        r#"{}"#,
    ];
    for header in headers {
        for signature in ["", "AA", &signature] {
            for kid in ["", r#","kid":"k1""#] {
                let header = header
                    .replacen('}', &format!("{kid}}}"), 1)
                    .replace("{,", "{");
                let token = format!("{}.{payload}.{signature}", base64(header.as_bytes()));
                for algorithm in ALL {
                    assert!(refused(algorithm, &token).is_some(), "{header} {signature}");
                }
            }
        }
    }
}

#[test]
fn a_public_key_is_no_hmac_secret_in_any_form() {
    for algorithm in PUBLIC {
        let spki = PAIRS.spki(algorithm);
        let text = pem("PUBLIC KEY", &spki);
        let jwk = PAIRS.jwk(algorithm).to_string();
        let pkcs1 = PAIRS.rsa.public_key().as_ref().to_vec();
        let forms: [&[u8]; 7] = [
            text.as_bytes(),
            text.trim_end().as_bytes(),
            &spki,
            &pkcs1,
            jwk.as_bytes(),
            b"",
            b"k1",
        ];
        for secret in forms {
            for hash in [
                JwtAlgorithm::HS256,
                JwtAlgorithm::HS384,
                JwtAlgorithm::HS512,
            ] {
                let header = json!({"alg": hash.as_str(), "kid": "k1"}).to_string();
                let payload = good_claims().to_string();
                let message = format!(
                    "{}.{}",
                    base64(header.as_bytes()),
                    base64(payload.as_bytes())
                );
                let token = format!(
                    "{message}.{}",
                    base64(&hmac(hash, secret, message.as_bytes()))
                );
                assert_eq!(refused(algorithm, &token), Some(Reason::TokenUnknownKey));
            }
        }
    }
}

#[test]
fn a_pss_signature_is_none_of_pkcs1_whatever_the_header_says() {
    let rs_signed_as_ps = {
        let header = r#"{"alg":"PS256","kid":"k1"}"#;
        token_of(
            &PAIRS,
            JwtAlgorithm::RS256,
            header,
            good_claims().to_string().as_bytes(),
        )
    };
    assert_eq!(
        refused(JwtAlgorithm::PS256, &rs_signed_as_ps),
        Some(Reason::TokenSignature)
    );
    let header = r#"{"alg":"RS256","kid":"k1"}"#;
    let ps_signed_as_rs = token_of(
        &PAIRS,
        JwtAlgorithm::PS256,
        header,
        good_claims().to_string().as_bytes(),
    );
    assert_eq!(
        refused(JwtAlgorithm::RS256, &ps_signed_as_rs),
        Some(Reason::TokenSignature)
    );
}

#[test]
fn a_signature_of_one_key_does_not_count_for_another_kid() {
    let keys = [signing_key("k1", &[1; 32]), signing_key("k2", &[2; 32])];
    let verifier = JwtVerifier::of_keys(&keys);
    for (kid, secret, wanted) in [
        ("k1", [1; 32], None),
        ("k2", [2; 32], None),
        ("k1", [2; 32], Some(Reason::TokenSignature)),
        ("k2", [1; 32], Some(Reason::TokenSignature)),
        ("k3", [1; 32], Some(Reason::TokenUnknownKey)),
    ] {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        let message = format!(
            "{}.{}",
            base64(header.as_bytes()),
            base64(good_claims().to_string().as_bytes())
        );
        let mac = hmac(JwtAlgorithm::HS256, &secret, message.as_bytes());
        assert_eq!(
            refused_by(&verifier, &format!("{message}.{}", base64(&mac))),
            wanted
        );
    }
    let header = r#"{"alg":"HS256"}"#;
    let message = format!(
        "{}.{}",
        base64(header.as_bytes()),
        base64(good_claims().to_string().as_bytes())
    );
    let mac = hmac(JwtAlgorithm::HS256, &[1; 32], message.as_bytes());
    let nameless = format!("{message}.{}", base64(&mac));
    assert_eq!(
        refused_by(&verifier, &nameless),
        Some(Reason::TokenUnknownKey)
    );
    let alone = JwtVerifier::of_keys(&keys[..1]);
    assert_eq!(refused_by(&alone, &nameless), None);
}

#[test]
fn a_kid_is_only_a_name() {
    for kid in [
        json!("../../etc/passwd"),
        json!("/dev/null"),
        json!("k1\u{0}"),
        json!("k1' OR '1'='1"),
        json!("$(id)"),
        json!("http://127.0.0.1:1/jwks"),
        json!("K1"),
        json!(" k1"),
        json!(""),
        json!("a".repeat(65_536)),
        json!("a".repeat(400)),
        json!(1),
        json!({"k1": "k1"}),
        json!(["k1"]),
        json!(null),
        json!(true),
    ] {
        for algorithm in [JwtAlgorithm::HS256, JwtAlgorithm::ES256] {
            let header = json!({"alg": algorithm.as_str(), "kid": kid}).to_string();
            let token = token_of(
                &PAIRS,
                algorithm,
                &header,
                good_claims().to_string().as_bytes(),
            );
            assert!(refused(algorithm, &token).is_some(), "{kid}");
        }
    }
}

#[test]
fn keys_in_the_header_are_not_used_and_nothing_is_fetched() {
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", trap.local_addr().unwrap());
    for algorithm in PUBLIC {
        let jwk = OTHER_PAIRS.jwk(algorithm);
        for (member, value) in [
            ("jku", json!(url)),
            ("x5u", json!(url)),
            ("jwk", jwk),
            ("x5c", json!(["MIIB"])),
            ("x5t", json!("AAAA")),
        ] {
            for kid in [json!("k1"), json!("k9"), json!(url)] {
                let mut header = json!({"alg": algorithm.as_str(), "kid": kid});
                header[member] = value.clone();
                let mut claims = good_claims();
                claims["iss"] = json!(url);
                for claims in [good_claims(), claims] {
                    let payload = claims.to_string();
                    let token = token_of(
                        &OTHER_PAIRS,
                        algorithm,
                        &header.to_string(),
                        payload.as_bytes(),
                    );
                    assert!(refused(algorithm, &token).is_some(), "{header}");
                }
            }
        }
    }
    let ignored = json!({"alg": "ES256", "kid": "k1", "jku": url, "x5c": ["AA"]}).to_string();
    let payload = good_claims().to_string();
    let good = token_of(&PAIRS, JwtAlgorithm::ES256, &ignored, payload.as_bytes());
    assert_eq!(refused(JwtAlgorithm::ES256, &good), None);
    let caught = trap.accept().map(drop).unwrap_err();
    assert_eq!(caught.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn extensions_that_must_be_understood_are_not() {
    for member in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""crit":"exp""#,
        r#""crit":null"#,
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""alg":"HS256""#,
    ] {
        let header = format!(r#"{{"alg":"HS256","kid":"k1",{member}}}"#);
        let payload = good_claims().to_string();
        let token = token_of(&PAIRS, JwtAlgorithm::HS256, &header, payload.as_bytes());
        let found = refused(JwtAlgorithm::HS256, &token);
        assert_eq!(found, Some(Reason::TokenMalformed), "{header}");
    }
}

#[test]
fn a_type_is_asked_for_as_configured() {
    let typed = |typ: Option<&str>| {
        let mut header = json!({"alg": "HS256", "kid": "k1"});
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        let payload = good_claims().to_string();
        token_of(
            &PAIRS,
            JwtAlgorithm::HS256,
            &header.to_string(),
            payload.as_bytes(),
        )
    };
    let access = verifier_with(JwtAlgorithm::HS256, |rules| {
        rules.typ = Some("at+jwt".into())
    });
    for (typ, plain, for_access) in [
        (None, None, Some(Reason::TokenClaims)),
        (Some("JWT"), None, Some(Reason::TokenClaims)),
        (Some("at+jwt"), Some(Reason::TokenClaims), None),
        (
            Some("dpop+jwt"),
            Some(Reason::TokenClaims),
            Some(Reason::TokenClaims),
        ),
    ] {
        assert_eq!(refused(JwtAlgorithm::HS256, &typed(typ)), plain, "{typ:?}");
        assert_eq!(refused_by(&access, &typed(typ)), for_access, "{typ:?}");
    }
}

#[test]
fn payloads_that_are_no_claims_are_refused_even_when_signed() {
    let deep = "[".repeat(5000);
    let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(2500), "]".repeat(2500));
    let payloads: [&[u8]; 9] = [
        b"null",
        b"[]",
        b"\"claims\"",
        b"1",
        b"",
        b"{",
        b"{\"iss\":\"\xff\"}",
        deep.as_bytes(),
        nested.as_bytes(),
    ];
    for payload in payloads {
        for algorithm in [JwtAlgorithm::HS256, JwtAlgorithm::EdDSA] {
            let header = json!({"alg": algorithm.as_str(), "kid": "k1"}).to_string();
            let token = token_of(&PAIRS, algorithm, &header, payload);
            assert!(
                refused(algorithm, &token).is_some(),
                "{}",
                payload.escape_ascii()
            );
        }
    }
    for length in [64 << 10, 1 << 20] {
        let long = "a".repeat(length);
        assert_eq!(
            refused(JwtAlgorithm::HS256, &long),
            Some(Reason::TokenMalformed)
        );
        let mut claims = good_claims();
        claims["long"] = json!(long);
        let long = token(JwtAlgorithm::HS256, "k1", &claims);
        assert_eq!(
            refused(JwtAlgorithm::HS256, &long),
            Some(Reason::TokenMalformed)
        );
    }
}

#[test]
fn a_token_is_taken_up_to_its_longest_length_and_no_further() {
    let with = |filler: usize| {
        let mut claims = good_claims();
        claims["filler"] = json!("f".repeat(filler));
        token(JwtAlgorithm::HS256, "k1", &claims)
    };
    let mut filler = 5000;
    while with(filler + 1).len() <= MAX_TOKEN {
        filler += 1;
    }
    assert!(with(filler).len() > MAX_TOKEN - 4);
    assert_eq!(refused(JwtAlgorithm::HS256, &with(filler)), None);
    assert_eq!(
        refused(JwtAlgorithm::HS256, &with(filler + 2)),
        Some(Reason::TokenMalformed)
    );
}

#[test]
fn an_encrypted_token_and_other_numbers_of_parts_are_refused() {
    let header = base64(br#"{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":1000000000}"#);
    for token in [
        format!("{header}.a.b.c.d"),
        format!("{header}.a.b"),
        format!("{}.x", token(JwtAlgorithm::HS256, "k1", &good_claims())),
        token(JwtAlgorithm::HS256, "k1", &good_claims()).replacen('.', "", 1),
        ".".to_owned(),
        "..".to_owned(),
        String::new(),
    ] {
        assert_eq!(
            refused(JwtAlgorithm::HS256, &token),
            Some(Reason::TokenMalformed),
            "{token}"
        );
    }
}

#[test]
fn a_signature_has_one_text_and_one_length() {
    for algorithm in ALL {
        let good = token(algorithm, "k1", &good_claims());
        let (message, signature) = good.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let with = |signature: &[u8]| format!("{message}.{}", base64(signature));
        let (zero, doubled) = (
            [&[0], &bytes[..]].concat(),
            [&bytes[..], &bytes[..]].concat(),
        );
        let mut wrong = vec![
            format!("{good}="),
            format!("{good}=="),
            format!("{good}A"),
            format!("{good} "),
            format!("{good}\n"),
            format!("{message}."),
            with(&bytes[..bytes.len() - 1]),
            with(&bytes[1..]),
            with(&zero),
            with(&[&bytes[..], &[0]].concat()),
            with(&doubled),
            with(&vec![0; bytes.len()]),
            with(&vec![0xff; bytes.len()]),
        ];
        if signature.len() % 4 != 0 {
            // The last character has bits that stand for nothing: no other may be taken for it.
            const DIGITS: &[u8] =
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            for digit in DIGITS
                .iter()
                .filter(|digit| **digit != signature.as_bytes()[signature.len() - 1])
            {
                let cut = &good[..good.len() - 1];
                wrong.push(format!("{cut}{}", char::from(*digit)));
            }
        }
        if signature.contains(['-', '_']) {
            wrong.push(format!(
                "{message}.{}",
                signature.replace('-', "+").replace('_', "/")
            ));
        }
        for token in wrong {
            assert_eq!(
                refused(algorithm, &token),
                Some(Reason::TokenSignature),
                "{token}"
            );
        }
        let mut claims = good_claims();
        claims["logstore"] = json!("secrets");
        let payload = base64(claims.to_string().as_bytes());
        let header = message.split_once('.').unwrap().0;
        let swapped = format!("{header}.{payload}.{signature}");
        assert_eq!(refused(algorithm, &swapped), Some(Reason::TokenSignature));
    }
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of the group of Ed25519, little-endian.
const ED_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn numbers_outside_the_group_are_no_signature() {
    let good = token(JwtAlgorithm::ES256, "k1", &good_claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (r, s) = bytes.split_at(32);
    let (zero, one) = ([0u8; 32], {
        let mut one = [0u8; 32];
        one[31] = 1;
        one
    });
    for (r, s) in [
        (&zero[..], &zero[..]),
        (&ORDER[..], &ORDER[..]),
        (&zero[..], s),
        (r, &zero[..]),
        (&ORDER[..], s),
        (r, &ORDER[..]),
        (&one[..], &one[..]),
        (&[0xff; 32][..], s),
    ] {
        let token = format!("{message}.{}", base64(&[r, s].concat()));
        assert_eq!(
            refused(JwtAlgorithm::ES256, &token),
            Some(Reason::TokenSignature)
        );
    }
    for der in [der_signature(r, s), [&[0u8; 4], r, &[0u8; 4], s].concat()] {
        let token = format!("{message}.{}", base64(&der));
        assert_eq!(
            refused(JwtAlgorithm::ES256, &token),
            Some(Reason::TokenSignature)
        );
    }
    let good = token(JwtAlgorithm::EdDSA, "k1", &good_claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut carry = 0u16;
    for (byte, order) in bytes[32..].iter_mut().zip(ED_ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    let raised = format!("{message}.{}", base64(&bytes));
    assert_eq!(
        refused(JwtAlgorithm::EdDSA, &raised),
        Some(Reason::TokenSignature)
    );
}

/// `SEQUENCE { INTEGER r, INTEGER s }`.
fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros..];
        let sign: &[u8] = if number[0] < 0x80 { &[] } else { &[0] };
        let length = u8::try_from(sign.len() + number.len()).unwrap();
        [&[0x02, length], sign, number].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

#[test]
fn a_refusal_repeats_no_part_of_a_token() {
    for algorithm in ALL {
        let good = token(algorithm, "k1", &good_claims());
        for (bad, now) in [
            (good.replace('.', "A."), NOW),
            (good[..good.len() - 6].to_owned(), NOW),
            (good.clone(), NOW + 600),
        ] {
            let refusal = verifiers()[&algorithm]
                .verify(bad.as_bytes(), now)
                .unwrap_err();
            for part in good.split('.') {
                assert!(!refusal.message().contains(part));
            }
        }
        let bearer = verifiers()[&algorithm]
            .verify(good.as_bytes(), NOW)
            .unwrap();
        let shown = format!("{bearer:?} {:?}", verifiers()[&algorithm]);
        assert!(
            !shown.contains("someone") && !shown.contains("a secret"),
            "{shown}"
        );
    }
}
