//! The sample of requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::units::ByteSize;

/// A few of the requests that clients send, kept in memory with what became of them: `tollgate sample` shows them, `tollgate replay` tries them out on another configuration; see docs/replay.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// Requests that are kept of each second: so many that are taken, and so many that are refused. 0: none.
    #[schemars(range(min = 0, max = 1000))]
    pub per_second: u32,
    /// Memory for them. The oldest go first; those that are taken and those that are refused have half each.
    pub memory: ByteSize,
    /// The body of a request is kept up to this size, before compression.
    pub max_body: ByteSize,
    /// Whether mail addresses and numbers of phones, identity cards and bank cards are hidden. What proves a credential always is.
    pub hide_personal: bool,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            per_second: 5,
            memory: ByteSize::mib(4),
            max_body: ByteSize::kib(64),
            hide_personal: true,
        }
    }
}
