//! What people see of limits, and change of them: the same for the admin API and the command line.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Quotas;
use super::bucket::Full;
use super::heavy::Heavy;
use super::kept::{NewOverride, Overrides};
use super::limit::{Limit, TooMuch};
use super::overrides::{Change, Override};
use super::shared::StoreFigures;
use super::window::{Factor, Now};
use crate::config::{LimitAction, LimitMode, LimitUnit};
use crate::foundation::names::{LogstoreName, ProjectName};
use crate::gate::identity::state::ChangeError;

/// Keys that are shown when nobody says how many.
pub const USUAL_TOP: usize = 20;
/// The most that can be shown: so many are told apart.
pub const MOST_TOP: usize = 128;

/// Limits and what was changed of them.
#[derive(Clone, Debug)]
pub struct LimitControl {
    /// The limits.
    pub quotas: Arc<Quotas>,
    /// Bans and raises.
    pub overrides: Arc<Overrides>,
}

/// All limits.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitList {
    /// The limits, in the order in which they are asked within their stage.
    pub limits: Vec<LimitView>,
    /// Overrides without effect: their limit or their key does not exist.
    pub idle: Vec<OverrideView>,
    /// The store that nodes share limits through, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreFigures>,
}

/// A limit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitView {
    /// Its name.
    pub name: String,
    /// What it allows, for people.
    pub policy: String,
    /// The parts of its key.
    pub key: Vec<String>,
    /// What it counts.
    pub unit: LimitUnit,
    /// Whether it bites.
    pub mode: LimitMode,
    /// The share of keys that it is enforced for.
    pub percent: u8,
    /// What happens to what is too much.
    pub action: LimitAction,
    /// Its windows.
    pub windows: Vec<WindowView>,
    /// Keys that have a place, idle ones included.
    pub keys_in_use: u64,
    /// Places.
    pub key_capacity: u64,
    /// What became of what was asked, since the limit was made.
    pub counts: CountsView,
    /// Keys that are banned.
    pub bans: u64,
    /// Keys that are raised or lowered.
    pub raises: u64,
    /// Whether it counts together with other nodes.
    pub shared: bool,
    /// The projects that it is for; all, when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<ProjectName>,
    /// The logstores that it is for; all, when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logstores: Vec<LogstoreName>,
}

/// A window of a limit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowView {
    /// Units.
    pub count: u64,
    /// In this time: `1s`, `day`.
    pub per: String,
    /// Of a rate: units at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u64>,
}

/// What became of what a limit was asked. Each asked once; banned and newcomers are of the refused.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "as LimitCells, where they are told")]
pub struct CountsView {
    pub passed: u64,
    pub refused: u64,
    pub observed: u64,
    pub diverted: u64,
    pub sampled: u64,
    pub marked: u64,
    pub banned: u64,
    pub newcomers: u64,
}

/// An override.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideView {
    /// The limit.
    pub limit: String,
    /// The key.
    pub key: String,
    /// `ban` or `raise`.
    pub change: String,
    /// Of a raise: how many times the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Why.
    pub reason: String,
    /// When it was made, unix seconds.
    pub made: u64,
    /// When it ends, unix seconds.
    pub expires: u64,
    /// Why it has no effect, if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
}

/// A limit with its overrides and the keys that send the most.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitDetail {
    /// The limit.
    pub limit: LimitView,
    /// Its overrides.
    pub overrides: Vec<OverrideView>,
    /// The keys that asked for the most in the last minute or two.
    pub top: Vec<KeyView>,
}

/// A key of a limit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    /// The key.
    pub key: String,
    /// Whether its text is cut off, so that it cannot be banned by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
    /// About how many units it asked for in the last minute or two, where it is among the top keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<u64>,
    /// Whether a unit would pass now by what the key itself may have.
    pub passes: bool,
    /// If not: seconds until it would. None: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_seconds: Option<u64>,
    /// What each window would let pass now.
    pub rooms: Vec<RoomView>,
    /// Its override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<OverrideView>,
}

/// What a window would let pass.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoomView {
    /// Units.
    pub remaining: u64,
    /// Where classes have a reserve: units of all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ordinary: Option<u64>,
    /// Units after a rest.
    pub most: u64,
    /// Seconds of that rest.
    pub reset_seconds: u64,
}

impl LimitControl {
    /// All limits.
    #[must_use]
    pub fn list(&self) -> LimitList {
        let standing = self.standing();
        let set = self.quotas.set();
        LimitList {
            store: self.quotas.store().map(|it| it.status().figures()),
            limits: set.all.iter().map(|it| view(it, &standing)).collect(),
            idle: standing
                .into_iter()
                .filter(|one| one.idle.is_some())
                .collect(),
        }
    }

    /// One limit, with at most `top` keys.
    ///
    /// # Errors
    /// When there is no such limit.
    pub fn show(&self, name: &str, top: usize) -> Result<LimitDetail, ChangeError> {
        let limit = self.find(name)?;
        let standing = self.standing();
        let now = self.quotas.now();
        let heavy = limit.bucket().top(now);
        let top = heavy.into_iter().take(top);
        Ok(LimitDetail {
            top: top.map(|heavy| of_heavy(&limit, &heavy, now)).collect(),
            limit: view(&limit, &standing),
            overrides: standing
                .into_iter()
                .filter(|one| one.limit == name)
                .collect(),
        })
    }

    /// One key of a limit, that has sent something or not.
    ///
    /// # Errors
    /// When there is no such limit, or the text is no key of it.
    pub fn key(&self, name: &str, text: &str) -> Result<KeyView, ChangeError> {
        let limit = self.find(name)?;
        let hash = limit.hash_of_text(text);
        let hash = hash.map_err(|why| ChangeError::Invalid { member: "key", why })?;
        let now = self.quotas.now();
        let mut heavy = limit.bucket().top(now).into_iter();
        let asked = heavy.find(|one| one.hash == hash).map(|one| one.count);
        Ok(KeyView {
            asked,
            ..key_view(&limit, hash, text, now)
        })
    }

    /// Bans or raises a key. Blocks until it is on disk.
    ///
    /// # Errors
    /// As [`Overrides::add`].
    pub fn add(&self, name: &str, new: &NewOverride) -> Result<OverrideView, ChangeError> {
        self.overrides.add(name, new).map(|one| shown(&one, None))
    }

    /// Ends the override of a key. Blocks until that is on disk.
    ///
    /// # Errors
    /// As [`Overrides::lift`].
    pub fn lift(&self, name: &str, key: &str) -> Result<OverrideView, ChangeError> {
        self.overrides.lift(name, key).map(|one| shown(&one, None))
    }

    fn find(&self, name: &str) -> Result<Arc<Limit>, ChangeError> {
        let set = self.quotas.set();
        let found = set.all.iter().find(|limit| *limit.name == *name);
        found.cloned().ok_or(ChangeError::NotFound("limit"))
    }

    fn standing(&self) -> Vec<OverrideView> {
        let standing = self.overrides.standing().into_iter();
        standing.map(|(one, idle)| shown(&one, idle)).collect()
    }
}

fn shown(one: &Override, idle: Option<String>) -> OverrideView {
    let (change, factor) = match one.change {
        Change::Ban => ("ban", None),
        Change::Raise { thousandths } => ("raise", Some(f64::from(thousandths) / 1000.0)),
        Change::Lift => ("lift", None),
    };
    OverrideView {
        limit: one.limit.clone(),
        key: one.key.clone(),
        change: change.to_owned(),
        factor,
        reason: one.reason.clone(),
        made: one.made / 1000,
        expires: one.expires,
        idle,
    }
}

fn view(limit: &Limit, standing: &[OverrideView]) -> LimitView {
    let rule = &limit.rule;
    let rates = rule.rates.iter().map(|rate| WindowView {
        count: rate.count.get(),
        per: rate.per.to_string(),
        burst: Some(rate.burst.unwrap_or(rate.count).get()),
    });
    let budgets = rule.budgets.iter().map(|budget| WindowView {
        count: budget.count.get(),
        per: budget.per.as_str().to_owned(),
        burst: None,
    });
    let of_this = |change: &str| {
        let mine = standing.iter().filter(|one| one.limit == *limit.name);
        mine.filter(|one| one.idle.is_none() && one.change == change)
            .count() as u64
    };
    let (key_capacity, keys_in_use) = limit.bucket().places();
    let cells = &limit.cells;
    LimitView {
        name: limit.name.to_string(),
        policy: limit.told().to_owned(),
        key: rule.key.clone(),
        unit: rule.unit,
        mode: rule.mode,
        percent: rule.percent,
        action: rule.action,
        windows: rates.chain(budgets).collect(),
        keys_in_use,
        key_capacity,
        counts: CountsView {
            passed: cells.passed.get(),
            refused: cells.refused.get(),
            observed: cells.observed.get(),
            diverted: cells.diverted.get(),
            sampled: cells.kept.get(),
            marked: cells.marked.get(),
            banned: cells.banned.get(),
            newcomers: cells.newcomers.get(),
        },
        bans: of_this("ban"),
        raises: of_this("raise"),
        shared: rule.shared,
        projects: rule.projects.clone(),
        logstores: rule.logstores.clone(),
    }
}

fn of_heavy(limit: &Limit, heavy: &Heavy, now: Now) -> KeyView {
    KeyView {
        cut: heavy.cut,
        asked: Some(heavy.count),
        ..key_view(limit, heavy.hash, &heavy.text, now)
    }
}

fn key_view(limit: &Limit, hash: u64, text: &str, now: Now) -> KeyView {
    let changed = limit.override_of(hash, now);
    let factor = changed.as_ref().map_or(Factor::ONE, |one| one.factor());
    let banned = changed.clone().filter(|one| one.change == Change::Ban);
    let too_much = match banned {
        Some(ban) => Some(TooMuch::Banned(ban)),
        None => limit.would_pass(hash, factor, now).err().map(TooMuch::Full),
    };
    let rooms = limit.rooms(hash, false, factor, now);
    let windows = limit.windows().len();
    let (whole, ordinary) = rooms.split_at(windows.min(rooms.len()));
    let rooms = whole.iter().enumerate().map(|(index, room)| {
        let twin = ordinary.get(index);
        RoomView {
            remaining: room.remaining,
            remaining_ordinary: twin.map(|twin| twin.remaining.min(room.remaining)),
            most: room.most,
            reset_seconds: room.reset.div_ceil(1_000_000_000),
        }
    });
    KeyView {
        key: text.to_owned(),
        cut: false,
        asked: None,
        passes: too_much.is_none(),
        retry_seconds: too_much.and_then(|too_much| match too_much {
            // No request ever passes; `retry_seconds` would tell a client to come back in an hour.
            TooMuch::Full(Full { wait: None, .. }) => None,
            other => limit.retry_seconds(&other, now).map(u64::from),
        }),
        rooms: rooms.collect(),
        changed: changed.map(|one| shown(&one, None)),
    }
}
