//! A slow and obvious interpreter of policies: documents as plain JSON, one rule after the other.
//! It trusts that the documents are good, and knows every fact.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value};
use tollgate::gate::policy::{ConditionKey, Context, Fact};

/// A fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Known {
    Text(String),
    Address(IpAddr),
    Time(u64),
    Bool(bool),
}

/// Facts by the name of their key. The engine can be told that the body is still to come.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub facts: BTreeMap<String, Known>,
    pub before_body: bool,
}

impl Context for Facts {
    fn fact(&self, key: &ConditionKey) -> Fact<'_> {
        if self.before_body && key.is_in_body() {
            return Fact::Later;
        }
        match self.facts.get(&key.to_string()) {
            None => Fact::Absent,
            Some(Known::Text(text)) => Fact::Text(text),
            Some(Known::Address(address)) => Fact::Address(*address),
            Some(Known::Time(time)) => Fact::Time(*time),
            Some(Known::Bool(is)) => Fact::Bool(*is),
        }
    }
}

/// What is asked: every name of the action, and the resource.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub actions: &'a [&'a str],
    pub resource: &'a str,
    pub facts: &'a Facts,
}

/// Whether a caller with policies is allowed.
pub fn allows(
    identity: &[&Value],
    session: Option<&Value>,
    project: Option<&Value>,
    asked: Asked<'_>,
) -> bool {
    let both: Vec<&Value> = identity.iter().copied().chain(project).collect();
    let narrowed = session.is_none_or(|session| step_allows(&[session], asked));
    narrowed && step_allows(&both, asked)
}

/// Whether a caller without policies is left alone by the project's.
pub fn leaves_alone(project: &Value, asked: Asked<'_>) -> bool {
    !says("Deny", &[project], asked)
}

fn step_allows(policies: &[&Value], asked: Asked<'_>) -> bool {
    says("Allow", policies, asked) && !says("Deny", policies, asked)
}

fn says(effect: &str, policies: &[&Value], asked: Asked<'_>) -> bool {
    let mut statements = policies.iter().flat_map(|policy| statements(policy));
    statements.any(|statement| statement["Effect"] == effect && is_about(statement, asked))
}

pub fn statements(policy: &Value) -> &[Value] {
    match &policy["Statement"] {
        Value::Array(list) => list,
        one => std::slice::from_ref(one),
    }
}

/// Whether a statement is about what is asked.
pub fn is_about(statement: &Value, asked: Asked<'_>) -> bool {
    let named = |patterns: &Value| {
        texts(patterns).iter().any(|pattern| {
            let pattern = pattern.to_ascii_lowercase();
            asked
                .actions
                .iter()
                .any(|name| wild(&pattern, &name.to_ascii_lowercase()))
        })
    };
    let action = match statement.get("Action") {
        Some(patterns) => named(patterns),
        None => !named(&statement["NotAction"]),
    };
    let meant = |patterns: &Value| texts(patterns).iter().any(|p| wild(p, asked.resource));
    let resource = match statement.get("Resource") {
        Some(patterns) => meant(patterns),
        None => !meant(&statement["NotResource"]),
    };
    let none = Map::new();
    let operators = statement
        .get("Condition")
        .and_then(Value::as_object)
        .unwrap_or(&none);
    let mut conditions = operators.iter().flat_map(|(operator, keys)| {
        let keys = keys.as_object().unwrap().iter();
        keys.map(move |(key, values)| (operator, key, texts(values)))
    });
    action
        && resource
        && conditions.all(|(operator, key, values)| holds(operator, key, &values, asked.facts))
}

fn texts(one_or_many: &Value) -> Vec<&str> {
    match one_or_many {
        Value::Array(many) => many.iter().map(|text| text.as_str().unwrap()).collect(),
        one => vec![one.as_str().unwrap()],
    }
}

fn holds(operator: &str, key: &str, values: &[&str], facts: &Facts) -> bool {
    let (operator, negated) = (operator.replace("Not", ""), operator.contains("Not"));
    let fact = facts
        .facts
        .iter()
        .find(|(name, _)| same_key(name, key))
        .map(|(_, fact)| fact);
    let is_one =
        fact.is_some_and(|fact| values.iter().any(|value| compare(&operator, fact, value)));
    is_one != negated
}

/// Letter case matters after the slash of a tag and a claim, and nowhere else.
fn same_key(a: &str, b: &str) -> bool {
    match (a.split_once('/'), b.split_once('/')) {
        (Some((a, name)), Some((b, other))) => a.eq_ignore_ascii_case(b) && name == other,
        _ => a.eq_ignore_ascii_case(b),
    }
}

fn compare(operator: &str, fact: &Known, value: &str) -> bool {
    let text = match fact {
        Known::Text(text) => Some(text.as_str()),
        _ => None,
    };
    let order = operator
        .trim_start_matches("Numeric")
        .trim_start_matches("Date");
    match operator {
        "StringEquals" => text == Some(value),
        "StringEqualsIgnoreCase" => {
            text.map(str::to_ascii_lowercase) == Some(value.to_ascii_lowercase())
        }
        "StringLike" => text.is_some_and(|text| wild(value, text)),
        "Bool" => match fact {
            Known::Bool(is) => is.to_string() == value,
            _ => text == Some(value),
        },
        "IpAddress" => match fact {
            Known::Address(address) => within(*address, value),
            _ => text
                .and_then(|text| text.parse().ok())
                .is_some_and(|address| within(address, value)),
        },
        numeric if numeric.starts_with("Numeric") => text
            .and_then(number)
            .is_some_and(|fact| ordered(order, fact, number(value).unwrap())),
        _ => {
            let fact = match fact {
                Known::Time(time) => Some(i128::from(*time)),
                _ => text.and_then(time),
            };
            fact.is_some_and(|fact| ordered(order, fact, time(value).unwrap()))
        }
    }
}

fn ordered(order: &str, fact: i128, value: i128) -> bool {
    match order {
        "Equals" => fact == value,
        "LessThan" => fact < value,
        "LessThanEquals" => fact <= value,
        "GreaterThan" => fact > value,
        "GreaterThanEquals" => fact >= value,
        other => panic!("{other}"),
    }
}

/// Wildcards by a table: whether each beginning of the pattern matches each beginning of the text.
pub fn wild(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for p in pattern.chars() {
        let mut next = vec![p == '*' && row[0]];
        for (at, t) in text.iter().enumerate() {
            next.push(match p {
                '*' => next[at] || row[at + 1],
                '?' => row[at],
                p => row[at] && p == *t,
            });
        }
        row = next;
    }
    row[text.len()]
}

/// In units of 10⁻⁹.
fn number(text: &str) -> Option<i128> {
    let form = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = form.split_once('.').unwrap_or((form, "0"));
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 19 || fraction.len() > 9 {
        return None;
    }
    let number: i128 = format!("{whole}{fraction:0<9}").parse().unwrap();
    Some(if text.starts_with('-') {
        -number
    } else {
        number
    })
}

/// Unix seconds, counted year by year and month by month. A text without a `T` at its place is none.
fn time(text: &str) -> Option<i128> {
    if text.get(10..11) != Some("T") {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).unwrap().parse::<i128>().unwrap();
    let leap = |year: i128| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (year, month) = (part(0, 4), part(5, 7));
    let mut days: i128 = (1970..year)
        .map(|year| if leap(year) { 366 } else { 365 })
        .sum();
    for earlier in 1..month {
        days += match earlier {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
    }
    let offset = match text.get(19..20).unwrap() {
        "Z" => 0,
        sign => {
            let ahead = part(20, 22) * 3600 + part(23, 25) * 60;
            if sign == "+" { ahead } else { -ahead }
        }
    };
    let clock = part(11, 13) * 3600 + part(14, 16) * 60 + part(17, 19);
    Some((days + part(8, 10) - 1) * 86_400 + clock - offset)
}

/// Whether the first bits of the address are those of the network.
fn within(address: IpAddr, network: &str) -> bool {
    let (base, length) = match network.split_once('/') {
        Some((base, length)) => (base, Some(length.parse::<u32>().unwrap())),
        None => (network, None),
    };
    let (base, address): (IpAddr, _) = (base.parse().unwrap(), address.to_canonical());
    // Both as IPv6, where IPv4 is mapped: a network of fewer than 96 bits is then of IPv6 alone.
    let mapped = if base.is_ipv4() { 96 } else { 0 };
    let length = length.map_or(128, |length| length + mapped);
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    let differ = bits(base) ^ bits(address);
    let same = length == 0 || differ >> (128 - length) == 0;
    same && (address.is_ipv6() || length >= 96)
}
