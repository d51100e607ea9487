//! What a client is told when something is refused: a status, a code of the SLS error table, and a
//! sentence.

use std::borrow::Cow;

use http::StatusCode;

use crate::embedded::query::ParseError;
use crate::embedded::store::{PutError, StoreError};
use crate::event::Refusal;
use crate::foundation::budget::BudgetFull;
use crate::logstore::codec::CodecError;
use crate::logstore::signature::VerifyError;

/// Longest part of a client's own text that is said back to it, in characters.
const ECHO: usize = 64;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {code}: {message}")]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
}

/// The connection is to be closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection is closed without an answer, as the configured faults say")]
pub(in crate::embedded) struct HangUp;

/// Why a request gets no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// It is answered with an error.
    #[error(transparent)]
    Error(#[from] ApiError),
    /// It is not answered.
    #[error(transparent)]
    HangUp(#[from] HangUp),
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: Cow::Borrowed(code),
            message: message.into(),
        }
    }

    /// 400 `ParameterInvalid`.
    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ParameterInvalid", message)
    }

    /// 400 `PostBodyInvalid`.
    pub(super) fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "PostBodyInvalid", message)
    }

    /// 413 `PostBodyTooLarge`.
    pub(super) fn body_too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PostBodyTooLarge", message)
    }

    /// 404 `ProjectNotExist`.
    pub(super) fn no_project(project: &str) -> Self {
        let message = format!("The Project does not exist : {}", echo(project));
        Self::new(StatusCode::NOT_FOUND, "ProjectNotExist", message)
    }

    /// 404 `LogStoreNotExist`.
    pub(super) fn no_logstore(logstore: &str) -> Self {
        let message = format!("logstore {} does not exist", echo(logstore));
        Self::new(StatusCode::NOT_FOUND, "LogStoreNotExist", message)
    }

    /// 400 `ShardNotExist`.
    pub(super) fn no_shard(shard: &str) -> Self {
        let message = format!("Shard {} does not exist.", echo(shard));
        Self::new(StatusCode::BAD_REQUEST, "ShardNotExist", message)
    }

    /// 500 `InternalServerError`.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            message,
        )
    }

    /// 503 `ServerBusy`.
    pub(super) fn busy(why: &str) -> Self {
        let message = format!("The server is busy, please try again later: {why}.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", message)
    }
}

/// A short, printable part of what a client sent.
pub(super) fn echo(text: &str) -> String {
    let short: String = text.chars().take(ECHO).collect();
    short.escape_debug().to_string()
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        let (status, code, message) = error.answer();
        Self::new(status, code, message)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reason();
        Self::new(reason.status(), reason.code().as_str(), refusal.message())
    }
}

impl From<CodecError> for ApiError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::TooLarge { .. } => Self::body_too_large(error.to_string()),
            CodecError::MissingRawSize => Self::new(
                StatusCode::BAD_REQUEST,
                "MissingParameter",
                error.to_string(),
            ),
            CodecError::Malformed | CodecError::RawSizeMismatch { .. } => Self::new(
                StatusCode::BAD_REQUEST,
                "PostBodyUncompressError",
                format!("Failed to decompress logs: {error}."),
            ),
        }
    }
}

impl From<BudgetFull> for ApiError {
    fn from(_: BudgetFull) -> Self {
        Self::busy("its memory budget is full")
    }
}

impl From<PutError> for ApiError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Busy => Self::busy("too many writes wait for the disk"),
            PutError::Failed => Self::internal("the logs could not be written to disk"),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if let StoreError::Reopening = error {
            return Self::busy("its files are being opened again");
        }
        tracing::error!(%error, "the embedded logstore could not be read");
        Self::internal("the store could not be read; its log says why")
    }
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        Self::parameter(format!("invalid query: {error}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_is_said_back_short_and_printable() {
        let error = ApiError::no_logstore(&format!("a\n\"{}", "x".repeat(1000)));
        assert!(error.message.starts_with("logstore a\\n\\\"x"), "{error}");
        assert!(error.message.len() < 100);
    }
}
