//! The story of a request, from its head to its answer.
//!
//! The order is: what can be refused by the head, before the body; what can be refused without
//! keeping anything, before anything is kept. Between the end of the body and the hand-over to the
//! pipeline there is no `await`, so a client that hangs up (the normal end of a mini program) loses
//! nothing that it had sent whole.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;

use super::arrival::{Arrival, framing_is_plain};
use super::body::{self, Encoding};
use super::buffers::{Buffers, with_buffers};
use super::cors::OriginVerdict;
use super::credential;
use super::platform::Platform;
use super::reply::{Replier, Reply};
use super::route::{Action, Kind, Route};
use super::service::Front;
use super::site::{SiteLogstore, host_of};
use super::transcode::{self, Context};
use crate::config::{Accept, ClientAddress, TokenPlace};
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::budget::Lease;
use crate::foundation::clock;
use crate::foundation::request_id::RequestId;
use crate::gate::identity::{Credential, Principal};
use crate::telemetry::{RouteLabel, TokenSource};

/// Who sends the events: known from the head, or to be learnt from the body.
enum Caller {
    Known(Principal),
    /// Only the body can tell; if it does not, this is the refusal.
    InBody(Refusal),
}

impl Front {
    /// Answers one request.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Reply {
        let (parts, body) = request.into_parts();
        let unix_seconds = clock::unix_seconds();
        let id = RequestId::next(unix_seconds);
        let unrouted = Replier {
            id,
            unix_seconds,
            origin: OriginVerdict::Any,
        };
        if parts.method == http::Method::OPTIONS {
            self.metrics
                .requests
                .at(RouteLabel::Preflight as usize)
                .inc();
            let replier = Replier {
                origin: self.preflight_origin(&parts),
                ..unrouted
            };
            return replier.preflight();
        }
        let Some(route) = Route::parse(parts.uri.path()) else {
            return self.unrouted(&unrouted, &Reason::UnknownRoute.into(), None);
        };
        let action = match route.action(&parts.method) {
            Ok(action) => action,
            Err(reason) => return self.unrouted(&unrouted, &reason.into(), Some(route.allow())),
        };
        self.metrics.requests.at(action.label() as usize).inc();
        let (project, logstore) = match self.locate(&parts, &route) {
            Ok(located) => located,
            Err(refusal) => {
                self.metrics
                    .requests_refused
                    .at(refusal.reason().index())
                    .inc();
                return unrouted.refused(&refusal, None);
            }
        };
        let origin = logstore.origins.verdict(&parts.headers);
        let client = peer.ip().to_canonical();
        let arrival = Arrival {
            parts: &parts,
            route,
            action,
            project,
            logstore,
            origin,
            client,
            unix_seconds,
        };
        let replier = Replier { origin, ..unrouted };
        match self.ingest(&arrival, body).await {
            Ok(())
                if matches!(
                    action,
                    Action::TrackQuery(Kind::TrackGif | Kind::TrackUaGif)
                ) =>
            {
                replier.pixel()
            }
            Ok(()) if logstore.rules.json_answer => replier.accepted_json(),
            Ok(()) if matches!(action, Action::TrackQuery(_)) => replier.accepted_uncached(),
            Ok(()) => replier.accepted(),
            Err(refusal) => {
                let reason = refusal.reason();
                logstore.metrics.requests_refused.at(reason.index()).inc();
                tracing::debug!(
                    request = id.as_str(),
                    project,
                    logstore = logstore.rules.name.as_str(),
                    reason = reason.label(),
                    "request refused"
                );
                replier.refused(&refusal, None)
            }
        }
    }

    fn unrouted(
        &self,
        replier: &Replier<'_>,
        refusal: &Refusal,
        allow: Option<&'static str>,
    ) -> Reply {
        self.metrics.requests.at(RouteLabel::Unknown as usize).inc();
        self.metrics
            .requests_refused
            .at(refusal.reason().index())
            .inc();
        replier.refused(refusal, allow)
    }

    fn preflight_origin<'a>(&self, parts: &'a Parts) -> OriginVerdict<'a> {
        Route::parse(parts.uri.path())
            .and_then(|route| self.locate(parts, &route).ok())
            .map_or(OriginVerdict::Any, |(_, logstore)| {
                logstore.origins.verdict(&parts.headers)
            })
    }

    fn locate(&self, parts: &Parts, route: &Route<'_>) -> Result<(&str, &SiteLogstore), Refusal> {
        framing_is_plain(parts)?;
        let host = host_of(parts.uri.authority(), &parts.headers)?;
        let found = self.site.project(&host, &parts.headers)?;
        if found.doubled {
            self.metrics.doubled_project.inc();
        }
        let logstore = found.logstore(route.logstore)?;
        Ok((found.project.as_str(), logstore))
    }

    async fn ingest(&self, arrival: &Arrival<'_>, body: Incoming) -> Result<(), Refusal> {
        let caller = self.identify(arrival)?;
        let logstore = arrival.logstore;
        match arrival.action {
            Action::TrackQuery(_) => self.take_query(arrival, &caller),
            Action::TrackBody | Action::PutLogs | Action::Preflight => {
                let encoding = Encoding::of(&arrival.parts.headers)?;
                let (limits, budget) = match caller {
                    Caller::Known(_) => (self.body, &logstore.arriving),
                    Caller::InBody(_) => (self.unverified_body, &logstore.unverified),
                };
                let (bytes, arrived) = body::read(body, limits, budget).await?;
                // The whole body is here: it leaves the memory for arriving ones.
                let size = arrived.bytes();
                drop(arrived);
                let lease = logstore.lane.budget().lease(size);
                let lease = lease.map_err(|_| Reason::MemoryFull)?;
                self.take_body(arrival, &caller, encoding, &bytes, lease)
            }
        }
    }

    /// Decides by the head who sends the events, or that only the body can tell.
    fn identify(&self, arrival: &Arrival<'_>) -> Result<Caller, Refusal> {
        let rules = &arrival.logstore.rules;
        if arrival.origin == OriginVerdict::Refused {
            return Err(Reason::OriginNotAllowed.into());
        }
        self.platform_is_allowed(arrival)?;
        if rules.accept.contains(&Accept::Anonymous) {
            return Ok(Caller::Known(Principal::anonymous()));
        }
        let credential = credential::find(
            arrival.parts,
            &arrival.route,
            arrival.origin,
            rules,
            &self.identity,
        )?;
        let has_body = !matches!(arrival.action, Action::TrackQuery(_));
        let body_may_tell = has_body && rules.token_from.contains(&TokenPlace::Body);
        match credential {
            Credential::Token(token, place) => match self.verify(arrival, token, place) {
                Ok(principal) => Ok(Caller::Known(principal)),
                // A stale cookie does not stand in the way of a token that is renewed in the body.
                Err(refusal) if place == TokenPlace::Cookie && body_may_tell => {
                    Ok(Caller::InBody(refusal))
                }
                Err(refusal) => Err(refusal),
            },
            Credential::Signed => Err(Reason::CredentialNotAccepted.into()),
            Credential::None if body_may_tell => {
                Ok(Caller::InBody(Reason::CredentialMissing.into()))
            }
            Credential::None => Err(Reason::CredentialMissing.into()),
        }
    }

    /// The rules that keep honest mistakes out. What a Referer says is never authority.
    fn platform_is_allowed(&self, arrival: &Arrival<'_>) -> Result<(), Refusal> {
        let rules = &arrival.logstore.rules;
        if rules.development && rules.appids.is_empty() {
            return Ok(());
        }
        let platform = Platform::of(&arrival.parts.headers);
        if platform.development && !rules.development {
            return Err(Reason::DevelopmentRefused.into());
        }
        match platform.appid {
            Some(appid) if !rules.appids.is_empty() && !rules.appids.iter().any(|a| a == appid) => {
                Err(Reason::AppidNotAllowed.into())
            }
            _ => Ok(()),
        }
    }

    fn verify(
        &self,
        arrival: &Arrival<'_>,
        token: &[u8],
        place: TokenPlace,
    ) -> Result<Principal, Refusal> {
        let logstore = arrival.logstore.rules.name.as_str();
        self.authenticator
            .verify(token, place, arrival.project, logstore)
    }

    fn take_query(&self, arrival: &Arrival<'_>, caller: &Caller) -> Result<(), Refusal> {
        let query = arrival.parts.uri.query().unwrap_or_default();
        if query.len() > self.query_max {
            return Err(Refusal::new(
                Reason::QueryTooLarge,
                format!("{} bytes are allowed", self.query_max),
            ));
        }
        let lease = arrival.logstore.lane.budget().lease(query.len() as u64);
        let lease = lease.map_err(|_| Reason::MemoryFull)?;
        with_buffers(|buffers| {
            let Buffers { group, stamp, .. } = buffers;
            arrival.stamp(stamp, &self.identity.query_parameter);
            let context = self.context(arrival, stamp);
            let parameter = &self.identity.query_parameter;
            transcode::query(query.as_bytes(), parameter, &context, group)
                .map_err(|refusal| arrival.count_refused(refusal, group))?;
            self.submit(arrival, caller, group, lease)?;
            arrival
                .logstore
                .metrics
                .bytes_accepted
                .add(query.len() as u64);
            Ok(())
        })
    }

    fn take_body(
        &self,
        arrival: &Arrival<'_>,
        caller: &Caller,
        encoding: Encoding,
        body: &Bytes,
        mut lease: Lease,
    ) -> Result<(), Refusal> {
        let cap = match caller {
            Caller::Known(_) => self.body.cap,
            Caller::InBody(_) => self.unverified_body.cap,
        };
        with_buffers(|buffers| {
            let Buffers {
                plain,
                group,
                stamp,
            } = buffers;
            let plain = encoding.decode(body, cap, &mut lease, plain)?;
            arrival.stamp(stamp, &self.identity.query_parameter);
            let context = self.context(arrival, stamp);
            let read = if arrival.body_is_json(plain) {
                transcode::json(plain, &context, group)
            } else {
                transcode::protobuf(plain, &context, group)
            };
            read.map_err(|refusal| arrival.count_refused(refusal, group))?;
            self.submit(arrival, caller, group, lease)?;
            arrival
                .logstore
                .metrics
                .bytes_accepted
                .add(plain.len() as u64);
            Ok(())
        })
    }

    fn context<'a>(&'a self, arrival: &Arrival<'_>, stamp: &'a [u8]) -> Context<'a> {
        Context {
            rules: &self.rules,
            received: arrival.unix_seconds,
            stamp,
            attached: crate::event::AttachedNames::NONE,
        }
    }

    /// The last checks, then the hand-over: from here on the events are held.
    fn submit(
        &self,
        arrival: &Arrival<'_>,
        caller: &Caller,
        group: &mut EventGroup,
        lease: Lease,
    ) -> Result<(), Refusal> {
        let in_body = || self.verify(arrival, &group.token, TokenPlace::Body);
        let principal = match caller {
            Caller::Known(known) if group.token.is_empty() => Ok(*known),
            Caller::Known(known) => match known.source() {
                TokenSource::Anonymous => Ok(*known),
                TokenSource::Cookie => in_body(),
                _ => Err(Reason::TokenAmbiguous.into()),
            },
            Caller::InBody(refusal) if group.token.is_empty() => Err(refusal.clone()),
            Caller::InBody(_) => in_body(),
        };
        let principal = principal.map_err(|refusal| arrival.count_refused(refusal, group))?;
        if group.events > 0 {
            if arrival.logstore.rules.client_address == ClientAddress::Tag {
                let address = arrival.client.to_string();
                group.put_tag(b"__client_ip__", address.as_bytes());
            }
            arrival
                .logstore
                .lane
                .submit(group, lease)
                .map_err(|refusal| arrival.count_refused(refusal, group))?;
        }
        arrival.count_accepted(principal, group);
        Ok(())
    }
}
