//! What an operator changed for one key of a limit, for a while.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A ban or a raise of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Override {
    /// The limit.
    pub limit: String,
    /// The key, as text: `address=203.0.113.7`.
    pub key: String,
    /// What is changed.
    #[serde(flatten)]
    pub change: Change,
    /// Why.
    pub reason: String,
    /// When it was made, unix milliseconds. Of two for one key the later counts.
    pub made: u64,
    /// When it ends, unix seconds.
    pub expires: u64,
}

/// What is changed for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum Change {
    /// Everything is refused.
    Ban,
    /// The limit is multiplied.
    Raise {
        /// By so many thousandths.
        thousandths: u32,
    },
    /// Nothing: it was lifted. Kept until it would have ended, so that other nodes that still know it
    /// do not bring it back.
    Lift,
}

impl Override {
    /// How much of the limit the key gets.
    #[must_use]
    pub fn factor(&self) -> super::window::Factor {
        match self.change {
            Change::Ban | Change::Lift => super::window::Factor::ONE,
            Change::Raise { thousandths } => super::window::Factor::thousandths(thousandths),
        }
    }
}
