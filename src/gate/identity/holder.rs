//! Whom another credential may be given to, in exchange for a token or a ticket: no more than it
//! was for, and no longer.

use super::SigningKey;
use super::authenticator::Check;
use super::jwt::{Bearer, MintError, Minted, NewToken, mint_token};
use super::principal::Denied;
use super::state::{Grant, TicketFacts, TicketPass, Wanted};
use super::sts::session_name_of;
use crate::event::Reason;
use crate::telemetry::CredentialKind;

/// The holder of a credential that is exchanged for another.
#[derive(Clone, Debug)]
pub struct GivenTo {
    /// Kind of the credential.
    pub kind: CredentialKind,
    /// Whose it is: the token's subject, or the ticket's id.
    pub name: String,
    /// The token's `jti`, or the ticket's id: what is given inherits it, so that revoking the one
    /// revokes the other.
    pub id: Option<String>,
    /// When it ends, unix seconds.
    pub expires: u64,
    /// The logstores that it is for.
    pub logstores: Vec<String>,
    /// The actions that it is for; without, all that write.
    pub actions: Option<Vec<String>>,
    /// To be used up when something is given.
    pub ticket: Option<TicketPass>,
}

impl Check<'_> {
    /// The holder of a token or ticket that is for this project.
    ///
    /// # Errors
    /// As [`Check::token`].
    pub fn holder(&self, token: &[u8], beside: Option<&[u8]>) -> Result<GivenTo, Denied> {
        let kind = Self::token_kind(token);
        let facts = self.facts();
        if kind == CredentialKind::Ticket {
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
            let logstores = match pass.grant() {
                Grant::Write { logstores, .. } => logstores.iter().map(ToString::to_string),
                Grant::View(_) => return Err(Denied::new(kind, Reason::TicketScope)),
            };
            return Ok(GivenTo {
                kind,
                name: pass.id().to_string(),
                id: Some(pass.id().to_string()),
                expires: pass.expires(),
                logstores: logstores.collect(),
                actions: None,
                ticket: Some(pass),
            });
        }
        let bearer = self.bearer(token)?;
        let name = bearer.subject().unwrap_or(bearer.kid());
        if bearer.project() != Some(facts.project) {
            return Err(Denied::new(kind, Reason::TokenScope).named(Some(name.into())));
        }
        Ok(GivenTo {
            kind,
            name: name.to_owned(),
            id: bearer.id().map(str::to_owned),
            // Not until when it is accepted: what is given has a leeway of its own.
            expires: bearer.expires(),
            logstores: bearer.logstores().map(str::to_owned).collect(),
            actions: bearer
                .actions()
                .map(|actions| actions.map(str::to_owned).collect()),
            ticket: None,
        })
    }
}

impl GivenTo {
    /// Nobody in particular, where a route is open. What is given is not narrowed.
    #[must_use]
    pub fn nobody() -> Self {
        Self {
            kind: CredentialKind::Anonymous,
            name: "anonymous".to_owned(),
            id: None,
            expires: u64::MAX,
            logstores: Vec::new(),
            actions: None,
            ticket: None,
        }
    }

    /// Its name as a RoleSessionName may be.
    #[must_use]
    pub fn session_name(&self) -> String {
        session_name_of(&self.name)
    }

    /// The session policy that narrows temporary credentials to what the credential was for.
    #[must_use]
    pub fn session_policy(&self, project: &str) -> Option<String> {
        if self.kind == CredentialKind::Anonymous {
            return None;
        }
        let all = || {
            [
                "log:PostLogStoreLogs",
                "log:PutWebTracking",
                "log:WebTracking",
            ]
            .map(str::to_owned)
            .to_vec()
        };
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
        Some(policy.to_string())
    }

    /// A token for a session cookie: for the same logstores and actions, and no longer than the
    /// credential itself.
    ///
    /// # Errors
    /// See [`mint_token`].
    pub fn mint_session(
        &self,
        key: &SigningKey,
        project: &str,
        ttl_seconds: u64,
    ) -> Result<Minted, MintError> {
        let logstores: Vec<&str> = self.logstores.iter().map(String::as_str).collect();
        let actions = self.actions.as_ref();
        let actions =
            actions.map(|actions| (key.rules.claims.action.clone(), actions.as_slice().into()));
        mint_token(
            key,
            NewToken {
                project,
                logstores: &logstores,
                ttl_seconds,
                subject: Some(&self.name),
                id: self.id.as_deref(),
                extra: actions.into_iter().collect(),
            },
        )
    }
}
