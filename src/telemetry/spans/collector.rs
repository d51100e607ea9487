//! One request to a collector, and what its answer means (OTLP over HTTP, binary).
//!
//! Promise: one POST to the configured URL and nowhere else (a redirect is a refusal), over TLS where
//! that is `https`; it takes no longer than its timeout, answer included; of the answer so much is read
//! as counts. What is sent as headers is in no error. Not here: when to try again (`export`).

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use super::encode;
use crate::foundation::clock;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// So much of the body of an answer is read.
const MAX_ANSWER: usize = 64 * 1024;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(20);
/// The longest words of a collector that are repeated in the log, in characters.
const MAX_WORDS: usize = 200;

/// Reads the headers of requests, secrets among them. Blocks on files.
pub type HeaderSource = Box<dyn Fn() -> Result<HeaderMap, String> + Send + Sync>;

/// A collector that takes spans over HTTP.
pub struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    headers: HeaderMap,
    timeout: Duration,
}

/// Headers may be secrets.
impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

/// Why spans were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It may take them later.
    #[error("it answered {0}")]
    Busy(StatusCode, Option<Duration>),
    #[error("it could not be reached, or its certificate not be trusted")]
    Connect,
    #[error("it did not answer in time")]
    Timeout,
    /// It will not take them.
    #[error("it answered {0}; redirects are not followed")]
    Refused(StatusCode),
}

/// Spans that a collector has taken, but for some.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Took {
    /// How many it has not taken.
    pub(super) rejected: u64,
    /// Why, in its words.
    pub(super) words: String,
}

impl Collector {
    /// Speaks with the collector at a URL, with what is trusted behind `https`, and these headers in
    /// each request, which may take so long, its answer included. Nothing is connected yet.
    #[must_use]
    pub fn new(url: Uri, tls: ClientConfig, headers: HeaderMap, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = match url.scheme_str() {
            Some("https") => builder.https_only(),
            _ => builder.https_or_http(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .http1_max_buf_size(MAX_HEAD)
            .build(builder.enable_http1().wrap_connector(connector));
        Self {
            client,
            url,
            headers,
            timeout,
        }
    }

    /// Sends other headers from now on.
    pub(super) fn set_headers(&mut self, headers: HeaderMap) {
        self.headers = headers;
    }

    /// A request without any span.
    ///
    /// # Errors
    /// Why it is not taken, as a sentence without its end.
    ///
    /// # Cancel safety
    /// Safe: nothing is sent that could be taken.
    pub async fn probe(&self) -> Result<(), String> {
        let nothing = encode::request(&encode::resource(&[]), Vec::new());
        let posted = self.post(nothing).await;
        posted.map(|_| ()).map_err(|fault| fault.to_string())
    }

    /// One request to take spans.
    ///
    /// # Cancel safety
    /// The collector may have taken the spans of a request that is dropped.
    pub(super) async fn post(&self, spans: Bytes) -> Result<Took, Fault> {
        let posting = self.try_post(spans);
        let posted = tokio::time::timeout(self.timeout, posting).await;
        posted.unwrap_or(Err(Fault::Timeout))
    }

    async fn try_post(&self, spans: Bytes) -> Result<Took, Fault> {
        let mut request = Request::new(Full::new(spans));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        let kind = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, kind);
        let agent = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|_| Fault::Connect)?;
        let status = answer.status();
        // The protocol names these four; all else would fail again.
        if matches!(status.as_u16(), 429 | 502 | 503 | 504) {
            let now = clock::now();
            return Err(Fault::Busy(status, asked_pause(answer.headers(), now)));
        }
        if !status.is_success() {
            return Err(Fault::Refused(status));
        }
        let body = read(answer.into_body()).await;
        let rejected = encode::rejected(&body);
        Ok(
            rejected.map_or_else(Took::default, |(rejected, words)| Took {
                rejected,
                words: words.chars().take(MAX_WORDS).collect(),
            }),
        )
    }
}

/// The body of an answer, or nothing of one that is too long or cut off: it only says what was wrong
/// with spans that were taken.
async fn read(mut body: Incoming) -> Bytes {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Bytes::new();
        };
        let data = frame.into_data().unwrap_or_default();
        if read.len() + data.len() > MAX_ANSWER {
            return Bytes::new();
        }
        read.extend_from_slice(&data);
    }
    read.freeze()
}

/// How long the collector wants to be left alone: seconds, or until a date.
fn asked_pause(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_by_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            asked_pause(&headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(asked("7"), Some(7));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:07 GMT"), Some(0));
        for none in ["", "-1", "soon", "99999999999"] {
            assert_eq!(asked(none), None, "{none}");
        }
        assert_eq!(asked_pause(&HeaderMap::new(), now), None);
    }
}
