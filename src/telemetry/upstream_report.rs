//! How the upstreams are, for people: `GET /api/v1/upstreams`, `tollgate upstreams`.

use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use super::upstreams::UpstreamMetrics;

/// Characters of what failed last that are kept.
const MAX_WORDS: usize = 300;

/// All upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReports {
    /// By name.
    pub upstreams: Vec<UpstreamReport>,
}

/// One upstream. Times are Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamReport {
    /// Its name.
    pub upstream: String,
    /// The state of its breaker: `closed`, `open` or `half_open`.
    pub state: String,
    /// Since when it has that state; `None` since the process has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Attempts in a row that failed as if it were down.
    pub failures: u64,
    /// What the last of them said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_at: Option<u64>,
    /// When the next probe may be made, while the breaker is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_probe: Option<u64>,
    /// Times that the breaker opened.
    pub opened: u64,
    /// Probes that were made.
    pub probes: u64,
    /// Attempts whose access key was refused.
    pub credentials_refused: u64,
    /// The budget of repeated attempts.
    pub retries: RetryReport,
    /// The projects there, as the upstream calls them.
    pub projects: Vec<ProjectReport>,
    /// Who delivers there.
    pub logstores: Vec<LaneReport>,
}

/// The budget of repeated attempts of one upstream.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct RetryReport {
    /// `delivery.retries_per_second`.
    pub per_second: u64,
    /// Attempts that wait for their turn now, as far as turns were given.
    pub waiting: u64,
    /// Attempts that had to wait, of all times.
    pub delayed: u64,
}

/// A project at an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectReport {
    /// Its name at the upstream.
    pub project: String,
    /// LogGroups that all its logstores may have on their way at once, since it was over its quota;
    /// `None`: it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
}

/// A logstore that is delivered to an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LaneReport {
    /// Its project.
    pub project: String,
    /// Its name.
    pub logstore: String,
    /// Only while another upstream is down.
    pub fallback: bool,
    /// LogGroups that may be on their way at once now.
    pub concurrency: u64,
    /// `delivery.concurrency`.
    pub most: u64,
}

/// What an upstream failed with, and who delivers there.
#[derive(Debug, Default)]
pub(super) struct Words {
    last_failure: Option<(String, u64)>,
    lanes: Vec<(String, String, bool)>,
}

impl UpstreamMetrics {
    /// A logstore is delivered here; with `fallback` only while another upstream is down.
    pub fn serves(&self, project: &str, logstore: &str, fallback: bool) {
        let lane = (project.to_owned(), logstore.to_owned(), fallback);
        self.words().lanes.push(lane);
    }

    /// No logstore is delivered here, as far as is told from now on.
    pub fn serves_none(&self) {
        self.words().lanes.clear();
    }

    /// An attempt failed at `now`, in Unix milliseconds, as if the upstream were down.
    pub fn failed(&self, why: &str, now: u64) {
        let words = why.chars().take(MAX_WORDS).collect();
        self.words().last_failure = Some((words, now));
    }

    fn words(&self) -> std::sync::MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    /// How the upstreams are at `now`, in Unix milliseconds.
    #[must_use]
    pub fn upstream_reports(&self, now: u64) -> UpstreamReports {
        let each: Vec<(String, Arc<UpstreamMetrics>)> = {
            let upstreams = self.upstreams.lock();
            let upstreams = upstreams.unwrap_or_else(PoisonError::into_inner);
            let each = upstreams
                .iter()
                .map(|(name, it)| (name.clone(), Arc::clone(it)));
            each.collect()
        };
        let report = |(name, cells): &(String, Arc<UpstreamMetrics>)| self.report(name, cells, now);
        UpstreamReports {
            upstreams: each.iter().map(report).collect(),
        }
    }

    fn report(&self, name: &str, cells: &UpstreamMetrics, now: u64) -> UpstreamReport {
        let known = |time: u64| (time > 0).then_some(time);
        let per_second = cells.retries_per_second.get();
        let ahead = cells.next_turn.get().saturating_sub(now);
        let words = cells.words();
        let lane = |(project, logstore, fallback): &(String, String, bool)| LaneReport {
            concurrency: self.logstore(project, logstore).delivery.concurrency.get(),
            most: cells.concurrency.get(),
            project: project.clone(),
            logstore: logstore.clone(),
            fallback: *fallback,
        };
        let project = |(project, concurrency)| ProjectReport {
            project,
            concurrency: known(concurrency),
        };
        UpstreamReport {
            upstream: name.to_owned(),
            state: cells.breaker().label().to_owned(),
            since: known(cells.since.get()),
            failures: cells.failures.get(),
            last_failure: words.last_failure.as_ref().map(|it| it.0.clone()),
            last_failure_at: words.last_failure.as_ref().map(|it| it.1),
            next_probe: known(cells.next_probe.get()),
            opened: cells.opened.get(),
            probes: cells.probes.get(),
            credentials_refused: cells.credentials_refused.get(),
            retries: RetryReport {
                per_second,
                waiting: (ahead * per_second).div_ceil(1000).saturating_sub(1),
                delayed: cells.retries_delayed.get(),
            },
            projects: cells.projects().into_iter().map(project).collect(),
            logstores: words.lanes.iter().map(lane).collect(),
        }
    }
}
