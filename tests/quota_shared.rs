//! Limits that nodes share through a real redis-server: that they stay limits whatever becomes of
//! the store, and that what one node revokes all know.
#![expect(clippy::unwrap_used, reason = "tests")]

mod sharing;
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use sharing::{Node, Redis, Tunnel, redis_is_there, until};
use tollgate::gate::quota::shared::StoreFault;
use tollgate::gate::quota::{Change, Facts, KeyOverrides, Override};

const BURST: u64 = 100;
/// What two or three nodes may let pass beyond a limit, of which the lease is 20 %.
fn beyond(node: &Node, nodes: u64) -> u64 {
    let limit = node.limit();
    let lease = limit.lease().unwrap();
    nodes * (lease.held() + lease.debt())
}

const LIMIT: &str = r#"
[[limit]]
name = "shared"
key = ["address"]
shared = true
rate = [{ count = 100, per = "1h" }]
"#;

fn client(number: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, number).into()
}

/// Asks as fast as it can, on each node in turn, for a while.
fn drain(nodes: &[&Node], address: IpAddr, time: Duration) -> Vec<u64> {
    let mut passed = vec![0; nodes.len()];
    let end = Instant::now() + time;
    while Instant::now() < end {
        for (node, passed) in nodes.iter().zip(&mut passed) {
            *passed += u64::from(node.take(address, 1).is_ok());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    passed
}

#[test]
fn three_nodes_together_let_pass_what_the_limit_says() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let nodes: Vec<Node> = (0..3)
        .map(|_| Node::start(&[redis.url()], 3, LIMIT))
        .collect();
    let all: Vec<&Node> = nodes.iter().collect();
    for node in &all {
        node.wait_until_up();
    }
    let passed: u64 = drain(&all, client(1), Duration::from_millis(800))
        .iter()
        .sum();
    let most = BURST + beyond(all[0], 3) + 1;
    assert!((BURST - 10..=most).contains(&passed), "{passed} of {most}");
    // One node alone may have all of it.
    let passed: u64 = drain(&all[..1], client(2), Duration::from_millis(800))
        .iter()
        .sum();
    assert!((BURST - 10..=most).contains(&passed), "{passed}");
    // Redis says when there is room again, and nothing passes until then.
    let wait = nodes[0].take(client(1), 1).unwrap_err().unwrap();
    assert!(
        (1_000_000_000..=3600 * 1_000_000_000).contains(&wait),
        "{wait}"
    );
    assert_eq!(nodes[0].store.status().nodes.get(), 3);
}

fn change(node: &Node, address: IpAddr, from: u32, to: u32) {
    let (limit, now) = (node.limit(), node.quotas.now());
    let [own, _] = limit.hashes(&Facts::of_address(address), None);
    let one = Override {
        limit: "shared".to_owned(),
        key: format!("address={address}"),
        change: Change::Raise { thousandths: to },
        reason: "a test".to_owned(),
        made: 1,
        expires: now.unix_seconds + 3600,
    };
    let before = Override {
        change: Change::Raise { thousandths: from },
        ..one.clone()
    };
    let (from, to) = (before.factor(), one.factor());
    let mut all = KeyOverrides::default();
    all.insert(own, Arc::new(one));
    limit.set_overrides(all);
    limit.rescale(own, from, to, now);
}

#[test]
fn a_lowered_key_is_held_to_less_on_all_nodes_and_a_raised_one_need_not_wait() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let nodes = [
        Node::start(&[redis.url()], 2, LIMIT),
        Node::start(&[redis.url()], 2, LIMIT),
    ];
    nodes.iter().for_each(Node::wait_until_up);
    nodes
        .iter()
        .for_each(|node| change(node, client(1), 1000, 10));
    let mut passed = 0;
    for node in &nodes {
        // Faster than the store answers.
        passed += (0..50).filter(|_| node.take(client(1), 1).is_ok()).count();
    }
    // One unit in an hour, and for each node one to hold, one to owe and one request.
    assert!(passed <= 1 + 2 * 3, "{passed}");
    // Used up, and then raised.
    let one = &nodes[0];
    until("it is used up", || {
        one.take(client(2), 1)
            .is_err_and(|wait| wait > Some(1_000_000_000))
    });
    change(one, client(2), 1000, 10_000);
    assert!(one.take(client(2), 1).is_ok());
}

#[test]
fn a_request_that_is_larger_than_a_lease_passes_and_is_charged() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let (one, other) = (
        Node::start(&[redis.url()], 2, LIMIT),
        Node::start(&[redis.url()], 2, LIMIT),
    );
    one.wait_until_up();
    other.wait_until_up();
    assert!(one.take(client(1), 95).is_ok());
    assert_eq!(one.take(client(1), 101), Err(None), "never");
    until("the other node hears of it", || {
        let _passed = other.take(client(1), 1);
        other.take(client(1), 20).is_err()
    });
    // What is given back is there again.
    assert!(one.take(client(2), 100).is_ok());
    std::thread::sleep(Duration::from_millis(50));
    assert!(one.take(client(2), 50).is_err());
}

#[test]
fn a_store_that_is_killed_leaves_each_node_its_share_and_comes_back() {
    if !redis_is_there() {
        return;
    }
    let mut redis = Redis::start();
    let nodes = [
        Node::start(&[redis.url()], 2, LIMIT),
        Node::start(&[redis.url()], 2, LIMIT),
    ];
    let all: Vec<&Node> = nodes.iter().collect();
    all.iter().for_each(|node| node.wait_until_up());
    redis.kill();
    until("it is seen that it is gone", || {
        all.iter().all(|node| !node.store.status().is_up())
    });
    for node in &all {
        let passed: u64 = drain(&[node], client(1), Duration::from_millis(100))
            .iter()
            .sum();
        assert_eq!(passed, BURST / 2, "its share");
    }
    redis.start_again();
    until("it is back", || {
        all.iter().all(|node| node.store.status().is_up())
    });
    assert!(all[0].store.status().changes.get() >= 3);
    let passed: u64 = drain(&all, client(2), Duration::from_millis(500))
        .iter()
        .sum();
    assert!(
        passed >= BURST - 10 && passed <= BURST + beyond(all[0], 2) + 1,
        "{passed}"
    );
}

#[test]
fn a_paused_store_is_not_waited_for() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let node = Node::start(&[redis.url()], 2, LIMIT);
    node.wait_until_up();
    redis.signal("STOP");
    // Debt first, and then the share, with no gap between that is longer than a few milliseconds.
    let passed: u64 = drain(&[&node], client(1), Duration::from_millis(1500))
        .iter()
        .sum();
    let debt = node.limit().lease().unwrap().debt();
    assert!(passed >= BURST / 2, "{passed}");
    assert!(passed <= BURST / 2 + debt + 1, "{passed}");
    assert!(!node.store.status().is_up());
    assert!(node.store.status().faults(StoreFault::Timeout) > 0);
    redis.signal("CONT");
    node.wait_until_up();
}

#[test]
fn a_limit_that_fails_closed_refuses_until_the_store_is_back() {
    if !redis_is_there() {
        return;
    }
    let mut redis = Redis::start();
    let closed = LIMIT.to_owned() + "without_store = \"refuse\"\n";
    let node = Node::start(&[redis.url()], 2, &closed);
    node.wait_until_up();
    assert!(node.take(client(1), 1).is_ok());
    redis.kill();
    until("it refuses", || node.is_closed(client(1)));
    redis.start_again();
    node.wait_until_up();
    assert!(node.take(client(1), 1).is_ok());
}

#[test]
fn a_store_that_comes_back_empty_is_told_of_budgets() {
    if !redis_is_there() {
        return;
    }
    let budget = r#"
[[limit]]
name = "shared"
shared = true
budget = [{ count = 200, per = "day" }]
"#;
    let mut redis = Redis::start();
    let nodes = [
        Node::start(&[redis.url()], 2, budget),
        Node::start(&[redis.url()], 2, budget),
    ];
    let all: Vec<&Node> = nodes.iter().collect();
    all.iter().for_each(|node| node.wait_until_up());
    let before: u64 = drain(&all, client(1), Duration::from_millis(700))
        .iter()
        .sum();
    let most = 200 + beyond(all[0], 2) + 1;
    assert!((150..=most).contains(&before), "{before}");
    redis.kill();
    until("it is gone", || {
        all.iter().all(|node| !node.store.status().is_up())
    });
    redis.start_again();
    all.iter().for_each(|node| node.wait_until_up());
    let after: u64 = drain(&all, client(1), Duration::from_millis(2500))
        .iter()
        .sum();
    assert!(
        after <= 2 * beyond(all[0], 2) + 2,
        "{after} more after {before}"
    );
}

#[test]
fn nodes_follow_to_a_replica_that_is_promoted() {
    if !redis_is_there() {
        return;
    }
    let mut primary = Redis::start();
    let replica = Redis::start();
    replica.tell(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
    until("the replica has synced", || {
        replica
            .tell(&["INFO", "replication"])
            .contains("master_link_status:up")
    });
    let urls = [primary.url(), replica.url()];
    let backwards = [replica.url(), primary.url()];
    let one = Node::start(&urls, 2, LIMIT);
    // A replica takes no writes, so this one goes on to the primary.
    let other = Node::start(&backwards, 2, LIMIT);
    one.wait_until_up();
    other.wait_until_up();
    assert!(other.store.status().faults(StoreFault::ReadOnly) > 0);
    let before: u64 = drain(&[&one, &other], client(1), Duration::from_millis(600))
        .iter()
        .sum();
    assert!(before >= BURST - 10, "{before}");
    std::thread::sleep(Duration::from_millis(100));
    primary.kill();
    replica.tell(&["REPLICAOF", "NO", "ONE"]);
    until("it is down", || one.store.status().changes.get() > 1);
    until("both have followed", || {
        one.store.status().is_up() && other.store.status().is_up()
    });
    // The replica knows what was used.
    let after: u64 = drain(&[&one, &other], client(1), Duration::from_millis(600))
        .iter()
        .sum();
    assert!(after <= BURST + beyond(&one, 2), "{after}");
    let fresh: u64 = drain(&[&one, &other], client(2), Duration::from_millis(600))
        .iter()
        .sum();
    assert!(fresh >= BURST - 10, "{fresh}");
}

#[test]
fn one_of_three_that_is_cut_off_has_its_share_and_no_more() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let tunnel = Tunnel::start(redis.port);
    let near = [
        Node::start(&[redis.url()], 3, LIMIT),
        Node::start(&[redis.url()], 3, LIMIT),
    ];
    let far = Node::start(&[tunnel.url()], 3, LIMIT);
    near.iter().for_each(Node::wait_until_up);
    far.wait_until_up();
    tunnel.cut(true);
    until("it sees that it is cut off", || {
        let _passed = far.take(client(9), 1);
        !far.store.status().is_up()
    });
    let all = [&near[0], &near[1], &far];
    let passed = drain(&all, client(1), Duration::from_millis(800));
    assert_eq!(passed[2], BURST / 3, "{passed:?}");
    let near_two = passed[0] + passed[1];
    assert!(near_two >= BURST - 10, "{passed:?}");
    assert!(near_two <= BURST + beyond(&far, 3), "{passed:?}");
    tunnel.cut(false);
    far.wait_until_up();
}

#[test]
fn what_the_store_cannot_do_is_told_apart_and_left_to_the_node() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start();
    let node = Node::start(&[redis.url()], 2, LIMIT);
    node.wait_until_up();
    assert!(node.take(client(1), 1).is_ok());
    until("the key is there", || {
        redis.tell(&["KEYS", "*:q:*"]).contains(":q:shared:")
    });
    let key = redis.tell(&["KEYS", "*:q:*"]).trim().to_owned();
    assert!(!key.contains("192.0.2"), "keys are not in the clear: {key}");
    let ttl: i64 = redis.tell(&["TTL", &key]).trim().parse().unwrap();
    assert!(ttl > 0, "nothing stays for ever");
    redis.tell(&["DEL", &key]);
    redis.tell(&["LPUSH", &key, "x"]);
    let passed: u64 = drain(&[&node], client(1), Duration::from_millis(800))
        .iter()
        .sum();
    assert!(
        (BURST / 2 - 1..=BURST / 2 + 20).contains(&passed),
        "{passed}"
    );
    assert!(node.store.status().faults(StoreFault::WrongType) > 0);
    assert!(node.store.status().is_up(), "only that key is in trouble");
    // Scripts may be flushed at any time.
    redis.tell(&["SCRIPT", "FLUSH"]);
    let passed: u64 = drain(&[&node], client(2), Duration::from_millis(800))
        .iter()
        .sum();
    assert!(passed >= BURST - 10, "{passed}");
    // No memory: it is down as a whole.
    redis.tell(&["CONFIG", "SET", "maxmemory", "1"]);
    until("it counts as down", || !node.store.status().is_up());
    assert!(node.store.status().faults(StoreFault::Memory) > 0);
    redis.tell(&["CONFIG", "SET", "maxmemory", "0"]);
    node.wait_until_up();
    // A time of another year: taken as full, not as full until then.
    assert!(node.take(client(3), 1).is_ok());
    until("the key is there", || {
        redis.tell(&["KEYS", "*:q:*"]).lines().count() >= 3
    });
    for key in redis
        .tell(&["KEYS", "*:q:*"])
        .lines()
        .filter(|it| *it != key)
    {
        redis.tell(&["HSET", key, "r0", "9000000000000000"]);
    }
    let _passed = drain(&[&node], client(3), Duration::from_millis(300));
    let wait = node.take(client(3), 1).unwrap_err().unwrap();
    assert!(wait <= 3600 * 1_000_000_000, "{wait}");
}

#[test]
fn a_password_is_read_anew_and_one_that_is_wrong_is_told_apart() {
    if !redis_is_there() {
        return;
    }
    let redis = Redis::start_with(&["--requirepass", "open-sesame"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let limits = format!("password = \"file:{}\"\n{LIMIT}", file.display());
    let node = Node::start(&[redis.url()], 2, &limits);
    let status = node.store.status();
    until("it is refused", || status.faults(StoreFault::Auth) > 0);
    assert!(!status.is_up() && node.take(client(1), 1).is_ok());
    std::fs::write(&file, "open-sesame\n").unwrap();
    node.wait_until_up();
    std::fs::remove_file(&file).unwrap();
    redis.tell(&["-a", "open-sesame", "CLIENT", "KILL", "TYPE", "normal"]);
    until("it cannot be read", || {
        status.faults(StoreFault::Secret) > 0
    });
}

#[test]
fn a_store_with_tls_is_reached_and_one_with_another_authority_is_not() {
    if !redis_is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = write("cert.pem", made.cert.pem());
    let key = write("key.pem", made.signing_key.serialize_pem());
    let wrong = write("other.pem", other.cert.pem());
    let port = sharing::free_port();
    let _redis = Redis::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no",
    ]);
    let url = [format!("rediss://127.0.0.1:{port}")];
    let limits = |ca: &str| format!("ca_file = \"{ca}\"\n{LIMIT}");
    let good = Node::start(&url, 2, &limits(&certificate));
    good.wait_until_up();
    let bad = Node::start(&url, 2, &limits(&wrong));
    until("it is refused", || {
        bad.store.status().faults(StoreFault::Tls) > 0
    });
    assert!(!bad.store.status().is_up());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_requests_passes_the_bound(
        steps in proptest::collection::vec((0usize..3, 1u64..8, 0u64..4), 50..300),
        cut_at in 0usize..300,
    ) {
        if !redis_is_there() {
            return Ok(());
        }
        // 100 in 2 s: some of it comes back while the case runs.
        let limit = LIMIT.replace("1h", "2s");
        let redis = Redis::start();
        let tunnel = Tunnel::start(redis.port);
        let nodes = [
            Node::start(&[redis.url()], 3, &limit),
            Node::start(&[redis.url()], 3, &limit),
            Node::start(&[tunnel.url()], 3, &limit),
        ];
        nodes.iter().for_each(Node::wait_until_up);
        let begun = Instant::now();
        let (mut passed, mut alone) = (0, 0);
        for (step, (at, units, millis)) in steps.into_iter().enumerate() {
            if step == cut_at {
                tunnel.cut(true);
            }
            std::thread::sleep(Duration::from_millis(millis));
            if nodes[at].take(client(1), units).is_ok() {
                if step >= cut_at && at == 2 {
                    alone += units;
                } else {
                    passed += units;
                }
            }
        }
        let time = u64::try_from(begun.elapsed().as_millis()).unwrap();
        let largest = 7;
        let bound = BURST + time * 100 / 2000 + beyond(&nodes[0], 3) + 3 * largest;
        prop_assert!(passed <= bound, "{passed} of {bound}");
        // Cut off: what it had, and its share.
        let share = BURST / 3 + time * 100 / 6000 + 1;
        prop_assert!(alone <= share + beyond(&nodes[0], 1) + largest, "{alone} of {share}");
    }
}
