//! The parts of a token, and its header (RFC 7515 section 4).
//!
//! Promise: what stands in a header chooses a key among the configured ones and does nothing else.
//! `jku`, `x5u`, `jwk` and `x5c` are never looked at; extensions that would change how the rest is
//! read (`crit`, `b64`, `zip`, `enc`) make a token malformed, as does a member that stands twice.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::event::{Reason, Refusal};

/// Tokens longer than this are refused unread.
pub(super) const MAX_TOKEN: usize = 8192;
/// Headers longer than this, decoded, are refused unread.
pub(super) const MAX_HEADER: usize = 512;
/// Members of a header. The standards know eleven for signed tokens.
const MAX_MEMBERS: usize = 16;

/// A token cut at its dots. Nothing is decoded yet.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
    /// What is signed: header, dot, payload.
    pub(super) message: &'a [u8],
    pub(super) signature: &'a [u8],
}

impl<'a> Parts<'a> {
    pub(super) fn of(token: &'a [u8]) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::new(
                Reason::TokenMalformed,
                "it is longer than 8 KiB",
            ));
        }
        let malformed = || Refusal::from(Reason::TokenMalformed);
        let cut = |text: &'a [u8], at: usize| Some((text.get(..at)?, text.get(at + 1..)?));
        let last = memchr::memrchr(b'.', token).ok_or_else(malformed)?;
        let (message, signature) = cut(token, last).ok_or_else(malformed)?;
        let first = memchr::memchr(b'.', message).ok_or_else(malformed)?;
        let (header, payload) = cut(message, first).ok_or_else(malformed)?;
        if memchr::memchr(b'.', payload).is_some() {
            return Err(Refusal::new(
                Reason::TokenMalformed,
                "a signed token has three parts",
            ));
        }
        Ok(Self {
            header,
            payload,
            message,
            signature,
        })
    }
}

/// What a header says of the key.
#[derive(Debug)]
pub(super) struct TokenHeader<'a> {
    pub(super) alg: Cow<'a, str>,
    pub(super) kid: Option<Cow<'a, str>>,
    pub(super) typ: Option<Cow<'a, str>>,
}

impl<'a> TokenHeader<'a> {
    /// Decodes the first part of a token into `buffer` and reads it.
    pub(super) fn read(part: &[u8], buffer: &'a mut [u8; MAX_HEADER]) -> Result<Self, Refusal> {
        let length = URL_SAFE_NO_PAD
            .decode_slice(part, buffer)
            .map_err(|_| Reason::TokenMalformed)?;
        let json = buffer.get(..length).unwrap_or_default();
        serde_json::from_slice(json).map_err(|_| {
            Refusal::new(
                Reason::TokenMalformed,
                "its header is not one of a signed token",
            )
        })
    }

    /// Whether `typ` is what is asked for: without a wish, `JWT` or none. Names are compared
    /// without case, and `application/` may be left out (RFC 7515 section 4.1.9).
    pub(super) fn has_type(&self, wanted: Option<&str>) -> bool {
        match (self.typ.as_deref(), wanted) {
            (None, wanted) => wanted.is_none(),
            (Some(typ), wanted) => {
                let wanted = wanted.unwrap_or("JWT");
                subtype(typ).eq_ignore_ascii_case(subtype(wanted))
            }
        }
    }
}

fn subtype(name: &str) -> &str {
    const PREFIX: &str = "application/";
    match name.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => name,
    }
}

/// A text of JSON, borrowed where it can be.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for TokenHeader<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = TokenHeader<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header of a signed token")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut alg, mut kid, mut typ) = (None, None, None);
        let mut others = [const { Cow::Borrowed("") }; MAX_MEMBERS];
        let mut count = 0;
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            let slot = match &*name {
                "alg" => &mut alg,
                "kid" => &mut kid,
                "typ" => &mut typ,
                "crit" | "b64" | "zip" | "enc" => {
                    return Err(A::Error::custom("an extension that is not understood"));
                }
                _ => {
                    if others.iter().take(count).any(|other| *other == name) {
                        return Err(A::Error::custom("a member stands twice"));
                    }
                    let slot = others.get_mut(count);
                    *slot.ok_or_else(|| A::Error::custom("too many members"))? = name;
                    count += 1;
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let Text(value) = map.next_value::<Text<'de>>()?;
            if slot.replace(value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        let alg = alg.ok_or_else(|| A::Error::missing_field("alg"))?;
        Ok(TokenHeader { alg, kid, typ })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<(String, Option<String>)> {
        let part = URL_SAFE_NO_PAD.encode(json);
        let mut buffer = [0; MAX_HEADER];
        let header = TokenHeader::read(part.as_bytes(), &mut buffer).ok()?;
        Some((header.alg.into_owned(), header.kid.map(Cow::into_owned)))
    }

    #[test]
    fn a_header_is_read_for_alg_kid_and_typ_alone() {
        let read_as = |alg: &str, kid: Option<&str>| Some((alg.to_owned(), kid.map(str::to_owned)));
        for (json, wanted) in [
            (r#"{"alg":"HS256"}"#, read_as("HS256", None)),
            (
                r#"{"kid":"a\u0062","alg":"x","cty":1}"#,
                read_as("x", Some("ab")),
            ),
            (
                r#"{"alg":"x","jku":"http://a","x5u":"b","jwk":{"k":[1]},"x5c":["c"]}"#,
                read_as("x", None),
            ),
            (r#"{}"#, None),
            (r#"{"alg":null}"#, None),
            (r#"{"alg":0}"#, None),
            (r#"{"alg":["HS256"]}"#, None),
            (r#"{"alg":"x","alg":"x"}"#, None),
            (r#"{"alg":"x","\u0061lg":"x"}"#, None),
            (r#"{"alg":"x","kid":1}"#, None),
            (r#"{"alg":"x","kid":null}"#, None),
            (r#"{"alg":"x","kid":{}}"#, None),
            (r#"{"alg":"x","typ":[]}"#, None),
            (r#"{"alg":"x","jku":"a","jku":"a"}"#, None),
            (r#"{"alg":"x","crit":[]}"#, None),
            (r#"{"alg":"x","crit":["exp"]}"#, None),
            (r#"{"alg":"x","crit":null}"#, None),
            (r#"{"alg":"x","b64":false}"#, None),
            (r#"{"alg":"x","zip":"DEF"}"#, None),
            (r#"{"alg":"x","enc":"A256GCM","p2c":1000000000}"#, None),
            (r#"{"alg":"x"} "#, read_as("x", None)),
            (r#"{"alg":"x"}x"#, None),
            (r#"["alg"]"#, None),
            ("null", None),
            ("", None),
        ] {
            assert_eq!(read(json), wanted, "{json}");
        }
        let members = |count| {
            let members: Vec<_> = (0..count).map(|n| format!(r#""m{n}":0"#)).collect();
            format!(r#"{{"alg":"x",{}}}"#, members.join(","))
        };
        assert!(read(&members(MAX_MEMBERS)).is_some());
        assert!(read(&members(MAX_MEMBERS + 1)).is_none());
        let long = |length: usize| format!(r#"{{"alg":"x","m":"{}"}}"#, "a".repeat(length - 18));
        assert!(read(&long(MAX_HEADER - 8)).is_some());
        assert!(read(&long(MAX_HEADER + 1)).is_none());
    }

    #[test]
    fn types_are_compared_as_media_types() {
        let header = |typ: Option<&'static str>| TokenHeader {
            alg: "x".into(),
            kid: None,
            typ: typ.map(Cow::Borrowed),
        };
        for (typ, wanted, good) in [
            (None, None, true),
            (Some("JWT"), None, true),
            (Some("jwt"), None, true),
            (Some("application/jwt"), None, true),
            (Some("Application/JWT"), None, true),
            (Some("at+jwt"), None, false),
            (Some(""), None, false),
            (Some("JWTx"), None, false),
            (None, Some("at+jwt"), false),
            (Some("JWT"), Some("at+jwt"), false),
            (Some("at+jwt"), Some("at+jwt"), true),
            (Some("application/AT+JWT"), Some("at+jwt"), true),
            (Some("at+jwt"), Some("application/at+jwt"), true),
        ] {
            assert_eq!(header(typ).has_type(wanted), good, "{typ:?} {wanted:?}");
        }
    }
}
