//! The admin API of a running node, as a client.
//!
//! Promise: redirects are not followed, and the token is in no message.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::node::{MAX_SAMPLE, PAGE, encode};
use super::{Exit, Failure, admin_args, output};
use crate::foundation::secret::Secret;

/// Bytes of an answer that are read: a list of the longest tickets.
const MAX_ANSWER: usize = 8 << 20;

/// The admin API of a running node.
pub(super) struct Api {
    runtime: Runtime,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    /// The token, where there is one.
    authorization: Option<HeaderValue>,
    /// Whether a certificate is shown, which may do without the token.
    certificate: bool,
    /// For each call.
    time: Duration,
}

impl Api {
    /// A node that is spoken to by `tls` where its URL begins with `https`.
    pub(super) fn new(
        url: &Uri,
        token: Option<&Secret>,
        certificate: bool,
        tls: Arc<ClientConfig>,
        time: Duration,
    ) -> Result<Self, Failure> {
        let form = "--admin-url is `http://` or `https://`, a host and perhaps a port";
        let known = matches!(url.scheme_str(), Some("http" | "https"));
        if !known || url.authority().is_none() || url.query().is_some() {
            return Err(Failure::new(Exit::Config, form));
        }
        if certificate && url.scheme_str() == Some("http") {
            let why =
                "--admin-cert is shown by TLS only: the URL of the node must begin with `https://`";
            return Err(Failure::new(Exit::Config, why));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Internal, error))?;
        let authorization = token.map(authorization).transpose()?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(Arc::unwrap_or_clone(tls))
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            runtime,
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: url.to_string().trim_end_matches('/').to_owned(),
            authorization,
            certificate,
            time,
        })
    }

    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::new(Exit::Internal, error))?;
        self.call(Method::POST, path, Some(body))
    }

    pub(super) fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        filter: &str,
        cursor: Option<&str>,
    ) -> Result<T, Failure> {
        let cursor = cursor.map_or_else(String::new, |c| format!("&cursor={}", encode(c)));
        let path = format!("{path}?limit={PAGE}{filter}{cursor}");
        self.call(Method::GET, &path, None)
    }

    /// The body of an answer, of at most `most` bytes.
    pub(super) fn fetch(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        most: usize,
    ) -> Result<Vec<u8>, Failure> {
        let path = format!("/api/v1/{path}");
        let (status, body) = self.exchange(method, &path, body, most)?;
        if !status.is_success() {
            return Err(self.failure(status, &body));
        }
        Ok(body)
    }

    /// A page of the private listener, such as `/metrics`: its status and its body.
    pub(super) fn page(&self, path: &str) -> Result<(StatusCode, Vec<u8>), Failure> {
        self.exchange(Method::GET, path, None, MAX_SAMPLE)
    }

    /// Where the node is.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Makes a call: by the certificate where there is one, and when that is not enough by the token. What
    /// was not let in was not done, so it can be asked again.
    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        most: usize,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        if self.certificate {
            let first = self.ask(&method, path, body.as_deref(), None, most)?;
            if first.0 != StatusCode::UNAUTHORIZED || self.authorization.is_none() {
                return Ok(first);
            }
        }
        let authorization = self.authorization.as_ref();
        self.ask(&method, path, body.as_deref(), authorization, most)
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
        authorization: Option<&HeaderValue>,
        most: usize,
    ) -> Result<(StatusCode, Vec<u8>), Failure> {
        let base = &self.base;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body.unwrap_or_default())))
            .map_err(|error| Failure::new(Exit::Internal, error))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|e| causes(&e))?;
            let (head, body) = response.into_parts();
            let body = read(body, most).await?;
            Ok::<_, String>((head.status, body))
        };
        let exchange = async { tokio::time::timeout(self.time, exchange).await };
        let answer = self.runtime.block_on(exchange);
        let no_answer = || Err(format!("no answer within {:?}", self.time));
        answer.unwrap_or_else(|_| no_answer()).map_err(|why| {
            let hint = admin_args::hint(&self.base, &why);
            let message = format!("the admin API at {base}: {why}{hint}");
            Failure::new(Exit::Unavailable, message)
        })
    }

    pub(super) fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, Failure> {
        let body = self.fetch(method, path, body, MAX_ANSWER)?;
        self.read(&body)
    }

    /// Reads an answer.
    pub(super) fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        let base = &self.base;
        serde_json::from_slice(body).map_err(|error| {
            let message = format!("the admin API at {base} gave an answer that is none: {error}");
            Failure::new(Exit::Unavailable, message)
        })
    }

    fn failure(&self, status: StatusCode, body: &[u8]) -> Failure {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct ErrorBody {
            error_message: String,
        }
        let base = &self.base;
        let told = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error_message);
        let message = match (&told, status) {
            (Ok(told), StatusCode::UNAUTHORIZED) if self.authorization.is_none() => {
                format!("the node at {base}: {}", output::escape(told))
            }
            (_, StatusCode::UNAUTHORIZED) if self.certificate => format!(
                "the node at {base} takes neither this certificate nor the token of this data directory; give the certificate a role with [[admin.client]] there, or name its data directory with --data-dir or --config"
            ),
            (_, StatusCode::UNAUTHORIZED) => format!(
                "the node at {base} does not take the token of this data directory: is it another node? Name its own with --data-dir or --config. Has the token changed since the node read it? Then send it SIGHUP"
            ),
            (Ok(told), _) => output::escape(told),
            (Err(_), StatusCode::NOT_FOUND) => {
                format!(
                    "there is no admin API at {base}; name the private listener with --admin-url"
                )
            }
            (Err(_), _) => format!("the admin API at {base} answered {status}"),
        };
        let exit = match status {
            StatusCode::UNAUTHORIZED => Exit::Config,
            _ if told.is_err() || status.is_server_error() => Exit::Unavailable,
            _ => Exit::Partial,
        };
        Failure::new(exit, message)
    }
}

fn authorization(token: &Secret) -> Result<HeaderValue, Failure> {
    let value = [b"Bearer ", token.expose()].concat();
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(value))
        .map_err(|_| Failure::new(Exit::Config, "the admin token cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads an answer of at most `most` bytes.
async fn read(mut body: Incoming, most: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|error| causes(&error))?.into_data() {
            if bytes.len() + data.len() > most {
                return Err("the answer is too long".to_owned());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// An error with its causes: that of the client alone says only that a request failed.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
