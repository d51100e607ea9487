//! From a request to its answer: what it asks for, whom it is for, and who tells its story.

use std::net::IpAddr;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Request, Version};
use hyper::body::Incoming;

use super::answers::{accepted, refused, turned_back};
use super::arrival::{Arrival, framing_is_plain};
use super::body::{self, RequestBody};
use super::cookie::Cookies;
use super::cors::OriginVerdict;
use super::entry::Entry;
use super::ingest::Taken;
use super::reply::{Replier, Reply, X_LOG_REQUESTID};
use super::route::{Route, Target};
use super::service::{Front, Sender};
use super::site::{SiteLogstore, host_of};
use super::span::ServerSpan;
use super::toll;
use super::trace::{Stage, Trace};
use crate::event::{Reason, Refusal};
use crate::foundation::clock;
use crate::foundation::request_id::RequestId;
use crate::gate::identity::Check;
use crate::gate::quota::{Charges, Facts};
use crate::telemetry::{RequestStage, RouteLabel, Timer};

/// Who asks when, and who listens.
#[derive(Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) sender: Sender,
    pub(super) unix_seconds: u64,
    /// Where it is written down what becomes of it.
    pub(super) trace: Option<&'a Trace>,
    /// Times its stages.
    pub(super) timer: Option<&'a Timer<'a>>,
    /// Its span, where it is traced for a collector.
    pub(super) span: Option<&'a ServerSpan>,
    /// For a request that is only tried out: its time on the clocks of limits and guards, in nanoseconds.
    pub(super) trial: Option<u64>,
}

impl Visit<'_> {
    fn enter(&self, stage: Stage) {
        if let Some(trace) = self.trace {
            trace.enter(stage);
        }
    }

    fn refused(&self, refusal: &Refusal) {
        if let Some(trace) = self.trace {
            trace.refused(refusal);
        }
    }
}

impl Front {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, sender: Sender) -> Reply {
        let (parts, body) = request.into_parts();
        let mut body = RequestBody::Wire(body);
        if let Err(refusal) = framing_is_plain(&parts) {
            let reply = self.misframed(&parts, &refusal);
            self.write_lines(&parts, (sender, clock::unix_seconds()), &reply, None);
            return reply;
        }
        let span = self.begin_span(&parts);
        let stages = span.as_ref().map(|span| span.stages());
        let (began, timer) = (self.lines.begin(), self.metrics.latency.begin(stages));
        let unix_seconds = clock::unix_seconds();
        let trace = match is_sampled(&parts) {
            true => self.sampler.begin(unix_seconds),
            false => None,
        };
        let visit = Visit {
            sender,
            unix_seconds,
            trace: trace.as_ref(),
            timer: timer.as_ref(),
            span: span.as_deref(),
            trial: None,
        };
        let reply = self.respond(&parts, &mut body, visit).await;
        let trace_of = span.as_ref().map(|span| span.context());
        let took = timer.map(|timer| timer.finish(id_of(&reply), trace_of));
        if let (Some(span), Some(took)) = (span, took) {
            self.finish_span(*span, (&parts, sender), &reply, took);
        }
        self.write_lines(&parts, (sender, unix_seconds), &reply, began);
        if let Some(trace) = trace {
            let request = (&parts, sender);
            self.sampler.finish(trace, request, &reply);
        }
        if !reply.status().is_success() {
            body::drain(&mut body, &parts.headers).await;
        }
        reply
    }

    /// Refuses a request whose end is in doubt, and with it what follows on its connection.
    pub(super) fn misframed(&self, parts: &Parts, refusal: &Refusal) -> Reply {
        let unix_seconds = clock::unix_seconds();
        let replier = Replier {
            id: RequestId::next(unix_seconds),
            unix_seconds,
            origin: OriginVerdict::Any,
        };
        let mut reply = self.unrouted(&replier, refusal, None);
        if parts.version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            reply.headers_mut().insert(CONNECTION, close);
        }
        reply
    }

    /// Answers a request whose framing is plain.
    pub(super) async fn respond(
        &self,
        parts: &Parts,
        body: &mut RequestBody,
        visit: Visit<'_>,
    ) -> Reply {
        let unix_seconds = visit.unix_seconds;
        visit.enter(Stage::Route);
        let replier = Replier {
            id: RequestId::next(unix_seconds),
            unix_seconds,
            origin: OriginVerdict::Any,
        };
        if parts.method == http::Method::OPTIONS {
            return self.preflight(parts, &visit, replier);
        }
        let route = match Target::parse(parts.uri.path()) {
            Some(Target::Logstore(route)) => route,
            Some(target) if self.gives_credentials(target) => {
                let sender = visit.sender;
                // Boxed, as below: every request would carry its room.
                return Box::pin(self.give(target, parts, body, sender, replier)).await;
            }
            _ => {
                let refusal = Reason::UnknownRoute.into();
                return self.astray(&visit, &replier, &refusal, None);
            }
        };
        let arrival = match self.arrive(parts, route, &visit, &replier) {
            Ok(arrival) => arrival,
            Err(reply) => return *reply,
        };
        arrival.note_located();
        let origin = arrival.origin;
        let replier = Replier { origin, ..replier };
        let trust = self.trust();
        let facts = arrival.facts();
        let check = Check::new(&self.authenticator, &trust, &facts);
        let check = check.presuming(parts.extensions.get());
        let mut charges = match visit.trial {
            None => self.quotas.begin(unix_seconds),
            Some(nanos) => self.quotas.begin_trial(unix_seconds, nanos),
        };
        let taken = self.ingest(&arrival, &check, body, &mut charges).await;
        if let Err(refusal) = &taken {
            arrival.entry.refused_all(refusal.reason());
        }
        arrival.time(RequestStage::Ack);
        let taken = settled(taken, &mut charges).await;
        arrival.time(RequestStage::Answer);
        arrival.note_end(taken.as_ref(), &mut charges);
        let mut reply = match taken {
            Ok(taken) => accepted(taken, &arrival, &charges, &replier),
            Err(refusal) => turned_back(&refusal, &arrival, &mut charges, &replier),
        };
        toll::tell(reply.headers_mut(), &charges);
        reply
    }

    /// Finds out what a request wants of which logstore.
    ///
    /// # Errors
    /// The answer, when that cannot be.
    fn arrive<'a>(
        &'a self,
        parts: &'a Parts,
        route: Route<'a>,
        visit: &Visit<'a>,
        replier: &Replier<'_>,
    ) -> Result<Arrival<'a>, Box<Reply>> {
        let turn_away = |refusal: &Refusal, answer: &dyn Fn() -> Reply| {
            let held_back = self.held_back(visit, replier);
            Box::new(held_back.unwrap_or_else(|| {
                visit.refused(refusal);
                answer()
            }))
        };
        let action = route.action(&parts.method).map_err(|reason| {
            let refusal = reason.into();
            let allow = Some(route.allow());
            Box::new(self.astray(visit, replier, &refusal, allow))
        })?;
        self.metrics.requests.at(action.label() as usize).inc();
        visit.enter(Stage::Logstore);
        let (project, logstore) = self.locate(parts, &route).map_err(|refusal| {
            turn_away(&refusal, &|| {
                let cells = &self.metrics.requests_refused;
                cells.at(refusal.reason().index()).inc();
                replier.refused(&refusal, None)
            })
        })?;
        let origin = logstore.origins.verdict(&parts.headers);
        let cookies = self.cookies(parts).map_err(|refusal| {
            let replier = Replier { origin, ..*replier };
            turn_away(&refusal, &|| refused(&refusal, project, logstore, &replier))
        })?;
        Ok(Arrival {
            parts,
            route,
            action,
            project,
            logstore,
            origin,
            cookies,
            sender: visit.sender,
            unix_seconds: visit.unix_seconds,
            id: replier.id,
            entry: Entry::new(&logstore.metrics),
            quality: logstore.quality(),
            trace: visit.trace,
            timer: visit.timer,
            span: visit.span,
            trial: visit.trial,
        })
    }

    /// The trusted cookies, and those that carry tokens.
    pub(super) fn cookies<'a>(&'a self, parts: &'a Parts) -> Result<Cookies<'a>, Refusal> {
        let identity = &self.identity;
        let tokens = [identity.cookie.as_str(), identity.session.cookie.as_str()];
        Cookies::read(&parts.headers, &identity.cookies, &tokens)
    }

    /// Charges a request that meets no others to the limits on addresses.
    ///
    /// # Errors
    /// The refusal of the first that has no room, and what was asked.
    fn ask_door(
        &self,
        address: IpAddr,
        trial: Option<u64>,
        unix_seconds: u64,
    ) -> Result<(), (Refusal, Box<Charges>)> {
        let mut charges = match trial {
            None => self.quotas.begin(unix_seconds),
            Some(nanos) => self.quotas.begin_trial(unix_seconds, nanos),
        };
        let asked = charges.at_door(&Facts::of_address(address));
        asked.map_err(|refusal| (refusal, Box::new(charges)))
    }

    /// Asks the limits on addresses for a request that meets no others: the answer, if they refuse it,
    /// always as SLS would give it, since there is no logstore that says what its clients know.
    /// Those of a request for a logstore are asked when it is taken in, once.
    pub(super) fn stopped_at_door(
        &self,
        address: IpAddr,
        trial: Option<u64>,
        replier: &Replier<'_>,
    ) -> Option<(Refusal, Reply)> {
        let (refusal, charges) = self.ask_door(address, trial, replier.unix_seconds).err()?;
        let cells = &self.metrics.requests_refused;
        cells.at(refusal.reason().index()).inc();
        let mut reply = replier.refused(&refusal, None);
        toll::tell(reply.headers_mut(), &charges);
        Some((refusal, reply))
    }

    /// The same, told to those who listen.
    fn held_back(&self, visit: &Visit<'_>, replier: &Replier<'_>) -> Option<Reply> {
        let address = visit.sender.address;
        let (refusal, reply) = self.stopped_at_door(address, visit.trial, replier)?;
        visit.refused(&refusal);
        Some(reply)
    }

    /// Refuses a request for nothing that is here, unless its address may ask nothing at all.
    fn astray(
        &self,
        visit: &Visit<'_>,
        replier: &Replier<'_>,
        refusal: &Refusal,
        allow: Option<&'static str>,
    ) -> Reply {
        if let Some(reply) = self.held_back(visit, replier) {
            self.metrics.requests.at(RouteLabel::Unknown as usize).inc();
            return reply;
        }
        visit.refused(refusal);
        self.unrouted(replier, refusal, allow)
    }

    /// Refuses a request for nothing that is here.
    pub(super) fn unrouted(
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

    /// Answers a preflight, which is charged to its address and never refused: its browser would tell the
    /// page of a broken network. The request behind it is refused, so that the page reads why.
    fn preflight(&self, parts: &Parts, visit: &Visit<'_>, replier: Replier<'_>) -> Reply {
        self.metrics
            .requests
            .at(RouteLabel::Preflight as usize)
            .inc();
        let replier = Replier {
            origin: self.preflight_origin(parts),
            ..replier
        };
        let _full = self.ask_door(visit.sender.address, visit.trial, visit.unix_seconds);
        replier.preflight()
    }

    fn preflight_origin<'a>(&self, parts: &'a Parts) -> OriginVerdict<'a> {
        match Target::parse(parts.uri.path()) {
            Some(Target::Logstore(route)) => self
                .locate(parts, &route)
                .map_or(OriginVerdict::Any, |(_, logstore)| {
                    logstore.origins.verdict(&parts.headers)
                }),
            Some(target) => self.giving_origin(target, parts),
            None => OriginVerdict::Any,
        }
    }

    fn locate(&self, parts: &Parts, route: &Route<'_>) -> Result<(&str, &SiteLogstore), Refusal> {
        let host = host_of(parts.uri.authority(), &parts.headers)?;
        let found = self.site.project(&host, &parts.headers)?;
        if found.doubled {
            self.metrics.doubled_project.inc();
        }
        let logstore = found.logstore(route.logstore)?;
        Ok((found.project.as_str(), logstore))
    }
}

/// The id that a reply names.
fn id_of(reply: &Reply) -> Option<RequestId> {
    RequestId::read(reply.headers().get(X_LOG_REQUESTID)?.as_bytes())
}

/// What was taken, once its events are as safe as their logstores ask. Of events that are not, `charges`
/// keep what they took: they may be stored all the same.
///
/// # Cancel safety
/// The events are held whoever listens.
async fn settled(taken: Result<Taken, Refusal>, charges: &mut Charges) -> Result<Taken, Refusal> {
    let mut taken = taken?;
    if let Taken::Held(kept) = &mut taken {
        let settled = std::mem::take(&mut kept.receipts).settled().await;
        settled.inspect_err(|_| charges.keep())?;
        // Before that, a second copy would be told that the first is safe.
        std::mem::take(&mut kept.names).confirm();
    }
    Ok(taken)
}

/// Whether a request may be kept in the sample: what asks for credentials holds secrets, and preflights
/// say nothing.
fn is_sampled(parts: &Parts) -> bool {
    let target = || Target::parse(parts.uri.path());
    parts.method != http::Method::OPTIONS && matches!(target(), None | Some(Target::Logstore(_)))
}
