//! What a principal may do: policies, asked before the body is read, and once more after it when
//! only the body can tell.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::principal::{Denied, Holder, SessionPolicy};
use super::{Facts, Principal};
use crate::event::{EventGroup, Reason, Refusal};
use crate::gate::policy::{
    ActionName, ConditionKey, Context, Decision, Fact, Policies, Policy, PolicyKind, Question,
    decide_without_identity,
};

/// Whether a decision is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Allowed, whatever the body says.
    Yes,
    /// To be asked again with the body.
    AfterBody,
}

/// Asks the policies that bind `principal`.
///
/// # Errors
/// Denied, in the words of the real service: "denied by sts or ram, action: …, resource: …".
pub(super) fn authorize(
    principal: &Principal,
    project: Option<&Policy>,
    facts: &Facts<'_>,
    body: Option<&EventGroup>,
) -> Result<Settled, Denied> {
    let (identity, session): (&[_], _) = match &principal.holder {
        Holder::Key(key) => (&key.policies, None),
        Holder::Session(session, policies) => match session.policy(compile_session) {
            Some(None) => return Err(denied(principal, facts)),
            policy => (policies, policy.and_then(Option::as_ref)),
        },
        Holder::Nobody | Holder::Bearer(_) | Holder::Ticket(_) | Holder::Foreign(_) => {
            // Most requests are here, and most projects have no policy.
            if project.is_none() {
                return Ok(Settled::Yes);
            }
            (&[], None)
        }
    };
    let context = Known {
        principal,
        facts,
        body,
        texts: Texts::default(),
    };
    let question = Question {
        action: &ActionName::Known(facts.action),
        resource: facts.resource,
        context: &context,
    };
    let policies = Policies {
        identity,
        session,
        project,
    };
    // Which of two tags of one name a reader will see cannot be told.
    if body.is_some_and(EventGroup::repeats_a_tag) && policies.needs_body() {
        return Err(denied(principal, facts));
    }
    let decision = match principal.holder {
        Holder::Key(_) | Holder::Session(..) => policies.decide(&question),
        _ => decide_without_identity(project, &question),
    };
    match decision {
        Decision::Allowed(_) => Ok(Settled::Yes),
        Decision::NeedsBody if body.is_none() => Ok(Settled::AfterBody),
        Decision::Denied(denial) => {
            tracing::debug!(%denial, action = facts.action.name(), "policy denied a request");
            Err(denied(principal, facts))
        }
        Decision::NeedsBody => Err(denied(principal, facts)),
    }
}

/// The session policy as it was sealed. It was read before that, so it reads now.
fn compile_session(text: &str) -> SessionPolicy {
    Policy::parse(PolicyKind::Session, "session", text).ok()
}

/// Denied, in the words of the real service.
pub(super) fn denied(principal: &Principal, facts: &Facts<'_>) -> Denied {
    let sentence = format!(
        "denied by sts or ram, action: {}, resource: {}",
        facts.action.name(),
        facts.resource
    );
    Denied::new(
        principal.kind,
        Refusal::told(Reason::PolicyDenied, sentence),
    )
    .named(principal.key())
}

/// The facts of a request, for conditions.
struct Known<'a> {
    principal: &'a Principal,
    facts: &'a Facts<'a>,
    body: Option<&'a EventGroup>,
    texts: Texts,
}

/// Texts made while a question is answered, which live as long as it.
#[derive(Default)]
struct Texts(OnceCell<Box<(String, Texts)>>);

impl Texts {
    fn keep(&self, text: String) -> &str {
        let mut last = self;
        while let Some(next) = last.0.get() {
            last = &next.1;
        }
        &last.0.get_or_init(|| Box::new((text, Self::default()))).0
    }
}

impl Context for Known<'_> {
    fn fact(&self, key: &ConditionKey) -> Fact<'_> {
        match key {
            ConditionKey::SourceIp => Fact::Address(self.facts.client),
            ConditionKey::CurrentTime => Fact::Time(self.facts.unix_seconds),
            ConditionKey::SecureTransport => Fact::Bool(self.facts.secure),
            ConditionKey::Origin => self.facts.origin.map_or(Fact::Absent, Fact::Text),
            ConditionKey::Project => Fact::Text(self.facts.project),
            ConditionKey::Logstore if self.facts.logstore.is_empty() => Fact::Absent,
            ConditionKey::Logstore => Fact::Text(self.facts.logstore),
            ConditionKey::Topic => self.of_body(|body| self.text_of(&body.topic)),
            ConditionKey::Source => self.of_body(|body| self.text_of(&body.source)),
            ConditionKey::Tag(name) => self.of_body(|body| self.tag(body, name)),
            ConditionKey::Claim(name) => {
                match self.principal.bearer().and_then(|b| b.claim(name)) {
                    Some(Cow::Borrowed(claim)) => Fact::Text(claim),
                    Some(Cow::Owned(claim)) => Fact::Text(self.texts.keep(claim)),
                    None => Fact::Absent,
                }
            }
            ConditionKey::SessionName => match &self.principal.holder {
                Holder::Session(session, _) => Fact::Text(&session.grant().session_name),
                _ => Fact::Absent,
            },
            ConditionKey::RoleArn => match &self.principal.holder {
                Holder::Session(session, _) => Fact::Text(&session.grant().role_arn),
                _ => Fact::Absent,
            },
            ConditionKey::AccessKeyId => match &self.principal.holder {
                Holder::Key(key) => Fact::Text(&key.id),
                Holder::Session(session, _) => Fact::Text(&session.grant().access_key_id),
                Holder::Foreign(id) => Fact::Text(id),
                _ => Fact::Absent,
            },
            ConditionKey::Credential => Fact::Text(self.principal.kind.label()),
            ConditionKey::Unknowable(_) => Fact::Absent,
        }
    }
}

impl<'a> Known<'a> {
    fn of_body(&self, fact: impl FnOnce(&'a EventGroup) -> Fact<'_>) -> Fact<'_> {
        self.body.map_or(Fact::Later, fact)
    }

    fn text_of<'s>(&'s self, bytes: &'s [u8]) -> Fact<'s> {
        Fact::Text(std::str::from_utf8(bytes).unwrap_or_default())
    }

    fn tag(&self, body: &'a EventGroup, name: &str) -> Fact<'_> {
        let mut tags = body.each_tag();
        let found = tags.find(|(key, _)| *key == name.as_bytes());
        found.map_or(Fact::Absent, |(_, value)| self.text_of(value))
    }
}
