//! Keywords of numbers and texts, and limits.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::super::number::Num;
use super::Comparison;

type Members = Map<String, Value>;

/// A bound: its number, whether the number itself is refused, and how it is written.
struct Bound<'a> {
    limit: Num,
    exclusive: bool,
    keyword: &'static str,
    shown: &'a Value,
}

/// Whether two values are equal: numbers by value.
pub(super) fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            Num::of(one).compare(Num::of(other)) == Ordering::Equal
        }
        _ => one == other,
    }
}

/// The stricter of the two bounds on one side. `stricter`: how the stricter compares.
fn bound<'a>(
    of: &'a Members,
    (inclusive, exclusive): (&'static str, &'static str),
    stricter: Ordering,
) -> Option<Bound<'a>> {
    let read = |keyword: &'static str, exclusive: bool| {
        let shown = of.get(keyword)?;
        let limit = Num::of(shown.as_number()?);
        Some(Bound {
            limit,
            exclusive,
            keyword,
            shown,
        })
    };
    match (read(inclusive, false), read(exclusive, true)) {
        (Some(one), Some(other)) => {
            let order = one.limit.compare(other.limit);
            Some(if order == stricter { one } else { other })
        }
        (one, other) => one.or(other),
    }
}

impl Comparison<'_> {
    pub(super) fn numbers(&mut self, old: &Members, new: &Members, pointer: &str) {
        let sides = [
            (("minimum", "exclusiveMinimum"), Ordering::Greater),
            (("maximum", "exclusiveMaximum"), Ordering::Less),
        ];
        for (names, stricter) in sides {
            let Some(after) = bound(new, names, stricter) else {
                continue;
            };
            let narrower = bound(old, names, stricter).is_none_or(|before| {
                let order = after.limit.compare(before.limit);
                order == stricter
                    || (order == Ordering::Equal && after.exclusive && !before.exclusive)
            });
            if narrower {
                let before = match bound(old, names, stricter) {
                    Some(before) => format!("`{}` was {}", before.keyword, before.shown),
                    None => "there was none".to_owned(),
                };
                let at = format!("{pointer}/{}", after.keyword);
                self.say(at, format!("it is {} now; {before}", after.shown));
            }
        }
        if let Some(after) = new.get("multipleOf") {
            let before = old.get("multipleOf");
            let fits = before.is_some_and(|before| {
                is_equal(before, after)
                    || matches!((before.as_u64(), after.as_u64()),
                        (Some(before), Some(after)) if after > 0 && before % after == 0)
            });
            if !fits {
                let message = format!("only multiples of {after} are taken now");
                self.say(format!("{pointer}/multipleOf"), message);
            }
        }
    }

    pub(super) fn texts(&mut self, old: &Members, new: &Members, pointer: &str) {
        self.limit(old, new, "minLength", pointer);
        self.limit(old, new, "maxLength", pointer);
        self.source(old, new, "pattern", pointer);
        if self.options.assert_formats {
            self.source(old, new, "format", pointer);
        }
    }

    /// A pattern or a format.
    fn source(&mut self, old: &Members, new: &Members, key: &str, pointer: &str) {
        let Some(after) = new.get(key) else {
            return;
        };
        let what = match old.get(key) {
            None => format!("`{key}` {after} is new"),
            Some(before) if before == after => return,
            Some(before) => format!("`{key}` was {before} and is {after}"),
        };
        self.may(format!("{pointer}/{key}"), &what);
    }

    /// A keyword whose value is a count: `min...` or `max...`.
    pub(super) fn limit(&mut self, old: &Members, new: &Members, key: &str, pointer: &str) {
        let Some(after) = new.get(key).and_then(Value::as_f64) else {
            return;
        };
        let before = old.get(key).and_then(Value::as_f64);
        let least = key.starts_with("min");
        let narrower = match before {
            Some(before) if least => after > before,
            Some(before) => after < before,
            None => !least || after > 0.0,
        };
        if narrower {
            let before = match old.get(key) {
                Some(before) => format!("it was {before}"),
                None => "there was none".to_owned(),
            };
            let after = new.get(key).cloned().unwrap_or_default();
            self.say(
                format!("{pointer}/{key}"),
                format!("it is {after} now; {before}"),
            );
        }
    }
}
