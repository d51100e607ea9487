//! The calls about the books, and about where events go.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::answer::ApiError;
use super::api::{AdminApi, json};
use crate::foundation::clock;

/// What came in, and where it is or how it ended.
pub(super) fn read(api: &AdminApi) -> Result<Response<Full<Bytes>>, ApiError> {
    let books = api.metrics.books();
    for book in books.logstores.iter().filter(|book| !book.balanced) {
        tracing::warn!(
            project = book.project,
            logstore = book.logstore,
            difference = book.difference,
            "the books of a logstore do not balance; while events move they are read again"
        );
    }
    json(StatusCode::OK, &books)
}

/// How the upstreams are: their breakers, their retries, and how many LogGroups go at once.
pub(super) fn upstreams(api: &AdminApi) -> Result<Response<Full<Bytes>>, ApiError> {
    let reports = api.metrics.upstream_reports(clock::unix_millis());
    json(StatusCode::OK, &reports)
}
