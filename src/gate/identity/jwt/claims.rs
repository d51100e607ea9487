//! The claims of a token (RFC 7519), borrowed from its decoded payload.
//!
//! Promise: a claim that matters has the type that it should have and stands once, or the token is
//! refused; so does every other claim stand once, since policies may ask for it by name. Nothing is
//! allocated for claims that are known, unless one is a list or holds escapes. Not here: whether
//! what they say is right ([`super::bearer`]).

use std::borrow::Cow;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::header::Text;
use crate::config::JwtKey;
use crate::event::{Reason, Refusal};

/// The last second of the year 9999. Later times are mistakes: milliseconds, or no time at all.
const LAST_SECOND: u64 = 253_402_300_799;
/// Claims of a token.
const MAX_CLAIMS: usize = 128;

/// The claims, as far as they matter.
#[derive(Debug, Default)]
pub(super) struct Claims<'a> {
    pub(super) iss: Option<Cow<'a, str>>,
    pub(super) aud: Option<Names<'a>>,
    pub(super) sub: Option<Cow<'a, str>>,
    pub(super) jti: Option<Cow<'a, str>>,
    /// Whole seconds since the Unix epoch, as are the next two.
    pub(super) exp: Option<u64>,
    pub(super) nbf: Option<u64>,
    pub(super) iat: Option<u64>,
    pub(super) project: Option<Cow<'a, str>>,
    pub(super) logstore: Option<Names<'a>>,
    pub(super) action: Option<Names<'a>>,
    pub(super) platform: Option<Cow<'a, str>>,
    pub(super) appid: Option<Cow<'a, str>>,
    /// A bit for each of `required_claims` that is there and not null.
    required: u64,
}

impl<'a> Claims<'a> {
    /// Reads the claims that `rules` name, and the registered ones.
    pub(super) fn read(json: &'a str, rules: &JwtKey) -> Result<Self, Refusal> {
        let mut fault = None;
        let reading = Reading {
            rules,
            fault: &mut fault,
        };
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let claims = reading
            .deserialize(&mut deserializer)
            .and_then(|claims| deserializer.end().map(|()| claims));
        claims.map_err(|error| match fault {
            Some(fault) => Refusal::new(Reason::TokenClaims, fault),
            None if error.is_data() => {
                Refusal::new(Reason::TokenClaims, "its payload is not a set of claims")
            }
            None => Reason::TokenMalformed.into(),
        })
    }

    /// The first of `required_claims` that is not there.
    pub(super) fn missing<'r>(&self, rules: &'r JwtKey) -> Option<&'r str> {
        let required = rules.required_claims.iter().enumerate();
        required
            .filter(|(index, _)| self.required & bit(*index) == 0)
            .map(|(_, name)| name.as_str())
            .next()
    }

    /// Takes a claim for everything that it is called for.
    fn take(&mut self, name: &str, value: &Value<'a>, rules: &JwtKey) -> Result<(), &'static str> {
        match name {
            "iss" => text(&mut self.iss, value)?,
            "aud" => names(&mut self.aud, value)?,
            "sub" => text(&mut self.sub, value)?,
            "jti" => text(&mut self.jti, value)?,
            "exp" => time(&mut self.exp, value)?,
            "nbf" => time(&mut self.nbf, value)?,
            "iat" => time(&mut self.iat, value)?,
            _ => {}
        }
        let called = &rules.claims;
        if name == called.project {
            text(&mut self.project, value)?;
        }
        if name == called.logstore {
            names(&mut self.logstore, value)?;
        }
        if name == called.action {
            names(&mut self.action, value)?;
        }
        if name == called.platform {
            text(&mut self.platform, value)?;
        }
        if name == called.appid {
            text(&mut self.appid, value)?;
        }
        Ok(())
    }
}

fn is_known(name: &str, rules: &JwtKey) -> bool {
    let called = &rules.claims;
    matches!(name, "iss" | "aud" | "sub" | "jti" | "exp" | "nbf" | "iat")
        || name == called.project
        || name == called.logstore
        || name == called.action
        || name == called.platform
        || name == called.appid
}

const TWICE: &str = "stands twice";

fn text<'a>(slot: &mut Option<Cow<'a, str>>, value: &Value<'a>) -> Result<(), &'static str> {
    let Value::Text(text) = value else {
        return Err("must be text");
    };
    put(slot, text.clone())
}

fn names<'a>(slot: &mut Option<Names<'a>>, value: &Value<'a>) -> Result<(), &'static str> {
    let names = match value {
        Value::Text(one) => Names::One(one.clone()),
        Value::List(many) => Names::Many(many.clone()),
        _ => return Err("must be text or a list of texts"),
    };
    put(slot, names)
}

fn time(slot: &mut Option<u64>, value: &Value<'_>) -> Result<(), &'static str> {
    let Value::Time(seconds) = value else {
        return Err("must be a number of seconds since 1970, before the year 10000");
    };
    put(slot, *seconds)
}

fn put<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

/// The bit of a required claim. Beyond 64, which the check of the configuration does not let
/// through, there is none, and the claim stays missing.
fn bit(index: usize) -> u64 {
    u32::try_from(index)
        .ok()
        .and_then(|index| 1u64.checked_shl(index))
        .unwrap_or(0)
}

/// One name or several.
#[derive(Clone, Debug)]
pub(super) enum Names<'a> {
    One(Cow<'a, str>),
    Many(Vec<String>),
}

impl Names<'_> {
    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

/// Reads one set of claims; says in `fault` which claim was wrong, and how.
struct Reading<'r> {
    rules: &'r JwtKey,
    fault: &'r mut Option<Cow<'static, str>>,
}

impl Reading<'_> {
    fn wrong<E: de::Error>(&mut self, name: &str, what: &'static str) -> E {
        // Of a name that is not ours at most a short part is told.
        let shown: String = name
            .chars()
            .take(64)
            .flat_map(char::escape_default)
            .collect();
        *self.fault = Some(format!("`{shown}` {what}").into());
        E::custom(what)
    }
}

impl<'de> DeserializeSeed<'de> for Reading<'_> {
    type Value = Claims<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Reading<'_> {
    type Value = Claims<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of claims")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut claims = Claims::default();
        // What has no meaning here must be known too, to see it when it stands twice.
        let mut others: Vec<Cow<'de, str>> = Vec::new();
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let there = if is_known(&name, self.rules) {
                let value = map.next_value::<Value<'de>>()?;
                if let Err(what) = claims.take(&name, &value, self.rules) {
                    return Err(self.wrong(&name, what));
                }
                true
            } else {
                let there = map.next_value::<&RawValue>()?.get() != "null";
                if others.contains(&name) {
                    return Err(self.wrong(&name, TWICE));
                }
                if others.len() == MAX_CLAIMS {
                    *self.fault = Some("it holds more than 128 claims".into());
                    return Err(A::Error::custom("too many claims"));
                }
                others.push(name.clone());
                there
            };
            if there {
                let required = self.rules.required_claims.iter().enumerate();
                for (index, _) in required.filter(|(_, required)| **required == name) {
                    claims.required |= bit(index);
                }
            }
        }
        Ok(claims)
    }
}

/// The value of a claim that matters.
enum Value<'a> {
    Text(Cow<'a, str>),
    /// A number that is a time: not negative, and before the year 10000. Fractions are cut.
    Time(u64),
    List(Vec<String>),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claim")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        if number <= LAST_SECOND {
            Ok(Value::Time(number))
        } else {
            Ok(Value::Other)
        }
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Value::Other) // only negative numbers come here
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "within the bounds a fraction is cut, and nothing else is lost"
    )]
    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        if (0.0..=LAST_SECOND as f64).contains(&number) {
            Ok(Value::Time(number as u64))
        } else {
            Ok(Value::Other)
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        let mut all_text = true;
        while let Some(value) = list.next_element::<Value<'de>>()? {
            match value {
                Value::Text(name) => names.push(name.into_owned()),
                _ => all_text = false,
            }
        }
        Ok(if all_text {
            Value::List(names)
        } else {
            Value::Other
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other)
    }
}

/// Calls `see` with every claim of a payload: its name, and its value as text. Lists, objects and
/// null have no text.
pub(super) fn for_each_text<'a>(
    payload: &'a str,
    see: impl FnMut(&str, Option<Cow<'a, str>>),
) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(payload);
    deserializer.deserialize_map(Texts(see))
}

struct Texts<F>(F);

impl<'de, F: FnMut(&str, Option<Cow<'de, str>>)> Visitor<'de> for Texts<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a set of claims")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((Text(name), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            let raw = value.get();
            let text = match raw.as_bytes() {
                [b'"', ..] => serde_json::from_str(raw).ok().map(|Text(text)| text),
                [b'-' | b'0'..=b'9' | b't' | b'f', ..] => Some(Cow::Borrowed(raw)),
                _ => None,
            };
            (self.0)(&name, text);
        }
        Ok(())
    }
}

/// The issuer that a payload names, which nobody has verified yet: it chooses among keys, no more.
pub(super) fn claimed_issuer(payload: &str) -> Option<Cow<'_, str>> {
    let mut issuer = None;
    for_each_text(payload, |name, value| {
        if name == "iss" {
            issuer = value;
        }
    })
    .ok()?;
    issuer
}
