//! Who is refused when the store is slow, its quota is used up, or the machine is short.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::units::Span;

/// Who is refused when memory, the store or the machine is short; see docs/overload.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Overload {
    /// The part of `limits.memory`, in percent, that is divided among the logstores by their weight and kept for each. A logstore that holds no more than its part of it is never refused for memory (its events of low and normal priority, no more than `low_share` and `normal_share` of that part).
    #[schemars(range(min = 0, max = 100))]
    pub reserved: u8,
    /// From the memory that is not reserved, a logstore may hold up to `alpha` times its weight times what is still free there. More uses memory better when few logstores are busy; less leaves more room for the next one.
    #[schemars(range(min = 1, max = 16))]
    pub alpha: u32,
    /// Events of low priority may use so much of what a logstore may hold, in percent: they are refused first.
    #[schemars(range(min = 1, max = 100))]
    pub low_share: u8,
    /// The same for events of normal priority. What is left is for those of high priority.
    #[schemars(range(min = 1, max = 100))]
    pub normal_share: u8,
    /// When the store is so slow that what a logstore holds would take longer than this to deliver, new events for it are refused: 503 `ServerBusy`, `store_slow`. By the measured rate; a store that takes nothing at all is bounded by memory alone.
    pub max_delay: Span,
    /// For so long after an answer of the store that a quota is used up, `quota_delay` takes the place of `max_delay` for that logstore.
    pub quota_memory: Span,
    /// See `quota_memory`. Past it: 403 `WriteQuotaExceed`, `upstream_quota`.
    pub quota_delay: Span,
    /// When tasks of this process wait longer than this for a processor, new requests are refused, those of the logstores that bring most for their weight first: 503 `ServerBusy`, `overloaded`.
    pub max_lag: Span,
}

/// What is refused first when something is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Refused first.
    Low,
    /// Refused before `high`.
    Normal,
    /// Refused last.
    High,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            reserved: 50,
            alpha: 2,
            low_share: 70,
            normal_share: 90,
            max_delay: Span::secs(60),
            quota_memory: Span::secs(10),
            quota_delay: Span::secs(5),
            max_lag: Span::millis(100),
        }
    }
}

pub(super) fn default_weight() -> u32 {
    1
}

pub(super) fn default_priority() -> Priority {
    Priority::Normal
}
