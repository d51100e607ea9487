//! `/api/v1`: the node, its configuration and drain, tickets, revocations, limits, events that were set
//! aside or wait on disk, the sample of requests and the books, as JSON. Which calls there are says `table`.
//!
//! Promise: who is not let in learns nothing, not even which calls there are; a change is answered
//! when it is on disk; every change is logged with who has made it, without a token, and every call is
//! counted. A wrong
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
use super::clients::{AdminClients, Visitor, Who};
use super::guard;
use super::node::NodeControl;
use super::reload::{ReloadOrder, ReloadRefused, ReloadReport};
use crate::config::AdminRole;
use crate::gate::identity::state::IdentityState;
use crate::gate::quota::LimitControl;
use crate::telemetry::{AdminCall, AdminOutcome, Metrics};

/// The path below which the API is.
pub(super) const PREFIX: &str = "/api/";

/// Takes over what the configuration says now: says what has changed, or why nothing has. It may block.
pub type Reload = Box<dyn Fn(ReloadOrder) -> Result<ReloadReport, ReloadRefused> + Send + Sync>;

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
    /// The node as a whole.
    pub node: Box<dyn NodeControl>,
    /// The sample of requests, a JSON object each.
    pub sample: ReadSample,
    /// Who is let in, and by which names of the listener.
    pub clients: Arc<AdminClients>,
    /// Answers `POST /api/v1/reload`.
    pub reload: Reload,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
}

impl std::fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminApi")
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

impl AdminApi {
    /// Answers a request below [`PREFIX`].
    pub(super) async fn answer<B>(
        self: Arc<Self>,
        request: Request<B>,
        visitor: Visitor,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let metrics = Arc::clone(&self.metrics);
        let (call, result) = match self.admit(&head.uri, &head.headers, &visitor) {
            Err(error) => (AdminCall::Unknown, Err(error)),
            Ok(who) => match calls::route(&head.method, head.uri.path()) {
                Err(error) => (AdminCall::Unknown, Err(error)),
                Ok(call) => {
                    let spec = call.spec;
                    let result = match guard::with_role(&who, spec.role) {
                        Ok(()) => self.run(call, &head, body).await,
                        Err(error) => Err(error),
                    };
                    let status = status_of(&result);
                    note(spec.label.label(), spec.role, (&who, &visitor), status);
                    (spec.label, result)
                }
            },
        };
        let response = result.unwrap_or_else(|error| error.response());
        let outcome = AdminOutcome::of(response.status());
        metrics.admin_calls(call, outcome).inc();
        response
    }

    fn admit(&self, uri: &Uri, headers: &HeaderMap, visitor: &Visitor) -> Result<Who, ApiError> {
        guard::from_this_listener(uri, headers, &self.clients)?;
        guard::not_from_a_page(headers)?;
        guard::let_in(headers, &self.clients, visitor)
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

/// The status of an answer.
pub(super) fn status_of<B>(result: &Result<Response<B>, ApiError>) -> StatusCode {
    match result {
        Ok(response) => response.status(),
        Err(error) => error.status(),
    }
}

/// Writes down who has changed something, or was kept from it, by a call that needs `role`.
pub(super) fn note(
    call: &'static str,
    role: AdminRole,
    (who, visitor): (&Who, &Visitor),
    status: StatusCode,
) {
    if role <= AdminRole::Viewer {
        return;
    }
    tracing::info!(
        call, by = who.name(), role = who.role.label(),
        peer = %visitor.address, status = status.as_u16(), "a call of the admin API"
    );
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
