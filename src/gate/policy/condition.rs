//! One key of a condition, ready to be held against a request.
//!
//! Promise: a fact that is absent, or not of the form that the operator compares, is like none of
//! the values. So a positive operator does not hold for it, and a negated one does.

use std::net::IpAddr;

use ipnet::IpNet;

use super::decide::Truth;
use super::key::{ConditionKey, FactKind};
use super::pattern::Pattern;
use super::value::{Number, parse_bool, parse_number, parse_time};
use super::{Context, Fact};

/// An operator: how a fact is compared with a value, and whether the answer is turned around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) family: Family,
    pub(super) negated: bool,
}

/// How a fact is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Equal,
    /// Equal but for the case of ASCII letters.
    EqualIgnoringCase,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const fn positive(family: Family) -> Operator {
    Operator {
        family,
        negated: false,
    }
}

const fn negated(family: Family) -> Operator {
    Operator {
        family,
        negated: true,
    }
}

/// Every operator, as policies write it.
pub(super) const OPERATORS: &[(&str, Operator)] = &[
    ("StringEquals", positive(Family::Equal)),
    ("StringNotEquals", negated(Family::Equal)),
    (
        "StringEqualsIgnoreCase",
        positive(Family::EqualIgnoringCase),
    ),
    (
        "StringNotEqualsIgnoreCase",
        negated(Family::EqualIgnoringCase),
    ),
    ("StringLike", positive(Family::Like)),
    ("StringNotLike", negated(Family::Like)),
    ("NumericEquals", positive(Family::Number(Order::Equal))),
    ("NumericNotEquals", negated(Family::Number(Order::Equal))),
    ("NumericLessThan", positive(Family::Number(Order::Less))),
    (
        "NumericLessThanEquals",
        positive(Family::Number(Order::LessOrEqual)),
    ),
    (
        "NumericGreaterThan",
        positive(Family::Number(Order::Greater)),
    ),
    (
        "NumericGreaterThanEquals",
        positive(Family::Number(Order::GreaterOrEqual)),
    ),
    ("DateEquals", positive(Family::Date(Order::Equal))),
    ("DateNotEquals", negated(Family::Date(Order::Equal))),
    ("DateLessThan", positive(Family::Date(Order::Less))),
    (
        "DateLessThanEquals",
        positive(Family::Date(Order::LessOrEqual)),
    ),
    ("DateGreaterThan", positive(Family::Date(Order::Greater))),
    (
        "DateGreaterThanEquals",
        positive(Family::Date(Order::GreaterOrEqual)),
    ),
    ("Bool", positive(Family::Bool)),
    ("IpAddress", positive(Family::Address)),
    ("NotIpAddress", negated(Family::Address)),
];

impl Operator {
    pub(super) fn named(name: &str) -> Option<Self> {
        let found = OPERATORS.iter().find(|(known, _)| *known == name);
        found.map(|(_, operator)| *operator)
    }
}

impl Family {
    /// Whether it can compare facts of this kind. Text can be read as anything.
    pub(super) fn reads(self, kind: FactKind) -> bool {
        match kind {
            FactKind::Text | FactKind::Never => true,
            FactKind::Address => self == Self::Address,
            FactKind::Time => matches!(self, Self::Date(_)),
            FactKind::Bool => self == Self::Bool,
        }
    }
}

impl Order {
    fn holds<T: Ord>(self, fact: &T, value: &T) -> bool {
        match self {
            Self::Equal => fact == value,
            Self::Less => fact < value,
            Self::LessOrEqual => fact <= value,
            Self::Greater => fact > value,
            Self::GreaterOrEqual => fact >= value,
        }
    }
}

/// A key and the values that it is compared with.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) key: ConditionKey,
    pub(super) negated: bool,
    pub(super) values: Values,
}

/// The values of a key, at least one.
#[derive(Debug)]
pub(super) enum Values {
    Equal(Vec<Box<str>>),
    EqualIgnoringCase(Vec<Box<str>>),
    Like(Vec<Pattern>),
    Number(Order, Vec<Number>),
    Date(Order, Vec<u64>),
    Bool(Vec<bool>),
    Address(Vec<IpNet>),
}

impl Condition {
    pub(super) fn holds(&self, context: &dyn Context) -> Truth {
        let is_one = match &self.key {
            ConditionKey::Unknowable(_) => false,
            key => match context.fact(key) {
                Fact::Later => return Truth::Unknown,
                fact => self.values.any_is(fact),
            },
        };
        Truth::from(is_one != self.negated)
    }
}

impl Values {
    fn any_is(&self, fact: Fact<'_>) -> bool {
        match self {
            Self::Equal(values) => fact
                .text()
                .is_some_and(|text| values.iter().any(|value| **value == *text)),
            Self::EqualIgnoringCase(values) => fact
                .text()
                .is_some_and(|text| values.iter().any(|value| value.eq_ignore_ascii_case(text))),
            Self::Like(patterns) => fact
                .text()
                .is_some_and(|text| patterns.iter().any(|pattern| pattern.matches(text))),
            Self::Number(order, values) => fact
                .text()
                .and_then(parse_number)
                .is_some_and(|fact| values.iter().any(|value| order.holds(&fact, value))),
            Self::Date(order, values) => fact
                .time()
                .is_some_and(|fact| values.iter().any(|value| order.holds(&fact, value))),
            Self::Bool(values) => fact.bool().is_some_and(|fact| values.contains(&fact)),
            Self::Address(networks) => fact
                .address()
                .is_some_and(|fact| networks.iter().any(|network| network.contains(&fact))),
        }
    }
}

impl<'a> Fact<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn time(self) -> Option<u64> {
        match self {
            Self::Time(time) => Some(time),
            other => other.text().and_then(parse_time),
        }
    }

    fn bool(self) -> Option<bool> {
        match self {
            Self::Bool(is) => Some(is),
            other => other.text().and_then(parse_bool),
        }
    }

    fn address(self) -> Option<IpAddr> {
        let address = match self {
            Self::Address(address) => Some(address),
            other => other.text().and_then(|text| text.parse().ok()),
        };
        address.map(|address| address.to_canonical())
    }
}
