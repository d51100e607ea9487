//! Why a destination did not take a LogGroup, and what that means for it, for the lane and for the
//! upstream.
//!
//! Promise: each destination says it in these terms, and the workers ask nothing else: which error of
//! which protocol it was does not matter to them.

use std::fmt;
use std::time::Duration;

use crate::logstore::error::{NextStep, RetryReason, StoreError, next_step};
use crate::pipeline::delivery::aimd::Sign;
use crate::pipeline::delivery::breaker::Verdict;

/// What stands for the code where it was not the store that refused.
const NO_CODE: &str = "TooLarge";

/// A failed attempt.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Failure {
    /// What becomes of the events.
    pub(in crate::pipeline) next: NextStep,
    /// What it says of the lane's share of the destination.
    pub(in crate::pipeline) sign: Sign,
    /// What it says of the upstream.
    pub(in crate::pipeline) verdict: Verdict,
    /// The destination may have taken events all the same.
    pub(in crate::pipeline) in_doubt: bool,
    /// The destination's own name for it, for records of refused events.
    pub(in crate::pipeline) code: String,
    /// For people.
    pub(in crate::pipeline) words: String,
    /// For how long the destination wants to be left alone.
    pub(in crate::pipeline) retry_after: Option<Duration>,
}

impl Failure {
    /// One that is tried again, and says nothing of the lane or the upstream.
    pub(in crate::pipeline) fn retry(reason: RetryReason, words: impl Into<String>) -> Self {
        Self {
            next: NextStep::Retry { reason },
            sign: Sign::None,
            verdict: Verdict::Unknown,
            in_doubt: false,
            code: String::new(),
            words: words.into(),
            retry_after: None,
        }
    }

    /// The destination was not reached, or is broken.
    pub(in crate::pipeline) fn down(reason: RetryReason, words: impl Into<String>) -> Self {
        Self {
            sign: Sign::Congested,
            verdict: Verdict::Down,
            ..Self::retry(reason, words)
        }
    }

    /// It will never take these events together.
    pub(in crate::pipeline) fn refused(code: &str, words: impl Into<String>) -> Self {
        Self {
            next: NextStep::Drop,
            sign: Sign::Well,
            verdict: Verdict::Up,
            code: code.to_owned(),
            ..Self::retry(RetryReason::Busy, words)
        }
    }

    /// The same, in doubt.
    pub(in crate::pipeline) fn in_doubt(self) -> Self {
        Self {
            in_doubt: true,
            ..self
        }
    }

    /// Whether the destination does not accept who we are, or that we write.
    pub(in crate::pipeline) fn is_of_credential(&self) -> bool {
        let reason = RetryReason::Credential;
        self.next == NextStep::Retry { reason }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let next = next_step(&error);
        let (sign, verdict) = meaning(&error, next);
        Self {
            next,
            sign,
            verdict,
            in_doubt: error.leaves_doubt(),
            words: error.to_string(),
            retry_after: error.retry_after(),
            code: match error {
                StoreError::Refused(answer) => answer.code,
                _ => NO_CODE.to_owned(),
            },
        }
    }
}

/// Whether a quota is that of the project. Of the others that of a shard concerns its logstore alone.
fn is_of_project(code: &str) -> bool {
    matches!(
        code,
        "WriteQuotaExceed" | "ProjectQuotaExceed" | "ExceedQuota"
    )
}

/// What an answer of SLS says of the lane's share of the store, and of the upstream.
fn meaning(error: &StoreError, next: NextStep) -> (Sign, Verdict) {
    let reason = match next {
        NextStep::Retry { reason } => Some(reason),
        NextStep::Drop => None,
    };
    match (error, reason) {
        (StoreError::Unsendable { .. }, _) => (Sign::None, Verdict::Unknown),
        (StoreError::Transport { .. }, _) => (Sign::Congested, Verdict::Down),
        (StoreError::NotTheStore { status: 429, .. }, _) => (Sign::Congested, Verdict::Unknown),
        (StoreError::NotTheStore { status: 413, .. }, _) => (Sign::None, Verdict::Unknown),
        (StoreError::NotTheStore { status, .. }, _) if *status >= 500 => {
            (Sign::Congested, Verdict::Down)
        }
        (StoreError::NotTheStore { .. }, _) => (Sign::None, Verdict::Down),
        (StoreError::Refused(answer), _) if answer.status >= 500 => {
            (Sign::Congested, Verdict::Down)
        }
        (StoreError::Refused(answer), Some(RetryReason::Quota)) if is_of_project(&answer.code) => {
            (Sign::ProjectQuota, Verdict::Up)
        }
        (StoreError::Refused(_), Some(RetryReason::Quota | RetryReason::Busy)) => {
            (Sign::Congested, Verdict::Up)
        }
        (StoreError::Refused(_), Some(_)) => (Sign::None, Verdict::Up),
        (StoreError::Refused(_), None) => (Sign::Well, Verdict::Up),
    }
}
