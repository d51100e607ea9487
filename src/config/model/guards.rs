//! Standing guards on the events of a logstore, without a schema.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LimitMode, OnInvalid, TimeWindow};
use crate::foundation::units::Span;

/// Standing guards on events, without a schema; see docs/guards.md. None is on by default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// `off`; `observe`: counted, and no event is touched; `enforce`.
    pub mode: LimitMode,
    /// The share of senders, in percent, that it is enforced for. The others are observed. The same senders each time.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u8,
    /// What becomes of a bad event: `quarantine`, `drop` or `reject`, as for schemas.
    pub on_invalid: OnInvalid,
    /// Control characters (U+0000 to U+001F, U+007F to U+009F) in names and values of fields, in tags, topic and source.
    pub control_characters: Letters,
    /// Tab, line feed and carriage return in a value are no control characters. In a name they always are.
    pub line_breaks: bool,
    /// Characters that change the direction of the text around them (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069), so that it reads as what it is not.
    pub direction_characters: Letters,
    /// What the whole name of each field and tag must match: a regular expression without look-around and back references.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "[A-Za-z_][A-Za-z0-9_.-]*")]
    pub key_pattern: Option<String>,
    /// Several fields of one name in an event, which only protobuf bodies can have: JSON with such is refused always, and of a query the first stays.
    pub duplicate_keys: DuplicateKeys,
    /// Beginnings of names that clients may not use for fields and tags. Names that Tollgate gives itself are not concerned.
    #[schemars(example = vec!["sys_"])]
    pub reserved_prefixes: Vec<String>,
    /// What happens to a field or tag with such a name.
    pub reserved_keys: ReservedKeys,
    /// Fields that each event must have, with a value that is not empty.
    #[schemars(example = vec!["event"])]
    pub required: Vec<String>,
    /// A narrower window than `[time]` for the time of events. Left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TimeWindow")]
    pub clock: Option<TimeWindow>,
    /// Bounds on the distinct values of fields.
    pub cardinality: Vec<Cardinality>,
    /// Drops events that have come before. Left out: no event is dropped for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Dedup")]
    pub dedup: Option<Dedup>,
}

/// A bound on the distinct values of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cardinality {
    /// Name of the field.
    pub field: String,
    /// Distinct values within the window.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub max: u32,
    /// How long a value counts after it was last seen, up to an eighth longer.
    #[serde(default = "default_cardinality_window")]
    pub window: Span,
    /// What happens to an event with a further value.
    #[serde(default)]
    pub at_bound: AtBound,
    /// For `replace`: what stands in its place.
    #[serde(default = "default_replacement")]
    pub replacement: String,
}

/// Drops events that have come before, and answers as if they were taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// Fields whose values together name an event. An event that lacks one passes. None: the whole event names itself, together with its sender.
    #[schemars(example = vec!["event_id"])]
    pub fields: Vec<String>,
    /// How long an event is remembered after it was taken, up to an eighth longer.
    pub window: Span,
    /// Events that are remembered at once, 15 to 30 bytes each. When so many are, further ones pass, and are counted.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub max_ids: u32,
    /// The names count for each sender apart, so that nobody can use up another's. A sender is a credential, or an address where there is none.
    pub per_sender: bool,
    /// For whole events: those that differ in their time alone are the same. For clients that send no time: the second copy gets a later time of receipt.
    pub ignore_time: bool,
}

/// What happens to characters that should not be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Letters {
    /// They stay.
    #[default]
    Allow,
    /// The event is refused.
    Refuse,
    /// Each becomes a question mark.
    Replace,
}

/// What happens to several fields of one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DuplicateKeys {
    /// They stay.
    #[default]
    Allow,
    /// The event is refused.
    Refuse,
    /// The last stays.
    Last,
}

/// What happens to a field whose name is reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReservedKeys {
    /// The event is refused.
    #[default]
    Refuse,
    /// The field is left out.
    Drop,
}

/// What happens to values beyond the bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AtBound {
    /// The event is refused.
    #[default]
    Refuse,
    /// The value becomes `replacement`.
    Replace,
}

fn default_cardinality_window() -> Span {
    Span::secs(3600)
}

fn default_replacement() -> String {
    "__other__".to_owned()
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            mode: LimitMode::Enforce,
            percent: 100,
            on_invalid: OnInvalid::Quarantine,
            control_characters: Letters::Allow,
            line_breaks: true,
            direction_characters: Letters::Allow,
            key_pattern: None,
            duplicate_keys: DuplicateKeys::Allow,
            reserved_prefixes: Vec::new(),
            reserved_keys: ReservedKeys::Refuse,
            required: Vec::new(),
            clock: None,
            cardinality: Vec::new(),
            dedup: None,
        }
    }
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            fields: Vec::new(),
            window: Span::secs(600),
            max_ids: 100_000,
            per_sender: false,
            ignore_time: false,
        }
    }
}
