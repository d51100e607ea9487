//! Parameters of a call: of its query, and of a body in the form of one.
//!
//! Promise: each name stands once, in UTF-8, and there are not many; two readers cannot disagree on
//! them. What is not so is refused whole.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::answer::{Code, Failure};

/// The most parameters of a call.
const MAX_PARAMETERS: usize = 64;
/// Longest query and longest body, in bytes.
pub(super) const MAX_FORM: usize = 16 << 10;

/// A parameter, decoded.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters of a call, sorted by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters<'a> {
    pairs: Vec<Pair<'a>>,
}

impl<'a> Parameters<'a> {
    /// Reads a query, and a body of the same form.
    pub(super) fn read(query: &'a str, body: &'a str) -> Result<Self, Failure> {
        let invalid = |message| Failure::new(Code::InvalidParameter, message);
        if query.len() > MAX_FORM || body.len() > MAX_FORM {
            return Err(invalid("The parameters are too long."));
        }
        let mut pairs = Vec::with_capacity(16);
        let texts = query.split('&').chain(body.split('&'));
        for text in texts.filter(|text| !text.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(invalid("There are too many parameters."));
            }
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            let pair = decode(name).zip(decode(value));
            pairs.push(pair.ok_or_else(|| invalid("A parameter is not UTF-8."))?);
        }
        pairs.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let twice = |pair: &[Pair<'_>]| matches!(pair, [(a, _), (b, _)] if a == b);
        if pairs.windows(2).any(twice) {
            return Err(invalid("A parameter is there twice."));
        }
        Ok(Self { pairs })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pair<'a>> {
        self.pairs.iter()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.binary_search_by(|(key, _)| (**key).cmp(name));
        self.pairs.get(found.ok()?).map(|(_, value)| &**value)
    }

    /// A parameter that must be there.
    pub(super) fn require(&self, name: &'static str) -> Result<&str, Failure> {
        let value = self.get(name).filter(|value| !value.is_empty());
        value.ok_or_else(|| Failure::missing(name))
    }
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded: Vec<u8> = percent_decode(spaced.as_bytes()).collect();
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_found_by_name() {
        let all = Parameters::read("b=%C3%A9&a=1+2", "c=x%2By&d").unwrap();
        assert_eq!(all.get("a"), Some("1 2"));
        assert_eq!(all.get("b"), Some("é"));
        assert_eq!(all.get("c"), Some("x+y"));
        assert_eq!(all.get("d"), Some(""));
        assert_eq!(all.get("e"), None);
        assert!(all.require("a").is_ok() && all.require("d").is_err());
    }

    #[test]
    fn what_can_be_read_in_two_ways_or_is_too_much_is_refused() {
        let many: Vec<String> = (0..65).map(|count| format!("p{count}=1")).collect();
        let long = format!("a={}", "x".repeat(MAX_FORM));
        for (query, body) in [
            ("a=1&a=1", ""),
            ("a=1", "a=2"),
            ("a=1", "%61=2"),
            ("a=%ff", ""),
            ("%ff=a", ""),
            (&many.join("&"), ""),
            (&long, ""),
            ("", &long),
        ] {
            let failure = Parameters::read(query, body).unwrap_err();
            assert_eq!(failure.code, Code::InvalidParameter);
        }
        assert!(Parameters::read(&many[..64].join("&"), "").is_ok());
    }
}
