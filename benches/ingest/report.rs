//! Figures of a run: medians, ratios, the table and the JSON.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::generator::Outcome;
use crate::machine::Seen;
use crate::peers::report::PeerReport;
use crate::peers::{Description, Peer};
use crate::scenario::{Goal, Peers, Scenario};
use crate::servers::Counts;
use crate::tell;

/// The share of the machine from which on a repetition counts as disturbed. Interrupts of the load
/// itself take half of it.
const NOISY: f64 = 0.15;
/// The fewest repetitions that a median is taken of.
const KEPT: usize = 4;

/// One repetition on one server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Processor time of the server, user and kernel, in microseconds per request.
    pub cpu_us: f64,
    /// Answers a second, while the load ran.
    pub per_second: f64,
    /// Median latency in microseconds, from the moment a request was due. Only at a rate.
    pub p50_us: Option<f64>,
    /// 99th percentile.
    pub p99_us: Option<f64>,
    /// 99.9th percentile.
    pub p999_us: Option<f64>,
    /// Memory of the server that is in RAM, in MiB, at the end of the repetition.
    pub resident_mib: f64,
    /// The share of the machine that was neither idle nor in the bench's own processes, 0 to 1.
    pub others: f64,
    /// Connections opened again because the server closed them.
    pub reconnects: u64,
}

impl Measured {
    /// Figures from the outcome of the load; the server must be the first process of the window.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn new(outcome: &Outcome, seen: &Seen, others: f64, resident: u64) -> anyhow::Result<Self> {
        let server = seen.processes.first().context("no server in the window")?;
        let micros = |share| outcome.percentile(share).map(|nanos| nanos as f64 / 1e3);
        let answers = outcome.answers() as f64;
        Ok(Self {
            cpu_us: server.as_secs_f64() * 1e6 / answers,
            per_second: answers / outcome.elapsed.as_secs_f64(),
            p50_us: micros(0.50),
            p99_us: micros(0.99),
            p999_us: micros(0.999),
            resident_mib: resident as f64 / f64::from(1 << 20),
            others,
            reconnects: outcome.reconnects,
        })
    }
}

/// A repetition on both servers, one right after the other, and then on the peers.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The yardstick: bare hyper where nothing else is said.
    pub bare: Measured,
    /// Tollgate.
    pub tollgate: Measured,
    /// In the order of the scenario's peers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Measured>,
}

impl Pair {
    fn cpu_ratio(&self) -> f64 {
        self.tollgate.cpu_us / self.bare.cpu_us
    }

    /// Processor time of an event beyond the yardstick's, in microseconds.
    fn event_us(&self, events: f64) -> f64 {
        (self.tollgate.cpu_us - self.bare.cpu_us) / events
    }

    fn throughput_ratio(&self) -> f64 {
        self.tollgate.per_second / self.bare.per_second
    }

    fn others(&self) -> f64 {
        let peers = self.peers.iter().map(|peer| peer.others);
        peers.fold(self.bare.others.max(self.tollgate.others), f64::max)
    }
}

/// Prints a repetition as it ends.
pub fn print_repetition(number: usize, pair: &Pair, peers: &[&str]) {
    let peers = peers.iter().zip(&pair.peers);
    let peers: String = peers
        .map(|(name, peer)| format!("   {name} {:.1} us", peer.cpu_us))
        .collect();
    tell(format_args!(
        "  {number:>2}  bare {:7.1} us {:7.0}/s   tollgate {:7.1} us {:7.0}/s   ratio {:5.2}   others {:4.1} %{}{peers}",
        pair.bare.cpu_us,
        pair.bare.per_second,
        pair.tollgate.cpu_us,
        pair.tollgate.per_second,
        pair.cpu_ratio(),
        pair.others() * 100.0,
        if pair.others() > NOISY { "  noisy" } else { "" },
    ));
}

/// What was asked of a scenario, and what came of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Verdict {
    /// What is asked: `ratio`, `event_us`, `throughput_ratio` or `peer_ratio`.
    figure: &'static str,
    goal: f64,
    found: f64,
    met: bool,
}

impl Verdict {
    /// On a figure that is to be this at most.
    pub fn at_most(figure: &'static str, goal: f64, found: f64) -> Self {
        Self {
            figure,
            goal,
            found,
            met: found <= goal,
        }
    }

    fn on(goal: Goal, report: &Figures) -> Self {
        match goal {
            Goal::Ratio(goal) => Self::at_most("ratio", goal, report.cpu_ratio),
            Goal::EventMicros(goal) => Self::at_most("event_us", goal, report.event_us),
            Goal::Throughput(goal) => Self {
                figure: "throughput_ratio",
                goal,
                found: report.throughput_ratio,
                met: report.throughput_ratio >= goal,
            },
        }
    }

    /// As it stands in the table.
    pub fn text(&self) -> String {
        let met = if self.met { "met" } else { "MISSED" };
        let goal = self.goal;
        match self.figure {
            "ratio" | "peer_ratio" => format!("<= {goal:.2} {met}"),
            "event_us" => format!("<= {goal:.2} us/event {met}"),
            _ => format!("requests/s {:.2}, >= {goal:.2} {met}", self.found),
        }
    }
}

/// Medians over pairs: what slows the machine for seconds slows both of a pair.
#[derive(Clone, Copy, Debug, Serialize)]
struct Figures {
    cpu_ratio: f64,
    /// Processor time of an event beyond the yardstick's, in microseconds.
    event_us: f64,
    throughput_ratio: f64,
}

/// A scenario's figures.
#[derive(Debug, Serialize)]
pub struct ScenarioReport {
    name: &'static str,
    /// What Tollgate is held against.
    yardstick: String,
    /// How Tollgate is configured.
    gateway: &'static str,
    body_bytes: usize,
    expected_status: u16,
    verdict: Option<Verdict>,
    /// Medians of the kept repetitions.
    median: Pair,
    #[serde(flatten)]
    figures: Figures,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<PeerReport>,
    /// Peers that cannot do it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    repetitions: Vec<Pair>,
    /// How many of them the medians are of: the quietest.
    kept: usize,
    kept_noisy: usize,
    /// Answers with another status than the expected one.
    other_answers: BTreeMap<u16, u64>,
    /// Whether each of those was allowed.
    allowed: bool,
}

impl ScenarioReport {
    /// Takes the medians of the quietest repetitions.
    pub fn new(
        scenario: &Scenario,
        peers: &[Peer],
        body_bytes: usize,
        repetitions: Vec<Pair>,
        other_answers: BTreeMap<u16, u64>,
    ) -> anyhow::Result<Self> {
        let mut quiet = repetitions.clone();
        quiet.sort_by(|a, b| a.others().total_cmp(&b.others()));
        quiet.truncate((repetitions.len() * 2 / 3).max(KEPT));
        let median = Pair {
            bare: median(&quiet, |pair| Some(pair.bare))?,
            tollgate: median(&quiet, |pair| Some(pair.tollgate))?,
            peers: Vec::new(),
        };
        let left_out = peers
            .iter()
            .filter(|peer| scenario.peers != Peers::Absent && !peer.does(scenario));
        let left_out = left_out.map(|peer| peer.name().to_owned()).collect();
        let peers = PeerReport::all(scenario, peers, &quiet)?;
        let events = f64::from(u32::try_from(scenario.traffic.events)?);
        let of = |figure: &dyn Fn(&Pair) -> f64| {
            middle(quiet.iter().map(figure).collect()).context("no repetition")
        };
        let figures = Figures {
            cpu_ratio: of(&Pair::cpu_ratio)?,
            event_us: of(&|pair| pair.event_us(events))?,
            throughput_ratio: of(&Pair::throughput_ratio)?,
        };
        Ok(Self {
            name: scenario.name,
            yardstick: scenario.yardstick.name(),
            gateway: scenario.gateway.name(),
            body_bytes,
            expected_status: scenario.expected,
            verdict: scenario.goal.map(|goal| Verdict::on(goal, &figures)),
            median,
            figures,
            peers,
            left_out,
            repetitions,
            kept: quiet.len(),
            kept_noisy: quiet.iter().filter(|pair| pair.others() > NOISY).count(),
            allowed: other_answers.keys().all(|status| scenario.allows(*status)),
            other_answers,
        })
    }

    fn print_cost(&self) {
        let Pair { bare, tollgate, .. } = &self.median;
        tell(format_args!(
            "{:<25} {:<9} {:>6} {:>9.1} {:>9.1} {:>6.2} {:>8.2}  {:<25} {:>17} {}/{}{}",
            self.name,
            self.yardstick,
            self.body_bytes,
            bare.cpu_us,
            tollgate.cpu_us,
            self.figures.cpu_ratio,
            self.figures.event_us,
            self.verdict.as_ref().map(Verdict::text).unwrap_or_default(),
            format!("{:.0} / {:.0}", bare.per_second, tollgate.per_second),
            self.kept,
            self.repetitions.len(),
            if self.kept_noisy > 0 {
                format!(", {} noisy", self.kept_noisy)
            } else {
                String::new()
            },
        ));
        for peer in &self.peers {
            peer.print_cost(bare);
        }
        for name in &self.left_out {
            tell(format_args!(
                "  {name:<23} left out: it does not check tokens"
            ));
        }
    }

    fn print_latency(&self) {
        let Pair { bare, tollgate, .. } = &self.median;
        tell(format_args!(
            "{:<25} {:>22} {:>22} {:>11.1} {:>9.1}",
            self.name,
            latencies(bare),
            latencies(tollgate),
            bare.resident_mib,
            tollgate.resident_mib,
        ));
        for peer in &self.peers {
            peer.print_latency();
        }
    }
}

/// The three latencies, where there are some.
pub fn latencies(measured: &Measured) -> String {
    match (measured.p50_us, measured.p99_us, measured.p999_us) {
        (Some(p50), Some(p99), Some(p999)) => format!("{p50:.0} / {p99:.0} / {p999:.0}"),
        _ => "-".to_owned(),
    }
}

/// The median of each figure by itself.
pub fn median(
    pairs: &[Pair],
    side: impl Fn(&Pair) -> Option<Measured>,
) -> anyhow::Result<Measured> {
    let side: Vec<Measured> = pairs.iter().filter_map(side).collect();
    let figure = |read: fn(&Measured) -> f64| {
        middle(side.iter().map(read).collect()).context("no repetition")
    };
    let latency =
        |read: fn(&Measured) -> Option<f64>| middle(side.iter().filter_map(read).collect());
    Ok(Measured {
        cpu_us: figure(|m| m.cpu_us)?,
        per_second: figure(|m| m.per_second)?,
        p50_us: latency(|m| m.p50_us),
        p99_us: latency(|m| m.p99_us),
        p999_us: latency(|m| m.p999_us),
        resident_mib: figure(|m| m.resident_mib)?,
        others: figure(|m| m.others)?,
        reconnects: side.iter().map(|measured| measured.reconnects).sum(),
    })
}

/// The median.
pub fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// What the load generator was told by a gateway, and what the gateway itself counted.
#[derive(Debug, Serialize)]
pub struct Ledger {
    gateway: &'static str,
    /// Events of requests that were answered with 200, but for those that break the schema.
    answered: u64,
    counts: Counts,
}

impl Ledger {
    /// Holds one against the other.
    pub fn new(gateway: &'static str, answered: u64, counts: Counts) -> Self {
        Self {
            gateway,
            answered,
            counts,
        }
    }

    fn agrees(&self) -> bool {
        self.counts.accepted == self.answered && self.counts.delivered == self.answered
    }

    fn print(&self) {
        let counts = &self.counts;
        tell(format_args!(
            "{}: events answered with 200 {}; counted as accepted {}, delivered {}, dropped {}, held {}; \
             delivery retries {}",
            self.gateway,
            self.answered,
            counts.accepted,
            counts.delivered,
            counts.dropped,
            counts.held,
            counts.retries,
        ));
    }
}

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    workers: usize,
    seconds: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<Description>,
    scenarios: Vec<ScenarioReport>,
    ledgers: Vec<Ledger>,
    honest: bool,
}

impl Report {
    /// Puts the scenarios together, and each gateway's own counts.
    pub fn new(
        workers: usize,
        seconds: f64,
        peers: Vec<Description>,
        scenarios: Vec<ScenarioReport>,
        ledgers: Vec<Ledger>,
    ) -> Self {
        let honest = ledgers.iter().all(Ledger::agrees) && scenarios.iter().all(|s| s.allowed);
        Self {
            workers,
            seconds,
            peers,
            scenarios,
            ledgers,
            honest,
        }
    }

    /// Whether every answer was the expected one and every accepted event was delivered.
    pub fn is_honest(&self) -> bool {
        self.honest
    }

    /// Prints the tables.
    pub fn print(&self) {
        tell(format_args!(
            "\n{:<25} {:<9} {:>6} {:>19} {:>6} {:>8}  {:<25} {:>17} kept of\n{:<25} {:<9} {:>6} {:>9} {:>9} {:>6} {:>8}  {:<25} {:>17} repetitions",
            "",
            "beside",
            "body",
            "CPU us/request",
            "ratio",
            "us/event",
            "goal",
            "requests/s",
            "scenario",
            "",
            "bytes",
            "beside",
            "tollgate",
            "",
            "beyond",
            "",
            "beside / tollgate",
        ));
        for scenario in &self.scenarios {
            scenario.print_cost();
        }
        tell(format_args!(
            "\n{:<25} {:>45} {:>21}\n{:<25} {:>22} {:>22} {:>11} {:>9}",
            "",
            "p50 / p99 / p99.9 us",
            "resident, MiB",
            "scenario",
            "beside",
            "tollgate",
            "beside",
            "tollgate",
        ));
        for scenario in &self.scenarios {
            scenario.print_latency();
        }
        for scenario in self
            .scenarios
            .iter()
            .filter(|s| !s.other_answers.is_empty())
        {
            tell(format_args!(
                "{}: answers other than {}: {:?}",
                scenario.name, scenario.expected_status, scenario.other_answers
            ));
        }
        tell(format_args!(""));
        for ledger in &self.ledgers {
            ledger.print();
        }
        tell(format_args!(
            "{}",
            if self.honest {
                "every answer and event is accounted for"
            } else {
                "NOT all accounted for"
            },
        ));
    }

    /// Writes all figures, each repetition included.
    pub fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
