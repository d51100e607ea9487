//! A store that is down for long at full load, and comes back: what memory is held, how fast what waits on
//! disk is delivered, and what new traffic notices of that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tollgate::config::Config;
use tollgate::foundation::units::ByteSize;

use crate::flood::{Good, merge};
use crate::generator::{Generator, Pace};
use crate::machine;
use crate::servers::Tollgate;
use crate::setup::everything;
use crate::tell;
use crate::traffic::{self, Tokens};

const STRETCH: Duration = Duration::from_secs(2);
const SETTLE: Duration = Duration::from_secs(120);
/// Stretches before the store goes.
const BEFORE: u32 = 5;
/// The longest that the backlog is waited for, in stretches.
const LONGEST: u32 = 600;
const EVENTS: u64 = 10;
/// How much more the second half may hold than the first quarter, once memory is full.
const FLAT: f64 = 1.10;
/// The most that the p99 may be while the backlog goes, as a multiple of that before.
const P99: f64 = 3.0;

/// Options.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Requests of ten events a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    rate: u32,
    /// Seconds that the store is down.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=86_400))]
    down: u32,
    /// The most that memory may hold of events; left out: the default of `limits.memory`.
    #[arg(long)]
    memory: Option<ByteSize>,
    /// What its spool may hold.
    #[arg(long, default_value = "16GiB")]
    spool: ByteSize,
    /// `spool.drain_rate`, a second; 0: as fast as it goes.
    #[arg(long, default_value = "0")]
    drain_rate: ByteSize,
}

impl Options {
    fn configure(&self, config: &mut Config) -> anyhow::Result<()> {
        if let Some(memory) = self.memory {
            config.limits.memory = memory;
        }
        config.spool.max_size = self.spool;
        config.spool.drain_rate = self.drain_rate;
        everything(config)
    }
}

/// Runs it and prints it. False when a request was not answered with 200 or an event was lost.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let mut tollgate = Tollgate::start(machine::processors(), |config| options.configure(config))?;
    machine::wake_precisely()?;
    let requests = traffic::requests(&tollgate.config, Tokens::Good, 10)?;
    let (mut clients, warm) = Generator::connect(tollgate.ingest, &requests, 32)?;
    let mut statuses = warm.statuses;
    let mut stretch = |into: &mut Good, statuses: &mut BTreeMap<u16, u64>| {
        let outcome = clients.run(Pace::Rate {
            per_second: options.rate,
            duration: STRETCH,
        })?;
        into.add(&outcome);
        merge(statuses, &outcome);
        anyhow::Ok(())
    };
    stretch(&mut Good::default(), &mut statuses)?; // warms up
    let (mut before, mut down, mut drain) = (Good::default(), Good::default(), Good::default());
    for _ in 0..BEFORE {
        stretch(&mut before, &mut statuses)?;
    }
    let start = machine::resident_bytes(tollgate.pid())?;
    tollgate.stop_store();
    let (began, mut resident) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(options.down.into()) {
        stretch(&mut down, &mut statuses)?;
        resident.push(machine::resident_bytes(tollgate.pid())?);
    }
    let waiting = tollgate.total("tollgate_spool_events")?;
    let bytes = tollgate.total("tollgate_spool_bytes")?;
    tollgate.start_store()?;
    let (mut most, mut left) = (0, waiting);
    let (mut going, mut drained) = (None, None);
    for _ in 0..LONGEST {
        let (began, mut one) = (Instant::now(), Good::default());
        stretch(&mut one, &mut statuses)?;
        most = most.max(machine::resident_bytes(tollgate.pid())?);
        let now = tollgate.total("tollgate_spool_events")?;
        // Before, the store is not yet found to be back.
        if now < left || going.is_some() {
            going.get_or_insert(began);
            drain.join(one);
        }
        left = now;
        if let Some(began) = going.filter(|_| now == 0) {
            drained = Some(began.elapsed());
            break;
        }
    }
    let counts = tollgate.settle(SETTLE)?;
    tell(format_args!("resident before: {} KiB", start >> 10));
    let flat = told_memory(options, &resident);
    tell(format_args!(
        "at its return {waiting} events waited on disk, {bytes} bytes; most resident while they went: {} KiB",
        most >> 10
    ));
    told_drain(options, waiting, drained);
    told_latency(&mut before, &mut down, &mut drain);
    let sent: u64 = statuses.values().sum();
    let good = statuses.get(&200).copied().unwrap_or(0);
    let honest = counts.accepted == good * EVENTS
        && counts.delivered == counts.accepted
        && drained.is_some();
    tell(format_args!(
        "sent {sent} requests, answered 200 {good}; accepted {} events, delivered {}, dropped {}: {}; memory {}",
        counts.accepted,
        counts.delivered,
        counts.dropped,
        if honest {
            "every event arrived"
        } else {
            "NOT every event arrived"
        },
        if flat { "flat" } else { "GROWS" },
    ));
    Ok(honest && good == sent)
}

/// Memory while the store is down: of the second half beside the first quarter.
fn told_memory(options: &Options, resident: &[u64]) -> bool {
    let most = |part: &[u64]| part.iter().max().copied().unwrap_or(0);
    let (early, _) = resident.split_at(resident.len().div_ceil(4));
    let (_, late) = resident.split_at(resident.len() / 2);
    #[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
    let growth = most(late) as f64 / most(early) as f64;
    tell(format_args!(
        "down for {} s at {} events/s: resident at most {} KiB in the first quarter, {} KiB in the second half: {growth:.2}, goal {FLAT}",
        options.down,
        u64::from(options.rate) * EVENTS,
        most(early) >> 10,
        most(late) >> 10,
    ));
    growth <= FLAT
}

fn told_drain(options: &Options, waiting: u64, drained: Option<Duration>) {
    let Some(took) = drained else {
        tell(format_args!("the backlog did NOT go"));
        return;
    };
    #[expect(clippy::cast_precision_loss, reason = "events are far below 2^52")]
    let rate = waiting as f64 / took.as_secs_f64();
    tell(format_args!(
        "drained in {:.1} s, beside {} new events/s: {rate:.0} events/s from disk",
        took.as_secs_f64(),
        u64::from(options.rate) * EVENTS,
    ));
}

fn told_latency(before: &mut Good, down: &mut Good, drain: &mut Good) {
    let usual = before.medians().1;
    tell(format_args!(
        "p99 before: {usual:.0} us ({})",
        before.range()
    ));
    for (what, good) in [("while down", down), ("while draining", drain)] {
        let p99 = good.medians().1;
        let ratio = p99 / usual;
        tell(format_args!(
            "p99 {what}: {p99:.0} us ({}): {ratio:.2} of that before, goal {P99}: {}",
            good.range(),
            if ratio <= P99 { "met" } else { "MISSED" }
        ));
    }
}
