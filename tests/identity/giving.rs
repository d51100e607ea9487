//! `/get_sts_token` and `/session`: a credential for a credential.

use serde_json::json;
use tollgate::gate::identity::NewToken;

use crate::signing::{Call, credentials};
use crate::site::{EVENT, OTHER, ROLE, SHOP, Site, USUAL, WEB, accepted, claims, refused, with};
use crate::support::Answer;

/// The usual configuration, with a role that may write to both logstores and is given out.
fn giving(rules: &str) -> String {
    let text = with(USUAL, &[("logstore/web\"", "logstore/*\"")]);
    format!("[identity.sts_token]\nrole = \"{ROLE}\"\n{rules}\n{text}")
}

fn get(site: &Site, extra: &str) -> Answer {
    let head = format!("GET /get_sts_token HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n");
    site.send(&head, b"")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn routes_that_give_credentials_are_off_by_default() {
    let site = Site::changed(&[]);
    assert_eq!(get(&site, "").refusal().2, "unknown_route");
    let head = "POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let (status, _, reason) = site.send(head, b"").refusal();
    assert_eq!((status, reason.as_str()), (404, "unknown_route"));
}

#[test]
fn temporary_credentials_are_no_more_than_the_token_that_asked_for_them() {
    let site = Site::start(&giving(""));
    refused(&get(&site, ""), "credential_missing");
    refused(&get(&site, &bearer("a.b.c")), "token_malformed");
    let answer = get(&site, &bearer(&site.token()));
    let device = credentials(&answer);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    accepted(&site.put(&device));
    refused(
        &Call::put(&device, OTHER).send(site.front()),
        "policy_denied",
    );
    let only_track = claims(&[("action", json!("log:PutWebTracking"))]);
    let tracking = site.minted(NewToken {
        extra: only_track,
        ..NewToken::default()
    });
    let tracker = credentials(&get(&site, &bearer(&tracking)));
    refused(&site.put(&tracker), "policy_denied");
    accepted(&Call::post(&tracker, "/logstores/web/track", EVENT).send(site.front()));
    let elsewhere = NewToken {
        logstores: &[OTHER],
        ..NewToken::default()
    };
    let other = credentials(&get(&site, &bearer(&site.minted(elsewhere))));
    refused(&site.put(&other), "policy_denied");
    accepted(&Call::put(&other, OTHER).send(site.front()));

    // By a ticket, which takes back what it gave; one with limits would lose them.
    let ticket = site.ticket(&[]);
    let visitor = credentials(&get(&site, &bearer(&ticket)));
    accepted(&site.put(&visitor));
    site.events(WEB, 3);
    site.run_command(&["ticket", "revoke", &site.only_ticket()]);
    refused(&site.put(&visitor), "credential_revoked");
    let once = site.ticket(&["--max-uses", "1"]);
    refused(&get(&site, &bearer(&once)), "ticket_scope");
}

#[test]
fn only_named_kinds_and_origins_get_temporary_credentials() {
    let site = Site::start(&giving(&format!(
        "accept = [\"ticket\"]\nallow_origins = [\"{SHOP}\"]"
    )));
    refused(
        &get(&site, &bearer(&site.token())),
        "credential_not_accepted",
    );
    let ticket = bearer(&site.ticket(&[]));
    let answer = get(&site, &format!("{ticket}Origin: {SHOP}\r\n"));
    credentials(&answer);
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    let strange = get(&site, &format!("{ticket}Origin: https://evil.example\r\n"));
    assert_eq!(
        (strange.status, strange.header("x-tollgate-reason")),
        (401, Some("origin_not_allowed"))
    );
    assert!(!strange.text().contains("AccessKey"));
    let head = "POST /get_sts_token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(site.send(head, b"").status, 405);
}

#[test]
fn open_credentials_are_the_roles_and_too_many_calls_are_turned_away() {
    let site = Site::start(&giving("accept = [\"anonymous\"]\ncalls_per_second = 2"));
    let answers: Vec<Answer> = (0..8).map(|_| get(&site, "")).collect();
    let visitor = credentials(&answers[0]);
    accepted(&site.put(&visitor));
    accepted(&Call::put(&visitor, OTHER).send(site.front()));
    let busy: Vec<&Answer> = answers.iter().filter(|a| a.status != 200).collect();
    assert!(!busy.is_empty() && busy.len() <= 6);
    for answer in busy {
        let (status, code, reason) = answer.refusal();
        assert_eq!(
            (status, &*code, &*reason),
            (503, "ServerBusy", "too_many_calls")
        );
        assert!(answer.header("retry-after").is_some());
    }
}

fn sessions(more: &str) -> String {
    let rules = format!("[identity.session]\nenabled = true\nallow_origins = [\"{SHOP}\"]\n{more}");
    let web = format!("name = \"web\"\nallow_origins = [\"{SHOP}\"]");
    let other = "name = \"other\"\nallow_origins = [\"*\"]";
    let text = with(
        USUAL,
        &[("name = \"web\"", &web), ("name = \"other\"", other)],
    );
    format!("{rules}\n{text}")
}

fn session(site: &Site, method: &str, extra: &str) -> Answer {
    let head = format!(
        "{method} /session HTTP/1.1\r\nHost: localhost\r\nOrigin: {SHOP}\r\nContent-Length: 0\r\n{extra}\r\n"
    );
    site.send(&head, b"")
}

/// Name and value of the cookie that an answer sets.
fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn with_cookie(site: &Site, logstore: &str, cookie: &str, origin: &str) -> Answer {
    site.track(
        logstore,
        &format!("Cookie: {cookie}\r\nOrigin: {origin}\r\n"),
        EVENT,
    )
}

#[test]
fn a_session_writes_for_pages_of_named_origins_and_no_others() {
    let site = Site::start(&sessions(""));
    refused(&session(&site, "POST", ""), "credential_missing");
    let both = NewToken {
        logstores: &[WEB, OTHER],
        ttl_seconds: 100,
        ..NewToken::default()
    };
    let answer = session(&site, "POST", &bearer(&site.minted(both)));
    let opened = cookie(&answer);
    assert!(opened.starts_with("__Host-tollgate="), "{opened}");
    let attributes = answer.header("set-cookie").unwrap();
    for attribute in [
        "Path=/",
        "SameSite=None",
        "Secure",
        "HttpOnly",
        "Partitioned",
        "Expires=",
    ] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert!(!attributes.contains("Domain"));
    // It ends with its token, and not an hour later.
    let age = attributes.split("Max-Age=").nth(1).unwrap();
    let age: u64 = age.split(';').next().unwrap().parse().unwrap();
    assert!((90..=100).contains(&age), "{attributes}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );

    accepted(&with_cookie(&site, WEB, &opened, SHOP));
    refused(
        &with_cookie(&site, WEB, &opened, "https://evil.example"),
        "origin_not_allowed",
    );
    // An origin that only `*` lets in brings no ambient credential.
    refused(
        &with_cookie(&site, OTHER, &opened, SHOP),
        "credential_missing",
    );
    accepted(&site.track(WEB, &format!("Cookie: {opened}\r\n"), EVENT));
    let image = format!("Cookie: {opened}\r\nSec-Fetch-Site: cross-site\r\n");
    refused(&site.track(WEB, &image, EVENT), "credential_missing");
    site.events(WEB, 2);

    let closed = session(&site, "DELETE", "");
    assert_eq!(cookie(&closed), "__Host-tollgate=");
    assert!(closed.header("set-cookie").unwrap().contains("Max-Age=0"));
    let head = "POST /session HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nContent-Length: 0\r\n\r\n";
    refused(&site.send(head, b""), "origin_not_allowed");
}

#[test]
fn a_session_ends_with_the_credential_that_opened_it() {
    let site = Site::start(&sessions(""));
    let token = NewToken {
        id: Some("token-7"),
        ..NewToken::default()
    };
    let of_token = cookie(&session(&site, "POST", &bearer(&site.minted(token))));
    let ticket = site.ticket(&["--ttl", "1h"]);
    let of_ticket = cookie(&session(&site, "POST", &bearer(&ticket)));
    let put = |cookie: &str| with_cookie(&site, WEB, cookie, SHOP);
    accepted(&put(&of_token));
    accepted(&put(&of_ticket));
    site.revoke("jti", "token-7");
    refused(&put(&of_token), "credential_revoked");
    site.run_command(&["ticket", "revoke", &site.only_ticket()]);
    refused(&put(&of_ticket), "credential_revoked");
    site.events(WEB, 2);
}
