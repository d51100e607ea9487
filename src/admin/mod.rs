//! The private listener: `/healthz` (the process lives), `/readyz` (send it traffic), `/metrics`
//! (Prometheus), `/autoscale` and `/drain`, which are open; `/api/v1`, which asks for a token; and the
//! dashboard at `/`.

mod answer;
mod api;
mod aside;
mod body;
mod books;
mod calls;
mod clients;
mod dashboard;
mod guard;
mod limits;
mod log;
mod node;
mod open;
mod openapi;
mod reload;
mod table;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service;

pub use self::api::{AdminApi, Reload};
pub use self::aside::AsideControl;
pub use self::clients::AdminClients;
use self::clients::Visitor;
pub use self::dashboard::{
    About, AdminBody, Dashboard, DashboardParts, DashboardSources, Pair, Preview, PreviewError,
    PreviewEvent, PreviewFuture, PreviewOrder, SeeEvent, ShownEvent, StageLatency, Turn,
};
pub use self::node::{
    ConfigView, DrainState, ExplainOrder, Explained, ExplainedRefusal, ExplainedStage,
    ListenerState, LogstoreState, MemoryState, NodeControl, NodeError, NodeState, SpoolLane,
    SpoolPage, SpoolPlace, SpoolPurged, SpoolReport,
};
pub use self::open::Scrapes;
pub use self::openapi::openapi;
pub use self::reload::{ReloadOrder, ReloadProblem, ReloadRefused, ReloadReport};
use crate::foundation::serve::Connected;
use crate::telemetry::{AdminCall, AdminOutcome, Metrics};

/// Whether traffic should be sent here.
#[derive(Debug, Default)]
pub struct Readiness {
    up: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    /// Says whether the node serves.
    pub fn set(&self, up: bool) {
        self.up.store(up, Ordering::Release);
    }

    /// Begins a drain, or ends it: meanwhile traffic should go elsewhere, though the node serves.
    pub fn drain(&self, begin: bool) {
        self.draining.store(begin, Ordering::Release);
    }

    /// Whether a drain is under way.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether traffic should be sent here.
    #[must_use]
    pub fn get(&self) -> bool {
        self.up.load(Ordering::Acquire) && !self.is_draining()
    }
}

/// The private listener as a hyper service.
#[derive(Clone, Debug)]
pub struct Admin {
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// What `/metrics` has shown last.
    pub scrapes: Arc<Scrapes>,
    /// Who is let in, and by which names of the listener.
    pub clients: Arc<AdminClients>,
    /// The API, where this node has one.
    pub api: Option<Arc<AdminApi>>,
    /// The dashboard, where this node has one.
    pub dashboard: Option<Arc<Dashboard>>,
    /// The value of `Strict-Transport-Security`, where answers have one.
    pub hsts: Arc<ArcSwapOption<HeaderValue>>,
}

/// The private listener, as it serves one client.
#[derive(Clone, Debug)]
pub struct AdminConnection {
    admin: Admin,
    visitor: Visitor,
}

impl Admin {
    /// What serves somebody who has connected.
    #[must_use]
    pub fn for_connected(&self, connected: &Connected) -> AdminConnection {
        AdminConnection {
            admin: self.clone(),
            visitor: Visitor::of(connected),
        }
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.readiness.get() => self.ready(),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/autoscale" => open::autoscale(&self.metrics, headers),
            "/drain" => open::drain(&self.metrics),
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics, /autoscale, /drain and /api/v1\n",
            ),
        }
    }
}

impl Admin {
    /// A front whose embedded logstore cannot write still takes events, and keeps them; a logstore alone
    /// does not.
    fn ready(&self) -> Response<Full<Bytes>> {
        let embedded = &self.metrics.embedded;
        match (embedded.is_well(), embedded.alone.get()) {
            (true, _) => text(StatusCode::OK, "ready\n"),
            (false, 0) => text(
                StatusCode::OK,
                "ready, but the embedded logstore cannot write to its disk\n",
            ),
            (false, _) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the embedded logstore cannot write to its disk\n",
            ),
        }
    }
}

impl Service<Request<Incoming>> for AdminConnection {
    type Response = Response<AdminBody>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let answer = self.answer(request);
        let Some(hsts) = self.admin.hsts.load_full() else {
            return answer;
        };
        Box::pin(async move {
            let mut response = answer.await?;
            let headers = response.headers_mut();
            headers.insert(STRICT_TRANSPORT_SECURITY, (*hsts).clone());
            Ok(response)
        })
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<AdminBody>, Infallible>> + Send>>;

impl AdminConnection {
    fn answer(&self, request: Request<Incoming>) -> Answering {
        let path = request.uri().path();
        if let Some(dashboard) = &self.admin.dashboard
            && Dashboard::serves(path)
        {
            let answer = Arc::clone(dashboard).answer(request, self.visitor.clone());
            return Box::pin(async move { Ok(answer.await) });
        }
        if let Some(api) = &self.admin.api
            && path.starts_with(api::PREFIX)
        {
            let answer = Arc::clone(api).answer(request, self.visitor.clone());
            return Box::pin(async move { Ok(dashboard::whole(answer.await)) });
        }
        let (head, _) = request.into_parts();
        if open::tells(head.uri.path())
            && let Err(error) =
                guard::from_this_listener(&head.uri, &head.headers, &self.admin.clients)
        {
            let denied = self
                .admin
                .metrics
                .admin_calls(AdminCall::Open, AdminOutcome::Denied);
            denied.inc();
            return Box::pin(std::future::ready(Ok(dashboard::whole(error.response()))));
        }
        if matches!(head.method, Method::GET | Method::HEAD) && head.uri.path() == "/metrics" {
            let scrapes = Arc::clone(&self.admin.scrapes);
            let metrics = Arc::clone(&self.admin.metrics);
            let answer = open::metrics(metrics, scrapes, head.headers);
            return Box::pin(async move { Ok(dashboard::whole(answer.await)) });
        }
        let path = head.uri.path();
        let response = self.admin.answer(&head.method, path, &head.headers);
        Box::pin(std::future::ready(Ok(dashboard::whole(response))))
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
