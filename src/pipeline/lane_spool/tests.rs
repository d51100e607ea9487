//! A lane on a real disk that does not answer for a while.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::gate::Gate;
use super::{Job, LaneSpool, MAX_PENDING, Pace, SpoolUse};
use crate::config::{Ack, Overload, Spool};
use crate::event::Reason;
use crate::foundation::budget::Budget;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::pipeline::admission::{Admission, AdmissionRules};
use crate::pipeline::lane::Lane;
use crate::pipeline::open::Safety;
use crate::pipeline::queue::SealedQueue;
use crate::pipeline::spool::{Files, LogRules, RealFiles, Space, SpoolDirectory};
use crate::pipeline::testing::{some_events, wide};
use crate::telemetry::{DropReason, LogstoreMetrics};

const MEMORY: u64 = 256 << 20;

/// A lane that answers from a disk, without workers.
fn lane_on(files: Arc<dyn Files>, folder: &Path) -> (Lane, Arc<LogstoreMetrics>) {
    let metrics = Arc::<LogstoreMetrics>::default();
    let names = (
        ProjectName::new("web").unwrap(),
        LogstoreName::new("clicks").unwrap(),
    );
    let space = Arc::new(Space::new(u64::MAX, 0));
    let directory = SpoolDirectory::open(files, &folder.join("spool"), space, None).unwrap();
    let log = directory.log(&names.0, &names.1, LogRules::default());
    let log = log.unwrap();
    let budget = Budget::new(MEMORY);
    let rules = AdmissionRules::new(&Overload::default(), Duration::from_secs(15));
    let admission = Admission::new(Arc::clone(&budget), 1, rules, Arc::clone(&metrics));
    let safety = |sealed: &Arc<SealedQueue>| {
        let used = SpoolUse::new(&Spool::default(), log.order(), &Arc::new(Pace::new(0)));
        let memory = (budget, Arc::clone(sealed));
        Safety {
            ack: Ack::Disk,
            patience: Duration::from_secs(20),
            spool: Some(LaneSpool::start(log, used, memory, Arc::clone(&metrics))),
        }
    };
    let lane = Lane::new(names, admission, &wide(), Arc::clone(&metrics), safety);
    (lane, metrics)
}

#[tokio::test]
async fn parts_that_wait_for_the_disk_are_paid_for_and_bounded() {
    let (folder, gate) = (tempfile::tempdir().unwrap(), Gate::new());
    let (lane, metrics) = lane_on(Arc::<Gate>::clone(&gate), folder.path());
    let group = some_events("a", 4000);
    let bytes = group.logs.len() as u64;
    let submit = || {
        let lease = lane.budget().lease(group.wire_bytes() as u64).unwrap();
        lane.submit(&group, lease)
    };
    submit().unwrap().settled().await.unwrap();
    let quiet = lane.budget().used();
    gate.set(true);
    let mut receipts = Vec::new();
    let refusal = loop {
        match submit() {
            Ok(receipt) => receipts.push(receipt),
            Err(refusal) => break refusal,
        }
        // So that the disk has begun.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(receipts.len() as u64 * bytes < 4 * MAX_PENDING, "no bound");
    };
    assert_eq!(refusal.reason(), Reason::SpoolBusy);
    // As much may be on its way to the disk as waits for it, and one more of each.
    let waiting = receipts.len() as u64 * bytes;
    assert!(
        (MAX_PENDING..=2 * (MAX_PENDING + bytes)).contains(&waiting),
        "{waiting}"
    );
    let full = lane.budget().used();
    assert!(
        full - quiet >= 2 * waiting,
        "the batches, and the copies: {full}"
    );
    gate.set(false);
    for receipt in receipts {
        receipt.settled().await.unwrap();
    }
    let after = lane.budget().used();
    assert!(
        full - after >= waiting,
        "the copies are paid back: {full} {after}"
    );
    submit().unwrap().settled().await.unwrap();
    deliver_all(&lane, &metrics).await;
    assert_eq!(lane.budget().used(), 0);
}

async fn deliver_all(lane: &Lane, metrics: &LogstoreMetrics) {
    lane.close();
    while let Some(batch) = lane.sealed().pop().await {
        metrics.batches_waiting.sub(1);
        batch.held.delivered();
    }
}

async fn submit(lane: &Lane, source: &str, events: usize) {
    let group = some_events(source, events);
    let lease = lane.budget().lease(group.wire_bytes() as u64).unwrap();
    lane.submit(&group, lease).unwrap().settled().await.unwrap();
}

#[tokio::test]
async fn requests_share_a_sync_also_when_the_disk_is_quicker_than_they_come() {
    const ALONE: u32 = 10;
    let folder = tempfile::tempdir().unwrap();
    let (lane, metrics) = lane_on(Arc::new(RealFiles), folder.path());
    let interval = Spool::default().commit_interval.get();
    let began = Instant::now();
    for _ in 0..ALONE {
        submit(&lane, "a", 1).await;
    }
    // The first one begins a sync at once.
    assert!(began.elapsed() >= interval * (ALONE - 1));
    let group = some_events("a", 1);
    let mut receipts = Vec::new();
    for _ in 0..300 {
        let lease = lane.budget().lease(group.wire_bytes() as u64).unwrap();
        receipts.push(lane.submit(&group, lease).unwrap());
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
    for receipt in receipts {
        receipt.settled().await.unwrap();
    }
    let most = began.elapsed().as_nanos() / interval.as_nanos() + 1;
    let syncs = metrics.spool.sync.count();
    assert!(u128::from(syncs) <= most, "{syncs} {most}");
    deliver_all(&lane, &metrics).await;
}

#[tokio::test]
async fn what_was_on_a_lost_disk_alone_is_counted_as_lost_and_what_memory_has_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (lane, metrics) = lane_on(Arc::new(RealFiles), folder.path());
    let spool = lane.spool().unwrap();
    // On disk alone.
    submit(&lane, "a", 10).await;
    lane.seal_now();
    spool.push(Job::Spill(lane.sealed().take_now().unwrap()));
    spool.all_done().await;
    assert_eq!(metrics.spool.waiting.get(), 10);
    // On disk and in memory; then the file is deleted, which the next sync finds.
    submit(&lane, "b", 2).await;
    let of_lane = folder.path().join("spool/web/clicks");
    for entry in std::fs::read_dir(&of_lane).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "seg") {
            std::fs::remove_file(path).unwrap();
        }
    }
    submit(&lane, "b", 3).await;
    let lost = || {
        let dropped = &metrics.events_dropped;
        dropped.at(DropReason::Lost as usize).get()
    };
    // Memory has all of the second batch, so all of it goes to disk again.
    lane.close();
    spool.push(Job::Spill(lane.sealed().pop().await.unwrap()));
    let finishing = Arc::clone(spool);
    tokio::task::spawn_blocking(move || finishing.finish())
        .await
        .unwrap();
    assert_eq!((lost(), metrics.spool.waiting.get()), (10, 5));
    assert_eq!(metrics.events_held.get() + metrics.batches_waiting.get(), 0);
    spool.detach();
    let next = folder.path().join("next");
    std::fs::create_dir(&next).unwrap();
    std::fs::rename(folder.path().join("spool"), next.join("spool")).unwrap();
    let (_lane, metrics) = lane_on(Arc::new(RealFiles), &next);
    while metrics.spool.recovering.get() == 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(metrics.spool.recovered.get(), 5);
}

#[tokio::test]
async fn what_a_disk_has_that_does_not_answer_any_more_is_not_lost() {
    let (folder, gate) = (tempfile::tempdir().unwrap(), Gate::new());
    let (lane, metrics) = lane_on(Arc::<Gate>::clone(&gate), folder.path());
    submit(&lane, "a", 10).await;
    gate.set(true);
    let group = some_events("b", 3);
    let lease = lane.budget().lease(group.wire_bytes() as u64).unwrap();
    let receipt = lane.submit(&group, lease).unwrap();
    gate.reached().await;
    lane.close();
    let mut left = Vec::new();
    while let Some(batch) = lane.sealed().pop().await {
        left.push(batch);
    }
    // The first one waits in the queue of the disk, the second did not come that far.
    let spool = lane.spool().unwrap();
    spool.push(Job::Spill(left.remove(0)));
    spool.give_up(left);
    let dropped = &metrics.events_dropped;
    let stopped = dropped.at(DropReason::Stopped as usize).get();
    assert_eq!((stopped, metrics.spool.waiting.get()), (3, 10));
    assert_eq!(metrics.events_held.get() + metrics.batches_waiting.get(), 0);
    gate.set(false);
    receipt.settled().await.unwrap();
}
