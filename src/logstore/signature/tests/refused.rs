//! What must not pass, and what its client is told.

use super::*;

type Tampering = (&'static str, fn(&mut Wire));

/// Every element that a signature covers, as a change to a request that is validly signed.
fn tamperings() -> Vec<Tampering> {
    fn set(wire: &mut Wire, name: &'static str, value: &'static str) {
        wire.headers.insert(name, HeaderValue::from_static(value));
    }
    vec![
        ("method", |wire| wire.method = Method::PUT),
        ("path", |wire| wire.path.push('x')),
        ("query", |wire| wire.query.push_str("&x=1")),
        ("query value", |wire| {
            wire.query = wire.query.replace("b", "c");
        }),
        ("content type", |wire| {
            set(wire, "content-type", "application/json");
        }),
        ("no content type", |wire| {
            wire.headers.remove("content-type");
        }),
        ("raw size", |wire| set(wire, "x-log-bodyrawsize", "88")),
        ("compression", |wire| {
            set(wire, "x-log-compresstype", "zstd")
        }),
        ("an added x-log- header", |wire| {
            set(wire, "x-log-project", "other");
        }),
        ("an added x-acs- header", |wire| {
            set(wire, "x-acs-other", "1");
        }),
        ("token", |wire| {
            set(wire, "x-acs-security-token", "CAISother");
        }),
        ("no token", |wire| {
            wire.headers.remove("x-acs-security-token");
        }),
        ("api version", |wire| set(wire, "x-log-apiversion", "0.7.0")),
    ]
}

fn signed(version: SignatureVersion) -> Wire {
    let mut wire = lz4_write(&[("host", HOST)]);
    wire.query = "a=b".to_owned();
    wire.sign(version, &ak2(), &[("a", "b")]);
    assert_eq!(wire.check(&ak2()), Ok(()));
    wire
}

const VERSIONS: [SignatureVersion; 2] = [SignatureVersion::V1, SignatureVersion::V4];

#[test]
fn a_change_to_anything_that_is_signed_breaks_the_signature() {
    for version in VERSIONS {
        for (what, tamper) in tamperings() {
            let mut wire = signed(version);
            tamper(&mut wire);
            let result = wire.check(&ak2());
            assert!(
                matches!(result, Err(VerifyError::NotMatched { .. })),
                "{version:?}, {what}: {result:?}"
            );
        }
    }
    let mut wire = signed(SignatureVersion::V4);
    wire.headers
        .insert("host", HeaderValue::from_static("other.example.com"));
    assert!(matches!(
        wire.check(&ak2()),
        Err(VerifyError::NotMatched { .. })
    ));
    let mut wire = signed(SignatureVersion::V4);
    let moved = wire.headers["authorization"]
        .to_str()
        .unwrap()
        .replace("cn-hangzhou", "cn-shanghai");
    wire.headers.insert("authorization", moved.parse().unwrap());
    assert!(matches!(
        wire.check(&ak2()),
        Err(VerifyError::NotMatched { .. })
    ));
}

#[test]
fn a_time_other_than_the_signed_one_breaks_the_signature() {
    let mut wire = signed(SignatureVersion::V1);
    let later = HeaderValue::from_static("Mon, 15 Jun 2026 08:00:01 GMT");
    wire.headers.insert("date", later);
    let result = wire.check(&ak2());
    assert!(matches!(result, Err(VerifyError::NotMatched { .. })));

    let mut wire = signed(SignatureVersion::V4);
    let later = HeaderValue::from_static("20260615T080001Z");
    wire.headers.insert("x-log-date", later);
    let result = wire.check(&ak2());
    assert!(matches!(result, Err(VerifyError::NotMatched { .. })));

    let other_day = HeaderValue::from_static("20260616T080001Z");
    wire.headers.insert("x-log-date", other_day);
    assert_eq!(
        wire.check(&ak2()),
        Err(VerifyError::InvalidHeader(header::DATE))
    );
}

#[test]
fn a_body_other_than_the_signed_one_is_refused() {
    for (version, name) in [
        (SignatureVersion::V1, header::CONTENT_MD5),
        (SignatureVersion::V4, header::CONTENT_SHA256),
    ] {
        let mut wire = signed(version);
        wire.body.push(0);
        assert_eq!(wire.check(&ak2()), Err(VerifyError::Digest(name)));
    }
    let mut wire = signed(SignatureVersion::V1);
    wire.body = Vec::new();
    assert!(wire.check(&ak2()).is_err(), "a body that was taken away");
}

#[test]
fn v1_does_not_take_a_body_whose_digest_was_never_signed() {
    let mut wire = Wire::new(Method::POST, LB, "", &[PROTOBUF], b"");
    wire.sign(SignatureVersion::V1, &ak1(), &[]);
    assert_eq!(wire.check(&ak1()), Ok(()));
    wire.body = unhex(V_PB1_RAW);
    assert_eq!(
        wire.check(&ak1()),
        Err(VerifyError::MissingHeader(header::CONTENT_MD5))
    );
}

#[test]
fn user_metadata_is_not_signed() {
    for version in VERSIONS {
        let mut wire = signed(version);
        let value = HeaderValue::from_static("anything");
        wire.headers.insert("x-log-meta-team", value);
        assert_eq!(wire.check(&ak2()), Ok(()), "{version:?}");
    }
}

#[test]
fn a_path_that_was_signed_decoded_is_accepted_as_it_stands_on_the_wire() {
    for version in VERSIONS {
        let mut wire = Wire::new(
            Method::GET,
            "/logstores/web events",
            "",
            &[("host", HOST)],
            b"",
        );
        wire.sign(version, &ak1(), &[]);
        wire.path = "/logstores/web%20events".to_owned();
        assert_eq!(wire.check(&ak1()), Ok(()), "{version:?}");
    }
}

#[test]
fn a_wrong_secret_does_not_match_and_an_unknown_key_is_not_found() {
    for version in VERSIONS {
        let wire = signed(version);
        let mut wrong = ak2();
        wrong.secret = Secret::new("another secret");
        let result = wire.check(&wrong);
        assert!(matches!(result, Err(VerifyError::NotMatched { .. })));
        let (status, code, message) = wire.check(&ak1()).unwrap_err().answer();
        assert_eq!((status.as_u16(), code), (401, "Unauthorized"));
        assert_eq!(message, "AccessKeyId not found: STS.TollgateTestStsKeyId");
    }
}

#[test]
fn a_key_needs_exactly_its_own_token() {
    for version in VERSIONS {
        for token in [None, Some("CAISother")] {
            let mut impostor = ak2();
            impostor.security_token = token.map(Secret::new);
            let mut wire = lz4_write(&[("host", HOST)]);
            wire.sign(version, &impostor, &[]);
            assert_eq!(wire.check(&ak2()), Err(VerifyError::SecurityToken));
        }
        let mut wire = lz4_write(&[("host", HOST)]);
        let mut with_token = ak1();
        with_token.security_token = Some(Secret::new("CAISother"));
        wire.sign(version, &with_token, &[]);
        assert_eq!(wire.check(&ak1()), Err(VerifyError::SecurityToken));
    }
}

#[test]
fn a_request_is_taken_within_fifteen_minutes_of_its_time_and_not_a_second_later() {
    for version in VERSIONS {
        let wire = signed(version);
        for now in [NOW - 900, NOW, NOW + 900] {
            assert_eq!(wire.check_at(&ak2(), now), Ok(()));
        }
        for now in [0, NOW - 901, NOW + 901] {
            let (status, code, message) = wire.check_at(&ak2(), now).unwrap_err().answer();
            assert_eq!((status.as_u16(), code), (400, "RequestTimeExpired"));
            let server = format!("has been expired while server time is {}", http_date(now));
            assert!(message.ends_with(&server), "{message}");
        }
    }
}

#[test]
fn a_signature_that_does_not_match_tells_what_the_server_signs_but_not_the_token() {
    for version in VERSIONS {
        let mut wire = signed(version);
        wire.query = "a=\u{1b}c".to_owned();
        let (status, code, message) = wire.check(&ak2()).unwrap_err().answer();
        assert_eq!((status.as_u16(), code), (401, "SignatureNotMatch"));
        assert!(message.contains("\nx-log-compresstype:lz4\n"), "{message}");
        assert!(
            message.contains("\nx-acs-security-token:(hidden)\nx-log-apiversion:0.6.0\n"),
            "{message}"
        );
        assert!(!message.contains(TOKEN));
        assert!(!message.contains('\u{1b}'));
    }
    let mut wire = signed(SignatureVersion::V1);
    wire.query = format!("a={}", "b".repeat(100_000));
    let (_, _, message) = wire.check(&ak2()).unwrap_err().answer();
    assert!(message.len() < 5000);
}

#[test]
fn every_header_that_a_signature_needs_is_asked_for_by_name() {
    let missing = |version, name: &'static str| {
        let mut wire = signed(version);
        wire.headers.remove(name);
        let (status, code, message) = wire.check(&ak2()).unwrap_err().answer();
        assert_eq!((status.as_u16(), code), (400, "MissingParameter"));
        message
    };
    let text = |name: &str| format!("missing http extend header key : {name}");
    let (v1, v4) = (SignatureVersion::V1, SignatureVersion::V4);
    for version in VERSIONS {
        assert_eq!(missing(version, "authorization"), text("authorization"));
    }
    let method = "x-log-signaturemethod";
    assert_eq!(missing(v1, method), text(method));
    assert_eq!(missing(v1, "date"), text("x-log-date"));
    assert_eq!(missing(v4, "x-log-date"), text("x-log-date"));
    let hash = "x-log-content-sha256";
    assert_eq!(missing(v4, hash), text(hash));
}

#[test]
fn a_signed_header_that_is_there_twice_is_refused() {
    for version in VERSIONS {
        for name in [
            "authorization",
            "content-type",
            "x-log-bodyrawsize",
            "x-acs-security-token",
        ] {
            let mut wire = signed(version);
            let again = wire.headers[name].clone();
            wire.headers.append(name, again);
            let name = HeaderName::from_static(name);
            assert_eq!(
                wire.check(&ak2()),
                Err(VerifyError::InvalidHeader(name.clone())),
                "{version:?} {name}"
            );
        }
    }
}

#[test]
fn what_is_not_an_authorization_is_refused() {
    let long = format!("LOG {}:x", "k".repeat(129));
    for bad in [
        "",
        "LOG",
        "LOG x",
        "log a:b",
        "Bearer a:b",
        "LOG a b:c",
        "LOG \u{e9}:c",
        &long,
        "SLS4-HMAC-SHA256 a:b",
        "SLS4-HMAC-SHA256 Credential=a/20260615/r/sls/aliyun_v4_request",
        "SLS4-HMAC-SHA256 Credential=a/20260615/r/oss/aliyun_v4_request,Signature=x",
        "SLS4-HMAC-SHA256 Credential=a/20260615/r/sls/aliyun_v4_request/x,Signature=x",
        "LOG4-HMAC-SHA256 Credential=a/20260615/r/sls/aliyun_v4_request,Signature=x",
    ] {
        assert_eq!(
            parse_authorization(bad.as_bytes()),
            Err(VerifyError::InvalidHeader(http::header::AUTHORIZATION)),
            "{bad}"
        );
    }
    // The browser plugin sends this while it has no key yet: it is told so, and tries again.
    assert_eq!(
        parse_authorization(b"LOG :abc").map(|it| it.key_id().to_owned()),
        Ok(String::new())
    );
}

#[test]
fn an_empty_signature_matches_nothing() {
    for authorization in [
        "LOG STS.TollgateTestStsKeyId:",
        "SLS4-HMAC-SHA256 Credential=STS.TollgateTestStsKeyId/20260615/cn-hangzhou/sls/aliyun_v4_request,Signature=",
    ] {
        for version in VERSIONS {
            let mut wire = signed(version);
            wire.headers
                .insert("authorization", authorization.parse().unwrap());
            assert!(wire.check(&ak2()).is_err(), "{authorization}");
        }
    }
}

#[test]
fn no_secret_shows_in_a_key_or_in_signed_headers() {
    let key = ak2();
    let mut wire = lz4_write(&[("host", HOST)]);
    wire.sign(SignatureVersion::V4, &key, &[]);
    let shown = format!("{key:?} {:?}", wire.headers);
    assert!(!shown.contains("tollgateTestStsSecret0002"));
    assert!(!shown.contains(TOKEN));
}

#[test]
fn a_key_that_no_header_can_carry_is_refused_when_signing() {
    let bad = [
        key("id\n", "secret", None),
        key("id", "secret", Some("tok\nen")),
    ];
    for key in bad {
        let signer = Signer {
            version: SignatureVersion::V4,
            key: &key,
            region: "cn-hangzhou",
        };
        let request = Unsigned {
            method: &Method::GET,
            path: "/",
            query: &[],
            body: b"",
        };
        assert_eq!(
            signer.sign(&request, &mut HeaderMap::new(), NOW),
            Err(SignError::Unprintable)
        );
    }
}
