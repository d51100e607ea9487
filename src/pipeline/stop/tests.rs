//! Stops while something hangs.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::config::Ack;
use crate::pipeline::StopReport;
use crate::pipeline::lane_spool::gate::Gate;
use crate::pipeline::scripted_store::{Answer, ScriptedStore};
use crate::pipeline::spool::RealFiles;
use crate::pipeline::testing::{Running, Setup, lane_to, log_on, some_events};

const IMPATIENCE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_disk_that_hangs_is_told_by_what_it_does_not_have() {
    let (folder, gate) = (TempDir::new().unwrap(), Gate::new());
    let store = ScriptedStore::start(|_| Answer::HangUp).await;
    let setup = Setup::never_old();
    let mut spec = lane_to(store.address, &setup);
    let (_directory, log) = log_on(Arc::<Gate>::clone(&gate), folder.path(), 1 << 30);
    (spec.log, spec.ack) = (Some(log), Ack::Disk);
    let running = Running::of(&setup, vec![spec]);
    let synced = running.hand_over(0, &some_events("a", 10)).unwrap();
    synced.settled().await.unwrap();
    gate.set(true);
    let waiting = running.hand_over(0, &some_events("b", 3)).unwrap();
    let report = running.stop(IMPATIENCE).await;
    let expected = StopReport {
        lost: 3,
        on_disk: 10,
        ..StopReport::default()
    };
    assert_eq!(report, expected);
    gate.set(false);
    waiting.settled().await.unwrap();
}

#[tokio::test]
async fn a_part_that_hangs_keeps_no_lane_from_its_disk() {
    let folder = TempDir::new().unwrap();
    let store = ScriptedStore::start(|_| Answer::HangUp).await;
    let setup = Setup::never_old();
    let mut spec = lane_to(store.address, &setup);
    let (_directory, log) = log_on(Arc::new(RealFiles), folder.path(), 1 << 30);
    spec.log = Some(log);
    let running = Running::of(&setup, vec![spec]);
    running.submit(0, &some_events("a", 10)).unwrap();
    running.pipeline.spawn(pending());
    let report = running.stop(IMPATIENCE).await;
    let expected = StopReport {
        on_disk: 10,
        ..StopReport::default()
    };
    assert_eq!(report, expected);
}
