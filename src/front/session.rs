//! The session cookie: the header that sets it, and the one that clears it.
//!
//! Promise: `Secure`, `HttpOnly`, never a `Domain`, and `Path=/`, so that the prefix `__Host-` holds.
//! `SameSite=None` and `Partitioned`, since the page is of another site than this host: the cookie
//! then belongs to that page's site alone, and the listed origins guard it (`credential`).
//!
//! The order of the attributes is for clients that read the header by hand (mini programs, where
//! several cookies arrive in one header, joined by commas):
//! - both `Max-Age` and `Expires`, since some know only one, and some take `Max-Age=0` for none;
//! - `Expires`, which has a comma inside, after every attribute with a `=`: what follows that comma
//!   then never looks like the start of another cookie, and a client that cuts there all the same
//!   has read all that matters, `Max-Age` included;
//! - flags after `Expires`: a client that reads it up to the next `;` stops before a next cookie.
//!
//! Not here: who may open a session, and the token in it.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

use crate::config::Session;
use crate::event::{Reason, Refusal};

/// Name and value that every browser keeps, in bytes (RFC 6265, section 6.1).
const MAX_COOKIE: usize = 4096;

/// `Set-Cookie` that opens a session: `token` lives for `ttl` seconds from `unix_seconds` on.
///
/// # Errors
/// [`Reason::TokenClaims`] when name and token are too long for browsers, which would drop the cookie
/// without a word; [`Reason::Internal`] when they cannot stand in a cookie.
pub(super) fn open(
    session: &Session,
    token: &str,
    ttl: u64,
    unix_seconds: u64,
) -> Result<HeaderValue, Refusal> {
    set_cookie(
        &session.cookie,
        token,
        ttl,
        unix_seconds.saturating_add(ttl),
    )
}

/// `Set-Cookie` that ends a session on the client's side. Its token lives on until it expires or is
/// revoked.
///
/// # Errors
/// As [`open`].
pub(super) fn clear(session: &Session) -> Result<HeaderValue, Refusal> {
    set_cookie(&session.cookie, "", 0, 0)
}

fn set_cookie(name: &str, value: &str, max_age: u64, expires: u64) -> Result<HeaderValue, Refusal> {
    if name.len() + value.len() > MAX_COOKIE {
        let detail =
            "they are too long for a session cookie: name fewer logstores, or shorter claims";
        return Err(Refusal::new(Reason::TokenClaims, detail));
    }
    if !is_token(name) || !value.bytes().all(is_cookie_octet) {
        let detail = "the session cookie cannot be sent";
        return Err(Refusal::new(Reason::Internal, detail));
    }
    let expires = httpdate::HttpDate::from(at(expires));
    let text = format!(
        "{name}={value}; Path=/; Max-Age={max_age}; SameSite=None; Expires={expires}; \
         Secure; HttpOnly; Partitioned"
    );
    let mut header = HeaderValue::try_from(text).map_err(|_| Reason::Internal)?;
    header.set_sensitive(true);
    Ok(header)
}

/// A time as [`SystemTime`]; what an HTTP date cannot say is its last second.
fn at(unix_seconds: u64) -> SystemTime {
    /// 9999-12-31T23:59:59Z.
    const LAST: u64 = 253_402_300_799;
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_seconds.min(LAST))
}

/// A token of HTTP (RFC 9110, section 5.6.2).
fn is_token(text: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_char)
}

/// RFC 6265, section 4.1.1: no control character, space, quote, comma, semicolon or backslash.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::units::Span;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln-_";
    const NOW: u64 = 1_781_510_400;

    fn opened() -> String {
        let header = open(&Session::default(), TOKEN, 3600, NOW).unwrap();
        assert!(header.is_sensitive());
        header.to_str().unwrap().to_owned()
    }

    fn cleared() -> String {
        let header = clear(&Session::default()).unwrap();
        header.to_str().unwrap().to_owned()
    }

    /// What a client by hand makes of a cookie.
    #[derive(Debug, Default, PartialEq)]
    struct Stored {
        name: String,
        value: String,
        path: String,
        max_age: String,
        expires: String,
    }

    fn stored(name: &str, value: &str, max_age: &str, expires: &str) -> Stored {
        let path = "/";
        let [name, value, path, max_age, expires] =
            [name, value, path, max_age, expires].map(str::to_owned);
        Stored {
            name,
            value,
            path,
            max_age,
            expires,
        }
    }

    fn read_one(text: &str) -> Stored {
        let mut parts = text.split(';');
        let first = parts.next().unwrap().trim();
        let (name, value) = first.split_once('=').unwrap_or((first, ""));
        let mut cookie = stored(name, value, "", "");
        for part in parts {
            let (key, value) = part.trim().split_once('=').unwrap_or((part.trim(), ""));
            match key.to_lowercase().as_str() {
                "path" => cookie.path = value.to_owned(),
                "max-age" => cookie.max_age = value.to_owned(),
                "expires" => cookie.expires = value.to_owned(),
                _ => {}
            }
        }
        cookie
    }

    /// Cuts at each comma, and glues on what follows the day of a date.
    fn glue_dates(header: &str) -> Vec<Stored> {
        let mut cookies: Vec<String> = Vec::new();
        for piece in header.split(',') {
            match cookies.last_mut() {
                Some(last) if ends_with_a_day(last) => {
                    last.push(',');
                    last.push_str(piece);
                }
                _ => cookies.push(piece.to_owned()),
            }
        }
        cookies.iter().map(|text| read_one(text)).collect()
    }

    fn ends_with_a_day(text: &str) -> bool {
        let end = text.to_lowercase();
        end.rsplit_once("expires=")
            .is_some_and(|(_, day)| day.len() == 3)
    }

    /// Cuts at each comma that a `=` follows before the next `;` or `,`.
    fn look_ahead(header: &str) -> Vec<Stored> {
        let mut cookies = Vec::new();
        let mut start = 0;
        for (at, _) in header.match_indices(',') {
            let ahead = header[at + 1..].find(['=', ';', ',']);
            if ahead.is_some_and(|stop| header[at + 1 + stop..].starts_with('=')) {
                cookies.push(read_one(&header[start..at]));
                start = at + 1;
            }
        }
        cookies.push(read_one(&header[start..]));
        cookies
    }

    /// Takes every date out first, up to the next `;`, then cuts at commas.
    fn dates_first(header: &str) -> Vec<Stored> {
        let mut text = String::new();
        let mut dates = Vec::new();
        let mut rest = header;
        while let Some(at) = rest.to_lowercase().find("expires=") {
            let (before, date) = rest.split_at(at);
            let end = date.find(';').unwrap_or(date.len());
            text.push_str(before);
            text.push_str(&format!("expires={}", dates.len()));
            dates.push(&date["expires=".len()..end]);
            rest = &date[end..];
        }
        text.push_str(rest);
        let mut cookies: Vec<_> = text.split(',').map(read_one).collect();
        for cookie in &mut cookies {
            if let Ok(index) = cookie.expires.parse::<usize>() {
                cookie.expires = dates[index].to_owned();
            }
        }
        cookies
    }

    #[test]
    fn the_cookie_has_the_attributes_that_its_prefix_and_a_foreign_page_need() {
        assert_eq!(
            opened(),
            format!(
                "__Host-tollgate={TOKEN}; Path=/; Max-Age=3600; SameSite=None; \
                 Expires=Mon, 15 Jun 2026 09:00:00 GMT; Secure; HttpOnly; Partitioned"
            )
        );
        assert_eq!(
            cleared(),
            "__Host-tollgate=; Path=/; Max-Age=0; SameSite=None; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; Partitioned"
        );
    }

    #[test]
    fn clients_that_parse_by_hand_read_it_also_when_it_is_joined_with_others() {
        let date = "Mon, 15 Jun 2026 09:00:00 GMT";
        let ours = || stored("__Host-tollgate", TOKEN, "3600", date);
        let gone = || {
            let epoch = "Thu, 01 Jan 1970 00:00:00 GMT";
            stored("__Host-tollgate", "", "0", epoch)
        };
        let other = || stored("other", "1", "", "");
        for parse in [glue_dates, look_ahead, dates_first] {
            assert_eq!(parse(&opened()), [ours()]);
            assert_eq!(parse(&cleared()), [gone()]);
            let joined = format!("other=1; path=/,{},{}", opened(), cleared());
            let seen: Vec<_> = parse(&joined).into_iter().collect();
            assert_eq!(seen, [other(), ours(), gone()]);
            let joined = format!("{}, other=1", opened());
            assert_eq!(parse(&joined), [ours(), other()]);
        }
        // The plainest of all still learns value, path and life.
        let first = read_one(opened().split(',').next().unwrap());
        assert_eq!(first, stored("__Host-tollgate", TOKEN, "3600", "Mon"));
    }

    #[test]
    fn what_cannot_stand_in_a_cookie_is_not_sent() {
        let session = Session::default();
        let long = "a".repeat(MAX_COOKIE - session.cookie.len() + 1);
        for bad in ["a;b", "a,b", "a b", "a\"", "a\r\nSet-Cookie: x=1", "\u{e9}"] {
            let refusal = open(&session, bad, 3600, NOW).unwrap_err();
            assert_eq!(refusal.reason(), Reason::Internal, "{bad:?}");
            assert!(!refusal.message().contains(bad));
        }
        let refusal = open(&session, &long, 3600, NOW).unwrap_err();
        assert_eq!(refusal.reason(), Reason::TokenClaims);
        assert!(open(&session, &long[1..], 3600, NOW).is_ok());
        for bad in ["", "a=b", "a b", "a;b", "a\n"] {
            let session = Session {
                cookie: bad.to_owned(),
                ..Session::default()
            };
            assert!(
                open(&session, TOKEN, session.ttl.as_secs(), NOW).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_session_without_end_is_still_a_date() {
        let session = Session {
            ttl: Span::secs(u64::MAX),
            ..Session::default()
        };
        let header = open(&session, TOKEN, session.ttl.as_secs(), NOW).unwrap();
        let text = header.to_str().unwrap();
        assert!(
            text.contains("Expires=Fri, 31 Dec 9999 23:59:59 GMT"),
            "{text}"
        );
    }
}
