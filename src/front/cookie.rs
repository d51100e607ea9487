//! The cookies of a request: the trusted ones, and nothing of the others.
//!
//! Promise: a cookie that is neither on the allow-list nor one that carries a token is dropped
//! unread. A name that stands twice with two values is not trusted at all: which of the two is meant
//! cannot be told, and "the first that works" is what an attacker counts on. Without a Cookie header
//! nothing is allocated; work is linear in the header.
//! At the bounds on count and size: 400, before anything is looked at.
//! Not here: whether a cookie counts as a credential (`credential`), and making one (`session`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;
use http::header::COOKIE;
use percent_encoding::percent_decode;

use super::transcode;
use crate::config;
use crate::event::{Reason, Refusal};

/// The part of a cookie that becomes a field, in bytes.
const MAX_FIELD: usize = 1024;

/// The cookies of one request that are trusted or carry a token.
pub(super) struct Cookies<'a> {
    /// One for each name, so never more than the configuration names.
    trusted: Vec<Trusted<'a>>,
    token: Token<'a>,
}

/// A cookie of the allow-list.
struct Trusted<'a> {
    name: &'a str,
    /// Decoded. `None`: it cannot be believed, since it has control characters or came with two
    /// values.
    value: Option<Cow<'a, [u8]>>,
}

/// What the cookies that carry tokens say.
#[derive(Clone, Copy)]
enum Token<'a> {
    None,
    One { name: &'a str, value: &'a [u8] },
    Several,
}

impl<'a> Cookies<'a> {
    /// Reads all Cookie headers. Pairs are parted by `;`, with or without a space (mini programs
    /// join by hand); quotes around a value are taken off; `$Version` and its like are no cookies.
    /// Names are compared as they stand, case included.
    ///
    /// # Errors
    /// [`Reason::CookieLimits`].
    pub(super) fn read(
        headers: &'a HeaderMap,
        rules: &'a config::Cookies,
        token_names: &[&'a str],
    ) -> Result<Self, Refusal> {
        let mut cookies = Self {
            trusted: Vec::new(),
            token: Token::None,
        };
        let lines = || headers.get_all(COOKIE).iter().map(|line| line.as_bytes());
        let bytes: usize = lines().map(<[u8]>::len).sum();
        if bytes == 0 {
            return Ok(cookies);
        }
        if bytes > rules.max_size.as_usize() {
            let detail = format!("{bytes} bytes; {} are allowed", rules.max_size);
            return Err(Refusal::new(Reason::CookieLimits, detail));
        }
        let pairs = || {
            let pairs = lines().flat_map(|line| line.split(|byte| *byte == b';'));
            pairs
                .map(<[u8]>::trim_ascii)
                .filter(|pair| !pair.is_empty())
        };
        let count = pairs().count();
        if count > rules.max_count as usize {
            let detail = format!("{count} cookies; {} are allowed", rules.max_count);
            return Err(Refusal::new(Reason::CookieLimits, detail));
        }
        for (name, value) in pairs().filter_map(split_pair) {
            let is = |known: &&&'a str| known.as_bytes() == name;
            if let Some(name) = token_names.iter().find(is) {
                cookies.add_token(name, value);
            } else if let Some(name) = rules.allow.iter().find(|known| known.as_bytes() == name) {
                cookies.add_trusted(name, value);
            }
        }
        Ok(cookies)
    }

    /// Whether any of them carries a token.
    pub(super) fn have_token(&self) -> bool {
        !matches!(self.token, Token::None)
    }

    /// The one token among the cookies, as it stands: tokens need no encoding.
    ///
    /// # Errors
    /// [`Reason::TokenAmbiguous`] when a cookie that carries one came twice, or two such cookies
    /// differ.
    pub(super) fn token(&self) -> Result<Option<&'a [u8]>, Refusal> {
        match self.token {
            Token::None => Ok(None),
            Token::One { value, .. } => Ok(Some(value)),
            Token::Several => Err(Reason::TokenAmbiguous.into()),
        }
    }

    /// A trusted cookie, decoded.
    pub(super) fn trusted(&self, name: &str) -> Option<&[u8]> {
        let found = self.trusted.iter().find(|trusted| trusted.name == name);
        found.and_then(|trusted| trusted.value.as_deref())
    }

    /// Appends a field for each trusted cookie that the logstore wants (cookie -> field), cut to 1
    /// KiB. A cookie that carries a token is never one.
    pub(super) fn put_fields(&self, fields: &BTreeMap<String, String>, stamp: &mut Vec<u8>) {
        if self.trusted.is_empty() {
            return;
        }
        for (cookie, field) in fields {
            let Some(value) = self.trusted(cookie) else {
                continue;
            };
            let text = String::from_utf8_lossy(value);
            let (start, _) = text.split_at(text.floor_char_boundary(MAX_FIELD));
            transcode::put_content(stamp, field.as_bytes(), start.as_bytes());
        }
    }

    fn add_token(&mut self, name: &'a str, value: &'a [u8]) {
        self.token = match self.token {
            Token::None => Token::One { name, value },
            same @ Token::One {
                name: before,
                value: known,
            } if before != name && known == value => same,
            Token::One { .. } | Token::Several => Token::Several,
        };
    }

    fn add_trusted(&mut self, name: &'a str, value: &'a [u8]) {
        let value = decode(value);
        let known = self.trusted.iter_mut().find(|known| known.name == name);
        match known {
            None => self.trusted.push(Trusted { name, value }),
            Some(known) if known.value == value => {}
            Some(known) => known.value = None,
        }
    }
}

/// Values are not printed: some are credentials.
impl fmt::Debug for Cookies<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookies")
            .field("trusted", &self.trusted.len())
            .finish_non_exhaustive()
    }
}

/// Name and value of a pair. `None`: it has no name, or is an attribute of RFC 2965.
fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'=', pair)?;
    let (name, value) = pair.split_at_checked(at)?;
    let (name, value) = (name.trim_ascii_end(), value.get(1..)?.trim_ascii_start());
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    (!name.is_empty() && !name.starts_with(b"$")).then_some((name, inner.unwrap_or(value)))
}

/// Percent-decodes; an escape that is none stays as it is. `None`: it has control characters.
fn decode(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let value: Cow<'_, [u8]> = percent_decode(value).into();
    (!value.iter().any(u8::is_ascii_control)).then_some(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::foundation::units::ByteSize;

    const TOKENS: &[&str] = &["tollgate_token", "__Host-tollgate"];

    fn rules() -> config::Cookies {
        config::Cookies {
            allow: vec!["visitor".to_owned(), "ab".to_owned(), "x".to_owned()],
            ..config::Cookies::default()
        }
    }

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    /// `name=value` of each trusted cookie, and of those that are not believed `name!`.
    fn trusted(lines: &[&[u8]]) -> String {
        let headers = headers(lines);
        let rules = rules();
        let cookies = Cookies::read(&headers, &rules, TOKENS).unwrap();
        let shown = cookies.trusted.iter().map(|it| match &it.value {
            Some(value) => format!("{}={}", it.name, String::from_utf8_lossy(value)),
            None => format!("{}!", it.name),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    fn token(lines: &[&[u8]]) -> Result<Option<String>, Reason> {
        let headers = headers(lines);
        let rules = rules();
        let cookies = Cookies::read(&headers, &rules, TOKENS).map_err(|it| it.reason())?;
        let token = cookies.token().map_err(|it| it.reason())?;
        Ok(token.map(|token| String::from_utf8_lossy(token).into_owned()))
    }

    #[test]
    fn cookies_are_read_however_they_were_joined() {
        assert_eq!(trusted(&[b"visitor=1;ab=2"]), "visitor=1 ab=2");
        assert_eq!(trusted(&[b"visitor=1; ab=2; "]), "visitor=1 ab=2");
        assert_eq!(trusted(&[b";; ;visitor=1;;\t;ab=2;"]), "visitor=1 ab=2");
        assert_eq!(trusted(&[b"visitor=1", b"ab=2"]), "visitor=1 ab=2");
        assert_eq!(trusted(&[b" visitor = 1 ;ab=\"2 3\""]), "visitor=1 ab=2 3");
        assert_eq!(trusted(&[b"visitor=\"1"]), "visitor=\"1");
        assert_eq!(trusted(&[b"visitor=\""]), "visitor=\"");
        assert_eq!(trusted(&[b"visitor=a=b=="]), "visitor=a=b==");
        assert_eq!(trusted(&[b"visitor="]), "visitor=");
    }

    #[test]
    fn what_is_not_listed_is_dropped() {
        assert_eq!(
            trusted(&[b"$Version=1; $Path=/; SESSIONID=s; visitor=1; Visitor=2"]),
            "visitor=1"
        );
        assert_eq!(trusted(&[b"visitor; =visitor=1; =; a"]), "");
        assert_eq!(trusted(&[b"xvisitor=1; visitorx=1; visito=1"]), "");
    }

    #[test]
    fn values_are_url_decoded_and_control_characters_are_not_believed() {
        assert_eq!(
            trusted(&[b"visitor=%E4%BD%A0+%2B%3B%20x"]),
            "visitor=\u{4f60}++; x"
        );
        assert_eq!(
            trusted(&[b"visitor=100%; ab=%zz%4"]),
            "visitor=100% ab=%zz%4"
        );
        assert_eq!(
            trusted(&[b"visitor=%00; ab=a%0d%0ab; x=%7f"]),
            "visitor! ab! x!"
        );
        assert_eq!(trusted(&[b"visitor=\xe4\xbd\xa0"]), "visitor=\u{4f60}");
    }

    #[test]
    fn a_trusted_cookie_with_two_values_counts_as_neither() {
        assert_eq!(trusted(&[b"visitor=1; visitor=1"]), "visitor=1");
        assert_eq!(trusted(&[b"visitor=1; visitor=2"]), "visitor!");
        assert_eq!(trusted(&[b"visitor=1; visitor=2; visitor=1"]), "visitor!");
        assert_eq!(trusted(&[b"visitor=1", b"visitor=2"]), "visitor!");
        assert_eq!(trusted(&[b"visitor=%00; visitor=1"]), "visitor!");
        assert_eq!(trusted(&[b"visitor=1; visitor=%31"]), "visitor=1");
    }

    #[test]
    fn one_token_or_none() {
        let is = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(token(&[]), Ok(None));
        assert_eq!(token(&[b"x=1;tollgate_token=a.b"]), is("a.b"));
        assert_eq!(token(&[b"__Host-tollgate=\"a.b\""]), is("a.b"));
        assert_eq!(token(&[b"__host-tollgate=a; TOLLGATE_TOKEN=a"]), Ok(None));
        // A cookie without a name, which some browsers send as if its value were a pair.
        assert_eq!(token(&[b"=__Host-tollgate=a"]), Ok(None));
        assert_eq!(token(&[b"tollgate_token=a; __Host-tollgate=a"]), is("a"));
        for lines in [
            &[&b"tollgate_token=a; tollgate_token=a"[..]][..],
            &[b"tollgate_token=a", b"tollgate_token=b"],
            &[b"tollgate_token=a; __Host-tollgate=b"],
            &[b"tollgate_token=a; __Host-tollgate=a; tollgate_token=b"],
        ] {
            assert_eq!(token(lines), Err(Reason::TokenAmbiguous), "{lines:?}");
        }
    }

    #[test]
    fn count_and_size_are_bounded_over_all_headers() {
        let many = |count: usize| vec!["a=1"; count].join(";");
        assert_eq!(token(&[many(20).as_bytes()]), Ok(None));
        let long = |size: usize| format!("a={}", "b".repeat(size - 2));
        assert_eq!(token(&[long(4096).as_bytes()]), Ok(None));
        assert_eq!(token(&[";".repeat(4096).as_bytes()]), Ok(None));
        for lines in [
            &[many(21)][..],
            &[many(2000)],
            &[many(11), many(10)],
            &[long(4097)],
            &[long(4000), long(97)],
            &[";".repeat(4097)],
        ] {
            let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            assert_eq!(token(&lines), Err(Reason::CookieLimits));
        }
    }

    #[test]
    fn wanted_cookies_become_fields_and_tokens_never_do() {
        let mut rules = rules();
        rules.allow.push("tollgate_token".to_owned());
        rules.max_size = ByteSize::kib(8);
        let line = format!(
            "visitor={}\u{4f60}; ab=%FF; tollgate_token=secret; x=1; x=2",
            "v".repeat(1023)
        );
        let headers = headers(&[line.as_bytes()]);
        let cookies = Cookies::read(&headers, &rules, TOKENS).unwrap();
        let wanted = ["ab", "nothing", "tollgate_token", "visitor", "x"];
        let wanted = wanted.map(|name| (name.to_owned(), format!("{name}_field")));
        let mut stamp = Vec::new();
        cookies.put_fields(&wanted.into(), &mut stamp);
        let mut expected = Vec::new();
        transcode::put_content(&mut expected, b"ab_field", "\u{fffd}".as_bytes());
        transcode::put_content(&mut expected, b"visitor_field", "v".repeat(1023).as_bytes());
        assert_eq!(stamp, expected);
        assert!(!format!("{cookies:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_not_listed_comes_through(
            line in proptest::collection::vec(
                prop_oneof![
                    Just(b';'), Just(b'='), Just(b'%'), Just(b'"'), Just(b' '), Just(b'x'),
                    Just(b'0'), Just(b'$'), 0x80_u8..=0xff,
                ],
                0..200,
            ),
        ) {
            let headers = headers(&[&line]);
            let rules = rules();
            if let Ok(cookies) = Cookies::read(&headers, &rules, TOKENS) {
                for kept in &cookies.trusted {
                    prop_assert!(rules.allow.iter().any(|name| name == kept.name));
                    let name = kept.name.as_bytes();
                    prop_assert!(line.windows(name.len()).any(|window| window == name));
                    let value = kept.value.as_deref().unwrap_or_default();
                    prop_assert!(!value.iter().any(u8::is_ascii_control));
                }
                prop_assert!(matches!(cookies.token, Token::None));
            }
        }
    }
}
