//! The comparison: for each scenario bare hyper and Tollgate in turn, several times.
//!
//! A repetition is noisy when the rest of the machine took a seventh of it; the quietest ones count.
//! Tollgate's processor time includes packing, signing and sending of what it accepted: a repetition
//! ends when its batches have had time to age out and leave. The store runs in another process and
//! is not counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use crate::generator::{Generator, Outcome, Requests};
use crate::machine::{self, Window};
use crate::report::{self, Measured, Pair, Report, ScenarioReport};
use crate::scenario::{self, Gateway, Scenario};
use crate::servers::{Bare, Tollgate};
use crate::tell;
use crate::traffic::{self, Tokens};

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
    let bench = Bench {
        bare: Bare::start(workers, 200)?,
        refuser: Bare::start(workers, 403)?,
        tollgate: Tollgate::start(workers, |_| {})?,
        used_up: used_up(workers)?,
        duration: Duration::from_secs_f64(options.seconds),
        repetitions: usize::from(options.repetitions),
    };
    // After the servers have started: they would inherit it.
    machine::wake_precisely()?;
    tell(format_args!(
        "bare hyper and Tollgate in turn, {} x {} s each, {workers} worker threads each, {} processors\n",
        bench.repetitions,
        options.seconds,
        machine::processors(),
    ));
    let mut reports = Vec::new();
    for scenario in scenarios {
        reports.push(bench.scenario(scenario)?);
    }
    let counts = bench.tollgate.settle(SETTLE)?;
    let report = Report::new(workers, options.seconds, reports, counts);
    report.print();
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    Ok(report.is_honest())
}

/// A gateway whose limit on addresses this address has used up.
fn used_up(workers: usize) -> anyhow::Result<Tollgate> {
    let rule = "name = \"per-address\"\nkey = [\"address\"]\nrate = [{ count = 1, per = \"1h\" }]";
    let rule = toml::from_str(rule)?;
    let tollgate = Tollgate::start(workers, |config| config.limit_rules = vec![rule])?;
    let requests = traffic::requests(&tollgate.config, Tokens::Good, 1)?;
    let (_, first) = Generator::connect(tollgate.ingest, &requests, 2)?;
    if (first.answered(200), first.answered(403)) != (1, 1) {
        bail!("the limit did not let one request pass and no more");
    }
    Ok(tollgate)
}

struct Bench {
    bare: Bare,
    /// Bare hyper that refuses everything.
    refuser: Bare,
    tollgate: Tollgate,
    used_up: Tollgate,
    duration: Duration,
    repetitions: usize,
}

impl Bench {
    fn scenario(&self, scenario: &'static Scenario) -> anyhow::Result<ScenarioReport> {
        let config = &self.gateway(scenario).config;
        let requests = traffic::requests(config, scenario.tokens, scenario.events)?;
        tell(format_args!(
            "{} ({} bytes)",
            scenario.name,
            requests
                .first()
                .map_or(0, |request| traffic::body_bytes(request))
        ));
        let mut other_answers = BTreeMap::new();
        let mut accepted = 0;
        let mut pairs = Vec::new();
        for repetition in 1..=self.repetitions {
            let bare = self.on_bare(scenario, &requests)?;
            let tollgate = self.on_tollgate(scenario, &requests)?;
            for (status, count) in bare
                .other_than(scenario.bare)
                .chain(tollgate.other_than(scenario.expected))
            {
                *other_answers.entry(status).or_default() += count;
            }
            accepted += tollgate.accepted;
            let pair = Pair {
                bare: bare.measured,
                tollgate: tollgate.measured,
            };
            report::print_repetition(repetition, &pair);
            pairs.push(pair);
        }
        ScenarioReport::new(scenario, &requests, pairs, accepted, other_answers)
    }

    fn gateway(&self, scenario: &Scenario) -> &Tollgate {
        match scenario.gateway {
            Gateway::Plain => &self.tollgate,
            Gateway::UsedUp => &self.used_up,
        }
    }

    fn on_bare(&self, scenario: &Scenario, requests: &dyn Requests) -> anyhow::Result<Side> {
        let bare = if scenario.bare == 200 {
            &self.bare
        } else {
            &self.refuser
        };
        let (mut generator, warm) =
            Generator::connect(bare.ingest, requests, scenario.connections())?;
        let pids = [bare.pid(), std::process::id()];
        let window = Window::open(&pids)?;
        let outcome = generator.run(scenario.pace(self.duration))?;
        std::thread::sleep(REST);
        let seen = window.look()?;
        Side::new(&warm, outcome, &seen, seen.others)
    }

    fn on_tollgate(&self, scenario: &Scenario, requests: &dyn Requests) -> anyhow::Result<Side> {
        let tollgate = self.gateway(scenario);
        let (mut generator, warm) =
            Generator::connect(tollgate.ingest, requests, scenario.connections())?;
        let pids = [tollgate.pid(), std::process::id(), tollgate.logstore_pid()];
        let window = Window::open(&pids)?;
        let outcome = generator.run(scenario.pace(self.duration))?;
        std::thread::sleep(REST);
        // What else runs while the batches age matters little; what ran beside the load does.
        let others = window.look()?.others;
        if outcome.answered(200) > 0 {
            std::thread::sleep(tollgate.config.batch.max_age.get() + DELIVERY);
        }
        Side::new(&warm, outcome, &window.look()?, others)
    }
}

/// One repetition on one server.
struct Side {
    measured: Measured,
    statuses: BTreeMap<u16, u64>,
    accepted: u64,
}

impl Side {
    fn new(
        warm: &Outcome,
        outcome: Outcome,
        seen: &machine::Seen,
        others: f64,
    ) -> anyhow::Result<Self> {
        let measured = Measured::new(&outcome, seen, others)?;
        let mut statuses = outcome.statuses;
        for (status, count) in &warm.statuses {
            *statuses.entry(*status).or_default() += count;
        }
        let accepted = statuses.get(&200).copied().unwrap_or(0);
        Ok(Self {
            measured,
            statuses,
            accepted,
        })
    }

    fn other_than(&self, expected: u16) -> impl Iterator<Item = (u16, u64)> {
        self.statuses
            .iter()
            .map(|(s, c)| (*s, *c))
            .filter(move |(status, _)| *status != expected)
    }
}
