//! A stop, as load balancers and people see it.

use std::time::{Duration, Instant};

use super::{config, private};
use crate::support::{OPEN, Tollgate};

const EVENT: &[u8] = br#"{"__logs__":[{"event":"view"}]}"#;

#[test]
fn readiness_ends_before_the_listener_closes() {
    let text = config("").replace("[ingest]", "[ingest]\ndrain_delay = \"3s\"");
    let mut tollgate = Tollgate::start_config(&text);
    let progress = private(&tollgate, "/drain", "").json();
    assert_eq!(progress["stage"], "serving");
    assert!(progress.get("deadline").is_none(), "{progress}");
    assert_eq!(private(&tollgate, "/readyz", "").status, 200);
    tollgate.signal("-TERM");
    let deadline = Instant::now() + Duration::from_secs(2);
    while private(&tollgate, "/readyz", "").status == 200 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    // New connections are taken, and what they bring is kept.
    assert_eq!(tollgate.track(OPEN, "", EVENT).status, 200);
    let progress = private(&tollgate, "/drain", "").json();
    assert_eq!(progress["stage"], "not_ready", "{progress}");
    assert!(
        progress["millisecondsLeft"].as_u64().unwrap() > 20_000,
        "{progress}"
    );
    assert_eq!(progress["eventsInMemory"], 1, "{progress}");
    let metrics = tollgate.metrics();
    assert!(
        metrics.contains("tollgate_drain_stage{stage=\"not_ready\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("tollgate_drain_deadline_timestamp_seconds "));
    assert!(tollgate.wait().success(), "{}", tollgate.stderr());
}

#[test]
fn the_progress_of_a_stop_is_told_while_the_store_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret").unwrap();
    // Nothing listens there.
    let text = config("")
        .replace("kind = \"embedded\"", "kind = \"sls\"\nendpoint = \"http://127.0.0.1:1\"\nregion = \"cn-x\"\naccess_key_id = \"id\"\naccess_key_secret = \"file:SECRET\"")
        .replace("SECRET", secret.to_str().unwrap())
        + "\n[delivery]\nstop_deadline = \"4s\"\n[spool]\nenabled = false\n";
    let mut tollgate = Tollgate::start_config(&text);
    assert_eq!(tollgate.track(OPEN, "", EVENT).status, 200);
    tollgate.signal("-TERM");
    let deadline = Instant::now() + Duration::from_secs(3);
    let progress = loop {
        let progress = private(&tollgate, "/drain", "").json();
        if progress["stage"] == "delivering" {
            break progress;
        }
        assert!(Instant::now() < deadline, "{progress}");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(progress["eventsInMemory"], 1, "{progress}");
    assert_eq!(progress["connections"], 0, "{progress}");
    // Lost, and said so by the exit code.
    assert_eq!(tollgate.wait().code(), Some(75));
}
