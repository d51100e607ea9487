//! Revocations of every kind: within a second, for credentials in use, and over a kill.

use std::time::{Duration, Instant};

use tollgate::gate::identity::NewToken;
use tollgate::logstore::signature::AccessKey;

use crate::signing::{assume_role, credentials};
use crate::site::{ROLE, Site, USUAL, accepted, refused, server_1};
use crate::support::Answer;

fn assume(site: &Site, name: &str) -> AccessKey {
    let parameters = [("RoleArn", ROLE), ("RoleSessionName", name)];
    credentials(&assume_role(site.front(), &server_1(), &parameters))
}

/// Revokes what was good until now, and waits at most a second until it is refused.
#[track_caller]
fn taken_back(site: &Site, kind: &str, value: &str, send: impl Fn() -> Answer) {
    accepted(&send());
    site.revoke(kind, value);
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut answer = send();
    while answer.status == 200 && Instant::now() < deadline {
        answer = send();
    }
    refused(&answer, "credential_revoked");
}

#[test]
fn every_kind_is_taken_back_at_once_and_stays_so() {
    let mut site = Site::start(USUAL);
    let of = |subject: &'static str, id: &'static str| {
        site.minted(NewToken {
            subject: Some(subject),
            id: Some(id),
            ..NewToken::default()
        })
    };
    let (by_subject, by_jti, fine) = (of("ann", "1"), of("bob", "2"), of("cy", "3"));
    let (one, two, three) = (
        assume(&site, "d-1"),
        assume(&site, "d-2"),
        assume(&site, "d-3"),
    );
    let ticket = site.ticket(&[]);
    let id = site.only_ticket();

    taken_back(&site, "subject", "ann", || site.bearer(&by_subject));
    taken_back(&site, "jti", "2", || site.bearer(&by_jti));
    accepted(&site.bearer(&fine));
    taken_back(&site, "session", "d-1", || site.put(&one));
    taken_back(&site, "access_key", &two.id, || site.put(&two));
    accepted(&site.put(&three));
    taken_back(&site, "role", ROLE, || site.put(&three));
    taken_back(&site, "access_key", "server-1", || site.put(&server_1()));
    taken_back(&site, "ticket", &id, || site.bearer(&ticket));
    taken_back(&site, "kid", "quickstart", || site.bearer(&fine));

    site.restart();
    for token in [&by_subject, &by_jti, &fine, &ticket] {
        refused(&site.bearer(token), "credential_revoked");
    }
    for key in [&one, &two, &three, &server_1()] {
        refused(&site.put(key), "credential_revoked");
    }
    assert_eq!(site.refused("sts", "credential_revoked"), 3);
    assert_eq!(site.refused("jwt", "credential_revoked"), 3);
    assert_eq!(site.refused("access_key", "credential_revoked"), 1);
    assert_eq!(site.refused("ticket", "credential_revoked"), 1);

    site.run_command(&["revoke", "lift", "access_key", "server-1"]);
    accepted(&site.put(&server_1()));
}

#[test]
fn a_revoked_server_takes_the_credentials_that_it_got_along() {
    let site = Site::start(USUAL);
    let device = assume(&site, "device");
    taken_back(&site, "access_key", "server-1", || site.put(&device));
}

#[test]
fn sessions_of_a_role_so_far_are_withdrawn_and_new_ones_taken() {
    let site = Site::start(USUAL);
    let before = assume(&site, "before");
    accepted(&site.put(&before));
    // Times are whole seconds: what is made in this one may count as before.
    std::thread::sleep(Duration::from_millis(1100));
    site.run_command(&["revoke", "add", "role", ROLE, "--issued-before", "now"]);
    refused(&site.put(&before), "credential_revoked");
    std::thread::sleep(Duration::from_millis(1100));
    accepted(&site.put(&assume(&site, "after")));
}
