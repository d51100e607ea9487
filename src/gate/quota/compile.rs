//! From the rule of a limit to its shapes and windows.

use super::calendar::{Calendar, Unit};
use super::key::{Part, PartError, Shape};
use super::window::{Budget, Rate, Window};
use crate::config::{self, BudgetPeriod, RateRule};

/// How many times the limit of an address the prefix around it lets new addresses have.
const PREFIX_TIMES: u64 = 64;
/// In this time, in nanoseconds, a whole table of new keys may come, by default.
const TURNOVER: u64 = 60_000_000_000;

/// What new keys are charged to as well, if that is not all keys together.
#[derive(Debug)]
pub(super) struct Parent {
    /// Of a caller that is known. `None`: all keys together.
    pub(super) of_known: Option<Shape>,
    /// Of anyone else.
    pub(super) of_unknown: Shape,
    pub(super) windows: Vec<Window>,
}

pub(super) fn shape_of(
    parts: &[String],
    ipv4_prefix: u8,
    ipv6_prefix: u8,
) -> Result<Shape, PartError> {
    let parts: Result<Vec<Part>, PartError> = parts.iter().map(|part| part.parse()).collect();
    Ok(Shape {
        parts: parts?.into(),
        ipv4_prefix,
        ipv6_prefix,
    })
}

/// What new keys are charged to: what is left of their key without the parts that a client chooses,
/// with the network around an address. Of callers that are not known it is that network.
pub(super) fn parent_of(rule: &config::Limit, own: &Shape) -> Result<Option<Parent>, PartError> {
    if let Some(parent) = &rule.parent {
        let shape = shape_of(&parent.key, parent.ipv4_prefix, parent.ipv6_prefix)?;
        return Ok(Some(Parent {
            of_known: Some(shape.clone()),
            of_unknown: shape,
            windows: parent.rates.iter().map(rate).collect(),
        }));
    }
    if !rule.has_parent() {
        return Ok(None);
    }
    let around = |parts: Vec<Part>| Shape {
        parts: parts.into(),
        ipv4_prefix: own.ipv4_prefix.min(24),
        ipv6_prefix: own.ipv6_prefix.min(48),
    };
    let given = own.parts.iter().filter(|part| !part.is_chosen_by_clients());
    let given: Vec<Part> = given.cloned().collect();
    let of_known = if given.is_empty() {
        Some(around(vec![Part::Address]))
    } else if given.len() < own.parts.len() || given.contains(&Part::Address) {
        Some(around(given))
    } else {
        None
    };
    // Budgets are over a day: a prefix would have to be let through all of its addresses at once.
    let rates = rule.rates.iter().map(rate);
    Ok(Some(Parent {
        of_known,
        of_unknown: around(vec![Part::Address]),
        windows: rates.map(|window| window.times(PREFIX_TIMES)).collect(),
    }))
}

fn rate(rule: &RateRule) -> Window {
    let per = u64::try_from(rule.per.get().as_nanos()).unwrap_or(u64::MAX);
    let burst = rule.burst.unwrap_or(rule.count);
    Window::Rate(Rate::new(rule.count.get(), per, burst.get()))
}

pub(super) fn windows_of(rule: &config::Limit, utc_offset: i32) -> Vec<Window> {
    let budgets = rule.budgets.iter().map(|budget| {
        let unit = match budget.per {
            BudgetPeriod::Day => Unit::Day,
            BudgetPeriod::Month => Unit::Month,
        };
        let calendar = Calendar::new(unit, utc_offset);
        Window::Budget(Budget::new(budget.count.get(), calendar))
    });
    rule.rates.iter().map(rate).chain(budgets).collect()
}

/// What all keys of a table together may take while they are new: what a table full of them may at
/// once, and then as much as that many keys may in the long run, or a table full in each minute where
/// that is more.
pub(super) fn turnover(window: &Window, keys: u32) -> Window {
    let keys = u64::from(keys);
    match window {
        Window::Rate(rate) => {
            let each = rate.burst().max(rate.in_nanos(TURNOVER));
            let burst = rate.burst().saturating_mul(keys);
            Window::Rate(Rate::new(each.saturating_mul(keys), TURNOVER, burst))
        }
        Window::Budget(_) => window.times(keys),
    }
}
