//! Who a request is from, once that is decided; and what is said of one that was turned away.
//!
//! Promise: only [`super::Authenticator`] makes a [`Principal`]. Neither type prints a token.

use std::sync::Arc;

use super::authority::Settled;
use super::jwt::Bearer;
use super::presumed::PresumedSession;
use super::state::TicketPass;
use super::sts::Session;
use crate::config::TokenPlace;
use crate::event::{Reason, Refusal};
use crate::gate::policy::Policy;
use crate::telemetry::{CredentialKind, TokenSource};

/// Who may do what this request asks. The proof that identity was decided.
#[derive(Clone, Debug)]
pub struct Principal {
    pub(super) kind: CredentialKind,
    pub(super) source: TokenSource,
    pub(super) holder: Holder,
    pub(super) settled: Settled,
}

/// What the credential itself says.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each request, and most hold a token: a box would be an allocation more"
)]
pub(super) enum Holder {
    /// Nobody in particular.
    Nobody,
    /// A token.
    Bearer(Bearer),
    /// A ticket.
    Ticket(TicketPass),
    /// A long-lived access key.
    Key(Arc<HeldKey>),
    /// Temporary credentials, and the policies of their role as they are now.
    Session(Arc<Session<SessionPolicy>>, Arc<[Arc<Policy>]>),
    /// A key that is not ours.
    Foreign(Box<str>),
}

/// The session policy of temporary credentials, compiled. `None` when it is none, which the token
/// service does not let through: then nothing is allowed.
pub(super) type SessionPolicy = Option<Policy>;

/// A long-lived access key and its policies.
#[derive(Debug)]
pub(super) struct HeldKey {
    pub(super) id: Box<str>,
    pub(super) policies: Box<[Arc<Policy>]>,
}

impl Principal {
    /// Nobody in particular: where the logstore is open, or only observes who would be turned away.
    pub(super) fn nobody(kind: CredentialKind) -> Self {
        Self {
            kind,
            source: TokenSource::Anonymous,
            holder: Holder::Nobody,
            settled: Settled::Yes,
        }
    }

    pub(super) fn of_token(kind: CredentialKind, place: TokenPlace, holder: Holder) -> Self {
        let source = match place {
            TokenPlace::Authorization => TokenSource::Authorization,
            TokenPlace::Path => TokenSource::Path,
            TokenPlace::Query => TokenSource::Query,
            TokenPlace::Cookie => TokenSource::Cookie,
            TokenPlace::Body => TokenSource::Body,
        };
        Self {
            kind,
            source,
            holder,
            settled: Settled::Yes,
        }
    }

    pub(super) fn of_signature(kind: CredentialKind, holder: Holder) -> Self {
        Self {
            kind,
            source: TokenSource::Signature,
            holder,
            settled: Settled::Yes,
        }
    }

    /// Whether topic, source and tags of the events are still to be asked for.
    #[must_use]
    pub fn awaits_events(&self) -> bool {
        self.settled == Settled::AfterBody
    }

    /// The kind of its credential.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// Where its credential stood.
    #[must_use]
    pub fn source(&self) -> TokenSource {
        self.source
    }

    /// The name of its credential, for the books: an access key id, a key of tokens, a ticket.
    #[must_use]
    pub fn key(&self) -> Option<Box<str>> {
        match &self.holder {
            Holder::Nobody => None,
            Holder::Bearer(bearer) => Some(bearer.subject().unwrap_or(bearer.kid()).into()),
            Holder::Ticket(pass) => Some(pass.id().to_string().into()),
            Holder::Key(key) => Some(key.id.clone()),
            Holder::Session(session, _) => Some(session.grant().session_name.as_str().into()),
            Holder::Foreign(id) => Some(id.clone()),
        }
    }

    /// The token that it holds, if it holds one.
    #[must_use]
    pub fn bearer(&self) -> Option<&Bearer> {
        match &self.holder {
            Holder::Bearer(bearer) => Some(bearer),
            _ => None,
        }
    }

    /// What its temporary credentials are, if it holds some, without what is secret of them.
    #[must_use]
    pub fn session(&self) -> Option<PresumedSession> {
        let Holder::Session(session, _) = &self.holder else {
            return None;
        };
        let grant = session.grant();
        Some(PresumedSession {
            role_arn: grant.role_arn.clone(),
            session_name: grant.session_name.clone(),
            issued_at: grant.issued_at,
            expires_at: grant.expires_at,
            policy: grant.policy.clone(),
        })
    }

    /// The ticket that it holds, if it holds one.
    #[must_use]
    pub fn ticket(&self) -> Option<&TicketPass> {
        match &self.holder {
            Holder::Ticket(pass) => Some(pass),
            _ => None,
        }
    }

    /// Fields that its events get: `Contents` of a Log, in wire form.
    #[must_use]
    pub fn fields(&self) -> &[u8] {
        self.bearer().map_or(&[], Bearer::fields)
    }

    /// Tags that its LogGroups get.
    #[must_use]
    pub fn tags(&self) -> &[(String, String)] {
        self.bearer().map_or(&[], Bearer::tags)
    }

    /// Whether the token says which mini program it is for.
    #[must_use]
    pub fn is_for_a_program(&self) -> bool {
        let says = |bearer: &Bearer| bearer.platform().is_some() || bearer.appid().is_some();
        self.bearer().is_some_and(says)
    }

    /// Whether the token is for another mini program than the one that the Referer names. A Referer
    /// proves nothing; one that is left out or agrees is no objection.
    ///
    /// # Errors
    /// [`Reason::PlatformMismatch`].
    pub fn fits(&self, platform: &str, appid: Option<&str>) -> Result<(), Refusal> {
        let Some(bearer) = self.bearer() else {
            return Ok(());
        };
        let Some(appid) = appid else {
            return Ok(());
        };
        let other = |claim: Option<&str>, said: &str| claim.is_some_and(|claim| claim != said);
        if other(bearer.platform(), platform) || other(bearer.appid(), appid) {
            return Err(Reason::PlatformMismatch.into());
        }
        Ok(())
    }
}

/// A request turned away for its credential.
#[derive(Clone, Debug)]
pub struct Denied {
    /// What its client is told.
    pub refusal: Refusal,
    /// The kind of the credential.
    pub kind: CredentialKind,
    /// The name of the credential, for the books; what an unverified credential says of itself is
    /// not to be believed.
    pub key: Option<Box<str>>,
    /// Whose credential was good, and is turned away for what it may do.
    pub proven: Option<Box<Principal>>,
}

impl Denied {
    /// A credential of this kind, turned away.
    #[must_use]
    pub fn new(kind: CredentialKind, refusal: impl Into<Refusal>) -> Self {
        Self {
            refusal: refusal.into(),
            kind,
            key: None,
            proven: None,
        }
    }

    /// Notes whose credential it is, whose proof was good.
    #[must_use]
    pub fn proven_for(mut self, principal: &Principal) -> Self {
        self.proven = Some(Box::new(principal.clone()));
        self
    }

    /// Names the credential.
    #[must_use]
    pub fn named(mut self, key: Option<Box<str>>) -> Self {
        self.key = key;
        self
    }
}
