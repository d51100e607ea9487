//! Answers of the admin API. An error has the form of those of SLS: `errorCode` and `errorMessage`.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::Serialize;

use super::reload::{ReloadProblem, ReloadRefused};
use crate::event::Reason;
use crate::gate::identity::state::ChangeError;

/// Why a call was refused.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
    told: Box<Told>,
}

/// What else a refusal tells, where it is known.
#[derive(Debug, Default)]
struct Told {
    place: Option<String>,
    hint: Option<String>,
    /// Why a credential was refused.
    reason: Option<Reason>,
    /// All that is wrong, where there may be more than one thing.
    problems: Vec<ReloadProblem>,
    /// Methods that the path has.
    allow: Option<String>,
    /// Seconds to wait.
    after: Option<u64>,
}

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorView {
    /// What kind of refusal it is, for programs.
    error_code: String,
    /// What is wrong, for people.
    error_message: String,
    /// Where: a parameter, a member of the body.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// Why a credential was refused, as metrics name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// All that is wrong, where there may be more than one thing: of a reload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    problems: Vec<ReloadProblem>,
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
            told: Box::default(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// The same, about a part of the request.
    pub(super) fn at(mut self, place: impl Into<String>) -> Self {
        self.told.place = Some(place.into());
        self
    }

    /// The same, with a way to mend it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.told.hint = Some(hint.into());
        self
    }

    /// The same, with a time to wait.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.told.after = Some(seconds);
        self
    }

    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ParameterInvalid", message)
    }

    /// A credential that was refused for this reason, told as clients of the public listener are told.
    pub(super) fn reasoned(reason: Reason) -> Self {
        let mut error = Self::new(
            reason.status(),
            reason.code().as_str(),
            format!("{}. {}", reason.what(), reason.fix()),
        );
        error.told.reason = Some(reason);
        error
    }

    pub(super) fn method(allow: String) -> Self {
        let message = format!("this path does not take that method. Use {allow}.");
        let mut error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "InvalidMethod", message);
        error.told.allow = Some(allow);
        error
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
        let view = ErrorView {
            error_code: self.code.to_owned(),
            error_message: self.message.clone().into_owned(),
            place: self.told.place.clone(),
            reason: self.told.reason.map(|it| it.label().to_owned()),
            hint: self.told.hint.clone(),
            problems: self.told.problems.clone(),
        };
        let body = serde_json::to_vec(&view).unwrap_or_default();
        let mut response = json(self.status, body);
        let headers = response.headers_mut();
        let allow = self.told.allow.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(allow)) = allow {
            headers.insert(ALLOW, allow);
        }
        if let Some(seconds) = self.told.after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
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

impl From<ReloadRefused> for ApiError {
    fn from(refused: ReloadRefused) -> Self {
        let message = format!("nothing was reloaded: {refused}. What was in force stays in force.");
        let mut error = Self::new(StatusCode::CONFLICT, "Conflict", message);
        error.told.problems = refused.problems;
        error
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
