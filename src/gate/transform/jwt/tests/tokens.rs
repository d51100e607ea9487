//! Texts that are no tokens, and tokens that are not taken.

use super::*;

const PLAIN: &[u8] = br#"{"some":"payload"}"#;

fn refused(token: &str) -> DecodeError {
    decode(&secret_decoding(&secret_rules()), token).unwrap_err()
}

#[test]
fn only_three_parts_of_base64url_are_a_token() {
    let good = forged(HEADER, PLAIN);
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else {
        panic!("{good}");
    };
    let mut texts = vec![
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "no token".to_owned(),
        format!("{header}.{payload}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("Bearer {good}"),
        format!("{good}="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}\u{e9}"),
        format!("{header}\0.{payload}.{signature}"),
        good.replace('-', "+").replace('_', "/") + "+",
    ];
    for at in [1, header.len() / 2] {
        let (left, right) = header.split_at(at);
        texts.push(format!("{left} {right}.{payload}.{signature}"));
        texts.push(format!("{left}\r\n{right}.{payload}.{signature}"));
    }
    // Bits that no byte needs: another text for the same signature.
    let last = signature.chars().last().unwrap();
    let other = char::from_u32(u32::from(last) + 1).unwrap();
    texts.push(format!("{header}.{payload}.{}{other}", &signature[..42]));
    for text in &texts {
        let error = refused(text);
        let malformed = matches!(error, DecodeError::Malformed | DecodeError::Header);
        assert!(malformed, "{text:?}: {error}");
        let error = decode(&unverified(), text).unwrap_err();
        let malformed = matches!(error, DecodeError::Malformed | DecodeError::Header);
        assert!(malformed, "{text:?}: {error}");
    }
    // A changed payload is not read before its signature.
    let padded = format!("{header}.{payload}==.{signature}");
    assert_eq!(refused(&padded), DecodeError::Signature);
    let error = decode(&unverified(), &padded).unwrap_err();
    assert_eq!(error, DecodeError::Malformed);
    let mut out = Vec::new();
    let not_text = [0xff, b'.', 0xfe, b'.', 0x80];
    let error = unverified().decode(&not_text, NOW, &mut out).unwrap_err();
    assert_eq!(error, DecodeError::Malformed);
}

#[test]
fn a_token_is_no_longer_than_the_bound() {
    let payload = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
    let longest = {
        let room = MAX_TOKEN - HEADER.len().div_ceil(3) * 4 - 2 - 43;
        room / 4 * 3
    };
    let token = encode(&secret_encoding(), &payload(longest));
    assert!(token.len() <= MAX_TOKEN && token.len() > MAX_TOKEN - 8);
    let decoding = secret_decoding(&secret_rules());
    assert_eq!(decode(&decoding, &token).unwrap(), payload(longest));
    let token = forged(HEADER, payload(longest + 6).as_bytes());
    assert!(token.len() > MAX_TOKEN);
    assert_eq!(refused(&token), DecodeError::TooLong);
    assert_eq!(refused(&".".repeat(10 << 20)), DecodeError::TooLong);
    for length in [longest + 6, MAX_TOKEN, MAX_TOKEN + 1, 10 << 20] {
        let mut out = b"before".to_vec();
        let encoded = secret_encoding().encode(payload(length).as_bytes(), &mut out);
        assert_eq!(encoded, Err(EncodeError::TooLong));
        assert_eq!(out, b"before");
    }
}

#[test]
fn the_header_chooses_among_the_allowed_algorithms_and_no_other() {
    for alg in [
        "none", "None", "NONE", "", "hs256", "HS384", "RS256", "ES256K",
    ] {
        let header = format!(r#"{{"typ":"JWT","alg":"{alg}"}}"#);
        let signed = forged(header.as_bytes(), PLAIN);
        assert_eq!(refused(&signed), DecodeError::Algorithm, "{alg}");
        let (message, _) = signed.rsplit_once('.').unwrap();
        assert_eq!(refused(&format!("{message}.")), DecodeError::Algorithm);
        // What is not verified may be anything.
        let decoded = decode(&unverified(), &format!("{message}.")).unwrap();
        assert_eq!(decoded.as_bytes(), PLAIN);
    }
    assert_eq!(refused(&forged(b"{}", PLAIN)), DecodeError::Algorithm);
    assert!(decode(&unverified(), &forged(b"{}", PLAIN)).is_ok());
    assert!(decode(&unverified(), &forged(HEADER, PLAIN)).is_ok());
}

#[test]
fn a_token_signed_with_a_public_key_as_secret_does_not_verify() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    for key in [keys::SMALL_SPKI, keys::SMALL_PUBLIC, keys::RSA_SPKI] {
        let message = [HEADER, PLAIN].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = message.join(".");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let token = format!("{message}.{signature}");
        let decoding = Decoding::new(key.as_bytes(), &rules(&[Algorithm::RS256])).unwrap();
        assert_eq!(decode(&decoding, &token), Err(DecodeError::Algorithm));
    }
}

#[test]
fn headers_that_are_none_or_ask_for_more_are_refused() {
    let critical = |header: &str| {
        let token = forged(header.as_bytes(), PLAIN);
        assert_eq!(refused(&token), DecodeError::Critical, "{header}");
        assert_eq!(decode(&unverified(), &token), Err(DecodeError::Critical));
    };
    critical(r#"{"alg":"HS256","crit":["exp"]}"#);
    critical(r#"{"alg":"HS256","crit":[]}"#);
    critical(r#"{"alg":"HS256","\u0063rit":null}"#);
    critical(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#);
    critical(r#"{"alg":"HS256","b64":false}"#);
    let long = format!(r#"{{"alg":"HS256","x":"{}"}}"#, "x".repeat(MAX_HEADER));
    for header in [
        "",
        "null",
        "[]",
        "\"HS256\"",
        "{",
        r#"{"alg":"HS256"}x"#,
        r#"{"alg":1}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","\u0061lg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"\ud800"}"#,
        &long,
    ] {
        let token = forged(header.as_bytes(), PLAIN);
        assert_eq!(refused(&token), DecodeError::Header, "{header}");
    }
    // What points elsewhere for a key is not looked at.
    let header = br#"{"alg":"HS256","jku":"http://127.0.0.1/","jwk":{"kty":"oct","k":"eA"}} "#;
    assert!(decode(&secret_decoding(&secret_rules()), &forged(header, PLAIN)).is_ok());
}

#[test]
fn payloads_that_are_no_objects_are_refused_after_the_signature() {
    let deep = |depth| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let many = |count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!(r#""m{n}":0"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    for (payload, fault) in [
        (String::new(), JsonFault::NotJson),
        ("{".to_owned(), JsonFault::NotJson),
        ("{no".to_owned(), JsonFault::NotJson),
        ("[]".to_owned(), JsonFault::NotObject),
        ("1".to_owned(), JsonFault::NotObject),
        ("null".to_owned(), JsonFault::NotObject),
        (deep(MAX_DEPTH + 1), JsonFault::TooDeep),
        (deep(5_000), JsonFault::TooDeep),
        (
            format!(r#"{{"a":{}}}"#, "[".repeat(40_000)),
            JsonFault::TooDeep,
        ),
        (many(MAX_MEMBERS + 1), JsonFault::TooMany),
        (r#"{"a":1,"a":1}"#.to_owned(), JsonFault::Twice),
    ] {
        let error = DecodeError::Payload(fault);
        let token = forged(HEADER, payload.as_bytes());
        assert_eq!(refused(&token), error);
        assert_eq!(decode(&unverified(), &token), Err(error));
        let (message, _) = token.rsplit_once('.').unwrap();
        assert_eq!(refused(&format!("{message}.AAAA")), DecodeError::Signature);
        let mut out = b"before".to_vec();
        let encoded = secret_encoding().encode(payload.as_bytes(), &mut out);
        assert_eq!(encoded, Err(EncodeError::Payload(fault)));
        assert_eq!(out, b"before");
    }
    let decoding = secret_decoding(&secret_rules());
    for payload in [deep(MAX_DEPTH), many(MAX_MEMBERS), "{}".to_owned()] {
        let token = encode(&secret_encoding(), &payload);
        assert_eq!(decode(&decoding, &token).unwrap(), payload);
    }
    let token = forged(HEADER, b"{\"a\":\"\xff\"}");
    assert_eq!(refused(&token), DecodeError::Payload(JsonFault::NotJson));
}

#[test]
fn errors_have_known_labels_and_hold_nothing_of_the_token() {
    let errors = [
        DecodeError::TooLong,
        DecodeError::Malformed,
        DecodeError::Header,
        DecodeError::Critical,
        DecodeError::Algorithm,
        DecodeError::Signature,
        DecodeError::Payload(JsonFault::Twice),
        DecodeError::Missing("iat".into()),
        DecodeError::ClaimType("exp"),
        DecodeError::Expired,
        DecodeError::Immature("nbf"),
        DecodeError::Issuer,
        DecodeError::Audience,
    ];
    assert_eq!(
        errors.each_ref().map(DecodeError::label),
        DecodeError::LABELS
    );
    let errors = [
        EncodeError::TooLong,
        EncodeError::Payload(JsonFault::Twice),
        EncodeError::Signing,
    ];
    assert_eq!(
        errors.each_ref().map(EncodeError::label),
        EncodeError::LABELS
    );
    let token = forged(HEADER, br#"{"iss":"my-issuer","aud":"my-audience"}"#);
    let mut rules = secret_rules();
    rules.issuer = Some("x".to_owned());
    let error = decode(&secret_decoding(&rules), &token).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("my-"), "{shown}");
}
