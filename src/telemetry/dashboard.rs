//! What is counted of the dashboard.

use super::declared;
use super::exposition::Family;
use super::labels::LoginOutcome;
use super::metrics::{Cells, Counter, Gauge, Metrics};

/// What is counted of the dashboard.
#[derive(Debug, Default)]
pub struct DashboardMetrics {
    /// Pages that get live numbers now.
    pub viewers: Gauge,
    /// Pages that were refused live numbers, because there were enough of them.
    pub viewers_refused: Counter,
    /// Sessions that are open now.
    pub sessions: Gauge,
    /// Looks at everything that live pages are shown, made once for all of them.
    pub snapshots: Counter,
    /// Connections to the private listener that were closed at once, since their peer had enough.
    pub connections_refused: Counter,
    logins: Cells<{ LoginOutcome::COUNT }>,
}

impl DashboardMetrics {
    /// The count of logins with an outcome.
    #[must_use]
    pub fn logins(&self, outcome: LoginOutcome) -> &Counter {
        self.logins.at(outcome as usize)
    }
}

impl Metrics {
    pub(super) fn dashboard_families(&self) -> Vec<Family> {
        let figures = &self.dashboard;
        let one = |declared, value| {
            let mut family = Family::of(declared);
            family.push(vec![], value);
            family
        };
        let mut logins = Family::of(&declared::DASHBOARD_LOGINS);
        for outcome in LoginOutcome::ALL {
            let count = figures.logins(*outcome).get();
            logins.push(vec![("outcome", outcome.label())], count);
        }
        vec![
            logins,
            one(&declared::DASHBOARD_VIEWERS, figures.viewers.get()),
            one(
                &declared::DASHBOARD_VIEWERS_REFUSED,
                figures.viewers_refused.get(),
            ),
            one(&declared::DASHBOARD_SESSIONS, figures.sessions.get()),
            one(&declared::DASHBOARD_SNAPSHOTS, figures.snapshots.get()),
            one(
                &declared::ADMIN_CONNECTIONS_REFUSED,
                figures.connections_refused.get(),
            ),
        ]
    }
}
