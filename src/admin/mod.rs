//! The private listener: `/healthz` (the process lives), `/readyz` (send it traffic), `/metrics`
//! (Prometheus), which are open, and `/api/v1`, which asks for a token.

mod answer;
mod api;
mod aside;
mod body;
mod books;
mod calls;
mod guard;
mod limits;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service;

pub use self::api::{AdminApi, Reload};
pub use self::aside::AsideControl;
use crate::telemetry::Metrics;

/// Whether traffic may be sent here.
#[derive(Debug, Default)]
pub struct Readiness(AtomicBool);

impl Readiness {
    /// Says whether traffic may be sent here.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether traffic may be sent here.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The private listener as a hyper service.
#[derive(Clone, Debug)]
pub struct Admin {
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// The API, where this node has one.
    pub api: Option<Arc<AdminApi>>,
}

impl Admin {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        }
        match path {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.readiness.get() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/metrics" => {
                let mut response = Response::new(Full::new(Bytes::from(self.metrics.render())));
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics and /api/v1\n",
            ),
        }
    }
}

impl Service<Request<Incoming>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if let Some(api) = &self.api
            && request.uri().path().starts_with(api::PREFIX)
        {
            let answer = Arc::clone(api).answer(request);
            return Box::pin(async move { Ok(answer.await) });
        }
        let response = self.answer(request.method(), request.uri().path());
        Box::pin(std::future::ready(Ok(response)))
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
