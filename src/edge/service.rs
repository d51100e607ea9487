//! The front's service on one connection: what the front needs to know of the connection, and what
//! the connection needs to know of the requests.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{CONNECTION, COOKIE, HOST, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};

use super::lifetime::{Lifetime, Protocol};
use super::peer::Peer;
use super::refusals::{self, Refusals};
use super::way::{Post, Way};
use crate::front::{Front, Reply, Sender, StandingFront};
use crate::telemetry::{HttpVersion, Metrics};

/// What the requests of one connection are answered by.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) front: Arc<StandingFront>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) peer: Peer,
    /// What of the configuration in force it is told by.
    pub(super) post: Arc<Post>,
    pub(super) protocol: Protocol,
    pub(super) life: Arc<Lifetime>,
    pub(super) max_headers: usize,
    /// None where the connection brings many clients: one must not wait for another.
    pub(super) refusals: Option<Refusals>,
}

/// Answers the requests of one connection. Its future is not boxed here: hyper has room for one of HTTP/1
/// in each connection, and one of HTTP/2 is a part of its task.
pub(super) fn answering(
    requests: Arc<Requests>,
) -> impl Service<
    Request<Incoming>,
    Response = Reply,
    Error = Infallible,
    Future: Future<Output = Result<Reply, Infallible>> + Send + 'static,
> {
    service_fn(move |request| {
        let begun = UnderWay::begin(&requests, request);
        async move {
            Ok(match begun {
                Ok(under_way) => under_way.answer().await,
                Err(status) => {
                    let mut reply = Reply::default();
                    *reply.status_mut() = status;
                    reply
                }
            })
        }
    })
}

/// A request under way, with what was in force when it began. It holds no guard of a swap: a thread has
/// few places for them, and a request may wait.
struct UnderWay {
    request: Request<Incoming>,
    sender: Sender,
    front: Arc<Front>,
    /// Where its answer says something of https.
    https: Option<Arc<Way>>,
    counted: Counted,
}

/// Counts a request as under way on its connection, also when it is given up.
struct Counted(Arc<Requests>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.life.request_ended();
    }
}

impl UnderWay {
    /// # Errors
    /// The status of the answer, when the connection takes no more, or no such request.
    fn begin(requests: &Arc<Requests>, mut request: Request<Incoming>) -> Result<Self, StatusCode> {
        let protocol = requests.protocol;
        if protocol == Protocol::Http2 {
            name_host(&mut request);
        }
        let head = match protocol {
            Protocol::Http1 => 0,
            Protocol::Http2 => head_size(&request),
        };
        if !requests.life.request_began(head) {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let counted = Counted(Arc::clone(requests));
        let edge = &requests.metrics.edge;
        edge.requests
            .at(version_label(request.version()) as usize)
            .inc();
        if protocol == Protocol::Http2 && count_headers(request.headers()) > requests.max_headers {
            // HTTP/1 is refused so by its parser.
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        let way = requests.post.way.load();
        let (sender, outcome) = requests.peer.sender(request.headers(), &way.rules.proxies);
        edge.addresses.at(outcome as usize).inc();
        if way.https.redirect.is_some() {
            edge.redirected.inc();
        }
        Ok(Self {
            request,
            sender,
            front: requests.front.now(),
            https: way.https.says_something().then(|| Arc::clone(&way)),
            counted,
        })
    }

    async fn answer(self) -> Reply {
        let Self {
            request,
            sender,
            front,
            https,
            counted,
        } = self;
        let requests = &*counted.0;
        let https = https.as_deref().map(|way| &way.https);
        let mut reply = match https.and_then(|https| https.redirect.as_ref()) {
            None => front.answer(request, sender).await,
            Some(redirect) => {
                let location = redirect.location(request.uri(), request.headers());
                front.send_elsewhere(request, location).await
            }
        };
        if let Some(refusals) = &requests.refusals {
            let edge = &requests.metrics.edge;
            let others = edge.connections_refused.get();
            let wait = refusals.note(&reply, &requests.life, others);
            if !wait.is_zero() {
                refusals::hold_back(wait, &requests.life, edge).await;
            }
        }
        if let Some(hsts) = https.and_then(|https| https.hsts.as_ref()) {
            let headers = reply.headers_mut();
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
        if requests.protocol == Protocol::Http1 && requests.life.is_last() {
            let close = HeaderValue::from_static("close");
            reply.headers_mut().insert(CONNECTION, close);
        }
        reply
    }
}

/// Gives an HTTP/2 request the Host header that it has as `:authority`, so that a host stands in one
/// place whatever the protocol. One that has both is left as it is: the front refuses it when they
/// differ.
fn name_host(request: &mut Request<Incoming>) {
    let Some(authority) = request.uri().authority() else {
        return;
    };
    if let (false, Ok(host)) = (
        request.headers().contains_key(HOST),
        HeaderValue::from_str(authority.as_str()),
    ) {
        request.headers_mut().insert(HOST, host);
    }
}

/// The size of a head, as HTTP/2 counts it for its bound of header lists: what came was no longer.
fn head_size(request: &Request<Incoming>) -> usize {
    const EACH: usize = 32;
    let uri = request.uri();
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |name| name.as_str().len());
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + EACH);
    headers.sum::<usize>() + path + authority + 4 * EACH
}

/// Headers of a request. Clients of HTTP/2 send a Cookie header in many parts; it counts once.
fn count_headers(headers: &HeaderMap) -> usize {
    let crumbs = headers.get_all(COOKIE).iter().count();
    headers.len() - crumbs.saturating_sub(1)
}

fn version_label(version: Version) -> HttpVersion {
    match version {
        Version::HTTP_2 => HttpVersion::Http2,
        Version::HTTP_11 => HttpVersion::Http11,
        _ => HttpVersion::Http10,
    }
}
