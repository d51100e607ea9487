//! Events that were set aside, for the admin API: what the front replays, what is deleted.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;

use tokio::time::Instant;

use crate::admin::AsideControl;
use crate::config::Config;
use crate::event::{
    AsideError, AsidePage, AsidePlace, PurgeOrder, Purged, RecordOrder, RecordPage, RecordView,
    ReplayOrder, ReplayReport,
};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::front::StandingFront;
use crate::pipeline::quarantine::{
    Kept, Place, Quarantine, QuarantineError, each_record_from, replayed,
};
use crate::telemetry::Metrics;

/// Time that the disk gets at least for what waits for it when the process stops.
const LEAST: Duration = Duration::from_secs(2);
/// Bytes of records that a call shows; one longer record is shown alone.
const MOST_SHOWN: usize = 4 << 20;
/// Bytes of records that a call reads, those that are not meant included.
const MOST_READ: usize = 64 << 20;

/// The parts that look after what was set aside, of a running service.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    pub(super) fronts: Arc<StandingFront>,
    pub(super) quarantine: Arc<Quarantine>,
    /// Held while records are read for somebody: that takes the disk's time, and memory.
    pub(super) reading: Arc<Mutex<()>>,
}

impl AsideControl for Aside {
    fn places(&self, after: Option<&str>, limit: usize) -> Result<AsidePage, AsideError> {
        let mut found = self.quarantine.places()?;
        if let Some(after) = after {
            let after = after.split_once('/');
            let (project, logstore) = after.ok_or(AsideError::Invalid(NO_CURSOR))?;
            found.retain(|it| (it.project.as_str(), it.logstore.as_str()) > (project, logstore));
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next = last.map(|it| format!("{}/{}", it.project, it.logstore));
        let places = found.into_iter().map(|it| {
            Ok(AsidePlace {
                bytes: it.bytes()?,
                project: it.project,
                logstore: it.logstore,
            })
        });
        Ok(AsidePage {
            places: places.collect::<Result<_, AsideError>>()?,
            next,
        })
    }

    fn records(
        &self,
        project: &str,
        logstore: &str,
        order: &RecordOrder,
    ) -> Result<RecordPage, AsideError> {
        // They become the names of folders.
        let named = ProjectName::new(project).is_ok() && LogstoreName::of_lane(logstore).is_ok();
        let kept = self.quarantine.place(project, logstore);
        if !named || !kept.exists() {
            let message = "nothing of that logstore was set aside on this node.";
            return Err(AsideError::NotFound(message.to_owned()));
        }
        let _alone = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        page(&kept, order)
    }

    fn replay(&self, order: &ReplayOrder) -> Result<ReplayReport, AsideError> {
        self.fronts.now().replay(order)
    }

    fn purge(&self, order: &PurgeOrder) -> Result<Purged, AsideError> {
        let front = self.fronts.now();
        let _only = front.no_replay()?;
        purge(&self.quarantine, order)
    }
}

const NO_CURSOR: &str = "cursor is not what an earlier call told.";

/// Reads on from where an earlier call has stopped, so far as one call goes.
fn page(kept: &Kept, order: &RecordOrder) -> Result<RecordPage, AsideError> {
    let from: Place = match &order.from {
        Some(from) => from.parse().map_err(|_| AsideError::Invalid(NO_CURSOR))?,
        None => Place::default(),
    };
    let noted: HashSet<String> = replayed(kept)?;
    let mut page = RecordPage::default();
    let (mut shown, mut read) = (0, 0);
    let damaged = each_record_from(kept, from, |record, line, place| {
        let meant = order
            .only
            .takes(&record.id, &record.cause, &record.check, record.received);
        let full = page.records.len() >= order.limit
            || (meant && shown > 0 && shown + line.len() > MOST_SHOWN);
        if full || read > MOST_READ {
            page.next = Some(place.to_string());
            return false;
        }
        read += line.len();
        if meant && let Ok(whole) = RawValue::from_string(line.to_owned()) {
            shown += line.len();
            page.records.push(RecordView {
                replayed: noted.contains(&*record.id),
                record: whole,
            });
        }
        true
    });
    page.damaged = damaged?;
    Ok(page)
}

/// Opens the quarantine of a process.
pub(super) fn open(config: &Config, metrics: &Metrics) -> Result<Arc<Quarantine>, QuarantineError> {
    Quarantine::open(&config.data_dir, &config.quarantine, &metrics.quarantine)
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
