//! The comparison: for each scenario its yardstick and Tollgate in turn, several times. The yardstick is
//! bare hyper, or Tollgate with another configuration. Peers take their turns after them.
//!
//! A repetition is noisy when the rest of the machine took a seventh of it; the quietest ones count.
//! Tollgate's processor time includes packing, signing and sending of what it accepted: a repetition
//! ends when its batches have had time to age out and leave. The store runs in another process and
//! is not counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::generator::{Generator, Outcome};
use crate::machine::{self, Window};
use crate::peers::{self, Peer};
use crate::report::{self, Ledger, Measured, Pair, Report, ScenarioReport};
use crate::scenario::{self, Peers, Scenario, Yardstick};
use crate::servers::{self, Bare, Tollgate};
use crate::setup::{Certificate, Gateway};
use crate::siege;
use crate::tell;
use crate::traffic::{self, Rendered, Tokens};
use crate::wire::{self, Route};

/// Between the last answer and the reading of the processor time, so that the server's threads rest.
const REST: Duration = Duration::from_millis(20);
/// The batches of a repetition are sealed at `batch.max_age` and delivered in less than this.
const DELIVERY: Duration = Duration::from_millis(500);
const SETTLE: Duration = Duration::from_secs(60);

/// Options of the comparison.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Run this scenario only; may be repeated. [default: those at a fixed rate]
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// Run the scenarios at saturation as well.
    #[arg(long)]
    saturation: bool,
    /// Repetitions of each scenario for each server; at least 4.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(4..=100))]
    repetitions: u16,
    /// Seconds of load in a repetition.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Worker threads of each server. [default: the processors]
    #[arg(long, value_name = "COUNT")]
    workers: Option<usize>,
    /// Bare hyper has a runtime for each of its workers too, as Tollgate has. [default: one for all]
    #[arg(long)]
    own_threads: bool,
    #[command(flatten)]
    peers: peers::Choice,
    /// Write the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.1..=60.0).contains(&number) => Ok(number),
        _ => Err("from 0.1 to 60".to_owned()),
    }
}

impl Options {
    fn chosen(&self) -> anyhow::Result<Vec<&'static Scenario>> {
        if let Some(unknown) = self
            .scenario
            .iter()
            .find(|name| scenario::ALL.iter().all(|s| s.name != **name))
        {
            let names: Vec<_> = scenario::ALL.iter().map(|s| s.name).collect();
            bail!("no scenario `{unknown}`; there are {}", names.join(", "));
        }
        let is_chosen = |s: &&Scenario| match self.scenario.as_slice() {
            [] => s.is_fixed_rate() || self.saturation,
            names => names.iter().any(|name| name == s.name),
        };
        Ok(scenario::ALL.iter().filter(is_chosen).collect())
    }
}

/// Runs the comparison and prints it. False when an answer was not the expected one or an accepted
/// event was not delivered; a missed goal is printed and is no failure.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    let scenarios = options.chosen()?;
    let workers = options.workers.unwrap_or_else(machine::processors);
    tollgate::edge::descriptors::raise().context("there is no limit of descriptors to go by")?;
    let bench = Bench::start(options, workers, &scenarios)?;
    // After the servers have started: they would inherit it.
    machine::wake_precisely()?;
    tell(format_args!("tollgate: {}", servers::binary().display()));
    let peers: Vec<_> = bench.peers.iter().map(Peer::description).collect();
    for peer in &peers {
        peer.print();
    }
    tell(format_args!(
        "each scenario's yardstick{} in turn, {} x {} s each, {workers} worker threads each{}, {} processors\n",
        if bench.peers.is_empty() {
            " and Tollgate"
        } else {
            ", Tollgate and the peers"
        },
        bench.repetitions,
        options.seconds,
        if options.own_threads {
            ", bare hyper's with a runtime each"
        } else {
            ""
        },
        machine::processors(),
    ));
    let mut answered = bench.answered_at_start.clone();
    let mut reports = Vec::new();
    for scenario in scenarios {
        let sides = bench.sides(scenario)?;
        reports.push(bench.scenario(scenario, &sides, &mut answered)?);
    }
    let ledgers = bench.tollgate.iter().map(|(gateway, tollgate)| {
        let answered = answered.get(gateway).copied().unwrap_or(0);
        Ok(Ledger::new(
            gateway.name(),
            answered,
            tollgate.settle(SETTLE)?,
        ))
    });
    let ledgers = ledgers.collect::<anyhow::Result<_>>()?;
    let report = Report::new(workers, options.seconds, peers, reports, ledgers);
    report.print();
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(report.is_honest())
}

/// Lets this address use up the gateway's limit on it. How many events were accepted.
fn use_up(tollgate: &Tollgate) -> anyhow::Result<u64> {
    let requests = traffic::requests(&tollgate.config, Tokens::Good, 1)?;
    let (_, first) = Generator::connect(tollgate.ingest, &requests, 2)?;
    if (first.answered(200), first.answered(403)) != (1, 1) {
        bail!("the limit did not let one request pass and no more");
    }
    Ok(1)
}

struct Bench {
    /// Each answers its status; with TLS or without.
    bare: BTreeMap<(u16, bool), Bare>,
    tollgate: BTreeMap<Gateway, Tollgate>,
    peers: Vec<Peer>,
    answered_at_start: Answered,
    certificate: Certificate,
    duration: Duration,
    repetitions: usize,
}

/// Events that are to be stored, of requests that a gateway answered with 200.
type Answered = BTreeMap<Gateway, u64>;

impl Bench {
    /// Starts every server that the scenarios need.
    fn start(options: &Options, workers: usize, scenarios: &[&Scenario]) -> anyhow::Result<Self> {
        let mut bench = Self {
            bare: BTreeMap::new(),
            tollgate: BTreeMap::new(),
            peers: Vec::new(),
            answered_at_start: Answered::new(),
            certificate: Certificate::make()?,
            duration: Duration::from_secs_f64(options.seconds),
            repetitions: usize::from(options.repetitions),
        };
        for scenario in scenarios {
            for gateway in scenario.gateways() {
                bench.start_tollgate(gateway, workers)?;
            }
            if let Yardstick::Bare(status) = scenario.yardstick {
                let encrypted = scenario.traffic.wire.is_encrypted();
                let certificate = encrypted.then_some(&bench.certificate);
                if let Entry::Vacant(place) = bench.bare.entry((status, encrypted)) {
                    let threads = (workers, options.own_threads);
                    place.insert(Bare::start(threads, status, certificate)?);
                }
            }
        }
        if scenarios.iter().any(|it| it.peers != Peers::Absent) {
            bench.start_peers(&options.peers.found()?, workers)?;
        }
        Ok(bench)
    }

    /// They know the key of the gateway whose clients they are to let in.
    fn start_peers(&mut self, found: &[peers::Found], workers: usize) -> anyhow::Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        self.start_tollgate(Gateway::Full, workers)?;
        let gateway = self.tollgate.get(&Gateway::Full);
        let config = &gateway.context("no gateway with a key")?.config;
        let setting = peers::Setting::new(config, workers)?;
        for peer in found {
            self.peers.push(Peer::start(peer, &setting)?);
        }
        Ok(())
    }

    fn start_tollgate(&mut self, gateway: Gateway, workers: usize) -> anyhow::Result<()> {
        if self.tollgate.contains_key(&gateway) {
            return Ok(());
        }
        let configure = |config: &mut _| gateway.configure(config, &self.certificate);
        let tollgate = Tollgate::start(workers, configure)?;
        if gateway == Gateway::UsedUp {
            let accepted = use_up(&tollgate)?;
            self.answered_at_start.insert(gateway, accepted);
        }
        self.tollgate.insert(gateway, tollgate);
        Ok(())
    }

    /// The yardstick of a scenario, Tollgate, and the peers that can do it.
    fn sides(&self, scenario: &Scenario) -> anyhow::Result<Sides<'_>> {
        let wire = scenario.traffic.wire;
        let tls = self.certificate.client(wire)?;
        let route = |address| Route {
            address,
            wire,
            tls: tls.clone(),
        };
        let gateway = |gateway: Gateway, expected| {
            let tollgate = self.tollgate.get(&gateway).context("no such gateway")?;
            anyhow::Ok(Side {
                pids: vec![tollgate.pid(), std::process::id(), tollgate.logstore_pid()],
                route: route(tollgate.ingest),
                expected,
                stores: Some((gateway, tollgate)),
                peer: None,
                requests: traffic::rendered(&tollgate.config, &scenario.traffic)?,
            })
        };
        let tollgate = gateway(scenario.gateway, scenario.expected)?;
        let yardstick = match scenario.yardstick {
            Yardstick::Tollgate(other) => gateway(other, scenario.expected)?,
            Yardstick::Bare(status) => {
                let bare = self.bare.get(&(status, wire.is_encrypted()));
                let bare = bare.context("no bare server")?;
                Side {
                    pids: vec![bare.pid(), std::process::id()],
                    route: route(bare.ingest),
                    expected: status,
                    stores: None,
                    peer: None,
                    requests: tollgate.requests.clone(),
                }
            }
        };
        let able = self.peers.iter().filter(|peer| peer.does(scenario));
        let peers = able.map(|peer| Side {
            pids: vec![peer.pid(), std::process::id()],
            route: route(peer.ingest),
            expected: scenario.expected,
            stores: None,
            peer: Some(peer),
            requests: tollgate.requests.clone(),
        });
        let peers = peers.collect();
        Ok(Sides {
            yardstick,
            tollgate,
            peers,
        })
    }

    fn scenario(
        &self,
        scenario: &'static Scenario,
        sides: &Sides<'_>,
        answered: &mut Answered,
    ) -> anyhow::Result<ScenarioReport> {
        let (yardstick, tollgate) = (&sides.yardstick, &sides.tollgate);
        let names = sides.peers.iter().filter_map(|it| it.peer);
        let names: Vec<_> = names.map(Peer::name).collect();
        let body_bytes = tollgate.requests.body_bytes;
        tell(format_args!("{} ({body_bytes} bytes)", scenario.name));
        let mut tally = Tally {
            scenario,
            answered,
            other_answers: BTreeMap::new(),
        };
        let idle = [
            yardstick.stand_idle(scenario.idle, 1, &mut tally)?,
            tollgate.stand_idle(scenario.idle, 100, &mut tally)?,
        ];
        let mut pairs = Vec::new();
        for repetition in 1..=self.repetitions {
            let pair = Pair {
                bare: yardstick.measure(self.duration, &mut tally)?,
                tollgate: tollgate.measure(self.duration, &mut tally)?,
                peers: sides
                    .peers
                    .iter()
                    .map(|peer| peer.measure(self.duration, &mut tally))
                    .collect::<anyhow::Result<_>>()?,
            };
            report::print_repetition(repetition, &pair, &names);
            pairs.push(pair);
        }
        drop(idle);
        ScenarioReport::new(
            scenario,
            &self.peers,
            body_bytes,
            pairs,
            tally.other_answers,
        )
    }
}

/// What was answered in a scenario.
struct Tally<'a> {
    scenario: &'static Scenario,
    answered: &'a mut Answered,
    /// Answers that were not the expected ones.
    other_answers: BTreeMap<u16, u64>,
}

/// The servers of a scenario.
struct Sides<'a> {
    yardstick: Side<'a>,
    tollgate: Side<'a>,
    peers: Vec<Side<'a>>,
}

/// One of them.
struct Side<'a> {
    /// The server, this process, and the store where there is one.
    pids: Vec<u32>,
    route: Route,
    expected: u16,
    /// Where it is a Tollgate.
    stores: Option<(Gateway, &'a Tollgate)>,
    /// Where it is a peer.
    peer: Option<&'a Peer>,
    requests: Rendered,
}

impl Side<'_> {
    /// Opens connections, sends a request on each, and leaves them. They have many addresses, of this
    /// network and those after it.
    fn stand_idle(
        &self,
        count: usize,
        network: u8,
        tally: &mut Tally<'_>,
    ) -> anyhow::Result<Vec<TcpStream>> {
        let mut outcome = Outcome::default();
        let mut streams = Vec::with_capacity(count);
        let requests = self.requests.requests.iter().cycle();
        for (index, request) in (0..count).zip(requests) {
            let stream = wire::dial(self.route.address, siege::address(network, index))?;
            let status = wire::exchange(&stream, request)?;
            *outcome.statuses.entry(status).or_default() += 1;
            streams.push(stream);
        }
        self.count(&outcome, tally)?;
        Ok(streams)
    }

    /// One repetition. A peer that does not do as it should ends the run.
    fn measure(&self, duration: Duration, tally: &mut Tally<'_>) -> anyhow::Result<Measured> {
        let Some(peer) = self.peer else {
            return self.repetition(duration, tally);
        };
        let name = tally.scenario.name;
        peer.blamed(name, || {
            peer.still_runs()?;
            let measured = self.repetition(duration, tally)?;
            peer.still_runs()?;
            Ok(measured)
        })
    }

    fn repetition(&self, duration: Duration, tally: &mut Tally<'_>) -> anyhow::Result<Measured> {
        let scenario = tally.scenario;
        let requests = &self.requests.requests;
        let (mut generator, warm) =
            Generator::connect(self.route.clone(), requests, scenario.connections())?;
        self.count(&warm, tally)?;
        let window = Window::open(&self.pids)?;
        let outcome = generator.run(scenario.pace(duration))?;
        std::thread::sleep(REST);
        // What else runs while the batches age matters little; what ran beside the load does.
        let others = window.look()?.others;
        if let Some((_, tollgate)) = self.stores
            && outcome.answered(200) > 0
        {
            std::thread::sleep(tollgate.config.batch.max_age.get() + DELIVERY);
        }
        self.count(&outcome, tally)?;
        let server = self.pids.first().context("no server")?;
        let resident = machine::resident_bytes_of_tree(*server)?;
        Measured::new(&outcome, &window.look()?, others, resident)
    }

    fn count(&self, outcome: &Outcome, tally: &mut Tally<'_>) -> anyhow::Result<()> {
        for (status, count) in &outcome.statuses {
            if *status != self.expected {
                if self.peer.is_some() {
                    let again = self.requests.requests.first().context("no request")?;
                    let again = wire::ask(self.route.address, again);
                    let again = again.map_or_else(|error| format!("{error:#}"), |it| it.1);
                    bail!(
                        "{count} requests were answered with {status}, not {}; asked again: {again:?}",
                        self.expected,
                    );
                }
                *tally.other_answers.entry(*status).or_default() += count;
            }
        }
        if let Some((gateway, _)) = self.stores {
            let stored = u64::try_from(tally.scenario.traffic.stored())?;
            *tally.answered.entry(gateway).or_default() += outcome.answered(200) * stored;
        }
        Ok(())
    }
}
