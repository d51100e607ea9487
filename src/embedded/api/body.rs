//! Reading a body under a cap, a deadline and the memory budget.
//!
//! Promise: no more is held than was leased, and never more than the cap. When the budget is full:
//! the request is refused with 503. A body that is refused is still read for a moment, so that the
//! client, busy sending it, gets to see the answer.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::error::ApiError;
use crate::foundation::budget::{Budget, Lease};

/// Largest body, before and after decompression (SLS limits).
pub(super) const MAX_BODY: usize = 10 << 20;
/// Time for a whole body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read of a refused body at most, and for how long.
const DISCARD_BYTES: usize = 2 * MAX_BODY;
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// A body and the memory that it takes.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) bytes: Vec<u8>,
    pub(super) lease: Lease,
}

/// Reads all of a body.
pub(super) async fn read(
    body: &mut Incoming,
    cap: usize,
    budget: &Arc<Budget>,
) -> Result<Leased, ApiError> {
    let declared = body.size_hint().lower();
    if declared > cap as u64 {
        return Err(too_large(declared, cap));
    }
    let reading = read_frames(body, cap, budget);
    timeout(BODY_TIMEOUT, reading).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            "the body did not arrive in time",
        ))
    })
}

async fn read_frames(
    body: &mut Incoming,
    cap: usize,
    budget: &Arc<Budget>,
) -> Result<Leased, ApiError> {
    let mut lease = budget.lease(0)?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::body("the body ended too early"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = bytes.len() + data.len();
        if length > cap {
            return Err(too_large(length as u64, cap));
        }
        if length > bytes.capacity() {
            let capacity = length.max((2 * bytes.capacity()).min(cap));
            lease.resize(capacity as u64)?;
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Leased { bytes, lease })
}

fn too_large(length: u64, cap: usize) -> ApiError {
    ApiError::body_too_large(format!("Body size {length} must little than {cap}."))
}

/// Reads what is left of a body that is not wanted, within bounds.
pub(super) async fn discard(body: &mut Incoming) {
    let reading = async {
        let mut left = DISCARD_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, bytes::Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    if timeout(DISCARD_TIME, reading).await.is_err() {
        tracing::debug!("a client kept sending a body that was refused");
    }
}
