//! What all lanes to one upstream share: whether it is up, and how often failed attempts are repeated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Breaker;
use super::project::{ProjectPart, ProjectShare};
use crate::config::Delivery;
use crate::foundation::clock;
use crate::foundation::names::ProjectName;
use crate::logstore::client::KeyRead;
use crate::telemetry::{CredentialRead, Metrics, UpstreamMetrics};

/// One upstream, as all its lanes see it.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    breaker: Breaker,
    retries: RetryBudget,
    metrics: Arc<UpstreamMetrics>,
    /// By the upstream's name for them, as long as a lane goes there.
    projects: Mutex<BTreeMap<ProjectName, Weak<ProjectShare>>>,
}

impl Upstream {
    /// An upstream that is taken for up.
    #[must_use]
    pub fn new(name: &str, delivery: &Delivery, metrics: Arc<UpstreamMetrics>) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            breaker: Breaker::new(name, &delivery.breaker, Arc::clone(&metrics)),
            retries: RetryBudget::new(delivery.retries_per_second),
            metrics,
            projects: Mutex::default(),
        })
    }

    /// What a lane has of the project that it goes to, by the upstream's name for it.
    #[must_use]
    pub fn part_of(&self, project: &ProjectName) -> ProjectPart {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        projects.retain(|_, share| share.strong_count() > 0);
        let known = projects.get(project).and_then(Weak::upgrade);
        let share = known.unwrap_or_else(|| {
            let share = ProjectShare::new(self.metrics.project(project.as_str()));
            projects.insert(project.clone(), Arc::downgrade(&share));
            share
        });
        ProjectPart::of(share)
    }

    /// It is used from now on, by these rules: so it is shown.
    pub(in crate::pipeline) fn show(&self, delivery: &Delivery, shown: &Metrics) {
        shown.keep_upstream(&self.name, &self.metrics);
        let per_second = u64::from(delivery.retries_per_second);
        self.metrics.retries_per_second.set(per_second);
        let concurrency = u64::from(delivery.concurrency);
        self.metrics.concurrency.set(concurrency);
    }

    /// What is told of it.
    pub(in crate::pipeline) fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    pub(in crate::pipeline) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// An attempt failed as if the upstream were down.
    pub(in crate::pipeline) fn failed(&self, why: &impl std::fmt::Display) {
        self.metrics.failed(&why.to_string(), clock::unix_millis());
    }

    /// The store refused the access key of an attempt.
    pub(in crate::pipeline) fn credential_refused(&self) {
        self.metrics.credentials_refused.inc();
    }

    /// The access key was read again.
    pub fn credential_read(&self, read: KeyRead) {
        let outcome = match read {
            KeyRead::Same => CredentialRead::Same,
            KeyRead::Changed => CredentialRead::Changed,
            KeyRead::Failed => CredentialRead::Failed,
        };
        self.metrics.credential_reads.at(outcome as usize).inc();
    }

    /// An attempt has ended.
    pub(in crate::pipeline) fn attempted(&self, took: Duration) {
        self.metrics.attempts.observe(took);
    }

    /// Waits for the turn of an attempt that repeats a failed one.
    ///
    /// # Cancel safety
    /// A turn that is not waited for is lost.
    pub(in crate::pipeline) async fn turn(&self) {
        let now = Instant::now();
        let turn = self.retries.next(now);
        let free = turn.saturating_duration_since(now) + self.retries.distance;
        let ahead = u64::try_from(free.as_millis()).unwrap_or(u64::MAX);
        self.metrics
            .next_turn
            .set(clock::unix_millis().saturating_add(ahead));
        if turn > now {
            self.metrics.retries_delayed.inc();
            tokio::time::sleep_until(turn).await;
        }
    }
}

/// Turns at even distances, so that there are never more in a second than allowed, however many wait.
#[derive(Debug)]
struct RetryBudget {
    distance: Duration,
    next: Mutex<Option<Instant>>,
}

impl RetryBudget {
    fn new(per_second: u32) -> Self {
        Self {
            distance: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(None),
        }
    }

    /// The next turn, which is taken.
    fn next(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + self.distance);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_at_even_distances_and_are_not_saved_up() {
        let budget = RetryBudget::new(50);
        let start = Instant::now();
        let millis = |at: Instant| at.duration_since(start).as_millis();
        let turns = [0; 5].map(|_| millis(budget.next(start)));
        assert_eq!(turns, [0, 20, 40, 60, 80]);
        let later = start + Duration::from_secs(10);
        let turns = [0; 3].map(|_| millis(budget.next(later)));
        assert_eq!(turns, [10_000, 10_020, 10_040]);
    }

    #[test]
    fn lanes_of_a_project_share_and_one_that_nobody_goes_to_is_forgotten() {
        let metrics = Arc::<UpstreamMetrics>::default();
        let upstream = Upstream::new("store", &Delivery::default(), Arc::clone(&metrics));
        let project = |name| ProjectName::new(name).unwrap();
        let parts = ["shop", "shop", "blog"].map(|name| upstream.part_of(&project(name)));
        let known = || metrics.projects().into_iter().map(|(name, _)| name);
        assert_eq!(known().collect::<Vec<_>>(), ["blog", "shop"]);
        let [one, other, blog] = parts;
        drop((one, blog));
        assert_eq!(known().collect::<Vec<_>>(), ["shop"]);
        drop(other);
        assert_eq!(known().count(), 0);
    }
}
