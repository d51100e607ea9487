//! LogGroups that the store refuses for some of their events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::config::{self, Ack};
use crate::event::Reason;
use crate::logstore::proto::LogGroup;
use crate::pipeline::quarantine::{Quarantine, each_record};
use crate::pipeline::scripted_store::{Answer, ScriptedStore};
use crate::pipeline::testing::{Running, Setup, events, lane_to, names_in};
use crate::telemetry::{DropReason, Judge, LogstoreMetrics};

const PATIENCE: Duration = Duration::from_secs(20);
const REFUSAL: Answer = Answer::Refuse(400, "PostBodyInvalid");

/// A store that refuses LogGroups with a name that begins with `bad`, and the calls it got.
async fn picky(refusal: Answer) -> (ScriptedStore, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let rule = move |group: &LogGroup| {
        counted.fetch_add(1, Ordering::SeqCst);
        let bad = names_in(group).iter().any(|name| name.starts_with("bad"));
        if bad { refusal } else { Answer::Take }
    };
    (ScriptedStore::start(rule).await, calls)
}

/// `count` names, of which those at `bad` are bad.
fn names(count: usize, bad: &[usize]) -> Vec<String> {
    let name = |n: usize| match bad.contains(&n) {
        true => format!("bad{n}"),
        false => format!("n{n:05}"),
    };
    (0..count).map(name).collect()
}

fn aside(metrics: &LogstoreMetrics) -> u64 {
    metrics.events_quarantined.at(Judge::Store as usize).get()
}

fn dropped(metrics: &LogstoreMetrics) -> u64 {
    let cells = &metrics.events_dropped;
    cells.at(DropReason::UpstreamRefused as usize).get()
}

struct Disk {
    folder: TempDir,
    quarantine: Arc<Quarantine>,
}

impl Disk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let rules = config::Quarantine::default();
        let quarantine = Quarantine::open(folder.path(), &rules, &Arc::default()).unwrap();
        Self { folder, quarantine }
    }

    /// The records, as JSON.
    fn records(&self) -> Vec<serde_json::Value> {
        assert_eq!(self.quarantine.stop(PATIENCE), 0);
        let place = self.quarantine.place("web", "clicks");
        assert!(place.exists() && self.folder.path().exists());
        let mut records = Vec::new();
        each_record(&place, |_, line| {
            records.push(serde_json::from_str(line).unwrap());
            true
        })
        .unwrap();
        records
    }
}

#[tokio::test]
async fn delivery_finds_one_bad_event_and_sends_the_others() {
    let (store, calls) = picky(REFUSAL).await;
    let disk = Disk::new();
    let setup = Setup {
        quarantine: Some(Arc::clone(&disk.quarantine)),
        ..Setup::quick()
    };
    let running = Running::start(&setup, &[store.address]);
    running
        .submit(0, &events("a", names(1000, &[617])))
        .unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_held.get() == 0).await;
    // 2 * log2(1000) + 2, beside the first one.
    assert!(calls.load(Ordering::SeqCst) <= 1 + 22, "{calls:?}");
    assert_eq!(store.names().len(), 999);
    assert_eq!(metrics.events_delivered.get(), 999);
    assert_eq!((aside(&metrics), dropped(&metrics)), (1, 0));
    assert_eq!(metrics.delivery.splits.get(), 10);
    assert_eq!(running.pipeline.memory().used(), 0);
    running.stop(PATIENCE).await;

    let records = disk.records();
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!(record["event"]["event"], "bad617");
    assert_eq!(
        (&record["cause"], &record["check"]),
        (&"store".into(), &"PostBodyInvalid".into())
    );
    let words = record["violations"][0]["message"].as_str().unwrap();
    assert!(words.contains("as the test says"), "{words}");
    assert!(
        record["id"].as_str().unwrap().ends_with(".269"),
        "its place: {record}"
    );
}

#[tokio::test]
async fn delivery_gives_parts_ids_of_their_own_that_stay_when_they_are_sent_again() {
    let seen = AtomicUsize::new(0);
    let store = ScriptedStore::start(move |group| {
        let bad = names_in(group).iter().any(|name| name.starts_with("bad"));
        match (bad, seen.fetch_add(1, Ordering::SeqCst) % 2) {
            (true, _) => REFUSAL,
            (false, 0) => Answer::TakeAndHangUp,
            (false, _) => Answer::Take,
        }
    })
    .await;
    let running = Running::start(&Setup::quick(), &[store.address]);
    running
        .submit(0, &events("a", names(64, &[3, 40])))
        .unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_held.get() == 0).await;
    assert_eq!((metrics.events_delivered.get(), dropped(&metrics)), (62, 2));
    let id = |group: &LogGroup| {
        let tag = group.log_tags.iter().find(|tag| tag.key == "__pack_id__");
        String::from_utf8(tag.unwrap().value.to_vec()).unwrap()
    };
    // With repeats dropped by their ids, each event is there once.
    let mut ids = BTreeSet::new();
    let mut once = Vec::new();
    for group in store.taken() {
        if ids.insert(id(&group)) {
            once.extend(names_in(&group));
        }
    }
    assert!(store.names().len() > once.len(), "some came twice");
    once.sort();
    assert_eq!(once.len(), 62);
    once.dedup();
    assert_eq!(once.len(), 62);
    running.stop(PATIENCE).await;
}

#[tokio::test]
async fn delivery_splits_what_is_too_large_whoever_says_so() {
    for answer in [
        Answer::Refuse(413, "PostBodyTooLarge"),
        Answer::Refuse(400, "PostBodyTooLarge"),
        Answer::Page(413),
    ] {
        let store = ScriptedStore::start(move |group| match group.logs.len() {
            0..=10 => Answer::Take,
            _ => answer,
        })
        .await;
        let running = Running::start(&Setup::quick(), &[store.address]);
        running.submit(0, &events("a", names(100, &[]))).unwrap();
        let metrics = running.metrics(0);
        running
            .until(|| metrics.events_delivered.get() == 100)
            .await;
        assert_eq!(store.names().len(), 100);
        running.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn delivery_bounds_the_splits_of_a_group_and_keeps_all_of_it() {
    let (store, calls) = picky(REFUSAL).await;
    let disk = Disk::new();
    let mut setup = Setup {
        quarantine: Some(Arc::clone(&disk.quarantine)),
        ..Setup::quick()
    };
    setup.delivery.max_splits = 5;
    let running = Running::start(&setup, &[store.address]);
    let bad: Vec<usize> = (0..256).step_by(32).collect();
    running.submit(0, &events("a", names(256, &bad))).unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_held.get() == 0).await;
    assert!(calls.load(Ordering::SeqCst) <= 11);
    assert!(metrics.delivery.splits_exhausted.get() > 0);
    let delivered = metrics.events_delivered.get();
    assert_eq!(delivered + aside(&metrics), 256);
    assert_eq!(store.names().len() as u64, delivered);
    running.stop(PATIENCE).await;
    assert_eq!(disk.records().len() as u64 + delivered, 256);
}

#[tokio::test]
async fn delivery_asks_a_store_that_refuses_everything_few_times() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let store = ScriptedStore::start(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        REFUSAL
    })
    .await;
    let running = Running::start(&Setup::quick(), &[store.address]);
    running.submit(0, &events("a", names(4000, &[]))).unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_held.get() == 0).await;
    assert!(calls.load(Ordering::SeqCst) < 64, "{calls:?}");
    assert_eq!(dropped(&metrics), 4000);
    running.stop(PATIENCE).await;
}

#[tokio::test]
async fn delivery_of_parts_counts_what_is_left_at_the_deadline() {
    let store = ScriptedStore::start(|group| {
        let names = names_in(group);
        match names.iter().any(|name| name.starts_with("bad")) {
            true => REFUSAL,
            false if names[0] == "n00000" => Answer::Take,
            false => Answer::Hang,
        }
    })
    .await;
    let running = Running::start(&Setup::quick(), &[store.address]);
    running.submit(0, &events("a", names(64, &[63]))).unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_delivered.get() > 0).await;
    let report = running.stop(Duration::from_millis(50)).await;
    assert_eq!((metrics.events_delivered.get(), report.lost), (32, 32));
    assert_eq!(metrics.events_held.get() + metrics.load.bytes_held.get(), 0);
}

#[tokio::test]
async fn only_who_brought_a_refused_event_is_told_so() {
    let (store, _) = picky(REFUSAL).await;
    let mut setup = Setup::never_old();
    setup.batch.max_events = 8;
    let mut spec = lane_to(store.address, &setup);
    spec.ack = Ack::Logstore;
    let running = Running::of(&setup, vec![spec]);
    let mut receipts = Vec::new();
    for names in [&["1", "2"][..], &["3", "bad", "4"], &["5"], &["6", "7"]] {
        receipts.push(running.hand_over(0, &events("a", names)).unwrap());
    }
    let mut told = Vec::new();
    for receipt in receipts {
        told.push(receipt.settled().await);
    }
    assert_eq!(told, [Ok(()), Err(Reason::StoreRefused), Ok(()), Ok(())]);
    assert_eq!(store.names().len(), 7);
    running.stop(PATIENCE).await;
}

#[tokio::test]
async fn who_has_all_events_delivered_when_a_stop_comes_into_a_split_is_told_so() {
    let store = ScriptedStore::start(|group: &LogGroup| {
        let names = names_in(group);
        match names.as_slice() {
            [first, ..] if first == "1" && names.len() <= 4 => Answer::Take,
            [first, ..] if first == "1" => REFUSAL,
            _ => Answer::Hang,
        }
    })
    .await;
    let mut setup = Setup::never_old();
    setup.batch.max_events = 8;
    let mut spec = lane_to(store.address, &setup);
    spec.ack = Ack::Logstore;
    let running = Running::of(&setup, vec![spec]);
    let first = events("a", ["1", "2", "3"]);
    let first = running.hand_over(0, &first).unwrap();
    let second = events("a", ["4", "5", "6", "7", "8"]);
    let second = running.hand_over(0, &second).unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_delivered.get() == 4).await;
    assert_eq!(running.stop(Duration::from_millis(100)).await.lost, 4);
    assert_eq!(first.settled().await, Ok(()));
    assert_eq!(second.settled().await, Err(Reason::Stopping));
}
