//! A request that is tried out.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::front::Sender;
use crate::gate::identity::Presumed;

/// A request that is tried out.
#[derive(Clone, Debug)]
pub struct TrialRequest {
    request: Request<Bytes>,
    sender: Sender,
    /// When it comes, unix milliseconds.
    pub unix_millis: u64,
}

/// Why something is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says it in its message")]
pub enum BadRequest {
    #[error("`{0}` is no method of HTTP")]
    Method(String),
    #[error("`{0}` is no path")]
    Target(String),
    #[error("the header `{0}` cannot be sent so")]
    Header(String),
}

impl TrialRequest {
    /// A request from these parts. `target` is a path with its query. Without a `host` among the headers
    /// there is none.
    ///
    /// # Errors
    /// What cannot stand in a request.
    pub fn new(
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<Self, BadRequest> {
        let bad_target = || BadRequest::Target(target.to_owned());
        let uri: Uri = target.parse().map_err(|_| bad_target())?;
        if uri.path_and_query().is_none() || !target.starts_with('/') {
            return Err(bad_target());
        }
        let method: Method = method
            .parse()
            .map_err(|_| BadRequest::Method(method.to_owned()))?;
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let bad = |_| BadRequest::Header(name.clone());
            let parsed: HeaderName = name.parse().map_err(|_| BadRequest::Header(name.clone()))?;
            map.append(parsed, HeaderValue::from_str(value).map_err(bad)?);
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = map;
        Ok(Self {
            request,
            sender: Sender {
                address: IpAddr::from([127, 0, 0, 1]),
                secure: false,
            },
            unix_millis: crate::foundation::clock::unix_millis(),
        })
    }

    /// Who sends it.
    #[must_use]
    pub fn from(mut self, address: IpAddr, secure: bool) -> Self {
        self.sender = Sender {
            address: address.to_canonical(),
            secure,
        };
        self
    }

    /// When it comes, unix milliseconds.
    #[must_use]
    pub fn at(self, unix_millis: u64) -> Self {
        Self {
            unix_millis,
            ..self
        }
    }

    /// What is taken as given of its credential.
    #[must_use]
    pub fn presuming(mut self, presumed: Presumed) -> Self {
        self.request.extensions_mut().insert(presumed);
        self
    }

    pub(super) fn into_parts(self) -> (Request<Bytes>, Sender) {
        (self.request, self.sender)
    }
}
