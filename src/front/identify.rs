//! Who sends a request: which of the credentials that it presents counts, and what becomes of one
//! that is turned away.
//!
//! Of a signature and tokens that the client chose to send there may be one: two are refused, never
//! "the first that works". A cookie is ambient: it may stand beside another credential, and steps
//! back. What the logstore's list does not name is no credential here, nor what it names after
//! `anonymous`.

use super::arrival::Arrival;
use super::credential::{self, Presented};
use super::platform::Platform;
use super::relay::Relayable;
use super::security_events::SecurityEvent;
use super::service::Front;
use crate::config::{Accept, IdentityMode, TokenPlace};
use crate::event::{EventGroup, Reason, Refusal};
use crate::gate::identity::{Check, Denied, Facts, Principal};
use crate::logstore::signature::{RequestParts, SignedBody};
use crate::telemetry::{CredentialKind, RouteLabel, TokenSource};

/// Who sends the events.
pub(super) enum Caller<'a> {
    /// Known from the head.
    Known(Principal, SignedBody),
    /// Known to the store alone, which is asked by relaying the request.
    Relay(Principal, Relayable<'a>),
    /// The body may hold a token; if it does not, this is who it is.
    InBody(Result<Principal, Box<Denied>>),
}

impl Caller<'_> {
    /// Who it is, as far as the head tells.
    pub(super) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Known(principal, _) | Self::Relay(principal, _) => Some(principal),
            Self::InBody(_) => None,
        }
    }

    /// Whether the body is that of a sender who may send, whatever it holds.
    pub(super) fn is_known(&self) -> bool {
        matches!(self, Self::Known(..) | Self::InBody(Ok(_)))
    }
}

/// A credential of the head that a logstore may accept.
enum Candidate<'a> {
    Signature,
    Token(&'a [u8], TokenPlace),
}

impl Front {
    /// Decides by the head who sends the events, or that only the body can tell.
    pub(super) fn identify<'a>(
        &'a self,
        arrival: &Arrival<'a>,
        check: &Check<'_>,
    ) -> Result<Caller<'a>, Refusal> {
        let recognised = match self.presented(arrival) {
            Ok(presented) => self.recognise(arrival, check, &presented),
            Err(refusal) => Err(Box::new(Denied::new(CredentialKind::None, refusal))),
        };
        match recognised {
            Ok(caller) => {
                arrival.note_presented(&caller);
                Ok(caller)
            }
            Err(denied) => self
                .turn_away(arrival, check, denied)
                .map(|principal| Caller::Known(principal, SignedBody::Unsigned)),
        }
    }

    fn presented<'a>(&'a self, arrival: &Arrival<'a>) -> Result<Presented<'a>, Refusal> {
        credential::present(
            arrival.parts,
            arrival.route.token,
            arrival.origin,
            &arrival.logstore.rules.token_from,
            &self.identity.query_parameter,
            &arrival.cookies,
        )
    }

    fn recognise<'a>(
        &'a self,
        arrival: &Arrival<'a>,
        check: &Check<'_>,
        presented: &Presented<'_>,
    ) -> Result<Caller<'a>, Box<Denied>> {
        let rules = &arrival.logstore.rules;
        let rank = |kind| {
            rules
                .accept
                .iter()
                .position(|accept| kind_of(*accept) == kind)
        };
        let open = rank(CredentialKind::Anonymous);
        let request = arrival.signed_parts();
        let signature = presented
            .signed
            .then(|| (check.signature_kind(&request), Candidate::Signature));
        let token = |(token, place)| (Check::token_kind(token), Candidate::Token(token, place));
        let cookie = presented.cookie.map(|value| (value, TokenPlace::Cookie));
        // What the client chose to send comes before what a browser adds unasked: a cookie may have
        // been put there by another site.
        let candidates = [signature, presented.token.map(token), cookie.map(token)];
        let mut listed = candidates
            .iter()
            .flatten()
            .filter_map(|(kind, candidate)| Some((rank(*kind)?, *kind, candidate)));
        let best = listed.next();
        let body_may_tell = arrival.has_body()
            && rules.token_from.contains(&TokenPlace::Body)
            && (rules.accept.contains(&Accept::Jwt) || rules.accept.contains(&Accept::Ticket));
        match (best, open) {
            (Some((rank, kind, candidate)), open) if open.is_none_or(|open| rank < open) => {
                match candidate {
                    Candidate::Signature if kind == CredentialKind::Passthrough => {
                        self.to_relay(arrival, check)
                    }
                    Candidate::Signature => check
                        .signature(kind, &request)
                        .map(|(principal, body)| Caller::Known(principal, body)),
                    Candidate::Token(token, place) => {
                        match check.token(token, *place, presented.cookie) {
                            Ok(principal) => Ok(Caller::Known(principal, SignedBody::Unsigned)),
                            // A stale cookie does not stand in the way of a token that is renewed in
                            // the body.
                            Err(denied) if *place == TokenPlace::Cookie && body_may_tell => {
                                Ok(Caller::InBody(Err(Box::new(denied))))
                            }
                            Err(denied) => Err(denied),
                        }
                    }
                }
                .map_err(Box::new)
            }
            (_, Some(_)) if body_may_tell => {
                Ok(Caller::InBody(check.anonymous().map_err(Box::new)))
            }
            (_, Some(_)) => {
                let principal = check.anonymous().map_err(Box::new)?;
                Ok(Caller::Known(principal, SignedBody::Unsigned))
            }
            (_, None) => match candidates.iter().flatten().next() {
                Some((kind, candidate)) => Err(Box::new(not_accepted(
                    check, rules, *kind, candidate, &request,
                ))),
                None => {
                    let missing = Denied::new(CredentialKind::None, Reason::CredentialMissing);
                    if body_may_tell {
                        Ok(Caller::InBody(Err(Box::new(missing))))
                    } else {
                        Err(Box::new(missing))
                    }
                }
            },
        }
    }

    /// A request signed with a key that is not ours.
    fn to_relay<'a>(
        &'a self,
        arrival: &Arrival<'a>,
        check: &Check<'_>,
    ) -> Result<Caller<'a>, Denied> {
        let kind = CredentialKind::Passthrough;
        if !arrival.has_body() {
            let detail = "only requests with a body are relayed";
            return Err(Denied::new(
                kind,
                Refusal::new(Reason::CredentialNotAccepted, detail),
            ));
        }
        let target = arrival.logstore.relay_target();
        let target = target.ok_or_else(|| Denied::new(kind, Reason::CredentialNotAccepted))?;
        let relayable = self
            .relay
            .admit(arrival.parts, target, arrival.unix_seconds)
            .map_err(|refusal| Denied::new(kind, refusal))?;
        let principal = check.foreign(relayable.key_id())?;
        Ok(Caller::Relay(principal, relayable))
    }

    /// Who sent the events, now that the body is known: it may hold the token.
    pub(super) fn settle(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        caller: Caller<'_>,
        group: &EventGroup,
    ) -> Result<Principal, Refusal> {
        let in_body = || {
            let kind = Check::token_kind(&group.token);
            let accept = &arrival.logstore.rules.accept;
            if accept.iter().any(|accept| kind_of(*accept) == kind) {
                check.token(&group.token, TokenPlace::Body, None)
            } else {
                Err(Denied::new(kind, Reason::CredentialNotAccepted))
            }
        };
        let decided = match caller {
            // It is for the store to say who that is: nothing of it is kept here.
            Caller::Relay(known, _) => {
                let kind = known.kind();
                Err(Denied::new(kind, Reason::CredentialNotAccepted).named(known.key()))
            }
            Caller::Known(known, _) if group.token.is_empty() => Ok(known),
            Caller::Known(known, _) => match known.kind() {
                CredentialKind::Anonymous | CredentialKind::None => Ok(known),
                _ if known.source() == TokenSource::Cookie => in_body(),
                kind => Err(Denied::new(kind, Reason::TokenAmbiguous).named(known.key())),
            },
            Caller::InBody(without) if group.token.is_empty() => without.map_err(|denied| *denied),
            Caller::InBody(_) => in_body(),
        };
        let fitting = decided.and_then(|principal| {
            if principal.is_for_a_program() {
                let platform = Platform::of(&arrival.parts.headers);
                let fits = principal.fits(platform.label.label(), platform.appid);
                let denied =
                    |refusal| Denied::new(principal.kind(), refusal).named(principal.key());
                fits.map_err(denied)?;
            }
            Ok(principal)
        });
        fitting.or_else(|denied| self.turn_away(arrival, check, Box::new(denied)))
    }

    /// Writes down a credential that is turned away. Where the logstore only observes, the request
    /// goes on as if nobody in particular had sent it.
    pub(super) fn turn_away(
        &self,
        arrival: &Arrival<'_>,
        check: &Check<'_>,
        denied: Box<Denied>,
    ) -> Result<Principal, Refusal> {
        let reason = denied.refusal.reason();
        self.record_denied(arrival, &denied);
        arrival.note_denied(&denied);
        if arrival.logstore.rules.identity_mode == IdentityMode::Observe && is_observable(reason) {
            let cells = &arrival.logstore.metrics.requests_observed;
            cells.at(reason.index()).inc();
            return Ok(check.observed());
        }
        Err(denied.refusal)
    }
}

impl Front {
    /// Counts a credential that was turned away, and tells the stream of security events.
    pub(super) fn record_denied(&self, arrival: &Arrival<'_>, denied: &Denied) {
        self.tell_denied(&arrival.facts(), arrival.action.label(), denied);
    }

    /// As [`Front::record_denied`], for a request to no logstore.
    pub(super) fn tell_denied(&self, facts: &Facts<'_>, route: RouteLabel, denied: &Denied) {
        let reason = denied.refusal.reason();
        self.metrics.credentials_refused(denied.kind, reason).inc();
        self.security_events.record(&SecurityEvent {
            credential: denied.kind,
            reason,
            key: denied.key.as_deref(),
            project: facts.project,
            logstore: facts.logstore,
            client: facts.client,
            origin: facts.origin,
            route,
            unix_seconds: facts.unix_seconds,
        });
    }
}

/// A server's fault is not the client's: it is not observed away.
fn is_observable(reason: Reason) -> bool {
    !reason.status().is_server_error()
}

fn kind_of(accept: Accept) -> CredentialKind {
    match accept {
        Accept::AccessKey => CredentialKind::AccessKey,
        Accept::Sts => CredentialKind::Sts,
        Accept::Jwt => CredentialKind::Jwt,
        Accept::Ticket => CredentialKind::Ticket,
        Accept::Passthrough => CredentialKind::Passthrough,
        Accept::Anonymous => CredentialKind::Anonymous,
    }
}

/// Why a credential that the list does not name is refused. A signature by an unknown key is told
/// that, where signatures are accepted at all.
fn not_accepted(
    check: &Check<'_>,
    rules: &crate::config::Logstore,
    kind: CredentialKind,
    candidate: &Candidate<'_>,
    request: &RequestParts<'_>,
) -> Denied {
    let signatures =
        rules.accept.contains(&Accept::AccessKey) || rules.accept.contains(&Accept::Sts);
    if matches!(candidate, Candidate::Signature)
        && kind == CredentialKind::Passthrough
        && signatures
        && let Err(denied) = check.signature(CredentialKind::AccessKey, request)
    {
        return denied;
    }
    Denied::new(kind, Reason::CredentialNotAccepted)
}
