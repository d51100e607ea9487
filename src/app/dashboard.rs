//! What the dashboard shows, from the parts of a running service.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::control::Control;
use super::identity::Identity;
use super::preview::Reader;
use super::{Aside, Running};
use crate::admin::{
    About, Dashboard, DashboardParts, DashboardSources, PreviewFuture, PreviewOrder, Readiness,
    StageLatency,
};
use crate::config::Config;
use crate::foundation::clock;
use crate::gate::identity::{Action, Check, Facts, ProvenAccount};
use crate::pipeline::quarantine::newest_records;
use crate::telemetry::{LatencyCounts, Metrics, Percentiles};

/// Looks back that latency is told of: about so many seconds while a page is open.
const LOOKS: usize = 30;
/// What is older is not compared with: nobody has looked for a while.
const OLDEST: Duration = Duration::from_secs(60);

/// What was observed at the last looks, oldest first.
#[derive(Default)]
struct Looks(VecDeque<(Instant, LatencyCounts)>);

impl Looks {
    /// What was observed since the oldest look that still counts.
    fn since(&mut self, now: Instant, counts: LatencyCounts) -> Vec<Percentiles> {
        let is_old = |at: Instant| now.saturating_duration_since(at) > OLDEST;
        let looks = &mut self.0;
        while looks.len() >= LOOKS || looks.front().is_some_and(|(at, _)| is_old(*at)) {
            looks.pop_front();
        }
        let rows = looks.front().map(|(_, before)| counts.since(before));
        looks.push_back((now, counts));
        rows.unwrap_or_default()
    }
}

struct Sources {
    metrics: Arc<Metrics>,
    looks: Mutex<Looks>,
    identity: Arc<Identity>,
    aside: Aside,
    control: Arc<Control>,
    /// Reads by the configuration of this generation.
    reader: Mutex<(u64, Arc<Reader>)>,
    readiness: Arc<Readiness>,
    started: u64,
}

impl Running {
    /// The dashboard, unless the configuration leaves it out.
    pub(super) fn dashboard(
        &self,
        config: &Config,
        stop: &CancellationToken,
    ) -> Option<Arc<Dashboard>> {
        let rules = &config.admin.dashboard;
        let (Some(identity), Some(aside), Some(control), true) =
            (&self.identity, &self.aside, &self.control, rules.enabled)
        else {
            return None;
        };
        let sources = Sources {
            identity: Arc::clone(identity),
            aside: aside.clone(),
            metrics: Arc::clone(&self.metrics),
            looks: Mutex::default(),
            control: Arc::clone(control),
            reader: Mutex::new(reader_of(control)),
            readiness: Arc::clone(&self.readiness),
            started: clock::unix_seconds(),
        };
        Some(Dashboard::new(DashboardParts {
            rules: rules.clone(),
            clients: Arc::clone(&self.admin_clients),
            state: Arc::clone(identity.state()),
            limits: Arc::clone(identity.limits().control()),
            metrics: Arc::clone(&self.metrics),
            sources: Arc::new(sources),
            stop: stop.clone(),
        }))
    }
}

/// A reader of the logstores that are configured now, and the generation of that configuration.
fn reader_of(control: &Control) -> (u64, Arc<Reader>) {
    // In this order: what changes in between is read again.
    let generation = control.generation();
    let reader = Reader::new(&control.running(), &control.readers());
    (generation, Arc::new(reader))
}

impl Sources {
    fn reader(&self) -> Arc<Reader> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        if reader.0 != self.control.generation() {
            *reader = reader_of(&self.control);
        }
        Arc::clone(&reader.1)
    }
}

impl DashboardSources for Sources {
    fn about(&self) -> About {
        let configured = self.control.loaded();
        About {
            version: env!("CARGO_PKG_VERSION"),
            generation: self.control.generation(),
            configured,
            started: self.started,
            ready: self.readiness.get(),
        }
    }

    fn latency(&self) -> Vec<StageLatency> {
        let counts = self.metrics.latency.counts();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = looks.since(Instant::now(), counts).into_iter();
        let row = |row: Percentiles| StageLatency {
            stage: row.of.to_owned(),
            p50: row.p50,
            p90: row.p90,
            p99: row.p99,
            count: row.count,
        };
        rows.map(row).collect()
    }

    fn logstores(&self) -> Vec<(String, String)> {
        self.reader().logstores()
    }

    fn sample(&self) -> Vec<Bytes> {
        self.aside.fronts.now().sample()
    }

    fn set_aside(
        &self,
        project: &str,
        logstore: &str,
        see: &mut dyn FnMut(&str) -> bool,
    ) -> io::Result<()> {
        newest_records(&self.aside.quarantine.place(project, logstore), see)
    }

    fn preview(&self, order: PreviewOrder) -> PreviewFuture {
        Box::pin(self.reader().read(order))
    }

    fn account(&self, project: &str, token: &[u8]) -> Option<ProvenAccount> {
        self.check(project, |check| check.proven_account(token))
    }

    fn still_counts(&self, account: &ProvenAccount) -> bool {
        self.check("", |check| check.still_proves(account))
    }
}

impl Sources {
    /// Asks about a credential, by what is trusted now.
    fn check<T>(&self, project: &str, ask: impl FnOnce(&Check<'_>) -> T) -> T {
        let authenticator = &self.identity.authenticator;
        let trust = authenticator.trust();
        let facts = Facts {
            project,
            logstore: "",
            action: Action::GetProject,
            resource: "",
            client: std::net::Ipv4Addr::UNSPECIFIED.into(),
            secure: false,
            origin: None,
            unix_seconds: clock::unix_seconds(),
        };
        ask(&Check::new(authenticator, &trust, &facts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_not_told_of_a_time_when_nobody_looked() {
        let metrics = Metrics::new();
        let begin = Instant::now();
        let mut looks = Looks::default();
        let mut look = |seconds: u64| {
            let at = begin + Duration::from_secs(seconds);
            looks.since(at, metrics.latency.counts()).len()
        };
        let observe = || {
            for _ in 0..32 {
                if let Some(timer) = metrics.latency.begin(None) {
                    timer.finish(None, None);
                }
            }
        };
        assert_eq!(look(0), 0, "there is nothing to compare with");
        observe();
        assert!(look(60) > 0, "of the minute");
        observe();
        assert_eq!(look(121), 0, "both looks are older than a minute");
        assert_eq!(look(122), 0, "nothing came since");
    }
}
