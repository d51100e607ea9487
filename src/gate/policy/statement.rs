//! One statement, ready to be held against a question.

use super::condition::Condition;
use super::decide::Truth;
use super::pattern::Pattern;
use super::{ActionName, Question};
use crate::gate::identity::Action;

/// The actions that requests ask for. Whether a statement means them is worked out at load.
const ACTIONS: [Action; 3] = [Action::PutLogs, Action::TrackPost, Action::TrackGet];

fn bit(action: Action) -> u8 {
    match action {
        Action::PutLogs => 1,
        Action::TrackPost => 2,
        Action::TrackGet => 4,
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
    /// A bit for each action of [`ACTIONS`] that is meant.
    known: u8,
}

impl Actions {
    /// Of patterns in lower case. An action is named when any of its names is.
    pub(super) fn new(patterns: Vec<Pattern>, negated: bool) -> Self {
        let mut actions = Self {
            patterns,
            negated,
            known: 0,
        };
        for action in ACTIONS {
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
        match ACTIONS.into_iter().find(has) {
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
