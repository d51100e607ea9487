//! The call about the books.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::answer::ApiError;
use super::api::{AdminApi, json};
use super::calls::Query;

/// What came in, and where it is or how it ended.
pub(super) fn read(api: &AdminApi, query: &str) -> Result<Response<Full<Bytes>>, ApiError> {
    Query::read(query, &[])?;
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
