//! Why transforms cannot be made of a configuration.

use std::fmt;

/// What is wrong with one key of a step.
#[derive(Debug)]
pub(super) struct Defect {
    key: &'static str,
    message: String,
}

impl Defect {
    pub(super) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self {
            key,
            message: message.into(),
        }
    }

    /// The same, told of a step.
    pub(super) fn of(self, step: usize) -> TransformProblem {
        TransformProblem {
            step,
            key: self.key,
            message: self.message,
        }
    }
}

/// What is wrong with one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformProblem {
    /// Its place in the list, from 0.
    pub step: usize,
    /// The key that is wrong.
    pub key: &'static str,
    /// Why. Secrets are not in it.
    pub message: String,
}

impl fmt::Display for TransformProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transform[{}].{}: {}", self.step, self.key, self.message)
    }
}

impl std::error::Error for TransformProblem {}
