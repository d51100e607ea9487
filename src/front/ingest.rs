//! The story of a request, from its head to its answer.
//!
//! The order is: what can be refused by the head, before the body; what can be refused without
//! keeping anything, before anything is kept. Between the end of the body and the hand-over to the
//! pipeline there is no `await`, so a client that hangs up (the normal end of a mini program) loses
//! nothing that it had sent whole.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body as _;

use super::arrival::Arrival;
use super::body::{self, BodyLimits, Encoding, RequestBody};
use super::buffers::{Buffers, with_buffers};
use super::cors::OriginVerdict;
use super::identify::Caller;
use super::platform::Platform;
use super::quality::Kept;
use super::relay::Relayed;
use super::route::Action;
use super::service::Front;
use super::site::SiteLogstore;
use super::span::ServerSpan;
use super::toll::{Receipts, Toll};
use super::trace::Stage;
use super::transcode::{self, Context};
use crate::config::IdentityMode;
use crate::event::{EventGroup, Reason, Refusal};
use crate::foundation::apart::apart;
use crate::foundation::budget::{Budget, Loan};
use crate::gate::identity::state::TicketPass;
use crate::gate::identity::{Check, Denied, Principal};
use crate::gate::quota::Charges;
use crate::telemetry::RequestStage;

/// What became of a request that was not refused.
pub(super) enum Taken {
    /// Its events are held, and will be delivered; or what became of them else.
    Held(Kept),
    /// It was passed on to the store.
    Relayed(Relayed),
}

/// A body as it was sent, and the memory that it takes.
pub(super) struct Sent<'l> {
    pub(super) encoding: Encoding,
    pub(super) bytes: Bytes,
    pub(super) lease: Loan<'l>,
}

/// From so many bytes on a body takes a millisecond or more.
const LARGE: usize = 64 << 10;

impl Sent<'_> {
    /// How what it takes to take it is to be done.
    pub(super) fn pace(&self) -> Pace {
        // What does not say how large it is inside may be large. What says so is unpacked no further.
        match self.encoding.plain_size(self.bytes.len()) {
            Some(size) if size < LARGE && self.bytes.len() < LARGE => Pace::Short,
            _ => Pace::Long,
        }
    }

    /// The plain bytes: see [`Encoding::decode`].
    pub(super) fn decode<'a>(
        &'a mut self,
        cap: usize,
        plain: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Refusal> {
        self.encoding
            .decode(&self.bytes, cap, &mut self.lease, plain)
    }
}

/// How long the work on a body holds its thread.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    Short,
    /// Others have the thread meanwhile.
    Long,
}

impl Pace {
    pub(super) fn work<T>(self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::Short => work(),
            Self::Long => apart(work),
        }
    }
}

impl Front {
    /// From the limits on addresses to the hand-over.
    pub(super) async fn ingest(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        body: &mut RequestBody,
        charges: &mut Charges,
    ) -> Result<Taken, Refusal> {
        let facts = arrival.quota_facts(None);
        arrival.enter(Stage::Address);
        charges.at_door(&facts)?;
        charges.at_head(&facts)?;
        arrival.note_limits(charges);
        arrival.enter(Stage::Origin);
        if arrival.origin == OriginVerdict::Refused {
            return Err(Reason::OriginNotAllowed.into());
        }
        arrival.enter(Stage::Platform);
        self.platform_is_allowed(arrival)?;
        arrival.enter(Stage::Room);
        let SiteLogstore { lane, priority, .. } = arrival.logstore;
        // What is too large for any is told so below.
        let claimed = body.size_hint().lower();
        let fits = claimed <= self.body.cap as u64;
        let usual = *priority;
        let priority = charges.classes().entry_priority(usual);
        lane.enter(if fits { claimed } else { 0 }, usual, priority)?;
        arrival.enter(Stage::Credential);
        let mut caller = self.identify(arrival, check)?;
        arrival.enter(Stage::Caller);
        if let Some(principal) = caller.principal() {
            charges.of_caller(&arrival.quota_facts(Some(principal)))?;
            arrival.note_limits(charges);
        }
        arrival.enter(Stage::Body);
        if let Action::TrackQuery(_) = arrival.action {
            let kept = self.take_query(arrival, check, caller, charges)?;
            return Ok(Taken::Held(kept));
        }
        let logstore = arrival.logstore;
        let encoding = Encoding::of(&arrival.parts.headers)?;
        let (limits, budget) = self.body_bounds(logstore, &caller);
        // The whole body is here then: it has left the memory for arriving ones.
        let bytes = body::read(body, limits, budget).await?;
        let size = bytes.len() as u64;
        let sent = Sent {
            encoding,
            bytes,
            lease: lane
                .admit(size, priority)
                .inspect_err(|refusal| arrival.count_refused_bytes(refusal, size))?,
        };
        let pace = sent.pace();
        if let Caller::Known(principal, signed) = &caller
            && let Err(error) = pace.work(|| signed.check(&sent.bytes))
        {
            let denied = Denied::new(principal.kind(), error).named(principal.key());
            caller = Caller::Known(
                self.turn_away(arrival, check, Box::new(denied))?,
                crate::logstore::signature::SignedBody::Unsigned,
            );
        }
        match caller {
            Caller::Relay(principal, relayable) => {
                let whom = (&principal, &relayable);
                let relayed = self.pass_on(arrival, check, whom, sent, charges);
                let relayed = Box::pin(relayed).await?;
                Ok(Taken::Relayed(relayed))
            }
            caller => {
                let kept = pace.work(|| self.take_body(arrival, check, caller, sent, charges));
                let kept = kept.inspect_err(|refusal| arrival.count_refused_bytes(refusal, size));
                Ok(Taken::Held(kept?))
            }
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

    fn take_query(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        caller: Caller<'_>,
        charges: &mut Charges,
    ) -> Result<Kept, Refusal> {
        let query = arrival.parts.uri.query().unwrap_or_default();
        if query.len() > self.query_max {
            return Err(Refusal::new(
                Reason::QueryTooLarge,
                format!("{} bytes are allowed", self.query_max),
            ));
        }
        let SiteLogstore { lane, priority, .. } = arrival.logstore;
        let priority = charges.classes().entry_priority(*priority);
        let lease = lane.admit(query.len() as u64, priority)?;
        let parameter = &self.identity.query_parameter;
        with_buffers(|buffers| {
            let Buffers { group, stamp, .. } = buffers;
            arrival.stamp(stamp, parameter, caller.principal());
            arrival.enter(Stage::Events);
            let read = |stamp: &[u8], group: &mut EventGroup| {
                let context = self.context(arrival, check, stamp);
                let read = transcode::query(query.as_bytes(), parameter, &context, group);
                arrival.entry.read(group.events);
                read
            };
            let stamped = fields_of(caller.principal());
            read(stamp, group)?;
            arrival.note_events(group);
            let principal = self.settle(arrival, check, caller, group)?;
            if principal.fields() != stamped {
                arrival.stamp(stamp, parameter, Some(&principal));
                group.clear();
                read(stamp, group)?;
            }
            let toll = Toll {
                lease,
                bytes: query.len() as u64,
                charges,
                routed: Vec::new(),
            };
            self.submit(arrival, check, principal, (stamp, group), toll)
        })
    }

    fn take_body(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        caller: Caller<'_>,
        mut sent: Sent<'_>,
        charges: &mut Charges,
    ) -> Result<Kept, Refusal> {
        let (BodyLimits { cap, .. }, _) = self.body_bounds(arrival.logstore, &caller);
        let parameter = &self.identity.query_parameter;
        let sent_bytes = sent.bytes.len();
        with_buffers(|buffers| {
            let Buffers {
                plain,
                group,
                stamp,
            } = buffers;
            arrival.time(RequestStage::Events);
            let plain = sent.decode(cap, plain)?;
            arrival.note_body(sent_bytes, plain);
            let stamped = fields_of(caller.principal());
            arrival.stamp(stamp, parameter, caller.principal());
            self.transcode(arrival, check, plain, stamp, group)?;
            arrival.note_events(group);
            let principal = self.settle(arrival, check, caller, group)?;
            if principal.fields() != stamped {
                // The token that counts stood in the body, or none does: only now is it known what
                // the events get.
                arrival.stamp(stamp, parameter, Some(&principal));
                group.clear();
                self.transcode(arrival, check, plain, stamp, group)?;
            }
            let toll = Toll {
                bytes: plain.len() as u64,
                lease: sent.lease,
                charges,
                routed: Vec::new(),
            };
            self.submit(arrival, check, principal, (stamp, group), toll)
        })
    }

    fn transcode(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        plain: &[u8],
        stamp: &[u8],
        group: &mut EventGroup,
    ) -> Result<(), Refusal> {
        let context = self.context(arrival, check, stamp);
        let read = if arrival.action == Action::Events {
            transcode::events(plain, &context, group)
        } else if arrival.body_is_json(plain) {
            transcode::json(plain, &context, group)
        } else {
            transcode::protobuf(plain, &context, group)
        };
        // Of a body that is refused, as far as it was read.
        arrival.entry.read(group.events);
        read
    }

    /// The last questions, then the hand-over: from there on the events are held.
    fn submit(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        principal: Principal,
        (stamp, group): (&[u8], &mut EventGroup),
        toll: Toll<'_>,
    ) -> Result<Kept, Refusal> {
        group.span = arrival.span.map(ServerSpan::context);
        self.hand_over(arrival, check, principal, (stamp, group), toll)
    }

    fn hand_over(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        mut principal: Principal,
        (stamp, group): (&[u8], &mut EventGroup),
        toll: Toll<'_>,
    ) -> Result<Kept, Refusal> {
        for (tag, value) in principal.tags() {
            group.put_tag(tag.as_bytes(), value.as_bytes());
        }
        if let Err(denied) = check.after_body(&principal, group) {
            principal = self.turn_away(arrival, check, Box::new(denied))?;
        }
        arrival.note_caller(&principal);
        toll.charges
            .of_caller(&arrival.quota_facts(Some(&principal)))?;
        arrival.note_limits(toll.charges);
        if let Some(Err(refusal)) = principal.ticket().map(TicketPass::take_use) {
            let denied = Denied::new(principal.kind(), refusal).named(principal.key());
            principal = self.turn_away(arrival, check, Box::new(denied))?;
        }
        let bytes = toll.bytes;
        let taken = match group.events {
            0 => Ok(Kept::default()),
            _ => self.keep_judged(arrival, &principal, (stamp, group), toll),
        };
        if let (Err(_), Some(pass)) = (&taken, principal.ticket()) {
            pass.give_back();
        }
        let kept = taken?;
        arrival.logstore.metrics.bytes_accepted.add(bytes);
        arrival.count_accepted(&principal, group);
        Ok(kept)
    }

    /// Keeps the events that pass, and sets aside or leaves out the others.
    fn keep_judged(
        &self,
        arrival: &Arrival<'_>,
        principal: &Principal,
        (stamp, group): (&[u8], &mut EventGroup),
        mut toll: Toll<'_>,
    ) -> Result<Kept, Refusal> {
        let events = group.events;
        let Some(quality) = arrival.quality.as_deref() else {
            let (_, receipts) = self.keep_events(arrival, principal, group, toll)?;
            return Ok(Kept {
                events,
                ack: receipts.weakest(),
                receipts,
                ..Kept::default()
            });
        };
        arrival.enter(Stage::Quality);
        let judged = self.judge(arrival, principal, quality, stamp, group);
        let mut judged = judged?;
        toll.routed = std::mem::take(&mut judged.routed);
        let mut receipts = Receipts::default();
        if group.events > 0 || !toll.routed.is_empty() {
            let (refused, awaited) = self.keep_events(arrival, principal, group, toll)?;
            receipts = awaited;
            if refused > 0 {
                // Which ones is not known, and they may be sent again: twice is better than never.
                judged.forget_names();
            }
        }
        let (others, names) = judged.commit(arrival, &mut receipts);
        Ok(Kept {
            events,
            others,
            ack: receipts.weakest(),
            receipts,
            names,
        })
    }

    /// Bounds of a body, by who sends it: strangers get less, unless the logstore only observes.
    fn body_bounds<'a>(
        &self,
        logstore: &'a SiteLogstore,
        caller: &Caller<'_>,
    ) -> (BodyLimits, &'a Arc<Budget>) {
        if caller.is_known() || logstore.rules.identity_mode == IdentityMode::Observe {
            (self.body, &logstore.arriving)
        } else {
            (self.unverified_body, &logstore.unverified)
        }
    }

    pub(super) fn context<'a>(
        &'a self,
        arrival: &'a Arrival<'_>,
        check: &'a Check<'_>,
        stamp: &'a [u8],
    ) -> Context<'a> {
        Context {
            rules: &self.rules,
            received: arrival.unix_seconds,
            stamp,
            attached: check.trust().attached(),
            check: arrival.quality.as_ref().and_then(|it| it.check()),
        }
    }
}

/// The fields that events get from a principal.
fn fields_of(principal: Option<&Principal>) -> Vec<u8> {
    principal.map_or_else(Vec::new, |principal| principal.fields().to_vec())
}
