//! Whom another credential may be given to, in exchange for a token or a ticket: no more than it
//! was for, no longer, and only while it counts.
//!
//! What cannot be carried over is not exchanged: a ticket that is bound to uses, addresses, origins
//! or accounts, and a token whose names could not be revoked. A session is exchanged for temporary
//! credentials, but not for another session: it would renew itself for ever.

use serde_json::{Map, Value};

use super::SigningKey;
use super::authenticator::Check;
use super::facts::Action;
use super::jwt::{Bearer, MintError, Minted, NewToken, mint_token};
use super::origin::{ORIGIN_CLAIM, Origin, SESSION_ID};
use super::principal::Denied;
use super::state::{Grant, TicketFacts, TicketPass, Wanted};
use super::sts::session_name_of;
use crate::event::{Reason, Refusal};
use crate::foundation::names::LogstoreName;
use crate::telemetry::CredentialKind;

/// Longest name of a subject or token that is exchanged, in bytes: one that no revocation can hit
/// is not.
const MAX_NAME: usize = 256;
/// Longest session policy, in bytes (STS reference).
const MAX_POLICY: usize = 2048;
/// What may be exchanged writes.
const WRITES: [Action; 3] = [Action::PutLogs, Action::TrackPost, Action::TrackGet];

/// The holder of a credential that is exchanged for another.
#[derive(Clone, Debug)]
pub struct GivenTo {
    /// Kind of the credential.
    pub kind: CredentialKind,
    /// Whose it is, for people: the token's subject or key, or the ticket's id.
    pub name: String,
    /// What is given is given for this, and counts as long as this does.
    pub origin: Origin,
    /// When it ends, unix seconds.
    pub expires: u64,
    /// The logstores that it is for.
    pub logstores: Vec<String>,
    /// The actions that it is for; without, all that write.
    pub actions: Option<Vec<String>>,
    /// Whose events they are: the token's subject, or the ticket's id.
    subject: Option<String>,
    /// Its token, whose claims a session takes over.
    bearer: Option<Bearer>,
    /// Its ticket: a use of it is counted when something is given.
    pub ticket: Option<TicketPass>,
}

impl Check<'_> {
    /// The holder of a token or ticket that is for this project, if it may be exchanged.
    ///
    /// # Errors
    /// As [`Check::token`]; and when what it says could not be carried over.
    pub fn holder(&self, token: &[u8], beside: Option<&[u8]>) -> Result<GivenTo, Denied> {
        if Self::token_kind(token) == CredentialKind::Ticket {
            return self.ticket_holder(token, beside);
        }
        let bearer = self.bearer(token)?;
        let held = self.token_holder(&bearer);
        held.map_err(|refusal| {
            let name = bearer.subject().unwrap_or(bearer.kid());
            Denied::new(CredentialKind::Jwt, refusal).named(Some(name.into()))
        })
    }

    fn ticket_holder(&self, token: &[u8], beside: Option<&[u8]>) -> Result<GivenTo, Denied> {
        let (kind, facts) = (CredentialKind::Ticket, self.facts());
        let account = beside.and_then(|token| self.account(token));
        let asked = TicketFacts {
            wanted: Wanted::WriteSomewhere {
                project: facts.project,
            },
            client: facts.client,
            origin: facts.origin,
            account: account.as_ref().and_then(Bearer::subject),
            now: facts.unix_seconds,
        };
        let pass = self.ticket(token, &asked)?;
        let name = pass.id().to_string();
        let refused = |refusal: Refusal| {
            let named = Some(pass.id().to_string().into());
            Denied::new(kind, refusal).named(named)
        };
        let Grant::Write { logstores, .. } = pass.grant() else {
            return Err(refused(Reason::TicketScope.into()));
        };
        if pass.has_limits() {
            return Err(refused(Refusal::new(
                Reason::TicketScope,
                "a ticket that is bound to uses, addresses, origins or accounts is not exchanged",
            )));
        }
        Ok(GivenTo {
            kind,
            origin: Origin::Ticket {
                id: name.clone(),
                issued_at: pass.issued_at(),
            },
            subject: Some(name.clone()),
            name,
            expires: pass.expires(),
            logstores: logstores.iter().map(ToString::to_string).collect(),
            actions: None,
            bearer: None,
            ticket: Some(pass),
        })
    }

    fn token_holder(&self, bearer: &Bearer) -> Result<GivenTo, Refusal> {
        let facts = self.facts();
        let refuse = |reason, detail: &'static str| Err(Refusal::new(reason, detail));
        if bearer.project() != Some(facts.project) {
            return refuse(Reason::TokenScope, "not for this project");
        }
        let names = [bearer.subject(), bearer.id(), Some(bearer.kid())];
        let origin = Origin::of_bearer(bearer)?;
        if names.iter().flatten().any(|name| name.len() > MAX_NAME) || origin.text().is_none() {
            let detail = "to be exchanged its sub, jti and kid must be at most 256 bytes long";
            return refuse(Reason::TokenClaims, detail);
        }
        let expires = self.end_of(bearer);
        if expires <= facts.unix_seconds {
            return Err(Reason::TokenExpired.into());
        }
        // Names that are none could mean more in a policy than they do in a token: `*`.
        let logstores = bearer.logstores();
        let logstores = logstores.filter(|name| LogstoreName::new(name).is_ok());
        let logstores: Vec<String> = logstores.map(str::to_owned).collect();
        if logstores.is_empty() {
            return refuse(Reason::TokenScope, "it names no logstore");
        }
        let actions = bearer.actions().map(|actions| {
            let writes = actions.filter(|action| is_write(action));
            writes.map(str::to_owned).collect::<Vec<_>>()
        });
        if actions.as_ref().is_some_and(Vec::is_empty) {
            return refuse(Reason::TokenScope, "it names no action that writes");
        }
        Ok(GivenTo {
            kind: CredentialKind::Jwt,
            name: bearer.subject().unwrap_or(bearer.kid()).to_owned(),
            origin,
            expires,
            logstores,
            actions,
            subject: bearer.subject().map(str::to_owned),
            bearer: Some(bearer.clone()),
            ticket: None,
        })
    }
}

fn is_write(action: &str) -> bool {
    let mut names = WRITES.iter().flat_map(|write| write.names());
    names.any(|name| *name == action)
}

impl GivenTo {
    /// Nobody in particular, where a route is open. What is given is not narrowed.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            kind: CredentialKind::Anonymous,
            name: "anonymous".to_owned(),
            origin: Origin::Nobody,
            expires: u64::MAX,
            logstores: Vec::new(),
            actions: None,
            subject: None,
            bearer: None,
            ticket: None,
        }
    }

    /// Its name as a RoleSessionName may be.
    #[must_use]
    pub fn session_name(&self) -> String {
        session_name_of(&self.name)
    }

    /// The session policy that narrows temporary credentials to what the credential was for.
    ///
    /// # Errors
    /// [`Reason::TokenScope`] or [`Reason::TicketScope`] when it names more than a policy can hold.
    pub fn session_policy(&self, project: &str) -> Result<Option<String>, Refusal> {
        if self.kind == CredentialKind::Anonymous {
            return Ok(None);
        }
        let all = || WRITES.map(|write| write.name().to_owned()).to_vec();
        let resources: Vec<String> = self
            .logstores
            .iter()
            .map(|logstore| format!("acs:log:*:*:project/{project}/logstore/{logstore}"))
            .collect();
        let policy = serde_json::json!({
            "Version": "1",
            "Statement": [{
                "Effect": "Allow",
                "Action": self.actions.clone().unwrap_or_else(all),
                "Resource": resources,
            }],
        });
        let policy = policy.to_string();
        if policy.len() > MAX_POLICY {
            let reason = match self.kind {
                CredentialKind::Ticket => Reason::TicketScope,
                _ => Reason::TokenScope,
            };
            let detail = "it names more logstores than temporary credentials can hold";
            return Err(Refusal::new(reason, detail));
        }
        Ok(Some(policy))
    }

    /// A token for a session cookie: for the same logstores and actions, with the claims that the
    /// key makes use of, and no longer than the credential itself.
    ///
    /// # Errors
    /// [`Reason::CredentialNotAccepted`] for a session; [`Reason::TokenClaims`] when the key asks for a claim that the credential does not have;
    /// else see [`mint_token`].
    pub fn mint_session(
        &self,
        key: &SigningKey,
        project: &str,
        ttl_seconds: u64,
    ) -> Result<Minted, NotMinted> {
        if self.origin.is_session() {
            // It would renew itself for ever.
            let detail = "a session opens no other: bring the token that it was opened with";
            return Err(Refusal::new(Reason::CredentialNotAccepted, detail).into());
        }
        let extra = self.claims_for(key)?;
        let id = session_id()?;
        let logstores: Vec<&str> = self.logstores.iter().map(String::as_str).collect();
        let new = NewToken {
            project,
            logstores: &logstores,
            ttl_seconds,
            subject: self.subject.as_deref(),
            id: Some(&id),
            extra,
        };
        Ok(mint_token(key, new)?)
    }

    /// The claims of a session's token beyond those of every token.
    fn claims_for(&self, key: &SigningKey) -> Result<Map<String, Value>, Refusal> {
        let (rules, mut claims) = (&key.rules, Map::new());
        let names = &rules.claims;
        // Set for every token, or not at all.
        let is_set = |name: &str| {
            matches!(
                name,
                "iss" | "aud" | "exp" | "nbf" | "iat" | "jti" | "sub" | ORIGIN_CLAIM
            ) || name == names.project
                || name == names.logstore
        };
        if let Some(bearer) = &self.bearer {
            let used = rules.fields.keys().chain(rules.tags.keys());
            for name in used.chain(&rules.required_claims) {
                if let Some(value) = bearer.claim(name).filter(|_| !is_set(name)) {
                    claims.insert(name.clone(), value.into_owned().into());
                }
            }
            for (name, value) in [
                (&names.platform, bearer.platform()),
                (&names.appid, bearer.appid()),
            ] {
                if let Some(value) = value {
                    claims.insert(name.clone(), value.into());
                }
            }
        }
        if let Some(actions) = &self.actions {
            claims.insert(names.action.clone(), actions.as_slice().into());
        }
        for name in &rules.required_claims {
            let is_there = match name.as_str() {
                "sub" => self.subject.is_some(),
                "nbf" => false,
                name => is_set(name) || claims.contains_key(name),
            };
            if !is_there {
                let detail = "the key of sessions asks for a claim that this credential has not";
                return Err(Refusal::new(Reason::TokenClaims, detail));
            }
        }
        let origin = self.origin.text().ok_or(Reason::Internal)?;
        claims.insert(ORIGIN_CLAIM.to_owned(), origin.into());
        Ok(claims)
    }
}

/// The `jti` of a session's token: 128 random bits.
fn session_id() -> Result<String, MintError> {
    let random = || Ok((getrandom::u64()?, getrandom::u64()?));
    let (high, low) =
        random().map_err(|error: getrandom::Error| MintError::Random(error.to_string()))?;
    Ok(format!("{SESSION_ID}{high:016x}{low:016x}"))
}

/// Why no session is given.
#[derive(Debug, thiserror::Error)]
pub enum NotMinted {
    /// The credential cannot open one.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its token could not be made.
    #[error(transparent)]
    Failed(#[from] MintError),
}
