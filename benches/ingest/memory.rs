//! Memory over many events: the gateway's resident memory at ten points of a long run.
//!
//! The load is a closed loop on few connections, so that nothing piles up by itself: what grows here
//! is a leak. Memory that is held on purpose has its bound in `limits.memory`.

use std::time::Duration;

use crate::generator::{Generator, Pace};
use crate::machine;
use crate::servers::Tollgate;
use crate::tell;
use crate::traffic::{self, Tokens};

const CHECKPOINTS: u64 = 10;
const SETTLE: Duration = Duration::from_secs(60);
/// How much more the second half may hold than the first quarter, before it is called growth.
const FLAT: f64 = 1.10;

/// Options of the memory run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Events to send.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    events: u64,
    /// Events in a request.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    per_request: u16,
    /// Connections, with one request in flight on each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
}

/// Runs it and prints it. False when an event was lost.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let tollgate = Tollgate::start(machine::processors(), |_| Ok(()))?;
    let per_request = u64::from(options.per_request);
    let requests = traffic::requests(
        &tollgate.config,
        Tokens::Good,
        usize::from(options.per_request),
    )?;
    let kib = || machine::resident_bytes(tollgate.pid()).map(|bytes| bytes >> 10);
    tell(format_args!(
        "{:>12} {:>12} {:>12}",
        "events sent", "delivered", "RSS, KiB"
    ));
    tell(format_args!("{:>12} {:>12} {:>12}", 0, 0, kib()?));
    let (mut generator, warm) =
        Generator::connect(tollgate.ingest, &requests, usize::from(options.connections))?;
    let mut accepted = warm.answered(200) * per_request;
    let mut refused = warm.answers() - warm.answered(200);
    let mut resident = Vec::new();
    let mut seconds = 0.0;
    for _ in 0..CHECKPOINTS {
        let requests = options.events.div_ceil(per_request * CHECKPOINTS);
        let outcome = generator.run(Pace::Count { requests })?;
        accepted += outcome.answered(200) * per_request;
        refused += outcome.answers() - outcome.answered(200);
        seconds += outcome.elapsed.as_secs_f64();
        resident.push(kib()?);
        let counts = tollgate.counts()?;
        let rss = resident.last().copied().unwrap_or_default();
        tell(format_args!(
            "{accepted:>12} {:>12} {rss:>12}",
            counts.delivered
        ));
    }
    let counts = tollgate.settle(SETTLE)?;
    let early = resident
        .iter()
        .take(resident.len().div_ceil(4))
        .max()
        .copied()
        .unwrap_or(0);
    let late = resident
        .iter()
        .skip(resident.len() / 2)
        .max()
        .copied()
        .unwrap_or(0);
    #[expect(
        clippy::cast_precision_loss,
        reason = "KiB and events are far below 2^52"
    )]
    let (growth, rate) = (late as f64 / early as f64, accepted as f64 / seconds);
    tell(format_args!(
        "{accepted:>12} {:>12} {:>12}\n",
        counts.delivered,
        kib()?
    ));
    tell(format_args!(
        "{rate:.0} events/s; memory of the second half over the first quarter: {growth:.2}, {}",
        if growth <= FLAT { "flat" } else { "it GROWS" }
    ));
    let honest = refused == 0 && counts.accepted == accepted && counts.delivered == accepted;
    tell(format_args!(
        "sent {accepted}, accepted {}, delivered {}, dropped {}, refused requests {refused}: {}",
        counts.accepted,
        counts.delivered,
        counts.dropped,
        if honest {
            "every event arrived"
        } else {
            "NOT every event arrived"
        }
    ));
    Ok(honest)
}
