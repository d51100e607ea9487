//! The calls about limits.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::answer::ApiError;
use super::api::json;
use super::calls::{Query, read};
use crate::gate::quota::{LimitControl, MOST_TOP, NewOverride, USUAL_TOP};

type Answer = Result<Response<Full<Bytes>>, ApiError>;

pub(super) fn list(limits: &LimitControl) -> Answer {
    json(StatusCode::OK, &limits.list())
}

/// A limit with its top keys, or one of its keys.
pub(super) fn show(limits: &LimitControl, name: &str, query: &Query) -> Answer {
    match (query.get("key"), query.get("top")) {
        (Some(key), None) => json(StatusCode::OK, &limits.key(name, key)?),
        (Some(_), Some(_)) => Err(ApiError::invalid("send key or top, not both.")),
        (None, top) => {
            let top = top.map_or(Some(USUAL_TOP), |top| top.parse().ok());
            let top = top.filter(|top| *top <= MOST_TOP);
            let top =
                top.ok_or_else(|| ApiError::invalid(format!("top must be 0 to {MOST_TOP}.")))?;
            json(StatusCode::OK, &limits.show(name, top)?)
        }
    }
}

pub(super) fn add(limits: &LimitControl, name: &str, body: &[u8]) -> Answer {
    let new: NewOverride = read(body)?;
    let made = limits.add(name, &new)?;
    tracing::info!(
        limit = name, key = ?made.key, change = made.change, factor = made.factor,
        reason = ?made.reason, expires = made.expires, "key of a limit changed"
    );
    json(StatusCode::CREATED, &made)
}

pub(super) fn lift(limits: &LimitControl, name: &str, key: &str) -> Answer {
    let lifted = limits.lift(name, key)?;
    tracing::info!(limit = name, key = ?lifted.key, change = lifted.change, "change of a key lifted");
    json(StatusCode::OK, &lifted)
}
