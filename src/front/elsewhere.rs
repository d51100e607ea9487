//! Requests that are not for this listener: they are sent on to https.

use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;

use super::arrival::framing_is_plain;
use super::body::{self, RequestBody};
use super::cors::OriginVerdict;
use super::reply::{Replier, Reply};
use super::service::Front;
use crate::event::{Reason, Refusal};
use crate::foundation::clock;
use crate::foundation::request_id::RequestId;

/// For how long clients may remember where they were sent.
const REMEMBERED: HeaderValue = HeaderValue::from_static("max-age=3600");

impl Front {
    /// Sends a request on to `location`, method and body and all (308), or refuses its host when there
    /// is no such place.
    pub async fn send_elsewhere(
        &self,
        request: Request<Incoming>,
        location: Option<HeaderValue>,
    ) -> Reply {
        let (parts, body) = request.into_parts();
        let mut body = RequestBody::Wire(body);
        if let Err(refusal) = framing_is_plain(&parts) {
            return self.misframed(&parts, &refusal);
        }
        let unix_seconds = clock::unix_seconds();
        let replier = Replier {
            id: RequestId::next(unix_seconds),
            unix_seconds,
            origin: OriginVerdict::Any,
        };
        let reply = match location {
            Some(location) => {
                let mut reply = replier.empty(StatusCode::PERMANENT_REDIRECT);
                let headers = reply.headers_mut();
                headers.insert(LOCATION, location);
                headers.insert(CACHE_CONTROL, REMEMBERED);
                reply
            }
            None => {
                let refusal = Refusal::new(Reason::UnknownProject, "this host is not served here");
                self.unrouted(&replier, &refusal, None)
            }
        };
        body::drain(&mut body, &parts.headers).await;
        reply
    }
}
