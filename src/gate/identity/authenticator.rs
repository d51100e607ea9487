//! Credentials to a [`Principal`]: the one place where it is decided who a request is from.
//!
//! Promise: whatever is revoked is refused here, on every request, cached verdicts included; what
//! can be refused for less is refused first. A refusal never repeats a token.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::authority::{self, Settled};
use super::jwt::Bearer;
use super::principal::{Denied, Holder, Principal};
use super::replay::ReplayWindow;
use super::state::{
    IdentityState, RevocationKind, TicketFacts, Wanted, looks_like_ticket,
};
use super::sts::Session;
use super::trust::{Trust, TrustErrors};
use super::Facts;
use crate::config::{Config, TokenPlace};
use crate::event::{EventGroup, Reason, Refusal};
use crate::logstore::signature::{RequestParts, SignedBody, VerifyError, verify_head};
use crate::telemetry::CredentialKind;

/// Decides who requests are from.
#[derive(Debug)]
pub struct Authenticator {
    trust: ArcSwap<Trust>,
    state: Arc<IdentityState>,
    replays: ReplayWindow,
}

impl Authenticator {
    /// One that trusts what the configuration says.
    #[must_use]
    pub fn new(trust: Trust, state: Arc<IdentityState>) -> Self {
        Self {
            trust: ArcSwap::from_pointee(trust),
            state,
            replays: ReplayWindow::default(),
        }
    }

    /// What is trusted now. It stays as it is for whoever holds it.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust> {
        self.trust.load_full()
    }

    /// Trusts something else from now on.
    pub fn swap(&self, trust: Trust) {
        self.trust.store(Arc::new(trust));
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
}

impl<'a> Check<'a> {
    /// Questions about a request with these facts.
    #[must_use]
    pub fn new(authenticator: &'a Authenticator, trust: &'a Trust, facts: &'a Facts<'a>) -> Self {
        Self {
            authenticator,
            trust,
            facts,
        }
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

    /// Who holds a token, and whether it is for this project, logstore and action.
    ///
    /// # Errors
    /// The token's own fault, a revocation, its scope, or a policy.
    pub fn token(&self, token: &[u8], place: TokenPlace) -> Result<Principal, Denied> {
        let kind = Self::token_kind(token);
        let facts = self.facts;
        let holder = if kind == CredentialKind::Ticket {
            let wanted = Wanted::Write {
                project: facts.project,
                logstore: facts.logstore,
            };
            let asked = TicketFacts {
                wanted,
                client: facts.client,
                origin: facts.origin,
                account: None,
                now: facts.unix_seconds,
            };
            let pass = self.authenticator.state.tickets().check(token, &asked);
            Holder::Ticket(pass.map_err(|refusal| Denied::new(kind, refusal))?)
        } else {
            let bearer = self.bearer(token)?;
            bearer
                .may(facts.project, facts.logstore, facts.action.names())
                .map_err(|refusal| of_bearer(&bearer, refusal))?;
            Holder::Bearer(bearer)
        };
        self.settled(Principal::of_token(kind, place, holder))
    }

    /// Who holds a token, whatever it is for.
    ///
    /// # Errors
    /// The token's own fault, or a revocation.
    pub fn bearer(&self, token: &[u8]) -> Result<Bearer, Denied> {
        let now = self.facts.unix_seconds;
        let verified = self.trust.jwt.verify(token, now);
        let bearer = verified.map_err(|refusal| Denied::new(CredentialKind::Jwt, refusal))?;
        let issued = bearer.issued_at();
        let revoked = self.is_revoked(RevocationKind::Kid, Some(bearer.key_name()), issued)
            || self.is_revoked(RevocationKind::Kid, Some(bearer.kid()), issued)
            || self.is_revoked(RevocationKind::Jti, bearer.id(), issued)
            || self.is_revoked(RevocationKind::Subject, bearer.subject(), issued);
        if revoked {
            return Err(of_bearer(&bearer, Reason::CredentialRevoked.into()));
        }
        Ok(bearer)
    }

    fn is_revoked(&self, kind: RevocationKind, value: Option<&str>, issued: Option<u64>) -> bool {
        let revocations = self.authenticator.state.revocations();
        let now = self.facts.unix_seconds;
        value.is_some_and(|value| revocations.is_revoked(kind, value, issued, now))
    }

    /// Asks the policies, as far as the head tells.
    fn settled(&self, mut principal: Principal) -> Result<Principal, Denied> {
        let project = self.trust.projects.get(self.facts.project);
        let project = project.map(|policy| &**policy);
        principal.settled = authority::authorize(&principal, project, self.facts, None)?;
        Ok(principal)
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
        authority::authorize(principal, project, self.facts, Some(body)).map(|_| ())
    }
}

fn of_bearer(bearer: &Bearer, refusal: Refusal) -> Denied {
    let name = bearer.subject().unwrap_or(bearer.kid());
    Denied::new(CredentialKind::Jwt, refusal).named(Some(name.into()))
}
