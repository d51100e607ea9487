//! Stops while something hangs.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use crate::config::Ack;
use crate::pipeline::StopReport;
use crate::pipeline::lane_spool::gate::Gate;
use crate::pipeline::scripted_store::{Answer, ScriptedStore};
use crate::pipeline::spool::RealFiles;
use crate::pipeline::testing::{Running, Setup, events, lane_to, log_on, some_events};

const PATIENCE: Duration = Duration::from_secs(20);
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

#[tokio::test]
async fn what_a_disk_gives_back_while_the_pipeline_stops_is_delivered() {
    let (folder, gate) = (TempDir::new().unwrap(), Gate::new());
    let store = ScriptedStore::start(|_| Answer::Take).await;
    let mut setup = Setup::quick();
    // All of it goes to disk.
    setup.spool.spill_at = 0;
    let mut spec = lane_to(store.address, &setup);
    let (_directory, log) = log_on(Arc::<Gate>::clone(&gate), folder.path(), 8 << 10);
    spec.log = Some(log);
    let running = Running::of(&setup, vec![spec]);
    let metrics = running.metrics(0);
    gate.set(true);
    running.submit(0, &some_events("a", 10)).unwrap();
    timeout(PATIENCE, gate.reached()).await.unwrap();
    // There is no room for these, however they are packed; nobody knows yet.
    let names = (0..1000u64).map(|it| format!("{:016x}", it.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    running.submit(0, &events("b", names)).unwrap();
    running.until(|| metrics.batches_waiting.get() == 2).await;
    tokio::spawn(async move {
        tokio::time::sleep(IMPATIENCE).await;
        gate.set(false);
    });
    let expected = StopReport {
        delivered: 1000,
        on_disk: 10,
        ..StopReport::default()
    };
    assert_eq!(running.stop(PATIENCE).await, expected);
    assert_eq!(store.names().len(), 1000);
}
