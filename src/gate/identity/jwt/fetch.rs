//! Getting a JWK set over HTTP.
//!
//! Promise: one GET to the configured URL and nowhere else (a redirect is a failure), over TLS
//! unless the URL is one of this machine; at most [`MAX_DOCUMENT`] bytes are read. What the server
//! says is not repeated in an error. Not here: how long it may take, and when (`source`).

use std::net::Ipv4Addr;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::uri::{Authority, Uri};
use http::{HeaderValue, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;

use super::jwk::MAX_DOCUMENT;
use crate::config::JwksUrl;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Why a document could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the server could not be reached, or its certificate not be trusted")]
    Connect,
    #[error("the server answered {0}, not 200; redirects are not followed")]
    Status(StatusCode),
    #[error("the answer is longer than 256 KiB")]
    TooLong,
    #[error("the answer was cut off")]
    Cut,
    #[error("it took longer than allowed")]
    Timeout,
}

/// A client for one URL.
pub(super) struct Fetcher {
    /// Its requests have no body. The kind is that of `telemetry::spans`: each further one would be one
    /// more copy of hyper's code.
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Where it is connected to.
    target: Uri,
    /// What `Host` says.
    host: HeaderValue,
}

impl Fetcher {
    pub(super) fn new(url: &JwksUrl) -> Result<Self, rustls::Error> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_webpki_roots()
            .with_no_client_auth();
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = if url.is_https() {
            builder.https_only()
        } else {
            builder.https_or_http()
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .http1_max_buf_size(MAX_HEAD)
            .build(builder.enable_http1().wrap_connector(connector));
        let authority = url.uri().authority().map_or("", Authority::as_str);
        Ok(Self {
            client,
            target: target(url),
            host: HeaderValue::from_str(authority).unwrap_or_else(|_| HeaderValue::from_static("")),
        })
    }

    /// The document, whole.
    pub(super) async fn fetch(&self) -> Result<Bytes, FetchError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        let types = "application/jwk-set+json, application/json";
        headers.insert(ACCEPT, HeaderValue::from_static(types));
        let agent = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|_| FetchError::Connect)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        read(answer.into_body()).await
    }
}

async fn read(mut body: Incoming) -> Result<Bytes, FetchError> {
    if body.size_hint().lower() > MAX_DOCUMENT as u64 {
        return Err(FetchError::TooLong);
    }
    let mut document = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| FetchError::Cut)?;
        let Ok(data) = frame.into_data() else {
            continue; // trailers
        };
        if document.len() + data.len() > MAX_DOCUMENT {
            return Err(FetchError::TooLong);
        }
        document.extend_from_slice(&data);
    }
    Ok(document.freeze())
}

/// The URL to connect to. Names under `localhost` are the loopback (RFC 6761), and no resolver is
/// asked: over plain HTTP its answer would be all that stands between us and a foreign key.
fn target(url: &JwksUrl) -> Uri {
    let uri = url.uri().clone();
    if url.is_https() || !url.is_localhost() {
        return uri;
    }
    let port = uri.port_u16().unwrap_or(80);
    let mut parts = uri.clone().into_parts();
    parts.authority = format!("{}:{port}", Ipv4Addr::LOCALHOST).parse().ok();
    Uri::from_parts(parts).unwrap_or(uri)
}
