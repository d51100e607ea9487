//! How the configuration is reloaded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::foundation::units::Span;

/// Who may have the configuration reloaded while the service runs; see docs/reload.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reload {
    /// What makes Tollgate read its configuration again. A reload that is asked for otherwise is refused.
    pub by: Vec<ReloadBy>,
    /// For `file`: how often the configuration and the files that it names are looked at. A file that changes is taken over once it has stayed the same from one look to the next.
    pub interval: Span,
}

/// Who asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReloadBy {
    /// SIGHUP.
    Signal,
    /// `POST /api/v1/reload`, and with it `tollgate reload`.
    Api,
    /// A change of the configuration file, or of a file that it names: certificates, keys, schemas, policies, key sets, secrets.
    File,
}

impl Default for Reload {
    fn default() -> Self {
        Self {
            by: vec![ReloadBy::Signal, ReloadBy::Api],
            interval: Span::secs(2),
        }
    }
}
