//! Stops while something hangs.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{LAST_JOB, Last, wait_for_disks};
use crate::config::Ack;
use crate::foundation::names::LogstoreName;
use crate::pipeline::lane_spool::gate::Gate;
use crate::pipeline::scripted_store::{Answer, ScriptedStore};
use crate::pipeline::spool::RealFiles;
use crate::pipeline::testing::{Running, Setup, events, lane_to, log_on, some_events};
use crate::pipeline::{LaneSpec, StopReport};

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
async fn what_the_store_may_have_when_the_deadline_comes_is_counted_as_in_doubt() {
    for has_disk in [true, false] {
        let (folder, calls) = (TempDir::new().unwrap(), Arc::<AtomicU64>::default());
        let counted = Arc::clone(&calls);
        let store = ScriptedStore::start(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Answer::Hang
        })
        .await;
        let mut setup = Setup::quick();
        setup.batch.max_events = 1;
        let mut spec = lane_to(store.address, &setup);
        let (_directory, log) = log_on(Arc::new(RealFiles), folder.path(), 1 << 30);
        spec.log = has_disk.then_some(log);
        let running = Running::of(&setup, vec![spec]);
        let metrics = running.metrics(0);
        running.submit(0, &some_events("a", 3)).unwrap();
        // The store has read two of the three, and the third waits.
        running.until(|| calls.load(Ordering::SeqCst) == 2).await;
        let report = running.stop(IMPATIENCE).await;
        assert_eq!(
            (report.on_disk, report.lost),
            if has_disk { (3, 0) } else { (0, 3) }
        );
        // What is not sent again is not there twice.
        let doubts = metrics.delivery.resends_in_doubt.get();
        assert_eq!(doubts, if has_disk { 2 } else { 0 });
    }
}

/// Ten events of the first lane are on their way to its disk, and a thousand wait behind them for which
/// it will have no room. It answers when the stop has begun.
async fn fill(running: &Running, gate: Arc<Gate>) {
    let metrics = running.metrics(0);
    gate.set(true);
    running.submit(0, &some_events("a", 10)).unwrap();
    timeout(PATIENCE, gate.reached()).await.unwrap();
    // There is no room for these, however they are packed; nobody knows yet.
    let names = (0..1000u64).map(|it| format!("{:016x}", it.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    running.submit(0, &events("b", names)).unwrap();
    running.until(|| metrics.batches_waiting.get() == 2).await;
    TaskTracker::new().spawn(async move {
        tokio::time::sleep(IMPATIENCE).await;
        gate.set(false);
    });
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
    fill(&running, gate).await;
    let expected = StopReport {
        delivered: 1000,
        on_disk: 10,
        ..StopReport::default()
    };
    assert_eq!(running.stop(PATIENCE).await, expected);
    assert_eq!(store.names().len(), 1000);
}

/// A lane whose store refuses it a place.
fn lost(store: &ScriptedStore, setup: &Setup) -> LaneSpec {
    let mut spec = lane_to(store.address, setup);
    spec.logstore = LogstoreName::new("lost").unwrap();
    spec
}

#[tokio::test]
async fn a_lane_that_does_not_end_keeps_no_other_from_what_its_disk_gives_back() {
    let (folder, gate) = (TempDir::new().unwrap(), Gate::new());
    let store = ScriptedStore::start(|_| Answer::Take).await;
    let gone = ScriptedStore::start(|_| Answer::Refuse(404, "LogStoreNotExist")).await;
    let mut setup = Setup::quick();
    setup.spool.spill_at = 0;
    let mut spec = lane_to(store.address, &setup);
    let (_directory, log) = log_on(Arc::<Gate>::clone(&gate), folder.path(), 8 << 10);
    spec.log = Some(log);
    let running = Running::of(&setup, vec![spec, lost(&gone, &setup)]);
    running.submit(1, &some_events("c", 3)).unwrap();
    fill(&running, gate).await;
    let report = running.stop(Duration::from_secs(3)).await;
    let expected = StopReport {
        delivered: 1000,
        lost: 3,
        on_disk: 10,
        ..StopReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(store.names().len(), 1000);
}

#[tokio::test]
async fn a_store_that_is_down_is_tried_until_the_deadline_when_the_disk_is_full() {
    let folder = TempDir::new().unwrap();
    let up = Arc::new(AtomicBool::new(false));
    let is_up = Arc::clone(&up);
    let store = ScriptedStore::start(move |_| match is_up.load(Ordering::SeqCst) {
        true => Answer::Take,
        false => Answer::HangUp,
    })
    .await;
    let setup = Setup::quick();
    let mut spec = lane_to(store.address, &setup);
    // There is no room for a single record, and nobody has tried.
    let (_directory, log) = log_on(Arc::new(RealFiles), folder.path(), 100);
    spec.log = Some(log);
    let running = Running::of(&setup, vec![spec]);
    running.submit(0, &some_events("a", 10)).unwrap();
    TaskTracker::new().spawn(async move {
        // It counts as dead after a second.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        up.store(true, Ordering::SeqCst);
    });
    let expected = StopReport {
        delivered: 10,
        ..StopReport::default()
    };
    assert_eq!(running.stop(PATIENCE).await, expected);
    assert_eq!(store.names().len(), 10);
}

#[tokio::test]
async fn a_disk_gets_all_that_waits_for_workers_of_a_dead_store_at_once() {
    let folder = TempDir::new().unwrap();
    let store = ScriptedStore::start(|_| Answer::HangUp).await;
    let setup = Setup::never_old();
    let mut spec = lane_to(store.address, &setup);
    let (_directory, log) = log_on(Arc::new(RealFiles), folder.path(), 1 << 30);
    spec.log = Some(log);
    let running = Running::of(&setup, vec![spec]);
    let batches = 8 * u64::from(setup.delivery.concurrency);
    for number in 0..batches {
        running
            .submit(0, &some_events(&format!("s{number}"), 2))
            .unwrap();
    }
    let last = Last {
        served: running.pipeline.served()[0].clone(),
        hung: OnceLock::new(),
    };
    running.pipeline.lanes()[0].close();
    running.pipeline.tasks.all.close();
    let deadline = running.pipeline.deadline.clone();
    let ended = last.work_has_ended(&running.pipeline.tasks, &deadline);
    assert_eq!(timeout(PATIENCE, ended).await.unwrap(), 0);
    let expected = StopReport {
        on_disk: 2 * batches,
        ..StopReport::default()
    };
    assert_eq!(running.stop(PATIENCE).await, expected);
}

#[tokio::test]
async fn a_disk_that_hangs_is_waited_for_once() {
    let (folder, gate) = (TempDir::new().unwrap(), Gate::new());
    let store = ScriptedStore::start(|_| Answer::Take).await;
    let setup = Setup::never_old();
    let mut spec = lane_to(store.address, &setup);
    let (_directory, log) = log_on(Arc::<Gate>::clone(&gate), folder.path(), 1 << 30);
    (spec.log, spec.ack) = (Some(log), Ack::Disk);
    let running = Running::of(&setup, vec![spec]);
    gate.set(true);
    let waiting = running.hand_over(0, &some_events("a", 10)).unwrap();
    timeout(PATIENCE, gate.reached()).await.unwrap();
    let lanes = [Arc::new(Last {
        served: running.pipeline.served()[0].clone(),
        hung: OnceLock::new(),
    })];
    running.pipeline.lanes()[0].close();
    timeout(PATIENCE, lanes[0].disk_has_done()).await.unwrap();
    assert!(lanes[0].hangs());
    let spool = lanes[0].served.lane.spool().unwrap();
    let hangs = TaskTracker::new().spawn(pending());
    // Nothing of this takes time.
    let finishing = [(&lanes[0], spool, hangs)];
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    wait_for_disks(&finishing).await;
    assert!(before.elapsed() < LAST_JOB);
    tokio::time::resume();
    gate.set(false);
    waiting.settled().await.unwrap();
    running.stop(PATIENCE).await;
    assert_eq!(store.names().len(), 10);
}
