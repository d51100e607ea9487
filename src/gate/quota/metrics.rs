//! What is counted for a limit.

use crate::telemetry::{Counter, Tally};

/// Counts of one limit.
#[derive(Debug, Default)]
pub struct LimitCells {
    /// Asked, and there was room.
    pub passed: Tally,
    /// Refused.
    pub refused: Counter,
    /// Would have been refused, diverted, sampled or marked, were it enforced.
    pub observed: Counter,
    /// Sent to another logstore.
    pub diverted: Counter,
    /// Too much, and let through as one of the sample.
    pub kept: Counter,
    /// Too much, and let through with a mark.
    pub marked: Counter,
    /// Of the refused, those whose key is banned.
    pub banned: Counter,
    /// Of the refused, those whose own key had room, and what new keys are charged to had none.
    pub newcomers: Counter,
    /// Given back after a later refusal.
    pub given_back: Counter,
}
