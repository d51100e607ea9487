//! The body of a call: small, in time, and JSON by its own word, which a form of a page cannot give.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use super::answer::ApiError;

/// Bytes of a body.
pub(super) const MAX_BODY: usize = 64 << 10;
/// Time for all of it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the body of a call. Only POST and PUT have one.
pub(super) async fn read<B>(
    method: &Method,
    headers: &HeaderMap,
    body: B,
) -> Result<Vec<u8>, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    // A body that is not there has no type: some calls have nothing to say.
    let empty = body.is_end_stream();
    let may_have = matches!(*method, Method::POST | Method::PUT);
    if may_have && !empty && !is_json(headers) {
        let message = "the body must be JSON. Send Content-Type: application/json.";
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "ParameterInvalid",
            message,
        ));
    }
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let read = tokio::time::timeout(TIMEOUT, read_frames(body)).await;
    let bytes = read.unwrap_or_else(|_| {
        let message = "the body did not arrive within 10 s. Send it whole.";
        Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            message,
        ))
    })?;
    if !may_have && !bytes.is_empty() {
        return Err(ApiError::invalid(
            "this call takes no body. Name things in the path and the query.",
        ));
    }
    Ok(bytes)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (values.next(), values.next()) else {
        return false;
    };
    let kind = only.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

async fn read_frames<B>(mut body: B) -> Result<Vec<u8>, ApiError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let cut =
            |_| ApiError::invalid("the body ended before its declared length. Send all of it.");
        if let Ok(data) = frame.map_err(cut)?.into_data() {
            if bytes.len() + data.len() > MAX_BODY {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn too_large() -> ApiError {
    let message = format!("the body is larger than {MAX_BODY} bytes. Send one change in a call.");
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PostBodyTooLarge", message)
}
