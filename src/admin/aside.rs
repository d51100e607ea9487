//! The calls about events that were set aside.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::answer::ApiError;
use super::api::{AdminApi, json};
use super::calls::{Query, read};
use crate::event::{AsideError, PurgeOrder, Purged, ReplayOrder, ReplayReport};

type Answer = Result<Response<Full<Bytes>>, ApiError>;

/// Looks after the events that were set aside on local disk.
pub trait AsideControl: Send + Sync {
    /// Takes records once more, by what events are held to now. Blocks, for a bounded time.
    ///
    /// # Errors
    /// What was taken before that stays taken.
    fn replay(&self, order: &ReplayOrder) -> Result<ReplayReport, AsideError>;

    /// Deletes the records of a logstore. Blocks.
    ///
    /// # Errors
    /// When there are none, or a file cannot be deleted.
    fn purge(&self, order: &PurgeOrder) -> Result<Purged, AsideError>;
}

pub(super) fn replay(api: &AdminApi, query: &str, body: &[u8]) -> Answer {
    Query::read(query, &[])?;
    let order: ReplayOrder = read(body)?;
    let report = api.aside.replay(&order)?;
    tracing::info!(
        project = %order.project, logstore = %order.logstore, dry_run = order.dry_run,
        again = order.again, taken = report.taken, still_bad = report.still_bad,
        left = report.left, "records replayed"
    );
    json(StatusCode::OK, &report)
}

pub(super) fn purge(api: &AdminApi, query: &str, body: &[u8]) -> Answer {
    Query::read(query, &[])?;
    let order: PurgeOrder = read(body)?;
    let purged = api.aside.purge(&order)?;
    tracing::info!(
        project = %order.project, logstore = %order.logstore, records = purged.records,
        bytes = purged.bytes, "records deleted"
    );
    json(StatusCode::OK, &purged)
}

impl From<AsideError> for ApiError {
    fn from(error: AsideError) -> Self {
        let (status, code) = match &error {
            AsideError::Invalid(_) => (StatusCode::BAD_REQUEST, "ParameterInvalid"),
            AsideError::NotFound(_) => (StatusCode::NOT_FOUND, "NotExist"),
            AsideError::Running => (StatusCode::CONFLICT, "Conflict"),
            AsideError::Disk(_) => {
                tracing::error!(%error, "a call of the admin API failed");
                (StatusCode::SERVICE_UNAVAILABLE, "ServerBusy")
            }
        };
        Self::new(status, code, error.to_string())
    }
}
