//! What went wrong with a request to the store, and what happens to its events next.
//!
//! Promise: [`next_step`] is the only place that decides it, from the error alone. Events are given
//! up only when the store itself said that it will never take them, or anybody that they are too
//! large; whatever an operator or time can
//! mend is tried again. Not here: how long to wait, and how many tries at once.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::header;
use super::signature::SignError;
use crate::foundation::clock;

/// Bytes of an error answer that are read.
pub const MAX_ERROR_BODY: usize = 64 * 1024;
/// Characters of a code or message that are kept: enough for a person, bounded for a log.
const MAX_CODE: usize = 64;
const MAX_MESSAGE: usize = 1024;
/// Times that a server's clock may plausibly show (2017 to 2106), as the official clients judge.
const PLAUSIBLE_TIME: std::ops::Range<u64> = 1_500_000_000..4_294_967_294;

/// Why a request to the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store said no, in its own words.
    #[error(transparent)]
    Refused(#[from] ErrorAnswer),
    /// An answer that the store does not give: a captive portal, a proxy, a redirect.
    #[error("status {status}, but not from the store: {what}")]
    NotTheStore {
        /// HTTP status of the answer.
        status: u16,
        /// What was wrong with it.
        what: &'static str,
        /// As in [`ErrorAnswer::retry_after`].
        retry_after: Option<Duration>,
    },
    /// No answer.
    #[error("{failure}: {detail}")]
    Transport {
        /// What failed.
        failure: TransportFailure,
        /// The innermost cause, in the words of the library or the system.
        detail: String,
    },
    /// The request could not be made from this endpoint and access key.
    #[error("the request cannot be made: {reason}")]
    Unsendable {
        /// Why.
        reason: String,
    },
}

impl StoreError {
    /// Whether the store may have taken the events all the same, so that sending them again may
    /// bring them there twice.
    #[must_use]
    pub fn leaves_doubt(&self) -> bool {
        use TransportFailure::{Connect, Interrupted, Timeout, Tls};
        match self {
            Self::Transport { failure, .. } => match failure {
                Timeout | Interrupted => true,
                Connect | Tls => false,
            },
            // Whatever stands between may have passed it on.
            Self::NotTheStore { status, .. } => *status < 300 || *status >= 500,
            Self::Refused(answer) => answer.status == 500,
            Self::Unsendable { .. } => false,
        }
    }
}

impl StoreError {
    /// How long the store, or what stands before it, wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(answer) => answer.retry_after,
            Self::NotTheStore { retry_after, .. } => *retry_after,
            Self::Transport { .. } | Self::Unsendable { .. } => None,
        }
    }
}

impl From<SignError> for StoreError {
    fn from(error: SignError) -> Self {
        Self::Unsendable {
            reason: error.to_string(),
        }
    }
}

/// An error answer of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("status {status} {code}: {message} (request {})", request_id.as_deref().unwrap_or("without id"))]
pub struct ErrorAnswer {
    /// HTTP status.
    pub status: u16,
    /// `errorCode`.
    pub code: String,
    /// `errorMessage`, cut to a bounded length.
    pub message: String,
    /// `x-log-requestid`, for the store's own support.
    pub request_id: Option<String>,
    /// The store's clock, in Unix seconds.
    pub server_time: Option<u64>,
    /// How long the store wants to be left alone (`Retry-After`), at most a day.
    pub retry_after: Option<Duration>,
}

/// What failed when there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportFailure {
    /// The name could not be looked up, or nothing listens there.
    #[error("the store cannot be reached")]
    Connect,
    /// The certificate is not trusted or names another host, or TLS failed in another way.
    #[error("no secure connection to the store")]
    Tls,
    /// The whole exchange took longer than its time.
    #[error("the store did not answer in time")]
    Timeout,
    /// The connection broke, or what came over it was not HTTP.
    #[error("the connection to the store broke")]
    Interrupted,
}

/// What happens next to the events of a failed write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Keep them and try again.
    Retry {
        /// Why it may work then.
        reason: RetryReason,
    },
    /// The store will never take them together as they are: it may take some of them without the
    /// others, and a single one is given up.
    Drop,
}

/// Why a write is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// The store was not reached.
    Network,
    /// The store has too much to do, or broke.
    Busy,
    /// A quota of the project or shard is used up.
    Quota,
    /// The access key is not accepted or cannot be sent, or may not do this: an operator mends it, so
    /// try slowly.
    Credential,
    /// The store's clock is another. The client has learnt it: sign again at once.
    ClockSkew,
    /// Project, logstore or shard is not there: an operator mends it, so try slowly.
    NotFound,
    /// Something between answered in the store's place or changed the request: try slowly.
    Intermediary,
}

/// Reads an answer that is not a success.
#[must_use]
pub fn parse_error(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> StoreError {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "errorCode")]
        code: String,
        #[serde(rename = "errorMessage", default)]
        message: String,
    }

    match serde_json::from_slice::<Body>(body) {
        Ok(body) if !body.code.is_empty() => StoreError::Refused(ErrorAnswer {
            status: status.as_u16(),
            code: cut(&body.code, MAX_CODE),
            message: cut(&body.message, MAX_MESSAGE),
            request_id: request_id(headers),
            server_time: server_time(headers),
            retry_after: retry_after(headers),
        }),
        _ => StoreError::NotTheStore {
            status: status.as_u16(),
            what: if status.is_redirection() {
                "a redirect, which is never followed"
            } else {
                "the body has no errorCode"
            },
            retry_after: retry_after(headers),
        },
    }
}

/// The id that the store gives to each request; without it, it was not the store that answered.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::REQUEST_ID)?.to_str().ok()?;
    (!value.is_empty()).then(|| cut(value, MAX_CODE))
}

/// The store's clock, in Unix seconds, as an answer says it.
pub(super) fn server_time(headers: &HeaderMap) -> Option<u64> {
    let text = |name| headers.get(name)?.to_str().ok();
    let store_time = text(header::TIME).and_then(|value| value.trim().parse().ok());
    store_time
        .or_else(|| super::signature::parse_http_date(text(http::header::DATE)?.as_bytes()))
        .filter(|time| PLAUSIBLE_TIME.contains(time))
}

/// A longer pause is taken for so much.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// `Retry-After`, in seconds or as a date, which is compared with the store's own clock.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim();
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let until = super::signature::parse_http_date(text.as_bytes())?;
            until.saturating_sub(server_time(headers).unwrap_or_else(clock::unix_seconds))
        }
    };
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// The start of a text from outside, without control characters.
fn cut(text: &str, characters: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(characters)
        .collect()
}

/// Decides what happens to the events of a failed write. Nothing else decides this.
#[must_use]
pub fn next_step(error: &StoreError) -> NextStep {
    let reason = match error {
        StoreError::Refused(answer) => return after_refusal(answer),
        StoreError::NotTheStore { status, .. } if is_busy(*status) => RetryReason::Busy,
        // Whoever says it, it is about the size of what was sent, and stays true.
        StoreError::NotTheStore { status: 413, .. } => return NextStep::Drop,
        StoreError::NotTheStore { .. } => RetryReason::Intermediary,
        StoreError::Transport { failure, .. } => match failure {
            TransportFailure::Connect
            | TransportFailure::Timeout
            | TransportFailure::Interrupted => RetryReason::Network,
            TransportFailure::Tls => RetryReason::Intermediary,
        },
        StoreError::Unsendable { .. } => RetryReason::Credential,
    };
    NextStep::Retry { reason }
}

fn is_busy(status: u16) -> bool {
    status == 429 || status >= 500
}

/// The error table of SLS. A code means the same under whichever 4xx it comes: some have moved.
fn after_refusal(answer: &ErrorAnswer) -> NextStep {
    let retry = |reason| NextStep::Retry { reason };
    if is_busy(answer.status) {
        return retry(RetryReason::Busy);
    }
    let reason = match answer.code.as_str() {
        "WriteQuotaExceed"
        | "ReadQuotaExceed"
        | "ShardWriteQuotaExceed"
        | "ShardReadQuotaExceed"
        | "ExceedQuota"
        | "ProjectQuotaExceed"
        | "MetaOperationQpsLimitExceeded" => RetryReason::Quota,
        "ServerBusy" | "InternalServerError" | "RequestTimeout" => RetryReason::Busy,
        "RequestTimeExpired" | "RequestTimeTooSkewed" | "InvalidRequestTime" => {
            RetryReason::ClockSkew
        }
        "SignatureNotMatch" | "Unauthorized" | "InvalidAccessKeyId" | "MissAccessKeyId"
        | "ProjectForbidden" => RetryReason::Credential,
        "ProjectNotExist"
        | "ProjectNotExists"
        | "LogStoreNotExist"
        | "LogstoreNotExists"
        | "LogStoreWithoutShard"
        | "ShardNotExist" => RetryReason::NotFound,
        // We always send what these miss, so it was lost on the way.
        "MissingParameter"
        | "MissingContentType"
        | "MissingBodyRawSize"
        | "MissingHost"
        | "MissingDate"
        | "MissingAPIVersion"
        | "MissingSignatureMethod"
        | "MissingContentLength"
        | "InvalidHost"
        | "InvalidMethod" => RetryReason::Intermediary,
        _ => return after_unlisted(answer),
    };
    retry(reason)
}

/// A code that names the content, or that is not known: the status decides.
fn after_unlisted(answer: &ErrorAnswer) -> NextStep {
    let reason = match answer.status {
        401 | 403 => RetryReason::Credential,
        404 => RetryReason::NotFound,
        // Only the store itself may condemn events, and it never answers without an id.
        400..500 if answer.request_id.is_some() => return NextStep::Drop,
        _ => RetryReason::Intermediary,
    };
    NextStep::Retry { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> StoreError {
        StoreError::Refused(ErrorAnswer {
            status,
            code: code.to_owned(),
            message: String::new(),
            request_id: Some("6A2FB1C0E1B2C3D4E5F60718".to_owned()),
            server_time: None,
            retry_after: None,
        })
    }

    fn retry(reason: RetryReason) -> NextStep {
        NextStep::Retry { reason }
    }

    #[test]
    fn every_row_of_the_error_table_has_its_next_step() {
        use RetryReason::{Busy, ClockSkew, Credential, Intermediary, NotFound, Quota};
        for (status, code, reason) in [
            (400, "RequestTimeExpired", ClockSkew),
            (400, "RequestTimeTooSkewed", ClockSkew),
            (400, "MissingParameter", Intermediary),
            (400, "LogStoreWithoutShard", NotFound),
            (401, "SignatureNotMatch", Credential),
            (401, "Unauthorized", Credential),
            (401, "InvalidAccessKeyId", Credential),
            (401, "ACodeOfTomorrow", Credential),
            (403, "WriteQuotaExceed", Quota),
            (403, "ShardWriteQuotaExceed", Quota),
            (403, "ProjectForbidden", Credential),
            (403, "ACodeOfTomorrow", Credential),
            (404, "ProjectNotExist", NotFound),
            (404, "LogStoreNotExist", NotFound),
            (404, "ACodeOfTomorrow", NotFound),
            (405, "InvalidMethod", Intermediary),
            (411, "MissingContentLength", Intermediary),
            (429, "ACodeOfTomorrow", Busy),
            (500, "InternalServerError", Busy),
            (500, "PostBodyInvalid", Busy),
            (503, "ServerBusy", Busy),
            (200, "PostBodyInvalid", Intermediary),
            (200, "WriteQuotaExceed", Quota),
        ] {
            assert_eq!(
                next_step(&answer(status, code)),
                retry(reason),
                "{status} {code}"
            );
        }
        for (status, code) in [
            (400, "PostBodyInvalid"),
            (499, "PostBodyInvalid"),
            (400, "PostBodyTooLarge"),
            (400, "PostBodyUncompressError"),
            (400, "InvalidKey"),
            (400, "InvalidEncoding"),
            (400, "ParameterInvalid"),
            (400, "ACodeOfTomorrow"),
            (413, "PostBodyTooLarge"),
            (415, "InvalidContentType"),
        ] {
            assert_eq!(
                next_step(&answer(status, code)),
                NextStep::Drop,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn only_the_store_itself_condemns_events() {
        let mut error = answer(400, "PostBodyInvalid");
        if let StoreError::Refused(answer) = &mut error {
            answer.request_id = None;
        }
        assert_eq!(next_step(&error), retry(RetryReason::Intermediary));
        for (status, step) in [
            (200, retry(RetryReason::Intermediary)),
            (302, retry(RetryReason::Intermediary)),
            (400, retry(RetryReason::Intermediary)),
            (403, retry(RetryReason::Intermediary)),
            (502, retry(RetryReason::Busy)),
            (429, retry(RetryReason::Busy)),
            (413, NextStep::Drop),
        ] {
            let what = "";
            let error = StoreError::NotTheStore {
                status,
                what,
                retry_after: None,
            };
            assert_eq!(next_step(&error), step, "{status}");
        }
    }

    #[test]
    fn an_error_answer_is_read_with_its_id_and_clock() {
        let mut headers = HeaderMap::new();
        headers.insert("x-log-requestid", "6A2F".parse().unwrap());
        headers.insert("date", "Mon, 15 Jun 2026 08:00:00 GMT".parse().unwrap());
        let body = br#"{"errorCode":"Unauthorized","errorMessage":"denied\nby ram","accessDeniedDetail":{}}"#;
        let read = |headers: &HeaderMap| match parse_error(StatusCode::UNAUTHORIZED, headers, body)
        {
            StoreError::Refused(answer) => answer,
            other => panic!("{other:?}"),
        };
        let by_date = read(&headers);
        assert_eq!(
            by_date.to_string(),
            "status 401 Unauthorized: deniedby ram (request 6A2F)"
        );
        assert_eq!(by_date.server_time, Some(1_781_510_400));
        headers.insert("x-log-time", "1781510500".parse().unwrap());
        assert_eq!(read(&headers).server_time, Some(1_781_510_500));
        headers.insert("x-log-time", "12".parse().unwrap());
        assert_eq!(
            read(&headers).server_time,
            None,
            "1970 is no clock to follow"
        );
    }

    #[test]
    fn a_pause_that_the_store_asks_for_is_read_in_both_forms_and_bounded() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("date", "Mon, 15 Jun 2026 08:00:00 GMT".parse().unwrap());
            headers.insert("retry-after", value.parse().unwrap());
            let error = parse_error(StatusCode::SERVICE_UNAVAILABLE, &headers, b"");
            error.retry_after().map(|it| it.as_secs())
        };
        assert_eq!(read("7"), Some(7));
        assert_eq!(read(" 0 "), Some(0));
        assert_eq!(read("Mon, 15 Jun 2026 08:00:30 GMT"), Some(30));
        assert_eq!(read("Mon, 15 Jun 2026 07:00:00 GMT"), Some(0));
        assert_eq!(read("99999999999"), Some(86_400));
        for nonsense in ["", "soon", "-1", "1.5", "99999999999999999999999"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
        let none = parse_error(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), b"");
        assert_eq!(none.retry_after(), None);
    }

    #[test]
    fn words_of_the_store_are_bounded() {
        let body = format!(
            r#"{{"errorCode":"{}","errorMessage":"{}"}}"#,
            "c".repeat(5000),
            "m".repeat(50_000)
        );
        let error = parse_error(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
        assert!(error.to_string().len() < 2000);
    }

    #[test]
    fn what_has_no_error_code_is_not_the_store() {
        for body in [
            &b""[..],
            b"<html>403 Forbidden</html>",
            b"[]",
            b"{}",
            br#"{"errorCode":""}"#,
            br#"{"errorCode":7}"#,
            b"\xff\xfe",
        ] {
            let error = parse_error(StatusCode::FORBIDDEN, &HeaderMap::new(), body);
            assert!(
                matches!(error, StoreError::NotTheStore { status: 403, .. }),
                "{error:?}"
            );
        }
    }
}
