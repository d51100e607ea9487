//! The level of the log.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::answer::ApiError;
use super::api::json;
use super::calls::read;
use crate::telemetry::log::{self, Level, LevelError};

/// Tells the level.
pub(super) fn show() -> Result<Response<Full<Bytes>>, ApiError> {
    json(StatusCode::OK, &level()?.get())
}

/// Changes it for a time.
pub(super) fn change(body: &[u8]) -> Result<Response<Full<Bytes>>, ApiError> {
    let now = level()?.set(&read(body)?)?;
    tracing::info!(level = now.level, until = now.until, "log level changed");
    json(StatusCode::OK, &now)
}

/// Makes it what was configured.
pub(super) fn reset() -> Result<Response<Full<Bytes>>, ApiError> {
    let now = level()?.reset()?;
    tracing::info!(level = now.level, "log level as configured");
    json(StatusCode::OK, &now)
}

fn level() -> Result<&'static Level, ApiError> {
    log::level().ok_or_else(|| {
        let message = "this process does not write its log by itself.";
        ApiError::new(StatusCode::CONFLICT, "Conflict", message)
    })
}

impl From<LevelError> for ApiError {
    fn from(error: LevelError) -> Self {
        match error {
            LevelError::Filter(_) | LevelError::For(_) => Self::invalid(format!("{error}.")),
            LevelError::Log(_) => {
                tracing::error!(%error, "the log level was not changed");
                Self::internal()
            }
        }
    }
}
