//! What the page asks for now and then: events of a logstore, events that were set aside, and requests
//! that were refused. All of it goes through the scope of whoever asks.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::super::answer::ApiError;
use super::super::api::json as answer;
use super::super::calls::Query;
use super::Dashboard;
use super::scope;
use super::sessions::Viewer;
use super::sources::{Pair, PreviewError, PreviewEvent, PreviewOrder, SeeEvent, ShownEvent};
use crate::event::SampledRequest;
use crate::foundation::clock;

/// Things of a list, when nobody says how many, and at most.
const USUAL: usize = 50;
const MOST: usize = 200;
/// Characters of a value of an event, and fields of one, that are shown.
const MAX_VALUE: usize = 2048;
const MAX_FIELDS: usize = 200;
/// Bytes of all records of the quarantine that an answer holds.
const MAX_RECORDS: usize = 1 << 20;

type Answer = Result<Response<Full<Bytes>>, ApiError>;

impl Dashboard {
    /// The logstore that a query names, if there is one and the viewer may see it.
    fn place(&self, viewer: &Viewer, query: &Query) -> Result<(String, String), ApiError> {
        let named = |name: &str| {
            let missing = || ApiError::invalid("name project and logstore in the query.");
            query.get(name).map(str::to_owned).ok_or_else(missing)
        };
        let place = (named("project")?, named("logstore")?);
        let shown = match viewer {
            Viewer::Admin(_) => true,
            Viewer::Guest(guest) => scope::shows(&guest.view, &place.0, &place.1),
        };
        if shown && self.sources.logstores().contains(&place) {
            Ok(place)
        } else {
            Err(no_logstore())
        }
    }

    /// The newest events of a logstore, read from its store.
    pub(super) async fn events(&self, viewer: &Viewer, query: &str) -> Answer {
        let query = Query::read(query, &["project", "logstore", "limit"])?;
        let (project, logstore) = self.place(viewer, &query)?;
        let count = limit(&query)?;
        let turn = self
            .previews
            .take(viewer.sharer().is_some(), Duration::ZERO)
            .await;
        let turn = turn.ok_or_else(|| {
            let message = "others are reading events right now. Ask again in a moment.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", message)
        })?;
        let now = clock::unix_seconds();
        let (see, (from, to)): (SeeEvent, _) = match viewer {
            Viewer::Admin(_) => (
                Arc::new(|event: PreviewEvent<'_>| Some(cut(event))),
                (0, u64::MAX),
            ),
            Viewer::Guest(guest) => {
                let window = scope::window(&guest.view, now);
                let guest = Arc::clone(guest);
                let see =
                    move |event: PreviewEvent<'_>| scope::event(&guest.view, now, event).map(cut);
                (Arc::new(see), window)
            }
        };
        let order = PreviewOrder {
            project,
            logstore,
            from,
            to,
            count,
            see,
            turn: Arc::new(turn),
        };
        let preview = self.sources.preview(order).await;
        let preview = preview.map_err(|error| no_preview(viewer, error))?;
        answer(StatusCode::OK, &preview)
    }

    /// The newest events of a logstore that were set aside. Blocks on the disk.
    pub(super) fn set_aside(&self, viewer: &Viewer, query: &str) -> Answer {
        let query = Query::read(query, &["project", "logstore", "limit"])?;
        let (project, logstore) = self.place(viewer, &query)?;
        let count = limit(&query)?;
        let now = clock::unix_seconds();
        let (mut records, mut bytes) = (Vec::new(), 0);
        let mut see = |line: &str| {
            let shown = match viewer {
                Viewer::Admin(_) => scope::whole_record(line),
                Viewer::Guest(guest) => scope::record(&guest.view, now, line)
                    .and_then(|record| scope::whole_record(&record.to_string())),
            };
            if let Some(shown) = shown {
                bytes += shown.get().len();
                if bytes > MAX_RECORDS {
                    return false;
                }
                records.push(shown);
            }
            records.len() < count
        };
        let read = self.sources.set_aside(&project, &logstore, &mut see);
        read.map_err(|error| {
            tracing::error!(%error, "the quarantine cannot be read");
            let message = "the quarantine cannot be read. The log says why.";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy", message)
        })?;
        answer(StatusCode::OK, &json!({"records": records}))
    }

    /// The newest requests of the sample that were refused.
    pub(super) fn refusals(&self, viewer: &Viewer, query: &str) -> Answer {
        let query = Query::read(query, &["limit"])?;
        let count = limit(&query)?;
        let now = clock::unix_seconds();
        if matches!(viewer, Viewer::Guest(guest) if !scope::shows_refusals(&guest.view)) {
            // Before anything is read.
            return answer(StatusCode::OK, &json!({"refusals": []}));
        }
        let lines = self.sources.sample();
        let newest = lines.iter().rev().filter_map(|line| {
            let request: SampledRequest = serde_json::from_slice(line).ok()?;
            request.verdict.reason.as_ref()?;
            match viewer {
                Viewer::Admin(_) => Some(refusal(&request)),
                Viewer::Guest(guest) => scope::refusal(&guest.view, now, &request),
            }
        });
        let refusals: Vec<Value> = newest.take(count).collect();
        answer(StatusCode::OK, &json!({"refusals": refusals}))
    }
}

/// A refused request, without its headers and its body.
fn refusal(request: &SampledRequest) -> Value {
    let verdict = &request.verdict;
    let credential = request.credential.as_ref();
    let origin = request.headers.iter().find(|(name, _)| name == "origin");
    json!({
        "id": request.id,
        "time": request.time,
        "client": request.client,
        "method": request.method,
        "path": request.target.split('?').next(),
        "origin": origin.map(|(_, value)| value),
        "credential": credential.map(|it| json!({"kind": it.kind, "name": it.name, "key": it.key})),
        "status": verdict.status,
        "reason": verdict.reason,
        "stage": verdict.stage,
        "limit": verdict.limit,
        "logstore": verdict.logstore,
        "events": verdict.events,
    })
}

fn limit(query: &Query) -> Result<usize, ApiError> {
    let limit = query.get("limit").map_or(Some(USUAL), |it| it.parse().ok());
    let limit = limit.filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| ApiError::invalid(format!("limit must be 1 to {MOST}.")))
}

fn no_logstore() -> ApiError {
    let message = "there is no such logstore, or it is not shown to you.";
    ApiError::new(StatusCode::NOT_FOUND, "NotExist", message)
}

/// Why there are no events. What the store says may name resources, accounts and upstreams, which are
/// no business of a guest.
fn no_preview(viewer: &Viewer, error: PreviewError) -> ApiError {
    let failed = |why| ApiError::new(StatusCode::BAD_GATEWAY, "StoreFailed", why);
    match (error, viewer) {
        (PreviewError::NotFound, _) => no_logstore(),
        (PreviewError::Unreadable, _) => {
            let message =
                "the events of this logstore go to a destination that cannot be read back.";
            ApiError::new(StatusCode::CONFLICT, "Unreadable", message)
        }
        (PreviewError::Store(why), Viewer::Admin(_)) => failed(why),
        (PreviewError::Store(why), Viewer::Guest(guest)) => {
            tracing::info!(ticket = %guest.ticket, why, "the store gave no events for a preview");
            let message = "the store gives no events right now. Try again later, or tell who gave you the link.";
            failed(message.to_owned())
        }
    }
}

/// An event with its long values cut, on its own.
fn cut(event: PreviewEvent<'_>) -> ShownEvent {
    let mut was_cut = event.fields.len() > MAX_FIELDS;
    let mut short = |text: Cow<'_, str>| match text.char_indices().nth(MAX_VALUE) {
        None => Cow::Owned(text.into_owned()),
        Some((at, _)) => {
            was_cut = true;
            let start = text.get(..at).unwrap_or_default();
            Cow::Owned(format!("{start}…"))
        }
    };
    let mut own = |(name, value): Pair<'_>| (Cow::Owned(name.into_owned()), short(value));
    ShownEvent {
        time: event.time,
        nanos: event.nanos,
        topic: Cow::Owned(event.topic.into_owned()),
        source: Cow::Owned(event.source.into_owned()),
        tags: event.tags.into_iter().map(&mut own).collect(),
        fields: event.fields.into_iter().take(MAX_FIELDS).map(own).collect(),
        cut: was_cut,
    }
}
