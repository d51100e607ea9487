//! Lanes that leave while something does not take their events.

use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::config::{self, Ack};
use crate::foundation::names::LogstoreName;
use crate::foundation::units::ByteSize;
use crate::logstore::proto::LogGroup;
use crate::pipeline::StopReport;
use crate::pipeline::quarantine::Quarantine;
use crate::pipeline::scripted_store::{Answer, ScriptedStore};
use crate::pipeline::spool::{LogRules, RealFiles, Space, SpoolDirectory};
use crate::pipeline::testing::{
    Running, Setup, events, lane_to, log_on, names, names_in, some_events,
};
use crate::telemetry::{DropReason, Judge};

const PATIENCE: Duration = Duration::from_secs(20);
const IMPATIENCE: Duration = Duration::from_millis(100);

/// Takes the only lane out. Says when it is gone.
fn take_out(running: &Running, setup: &Setup) -> Arc<AtomicBool> {
    let changed = setup.with_rules(|rules| running.pipeline.change(Vec::new(), rules));
    assert_eq!((changed.lanes.len(), changed.leaving.len()), (0, 1));
    let gone = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&gone);
    let end = move |_| told.store(true, Ordering::SeqCst);
    let lane = &changed.leaving[0];
    running.pipeline.let_go(lane, ready(()), IMPATIENCE, end);
    gone
}

/// A lane that leaves, with twenty events that neither its store nor its disk takes. The store counts
/// its calls, and does as the answer says.
struct Stuck {
    running: Running,
    gone: Arc<AtomicBool>,
    store: ScriptedStore,
    answer: Arc<Mutex<Answer>>,
    _folder: TempDir,
    _directory: SpoolDirectory,
}

async fn stuck() -> Stuck {
    let folder = TempDir::new().unwrap();
    let answer = Arc::new(Mutex::new(Answer::Refuse(503, "ServerBusy")));
    let (rule, calls) = (Arc::clone(&answer), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&calls);
    let store = ScriptedStore::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        *rule.lock().unwrap()
    })
    .await;
    let setup = Setup::quick();
    let mut spec = lane_to(store.address, &setup);
    let (directory, log) = log_on(Arc::new(RealFiles), folder.path(), 1);
    spec.log = Some(log);
    let running = Running::of(&setup, vec![spec]);
    running.submit(0, &some_events("a", 20)).unwrap();
    let metrics = running.metrics(0);
    running.until(|| calls.load(Ordering::SeqCst) > 0).await;
    let gone = take_out(&running, &setup);
    // The disk has refused, and the store is asked again.
    let full = || metrics.spool.state.get() == 1 && metrics.batches_waiting.get() == 1;
    running.until(full).await;
    let before = calls.load(Ordering::SeqCst);
    running
        .until(|| calls.load(Ordering::SeqCst) > before + 1)
        .await;
    assert!(!gone.load(Ordering::SeqCst));
    assert_eq!(
        (metrics.events_held.get(), metrics.spool.waiting.get()),
        (20, 0)
    );
    Stuck {
        running,
        gone,
        store,
        answer,
        _folder: folder,
        _directory: directory,
    }
}

#[tokio::test]
async fn what_a_lane_holds_that_leaves_is_tried_until_the_store_or_the_disk_takes_it() {
    let stuck = stuck().await;
    let (running, metrics) = (&stuck.running, stuck.running.metrics(0));
    let (project, logstore) = names();
    assert!(running.pipeline.is_leaving(&project, &logstore));
    *stuck.answer.lock().unwrap() = Answer::Take;
    running.until(|| stuck.gone.load(Ordering::SeqCst)).await;
    assert_eq!(metrics.events_delivered.get(), 20);
    assert_eq!(metrics.events_held.get() + metrics.batches_waiting.get(), 0);
    assert_eq!(stuck.store.names().len(), 20);
    running
        .until(|| !running.pipeline.is_leaving(&project, &logstore))
        .await;
    assert_eq!(stuck.running.stop(PATIENCE).await, StopReport::default());
}

#[tokio::test]
async fn what_a_lane_holds_that_leaves_is_in_the_report_of_a_stop() {
    let stuck = stuck().await;
    let metrics = stuck.running.metrics(0);
    let report = stuck.running.stop(IMPATIENCE).await;
    let expected = StopReport {
        lost: 20,
        ..StopReport::default()
    };
    assert_eq!(report, expected);
    assert!(!stuck.gone.load(Ordering::SeqCst));
    assert_eq!(metrics.events_held.get() + metrics.batches_waiting.get(), 0);
}

#[tokio::test]
async fn a_lane_that_leaves_waits_for_its_records_so_that_its_bundle_is_done() {
    let folder = TempDir::new().unwrap();
    let store = ScriptedStore::start(|group: &LogGroup| {
        match names_in(group).contains(&"bad".to_owned()) {
            true => Answer::Refuse(400, "PostBodyInvalid"),
            false => Answer::Take,
        }
    })
    .await;
    // A file where the quarantine wants a folder: no record can be written.
    let in_the_way = folder.path().join("quarantine/web/clicks");
    let rules = config::Quarantine::default();
    let quarantine = Quarantine::open(folder.path(), &rules, &Arc::default()).unwrap();
    std::fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    std::fs::write(&in_the_way, "in the way").unwrap();
    let setup = Setup {
        quarantine: Some(Arc::clone(&quarantine)),
        ..Setup::quick()
    };
    let mut spec = lane_to(store.address, &setup);
    let (directory, log) = log_on(Arc::new(RealFiles), folder.path(), 1 << 30);
    (spec.log, spec.ack) = (Some(log), Ack::Disk);
    let running = Running::of(&setup, vec![spec]);
    let metrics = running.metrics(0);
    let receipt = running
        .hand_over(0, &events("a", ["1", "bad", "2"]))
        .unwrap();
    receipt.settled().await.unwrap();
    let aside = || metrics.events_quarantined.at(Judge::Store as usize).get();
    running
        .until(|| aside() == 1 && metrics.events_held.get() == 0)
        .await;
    let gone = take_out(&running, &setup);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!gone.load(Ordering::SeqCst));
    std::fs::remove_file(&in_the_way).unwrap();
    running.until(|| gone.load(Ordering::SeqCst)).await;
    assert_eq!(running.stop(PATIENCE).await, StopReport::default());
    // Nothing of it comes again.
    let (project, logstore) = names();
    directory.closed(&project, &logstore);
    let mut log = directory
        .log(&project, &logstore, LogRules::default())
        .unwrap();
    while !log.recover(u64::MAX).unwrap() {}
    assert_eq!(log.counts().recovered_events, 0);
    assert_eq!((store.names().len(), quarantine.stop(PATIENCE)), (2, 0));
}

/// The quarantine has no room while one record cannot be written.
#[tokio::test]
async fn refused_events_that_the_disk_has_are_not_dropped_when_the_quarantine_has_no_room() {
    let folder = TempDir::new().unwrap();
    let store = ScriptedStore::start(|group: &LogGroup| {
        match names_in(group).iter().any(|name| name.starts_with("bad")) {
            true => Answer::Refuse(400, "PostBodyInvalid"),
            false => Answer::Take,
        }
    })
    .await;
    let in_the_way = folder.path().join("quarantine/web/clicks");
    let rules = config::Quarantine {
        queue: ByteSize::bytes(1),
        ..config::Quarantine::default()
    };
    let quarantine = Quarantine::open(folder.path(), &rules, &Arc::default()).unwrap();
    std::fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    std::fs::write(&in_the_way, "in the way").unwrap();
    let setup = Setup {
        quarantine: Some(Arc::clone(&quarantine)),
        ..Setup::quick()
    };
    let mut spec = lane_to(store.address, &setup);
    let (directory, log) = log_on(Arc::new(RealFiles), folder.path(), 1 << 30);
    (spec.log, spec.ack) = (Some(log), Ack::Disk);
    let running = Running::of(&setup, vec![spec]);
    let metrics = running.metrics(0);
    let group = events("a", ["1", "bad 1", "bad 2", "bad 3"]);
    let receipt = running.hand_over(0, &group).unwrap();
    receipt.settled().await.unwrap();
    let aside = || metrics.events_quarantined.at(Judge::Store as usize).get();
    // They go back to the disk when the time of the first is over, as one bundle, and come and go.
    let parts = || metrics.spool.parts.get();
    running.until(|| parts() == 2).await;
    running.until(|| parts() == 3).await;
    assert_eq!(aside(), 1);
    std::fs::remove_file(&in_the_way).unwrap();
    running
        .until(|| aside() == 3 && metrics.events_held.get() + metrics.spool.waiting.get() == 0)
        .await;
    let dropped = metrics
        .events_dropped
        .at(DropReason::UpstreamRefused as usize);
    assert_eq!((dropped.get(), store.names().len()), (0, 1));
    assert_eq!(running.stop(PATIENCE).await, StopReport::default());
    let (project, logstore) = names();
    directory.closed(&project, &logstore);
    let mut log = directory
        .log(&project, &logstore, LogRules::default())
        .unwrap();
    while !log.recover(u64::MAX).unwrap() {}
    assert_eq!(log.counts().recovered_events, 0);
    assert_eq!(quarantine.stop(PATIENCE), 0);
}

#[tokio::test]
async fn parts_of_the_disk_follow_lanes_that_change_and_go() {
    let folder = TempDir::new().unwrap();
    let space = Arc::new(Space::new(1 << 20, 0));
    let files = Arc::new(RealFiles);
    let directory = SpoolDirectory::open(files, folder.path(), space, None).unwrap();
    let setup = Setup::quick();
    let store = ScriptedStore::start(|_| Answer::Take).await;
    let lane = |name: &str, weight| {
        let mut spec = lane_to(store.address, &setup);
        spec.logstore = LogstoreName::new(name).unwrap();
        spec.weight = weight;
        spec
    };
    let new = |name| {
        let mut spec = lane(name, 1);
        let log = directory.log(&spec.project, &spec.logstore, LogRules::default());
        spec.log = Some(log.unwrap());
        spec
    };
    let running = Running::of(&setup, vec![new("one"), new("two")]);
    let parts = || [0, 1].map(|it| running.metrics(it).spool.part.get() >> 10);
    let change = |lanes| setup.with_rules(|rules| running.pipeline.change(lanes, rules));
    assert_eq!(parts(), [256, 256]);
    change(vec![lane("one", 3), lane("two", 1)]);
    assert_eq!(parts(), [384, 128]);
    change(vec![lane("two", 1)]);
    assert_eq!(parts(), [0, 512]);
    assert_eq!(running.stop(PATIENCE).await, StopReport::default());
}
