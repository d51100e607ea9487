//! `/api/v1`: tickets, revocations, limits, events that were set aside, the sample of requests, the books, and the reload of the configuration, as JSON.
//!
//! Promise: who is not let in learns nothing, not even which calls there are; a change is answered
//! when it is on disk; every change is logged, without a token, and every call is counted. A wrong
//! request is refused whole, with what is wrong, where, and how to mend it. No member of a request
//! names a file or a URL that is fetched.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::Full;
use serde::Serialize;

use super::answer::{self, ApiError};
use super::aside::AsideControl;
use super::body;
use super::calls::{self, Call};
use super::guard;
use crate::foundation::secret::Secret;
use crate::gate::identity::state::IdentityState;
use crate::gate::quota::LimitControl;
use crate::telemetry::{AdminCall, AdminOutcome, Metrics};

/// The path below which the API is.
pub(super) const PREFIX: &str = "/api/";

/// Reads the configuration again, as far as identity is concerned: says what is in force now, or
/// why nothing has changed. It may block.
pub type Reload = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Reads the sample of requests.
pub type ReadSample = Box<dyn Fn() -> Vec<Bytes> + Send + Sync>;

/// What the API needs.
pub struct AdminApi {
    /// What it changes.
    pub state: Arc<IdentityState>,
    /// Limits, and what it changes of them.
    pub limits: Arc<LimitControl>,
    /// Events that were set aside.
    pub aside: Box<dyn AsideControl>,
    /// The sample of requests, a JSON object each.
    pub sample: ReadSample,
    /// The bearer token that it asks for.
    pub token: Secret,
    /// Names that clients may reach the private listener by, beside IP addresses and `localhost`;
    /// in lower case, without a port.
    pub hosts: Vec<String>,
    /// Answers `POST /api/v1/identity/reload`.
    pub reload: Reload,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

impl std::fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi")
            .field("hosts", &self.hosts)
            .finish_non_exhaustive()
    }
}

impl AdminApi {
    /// Answers a request below [`PREFIX`].
    pub(super) async fn answer<B>(self: Arc<Self>, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let metrics = Arc::clone(&self.metrics);
        let (call, result) = match self.admit(&head.uri, &head.headers) {
            Err(error) => (AdminCall::Unknown, Err(error)),
            Ok(()) => match calls::route(&head.method, head.uri.path()) {
                Err(error) => (AdminCall::Unknown, Err(error)),
                Ok(call) => {
                    let label = call.label();
                    (label, self.run(call, &head, body).await)
                }
            },
        };
        let response = result.unwrap_or_else(|error| error.response());
        let outcome = match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => AdminOutcome::Denied,
            status if status.is_success() => AdminOutcome::Done,
            status if status.is_server_error() => AdminOutcome::Failed,
            _ => AdminOutcome::Refused,
        };
        metrics.admin_calls(call, outcome).inc();
        response
    }

    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        guard::from_this_listener(uri, headers, &self.hosts)?;
        guard::not_from_a_page(headers)?;
        guard::with_token(headers, &self.token)
    }

    async fn run<B>(
        self: Arc<Self>,
        call: Call,
        head: &http::request::Parts,
        body: B,
    ) -> Result<Response<Full<Bytes>>, ApiError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let body = body::read(&head.method, &head.headers, body).await?;
        let query = head.uri.query().unwrap_or_default().to_owned();
        // Changes wait for the disk.
        let work = tokio::task::spawn_blocking(move || call.run(&self, &query, &body));
        work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a call of the admin API failed");
            Err(ApiError::internal())
        })
    }
}

/// The sample of requests: a JSON object a line.
pub(super) fn sample(api: &AdminApi) -> Response<Full<Bytes>> {
    let mut lines = Vec::new();
    for line in (api.sample)() {
        lines.extend_from_slice(&line);
        lines.push(b'\n');
    }
    answer::lines(lines)
}

/// An answer of JSON.
pub(super) fn json(
    status: StatusCode,
    value: &impl Serialize,
) -> Result<Response<Full<Bytes>>, ApiError> {
    serde_json::to_vec(value)
        .map(|json| answer::json(status, json))
        .map_err(|_| ApiError::internal())
}
