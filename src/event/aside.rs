//! Events that were set aside, for those who look after them: which are meant, and what became of
//! them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::foundation::names::{LogstoreName, ProjectName};

/// Checks that a report tells apart; what further ones found counts as `other`.
pub const MAX_CHECKS: usize = 256;

/// What found an event wanting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Its schema.
    Schema,
    /// A standing guard.
    Guard,
    /// A step that could not be done on it.
    Transform,
    /// The store, which refused it after it had been accepted.
    Store,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Schema, Self::Guard, Self::Transform, Self::Store];

    /// The cause as it stands in records.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Guard => "guard",
            Self::Transform => "transform",
            Self::Store => "store",
        }
    }
}

/// Which records are meant. Empty: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RecordFilter {
    /// Only these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Only what was set aside for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Only what this check found bad: a guard, a step, a schema with its version or in any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Only what was received from then on, in unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

impl RecordFilter {
    /// Whether a record is meant.
    #[must_use]
    pub fn takes(&self, id: &str, cause: &str, check: &str, received: u64) -> bool {
        let of_check = |wanted: &String| {
            let rest = check.strip_prefix(wanted.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
        };
        (self.ids.is_empty() || self.ids.iter().any(|wanted| wanted == id))
            && self.cause.is_none_or(|wanted| wanted.label() == cause)
            && self.check.as_ref().is_none_or(of_check)
            && self.since.is_none_or(|since| received >= since)
    }
}

/// What is to be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReplayOrder {
    /// The project.
    pub project: ProjectName,
    /// The logstore whose events were set aside, and get what is replayed; or what takes its copies,
    /// which alone gets it then: `web@archive`.
    #[serde(deserialize_with = "of_lane")]
    #[schemars(with = "String")]
    pub logstore: LogstoreName,
    /// Which records.
    #[serde(default)]
    pub only: RecordFilter,
    /// Nothing is stored and noted: it is only said what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// Records too that were replayed before. They are named by their ids.
    #[serde(default)]
    pub again: bool,
    /// Goes on where an earlier call has stopped: its [`ReplayReport::next`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The name of a logstore, or of what takes its copies.
fn of_lane<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LogstoreName, D::Error> {
    let text = String::deserialize(deserializer)?;
    LogstoreName::of_lane(&text).map_err(serde::de::Error::custom)
}

/// What became of records of one check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Taken now.
    pub taken: u64,
    /// Still bad.
    pub still_bad: u64,
}

/// A record that is still bad.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StillBad {
    /// Its id.
    pub id: String,
    /// The check that finds it bad now.
    pub check: String,
    /// Where in the event, and why: what is told first.
    pub why: String,
}

/// Records that a report shows.
const SHOWN: usize = 8;

/// What became of records that were to be replayed. Each is in one of the counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayReport {
    /// Taken: they are held, and will be delivered.
    pub taken: u64,
    /// Still bad, as the configuration is now.
    pub still_bad: u64,
    /// Left out, since their event was taken from another request; noted as replayed.
    pub duplicates: u64,
    /// Left out by a step, by the operator's choice; noted as replayed.
    pub left_out: u64,
    /// Cannot be read as an event any more, or are too large; or another request is bringing them.
    pub refused: u64,
    /// Replayed before.
    pub skipped: u64,
    /// Not tried, since there is no room now.
    pub left: u64,
    /// Lines of the files that are no records.
    pub damaged: u64,
    /// By the check that had set them aside.
    pub by_check: BTreeMap<String, CheckReport>,
    /// The first of those that are still bad.
    #[serde(default)]
    pub still: Vec<StillBad>,
    /// Where to go on: what one call does was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Why records are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Why records were refused: the first reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

impl ReplayReport {
    /// How many records were meant.
    #[must_use]
    pub fn seen(&self) -> u64 {
        let ended = self.taken + self.still_bad + self.duplicates + self.left_out;
        ended + self.refused + self.skipped + self.left
    }

    /// The counts of a check.
    pub fn of_check(&mut self, check: &str) -> &mut CheckReport {
        let known = self.by_check.contains_key(check) || self.by_check.len() < MAX_CHECKS;
        let name = if known { check } else { "other" };
        self.by_check.entry(name.to_owned()).or_default()
    }

    /// Adds what another call has done, which is where it goes on.
    pub fn add(&mut self, later: Self) {
        self.taken += later.taken;
        self.still_bad += later.still_bad;
        self.duplicates += later.duplicates;
        self.left_out += later.left_out;
        self.refused += later.refused;
        self.skipped += later.skipped;
        self.left += later.left;
        self.damaged += later.damaged;
        for (check, counts) in later.by_check {
            let sum = self.of_check(&check);
            sum.taken += counts.taken;
            sum.still_bad += counts.still_bad;
        }
        self.still.extend(later.still);
        self.still.truncate(SHOWN);
        self.refusal = self.refusal.take().or(later.refusal);
        self.stopped = self.stopped.take().or(later.stopped);
        self.next = later.next;
    }
}

/// A logstore with records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AsidePlace {
    /// The project.
    pub project: String,
    /// The logstore.
    pub logstore: String,
    /// Bytes of its records on disk.
    pub bytes: u64,
}

/// Some of the logstores with records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AsidePage {
    /// Sorted by project and logstore.
    pub places: Vec<AsidePlace>,
    /// Where to go on; left out when these are the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which records of a logstore are to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordOrder {
    /// Which.
    pub only: RecordFilter,
    /// Goes on where an earlier call has stopped: its [`RecordPage::next`].
    pub from: Option<String>,
    /// How many at most.
    pub limit: usize,
}

/// A record that is shown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RecordView {
    /// Whether it was replayed.
    pub replayed: bool,
    /// The record, as it was written: when, what found it wanting, and the event.
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub record: Box<serde_json::value::RawValue>,
}

/// Some records of a logstore.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RecordPage {
    /// The oldest first. There may be none although there are more: a call reads so much and no more.
    pub records: Vec<RecordView>,
    /// Lines that were read and are no records.
    pub damaged: u64,
    /// Where to go on; left out when all was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The place whose records are to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeOrder {
    /// The project.
    pub project: ProjectName,
    /// The logstore, or what takes its copies: `web@archive`.
    #[serde(deserialize_with = "of_lane")]
    #[schemars(with = "String")]
    pub logstore: LogstoreName,
}

/// What a purge took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Purged {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Why records could not be replayed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum AsideError {
    /// The order is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such logstore, or it has no records.
    #[error("{0}")]
    NotFound(String),
    /// Another replay runs.
    #[error("another replay is running. Wait until it has ended.")]
    Running,
    /// The disk.
    #[error("the files of the quarantine: {0}")]
    Disk(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_what_it_names() {
        let takes = |filter: &RecordFilter| filter.takes("A-0", "schema", "page@2", 100);
        assert!(takes(&RecordFilter::default()));
        let check = |name: &str| RecordFilter {
            check: Some(name.to_owned()),
            ..RecordFilter::default()
        };
        assert!(takes(&check("page")) && takes(&check("page@2")));
        assert!(!takes(&check("pag")) && !takes(&check("page@")) && !takes(&check("page@1")));
        let since = |since| RecordFilter {
            since: Some(since),
            ..RecordFilter::default()
        };
        assert!(takes(&since(100)) && !takes(&since(101)));
        let of = |cause, id: &str| RecordFilter {
            cause: Some(cause),
            ids: vec![id.to_owned()],
            ..RecordFilter::default()
        };
        assert!(takes(&of(Cause::Schema, "A-0")));
        assert!(!takes(&of(Cause::Guard, "A-0")) && !takes(&of(Cause::Schema, "A-1")));
    }

    #[test]
    fn a_report_tells_apart_no_more_checks_than_it_may() {
        let mut report = ReplayReport::default();
        for check in 0..MAX_CHECKS + 9 {
            report.of_check(&check.to_string()).taken += 1;
        }
        assert_eq!(report.by_check.len(), MAX_CHECKS + 1);
        assert_eq!(report.of_check("other").taken, 9);
    }
}
