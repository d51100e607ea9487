//! The API of the embedded store, to access keys and temporary credentials.

use http::Method;
use tollgate::foundation::secret::Secret;
use tollgate::logstore::signature::AccessKey;

use crate::signing::{Call, assume_role, credentials};
use crate::site::{EVENT, ROLE, SECRET, Site, USUAL, VERSIONS, WEB, accepted, key, server_1, with};
use crate::support::{Answer, exchange};

const READER: &str = r#"
[[identity.access_key]]
id = "reader"
secret = "file:{dir}/server-1.secret"
policies = ["read-web"]

[[identity.policy]]
name = "read-web"
document = '''
{"Version": "1", "Statement": [{"Effect": "Allow", "Action": ["log:Get*", "log:List*"],
  "Resource": ["acs:log:local:*:project/sls-webtracking-mini/logstore/web"]}]}
'''
"#;

fn usual() -> String {
    let role = "policies = [\"write-web\"]\nassumed_by";
    let reads = "policies = [\"write-web\", \"read-web\"]\nassumed_by";
    format!("{READER}{}", with(USUAL, &[(role, reads)]))
}

/// The store's own key.
fn own_key(site: &Site) -> AccessKey {
    let path = site.data_dir().join("keys/logstore.key");
    let secret = std::fs::read_to_string(path).unwrap();
    key("tollgate", secret.trim())
}

fn get(site: &Site, key: &AccessKey, path: &str, kind: &str) -> Answer {
    reading(key, path, kind).send(site.logstore.unwrap())
}

fn reading(key: &AccessKey, path: &str, kind: &str) -> Call {
    let mut call = Call::new(key, Method::GET, path);
    if !kind.is_empty() {
        call.query = vec![("type", kind.to_owned()), ("from", "0".to_owned())];
        call.query.push(("to", "4000000000".to_owned()));
    }
    call
}

#[track_caller]
fn denied(answer: &Answer, action: &str, resource: &str) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["errorCode"], "Unauthorized");
    let message = json["errorMessage"].as_str().unwrap();
    let wanted = format!("denied by sts or ram, action: {action}, resource: {resource}");
    assert!(message.starts_with(&wanted), "{message}");
}

#[track_caller]
fn code(answer: &Answer) -> (u16, String) {
    (
        answer.status,
        answer.json()["errorCode"].as_str().unwrap().to_owned(),
    )
}

/// Searches the logstore `web`.
fn search(site: &Site, key: &AccessKey) -> Answer {
    get(site, key, "/logstores/web", "log")
}

#[test]
fn a_key_reads_what_its_policies_allow_and_no_more() {
    let site = Site::start(&usual());
    let (store, reader) = (site.logstore.unwrap(), key("reader", SECRET));
    for version in VERSIONS {
        let call = Call::put(&server_1(), WEB).signed_by(version);
        accepted(&call.send(site.front()));
    }
    site.events(WEB, 2);
    let found = search(&site, &reader);
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(found.json().as_array().unwrap().len(), 2);
    for (path, kind) in [
        ("/logstores/web", ""),
        ("/logstores/web", "histogram"),
        ("/logstores/web/shards", ""),
        ("/logstores/web/shards/0", "cursor"),
    ] {
        for version in VERSIONS {
            let mut call = reading(&reader, path, kind);
            call.version = version;
            let answer = call.send(store);
            assert_eq!(answer.status, 200, "{path} {kind}: {}", answer.text());
        }
    }
    let account = "1234567890123456";
    let project = format!("acs:log:local:{account}:project/sls-webtracking-mini");
    let (web, other) = (
        format!("{project}/logstore/web"),
        format!("{project}/logstore/other"),
    );
    denied(&search(&site, &server_1()), "log:GetLogStoreLogs", &web);
    let answer = get(&site, &reader, "/logstores/other", "log");
    denied(&answer, "log:GetLogStoreLogs", &other);
    denied(&get(&site, &reader, "/", ""), "log:GetProject", &project);
    let all = format!("{project}/logstore/*");
    let answer = get(&site, &reader, "/logstores", "");
    denied(&answer, "log:ListLogStores", &all);
    assert_eq!(site.refused("access_key", "policy_denied"), 4);

    // The own key may do all of it.
    let own = own_key(&site);
    for path in ["/", "/logstores", "/logstores/other"] {
        assert_eq!(get(&site, &own, path, "").status, 200);
    }
}

#[test]
fn only_the_own_key_writes_past_the_front() {
    let site = Site::start(&usual());
    let store = site.logstore.unwrap();
    for path in [
        "/logstores/web",
        "/logstores/web/shards/lb",
        "/logstores/web/track",
    ] {
        let answer = Call::post(&server_1(), path, EVENT).send(store);
        assert_eq!(code(&answer), (401, "Unauthorized".to_owned()), "{path}");
        assert!(answer.text().contains("write through the front"), "{path}");
        assert_eq!(
            Call::post(&own_key(&site), path, EVENT).send(store).status,
            200
        );
    }
    site.events(WEB, 3);
}

#[test]
fn what_is_wrong_is_said_before_the_body_is_read() {
    let site = Site::start(&usual());
    let store = site.logstore.unwrap();
    let (mismatch, unauthorized) = ("SignatureNotMatch", "Unauthorized");
    let question = r#"{"from":0,"to":4000000000}"#;
    let ask = |key: &AccessKey| Call::post(key, "/logstores/web/logs", question);
    let reader = key("reader", SECRET);
    for (bad, wanted) in [
        (
            key("reader", "another-secret-of-the-same-length"),
            (401, mismatch),
        ),
        (key("nobody", SECRET), (401, unauthorized)),
        (key("retired", SECRET), (401, unauthorized)),
        (key("", SECRET), (401, unauthorized)),
        (key("tollgate", SECRET), (401, mismatch)),
    ] {
        // The body never comes: the answer does not wait for it.
        let (head, body) = ask(&bad).wire();
        let length = format!("content-length: {}", body.len());
        let head = head.replace(&length, "content-length: 50000");
        let answer = exchange(store, &head, b"");
        let (status, code) = code(&answer);
        assert_eq!((status, &*code), wanted, "{}", bad.id);
    }
    let late = ask(&reader).aged(16 * 60).send(store);
    assert_eq!(code(&late), (400, "RequestTimeExpired".to_owned()));
    let mut changed = ask(&reader);
    changed.sent = Some(question.replace('0', "1").into());
    assert_eq!(code(&changed.send(store)), (401, mismatch.to_owned()));
    assert_eq!(ask(&reader).send(store).status, 200);
    assert_eq!(site.refused("access_key", "body_digest"), 1);
    assert_eq!(site.refused("access_key", "access_key_disabled"), 1);
}

#[test]
fn temporary_credentials_revocations_and_reloads_count_in_the_store_too() {
    let site = Site::start(&usual());
    let read = |key: &AccessKey| search(&site, key);
    let assume = |name: &str, policy: &[(&str, &str)]| {
        let parameters = [&[("RoleArn", ROLE), ("RoleSessionName", name)], policy].concat();
        credentials(&assume_role(site.front(), &server_1(), &parameters))
    };
    let (one, two) = (assume("device-1", &[]), assume("device-2", &[]));
    let topic = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*",
        "Condition":{"StringEquals":{"tollgate:Topic":"mine"}}}]}"#;
    let narrow = assume("device-3", &[("Policy", topic)]);
    assert_eq!(read(&one).status, 200);
    assert_eq!(read(&two).status, 200);
    // Nobody can tell whose events a reader would see.
    assert_eq!(code(&read(&narrow)), (401, "Unauthorized".to_owned()));
    let mut forged = one.clone();
    forged.security_token = Some(Secret::new("CAISforeign"));
    assert_eq!(code(&read(&forged)), (401, "Unauthorized".to_owned()));

    site.revoke("session", "device-1");
    let answer = read(&one);
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("revoked"), "{}", answer.text());
    assert_eq!(read(&two).status, 200);
    let another = "acs:ram::1234567890123456:role/another";
    site.reload(&with(&usual(), &[(ROLE, another)]));
    let answer = read(&two);
    assert_eq!(answer.status, 401);
    assert!(answer.text().contains("role"), "{}", answer.text());
    assert_eq!(site.refused("sts", "role_unknown"), 1);
    assert_eq!(site.refused("sts", "credential_revoked"), 1);

    let reader = key("reader", SECRET);
    assert_eq!(read(&reader).status, 200);
    let denying = r#"
[[identity.policy]]
name = "nobody-reads"
document = '{"Version":"1","Statement":[{"Effect":"Deny","Action":"log:Get*","Resource":"*"}]}'
"#;
    let denying = format!("{denying}{}", usual());
    let project = "name = \"sls-webtracking-mini\"\n";
    let named = format!("{project}policy = \"nobody-reads\"\n");
    site.reload(&with(&denying, &[(project, &named)]));
    assert_eq!(read(&reader).status, 401);
    site.reload(&usual());
    site.revoke("access_key", "reader");
    assert_eq!(read(&reader).status, 401);
}

#[test]
fn without_a_gateway_the_store_knows_its_own_key_alone() {
    let site = Site::start_with(&usual(), &["--only", "logstore"]);
    let store = site.logstore.unwrap();
    assert_eq!(Call::put(&server_1(), WEB).send(store).status, 401);
    let own = own_key(&site);
    assert_eq!(Call::put(&own, WEB).send(store).status, 200);
    assert_eq!(
        Call::post(&own, "/logstores/web/track", EVENT)
            .send(store)
            .status,
        200
    );
}
