//! Who has signed a call, and what of it.

use super::*;

/// The example of the documentation of signatures of RPC calls.
#[test]
fn the_published_vector_of_the_older_style_has_its_signature() {
    let query = "Timestamp=2016-02-23T12:46:24Z&Format=XML&AccessKeyId=testid&Action=DescribeRegions&SignatureMethod=HMAC-SHA1&SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&Version=2014-05-26&SignatureVersion=1.0&Signature=x";
    let parameters = Parameters::read(query, "").unwrap();
    let text = rpc_signature::rpc_string_to_sign("GET", &parameters);
    let mac = mac::hmac_sha1(b"testsecret&", &[text.as_bytes()]);
    assert!(mac::is_base64_of(b"OLeaidS1JvxuMvnyHOwuJ+uX5qY=", &mac));
}

#[test]
fn both_styles_are_taken_by_get_and_post_in_the_query_and_as_a_form() {
    let service = service();
    for method in ["GET", "POST"] {
        for hash in ["HMAC-SHA1", "HMAC-SHA256"] {
            assert_eq!(rpc(method, hash, &[]).code(&service), "");
        }
    }
    let mut form = rpc("POST", "HMAC-SHA1", &[]);
    form.body = std::mem::take(&mut form.query).into_bytes();
    form.header(
        "content-type",
        "application/x-www-form-urlencoded; charset=utf-8",
    );
    assert_eq!(form.code(&service), "");

    let mut form = acs3(&[]);
    form.body = query(&USUAL).into_bytes();
    form.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(sign_acs3(form, "server-1", SECRET).code(&service), "");
    let mut get = acs3(&USUAL);
    get.method = "GET";
    assert_eq!(sign_acs3(get, "server-1", SECRET).code(&service), "");
}

#[test]
fn only_known_enabled_long_lived_keys_that_the_role_names_assume_it() {
    let service = service();
    let by = |id, secret| sign_acs3(acs3(&USUAL), id, secret).code(&service);
    assert_eq!(by("server-1", SECRET), "");
    assert_eq!(by("server-1", "another"), "SignatureDoesNotMatch");
    assert_eq!(by("server-2", "the secret of server-2"), "NoPermission");
    assert_eq!(by("disabled", SECRET), "InvalidAccessKeyId.Inactive");
    assert_eq!(by("nobody", SECRET), "InvalidAccessKeyId.NotFound");
    assert_eq!(by("", SECRET), "InvalidAccessKeyId.NotFound");
    assert_eq!(by("STS.temporary", SECRET), "NoPermission");
    let mut chained = acs3(&USUAL);
    chained.header("x-acs-security-token", "CAISsomething");
    assert_eq!(
        sign_acs3(chained, "server-1", SECRET).code(&service),
        "NoPermission"
    );
    let older = |more: &[(&str, &str)]| rpc("GET", "HMAC-SHA1", more).code(&service);
    assert_eq!(older(&[("SecurityToken", "CAISx")]), "NoPermission");
    assert_eq!(
        older(&[("AccessKeyId", "nobody")]),
        "InvalidAccessKeyId.NotFound"
    );
}

#[test]
fn every_part_of_a_newer_call_is_signed() {
    let service = service();
    let check = |what: &str, change: &dyn Fn(&mut Call), expected: &str| {
        let mut call = signed(&[USUAL[0], USUAL[1], ("DurationSeconds", "900")]);
        change(&mut call);
        assert_eq!(call.code(&service), expected, "{what}");
    };
    let mismatch = "SignatureDoesNotMatch";
    check("method", &|call| call.method = "GET", mismatch);
    check(
        "value",
        &|call| call.query = call.query.replace("900", "901"),
        mismatch,
    );
    check(
        "name",
        &|call| call.query.push_str("&Policy=%7B%7D"),
        mismatch,
    );
    check(
        "less",
        &|call| call.query = call.query.replace("DurationSeconds=900&", ""),
        mismatch,
    );
    check("body", &|call| call.body.push(b'x'), mismatch);
    let later = iso_date(NOW + 1);
    for (name, value, expected) in [
        ("host", "other.example.com", mismatch),
        ("user-agent", "other", mismatch),
        ("x-acs-signature-nonce", "other", mismatch),
        ("x-acs-content-sha256", "e3b0c4", mismatch),
        ("x-acs-date", &later, mismatch),
        ("x-acs-action", "GetCallerIdentity", mismatch),
        ("x-acs-version", "2015-04-02", "InvalidVersion"),
        ("x-acs-other", "added", "IncompleteSignature"),
    ] {
        let change = |call: &mut Call| {
            call.header(name, value);
        };
        check(name, &change, expected);
    }
    let remove = |call: &mut Call| {
        call.headers.remove("user-agent");
    };
    check("removed", &remove, "IncompleteSignature");
    let repeat = |call: &mut Call| {
        let again = HeaderValue::from_static("AssumeRole");
        call.headers.append("x-acs-action", again);
    };
    check("twice", &repeat, "IncompleteSignature");
    check(
        "path",
        &|call| call.path = "/x".to_owned(),
        "InvalidAction.NotFound",
    );
    check(
        "delete",
        &|call| call.method = "DELETE",
        "UnsupportedHTTPMethod",
    );
    check(
        "action twice",
        &|call| call.query.push_str("&Action=GetCallerIdentity"),
        "InvalidParameter",
    );
}

#[test]
fn the_authorization_of_a_newer_call_is_read_strictly() {
    let service = service();
    let mismatch = "SignatureDoesNotMatch";
    let check = |what: &str, change: &dyn Fn(&mut Call), expected: &str| {
        let mut call = signed(&USUAL);
        change(&mut call);
        assert_eq!(call.code(&service), expected, "{what}");
    };
    let authorization = |call: &mut Call, from: &str, to: &str| {
        let value = call.headers["authorization"]
            .to_str()
            .unwrap()
            .replace(from, to);
        call.header("authorization", &value);
    };
    for (from, to, expected) in [
        ("host;", "", "IncompleteSignature"),
        ("x-acs-date;", "", "IncompleteSignature"),
        ("host;", "host;host;", "IncompleteSignature"),
        ("host;", "date;host;", "IncompleteSignature"),
        ("ACS3-HMAC-SHA256", "ACS3-HMAC-SM3", "IncompleteSignature"),
        ("Signature=", "Signature=0", mismatch),
        ("Credential=server-1", "Credential=server-2", mismatch),
        ("user-agent;", "", mismatch),
    ] {
        check(from, &|call| authorization(call, from, to), expected);
    }
}

#[test]
fn a_body_whose_type_is_not_signed_could_be_read_in_two_ways() {
    let service = service();
    let mut unsigned = acs3(&[]);
    unsigned.body = query(&USUAL).into_bytes();
    let mut unsigned = sign_acs3(unsigned, "server-1", SECRET);
    unsigned.header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(unsigned.code(&service), "IncompleteSignature");
}

#[test]
fn every_part_of_an_older_call_is_signed() {
    let service = service();
    let check = |what: &str, change: &dyn Fn(&mut Call), expected: &str| {
        let mut call = rpc("GET", "HMAC-SHA1", &[("DurationSeconds", "900")]);
        change(&mut call);
        assert_eq!(call.code(&service), expected, "{what}");
    };
    let mismatch = "SignatureDoesNotMatch";
    check("method", &|call| call.method = "POST", mismatch);
    check(
        "value",
        &|call| call.query = call.query.replace("900", "901"),
        mismatch,
    );
    check(
        "added",
        &|call| call.query.push_str("&Policy=%7B%7D"),
        mismatch,
    );
    check(
        "twice",
        &|call| call.query.push_str("&RoleArn=x"),
        "InvalidParameter",
    );
    check(
        "hash",
        &|call| call.query = call.query.replace("HMAC-SHA1", "HMAC-SHA256"),
        mismatch,
    );
    check(
        "nonce",
        &|call| call.query = call.query.replace("nonce-", "nonce_"),
        mismatch,
    );
    check(
        "form",
        &|call| {
            call.body = b"Policy=%7B%7D".to_vec();
            call.header("content-type", "application/x-www-form-urlencoded");
        },
        mismatch,
    );
    check(
        "other body",
        &|call| call.body.push(b'x'),
        "IncompleteSignature",
    );
    for (more, expected) in [
        (("SignatureMethod", "(none)"), "MissingSignatureMethod"),
        (("SignatureMethod", "MD5"), "IncompleteSignature"),
        (("SignatureVersion", "2.0"), "IncompleteSignature"),
        (("SignatureNonce", "(none)"), "MissingSignatureNonce"),
        (("Timestamp", "(none)"), "MissingTimestamp"),
        (("Timestamp", "yesterday"), "InvalidTimeStamp.Format"),
        (("Version", "2014-05-26"), "InvalidVersion"),
        (("Action", "GetCallerIdentity"), "InvalidAction.NotFound"),
        (("AccessKeyId", "(none)"), "MissingAccessKeyId"),
    ] {
        let call = rpc("GET", "HMAC-SHA1", &[more]);
        assert_eq!(call.code(&service), expected, "{more:?}");
    }
    let mut bare = rpc("GET", "HMAC-SHA1", &[]);
    bare.query = String::new();
    assert_eq!(bare.code(&service), "MissingAccessKeyId");
}

#[test]
fn a_call_is_taken_within_the_window_and_once() {
    let service = service();
    for (offset, expected) in [
        (-901, "InvalidTimeStamp.Expired"),
        (-900, ""),
        (900, ""),
        (901, "InvalidTimeStamp.Expired"),
    ] {
        let mut call = acs3(&USUAL);
        let date = NOW.checked_add_signed(offset).unwrap();
        call.header("x-acs-date", &iso_date(date));
        let call = sign_acs3(call, "server-1", SECRET);
        assert_eq!(call.code(&service), expected, "{offset}");
        if expected.is_empty() {
            for later in [0, 1, 850] {
                let mut again = call.clone();
                again.now = NOW.max(date) + later;
                let code = again.code(&service);
                let told = ["SignatureNonceUsed", "InvalidTimeStamp.Expired"];
                assert!(told.contains(&code.as_str()), "{offset} {later}: {code}");
            }
        }
    }
    let call = rpc("GET", "HMAC-SHA1", &[]);
    assert_eq!(call.code(&service), "");
    assert_eq!(call.code(&service), "SignatureNonceUsed");
    // A wrong signature uses no nonce up.
    let right = signed(&USUAL);
    let mut wrong = right.clone();
    wrong.header("user-agent", "changed");
    assert_eq!(wrong.code(&service), "SignatureDoesNotMatch");
    assert_eq!(right.code(&service), "");
}

#[test]
fn a_mismatch_tells_what_the_server_signs_and_the_answer_whose_key_it_was() {
    let service = service();
    let mut call = signed(&USUAL);
    call.header("user-agent", "changed");
    let answer = call.send(&service);
    let message = json(&answer)["Message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("server string to sign is:POST\n/\nRoleArn="),
        "{message}"
    );
    assert!(message.contains("\nuser-agent:changed\n"), "{message}");
    assert_eq!(
        answer.failure,
        Some((Code::SignatureDoesNotMatch, Some("server-1".to_owned())))
    );
}

#[test]
fn a_call_of_the_token_service_is_told_from_one_of_the_store() {
    let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    };
    let is = TokenService::is_call;
    assert!(is("POST", "", &signed(&USUAL).headers));
    assert!(is("GET", "Version=1&Action=AssumeRole", &headers(&[])));
    let form = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    assert!(is("POST", "", &form));
    assert!(!is("GET", "", &form));
    assert!(!is("GET", "", &headers(&[("authorization", "LOG a:b")])));
    assert!(!is("GET", "XAction=1", &headers(&[])));
}
