//! One statement, ready to be held against a question.

use super::condition::Condition;
use super::decide::Truth;
use super::pattern::Pattern;
use super::{ActionName, Question};
use crate::gate::identity::Action;

/// The place of an action in [`Actions::known`].
fn bit(action: Action) -> u16 {
    match action {
        Action::PutLogs => 1,
        Action::TrackPost => 1 << 1,
        Action::TrackGet => 1 << 2,
        Action::GetCursorOrData => 1 << 3,
        Action::ListShards => 1 << 4,
        Action::GetLogs => 1 << 5,
        Action::GetHistograms => 1 << 6,
        Action::GetLogstore => 1 << 7,
        Action::ListLogstores => 1 << 8,
        Action::GetProject => 1 << 9,
    }
}

/// What a statement says of the questions that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Debug)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    pub(super) actions: Actions,
    pub(super) resources: Resources,
    pub(super) conditions: Vec<Condition>,
}

impl Statement {
    /// Whether it is about this question; unknown when only the body can tell.
    pub(super) fn is_about(&self, question: &Question<'_>) -> Truth {
        if !self.actions.mean(question.action) || !self.resources.mean(question.resource) {
            return Truth::No;
        }
        let mut truth = Truth::Yes;
        for condition in &self.conditions {
            truth = truth.min(condition.holds(question.context));
            if truth == Truth::No {
                break;
            }
        }
        truth
    }

    pub(super) fn needs_body(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.key.is_in_body())
    }
}

/// `Action` or `NotAction`.
#[derive(Debug)]
pub(super) struct Actions {
    /// In lower case.
    patterns: Vec<Pattern>,
    negated: bool,
    /// A bit for each of [`Action::ALL`] that is meant: worked out at load.
    known: u16,
}

impl Actions {
    /// Of patterns in lower case. An action is named when any of its names is.
    pub(super) fn new(patterns: Vec<Pattern>, negated: bool) -> Self {
        let mut actions = Self {
            patterns,
            negated,
            known: 0,
        };
        for action in Action::ALL {
            let names = action.names().iter();
            let named = names
                .map(|name| name.to_ascii_lowercase())
                .any(|name| actions.name(&name));
            if named != negated {
                actions.known |= bit(action);
            }
        }
        actions
    }

    fn name(&self, lower_case: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.matches(lower_case))
    }

    fn mean(&self, action: &ActionName) -> bool {
        match action {
            ActionName::Known(action) => self.known & bit(*action) != 0,
            ActionName::Other(name) => self.name(name) != self.negated,
        }
    }
}

impl ActionName {
    /// The action of this name, in any case; one that Tollgate never asks for is none of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let has = |action: &Action| action.names().iter().any(|n| n.eq_ignore_ascii_case(name));
        match Action::ALL.into_iter().find(has) {
            Some(action) => Self::Known(action),
            None => Self::Other(name.to_ascii_lowercase().into()),
        }
    }
}

/// `Resource` or `NotResource`.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) patterns: Vec<Pattern>,
    pub(super) negated: bool,
}

impl Resources {
    fn mean(&self, resource: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.matches(resource))
            != self.negated
    }
}
