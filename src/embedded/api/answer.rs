//! Making answers. Headers of SLS go out in lower case, which some of its clients need; hyper writes
//! names as `http` keeps them, in lower case.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::error::ApiError;
use crate::foundation::clock;
use crate::foundation::request_id::RequestId;
use crate::logstore::header;

/// An answer, whole in memory.
pub(in crate::embedded) type Answer = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// 200 with nothing: success of a write. A content type would make one SDK parse the nothing.
pub(super) fn empty() -> Answer {
    Response::new(Full::default())
}

/// 200 with JSON.
pub(super) fn json(body: &impl Serialize) -> Result<Answer, ApiError> {
    let bytes = serde_json::to_vec(body)
        .map_err(|_| ApiError::internal("the answer could not be written as JSON"))?;
    let mut answer = Response::new(Full::from(bytes));
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(answer)
}

/// An error and its body.
pub(super) fn error(error: &ApiError) -> Answer {
    let body = serde_json::json!({
        "errorCode": error.code,
        "errorMessage": error.message,
    });
    let mut answer = json(&body).unwrap_or_else(|_| empty());
    *answer.status_mut() = error.status;
    if error.status == StatusCode::SERVICE_UNAVAILABLE {
        let one_second = HeaderValue::from_static("1");
        answer
            .headers_mut()
            .insert(http::header::RETRY_AFTER, one_second);
    }
    answer
}

/// Adds what every answer carries: without a request id some clients take an answer for a network
/// failure, and several set their clock by the time.
pub(super) fn sign_off(answer: &mut Answer) {
    let now = clock::unix_seconds();
    let id = HeaderValue::from_bytes(RequestId::next(now).as_bytes());
    let headers = answer.headers_mut();
    if let Ok(id) = id {
        headers.insert(header::REQUEST_ID, id);
    }
    headers.insert(header::TIME, HeaderValue::from(now));
}
