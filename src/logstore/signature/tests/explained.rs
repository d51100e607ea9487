//! What the client of a signature that does not match is told.

use super::*;

fn signed(version: SignatureVersion) -> Wire {
    let mut wire = lz4_write(&[("host", "demo.example.com:8080")]);
    wire.query = "cursor=MA%3D%3D&a=".to_owned();
    wire.sign(version, &ak2(), &[("cursor", "MA=="), ("a", "")]);
    assert_eq!(wire.check(&ak2()), Ok(()));
    wire
}

const VERSIONS: [SignatureVersion; 2] = [SignatureVersion::V1, SignatureVersion::V4];

fn mismatch(wire: &Wire, key: &AccessKey) -> Mismatch {
    match wire.check(key) {
        Err(VerifyError::NotMatched(mismatch)) => *mismatch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signature_that_does_not_match_tells_what_the_server_signs_but_not_the_token() {
    for version in VERSIONS {
        let mut wire = signed(version);
        wire.query = "a=\u{1b}c&c=d".to_owned();
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

/// Signs a text of the client's own with the right secret.
fn sign_v1(wire: &mut Wire, hash: v1::Method, text: &str) {
    let key = ak2();
    let signature = hash.sign(key.secret.expose(), text.as_bytes());
    let value = format!("LOG {}:{signature}", key.id);
    wire.headers.insert("authorization", value.parse().unwrap());
}

fn sign_v4(wire: &mut Wire, canonical: &str) {
    let key = ak2();
    let scope = v4::Scope {
        date: "20260615T080000Z",
        day: "20260615",
        region: "cn-hangzhou",
    };
    let signing_key = scope.signing_key(key.secret.expose());
    let signature = mac::hex(&scope.mac(&signing_key, canonical.as_bytes()));
    let value = format!(
        "SLS4-HMAC-SHA256 Credential={}/{},Signature={signature}",
        key.id,
        scope.text()
    );
    wire.headers.insert("authorization", value.parse().unwrap());
}

/// What the server signs, with the token.
fn text_of(wire: &Wire, version: SignatureVersion) -> String {
    let mut text = Vec::new();
    match version {
        SignatureVersion::V1 => {
            let date = wire.headers.get("x-log-date").or(wire.headers.get("date"));
            let date = date.unwrap().as_bytes();
            let request = v1::Presented::read(&wire.parts(), date).unwrap();
            request.string_to_sign().write(&mut text);
        }
        SignatureVersion::V4 => {
            let scope = v4::Scope {
                date: "20260615T080000Z",
                day: "20260615",
                region: "cn-hangzhou",
            };
            let request = v4::Presented::read(&wire.parts(), scope).unwrap();
            request.canonical_request().write(&mut text);
        }
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn common_mistakes_of_v1_are_named() {
    let md5 = "64274B962CA43580C682DFED881AF46D";
    let lower = md5.to_lowercase();
    let token = format!("x-acs-security-token:{TOKEN}\n");
    let dated = "x-log-compresstype:lz4\nx-log-date:Mon, 15 Jun 2026 08:00:00 GMT\n";
    for (line, from, to) in [
        ("Content-Type", "application/x-protobuf\n", "\n"),
        ("Content-MD5", md5, ""),
        ("Content-MD5", md5, &lower),
        ("date", "Mon, 15 Jun 2026 08:00:00 GMT\n", "\n"),
        ("x-log-bodyrawsize", "x-log-bodyrawsize:87\n", ""),
        ("x-acs-security-token", &token, ""),
        ("path and query", "?a=&cursor=MA==", "?cursor=MA%3D%3D&a="),
        ("x-log-date", "x-log-compresstype:lz4\n", dated),
    ] {
        let mut wire = signed(SignatureVersion::V1);
        if line.contains("date") {
            let now = HeaderValue::from_static(HTTP_NOW);
            wire.headers.insert("x-log-date", now);
            wire.headers.remove("date");
        }
        let text = text_of(&wire, SignatureVersion::V1);
        assert!(text.contains(from), "{text}");
        sign_v1(&mut wire, v1::Method::HmacSha1, &text.replacen(from, to, 1));
        let told = mismatch(&wire, &ak2()).difference.unwrap();
        assert!(
            told.contains(&format!("the line `{line}` differently")),
            "{told}"
        );
    }
    let mut wire = signed(SignatureVersion::V1);
    let text = text_of(&wire, SignatureVersion::V1);
    sign_v1(&mut wire, v1::Method::HmacSha256, &text);
    let told = mismatch(&wire, &ak2()).difference.unwrap();
    assert!(told.contains("`x-log-signaturemethod`"), "{told}");
}

#[test]
fn the_date_that_counts_is_named_when_the_other_was_signed() {
    let mut wire = signed(SignatureVersion::V1);
    let other = HeaderValue::from_static("Mon, 15 Jun 2026 08:00:05 GMT");
    wire.headers.insert("x-log-date", other);
    let told = mismatch(&wire, &ak2()).difference.unwrap();
    assert!(told.contains("it signed Date, but x-log-date"), "{told}");
}

#[test]
fn common_mistakes_of_v4_are_named() {
    let token = format!("x-acs-security-token:{TOKEN}\n");
    let cases = [
        ("query", "cursor=MA%3D%3D", "cursor=MA=="),
        ("query", "a&cursor", "a=&cursor"),
        ("host", "example.com:8080", "example.com"),
        ("x-acs-security-token", &token, ""),
        ("x-log-bodyrawsize", "x-log-bodyrawsize:87\n", ""),
        ("content-type", "content-type:application/x-protobuf\n", ""),
        ("x-log-date", "x-log-date:20260615T080000Z\n", ""),
        ("host", "host:demo.example.com:8080\n", ""),
    ];
    for (line, from, to) in cases {
        let mut wire = signed(SignatureVersion::V4);
        let text = text_of(&wire, SignatureVersion::V4);
        assert!(text.contains(from), "{text}");
        let mut text = text.replacen(from, to, 1);
        if to.is_empty() {
            let (inside, last) = (format!("{line};"), format!(";{line}\n"));
            text = match text.contains(&inside) {
                true => text.replacen(&inside, "", 1),
                false => text.replacen(&last, "\n", 1),
            };
        }
        sign_v4(&mut wire, &text);
        let told = mismatch(&wire, &ak2()).difference.unwrap();
        assert!(
            told.contains(&format!("the line `{line}` differently")),
            "{told}"
        );
    }
    // A client behind something that takes the port away.
    let mut wire = signed(SignatureVersion::V4);
    let bare = HeaderValue::from_static("demo.example.com");
    wire.headers.insert("host", bare);
    let text = text_of(&wire, SignatureVersion::V4);
    sign_v4(
        &mut wire,
        &text.replace("example.com\n", "example.com:443\n"),
    );
    let told = mismatch(&wire, &ak2()).difference.unwrap();
    assert!(told.contains("with the port 443"), "{told}");
}

#[test]
fn a_wrong_secret_names_no_line() {
    for version in VERSIONS {
        let wire = signed(version);
        let mut wrong = ak2();
        wrong.secret = Secret::new("another secret");
        assert_eq!(mismatch(&wire, &wrong).difference, None);
    }
}

fn with_client_text(version: SignatureVersion, text: &str) -> Wire {
    let mut wire = signed(version);
    let value = mac::base64(text.as_bytes()).parse().unwrap();
    wire.headers.insert(CLIENT_TEXT, value);
    wire
}

#[test]
fn the_first_line_that_differs_from_the_clients_own_text_is_named() {
    let mut wrong = ak2();
    wrong.secret = Secret::new("another secret");
    let cases = [
        (
            SignatureVersion::V1,
            "POST\n",
            "GET\n",
            "Line 1 (method) differs",
        ),
        (
            SignatureVersion::V1,
            "application/x-protobuf",
            "text/plain",
            "Line 3 (Content-Type) differs: the client signs `text/plain`, the server `application/x-protobuf`.",
        ),
        (
            SignatureVersion::V1,
            "x-log-bodyrawsize:87",
            "x-log-bodyrawsize:88",
            "(x-log-bodyrawsize) differs: the client signs `x-log-bodyrawsize:88`",
        ),
        (
            SignatureVersion::V1,
            "?a=&cursor=MA==",
            "",
            "(path and query) differs",
        ),
        (
            SignatureVersion::V1,
            "CAIS",
            "CAIT",
            "(x-acs-security-token) differs",
        ),
        (
            SignatureVersion::V4,
            "/shards/lb",
            "/shards/0",
            "Line 2 (path)",
        ),
        (SignatureVersion::V4, "MA%3D%3D", "MA==", "Line 3 (query)"),
        (
            SignatureVersion::V4,
            "host;",
            "",
            "(names of the signed headers)",
        ),
        (
            SignatureVersion::V4,
            "5db8b615",
            "5db8b616",
            "(x-log-content-sha256)",
        ),
    ];
    for (version, from, to, expected) in cases {
        let text = text_of(&signed(version), version);
        assert!(text.contains(from), "{text}");
        let wire = with_client_text(version, &text.replacen(from, to, 1));
        let told = mismatch(&wire, &wrong).difference.unwrap();
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains("CAIS") && !told.contains("CAIT"), "{told}");
    }
    for version in VERSIONS {
        let wire = with_client_text(version, &text_of(&signed(version), version));
        let told = mismatch(&wire, &wrong).difference.unwrap();
        assert!(told.contains("the same text, so the secret"), "{told}");
    }
}

#[test]
fn a_text_of_the_client_is_read_within_bounds_and_shown_short_and_printable() {
    let mut wrong = ak2();
    wrong.secret = Secret::new("another secret");
    let version = SignatureVersion::V1;
    let wire = with_client_text(version, &format!("P\u{1b}{}", "x".repeat(5000)));
    let told = mismatch(&wire, &wrong).difference.unwrap();
    assert!(told.len() < 600 && !told.contains('\u{1b}'), "{told}");
    let too_long = with_client_text(version, &"x".repeat(7000));
    assert_eq!(mismatch(&too_long, &wrong).difference, None);
    let mut not_base64 = signed(version);
    not_base64
        .headers
        .insert(CLIENT_TEXT, HeaderValue::from_static("%%"));
    assert_eq!(mismatch(&not_base64, &wrong).difference, None);
}

#[test]
fn a_long_text_is_not_tried() {
    let mut wire = signed(SignatureVersion::V1);
    wire.query = format!("a={}", "b".repeat(5000));
    let text = text_of(&wire, SignatureVersion::V1);
    let text = text.replacen("application/x-protobuf", "", 1);
    sign_v1(&mut wire, v1::Method::HmacSha1, &text);
    assert_eq!(mismatch(&wire, &ak2()).difference, None);
}
