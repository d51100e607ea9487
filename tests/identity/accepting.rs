//! Which kinds of credential a logstore takes, and what becomes of the others.

use serde_json::Value;

use crate::signing::Call;
use crate::site::{EVENT, OTHER, Site, USUAL, WEB, accepted, counted, key, refused, server_1};

fn accepting(kinds: &str) -> Site {
    let web = format!("name = \"web\"\naccept = [{kinds}]");
    Site::changed(&[("name = \"web\"", &web)])
}

#[test]
fn before_anonymous_in_the_list_a_bad_token_is_refused_and_none_is_taken() {
    let site = accepting("\"jwt\", \"anonymous\"");
    accepted(&site.track(WEB, "", EVENT));
    accepted(&site.bearer(&site.token()));
    let header = "Authorization: Bearer not.a.token\r\n";
    refused(&site.track(WEB, header, EVENT), "token_malformed");
    let in_body = EVENT.replace("\"app\"", "\"__token__\":\"not.a.token\",\"app\"");
    refused(&site.track(WEB, "", in_body), "token_malformed");
    // A signature is no credential here: the logstore is open to whoever sends it.
    accepted(&site.put(&server_1()));
    let of = |kind: &str| {
        let kind = format!("kind=\"{kind}\"");
        counted(&site, "tollgate_credentials_accepted_total", &[&kind])
    };
    assert_eq!((of("anonymous"), of("jwt"), of("access_key")), (2, 1, 0));
    site.events(WEB, 3);
}

#[test]
fn kinds_that_are_not_in_the_list_are_refused() {
    let site = accepting("\"access_key\"");
    accepted(&site.put(&server_1()));
    refused(&site.bearer(&site.token()), "credential_not_accepted");
    refused(&site.bearer(&site.ticket(&[])), "credential_not_accepted");
    refused(&site.track(WEB, "", EVENT), "credential_missing");
    refused(
        &site.put(&key("nobody", "whatever-secret-that-may-be")),
        "access_key_unknown",
    );
    let site = accepting("\"jwt\"");
    refused(&site.put(&server_1()), "credential_not_accepted");
    refused(
        &site.put(&key("nobody", "whatever-secret-that-may-be")),
        "credential_not_accepted",
    );
    accepted(&site.bearer(&site.token()));
    site.events(WEB, 1);
}

#[test]
fn two_credentials_that_a_client_chose_are_ambiguous() {
    let site = Site::changed(&[]);
    let token = site.token();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let body = EVENT.replace("\"app\"", &format!("\"__token__\":\"{token}\",\"app\""));
    refused(&site.track(WEB, &bearer, body), "token_ambiguous");
    let path = format!("/t/{token}/logstores/web/track?k=v&token={token}");
    refused(&site.get(&path), "token_ambiguous");
    let mut signed = Call::new(&server_1(), http::Method::GET, "/logstores/web/track");
    signed.query = vec![("k", "v".to_owned()), ("token", token.clone())];
    refused(&signed.send(site.front()), "token_ambiguous");
    signed.query.pop();
    accepted(&signed.send(site.front()));
    let cookie = format!("Cookie: tollgate_token={token}\r\n");
    accepted(&site.track(WEB, &format!("{bearer}{cookie}"), EVENT));
    site.events(WEB, 2);
}

#[test]
fn a_logstore_that_observes_takes_and_counts_what_it_would_refuse() {
    let web = "name = \"web\"\nidentity_mode = \"observe\"";
    let site = Site::changed(&[("name = \"web\"", web)]);
    accepted(&site.track(WEB, "", EVENT));
    accepted(&site.bearer("not.a.token"));
    accepted(&site.put(&key("server-1", "another-secret-of-the-same-length")));
    let mut changed = Call::put(&server_1(), WEB);
    changed.sent = Some(EVENT.replace("\"v\"", "\"w\"").into());
    accepted(&changed.send(site.front()));
    let header = format!("Authorization: Bearer {}\r\n", site.token());
    accepted(&site.track(WEB, &header, EVENT));
    let reasons = [
        "credential_missing",
        "token_malformed",
        "signature_mismatch",
        "body_digest",
    ];
    for reason in reasons {
        let label = format!("reason=\"{reason}\"");
        let name = "tollgate_requests_observed_total";
        assert_eq!(
            counted(&site, name, &[&label, "logstore=\"web\""]),
            1,
            "{reason}"
        );
    }
    // What is no credential's fault is refused as ever.
    let (status, _, reason) = site.track(WEB, "", "{\"__logs__\":").refusal();
    assert_eq!((status, &*reason), (400, "not_json"));
    refused(&site.track(OTHER, "", EVENT), "credential_missing");
    site.events(WEB, 5);
}

#[test]
fn refusals_become_events_of_the_security_logstore() {
    let rules = "[security_events]\nproject = \"sls-webtracking-mini\"\nlogstore = \"security\"\n";
    let security = "[[project.logstore]]\nname = \"security\"\naccept = []\n";
    let site = Site::start(&format!("{rules}{USUAL}{security}"));
    let wrong = key("server-1", "another-secret-of-the-same-length");
    refused(&site.put(&wrong), "signature_mismatch");
    let token = site.token();
    refused(
        &site.track(OTHER, &format!("Authorization: Bearer {token}\r\n"), EVENT),
        "token_scope",
    );
    site.revoke("access_key", "server-1");
    refused(&site.put(&server_1()), "credential_revoked");
    let (status, ..) = site.track(WEB, "", "{").refusal();
    assert_eq!(status, 400);
    let events = site.events("security", 3);
    let find =
        |class: &str| -> &Value { events.iter().find(|event| event["event"] == class).unwrap() };
    let logon = find("failed_logon");
    for (name, value) in [
        ("reason", "signature_mismatch"),
        ("credential", "access_key"),
        ("key", "server-1"),
        ("project", "sls-webtracking-mini"),
        ("logstore", "web"),
        ("client_ip", "127.0.0.1"),
        ("route", "put_logs"),
    ] {
        assert_eq!(logon[name], value, "{name} of {logon}");
    }
    assert_eq!(find("policy_denied")["reason"], "token_scope");
    assert_eq!(find("revoked_credential")["key"], "server-1");
    assert!(!format!("{events:?}").contains(&token));
}
