//! Credentials to a [`Principal`]: the one place where it is decided who a request is from.
//!
//! Promise: whatever is revoked is refused here, on every request, cached verdicts included; what
//! can be refused for less is refused first. A refusal never repeats a token.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Facts;
use super::authority::{self, Settled};
use super::jwt::Bearer;
use super::origin::{Origin, ProvenAccount};
use super::presumed::Presumed;
use super::principal::{Denied, Holder, Principal};
use super::state::{
    IdentityState, RevocationKind, TicketFacts, TicketPass, Wanted, looks_like_ticket,
};
use super::sts::{Involved, NotAdmitted, ReplayWindow, SignedBy};
use super::trust::Trust;
use crate::config::TokenPlace;
use crate::event::{EventGroup, Reason, Refusal};
use crate::logstore::header;
use crate::logstore::signature::{
    RequestParts, Rules, SignedBody, parse_authorization, verify_head,
};
use crate::telemetry::CredentialKind;

/// Decides who requests are from.
#[derive(Debug)]
pub struct Authenticator {
    trust: ArcSwap<Trust>,
    state: Arc<IdentityState>,
    /// Signatures of the last while, where replays are refused.
    replays: ReplayWindow,
}

impl Authenticator {
    /// One that trusts what the configuration says.
    #[must_use]
    pub fn new(trust: Arc<Trust>, state: Arc<IdentityState>) -> Self {
        let window = trust.signed.window.get();
        Self {
            trust: ArcSwap::new(trust),
            state,
            replays: ReplayWindow::new(window, ReplayWindow::USUAL),
        }
    }

    /// What is trusted now. It stays as it is for whoever holds it.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.load_full()
    }

    /// Trusts something else from now on.
    pub fn swap(&self, trust: Arc<Trust>) {
        self.trust.store(trust);
    }

    /// Revocations and tickets.
    #[must_use]
    pub fn state(&self) -> &Arc<IdentityState> {
        &self.state
    }
}

/// The questions that one request asks.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    authenticator: &'a Authenticator,
    trust: &'a Trust,
    facts: &'a Facts<'a>,
    /// What is taken as given of its credential.
    presumed: Option<&'a Presumed>,
}

impl<'a> Check<'a> {
    /// Questions about a request with these facts.
    #[must_use]
    pub fn new(authenticator: &'a Authenticator, trust: &'a Trust, facts: &'a Facts<'a>) -> Self {
        Self {
            authenticator,
            trust,
            facts,
            presumed: None,
        }
    }

    /// The same, of a request whose credential is taken as given where `presumed` is there.
    #[must_use]
    pub fn presuming(self, presumed: Option<&'a Presumed>) -> Self {
        Self { presumed, ..self }
    }

    /// Nobody in particular, where the logstore is open.
    ///
    /// # Errors
    /// Denied by the project's policy.
    pub fn anonymous(&self) -> Result<Principal, Denied> {
        self.settled(Principal::nobody(CredentialKind::Anonymous))
    }

    /// Nobody in particular, where a logstore observes who would be turned away: nothing is asked.
    #[must_use]
    pub fn observed(&self) -> Principal {
        Principal::nobody(CredentialKind::None)
    }

    /// Whether a token is a ticket or another, by its form alone.
    #[must_use]
    pub fn token_kind(token: &[u8]) -> CredentialKind {
        if looks_like_ticket(token) {
            CredentialKind::Ticket
        } else {
            CredentialKind::Jwt
        }
    }

    /// Who holds a token, and whether it is for this project, logstore and action. `beside` is a
    /// token of a cookie that came with it: a ticket may ask whose account that is.
    ///
    /// # Errors
    /// The token's own fault, a revocation, its scope, or a policy.
    pub fn token(
        &self,
        token: &[u8],
        place: TokenPlace,
        beside: Option<&[u8]>,
    ) -> Result<Principal, Denied> {
        let kind = Self::token_kind(token);
        let facts = self.facts;
        if let Some(presumed) = self.presumed.filter(|_| kind == CredentialKind::Ticket) {
            return self.settled(self.presumed_ticket(presumed, place)?);
        }
        let holder = if kind == CredentialKind::Ticket {
            let wanted = Wanted::Write {
                project: facts.project,
                logstore: facts.logstore,
            };
            let account = beside.and_then(|token| self.account(token));
            let asked = TicketFacts {
                wanted,
                client: facts.client,
                origin: facts.origin,
                account: account.as_ref().and_then(Bearer::subject),
                now: facts.unix_seconds,
            };
            Holder::Ticket(self.ticket(token, &asked)?)
        } else {
            let bearer = self.bearer(token)?;
            bearer
                .may(facts.project, facts.logstore, facts.action.names())
                .map_err(|refusal| {
                    let denied = of_bearer(&bearer, refusal);
                    let holder = Holder::Bearer(bearer.clone());
                    denied.proven_for(&Principal::of_token(kind, place, holder))
                })?;
            Holder::Bearer(bearer)
        };
        self.settled(Principal::of_token(kind, place, holder))
    }

    /// The holder of a good token of this project, to say whose account a ticket is used by.
    #[must_use]
    pub fn account(&self, token: &[u8]) -> Option<Bearer> {
        if Self::token_kind(token) == CredentialKind::Ticket {
            return None;
        }
        let bearer = self.bearer(token).ok()?;
        (bearer.project() == Some(self.facts.project)).then_some(bearer)
    }

    /// Whose account a good token of this project proves, and until when.
    #[must_use]
    pub fn proven_account(&self, token: &[u8]) -> Option<ProvenAccount> {
        let bearer = self.account(token)?;
        Some(ProvenAccount {
            subject: bearer.subject()?.to_owned(),
            ends: self.end_of(&bearer),
            origin: Origin::of_bearer(&bearer).ok()?,
        })
    }

    /// Whether the token that has proven an account would still do so: it has not ended, nobody has
    /// revoked it, and its key is still trusted.
    #[must_use]
    pub fn still_proves(&self, account: &ProvenAccount) -> bool {
        self.facts.unix_seconds < account.ends && self.still_counts(&account.origin, "")
    }

    /// Who holds a token, whatever it is for.
    ///
    /// # Errors
    /// The token's own fault, or a revocation.
    pub fn bearer(&self, token: &[u8]) -> Result<Bearer, Denied> {
        let now = self.facts.unix_seconds;
        let verified = match self.presumed {
            None => self.trust.jwt.verify(token, now),
            Some(presumed) => self.presumed_bearer(presumed, token),
        };
        let bearer = verified.map_err(|refusal| Denied::new(CredentialKind::Jwt, refusal))?;
        let issued = bearer.issued_at();
        let revoked = self.is_revoked(RevocationKind::Kid, Some(bearer.key_name()), issued)
            || self.is_revoked(RevocationKind::Kid, Some(bearer.kid()), issued)
            || self.is_revoked(RevocationKind::Jti, bearer.id(), issued)
            || self.is_revoked(RevocationKind::Subject, bearer.subject(), issued);
        let origin = Origin::of_session(&bearer).map_err(|refusal| of_bearer(&bearer, refusal))?;
        if revoked || origin.is_some_and(|origin| !self.still_counts(&origin, "")) {
            return Err(of_bearer(&bearer, Reason::CredentialRevoked.into()));
        }
        Ok(bearer)
    }

    /// Whether what a credential was given for still counts: nobody has revoked it, and it is still
    /// in the configuration. `role` is the ARN of the role that was assumed.
    fn still_counts(&self, origin: &Origin, role: &str) -> bool {
        match origin {
            // Long-lived keys have no time of issue: every revocation hits them.
            Origin::AccessKey { id } => {
                !self.is_revoked(RevocationKind::AccessKey, Some(id), None)
                    && self.trust.service.may_assume(id, role)
            }
            Origin::Token {
                key,
                kid,
                jti,
                subject,
                issued_at,
                opened_with,
            } => {
                let revoked = [
                    (RevocationKind::Kid, Some(key)),
                    (RevocationKind::Kid, Some(kid)),
                    (RevocationKind::Jti, jti.as_ref()),
                    (RevocationKind::Subject, subject.as_ref()),
                ];
                let revoked = revoked.into_iter().any(|(kind, value)| {
                    self.is_revoked(kind, value.map(String::as_str), *issued_at)
                });
                !revoked
                    && self.trust.token_keys.contains_key(key.as_str())
                    && opened_with
                        .as_ref()
                        .is_none_or(|opened_with| self.still_counts(opened_with, role))
            }
            Origin::Ticket { id, issued_at } => {
                !self.is_revoked(RevocationKind::Ticket, Some(id), Some(*issued_at))
            }
            Origin::Nobody => true,
        }
    }

    /// Whether nothing may be given out with it now: for calls of the token service.
    #[must_use]
    pub fn is_withdrawn(&self, involved: Involved<'_>) -> bool {
        match involved {
            Involved::AccessKey(id) => self.is_revoked(RevocationKind::AccessKey, Some(id), None),
            Involved::Role(arn) => {
                let now = Some(self.facts.unix_seconds);
                self.is_revoked(RevocationKind::Role, Some(arn), now)
            }
        }
    }

    /// When a token ends by itself, unix seconds, without what clocks are forgiven: at its `exp`, or
    /// when it is older than its key allows.
    pub(super) fn end_of(&self, bearer: &Bearer) -> u64 {
        let max_age = self.trust.token_keys.get(bearer.key_name());
        let oldest = max_age.copied().flatten().zip(bearer.issued_at());
        let by_age = oldest.map_or(u64::MAX, |(age, issued)| issued.saturating_add(age));
        bearer.expires().min(by_age)
    }

    pub(super) fn is_revoked(
        &self,
        kind: RevocationKind,
        value: Option<&str>,
        issued: Option<u64>,
    ) -> bool {
        let revocations = self.authenticator.state.revocations();
        let now = self.facts.unix_seconds;
        value.is_some_and(|value| revocations.is_revoked(kind, value, issued, now))
    }

    /// The ticket behind a token, if it may be used so.
    ///
    /// # Errors
    /// The ticket's own fault, or a revocation.
    pub fn ticket(&self, token: &[u8], asked: &TicketFacts<'_>) -> Result<TicketPass, Denied> {
        let pass = self.authenticator.state.tickets().check(token, asked);
        pass.map_err(|refusal| Denied::new(CredentialKind::Ticket, refusal))
    }

    /// What is trusted while the request is answered.
    #[must_use]
    pub fn trust(&self) -> &'a Trust {
        self.trust
    }

    /// What is known of the request.
    #[must_use]
    pub fn facts(&self) -> &Facts<'a> {
        self.facts
    }

    /// The kind of key that a request says it is signed with. Nothing of it is checked. A request
    /// that cannot be read counts as one of a long-lived key, which will say what is wrong with it.
    #[must_use]
    pub fn signature_kind(&self, request: &RequestParts<'_>) -> CredentialKind {
        let value = request.headers.get(http::header::AUTHORIZATION);
        let authorization = value.and_then(|value| parse_authorization(value.as_bytes()).ok());
        let Some(authorization) = authorization else {
            return CredentialKind::AccessKey;
        };
        if self.presumed.is_some_and(|it| it.session.is_some()) {
            return CredentialKind::Sts;
        }
        let token = request.headers.get(&header::SECURITY_TOKEN);
        match token.filter(|token| !token.is_empty()) {
            Some(token) if self.trust.sessions.is_ours(token.as_bytes()) => CredentialKind::Sts,
            Some(_) => CredentialKind::Passthrough,
            None if self.trust.access_keys.contains(authorization.key_id()) => {
                CredentialKind::AccessKey
            }
            None => CredentialKind::Passthrough,
        }
    }

    /// Who signed a request, by its head; and what is left to be checked of its body.
    ///
    /// # Errors
    /// The signature's own fault, a revocation, a role that is gone, or a policy.
    pub fn signature(
        &self,
        kind: CredentialKind,
        request: &RequestParts<'_>,
    ) -> Result<(Principal, SignedBody), Denied> {
        if let Some(presumed) = self.presumed {
            return self.presumed_signer(presumed, kind, request);
        }
        let now = self.facts.unix_seconds;
        let trust = self.trust;
        let rules = Rules {
            window: trust.signed.window.get(),
            unsigned_bodies: trust.signed.unsigned_bodies,
        };
        let head = verify_head(request, now, &rules, |key_id, token| {
            trust.sessions.find(&trust.access_keys, key_id, token, now)
        });
        let head = head.map_err(|error| {
            let value = request.headers.get(http::header::AUTHORIZATION);
            let said = value.and_then(|value| parse_authorization(value.as_bytes()).ok());
            Denied::new(kind, error).named(said.map(|said| said.key_id().into()))
        })?;
        let named =
            |kind, key: &str, reason: Reason| Denied::new(kind, reason).named(Some(key.into()));
        let (kind, holder) = match &head.key {
            SignedBy::LongLived(key) => {
                let kind = CredentialKind::AccessKey;
                // Long-lived keys have no time of issue: every revocation hits them.
                if self.is_revoked(RevocationKind::AccessKey, Some(&key.id), None) {
                    return Err(named(kind, &key.id, Reason::CredentialRevoked));
                }
                let held = trust.held.get(key.id.as_str());
                let held = held.ok_or_else(|| named(kind, &key.id, Reason::AccessKeyUnknown))?;
                (kind, Holder::Key(Arc::clone(held)))
            }
            SignedBy::Temporary(session) => {
                let kind = CredentialKind::Sts;
                let grant = session.grant();
                let issued = Some(grant.issued_at);
                let denied = |reason| named(kind, &grant.session_name, reason);
                let revoked = [
                    (RevocationKind::AccessKey, &grant.access_key_id),
                    (RevocationKind::Session, &grant.session_name),
                    (RevocationKind::Role, &grant.role_arn),
                ];
                let mut revoked = revoked.into_iter();
                if revoked.any(|(kind, value)| self.is_revoked(kind, Some(value), issued)) {
                    return Err(denied(Reason::CredentialRevoked));
                }
                let policies = trust.roles.get(grant.role_arn.as_str());
                let policies = policies.ok_or_else(|| denied(Reason::RoleUnknown))?;
                if !self.still_counts(&grant.origin, &grant.role_arn) {
                    return Err(denied(Reason::CredentialRevoked));
                }
                // Its secret has just signed: its token may be kept.
                if let Some(token) = request.headers.get(&header::SECURITY_TOKEN) {
                    trust.sessions.keep(token.as_bytes(), session);
                }
                (
                    kind,
                    Holder::Session(Arc::clone(session), Arc::clone(policies)),
                )
            }
        };
        let principal = self.settled(Principal::of_signature(kind, holder))?;
        if trust.signed.refuse_replays {
            let admitted =
                self.authenticator
                    .replays
                    .admit(head.key_id, head.signature.as_bytes(), now);
            admitted.map_err(|why| {
                let refusal = match why {
                    NotAdmitted::Seen => Reason::SignatureReplayed.into(),
                    NotAdmitted::Full => Refusal::new(
                        Reason::TooManyCalls,
                        "no more signatures can be told apart while replays are refused",
                    ),
                };
                Denied::new(kind, refusal).named(principal.key())
            })?;
        }
        Ok((principal, head.body))
    }

    /// A request signed with a key that is not ours, whose store will check it.
    ///
    /// # Errors
    /// A revocation, or denied by the project's policy.
    pub fn foreign(&self, key_id: &str) -> Result<Principal, Denied> {
        let kind = CredentialKind::Passthrough;
        if self.is_revoked(RevocationKind::AccessKey, Some(key_id), None) {
            let denied = Denied::new(kind, Reason::CredentialRevoked);
            return Err(denied.named(Some(key_id.into())));
        }
        self.settled(Principal::of_signature(
            kind,
            Holder::Foreign(key_id.into()),
        ))
    }

    /// Asks the policies, as far as the head tells.
    pub(super) fn settled(&self, mut principal: Principal) -> Result<Principal, Denied> {
        let project = self.trust.projects.get(self.facts.project);
        let project = project.map(|policy| &**policy);
        let settled = authority::authorize(&principal, project, self.facts, None);
        principal.settled = settled.map_err(|denied| denied.proven_for(&principal))?;
        Ok(principal)
    }

    /// What is said of a principal for whom the events decide, where there are none.
    #[must_use]
    pub fn without_events(&self, principal: &Principal) -> Denied {
        authority::denied(principal, self.facts)
    }

    /// Asks the policies again, now that the body is known, if they want to be asked.
    ///
    /// # Errors
    /// Denied by a policy.
    pub fn after_body(&self, principal: &Principal, body: &EventGroup) -> Result<(), Denied> {
        if principal.settled == Settled::Yes {
            return Ok(());
        }
        let project = self.trust.projects.get(self.facts.project);
        let project = project.map(|policy| &**policy);
        let settled = authority::authorize(principal, project, self.facts, Some(body));
        settled.map_err(|denied| denied.proven_for(principal))?;
        Ok(())
    }
}

fn of_bearer(bearer: &Bearer, refusal: Refusal) -> Denied {
    let name = bearer.subject().unwrap_or(bearer.kid());
    Denied::new(CredentialKind::Jwt, refusal).named(Some(name.into()))
}
