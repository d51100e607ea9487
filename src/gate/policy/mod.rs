//! Policies (RAM policy documents): what the holder of a key, of a role or of a session may do, and
//! what a project lets anyone do.
//!
//! Promise: a document that is not understood whole is refused at load with everything that is
//! wrong with it; deciding reads no text of a document, allocates nothing, and is linear in the
//! facts. Deny by default. Not here: who the caller is (`identity`), where documents are kept
//! (`config`), what a client is told of a denial. The language is documented in docs/policy.md.

mod condition;
mod decide;
mod document;
mod key;
mod parse;
pub(super) mod pattern;
mod problems;
mod statement;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::net::IpAddr;

pub use self::decide::{Decider, Decision, Denial, Grant, Policies, Step, decide_without_identity};
pub use self::key::{ConditionKey, FactKind};
pub use self::problems::{PolicyProblem, PolicyProblems};
use self::statement::Statement;
pub use self::value::parse_time;
use super::identity::Action;

/// What a policy is attached to. It bounds what may stand in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyKind {
    /// A key or a role.
    Identity,
    /// Temporary credentials, given with AssumeRole.
    Session,
    /// A project ("resource policy"). It may name the `Principal` `*`.
    Project,
}

/// A policy, ready to decide.
#[derive(Debug)]
pub struct Policy {
    kind: PolicyKind,
    name: Box<str>,
    statements: Vec<Statement>,
    /// Whether the document holds a list of statements, or one alone.
    is_list: bool,
    needs_body: bool,
    warnings: PolicyProblems,
}

impl Policy {
    /// Reads a document. The name is for messages to operators.
    ///
    /// # Errors
    /// Everything that is wrong with the document.
    pub fn parse(kind: PolicyKind, name: &str, json: &str) -> Result<Self, PolicyProblems> {
        parse::parse(kind, name, json)
    }

    /// What it is attached to.
    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands in the document and can never matter here.
    #[must_use]
    pub fn warnings(&self) -> &PolicyProblems {
        &self.warnings
    }

    /// Whether it asks for something that only the body of a request tells.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.needs_body
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Session => "session",
            Self::Project => "project",
        })
    }
}

/// What a request asks to do, on what, and how its facts are found.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// What it asks to do.
    pub action: &'a ActionName,
    /// On what, as [`resource_name`] writes it.
    pub resource: &'a str,
    /// Its facts.
    pub context: &'a dyn Context,
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Question({:?} on {})", self.action, self.resource)
    }
}

/// An action that is asked for. It goes by every name that the action has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionName {
    /// One of Tollgate's own.
    Known(Action),
    /// Any other, in lower case.
    Other(Box<str>),
}

/// The name that policies have for a logstore: `acs:log:{region}:{account}:project/{p}/logstore/{l}`.
#[must_use]
pub fn resource_name(region: &str, account: &str, project: &str, logstore: &str) -> String {
    format!("acs:log:{region}:{account}:project/{project}/logstore/{logstore}")
}

/// The name that policies have for a project: `acs:log:{region}:{account}:project/{p}`.
#[must_use]
pub fn project_resource_name(region: &str, account: &str, project: &str) -> String {
    format!("acs:log:{region}:{account}:project/{project}")
}

/// Where the facts of a request are found.
pub trait Context {
    /// The fact that a key stands for. Never asked for a key of the kind [`FactKind::Never`].
    ///
    /// An event without a topic or a source has the empty one, `Text("")`; a tag that is not there
    /// is `Absent`. It must be the very value that is stored: where a request says one thing twice,
    /// refuse it or take the one that is kept. [`Fact::Later`] is for what
    /// [`ConditionKey::is_in_body`] names, and only before the body is read.
    fn fact(&self, key: &ConditionKey) -> Fact<'_>;
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// There is no such thing.
    Absent,
    /// The body will tell.
    Later,
    /// Text. A number or a truth of a claim is its text too: `42`, `true`.
    Text(&'a str),
    /// An address; an IPv4-mapped one counts as IPv4.
    Address(IpAddr),
    /// A time, unix seconds.
    Time(u64),
    /// Truth.
    Bool(bool),
}
