//! JSON types as bits, and texts that are read as another type.

use serde_json::Value;

use super::number::is_json_number;
use crate::event::Kind;

/// A set of JSON types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// None.
    pub const NONE: Self = Self(0);
    /// A string.
    pub const STRING: Self = Self(1);
    /// Any number.
    pub const NUMBER: Self = Self(2);
    /// A number without a fraction.
    pub const INTEGER: Self = Self(4);
    /// `true` or `false`.
    pub const BOOLEAN: Self = Self(8);
    /// `null`.
    pub const NULL: Self = Self(16);
    /// An object.
    pub const OBJECT: Self = Self(32);
    /// An array.
    pub const ARRAY: Self = Self(64);

    /// The names of the keyword `type`, in the order in which they are told.
    const NAMES: [(Self, &'static str); 7] = [
        (Self::STRING, "string"),
        (Self::NUMBER, "number"),
        (Self::INTEGER, "integer"),
        (Self::BOOLEAN, "boolean"),
        (Self::NULL, "null"),
        (Self::OBJECT, "object"),
        (Self::ARRAY, "array"),
    ];

    /// What the value of the keyword `type` names; [`Types::NONE`] when it is malformed.
    pub(super) fn of_keyword(value: &Value) -> Self {
        let one = |value: &Value| {
            let name = value.as_str().unwrap_or_default();
            Self::NAMES
                .iter()
                .find(|(_, known)| *known == name)
                .map_or(Self::NONE, |(types, _)| *types)
        };
        match value {
            Value::Array(names) => names.iter().map(one).fold(Self::NONE, Self::with),
            name => one(name),
        }
    }

    /// Both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it has one of the other's.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names as the keyword `type` has them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(types, _)| self.has(*types))
            .map(|(_, name)| name)
    }

    /// Whether a value of this kind may be in the set. Of a number that must be an integer only
    /// its value tells.
    #[inline]
    pub(super) fn may_hold(self, kind: Kind) -> bool {
        self.has(match kind {
            Kind::Text => Self::STRING,
            Kind::Number => Self::NUMBER.with(Self::INTEGER),
            Kind::Boolean => Self::BOOLEAN,
            Kind::Null => Self::NULL,
            Kind::Object => Self::OBJECT,
            Kind::Array => Self::ARRAY,
        })
    }

    /// Whether a number is in the set only when it is an integer.
    pub(super) fn only_whole(self) -> bool {
        self.has(Self::INTEGER) && !self.has(Self::NUMBER)
    }
}

/// What a value counts as: a text that reads as one of the `wanted` types is that.
#[inline]
pub(super) fn coerced(wanted: Types, kind: Kind, value: &[u8]) -> Kind {
    if wanted.is_empty() || kind != Kind::Text {
        return kind;
    }
    read_as(wanted, value).unwrap_or(Kind::Text)
}

fn read_as(wanted: Types, value: &[u8]) -> Option<Kind> {
    let numbers = Types::NUMBER.with(Types::INTEGER);
    match value.first()? {
        b'-' | b'0'..=b'9' if wanted.has(numbers) && is_json_number(value) => Some(Kind::Number),
        b't' | b'f' if wanted.has(Types::BOOLEAN) && matches!(value, b"true" | b"false") => {
            Some(Kind::Boolean)
        }
        b'n' if wanted.has(Types::NULL) && value == b"null" => Some(Kind::Null),
        b'{' if wanted.has(Types::OBJECT) && is_json(value) => Some(Kind::Object),
        b'[' if wanted.has(Types::ARRAY) && is_json(value) => Some(Kind::Array),
        _ => None,
    }
}

/// Whether a text that begins with a bracket is one JSON value, and nothing behind it.
fn is_json(value: &[u8]) -> bool {
    matches!(value.last(), Some(b'}' | b']')) && serde_json::from_slice::<Checked>(value).is_ok()
}

/// A JSON value of which nothing is kept, but whose strings are read: half of a surrogate pair is
/// found, which serde's `IgnoredAny` passes over.
struct Checked;

impl<'de> serde::Deserialize<'de> for Checked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Checked)
    }
}

impl<'de> serde::de::Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while members.next_entry::<Self, Self>()?.is_some() {}
        Ok(Self)
    }
}
