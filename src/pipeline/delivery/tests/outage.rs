//! Stores that are down, or have too much to do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::foundation::units::Span;
use crate::pipeline::Upstream;
use crate::pipeline::scripted_store::{Answer, ScriptedStore};
use crate::pipeline::testing::{Running, Setup, some_events};
use crate::telemetry::{BreakerState, LogstoreMetrics, UpstreamMetrics};

const PATIENCE: Duration = Duration::from_secs(20);
const IMPATIENCE: Duration = Duration::from_millis(50);

/// A store that answers by what stands in the cell, and the calls it got.
struct Moody {
    store: ScriptedStore,
    answer: Arc<Mutex<Answer>>,
    calls: Arc<AtomicUsize>,
}

impl Moody {
    async fn start(answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let calls = Arc::<AtomicUsize>::default();
        let (told, counted) = (Arc::clone(&answer), Arc::clone(&calls));
        let store = ScriptedStore::start(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            *told.lock().unwrap()
        })
        .await;
        Self {
            store,
            answer,
            calls,
        }
    }

    fn becomes(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// So many lanes to it.
    fn lanes(&self, count: usize) -> Vec<SocketAddr> {
        vec![self.store.address; count]
    }
}

/// One upstream for all lanes of a setup.
fn shared(setup: &mut Setup) -> Arc<UpstreamMetrics> {
    let metrics = Arc::<UpstreamMetrics>::default();
    let upstream = Upstream::new("store", &setup.delivery, Arc::clone(&metrics));
    setup.upstream = Some(upstream);
    metrics
}

fn allowed(metrics: &LogstoreMetrics) -> u64 {
    metrics.delivery.concurrency.get()
}

#[tokio::test]
async fn delivery_to_a_store_that_is_down_is_a_single_probe_now_and_then_whatever_waits() {
    let store = Moody::start(Answer::HangUp).await;
    let mut setup = Setup::quick();
    setup.delivery.concurrency = 8;
    setup.delivery.breaker.pause_min = Span::millis(100);
    setup.delivery.breaker.pause_max = Span::millis(100);
    let upstream = shared(&mut setup);
    let running = Running::start(&setup, &store.lanes(4));
    for lane in 0..4 {
        for source in 0..20 {
            let group = some_events(&source.to_string(), 1);
            running.submit(lane, &group).unwrap();
        }
    }
    running
        .until(|| upstream.breaker() == BreakerState::Open)
        .await;
    // What was on its way when it opened has to come back.
    tokio::time::sleep(IMPATIENCE).await;
    let before = (store.calls(), Instant::now());
    tokio::time::sleep(Duration::from_millis(500)).await;
    let probes = store.calls() - before.0;
    let pauses = before.1.elapsed().as_millis() / 80 + 1;
    assert!(
        probes > 0 && probes as u128 <= pauses,
        "{probes} in {pauses}"
    );
    assert_eq!(upstream.opened.get(), 1);

    store.becomes(Answer::Take);
    let lanes: Vec<_> = (0..4).map(|lane| running.metrics(lane)).collect();
    let delivered = || {
        lanes
            .iter()
            .map(|it| it.events_delivered.get())
            .sum::<u64>()
    };
    running.until(|| delivered() == 80).await;
    assert_eq!(upstream.breaker(), BreakerState::Closed);
    assert_eq!(store.store.names().len(), 80);
    running.stop(PATIENCE).await;
}

#[tokio::test]
async fn delivery_repeats_no_more_attempts_in_a_second_than_configured() {
    let store = Moody::start(Answer::Refuse(403, "WriteQuotaExceed")).await;
    let mut setup = Setup::quick();
    setup.delivery.retries_per_second = 200;
    setup.delivery.concurrency = 16;
    let upstream = shared(&mut setup);
    let running = Running::start(&setup, &store.lanes(40));
    for lane in 0..40 {
        for source in 0..2 {
            let group = some_events(&source.to_string(), 1);
            running.submit(lane, &group).unwrap();
        }
    }
    running.until(|| store.calls() > 80 + 200).await;
    assert!(upstream.retries_delayed.get() > 100);
    let before = (store.calls(), Instant::now());
    tokio::time::sleep(Duration::from_secs(1)).await;
    let retries = store.calls() - before.0;
    // Each batch has had its first attempt by now.
    let most = before.1.elapsed().as_millis() / 5 + 2;
    assert!(
        retries > 10 && retries as u128 <= most,
        "{retries} of {most}"
    );
    running.stop(IMPATIENCE).await;
}

#[tokio::test]
async fn delivery_sends_fewer_at_once_after_quota_answers_in_that_lane_only() {
    let store = Moody::start(Answer::TakeLate(Duration::from_millis(2))).await;
    let well = Moody::start(Answer::TakeLate(Duration::from_millis(2))).await;
    let mut setup = Setup::quick();
    setup.batch.max_events = 1;
    setup.delivery.concurrency = 8;
    let upstream = shared(&mut setup);
    let running = Running::start(&setup, &[store.store.address, well.store.address]);
    let (first, second) = (running.metrics(0), running.metrics(1));
    for lane in [0, 1] {
        running.submit(lane, &some_events("a", 200)).unwrap();
    }
    running
        .until(|| allowed(&first) == 8 && allowed(&second) == 8)
        .await;
    store.becomes(Answer::Refuse(403, "ShardWriteQuotaExceed"));
    running.submit(0, &some_events("a", 50)).unwrap();
    running.until(|| allowed(&first) == 1).await;
    assert_eq!(allowed(&second), 8);
    assert_eq!(
        upstream.breaker(),
        BreakerState::Closed,
        "the store answers"
    );
    store.becomes(Answer::Take);
    running.submit(0, &some_events("b", 200)).unwrap();
    running.until(|| allowed(&first) > 2).await;
    running.stop(PATIENCE).await;
}

#[tokio::test]
async fn delivery_narrows_a_project_for_all_its_lanes_and_holds_up_none_of_them() {
    let store = Moody::start(Answer::Refuse(403, "WriteQuotaExceed")).await;
    let well = Moody::start(Answer::Take).await;
    let mut setup = Setup::quick();
    setup.batch.max_events = 1;
    setup.delivery.concurrency = 8;
    let upstream = shared(&mut setup);
    let running = Running::start(&setup, &[store.store.address, well.store.address]);
    let (first, second) = (running.metrics(0), running.metrics(1));
    let projects = upstream.projects();
    let [(project, 0)] = &*projects else {
        panic!("one project, which is bounded by nothing: {projects:?}");
    };
    let shown = upstream.project(project);
    running.submit(0, &some_events("a", 50)).unwrap();
    running.until(|| shown.get() == 1).await;
    running.submit(1, &some_events("a", 100)).unwrap();
    running.until(|| second.events_delivered.get() == 100).await;
    assert_eq!(first.events_delivered.get(), 0);
    store.becomes(Answer::Take);
    running.until(|| first.events_delivered.get() == 50).await;
    running.stop(PATIENCE).await;
}

/// Two lanes of a project that may have two LogGroups on their way, of which the second may have 16.
async fn narrowed(setup: &mut Setup, store: &Moody) -> (Running, Arc<UpstreamMetrics>) {
    let other = Moody::start(Answer::Refuse(403, "WriteQuotaExceed")).await;
    setup.batch.max_events = 1;
    setup.delivery.concurrency = 16;
    setup.delivery.timeout = Span::secs(2);
    let upstream = shared(setup);
    let running = Running::start(setup, &[other.store.address, store.store.address]);
    let (first, second) = (running.metrics(0), running.metrics(1));
    running.submit(1, &some_events("a", 600)).unwrap();
    running
        .until(|| allowed(&second) == 16 && second.events_held.get() == 0)
        .await;
    let [(project, _)] = &*upstream.projects() else {
        panic!("one project");
    };
    let shown = upstream.project(project);
    running.submit(0, &some_events("a", 1)).unwrap();
    running.until(|| shown.get() == 1).await;
    other.becomes(Answer::Take);
    running.until(|| first.events_held.get() == 0).await;
    assert_eq!(shown.get(), 2);
    (running, upstream)
}

#[tokio::test]
async fn delivery_that_waited_for_its_project_asks_the_breaker_once_more() {
    let store = Moody::start(Answer::TakeLate(Duration::from_millis(2))).await;
    let mut setup = Setup::quick();
    setup.delivery.breaker.failures = 1;
    setup.delivery.breaker.pause_min = Span::secs(3600);
    setup.delivery.breaker.pause_max = Span::secs(3600);
    let (running, upstream) = narrowed(&mut setup, &store).await;
    // Two are on their way, and the others have asked the breaker and wait for the project.
    store.becomes(Answer::Hang);
    let before = store.calls();
    running.submit(1, &some_events("b", 8)).unwrap();
    running.until(|| upstream.opened.get() == 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(store.calls() - before, 2, "nothing while it is open");
    assert_eq!(upstream.probes.get(), 0);
    running.stop(IMPATIENCE).await;
}

#[tokio::test]
async fn delivery_that_waited_for_its_project_repeats_no_more_than_configured() {
    let store = Moody::start(Answer::TakeLate(Duration::from_millis(2))).await;
    let mut setup = Setup::quick();
    setup.delivery.breaker.failures = 0;
    setup.delivery.retries_per_second = 20;
    let (running, _) = narrowed(&mut setup, &store).await;
    let metrics = running.metrics(1);
    let retries = metrics.delivery_retries.get();
    let refused = Answer::Refuse(401, "Unauthorized");
    store.becomes(refused);
    running.submit(1, &some_events("b", 16)).unwrap();
    running
        .until(|| metrics.delivery_retries.get() >= retries + 16)
        .await;
    // Two hang, and the others wait for the project for longer than until their turn.
    store.becomes(Answer::Hang);
    let before = store.calls();
    running.until(|| store.calls() == before + 2).await;
    store.becomes(refused);
    let failed = metrics.delivery.resends_in_doubt.get();
    running
        .until(|| metrics.delivery.resends_in_doubt.get() > failed)
        .await;
    let before = (store.calls(), Instant::now());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let calls = store.calls() - before.0;
    // A few may come late, and so close together; not all 14.
    let most = before.1.elapsed().as_millis() / 50 + 6;
    assert!(calls as u128 <= most, "{calls} of {most}");
    running.stop(IMPATIENCE).await;
}

#[tokio::test]
async fn delivery_of_a_lane_that_waits_for_a_long_pause_goes_on_when_the_upstream_is_back() {
    let up = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&up);
    let store = ScriptedStore::start(move |_| match told.load(Ordering::SeqCst) {
        true => Answer::Take,
        false => Answer::Refuse(503, "ServerBusy"),
    })
    .await;
    let mut setup = Setup::quick();
    setup.delivery.breaker.failures = 2;
    setup.delivery.breaker.pause_min = Span::millis(200);
    setup.delivery.breaker.pause_max = Span::millis(200);
    let upstream = shared(&mut setup);
    // One lane waits long after its first failure; another one probes.
    setup.delivery.backoff_min = Span::secs(3600);
    setup.delivery.backoff_max = Span::secs(3600);
    let slow = Running::start(&setup, &[store.address]);
    slow.submit(0, &some_events("a", 1)).unwrap();
    let waiting = slow.metrics(0);
    slow.until(|| waiting.delivery_retries.get() == 1).await;
    setup.delivery.backoff_min = Span::millis(1);
    setup.delivery.backoff_max = Span::millis(1);
    let quick = Running::start(&setup, &[store.address]);
    quick.submit(0, &some_events("b", 1)).unwrap();
    quick.until(|| upstream.opened.get() == 1).await;
    up.store(true, Ordering::SeqCst);
    quick.until(|| waiting.events_delivered.get() == 1).await;
    quick.stop(PATIENCE).await;
    slow.stop(PATIENCE).await;
}

#[tokio::test]
async fn delivery_goes_to_the_fallback_while_the_first_store_is_down_and_back_after_it() {
    let store = Moody::start(Answer::HangUp).await;
    let second = Moody::start(Answer::Take).await;
    let mut setup = Setup {
        fallback: Some(second.store.address),
        ..Setup::quick()
    };
    setup.delivery.breaker.pause_min = Span::millis(100);
    setup.delivery.breaker.pause_max = Span::millis(100);
    let upstream = shared(&mut setup);
    let running = Running::start(&setup, &store.lanes(1));
    let metrics = running.metrics(0);
    running.submit(0, &some_events("a", 3)).unwrap();
    running.until(|| metrics.events_delivered.get() == 3).await;
    assert_eq!(upstream.breaker(), BreakerState::Open);
    assert_eq!(metrics.delivery.fallback_groups.get(), 1);
    assert_eq!(second.store.names().len(), 3);
    store.becomes(Answer::Take);
    // Events that come then are the probes.
    let mut count = 0;
    while upstream.breaker() != BreakerState::Closed {
        count += 1;
        running.submit(0, &some_events("b", 1)).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(count < 500);
    }
    running
        .until(|| metrics.events_delivered.get() == 3 + count)
        .await;
    let in_both = store.store.names().len() + second.store.names().len();
    assert_eq!(in_both as u64, 3 + count);
    let there = second.calls();
    running.submit(0, &some_events("c", 1)).unwrap();
    running.until(|| metrics.events_held.get() == 0).await;
    assert_eq!(second.calls(), there, "the first one is back");
    running.stop(PATIENCE).await;
}

#[tokio::test]
async fn delivery_waits_for_whichever_of_two_stores_is_back_first() {
    let store = Moody::start(Answer::HangUp).await;
    let second = Moody::start(Answer::Refuse(503, "ServerBusy")).await;
    let setup = Setup {
        fallback: Some(second.store.address),
        ..Setup::quick()
    };
    let running = Running::start(&setup, &store.lanes(1));
    let metrics = running.metrics(0);
    running.submit(0, &some_events("a", 3)).unwrap();
    running.until(|| second.calls() > 10).await;
    second.becomes(Answer::Take);
    running.until(|| metrics.events_delivered.get() == 3).await;
    assert_eq!(store.store.names().len(), 0);
    running.stop(PATIENCE).await;
}
