//! What it costs to ask a limit, beside a keyed limiter of `governor` in a `DashMap`.
//!
//! `cargo bench --bench limits` prints a table. Every check is of another key, in an order that no
//! cache foresees, and passes; one thread asks. Both sides read the clock for each check, as a request
//! does, but for the rows that say otherwise. Memory is what is resident before and after the keys have
//! come, each side in a process of its own (`limits memory SIDE KEYS`).
//!
//! What a limit adds that is shared over Redis comes last, with a `redis-server` of its own (`shared`).

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a bench prints, and one that cannot go on stops"
)]

mod shared;
#[path = "../../tests/sharing/mod.rs"]
mod sharing;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use governor::clock::DefaultClock;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use tollgate::config::{Config, Limit as Rule};
use tollgate::foundation::units::ByteSize;
use tollgate::gate::quota::{Ask, Bucket, Factor, Facts, Limit, Now, Quotas, Rate, Window};

/// Rounds of the clock, of which the median counts.
const ROUNDS: usize = 15;
/// Checks of a round.
const CHECKS: usize = 200_000;
/// Units that a key gets in a second: so many that none is refused.
const PLENTY: u32 = 1_000_000;
/// Keys, and the most nanoseconds that a check may take.
const GOALS: [(u32, f64); 2] = [(1000, 200.0), (1_000_000, 500.0)];

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    /// The limits as a request meets them: begun, asked at the door, dropped.
    Charges,
    /// One limit: its key, its overrides, its windows.
    Limit,
    /// The table and the windows alone, with the hash and the time given.
    Bucket,
    /// A limit that refuses, and what the client is told.
    Refused,
    /// The yardstick.
    Governor,
}

const SIDES: [(Side, &str); 5] = [
    (Side::Charges, "Quotas::begin, at_door"),
    (Side::Limit, "Limit::hashes, take"),
    (Side::Bucket, "Bucket::take (no clock)"),
    (Side::Refused, "begin, at_door, refused"),
    (Side::Governor, "governor, DashMap"),
];

/// The address of a client: 10.0.0.0 and up, scattered so that each /24 has a few.
fn address(key: u32) -> IpAddr {
    let scattered = key.wrapping_mul(0x9e37_79b1) >> 8;
    IpAddr::V4(Ipv4Addr::from_bits(10 << 24 | scattered))
}

/// `checks` addresses of so many keys, in an order that looks random.
fn order(keys: u32, checks: usize) -> Vec<IpAddr> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        address(u32::try_from(state % u64::from(keys)).unwrap_or_default())
    };
    std::iter::repeat_with(next).take(checks).collect()
}

/// Places of the table: twice as many as keys, so that each finds one.
fn places(keys: u32) -> u32 {
    keys.saturating_mul(2).max(1024).next_power_of_two()
}

fn rule(keys: u32, count: u32) -> Rule {
    let text = format!(
        "name = \"per-address\"\nkey = [\"address\"]\nmax_keys = {}\n\
         rate = [{{ count = {count}, per = \"1s\", burst = {count} }}]\n\
         parent = {{ rate = [{{ count = 1000000000, per = \"1s\", burst = 1000000000 }}] }}",
        places(keys)
    );
    toml::from_str(&text).expect("a limit")
}

fn quotas(keys: u32, count: u32) -> Arc<Quotas> {
    let mut config = Config::quickstart();
    config.quota.memory = ByteSize::mib(256);
    config.limit_rules = vec![rule(keys, count)];
    Quotas::new(&config, 7).expect("the limit")
}

fn limit(quotas: &Quotas) -> Arc<Limit> {
    Arc::clone(quotas.set().all.first().expect("the limit"))
}

/// As the keyed store that governor has where its `dashmap` feature is on.
#[derive(Default)]
struct States(DashMap<IpAddr, InMemoryState>);

impl StateStore for States {
    type Key = IpAddr;

    fn measure_and_replace<T, F, E>(&self, key: &IpAddr, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(state) = self.0.get(key) {
            return state.measure_and_replace(&NotKeyed::NonKey, f);
        }
        let state = self.0.entry(*key).or_default();
        state.measure_and_replace(&NotKeyed::NonKey, f)
    }
}

fn governor_limiter() -> RateLimiter<IpAddr, States, DefaultClock> {
    let plenty = NonZeroU32::new(PLENTY).expect("not zero");
    RateLimiter::new(
        Quota::per_second(plenty),
        States::default(),
        DefaultClock::default(),
    )
}

/// A check that was prepared: every key has come once. False when it was refused.
fn prepare(side: Side, keys: u32) -> Box<dyn Fn(IpAddr) -> bool> {
    let all = || (0..keys).map(address);
    match side {
        Side::Charges => {
            let quotas = quotas(keys, PLENTY);
            let ask = ask(quotas);
            all().for_each(|key| assert!(ask(key), "a key of the preparation was refused"));
            Box::new(ask)
        }
        Side::Refused => {
            let ask = ask(quotas(keys, 0));
            Box::new(move |key| !ask(key))
        }
        Side::Limit => {
            let quotas = quotas(keys, PLENTY);
            let limit = limit(&quotas);
            // One clock, as in a request, which has read the other.
            let began = (quotas.now(), Instant::now());
            let ask = move |key| {
                let facts = Facts::of_address(key);
                let hashes = limit.hashes(&facts, None);
                let text = || limit.key_text(&facts, None);
                let nanos = u64::try_from(began.1.elapsed().as_nanos()).unwrap_or(u64::MAX);
                let now = Now {
                    nanos: began.0.nanos + nanos,
                    ..began.0
                };
                limit.take(&hashes, 1, false, now, &text).is_ok()
            };
            all().for_each(|key| assert!(ask(key), "a key of the preparation was refused"));
            Box::new(ask)
        }
        Side::Bucket => {
            let plenty = u64::from(PLENTY);
            let window = |times| {
                [Window::Rate(Rate::new(
                    plenty * times,
                    1_000_000_000,
                    plenty * times,
                ))]
            };
            let quotas = quotas(8, PLENTY);
            let limit = limit(&quotas);
            let bucket = Bucket::new(&window(1), places(keys), 0, &window(1000));
            let now = quotas.now();
            let take = move |key| {
                let hashes = limit.hashes(&Facts::of_address(key), None);
                let ask = Ask {
                    hashes: &hashes,
                    units: 1,
                    reserved: false,
                    factor: Factor::ONE,
                    now,
                };
                bucket.take(ask, &String::new).is_ok()
            };
            all().for_each(|key| assert!(take(key), "a key of the preparation was refused"));
            Box::new(take)
        }
        Side::Governor => {
            let limiter = governor_limiter();
            all().for_each(|key| assert!(limiter.check_key(&key).is_ok(), "a key was refused"));
            Box::new(move |key| limiter.check_key(&key).is_ok())
        }
    }
}

/// A request before the limits on addresses, as `front` asks them.
fn ask(quotas: Arc<Quotas>) -> impl Fn(IpAddr) -> bool {
    // `front` has read the wall clock for its answer already.
    let unix_seconds = quotas.now().unix_seconds;
    move |key| {
        let mut charges = quotas.begin(unix_seconds);
        charges.at_door(&Facts::of_address(key)).is_ok()
    }
}

/// Processor time of this thread: what else runs on the machine is not in it.
fn processor_nanoseconds() -> f64 {
    // The kernel books a running thread's time when it gives way.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("it");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse().ok());
    nanoseconds.expect("nanoseconds")
}

/// Nanoseconds of one check, of each side: the medians of the rounds. The sides take turns.
fn nanoseconds(keys: u32) -> Vec<f64> {
    let order = order(keys, CHECKS * ROUNDS);
    let mut prepared: Vec<_> = SIDES
        .iter()
        .map(|(side, _)| (prepare(*side, keys), Vec::new()))
        .collect();
    for checks in order.chunks(CHECKS) {
        for (check, times) in &mut prepared {
            let start = processor_nanoseconds();
            let refused = checks.iter().filter(|key| !check(black_box(**key))).count();
            times.push((processor_nanoseconds() - start) / checks.len() as f64);
            assert_eq!(refused, 0, "a check was not decided as expected");
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    prepared
        .into_iter()
        .map(|(_, times)| median(times))
        .collect()
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("it");
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("pages") * 4096
}

/// Bytes that so many keys take, in this process.
fn memory(side: Side, keys: u32) -> u64 {
    let before = resident();
    let check = prepare(side, keys);
    let bytes = resident().saturating_sub(before);
    drop(black_box(check));
    bytes
}

/// The same, in a process of its own.
fn memory_apart(side: &str, keys: u32) -> f64 {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["memory", side, &keys.to_string()])
        .output()
        .expect("another process");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().parse::<f64>().expect("a number") / f64::from(keys)
}

fn report() {
    println!(
        "{:>10}  {:<26} {:>10} {:>16}   goal",
        "keys", "check", "ns", "of governor's"
    );
    for (keys, goal) in GOALS {
        let times = nanoseconds(keys);
        let governor = times.last().copied().unwrap_or_default();
        for ((side, name), nanos) in SIDES.iter().zip(times) {
            let goal = match side {
                Side::Charges if nanos <= goal => format!("<= {goal:.0} ns met"),
                Side::Charges => format!("<= {goal:.0} ns MISSED"),
                _ => String::new(),
            };
            println!(
                "{keys:>10}  {name:<26} {nanos:>10.0} {:>15.2}x   {goal}",
                nanos / governor
            );
        }
    }
    println!(
        "\n{:>10}  {:>22} {:>22}",
        "keys", "bytes a key, ours", "governor, DashMap"
    );
    for (keys, _) in GOALS {
        println!(
            "{keys:>10}  {:>22.0} {:>22.0}   (ours in {} places)",
            memory_apart("ours", keys),
            memory_apart("governor", keys),
            places(keys),
        );
    }
    shared::report();
}

fn main() -> ExitCode {
    let (from_cargo, arguments): (Vec<_>, _) = std::env::args()
        .skip(1)
        .partition::<Vec<String>, _>(|argument| argument == "--bench");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["memory", side, keys] = *arguments else {
        // `cargo test` builds and starts benches too, without this argument.
        if !from_cargo.is_empty() {
            report();
        }
        return ExitCode::SUCCESS;
    };
    let side = if side == "governor" {
        Side::Governor
    } else {
        Side::Charges
    };
    match keys.parse() {
        Ok(keys) => {
            println!("{}", memory(side, keys));
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}
