//! What asks for no token on the private listener: metrics, the number for autoscalers, and how far a stop
//! is. Names of the configuration and counts, and no more; nothing is changed by them.
//!
//! They are for programs, so a name of the listener has to be one that the configuration knows: a page that
//! lets a name of its own point here (DNS rebinding) could read them otherwise.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tokio::sync::Mutex;

use super::text;
use crate::telemetry::{Form, Metrics};

/// Whether a path tells more than that the node lives and is ready.
pub(super) fn tells(path: &str) -> bool {
    matches!(path, "/metrics" | "/autoscale" | "/drain")
}

/// What was written last, and when that began.
type Last = Arc<Mutex<Option<(Instant, Bytes)>>>;

/// Answers of `/metrics`: one is written at a time, off the runtime's threads, and whoever asked before
/// it was begun gets the same.
#[derive(Debug, Default)]
pub struct Scrapes {
    text: Last,
    open_metrics: Last,
}

/// `GET /metrics`, in the form that is asked for.
pub(super) async fn metrics(
    metrics: Arc<Metrics>,
    scrapes: Arc<Scrapes>,
    headers: HeaderMap,
) -> Response<Full<Bytes>> {
    let came = Instant::now();
    let form = Form::of_accept(&accepted(&headers));
    let last = match form {
        Form::Text => &scrapes.text,
        Form::OpenMetrics => &scrapes.open_metrics,
    };
    let mut last = Arc::clone(last).lock_owned().await;
    let shared = last.as_ref().filter(|(began, _)| *began >= came);
    let written = match shared {
        Some((_, text)) => Ok(text.clone()),
        None => {
            // The lock goes with it: who hangs up does not let the next one in.
            let writing = tokio::task::spawn_blocking(move || {
                let began = Instant::now();
                let text = Bytes::from(metrics.render(form));
                *last = Some((began, text.clone()));
                text
            });
            writing.await
        }
    };
    match written {
        Ok(body) => open(body, form.content_type()),
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the log says why\n")
        }
    }
}

/// `GET /autoscale`: how full the node is, as a number, or with its parts as JSON.
pub(super) fn autoscale(metrics: &Metrics, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let load = metrics.load();
    if accepted(headers).contains("application/json") {
        return json(&load);
    }
    open(
        Bytes::from(format!("{:.4}\n", load.load)),
        "text/plain; charset=utf-8",
    )
}

/// `GET /drain`: how far a stop is.
pub(super) fn drain(metrics: &Metrics) -> Response<Full<Bytes>> {
    json(&metrics.drain_progress())
}

fn accepted(headers: &HeaderMap) -> String {
    let values = headers.get_all(ACCEPT).iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(body) => open(Bytes::from(body), "application/json"),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the log says why\n")
        }
    }
}

fn open(body: Bytes, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    response
}
