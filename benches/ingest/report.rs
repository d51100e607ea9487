//! Figures of a run: medians, ratios, the table and the JSON.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::generator::Outcome;
use crate::machine::Seen;
use crate::scenario::Scenario;
use crate::servers::Counts;
use crate::{tell, traffic};

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
    /// The share of the machine that was neither idle nor in the bench's own processes, 0 to 1.
    pub others: f64,
    /// Connections opened again because the server closed them.
    pub reconnects: u64,
}

impl Measured {
    /// Figures from the outcome of the load; the server must be the first process of the window.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn new(outcome: &Outcome, seen: &Seen, others: f64) -> anyhow::Result<Self> {
        let server = seen.processes.first().context("no server in the window")?;
        let micros = |share| outcome.percentile(share).map(|nanos| nanos as f64 / 1e3);
        let answers = outcome.answers() as f64;
        Ok(Self {
            cpu_us: server.as_secs_f64() * 1e6 / answers,
            per_second: answers / outcome.elapsed.as_secs_f64(),
            p50_us: micros(0.50),
            p99_us: micros(0.99),
            others,
            reconnects: outcome.reconnects,
        })
    }
}

/// A repetition on both servers, one right after the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pair {
    /// Bare hyper.
    pub bare: Measured,
    /// Tollgate.
    pub tollgate: Measured,
}

impl Pair {
    fn cpu_ratio(&self) -> f64 {
        self.tollgate.cpu_us / self.bare.cpu_us
    }

    fn others(&self) -> f64 {
        self.bare.others.max(self.tollgate.others)
    }
}

/// Prints a repetition as it ends.
pub fn print_repetition(number: usize, pair: &Pair) {
    tell(format_args!(
        "  {number:>2}  bare {:7.1} us {:7.0}/s   tollgate {:7.1} us {:7.0}/s   ratio {:5.2}   others {:4.1} %{}",
        pair.bare.cpu_us,
        pair.bare.per_second,
        pair.tollgate.cpu_us,
        pair.tollgate.per_second,
        pair.cpu_ratio(),
        pair.others() * 100.0,
        if pair.others() > NOISY { "  noisy" } else { "" },
    ));
}

/// A scenario's figures.
#[derive(Debug, Serialize)]
pub struct ScenarioReport {
    name: &'static str,
    body_bytes: usize,
    expected_status: u16,
    goal_ratio: Option<f64>,
    /// Medians of the kept repetitions.
    median: Pair,
    /// The median of the ratios of pairs: what slows the machine for seconds slows both of a pair.
    cpu_ratio: f64,
    repetitions: Vec<Pair>,
    /// How many of them the medians are of: the quietest.
    kept: usize,
    kept_noisy: usize,
    /// Events that the load generator was told are accepted.
    events_accepted: u64,
    /// Answers with another status than the expected one.
    other_answers: BTreeMap<u16, u64>,
    /// Whether each of those was allowed.
    allowed: bool,
}

impl ScenarioReport {
    /// Takes the medians of the quietest repetitions.
    pub fn new(
        scenario: &Scenario,
        requests: &[Vec<u8>],
        repetitions: Vec<Pair>,
        requests_accepted: u64,
        other_answers: BTreeMap<u16, u64>,
    ) -> anyhow::Result<Self> {
        let mut quiet = repetitions.clone();
        quiet.sort_by(|a, b| a.others().total_cmp(&b.others()));
        quiet.truncate((repetitions.len() * 2 / 3).max(KEPT));
        let median = Pair {
            bare: median(&quiet, |pair| pair.bare)?,
            tollgate: median(&quiet, |pair| pair.tollgate)?,
        };
        Ok(Self {
            name: scenario.name,
            body_bytes: requests
                .first()
                .map_or(0, |request| traffic::body_bytes(request)),
            expected_status: scenario.expected,
            goal_ratio: scenario.goal,
            median,
            cpu_ratio: middle(quiet.iter().map(Pair::cpu_ratio).collect())
                .context("no repetition")?,
            repetitions,
            kept: quiet.len(),
            kept_noisy: quiet.iter().filter(|pair| pair.others() > NOISY).count(),
            events_accepted: requests_accepted * u64::try_from(scenario.events)?,
            allowed: other_answers.keys().all(|status| scenario.allows(*status)),
            other_answers,
        })
    }

    fn print(&self) {
        let Pair { bare, tollgate } = &self.median;
        let goal = match self.goal_ratio {
            Some(goal) if self.cpu_ratio <= goal => format!("<= {goal:.2} met"),
            Some(goal) => format!("<= {goal:.2} MISSED"),
            None => String::new(),
        };
        tell(format_args!(
            "{:<21} {:>6} {:>8.1} {:>9.1} {:>6.2} {:<14} {:>13} {:>13} {:>17} {}/{}{}",
            self.name,
            self.body_bytes,
            bare.cpu_us,
            tollgate.cpu_us,
            self.cpu_ratio,
            goal,
            latencies(bare),
            latencies(tollgate),
            format!("{:.0} / {:.0}", bare.per_second, tollgate.per_second),
            self.kept,
            self.repetitions.len(),
            if self.kept_noisy > 0 {
                format!(", {} noisy", self.kept_noisy)
            } else {
                String::new()
            },
        ));
    }
}

fn latencies(measured: &Measured) -> String {
    match (measured.p50_us, measured.p99_us) {
        (Some(p50), Some(p99)) => format!("{p50:.0} / {p99:.0}"),
        _ => "-".to_owned(),
    }
}

/// The median of each figure by itself.
fn median(pairs: &[Pair], side: fn(&Pair) -> Measured) -> anyhow::Result<Measured> {
    let figure = |read: fn(&Measured) -> f64| {
        middle(pairs.iter().map(|pair| read(&side(pair))).collect()).context("no repetition")
    };
    let latency = |read: fn(&Measured) -> Option<f64>| {
        middle(pairs.iter().filter_map(|pair| read(&side(pair))).collect())
    };
    Ok(Measured {
        cpu_us: figure(|m| m.cpu_us)?,
        per_second: figure(|m| m.per_second)?,
        p50_us: latency(|m| m.p50_us),
        p99_us: latency(|m| m.p99_us),
        others: figure(|m| m.others)?,
        reconnects: pairs.iter().map(|pair| side(pair).reconnects).sum(),
    })
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().saturating_sub(1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    workers: usize,
    seconds: f64,
    scenarios: Vec<ScenarioReport>,
    counts: Counts,
    honest: bool,
}

impl Report {
    /// Puts the scenarios together and holds the gateway's own counts against the load generator's.
    pub fn new(
        workers: usize,
        seconds: f64,
        scenarios: Vec<ScenarioReport>,
        counts: Counts,
    ) -> Self {
        let accepted: u64 = scenarios.iter().map(|s| s.events_accepted).sum();
        let honest = counts.accepted == accepted
            && counts.delivered == accepted
            && scenarios.iter().all(|s| s.allowed);
        Self {
            workers,
            seconds,
            scenarios,
            counts,
            honest,
        }
    }

    /// Whether every answer was the expected one and every accepted event was delivered.
    pub fn is_honest(&self) -> bool {
        self.honest
    }

    /// Prints the table.
    pub fn print(&self) {
        tell(format_args!(
            "\n{:<21} {:>6} {:>18} {:>6} {:<14} {:>27} {:>17} {}\n{:<21} {:>6} {:>8} {:>9} {:>6} {:<14} {:>13} {:>13} {:>17} {}",
            "",
            "body",
            "CPU us/request",
            "ratio",
            "goal",
            "p50 / p99 us",
            "requests/s",
            "kept of",
            "scenario",
            "bytes",
            "bare",
            "tollgate",
            "",
            "",
            "bare",
            "tollgate",
            "bare / tollgate",
            "repetitions",
        ));
        for scenario in &self.scenarios {
            scenario.print();
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
        let accepted: u64 = self.scenarios.iter().map(|s| s.events_accepted).sum();
        tell(format_args!(
            "\nevents answered with 200: {accepted}; counted as accepted {}, delivered {}, dropped {}, \
             held {}; delivery retries {}: {}",
            self.counts.accepted,
            self.counts.delivered,
            self.counts.dropped,
            self.counts.held,
            self.counts.retries,
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
