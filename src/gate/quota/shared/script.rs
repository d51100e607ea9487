//! What is said to the store for one key, and what it answers.

use redis::Value;

use super::super::calendar::Unit;
use super::super::window::{Factor, Window};
use super::status::StoreFault;

/// The script that charges a key and grants a lease.
pub(super) const LEASE: &str = include_str!("lease.lua");

/// No wait is believed beyond this: a month, in microseconds.
const LONGEST_WAIT: i64 = 31 * 86_400 * 1_000_000;

/// What the store is told and asked for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Units that are charged whatever room there is; below 0, given back.
    pub(super) owed: i64,
    /// Units to be granted as far as there is room.
    pub(super) wanted: u64,
    /// Units of budgets that passed while the store was away.
    pub(super) away: u64,
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Units that were granted.
    pub(super) granted: u64,
    /// Nanoseconds until there is room.
    pub(super) wait: u64,
    /// Units that there is room for beyond what was granted.
    pub(super) room: u64,
    /// When the store first heard of the key, on its clock.
    pub(super) birth: u64,
    /// Whether that was just now.
    pub(super) is_new: bool,
}

/// The arguments of the script after those of the claim: one text for each.
pub(super) fn arguments(
    claim: &Claim,
    windows: &[Window],
    factor: Factor,
    nodes: u32,
    add: &[u64],
) -> Vec<String> {
    let offset = windows.iter().find_map(|window| match window {
        Window::Budget(budget) => Some(budget.calendar().offset()),
        Window::Rate(_) => None,
    });
    let mut arguments = vec![
        claim.owed.to_string(),
        claim.wanted.to_string(),
        (2 * u64::from(nodes.max(1))).to_string(),
        offset.unwrap_or_default().to_string(),
    ];
    for (index, window) in windows.iter().enumerate() {
        match window {
            Window::Rate(rate) => {
                let (cost, burst) = rate.micros(factor);
                // Each node may be a request and a lease ahead, taken while units took less time.
                let ceiling = burst * (f64::from(nodes) + 3.0) * factor.stretch() + 1e6;
                arguments.push("r".to_owned());
                arguments.push(format!("{cost:.9}"));
                arguments.push(format!("{burst:.3}"));
                arguments.push(format!("{ceiling:.0}"));
                arguments.push("0".to_owned());
            }
            Window::Budget(budget) => {
                let kind = match budget.calendar().unit() {
                    Unit::Day => "d",
                    Unit::Month => "m",
                };
                let add = add.get(index).copied().unwrap_or_default();
                arguments.push(kind.to_owned());
                arguments.push(budget.most_for(factor).to_string());
                arguments.push("0".to_owned());
                arguments.push("0".to_owned());
                arguments.push(claim.away.saturating_add(add).to_string());
            }
        }
    }
    arguments
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// When it is none, or says what cannot be.
    pub(super) fn read(value: &Value) -> Result<Self, StoreFault> {
        let Value::Array(parts) = value else {
            return Err(StoreFault::Protocol);
        };
        let [
            Value::Int(granted),
            Value::Int(wait),
            Value::Int(room),
            Value::BulkString(birth),
            Value::Int(is_new),
        ] = parts.as_slice()
        else {
            return Err(StoreFault::Protocol);
        };
        let birth = std::str::from_utf8(birth)
            .ok()
            .and_then(|it| it.parse().ok());
        let units = |number: i64| u64::try_from(number).map_err(|_| StoreFault::Protocol);
        Ok(Self {
            granted: units(*granted)?,
            wait: units((*wait).min(LONGEST_WAIT))?.saturating_mul(1000),
            room: units(*room)?,
            birth: birth.ok_or(StoreFault::Protocol)?,
            is_new: *is_new == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_believed_grows_with_what_a_lowered_key_pays() {
        let second = 1_000_000_000;
        let window = Window::Rate(super::super::super::window::Rate::new(10, second, 10));
        let claim = Claim {
            owed: 1,
            wanted: 1,
            away: 0,
        };
        let ceiling = |thousandths| -> f64 {
            let factor = Factor::thousandths(thousandths);
            arguments(&claim, std::slice::from_ref(&window), factor, 2, &[])[7]
                .parse()
                .unwrap()
        };
        // A debt of the whole limit, charged at a hundred times the price.
        assert!(ceiling(10) >= 100.0 * 1e6);
        assert!((ceiling(1000) - ceiling(10_000)).abs() < 1.0);
    }

    #[test]
    fn an_answer_that_cannot_be_is_no_answer() {
        let answer = |granted, wait, birth: &str| {
            Value::Array(vec![
                Value::Int(granted),
                Value::Int(wait),
                Value::Int(7),
                Value::BulkString(birth.into()),
                Value::Int(0),
            ])
        };
        let good = Answer::read(&answer(3, 5, "12")).unwrap();
        assert_eq!((good.granted, good.wait, good.birth), (3, 5000, 12));
        let long = Answer::read(&answer(0, i64::MAX, "12")).unwrap();
        assert_eq!(long.wait, 31 * 86_400 * 1_000_000_000);
        for bad in [
            answer(-1, 5, "12"),
            answer(1, -5, "12"),
            answer(1, 5, "x"),
            Value::Nil,
            Value::Okay,
            Value::Array(Vec::new()),
            Value::BulkString(vec![0xff; 100]),
        ] {
            assert_eq!(Answer::read(&bad), Err(StoreFault::Protocol), "{bad:?}");
        }
    }
}
