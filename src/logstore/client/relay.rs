//! Requests that somebody else has signed, passed on as they came.
//!
//! Promise: method, path, query, body and every header that is signed go out byte for byte, or the
//! request does not go out at all; what the store says comes back, up to a cap. Nothing of the client
//! that is meant for us goes along: no cookie, no page it came from. Made within the endpoint's
//! timeout, and its answer teaches the client nothing: anybody can send a wrong date.
//! When too many are on their way: [`RelayError::Busy`] at once; nobody waits.
//! Not here: whether the request may be relayed, and what its sender is told (`front`).
//!
//! # Cancel safety
//! A relay that is dropped is closed; the store may have taken its events all the same.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, Method, Request, StatusCode};

use super::exchange::{OnResend, read_capped};
use super::{StoreClient, put_span, unaddressable};
use crate::foundation::names::ProjectName;
use crate::foundation::trace_context::TraceContext;
use crate::logstore::error::{StoreError, TransportFailure, request_id};

/// Relays of one client that are on their way at once.
pub(super) const MAX_RELAYS: usize = 64;
/// Bytes of an answer that is passed back: many times what the store answers to a write.
const MAX_ANSWER: usize = 1024 * 1024;

/// Headers that concern this connection, or are made anew for the next one. None of them is signed.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    // The body is whole already, and its length is told anew.
    "content-length",
    "expect",
];
/// Headers that are meant for us: credentials, and the addresses of pages, which may hold some.
const OURS: &[&str] = &["cookie", "origin", "referer"];
const OURS_PREFIX: &str = "x-tollgate-";

/// A request as its sender has signed it.
#[derive(Clone, Debug)]
pub struct RelayRequest<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path and query as they stood on the wire.
    pub path_and_query: &'a str,
    /// All its headers.
    pub headers: &'a HeaderMap,
    /// What `Host` shall say.
    pub host: RelayHost<'a>,
    /// The body as it was sent, before any decompression.
    pub body: Bytes,
    /// Our span that it is a part of, in place of the one that its sender names.
    pub span: Option<TraceContext>,
}

/// What the `Host` header of a relayed request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayHost<'a> {
    /// `{project}.{endpoint}`, for signatures that leave the host out (v1).
    Store,
    /// What the client sent, for signatures that hold it (v4). It works where the store answers to
    /// that name; the connection is to the store's own name all the same.
    AsReceived(&'a HeaderValue),
}

/// The store's answer to a relayed request.
#[derive(Clone, Debug)]
pub struct RelayedAnswer {
    /// Status: a success or an error, never a redirect.
    pub status: StatusCode,
    /// `content-type`, `content-encoding` and `x-log-*`, the id of the request among them.
    pub headers: HeaderMap,
    /// The body as the store sent it.
    pub body: Bytes,
}

/// Why there is no answer of the store. It may have taken the request all the same, except when busy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// So many are on their way already that this one was not sent.
    #[error("{MAX_RELAYS} relayed requests are on their way already")]
    Busy,
    /// It could not be sent, or what came back was not an answer of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreClient {
    /// The host of a project at this store: `{project}.{endpoint}`.
    #[must_use]
    pub fn host(&self, project: &ProjectName) -> String {
        self.base.host(project)
    }

    /// Passes a request on, to a project as the store names it.
    ///
    /// # Errors
    /// See [`RelayError`]; an answer without `x-log-requestid`, a redirect, and an answer of more
    /// than 1 MiB are no answers of the store.
    pub async fn relay(
        &self,
        project: &ProjectName,
        relay: RelayRequest<'_>,
    ) -> Result<RelayedAnswer, RelayError> {
        let _slot = self.relays.try_acquire().map_err(|_| RelayError::Busy)?;
        let body = relay.body.clone();
        let head = self.relayed_head(project, &relay)?;
        match tokio::time::timeout(self.timeouts.whole, self.pass_on(head, body)).await {
            Ok(result) => result.map_err(RelayError::Store),
            Err(_) => Err(RelayError::Store(StoreError::Transport {
                failure: TransportFailure::Timeout,
                detail: format!("{} ms", self.timeouts.whole.as_millis()),
            })),
        }
    }

    fn relayed_head(
        &self,
        project: &ProjectName,
        relay: &RelayRequest<'_>,
    ) -> Result<Request<()>, StoreError> {
        let target = relay.path_and_query;
        let url: Uri = self
            .base
            .url(project, target)
            .parse()
            .map_err(unaddressable)?;
        let same = url.path_and_query().map(PathAndQuery::as_str) == Some(target);
        if !(same && target.starts_with('/')) {
            return Err(StoreError::Unsendable {
                reason: "its path would be changed".to_owned(),
            });
        }
        let host = match relay.host {
            RelayHost::Store => HeaderValue::try_from(self.host(project)).map_err(unaddressable)?,
            RelayHost::AsReceived(host) => host.clone(),
        };
        let mut head = Request::new(());
        *head.method_mut() = relay.method.clone();
        *head.uri_mut() = url;
        *head.headers_mut() = end_to_end(relay.headers);
        head.headers_mut().insert(HOST, host);
        put_span(head.headers_mut(), relay.span);
        Ok(head)
    }

    async fn pass_on(&self, head: Request<()>, body: Bytes) -> Result<RelayedAnswer, StoreError> {
        let (response, all_taken) = self
            .wire
            .request(head, (body, &OnResend::default()))
            .await?;
        let (head, body) = response.into_parts();
        let not_the_store = |what| StoreError::NotTheStore {
            status: head.status.as_u16(),
            what,
            retry_after: None,
        };
        if request_id(&head.headers).is_none() {
            return Err(not_the_store("the answer has no x-log-requestid"));
        }
        if head.status.is_redirection() {
            return Err(not_the_store("a redirect, which is never followed"));
        }
        if head.status.is_success() && !all_taken {
            return Err(not_the_store("the answer came before the request was sent"));
        }
        let body = read_capped(body, MAX_ANSWER).await?;
        let body = body.ok_or_else(|| not_the_store("the answer is larger than its limit"))?;
        Ok(RelayedAnswer {
            status: head.status,
            headers: for_the_sender(&head.headers),
            body: Bytes::from(body),
        })
    }
}

/// The headers that go on to the store.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<&[u8]> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .take(MAX_NAMED)
        .collect();
    let stays = |name: &HeaderName| {
        let text = name.as_str();
        let by_connection = || {
            named
                .iter()
                .any(|it| it.eq_ignore_ascii_case(text.as_bytes()))
        };
        is_signed(text)
            || !(HOP_BY_HOP.contains(&text)
                || OURS.contains(&text)
                || text.starts_with(OURS_PREFIX)
                || by_connection())
    };
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if stays(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Names in `Connection` that are looked at; nobody means more.
const MAX_NAMED: usize = 16;

/// Whether a signature may cover the header. `Connection` cannot name such a one away: what was
/// checked here is what the store gets.
#[must_use]
pub fn is_signed(name: &str) -> bool {
    name.starts_with("x-log-")
        || name.starts_with("x-acs-")
        || [
            "authorization",
            "content-type",
            "content-md5",
            "date",
            "host",
        ]
        .contains(&name)
}

/// The headers of an answer that its sender gets. What concerns the store's own connection, its
/// clock, its pages or its cookies is not for them.
fn for_the_sender(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        let of_body = *name == CONTENT_TYPE || *name == CONTENT_ENCODING;
        if of_body || name.as_str().starts_with("x-log-") {
            kept.append(name, value.clone());
        }
    }
    kept
}
