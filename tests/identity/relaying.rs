//! Passthrough: requests signed with the store's own keys, through one `tollgate` to another.

use crate::signing::Call;
use crate::site::{
    EVENT, SECRET, Site, USUAL, VERSIONS, WEB, accepted, counted, key, refused, server_1, with,
};

/// A gateway, the store behind it, and a key that only the store knows.
fn pair() -> (Site, Site, tollgate::logstore::signature::AccessKey) {
    pair_with("")
}

/// The same, with limits.
fn pair_with(limits: &str) -> (Site, Site, tollgate::logstore::signature::AccessKey) {
    let store = Site::start_with(USUAL, &["--only", "logstore"]);
    let secret = std::fs::read_to_string(store.data_dir().join("keys/logstore.key")).unwrap();
    let own = key("tollgate", secret.trim());
    let address = store.logstore.unwrap();
    let sls = format!(
        "kind = \"sls\"\nendpoint = \"http://localhost:{}\"\naddress = \"{address}\"\nregion = \"local\"\naccess_key_id = \"tollgate\"\naccess_key_secret = \"file:{}/keys/logstore.key\"",
        address.port(),
        store.data_dir().display(),
    );
    let web = "name = \"web\"\naccept = [\"access_key\", \"jwt\", \"passthrough\"]";
    let changes = [("kind = \"embedded\"", &*sls), ("name = \"web\"", web)];
    let config = format!("{}\n{limits}", with(USUAL, &changes));
    (Site::start(&config), store, own)
}

fn relayed(site: &Site, outcome: &str) -> u64 {
    counted(
        site,
        "tollgate_requests_relayed_total",
        &[&format!("\"{outcome}\"")],
    )
}

#[test]
fn a_request_signed_for_the_store_is_relayed_and_its_answer_returned() {
    let (site, store, own) = pair();
    for version in VERSIONS {
        let answer = Call::put(&own, WEB).signed_by(version).send(site.front());
        accepted(&answer);
        assert_eq!(answer.header("x-tollgate-relayed"), Some("1"));
        assert_eq!(answer.header("x-tollgate-ack"), Some("logstore"));
        assert_eq!(answer.header("x-log-requestid").unwrap().len(), 24);
    }
    let track = Call::post(&own, "/logstores/web/track", EVENT).send(site.front());
    assert_eq!(
        (track.status, track.header("x-tollgate-relayed")),
        (200, Some("1"))
    );
    // Our own keys are not relayed.
    let ours = site.put(&server_1());
    accepted(&ours);
    assert_eq!(ours.header("x-tollgate-relayed"), None);
    assert_eq!(ours.header("x-tollgate-ack"), Some("memory"));
    store.events(WEB, 4);
    assert_eq!(relayed(&site, "accepted"), 3);
    let of = |kind: &str| {
        let kind = format!("kind=\"{kind}\"");
        counted(&site, "tollgate_credentials_accepted_total", &[&kind])
    };
    assert_eq!((of("passthrough"), of("access_key")), (3, 1));
}

#[test]
fn a_key_that_the_store_does_not_know_is_not_asked_about_twice() {
    let (site, store, own) = pair();
    let unknown = key("LTAI-nobody", SECRET);
    let first = site.put(&unknown);
    assert_eq!(
        (first.status, first.header("x-tollgate-relayed")),
        (401, Some("1"))
    );
    assert_eq!(first.json()["errorCode"], "Unauthorized");
    assert!(first.text().contains("LTAI-nobody"));
    assert_eq!(relayed(&site, "refused"), 1);
    refused(&site.put(&unknown), "relay_key_refused");
    assert_eq!(
        relayed(&site, "refused"),
        1,
        "the store was not asked again"
    );
    assert_eq!(site.refused("passthrough", "relay_key_refused"), 2);

    // A bad signature in the name of a good key locks nobody out.
    let forged = site.put(&key("tollgate", SECRET));
    assert_eq!(
        (forged.status, &forged.json()["errorCode"]),
        (401, &"SignatureNotMatch".into())
    );
    accepted(&site.put(&own));
    store.events(WEB, 1);
}

#[test]
fn what_could_not_be_stored_is_not_relayed_and_a_dead_store_is_told() {
    let (site, store, own) = pair();
    let broken = Call::post(&own, "/logstores/web", "{\"__logs__\":").send(site.front());
    let (status, _, reason) = broken.refusal();
    assert_eq!((status, &*reason), (400, "not_json"));
    assert_eq!(
        (relayed(&site, "accepted"), relayed(&site, "refused")),
        (0, 0)
    );
    refused(
        &Call::put(&key("", SECRET), WEB).send(site.front()),
        "access_key_missing",
    );
    drop(store);
    let (status, code, reason) = site.put(&own).refusal();
    assert_eq!(
        (status, &*code, &*reason),
        (503, "ServerBusy", "relay_unavailable")
    );
    assert_eq!(relayed(&site, "failed"), 1);
}

#[test]
fn a_relayed_request_that_a_limit_would_divert_is_told_how_long_to_wait() {
    let (site, store, own) = pair_with(
        "[[limit]]\nname = \"spill\"\nunit = \"events\"\naction = \"divert\"\ndivert_to = \"other\"\nlogstores = [\"web\"]\nrate = [{ count = 1, per = \"1h\" }]\n",
    );
    accepted(&site.put(&own));
    let diverted = site.put(&own);
    assert_eq!(diverted.status, 403, "{diverted:?}");
    assert_eq!(diverted.header("x-tollgate-limit"), Some("spill"));
    let wait: u64 = diverted.header("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait} s");
    store.events(WEB, 1);
}
