//! The calls about the configuration of the running node: take over what it says now, or only say what
//! that would change.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::ApiError;
use super::api::{AdminApi, json};
use super::calls::read;

/// What is asked of a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadOrder {
    /// Only say what would change, and what needs a restart.
    pub dry_run: bool,
}

/// What a reload has changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadReport {
    /// The number of the configuration that is in force now.
    pub generation: u64,
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Keys that changed, or would. A project, a logstore and other things that have a name are named by it.
    pub changed: Vec<String>,
    /// Keys that differ and need a restart. Only in a dry run: otherwise these refuse the reload.
    pub needs_restart: Vec<String>,
    /// Things that someone should look at.
    pub warnings: Vec<String>,
    /// The same in a sentence.
    pub message: String,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadProblem {
    /// The key, where it is about one.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none", default)]
    pub place: Option<String>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    /// Column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
}

impl std::fmt::Display for ReloadProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}")?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": ")?;
        }
        if let Some(key) = &self.place {
            write!(f, "{key}: ")?;
        }
        write!(f, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Why nothing was taken over: never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadRefused {
    /// All that is wrong.
    pub problems: Vec<ReloadProblem>,
}

impl ReloadRefused {
    /// One thing that is not about a file.
    #[must_use]
    pub fn because(message: impl Into<String>) -> Self {
        Self {
            problems: vec![ReloadProblem {
                message: message.into(),
                ..ReloadProblem::default()
            }],
        }
    }
}

impl std::fmt::Display for ReloadRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let between = if at > 0 { "\n" } else { "" };
            write!(f, "{between}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ReloadRefused {}

pub(super) fn reload(api: &AdminApi, body: &[u8]) -> Answer {
    let order: ReloadOrder = match body {
        [] => ReloadOrder::default(),
        body => read(body)?,
    };
    match (api.reload)(order) {
        Ok(report) => json(StatusCode::OK, &report),
        Err(refused) => Err(refused.into()),
    }
}

type Answer = Result<Response<Full<Bytes>>, ApiError>;
