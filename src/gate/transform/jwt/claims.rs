//! The registered claims (RFC 7519 section 4.1) of a payload that has been written out.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::decode::Checks;
use super::error::DecodeError;

/// Where the claims that matter stand.
pub(super) struct Claims<'c> {
    checks: &'c Checks,
    places: [Option<Range<usize>>; NAMES.len()],
    /// Where each required claim stands.
    required: Vec<Option<Range<usize>>>,
}

const NAMES: [&str; 5] = ["exp", "nbf", "iat", "iss", "aud"];

impl<'c> Claims<'c> {
    pub(super) fn new(checks: &'c Checks) -> Self {
        Self {
            checks,
            places: Default::default(),
            required: vec![None; checks.require.len()],
        }
    }

    /// Takes note of a member.
    pub(super) fn see(&mut self, name: &str, place: Range<usize>) {
        for (required, slot) in self.checks.require.iter().zip(&mut self.required) {
            if &**required == name {
                *slot = Some(place.clone());
            }
        }
        for (known, slot) in NAMES.iter().zip(&mut self.places) {
            if *known == name {
                *slot = Some(place.clone());
            }
        }
    }

    /// Checks what the rules ask for, in the order in which the log-processing functions do.
    pub(super) fn check(&self, text: &[u8], now: u64) -> Result<(), DecodeError> {
        for (name, place) in self.checks.require.iter().zip(&self.required) {
            let value = place.clone().and_then(|place| text.get(place));
            if matches!(value, None | Some(b"null")) {
                return Err(DecodeError::Missing(Arc::clone(name)));
            }
        }
        let [exp, nbf, iat, iss, aud] = &self.places;
        let value = |place: &Option<Range<usize>>| place.clone().and_then(|it| text.get(it));
        let checks = self.checks;
        let (now, leeway) = (i128::from(now), i128::from(checks.leeway));
        if let Some(iat) = value(iat).filter(|_| checks.iat) {
            let at = issued(iat).ok_or(DecodeError::ClaimType("iat"))?;
            if at > now + leeway {
                return Err(DecodeError::Immature("iat"));
            }
        }
        if let Some(nbf) = value(nbf).filter(|_| checks.nbf) {
            let at = seconds(nbf).ok_or(DecodeError::ClaimType("nbf"))?;
            if at > now + leeway {
                return Err(DecodeError::Immature("nbf"));
            }
        }
        if let Some(exp) = value(exp).filter(|_| checks.exp) {
            let at = seconds(exp).ok_or(DecodeError::ClaimType("exp"))?;
            if at <= now - leeway {
                return Err(DecodeError::Expired);
            }
        }
        if checks.iss {
            self.check_issuer(value(iss))?;
        }
        if checks.aud {
            self.check_audience(value(aud))?;
        }
        Ok(())
    }

    fn check_issuer(&self, iss: Option<&[u8]>) -> Result<(), DecodeError> {
        let Some(issuer) = &self.checks.issuer else {
            return Ok(());
        };
        let iss = iss.ok_or_else(|| DecodeError::Missing("iss".into()))?;
        match serde_json::from_slice(iss) {
            Ok(Value::String(iss)) if iss == *issuer => Ok(()),
            _ => Err(DecodeError::Issuer),
        }
    }

    fn check_audience(&self, aud: Option<&[u8]>) -> Result<(), DecodeError> {
        let audience = &self.checks.audience;
        // Without a name an `aud` says nothing: null, no text, an empty list.
        let aud = aud.filter(|it| !matches!(*it, b"null" | b"\"\"" | b"[]"));
        let Some(aud) = aud else {
            return match audience.is_empty() {
                true => Ok(()),
                false => Err(DecodeError::Missing("aud".into())),
            };
        };
        let wrong = DecodeError::ClaimType("aud");
        let aud: Value = serde_json::from_slice(aud).map_err(|_| wrong.clone())?;
        let named = match aud {
            Value::String(one) => audience.contains(&one),
            Value::Array(many) => {
                if !many.iter().all(Value::is_string) {
                    return Err(wrong);
                }
                let mut names = many.iter().filter_map(Value::as_str);
                names.any(|name| audience.iter().any(|it| it == name))
            }
            _ => return Err(wrong),
        };
        match named {
            true => Ok(()),
            false => Err(DecodeError::Audience),
        }
    }
}

/// A time that is a number of seconds. Fractions are cut.
fn seconds(value: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(value).ok()?;
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let number = text.parse::<f64>().ok().filter(|it| it.is_finite())?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a fraction is cut; what is beyond the range is far future or far past"
    )]
    Some(i128::from(number as i64))
}

/// When a token was issued: a number, or a text of a whole number.
fn issued(value: &[u8]) -> Option<i128> {
    let Some(text) = value.strip_prefix(b"\"") else {
        return seconds(value);
    };
    let text = std::str::from_utf8(text.strip_suffix(b"\"")?).ok()?;
    text.parse::<i64>().ok().map(i128::from)
}
