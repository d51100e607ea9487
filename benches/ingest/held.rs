//! Connections that are held and do nothing, and others whose request head never ends: what memory
//! does each take, and do good clients notice?
//!
//! The deadlines that would close them are set to ten minutes for this, so that all of them are there
//! at once. Memory is what is resident in the gateway; that of the kernel for its sockets is not in it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tollgate::config::{Config, Ingest};
use tollgate::foundation::units::Span;

use crate::flood::{Good, merge};
use crate::generator::{Generator, Outcome, Pace};
use crate::machine;
use crate::servers::Tollgate;
use crate::siege::address;
use crate::tell;
use crate::traffic::{self, Tokens};
use crate::wire;

/// Stretches before, during and after.
const STRETCHES: u32 = 4;
const STRETCH: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(60);
/// Bytes a connection may take.
const MOST: f64 = 10_000.0;
/// The most that the p99 of good clients may be, as a multiple of that without held connections.
const P99: f64 = 2.0;
/// Each slow head gets another byte this often.
const DRIP: Duration = Duration::from_secs(1);

/// Options.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Idle connections.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=14_000))]
    idle: u32,
    /// Connections whose head comes a byte a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=4000))]
    slow: u32,
    /// Requests of good clients a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    good: u32,
}

fn hold_on(config: &mut Config) {
    let ingest = &mut config.ingest;
    ingest.max_connections = 18_000;
    ingest.max_connections_per_prefix = 18_000;
    ingest.refusal_delay = Ingest::default().refusal_delay;
    ingest.first_byte_timeout = Span::secs(600);
    ingest.header_timeout = Span::secs(600);
    ingest.idle_timeout = Span::secs(600);
}

/// Runs it and prints it. False when a connection was not held, or a good request not answered with 200.
#[expect(
    clippy::too_many_lines,
    reason = "one run from its start to its report"
)]
pub fn run(options: &Options) -> anyhow::Result<bool> {
    tollgate::edge::descriptors::raise().context("there is no limit of descriptors to go by")?;
    let tollgate = Tollgate::start(machine::processors(), |config| {
        hold_on(config);
        Ok(())
    })?;
    machine::wake_precisely()?;
    let requests = traffic::requests(&tollgate.config, Tokens::Good, 1)?;
    let (mut clients, warm) = Generator::connect(tollgate.ingest, &requests, 16)?;
    let mut statuses = warm.statuses;
    let (mut without, mut with) = (Good::default(), Good::default());
    let mut stretches = |into: &mut Good, statuses: &mut _| {
        for _ in 0..STRETCHES {
            let outcome = clients.run(Pace::Rate {
                per_second: options.good,
                duration: STRETCH,
            })?;
            into.add(&outcome);
            merge(statuses, &outcome);
        }
        anyhow::Ok(())
    };
    stretches(&mut Good::default(), &mut statuses)?; // warms up
    stretches(&mut without, &mut statuses)?;
    let resident = || {
        // What the last requests left is delivered by then.
        std::thread::sleep(Duration::from_secs(2));
        machine::resident_bytes(tollgate.pid())
    };
    let start = resident()?;
    let mut idle = open(tollgate.ingest, options.idle, 1)?;
    let silent = resident()?;
    let mut answered = Outcome::default();
    for (stream, request) in idle.iter().zip(requests.iter().cycle()) {
        let status = wire::exchange(stream, request)?;
        *answered.statuses.entry(status).or_default() += 1;
    }
    merge(&mut statuses, &answered);
    let served = resident()?;
    let mut slow = open(tollgate.ingest, options.slow, 100)?;
    let (head, _) = traffic::around_token()?;
    for stream in &mut slow {
        stream.write_all(&head)?;
    }
    let all = resident()?;
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let drip = scope.spawn(|| drip(&mut slow, &stop));
        let result = stretches(&mut with, &mut statuses);
        stop.store(true, Ordering::Relaxed);
        drop(drip.join());
        result
    });
    result?;
    let after = resident()?;
    let (idle_open, slow_open) = (still_open(&mut idle)?, still_open(&mut slow)?);
    drop((idle, slow));
    stretches(&mut without, &mut statuses)?;
    let counts = tollgate.settle(SETTLE)?;
    let each = |before: u64, after: u64, count: u32| {
        #[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
        let bytes = after.saturating_sub(before) as f64;
        bytes / f64::from(count)
    };
    let met = |is| if is { "met" } else { "MISSED" };
    tell(format_args!("resident before: {} KiB", start >> 10));
    for (what, bytes) in [
        ("idle, never used", each(start, silent, options.idle)),
        ("idle, served once", each(start, served, options.idle)),
        ("slow head", each(served, all, options.slow)),
        (
            "all, at the end",
            each(start, after, options.idle + options.slow),
        ),
    ] {
        tell(format_args!(
            "{what:<20} {bytes:>8.0} bytes a connection, goal < {MOST:.0} {}",
            met(bytes < MOST)
        ));
    }
    let ((p50, p99), (held_p50, held_p99)) = (without.medians(), with.medians());
    tell(format_args!(
        "good clients: p50 {p50:.0} us without, {held_p50:.0} us with; p99 {p99:.0} us ({}) without, \
         {held_p99:.0} us ({}) with: {:.2}x, goal <= {P99}x {}",
        without.range(),
        with.range(),
        held_p99 / p99,
        met(held_p99 <= P99 * p99)
    ));
    let accepted = statuses.get(&200).copied().unwrap_or(0);
    let honest = statuses.keys().all(|status| *status == 200)
        && (idle_open, slow_open) == (options.idle, options.slow)
        && counts.accepted == accepted
        && counts.delivered == accepted;
    tell(format_args!(
        "held to the end: {idle_open} idle, {slow_open} slow; good answers {statuses:?}, delivered {}: {}",
        counts.delivered,
        if honest {
            "all accounted for"
        } else {
            "NOT all accounted for"
        }
    ));
    Ok(honest)
}

fn open(server: SocketAddr, count: u32, block: u8) -> anyhow::Result<Vec<TcpStream>> {
    let source = |index| -> Ipv4Addr { address(block, index) };
    (0..usize::try_from(count)?)
        .map(|index| wire::dial(server, source(index)))
        .collect()
}

/// Sends a byte of a header's value on each connection, again and again.
fn drip(slow: &mut [TcpStream], stop: &AtomicBool) {
    let pause = DRIP / u32::try_from(slow.len().max(1)).unwrap_or(1);
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut *slow {
            // One that is closed is found when they are counted.
            drop(stream.write(b"a"));
            std::thread::sleep(pause);
        }
    }
}

/// Connections that the server has not closed, and on which it has said nothing more.
fn still_open(streams: &mut [TcpStream]) -> anyhow::Result<u32> {
    let mut count = 0;
    for stream in streams {
        stream.set_nonblocking(true)?;
        let read = stream.read(&mut [0; 1]);
        count += u32::from(read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    }
    Ok(count)
}
