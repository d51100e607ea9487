//! The pipeline as a whole, before a store on a real socket.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use super::scripted_store::{Answer, ScriptedStore};
use super::testing::{Running, Setup, events, some_events};
use super::{LogstoreMetrics, StopReport};
use crate::config::Limits;
use crate::event::Reason;
use crate::foundation::units::{ByteSize, Span};
use crate::logstore::codec::Codec;
use crate::telemetry::DropReason;

/// Longer than any test needs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Too short to wait for anything.
const IMPATIENCE: Duration = Duration::from_millis(100);

fn dropped(metrics: &LogstoreMetrics, reason: DropReason) -> u64 {
    metrics.events_dropped.at(reason as usize).get()
}

/// A rule that gives each of `first` once, and then takes everything.
fn at_first(first: impl IntoIterator<Item = Answer>) -> impl Fn() -> Answer + Send + Sync {
    let left = Mutex::new(Vec::from_iter(first).into_iter());
    move || left.lock().unwrap().next().unwrap_or(Answer::Take)
}

#[tokio::test]
async fn what_is_submitted_reaches_the_store_and_its_memory_comes_back() {
    for codec in [Codec::Lz4, Codec::Zstd, Codec::None] {
        let store = ScriptedStore::start(|_| Answer::Take).await;
        let setup = Setup {
            codec,
            ..Setup::quick()
        };
        let running = Running::start(&setup, &[store.address]);
        for source in ["a", "b", "c"] {
            running.submit(0, &some_events(source, 10)).unwrap();
        }
        let metrics = running.metrics(0);
        running.until(|| metrics.events_delivered.get() == 30).await;
        assert_eq!(metrics.groups_delivered.get(), 3);
        assert_eq!(metrics.events_held.get() + metrics.batches_waiting.get(), 0);
        let (raw, sent) = (&metrics.raw_bytes_delivered, &metrics.sent_bytes_delivered);
        assert_eq!(raw.get() > sent.get(), codec != Codec::None, "{codec:?}");
        assert_eq!(running.pipeline.memory().used(), 0);
        assert_eq!(store.names().len(), 30);
        assert_eq!(running.stop(PATIENCE).await, StopReport::default());
    }
}

#[tokio::test]
async fn a_batch_is_tried_again_until_the_store_takes_it() {
    let failures = [
        Answer::Refuse(403, "WriteQuotaExceed"),
        Answer::Refuse(403, "ShardWriteQuotaExceed"),
        Answer::Refuse(500, "InternalServerError"),
        Answer::Refuse(503, "ServerBusy"),
        Answer::HangUp,
        Answer::Hang,
    ];
    let next = at_first(failures);
    let store = ScriptedStore::start(move |_| next()).await;
    let mut setup = Setup::quick();
    setup.delivery.timeout = Span::millis(500);
    let running = Running::start(&setup, &[store.address]);
    running.submit(0, &events("a", ["1", "2"])).unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_delivered.get() == 2).await;
    // A used connection that breaks is replaced at once, which is no retry.
    assert!(metrics.delivery_retries.get() + 1 >= failures.len() as u64);
    assert_eq!(store.names(), ["1", "2"]);
    assert_eq!(running.stop(PATIENCE).await, StopReport::default());
}

#[tokio::test]
async fn a_batch_on_its_way_takes_only_the_memory_of_its_compressed_form() {
    let store = ScriptedStore::start(|_| Answer::HangUp).await;
    let running = Running::start(&Setup::quick(), &[store.address]);
    let group = some_events("a", 200);
    running.submit(0, &group).unwrap();
    let budget = Arc::clone(running.pipeline.lanes()[0].budget());
    assert!(budget.used() > group.logs.len() as u64);
    let small = group.logs.len() as u64 / 10;
    running.until(|| budget.used() < small).await;
    assert_eq!(running.stop(IMPATIENCE).await.lost, 200);
}

#[tokio::test]
async fn an_acknowledgement_that_is_lost_makes_a_duplicate_with_the_same_pack_id() {
    let next = at_first([Answer::TakeAndHangUp]);
    let store = ScriptedStore::start(move |_| next()).await;
    let running = Running::start(&Setup::quick(), &[store.address]);
    running.submit(0, &events("a", ["1"])).unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.events_delivered.get() == 1).await;
    let taken = store.taken();
    assert!(taken.len() > 1);
    assert!(taken.iter().all(|log_group| *log_group == taken[0]));
    running.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_batch_that_the_store_refuses_for_good_is_dropped_and_the_others_pass() {
    let store = ScriptedStore::start(|log_group| match log_group.source.as_deref() {
        Some(b"poison") => Answer::Refuse(400, "PostBodyInvalid"),
        _ => Answer::Take,
    })
    .await;
    let running = Running::start(&Setup::quick(), &[store.address]);
    for source in ["a", "poison", "b", "c"] {
        running.submit(0, &events(source, [source])).unwrap();
    }
    let metrics = running.metrics(0);
    running.until(|| metrics.events_held.get() == 0).await;
    assert_eq!(store.names(), ["a", "b", "c"]);
    assert_eq!(dropped(&metrics, DropReason::UpstreamRefused), 1);
    assert_eq!(running.pipeline.memory().used(), 0);
    assert_eq!(running.stop(PATIENCE).await, StopReport::default());
}

#[tokio::test]
async fn a_store_that_is_down_fills_its_share_of_memory_and_other_lanes_go_on() {
    let down = ScriptedStore::start(|_| Answer::HangUp).await;
    let up = ScriptedStore::start(|_| Answer::Take).await;
    let limits = Limits {
        memory: ByteSize::kib(256),
        memory_share: 50,
        ..Limits::default()
    };
    let setup = Setup {
        limits,
        ..Setup::quick()
    };
    let running = Running::start(&setup, &[down.address, up.address]);
    let mut taken = 0;
    let refusal = loop {
        match running.submit(0, &some_events("a", 100)) {
            Ok(()) => taken += 100,
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(refusal.reason(), Reason::MemoryFull);
    assert!(taken > 0);
    running.submit(1, &some_events("a", 100)).unwrap();
    let metrics = running.metrics(1);
    running
        .until(|| metrics.events_delivered.get() == 100)
        .await;
    let report = running.stop(IMPATIENCE).await;
    let expected = StopReport {
        lost: taken,
        ..StopReport::default()
    };
    assert_eq!(report, expected);
}

#[tokio::test]
async fn stopping_delivers_what_is_open_when_the_store_is_up() {
    let store = ScriptedStore::start(|_| Answer::Take).await;
    let running = Running::start(&Setup::never_old(), &[store.address]);
    for source in 0..50 {
        running
            .submit(0, &some_events(&source.to_string(), 2))
            .unwrap();
    }
    let lane = Arc::clone(&running.pipeline.lanes()[0]);
    let report = running.stop(PATIENCE).await;
    let expected = StopReport {
        delivered: 100,
        ..StopReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(store.names().len(), 100);
    let lease = lane.budget().lease(1000).unwrap();
    let refusal = lane.submit(&some_events("a", 1), lease).unwrap_err();
    assert_eq!(refusal.reason(), Reason::Stopping);
}

#[tokio::test]
async fn stopping_keeps_its_deadline_when_the_store_is_down_or_hangs_and_counts_what_is_lost() {
    for answer in [
        Answer::HangUp,
        Answer::Hang,
        Answer::Refuse(503, "ServerBusy"),
    ] {
        let store = ScriptedStore::start(move |_| answer).await;
        let mut setup = Setup::never_old();
        setup.delivery.timeout = Span::secs(3600);
        let running = Running::start(&setup, &[store.address]);
        for source in 0..20 {
            running
                .submit(0, &some_events(&source.to_string(), 3))
                .unwrap();
        }
        let (metrics, memory) = (running.metrics(0), Arc::clone(running.pipeline.memory()));
        let stop = running.stop(IMPATIENCE);
        let report = tokio::time::timeout(PATIENCE, stop).await.unwrap();
        let expected = StopReport {
            lost: 60,
            ..StopReport::default()
        };
        assert_eq!(report, expected);
        assert_eq!(dropped(&metrics, DropReason::Stopped), 60);
        assert_eq!(metrics.events_held.get() + metrics.batches_waiting.get(), 0);
        assert_eq!(memory.used(), 0);
    }
}

#[tokio::test]
async fn stopping_wakes_a_worker_out_of_a_long_pause() {
    let next = at_first([Answer::Refuse(503, "ServerBusy")]);
    let store = ScriptedStore::start(move |_| next()).await;
    let mut setup = Setup::quick();
    setup.delivery.backoff_min = Span::secs(1 << 30);
    setup.delivery.backoff_max = Span::secs(1 << 30);
    let running = Running::start(&setup, &[store.address]);
    running.submit(0, &events("a", ["1"])).unwrap();
    let metrics = running.metrics(0);
    running.until(|| metrics.delivery_retries.get() == 1).await;
    let report = running.stop(PATIENCE).await;
    assert_eq!((report.delivered, report.lost), (1, 0));
}

#[tokio::test]
async fn no_more_log_groups_are_on_their_way_than_configured() {
    static ON_THEIR_WAY: AtomicUsize = AtomicUsize::new(0);
    let store = ScriptedStore::start(|group| {
        if group.source.as_deref() == Some(b"first") {
            return Answer::TakeLate(Duration::from_millis(1));
        }
        ON_THEIR_WAY.fetch_add(1, Ordering::SeqCst);
        Answer::Hang
    })
    .await;
    let mut setup = Setup::quick();
    setup.batch.max_events = 1;
    setup.delivery.timeout = Span::secs(3600);
    setup.delivery.concurrency = 3;
    let running = Running::start(&setup, &[store.address]);
    // The store answers well, so as many go at once as may.
    let metrics = running.metrics(0);
    let allowed = || metrics.delivery.concurrency.get();
    assert_eq!(allowed(), 2);
    running.submit(0, &some_events("first", 40)).unwrap();
    running.until(|| allowed() == 3).await;
    running.until(|| metrics.events_held.get() == 0).await;
    running.submit(0, &some_events("a", 10)).unwrap();
    running
        .until(|| ON_THEIR_WAY.load(Ordering::SeqCst) == 3)
        .await;
    assert_eq!(running.stop(IMPATIENCE).await.lost, 10);
    assert_eq!(ON_THEIR_WAY.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_task_that_dies_is_noticed_and_one_that_ends_is_not() {
    let running = Running::start(&Setup::quick(), &[]);
    running.pipeline.spawn(async {});
    let failed = |wait| tokio::time::timeout(wait, running.pipeline.failed());
    assert!(failed(IMPATIENCE).await.is_err());
    running.pipeline.spawn(async { panic!("as the test says") });
    assert!(failed(PATIENCE).await.is_ok());
    running.stop(PATIENCE).await;
}

#[derive(Clone, Debug)]
enum Step {
    Submit { source: usize, events: usize },
    Store(Answer),
    Wait,
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Take),
        1 => Just(Answer::TakeAndHangUp),
        1 => Just(Answer::HangUp),
        1 => Just(Answer::Hang),
        1 => Just(Answer::Refuse(403, "WriteQuotaExceed")),
        1 => Just(Answer::Refuse(503, "ServerBusy")),
        1 => Just(Answer::Refuse(400, "PostBodyInvalid")),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0usize..6, 0usize..40).prop_map(|(source, events)| Step::Submit { source, events }),
        2 => any_answer().prop_map(Step::Store),
        1 => Just(Step::Wait),
    ]
}

/// Runs `steps`, stops, and checks the books.
async fn every_event_ends_once(steps: &[Step], last: Answer) -> Result<(), TestCaseError> {
    let answer = Arc::new(Mutex::new(Answer::Take));
    let rule = Arc::clone(&answer);
    let store = ScriptedStore::start(move |_| *rule.lock().unwrap()).await;
    let mut setup = Setup::quick();
    setup.delivery.timeout = Span::millis(100);
    setup.batch.max_bytes = ByteSize::kib(1);
    setup.batch.max_open = 3;
    setup.limits.memory = ByteSize::kib(32);
    let running = Running::start(&setup, &[store.address]);
    let metrics = running.metrics(0);
    let mut accepted = BTreeSet::new();
    let mut number = 0..;
    for step in steps {
        match step {
            Step::Submit {
                source,
                events: count,
            } => {
                let names: Vec<String> = number
                    .by_ref()
                    .take(*count)
                    .map(|n: u32| n.to_string())
                    .collect();
                if running
                    .submit(0, &events(&source.to_string(), &names))
                    .is_ok()
                {
                    accepted.extend(names);
                }
            }
            Step::Store(next) => *answer.lock().unwrap() = *next,
            Step::Wait => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    *answer.lock().unwrap() = last;
    let memory = Arc::clone(running.pipeline.memory());
    let delivers = matches!(last, Answer::Take);
    running
        .stop(if delivers { PATIENCE } else { IMPATIENCE })
        .await;

    let ended = |reason| dropped(&metrics, reason);
    let (refused, stopped) = (
        ended(DropReason::UpstreamRefused),
        ended(DropReason::Stopped),
    );
    let delivered = metrics.events_delivered.get();
    prop_assert_eq!(accepted.len() as u64, delivered + refused + stopped);
    prop_assert_eq!(ended(DropReason::Lost), 0);
    prop_assert!(stopped == 0 || !delivers);
    let gauges = [
        &metrics.events_held,
        &metrics.batches_open,
        &metrics.batches_waiting,
    ];
    prop_assert_eq!(gauges.map(|gauge| gauge.get()), [0; 3]);
    // A LogGroup that was being compressed at the deadline is given back when that is done.
    for _ in 0..500 {
        if memory.used() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    prop_assert_eq!(memory.used(), 0);
    let stored = BTreeSet::from_iter(store.names());
    prop_assert!(stored.is_subset(&accepted));
    prop_assert!(stored.len() as u64 >= delivered);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn every_accepted_event_ends_exactly_once(
        steps in prop::collection::vec(any_step(), 1..40),
        last in any_answer(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(every_event_ends_once(&steps, last))?;
    }
}
