//! The front's service on one connection: what the front needs to know of the connection, and what
//! the connection needs to know of the requests.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use http::header::{CONNECTION, COOKIE, HOST, STRICT_TRANSPORT_SECURITY};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::Service;

use super::lifetime::{Lifetime, Protocol};
use super::peer::Peer;
use super::refusals::{self, Refusals};
use super::way::Post;
use crate::front::{Reply, StandingFront};
use crate::telemetry::{HttpVersion, Metrics};

/// Answers the requests of one connection.
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
    pub(super) refusals: Option<Arc<Refusals>>,
}

/// A request under way, also when it is given up.
struct UnderWay(Arc<Lifetime>);

impl UnderWay {
    /// `None` when the connection takes no more.
    fn new(life: &Arc<Lifetime>, request: &Request<Incoming>, protocol: Protocol) -> Option<Self> {
        let head = match protocol {
            Protocol::Http1 => 0,
            Protocol::Http2 => head_size(request),
        };
        life.request_began(head).then(|| Self(Arc::clone(life)))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

impl Service<Request<Incoming>> for Requests {
    type Response = Reply;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if self.protocol == Protocol::Http2 {
            name_host(&mut request);
        }
        let Some(under_way) = UnderWay::new(&self.life, &request, self.protocol) else {
            let mut reply = Reply::default();
            *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Box::pin(std::future::ready(Ok(reply)));
        };
        let version = version_label(request.version());
        self.metrics.edge.requests.at(version as usize).inc();
        if self.protocol == Protocol::Http2 && count_headers(request.headers()) > self.max_headers {
            // HTTP/1 is refused so by its parser.
            let mut reply = Reply::default();
            *reply.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Box::pin(std::future::ready(Ok(reply)));
        }
        let (front, way) = (self.front.now(), self.post.way.load_full());
        let (sender, outcome) = self.peer.sender(request.headers(), &way.rules.proxies);
        self.metrics.edge.addresses.at(outcome as usize).inc();
        let protocol = self.protocol;
        let (refusals, metrics) = (self.refusals.clone(), Arc::clone(&self.metrics));
        if way.https.redirect.is_some() {
            self.metrics.edge.redirected.inc();
        }
        Box::pin(async move {
            let mut reply = match &way.https.redirect {
                None => front.answer(request, sender).await,
                Some(redirect) => {
                    let location = redirect.location(request.uri(), request.headers());
                    front.send_elsewhere(request, location).await
                }
            };
            if let Some(refusals) = &refusals {
                let others = metrics.edge.connections_refused.get();
                let wait = refusals.note(&reply, &under_way.0, others);
                if !wait.is_zero() {
                    refusals::hold_back(wait, &under_way.0, &metrics.edge).await;
                }
            }
            if let Some(hsts) = &way.https.hsts {
                let headers = reply.headers_mut();
                headers.insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
            }
            if protocol == Protocol::Http1 && under_way.0.is_last() {
                let close = HeaderValue::from_static("close");
                reply.headers_mut().insert(CONNECTION, close);
            }
            Ok(reply)
        })
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
