//! Revocations, bans and raises reach every node through a real redis-server.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sharing;
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sharing::{Node, Redis, Tunnel, redis_is_there, until};
use support::{PROJECT, Tollgate};
use tollgate::config::Identity;
use tollgate::foundation::clock;
use tollgate::gate::identity::state::{IdentityState, NewRevocation, RevocationKind};
use tollgate::gate::quota::shared::{OverrideBook, OverrideLedger, RevocationLedger};
use tollgate::gate::quota::{Change, Override};
use tollgate::telemetry::Metrics;

/// The bans and raises of a node, in memory.
#[derive(Debug, Default)]
struct Book {
    kept: Mutex<BTreeMap<(String, String), Override>>,
    changes: AtomicU64,
}

impl Book {
    fn ban(&self, key: &str) {
        let now = clock::unix_millis();
        let one = Override {
            limit: "shared".to_owned(),
            key: key.to_owned(),
            change: Change::Ban,
            reason: "a flood, from there".to_owned(),
            made: now,
            expires: now / 1000 + 3600,
        };
        self.put(one).unwrap();
    }

    fn has(&self, key: &str) -> bool {
        self.list().iter().any(|one| one.key == key)
    }
}

impl OverrideBook for Book {
    fn bound(&self) -> usize {
        100
    }

    fn version(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn list(&self) -> Vec<Override> {
        self.kept.lock().unwrap().values().cloned().collect()
    }

    fn put(&self, one: Override) -> Result<(), String> {
        let key = (one.limit.clone(), one.key.clone());
        self.kept.lock().unwrap().insert(key, one);
        self.changes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn lift(&self, limit: &str, key: &str) -> Result<(), String> {
        let key = (limit.to_owned(), key.to_owned());
        self.kept.lock().unwrap().remove(&key);
        self.changes.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A node with revocations and bans of its own.
struct Member {
    node: Node,
    state: Arc<IdentityState>,
    book: Arc<Book>,
    _folder: tempfile::TempDir,
}

impl Member {
    fn start(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::default();
        let state = IdentityState::open(folder.path(), &identity, &Metrics::new()).unwrap();
        Self::with(url, Arc::new(state), folder)
    }

    fn with(url: &str, state: Arc<IdentityState>, folder: tempfile::TempDir) -> Self {
        let book = Arc::new(Book::default());
        let kept: Arc<dyn OverrideBook> = Arc::clone(&book) as Arc<dyn OverrideBook>;
        let node = Node::start_with(
            &[url.to_owned()],
            2,
            "",
            vec![
                RevocationLedger::new(Arc::clone(&state)),
                OverrideLedger::new(kept),
            ],
        );
        Self {
            node,
            state,
            book,
            _folder: folder,
        }
    }

    fn revoke(&self, value: &str, ttl: Option<u64>) {
        let new = NewRevocation {
            kind: RevocationKind::Subject,
            value: value.into(),
            reason: "lost".into(),
            ttl_seconds: ttl,
            before: None,
            by: None,
        };
        self.state.revoke(new).unwrap();
    }

    fn lift(&self, value: &str) {
        let kind = RevocationKind::Subject;
        self.state.revocations().lift(kind, value).unwrap();
    }

    fn is_revoked(&self, value: &str) -> bool {
        let now = clock::unix_seconds();
        let kind = RevocationKind::Subject;
        self.state.revocations().is_revoked(kind, value, None, now)
    }
}

/// Waits as long as the promise says.
#[track_caller]
fn within_5_s(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < end, "not within 5 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_one_node_revokes_bans_and_lifts_the_others_know() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let (one, other) = (Member::start(&redis.url()), Member::start(&redis.url()));
    one.node.wait_until_up();
    other.node.wait_until_up();
    one.revoke("ann", None);
    one.book.ban("address=192.0.2.1");
    within_5_s("the revocation", || other.is_revoked("ann"));
    within_5_s("the ban", || other.book.has("address=192.0.2.1"));
    // Whoever lifts it: it need not be the one that made it.
    other.lift("ann");
    other.book.lift("shared", "address=192.0.2.1").unwrap();
    within_5_s("that it is lifted", || !one.is_revoked("ann"));
    within_5_s("that the ban is lifted", || {
        !one.book.has("address=192.0.2.1")
    });
    // And again.
    one.revoke("ann", Some(3600));
    within_5_s("the second revocation", || other.is_revoked("ann"));
    // A node that comes later knows all of it.
    let third = Member::start(&redis.url());
    within_5_s("what was before", || third.is_revoked("ann"));
    let status = one.node.store.status();
    assert!(status.news_sent.get() >= 3 && status.news_taken.get() >= 2);
    assert_eq!(status.news_bad.get(), 0);
}

#[test]
fn many_revocations_keep_no_ban_from_the_others() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let many =
        "for i = 1, 5000 do redis.call('HSET', KEYS[1], 'revocation:subject:' .. i, '1 0 -') end";
    let _told = redis.tell(&["EVAL", many, "1", "tollgate:entries"]);
    let (one, other) = (Member::start(&redis.url()), Member::start(&redis.url()));
    one.node.wait_until_up();
    other.node.wait_until_up();
    one.book.ban("address=192.0.2.1");
    within_5_s("the ban", || other.book.has("address=192.0.2.1"));
}

#[test]
fn a_store_that_comes_back_empty_is_filled_again_and_what_was_lifted_stays_lifted() {
    if !redis_is_there() {
        return;
    }
    let mut redis = Redis::start();
    let tunnel = Tunnel::start(redis.port);
    let (one, other) = (Member::start(&redis.url()), Member::start(&tunnel.url()));
    one.node.wait_until_up();
    other.node.wait_until_up();
    one.revoke("ann", None);
    one.revoke("bob", None);
    within_5_s("both", || {
        other.is_revoked("ann") && other.is_revoked("bob")
    });
    // While one is cut off, the other lifts, and then all is lost.
    tunnel.cut(true);
    one.lift("bob");
    until("it is in the store", || {
        redis
            .tell(&["HGET", "tollgate:entries", "revocation:subject:bob"])
            .trim()
            .ends_with(" -")
    });
    redis.kill();
    until("it is down", || !one.node.store.status().is_up());
    redis.start_again();
    one.node.wait_until_up();
    tunnel.cut(false);
    until("it is known there again", || {
        redis
            .tell(&["HKEYS", "tollgate:entries"])
            .contains("subject:ann")
    });
    let third = Member::start(&redis.url());
    within_5_s("what was revoked", || third.is_revoked("ann"));
    other.node.wait_until_up();
    within_5_s("that it was lifted", || !other.is_revoked("bob"));
    assert!(!one.is_revoked("bob") && other.is_revoked("ann"));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!third.is_revoked("bob") && !one.is_revoked("bob"));
}

#[test]
fn what_is_not_understood_is_passed_over() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let one = Member::start(&redis.url());
    one.node.wait_until_up();
    let long = "x".repeat(5000);
    let bad = [
        ("revocation:subject:eve", "99 0 {}"),
        ("revocation:subject:eve2", "x"),
        ("revocation:subject:eve3", "-1 0 -"),
        (
            "revocation:subject:eve4",
            r#"9 0 {"kind":"subject","value":"other","reason":"","created":1,"by":""}"#,
        ),
        ("nothing", "1 0 -"),
        ("unknown:kind", "1 0 -"),
        ("override:shared", "1 0 {"),
        ("override:long", &long),
    ];
    for (index, (name, text)) in bad.iter().enumerate() {
        redis.tell(&["HSET", "tollgate:entries", name, text]);
        redis.tell(&["ZADD", "tollgate:order", &(index + 1).to_string(), name]);
    }
    redis.tell(&["HSET", "tollgate:meta", "v", "100"]);
    let status = one.node.store.status();
    within_5_s("each is counted", || {
        status.news_bad.get() >= bad.len() as u64
    });
    assert!(one.state.revocations().is_empty());
    // And what comes after it is carried.
    let other = Member::start(&redis.url());
    other.node.wait_until_up();
    one.revoke("ann", None);
    within_5_s("a good one", || other.is_revoked("ann"));
    assert!(status.is_up() && status.changes.get() == 1);
}

/// Two real nodes with an open logstore and this limit.
fn site(redis: &Redis) -> Tollgate {
    Tollgate::start_config(&format!(
        r#"
[ingest]
default_project = "{PROJECT}"

[quota.redis]
urls = ["{}"]

[[limit]]
name = "address"
key = ["address"]
shared = true
rate = [{{ count = 40, per = "1h" }}]

[[upstream]]
name = "store"
kind = "embedded"

[[project]]
name = "{PROJECT}"
upstream = "store"

[[project.logstore]]
name = "web"
accept = ["anonymous"]
"#,
        redis.url()
    ))
}

fn run(tollgate: &Tollgate, arguments: &[&str]) -> std::process::Output {
    let admin = format!("http://{}", tollgate.admin);
    let mut command = support::binary();
    command
        .args(arguments)
        .args(["--admin-url", &admin, "--data-dir"]);
    command.arg(tollgate.data_dir()).output().unwrap()
}

#[test]
fn two_nodes_have_one_limit_and_one_list_of_bans_and_revocations() {
    if !redis_is_there() {
        return;
    }
    let mut redis = Redis::start();
    let nodes = [site(&redis), site(&redis)];
    let up = "tollgate_quota_store_up";
    until("both are up", || {
        nodes.iter().all(|node| node.metric(up) == 1)
    });
    let send = |node: &Tollgate| node.track("web", "", r#"{"__logs__":[{"k":"v"}]}"#);
    let (mut passed, mut last) = (0, None);
    for _ in 0..60 {
        for node in &nodes {
            let answer = send(node);
            passed += u32::from(answer.status == 200);
            last = Some(answer);
        }
    }
    // Two leases of four, and no request of more than one unit.
    assert!((30..=40 + 2 * 4).contains(&passed), "{passed} of 40");
    let last = last.unwrap();
    assert_eq!(last.header("x-tollgate-reason"), Some("quota_exceeded"));
    assert!(last.header("retry-after").unwrap().parse::<u32>().unwrap() > 1);

    let ban = [
        "limits",
        "ban",
        "address",
        "address=10.1.2.3",
        "--for",
        "1h",
        "--reason",
        "x",
    ];
    let output = run(&nodes[0], &ban);
    assert!(output.status.success(), "{output:?}");
    let revoked = run(&nodes[0], &["revoke", "add", "subject", "ann"]);
    assert!(revoked.status.success(), "{revoked:?}");
    let bans = r#"tollgate_limit_overrides{change="ban"}"#;
    within_5_s("the ban", || nodes[1].metric(bans) == 1);
    within_5_s("the revocation", || {
        nodes[1].metric("tollgate_revocations") == 1
    });
    let lift = ["limits", "lift", "address", "address=10.1.2.3"];
    let output = run(&nodes[1], &lift);
    assert!(output.status.success(), "{output:?}");
    within_5_s("that it is lifted", || nodes[0].metric(bans) == 0);

    redis.kill();
    until("both go on alone", || {
        nodes.iter().all(|node| node.metric(up) == 0)
    });
    redis.start_again();
    until("both are back", || {
        nodes.iter().all(|node| node.metric(up) == 1)
    });
    let log = nodes[0].stderr();
    let told = log
        .matches("the store of shared limits does not answer")
        .count();
    assert_eq!(told, 1, "each change is told once: {log}");
}
