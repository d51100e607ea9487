//! Requests signed with access keys.

use http::{HeaderValue, Method};
use tollgate::config::SignatureVersion::{V1, V4};

use crate::signing::Call;
use crate::site::{
    EVENT, OTHER, SECRET, Site, VERSIONS, WEB, accepted, counted, key, refused, server_1,
};
use crate::support::exchange;

/// LogGroup { Logs: [{ Time: 1, Contents: [{ "k", "v" }] }] }.
const GROUP: &[u8] = b"\x0a\x0a\x08\x01\x12\x06\x0a\x01k\x12\x01v";

#[test]
fn every_scheme_is_taken_on_every_route_that_writes() {
    let site = Site::changed(&[]);
    let mut sent = 0;
    for (version, sha256) in [(V1, false), (V1, true), (V4, false)] {
        let signed = |mut call: Call| {
            (call.version, call.sha256) = (version, sha256);
            call
        };
        let protobuf = |path: &str| {
            let mut call = signed(Call::new(&server_1(), Method::POST, path));
            let kind = HeaderValue::from_static("application/x-protobuf");
            call.headers.insert("content-type", kind);
            call.body = GROUP.to_vec();
            call
        };
        let mut hashed = protobuf("/logstores/web/shards/route");
        hashed.query = vec![("key", "0".repeat(32))];
        let mut get = signed(Call::new(&server_1(), Method::GET, "/logstores/web/track"));
        get.query = vec![("APIVersion", "0.6.0".into()), ("k", "a b&c".into())];
        for call in [
            signed(Call::put(&server_1(), WEB)),
            signed(Call::post(&server_1(), "/logstores/web/shards/lb", EVENT)),
            signed(Call::post(&server_1(), "/logstores/web/track", EVENT)),
            protobuf("/logstores/web"),
            protobuf("/logstores/web/shards/lb"),
            hashed,
            get,
        ] {
            let answer = call.send(site.front());
            assert_eq!(
                answer.status,
                200,
                "{version:?} {}: {}",
                call.path,
                answer.text()
            );
            sent += 1;
        }
    }
    site.events(WEB, sent);
    let accepted = "tollgate_credentials_accepted_total";
    let count = counted(&site, accepted, &["kind=\"access_key\""]);
    assert_eq!(count, sent as u64);
}

#[test]
fn a_wrong_signature_is_told_what_the_server_signs_and_which_line_differs() {
    let site = Site::changed(&[]);
    let wrong = key("server-1", "another-secret-of-the-same-length");
    for version in VERSIONS {
        let answer = Call::put(&wrong, WEB).signed_by(version).send(site.front());
        refused(&answer, "signature_mismatch");
        let json = answer.json();
        assert_eq!(json["errorCode"], "SignatureNotMatch");
        let message = json["errorMessage"].as_str().unwrap();
        assert!(message.contains("POST\n"), "{message}");
        assert!(message.contains("\nx-log-apiversion:0.6.0\n"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
    // A proxy that takes the type of the body away.
    let answer = Call::put(&server_1(), WEB).changing("content-type", "text/plain");
    let mut with_text = answer;
    with_text.headers.remove("content-type");
    let answer = with_text.send(site.front());
    refused(&answer, "signature_mismatch");
    let text = answer.text();
    assert!(
        text.contains("the line `Content-Type` differently"),
        "{text}"
    );
    assert_eq!(site.refused("access_key", "signature_mismatch"), 3);
    site.events(WEB, 0);
}

#[test]
fn what_is_wrong_with_a_signed_request_is_said() {
    let site = Site::changed(&[]);
    let send = |call: Call| call.send(site.front());
    for version in VERSIONS {
        let put = |key| Call::put(&key, WEB).signed_by(version);
        let mut changed = put(server_1());
        changed.sent = Some(EVENT.replace("\"v\"", "\"w\"").into());
        let answer = send(changed);
        refused(&answer, "body_digest");
        assert_eq!(answer.json()["errorCode"], "SignatureNotMatch");
        for age in [16 * 60, -16 * 60] {
            let (status, code, reason) = send(put(server_1()).aged(age)).refusal();
            assert_eq!((status, reason.as_str()), (400, "signature_time"));
            assert_eq!(code, "RequestTimeExpired");
        }
        for age in [14 * 60, -14 * 60] {
            accepted(&send(put(server_1()).aged(age)));
        }
        let answer = send(put(key("nobody", "whatever-secret-that-may-be")));
        refused(&answer, "access_key_unknown");
        assert!(answer.text().contains("AccessKeyId not found: nobody"));
        refused(&send(put(key("retired", SECRET))), "access_key_disabled");
        refused(&send(put(key("", "whatever"))), "access_key_missing");
        let answer = send(put(key("nothing", SECRET)));
        refused(&answer, "policy_denied");
        let elsewhere = send(Call::put(&server_1(), OTHER).signed_by(version));
        refused(&elsewhere, "policy_denied");
        let resource = "project/sls-webtracking-mini/logstore/other";
        let text = elsewhere.text();
        assert!(
            text.contains("denied by sts or ram, action: log:PostLogStoreLogs"),
            "{text}"
        );
        assert!(text.contains(resource), "{text}");
    }
    // One official client sends another size than the body's, where nothing is compressed.
    let mut size = Call::put(&server_1(), WEB);
    size.headers.insert("x-log-bodyrawsize", 7.into());
    accepted(&send(size));
    site.events(WEB, 5);
}

#[test]
fn equal_requests_are_taken_unless_replays_are_refused() {
    let site = Site::changed(&[]);
    let (head, body) = Call::put(&server_1(), WEB).wire();
    for _ in 0..3 {
        accepted(&exchange(site.front(), &head, &body));
    }
    site.events(WEB, 3);

    let strict =
        "[identity.signed]\nrefuse_replays = true\n\n[[identity.access_key]]\nid = \"server-1\"";
    let site = Site::changed(&[("[[identity.access_key]]\nid = \"server-1\"", strict)]);
    let (head, body) = Call::put(&server_1(), WEB).wire();
    accepted(&exchange(site.front(), &head, &body));
    for _ in 0..2 {
        refused(&exchange(site.front(), &head, &body), "signature_replayed");
    }
    accepted(&Call::put(&server_1(), WEB).signed_by(V4).send(site.front()));
    assert_eq!(site.refused("access_key", "signature_replayed"), 2);
    site.events(WEB, 2);
}

#[test]
fn a_body_that_is_left_unsigned_is_taken_unless_that_is_forbidden() {
    let mut call = Call::put(&server_1(), WEB).signed_by(V4);
    call.body = Vec::new();
    call.sent = Some(EVENT.into());
    let site = Site::changed(&[]);
    accepted(&call.send(site.front()));
    let strict =
        "[identity.signed]\nunsigned_bodies = false\n\n[[identity.access_key]]\nid = \"server-1\"";
    let site = Site::changed(&[("[[identity.access_key]]\nid = \"server-1\"", strict)]);
    refused(&call.send(site.front()), "body_digest");
    accepted(&Call::put(&server_1(), WEB).signed_by(V4).send(site.front()));
}

#[test]
fn the_series_of_metrics_do_not_grow_with_names_of_keys() {
    let site = Site::changed(&[]);
    let count = || site.metrics().lines().count();
    let try_one = |n: usize| {
        let unknown = key(&format!("key-{n}"), "whatever-secret-that-may-be");
        refused(&site.put(&unknown), "access_key_unknown");
        refused(&site.bearer(&format!("a{n}.b.c")), "token_malformed");
    };
    // Until refusals are so many in a second that the log leaves some out, which is counted.
    (0..5).for_each(try_one);
    // The second answer says how long the first one took.
    count();
    let before = count();
    (5..20).for_each(try_one);
    assert_eq!(count(), before);
    assert_eq!(site.refused("access_key", "access_key_unknown"), 20);
    assert_eq!(site.refused("jwt", "token_malformed"), 20);
    assert!(!site.metrics().contains("key-7"));
}
