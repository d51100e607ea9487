//! One request and its answer: what is sent, how much of the answer is read, and what counts as a
//! success.
//!
//! Promise: success is status 200 from the store itself, after it could have read the whole body.
//! An answer is read up to a cap; a redirect is an answer like any other, and never followed.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use serde::de::IgnoredAny;

use super::connect::Dial;
use crate::logstore::error::{
    MAX_ERROR_BODY, StoreError, TransportFailure, parse_error, request_id,
};

/// A body is handed to the connection in pieces of so many bytes.
const PIECE: usize = 64 * 1024;

pub(super) type HttpClient = Client<HttpsConnector<Dial>, Pieces>;

/// A body in pieces, which tells when the connection has taken the last one: an answer before that
/// is not about these events.
#[derive(Debug)]
pub(super) struct Pieces {
    rest: Bytes,
    taken: Arc<AtomicBool>,
}

impl Pieces {
    /// The body, and what becomes true when all of it was taken.
    pub(super) fn new(body: Bytes) -> (Self, Arc<AtomicBool>) {
        let taken = Arc::new(AtomicBool::new(body.is_empty()));
        let pieces = Self {
            rest: body,
            taken: Arc::clone(&taken),
        };
        (pieces, taken)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(length);
        if self.rest.is_empty() {
            self.taken.store(true, Ordering::Release);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// An answer of the store that is a success.
#[derive(Debug)]
pub(super) struct Answer {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub request_id: String,
}

/// Sends a signed request and reads its answer, of which a success may have `cap` bytes.
pub(super) async fn exchange(
    client: &HttpClient,
    head: Request<()>,
    body: Bytes,
    cap: usize,
) -> Result<Answer, StoreError> {
    let (pieces, taken) = Pieces::new(body);
    let response = client
        .request(head.map(|()| pieces))
        .await
        .map_err(|error| transport_error(&error))?;
    let all_taken = taken.load(Ordering::Acquire);
    let (head, body) = response.into_parts();
    let success = head.status == StatusCode::OK;
    let body = read_capped(body, if success { cap } else { MAX_ERROR_BODY }).await;
    if !success {
        // What it means stands in the status too, if the words cannot be had.
        let body = body.ok().flatten().unwrap_or_default();
        return Err(parse_error(head.status, &head.headers, &body));
    }
    let not_the_store = |what| StoreError::NotTheStore {
        status: head.status.as_u16(),
        what,
    };
    let body = body?.ok_or_else(|| not_the_store("the answer is larger than its limit"))?;
    if let refused @ StoreError::Refused(_) = parse_error(head.status, &head.headers, &body) {
        return Err(refused);
    }
    let Some(request_id) = request_id(&head.headers) else {
        return Err(not_the_store("the answer has no x-log-requestid"));
    };
    if !all_taken {
        return Err(not_the_store("the answer came before the request was sent"));
    }
    Ok(Answer {
        headers: head.headers,
        body,
        request_id,
    })
}

/// A successful write has no body; JSON without an error code is forgiven, a web page is not.
pub(super) fn is_quiet(body: &[u8]) -> bool {
    body.is_empty() || serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// The whole body, or `None` when it has more than `cap` bytes. It grows as it comes in.
pub(super) async fn read_capped(
    mut body: Incoming,
    cap: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| transport_error(&error))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if read.len() + data.len() > cap {
            return Ok(None);
        }
        read.extend_from_slice(data);
    }
    Ok(Some(read))
}

/// Sorts a failure by its causes.
pub(super) fn transport_error(error: &(dyn StdError + 'static)) -> StoreError {
    let causes = causes(error);
    let is_tls = |cause: &&(dyn StdError + 'static)| cause.is::<rustls::Error>();
    let failure = if causes.iter().any(is_tls) {
        TransportFailure::Tls
    } else if error
        .downcast_ref::<ClientError>()
        .is_some_and(ClientError::is_connect)
    {
        TransportFailure::Connect
    } else {
        TransportFailure::Interrupted
    };
    StoreError::Transport {
        failure,
        detail: causes.last().unwrap_or(&error).to_string(),
    }
}

/// An error and what caused it, outermost first. An `io::Error` leaves its own content out of its
/// chain, so that is looked into.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut causes = vec![error];
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(|io| {
            let inner: &(dyn StdError + 'static) = io.get_ref()?;
            Some(inner)
        });
        next = inner.or_else(|| error.source());
        causes.extend(next);
    }
    causes
}
