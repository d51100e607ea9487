//! What becomes of a call that was signed.

use super::*;

/// The call that PyPI `alibabacloud_sts20150401` 1.2.0 was seen to send.
#[test]
fn the_call_of_the_python_client_is_taken_and_its_credentials_sign() {
    let mut call = acs3(&[]);
    call.query = "DurationSeconds=900&Policy=%7B%22Version%22%3A%221%22%2C%22Statement%22%3A%5B%5D%7D&RoleArn=acs%3Aram%3A%3A123%3Arole%2Fsls-web-tracking&RoleSessionName=device-001".to_owned();
    call.header(
        "user-agent",
        "AlibabaCloud (Linux; x86_64) Python/3.11.7 Core/0.4.3 TeaDSL/2",
    )
    .header("accept", "application/json")
    .header("x-acs-credentials-provider", "static_ak")
    .header("x-acs-signature-nonce", "d4aedfa2da29c29a0edab4ce5ce6835d");
    let call = sign_acs3(call, "ak", "sk");
    let authorization = call.headers["authorization"].to_str().unwrap();
    assert!(
        authorization.ends_with("1637a38e251d019fd57193bd7d3db740958fd5e84e335203dd8c884ce2501119"),
        "{authorization}"
    );
    let service = service();
    let answer = call.send(&service);
    assert!(answer.issued && answer.failure.is_none(), "{answer:?}");
    let body = json(&answer);
    let text = |path: &str| body.pointer(path).unwrap().as_str().unwrap().to_owned();
    assert_eq!(text("/RequestId"), answer.request_id);
    assert_eq!(text("/AssumedRoleUser/Arn"), format!("{ROLE}/device-001"));
    let id = text("/AssumedRoleUser/AssumedRoleId");
    let (number, session) = id.split_once(':').unwrap();
    assert!(number.len() == 18 && number.parse::<u64>().is_ok() && session == "device-001");
    assert_eq!(text("/Credentials/Expiration"), "2026-11-22T00:11:33Z");
    let key_id = text("/Credentials/AccessKeyId");
    assert!(key_id.starts_with("STS.") && key_id.len() == 30, "{key_id}");
    let token = text("/Credentials/SecurityToken");
    assert!(token.starts_with("CAIS"));

    let sessions = Sessions::<()>::new(Arc::clone(&service.ring));
    let session = sessions.open(token.as_bytes(), &key_id, NOW + 899).unwrap();
    let grant = session.grant();
    assert_eq!(grant.role_arn, ROLE);
    assert_eq!(grant.caller, "ak");
    let secret = text("/Credentials/AccessKeySecret");
    assert!(grant.secret.matches(secret.as_bytes()));
    assert_eq!(
        grant.policy.as_deref(),
        Some(r#"{"Version":"1","Statement":[]}"#)
    );
    let ended = sessions.open(token.as_bytes(), &key_id, NOW + 900);
    assert_eq!(ended.map(|_| ()), Err(VerifyError::SecurityTokenExpired));

    let shown = format!("{answer:?} {session:?}");
    assert!(!shown.contains(&secret) && !shown.contains(&token));
}

#[test]
fn answers_come_in_the_format_of_the_style_or_as_asked() {
    let service = service();
    let answer = rpc("GET", "HMAC-SHA1", &[]).send(&service);
    assert_eq!(answer.content_type, "text/xml;charset=utf-8");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("<AssumeRoleResponse><RequestId>"), "{text}");
    assert!(text.contains("<Credentials><AccessKeyId>STS."), "{text}");
    json(&rpc("GET", "HMAC-SHA1", &[("Format", "JSON")]).send(&service));
    json(&signed(&USUAL).send(&service));
    let answer = signed(&[USUAL[0], USUAL[1], ("Format", "xml")]).send(&service);
    assert_eq!(answer.content_type, "text/xml;charset=utf-8");
    let strange = signed(&[USUAL[0], USUAL[1], ("Format", "yaml")]);
    assert_eq!(strange.code(&service), "InvalidParameter");

    let mut call = signed(&USUAL);
    call.header("host", "sts.example.com");
    let error = json(&call.send(&service));
    assert_eq!(error["HostId"], "sts.example.com");
    assert_eq!(error["Code"], "SignatureDoesNotMatch");
    for name in ["RequestId", "Message", "Recommend"] {
        assert!(
            error[name].as_str().is_some_and(|text| !text.is_empty()),
            "{error}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table with a row for each rule")]
fn every_parameter_is_checked() {
    let service = service();
    let with_id = "acs:ram::123:role/with-id";
    let long_name = "n".repeat(65);
    let (fits, too_long) = (
        format!("{{{}", "p".repeat(2047)),
        format!("{{{}", "p".repeat(2048)),
    );
    let long_id = "i".repeat(1225);
    let name = USUAL[1];
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&USUAL, ""),
        (&[name], "MissingRoleArn"),
        (&[("RoleArn", ""), name], "MissingRoleArn"),
        (&[USUAL[0]], "MissingRoleSessionName"),
        (&[("RoleArn", "sls"), name], "InvalidParameter.RoleArn"),
        (
            &[("RoleArn", "acs:ram::123:role/a/b"), name],
            "InvalidParameter.RoleArn",
        ),
        (
            &[("RoleArn", "acs:ram::x:role/a"), name],
            "InvalidParameter.RoleArn",
        ),
        (
            &[("RoleArn", "acs:ram::123:role/none"), name],
            "EntityNotExist.Role",
        ),
        (
            &[USUAL[0], ("RoleSessionName", "a")],
            "InvalidParameter.RoleSessionName",
        ),
        (
            &[USUAL[0], ("RoleSessionName", "a b")],
            "InvalidParameter.RoleSessionName",
        ),
        (
            &[USUAL[0], ("RoleSessionName", "é1")],
            "InvalidParameter.RoleSessionName",
        ),
        (
            &[USUAL[0], ("RoleSessionName", &long_name)],
            "InvalidParameter.RoleSessionName",
        ),
        (&[USUAL[0], ("RoleSessionName", "a@b.c-d_e")], ""),
        (&[USUAL[0], name, ("DurationSeconds", "900")], ""),
        (&[USUAL[0], name, ("DurationSeconds", "7200")], ""),
        (
            &[USUAL[0], name, ("DurationSeconds", "899")],
            "InvalidParameter.DurationSeconds",
        ),
        (
            &[USUAL[0], name, ("DurationSeconds", "7201")],
            "InvalidParameter.DurationSeconds",
        ),
        (
            &[USUAL[0], name, ("DurationSeconds", "+900")],
            "InvalidParameter.DurationSeconds",
        ),
        (
            &[USUAL[0], name, ("DurationSeconds", "")],
            "InvalidParameter.DurationSeconds",
        ),
        (
            &[USUAL[0], name, ("DurationSeconds", "99999999999999999999")],
            "InvalidParameter.DurationSeconds",
        ),
        (&[USUAL[0], name, ("Policy", &fits)], ""),
        (
            &[USUAL[0], name, ("Policy", &too_long)],
            "InvalidParameter.PolicySize",
        ),
        (
            &[USUAL[0], name, ("Policy", "")],
            "InvalidParameter.PolicySize",
        ),
        (
            &[USUAL[0], name, ("Policy", "x")],
            "InvalidParameter.PolicyGrammar",
        ),
        (&[USUAL[0], name, ("ExternalId", "any-id")], ""),
        (
            &[USUAL[0], name, ("ExternalId", "x")],
            "InvalidParameter.ExternalId",
        ),
        (
            &[USUAL[0], name, ("ExternalId", "a b")],
            "InvalidParameter.ExternalId",
        ),
        (
            &[USUAL[0], name, ("ExternalId", &long_id)],
            "InvalidParameter.ExternalId",
        ),
        (&[("RoleArn", with_id), name], "NoPermission"),
        (
            &[("RoleArn", with_id), name, ("ExternalId", "shop-43")],
            "NoPermission",
        ),
        (&[("RoleArn", with_id), name, ("ExternalId", "shop-42")], ""),
        (&[USUAL[0], name, ("SourceIdentity", "alice")], ""),
    ];
    for (pairs, expected) in cases {
        assert_eq!(signed(pairs).code(&service), *expected, "{pairs:?}");
    }
}

#[test]
fn a_session_lasts_an_hour_unless_the_role_allows_less() {
    let service = service();
    for (pairs, end) in [
        (&USUAL[..], NOW + 3600),
        (
            &[
                ("RoleArn", "acs:ram::123:role/with-id"),
                ("ExternalId", "shop-42"),
                USUAL[1],
            ],
            NOW + 1800,
        ),
    ] {
        let body = json(&signed(pairs).send(&service));
        assert_eq!(body["Credentials"]["Expiration"], iso_date(end));
    }
}

#[test]
fn too_many_calls_are_throttled_and_those_of_others_do_not_count() {
    let few = service_with(|identity| identity.sts.calls_per_second = 3, 1000);
    let forged = sign_acs3(acs3(&USUAL), "server-1", "guessed");
    for _ in 0..20 {
        assert_eq!(forged.code(&few), "SignatureDoesNotMatch");
    }
    let first = signed(&USUAL);
    assert_eq!(first.code(&few), "");
    for _ in 0..20 {
        assert_eq!(first.code(&few), "SignatureNonceUsed");
    }
    let calls: Vec<RpcAnswer> = (0..20).map(|_| signed(&USUAL).send(&few)).collect();
    let throttled = calls.iter().filter(|answer| !answer.issued).count();
    assert!((15..20).contains(&throttled), "{throttled}");
    let answer = calls.iter().find(|answer| !answer.issued).unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.retry_after),
        (503, Some(1000))
    );
    assert_eq!(json(answer)["Code"], "Throttling");

    let none = service_with(|identity| identity.sts.calls_per_second = 0, 1000);
    assert_eq!(signed(&USUAL).code(&none), "Throttling");
}

#[test]
fn when_no_more_nonces_can_be_told_apart_calls_are_throttled() {
    let service = service_with(|identity| identity.sts.calls_per_second = 10_000, 10);
    for _ in 0..10 {
        assert_eq!(signed(&USUAL).code(&service), "");
    }
    assert_eq!(signed(&USUAL).code(&service), "Throttling");
}

#[test]
fn what_is_too_long_is_refused() {
    let service = service();
    let mut call = signed(&USUAL);
    call.body = vec![b'a'; MAX_BODY + 1];
    assert_eq!(call.code(&service), "InvalidParameter");
    let mut call = acs3(&USUAL);
    call.header("x-acs-signature-nonce", &"n".repeat(129));
    assert_eq!(
        sign_acs3(call, "server-1", SECRET).code(&service),
        "IncompleteSignature"
    );
    let mut call = acs3(&USUAL);
    for count in 0..40 {
        let name = HeaderName::from_bytes(format!("x-acs-{count}").as_bytes()).unwrap();
        call.headers.insert(name, HeaderValue::from_static("1"));
    }
    assert_eq!(
        sign_acs3(call, "server-1", SECRET).code(&service),
        "IncompleteSignature"
    );
}

fn new_session<'a>(role: &'a str, name: &'a str, duration: u64, caller: &'a str) -> NewSession<'a> {
    NewSession {
        role_arn: role,
        session_name: name,
        duration,
        caller,
        policy: None,
        unix_seconds: NOW,
    }
}

#[test]
fn credentials_can_be_made_for_someone_who_was_identified_elsewhere() {
    let service = service();
    let issue =
        |role: &str, name: &str, seconds| service.issue(&new_session(role, name, seconds, "alice"));
    let made = issue(ROLE, &session_name_of("alice@example.com/é"), 900).unwrap();
    let sessions = Sessions::<()>::new(Arc::clone(&service.ring));
    let session = sessions
        .open(made.security_token.as_bytes(), &made.access_key_id, NOW)
        .unwrap();
    assert_eq!(session.grant().caller, "alice");
    assert_eq!(session.grant().session_name, "alice@example.com---189d2969");
    assert_eq!(session.grant().expires_at, NOW + 900);
    let code = |result: Result<Credentials, Failure>| result.unwrap_err().code;
    assert_eq!(
        code(issue("acs:ram::1:role/x", "ab", 900)),
        Code::EntityNotExistRole
    );
    assert_eq!(code(issue(ROLE, "a", 900)), Code::InvalidRoleSessionName);
    assert_eq!(code(issue(ROLE, "ab", 7201)), Code::InvalidDurationSeconds);
    let long = "é".repeat(200);
    let made = service.issue(&new_session(ROLE, "ab", 900, &long)).unwrap();
    let session = sessions
        .open(made.security_token.as_bytes(), &made.access_key_id, NOW)
        .unwrap();
    assert_eq!(session.grant().caller.len(), 256);
    let shown = format!("{made:?}");
    assert!(!shown.contains(&made.access_key_secret) && !shown.contains(&made.security_token));
    let json = serde_json::to_value(&made).unwrap();
    let names: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names.len(), 4);
    for name in [
        "AccessKeyId",
        "AccessKeySecret",
        "SecurityToken",
        "Expiration",
    ] {
        assert!(names.contains(&name));
    }
}

#[test]
fn two_texts_have_two_session_names() {
    for own in ["ab", "admin-1", "alice@example.com", &"x".repeat(64)] {
        assert_eq!(session_name_of(own), own);
    }
    let long = "x".repeat(100);
    let others = [
        "",
        "-",
        "a",
        "é",
        "admin/1",
        "admin 1",
        "admin\n1",
        &long[..65],
        &long[..66],
        &long,
    ];
    let mut names: Vec<String> = others.iter().map(|text| session_name_of(text)).collect();
    for name in &names {
        assert!(assume_role::is_session_name(name), "{name}");
        assert!(!others.contains(&name.as_str()));
    }
    assert_eq!(session_name_of("admin/1"), "admin-1-292eed9f");
    assert_eq!(names.last().map(String::len), Some(64));
    names.push(session_name_of("admin-1"));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), others.len() + 1);
}

#[test]
fn a_role_that_no_call_could_assume_as_it_says_is_told() {
    let keys = keys();
    let mut identity = identity();
    identity.roles = vec![
        Role {
            external_id: Some("x".to_owned()),
            max_session_duration: Span::secs(899),
            assumed_by: vec!["nobody".to_owned()],
            ..role("not-an-arn")
        },
        role(ROLE),
        Role {
            max_session_duration: Span::secs(43_201),
            ..role(ROLE)
        },
    ];
    let problems = Roles::load(&identity, &keys).unwrap_err();
    assert_eq!(problems.len(), 6, "{problems:?}");
    assert!(
        problems[0]
            .to_string()
            .contains("acs:ram::{account}:role/{name}")
    );
}
