//! Calls of the token service, signed in both ways, and what becomes of them.

use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::*;
use crate::config::{Config, Role};
use crate::foundation::secret::Secret;
use crate::foundation::units::Span;
use crate::gate::identity::access_keys::LongLivedKey;
use crate::logstore::signature::{VerifyError, iso_date};

/// 2026-11-21T23:56:33Z.
const NOW: u64 = 1_795_305_393;
const ROLE: &str = "acs:ram::123:role/sls-web-tracking";
const SECRET: &str = "the secret of server-1";

fn role(arn: &str) -> Role {
    Role {
        arn: arn.to_owned(),
        policies: vec!["write-web".to_owned()],
        assumed_by: vec!["ak".to_owned(), "server-1".to_owned()],
        external_id: None,
        max_session_duration: Span::secs(7200),
    }
}

fn keys() -> Arc<AccessKeys> {
    let key = |id: &str, enabled| {
        let secret = Secret::new(format!("the secret of {id}"));
        LongLivedKey::new(id, secret, Vec::new(), enabled)
    };
    let keys = [
        Ok(LongLivedKey::of_vector("ak", "sk")),
        key("server-1", true),
        key("server-2", true),
        key("disabled", false),
    ];
    Arc::new(AccessKeys::collect(keys).unwrap())
}

fn identity() -> Identity {
    let mut identity = Config::quickstart().identity;
    let with_id = Role {
        external_id: Some("shop-42".to_owned()),
        max_session_duration: Span::secs(1800),
        ..role("acs:ram::123:role/with-id")
    };
    identity.roles = vec![role(ROLE), with_id];
    identity
}

fn service_with(change: impl FnOnce(&mut Identity), most: usize) -> TokenService {
    let mut identity = identity();
    change(&mut identity);
    let (keys, window) = (keys(), identity.signed.window.get());
    TokenService::new(
        &identity,
        Arc::new(KeyRing::new(&[Secret::new("k".repeat(32))]).unwrap()),
        Arc::clone(&keys),
        Roles::load(&identity, &keys).unwrap(),
        Arc::new(ReplayWindow::new(window, most)),
        Box::new(|policy| match policy.starts_with('{') {
            true => Ok(()),
            false => Err("it is not JSON".to_owned()),
        }),
    )
}

fn service() -> TokenService {
    service_with(|identity| identity.sts.calls_per_second = 10_000, 10_000)
}

fn enc(text: &str) -> String {
    let text = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    [("%2D", "-"), ("%5F", "_"), ("%2E", "."), ("%7E", "~")]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", enc(name), enc(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A call that can be changed before it is sent.
#[derive(Clone, Debug)]
struct Call {
    method: &'static str,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Vec<u8>,
    now: u64,
}

impl Call {
    fn send(&self, service: &TokenService) -> RpcAnswer {
        service.call(&RpcRequest {
            method: self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
            unix_seconds: self.now,
        })
    }

    fn header(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    /// The code of the answer; empty for a success.
    fn code(&self, service: &TokenService) -> String {
        let answer = self.send(service);
        assert_eq!(answer.issued, answer.status == 200);
        let code = answer.failure.map(|(code, _)| code.as_str().into_owned());
        code.unwrap_or_default()
    }
}

/// A nonce that was never used.
fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

const USUAL: [(&str, &str); 2] = [("RoleArn", ROLE), ("RoleSessionName", "device-001")];

/// A call of the newer style, not signed yet.
fn acs3(pairs: &[(&str, &str)]) -> Call {
    let mut call = Call {
        method: "POST",
        path: "/".to_owned(),
        query: query(pairs),
        headers: HeaderMap::new(),
        body: Vec::new(),
        now: NOW,
    };
    call.header("host", "127.0.0.1:18999")
        .header("user-agent", "test")
        .header("x-acs-action", "AssumeRole")
        .header("x-acs-version", "2015-04-01")
        .header("x-acs-date", &iso_date(NOW))
        .header("x-acs-signature-nonce", &nonce());
    call
}

/// Signs as the newer clients do, all headers.
fn sign_acs3(mut call: Call, key_id: &str, secret: &str) -> Call {
    let hash = mac::hex(&mac::sha256(&call.body));
    call.header("x-acs-content-sha256", &hash);
    let mut names: Vec<&str> = call.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let value = |name: &str| call.headers[name].to_str().unwrap().to_owned();
    let lines: String = names
        .iter()
        .map(|name| format!("{name}:{}\n", value(name)))
        .collect();
    let (method, path, query, names) = (call.method, &call.path, &call.query, names.join(";"));
    let text = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
    let text = format!(
        "ACS3-HMAC-SHA256\n{}",
        mac::hex(&mac::sha256(text.as_bytes()))
    );
    let signature = mac::hex(&mac::hmac_sha256(secret.as_bytes(), &[text.as_bytes()]));
    let authorization =
        format!("ACS3-HMAC-SHA256 Credential={key_id},SignedHeaders={names},Signature={signature}");
    call.header("authorization", &authorization);
    call
}

fn signed(pairs: &[(&str, &str)]) -> Call {
    sign_acs3(acs3(pairs), "server-1", SECRET)
}

/// A call of the older style, signed; `more` goes before the usual parameters.
fn rpc(method: &'static str, hash: &str, more: &[(&str, &str)]) -> Call {
    let (nonce, date) = (nonce(), iso_date(NOW));
    let usual = [
        ("Action", "AssumeRole"),
        ("Version", "2015-04-01"),
        ("AccessKeyId", "server-1"),
        ("SignatureMethod", hash),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", &nonce),
        ("Timestamp", &date),
        USUAL[0],
        USUAL[1],
    ];
    let mut pairs = more.to_vec();
    for (name, value) in usual {
        if !pairs.iter().any(|(other, _)| *other == name) {
            pairs.push((name, value));
        }
    }
    pairs.retain(|(_, value)| *value != "(none)");
    let all = query(&pairs);
    let text = format!("{method}&%2F&{}", enc(&all));
    let key = format!("{SECRET}&");
    let mac = match hash {
        "HMAC-SHA256" => mac::hmac_sha256(key.as_bytes(), &[text.as_bytes()]).to_vec(),
        _ => mac::hmac_sha1(key.as_bytes(), &[text.as_bytes()]).to_vec(),
    };
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac);
    let mut call = Call {
        method,
        path: "/".to_owned(),
        query: format!("{all}&Signature={}", enc(&signature)),
        headers: HeaderMap::new(),
        body: Vec::new(),
        now: NOW,
    };
    call.header("host", "sts.example.com");
    call
}

fn json(answer: &RpcAnswer) -> Value {
    assert!(answer.content_type.starts_with("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

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
    for name in [
        "host",
        "user-agent",
        "x-acs-signature-nonce",
        "x-acs-content-sha256",
    ] {
        check(
            name,
            &|call| {
                call.header(name, "e3b0c4");
            },
            mismatch,
        );
    }
    let date = iso_date(NOW + 1);
    check(
        "date",
        &|call| {
            call.header("x-acs-date", &date);
        },
        mismatch,
    );
    check(
        "removed",
        &|call| {
            call.headers.remove("user-agent");
        },
        "IncompleteSignature",
    );
    check(
        "action",
        &|call| {
            call.header("x-acs-action", "GetCallerIdentity");
        },
        mismatch,
    );
    check(
        "version",
        &|call| {
            call.header("x-acs-version", "2015-04-02");
        },
        "InvalidVersion",
    );
    check(
        "added",
        &|call| {
            call.header("x-acs-other", "1");
        },
        "IncompleteSignature",
    );
    check(
        "twice",
        &|call| {
            call.headers
                .append("x-acs-action", HeaderValue::from_static("AssumeRole"));
        },
        "IncompleteSignature",
    );
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
    // A body whose type is not signed could be read in two ways.
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
    assert_eq!(session.grant().session_name, "alice@example.com--");
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
    assert_eq!(session_name_of(""), "--");
    assert_eq!(session_name_of(&"x".repeat(100)).len(), 64);
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
