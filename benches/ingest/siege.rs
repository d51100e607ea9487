//! More refusals than the machine can make, from many addresses, beside good clients.
//!
//! Each attacker has a connection and an address of its own, and always has some requests that are not
//! answered: as soon as answers come it sends more, ten times as fast as the server can refuse. What
//! waits in the sockets is all that TCP lets a flood of any strength have waiting, so each attacker has
//! its next refusal as soon as the server gives it. The good clients have an address each as well, and send few
//! requests each, at a fixed rate in all.
//!
//! Once with no limit, and once with one on each address that the good clients keep and the attackers
//! do not. Server, store, attackers and good clients share the machine's processors: what the attack
//! costs to send is taken from the good clients as well, and is told.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tollgate::config::{Config, Ingest};

use crate::flood::{Good, merge};
use crate::generator::{Generator, Pace};
use crate::machine::{self, CpuTimes};
use crate::servers::Tollgate;
use crate::tell;
use crate::traffic::{self, Tokens};
use crate::wire;

/// Stretches before the siege, during it, and after it.
const STRETCHES: u32 = 4;
const STRETCH: Duration = Duration::from_secs(3);
/// How much faster than the server refuses the attackers would send.
const TIMES: u64 = 10;
/// The least goodput, as a share of that without a siege.
const GOODPUT: f64 = 0.9;
/// The most that the p99 of good clients may be, as a multiple of that without a siege.
const P99: f64 = 5.0;
/// How a limit is set that good clients keep. 200 of them share a /24, all of them new at first.
const LIMIT: &str = "name = \"per-address\"\nkey = [\"address\"]\nrate = [{ count = 1, per = \"1s\", burst = 5 }]\nparent = { rate = [{ count = 200, per = \"1s\", burst = 1000 }] }";
const SETTLE: Duration = Duration::from_secs(60);

/// Options of the siege.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Attackers, each with an address and a connection of its own.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=15_000))]
    attackers: u32,
    /// Requests of an attacker that wait for an answer, at most.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    depth: u32,
    /// Good clients, each with an address and a connection of its own.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=2000))]
    clients: u32,
    /// Requests of all good clients a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    good: u32,
    /// Run only with the limit on addresses, or only without it.
    #[arg(long)]
    limit: Option<bool>,
}

/// Runs it and prints it. False when a good request was not answered with 200, or an event was lost.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    tollgate::edge::descriptors::raise().context("there is no limit of descriptors to go by")?;
    machine::wake_precisely()?;
    let mut honest = true;
    for limited in [false, true] {
        if options.limit.is_none_or(|only| only == limited) {
            honest &= besiege(options, limited)?;
        }
    }
    Ok(honest)
}

/// Room for all of them, whose connections are held for the whole run.
fn make_room(config: &mut Config) {
    config.ingest.max_connections = 18_000;
    let minutes = tollgate::foundation::units::Span::secs(600);
    config.ingest.first_byte_timeout = minutes;
    config.ingest.idle_timeout = minutes;
    config.ingest.refusal_delay = Ingest::default().refusal_delay;
}

fn besiege(options: &Options, limited: bool) -> anyhow::Result<bool> {
    let rule = toml::from_str(LIMIT)?;
    let tollgate = Tollgate::start(machine::processors(), |config| {
        make_room(config);
        if limited {
            config.limit_rules = vec![rule];
        }
        Ok(())
    })?;
    let good = traffic::requests(&tollgate.config, Tokens::Good, 1)?;
    let bad = traffic::requests(&tollgate.config, Tokens::Forged, 1)?;
    let capacity = capacity()?;
    tell(format_args!(
        "\n{} a limit on each address: {capacity} bad tokens/s refused on 64 connections; then {} addresses, \
         each with up to {} requests waiting, and {} good clients with {}/s in all",
        if limited { "with" } else { "without" },
        options.attackers,
        options.depth,
        options.clients,
        options.good,
    ));
    let clients = usize::try_from(options.clients)?;
    let (mut clients, warm) =
        Generator::connect_from(tollgate.ingest, &good, clients, |index| address(200, index))?;
    let mut statuses = warm.statuses;
    let (mut without, mut with) = (Score::default(), Score::default());
    without.stretches(&mut clients, options.good, &mut statuses)?;
    let attack = Attack::open(&tollgate, options, &bad, capacity)?;
    let stop = AtomicBool::new(false);
    let before = CpuTimes::of(tollgate.pid())?;
    let (result, sent) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| attack.run(&stop));
        let result = with.stretches(&mut clients, options.good, &mut statuses);
        stop.store(true, Ordering::Relaxed);
        let joined = attack
            .join()
            .unwrap_or_else(|_| anyhow::bail!("a thread of the load generator panicked"));
        (result, joined)
    });
    result?;
    let sent = sent?;
    let server = CpuTimes::of(tollgate.pid())?.since(&before).as_secs_f64();
    without.stretches(&mut clients, options.good, &mut statuses)?;
    let counts = tollgate.settle(SETTLE)?;
    let all = sent.elapsed.as_secs_f64() * f64::from(u32::try_from(machine::processors())?);
    tell(format_args!(
        "the siege: {:.0} answers/s {:?}; {} connections lost; of the machine the server took {:.0} %, the attackers {:.0} %",
        per_second(sent.statuses.values().sum(), sent.elapsed),
        sent.statuses,
        sent.lost,
        100.0 * server / all,
        100.0 * sent.cpu.as_secs_f64() / all,
    ));
    report(&mut without, &mut with);
    let accepted = statuses.get(&200).copied().unwrap_or(0);
    let honest = statuses.keys().all(|status| *status == 200)
        && !sent.statuses.contains_key(&200)
        && counts.accepted == accepted
        && counts.delivered == accepted;
    tell(format_args!(
        "good answers {statuses:?}, delivered {}: {}",
        counts.delivered,
        if honest {
            "every answer and event is accounted for"
        } else {
            "NOT all accounted for"
        }
    ));
    Ok(honest)
}

fn report(without: &mut Score, with: &mut Score) {
    let goodput = with.per_second() / without.per_second();
    let ((p50, p99), (siege_p50, siege_p99)) = (without.late.medians(), with.late.medians());
    let met = |is| if is { "met" } else { "MISSED" };
    tell(format_args!(
        "goodput {:.0}/s without, {:.0}/s with: {:.0} %, goal >= {:.0} % {}",
        without.per_second(),
        with.per_second(),
        100.0 * goodput,
        100.0 * GOODPUT,
        met(goodput >= GOODPUT)
    ));
    tell(format_args!(
        "p50 {p50:.0} us without, {siege_p50:.0} us with; p99 {p99:.0} us ({}) without, {siege_p99:.0} us ({}) with: \
         {:.1}x, goal <= {P99}x {}",
        without.late.range(),
        with.late.range(),
        siege_p99 / p99,
        met(siege_p99 <= P99 * p99)
    ));
}

/// How many bad tokens a second the server refuses when it holds no answer back, with a load that
/// follows its answers.
fn capacity() -> anyhow::Result<u64> {
    let tollgate = Tollgate::start(machine::processors(), |_| Ok(()))?;
    let bad = traffic::requests(&tollgate.config, Tokens::Forged, 1)?;
    let (mut generator, _) = Generator::connect(tollgate.ingest, &bad, 64)?;
    let outcome = generator.run(Pace::Saturate {
        duration: Duration::from_secs(2),
    })?;
    let micros = u64::try_from(outcome.elapsed.as_micros())?.max(1);
    Ok(outcome.answers() * 1_000_000 / micros)
}

#[expect(clippy::cast_precision_loss, reason = "answers are far below 2^52")]
fn per_second(answers: u64, elapsed: Duration) -> f64 {
    answers as f64 / elapsed.as_secs_f64()
}

/// An address of the loopback network: 200 in each /24.
pub fn address(block: u8, index: usize) -> Ipv4Addr {
    let part = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, block, part(index / 200), part(1 + index % 200))
}

/// The good clients' answers.
#[derive(Default)]
struct Score {
    late: Good,
    answers: u64,
    elapsed: Duration,
}

impl Score {
    fn stretches(
        &mut self,
        clients: &mut Generator<'_>,
        per_second: u32,
        statuses: &mut BTreeMap<u16, u64>,
    ) -> anyhow::Result<()> {
        for _ in 0..STRETCHES {
            let outcome = clients.run(Pace::Rate {
                per_second,
                duration: STRETCH,
            })?;
            self.late.add(&outcome);
            self.answers += outcome.answered(200);
            self.elapsed += outcome.elapsed;
            merge(statuses, &outcome);
        }
        Ok(())
    }

    fn per_second(&self) -> f64 {
        per_second(self.answers, self.elapsed)
    }
}

/// All attackers, in one thread.
struct Attack {
    attackers: Vec<Attacker>,
    /// Requests one after the other, some thousand.
    bytes: Vec<Vec<u8>>,
    depth: u64,
    /// Between one round and the next.
    round: Duration,
}

struct Attacker {
    stream: TcpStream,
    unanswered: u64,
    /// What of the last request is still to be written.
    rest: Vec<u8>,
    lost: bool,
}

/// What came of the attack.
#[derive(Debug, Default)]
struct Sent {
    statuses: BTreeMap<u16, u64>,
    lost: u64,
    elapsed: Duration,
    cpu: Duration,
}

impl Attack {
    fn open(
        tollgate: &Tollgate,
        options: &Options,
        bad: &[Vec<u8>],
        capacity: u64,
    ) -> anyhow::Result<Self> {
        let count = usize::try_from(options.attackers)?;
        let mut attackers = Vec::with_capacity(count);
        for index in 0..count {
            attackers.push(Attacker::open(tollgate.ingest, index)?);
        }
        let depth = u64::from(options.depth);
        let waiting = u64::from(options.attackers) * depth;
        Ok(Self {
            attackers,
            bytes: bad.to_vec(),
            depth,
            round: Duration::from_secs(1) * u32::try_from(waiting)?
                / u32::try_from(capacity * TIMES)?,
        })
    }

    fn run(mut self, stop: &AtomicBool) -> anyhow::Result<Sent> {
        let mut sent = Sent::default();
        let mut scratch = vec![0; 64 << 10];
        let start = Instant::now();
        let mut next = 0_usize;
        let mut due = start;
        while !stop.load(Ordering::Relaxed) {
            for attacker in &mut self.attackers {
                if attacker.lost {
                    continue;
                }
                attacker.take_answers(&mut scratch, &mut sent.statuses);
                let fresh = self.depth.saturating_sub(attacker.unanswered);
                for _ in 0..fresh {
                    let request = self.bytes.get(next % self.bytes.len().max(1));
                    attacker
                        .rest
                        .extend_from_slice(request.map_or(&[], Vec::as_slice));
                    next += 1;
                }
                attacker.unanswered += fresh;
                attacker.send();
                sent.lost += u64::from(attacker.lost);
            }
            due += self.round;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        sent.elapsed = start.elapsed();
        sent.cpu = machine::thread_time()?;
        Ok(sent)
    }
}

impl Attacker {
    fn open(address: SocketAddr, index: usize) -> anyhow::Result<Self> {
        let stream = wire::dial(address, self::address(1, index))?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            unanswered: 0,
            rest: Vec::new(),
            lost: false,
        })
    }

    /// Counts the answers that are there. Each is written whole, so none is cut in two.
    fn take_answers(&mut self, scratch: &mut [u8], statuses: &mut BTreeMap<u16, u64>) {
        if self.unanswered == 0 {
            return;
        }
        match self.stream.read(scratch) {
            Ok(0) => self.lost = true,
            Ok(count) => {
                let bytes = scratch.get(..count).unwrap_or_default();
                for at in memchr::memmem::find_iter(bytes, b"HTTP/1.1 ") {
                    let digits = bytes.get(at + 9..at + 12).unwrap_or_default();
                    let status = std::str::from_utf8(digits)
                        .ok()
                        .and_then(|text| text.parse().ok());
                    *statuses.entry(status.unwrap_or(0)).or_default() += 1;
                    self.unanswered = self.unanswered.saturating_sub(1);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.lost = true,
        }
    }

    fn send(&mut self) {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.lost = true;
                    return;
                }
            }
        }
    }
}
