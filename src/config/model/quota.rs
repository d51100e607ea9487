//! Limits: how much anybody may send.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::overload::Priority;
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::foundation::units::{Amount, ByteSize, Span};

/// What all limits have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Memory for the state of all limits together. A configuration whose limits need more is refused.
    pub memory: ByteSize,
    /// Days and months of budgets begin at midnight of this offset from UTC: `+08:00`, `-03:30`, `+00:00`.
    pub utc_offset: String,
    /// How often budgets are written to `{data_dir}/quota/`. A crash forgets at most what was used since.
    pub save_interval: Span,
    /// Bans and raises of keys that are kept. At the bound a new one is refused until one has expired.
    pub max_overrides: u32,
    /// The store that nodes share limits, revocations, bans and raises through: Redis or Valkey. One node needs none.
    pub redis: super::Redis,
}

/// A limit on what keys may send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Name, told to the client that it refuses: letters, digits, `-` and `_`.
    pub name: String,
    /// What is counted apart: `address`, `credential`, `subject`, `claim:NAME`, `header:NAME` (such as a device fingerprint), `cookie:NAME`, `origin`, `project`, `logstore`, `topic`, `event:FIELD` (each value of a field of the events). Several together make one key; none: all requests share one. What an anonymous client says of itself is no key: it is counted by its address instead.
    #[serde(default)]
    #[schemars(example = vec!["project", "subject"])]
    pub key: Vec<String>,
    /// Bits of an IPv4 address that `address` looks at.
    #[serde(default = "default_ipv4_prefix")]
    #[schemars(range(min = 8, max = 32))]
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that `address` looks at.
    #[serde(default = "default_ipv6_prefix")]
    #[schemars(range(min = 16, max = 128))]
    pub ipv6_prefix: u8,
    /// What is counted.
    #[serde(default)]
    pub unit: LimitUnit,
    /// Rates, each with a burst. All of them must have room.
    #[serde(default, rename = "rate")]
    pub rates: Vec<RateRule>,
    /// Budgets of calendar days or months, kept over restarts. All of them must have room.
    #[serde(default, rename = "budget")]
    pub budgets: Vec<BudgetRule>,
    /// `off`; `observe`: counted, and nobody is refused; `enforce`.
    #[serde(default)]
    pub mode: LimitMode,
    /// The share of keys, in percent, that it is enforced for. The others are observed. The same keys each time.
    #[serde(default = "default_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u8,
    /// What happens to what is too much.
    #[serde(default)]
    pub action: LimitAction,
    /// For `divert`: the logstore of the same project that gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"overflow")]
    pub divert_to: Option<LogstoreName>,
    /// For `sample`: the share, in percent, that goes on.
    #[serde(default = "default_keep")]
    #[schemars(range(min = 0, max = 100))]
    pub keep: u8,
    /// For `sample`: who goes on is decided by this key (as in `key`), so that what is kept of one sender is whole.
    #[serde(default = "default_sample_by")]
    pub sample_by: Vec<String>,
    /// The projects that it is for. Empty: all.
    #[serde(default)]
    #[schemars(example = vec!["my-project"])]
    pub projects: Vec<ProjectName>,
    /// The logstores that it is for. Empty: all.
    #[serde(default)]
    #[schemars(example = vec!["web"])]
    pub logstores: Vec<LogstoreName>,
    /// The classes of events (`[[class]]`) that it counts. Empty: all events.
    #[serde(default)]
    #[schemars(example = vec!["noise"])]
    pub classes: Vec<String>,
    /// A share of the limit, in percent, that only events of one class may use: class = percent. All others together get the rest. Where anyone may write, anyone may say that an event is of that class.
    #[serde(default)]
    pub reserve: BTreeMap<String, u8>,
    /// Keys that are kept at once. When so many are in use, further ones are counted together, by `parent`.
    #[serde(default = "default_max_keys")]
    #[schemars(range(min = 8, max = 4_194_304))]
    pub max_keys: u32,
    /// What new keys are charged to as well, so that changing keys gains nothing. Left out: for `address` the /24 or /48 around it with 64 times the limit; for all others all keys together, with as much as `max_keys` of them may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ParentRule")]
    pub parent: Option<ParentRule>,
    /// Counts together with the other nodes, in the store of `[quota.redis]`.
    #[serde(default)]
    pub shared: bool,
    /// For `shared`, while that store cannot be reached.
    #[serde(default)]
    pub without_store: WithoutStore,
    /// Tells callers what they have left, by the headers `RateLimit` and `RateLimit-Policy`.
    #[serde(default)]
    pub announce: bool,
    /// Tells callers by the header `x-tollgate-limit-warning` when they have used this share, in percent. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99), example = 80)]
    pub warn_at: Option<u8>,
}

/// A rate: so many units in a stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateRule {
    /// Units; for bytes also as `10MiB`. 0 lets nothing through.
    pub count: Amount,
    /// The stretch of time, at most 31 days.
    pub per: Span,
    /// Units at once, after a rest. Left out: `count`. A request that asks for more never passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = 200)]
    pub burst: Option<Amount>,
}

/// A budget: so many units in a calendar day or month.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetRule {
    /// Units; for bytes also as `10GiB`.
    pub count: Amount,
    /// The period.
    pub per: BudgetPeriod,
}

/// What new keys of a limit are charged to as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentRule {
    /// As `key` of the limit; none: all new keys together.
    #[serde(default)]
    pub key: Vec<String>,
    /// Bits of an IPv4 address that `address` looks at.
    #[serde(default = "default_parent_ipv4_prefix")]
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that `address` looks at.
    #[serde(default = "default_parent_ipv6_prefix")]
    pub ipv6_prefix: u8,
    /// Rates of new keys, in the unit of the limit.
    #[serde(rename = "rate")]
    pub rates: Vec<RateRule>,
}

/// A class of events, for limits and for shedding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Name.
    pub name: String,
    /// What is refused first when memory or the store is short. A request counts as the most precious of its events. Left out: the priority of the logstore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Priority", example = &"high")]
    pub priority: Option<Priority>,
    /// Topics whose events belong to it.
    #[serde(default)]
    #[schemars(example = vec!["orders"])]
    pub topics: Vec<String>,
    /// A field of the event, whose value decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"event")]
    pub field: Option<String>,
    /// Values of that field. An event belongs to the first class whose topics or values name it.
    #[serde(default)]
    #[schemars(example = vec!["purchase", "refund"])]
    pub values: Vec<String>,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitUnit {
    /// Requests.
    #[default]
    Requests,
    /// Events.
    Events,
    /// Bytes of bodies and queries, before compression.
    Bytes,
}

/// Whether a limit bites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitMode {
    /// It does not exist.
    Off,
    /// It counts whom it would have refused.
    Observe,
    /// It acts.
    #[default]
    Enforce,
}

/// What happens to what is too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LimitAction {
    /// Refused: 403 `WriteQuotaExceed`, or 429 to clients that are not of SLS.
    #[default]
    Refuse,
    /// Stored in another logstore of the project.
    Divert,
    /// A fixed share of senders goes on, the others are refused.
    Sample,
    /// Stored, with the tag `__tollgate_limit__`.
    Mark,
}

/// The period of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BudgetPeriod {
    /// A calendar day.
    Day,
    /// A calendar month.
    Month,
}

impl BudgetPeriod {
    /// The period as a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// What a shared limit does while its store cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WithoutStore {
    /// Each node goes on with its share of the limit.
    #[default]
    Share,
    /// Refused with 503 until the store is back.
    Refuse,
}

pub(super) fn default_ipv4_prefix() -> u8 {
    32
}

pub(super) fn default_ipv6_prefix() -> u8 {
    64
}

fn default_parent_ipv4_prefix() -> u8 {
    24
}

fn default_parent_ipv6_prefix() -> u8 {
    48
}

fn default_percent() -> u8 {
    100
}

fn default_keep() -> u8 {
    10
}

fn default_sample_by() -> Vec<String> {
    vec!["address".to_owned()]
}

fn default_max_keys() -> u32 {
    65_536
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(64),
            utc_offset: "+00:00".to_owned(),
            save_interval: Span::secs(5),
            max_overrides: 1000,
            redis: super::Redis::default(),
        }
    }
}

impl Quota {
    /// The store that nodes share limits through, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<&super::Redis> {
        (!self.redis.urls.is_empty()).then_some(&self.redis)
    }

    /// `utc_offset` in seconds east of UTC, if it is one.
    #[must_use]
    pub fn offset_seconds(&self) -> Option<i32> {
        let (sign, rest) = match self.utc_offset.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, self.utc_offset.strip_prefix('+')?),
        };
        let (hours, minutes) = rest.split_once(':')?;
        let two = |text: &str, most: i32| {
            let good = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            let number: i32 = text.parse().ok()?;
            (good && number <= most).then_some(number)
        };
        Some(sign * (two(hours, 14)? * 3600 + two(minutes, 59)? * 60))
    }
}
