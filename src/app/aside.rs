//! Events that were set aside, for the admin API: what the front replays, what is deleted.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::admin::AsideControl;
use crate::event::{AsideError, PurgeOrder, Purged, ReplayOrder, ReplayReport};
use crate::front::Front;
use crate::pipeline::quarantine::Quarantine;

/// Time that the disk gets at least for what waits for it when the process stops.
const LEAST: Duration = Duration::from_secs(2);

/// The parts that look after what was set aside, of a running service.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    pub(super) front: Arc<Front>,
    pub(super) quarantine: Arc<Quarantine>,
}

impl AsideControl for Aside {
    fn replay(&self, order: &ReplayOrder) -> Result<ReplayReport, AsideError> {
        self.front.replay(order)
    }

    fn purge(&self, order: &PurgeOrder) -> Result<Purged, AsideError> {
        purge(&self.quarantine, order)
    }
}

/// Deletes the records of a logstore.
///
/// # Errors
/// When there are none, or a file cannot be deleted.
pub fn purge(quarantine: &Quarantine, order: &PurgeOrder) -> Result<Purged, AsideError> {
    let (project, logstore) = (order.project.as_str(), order.logstore.as_str());
    if !quarantine.place(project, logstore).exists() {
        let message = format!("nothing of {logstore} in {project} was set aside on this node.");
        return Err(AsideError::NotFound(message));
    }
    Ok(quarantine.purge(project, logstore)?)
}

/// Has written what waits, and stops. How many bytes were not written.
pub(super) async fn finish(quarantine: Arc<Quarantine>, deadline: Instant) -> u64 {
    let time = deadline
        .saturating_duration_since(Instant::now())
        .max(LEAST);
    let waiting = Arc::clone(&quarantine);
    let stopped = tokio::task::spawn_blocking(move || quarantine.stop(time)).await;
    let unwritten = stopped.unwrap_or_else(|_| waiting.waiting());
    if unwritten > 0 {
        tracing::error!(
            bytes = unwritten,
            "events that were set aside were not written in time, and are lost"
        );
    }
    unwritten
}
