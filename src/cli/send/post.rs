//! One request to the service and what its answer means.
//!
//! Promise: every attempt ends in time, and no answer is held beyond [`MAX_ANSWER`]. What a status
//! means is decided in [`verdict`] alone. Not here: trying again (`deliver`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use crate::cli::api::causes;
use crate::foundation::secret::Secret;

/// Time for one attempt, connecting and the answer included.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read. The service's own are far smaller.
const MAX_ANSWER: usize = 16 << 10;

const X_LOG_PROJECT: HeaderName = HeaderName::from_static("x-log-project");

/// What the service said when it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Its name for the reason.
    pub(super) reason: String,
    /// Its sentence.
    pub(super) message: String,
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Every event of the request was accepted.
    Accepted,
    /// Something in the body was refused, and with it the whole request.
    Content(Told),
    /// Nothing of this kind will be accepted, whatever the events.
    Never(Told),
    /// The service asks to try again later.
    Busy(Told, Option<Duration>),
    /// There was no answer.
    Unreachable(String),
}

/// Where requests go, and what all of them carry.
#[derive(Debug)]
pub(super) struct Endpoint {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

/// Why there is no endpoint of that form.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("--url is `http://` or `https://`, a host and perhaps a path")]
    Url,
    #[error("the token cannot stand in a header: it holds a control character or a line break")]
    Token,
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Endpoint {
    /// The track route of a logstore at `url`.
    ///
    /// # Errors
    /// When the address is none of HTTP, or the token cannot be sent. Neither holds the token.
    pub(super) fn new(
        url: &Uri,
        project: &str,
        logstore: &str,
        token: Option<&Secret>,
    ) -> Result<Self, EndpointError> {
        let authority = url.authority().ok_or(EndpointError::Url)?;
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| EndpointError::Url)?;
        headers.insert(HOST, host);
        let project = HeaderValue::from_str(project).map_err(|_| EndpointError::Url)?;
        headers.insert(X_LOG_PROJECT, project);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, bearer(token)?);
        }
        Ok(Self {
            client: client()?,
            uri: target(url, authority, logstore)?,
            headers,
        })
    }

    /// Posts one body.
    pub(super) async fn post(&self, body: Bytes) -> Answer {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let exchange = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| causes(&error))?;
            let (parts, body) = response.into_parts();
            let body = read(body).await.map_err(|error| causes(&error))?;
            Ok(verdict(parts.status, &parts.headers, &body))
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => Answer::Unreachable(why),
            Err(_) => Answer::Unreachable(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, EndpointError> {
    let value = [b"Bearer ", token.expose()].concat();
    let mut value =
        HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(|_| EndpointError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The URI of the track route. A name under `.localhost` is the loopback address (RFC 6761), which
/// not every resolver knows; the Host header keeps the name.
fn target(url: &Uri, authority: &Authority, logstore: &str) -> Result<Uri, EndpointError> {
    let scheme = url
        .scheme()
        .filter(|s| **s == Scheme::HTTP || **s == Scheme::HTTPS);
    let scheme = scheme.cloned().ok_or(EndpointError::Url)?;
    let host = authority.host().to_ascii_lowercase();
    let local = scheme == Scheme::HTTP && host.ends_with(".localhost");
    let authority = match (local, authority.port_u16()) {
        (false, _) => authority.clone(),
        (true, port) => format!("127.0.0.1:{}", port.unwrap_or(80))
            .parse()
            .map_err(|_| EndpointError::Url)?,
    };
    let path = format!(
        "{}/logstores/{logstore}/track",
        url.path().trim_end_matches('/')
    );
    let path: PathAndQuery = path.parse().map_err(|_| EndpointError::Url)?;
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority)
        .path_and_query(path);
    uri.build().map_err(|_| EndpointError::Url)
}

fn client() -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(provider)?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

/// Reads an answer as far as [`MAX_ANSWER`].
async fn read(mut body: Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = MAX_ANSWER - bytes.len();
            bytes.extend_from_slice(data.get(..room).unwrap_or(&data));
            if data.len() >= room {
                break;
            }
        }
    }
    Ok(bytes)
}

/// What an answer means.
fn verdict(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    match status.as_u16() {
        200..=299 => Answer::Accepted,
        400 | 413 => Answer::Content(told(status, body)),
        // A 403 that says when to try again is a used-up quota.
        403 if !headers.contains_key(RETRY_AFTER) => Answer::Never(told(status, body)),
        403 | 408 | 429 | 500..=599 => {
            let retry_after = headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|seconds| seconds.trim().parse().ok());
            Answer::Busy(told(status, body), retry_after.map(Duration::from_secs))
        }
        _ => Answer::Never(told(status, body)),
    }
}

fn told(status: StatusCode, body: &[u8]) -> Told {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct ErrorBody {
        error_code: String,
        error_message: String,
        reason: String,
    }
    let body: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let names = [
        body.reason,
        body.error_code,
        format!("http_{}", status.as_u16()),
    ];
    let reason = names
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default();
    let message = match body.error_message {
        message if message.is_empty() => format!("the service answered {status}"),
        message => message,
    };
    Told { reason, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, token: Option<&str>) -> Result<Endpoint, EndpointError> {
        let token = token.map(Secret::new);
        Endpoint::new(&url.parse().unwrap(), "shop", "web", token.as_ref())
    }

    #[test]
    fn the_route_is_below_the_url_and_localhost_names_are_the_loopback() {
        for (url, uri, host) in [
            (
                "http://127.0.0.1:8080",
                "http://127.0.0.1:8080/logstores/web/track",
                "127.0.0.1:8080",
            ),
            (
                "https://e.example/in/",
                "https://e.example/in/logstores/web/track",
                "e.example",
            ),
            (
                "http://shop.localhost:81",
                "http://127.0.0.1:81/logstores/web/track",
                "shop.localhost:81",
            ),
        ] {
            let endpoint = endpoint(url, None).unwrap();
            assert_eq!(
                (
                    endpoint.uri.to_string().as_str(),
                    endpoint.headers[HOST].to_str().unwrap()
                ),
                (uri, host)
            );
        }
        for bad in ["ftp://x/", "/path", "localhost:8080"] {
            assert!(endpoint(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_not_in_errors_or_debug_output() {
        let error = endpoint("http://e.example", Some("hunter2\n")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        let endpoint = endpoint("http://e.example", Some("hunter2")).unwrap();
        assert!(!format!("{endpoint:?}").contains("hunter2"));
    }

    #[test]
    fn a_status_decides_whether_to_look_for_the_bad_event_to_wait_or_to_stop() {
        let body = br#"{"errorCode":"PostBodyInvalid","errorMessage":"m","reason":"not_json"}"#;
        let verdict = |status: u16| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("7"))]);
            verdict(StatusCode::from_u16(status).unwrap(), &headers, body)
        };
        let told = Told {
            reason: "not_json".to_owned(),
            message: "m".to_owned(),
        };
        assert_eq!(verdict(200), Answer::Accepted);
        for status in [400, 413] {
            assert_eq!(verdict(status), Answer::Content(told.clone()));
        }
        for status in [403, 408, 429, 500, 503] {
            assert_eq!(
                verdict(status),
                Answer::Busy(told.clone(), Some(Duration::from_secs(7)))
            );
        }
        for status in [301, 401, 404, 405] {
            assert_eq!(verdict(status), Answer::Never(told.clone()));
        }
        let untimed = super::verdict(StatusCode::FORBIDDEN, &HeaderMap::new(), body);
        assert_eq!(
            untimed,
            Answer::Never(told),
            "no quota says when to come back"
        );
    }

    #[test]
    fn an_answer_that_is_not_ours_is_told_by_its_status() {
        let told = told(StatusCode::BAD_GATEWAY, b"<html>");
        assert_eq!(told.reason, "http_502");
        assert_eq!(told.message, "the service answered 502 Bad Gateway");
    }
}
