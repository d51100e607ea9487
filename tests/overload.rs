//! A slow store, a used-up quota, a machine that is short of time: who is refused, and who is not.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::{Answer, PROJECT, Tollgate};

/// A body of one event with a value of so many bytes that do not compress to nothing.
fn body(bytes: usize) -> String {
    let mut seed = 7u32;
    let value: String = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from(seed >> 28).unwrap())
    })
    .take(bytes)
    .collect();
    format!("{{\"__logs__\":[{{\"k\":\"{value}\"}}]}}")
}

/// A configuration with the logstores `flood` and `quiet` on the embedded store.
fn two_logstores(sections: &str) -> String {
    two_logstores_with(sections, false)
}

fn two_logstores_with(sections: &str, disk: bool) -> String {
    format!(
        r#"
        [ingest]
        default_project = "{PROJECT}"
        # The floods come from one address, with a connection for each request.
        connection_rate_per_prefix = 0
        # Memory and time alone: what a disk changes has tests of its own.
        [spool]
        enabled = {disk}
        {sections}
        [[upstream]]
        name = "embedded"
        kind = "embedded"
        [[project]]
        name = "{PROJECT}"
        upstream = "embedded"
        [[project.logstore]]
        name = "flood"
        accept = ["anonymous"]
        [[project.logstore]]
        name = "quiet"
        accept = ["anonymous"]
    "#
    )
}

fn of(name: &str, logstore: &str) -> String {
    format!("{name}{{project=\"{PROJECT}\",logstore=\"{logstore}\"}}")
}

fn wait_of(answer: &Answer) -> u64 {
    let told = answer.header("retry-after");
    told.unwrap_or_else(|| panic!("{answer:?}"))
        .parse()
        .unwrap()
}

/// What the answers to one logstore were, by reason; the empty one is 200.
#[derive(Debug, Default)]
struct Answers(BTreeMap<String, u64>);

impl Answers {
    fn count(&mut self, answer: &Answer) {
        let reason = match answer.status {
            200 => String::new(),
            _ => answer.refusal().2,
        };
        *self.0.entry(reason).or_default() += 1;
    }

    fn of(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or_default()
    }
}

/// Floods one logstore from several connections at once, and sends to the other one event in each
/// pause; for so long.
fn flood_beside_quiet(
    tollgate: &Tollgate,
    (threads, pause): (usize, Duration),
    bytes: usize,
    time: Duration,
) -> (Answers, Answers) {
    let over = AtomicBool::new(false);
    let body = body(bytes);
    std::thread::scope(|scope| {
        let flood = || {
            let mut answers = Answers::default();
            while !over.load(Ordering::Relaxed) {
                answers.count(&tollgate.track("flood", "", &body));
            }
            answers
        };
        let floods: Vec<_> = (0..threads).map(|_| scope.spawn(flood)).collect();
        let start = Instant::now();
        let mut quiet = Answers::default();
        while start.elapsed() < time {
            quiet.count(&tollgate.track("quiet", "", r#"{"__logs__":[{"event":"click"}]}"#));
            std::thread::sleep(pause);
        }
        over.store(true, Ordering::Relaxed);
        let mut all = Answers::default();
        for flood in floods {
            for (reason, count) in flood.join().unwrap().0 {
                *all.0.entry(reason).or_default() += count;
            }
        }
        (all, quiet)
    })
}

#[test]
fn before_a_slow_store_the_logstore_that_floods_loses_its_own_and_the_quiet_one_none() {
    let tollgate = Tollgate::start_config(&two_logstores(
        r#"
        [limits]
        memory = "4MiB"
        memory_share = 100
        body = "256KiB"
        unverified_body = "128KiB"
        [batch]
        max_bytes = "64KiB"
        max_age = "200ms"
        [delivery]
        concurrency = 2
        [overload]
        max_delay = "1h"
        max_lag = "1m"
        [embedded.faults]
        delay = "300ms"
    "#,
    ));
    let pause = Duration::from_millis(50);
    let time = Duration::from_secs(4);
    let (flood, quiet) = flood_beside_quiet(&tollgate, (2, pause), 50_000, time);
    let sent = quiet.of("");
    assert_eq!(
        quiet.0.len(),
        1,
        "nothing of the quiet one is refused: {quiet:?}"
    );
    assert!(flood.of("memory_full") > flood.of(""), "{flood:?}");
    assert!(flood.of("") > 0, "{flood:?}");

    // What floods holds most of the memory, and left room.
    let leased = tollgate.metric(&of("tollgate_logstore_leased_bytes", "flood"));
    assert!(leased < 3 << 20, "{leased}");
    let allowed = tollgate.metric(&of("tollgate_logstore_allowed_bytes", "quiet"));
    assert!(allowed >= 1 << 20, "at least its reserve: {allowed}");

    let events = tollgate.events("quiet", usize::try_from(sent).unwrap());
    assert_eq!(events.len() as u64, sent, "and none of it is lost");
    let accepted = tollgate.metric(&of("tollgate_events_accepted_total", "flood"));
    assert_eq!(accepted, flood.of(""));
    let delivered = || tollgate.metric(&of("tollgate_events_delivered_total", "flood"));
    within(Duration::from_secs(40), || delivered() == accepted);
}

/// Waits until `condition` holds.
fn within(time: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + time;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {time:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Sends events to `flood`, one in each pause, until one is refused.
fn until_refused(tollgate: &Tollgate, bytes: usize, pause: Duration) -> Answer {
    let body = body(bytes);
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let answer = tollgate.track("flood", "x-log-apiversion: 0.6.0\r\n", &body);
        if answer.status != 200 {
            return answer;
        }
        assert!(Instant::now() < deadline, "nothing is refused");
        std::thread::sleep(pause);
    }
}

#[test]
fn a_slow_store_is_noticed_before_memory_is_full_and_the_wait_that_is_told_is_about_right() {
    let tollgate = Tollgate::start_config(&two_logstores(
        r#"
        [limits]
        memory = "128MiB"
        [batch]
        max_bytes = "64KiB"
        max_age = "200ms"
        [delivery]
        concurrency = 2
        [overload]
        max_delay = "4s"
        quota_delay = "1s"
        max_lag = "1m"
        [embedded.faults]
        delay = "250ms"
    "#,
    ));
    // Two batches in 250 ms are about 500 kB a second; this is about twice that.
    let pause = Duration::from_millis(50);
    let refused = until_refused(&tollgate, 50_000, pause);
    assert_eq!(
        refused.refusal(),
        (503, "ServerBusy".into(), "store_slow".into())
    );
    let rate = tollgate.metric(&of("tollgate_drain_rate_bytes", "flood"));
    assert!((50_000..5_000_000).contains(&rate), "{rate}");
    assert!(tollgate.metric("tollgate_memory_leased_bytes") < 32 << 20);
    assert_eq!(tollgate.track("quiet", "", body(50)).status, 200);

    // A client that wants to send much comes back when it is told to.
    let again = body(900_000);
    let told = wait_of(&tollgate.track("flood", "", &again));
    let start = Instant::now();
    within(Duration::from_secs(60), || {
        tollgate.track("flood", "", &again).status == 200
    });
    let took = start.elapsed().as_secs();
    assert!(took <= 3 * told + 4, "told {told} s, took {took} s");
    assert!(told <= 3 * took + 4, "told {told} s, took {took} s");
}

#[test]
fn with_a_disk_a_slow_store_refuses_nobody_and_memory_holds_no_more_than_the_delay() {
    let tollgate = Tollgate::start_config(&two_logstores_with(
        r#"
        [limits]
        memory = "128MiB"
        [batch]
        max_bytes = "64KiB"
        max_age = "200ms"
        [delivery]
        concurrency = 2
        [overload]
        max_delay = "2s"
        quota_delay = "1s"
        max_lag = "1m"
        [embedded.faults]
        delay = "250ms"
    "#,
        true,
    ));
    for _ in 0..200 {
        let answer = tollgate.track("flood", "", body(50_000));
        assert_eq!(answer.status, 200, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(50));
    }
    let waiting = tollgate.metric(&of("tollgate_spool_events", "flood"));
    assert!(waiting > 0, "{}", tollgate.metrics());
    assert!(tollgate.metric("tollgate_memory_leased_bytes") < 16 << 20);
    assert_eq!(tollgate.track("quiet", "", body(50)).status, 200);
}

#[test]
fn a_used_up_quota_of_the_store_is_passed_on_as_one_for_that_logstore_alone() {
    let tollgate = Tollgate::start_config(&two_logstores(
        r#"
        [batch]
        max_bytes = "16KiB"
        max_age = "200ms"
        [delivery]
        concurrency = 2
        backoff_max = "1s"
        [overload]
        quota_delay = "3s"
        max_lag = "1m"
        [embedded]
        shards = 1
        [embedded.faults]
        shard_writes_per_second = 2
    "#,
    ));
    let refused = until_refused(&tollgate, 10_000, Duration::from_millis(100));
    assert_eq!(
        refused.refusal(),
        (403, "WriteQuotaExceed".into(), "upstream_quota".into())
    );
    let told = wait_of(&refused);
    assert!((1..=300).contains(&told), "{told}");
    assert_eq!(tollgate.track("quiet", "", body(50)).status, 200);
    let refusals = format!(
        "tollgate_requests_refused_total{{project=\"{PROJECT}\",logstore=\"flood\",reason=\"upstream_quota\"}}"
    );
    assert_eq!(tollgate.metric(&refusals), 1);
    // It drains, and the quota is forgotten.
    within(Duration::from_secs(60), || {
        tollgate.track("flood", "", body(100)).status == 200
    });
}

#[test]
fn a_machine_that_is_short_of_time_cuts_the_logstore_that_floods() {
    // Every machine is as late as this.
    let tollgate = Tollgate::start_config(&two_logstores("[overload]\nmax_lag = \"1us\""));
    within(Duration::from_secs(20), || {
        tollgate.metric("tollgate_shedding") == 1
    });
    let pause = Duration::from_millis(200);
    let (flood, quiet) = flood_beside_quiet(&tollgate, (4, pause), 100, Duration::from_secs(3));
    assert_eq!(quiet.0.len(), 1, "{quiet:?}");
    assert_eq!(quiet.0.keys().next().unwrap(), "");
    assert!(flood.of("overloaded") > 0, "{flood:?}");
    assert!(flood.of("") > 0, "a part is always taken: {flood:?}");
    let lag = tollgate.metrics();
    assert!(lag.contains("tollgate_runtime_lag_seconds 0."), "{lag}");
}

#[test]
fn weight_and_priority_decide_how_much_a_logstore_may_hold() {
    let config = two_logstores(
        r#"
        [limits]
        memory = "4MiB"
        memory_share = 100
        body = "64KiB"
        unverified_body = "64KiB"
        [batch]
        max_bytes = "64KiB"
        max_age = "1h"
        [delivery]
        stop_deadline = "1s"
        [overload]
        max_delay = "2h"
        reserved = 80
        alpha = 1
        [embedded.faults]
        error_rate = 1.0
        error_status = 503
        error_code = "ServerBusy"
    "#,
    )
    .replace(
        "name = \"flood\"",
        "name = \"flood\"\nweight = 3\npriority = \"high\"",
    )
    .replace("name = \"quiet\"", "name = \"quiet\"\npriority = \"low\"");
    let tollgate = Tollgate::start_config(&config);
    let body = body(20_000);
    let fill = |logstore: &str| loop {
        let answer = tollgate.track(logstore, "", &body);
        if answer.status != 200 {
            assert_eq!(answer.refusal().2, "memory_full");
            assert!((1..=30).contains(&wait_of(&answer)));
            return tollgate.metric(&of("tollgate_logstore_leased_bytes", logstore));
        }
    };
    let heavy = fill("flood");
    let light = fill("quiet");
    // Reserves of 2.4 MiB and 0.8 MiB; of the 0.8 MiB that are left three quarters, and then of the
    // rest a half; of all that the light one may use 70 %.
    let kib = |bytes: u64| bytes >> 10;
    assert!((2700..=3072).contains(&kib(heavy)), "{} KiB", kib(heavy));
    assert!((450..=650).contains(&kib(light)), "{} KiB", kib(light));
}
