//! One request and its answer: what is sent, how much of the answer is read, and what counts as a
//! success.
//!
//! Promise: success is status 200 from the store itself, after it could have read the whole body.
//! An answer is read up to a cap; a redirect is an answer like any other, and never followed. Each
//! phase has its time. When a connection that was used before breaks without an answer, the request is
//! made once more on a fresh one: the store has most likely closed it for want of use.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::IgnoredAny;
use tokio::sync::Notify;

use super::Timeouts;
use super::connect::{Connector, Use};
use crate::logstore::error::{
    MAX_ERROR_BODY, StoreError, TransportFailure, parse_error, request_id, retry_after,
};

/// A body is handed to the connection in pieces of so many bytes.
const PIECE: usize = 64 * 1024;

/// How long an idle connection is kept: less than servers commonly keep theirs.
const IDLE: Duration = Duration::from_secs(20);
/// Idle connections kept for each host.
const MAX_IDLE: usize = 64;
/// Bytes of an answer's head; hyper also reads bodies through a buffer of this size.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// What is wrong with an answer that is longer than its call may have.
pub(super) const TOO_LARGE: &str = "the answer is larger than its limit";

type HttpClient = Client<Connector, Pieces>;

/// Connections to one store.
#[derive(Debug)]
pub(super) struct Wire {
    pooled: HttpClient,
    /// Makes a connection for each request.
    fresh: HttpClient,
    timeouts: Timeouts,
}

impl Wire {
    pub(super) fn new(connector: &Connector, timeouts: Timeouts) -> Self {
        let client = |idle: usize| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(idle)
                .http1_max_buf_size(MAX_HEAD)
                .build(connector.clone())
        };
        Self {
            pooled: client(MAX_IDLE),
            fresh: client(0),
            timeouts,
        }
    }

    /// Sends a request, and reads the head of its answer. Whether all of the body was taken by then
    /// comes along: an answer before that is not about these events. `on_resend` hears when all of it was
    /// sent, and is sent again.
    pub(super) async fn request(
        &self,
        head: Request<()>,
        (body, on_resend): (Bytes, &OnResend),
    ) -> Result<(Response<Incoming>, bool), StoreError> {
        let first = self.ask(&self.pooled, head.clone(), body.clone()).await;
        match first {
            Err((_, Broke::Used { all_sent })) => {
                if all_sent {
                    on_resend.tell();
                }
                let again = self.ask(&self.fresh, head, body).await;
                again.map_err(|(error, _)| error)
            }
            first => first.map_err(|(error, _)| error),
        }
    }

    /// One try. With the error: whether a used connection broke without an answer.
    async fn ask(
        &self,
        client: &HttpClient,
        head: Request<()>,
        body: Bytes,
    ) -> Result<(Response<Incoming>, bool), (StoreError, Broke)> {
        let (pieces, sent) = Pieces::new(body);
        let mut request = head.map(|()| pieces);
        let captured = capture_connection(&mut request);
        let result = self.in_time(client.request(request), &sent).await;
        let used = Use::count(&captured, self.timeouts.connection_age);
        match result {
            Ok(Ok(response)) => Ok((response, sent.all.load(Ordering::Acquire))),
            Ok(Err(error)) => {
                let told = transport_error(&error);
                let broke = matches!(
                    told,
                    StoreError::Transport {
                        failure: TransportFailure::Interrupted,
                        ..
                    }
                );
                if !used || !broke || is_nonsense(&error) {
                    return Err((told, Broke::No));
                }
                let all_sent = sent.all.load(Ordering::Acquire);
                Err((told, Broke::Used { all_sent }))
            }
            Err(detail) => {
                let failure = TransportFailure::Timeout;
                Err((StoreError::Transport { failure, detail }, Broke::No))
            }
        }
    }

    /// Waits for the head of an answer, as long as the phases allow.
    async fn in_time<T>(&self, request: impl Future<Output = T>, sent: &Sent) -> Result<T, String> {
        let mut request = std::pin::pin!(request);
        let Timeouts {
            connect,
            write,
            answer,
            ..
        } = self.timeouts;
        let mut began = false;
        loop {
            let all = sent.all.load(Ordering::Acquire);
            let (limit, what) = match (all, began) {
                (true, true) => (answer, "no answer"),
                (true, false) => (connect.saturating_add(answer), "no answer"),
                (false, true) => (write, "nothing of the request was read"),
                (false, false) => (connect.saturating_add(write), "nothing was sent"),
            };
            tokio::select! {
                biased;
                result = &mut request => return Ok(result),
                () = sent.moved.notified() => began = true,
                () = tokio::time::sleep(limit) => {
                    return Err(format!("{what} for {} ms", limit.as_millis()));
                }
            }
        }
    }
}

/// Hears that a request was sent again, when the server may have read the first one.
#[derive(Clone, Default)]
pub struct OnResend(Option<Arc<dyn Fn() + Send + Sync>>);

impl OnResend {
    /// Calls this, which must not block.
    pub fn new(told: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    fn tell(&self) {
        if let Some(told) = &self.0 {
            told();
        }
    }
}

impl fmt::Debug for OnResend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnResend").finish_non_exhaustive()
    }
}

/// Whether a connection that was used before broke without an answer.
#[derive(Clone, Copy, Debug)]
enum Broke {
    No,
    Used {
        /// The connection had taken all of the request: the server may have read it.
        all_sent: bool,
    },
}

/// Whether what came was no HTTP: then the connection was no victim of its age.
fn is_nonsense(error: &ClientError) -> bool {
    causes(error)
        .iter()
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(|error| error.is_parse() || error.is_parse_too_large())
}

/// How far a body is.
#[derive(Debug, Default)]
struct Sent {
    /// The connection has taken the last piece.
    all: AtomicBool,
    /// It has taken one.
    moved: Notify,
}

/// A body in pieces, which tells when the connection takes them.
#[derive(Debug)]
pub(super) struct Pieces {
    rest: Bytes,
    sent: Arc<Sent>,
}

impl Pieces {
    fn new(body: Bytes) -> (Self, Arc<Sent>) {
        let sent = Arc::new(Sent {
            all: AtomicBool::new(body.is_empty()),
            moved: Notify::new(),
        });
        let pieces = Self {
            rest: body,
            sent: Arc::clone(&sent),
        };
        (pieces, sent)
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
            self.sent.all.store(true, Ordering::Release);
        }
        self.sent.moved.notify_one();
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

/// Sends a signed request and reads its answer, of which a success may have `cap` bytes. What stands
/// beside the body hears of a resend when the first may have been taken.
pub(super) async fn exchange(
    wire: &Wire,
    head: Request<()>,
    body: (Bytes, &OnResend),
    cap: usize,
) -> Result<Answer, StoreError> {
    let (response, all_taken) = wire.request(head, body).await?;
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
        retry_after: retry_after(&head.headers),
    };
    let body = body?.ok_or_else(|| not_the_store(TOO_LARGE))?;
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
