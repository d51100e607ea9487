//! Routes that give out credentials: AssumeRole at `/`, `/get_sts_token` and `/session`.
//!
//! Promise: none of them answers unless the configuration turns it on, and no answer may be kept
//! (`no-store`), refusals too. What `/get_sts_token` and `/session` give may be read only by pages
//! whose origin is allowed for that route; answers of the token service by no page at all (no CORS
//! headers): servers call it. Failures are counted and told to the stream of security events as
//! those of any credential. When there are too many calls: 503, at once; who brings no credential
//! uses up nothing of those who do.
//! Not here: who may get what (`gate::identity`).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota};
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, ORIGIN, SET_COOKIE,
};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use super::body::{self, BodyLimits, RequestBody};
use super::cors::{OriginVerdict, Origins};
use super::credential;
use super::reply::{Replier, Reply};
use super::route::Target;
use super::service::{Front, Sender};
use super::session;
use super::site::host_of;
use crate::config::{Accept, Identity, TokenPlace};
use crate::event::{Reason, Refusal};
use crate::foundation::budget::Budget;
use crate::gate::identity::sts::{Involved, MAX_BODY, NewSession, RpcRequest, TokenService};
use crate::gate::identity::{Action, Check, Denied, Facts, GivenTo, NotMinted};
use crate::telemetry::{CredentialKind, RouteLabel};

/// Memory for such bodies while they arrive.
const CALLS_MEMORY: u64 = 4 << 20;
/// Time for the body of a call: it is small, and its caller is a server.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Places where the credential of `/get_sts_token` and `/session` may stand. Not the path: these
/// routes have none that carries a token.
const PLACES: &[TokenPlace] = &[
    TokenPlace::Authorization,
    TokenPlace::Query,
    TokenPlace::Cookie,
];

/// What the routes that give out credentials keep between requests.
#[derive(Debug)]
pub(super) struct Giving {
    sts_token_origins: Origins,
    session_origins: Origins,
    /// `None` when no answer at all is allowed.
    sts_token_limiter: Option<DefaultDirectRateLimiter>,
    /// The same, for those who bring no credential.
    anonymous_limiter: Option<DefaultDirectRateLimiter>,
    memory: Arc<Budget>,
}

impl Giving {
    /// Whether what is made of two configurations does the same.
    pub(super) fn is_the_same(one: &Identity, other: &Identity) -> bool {
        one.sts_token == other.sts_token && one.session.allow_origins == other.session.allow_origins
    }

    pub(super) fn new(identity: &Identity) -> Self {
        let quota = NonZeroU32::new(identity.sts_token.calls_per_second).map(Quota::per_second);
        Self {
            sts_token_origins: Origins::new(&identity.sts_token.allow_origins),
            session_origins: Origins::new(&identity.session.allow_origins),
            sts_token_limiter: quota.map(DefaultDirectRateLimiter::direct),
            anonymous_limiter: quota.map(DefaultDirectRateLimiter::direct),
            memory: Budget::new(CALLS_MEMORY),
        }
    }
}

/// A request for a credential, and where its answer may be read.
struct Asked<'a> {
    parts: &'a Parts,
    project: &'a str,
    origin: OriginVerdict<'a>,
    sender: Sender,
    unix_seconds: u64,
    route: RouteLabel,
}

impl Asked<'_> {
    fn facts(&self) -> Facts<'_> {
        let origin = self.parts.headers.get(ORIGIN);
        Facts {
            project: self.project,
            logstore: "",
            action: Action::PutLogs,
            resource: "",
            client: self.sender.address,
            secure: self.sender.secure,
            origin: origin.and_then(|origin| origin.to_str().ok()),
            unix_seconds: self.unix_seconds,
        }
    }
}

/// Servers call the token service: no page may read its answer.
fn hide_from_pages(reply: &mut Reply) {
    for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS] {
        reply.headers_mut().remove(name);
    }
}

impl Front {
    /// Whether a route that gives out credentials is on.
    pub(super) fn gives_credentials(&self, target: Target<'_>) -> bool {
        match target {
            Target::Logstore(_) => false,
            Target::TokenService => self.trust().service().has_roles(),
            Target::StsToken => self.identity.sts_token.role.is_some(),
            Target::Session => self.identity.session.enabled,
        }
    }

    /// What the Origin header means for such a route.
    pub(super) fn giving_origin<'a>(
        &self,
        target: Target<'_>,
        parts: &'a Parts,
    ) -> OriginVerdict<'a> {
        match target {
            Target::StsToken => self.giving.sts_token_origins.verdict(&parts.headers),
            Target::Session => self.giving.session_origins.verdict(&parts.headers),
            // Servers call it. A page may send what it likes, and reads no answer.
            Target::TokenService | Target::Logstore(_) => OriginVerdict::Any,
        }
    }

    /// Answers a request for a credential.
    pub(super) async fn give(
        &self,
        target: Target<'_>,
        parts: &Parts,
        body: &mut RequestBody,
        sender: Sender,
        replier: Replier<'_>,
    ) -> Reply {
        let mut reply = self.given(target, parts, body, sender, replier).await;
        let no_store = HeaderValue::from_static("no-store");
        reply.headers_mut().insert(CACHE_CONTROL, no_store);
        reply
    }

    async fn given(
        &self,
        target: Target<'_>,
        parts: &Parts,
        body: &mut RequestBody,
        sender: Sender,
        replier: Replier<'_>,
    ) -> Reply {
        let origin = self.giving_origin(target, parts);
        let replier = Replier { origin, ..replier };
        if target == Target::TokenService && !is_call(parts) {
            let stopped = self.stopped_at_door(sender.address, None, &replier);
            return self.no_route(&replier, stopped.map(|(_, reply)| reply));
        }
        let route = match target {
            Target::StsToken => RouteLabel::GetStsToken,
            Target::Session => RouteLabel::Session,
            Target::TokenService | Target::Logstore(_) => RouteLabel::AssumeRole,
        };
        self.metrics.requests.at(route as usize).inc();
        if let Some((_, mut reply)) = self.stopped_at_door(sender.address, None, &replier) {
            if target == Target::TokenService {
                hide_from_pages(&mut reply);
            }
            return reply;
        }
        if target == Target::TokenService {
            let mut reply = self.call_token_service(parts, body, sender, &replier).await;
            hide_from_pages(&mut reply);
            return reply;
        }
        let asked = |project| Asked {
            parts,
            project,
            origin,
            sender,
            unix_seconds: replier.unix_seconds,
            route,
        };
        let given = self.project_of(parts).and_then(|project| {
            let asked = asked(project);
            if asked.origin == OriginVerdict::Refused {
                return Err(Reason::OriginNotAllowed.into());
            }
            match target {
                Target::Session => self.give_session(&asked, &replier),
                _ => self.give_sts_token(&asked, &replier),
            }
        });
        given.unwrap_or_else(|refusal| {
            let cell = self.metrics.requests_refused.at(refusal.reason().index());
            cell.inc();
            let methods = match target {
                Target::Session => "POST, DELETE, OPTIONS",
                _ => "GET, OPTIONS",
            };
            let allow = (refusal.reason() == Reason::MethodNotAllowed).then_some(methods);
            replier.refused(&refusal, allow)
        })
    }

    /// `/` without a call is a path like any other that leads nowhere, and its address may be `stopped`.
    fn no_route(&self, replier: &Replier<'_>, stopped: Option<Reply>) -> Reply {
        let refusal = Refusal::from(Reason::UnknownRoute);
        self.metrics.requests.at(RouteLabel::Unknown as usize).inc();
        if let Some(reply) = stopped {
            return reply;
        }
        let cell = self.metrics.requests_refused.at(refusal.reason().index());
        cell.inc();
        replier.refused(&refusal, None)
    }

    fn project_of(&self, parts: &Parts) -> Result<&str, Refusal> {
        let host = host_of(parts.uri.authority(), &parts.headers)?;
        Ok(self.site.project(&host, &parts.headers)?.project.as_str())
    }

    /// The one who asks, by a token or ticket, or nobody where that is accepted.
    fn holder(&self, asked: &Asked<'_>, accept: &[Accept]) -> Result<GivenTo, Refusal> {
        let cookies = self.cookies(asked.parts)?;
        let presented = credential::present(
            asked.parts,
            None,
            asked.origin,
            PLACES,
            &self.identity.query_parameter,
            &cookies,
        )?;
        let token = presented.token.map(|(token, _)| token).or(presented.cookie);
        let trust = self.trust();
        let facts = asked.facts();
        let check = Check::new(&self.authenticator, &trust, &facts);
        let holder = match token {
            Some(token) => {
                let kind = Check::token_kind(token);
                let accepted = accept.iter().any(|accept| match accept {
                    Accept::Jwt => kind == CredentialKind::Jwt,
                    Accept::Ticket => kind == CredentialKind::Ticket,
                    _ => false,
                });
                if accepted {
                    let beside = presented.token.and(presented.cookie);
                    check.holder(token, beside)
                } else if accept.contains(&Accept::Anonymous) {
                    Ok(GivenTo::nobody())
                } else {
                    Err(Denied::new(kind, Reason::CredentialNotAccepted))
                }
            }
            None if accept.contains(&Accept::Anonymous) => Ok(GivenTo::nobody()),
            None => Err(Denied::new(CredentialKind::None, Reason::CredentialMissing)),
        };
        holder.map_err(|denied| {
            self.tell_denied(&facts, asked.route, &denied);
            denied.refusal
        })
    }

    /// Counts a use of the ticket, now that what was asked for is made.
    fn take_use(&self, asked: &Asked<'_>, holder: &GivenTo) -> Result<(), Refusal> {
        let Some(pass) = &holder.ticket else {
            return Ok(());
        };
        pass.take_use().inspect_err(|refusal| {
            let named = Some(holder.name.as_str().into());
            let denied = Denied::new(holder.kind, refusal.clone()).named(named);
            self.tell_denied(&asked.facts(), asked.route, &denied);
        })
    }

    fn give_sts_token(&self, asked: &Asked<'_>, replier: &Replier<'_>) -> Result<Reply, Refusal> {
        if asked.parts.method != Method::GET {
            return Err(Reason::MethodNotAllowed.into());
        }
        let rules = &self.identity.sts_token;
        let Some(role) = &rules.role else {
            return Err(Reason::UnknownRoute.into());
        };
        let holder = self.holder(asked, &rules.accept)?;
        let limiter = match holder.kind {
            CredentialKind::Anonymous => &self.giving.anonymous_limiter,
            _ => &self.giving.sts_token_limiter,
        };
        let allowed = |limiter: &DefaultDirectRateLimiter| limiter.check().is_ok();
        if !limiter.as_ref().is_some_and(allowed) {
            return Err(Reason::TooManyCalls.into());
        }
        let trust = self.trust();
        let facts = asked.facts();
        let check = Check::new(&self.authenticator, &trust, &facts);
        if check.is_withdrawn(Involved::Role(role)) {
            return Err(Refusal::new(Reason::CredentialRevoked, "its role"));
        }
        let policy = holder.session_policy(asked.project)?;
        let left = holder.expires.saturating_sub(asked.unix_seconds);
        let credentials = trust.service().issue(&NewSession {
            role_arn: role,
            session_name: &holder.session_name(),
            duration: rules.duration.as_secs().min(left),
            origin: &holder.origin,
            policy: policy.as_deref(),
            unix_seconds: asked.unix_seconds,
        });
        let credentials = credentials.map_err(|failure| {
            tracing::error!(%failure, "temporary credentials could not be made");
            Refusal::new(failure.code.reason(), failure.message)
        })?;
        self.take_use(asked, &holder)?;
        self.metrics.sts_issued.inc();
        let body = serde_json::to_vec(&credentials).map_err(|_| Reason::Internal)?;
        Ok(replier.given(StatusCode::OK, "application/json", body))
    }

    fn give_session(&self, asked: &Asked<'_>, replier: &Replier<'_>) -> Result<Reply, Refusal> {
        let rules = &self.identity.session;
        let cookie = match asked.parts.method {
            Method::DELETE => session::clear(rules)?,
            Method::POST => {
                let holder = self.holder(asked, &rules.accept)?;
                let trust = self.trust();
                let key = trust.session_key(rules.kid.as_deref());
                let key = key.ok_or_else(|| {
                    Refusal::new(Reason::Internal, "there is no key to sign sessions with")
                })?;
                let now = asked.unix_seconds;
                let ttl = rules.ttl.as_secs().min(holder.expires.saturating_sub(now));
                let minted =
                    holder
                        .mint_session(key, asked.project, ttl)
                        .map_err(|why| match why {
                            NotMinted::Refused(refusal) => {
                                let named = Some(holder.name.as_str().into());
                                let denied = Denied::new(holder.kind, refusal).named(named);
                                self.tell_denied(&asked.facts(), asked.route, &denied);
                                denied.refusal
                            }
                            NotMinted::Failed(error) => {
                                tracing::error!(%error, "a session could not be made");
                                Reason::Internal.into()
                            }
                        })?;
                let cookie = session::open(rules, &minted.token, ttl, now)?;
                self.take_use(asked, &holder)?;
                cookie
            }
            _ => return Err(Reason::MethodNotAllowed.into()),
        };
        let mut reply = replier.given(StatusCode::OK, "application/json", b"{}".to_vec());
        reply.headers_mut().insert(SET_COOKIE, cookie);
        Ok(reply)
    }

    /// A call of the token service, as RPC clients make it.
    async fn call_token_service(
        &self,
        parts: &Parts,
        body: &mut RequestBody,
        sender: Sender,
        replier: &Replier<'_>,
    ) -> Reply {
        let limits = BodyLimits {
            cap: MAX_BODY,
            timeout: self.body.timeout.min(CALL_TIMEOUT),
            ..self.body
        };
        let memory = &self.giving.memory;
        let read = body::read(body, limits, memory).await.and_then(|body| {
            let lease = memory.lease(body.len() as u64);
            Ok((body, lease.map_err(|_| Reason::MemoryFull)?))
        });
        let (body, _lease) = match read {
            Ok(read) => read,
            Err(refusal) => {
                let cell = self.metrics.requests_refused.at(refusal.reason().index());
                cell.inc();
                return replier.refused(&refusal, None);
            }
        };
        let trust = self.trust();
        let origin = parts.headers.get(ORIGIN);
        let facts = Facts {
            project: "",
            logstore: "",
            action: Action::PutLogs,
            resource: "",
            client: sender.address,
            secure: sender.secure,
            origin: origin.and_then(|origin| origin.to_str().ok()),
            unix_seconds: replier.unix_seconds,
        };
        let check = Check::new(&self.authenticator, &trust, &facts);
        let call = RpcRequest {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body: &body,
            unix_seconds: replier.unix_seconds,
        };
        let is_withdrawn = |involved: Involved<'_>| check.is_withdrawn(involved);
        let answer = trust.service().call(&call, &is_withdrawn);
        if let Some((code, key)) = &answer.failure {
            let reason = code.reason();
            let key = key.as_deref().map(Into::into);
            let denied = Denied::new(CredentialKind::AccessKey, reason).named(key);
            self.tell_denied(&facts, RouteLabel::AssumeRole, &denied);
            self.metrics.requests_refused.at(reason.index()).inc();
        } else {
            self.metrics.sts_issued.inc();
        }
        let mut reply = replier.given(answer.status, answer.content_type, answer.body);
        if let Some(millis) = answer.retry_after {
            let name = http::HeaderName::from_static("x-acs-retry-after");
            reply.headers_mut().insert(name, millis.into());
        }
        reply
    }
}

/// Whether a request for `/` is a call of the token service, by its head.
fn is_call(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    TokenService::is_call(parts.method.as_str(), query, &parts.headers)
}
