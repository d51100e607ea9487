//! `[metrics]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `/metrics` shows; see docs/metrics.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsRules {
    /// Logstores that have series of their own. Further ones share those of project and logstore `_other`.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_logstores: u32,
    /// Names of each other kind that have series of their own: limits, upstreams, key sets, certificates, guarded fields. Further ones share those of `_other`.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_names: u32,
}

impl Default for MetricsRules {
    fn default() -> Self {
        Self {
            max_logstores: 1000,
            max_names: 1000,
        }
    }
}
