//! Temporary credentials: AssumeRole, what they may do, and how they end.

use tollgate::foundation::secret::Secret;
use tollgate::logstore::signature::AccessKey;

use crate::signing::{Call, assume_role, credentials};
use crate::site::{
    EVENT, OTHER, ROLE, SECRET, Site, USUAL, VERSIONS, WEB, accepted, key, refused, server_1, with,
};

const DEVICE: [(&str, &str); 2] = [("RoleArn", ROLE), ("RoleSessionName", "device-001")];

fn assume(site: &Site, more: &[(&str, &str)]) -> AccessKey {
    let parameters = [&DEVICE[..], more].concat();
    credentials(&assume_role(site.front(), &server_1(), &parameters))
}

fn with_token(key: &AccessKey, token: &[u8]) -> AccessKey {
    AccessKey {
        security_token: Some(Secret::new(token.to_vec())),
        ..key.clone()
    }
}

fn token_of(key: &AccessKey) -> Vec<u8> {
    key.security_token.as_ref().unwrap().expose().to_vec()
}

#[test]
fn a_device_writes_with_the_credentials_that_its_server_got() {
    let site = Site::changed(&[]);
    let device = assume(&site, &[]);
    assert!(device.id.starts_with("STS."));
    for version in VERSIONS {
        let call = |logstore| Call::put(&device, logstore).signed_by(version);
        accepted(&call(WEB).send(site.front()));
        refused(&call(OTHER).send(site.front()), "policy_denied");
    }
    site.events(WEB, 2);
    for (key, more, code) in [
        (
            key("server-1", "not-the-secret-of-this-key"),
            "",
            "SignatureDoesNotMatch",
        ),
        (
            key("nobody", "not-the-secret-of-this-key"),
            "",
            "InvalidAccessKeyId.NotFound",
        ),
        (key("nothing", SECRET), "", "NoPermission"),
        (
            server_1(),
            "acs:ram::1234567890123456:role/other",
            "EntityNotExist.Role",
        ),
    ] {
        let role = if more.is_empty() { ROLE } else { more };
        let answer = assume_role(
            site.front(),
            &key,
            &[("RoleArn", role), ("RoleSessionName", "device-001")],
        );
        assert!(answer.status >= 400);
        assert_eq!(answer.json()["Code"], code);
        assert!(!answer.text().contains(SECRET));
    }
    assert_eq!(site.metric("tollgate_sts_credentials_issued_total"), 1);
}

#[test]
fn credentials_count_only_as_they_were_given() {
    let site = Site::changed(&[]);
    let (one, two) = (assume(&site, &[]), assume(&site, &[]));
    let token = token_of(&one);
    for at in [0, 5, token.len() / 2, token.len() - 1] {
        let mut flipped = token.clone();
        flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
        let answer = site.put(&with_token(&one, &flipped));
        refused(&answer, "security_token_invalid");
    }
    refused(
        &site.put(&with_token(&two, &token)),
        "security_token_invalid",
    );
    let mut bare = one.clone();
    bare.security_token = None;
    refused(&site.put(&bare), "security_token_invalid");
    let mut forged = one.clone();
    forged.secret = two.secret.clone();
    refused(&site.put(&forged), "signature_mismatch");
    accepted(&site.put(&one));
    site.events(WEB, 1);
}

#[test]
fn a_session_policy_narrows_the_role_also_by_what_stands_in_the_body() {
    let site = Site::changed(&[]);
    let policy = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"log:PutLogs","Resource":"*",
        "Condition":{"StringEquals":{"tollgate:Topic":"device-001"}}}]}"#;
    let device = assume(&site, &[("Policy", policy)]);
    let put = |topic: &str| {
        let body = EVENT.replace("\"t\"", &format!("\"{topic}\""));
        Call::post(&device, "/logstores/web", &body).send(site.front())
    };
    accepted(&put("device-001"));
    refused(&put("device-002"), "policy_denied");
    refused(
        &Call::put(&device, OTHER).send(site.front()),
        "policy_denied",
    );
    refused(
        &Call::post(&device, "/logstores/web/track", EVENT).send(site.front()),
        "policy_denied",
    );
    let events = site.events(WEB, 1);
    assert_eq!(events[0]["__topic__"], "device-001");
    assert_eq!(site.refused("sts", "policy_denied"), 3);

    let bad = [&DEVICE[..], &[("Policy", "{\"Version\":\"1\"}")]].concat();
    let answer = assume_role(site.front(), &server_1(), &bad);
    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[test]
fn a_role_that_is_gone_takes_its_credentials_with_it() {
    let site = Site::changed(&[]);
    let device = assume(&site, &[]);
    accepted(&site.put(&device));
    let other = with(USUAL, &[(ROLE, "acs:ram::1234567890123456:role/another")]);
    site.reload(&other);
    refused(&site.put(&device), "role_unknown");
    site.reload(USUAL);
    accepted(&site.put(&device));
    let narrowed = with(
        USUAL,
        &[(
            "policies = [\"write-web\"]\nassumed_by",
            "policies = []\nassumed_by",
        )],
    );
    site.reload(&narrowed);
    refused(&site.put(&device), "policy_denied");
    site.events(WEB, 2);
}

#[test]
fn keys_of_security_tokens_are_rotated_without_a_break() {
    let ring = |keys: &str| format!("[identity.sts]\nkeys = [{keys}]\n{USUAL}");
    let (old, new) = ("\"file:{dir}/sts-old\"", "\"file:{dir}/sts-new\"");
    let site = Site::start(USUAL);
    site.file("sts-old", "the-old-key-of-security-tokens-000");
    site.file("sts-new", "the-new-key-of-security-tokens-111");
    site.reload(&ring(old));
    let first = assume(&site, &[]);
    accepted(&site.put(&first));
    site.reload(&ring(&format!("{new}, {old}")));
    let second = assume(&site, &[]);
    accepted(&site.put(&first));
    accepted(&site.put(&second));
    site.reload(&ring(new));
    refused(&site.put(&first), "security_token_invalid");
    accepted(&site.put(&second));
    site.events(WEB, 4);
}

#[test]
fn a_reload_with_a_mistake_changes_nothing_and_says_so() {
    let site = Site::changed(&[]);
    accepted(&site.put(&server_1()));
    site.configure(&with(USUAL, &[("\"Allow\"", "\"Alow\"")]));
    let output = site.command(&["revoke", "list"]);
    assert!(output.status.success());
    let admin = std::fs::read_to_string(site.data_dir().join("keys/admin.key")).unwrap();
    let head = format!(
        "POST /api/v1/reload HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\r\n",
        site.admin,
        admin.trim()
    );
    let answer = crate::support::exchange(site.admin, &head, b"");
    assert!(answer.status >= 400, "{}", answer.text());
    assert!(
        answer.text().contains("/Statement/0/Effect"),
        "{}",
        answer.text()
    );
    accepted(&site.put(&server_1()));
    site.events(WEB, 2);
}
