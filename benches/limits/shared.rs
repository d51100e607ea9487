//! What counting together over Redis adds to a check: nanoseconds on the wall, one check after another,
//! of the same keys by a limit of this node alone and by one that is shared. Each side in turn, so that
//! both see the same machine.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use super::sharing::{Node, Redis, redis_is_there};

/// Keys, and checks of each round.
const KEYS: u32 = 1000;
const CHECKS: u32 = 50_000;
const ROUNDS: usize = 9;
/// The most that may be added, in nanoseconds at the median.
const GOAL: u64 = 50_000;

fn limits(shared: bool) -> String {
    format!(
        "[[limit]]\nname = \"per-address\"\nkey = [\"address\"]\nshared = {shared}\n\
         rate = [{{ count = 100000, per = \"1s\" }}]\n\
         parent = {{ rate = [{{ count = 1000000000, per = \"1s\" }}] }}\n"
    )
}

fn address(key: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | (key % KEYS)))
}

/// Nanoseconds of each check; all of them pass.
fn round(node: &Node) -> (Vec<u64>, usize) {
    let mut times = Vec::with_capacity(CHECKS as usize);
    let mut refused = 0;
    for key in 0..CHECKS {
        let start = Instant::now();
        let passed = node.take(address(key), 1).is_ok();
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        refused += usize::from(!passed);
    }
    (times, refused)
}

fn quantile(sorted: &[u64], thousandths: usize) -> u64 {
    let at = sorted.len() * thousandths / 1000;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Prints the table, if there is a `redis-server`.
pub fn report() {
    if !redis_is_there() {
        println!("\nno redis-server: what a shared limit adds is not measured");
        return;
    }
    let redis = Redis::start();
    let urls = [redis.url()];
    let (alone, together) = (
        Node::start(&urls, 2, &limits(false)),
        Node::start(&urls, 2, &limits(true)),
    );
    together.wait_until_up();
    let trips = || together.store.status().round_trips.get();
    let before = trips();
    let mut times = [Vec::new(), Vec::new()];
    let mut refused = [0, 0];
    for _ in 0..ROUNDS {
        for ((node, times), refused) in [&alone, &together]
            .into_iter()
            .zip(&mut times)
            .zip(&mut refused)
        {
            let (these, some) = round(node);
            times.extend(these);
            *refused += some;
        }
    }
    println!(
        "\n{:>10}  {:>10} {:>10} {:>10} {:>10}",
        "limit", "p50 ns", "p99 ns", "p99.9 ns", "refused"
    );
    let mut medians = [0, 0];
    for (((name, times), refused), median) in ["alone", "shared"]
        .into_iter()
        .zip(&mut times)
        .zip(refused)
        .zip(&mut medians)
    {
        times.sort_unstable();
        *median = quantile(times, 500);
        println!(
            "{name:>10}  {:>10} {:>10} {:>10} {refused:>10}",
            *median,
            quantile(times, 990),
            quantile(times, 999)
        );
    }
    let [alone, shared] = medians;
    let added = shared.saturating_sub(alone);
    let verdict = if added <= GOAL { "met" } else { "MISSED" };
    println!(
        "a lease adds {added} ns at the median (goal {GOAL} ns: {verdict}); {} round trips for {} checks",
        trips() - before,
        CHECKS as usize * ROUNDS
    );
}
