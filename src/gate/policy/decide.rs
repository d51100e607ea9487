//! The decision: the session policy must allow; of the identity policies and the project's own
//! together, any Deny wins, else any Allow, else it is denied (RAM).
//!
//! Promise: before the body is read, `Denied` and `Allowed` hold for every body; a statement that
//! only a body can decide makes the answer `NeedsBody` unless it does not matter. Nothing is
//! allocated.

use std::fmt;
use std::sync::Arc;

use super::statement::Effect;
use super::{Policy, Question};

/// Truth of three values, from false to true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    No,
    /// Only the body can tell.
    Unknown,
    Yes,
}

impl From<bool> for Truth {
    fn from(is: bool) -> Self {
        if is { Self::Yes } else { Self::No }
    }
}

/// The policies that bind a caller who has some: the holder of an access key or of a role.
#[derive(Clone, Copy, Debug)]
pub struct Policies<'p> {
    /// Those of the key or the role. Without any, only the project's policy can allow.
    pub identity: &'p [Arc<Policy>],
    /// The session policy of temporary credentials: it must allow too, and adds nothing.
    pub session: Option<&'p Policy>,
    /// The project's own.
    pub project: Option<&'p Policy>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'p> {
    /// Yes, whatever the body.
    Allowed(Grant<'p>),
    /// No, whatever the body.
    Denied(Denial<'p>),
    /// Ask again when the topic, the source and the tags are known.
    NeedsBody,
}

/// Why a question is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'p> {
    /// The statement that allows it. None for a caller without policies of his own, whom the
    /// project's policy does not deny.
    pub by: Option<Decider<'p>>,
    /// The statement of the session policy that allows it, where there is such a policy.
    pub session: Option<Decider<'p>>,
}

/// Why a question is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial<'p> {
    /// A statement denies it.
    Explicit(Step, Decider<'p>),
    /// No statement of this step allows it.
    Implicit(Step),
}

/// The steps of a decision, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The session policy.
    Session,
    /// The identity policies and the project's policy together.
    IdentityAndProject,
}

/// The statement that decides.
#[derive(Clone, Copy)]
pub struct Decider<'p> {
    policy: &'p Policy,
    statement: usize,
}

impl<'p> Policies<'p> {
    /// Whether any of them asks for something that only the body tells.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        let mut others = self.session.into_iter().chain(self.project);
        self.identity.iter().any(|policy| policy.needs_body()) || others.any(Policy::needs_body)
    }

    /// Decides.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision<'p> {
        let session = match self.session.map(|policy| decide_session(policy, question)) {
            Some(Decision::Denied(denial)) => return Decision::Denied(denial),
            decision => decision,
        };
        let mut tally = Tally::default();
        for policy in self.identity {
            tally.add(policy, question);
        }
        if let Some(policy) = self.project {
            tally.add(policy, question);
        }
        match (tally.decide(Step::IdentityAndProject), session) {
            (Decision::Allowed(_), Some(Decision::NeedsBody)) => Decision::NeedsBody,
            (Decision::Allowed(grant), Some(Decision::Allowed(of_session))) => {
                Decision::Allowed(Grant {
                    session: of_session.by,
                    ..grant
                })
            }
            (decision, _) => decision,
        }
    }
}

fn decide_session<'p>(policy: &'p Policy, question: &Question<'_>) -> Decision<'p> {
    let mut tally = Tally::default();
    tally.add(policy, question);
    tally.decide(Step::Session)
}

/// Decides for a caller without policies of his own (a token, a ticket, nobody in particular), whom
/// something else lets in: a Deny of the project's policy binds him, its Allow gives him nothing.
#[must_use]
pub fn decide_without_identity<'p>(
    project: Option<&'p Policy>,
    question: &Question<'_>,
) -> Decision<'p> {
    let mut tally = Tally {
        allowed: Truth::Yes,
        ..Tally::default()
    };
    if let Some(policy) = project {
        tally.add(policy, question);
    }
    tally.decide(Step::IdentityAndProject)
}

/// What the statements of a step say together.
struct Tally<'p> {
    allowed: Truth,
    allowed_by: Option<Decider<'p>>,
    denied: Truth,
    denied_by: Option<Decider<'p>>,
}

impl Default for Tally<'_> {
    fn default() -> Self {
        Self {
            allowed: Truth::No,
            allowed_by: None,
            denied: Truth::No,
            denied_by: None,
        }
    }
}

impl<'p> Tally<'p> {
    fn add(&mut self, policy: &'p Policy, question: &Question<'_>) {
        for (at, statement) in policy.statements.iter().enumerate() {
            if self.denied == Truth::Yes {
                return;
            }
            let (truth, by) = match statement.effect {
                Effect::Allow => (&mut self.allowed, &mut self.allowed_by),
                Effect::Deny => (&mut self.denied, &mut self.denied_by),
            };
            if *truth == Truth::Yes {
                continue;
            }
            *truth = statement.is_about(question).max(*truth);
            if *truth == Truth::Yes {
                *by = Some(Decider {
                    policy,
                    statement: at,
                });
            }
        }
    }

    fn decide(self, step: Step) -> Decision<'p> {
        match (self.denied_by, self.denied, self.allowed) {
            (Some(by), ..) => Decision::Denied(Denial::Explicit(step, by)),
            (None, _, Truth::No) => Decision::Denied(Denial::Implicit(step)),
            (None, Truth::No, Truth::Yes) => Decision::Allowed(Grant {
                by: self.allowed_by,
                session: None,
            }),
            _ => Decision::NeedsBody,
        }
    }
}

impl<'p> Decider<'p> {
    /// The policy.
    #[must_use]
    pub fn policy(self) -> &'p Policy {
        self.policy
    }

    /// The statement's number, from 0.
    #[must_use]
    pub fn statement(self) -> usize {
        self.statement
    }

    /// The JSON pointer to the statement in its document.
    #[must_use]
    pub fn pointer(self) -> String {
        if self.policy.is_list {
            format!("/Statement/{}", self.statement)
        } else {
            "/Statement".to_owned()
        }
    }
}

impl PartialEq for Decider<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.policy, other.policy) && self.statement == other.statement
    }
}

impl Eq for Decider<'_> {}

impl fmt::Debug for Decider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decider({self})")
    }
}

/// For operators: the policy's name is not for clients.
impl fmt::Display for Decider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = (self.policy.kind(), self.policy.name());
        write!(f, "{} of the {kind} policy `{name}`", self.pointer())
    }
}

/// For operators: the policy's name is not for clients.
impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Explicit(_, by) => write!(f, "{by} denies it"),
            Self::Implicit(Step::Session) => {
                f.write_str("no statement of the session policy allows it")
            }
            Self::Implicit(Step::IdentityAndProject) => f.write_str(
                "no statement of the identity policies or of the project's policy allows it",
            ),
        }
    }
}
