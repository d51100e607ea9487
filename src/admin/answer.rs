//! Answers of the admin API. An error has the form of those of SLS: `errorCode` and `errorMessage`.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use crate::gate::identity::state::ChangeError;

/// Why a call was refused.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    allow: Option<&'static str>,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            allow: None,
        }
    }

    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ParameterInvalid", message)
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let message = format!("this path does not take that method. Use {allow}.");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "InvalidMethod", message)
        }
    }

    pub(super) fn internal() -> Self {
        let message = "something went wrong here. The log says what.";
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            message,
        )
    }

    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let body = serde_json::json!({"errorCode": self.code, "errorMessage": self.message});
        let mut response = json(self.status, body.to_string().into_bytes());
        let headers = response.headers_mut();
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"tollgate admin\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let (status, code) = match &error {
            ChangeError::Invalid { .. } => (StatusCode::BAD_REQUEST, "ParameterInvalid"),
            ChangeError::NotFound(_) => (StatusCode::NOT_FOUND, "NotExist"),
            ChangeError::Conflict(_) => (StatusCode::CONFLICT, "Conflict"),
            ChangeError::Full { .. } => (StatusCode::CONFLICT, "QuotaExceed"),
            ChangeError::Write { .. } => {
                tracing::error!(%error, "a change by the admin API was not kept");
                (StatusCode::SERVICE_UNAVAILABLE, "ServerBusy")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

/// An answer of JSON that nobody keeps: it may hold a token.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = private(body, "application/json");
    *response.status_mut() = status;
    response
}

/// An answer of JSON objects, one a line, that nobody keeps.
pub(super) fn lines(body: Vec<u8>) -> Response<Full<Bytes>> {
    private(body, "application/x-ndjson")
}

fn private(body: Vec<u8>, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
