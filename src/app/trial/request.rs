//! A request that is tried out.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::event::{
    Reason, Refusal, SampledBody, SampledCredential, SampledProof, SampledRequest, SampledVerdict,
};
use crate::front::Sender;
use crate::gate::identity::{Presumed, PresumedSession};

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
    #[error("the body is not base64")]
    Body,
    #[error("`{0}` is no reason of a refusal")]
    Reason(String),
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

    /// A request of the sample, whose credential is taken as given; and why its body is not there, when it
    /// is not.
    ///
    /// # Errors
    /// What cannot stand in a request, or in a line of the sample.
    pub fn recorded(sampled: &SampledRequest) -> Result<(Self, Option<String>), BadRequest> {
        let (body, why) = match &sampled.body {
            SampledBody::Text(text) => (Bytes::from(text.clone()), None),
            SampledBody::Base64(text) => {
                let bytes = STANDARD.decode(text).map_err(|_| BadRequest::Body)?;
                (Bytes::from(bytes), None)
            }
            SampledBody::LeftOut(why) => (Bytes::new(), Some(why.clone())),
        };
        let SampledRequest {
            method,
            target,
            headers,
            ..
        } = sampled;
        let mut request = Self::new(method, target, headers, body)?
            .from(sampled.client, sampled.secure)
            .at(sampled.time);
        if let Some(credential) = &sampled.credential {
            request = request.presuming(presumed(credential, &sampled.verdict)?);
        }
        Ok((request, why))
    }

    pub(super) fn into_parts(self) -> (Request<Bytes>, Sender) {
        (self.request, self.sender)
    }
}

/// What is taken as given of a recorded credential.
fn presumed(
    credential: &SampledCredential,
    verdict: &SampledVerdict,
) -> Result<Presumed, BadRequest> {
    let proof = match credential.proof {
        SampledProof::Good => Ok(()),
        SampledProof::Bad => {
            let label = verdict.observed.as_ref().or(verdict.reason.as_ref());
            let known = |label: &String| {
                let mut all = Reason::ALL.iter();
                all.find(|reason| reason.label() == label).copied()
            };
            let reason = label.and_then(known);
            Err(Refusal::new(
                reason.ok_or_else(|| BadRequest::Reason(label.cloned().unwrap_or_default()))?,
                "as it was recorded",
            ))
        }
    };
    Ok(Presumed {
        proof,
        key: credential.key.clone(),
        session: credential.session.as_ref().map(|it| PresumedSession {
            role_arn: it.role.clone(),
            session_name: it.name.clone(),
            issued_at: it.issued_at,
            expires_at: it.expires_at,
            policy: it.policy.clone(),
        }),
    })
}
