//! The calls about events that were set aside.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::answer::ApiError;
use super::api::{AdminApi, json};
use super::calls::{Query, read};
use crate::event::{
    AsideError, AsidePage, Cause, PurgeOrder, Purged, RecordFilter, RecordOrder, RecordPage,
    ReplayOrder, ReplayReport,
};

/// The last second that `since` takes: the end of the year 9999.
pub(super) const LATEST: u64 = 253_402_300_799;

type Answer = Result<Response<Full<Bytes>>, ApiError>;

/// Looks after the events that were set aside on local disk.
pub trait AsideControl: Send + Sync {
    /// The logstores that have records, after one named `project/logstore`. Blocks.
    ///
    /// # Errors
    /// When the files cannot be read, or that is no such name.
    fn places(&self, after: Option<&str>, limit: usize) -> Result<AsidePage, AsideError>;

    /// Records of a logstore, the oldest first. Blocks, for a bounded time.
    ///
    /// # Errors
    /// When there are none, or they cannot be read.
    fn records(
        &self,
        project: &str,
        logstore: &str,
        order: &RecordOrder,
    ) -> Result<RecordPage, AsideError>;

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

pub(super) fn list(api: &AdminApi, query: &Query) -> Answer {
    let page = api.aside.places(query.get("cursor"), query.limit()?)?;
    json(StatusCode::OK, &page)
}

pub(super) fn records(api: &AdminApi, (project, logstore): (&str, &str), query: &Query) -> Answer {
    let wrong =
        |name: &'static str, what: &str| ApiError::invalid(format!("{name}: {what}.")).at(name);
    let cause = query.get("cause").map(|text| {
        let found = Cause::ALL.into_iter().find(|it| it.label() == text);
        found.ok_or_else(|| wrong("cause", "it is schema, guard, transform or store"))
    });
    let since = query.get("since").map(|text| {
        let seconds = text.parse().ok().filter(|seconds| *seconds <= LATEST);
        seconds.ok_or_else(|| wrong("since", "it is a time in unix seconds"))
    });
    let order = RecordOrder {
        only: RecordFilter {
            ids: query.get("id").map(str::to_owned).into_iter().collect(),
            cause: cause.transpose()?,
            check: query.get("check").map(str::to_owned),
            since: since.transpose()?,
        },
        from: query.get("cursor").map(str::to_owned),
        limit: query.limit()?,
    };
    json(
        StatusCode::OK,
        &api.aside.records(project, logstore, &order)?,
    )
}

pub(super) fn replay(api: &AdminApi, body: &[u8]) -> Answer {
    let order: ReplayOrder = read(body)?;
    let report = api.aside.replay(&order)?;
    tracing::info!(
        project = %order.project, logstore = %order.logstore, dry_run = order.dry_run,
        again = order.again, taken = report.taken, still_bad = report.still_bad,
        left = report.left, "records replayed"
    );
    json(StatusCode::OK, &report)
}

pub(super) fn purge(api: &AdminApi, body: &[u8]) -> Answer {
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
