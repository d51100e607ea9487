//! The rows of peers below those of their scenario.

use anyhow::Context;
use serde::Serialize;

use super::Peer;
use crate::report::{self, Measured, Pair, Verdict, latencies, middle};
use crate::scenario::{Peers, Scenario};
use crate::tell;

/// A peer's figures in a scenario.
#[derive(Debug, Serialize)]
pub struct PeerReport {
    name: String,
    /// Medians of the repetitions that are kept of all servers.
    median: Measured,
    /// Its processor time by the yardstick's.
    cpu_ratio: f64,
    /// Tollgate's processor time by its own.
    tollgate_ratio: f64,
    verdict: Option<Verdict>,
}

impl PeerReport {
    /// Of each peer, in the order in which they stand in the pairs.
    pub fn all(scenario: &Scenario, peers: &[Peer], kept: &[Pair]) -> anyhow::Result<Vec<Self>> {
        let able = peers.iter().filter(|peer| peer.does(scenario));
        let reports = able.enumerate();
        let reports = reports.map(|(index, peer)| {
            let of = |figure: fn(&Pair, &Measured) -> f64| {
                let figures = kept.iter().filter_map(|pair| {
                    let peer = pair.peers.get(index)?;
                    Some(figure(pair, peer))
                });
                middle(figures.collect()).context("no repetition")
            };
            let tollgate_ratio = of(|pair, peer| pair.tollgate.cpu_us / peer.cpu_us)?;
            let goal = peer.goal().filter(|_| scenario.peers == Peers::Judged);
            Ok(Self {
                name: peer.name().to_owned(),
                median: report::median(kept, |pair| pair.peers.get(index).copied())?,
                cpu_ratio: of(|pair, peer| peer.cpu_us / pair.bare.cpu_us)?,
                tollgate_ratio,
                verdict: goal.map(|goal| Verdict::at_most("peer_ratio", goal, tollgate_ratio)),
            })
        });
        reports.collect()
    }

    /// Prints the row of what it costs. It stands where Tollgate does in the scenario's own.
    pub fn print_cost(&self, bare: &Measured) {
        let verdict = self.verdict.as_ref().map(Verdict::text);
        let tollgate = format!(
            "tollgate {:.2} of it {}",
            self.tollgate_ratio,
            verdict.unwrap_or_default(),
        );
        tell(format_args!(
            "  {:<23} {:<9} {:>6} {:>9.1} {:>9.1} {:>6.2} {:>8}  {tollgate:<34} {:>8.0}",
            self.name,
            "",
            "",
            bare.cpu_us,
            self.median.cpu_us,
            self.cpu_ratio,
            "",
            self.median.per_second,
        ));
    }

    /// Prints the row of its latencies and memory.
    pub fn print_latency(&self) {
        tell(format_args!(
            "  {:<23} {:>22} {:>22} {:>11} {:>9.1}",
            self.name,
            "",
            latencies(&self.median),
            "",
            self.median.resident_mib,
        ));
    }
}
