//! Schemas of events, and where events go that do not pass.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LimitMode;
use crate::foundation::names::LogstoreName;
use crate::foundation::units::{ByteSize, Span};

/// A JSON Schema that events are held to, in one version; see docs/schema.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaRule {
    /// Name, for `use` of a logstore's `schema`. Several versions share a name, and stand newest first.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// Version. It stands in reports and in the quarantine, and is what `version_field` is compared with.
    #[serde(default = "default_version")]
    pub version: String,
    /// File with the schema: JSON Schema 2020-12 or draft-07, at most 1 MiB. Read at start and at each reload.
    pub file: PathBuf,
    /// The type of event that it is for: the value of the logstore's `event_field`. Left out: every event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "page-view")]
    pub event: Option<String>,
    /// Checks a text that reads as a number, a boolean or `null` as one, where the schema asks for that and not for a text. Web tracking carries texts. The schema's own `x-tollgate-coerce` comes first.
    #[serde(default = "yes")]
    pub coerce: bool,
    /// Holds values to `format`; else it is only said of them.
    #[serde(default = "yes")]
    pub formats: bool,
}

/// What the events of a logstore are held to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchemaUse {
    /// Names of schemas.
    #[serde(rename = "use")]
    pub names: Vec<String>,
    /// Whether it bites.
    #[serde(default)]
    pub mode: LimitMode,
    /// With `enforce`: of so many percent of the bad events; of the others it only observes. Which ones is decided by their content, so the same event fares alike when it is sent again.
    #[serde(default = "default_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u8,
    /// The field whose value is the type of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "event-type")]
    pub event_field: Option<String>,
    /// The field whose value is the version of the schema that an event was made for. Without it, or where an event has none, an event passes when any version takes it, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "schema-version")]
    pub version_field: Option<String>,
    /// What becomes of events of a type that no schema is for.
    #[serde(default)]
    pub unknown: UnknownEvents,
    /// What becomes of a bad event.
    #[serde(default)]
    pub on_invalid: OnInvalid,
    /// With `repair`: what may be done to an event, in this order.
    #[serde(default = "default_repair")]
    pub repair: Vec<Repair>,
    /// With `repair`: what becomes of an event that is still bad then.
    #[serde(default = "default_unrepaired")]
    pub unrepaired: OnInvalid,
}

/// What becomes of events of a type that no schema is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownEvents {
    /// They pass.
    #[default]
    Accept,
    /// They are bad.
    Refuse,
}

/// What becomes of a bad event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnInvalid {
    /// It is set aside with the reason, and the others of its request are stored.
    #[default]
    Quarantine,
    /// It is left out and counted, and the others are stored.
    Drop,
    /// The whole request is refused: 400 `PostBodyInvalid`, with what is wrong and where.
    Reject,
    /// It is changed until it passes, if `repair` can do that; see `unrepaired`.
    Repair,
}

/// What may be done to a bad event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// Fields that the schema does not allow are left out.
    RemoveUnknown,
    /// Texts longer than `maxLength` are cut.
    Truncate,
    /// Texts with spaces around a number or boolean lose those, and `True`, `FALSE`, `yes`, `no`, `1,000` are written as the schema asks.
    Coerce,
    /// Fields that are required and missing get their `default`.
    Default,
}

/// Events that are set aside, on local disk: `data_dir`/quarantine; see docs/schema.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quarantine {
    /// Bytes that the records of one logstore may take. At the bound the oldest are deleted, and counted.
    pub max_size: ByteSize,
    /// Records are deleted when they are so old.
    pub max_age: Span,
    /// Bytes of records that may wait for the disk. Past it requests with bad events are refused: 503 `ServerBusy`, `quarantine_full`.
    pub queue: ByteSize,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            max_size: ByteSize::mib(256),
            max_age: Span::secs(30 * 86_400),
            queue: ByteSize::mib(8),
        }
    }
}

/// Where a logstore's events go that are set aside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuarantineUse {
    /// A logstore of the same project that gets them as events of their own, instead of the local disk: the record as JSON in the field `record`, and what tells it apart in others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "bad-events")]
    pub logstore: Option<LogstoreName>,
}

fn default_version() -> String {
    "1".to_owned()
}

fn yes() -> bool {
    true
}

fn default_percent() -> u8 {
    100
}

fn default_repair() -> Vec<Repair> {
    vec![
        Repair::RemoveUnknown,
        Repair::Truncate,
        Repair::Coerce,
        Repair::Default,
    ]
}

fn default_unrepaired() -> OnInvalid {
    OnInvalid::Quarantine
}
