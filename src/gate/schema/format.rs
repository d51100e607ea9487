//! The formats that are checked here, exactly as the `jsonschema` crate checks them. The others are
//! asked of the crate.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A format with a check of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// RFC 3339 `full-date`.
    Date,
    /// RFC 3339 `full-time`.
    Time,
    /// RFC 3339 `date-time`.
    DateTime,
    /// Four decimal numbers.
    Ipv4,
    /// RFC 4291.
    Ipv6,
    /// RFC 4122, with hyphens.
    Uuid,
}

impl Format {
    /// The format of a name, when it is one of these.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date" => Self::Date,
            "time" => Self::Time,
            "date-time" => Self::DateTime,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }

    /// Whether a text has the format.
    pub(super) fn fits(self, text: &[u8]) -> bool {
        match self {
            Self::Date => is_date(text),
            Self::Time => is_time(text),
            Self::DateTime => is_date_time(text),
            Self::Ipv4 => parses::<Ipv4Addr>(text),
            Self::Ipv6 => parses::<Ipv6Addr>(text),
            Self::Uuid => is_uuid(text),
        }
    }
}

/// An example of a format, for people.
pub(super) fn example(name: &str) -> Option<&'static str> {
    Some(match name {
        "date" => "2026-01-31",
        "time" => "08:30:00Z",
        "date-time" => "2026-01-31T08:30:00Z",
        "duration" => "P3DT4H",
        "email" => "name@example.com",
        "hostname" => "www.example.com",
        "ipv4" => "192.0.2.1",
        "ipv6" => "2001:db8::1",
        "uri" => "https://example.com/path",
        "uri-reference" => "/path?query",
        "uuid" => "123e4567-e89b-12d3-a456-426614174000",
        "json-pointer" => "/cart/0/sku",
        _ => return None,
    })
}

fn parses<T: std::str::FromStr>(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<T>().is_ok())
}

fn two(text: &[u8]) -> Option<u8> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + (ones - b'0')),
        _ => None,
    }
}

fn is_date(text: &[u8]) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else {
        return false;
    };
    let (Some(century), Some(year), Some(month), Some(day)) = (
        two(&[y1, y2]),
        two(&[y3, y4]),
        two(&[m1, m2]),
        two(&[d1, d2]),
    ) else {
        return false;
    };
    let year = u16::from(century) * 100 + u16::from(year);
    let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn is_time(text: &[u8]) -> bool {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text else {
        return false;
    };
    let (Some(hour), Some(minute), Some(second)) =
        (two(&[*h1, *h2]), two(&[*m1, *m2]), two(&[*s1, *s2]))
    else {
        return false;
    };
    if hour > 23 || minute > 59 || second > 60 {
        return false;
    }
    let offset = match rest {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
        rest => rest,
    };
    let Some(east) = offset_minutes(offset) else {
        return false;
    };
    // A leap second is the last one of a day in UTC.
    second < 60 || (i32::from(hour) * 60 + i32::from(minute) - east).rem_euclid(1440) == 1439
}

/// How many minutes an offset is east of UTC.
fn offset_minutes(text: &[u8]) -> Option<i32> {
    let (sign, rest) = match text {
        b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [h1, h2, b':', m1, m2] = *rest else {
        return None;
    };
    let (hours, minutes) = (two(&[h1, h2])?, two(&[m1, m2])?);
    (hours <= 23 && minutes <= 59).then(|| sign * (i32::from(hours) * 60 + i32::from(minutes)))
}

fn is_date_time(text: &[u8]) -> bool {
    let Some(at) = text.iter().position(|byte| matches!(byte, b'T' | b't')) else {
        return false;
    };
    let (date, time) = text.split_at(at);
    is_date(date) && is_time(time.get(1..).unwrap_or_default())
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
