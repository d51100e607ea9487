//! What clients are answered.
//!
//! Every answer has `x-log-requestid` and `x-log-time`, since Android, C and Logtail clients take
//! an answer without them for a broken network. Success is exactly 200 with an empty body and no
//! content type: 204 makes producers send again, and an empty JSON body makes the Node SDK throw.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::cors::{self, OriginVerdict};
use crate::event::{Reason, Refusal};
use crate::foundation::request_id::RequestId;

pub(super) const X_LOG_REQUESTID: HeaderName = HeaderName::from_static("x-log-requestid");
const X_LOG_TIME: HeaderName = HeaderName::from_static("x-log-time");
pub(super) const X_TOLLGATE_ACK: HeaderName = HeaderName::from_static("x-tollgate-ack");
pub(super) const X_TOLLGATE_REASON: HeaderName = HeaderName::from_static("x-tollgate-reason");

/// A transparent image of one pixel, 43 bytes.
const PIXEL: &[u8; 43] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\
    \x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// An answer.
pub type Reply = Response<Full<Bytes>>;

/// The body of a refusal, as SLS clients read it.
#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "errorCode")]
    code: &'a str,
    #[serde(rename = "errorMessage")]
    message: &'a str,
    reason: &'a str,
}

/// The bodies of refusals that say nothing of their request, by the index of their reason: a flood
/// of bad requests meets these.
static PLAIN_BODIES: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let plain = |reason: &Reason| write_error_body(&(*reason).into());
    Reason::ALL.iter().map(plain).collect()
});

fn error_body(refusal: &Refusal) -> Bytes {
    let plain = || PLAIN_BODIES.get(refusal.reason().index()).cloned();
    let known = refusal.is_plain().then(plain).flatten();
    known.unwrap_or_else(|| write_error_body(refusal))
}

fn write_error_body(refusal: &Refusal) -> Bytes {
    let reason = refusal.reason();
    let (code, label) = (reason.code().as_str(), reason.label());
    let message = refusal.message();
    // Codes and labels are letters; nearly all messages need no escapes either.
    let as_it_is = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if message.bytes().all(as_it_is) {
        let parts = [
            "{\"errorCode\":\"",
            code,
            "\",\"errorMessage\":\"",
            &message,
            "\",\"reason\":\"",
            label,
            "\"}",
        ];
        return Bytes::from(parts.concat());
    }
    let body = ErrorBody {
        code,
        message: &message,
        reason: label,
    };
    // Three texts can always be written.
    Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
}

/// The type of problem of a quota (draft-ietf-httpapi-ratelimit-headers).
const QUOTA_PROBLEM: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The body of a refusal, as clients of plain HTTP read it (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    instance: &'a str,
    reason: &'a str,
    #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
    violated: Option<[&'a str; 1]>,
}

/// What a client can use of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A client of SLS: its error codes.
    Sls,
    /// Any other: a problem document.
    Http,
    /// An image: a picture, since nothing else is looked at.
    Image,
    /// A beacon: nothing, since nobody looks.
    Beacon,
}

/// What the answers to one request have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replier<'a> {
    pub(super) id: RequestId,
    pub(super) unix_seconds: u64,
    pub(super) origin: OriginVerdict<'a>,
}

impl Replier<'_> {
    fn reply(&self, status: StatusCode, body: Bytes) -> Reply {
        let mut reply = Response::new(Full::new(body));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        // As many as the answer to good events has, in the room that the allocator gives cheaply.
        headers.reserve(6);
        if let Ok(id) = HeaderValue::from_bytes(self.id.as_bytes()) {
            headers.insert(X_LOG_REQUESTID, id);
        }
        headers.insert(X_LOG_TIME, HeaderValue::from(self.unix_seconds));
        cors::allow(headers, self.origin);
        reply
    }

    /// An answer without a body.
    pub(super) fn empty(&self, status: StatusCode) -> Reply {
        self.reply(status, Bytes::new())
    }

    /// The events are held in memory and will be delivered.
    pub(super) fn accepted(&self) -> Reply {
        let mut reply = self.reply(StatusCode::OK, Bytes::new());
        acknowledge(reply.headers_mut());
        reply
    }

    /// As [`Replier::accepted`], for a GET: a cached answer would swallow the next event.
    pub(super) fn accepted_uncached(&self) -> Reply {
        let mut reply = self.accepted();
        let no_store = HeaderValue::from_static("no-store");
        reply.headers_mut().insert(CACHE_CONTROL, no_store);
        reply
    }

    /// As [`Replier::accepted`], for clients that take an empty answer for a failure.
    pub(super) fn accepted_json(&self) -> Reply {
        let mut reply = self.reply(StatusCode::OK, Bytes::from_static(b"{}"));
        let headers = reply.headers_mut();
        acknowledge(headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        reply
    }

    /// As [`Replier::accepted`], with what became of each event.
    pub(super) fn accepted_results(&self, results: Vec<u8>) -> Reply {
        let mut reply = self.reply(StatusCode::OK, Bytes::from(results));
        let headers = reply.headers_mut();
        acknowledge(headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }

    /// As [`Replier::accepted`], for an image.
    pub(super) fn pixel(&self) -> Reply {
        let mut reply = self.reply(StatusCode::OK, Bytes::from_static(PIXEL));
        let headers = reply.headers_mut();
        acknowledge(headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/gif"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }

    /// An answer that holds a credential, or tells why there is none: nobody else may keep it.
    pub(super) fn given(
        &self,
        status: StatusCode,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Reply {
        let mut reply = self.reply(status, Bytes::from(body));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }

    /// A preflight is answered whatever becomes of its request: the page then reads on that why it was
    /// refused.
    pub(super) fn preflight(&self) -> Reply {
        let mut reply = self.reply(StatusCode::OK, Bytes::new());
        cors::preflight(reply.headers_mut());
        reply
    }

    /// The request was refused for a limit or because we are busy: in the form that its caller can
    /// use. `limit` is the limit that bit.
    pub(super) fn turned_back(&self, refusal: &Refusal, form: Form, limit: Option<&str>) -> Reply {
        let mut reply = self.refused(refusal, None);
        let reason = refusal.reason();
        let (status, content_type, body) = match form {
            Form::Sls => return reply,
            // Busy is busy in both worlds: the status says it.
            Form::Http if reason.status() != StatusCode::FORBIDDEN && !reason.is_quota() => {
                return reply;
            }
            Form::Image => (reason.status(), "image/gif", Bytes::from_static(PIXEL)),
            Form::Beacon => {
                reply.headers_mut().remove(CONTENT_TYPE);
                *reply.body_mut() = Full::new(Bytes::new());
                return reply;
            }
            Form::Http => {
                let status = match reason {
                    Reason::QuotaExceeded | Reason::UpstreamQuota => StatusCode::TOO_MANY_REQUESTS,
                    _ => reason.status(),
                };
                let problem = Problem {
                    kind: QUOTA_PROBLEM,
                    title: status.canonical_reason().unwrap_or_default(),
                    status: status.as_u16(),
                    detail: &refusal.message(),
                    instance: self.id.as_str(),
                    reason: reason.label(),
                    violated: limit.map(|limit| [limit]),
                };
                let body = serde_json::to_vec(&problem).unwrap_or_default();
                (status, "application/problem+json", Bytes::from(body))
            }
        };
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        *reply.body_mut() = Full::new(body);
        reply
    }

    /// The request was refused.
    pub(super) fn refused(&self, refusal: &Refusal, allow: Option<&'static str>) -> Reply {
        let reason = refusal.reason();
        let mut reply = self.reply(reason.status(), error_body(refusal));
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_TOLLGATE_REASON, HeaderValue::from_static(reason.label()));
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = refusal.retry_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        reply
    }
}

/// Says how safe the events are.
fn acknowledge(headers: &mut HeaderMap) {
    headers.insert(X_TOLLGATE_ACK, HeaderValue::from_static("memory"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replier() -> Replier<'static> {
        Replier {
            id: RequestId::next(1),
            unix_seconds: 1_781_510_400,
            origin: OriginVerdict::Any,
        }
    }

    #[test]
    fn success_is_an_empty_200_without_a_content_type() {
        let reply = replier().accepted();
        assert_eq!(reply.status(), StatusCode::OK);
        assert!(!reply.headers().contains_key(CONTENT_TYPE));
        assert_eq!(reply.headers().get("x-log-time").unwrap(), "1781510400");
        assert_eq!(reply.headers().get("x-log-requestid").unwrap().len(), 24);
        assert_eq!(reply.headers().get("x-tollgate-ack").unwrap(), "memory");
    }

    #[test]
    fn a_refusal_is_json_that_every_client_reads_and_a_page_may_read() {
        for reason in Reason::ALL {
            let reply = replier().refused(&(*reason).into(), None);
            assert_eq!(reply.status(), reason.status());
            let headers = reply.headers();
            assert_eq!(headers.get(CONTENT_TYPE).unwrap(), "application/json");
            assert_eq!(headers.get("access-control-allow-origin").unwrap(), "*");
            assert_eq!(headers.get("x-tollgate-reason").unwrap(), reason.label());
        }
    }

    #[test]
    fn what_is_kept_of_a_body_is_what_would_be_written() {
        for reason in Reason::ALL {
            let plain = Refusal::from(*reason);
            assert_eq!(error_body(&plain), write_error_body(&plain));
            for detail in ["", "plain, ünd 42", "a \"detail\"", "back\\slash", "line\n"] {
                let refusal = Refusal::new(*reason, detail);
                let body = ErrorBody {
                    code: reason.code().as_str(),
                    message: &refusal.message(),
                    reason: reason.label(),
                };
                assert_eq!(error_body(&refusal), serde_json::to_vec(&body).unwrap());
            }
        }
    }

    #[test]
    fn the_pixel_is_a_gif_of_43_bytes() {
        assert!(PIXEL.starts_with(b"GIF89a") && PIXEL.ends_with(b";"));
    }
}
