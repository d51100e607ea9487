//! What must not pass.

use super::*;

/// Names what of a valid request was changed, and how.
type Tampered = (String, Wire);

/// Every element that a signature covers, changed in a request that is validly signed.
fn tampered(version: SignatureVersion) -> Vec<Tampered> {
    let mut all: Vec<Tampered> = Vec::new();
    let mut change = |what: String, change: &dyn Fn(&mut Wire)| {
        let mut wire = signed(version);
        change(&mut wire);
        all.push((what, wire));
    };
    for method in [Method::PUT, Method::GET, Method::DELETE] {
        change(format!("method {method}"), &|wire| {
            wire.method = method.clone();
        });
    }
    for path in [
        "/logstores/web-events/shards/lbx",
        "/logstores/other/shards/lb",
        "/logstores/web-events",
        "/",
    ] {
        change(format!("path {path}"), &|wire| {
            path.clone_into(&mut wire.path);
        });
    }
    for query in [
        "",
        "a=b",
        "c=d",
        "a=c&c=d",
        "a=b&c=x",
        "b=b&c=d",
        "a=b&x=d",
        "a=b&c=d&x=1",
        "a=b&a=b&c=d",
        "a=b&c=d&x",
        "a=d&c=b",
        "a=B&c=d",
    ] {
        change(format!("query {query}"), &|wire| {
            query.clone_into(&mut wire.query);
        });
    }
    for name in signed(version).headers.keys() {
        if !is_signed(version, name.as_str()) {
            continue;
        }
        change(format!("{name} changed"), &|wire| {
            let value = wire.headers.get_mut(name).unwrap();
            let mut bytes = value.as_bytes().to_vec();
            let at = bytes.len() - 1;
            bytes[at] = if bytes[at] == b'2' { b'3' } else { b'2' };
            *value = HeaderValue::from_bytes(&bytes).unwrap();
        });
        change(format!("{name} removed"), &|wire| {
            wire.headers.remove(name);
        });
        change(format!("{name} emptied"), &|wire| {
            wire.headers.insert(name, HeaderValue::from_static(""));
        });
    }
    for name in ["x-log-project", "x-acs-other", "x-log-hashkey"] {
        change(format!("{name} added"), &|wire| {
            wire.headers.insert(name, HeaderValue::from_static("1"));
        });
    }
    all
}

fn is_signed(version: SignatureVersion, name: &str) -> bool {
    match version {
        SignatureVersion::V1 if ["date", "content-md5"].contains(&name) => true,
        SignatureVersion::V4 if name == "host" => true,
        _ => name == "content-type" || name.starts_with("x-log-") || name.starts_with("x-acs-"),
    }
}

fn signed(version: SignatureVersion) -> Wire {
    let mut wire = lz4_write(&[("host", HOST)]);
    wire.query = "a=b&c=d".to_owned();
    wire.sign(version, &ak2(), &[("a", "b"), ("c", "d")]);
    assert_eq!(wire.check(&ak2()), Ok(()));
    wire
}

const VERSIONS: [SignatureVersion; 2] = [SignatureVersion::V1, SignatureVersion::V4];

#[test]
fn a_change_to_anything_that_is_signed_breaks_the_signature() {
    for version in VERSIONS {
        let tampered = tampered(version);
        assert!(tampered.len() > 40, "{}", tampered.len());
        for (what, wire) in tampered {
            let result = wire.check(&ak2());
            assert!(result.is_err(), "{version:?}, {what}");
            // What is not refused for its own sake does not match.
            let own = [
                "x-log-date",
                "date ",
                "x-log-sig",
                "-sha256",
                "-md5",
                "x-acs-sec",
            ];
            if !own.iter().any(|name| what.contains(name)) {
                let differs = matches!(result, Err(VerifyError::NotMatched(_)));
                assert!(differs, "{version:?}, {what}: {result:?}");
            }
        }
    }
}

#[test]
fn a_digest_that_was_changed_or_removed_with_the_body_does_not_match() {
    let other = b"another body";
    let mut wire = signed(SignatureVersion::V1);
    wire.body = other.to_vec();
    let md5 = mac::md5_hex(other).parse().unwrap();
    wire.headers.insert("content-md5", md5);
    assert!(is_mismatch(&wire.check(&ak2())));
    wire.headers.remove("content-md5");
    assert!(is_mismatch(&wire.check(&ak2())));

    let mut wire = signed(SignatureVersion::V4);
    wire.body = other.to_vec();
    for digest in [mac::sha256(other), mac::sha256(b"")] {
        let value = mac::hex(&digest).parse().unwrap();
        wire.headers.insert(header::CONTENT_SHA256, value);
        assert!(is_mismatch(&wire.check(&ak2())));
    }
}

fn is_mismatch(result: &Result<(), VerifyError>) -> bool {
    matches!(result, Err(VerifyError::NotMatched(_)))
}

#[test]
fn the_token_is_part_of_what_is_signed() {
    for version in VERSIONS {
        for token in [None, Some("CAISother")] {
            let mut wire = signed(version);
            wire.headers.remove(header::SECURITY_TOKEN);
            if let Some(token) = token {
                let value = HeaderValue::from_static(token);
                wire.headers.insert(header::SECURITY_TOKEN, value);
            }
            let key = ak2();
            let result = verify_head(&wire.parts(), NOW, &Rules::default(), |_, sent| {
                assert_eq!(sent, token.map(str::as_bytes));
                Ok(&key)
            });
            assert!(matches!(result, Err(VerifyError::NotMatched(_))));
        }
    }
}

#[test]
fn the_scope_of_a_v4_signature_is_part_of_it() {
    let moved = |from: &str, to: &str, now: u64| {
        let mut wire = signed(SignatureVersion::V4);
        let value = wire.headers["authorization"].to_str().unwrap();
        assert!(value.contains(from));
        let value = value.replace(from, to).parse().unwrap();
        wire.headers.insert("authorization", value);
        wire.check_at(&ak2(), now)
    };
    assert!(is_mismatch(&moved("cn-hangzhou", "cn-shanghai", NOW)));
    let other_day = moved("20260615", "20260616", NOW);
    assert_eq!(other_day, Err(VerifyError::InvalidHeader(header::DATE)));
    assert!(moved("sls/", "oss/", NOW).is_err());
}

#[test]
fn a_key_is_looked_up_only_when_the_rest_of_the_head_could_be_right() {
    for version in VERSIONS {
        for (wire, now) in [
            (signed(version), NOW + 901),
            (tampered_header(version, "x-log-bodyrawsize"), NOW),
            (tampered_header(version, "authorization"), NOW),
        ] {
            let result =
                verify_head::<&AccessKey>(&wire.parts(), now, &Rules::default(), |_, _| {
                    panic!("looked up")
                });
            assert!(result.is_err());
        }
    }
}

/// A request with a header of it twice.
fn tampered_header(version: SignatureVersion, name: &'static str) -> Wire {
    let mut wire = signed(version);
    let again = wire.headers[name].clone();
    wire.headers.append(name, again);
    wire
}

#[test]
fn a_body_that_v4_leaves_unsigned_can_be_forbidden() {
    let mut wire = lz4_write(&[("host", HOST)]);
    let body = std::mem::take(&mut wire.body);
    wire.sign(SignatureVersion::V4, &ak1(), &[]);
    let key = ak1();
    for (unsigned_bodies, expected) in [
        (true, Ok(())),
        (false, Err(VerifyError::Digest(header::CONTENT_SHA256))),
    ] {
        let rules = Rules {
            unsigned_bodies,
            ..Rules::default()
        };
        let parts = wire.parts();
        let head = verify_head(&parts, NOW, &rules, |_, _| Ok(&key)).unwrap();
        assert_eq!(head.check_body(b""), Ok(()));
        assert_eq!(head.check_body(&body), expected);
    }
}

#[test]
fn a_digest_that_is_none_is_refused_with_the_head() {
    for (version, name) in [
        (SignatureVersion::V1, header::CONTENT_MD5),
        (SignatureVersion::V4, header::CONTENT_SHA256),
    ] {
        let mut wire = signed(version);
        let value = HeaderValue::from_static("1B2M2Y8AsgTpgAmY7PhCfg==");
        wire.headers.insert(&name, value);
        assert_eq!(wire.check(&ak2()), Err(VerifyError::Digest(name)));
    }
}

#[test]
fn a_charset_that_a_browser_has_appended_is_left_out() {
    for version in VERSIONS {
        let mut wire = signed(version);
        for (appended, taken) in [(";charset=UTF-8", true), (";charset=gbk", false)] {
            let value = format!("application/x-protobuf{appended}");
            wire.headers.insert("content-type", value.parse().unwrap());
            assert_eq!(wire.check(&ak2()).is_ok(), taken, "{version:?} {appended}");
        }
    }
}

#[test]
fn another_spelling_of_the_path_is_another_path_unless_it_decodes_to_the_same() {
    for version in VERSIONS {
        for (path, taken) in [
            ("//logstores/web-events/shards/lb", false),
            ("/logstores//web-events/shards/lb", false),
            ("/logstores/./web-events/shards/lb", false),
            ("/logstores/x/../web-events/shards/lb", false),
            ("/logstores/web-events/shards/lb/", false),
            ("/logstores/Web-Events/shards/lb", false),
            ("/logstores/web-events;x=1/shards/lb", false),
            ("/logstores/web-events/shards/lb%00", false),
            ("/logstores/web-events/shards/lb%3Fa=b", false),
            ("/logstores/web-%65vents/shards/lb", true),
        ] {
            let mut wire = signed(version);
            path.clone_into(&mut wire.path);
            assert_eq!(wire.check(&ak2()).is_ok(), taken, "{version:?} {path}");
        }
    }
}

#[test]
fn strange_dates_are_refused_and_not_an_effort() {
    let deep = "(".repeat(20_000);
    for date in [
        "",
        "now",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 30 Feb 2026 08:00:00 GMT",
        "19700101T000000Z",
        "99991231T235959Z",
        "20260230T080000Z",
        &deep,
    ] {
        for version in VERSIONS {
            let mut wire = signed(version);
            wire.headers.insert(header::DATE, date.parse().unwrap());
            let (status, code, _) = wire.check(&ak2()).unwrap_err().answer();
            assert_eq!(status.as_u16(), 400, "{version:?} {code}");
        }
    }
}

#[test]
fn a_time_other_than_the_signed_one_breaks_the_signature() {
    let mut wire = signed(SignatureVersion::V1);
    let later = HeaderValue::from_static("Mon, 15 Jun 2026 08:00:01 GMT");
    wire.headers.insert("date", later);
    let result = wire.check(&ak2());
    assert!(is_mismatch(&result));

    let mut wire = signed(SignatureVersion::V4);
    let later = HeaderValue::from_static("20260615T080001Z");
    wire.headers.insert("x-log-date", later);
    let result = wire.check(&ak2());
    assert!(is_mismatch(&result));

    let other_day = HeaderValue::from_static("20260616T080001Z");
    wire.headers.insert("x-log-date", other_day);
    assert_eq!(
        wire.check_at(&ak2(), NOW + 86_400),
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
        assert!(is_mismatch(&result));
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
