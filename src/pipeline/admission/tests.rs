//! Who is let into a lane, and what is told to those who are not.

use super::*;
use crate::config::Batch;
use crate::foundation::units::{ByteSize, Span};
use crate::pipeline::scripted_store::{Answer, ScriptedStore};
use crate::pipeline::testing::{Running, Setup, some_events};

/// Rules with a bound of 60 s, 5 s when a quota is used up, and stale after 30 s.
fn admission(memory: u64) -> (Admission, Arc<LogstoreMetrics>) {
    let metrics = Arc::new(LogstoreMetrics::default());
    let rules = AdmissionRules::new(&Overload::default(), Duration::from_secs(15));
    let admission = Admission::new(Budget::new(memory), 1, rules, Arc::clone(&metrics));
    (admission, metrics)
}

/// The store takes 1000 bytes a second of a backlog, for ten seconds.
async fn drain(admission: &Admission) {
    admission.on_taken(5);
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(1)).await;
        admission.on_delivered(1000);
    }
}

fn told(refused: Result<impl Sized, Refusal>) -> (Reason, u32) {
    let refusal = refused.err().unwrap();
    (refusal.reason(), refusal.retry_seconds().unwrap())
}

#[tokio::test]
async fn low_is_refused_before_normal_and_normal_before_high() {
    let (admission, _) = admission(1000);
    let low = admission.admit(700, Priority::Low).unwrap();
    assert!(admission.admit(1, Priority::Low).is_err());
    let normal = admission.admit(200, Priority::Normal).unwrap();
    assert!(admission.admit(1, Priority::Normal).is_err());
    let high = admission.admit(100, Priority::High).unwrap();
    assert_eq!(
        told(admission.admit(1, Priority::High)),
        (Reason::MemoryFull, 1)
    );
    drop((low, normal, high));
    let (reason, _) = told(admission.enter(901, Priority::Normal, Priority::Normal));
    assert_eq!(reason, Reason::MemoryFull, "by its head, before it is read");
    admission
        .enter(900, Priority::Normal, Priority::Normal)
        .unwrap();
    assert_eq!(admission.budget().used(), 0);
}

#[tokio::test]
async fn a_priority_that_is_known_late_is_asked_again() {
    let (admission, _) = admission(1000);
    let mut lease = admission.admit(800, Priority::High).unwrap();
    let refused = admission.admit_again(&mut lease, Priority::Low);
    assert_eq!(told(refused).0, Reason::MemoryFull);
    admission.admit_again(&mut lease, Priority::Normal).unwrap();
    assert!(lease.grow(101).is_err());
    admission.admit_again(&mut lease, Priority::High).unwrap();
    lease.grow(200).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_slow_refuses_before_memory_is_full() {
    let (admission, metrics) = admission(1 << 30);
    metrics.load.bytes_held.add(70_000);
    admission
        .enter(0, Priority::Normal, Priority::Normal)
        .unwrap();
    drain(&admission).await;
    // 54 s of 60 are for normal priority: 16 000 bytes are too many, and take 16 s.
    let (reason, seconds) = told(admission.enter(0, Priority::Normal, Priority::Normal));
    assert_eq!(reason, Reason::StoreSlow);
    assert!((16..=18).contains(&seconds), "{seconds}");
    let (_, seconds) = told(admission.admit(10_000, Priority::High));
    assert!((20..=22).contains(&seconds), "{seconds}");
    metrics.load.bytes_held.sub(20_000);
    admission
        .enter(0, Priority::Normal, Priority::Normal)
        .unwrap();
    assert!(admission.enter(0, Priority::Low, Priority::Low).is_err());
    assert!(admission.admit(4001, Priority::Normal).is_err());
    drop(admission.admit(3999, Priority::Normal).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_is_bounded_by_memory_and_the_wait_grows() {
    let (admission, metrics) = admission(1000);
    metrics.load.bytes_held.add(1_000_000);
    drain(&admission).await;
    assert!(admission.enter(0, Priority::High, Priority::High).is_err());
    admission.on_failure(false);
    tokio::time::advance(Duration::from_secs(31)).await;
    admission.settle();
    admission.enter(0, Priority::High, Priority::High).unwrap();
    let _all = admission.admit(1000, Priority::High).unwrap();
    assert_eq!(
        told(admission.admit(1, Priority::High)).0,
        Reason::MemoryFull
    );
    let (_, seconds) = told(admission.admit(1, Priority::High));
    assert!((27..=30).contains(&seconds), "{seconds}");
    admission.on_delivered(10);
    assert_eq!(
        told(admission.admit(1, Priority::High)),
        (Reason::MemoryFull, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_used_up_quota_refuses_sooner_and_for_a_while() {
    let (admission, metrics) = admission(1 << 30);
    drain(&admission).await;
    metrics.load.bytes_held.add(10_000);
    admission.enter(0, Priority::High, Priority::High).unwrap();
    admission.on_failure(true);
    let (reason, seconds) = told(admission.enter(0, Priority::High, Priority::High));
    assert_eq!(reason, Reason::UpstreamQuota);
    assert!((5..=6).contains(&seconds), "{seconds}");
    tokio::time::advance(Duration::from_secs(11)).await;
    admission.settle();
    admission.enter(0, Priority::High, Priority::High).unwrap();
}

#[tokio::test]
async fn a_refusal_from_within_is_told_when_to_try_again_and_no_other_is() {
    let (admission, _) = admission(1000);
    let timed = admission.timed(Reason::MemoryFull.into());
    assert!(timed.is_timed());
    let before = Refusal::from(Reason::MemoryFull).retry_after(77);
    assert_eq!(admission.timed(before).retry_seconds(), Some(77));
    assert!(!admission.timed(Reason::NotJson.into()).is_timed());
}

/// A pipeline before a store that takes a batch in 100 ms, one at a time.
async fn before_a_slow_store(overload: Overload) -> (Running, ScriptedStore) {
    let store = ScriptedStore::start(|_| Answer::TakeLate(Duration::from_millis(100))).await;
    let mut setup = Setup::quick();
    setup.delivery.concurrency = 1;
    setup.batch = Batch {
        max_bytes: ByteSize::kib(4),
        ..setup.batch
    };
    setup.overload = overload;
    let running = Running::start(&setup, &[store.address]);
    (running, store)
}

#[tokio::test]
async fn a_slow_store_is_measured_and_what_is_held_stays_within_the_delay() {
    let (running, _store) = before_a_slow_store(Overload {
        max_delay: Span::secs(3),
        ..Overload::default()
    })
    .await;
    let metrics = running.metrics(0);
    let mut refused = None;
    // About four batches a time, of which one is delivered.
    for _ in 0..60 {
        for _ in 0..4 {
            if let Err(refusal) = running.submit(0, &some_events("a", 30)) {
                assert_eq!(refusal.reason(), Reason::StoreSlow);
                refused = Some(refusal);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refusal = refused.expect("four times what the store takes, for six seconds");
    assert!(refusal.retry_seconds().unwrap() < 30);
    let (held, rate) = (metrics.load.bytes_held.get(), metrics.load.drain_rate.get());
    assert!(rate > 0);
    assert!(held < rate * 6, "{held} held, {rate} a second");
    let memory = running.pipeline.memory();
    assert!(memory.used() < memory.limit() / 100, "long before memory");
    running.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn tasks_that_run_late_are_noticed_and_requests_pass_again_afterwards() {
    let (running, _store) = before_a_slow_store(Overload {
        max_lag: Span::millis(20),
        ..Overload::default()
    })
    .await;
    let lane = Arc::clone(&running.pipeline.lanes()[0]);
    let mut refused = None;
    for _ in 0..200 {
        for _ in 0..50 {
            refused = lane
                .enter(0, Priority::Normal, Priority::Normal)
                .err()
                .or(refused);
        }
        // This blocks the only thread of the runtime.
        std::thread::sleep(Duration::from_millis(40));
        tokio::task::yield_now().await;
        if refused.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let refusal = refused.expect("requests of a machine that is late");
    assert_eq!(refusal.reason(), Reason::Overloaded);
    assert!((1..=30).contains(&refusal.retry_seconds().unwrap()));
    running
        .until(|| lane.admission().turnstile().is_open())
        .await;
    lane.enter(0, Priority::Low, Priority::Low).unwrap();
    running.stop(Duration::from_secs(1)).await;
}
