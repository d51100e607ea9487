//! The JSON of a token: its header and its claims, borrowed from the decoded bytes.
//!
//! A member that stands twice makes a token malformed: two readers could disagree on it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::event::{Reason, Refusal};

/// The header of a token.
#[derive(Debug, Deserialize)]
pub(super) struct TokenHeader<'a> {
    #[serde(borrow)]
    pub(super) alg: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) kid: Option<Cow<'a, str>>,
    /// Extensions that must be understood; none is.
    #[serde(default)]
    crit: Option<IgnoredAny>,
}

impl<'a> TokenHeader<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Self, Refusal> {
        let header: Self = serde_json::from_slice(json).map_err(|_| Reason::TokenMalformed)?;
        if header.crit.is_some() {
            return Err(Refusal::new(Reason::TokenMalformed, "its header has crit"));
        }
        Ok(header)
    }
}

/// The claims of a token, as far as they matter here.
#[derive(Debug, Deserialize)]
pub(super) struct Claims<'a> {
    #[serde(borrow, default)]
    pub(super) iss: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) aud: Option<Names<'a>>,
    /// Whole seconds since the Unix epoch.
    #[serde(default)]
    pub(super) exp: Option<u64>,
    /// Whole seconds since the Unix epoch.
    #[serde(default)]
    pub(super) nbf: Option<u64>,
    #[serde(borrow, default)]
    pub(super) project: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) logstore: Option<Names<'a>>,
}

impl<'a> Claims<'a> {
    pub(super) fn read(json: &'a [u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(json).map_err(|error| {
            if error.is_data() {
                Refusal::new(
                    Reason::TokenClaims,
                    "a claim has not the type that it should have",
                )
            } else {
                Reason::TokenMalformed.into()
            }
        })
    }
}

/// One name or several.
#[derive(Debug)]
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

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name or a list of names")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Names::One(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Names::One(Cow::Owned(name.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(Names::Many(names))
    }
}
