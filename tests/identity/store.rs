//! The API of the embedded store, to access keys and temporary credentials.

use http::Method;
use tollgate::foundation::secret::Secret;
use tollgate::logstore::signature::AccessKey;

use crate::signing::{Call, assume_role, credentials};
use crate::site::{ROLE, SECRET, Site, USUAL, VERSIONS, WEB, key, server_1, with};
use crate::support::Answer;

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
    format!("{READER}{USUAL}")
}

fn get(site: &Site, key: &AccessKey, path: &str, kind: &str) -> Answer {
    let mut call = Call::new(key, Method::GET, path);
    if !kind.is_empty() {
        call.query = vec![("type", kind.to_owned()), ("from", "0".to_owned())];
        call.query.push(("to", "4000000000".to_owned()));
    }
    call.send(site.logstore.unwrap())
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

#[test]
fn a_key_reads_what_its_policies_allow_and_no_more() {
    let site = Site::start(&usual());
    let (store, reader) = (site.logstore.unwrap(), key("reader", SECRET));
    for version in VERSIONS {
        let call = Call::put(&server_1(), WEB).signed_by(version);
        assert_eq!(call.send(site.front()).status, 200);
    }
    site.events(WEB, 2);
    let found = get(&site, &reader, "/logstores/web", "log");
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(found.json().as_array().unwrap().len(), 2);
    for (path, kind) in [
        ("/logstores/web", ""),
        ("/logstores/web", "histogram"),
        ("/logstores/web/shards", ""),
        ("/logstores/web/shards/0", "cursor"),
    ] {
        let answer = get(&site, &reader, path, kind);
        assert_eq!(answer.status, 200, "{path} {kind}: {}", answer.text());
    }
    let account = "1234567890123456";
    let project = format!("acs:log:local:{account}:project/sls-webtracking-mini");
    let (web, other) = (
        format!("{project}/logstore/web"),
        format!("{project}/logstore/other"),
    );
    let write = Call::put(&reader, WEB).send(store);
    denied(&write, "log:PostLogStoreLogs", &web);
    let writer = server_1();
    denied(
        &get(&site, &writer, "/logstores/web", "log"),
        "log:GetLogStoreLogs",
        &web,
    );
    denied(
        &get(&site, &reader, "/logstores/other", "log"),
        "log:GetLogStoreLogs",
        &other,
    );
    denied(&get(&site, &reader, "/", ""), "log:GetProject", &project);
    let all = format!("{project}/logstore/*");
    denied(
        &get(&site, &reader, "/logstores", ""),
        "log:ListLogStores",
        &all,
    );
    assert_eq!(site.refused("access_key", "policy_denied"), 5);

    // The own key may do all of it.
    let own = std::fs::read_to_string(site.data_dir().join("keys/logstore.key")).unwrap();
    let own = key("tollgate", own.trim());
    for path in ["/", "/logstores", "/logstores/other"] {
        assert_eq!(get(&site, &own, path, "").status, 200);
    }
}

#[test]
fn what_is_wrong_is_said_before_the_body_is_read() {
    let site = Site::start(&usual());
    let store = site.logstore.unwrap();
    let (mismatch, unauthorized) = ("SignatureNotMatch", "Unauthorized");
    for (bad, wanted) in [
        (
            key("server-1", "another-secret-of-the-same-length"),
            (401, mismatch),
        ),
        (key("nobody", SECRET), (401, unauthorized)),
        (key("retired", SECRET), (401, unauthorized)),
        (key("", SECRET), (401, unauthorized)),
        (key("tollgate", SECRET), (401, mismatch)),
    ] {
        // The body never comes: the answer does not wait for it.
        let (head, body) = Call::put(&bad, WEB).wire();
        let length = format!("content-length: {}", body.len());
        let head = head.replace(&length, "content-length: 5000000");
        let answer = crate::support::exchange(store, &head, b"");
        let (status, code) = code(&answer);
        assert_eq!((status, &*code), wanted, "{}", bad.id);
    }
    let late = Call::put(&server_1(), WEB).aged(16 * 60).send(store);
    assert_eq!(code(&late), (400, "RequestTimeExpired".to_owned()));
    // Keys of identity write through the front.
    let write = Call::put(&server_1(), WEB).send(store);
    assert!(
        write.text().contains("write through the front"),
        "{}",
        write.text()
    );
    assert_eq!(site.refused("access_key", "access_key_disabled"), 1);
}

#[test]
fn temporary_credentials_revocations_and_reloads_count_in_the_store_too() {
    let site = Site::start(&usual());
    let put = |key: &AccessKey| Call::put(key, WEB).send(site.front());
    let assume = |name: &str, policy: &[(&str, &str)]| {
        let parameters = [&[("RoleArn", ROLE), ("RoleSessionName", name)], policy].concat();
        credentials(&assume_role(site.front(), &server_1(), &parameters))
    };
    let (one, two) = (assume("device-1", &[]), assume("device-2", &[]));
    let topic = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*",
        "Condition":{"StringEquals":{"tollgate:Topic":"mine"}}}]}"#;
    let narrow = assume("device-3", &[("Policy", topic)]);
    assert_eq!(put(&one).status, 200);
    assert_eq!(put(&two).status, 200);
    assert_eq!(put(&narrow).status, 401);
    let mut mine = Call::put(&narrow, WEB);
    mine.body = br#"{"__topic__":"mine","__logs__":[{"k":"v"}]}"#.to_vec();
    assert_eq!(mine.send(site.front()).status, 200);
    // Nobody can tell whose events a reader would see.
    assert_eq!(get(&site, &narrow, "/logstores/web", "log").status, 401);
    let mut forged = one.clone();
    forged.security_token = Some(Secret::new("CAISforeign"));
    assert_eq!(code(&put(&forged)), (401, "Unauthorized".to_owned()));

    site.revoke("session", "device-1");
    let answer = put(&one);
    assert!(answer.text().contains("revoked"), "{}", answer.text());
    assert_eq!(put(&two).status, 200);
    site.reload(&with(
        &usual(),
        &[(ROLE, "acs:ram::1234567890123456:role/another")],
    ));
    let answer = put(&two);
    assert!(answer.text().contains("role"), "{}", answer.text());
    assert_eq!(answer.status, 401);
    assert_eq!(site.refused("sts", "role_unknown"), 1);
    assert_eq!(site.refused("sts", "credential_revoked"), 1);

    site.revoke("access_key", "server-1");
    assert_eq!(put(&server_1()).status, 401);
    assert_eq!(
        get(&site, &key("reader", SECRET), "/logstores/web", "log").status,
        200
    );
    let denying = r#"
[[identity.policy]]
name = "nobody-reads"
document = '{"Version":"1","Statement":[{"Effect":"Deny","Action":"log:Get*","Resource":"*"}]}'
"#;
    let denying = format!("{denying}{}", usual());
    let project = "name = \"sls-webtracking-mini\"\n";
    let denying = with(
        &denying,
        &[(project, &format!("{project}policy = \"nobody-reads\"\n"))],
    );
    site.reload(&denying);
    assert_eq!(
        get(&site, &key("reader", SECRET), "/logstores/web", "log").status,
        401
    );
}

#[test]
fn without_a_gateway_the_store_knows_its_own_key_alone() {
    let site = Site::start_with(&usual(), &["--only", "logstore"]);
    let store = site.logstore.unwrap();
    assert_eq!(Call::put(&server_1(), WEB).send(store).status, 401);
    let own = std::fs::read_to_string(site.data_dir().join("keys/logstore.key")).unwrap();
    let own = key("tollgate", own.trim());
    assert_eq!(Call::put(&own, WEB).send(store).status, 200);
    assert_eq!(
        Call::post(&own, "/logstores/web/track", crate::site::EVENT)
            .send(store)
            .status,
        200
    );
}
