//! Credentials whose proof is taken as given: of a request that was recorded without its secrets, or
//! made up for a test. All else is checked: what it says, whether it was revoked, what it may do.
//!
//! Promise: nothing that comes over a connection can say so. A [`Presumed`] is a Rust value that whoever
//! tries a request out puts among its extensions, in this process.

use std::sync::Arc;

use super::authenticator::Check;
use super::jwt::Bearer;
use super::principal::{Denied, Holder, Principal};
use super::state::RevocationKind;
use super::sts::{Grant, Session};
use crate::config::TokenPlace;
use crate::event::{Reason, Refusal};
use crate::foundation::secret::Secret;
use crate::gate::identity::Origin;
use crate::logstore::signature::{RequestParts, SignedBody, parse_authorization};
use crate::telemetry::CredentialKind;

/// What is taken as given of a request's credential.
#[derive(Clone, Debug)]
pub struct Presumed {
    /// Whether its proof was good, or why it was not.
    pub proof: Result<(), Refusal>,
    /// The `kid` of the `[[identity.jwt]]` that proved a token.
    pub key: Option<String>,
    /// What temporary credentials are, where it is signed with some.
    pub session: Option<PresumedSession>,
}

/// What temporary credentials are, but for what is secret of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresumedSession {
    /// ARN of the role that was assumed.
    pub role_arn: String,
    /// Name of the session.
    pub session_name: String,
    /// When they were made, unix seconds.
    pub issued_at: u64,
    /// When they end, unix seconds.
    pub expires_at: u64,
    /// The session policy.
    pub policy: Option<String>,
}

impl Check<'_> {
    /// Whom a token speaks for whose signature is taken as given.
    pub(super) fn presumed_bearer(
        &self,
        presumed: &Presumed,
        token: &[u8],
    ) -> Result<Bearer, Refusal> {
        presumed.proof.clone()?;
        let now = self.facts().unix_seconds;
        let name = presumed.key.as_deref();
        self.trust().jwt().presume(name, token, now)
    }

    /// Who holds a ticket that is taken as good: its state is not looked at.
    pub(super) fn presumed_ticket(
        &self,
        presumed: &Presumed,
        place: TokenPlace,
    ) -> Result<Principal, Denied> {
        let kind = CredentialKind::Ticket;
        let denied =
            |refusal| Denied::new(kind, refusal).named(presumed.key.as_deref().map(Into::into));
        presumed.proof.clone().map_err(denied)?;
        if self.is_revoked(RevocationKind::Ticket, presumed.key.as_deref(), None) {
            return Err(denied(Reason::CredentialRevoked.into()));
        }
        Ok(Principal::of_token(kind, place, Holder::Nobody))
    }

    /// Who signed a request whose signature is taken as given.
    pub(super) fn presumed_signer(
        &self,
        presumed: &Presumed,
        kind: CredentialKind,
        request: &RequestParts<'_>,
    ) -> Result<(Principal, SignedBody), Denied> {
        let value = request.headers.get(http::header::AUTHORIZATION);
        let said = value.and_then(|value| parse_authorization(value.as_bytes()).ok());
        let key_id = said.map(|said| said.key_id().to_owned());
        let name = match &presumed.session {
            Some(session) => Some(session.session_name.clone()),
            None => key_id.clone(),
        };
        let denied =
            |refusal: Refusal| Denied::new(kind, refusal).named(name.as_deref().map(Into::into));
        presumed.proof.clone().map_err(denied)?;
        let trust = self.trust();
        let holder = match &presumed.session {
            None => {
                let id = key_id.as_deref().unwrap_or_default();
                let known = trust.access_keys.find(id);
                known.map_err(|error| denied(error.into()))?;
                if self.is_revoked(RevocationKind::AccessKey, Some(id), None) {
                    return Err(denied(Reason::CredentialRevoked.into()));
                }
                let held = trust.held.get(id);
                let held = held.ok_or_else(|| denied(Reason::AccessKeyUnknown.into()))?;
                Holder::Key(Arc::clone(held))
            }
            Some(session) => {
                let revoked = [
                    (RevocationKind::AccessKey, key_id.as_deref()),
                    (RevocationKind::Session, Some(session.session_name.as_str())),
                    (RevocationKind::Role, Some(session.role_arn.as_str())),
                ];
                let issued = Some(session.issued_at);
                let is_revoked = |(kind, value)| self.is_revoked(kind, value, issued);
                if revoked.into_iter().any(is_revoked) {
                    return Err(denied(Reason::CredentialRevoked.into()));
                }
                let policies = trust.roles.get(session.role_arn.as_str());
                let policies = policies.ok_or_else(|| denied(Reason::RoleUnknown.into()))?;
                if session.expires_at <= self.facts().unix_seconds {
                    return Err(denied(Reason::SecurityTokenExpired.into()));
                }
                let session = Session::presumed(Grant {
                    role_arn: session.role_arn.clone(),
                    session_name: session.session_name.clone(),
                    access_key_id: key_id.unwrap_or_default(),
                    secret: Secret::new(""),
                    issued_at: session.issued_at,
                    expires_at: session.expires_at,
                    origin: Origin::Nobody,
                    policy: session.policy.clone(),
                });
                Holder::Session(Arc::new(session), Arc::clone(policies))
            }
        };
        let principal = self.settled(Principal::of_signature(kind, holder))?;
        Ok((principal, SignedBody::Unsigned))
    }
}
