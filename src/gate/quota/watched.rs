//! What limits were asked for a request that is only tried out.

use std::sync::Arc;

use crate::config::LimitUnit;

/// One question to one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// The limit.
    pub limit: Arc<str>,
    /// The key, as text.
    pub key: String,
    /// How much was asked for, with its unit.
    pub units: String,
    /// What the limit said.
    pub outcome: &'static str,
}

/// Units of a limit, in words.
pub(super) fn units_text(units: u64, unit: LimitUnit) -> String {
    let unit = match unit {
        LimitUnit::Requests => "request",
        LimitUnit::Events => "event",
        LimitUnit::Bytes => "byte",
    };
    let many = if units == 1 { "" } else { "s" };
    format!("{units} {unit}{many}")
}
